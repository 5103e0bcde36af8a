package appset

import (
	"strings"
	"testing"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
)

// TestTheTableIsWhatIsRead walks from every row to the place by which declared
// sets are read.
func TestTheTableIsWhatIsRead(t *testing.T) {
	rows := map[string]Field{}
	for _, field := range Fields() {
		if _, twice := rows[field.Path]; twice {
			t.Errorf("%s stands there twice", field.Path)
		}
		rows[field.Path] = field
		kind, _, _ := strings.Cut(strings.TrimPrefix(field.Path, "spec.generators[]."), ".")
		if _, refused := refusedGenerators[kind]; refused != (field.Support == "refused") {
			t.Errorf("%s is %s", field.Path, field.Support)
		}
	}
	if len(rows) < 150 {
		t.Errorf("%d rows", len(rows))
	}
	for path := range notes {
		if _, ok := rows[path]; !ok {
			t.Errorf("a note on %s, which is no row", path)
		}
	}
}

// A set with a generator that nobody evaluates must not lose the Applications
// that the generator once made.
func TestRefusedGeneratorsAreFaults(t *testing.T) {
	for _, generators := range []string{
		"[{oci: {repoURL: 'oci://x/y', revision: v1}}]",
		"[{list: {elements: [{a: b}]}, oci: {repoURL: 'oci://x/y'}}]",
		"[{matrix: {generators: [{list: {elements: [{a: b}]}}, {oci: {repoURL: 'oci://x/y'}}]}}]",
	} {
		set := objectsIn(t, []byte("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: s}\nspec: {generators: "+generators+", template: {metadata: {name: a}, spec: {project: default, destination: {}}}}\n"))[0]
		_, _, _, _, err := Room{}.Compile(set, model.Facts{}, dialect.Settings{})
		if err == nil || !strings.Contains(err.Error(), ".oci: generators that read OCI artifacts are not supported") {
			t.Errorf("%s: %v", generators, err)
		}
	}
	if path, _ := refusedGenerator([]string{"spec.generators[0].list.oci", "spec.oci"}); path != "" {
		t.Errorf("%s is taken for a generator", path)
	}
}
