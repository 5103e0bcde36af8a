package object

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// oracleSchema has every shape that FieldsV1 can describe.
const oracleSchema = `types:
- name: root
  map:
    fields:
    - name: metadata
      type: {namedType: meta}
    - name: spec
      type: {namedType: spec}
- name: meta
  map:
    fields:
    - name: labels
      type: {namedType: strings}
    - name: annotations
      type: {namedType: strings}
    - name: finalizers
      type: {namedType: set}
- name: spec
  map:
    fields:
    - name: replicas
      type: {scalar: numeric}
    - name: ratio
      type: {scalar: numeric}
    - name: paused
      type: {scalar: boolean}
    - name: image
      type: {scalar: string}
    - name: strategy
      type: {namedType: strategy}
    - name: selector
      type: {namedType: atomicStrings}
    - name: args
      type: {namedType: atomicList}
    - name: containers
      type: {namedType: containers}
    - name: numbers
      type: {namedType: numbers}
- name: strategy
  map:
    fields:
    - name: type
      type: {scalar: string}
    - name: surge
      type: {scalar: numeric}
- name: strings
  map:
    elementType: {scalar: string}
- name: atomicStrings
  map:
    elementType: {scalar: string}
    elementRelationship: atomic
- name: atomicList
  list:
    elementType: {scalar: string}
    elementRelationship: atomic
- name: set
  list:
    elementType: {scalar: string}
    elementRelationship: associative
- name: numbers
  list:
    elementType: {scalar: numeric}
    elementRelationship: associative
- name: containers
  list:
    elementType: {namedType: container}
    elementRelationship: associative
    keys: [name]
- name: container
  map:
    fields:
    - name: name
      type: {scalar: string}
    - name: image
      type: {scalar: string}
    - name: args
      type: {namedType: atomicList}
    - name: env
      type: {namedType: strings}
    - name: ports
      type: {namedType: ports}
- name: ports
  list:
    elementType: {namedType: port}
    elementRelationship: associative
    keys: [port, protocol]
- name: port
  map:
    fields:
    - name: port
      type: {scalar: numeric}
    - name: protocol
      type: {scalar: string}
      default: TCP
    - name: name
      type: {scalar: string}
`

// generator makes objects of the oracle's schema.
type generator struct{ *rand.Rand }

func (g generator) maybe() bool { return g.Intn(2) == 0 }

func (g generator) word() string {
	words := []string{"a", "b", "c", `quo"te`, "sl/ash", "ü", "<&>", "x.y/z", "new\nline", ""}
	return words[g.Intn(len(words))]
}

func (g generator) strings(n int) map[string]any {
	out := map[string]any{}
	for range g.Intn(n + 1) {
		out[g.word()+"k"] = g.word()
	}
	return out
}

func (g generator) list(n int) []any {
	out := []any{}
	for range g.Intn(n + 1) {
		out = append(out, g.word())
	}
	return out
}

func (g generator) set(n int) []any {
	out, seen := []any{}, map[string]bool{}
	for range g.Intn(n + 1) {
		if word := g.word(); !seen[word] {
			seen[word] = true
			out = append(out, word)
		}
	}
	return out
}

func (g generator) object() map[string]any {
	metadata, spec := map[string]any{}, map[string]any{}
	put := func(into map[string]any, key string, value any) {
		if g.maybe() {
			into[key] = value
		}
	}
	put(metadata, "labels", g.strings(3))
	put(metadata, "annotations", g.strings(3))
	put(metadata, "finalizers", g.set(3))
	put(spec, "replicas", int64(g.Intn(3)))
	put(spec, "ratio", []float64{0.5, 1.5, 2}[g.Intn(3)])
	put(spec, "paused", g.maybe())
	put(spec, "image", g.word())
	strategy := map[string]any{}
	put(strategy, "type", g.word())
	put(strategy, "surge", int64(g.Intn(3)))
	put(spec, "strategy", strategy)
	put(spec, "selector", g.strings(2))
	put(spec, "args", g.list(2))
	put(spec, "containers", g.containers())
	put(spec, "numbers", g.numbers())
	return map[string]any{"metadata": metadata, "spec": spec}
}

func (g generator) numbers() []any {
	out := []any{}
	for _, n := range g.Perm(4)[:g.Intn(4)] {
		out = append(out, int64(n))
	}
	return out
}

func (g generator) containers() []any {
	out := []any{}
	for _, name := range []string{"main", "side", `o"dd`} {
		if !g.maybe() {
			continue
		}
		c := map[string]any{"name": name}
		if g.maybe() {
			c["image"] = g.word()
		}
		if g.maybe() {
			c["args"] = g.list(2)
		}
		if g.maybe() {
			c["env"] = g.strings(2)
		}
		if g.maybe() {
			ports := []any{}
			for _, n := range g.Perm(3)[:g.Intn(3)] {
				port := map[string]any{"port": int64(n), "protocol": []string{"TCP", "UDP"}[g.Intn(2)]}
				if g.maybe() {
					port["name"] = g.word()
				}
				ports = append(ports, port)
			}
			c["ports"] = ports
		}
		out = append(out, c)
	}
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// server is an API server as far as managed fields go.
type server struct {
	t        *testing.T
	parser   typed.ParseableType
	updater  *merge.Updater
	live     *typed.TypedValue
	managers fieldpath.ManagedFields
}

type sameVersion struct{}

func (sameVersion) Convert(o *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return o, nil
}
func (sameVersion) IsMissingVersionError(error) bool { return false }

var oracleParser = sync.OnceValues(func() (*typed.Parser, error) { return typed.NewParser(oracleSchema) })

func newServer(t *testing.T) *server {
	t.Helper()
	parser, err := oracleParser()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, parser: parser.Type("root"), managers: fieldpath.ManagedFields{}}
	s.updater = (&merge.UpdaterBuilder{Converter: sameVersion{}, ReturnInputOnNoop: true}).BuildUpdater()
	s.live = s.typed(map[string]any{})
	return s
}

func (s *server) typed(o map[string]any) *typed.TypedValue {
	s.t.Helper()
	value, err := s.parser.FromUnstructured(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

func (s *server) apply(manager string, o map[string]any, force bool) {
	s.t.Helper()
	live, managers, err := s.updater.Apply(s.live, s.typed(o), "v1", s.managers.Copy(), manager, force)
	if err != nil {
		if force {
			s.t.Fatal(err)
		}
		return // a conflict changes nothing
	}
	s.live, s.managers = live, managers
}

func (s *server) update(manager string, o map[string]any) {
	s.t.Helper()
	live, managers, err := s.updater.Update(s.live, s.typed(o), "v1", s.managers.Copy(), manager)
	if err != nil {
		s.t.Fatal(err)
	}
	s.live, s.managers = live, managers
}

// object is what a client would see.
func (s *server) object() *unstructured.Unstructured {
	s.t.Helper()
	content, _ := s.live.AsValue().Unstructured().(map[string]any)
	var o map[string]any
	reencode(s.t, content, &o)
	if o == nil {
		o = map[string]any{}
	}
	o["apiVersion"], o["kind"] = "test/v1", "Thing"
	metadata, _ := o["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		o["metadata"] = metadata
	}
	metadata["resourceVersion"] = "7"
	var entries []any
	for manager, set := range s.managers {
		encoded, err := set.Set().ToJSON()
		if err != nil {
			s.t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(encoded, &tree); err != nil {
			s.t.Fatal(err)
		}
		operation := "Update"
		if set.Applied() {
			operation = "Apply"
		}
		entries = append(entries, map[string]any{"manager": manager, "operation": operation, "apiVersion": "test/v1",
			"fieldsType": "FieldsV1", "fieldsV1": tree})
	}
	metadata["managedFields"] = entries
	return &unstructured.Unstructured{Object: o}
}

func reencode(t *testing.T, from any, to *map[string]any) {
	t.Helper()
	encoded, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	u := unstructured.Unstructured{}
	if err := u.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"X","spec":` + string(encoded) + `}`)); err != nil {
		t.Fatal(err)
	}
	*to, _ = u.Object["spec"].(map[string]any)
}

// unproven lists the leaf paths that hold a non-empty map or list which others
// may add to: where Cut may see the change of such a value once.
func unproven(o *unstructured.Unstructured, paths *fieldpath.Set) bool {
	found := false
	paths.Leaves().Iterate(func(p fieldpath.Path) {
		last := p[len(p)-1]
		if last.FieldName == nil {
			return
		}
		switch *last.FieldName {
		case "labels", "annotations", "strategy", "env", "containers", "finalizers", "ports", "numbers", "spec", "metadata":
			found = true
		}
	})
	return found
}

// TestCutAgainstServerSideApply lets other managers apply and update generated
// objects, and compares what Cut sees with what structured-merge-diff says has
// changed at the paths that we own.
func TestCutAgainstServerSideApply(t *testing.T) {
	var stable, changed, granular int
	for seed := range int64(500) {
		g := generator{rand.New(rand.NewSource(seed))}
		s := newServer(t)
		if g.maybe() {
			s.update("creator", g.object())
		}
		s.apply("plumb", g.object(), true)
		for step := range 4 {
			beforeLive, beforeManagers := s.live, s.managers
			before := s.object()
			paths, ok := Owned(before, "plumb")
			if !ok {
				break // everything has been taken over
			}
			cut := string(paths.Cut(before))

			switch g.Intn(4) {
			case 0:
				s.apply("other", g.object(), false)
			case 1:
				s.apply("other", g.object(), true)
			case 2:
				s.update("kubectl-edit", g.object())
			case 3: // only things beside what is there
				s.apply("beside", map[string]any{"metadata": map[string]any{
					"labels": map[string]any{"beside": fmt.Sprint(step)}, "annotations": map[string]any{"beside": fmt.Sprint(step)},
					"finalizers": []any{fmt.Sprint("beside", step)}}}, true)
			}

			after := s.object()
			afterPaths, still := Owned(after, "plumb")
			same := still && afterPaths.Digest() == paths.Digest() && string(afterPaths.Cut(after)) == cut

			comparison, err := beforeLive.Compare(s.live)
			if err != nil {
				t.Fatal(err)
			}
			owned := beforeManagers["plumb"].Set()
			touched := comparison.Added.Union(comparison.Modified).Union(comparison.Removed).Intersection(owned)
			wantSame := touched.Empty() && s.managers["plumb"] != nil && s.managers["plumb"].Set().Equals(owned)
			switch {
			case same == wantSame && same:
				stable++
			case same == wantSame:
				changed++
			case wantSame && unproven(before, owned):
				granular++ // the documented exception: seen as a change, once
			default:
				t.Fatalf("seed %d step %d: same = %v, structured-merge-diff says %v (touched %v)\npaths %v\nbefore %s\nafter  %s",
					seed, step, same, wantSame, touched, owned, cut, afterPaths.Cut(after))
			}
		}
	}
	t.Logf("%d stable, %d changed, %d changes seen below an empty map or list", stable, changed, granular)
	if stable < 300 || changed < 300 {
		t.Errorf("the generator reaches too little: %d stable, %d changed", stable, changed)
	}
	if granular > stable/10 {
		t.Errorf("%d of %d steps were seen as changes although nothing owned had changed", granular, stable)
	}
}

// TestCutSeesOwnedValues changes each owned value by itself.
func TestCutSeesOwnedValues(t *testing.T) {
	leaves := 0
	for seed := range int64(150) {
		g := generator{rand.New(rand.NewSource(seed))}
		s := newServer(t)
		s.apply("plumb", g.object(), true)
		o := s.object()
		paths, ok := Owned(o, "plumb")
		if !ok {
			continue
		}
		cut := string(paths.Cut(o))
		if again := string(paths.Cut(o.DeepCopy())); again != cut {
			t.Fatalf("seed %d: not deterministic:\n%s\n%s", seed, cut, again)
		}
		for _, key := range []string{"labels", "annotations", "finalizers"} {
			mutated := o.DeepCopy()
			metadata, _ := mutated.Object["metadata"].(map[string]any)
			if metadata[key] == nil || !owns(paths, "f:metadata", key) {
				continue // an empty associative list is owned by nobody
			}
			delete(metadata, key)
			leaves++
			if string(paths.Cut(mutated)) == cut {
				t.Errorf("seed %d: cut does not see that metadata.%s is gone", seed, key)
			}
		}
		spec, _ := o.Object["spec"].(map[string]any)
		for key := range spec {
			if !owns(paths, "f:spec", key) {
				continue
			}
			mutated := o.DeepCopy()
			fields, _ := mutated.Object["spec"].(map[string]any)
			delete(fields, key)
			leaves++
			if string(paths.Cut(mutated)) == cut {
				t.Errorf("seed %d: cut does not see that spec.%s is gone", seed, key)
			}
		}
	}
	if leaves < 200 {
		t.Errorf("only %d values were tried", leaves)
	}
}

func owns(p Paths, parent, field string) bool {
	below, _ := p.tree[parent].(map[string]any)
	_, ok := below["f:"+field]
	return ok
}
