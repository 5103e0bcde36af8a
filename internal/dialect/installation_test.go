package dialect

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestRunsImage(t *testing.T) {
	for image, want := range map[string]bool{
		"fluxcd/source-controller":                                     true,
		"ghcr.io/fluxcd/source-controller:v1.6.0":                      true,
		"mirror.example.org:5000/fluxcd/source-controller":             true,
		"mirror.example.org:5000/fluxcd/source-controller:v1@sha256:0": true,
		"example.org/source-controller:v1":                             false,
		"fluxcd/source-controller-debug:v1":                            false,
		"":                                                             false,
	} {
		workload := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{"none", map[string]any{"image": "example.org/sidecar"}, map[string]any{"image": image}},
		}}}}}
		if got := RunsImage(workload, "fluxcd/source-controller"); got != want {
			t.Errorf("%q: %v, want %v", image, got, want)
		}
	}
	if RunsImage(&unstructured.Unstructured{Object: map[string]any{}}, "fluxcd/source-controller") {
		t.Error("an object without containers runs it")
	}
}
