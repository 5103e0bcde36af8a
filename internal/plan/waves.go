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

// stepWaves orders the changes of a sync: by sync wave, lowest first, and by
// stage within each.
func stepWaves(changes []model.Change) []model.Wave {
	return bySteps(changes, func(c *model.Change) int { return c.Wave }, applyWaves)
}

// stepDeletes orders the deletions of a sync: the last sync wave first, and
// what is to be pruned last at the end. They come after everything has been
// applied, whatever their wave: upstream deletes within the waves.
func stepDeletes(changes []model.Change) []model.Wave {
	var soon, last []model.Change
	for _, c := range changes {
		if c.Last {
			last = append(last, c)
		} else {
			soon = append(soon, c)
		}
	}
	back := func(c *model.Change) int { return -c.Wave }
	end := func(c *model.Change) int { return pruneLast - c.Wave }
	waves := append(bySteps(soon, back, deleteWaves), bySteps(last, end, deleteWaves)...)
	for i := range waves {
		waves[i].Prunes = true
	}
	return waves
}

// pruneLast is a step behind every sync wave that anybody uses.
const pruneLast = 1 << 30

func bySteps(changes []model.Change, step func(*model.Change) int, order func([]model.Change) []model.Wave) []model.Wave {
	steps := map[int][]model.Change{}
	for i := range changes {
		n := step(&changes[i])
		steps[n] = append(steps[n], changes[i])
	}
	numbers := make([]int, 0, len(steps))
	for n := range steps {
		numbers = append(numbers, n)
	}
	sort.Ints(numbers)
	var waves []model.Wave
	for _, n := range numbers {
		for _, w := range order(steps[n]) {
			w.Step = n
			waves = append(waves, w)
		}
	}
	return waves
}
