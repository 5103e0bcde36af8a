package dialect

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RunsImage reports whether a container of a rendered workload runs an image of
// this repository ("fluxcd/source-controller"), whatever registry mirrors it.
func RunsImage(workload *unstructured.Unstructured, repository string) bool {
	containers, _, _ := unstructured.NestedSlice(workload.Object, "spec", "template", "spec", "containers")
	for _, item := range containers {
		container, _ := item.(map[string]any)
		image, _ := container["image"].(string)
		if strings.HasSuffix(repositoryOf(image), repository) {
			return true
		}
	}
	return false
}

// repositoryOf is an image without tag and digest.
func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}
