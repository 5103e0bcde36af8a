package render

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// objectWith is a manifest of one ConfigMap with text in it.
func objectWith(t testing.TB, text string) *model.Manifest {
	t.Helper()
	fields := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"text": text}}
	canonical, err := object.Canonical(fields)
	if err != nil {
		t.Fatal(err)
	}
	id, version := identify(fields)
	return &model.Manifest{Objects: []model.Rendered{{ID: id, Version: version, JSON: canonical}}}
}

func variable(value string) Variable { return Variable{Value: model.NewSecret([]byte(value))} }

func TestSubstitutionIsBounded(t *testing.T) {
	long := variable(strings.Repeat("a", 1<<20))
	for name, c := range map[string]struct{ text, want string }{
		"many references":    {strings.Repeat("${x}", mostReferences+1), "more than 20000 references"},
		"one value often":    {strings.Repeat("${long}", 100), "more than 16777216 bytes"},
		"replacing bytes":    {"${long//a/" + strings.Repeat("b", 100) + "}", "more than 16777216 bytes"},
		"cutting a pattern":  {"${long#*b*c}", "takes too long"},
		"number that spills": {"${x:1:9223372036854775807}", "around the variable x"},
	} {
		_, err := Substitute(objectWith(t, c.text), &model.Substitution{}, map[string]Variable{"long": long, "x": variable("value")}, model.Annotations{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestSubstitutionLeavesItsInputAlone(t *testing.T) {
	m := objectWith(t, "${x}")
	before := string(m.Objects[0].JSON)
	out, err := Substitute(m, &model.Substitution{}, map[string]Variable{"x": variable("y")}, model.Annotations{})
	if err != nil || string(m.Objects[0].JSON) != before || string(out.Objects[0].JSON) == before {
		t.Errorf("in %s, out %v, %v", m.Objects[0].JSON, out, err)
	}
}

func TestStrictSubstitutionWantsVariables(t *testing.T) {
	vars := map[string]Variable{"x": variable("value"), "empty": variable("")}
	for text, want := range map[string]string{
		"${x}":            `"text":"value"`,
		"${empty}":        `"text":null`,
		"${z:=otherwise}": `"text":"otherwise"`,
		"${z}":            "",
	} {
		out, err := Substitute(objectWith(t, text), &model.Substitution{Strict: true}, vars, model.Annotations{})
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "variable substitution failed")):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err != nil || !strings.Contains(string(out.Objects[0].JSON), want)):
			t.Errorf("%s: %v, %v", text, out, err)
		}
	}
	if _, err := Substitute(objectWith(t, "${z}"), &model.Substitution{}, vars, model.Annotations{}); err != nil {
		t.Errorf("without strictness: %v", err)
	}
}

func TestVariables(t *testing.T) {
	config := model.Need{Version: "v1", Kind: "ConfigMap", Namespace: "n", Name: "c"}
	secret := model.Need{Version: "v1", Kind: "Secret", Namespace: "n", Name: "s"}
	present := func(o map[string]any) model.Fact {
		return model.Fact{State: model.Present, Object: &unstructured.Unstructured{Object: o}}
	}
	facts := model.Facts{
		config: present(map[string]any{"kind": "ConfigMap", "data": map[string]any{"a": "config", "b": "config"}}),
		secret: present(map[string]any{"kind": "Secret", "data": map[string]any{"b": "Y2FuYXJ5", "c": "Y2FuYXJ5"}}),
	}
	sub := &model.Substitution{From: []model.SubstituteFrom{{Need: config}, {Need: secret}}, Inline: map[string]string{"c": "in\nline"}}
	vars, err := Variables(sub, facts)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		value  string
		secret bool
	}{"a": {"config", false}, "b": {"canary", true}, "c": {"inline", false}} {
		if got := vars[name]; string(got.Value.Reveal()) != want.value || got.Secret != want.secret {
			t.Errorf("%s is %q, secret %v", name, got.Value.Reveal(), got.Secret)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", vars, vars, vars); strings.Contains(shown, "canary") {
		t.Errorf("variables print as %s", shown)
	}
}

func TestVariablesThatCannotBeRead(t *testing.T) {
	need := model.Need{Version: "v1", Kind: "Secret", Namespace: "n", Name: "s"}
	bad := &unstructured.Unstructured{Object: map[string]any{"kind": "Secret", "data": map[string]any{"a": "canary!"}}}
	for name, c := range map[string]struct {
		facts    model.Facts
		optional bool
		want     string // "" for no fault
	}{
		"not asked":        {model.Facts{}, true, "not read yet"},
		"absent":           {model.Facts{need: {State: model.Absent}}, false, "substitute from 'Secret/s' error: not found"},
		"absent, optional": {model.Facts{need: {State: model.Absent}}, true, ""},
		"forbidden":        {model.Facts{need: {State: model.Forbidden, Message: "no access"}}, true, "no access"},
		"failed":           {model.Facts{need: {State: model.Failed, Message: "timeout"}}, true, "timeout"},
		"damaged":          {model.Facts{need: {State: model.Present, Object: bad}}, true, `the value of "a" is not base64`},
	} {
		_, err := Variables(&model.Substitution{From: []model.SubstituteFrom{{Need: need, Optional: c.optional}}}, c.facts)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var fault *model.Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Error(), c.want) || strings.Contains(fault.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestEncrypted(t *testing.T) {
	sops := map[string]any{"mac": "ENC[AES256_GCM,data:x]"}
	meta := func(annotations map[string]any) map[string]any {
		return map[string]any{"name": "x", "annotations": annotations}
	}
	for name, c := range map[string]struct {
		fields map[string]any
		want   bool
	}{
		"plain Secret":     {map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"a": "Y2FuYXJ5"}}, false},
		"encrypted Secret": {map[string]any{"apiVersion": "v1", "kind": "Secret", "sops": sops}, true},
		"other kind":       {map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "sops": sops}, true},
		"no MAC":           {map[string]any{"apiVersion": "x/v1", "kind": "X", "sops": map[string]any{}}, false},
		"operator's kind":  {map[string]any{"apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret", "sops": sops}, false},
		"left alone":       {map[string]any{"apiVersion": "v1", "kind": "Secret", "sops": sops, "metadata": meta(map[string]any{keepEncrypted: "Disabled"})}, false},
		"dotenv file":      {map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": map[string]any{"env": "A=b\nsops_mac=ENC[AES256_GCM,data:x]"}}, true},
		"value":            {map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": map[string]any{"a": "ENC[AES256_GCM,data:x]"}}, true},
	} {
		if got := Encrypted(c.fields); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
