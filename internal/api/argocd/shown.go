package argocd

import (
	"reflect"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	secrets "plumb.dev/plumb/internal/object"
)

// told is a declared object as an answer has it: without what nobody may see. It
// is another object than o where anything is hidden, and o itself otherwise.
func (s *server) told(o *unstructured.Unstructured) *unstructured.Unstructured {
	out, sealed := o, false
	if s.Shown != nil {
		out, sealed = s.Shown(o)
	}
	if sealed {
		out = sealedView(out)
	}
	if secrets.HoldsSecret(out) {
		out = secrets.Redact(out)
	}
	if carriesCredentials(out.Object) {
		if out == o {
			out = o.DeepCopy()
		}
		eachSource(out.Object, hideCredentials)
	}
	if out != o {
		spell(out.Object, o.Object)
	}
	return out
}

// toldAll are declared objects as the items of a list.
func (s *server) toldAll(in []*unstructured.Unstructured) []any {
	out := make([]any, len(in))
	for i, o := range in {
		out[i] = s.told(o).Object
	}
	return out
}

// eachSource visits the sources of an Application, wherever they stand: in its
// spec, a template, an operation, its status.
func eachSource(value any, visit func(source map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			switch source, _ := child.(map[string]any); {
			case source != nil && (name == "source" || name == "drySource"):
				visit(source)
			case name == "sources":
				for _, one := range objects(v, name) {
					visit(one)
				}
			case name == "resources": // of a status: long, and without sources
			default:
				eachSource(child, visit)
			}
		}
	case []any:
		for _, child := range v {
			eachSource(child, visit)
		}
	}
}

func carriesCredentials(o map[string]any) bool {
	found := false
	eachSource(o, func(source map[string]any) {
		address := text(source, "repoURL")
		found = found || strings.Contains(address, "@") && secrets.WithoutCredentials(address) != address
	})
	return found
}

func hideCredentials(source map[string]any) {
	if address := text(source, "repoURL"); address != "" {
		source["repoURL"] = secrets.WithoutCredentials(address)
	}
}

// Fields that say where an Application reads from and goes to, and when. They
// are in every list, and command lines and policies go by them.
var (
	openSpec   = []string{"project", "destination", "source", "sources", "syncPolicy", "revisionHistoryLimit"}
	openSource = []string{"repoURL", "path", "chart", "targetRevision", "ref", "name"}
	openSet    = []string{"goTemplate", "goTemplateOptions", "syncPolicy", "strategy", "preservedFields", "template"}
)

// sealedView is a declared object that was decrypted on its way here. Nothing
// says which of its values were secret: all are hidden that tools are given, and
// what became of it is told.
func sealedView(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o.GetKind() != KindApplication.Kind && o.GetKind() != KindApplicationSet.Kind {
		return secrets.Conceal(o)
	}
	out := o.DeepCopy()
	out.Object["metadata"] = secrets.Conceal(out).Object["metadata"]
	h := &hiding{}
	if spec := object(out.Object, "spec"); o.GetKind() == KindApplication.Kind {
		h.allBut(spec, openSpec)
	} else {
		h.allBut(spec, openSet)
		h.allBut(object(spec, "template", "spec"), openSpec)
	}
	eachSource(out.Object, func(source map[string]any) { h.allBut(source, openSource); hideCredentials(source) })
	for _, operation := range []map[string]any{object(out.Object, "operation"), object(out.Object, "status", "operationState", "operation")} {
		h.all(operation, "info")
	}
	h.all(object(out.Object, "status", "sync", "comparedTo"), "ignoreDifferences")
	h.inMessages(object(out.Object, "status"))
	return out
}

// shortestHidden is how long a hidden value has to be to be looked for in
// messages: "1" and "true" are everywhere.
const shortestHidden = 5

// hiding masks fields, and keeps in mind what they held.
type hiding struct{ values []string }

func (h *hiding) allBut(fields map[string]any, open []string) {
	for name := range fields {
		if !slices.Contains(open, name) {
			h.all(fields, name)
		}
	}
}

func (h *hiding) all(fields map[string]any, name string) {
	value, there := fields[name]
	if !there {
		return
	}
	h.remember(value)
	fields[name] = secrets.Conceal(&unstructured.Unstructured{Object: map[string]any{name: value}}).Object[name]
}

func (h *hiding) remember(value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, child := range v {
			h.remember(child)
		}
	case []any:
		for _, child := range v {
			h.remember(child)
		}
	case string:
		if len(v) >= shortestHidden && !slices.Contains(h.values, v) {
			h.values = append(h.values, v)
		}
	}
}

// inMessages masks the values where the status quotes them.
func (h *hiding) inMessages(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			message, ok := child.(string)
			if !ok || name != "message" {
				h.inMessages(child)
				continue
			}
			for _, hidden := range h.values {
				message = strings.ReplaceAll(message, hidden, secrets.Mask)
			}
			v[name] = message
		}
	case []any:
		for _, child := range v {
			h.inMessages(child)
		}
	}
}

// errMasked refuses to write a mask where a value belongs.
var errMasked = failed(connect.CodeInvalidArgument, "a masked value cannot be written: give the value itself, or leave the field as it was shown")

// restored puts into what a caller sends of a declared object the values that
// existing has in the place of masks: command lines read an object, change it and
// send it back whole. existing is nil for a new one. A mask that stands for
// nothing is refused, and so is a change of what was decrypted: only the
// repository knows that whole.
func (s *server) restored(sent, existing *unstructured.Unstructured) error {
	if s.Shown == nil {
		return nil
	}
	if existing != nil {
		if err := s.restoredFrom(sent, existing); err != nil {
			return err
		}
	}
	if masksIn(sent.Object["spec"]) {
		return errMasked
	}
	return nil
}

func (s *server) restoredFrom(sent, existing *unstructured.Unstructured) error {
	seen, actual := s.told(existing), existing.DeepCopy()
	if seen == existing {
		return nil
	}
	annotations := sent.GetAnnotations()
	for name, value := range annotations {
		if seen.GetAnnotations()[name] == value {
			annotations[name] = actual.GetAnnotations()[name]
		}
	}
	sent.SetAnnotations(annotations)
	if _, sealed := s.Shown(existing); sealed {
		if !sameAs(specOf(existing), object(sent.Object, "spec"), object(seen.Object, "spec")) {
			return failed(connect.CodeFailedPrecondition, "%s %s was decrypted from Git by the delivery that brought it, and can be changed there alone", existing.GetKind(), existing.GetName())
		}
		sent.Object["spec"] = actual.Object["spec"]
		return nil
	}
	spec, err := unmasked(sent.Object["spec"], seen.Object["spec"], actual.Object["spec"])
	if err != nil {
		return err
	}
	sent.Object["spec"] = spec
	return nil
}

// specOf is the type of messages that the spec of an object is.
func specOf(o *unstructured.Unstructured) string { return "v1alpha1." + o.GetKind() + "Spec" }

// masksIn reports whether a value is a mask, or has one in it.
func masksIn(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for _, child := range v {
			if masksIn(child) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, masksIn)
	case string:
		return v == hidden || v == changed || v == secrets.Mask
	}
	return false
}

// unmasked puts real values into what a caller sends: where it is what they were
// shown, and else part by part.
func unmasked(sent, seen, actual any) (any, error) {
	if reflect.DeepEqual(sent, seen) {
		return actual, nil
	}
	switch v := sent.(type) {
	case map[string]any:
		seenFields, _ := seen.(map[string]any)
		realFields, _ := actual.(map[string]any)
		for name, child := range v {
			if _, there := seenFields[name]; !there {
				continue
			}
			whole, err := unmasked(child, seenFields[name], realFields[name])
			if err != nil {
				return nil, err
			}
			v[name] = whole
		}
	case []any:
		seenItems, _ := seen.([]any)
		realItems, _ := actual.([]any)
		for i, child := range v {
			j := counterpart(child, i, len(v), seenItems)
			if j < 0 || j >= len(realItems) {
				continue
			}
			whole, err := unmasked(child, seenItems[j], realItems[j])
			if err != nil {
				return nil, err
			}
			v[i] = whole
		}
	case string:
		shown, _ := seen.(string)
		if held, _ := actual.(string); shown != held && strings.Contains(v, secrets.Mask) {
			return nil, errMasked
		}
	}
	return sent, nil
}

// counterpart is the index of the item that somebody was shown where they now
// send another: the same, one of the same name, or where none was added or taken
// away the one at its place; -1: there is none.
func counterpart(item any, at, of int, seen []any) int {
	if i := slices.IndexFunc(seen, func(was any) bool { return reflect.DeepEqual(was, item) }); i >= 0 {
		return i
	}
	fields, _ := item.(map[string]any)
	if name := text(fields, "name"); name != "" {
		return slices.IndexFunc(seen, func(was any) bool {
			m, _ := was.(map[string]any)
			return text(m, "name") == name
		})
	}
	if of == len(seen) {
		return at
	}
	return -1
}
