package appset

import (
	"testing"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/model"
)

// TestWithTheRealNeighbour compiles and expands with the room that knows
// repositories, instead of the one of the goldens.
func TestWithTheRealNeighbour(t *testing.T) {
	set := objectsIn(t, []byte(`
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: s}
spec:
  generators:
  - git: {repoURL: 'https://git.example/x.git', revision: main, directories: [{path: '*'}]}
  template: {metadata: {name: '{{path.basename}}', labels: {}}, spec: {source: {repoURL: 'https://git.example/x.git', path: '{{path}}'}, destination: {}}}
`))[0]
	s := &scene{}
	room := Room{Source: repository.Source}
	facts := model.Facts{}
	for range 6 {
		delivery, sources, needs, _, err := room.Compile(set, facts, dialect.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for _, need := range needs {
			facts[need] = s.fact(need)
		}
		if len(needs) > 0 {
			continue
		}
		if len(sources) != 1 || len(delivery.Inputs) != 1 || delivery.Inputs[0].Source != sources[0].ID {
			t.Fatalf("sources %v, inputs %v", sources, delivery.Inputs)
		}
		_, questions, _, err := room.Expand(set, facts, nil, dialect.Settings{})
		if err != nil || len(questions) != 1 || questions[0].Git.Source.ID != sources[0].ID {
			t.Fatalf("questions %v, %v", questions, err)
		}
		apps, questions, _, err := room.Expand(set, facts, map[string]model.Answer{questions[0].Key: {Directories: []string{"a", "b"}}}, dialect.Settings{})
		if err != nil || len(questions) != 0 || len(apps) != 2 {
			t.Fatalf("%d Applications, %v", len(apps), err)
		}
		return
	}
	t.Fatal("the needs never end")
}
