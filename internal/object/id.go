package object

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ID is the identity of a Kubernetes object within one cluster. The version is
// no part of it: the same object is served in several.
type ID struct {
	Group     string
	Kind      string
	Namespace string
	Name      string
}

// Of returns the identity of a decoded object.
func Of(o *unstructured.Unstructured) ID {
	gvk := o.GroupVersionKind()
	return ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// GroupKind returns the kind of the object.
func (id ID) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: id.Group, Kind: id.Kind}
}

// IsZero reports whether the identity names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String is how people read an identity: Kind/namespace/name, or Kind/name for
// objects without a namespace. It is what Flux prints in events and messages.
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// Inventory is the identifier under which the object stands in a Flux
// inventory: namespace_name_group_kind, with colons of RBAC names doubled into
// underscores (fluxcd/pkg ssa, object metadata format of cli-utils).
func (id ID) Inventory() string {
	return strings.Join([]string{id.Namespace, strings.ReplaceAll(id.Name, ":", "__"), id.Group, id.Kind}, "_")
}

// ParseInventory reads an identifier written by Inventory.
func ParseInventory(s string) (ID, error) {
	bad := func() (ID, error) {
		return ID{}, fmt.Errorf("inventory entry %q is not of the form namespace_name_group_kind", s)
	}
	first := strings.Index(s, "_")
	if first < 0 {
		return bad()
	}
	last := strings.LastIndex(s, "_")
	if last <= first {
		return bad()
	}
	group := strings.LastIndex(s[:last], "_")
	if group <= first {
		return bad()
	}
	id := ID{
		Namespace: s[:first],
		Name:      strings.ReplaceAll(s[first+1:group], "__", ":"),
		Group:     s[group+1 : last],
		Kind:      s[last+1:],
	}
	if id.Name == "" || id.Kind == "" {
		return bad()
	}
	return id, nil
}

// Compare orders identities for stable output: namespace, kind, group, name.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		strings.Compare(id.Namespace, other.Namespace), strings.Compare(id.Kind, other.Kind),
		strings.Compare(id.Group, other.Group), strings.Compare(id.Name, other.Name),
	)
}

// Less reports whether an identity comes before another in the order of
// Compare.
func (id ID) Less(other ID) bool { return id.Compare(other) < 0 }
