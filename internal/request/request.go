// Package request says what is written on a declared object when somebody asks
// for something: a look at once, a pause, a sync, a way back. Each request is a
// JSON merge patch, in the words that upstream's own command lines and servers
// write, so that whoever reads the object understands it.
//
// It is pure; commands, the API and the protocol of Argo CD share it.
package request

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/model"
)

// Patch is a JSON merge patch of a declared object.
type Patch map[string]any

// ErrBusy refuses an operation while another one is under way.
var ErrBusy = errors.New("another operation is already in progress")

// ErrSuspended refuses what a suspended object would not act on.
var ErrSuspended = errors.New("it is suspended: resume it first")

// ErrDeleting refuses an operation on an Application that is going.
var ErrDeleting = errors.New("it is being deleted")

// AutomatedError refuses a sync to a revision that automated sync would leave
// again at once.
type AutomatedError struct {
	Asked  string
	Target string // as declared
}

func (e *AutomatedError) Error() string {
	return fmt.Sprintf("cannot sync to %s: auto-sync currently set to %s", e.Asked, e.Target)
}

// DeletionApproved confirms deletions that ask for a person, from the time that
// it holds on (argo-cd, docs/user-guide/sync-options.md).
const DeletionApproved = "argocd.argoproj.io/deletion-approved"

// AnnotationForceAt and AnnotationResetAt ask more of a release than a look,
// where they have the value of the request for one (helm-controller api/v2,
// annotations.go).
const (
	AnnotationForceAt = "reconcile.fluxcd.io/forceAt"
	AnnotationResetAt = "reconcile.fluxcd.io/resetAt"
)

// generatorReconcile pauses an ArtifactGenerator (fluxcd/source-watcher).
const generatorReconcile = "source.extensions.fluxcd.io/reconcile"

func annotations(set map[string]any) Patch {
	return Patch{"metadata": map[string]any{"annotations": set}}
}

// Suspended reports whether an object rests because somebody asked for it.
func Suspended(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "Application":
		return o.GetAnnotations()[argo.AnnotationSkipReconcile] == "true"
	case "ArtifactGenerator":
		return strings.EqualFold(o.GetAnnotations()[generatorReconcile], "disabled")
	}
	on, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
	return on
}

// Suspend lets an object rest.
func Suspend(o *unstructured.Unstructured) (Patch, error) {
	switch o.GetKind() {
	case "Application":
		return annotations(map[string]any{argo.AnnotationSkipReconcile: "true"}), nil
	case "ArtifactGenerator":
		return annotations(map[string]any{generatorReconcile: "disabled"}), nil
	case "ApplicationSet", "AppProject":
		return nil, fmt.Errorf("%s has no suspension", o.GetKind())
	}
	return Patch{"spec": map[string]any{"suspend": true}}, nil
}

// Resume lets an object work again, and look at once.
func Resume(o *unstructured.Unstructured) (Patch, error) {
	switch o.GetKind() {
	case "Application":
		return annotations(map[string]any{argo.AnnotationSkipReconcile: nil, status.AnnotationRefresh: "normal"}), nil
	case "ArtifactGenerator":
		return annotations(map[string]any{generatorReconcile: nil}), nil
	case "ApplicationSet", "AppProject":
		return nil, fmt.Errorf("%s has no suspension", o.GetKind())
	}
	return Patch{"spec": map[string]any{"suspend": nil}}, nil // upstream removes the field
}

// Look is a look at once that somebody asks for.
type Look struct {
	Token string // differs with every request
	Hard  bool   // nothing that is remembered counts (Applications)
	Force bool   // a release is installed or upgraded though nothing has changed
	Reset bool   // the failures of a release count from zero
}

// Patch asks an object for the look.
func (l Look) Patch(o *unstructured.Unstructured) (Patch, error) {
	if Suspended(o) {
		return nil, ErrSuspended
	}
	switch o.GetKind() {
	case "ApplicationSet":
		return annotations(map[string]any{appset.RefreshAnnotation: "true"}), nil
	case "Application":
		how := "normal"
		if l.Hard {
			how = "hard"
		}
		return annotations(map[string]any{status.AnnotationRefresh: how}), nil
	}
	if o.GetKind() == "AppProject" {
		return nil, errors.New("AppProject is in force at any time: there is nothing to look at")
	}
	asked := map[string]any{flux.AnnotationRequestedAt: l.Token}
	release := o.GetKind() == "HelmRelease"
	if l.Force && release {
		asked[AnnotationForceAt] = l.Token
	}
	if l.Reset && release {
		asked[AnnotationResetAt] = l.Token
	}
	return annotations(asked), nil
}

// Refresh asks for a look at once. token differs with every request; hard:
// nothing that is remembered counts.
func Refresh(o *unstructured.Unstructured, token string, hard bool) (Patch, error) {
	return Look{Token: token, Hard: hard}.Patch(o)
}

// Approve agrees to the deletions of a hold. seen is the token that was shown:
// another set has another. "": the deletions that ask for a person one by one.
func Approve(seen, now string) Patch {
	if seen != "" {
		return annotations(map[string]any{flux.AnnotationApprove: seen})
	}
	return annotations(map[string]any{DeletionApproved: now})
}

// Free reports why an Application cannot take an operation now; nil: it can.
func Free(o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() != "Application":
		return fmt.Errorf("%s takes no operations", o.GetKind())
	case o.GetDeletionTimestamp() != nil:
		return ErrDeleting
	case o.Object["operation"] != nil || Running(o):
		return ErrBusy
	case Suspended(o):
		return ErrSuspended
	}
	return nil
}

// Running reports whether an operation of an Application is under way.
func Running(o *unstructured.Unstructured) bool {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "operationState", "phase")
	return phase == string(model.OperationRunning) || phase == string(model.OperationTerminating)
}

// operation is the patch that writes an operation on the version of an
// Application that was read, and takes away the account of the last one.
func operation(o *unstructured.Unstructured, fields map[string]any, notes map[string]any) Patch {
	metadata := map[string]any{"resourceVersion": o.GetResourceVersion()}
	if len(notes) > 0 {
		metadata["annotations"] = notes
	}
	p := Patch{"metadata": metadata, "operation": fields}
	if _, found, _ := unstructured.NestedMap(o.Object, "status", "operationState"); found {
		p["status"] = map[string]any{"operationState": nil}
	}
	return p
}

// Sync is a sync of an Application that somebody asks for.
type Sync struct {
	Revision  string   // of its only source; "": as declared
	Revisions []string // source by source, where it has several; "": as declared
	Prune     bool
	DryRun    bool
	Force     bool
	NoHooks   bool                 // apply only
	Resources []model.ObjectFilter // only these; none: all
	Options   []string             // besides those of the Application, which they go before
	Only      bool                 // Options in the place of those of the Application
	Fresh     bool                 // look at its sources first: a commit may have come that nobody told of
	Retry     map[string]any       // as in syncPolicy.retry; nil: as the Application says
	Info      [][2]string          // names and values to keep with the operation
	By        string
}

// Operation asks an Application to sync.
func (s Sync) Operation(o *unstructured.Unstructured) (Patch, error) {
	if err := Free(o); err != nil {
		return nil, err
	}
	sync := map[string]any{"syncStrategy": s.strategy()}
	if err := s.putRevisions(sync, o); err != nil {
		return nil, err
	}
	if s.Prune {
		sync["prune"] = true
	}
	if s.DryRun {
		sync["dryRun"] = true
	}
	var chosen []any
	for _, r := range s.Resources {
		one := map[string]any{"kind": r.Kind, "name": r.Name}
		for field, value := range map[string]string{"group": r.Group, "namespace": r.Namespace} {
			if value != "" {
				one[field] = value
			}
		}
		chosen = append(chosen, one)
	}
	if len(chosen) > 0 {
		sync["resources"] = chosen
	}
	options := mergedOptions(o, s.Options)
	if s.Only {
		options = listed(s.Options)
	}
	if len(options) > 0 {
		sync["syncOptions"] = options
	}
	var notes map[string]any
	if s.Fresh {
		notes = map[string]any{status.AnnotationRefresh: "normal"}
	}
	return operation(o, s.account(o, sync), notes), nil
}

func listed(in []string) []any {
	out := make([]any, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}

// account is an operation with who asked for it, and how often it is retried.
func (s Sync) account(o *unstructured.Unstructured, sync map[string]any) map[string]any {
	fields := map[string]any{"sync": sync, "initiatedBy": initiator(s.By)}
	if retry, found, _ := unstructured.NestedMap(o.Object, "spec", "syncPolicy", "retry"); found {
		fields["retry"] = retry
	}
	if s.Retry != nil {
		fields["retry"] = s.Retry
	}
	var info []any
	for _, pair := range s.Info {
		info = append(info, map[string]any{"name": pair[0], "value": pair[1]})
	}
	if len(info) > 0 {
		fields["info"] = info
	}
	return fields
}

func initiator(by string) map[string]any {
	if by == "" {
		return map[string]any{}
	}
	return map[string]any{"username": by}
}

func (s Sync) strategy() map[string]any {
	how := map[string]any{}
	if s.Force {
		how["force"] = true
	}
	if s.NoHooks {
		return map[string]any{"apply": how}
	}
	return map[string]any{"hook": how}
}

// putRevisions writes which revisions to sync to. An Application that syncs by
// itself would leave others again at once.
func (s Sync) putRevisions(sync map[string]any, o *unstructured.Unstructured) error {
	many, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	single, _, _ := unstructured.NestedString(o.Object, "spec", "source", "targetRevision")
	asked := s.Revisions
	switch {
	case s.Revision == "" && len(asked) == 0:
		return nil
	case s.Revision != "" && len(many) > 1:
		return fmt.Errorf("it has %d sources: a sync to one revision does not say of which", len(many))
	case s.Revision != "":
		asked = []string{s.Revision}
	case len(asked) != max(len(many), 1):
		return fmt.Errorf("it has %d sources, and %d revisions are given", max(len(many), 1), len(asked))
	}
	list := make([]any, len(asked))
	for i, revision := range asked {
		target := single
		if i < len(many) {
			fields, _ := many[i].(map[string]any)
			target, _ = fields["targetRevision"].(string)
		}
		if revision != "" && revision != target && Automated(o) && !s.DryRun {
			return &AutomatedError{Asked: revision, Target: target}
		}
		list[i] = revision
	}
	if len(many) > 0 {
		sync["revisions"] = list
	} else {
		sync["revision"] = list[0]
	}
	return nil
}

// Automated reports whether an Application syncs by itself.
func Automated(o *unstructured.Unstructured) bool {
	automated, found, _ := unstructured.NestedMap(o.Object, "spec", "syncPolicy", "automated")
	enabled, said := automated["enabled"].(bool)
	return found && (!said || enabled)
}

// mergedOptions are the sync options of an Application, with those that are
// given in place of those of the same name.
func mergedOptions(o *unstructured.Unstructured, given []string) []any {
	own, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "syncPolicy", "syncOptions")
	name := func(option string) string { n, _, _ := strings.Cut(option, "="); return n }
	var out []any
	for _, option := range own {
		if !slices.ContainsFunc(given, func(g string) bool { return name(g) == name(option) }) {
			out = append(out, option)
		}
	}
	return append(out, listed(given)...)
}

// Rollback takes an Application back to the sync with an ID in its history. The
// revision that it leaves is put in quarantine where the Application would go
// to it again by itself; left is that revision, or "".
func Rollback(o *unstructured.Unstructured, id int64, prune, dryRun bool, by string) (p Patch, left string, err error) {
	if err := Free(o); err != nil {
		return nil, "", err
	}
	entry, err := earlier(o, id)
	if err != nil {
		return nil, "", err
	}
	sync := map[string]any{"syncStrategy": map[string]any{"apply": map[string]any{}}}
	for _, field := range []string{"source", "sources", "revision", "revisions"} {
		if value, ok := entry[field]; ok {
			sync[field] = value
		}
	}
	if prune {
		sync["prune"] = true
	}
	if dryRun {
		sync["dryRun"] = true
	}
	if options := mergedOptions(o, nil); len(options) > 0 {
		sync["syncOptions"] = options
	}
	fields := map[string]any{"sync": sync, "initiatedBy": initiator(by)}
	if left = leaving(o, entry); !Automated(o) || dryRun {
		left = ""
	}
	var notes map[string]any
	if left != "" {
		notes = map[string]any{argo.AnnotationQuarantine: left}
	}
	return operation(o, fields, notes), left, nil
}

// earlier is the entry of an Application's history with an ID.
func earlier(o *unstructured.Unstructured, id int64) (map[string]any, error) {
	items, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	for _, item := range items {
		entry, ok := item.(map[string]any)
		if has, isNumber := entry["id"].(int64); !ok || !isNumber || has != id {
			continue
		}
		if entry["source"] == nil && entry["sources"] == nil {
			return nil, fmt.Errorf("sync %d does not say where it read from: sync to its revision instead", id)
		}
		return entry, nil
	}
	return nil, fmt.Errorf("there is no sync %d in its history", id)
}

// leaving is the revision that an Application is taken back from: the first
// that it was compared with; "" when the entry is of the same.
func leaving(o *unstructured.Unstructured, entry map[string]any) string {
	now, _, _ := unstructured.NestedMap(o.Object, "status", "sync")
	from, to := firstRevision(now), firstRevision(entry)
	if from == to {
		return ""
	}
	return from
}

func firstRevision(fields map[string]any) string {
	if list, _ := fields["revisions"].([]any); len(list) > 0 {
		revision, _ := list[0].(string)
		return revision
	}
	revision, _ := fields["revision"].(string)
	return revision
}

// Lift takes a quarantine off.
func Lift() Patch { return annotations(map[string]any{argo.AnnotationQuarantine: nil}) }

// Terminate stops the operation of an Application that runs, or takes away one
// that nobody has begun.
func Terminate(o *unstructured.Unstructured) (Patch, error) {
	metadata := map[string]any{"resourceVersion": o.GetResourceVersion()}
	switch {
	case Running(o):
		return Patch{"metadata": metadata, "status": map[string]any{"operationState": map[string]any{"phase": string(model.OperationTerminating)}}}, nil
	case o.Object["operation"] != nil:
		return Patch{"metadata": metadata, "operation": nil}, nil
	}
	return nil, errors.New("unable to terminate operation: no operation is in progress")
}
