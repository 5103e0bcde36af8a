package engine

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// WatchLabel selects what Plumb watches. It only selects: ownership is the
// inventory alone.
const WatchLabel = "plumb.dev/managed"

// mark turns a rendered object into a desired one: the delivery's marks and the
// watch label are set, and what its annotations ask for is read.
func (e *Engine) mark(d *model.Delivery, r *model.Rendered) (model.Desired, error) {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(r.JSON); err != nil {
		return model.Desired{}, &model.Fault{Reason: "BuildFailed", Message: fmt.Sprintf("%s cannot be decoded: %v", r.ID, err), Origin: r.Origin, Object: r.ID}
	}
	handle, stage := e.opts.Words.Handling(d.Origin.Dialect, o)
	if d.Release != nil {
		handle, stage = releaseHandling(o), model.Stage{}
		MarkRelease(&d.Ownership, o)
	}
	object.FoldStringData(o)
	Mark(&d.Ownership, o)
	body, err := object.Canonical(o.Object)
	if err != nil {
		return model.Desired{}, fmt.Errorf("%s: %w", r.ID, err)
	}
	return model.Desired{
		ID:      r.ID,
		Version: r.Version,
		Digest:  object.Keyed(e.key, body),
		JSON:    body,
		Origin:  r.Origin,
		Secret:  r.Secret || (r.ID.Group == "" && r.ID.Kind == "Secret"),
		Given:   r.Given,
		Handle:  handle,
		Stage:   stage,
	}, nil
}

// MarkRelease sets what Helm knows the objects of a release by. Its hooks have
// none of it.
func MarkRelease(owner *model.Ownership, o *unstructured.Unstructured) {
	notes := o.GetAnnotations()
	if _, role := helm.ReadHook(o.GetKind(), o.GetName(), notes); role != helm.Plain {
		return
	}
	o.SetLabels(with(o.GetLabels(), owner.ReleaseLabels))
	o.SetAnnotations(with(notes, owner.ReleaseAnnotations))
}

// with is a map with the entries of another one.
func with(base, more map[string]string) map[string]string {
	if len(more) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}

// Mark sets on an object what ties it to the delivery that owns it: labels, the
// tracking annotation, the owner reference, and the label that it is watched by.
func Mark(owner *model.Ownership, o *unstructured.Unstructured) {
	ls := o.GetLabels()
	if ls == nil {
		ls = map[string]string{}
	}
	for k, v := range owner.Labels {
		ls[k] = v
	}
	ls[WatchLabel] = "true"
	o.SetLabels(ls)
	if t := owner.Tracking; t.Annotation != "" {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[t.Annotation] = trackingID(t.Owner, o)
		if t.InstallationID != "" {
			annotations[t.InstallationAnnotation] = t.InstallationID
		}
		o.SetAnnotations(annotations)
	}
	if ref := owner.Reference; ref != nil {
		yes := true
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name, UID: types.UID(ref.UID), Controller: &yes, BlockOwnerDeletion: &yes,
		}})
	}
}

// trackingID names an object and its owner (Argo CD, "Resource Tracking").
func trackingID(owner string, o *unstructured.Unstructured) string {
	gk := o.GroupVersionKind().GroupKind()
	return fmt.Sprintf("%s:%s/%s:%s/%s", owner, gk.Group, gk.Kind, o.GetNamespace(), o.GetName())
}

// marked reports whether a live object carries the marks of its owner. Without
// them it is not deleted (fluxcd/pkg ssa, DeleteOptions.Inclusions; Argo CD,
// tracking): an inventory that came out of a backup, or of another cluster, is
// no proof.
func marked(live *unstructured.Unstructured, owner *model.Ownership) bool {
	has := live.GetLabels()
	for k, v := range owner.Labels {
		if has[k] != v {
			return false
		}
	}
	if owner.Reference != nil && !refers(live, owner.Reference) {
		return false
	}
	t := owner.Tracking
	if t.Annotation == "" {
		return true
	}
	notes := live.GetAnnotations()
	return notes[t.Annotation] == trackingID(t.Owner, live) && (t.InstallationID == "" || notes[t.InstallationAnnotation] == t.InstallationID)
}

// refers reports whether an object names its owner.
func refers(live *unstructured.Unstructured, ref *model.OwnerReference) bool {
	return slices.ContainsFunc(live.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return string(o.UID) == ref.UID })
}

// ignored lists the JSON pointers that the delivery's rules leave to others on
// this object: all of them, or those that are not about comparing only.
func ignored(rules []model.IgnoreRule, all bool, o *unstructured.Unstructured) []string {
	var paths []string
	for _, rule := range rules {
		if (all || !rule.CompareOnly) && (rule.Target == nil || selects(rule.Target, o)) {
			paths = append(paths, rule.Paths...)
		}
	}
	return paths
}

// selects matches an object as kustomize does: anchored regular expressions
// for names and kinds, selectors for labels and annotations.
func selects(s *model.Selector, o *unstructured.Unstructured) bool {
	gvk := o.GroupVersionKind()
	for _, m := range [][2]string{
		{s.Group, gvk.Group}, {s.Version, gvk.Version}, {s.Kind, gvk.Kind},
		{s.Namespace, o.GetNamespace()}, {s.Name, o.GetName()},
	} {
		if m[0] == "" {
			continue
		}
		re, err := regexp.Compile("^(?:" + m[0] + ")$")
		if err != nil || !re.MatchString(m[1]) {
			return false
		}
	}
	for _, m := range []struct {
		selector string
		set      map[string]string
	}{{s.LabelSelector, o.GetLabels()}, {s.AnnotationSelector, o.GetAnnotations()}} {
		if m.selector == "" {
			continue
		}
		sel, err := labels.Parse(m.selector)
		if err != nil || !sel.Matches(labels.Set(m.set)) {
			return false
		}
	}
	return true
}
