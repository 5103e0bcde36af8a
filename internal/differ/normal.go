package differ

import (
	"bytes"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// normal is an object in the form in which it is compared.
type normal struct {
	fields map[string]any
	// emptied are pointers of maps and lists that hold nothing any more since
	// all of it is left to others: they are the same as none at all.
	emptied map[string]bool
}

// normalise copies an object without what never counts. managedFields are
// those of live.
func (r *Rules) normalise(o, live *unstructured.Unstructured, typed bool) normal {
	u := &unstructured.Unstructured{Object: r.relevant(o)}
	object.FoldStringData(u) // before the rules, which speak of data
	// A rule that was stopped leaves the difference visible; its fault comes
	// from Strip.
	removed, _ := r.strip(u, live)
	n := normal{fields: u.Object}
	if r.statusIgnored(u) {
		delete(n.fields, "status")
	}
	n.metadata(r)
	n.builtin(u, r)
	r.knownTypes(u)
	if typed {
		n.fields = retypedObject(n.fields, u.GroupVersionKind())
	}
	n.noteEmptied(removed)
	return n
}

// relevant copies an object, without managedFields, which are large, unless a
// rule may look at them.
func (r *Rules) relevant(o *unstructured.Unstructured) map[string]any {
	if r.Any(o) {
		out, _ := clone(o.Object).(map[string]any)
		return out
	}
	out := make(map[string]any, len(o.Object))
	for key, value := range o.Object {
		metadata, ok := value.(map[string]any)
		if key != "metadata" || !ok {
			out[key] = clone(value)
			continue
		}
		kept := make(map[string]any, len(metadata))
		for name, child := range metadata {
			if name != "managedFields" {
				kept[name] = clone(child)
			}
		}
		out[key] = kept
	}
	return out
}

// statusIgnored answers resource.compareoptions, ignoreResourceStatusField.
func (r *Rules) statusIgnored(o *unstructured.Unstructured) bool {
	if r == nil {
		return true
	}
	switch r.compare.Status {
	case model.StatusOfNone:
		return false
	case model.StatusOfCRDs:
		gvk := o.GroupVersionKind()
		return gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition"
	}
	return true
}

// serverMetadata are the fields that only a server writes.
var serverMetadata = []string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
}

// metadata takes out what a server writes, and the marks of owners.
func (n *normal) metadata(r *Rules) {
	metadata, ok := n.fields["metadata"].(map[string]any)
	if !ok {
		return
	}
	for _, name := range serverMetadata {
		delete(metadata, name)
	}
	dropMarks(metadata, "labels", r.marks(false))
	dropMarks(metadata, "annotations", r.marks(true))
}

// dropMarks takes marks out of labels or annotations, and these out of the
// metadata when they are empty.
func dropMarks(metadata map[string]any, field string, marks map[string]bool) {
	values, ok := metadata[field].(map[string]any)
	if !ok {
		return
	}
	for name := range values {
		if marks[name] {
			delete(values, name)
		}
	}
	if len(values) == 0 {
		delete(metadata, field)
	}
}

// builtin gives the kinds that servers change in known ways one form (argo-cd
// gitops-engine pkg/diff, Normalize).
func (n *normal) builtin(o *unstructured.Unstructured, r *Rules) {
	gvk := o.GroupVersionKind()
	switch {
	case gvk.Group == "" && gvk.Kind == "Secret":
		n.secret()
	case gvk.Group == "" && gvk.Kind == "Endpoints":
		n.endpoints()
	case gvk.Group == "rbac.authorization.k8s.io" && (gvk.Kind == "ClusterRole" || gvk.Kind == "Role"):
		n.role(r)
	}
}

// secret makes a value that is null an empty one.
func (n *normal) secret() {
	data, _ := n.fields["data"].(map[string]any)
	for key, value := range data {
		if value == nil {
			data[key] = ""
		}
	}
	if len(data) == 0 {
		delete(n.fields, "data")
	}
}

// role drops rules that are empty, or that a controller aggregates.
func (n *normal) role(r *Rules) {
	_, aggregated := n.fields["aggregationRule"].(map[string]any)
	rules, isList := n.fields["rules"].([]any)
	if isList && len(rules) == 0 || aggregated && r != nil && r.compare.IgnoreAggregatedRoles {
		delete(n.fields, "rules")
	}
}

// endpoints orders subsets and what is in them, whose order means nothing, and
// names the default protocol.
func (n *normal) endpoints() {
	subsets, _ := n.fields["subsets"].([]any)
	for _, item := range subsets {
		subset, _ := item.(map[string]any)
		ports, _ := subset["ports"].([]any)
		for _, item := range ports {
			if port, ok := item.(map[string]any); ok && (port["protocol"] == nil || port["protocol"] == "") {
				port["protocol"] = "TCP"
			}
		}
		for _, field := range []string{"addresses", "notReadyAddresses", "ports"} {
			if list, ok := subset[field].([]any); ok {
				sortCanonically(list)
			}
		}
	}
	sortCanonically(subsets)
}

func sortCanonically(list []any) {
	slices.SortStableFunc(list, func(a, b any) int {
		first, errA := object.CanonicalValue(a)
		second, errB := object.CanonicalValue(b)
		if errA != nil || errB != nil {
			return 0
		}
		return bytes.Compare(first, second)
	})
}

// knownTypes rewrites the fields whose types are known.
func (r *Rules) knownTypes(o *unstructured.Unstructured) {
	known := defaults.known
	if r != nil {
		known = r.known
	}
	for i := range known[kindOf(o.GroupVersionKind())] {
		field := &known[kindOf(o.GroupVersionKind())][i]
		field.rewrite(o.Object, field.path)
	}
}

// noteEmptied finds what holds nothing since places were removed from it.
func (n *normal) noteEmptied(removed []place) {
	for _, at := range removed {
		for parent := at[:len(at)-1]; len(parent) > 0; parent = parent[:len(parent)-1] {
			value, ok := parent.get(n.fields)
			if !ok {
				continue
			}
			if size(value) > 0 && !n.hollow(parent, value) {
				break
			}
			if n.emptied == nil {
				n.emptied = map[string]bool{}
			}
			n.emptied[parent.pointer()] = true
		}
	}
}

// hollow reports whether a map holds nothing but what has been emptied.
func (n *normal) hollow(at place, value any) bool {
	fields, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for key := range fields {
		if !n.emptied[at.with(key).pointer()] {
			return false
		}
	}
	return true
}
