package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/api/argocd/wire"
)

func typeNamed(t *testing.T, name string) *wire.Type {
	t.Helper()
	schema, err := wire.Known()
	if err != nil {
		t.Fatal(err)
	}
	found, ok := schema.Type(name)
	if !ok {
		t.Fatalf("there is no message %s", name)
	}
	return found
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := kubejson.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestThereAndBack: what is written comes back, as Go's types have it.
func TestThereAndBack(t *testing.T) {
	for _, c := range []struct{ name, kind, in, want string }{
		{"an application", "v1alpha1.Application", `{
			"metadata": {"name": "shop", "namespace": "argocd", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"b": "2", "a": "1"},
				"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}, "time": "2026-01-02T03:04:05Z"}]},
			"spec": {"project": "default", "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
				"source": {"repoURL": "https://example.org/shop.git", "path": "deploy", "helm": {"valuesObject": {"replicas": 3, "list": [1, "a", null]}}},
				"syncPolicy": {"automated": {"prune": false}, "retry": {"limit": 5}}},
			"status": {"history": [{"id": 0, "revision": "abc", "deployedAt": "2026-01-02T03:04:05Z"}]}}`, ""},
		{"an explicit false stays, an implicit one goes", "v1alpha1.SyncPolicyAutomated", `{"prune": false, "enabled": false}`, `{"enabled": false}`},
		{"the core group is written out", "kubernetes.GroupKind", `{"group": "", "kind": "Namespace"}`, ""},
		{"what is embedded stands among the fields beside it", "v1alpha1.ResourceNode", `{"group": "apps", "kind": "Deployment", "name": "a", "uid": "1", "parentRefs": [{"kind": "X"}]}`, ""},
		{"an empty map of a plugin is not none", "v1alpha1.ApplicationSourcePluginParameter", `{"name": "a", "map": {}}`, ""},
		{"an empty list of a plugin is not none", "v1alpha1.ApplicationSourcePluginParameter", `{"name": "a", "array": []}`, ""},
		{"a hook's force is the apply's", "v1alpha1.SyncStrategy", `{"hook": {"force": true}}`, ""},
		{"bytes are base64", "v1alpha1.TLSClientConfig", `{"insecure": false, "caData": "aGVsbG8="}`, ""},
		{"a number of two kinds", "v1alpha1.KustomizeReplica", `{"name": "web", "count": 3}`, ""},
		{"a text in its place", "v1alpha1.KustomizeReplica", `{"name": "web", "count": "50%"}`, ""},
		{"what a type does not have is left out", "v1alpha1.AppHealthStatus", `{"status": "Healthy", "shoeSize": 43}`, `{"status": "Healthy"}`},
		{"a value of another type is left out", "v1alpha1.AppHealthStatus", `{"status": 7, "message": "m"}`, `{"message": "m"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind := typeNamed(t, c.kind)
			if c.want == "" {
				c.want = c.in
			}
			got, unknown, err := kind.Unmarshal(kind.Marshal(decoded(t, c.in)))
			if err != nil || len(unknown) > 0 {
				t.Fatal(err, unknown)
			}
			want := decoded(t, c.want)
			pruneZeros(got, want)
			if !reflect.DeepEqual(got, want) {
				a, _ := json.Marshal(got)
				t.Errorf("got  %s\nwant %s", a, c.want)
			}
		})
	}
}

// pruneZeros takes off what is always there in typed values and says nothing.
func pruneZeros(got, want any) {
	switch g := got.(type) {
	case map[string]any:
		w, _ := want.(map[string]any)
		for k, v := range g {
			if _, there := w[k]; !there && (v == "" || v == false || v == int64(0)) {
				delete(g, k)
				continue
			}
			pruneZeros(v, w[k])
		}
	case []any:
		w, _ := want.([]any)
		for i := range g {
			if i < len(w) {
				pruneZeros(g[i], w[i])
			}
		}
	}
}

// TestAgainstProtobuf reads with the library of Protocol Buffers what is written
// here, and the other way round, for every type of every call.
func TestAgainstProtobuf(t *testing.T) {
	schema, err := wire.Known()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range schema.Methods() {
		for _, side := range []struct {
			kind *wire.Type
			d    protoreflect.MessageDescriptor
		}{{m.Input, m.Descriptor.Input()}, {m.Output, m.Descriptor.Output()}} {
			if seen[side.kind.Name()] {
				continue
			}
			seen[side.kind.Name()] = true
			full := dynamicpb.NewMessage(side.d)
			fill(full, 0)
			raw, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(full)
			if err != nil {
				t.Fatal(err)
			}
			value, unknown, err := side.kind.Unmarshal(raw)
			if err != nil || len(unknown) > 0 {
				t.Errorf("%s: %v %v", side.kind.Name(), err, unknown)
				continue
			}
			back := dynamicpb.NewMessage(side.d)
			if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(side.kind.Marshal(value), back); err != nil {
				t.Errorf("%s cannot be read: %v", side.kind.Name(), err)
				continue
			}
			if !proto.Equal(full, back) {
				t.Errorf("%s changed on its way:\n%v\n%v", side.kind.Name(), full, back)
			}
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}

// fill gives every field a value, three messages deep.
func fill(m *dynamicpb.Message, depth int) {
	d := m.Descriptor()
	switch d.FullName() { // these have a form of their own
	case "kubernetes.JSON", "kubernetes.RawExtension", "kubernetes.FieldsV1":
		m.Set(d.Fields().ByNumber(1), protoreflect.ValueOfBytes([]byte(`{"a":1}`)))
		return
	case "kubernetes.Time":
		m.Set(d.Fields().ByNumber(1), protoreflect.ValueOfInt64(1700000000))
		return
	case "kubernetes.MicroTime":
		m.Set(d.Fields().ByNumber(1), protoreflect.ValueOfInt64(1700000000))
		m.Set(d.Fields().ByNumber(2), protoreflect.ValueOfInt32(123000))
		return
	case "kubernetes.IntOrString":
		m.Set(d.Fields().ByNumber(1), protoreflect.ValueOfInt64(1))
		m.Set(d.Fields().ByNumber(3), protoreflect.ValueOfString("50%"))
		return
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if f.Message() != nil && depth > 6 || f.ContainingOneof() != nil && m.WhichOneof(f.ContainingOneof()) != nil {
			continue
		}
		switch {
		case f.IsMap():
			value := m.NewField(f)
			inner := value.Map().NewValue()
			if f.MapValue().Message() != nil {
				fillValue(inner, depth+1)
			} else {
				inner = plain(f.MapValue())
			}
			value.Map().Set(protoreflect.ValueOfString("key").MapKey(), inner)
			m.Set(f, value)
		case f.IsList():
			value := m.NewField(f)
			if f.Message() != nil {
				fillValue(value.List().AppendMutable(), depth+1)
			} else {
				value.List().Append(plain(f))
			}
			m.Set(f, value)
		case f.Message() != nil:
			value := m.NewField(f)
			fillValue(value, depth+1)
			m.Set(f, value)
		default:
			m.Set(f, plain(f))
		}
	}
}

func fillValue(v protoreflect.Value, depth int) {
	if m, ok := v.Message().Interface().(*dynamicpb.Message); ok {
		fill(m, depth)
	}
}

func plain(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("bytes"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-7)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(7)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	}
	return protoreflect.ValueOfInt64(7)
}

func TestUnknownFieldsAreTold(t *testing.T) {
	kind := typeNamed(t, "v1alpha1.Application")
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
	raw := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), inner)
	raw = protowire.AppendVarint(protowire.AppendTag(raw, 998, protowire.VarintType), 0) // a zero says nothing
	_, unknown, err := kind.Unmarshal(raw)
	if err != nil || !reflect.DeepEqual(unknown, []string{"spec field 999"}) {
		t.Errorf("got %v, %v", unknown, err)
	}
}

func TestHostileMessages(t *testing.T) {
	kind := typeNamed(t, "v1alpha1.ApplicationSet")
	for name, raw := range map[string][]byte{
		"cut off": {0x0a, 0xff}, "no text": protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0xff})),
		"another type": protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), "group without end": {0x0b},
	} {
		if _, _, err := kind.Unmarshal(raw); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestSetFromQuery(t *testing.T) {
	kind := typeNamed(t, "application.ApplicationQuery")
	value := map[string]any{}
	for name, texts := range map[string][]string{"name": {"a", "shop"}, "projects": {"one", "two"}} {
		if err := kind.Set(value, name, texts); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[string]any{"name": "shop", "projects": []any{"one", "two"}}; !reflect.DeepEqual(value, want) {
		t.Errorf("got %v", value)
	}
	sync := typeNamed(t, "application.ApplicationSyncRequest")
	if err := sync.Set(map[string]any{}, "dryRun", []string{"perhaps"}); err == nil {
		t.Error("perhaps was taken for a truth value")
	}
	if !typeNamed(t, "cluster.ClusterQuery").Field("id.value") || kind.Field("id.value") {
		t.Error("fields of fields are not found")
	}
}

func FuzzUnmarshal(f *testing.F) {
	schema, err := wire.Known()
	if err != nil {
		f.Fatal(err)
	}
	kind, ok := schema.Type("v1alpha1.Application")
	if !ok {
		f.Fatal("there is no Application")
	}
	f.Add(kind.Marshal(map[string]any{"metadata": map[string]any{"name": "a"}, "spec": map[string]any{"source": map[string]any{"repoURL": "x"}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		value, _, err := kind.Unmarshal(raw)
		if err != nil {
			return
		}
		again, _, err := kind.Unmarshal(kind.Marshal(value))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		third, _, err := kind.Unmarshal(kind.Marshal(again))
		if err != nil || !reflect.DeepEqual(again, third) {
			t.Fatalf("it does not come to rest: %v", err)
		}
	})
}
