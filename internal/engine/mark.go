package engine

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// WatchLabel selects what Plumb watches. It only selects: ownership is the
// inventory alone.
const WatchLabel = "plumb.dev/managed"

// mark turns a rendered object into a desired one: the delivery's labels and
// the watch label are set, and what its annotations ask for is read.
func (e *Engine) mark(d *model.Delivery, r *model.Rendered) (model.Desired, error) {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(r.JSON); err != nil {
		return model.Desired{}, &model.Fault{Reason: "BuildFailed", Message: fmt.Sprintf("%s cannot be decoded: %v", r.ID, err), Origin: r.Origin, Object: r.ID}
	}
	handle := handling(o, d.Ownership.Control)
	object.FoldStringData(o)
	ls := o.GetLabels()
	if ls == nil {
		ls = map[string]string{}
	}
	for k, v := range d.Ownership.Labels {
		ls[k] = v
	}
	ls[WatchLabel] = "true"
	o.SetLabels(ls)
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
		Handle:  handle,
	}, nil
}

// marked reports whether a live object carries the labels of its owner. Without
// them it is not deleted (fluxcd/pkg ssa, DeleteOptions.Inclusions): an
// inventory that came out of a backup, or of another cluster, is no proof.
func marked(live *unstructured.Unstructured, want map[string]string) bool {
	has := live.GetLabels()
	for k, v := range want {
		if has[k] != v {
			return false
		}
	}
	return true
}

// handling reads the control annotations of one object. Labels of the same
// names count too, as upstream has it.
func handling(o *unstructured.Unstructured, names model.Annotations) model.Handling {
	is := func(name, want string) bool {
		return name != "" && (strings.EqualFold(o.GetAnnotations()[name], want) || strings.EqualFold(o.GetLabels()[name], want))
	}
	return model.Handling{
		Disabled:     is(names.Reconcile, "disabled") || is(names.SSA, "Ignore"),
		Keep:         is(names.Prune, "disabled"),
		Merge:        is(names.SSA, "Merge"),
		IfNotPresent: is(names.SSA, "IfNotPresent"),
		Force:        is(names.Force, "enabled"),
	}
}

// ignored lists the JSON pointers that the delivery's rules leave to others on
// this object.
func ignored(rules []model.IgnoreRule, o *unstructured.Unstructured) []string {
	var paths []string
	for _, rule := range rules {
		if rule.Target == nil || selects(rule.Target, o) {
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
