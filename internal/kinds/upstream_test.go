package kinds

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	helmv2beta1 "github.com/fluxcd/helm-controller/api/v2beta1"
	helmv2beta2 "github.com/fluxcd/helm-controller/api/v2beta2"
	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	automationv1beta1 "github.com/fluxcd/image-automation-controller/api/v1beta1"
	automationv1beta2 "github.com/fluxcd/image-automation-controller/api/v1beta2"
	reflectorv1 "github.com/fluxcd/image-reflector-controller/api/v1"
	reflectorv1beta1 "github.com/fluxcd/image-reflector-controller/api/v1beta1"
	reflectorv1beta2 "github.com/fluxcd/image-reflector-controller/api/v1beta2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	kustomizev1beta1 "github.com/fluxcd/kustomize-controller/api/v1beta1"
	kustomizev1beta2 "github.com/fluxcd/kustomize-controller/api/v1beta2"
	notificationv1 "github.com/fluxcd/notification-controller/api/v1"
	notificationv1beta1 "github.com/fluxcd/notification-controller/api/v1beta1"
	notificationv1beta2 "github.com/fluxcd/notification-controller/api/v1beta2"
	notificationv1beta3 "github.com/fluxcd/notification-controller/api/v1beta3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	sourcev1beta1 "github.com/fluxcd/source-controller/api/v1beta1"
	sourcev1beta2 "github.com/fluxcd/source-controller/api/v1beta2"
	watcherv1beta1 "github.com/fluxcd/source-watcher/api/v2/v1beta1"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/dialect/reader"
)

// upstream has upstream's Go type of each kind and version.
var upstream = map[string]map[string]any{
	"GitRepository":         {"v1": sourcev1.GitRepository{}, "v1beta2": sourcev1beta2.GitRepository{}, "v1beta1": sourcev1beta1.GitRepository{}},
	"OCIRepository":         {"v1": sourcev1.OCIRepository{}, "v1beta2": sourcev1beta2.OCIRepository{}},
	"Bucket":                {"v1": sourcev1.Bucket{}, "v1beta2": sourcev1beta2.Bucket{}, "v1beta1": sourcev1beta1.Bucket{}},
	"HelmRepository":        {"v1": sourcev1.HelmRepository{}, "v1beta2": sourcev1beta2.HelmRepository{}, "v1beta1": sourcev1beta1.HelmRepository{}},
	"HelmChart":             {"v1": sourcev1.HelmChart{}, "v1beta2": sourcev1beta2.HelmChart{}, "v1beta1": sourcev1beta1.HelmChart{}},
	"ExternalArtifact":      {"v1": sourcev1.ExternalArtifact{}},
	"ArtifactGenerator":     {"v1beta1": watcherv1beta1.ArtifactGenerator{}},
	"Kustomization":         {"v1": kustomizev1.Kustomization{}, "v1beta2": kustomizev1beta2.Kustomization{}, "v1beta1": kustomizev1beta1.Kustomization{}},
	"HelmRelease":           {"v2": helmv2.HelmRelease{}, "v2beta2": helmv2beta2.HelmRelease{}, "v2beta1": helmv2beta1.HelmRelease{}},
	"Provider":              {"v1beta3": notificationv1beta3.Provider{}, "v1beta2": notificationv1beta2.Provider{}, "v1beta1": notificationv1beta1.Provider{}},
	"Alert":                 {"v1beta3": notificationv1beta3.Alert{}, "v1beta2": notificationv1beta2.Alert{}, "v1beta1": notificationv1beta1.Alert{}},
	"Receiver":              {"v1": notificationv1.Receiver{}, "v1beta2": notificationv1beta2.Receiver{}, "v1beta1": notificationv1beta1.Receiver{}},
	"ImageRepository":       {"v1": reflectorv1.ImageRepository{}, "v1beta2": reflectorv1beta2.ImageRepository{}, "v1beta1": reflectorv1beta1.ImageRepository{}},
	"ImagePolicy":           {"v1": reflectorv1.ImagePolicy{}, "v1beta2": reflectorv1beta2.ImagePolicy{}, "v1beta1": reflectorv1beta1.ImagePolicy{}},
	"ImageUpdateAutomation": {"v1": automationv1.ImageUpdateAutomation{}, "v1beta2": automationv1beta2.ImageUpdateAutomation{}, "v1beta1": automationv1beta1.ImageUpdateAutomation{}},
}

// leaves are the paths of the fields of a Go type as JSON writes them: [] for
// items, .* for free keys.
func leaves(kind reflect.Type, path string, out map[string]bool) {
	marshaler := reflect.TypeFor[json.Marshaler]()
	switch {
	case kind.Kind() == reflect.Pointer:
		leaves(kind.Elem(), path, out)
	case kind.Implements(marshaler) || reflect.PointerTo(kind).Implements(marshaler):
		out[path] = true
	case kind.Kind() == reflect.Slice && kind.Elem().Kind() != reflect.Uint8:
		leaves(kind.Elem(), path+"[]", out)
	case kind.Kind() == reflect.Map:
		leaves(kind.Elem(), path+".*", out)
	case kind.Kind() == reflect.Struct:
		for i := range kind.NumField() {
			field := kind.Field(i)
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case name == "-" || !field.IsExported():
			case name == "" && (field.Anonymous || strings.Contains(options, "inline")):
				leaves(field.Type, path, out)
			default:
				leaves(field.Type, strings.TrimPrefix(path+"."+name, "."), out)
			}
		}
	default:
		out[path] = true
	}
}

// fieldsOf are the fields below one part of an object.
func fieldsOf(object any, part string) []string {
	field, ok := reflect.TypeOf(object).FieldByName(strings.ToUpper(part[:1]) + part[1:])
	if !ok {
		return nil
	}
	found := map[string]bool{}
	leaves(field.Type, part, found)
	return sorted(found)
}

// holds reports whether a schema has room for a path.
func holds(schema map[string]any, path string) bool {
	if preserves(schema) {
		return true
	}
	if path == "" {
		return schema != nil
	}
	if rest, ok := strings.CutPrefix(path, "[]"); ok {
		return holds(mapAt(schema, "items"), rest)
	}
	path = strings.TrimPrefix(path, ".")
	if rest, ok := strings.CutPrefix(path, "*"); ok {
		return schema["additionalProperties"] == true || holds(mapAt(schema, "additionalProperties"), rest)
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	property, ok := mapAt(schema, "properties")[path[:end]].(map[string]any)
	return ok && holds(property, path[end:])
}

// TestEveryFieldOfUpstreamHasAPlace compares every version's schema with the
// fields of every version's Go type.
func TestEveryFieldOfUpstreamHasAPlace(t *testing.T) {
	for _, kind := range flux.New().Kinds() {
		name := kind.GroupKind.Kind
		if got := sorted(upstream[name]); !slices.Equal(got, slices.Sorted(slices.Values(kind.Versions))) {
			t.Errorf("%s: the test knows versions %v, the dialect %v", name, got, kind.Versions)
		}
		for served, version := range versionsOf(For(kind.GroupKind)) {
			schema := schemaOf(version)
			for declared, object := range upstream[name] {
				paths := slices.Concat(fieldsOf(object, "spec"), fieldsOf(object, "status"))
				if len(paths) < 2 {
					t.Errorf("%s %s: only the fields %v are found", name, declared, paths)
				}
				for _, path := range paths {
					if !holds(schema, path) {
						t.Errorf("%s: version %s has no place for %s of %s", name, served, path, declared)
					}
				}
			}
		}
	}
}

// TestEveryFieldOfUpstreamIsAccountedFor compares the compatibility table with
// upstream's spec fields, in both directions.
func TestEveryFieldOfUpstreamIsAccountedFor(t *testing.T) {
	rows := map[string][]flux.Field{}
	for _, field := range flux.Fields() {
		rows[field.Kind] = append(rows[field.Kind], field)
	}
	for _, kind := range flux.New().Kinds() {
		name := kind.GroupKind.Kind
		used := map[string]bool{}
		for _, version := range kind.Versions {
			for _, path := range fieldsOf(upstream[name][version], "spec") {
				row := covering(rows[name], path)
				if row == nil {
					t.Errorf("%s %s: %s is not in the table", name, version, path)
					continue
				}
				if row.Gone != "" && slices.Index(kind.Versions, version) < slices.Index(kind.Versions, row.Gone) {
					t.Errorf("%s: %s is said to be gone after %s, and %s has it", name, row.Path, row.Gone, version)
				}
				used[row.Path] = true
			}
		}
		for _, row := range rows[name] {
			if !used[row.Path] {
				t.Errorf("%s: no version has %s", name, row.Path)
			}
			if row.Gone != "" && !slices.ContainsFunc(fieldsOf(upstream[name][row.Gone], "spec"), func(path string) bool { return covers(row.Path, path) }) {
				t.Errorf("%s: %s does not have %s", name, row.Gone, row.Path)
			}
			if row.Support != flux.Works && row.Note == "" {
				t.Errorf("%s: %s is %s, and nobody says why", name, row.Path, row.Support)
			}
		}
	}
}

// TestEveryFieldOfArgoIsAccountedFor compares the table of Argo CD's kinds with
// the fields of upstream's definitions, in both directions.
func TestEveryFieldOfArgoIsAccountedFor(t *testing.T) {
	rows := map[string][]argo.Field{}
	for _, field := range argo.Table() {
		rows[field.Kind] = append(rows[field.Kind], field)
	}
	for _, kind := range argo.New().Kinds() {
		name := kind.GroupKind.Kind
		used := map[string]bool{}
		for _, path := range Fields(kind.GroupKind) {
			if strings.HasPrefix(path, "status.") {
				continue
			}
			at := slices.IndexFunc(rows[name], func(row argo.Field) bool { return covers(row.Path, path) })
			if at < 0 {
				t.Errorf("%s: %s is not in the table", name, path)
				continue
			}
			used[rows[name][at].Path] = true
		}
		schema := schemaOf(versionsOf(For(kind.GroupKind))["v1alpha1"])
		for _, row := range rows[name] {
			// A row may name what lies within a field of free content.
			if !used[row.Path] && !holds(schema, row.Path) {
				t.Errorf("%s: there is no %s", name, row.Path)
			}
			if row.Support != reader.Works && row.Note == "" {
				t.Errorf("%s: %s is %s, and nobody says why", name, row.Path, row.Support)
			}
			if !slices.Contains([]reader.Support{reader.Works, reader.Differs, reader.Refused, reader.NotYet}, row.Support) {
				t.Errorf("%s: %s is %q", name, row.Path, row.Support)
			}
		}
		if len(used) < 40 {
			t.Errorf("%s: only %d rows are about fields that there are", name, len(used))
		}
	}
}

func covering(rows []flux.Field, path string) *flux.Field {
	for i := range rows {
		if covers(rows[i].Path, path) {
			return &rows[i]
		}
	}
	return nil
}

// covers reports whether a row speaks for a path: its own, or one below it.
func covers(row, path string) bool {
	rest, ok := strings.CutPrefix(path, row)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
