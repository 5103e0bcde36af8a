package dialect

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// AnnotationDependsOn names other deliveries, of any dialect, that must be
// ready first: kind/namespace/name, separated by commas or line breaks. A kind
// may carry its group behind a dot: Kustomization.kustomize.toolkit.fluxcd.io.
const AnnotationDependsOn = "plumb.dev/depends-on"

// ReasonInvalidDependency is the reason of findings on AnnotationDependsOn.
const ReasonInvalidDependency = "InvalidDependency"

const maxDependencies = 100

// deliveryGroups are the API groups of the kinds that are known by their name
// alone.
var deliveryGroups = map[string]string{
	"Kustomization":  "kustomize.toolkit.fluxcd.io",
	"HelmRelease":    "helm.toolkit.fluxcd.io",
	"Application":    "argoproj.io",
	"ApplicationSet": "argoproj.io",
}

// DependsOn reads AnnotationDependsOn. An entry that cannot be read, and one
// that names the object itself, is a finding and no dependency; the same entry
// twice is one. The dialect of a finding's origin is for the caller to say.
func DependsOn(o *unstructured.Unstructured) ([]model.Dependency, []model.Finding) {
	text := o.GetAnnotations()[AnnotationDependsOn]
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	self := object.Of(o)
	var out []model.Dependency
	var findings []model.Finding
	find := func(format string, args ...any) {
		findings = append(findings, model.Finding{
			Severity: model.Warning,
			Reason:   ReasonInvalidDependency,
			Message:  fmt.Sprintf(format, args...),
			Origin:   model.Origin{Declared: self, Field: "metadata.annotations[" + AnnotationDependsOn + "]"},
		})
	}
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		on, why := dependency(entry)
		switch {
		case why != "":
			find("%q %s: it is not waited for", clipped(entry), why)
		case on == self:
			find("%q names the object itself: it is not waited for", clipped(entry))
		case slices.Contains(out, model.Dependency{On: on}):
		case len(out) == maxDependencies:
			find("more than %d dependencies: the rest is not waited for", maxDependencies)
			return out, findings
		default:
			out = append(out, model.Dependency{On: on})
		}
	}
	return out, findings
}

// dependency reads one entry, or says what is wrong with it.
func dependency(entry string) (object.ID, string) {
	parts := strings.Split(entry, "/")
	if len(parts) != 3 {
		return object.ID{}, "is not of the form kind/namespace/name"
	}
	kind, group, qualified := strings.Cut(strings.TrimSpace(parts[0]), ".")
	if !qualified {
		group = deliveryGroups[kind]
	}
	on := object.ID{Group: group, Kind: kind, Namespace: strings.TrimSpace(parts[1]), Name: strings.TrimSpace(parts[2])}
	switch {
	case kind == "" || group == "":
		return object.ID{}, "names a kind that is no delivery: write Kustomization, HelmRelease or Application, or a kind with its group"
	case len(validation.IsDNS1123Label(on.Namespace)) > 0:
		return object.ID{}, "names no namespace"
	case len(validation.IsDNS1123Subdomain(on.Name)) > 0 || len(validation.IsDNS1123Subdomain(group)) > 0:
		return object.ID{}, "names no object"
	}
	return on, ""
}

func clipped(text string) string {
	const limit = 200
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
