package api

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// What handlers of other protocols behind the same door need besides.

// Begin counts a stream of somebody until end, together with those of this API;
// false when too many go on.
func (s *Server) Begin(who signin.Principal) (end func(), ok bool) {
	return s.streams.begin(streamer(who), 1)
}

// streamer is by whom streams are counted.
func streamer(who signin.Principal) string {
	return string(who.Kind) + " " + who.Issuer + " " + who.Subject
}

// Shown is a declared object without what its inline values say of passwords,
// tokens and the like. sealed: a delivery with secrets in it brought the object,
// so that whatever else it says may be one. The object is not changed; it comes
// back itself where it has nothing of the kind.
func (s *Server) Shown(o *unstructured.Unstructured) (shown *unstructured.Unstructured, sealed bool) {
	if w := s.World(); w != nil {
		sealed = w.Engine.Sealed(object.Of(o))
	}
	if inlines(o.Object) {
		o = veiled(o)
	}
	return o, sealed
}

// inlines reports whether there is anything that veiled may mask. Most objects of
// a long list have nothing, and need no copy.
func inlines(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			switch name {
			case "helm", "plugin", "values", "substitute", "elements", "elementsYaml", lastApplied:
				return true
			case "resources", "conditions": // of a status: long, and without values
			default:
				if inlines(child) {
					return true
				}
			}
		}
	case []any:
		for _, child := range v {
			if inlines(child) {
				return true
			}
		}
	}
	return false
}
