package kinds

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/version"
)

// Merge decides what to apply when a cluster may already have the definition,
// from upstream or from an earlier Plumb. apply is nil when nothing has to be
// written; why says in a sentence what was decided, for people.
//
//   - A definition that is newer than ours, by version or by fields, is never
//     made older: it stays the base, and only fields and versions that it
//     lacks are added.
//   - A version that objects are or may be stored in stays served until the
//     caller has migrated it: none that the cluster has is taken away.
//   - Every version keeps the union of the fields.
//
// What is returned has metadata.name, labels, annotations and spec, and is
// meant for server-side apply or a replace with the live resourceVersion.
func Merge(existing, ours *unstructured.Unstructured) (apply *unstructured.Unstructured, why string) {
	if existing == nil {
		return ours.DeepCopy(), "it is not installed"
	}
	theirs, own := versionsOf(existing), versionsOf(ours)
	if len(theirs) == 0 {
		return ours.DeepCopy(), "what is installed has no versions"
	}
	// The usual case, told without copying what may be half a megabyte.
	if same(ours, existing) {
		return nil, "it is installed as it should be"
	}
	newer, reason := isNewer(theirs, own)
	base, other := ours.DeepCopy(), existing.DeepCopy()
	if newer {
		base, other = other, base
	}
	merged := bare(base, other)
	kept := unite(merged, versionsOf(base), versionsOf(other), newer)

	switch {
	case same(merged, existing) && newer:
		return nil, "what is installed is newer (" + reason + ") and has every field"
	case same(merged, existing):
		return nil, "it is installed as it should be"
	case newer:
		return merged, "what is installed is newer (" + reason + "): only what it lacks is added"
	case len(kept) > 0:
		return merged, "it is brought up to date; " + strings.Join(kept, ", ") + " stays, since objects may be stored in it"
	}
	return merged, "it is brought up to date"
}

// versionsOf are the entries of spec.versions, by name; they are the
// definition's own.
func versionsOf(definition *unstructured.Unstructured) map[string]map[string]any {
	list, _ := mapAt(definition.Object, "spec")["versions"].([]any)
	out := map[string]map[string]any{}
	for _, item := range list {
		if entry, ok := item.(map[string]any); ok {
			name, _ := entry["name"].(string)
			out[name] = entry
		}
	}
	return out
}

func byAge(versions map[string]map[string]any) []string {
	names := make([]string, 0, len(versions))
	for name := range versions {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	return names
}

// isNewer compares by the newest version, and by fields of it that we do not
// know: upstream adds fields within a version. Fields that only an older
// version of ours has say nothing.
func isNewer(theirs, own map[string]map[string]any) (bool, string) {
	newest, ourNewest := byAge(theirs)[0], byAge(own)[0]
	switch order := version.CompareKubeAwareVersionStrings(newest, ourNewest); {
	case order > 0:
		return true, "version " + newest
	case order < 0:
		return false, ""
	}
	if unknown := firstUnknown(schemaOf(theirs[newest]), schemaOf(own[ourNewest]), ""); unknown != "" {
		return true, "field " + unknown
	}
	return false, ""
}

func schemaOf(entry map[string]any) map[string]any {
	return mapAt(mapAt(entry, "schema"), "openAPIV3Schema")
}

// firstUnknown is the path of a field that theirs has and ours lacks.
func firstUnknown(theirs, ours map[string]any, path string) string {
	if preserves(ours) || preserves(theirs) {
		return ""
	}
	properties, known := mapAt(theirs, "properties"), mapAt(ours, "properties")
	for _, name := range sorted(properties) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if known[name] == nil {
			return at
		}
		if unknown := firstUnknown(asMap(properties[name]), asMap(known[name]), at); unknown != "" {
			return unknown
		}
	}
	for key, mark := range map[string]string{"items": "[]", "additionalProperties": ".*"} {
		below, ok := theirs[key].(map[string]any)
		if !ok {
			continue
		}
		if unknown := firstUnknown(below, mapAt(ours, key), path+mark); unknown != "" {
			return unknown
		}
	}
	return ""
}

// bare takes from base what is applied, with the labels and annotations of
// both.
func bare(base, other *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{}}
	out.SetAPIVersion(base.GetAPIVersion())
	out.SetKind(base.GetKind())
	out.SetName(base.GetName())
	out.SetLabels(joined(other.GetLabels(), base.GetLabels()))
	out.SetAnnotations(joined(other.GetAnnotations(), base.GetAnnotations()))
	out.Object["spec"] = mapAt(base.Object, "spec")
	return out
}

func joined(under, over map[string]string) map[string]string {
	if len(under)+len(over) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, pairs := range []map[string]string{under, over} {
		for key, value := range pairs {
			out[key] = value
		}
	}
	return out
}

// unite gives merged the versions of both, each with the fields of both, and
// returns the versions that only other has. baseWins: the base is the
// cluster's, and what is stored in stays as it is.
func unite(merged *unstructured.Unstructured, base, other map[string]map[string]any, baseWins bool) []string {
	var kept []string
	all := map[string]map[string]any{}
	for name, entry := range base {
		all[name] = entry
	}
	for name, entry := range other {
		if all[name] == nil {
			kept = append(kept, name)
			entry["storage"] = false
			all[name] = entry
		}
	}
	// Whatever is stored in one version is read in the others.
	var union map[string]any
	for _, entries := range []map[string]map[string]any{base, other} {
		for _, name := range byAge(entries) {
			if union == nil {
				union = copyMap(schemaOf(entries[name]))
				continue
			}
			addFields(union, schemaOf(entries[name]))
		}
	}
	list := make([]any, 0, len(all))
	for _, name := range byAge(all) {
		entry := all[name]
		schema := schemaOf(entry)
		if !baseWins || base[name] == nil {
			schema = copyMap(union)
		} else {
			addFields(schema, union)
		}
		entry["schema"] = map[string]any{"openAPIV3Schema": schema}
		list = append(list, entry)
	}
	spec, _ := merged.Object["spec"].(map[string]any)
	spec["versions"] = list
	slices.Sort(kept)
	return kept
}

// addFields adds the properties that into lacks. A field that is added is
// never required and has no default: objects without it are there already.
func addFields(into, from map[string]any) {
	if preserves(into) {
		return
	}
	if preserves(from) {
		into["x-kubernetes-preserve-unknown-fields"] = true
	}
	added := mapAt(from, "properties")
	if len(added) > 0 {
		properties := mapAt(into, "properties")
		if properties == nil {
			properties = map[string]any{}
		}
		for name, schema := range added {
			if known, ok := properties[name].(map[string]any); ok {
				addFields(known, asMap(schema))
				continue
			}
			fresh := copyMap(asMap(schema))
			dropDefaults(fresh)
			properties[name] = fresh
		}
		into["properties"] = properties
	}
	for _, key := range []string{"items", "additionalProperties"} {
		below, ok := from[key].(map[string]any)
		if !ok {
			continue
		}
		if known, ok := into[key].(map[string]any); ok {
			addFields(known, below)
		}
	}
}

func dropDefaults(schema map[string]any) {
	delete(schema, "default")
	for _, property := range mapAt(schema, "properties") {
		dropDefaults(asMap(property))
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if below, ok := schema[key].(map[string]any); ok {
			dropDefaults(below)
		}
	}
}

// same compares what would be applied with what is there, the server's own
// fields and all descriptions left out: ours have none, and upstream's are no
// reason to write.
func same(merged, existing *unstructured.Unstructured) bool {
	return reflect.DeepEqual(bareSpec(merged), bareSpec(existing)) &&
		sameVersions(versionsOf(merged), versionsOf(existing)) &&
		contains(existing.GetLabels(), merged.GetLabels()) && contains(existing.GetAnnotations(), merged.GetAnnotations())
}

// bareSpec is the spec but for the versions, and without what means nothing.
func bareSpec(definition *unstructured.Unstructured) map[string]any {
	spec := maps.Clone(mapAt(definition.Object, "spec"))
	if conversion := mapAt(spec, "conversion"); len(conversion) == 0 || conversion["strategy"] == "None" {
		delete(spec, "conversion")
	}
	if spec["preserveUnknownFields"] == false {
		delete(spec, "preserveUnknownFields")
	}
	delete(spec, "versions")
	return spec
}

func sameVersions(a, b map[string]map[string]any) bool {
	return maps.EqualFunc(a, b, func(a, b map[string]any) bool {
		bare := func(entry map[string]any) map[string]any {
			entry = maps.Clone(entry)
			delete(entry, "schema")
			return entry
		}
		return reflect.DeepEqual(bare(a), bare(b)) && sameSchema(schemaOf(a), schemaOf(b))
	})
}

// sameSchema compares two schemas but for the descriptions.
func sameSchema(a, b map[string]any) bool {
	for key, value := range a {
		other, ok := b[key]
		switch {
		case key == "description":
		case !ok:
			return false
		case key == "properties":
			if !maps.EqualFunc(asMap(value), asMap(other), func(a, b any) bool { return sameSchema(asMap(a), asMap(b)) }) {
				return false
			}
		case key == "items" || key == "additionalProperties":
			below, isSchema := value.(map[string]any)
			if otherBelow, ok := other.(map[string]any); isSchema && ok {
				if !sameSchema(below, otherBelow) {
					return false
				}
			} else if !reflect.DeepEqual(value, other) {
				return false
			}
		case !reflect.DeepEqual(value, other):
			return false
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok && key != "description" {
			return false
		}
	}
	return true
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func preserves(schema map[string]any) bool {
	return schema["x-kubernetes-preserve-unknown-fields"] == true
}

func mapAt(m map[string]any, key string) map[string]any { return asMap(m[key]) }

func asMap(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

func copyMap(m map[string]any) map[string]any {
	return (&unstructured.Unstructured{Object: m}).DeepCopy().Object
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
