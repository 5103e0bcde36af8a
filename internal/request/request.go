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

// deletionApproved confirms deletions that ask for a person, from the time that
// it holds on (argo-cd, docs/user-guide/sync-options.md).
const deletionApproved = "argocd.argoproj.io/deletion-approved"

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
		return o.GetAnnotations()[generatorReconcile] == "disabled"
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

// Refresh asks for a look at once. token differs with every request; hard:
// nothing that is remembered counts.
func Refresh(o *unstructured.Unstructured, token string, hard bool) (Patch, error) {
	if Suspended(o) {
		return nil, ErrSuspended
	}
	switch o.GetKind() {
	case "ApplicationSet":
		return annotations(map[string]any{appset.RefreshAnnotation: "true"}), nil
	case "Application":
		how := "normal"
		if hard {
			how = "hard"
		}
		return annotations(map[string]any{status.AnnotationRefresh: how}), nil
	}
	return annotations(map[string]any{flux.AnnotationRequestedAt: token}), nil
}

// Approve agrees to the deletions of a hold. seen is the token that was shown:
// another set has another. "": the deletions that ask for a person one by one.
func Approve(_ *unstructured.Unstructured, seen, now string) Patch {
	if seen != "" {
		return annotations(map[string]any{flux.AnnotationApprove: seen})
	}
	return annotations(map[string]any{deletionApproved: now})
}

// free reports whether an Application can take an operation.
func free(o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() != "Application":
		return fmt.Errorf("%s takes no operations", o.GetKind())
	case o.GetDeletionTimestamp() != nil:
		return errors.New("it is being deleted")
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
	Revision  string // "": as declared
	Prune     bool
	DryRun    bool
	Force     bool
	Resources []model.ObjectFilter // only these; none: all
	Options   []string             // besides those of the Application, which they go before
	By        string
}

// Operation asks an Application to sync.
func (s Sync) Operation(o *unstructured.Unstructured) (Patch, error) {
	if err := free(o); err != nil {
		return nil, err
	}
	sync := map[string]any{"syncStrategy": map[string]any{"hook": strategy(s.Force)}}
	if s.Revision != "" {
		if err := s.putRevision(sync, o); err != nil {
			return nil, err
		}
	}
	if s.Prune {
		sync["prune"] = true
	}
	if s.DryRun {
		sync["dryRun"] = true
	}
	var chosen []any
	for _, r := range s.Resources {
		one := map[string]any{"group": r.Group, "kind": r.Kind, "name": r.Name}
		if r.Namespace != "" {
			one["namespace"] = r.Namespace
		}
		chosen = append(chosen, one)
	}
	if len(chosen) > 0 {
		sync["resources"] = chosen
	}
	if options := mergedOptions(o, s.Options); len(options) > 0 {
		sync["syncOptions"] = options
	}
	return operation(o, s.account(o, sync), nil), nil
}

// account is an operation with who asked for it, and how often it is retried.
func (s Sync) account(o *unstructured.Unstructured, sync map[string]any) map[string]any {
	fields := map[string]any{"sync": sync, "initiatedBy": initiator(s.By)}
	if retry, found, _ := unstructured.NestedMap(o.Object, "spec", "syncPolicy", "retry"); found {
		fields["retry"] = retry
	}
	return fields
}

func initiator(by string) map[string]any {
	if by == "" {
		return map[string]any{}
	}
	return map[string]any{"username": by}
}

func strategy(force bool) map[string]any {
	if force {
		return map[string]any{"force": true}
	}
	return map[string]any{}
}

// putRevision writes which revision to sync to. An Application that syncs by
// itself would leave another one again at once.
func (s Sync) putRevision(sync map[string]any, o *unstructured.Unstructured) error {
	many, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	target, _, _ := unstructured.NestedString(o.Object, "spec", "source", "targetRevision")
	switch {
	case len(many) > 1:
		return fmt.Errorf("it has %d sources: a sync to one revision does not say of which", len(many))
	case len(many) == 1:
		if m, ok := many[0].(map[string]any); ok {
			target, _ = m["targetRevision"].(string)
		}
	}
	if Automated(o) && !s.DryRun && s.Revision != target {
		return fmt.Errorf("cannot sync to %s: auto-sync currently set to %s", s.Revision, target)
	}
	if len(many) == 1 {
		sync["revisions"] = []any{s.Revision}
	} else {
		sync["revision"] = s.Revision
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
	for _, option := range given {
		out = append(out, option)
	}
	return out
}

// Rollback takes an Application back to the sync with an ID in its history. The
// revision that it leaves is put in quarantine where the Application would go
// to it again by itself; left is that revision, or "".
func Rollback(o *unstructured.Unstructured, id int64, prune, dryRun bool, by string) (p Patch, left string, err error) {
	if err := free(o); err != nil {
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
	if revision, _ := fields["revision"].(string); revision != "" {
		return revision
	}
	list, _ := fields["revisions"].([]any)
	if len(list) == 0 {
		return ""
	}
	revision, _ := list[0].(string)
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
