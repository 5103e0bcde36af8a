package argocd

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/policy"
)

// refreshTimestamp tells one request to refresh from the next
// (AnnotationKeyRefreshTimestamp).
const refreshTimestamp = "argocd.argoproj.io/refresh-timestamp"

// refresh asks for a new look at an Application, and waits until that was had:
// whoever looks takes the annotation off.
func (s *server) refresh(ctx context.Context, app *unstructured.Unstructured, kind string) (*unstructured.Unstructured, error) {
	patch := mergePatch(map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		status.AnnotationRefresh: kind, refreshTimestamp: s.Now().UTC().Format(time.RFC3339Nano),
	}}})
	asked, err := s.Objects.Patch(ctx, KindApplication, app.GetNamespace(), app.GetName(), mergeType, patch)
	if err != nil {
		return nil, fmt.Errorf("error refreshing the app: %w", err)
	}
	since, _ := strconv.ParseUint(asked.GetResourceVersion(), 10, 64) // 0 lets every version pass
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	var found *unstructured.Unstructured
	gone := false
	look := func(typ watch.EventType, o *unstructured.Unstructured) {
		if o.GetName() != app.GetName() || o.GetNamespace() != app.GetNamespace() || found != nil {
			return
		}
		if typ == watch.Deleted {
			gone = true
			stop()
			return
		}
		version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
		if _, still := o.GetAnnotations()[status.AnnotationRefresh]; !still && (err != nil || version > since) {
			found = o.DeepCopy()
			stop()
		}
	}
	err = s.Objects.Watch(waiting, KindApplication, app.GetNamespace(), look, func() {})
	switch {
	case found != nil:
		return found, nil
	case gone:
		return nil, failed(connect.CodeNotFound, "application %s was deleted", app.GetName())
	case ctx.Err() != nil:
		return nil, failed(connect.CodeDeadlineExceeded, "application refresh deadline exceeded")
	}
	return nil, err
}

// automated reports whether the policy of an Application syncs by itself.
func automated(app *unstructured.Unstructured) bool {
	policy, ok := at(app.Object, "spec", "syncPolicy", "automated").(map[string]any)
	return ok && flagOr(true, policy, "enabled")
}

// place is where an Application goes, as far as it says.
func place(app *unstructured.Unstructured) project.Place {
	to := object(app.Object, "spec", "destination")
	return project.Place{Server: text(to, "server"), Name: text(to, "name"), Namespace: text(to, "namespace")}
}

// sync asks for a sync: it writes the field operation (argo-cd
// server/application Sync).
func (s *server) sync(ctx context.Context, c *call) (map[string]any, error) {
	app, bounds, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	if !gate.Windows(bounds.Windows(app.GetName(), place(app)), s.Now()).Manual {
		return nil, failed(connect.CodePermissionDenied, "cannot sync: blocked by sync window")
	}
	if err := s.must(ctx, c, policy.Applications, policy.Sync, s.objectOf(app)); err != nil {
		return nil, err
	}
	if len(items(c.value, "manifests")) > 0 {
		if err := s.must(ctx, c, policy.Applications, policy.Override, s.objectOf(app)); err != nil {
			return nil, err
		}
		return nil, failed(connect.CodeFailedPrecondition, "cannot sync local manifests: Plumb delivers what is in a repository. Commit them, or look at them with argocd app diff --local")
	}
	if app.GetDeletionTimestamp() != nil {
		return nil, failed(connect.CodeFailedPrecondition, "application is deleting")
	}
	revisions, err := s.revisions(ctx, c, app)
	if err != nil {
		return nil, err
	}
	operation := map[string]any{"sync": s.syncOperation(c, app, revisions), "initiatedBy": map[string]any{"username": nameOf(c.who)}}
	if infos := items(c.value, "infos"); len(infos) > 0 {
		operation["info"] = infos
	}
	retry := object(app.Object, "spec", "syncPolicy", "retry")
	if asked := object(c.value, "retryStrategy"); asked != nil {
		retry = asked
	}
	if retry != nil {
		operation["retry"] = retry
	}
	updated, err := s.begin(ctx, app, operation)
	if err != nil {
		return nil, err
	}
	partial := ""
	if len(items(c.value, "resources")) > 0 {
		partial = "partial "
	}
	s.done(ctx, c, "sync", KindApplication, updated, fmt.Sprintf("initiated %ssync to %s", partial, strings.Join(revisions.shown, ",")))
	return updated.Object, nil
}

// syncOperation is what a request asks for, as the controller reads it.
func (s *server) syncOperation(c *call, app *unstructured.Unstructured, revisions revisions) map[string]any {
	sync := map[string]any{}
	if revisions.many {
		sync["sources"], sync["revisions"] = items(app.Object, "spec", "sources"), anys(revisions.resolved)
	} else {
		sync["revision"] = revisions.resolved[0]
		if source := object(app.Object, "spec", "source"); source != nil {
			sync["source"] = source
		}
	}
	for _, name := range []string{"prune", "dryRun"} {
		if flag(c.value, name) {
			sync[name] = true
		}
	}
	if strategy := object(c.value, "strategy"); strategy != nil {
		sync["syncStrategy"] = strategy
	}
	if resources := items(c.value, "resources"); len(resources) > 0 {
		sync["resources"] = resources
	}
	options := items(app.Object, "spec", "syncPolicy", "syncOptions")
	if asked := object(c.value, "syncOptions"); asked != nil {
		options = items(asked, "items")
	}
	if len(options) > 0 {
		sync["syncOptions"] = options
	}
	return sync
}

// revisions are what the sources of a sync stand at.
type revisions struct {
	many            bool
	resolved, shown []string
}

// revisions finds out the revisions that a request means. Another one than the
// declared one is for those alone whose Application does not sync by itself, and
// may ask for an override where the installation says so.
func (s *server) revisions(ctx context.Context, c *call, app *unstructured.Unstructured) (revisions, error) {
	sources := sourcesOf(app)
	if len(sources) == 0 {
		return revisions{}, failed(connect.CodeFailedPrecondition, "application %s has no source", app.GetName())
	}
	out := revisions{many: len(objects(app.Object, "spec", "sources")) > 0}
	asked := make([]string, len(sources))
	if out.many {
		positions, given := items(c.value, "sourcePositions"), texts(c.value, "revisions")
		for i, p := range positions {
			position, _ := p.(int64)
			if position <= 0 || int(position) > len(sources) || i >= len(given) {
				return out, failed(connect.CodeInvalidArgument, "source position is out of range")
			}
			asked[position-1] = given[i]
		}
	} else {
		asked[0] = text(c.value, "revision")
	}
	for i, source := range sources {
		declared := text(source, "targetRevision")
		if asked[i] != "" && asked[i] != orHead(declared) {
			if err := s.elsewhere(ctx, c, app, source, asked[i], out.many); err != nil {
				return out, err
			}
		}
		wanted := asked[i]
		if wanted == "" {
			wanted = declared
		}
		resolved, shown, err := s.resolve(ctx, app, source, wanted)
		if err != nil {
			return out, failed(connect.CodeFailedPrecondition, "error resolving repo revision: %s", err.Error())
		}
		out.resolved, out.shown = append(out.resolved, resolved), append(out.shown, shown)
	}
	return out, nil
}

func orHead(revision string) string {
	if revision == "" {
		return "HEAD"
	}
	return revision
}

func (s *server) elsewhere(ctx context.Context, c *call, app *unstructured.Unstructured, source map[string]any, revision string, many bool) error {
	if s.setting(ctx, "application.sync.requireOverridePrivilegeForRevisionSync") == "true" {
		if err := s.must(ctx, c, policy.Applications, policy.Override, s.objectOf(app)); err != nil {
			return err
		}
	}
	switch {
	case !automated(app) || flag(c.value, "dryRun"):
		return nil
	case many:
		return failed(connect.CodeFailedPrecondition, "Cannot sync source %s to %s: auto-sync currently set to %s", text(source, "repoURL"), revision, text(source, "targetRevision"))
	}
	return failed(connect.CodeFailedPrecondition, "Cannot sync to %s: auto-sync currently set to %s", revision, text(source, "targetRevision"))
}

// setting is one key of argocd-cm; "" where it cannot be read.
func (s *server) setting(ctx context.Context, key string) string {
	o, err := s.Objects.Get(ctx, KindConfigMap, s.Namespace, "argocd-cm")
	if err != nil {
		return ""
	}
	return text(o.Object, "data", key)
}

// commit is a whole commit of Git.
var commit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// resolve is the commit or version that a revision stands for, and how it is
// shown: with the name it was asked by.
func (s *server) resolve(ctx context.Context, app *unstructured.Unstructured, source map[string]any, revision string) (resolved, shown string, err error) {
	if text(source, "chart") == "" && commit.MatchString(revision) {
		return revision, revision, nil
	}
	resolved, err = s.Deliveries.Resolve(ctx, app, source, revision)
	if err != nil {
		return "", "", err
	}
	shown = resolved
	if name := orHead(revision); name != resolved {
		shown = fmt.Sprintf("%s (%s)", name, resolved)
	}
	return resolved, shown, nil
}

// begin writes an operation; only one can be under way (util/argo
// SetAppOperation).
func (s *server) begin(ctx context.Context, app *unstructured.Unstructured, operation map[string]any) (*unstructured.Unstructured, error) {
	for range conflicts {
		now, err := s.Objects.Get(ctx, KindApplication, app.GetNamespace(), app.GetName())
		if err != nil {
			return nil, fmt.Errorf("error setting app operation: error getting application %q: %w", app.GetName(), err)
		}
		if object(now.Object, "operation") != nil {
			return nil, failed(connect.CodeFailedPrecondition, "another operation is already in progress")
		}
		now.Object["operation"] = operation
		unstructured.RemoveNestedField(now.Object, "status", "operationState")
		updated, err := s.Objects.Update(ctx, KindApplication, now)
		if err == nil {
			return updated, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("error setting app operation: error updating application %q: %w", app.GetName(), err)
		}
	}
	return nil, failed(connect.CodeInternal, "Failed to set operation. Too many conflicts")
}

// rollback asks for a sync to what an entry of the history says.
func (s *server) rollback(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Rollback, "")
	if err != nil {
		return nil, err
	}
	id := number(c.value, "id")
	if app.GetDeletionTimestamp() != nil {
		return nil, failed(connect.CodeFailedPrecondition, "application is deleting")
	}
	if automated(app) {
		return nil, failed(connect.CodeFailedPrecondition, "rollback cannot be initiated when auto-sync is enabled")
	}
	entry := historyEntry(app, id)
	if entry == nil {
		return nil, failed(connect.CodeInvalidArgument, "application %s does not have deployment with id %d", qualified(app), id)
	}
	if len(sourcesIn(entry)) == 0 {
		return nil, failed(connect.CodeFailedPrecondition, "cannot rollback to revision deployed with Argo CD v0.11 or lower. sync to revision instead.")
	}
	sync := map[string]any{"syncStrategy": map[string]any{"apply": map[string]any{}}}
	for _, field := range []string{"revision", "revisions", "source", "sources"} {
		if value, ok := entry[field]; ok && !hollow(value) {
			sync[field] = value
		}
	}
	for _, field := range []string{"dryRun", "prune"} {
		if flag(c.value, field) {
			sync[field] = true
		}
	}
	if options := items(app.Object, "spec", "syncPolicy", "syncOptions"); len(options) > 0 {
		sync["syncOptions"] = options
	}
	updated, err := s.begin(ctx, app, map[string]any{"sync": sync, "initiatedBy": map[string]any{"username": nameOf(c.who)}})
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "rollback", KindApplication, updated, fmt.Sprintf("initiated rollback to %d", id))
	return updated.Object, nil
}

func historyEntry(app *unstructured.Unstructured, id int64) map[string]any {
	history := objects(app.Object, "status", "history")
	if i := slices.IndexFunc(history, func(h map[string]any) bool { return number(h, "id") == id }); i >= 0 {
		return history[i]
	}
	return nil
}

// terminate stops the operation that is under way.
func (s *server) terminate(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Sync, "")
	if err != nil {
		return nil, err
	}
	for range conflicts {
		if object(app.Object, "operation") == nil || object(app.Object, "status", "operationState") == nil {
			return nil, failed(connect.CodeInvalidArgument, "Unable to terminate operation. No operation is in progress")
		}
		if err := unstructured.SetNestedField(app.Object, "Terminating", "status", "operationState", "phase"); err != nil {
			return nil, err
		}
		_, err := s.Objects.Update(ctx, KindApplication, app)
		if err == nil {
			s.done(ctx, c, "terminate", KindApplication, app, "terminated running operation")
			return nothing(), nil
		}
		if !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("error updating application: %w", err)
		}
		if app, err = s.Objects.Get(ctx, KindApplication, app.GetNamespace(), app.GetName()); err != nil {
			return nil, fmt.Errorf("error getting application by name: %w", err)
		}
	}
	return nil, failed(connect.CodeInternal, "Failed to terminate app. Too many conflicts")
}

// applicationWindows tells of the sync windows that concern an Application.
func (s *server) applicationWindows(ctx context.Context, c *call) (map[string]any, error) {
	app, bounds, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	windows := bounds.Windows(app.GetName(), place(app))
	var assigned, active []any
	for _, w := range windows {
		told := windowOf(w)
		assigned = append(assigned, told)
		if s.active(w) {
			active = append(active, told)
		}
	}
	return map[string]any{
		"activeWindows": active, "assignedWindows": assigned, "canSync": gate.Windows(windows, s.Now()).Manual,
	}, nil
}

// active reports whether a window is open at this moment.
func (s *server) active(w model.Window) bool {
	w.Deny = false
	return gate.Windows([]model.Window{w}, s.Now()).Automatic
}

func windowOf(w model.Window) map[string]any {
	kind := "allow"
	if w.Deny {
		kind = "deny"
	}
	return map[string]any{"kind": kind, "schedule": w.Schedule, "duration": shortDuration(w.Duration), "manualSync": w.Manual}
}

// shortDuration is a duration as people write it: 1h, not 1h0m0s.
func shortDuration(d time.Duration) string {
	out := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(out, zero) {
			out = out[:len(out)-2]
		}
	}
	return out
}

// sourceAt is the source of an Application that a request is about: one of those
// that are declared, or of an entry of the history.
func sourceAt(app *unstructured.Unstructured, c *call) (map[string]any, error) {
	sources := sourcesOf(app)
	if id, ok := c.value["versionId"].(int64); ok {
		entry := historyEntry(app, id)
		if entry == nil {
			return nil, failed(connect.CodeNotFound, "revision history not found for version ID %d", id)
		}
		sources = sourcesIn(entry)
	}
	index := number(c.value, "sourceIndex")
	if index < 0 || int(index) >= len(sources) {
		return nil, failed(connect.CodeInvalidArgument, "source index %d not found because there are only %d sources", index, len(sources))
	}
	return sources[index], nil
}

func (s *server) revisionMetadata(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	source, err := sourceAt(app, c)
	if err != nil {
		return nil, err
	}
	r, err := s.Deliveries.Revision(ctx, app, source, text(c.value, "revision"))
	if err != nil {
		return nil, err
	}
	out := map[string]any{"author": r.Author, "message": r.Message, "tags": anys(r.Tags), "signatureInfo": r.Signature}
	if !r.Date.IsZero() {
		out["date"] = r.Date.UTC().Format(time.RFC3339)
	}
	return out, nil
}

func (s *server) chartDetails(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	source, err := sourceAt(app, c)
	if err != nil {
		return nil, err
	}
	if text(source, "chart") == "" {
		return nil, failed(connect.CodeInvalidArgument, "no chart found for application: %s", app.GetName())
	}
	chart, err := s.Deliveries.Chart(ctx, app, source, text(c.value, "revision"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"description": chart.Description, "home": chart.Home, "maintainers": anys(chart.Maintainers)}, nil
}

// ociMetadata tells of an artifact in a registry what is known of any revision.
func (s *server) ociMetadata(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	source, err := sourceAt(app, c)
	if err != nil {
		return nil, err
	}
	r, err := s.Deliveries.Revision(ctx, app, source, text(c.value, "revision"))
	if err != nil {
		return nil, err
	}
	out := map[string]any{"authors": r.Author, "description": r.Message}
	if !r.Date.IsZero() {
		out["createdAt"] = r.Date.UTC().Format(time.RFC3339)
	}
	return out, nil
}
