package render

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/object"
)

// identify returns the identity and version of decoded JSON; parts that are
// missing or of the wrong type are empty.
func identify(fields map[string]any) (object.ID, string) {
	apiVersion, _ := fields["apiVersion"].(string)
	kind, _ := fields["kind"].(string)
	metadata, _ := fields["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return object.ID{Kind: kind, Namespace: namespace, Name: name}, ""
	}
	return object.ID{Group: gv.Group, Kind: kind, Namespace: namespace, Name: name}, gv.Version
}

// secret reports whether an object holds a Kubernetes Secret.
func secret(fields map[string]any) bool {
	return object.HoldsSecret(&unstructured.Unstructured{Object: fields})
}

// listItems returns the items of a list object.
func listItems(fields map[string]any) ([]any, bool) {
	kind, _ := fields["kind"].(string)
	items, ok := fields["items"].([]any)
	return items, ok && strings.HasSuffix(kind, "List")
}

// places finds where objects were asked for.
type places struct {
	exact map[object.ID][]*asked
	named map[[2]string][]*asked // by kind and final name
	kinds map[string][]*asked
	made  []asked
}

func (s *survey) places() *places {
	p := &places{
		exact: make(map[object.ID][]*asked, len(s.asked)), named: make(map[[2]string][]*asked, len(s.asked)),
		kinds: map[string][]*asked{}, made: s.made,
	}
	for i := range s.asked {
		one := &s.asked[i]
		id := object.ID{Group: one.group, Kind: one.kind, Namespace: one.namespace, Name: one.name}
		p.exact[id] = append(p.exact[id], one)
		for _, name := range distinct(one.name, one.bare) {
			key := [2]string{one.kind, name}
			p.named[key] = append(p.named[key], one)
		}
		p.kinds[one.kind] = append(p.kinds[one.kind], one)
	}
	return p
}

func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// find returns the place of an object: that of its expected identity, else
// that of the only one of its kind with its name, else that of the only one of
// its kind whose name is part of its own. nil: it cannot be told.
func (p *places) find(id object.ID) *asked {
	if found := p.exact[id]; len(found) > 0 {
		if len(found) > 1 { // in turn, so that a message about both can name both
			p.exact[id] = found[1:]
		}
		return found[0]
	}
	if found := p.generated(id); found != nil {
		return found
	}
	if found := p.named[[2]string{id.Kind, id.Name}]; len(found) == 1 {
		return found[0]
	}
	var only *asked
	for _, one := range p.kinds[id.Kind] {
		if one.bare == "" || !strings.Contains(id.Name, one.bare) {
			continue
		}
		if only != nil {
			return nil
		}
		only = one
	}
	return only
}

// generated finds the generator of a ConfigMap or Secret, whose name is
// followed by a hash unless that is turned off.
func (p *places) generated(id object.ID) *asked {
	if id.Group != "" {
		return nil
	}
	for i := range p.made {
		one := &p.made[i]
		rest, ok := strings.CutPrefix(id.Name, one.name)
		if ok && one.kind == id.Kind && (rest == "" || len(rest) == len("-hash567890") && rest[0] == '-') {
			return one
		}
	}
	return nil
}
