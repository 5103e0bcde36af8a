package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"plumb.dev/plumb/internal/request"
)

// refreshTimestamp tells one request to refresh from the next
// (AnnotationKeyRefreshTimestamp).
const refreshTimestamp = "argocd.argoproj.io/refresh-timestamp"

// refresh asks for a new look at an Application, and waits until that was had:
// whoever looks takes the annotation off.
func (s *server) refresh(ctx context.Context, app *unstructured.Unstructured, hard bool) (*unstructured.Unstructured, error) {
	token := s.Now().UTC().Format(time.RFC3339Nano)
	patch, err := request.Refresh(app, token, hard)
	if err != nil {
		return nil, refused(app, err)
	}
	if err := unstructured.SetNestedField(patch, token, "metadata", "annotations", refreshTimestamp); err != nil {
		return nil, err
	}
	asked, err := s.Objects.Patch(ctx, KindApplication, app.GetNamespace(), app.GetName(), mergeType, mergePatch(patch))
	if err != nil {
		return nil, fmt.Errorf("error refreshing the app: %w", err)
	}
	since := versionOf(asked) // 0 lets every version pass
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
		version := versionOf(o)
		if _, still := o.GetAnnotations()[status.AnnotationRefresh]; !still && (version == 0 || version > since) {
			found = o.DeepCopy()
			stop()
		}
	}
	err = s.Objects.Watch(waiting, KindApplication, "", look, func() {})
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
	wanted, err := s.revisions(ctx, c, app)
	if err != nil {
		return nil, err
	}
	updated, err := s.begin(ctx, app, wanted.operation)
	if err != nil {
		return nil, wanted.explained(err)
	}
	partial := ""
	if len(items(c.value, "resources")) > 0 {
		partial = "partial "
	}
	s.done(ctx, c, "sync", KindApplication, updated, fmt.Sprintf("initiated %ssync to %s", partial, wanted.words()))
	return s.told(updated).Object, nil
}

// syncing is a sync that somebody asks for, source by source.
type syncing struct {
	request request.Sync
	sources []map[string]any
	asked   []string // revisions; "" for the declared one
}

func (w *syncing) operation(app *unstructured.Unstructured) (request.Patch, error) {
	return w.request.Operation(app)
}

// words are the revisions for those who read what was done.
func (w *syncing) words() string {
	out := make([]string, len(w.asked))
	for i, revision := range w.asked {
		if out[i] = revision; revision == "" {
			out[i] = orHead(text(w.sources[i], "targetRevision"))
		}
	}
	return strings.Join(out, ",")
}

// explained puts a refusal of another revision into upstream's words.
func (w *syncing) explained(err error) error {
	var automated *request.AutomatedError
	if !errors.As(err, &automated) {
		return err
	}
	if i := slices.Index(w.asked, automated.Asked); i >= 0 && len(w.asked) > 1 {
		return failed(connect.CodeFailedPrecondition, "Cannot sync source %s to %s: auto-sync currently set to %s", text(w.sources[i], "repoURL"), automated.Asked, automated.Target)
	}
	return failed(connect.CodeFailedPrecondition, "Cannot sync to %s: auto-sync currently set to %s", automated.Asked, automated.Target)
}

// revisions reads what a request asks for. Another revision than the declared one
// may ask for an override where the installation says so. Where none is asked
// for, the sources are looked at first.
func (s *server) revisions(ctx context.Context, c *call, app *unstructured.Unstructured) (*syncing, error) {
	out := &syncing{sources: sourcesOf(app)}
	if len(out.sources) == 0 {
		return nil, failed(connect.CodeFailedPrecondition, "application %s has no source", app.GetName())
	}
	out.asked = make([]string, len(out.sources))
	many := len(objects(app.Object, "spec", "sources")) > 0
	if many {
		positions, given := items(c.value, "sourcePositions"), texts(c.value, "revisions")
		for i, p := range positions {
			position, _ := p.(int64)
			if position <= 0 || int(position) > len(out.sources) || i >= len(given) {
				return nil, failed(connect.CodeInvalidArgument, "source position is out of range")
			}
			out.asked[position-1] = given[i]
		}
	} else {
		out.asked[0] = text(c.value, "revision")
	}
	for i, source := range out.sources {
		if out.asked[i] == orHead(text(source, "targetRevision")) {
			out.asked[i] = ""
		}
	}
	elsewhere := slices.ContainsFunc(out.asked, func(revision string) bool { return revision != "" })
	if elsewhere && s.setting(ctx, "application.sync.requireOverridePrivilegeForRevisionSync") == "true" {
		if err := s.must(ctx, c, policy.Applications, policy.Override, s.objectOf(app)); err != nil {
			return nil, err
		}
	}
	out.request = requested(c, nameOf(c.who))
	switch out.request.Fresh = !elsewhere; {
	case elsewhere && many:
		out.request.Revisions = out.asked
	case elsewhere:
		out.request.Revision = out.asked[0]
	}
	return out, nil
}

// requested is what a request to sync says, but for revisions.
func requested(c *call, by string) request.Sync {
	out := request.Sync{
		Prune: flag(c.value, "prune"), DryRun: flag(c.value, "dryRun"), Retry: object(c.value, "retryStrategy"), By: by,
		NoHooks: object(c.value, "strategy", "apply") != nil,
		Force:   flag(c.value, "strategy", "apply", "force") || flag(c.value, "strategy", "hook", "force"),
		Only:    object(c.value, "syncOptions") != nil, Options: texts(c.value, "syncOptions", "items"),
	}
	for _, r := range objects(c.value, "resources") {
		out.Resources = append(out.Resources, model.ObjectFilter{
			Group: text(r, "group"), Kind: text(r, "kind"), Namespace: text(r, "namespace"), Name: text(r, "name"),
		})
	}
	for _, info := range objects(c.value, "infos") {
		out.Info = append(out.Info, [2]string{text(info, "name"), text(info, "value")})
	}
	return out
}

func orHead(revision string) string {
	if revision == "" {
		return "HEAD"
	}
	return revision
}

// setting is one key of argocd-cm; "" where it cannot be read.
func (s *server) setting(ctx context.Context, key string) string {
	o, err := s.Objects.Get(ctx, KindConfigMap, s.Namespace, "argocd-cm")
	if err != nil {
		return ""
	}
	return text(o.Object, "data", key)
}

// begin writes an operation; only one can be under way (util/argo
// SetAppOperation).
func (s *server) begin(ctx context.Context, app *unstructured.Unstructured, operation func(*unstructured.Unstructured) (request.Patch, error)) (*unstructured.Unstructured, error) {
	for range conflicts {
		now, err := s.Objects.Get(ctx, KindApplication, app.GetNamespace(), app.GetName())
		if err != nil {
			return nil, fmt.Errorf("error setting app operation: error getting application %q: %w", app.GetName(), err)
		}
		patch, err := operation(now)
		if err != nil {
			return nil, refused(app, err)
		}
		updated, err := s.Objects.Patch(ctx, KindApplication, app.GetNamespace(), app.GetName(), mergeType, mergePatch(patch))
		if err == nil {
			return updated, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("error setting app operation: error updating application %q: %w", app.GetName(), err)
		}
	}
	return nil, failed(connect.CodeInternal, "Failed to set operation. Too many conflicts")
}

// refused puts why an Application does not take a request into upstream's words,
// where it has some.
func refused(app *unstructured.Unstructured, err error) error {
	var automated *request.AutomatedError
	switch {
	case errors.Is(err, request.ErrDeleting):
		return failed(connect.CodeFailedPrecondition, "application is deleting")
	case errors.Is(err, request.ErrBusy):
		return failed(connect.CodeFailedPrecondition, "%s", err.Error())
	case errors.As(err, &automated):
		return err
	}
	return failed(connect.CodeFailedPrecondition, "application %s: %s", app.GetName(), err.Error())
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
	if request.Automated(app) {
		return nil, failed(connect.CodeFailedPrecondition, "rollback cannot be initiated when auto-sync is enabled")
	}
	entry := historyEntry(app, id)
	if entry == nil {
		return nil, failed(connect.CodeInvalidArgument, "application %s does not have deployment with id %d", qualified(app), id)
	}
	if len(sourcesIn(entry)) == 0 {
		return nil, failed(connect.CodeFailedPrecondition, "cannot rollback to revision deployed with Argo CD v0.11 or lower. sync to revision instead.")
	}
	updated, err := s.begin(ctx, app, func(now *unstructured.Unstructured) (request.Patch, error) {
		patch, _, err := request.Rollback(now, id, flag(c.value, "prune"), flag(c.value, "dryRun"), nameOf(c.who))
		return patch, err
	})
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "rollback", KindApplication, updated, fmt.Sprintf("initiated rollback to %d", id))
	return s.told(updated).Object, nil
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
		patch, err := request.Terminate(app)
		if err != nil {
			return nil, failed(connect.CodeInvalidArgument, "Unable to terminate operation. No operation is in progress")
		}
		updated, err := s.Objects.Patch(ctx, KindApplication, app.GetNamespace(), app.GetName(), mergeType, mergePatch(patch))
		if err == nil {
			s.done(ctx, c, "terminate", KindApplication, updated, "terminated running operation")
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
