package reader

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var who = object.ID{Kind: "Thing", Namespace: "ns", Name: "a"}

func spec(value any) (*Reader, Node) {
	r := New("test", "Bad", who)
	return r, r.Root("spec", value)
}

func TestFieldsOfTheRightType(t *testing.T) {
	r, n := spec(map[string]any{
		"s": "x", "b": true, "i": int64(3), "f": 4.0, "d": "1m30s",
		"l": []any{"a", "b"}, "m": map[string]any{"k": "v"}, "deep": []any{map[string]any{"x": "y"}}, "null": nil,
	})
	got := []any{n.At("s").Str(), n.At("b").Bool(), n.At("i").Int(0), n.At("f").Int(0), n.At("l").Strings(), n.At("m").StringMap(), n.At("deep").Items()[0].At("x").Str()}
	want := []any{"x", true, int64(3), int64(4), []string{"a", "b"}, map[string]string{"k": "v"}, "y"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d, ok := n.At("d").Duration(); !ok || d != 90*time.Second {
		t.Errorf("duration %v %t", d, ok)
	}
	absent := []any{n.At("x").Str(), n.At("x").Bool(), n.At("x").Int(7), n.At("x").Items() == nil, n.At("null").Present(), n.At("x").At("y").At("z").Present()}
	if !reflect.DeepEqual(absent, []any{"", false, int64(7), true, false, false}) {
		t.Errorf("absent fields are %v", absent)
	}
	if r.Err() != nil || r.First() != nil {
		t.Errorf("%v", r.Err())
	}
	for _, shape := range []string{"spec.s", "spec.deep[].x", "spec.x.y.z"} {
		if !r.Seen[shape] {
			t.Errorf("%s was not seen", shape)
		}
	}
}

func TestFieldsOfAnotherTypeAreFaultsAtTheirPath(t *testing.T) {
	for name, read := range map[string]func(Node){
		"a string":      func(n Node) { n.Str() },
		"true or false": func(n Node) { n.Bool() },
		"a number":      func(n Node) { n.Int(0) },
		"a list":        func(n Node) { n.Items() },
		"a map":         func(n Node) { n.At("y") },
	} {
		for _, value := range []any{"text", true, 1.5, []any{"a"}, map[string]any{"a": "b"}} {
			r, n := spec(map[string]any{"l": []any{nil, value}})
			field := n.At("l").Items()[1]
			read(field)
			read(field)
			if TypeName(value) == name && name != "a number" {
				if r.Err() != nil {
					t.Errorf("%v is no %s: %v", value, name, r.Err())
				}
				continue
			}
			var fault *model.Fault
			if !errors.As(r.Err(), &fault) || len(r.Faults) != 1 {
				t.Errorf("%v is taken for %s: %v", value, name, r.Faults)
				continue
			}
			if fault.Reason != "Bad" || !reflect.DeepEqual(fault.Origin, model.Origin{Dialect: "test", Declared: who, Field: "spec.l[1]"}) {
				t.Errorf("the fault does not say whose it is: %+v", fault)
			}
		}
	}
}

func TestDurationsThatCannotBeWaitedFor(t *testing.T) {
	for _, text := range []string{"", "soon", "-1m", "0s", "1 day", strings.Repeat("9", 100) + "h"} {
		r, n := spec(text)
		if d, ok := n.Duration(); ok || d != 0 || r.Err() == nil {
			t.Errorf("%q is %v, %v", text, d, r.Err())
		}
	}
}

func TestFaultsOfOthersAreToldHere(t *testing.T) {
	r, _ := spec(nil)
	r.Fail(nil, "spec.x")
	found := &model.Fault{Reason: "Else", Message: "m", Retry: true, Origin: model.Origin{Dialect: "other", File: "f"}}
	r.Fail(found, "spec.x")
	if first := r.First(); len(r.Faults) != 1 || first.Origin != r.Origin("spec.x") || !first.Retry || found.Origin.File != "f" {
		t.Errorf("%+v", r.Faults)
	}
}

func TestClipEndsAtACharacter(t *testing.T) {
	for text, want := range map[string]string{"short": "short", "exactly10!": "exactly10!", "äöüäöüäöü": "äöü...", "0123456789ab": "0123456..."} {
		if got := Clip(text, 10); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTableTellsWhatIsNotActedOn(t *testing.T) {
	table := Tables([]Field{
		{Kind: "Thing", Path: "spec.works[].a", Support: Works},
		{Kind: "Thing", Path: "spec.free.*", Support: Works},
		{Kind: "Thing", Path: "spec.differs", Support: Differs, Note: "n"},
		{Kind: "Thing", Path: "spec.old", Support: Differs, Note: "o", Gone: "v1"},
		{Kind: "Thing", Path: "spec.later", Support: NotYet, Note: "l"},
	})["Thing"]
	declared := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Thing", "metadata": map[string]any{"name": "a"}, "status": map[string]any{"x": 1}, "more": 1,
		"spec": map[string]any{
			"works": []any{map[string]any{"a": 1, "b": 2}}, "free": map[string]any{"any": "thing"}, "null": nil,
			"differs": 1, "old": map[string]any{"deep": 1}, "later": true,
		},
	}}
	var got []string
	for _, f := range table.Unhandled("test", declared, "spec") {
		got = append(got, fmt.Sprint(f.Severity, " ", f.Reason, " ", f.Origin.Field))
	}
	want := []string{"warning UnknownField more", "info Differs spec.differs", "warning NotActedOn spec.later", "info Deprecated spec.old", "warning UnknownField spec.works[0].b"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
