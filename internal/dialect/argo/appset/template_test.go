package appset

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// TestTemplatesAreBounded runs templates that would take all memory, all time
// or the whole stack.
func TestTemplatesAreBounded(t *testing.T) {
	for _, text := range []string{
		`{{ range 2000000000 }}{{ end }}`,
		`{{ range until 3000000 }}x{{ end }}`,
		`{{ range untilStep 0 2000000000 1 }}x{{ end }}`,
		`{{ seq 1 2000000000 }}`,
		`{{ repeat 2000000000 "x" }}`,
		`{{ nindent 2000000000 "x" }}`,
		`{{ randAlpha 2000000000 }}`,
		`{{ printf "%1000000d%1000000d%1000000d%1000000d%1000000d" 1 1 1 1 1 }}`,
		`{{ printf "%*d%*d%*d%*d%*d" 1000000 1 1000000 1 1000000 1 1000000 1 1000000 1 }}`,
		`{{ define "t" }}{{ template "t" . }}{{ template "t" . }}{{ end }}{{ template "t" . }}`,
		`{{ $d := dict }}{{ $_ := set $d "self" $d }}{{ $d }}`,
		`{{ $d := dict }}{{ $_ := merge $d (dict "self" $d) }}{{ $d }}`,
		`{{ $a := dict "x" "y" }}{{ range until 40 }}{{ $a = dict "l" $a "r" $a }}{{ end }}{{ $a }}`,
		`{{ $s := "x" }}{{ range until 40 }}{{ $s = print $s $s }}{{ end }}{{ $s }}`,
		`{{ $s := repeat 100000 "x" }}{{ regexReplaceAll "" $s $s }}`,
		`{{ $s := repeat 100000 "x" }}{{ replace "x" $s $s }}`,
		`{{ range until 50 }}{{ genPrivateKey "ed25519" }}{{ end }}`,
		`{{ range until 1000 }}{{ repeat 10000 "x" }}{{ end }}`,
	} {
		out, err := newRenderer(true, nil).replace(text, params{"a": "b"})
		if err == nil {
			t.Errorf("%s: makes %d bytes", text, len(out))
			continue
		}
		var over *overBudget
		if !errors.As(err, &over) && !strings.Contains(err.Error(), "exceeded maximum template depth") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTemplatesBehaveAsUpstream compares what printing and looking up give;
// the counting must not be seen.
func TestTemplatesBehaveAsUpstream(t *testing.T) {
	with := params{
		"name": "n", "values": map[string]string{"a": "1"}, "tree": map[string]any{"list": []any{"x", 1.0}, "none": nil}, "big": 1e6,
	}
	for _, c := range []struct{ text, want string }{
		{"plain", "plain"},
		{"{{.name}}", "n"},
		{"{{ .missing }}", "<no value>"},
		{"{{ .values.missing }}", "<no value>"},
		{"{{ .tree.none }}", "<no value>"},
		{"{{ .tree.list }}", "[x 1]"},
		{"{{ .big }}", "1e+06"},
		{"{{ with .missing }}yes{{ else }}no{{ end }}", "no"},
		{"{{ range $i, $e := .tree.list }}{{ if $i }},{{ end }}{{ $e }}{{ end }}", "x,1"},
		{"{{ range .missing }}x{{ else }}none{{ end }}", "none"},
		{"{{ range until 3 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "02"},
		{"{{ $x := .name }}{{ $x = upper $x }}{{ $x }}", "N"},
		{`{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" .name }}`, "<n>"},
		{`{{ printf "%05d" 7 }} {{ html "<" }} {{ print 1 2 }}`, "00007 &lt; 1 2"},
		{`{{ tpl }}`, "!"},
		{`{{ index .tree.list 0 | quote }}`, `"x"`},
		{`{{ default "d" .missing }}`, "d"},
		{`{{ .name | toJson }} {{ toYaml .tree.list }}`, "\"n\" - x\n- 1"},
		{`{{- /* nothing */ -}} {{ "a" -}} b`, "ab"},
	} {
		got, err := newRenderer(true, nil).replace(c.text, with)
		if c.want == "!" {
			if err == nil {
				t.Errorf("%s: gives %q, want an error", c.text, got)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	if _, err := newRenderer(true, []string{"missingkey=error"}).replace("{{ .values.missing }}", with); err == nil {
		t.Error("missingkey=error finds nothing missing")
	}
}

// TestOlderTemplates replaces names only.
func TestOlderTemplates(t *testing.T) {
	with := params{"a": "1", "b.c": "2", "path[0]": "3", "number": 4.0}
	for _, c := range []struct{ text, want string }{
		{"{{a}}-{{ b.c }}-{{path[0]}}", "1-2-3"},
		{"{{unknown}} {{ number }} {{}}", "{{unknown}} {{ number }} {{}}"},
		{"{{a", "{{a"},
		{"{{a}} {{b", "!"},
		{"{{a\n}}", "{{a\n}}"},
	} {
		got, err := newRenderer(false, nil).replace(c.text, with)
		if c.want == "!" && err != nil {
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

// TestSlugs has what upstream's library gives.
func TestSlugs(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		smart bool
		want  string
	}{
		{"feat/a_really+awesome_feature", 50, true, "feat-a_really-awesome_feature"},
		{"Hellö Wörld хелло ворлд", 50, true, "hello-world-khello-vorld"},
		{"A & B @ C's “x”", 50, true, "a-and-b-at-cs-x"},
		{"one-two-three", 9, true, "one-two"},
		{"one-two-three", 7, true, "one-two"},
		{"onetwothree", 5, true, "onetw"},
		{"one-two-three", 5, false, "one-t"},
		{"short", 50, false, "short"},
		{"--x--", 0, true, "x"},
	} {
		if got := slug(c.text, c.limit, c.smart); got != c.want {
			t.Errorf("slug(%q, %d, %t) = %q, want %q", c.text, c.limit, c.smart, got, c.want)
		}
	}
	if got := branchSlug("feature/_Foo_Bar--with-a-branch-name-that-is-much-longer-than-fifty"); got != "feature-foo-bar-with-a-branch-name-that-is-much" {
		t.Errorf("got %q", got)
	}
	if got := normalize("My_Cluster.Name-" + strings.Repeat("x", 300)); len(got) != maxName {
		t.Errorf("a name of %d characters", len(got))
	}
}

// TestEveryFieldIsKnown walks the list of fields: each has a type.
func TestEveryFieldIsKnown(t *testing.T) {
	var walk func(path string, s *shape)
	walk = func(path string, s *shape) {
		switch {
		case s.kind == "":
			t.Errorf("%s has no type", path)
		case s.ref != "" && sections[s.ref] == nil:
			t.Errorf("%s stands for %s, which is no section", path, s.ref)
		case (s.kind == shapeList || s.kind == shapeMap) && s.items == nil:
			t.Errorf("%s has items without a type", path)
		}
		for name, field := range s.fields {
			walk(path+"."+name, field)
		}
		if s.items != nil {
			walk(path+"[]", s.items)
		}
	}
	for name, section := range sections {
		walk(name, section)
	}
}

// FuzzTemplate looks for templates that stop the process, or take longer than
// their budget.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"{{.a}}", "{{ range .l }}{{ . }}{{ end }}", `{{ define "x" }}{{ template "x" }}{{ end }}`, "{{ toYaml . | nindent 4 }}", "{{a}}{{ b.c }}", `{{ $d := dict "a" .l }}{{ set $d "x" $d }}`} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, goTemplate bool) {
		if strings.Contains(text, "bcrypt") || strings.Contains(text, "gen") || strings.Contains(text, "derive") || strings.Contains(text, "htpasswd") {
			return // slow, and counted elsewhere
		}
		out, err := newRenderer(goTemplate, nil).replace(text, params{"a": "x", "b.c": "y", "l": []any{"1", "2"}})
		if err == nil && len(out) > maxTemplate && len(out) > len(text) {
			t.Errorf("%d bytes", len(out))
		}
	})
}

// FuzzSet reads whatever stands in a spec.
func FuzzSet(f *testing.F) {
	f.Add("generators: [{list: {elements: [{a: b}]}}]\ntemplate: {metadata: {name: '{{a}}'}, spec: {}}")
	f.Add("goTemplate: true\ngenerators: [{matrix: {generators: [{clusters: {}}, {list: {elementsYaml: '[{a: b}]'}}]}}]\ntemplate: {metadata: {name: '{{.a}}'}}\ntemplatePatch: 'spec: {$patch: delete}'")
	f.Add("generators: [{merge: {mergeKeys: [a], generators: [{list: {elements: [{a: b}]}}, {list: {elements: [{a: b, c: d}]}}]}}]")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		asJSON, err := yaml.YAMLToJSON([]byte("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: f, namespace: argocd}\nspec:\n  " + strings.ReplaceAll(text, "\n", "\n  ")))
		if err != nil {
			return
		}
		set := &unstructured.Unstructured{}
		if set.UnmarshalJSON(asJSON) != nil {
			return
		}
		s := &scene{}
		facts := model.Facts{}
		if _, _, _, err := s.compile(t, set, facts); err != nil {
			var fault *model.Fault
			if !errors.As(err, &fault) || fault.Message == "" {
				t.Fatalf("no fault: %v", err)
			}
			return
		}
		apps, _, _, err := Room{Source: testSource}.Expand(set, facts, nil, s.settings)
		if err != nil {
			var fault *model.Fault
			if !errors.As(err, &fault) || fault.Message == "" {
				t.Fatalf("no fault: %v", err)
			}
			return
		}
		for i, app := range apps {
			if app.ID.Name == "" || i > 0 && apps[i-1].ID.Name >= app.ID.Name {
				t.Fatalf("the names are not in order, or not unique: %v", app.ID)
			}
		}
	})
}
