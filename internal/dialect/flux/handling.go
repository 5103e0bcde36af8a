package flux

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// Handling reads the control annotations of one object (fluxcd/pkg ssa, and
// kustomize-controller's documentation "Controlling the apply behavior of
// resources"). Labels of the same names count too, as upstream has it. What a
// HelmRelease has made, which its labels tell, heeds Helm's annotation instead.
// Flux knows no hooks and no waves; those of Helm depend on the action.
func (Flux) Handling(o *unstructured.Unstructured) (model.Handling, model.Stage) {
	if o.GetLabels()[GroupHelm+"/name"] != "" {
		return model.Handling{Keep: helm.Keeps(o.GetAnnotations())}, model.Stage{}
	}
	is := func(name, want string) bool {
		return strings.EqualFold(o.GetAnnotations()[name], want) || strings.EqualFold(o.GetLabels()[name], want)
	}
	return model.Handling{
		Disabled:     is(GroupKustomize+"/reconcile", "disabled") || is(GroupKustomize+"/ssa", "Ignore"),
		Keep:         is(GroupKustomize+"/prune", "disabled"),
		Merge:        is(GroupKustomize+"/ssa", "Merge"),
		IfNotPresent: is(GroupKustomize+"/ssa", "IfNotPresent"),
		Force:        is(GroupKustomize+"/force", "enabled"),
	}, model.Stage{}
}

// Override changes nothing: Flux has no such files.
func (Flux) Override(render model.Render, _ string, _ []byte) (model.Render, error) {
	return render, nil
}

// Expand makes the ExternalArtifacts of an ArtifactGenerator.
func (Flux) Expand(declared *unstructured.Unstructured, _ model.Facts, answers map[string]model.Answer, settings dialect.Settings) ([]model.Rendered, []model.Question, []model.Finding, error) {
	objects, questions, err := expandArtifactGenerator(declared, answers, settings)
	return objects, questions, nil, err
}
