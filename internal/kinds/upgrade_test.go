package kinds

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const ours = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com, annotations: {ours: "yes"}}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  conversion: {strategy: None}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, required: [a], properties: {a: {type: string, default: x}, old: {type: string}}}}}}}
    - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, required: [a], properties: {a: {type: string, default: x}, old: {type: string}}}}}}}
`

func definition(t *testing.T, text string, changes ...string) *unstructured.Unstructured {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("%q is not in the definition", changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name     string
		existing string
		changes  []string // of ours, to what is installed
		why      string
		none     bool     // nothing is applied
		versions []string // that are served afterwards, newest first
		stored   string
		fields   []string // of spec, in every version
	}{
		{
			name: "the same", existing: ours,
			why: "as it should be", none: true,
		},
		{
			name: "the same, as the server hands it out", existing: ours,
			changes: []string{
				"conversion: {strategy: None}\n", "conversion: {strategy: None}\n  preserveUnknownFields: false\n",
				"metadata: {", "metadata: {uid: u, resourceVersion: '7', labels: {somebody: else}, ",
				"type: string, default: x", "type: string, description: upstream explains it, default: x",
			},
			why: "as it should be", none: true,
		},
		{
			name: "upstream without a field that it dropped", existing: ours,
			changes: []string{", old: {type: string}", ""},
			why:     "up to date", versions: []string{"v1", "v1beta1"}, stored: "v1", fields: []string{"a", "old"},
		},
		{
			name: "upstream with a field that we do not know", existing: ours,
			changes: []string{", old: {type: string}", ", new: {type: object, properties: {deep: {type: string}}}"},
			why:     "newer (field spec.new)", versions: []string{"v1", "v1beta1"}, stored: "v1", fields: []string{"a", "new", "old"},
		},
		{
			name: "upstream with a newer field and everything that we have", existing: ours,
			changes: []string{"old: {type: string}", "old: {type: string}, new: {type: string}"},
			why:     "newer (field spec.new) and has every field", none: true,
		},
		{
			name: "upstream with a newer version", existing: ours,
			changes: []string{"name: v1,", "name: v2,", ", old: {type: string}", ", new: {type: string}"},
			why:     "newer (version v2)", versions: []string{"v2", "v1", "v1beta1"}, stored: "v2", fields: []string{"a", "new", "old"},
		},
		{
			name: "an old installation with a version that is gone", existing: ours,
			changes: []string{"name: v1,", "name: v1alpha1,", ", old: {type: string}", ", ancient: {type: string}"},
			why:     "v1alpha1 stays", versions: []string{"v1", "v1beta1", "v1alpha1"}, stored: "v1", fields: []string{"a", "ancient", "old"},
		},
		{
			name: "nothing but a name", existing: ours,
			changes: []string{"versions:", "other:"},
			why:     "no versions", versions: []string{"v1", "v1beta1"}, stored: "v1", fields: []string{"a", "old"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			existing, own := definition(t, c.existing, c.changes...), definition(t, ours)
			before := existing.DeepCopy()
			apply, why := Merge(existing, own)
			if !strings.Contains(why, c.why) {
				t.Errorf("why: %s", why)
			}
			if (apply == nil) != c.none {
				t.Fatalf("applies %v (%s)", apply, why)
			}
			if !slices.Equal(flat(t, before), flat(t, existing)) || !slices.Equal(flat(t, own), flat(t, definition(t, ours))) {
				t.Error("an argument was changed")
			}
			if c.none {
				return
			}
			judge(t, apply, c.versions, c.stored, c.fields)
			if again, why := Merge(apply, own); again != nil {
				t.Errorf("once applied, it is applied again: %s", why)
			}
		})
	}
}

func flat(t *testing.T, o *unstructured.Unstructured) []string {
	t.Helper()
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func judge(t *testing.T, apply *unstructured.Unstructured, versions []string, stored string, fields []string) {
	t.Helper()
	got := versionsOf(apply)
	if !slices.Equal(byAge(got), versions) {
		t.Errorf("versions %v, want %v", byAge(got), versions)
	}
	for name, version := range got {
		if version["served"] != true || version["storage"] != (name == stored) {
			t.Errorf("%s: served %v, stored %v", name, version["served"], version["storage"])
		}
		properties := mapAt(mapAt(mapAt(schemaOf(version), "properties"), "spec"), "properties")
		if !slices.Equal(sorted(properties), fields) {
			t.Errorf("%s has the fields %v, want %v", name, sorted(properties), fields)
		}
		for _, field := range fields {
			if field != "a" && mapAt(properties, field)["default"] != nil {
				t.Errorf("%s: %s was added with a default", name, field)
			}
		}
	}
	if apply.GetAnnotations()["ours"] != "yes" || apply.GetResourceVersion() != "" {
		t.Errorf("metadata: %v", apply.Object["metadata"])
	}
}

func TestMergeWithNothing(t *testing.T) {
	for _, own := range CRDs() {
		apply, why := Merge(nil, own)
		if apply == nil || why != "it is not installed" {
			t.Errorf("%s: %s", own.GetName(), why)
		}
		if again, why := Merge(apply, own); again != nil {
			t.Errorf("%s is applied again: %s", own.GetName(), why)
		}
	}
}
