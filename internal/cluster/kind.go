package cluster

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a kind as a cluster serves it. It is comparable.
type Kind struct {
	GVK        schema.GroupVersionKind
	GVR        schema.GroupVersionResource
	Namespaced bool
	Watchable  bool // list and watch are served
}

// UnknownKindError says that a successful discovery does not list the kind.
// Failing to discover is another error: unknown is not absent.
type UnknownKindError struct {
	GVK    schema.GroupVersionKind
	Served []string // versions of the group that serve a kind of that name, newest first
}

// Error uses the words of k8s.io/apimachinery/pkg/api/meta.NoKindMatchError.
func (e *UnknownKindError) Error() string {
	gv := e.GVK.GroupVersion().String()
	if len(e.Served) > 0 {
		return fmt.Sprintf("no matches for kind %q in version %q, it is served in %s", e.GVK.Kind, gv, strings.Join(e.Served, ", "))
	}
	return fmt.Sprintf("no matches for kind %q in version %q", e.GVK.Kind, gv)
}
