package plan

import (
	"sort"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The stages of a plan. Objects of a later stage may depend on those before.
const (
	definitions = iota
	classes
	everything
	stages
)

// stage tells where a kind belongs.
func stage(id object.ID) int {
	switch {
	case id.Kind == "Namespace" && id.Group == "":
		return definitions
	case id.Kind == "CustomResourceDefinition" && id.Group == "apiextensions.k8s.io":
		return definitions
	case strings.HasSuffix(id.Kind, "Class") && id.Namespace == "":
		return classes
	case id.Group == "rbac.authorization.k8s.io" && id.Kind == "ClusterRole":
		return classes
	case id.Group == "apiregistration.k8s.io" && id.Kind == "APIService":
		return classes
	}
	return everything
}

func byStage(changes []model.Change) [stages][]model.Change {
	var out [stages][]model.Change
	for _, c := range changes {
		s := stage(c.Object)
		out[s] = append(out[s], c)
	}
	for _, cs := range out {
		sort.Slice(cs, func(i, j int) bool { return cs[i].Object.Less(cs[j].Object) })
	}
	return out
}

func applyWaves(changes []model.Change) []model.Wave {
	var waves []model.Wave
	for s, cs := range byStage(changes) {
		if len(cs) > 0 {
			waves = append(waves, model.Wave{Changes: cs, Established: s == definitions})
		}
	}
	return waves
}

func deleteWaves(changes []model.Change) []model.Wave {
	var waves []model.Wave
	staged := byStage(changes)
	for s := stages - 1; s >= 0; s-- {
		if len(staged[s]) > 0 {
			waves = append(waves, model.Wave{Changes: staged[s]})
		}
	}
	return waves
}
