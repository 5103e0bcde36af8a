package main

import (
	"fmt"
	"slices"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A relaxation accepts what manifests in use have and upstream refuses.
type relaxation struct {
	kind  string
	field string // below spec
	why   string
	apply func(spec, field *apiext.JSONSchemaProps, name string)
}

var relaxations = []relaxation{
	{"Kustomization", "interval", "left out in the wild; ten minutes then, with a finding", optional},
	{"Application", "project", "left out in the wild; default then", optional},
	{"Application", "destination", "left out in the wild; the cluster itself then, with a finding", optional},
	{"Provider", "type", "mail, which Plumb's notifications will have", alsoAccept("smtp")},
	{"Provider", "address", "host:port of a mail server is no URL", anyText},
	{"Alert", "eventSources", "the kinds of Flux Operator, which its installations accept", kindsOfOperator},
	{"Receiver", "resources", "the kinds of Flux Operator, which its installations accept", kindsOfOperator},
}

func relax(definition *apiext.CustomResourceDefinition) error {
	for _, r := range relaxations {
		if r.kind != definition.Spec.Names.Kind {
			continue
		}
		for i := range definition.Spec.Versions {
			root := definition.Spec.Versions[i].Schema.OpenAPIV3Schema
			spec := root.Properties["spec"]
			field, ok := spec.Properties[r.field]
			if !ok {
				return fmt.Errorf("%s has no spec.%s any more: remove the relaxation", r.kind, r.field)
			}
			r.apply(&spec, &field, r.field)
			spec.Properties[r.field] = field
			root.Properties["spec"] = spec
		}
	}
	return nil
}

func optional(spec, _ *apiext.JSONSchemaProps, name string) {
	spec.Required = slices.DeleteFunc(spec.Required, func(required string) bool { return required == name })
}

// kindsOfOperator are those that Flux Operator adds to references in the
// definitions that it installs (flux-operator internal/builder, the patch of
// notification-controller).
func kindsOfOperator(_, field *apiext.JSONSchemaProps, _ string) {
	kind := field.Items.Schema.Properties["kind"]
	for _, name := range []string{"FluxInstance", "ResourceSet", "ResourceSetInputProvider"} {
		alsoAccept(name)(nil, &kind, "")
	}
	field.Items.Schema.Properties["kind"] = kind
}

func alsoAccept(value string) func(spec, field *apiext.JSONSchemaProps, name string) {
	return func(_, field *apiext.JSONSchemaProps, _ string) {
		if len(field.Enum) > 0 {
			field.Enum = mergeEnum(field.Enum, []apiext.JSON{{Raw: []byte(`"` + value + `"`)}})
		}
	}
}

func anyText(_, field *apiext.JSONSchemaProps, _ string) { field.Pattern = "" }
