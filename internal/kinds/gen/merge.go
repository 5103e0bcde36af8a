package main

import (
	"cmp"
	"log"
	"slices"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// merge adds an older version's schema to the union of the newer ones. Where
// the two disagree the newer says what a field is, and the looser constraint
// holds: an object of either version must pass.
func merge(union, older *apiext.JSONSchemaProps, path string) {
	if union.Type != older.Type {
		log.Printf("%s: %q and %q: kept as it comes", path, union.Type, older.Type)
		*union = apiext.JSONSchemaProps{XPreserveUnknownFields: pointer(true)}
		return
	}
	loosen(union, older)
	mergeProperties(union, older, path)
	if union.Items != nil && older.Items != nil && union.Items.Schema != nil && older.Items.Schema != nil {
		merge(union.Items.Schema, older.Items.Schema, path+"[]")
	}
	mergeAdditional(union, older, path)
	if preserves(older) {
		union.XPreserveUnknownFields = pointer(true)
	}
}

func mergeProperties(union, older *apiext.JSONSchemaProps, path string) {
	for name, schema := range older.Properties {
		known, ok := union.Properties[name]
		if !ok {
			if union.Properties == nil {
				union.Properties = map[string]apiext.JSONSchemaProps{}
			}
			added := *schema.DeepCopy()
			withoutDefaults(&added)
			union.Properties[name] = added
			continue
		}
		merge(&known, &schema, path+"."+name)
		union.Properties[name] = known
	}
	union.Required = slices.DeleteFunc(slices.Clone(union.Required), func(name string) bool { return !slices.Contains(older.Required, name) })
}

func mergeAdditional(union, older *apiext.JSONSchemaProps, path string) {
	switch {
	case union.AdditionalProperties == nil:
		union.AdditionalProperties = older.AdditionalProperties.DeepCopy()
	case older.AdditionalProperties != nil && union.AdditionalProperties.Schema != nil && older.AdditionalProperties.Schema != nil:
		merge(union.AdditionalProperties.Schema, older.AdditionalProperties.Schema, path+".*")
	}
}

// loosen widens the constraints of the newer version to let through what the
// older one allowed by name. A constraint that only the newer one has stays:
// upstream refuses what it refuses in every version that it serves.
func loosen(union, older *apiext.JSONSchemaProps) {
	if older.Pattern != "" && union.Pattern != older.Pattern {
		union.Pattern = ""
	}
	if union.Format != older.Format {
		union.Format = ""
	}
	if len(union.Enum) > 0 && len(older.Enum) > 0 {
		union.Enum = mergeEnum(union.Enum, older.Enum)
	}
	union.MinLength = wider(union.MinLength, older.MinLength, least)
	union.MinItems = wider(union.MinItems, older.MinItems, least)
	union.MaxLength = wider(union.MaxLength, older.MaxLength, most)
	union.MaxItems = wider(union.MaxItems, older.MaxItems, most)
	union.Minimum = wider(union.Minimum, older.Minimum, least)
	union.Maximum = wider(union.Maximum, older.Maximum, most)
	union.Nullable = union.Nullable || older.Nullable
	union.XIntOrString = union.XIntOrString || older.XIntOrString
}

func mergeEnum(a, b []apiext.JSON) []apiext.JSON {
	out := slices.Clone(a)
	for _, value := range b {
		if !slices.ContainsFunc(out, func(known apiext.JSON) bool { return string(known.Raw) == string(value.Raw) }) {
			out = append(out, value)
		}
	}
	return out
}

// wider is the newer bound, or the wider one when both have one.
func wider[T cmp.Ordered](newer, older *T, choose func(a, b T) T) *T {
	if newer == nil || older == nil {
		return newer
	}
	return pointer(choose(*newer, *older))
}

func least[T cmp.Ordered](a, b T) T { return min(a, b) }
func most[T cmp.Ordered](a, b T) T  { return max(a, b) }

// withoutDefaults keeps the server from writing a field that upstream dropped
// into objects that never had it.
func withoutDefaults(schema *apiext.JSONSchemaProps) {
	schema.Default = nil
	for name, property := range schema.Properties {
		withoutDefaults(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		withoutDefaults(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		withoutDefaults(schema.AdditionalProperties.Schema)
	}
}

func preserves(schema *apiext.JSONSchemaProps) bool {
	return schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields
}

func pointer[T any](value T) *T { return &value }
