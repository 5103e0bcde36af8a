package helm

import (
	"fmt"
	"strings"
)

// What Helm marks objects with, and reads from them.
const (
	ManagedByLabel      = "app.kubernetes.io/managed-by"
	ManagedByHelm       = "Helm"
	ReleaseAnnotation   = "meta.helm.sh/release-name"
	NamespaceAnnotation = "meta.helm.sh/release-namespace"

	PolicyAnnotation = "helm.sh/resource-policy"
)

// Marks are the label and the annotations that every object of a release has,
// but hooks and CRDs of the directory crds.
func Marks(release, namespace string) (labels, annotations map[string]string) {
	return map[string]string{ManagedByLabel: ManagedByHelm},
		map[string]string{ReleaseAnnotation: release, NamespaceAnnotation: namespace}
}

// Foreign says, in Helm's words, why an object with these labels and annotations
// is not one of the release; "" when it is. Helm adopts such an object only when
// it is told to take ownership, and never deletes it in an uninstall.
func Foreign(labels, annotations map[string]string, release, namespace string) string {
	var why []string
	for _, want := range []struct {
		what       string
		in         map[string]string
		key, value string
	}{
		{"label", labels, ManagedByLabel, ManagedByHelm},
		{"annotation", annotations, ReleaseAnnotation, release},
		{"annotation", annotations, NamespaceAnnotation, namespace},
	} {
		switch value, ok := want.in[want.key]; {
		case !ok:
			why = append(why, fmt.Sprintf("%s validation error: missing key %q: must be set to %q", want.what, want.key, want.value))
		case value != want.value:
			why = append(why, fmt.Sprintf("%s validation error: key %q must equal %q: current value is %q", want.what, want.key, want.value, value))
		}
	}
	if len(why) == 0 {
		return ""
	}
	return "invalid ownership metadata; " + strings.Join(why, "; ")
}

// Keeps reports whether an object stays when Helm would delete it
// (helm.sh/resource-policy: keep): on upgrade, rollback and uninstall.
func Keeps(annotations map[string]string) bool {
	return strings.ToLower(strings.TrimSpace(annotations[PolicyAnnotation])) == "keep"
}
