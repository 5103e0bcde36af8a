package cli

import (
	"net"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
)

// dialects are all that Plumb speaks: a new upstream system is one line here.
func dialects() []dialect.Dialect {
	return []dialect.Dialect{flux.New(), argo.New()}
}

// dialectKinds lists the kinds of every dialect.
func dialectKinds() []dialect.Kind {
	var kinds []dialect.Kind
	for _, d := range dialects() {
		kinds = append(kinds, d.Kinds()...)
	}
	return kinds
}

// apiAddr is where "plumb up" answers webhooks: the same port every time, while
// it is free.
func apiAddr() string {
	const usual = "127.0.0.1:8480"
	listener, err := net.Listen("tcp", usual)
	if err != nil || listener.Close() != nil {
		return "127.0.0.1:0"
	}
	return usual
}

// dialectOf is the dialect that understands an object; nil when none does.
func dialectOf(o *unstructured.Unstructured) dialect.Dialect {
	kind := o.GroupVersionKind().GroupKind()
	for _, d := range dialects() {
		if slices.ContainsFunc(d.Kinds(), func(k dialect.Kind) bool { return k.GroupKind == kind }) {
			return d
		}
	}
	return nil
}

// replaced reports whether a rendered object belongs to the installation of a
// controller that Plumb replaces.
func replaced(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(dialects(), func(d dialect.Dialect) bool { return d.Replaces(o) })
}

// handledKinds are the kinds that Plumb acts on, of every dialect, by name.
func handledKinds() []dialect.Kind {
	handled := slices.DeleteFunc(dialectKinds(), func(k dialect.Kind) bool { return !k.Handled })
	slices.SortFunc(handled, func(x, y dialect.Kind) int { return strings.Compare(x.GroupKind.String(), y.GroupKind.String()) })
	return handled
}

// handled reports whether Plumb acts on a kind.
func handled(kind schema.GroupKind) bool {
	return slices.ContainsFunc(handledKinds(), func(k dialect.Kind) bool { return k.GroupKind == kind })
}
