package argo

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Support says what becomes of a field.
type Support string

// The kinds of support.
const (
	Works   Support = "works"   // as upstream does
	Differs Support = "differs" // accepted, and works in another way; an Info finding
	Refused Support = "refused" // the object is not acted on while it is set
	NotYet  Support = "not yet" // accepted and reported; a Warning finding
)

// Field is a row of the compatibility table of Application. AppProject and
// ApplicationSet are told of by their own rooms.
type Field struct {
	Kind string
	// Path is the field's place: [] stands for any index and * for any key; it
	// covers what is below it.
	Path    string
	Support Support
	// Note says how it differs, or what it takes. It ends up in findings.
	Note string
}

// Fields is the table, in the order of the documentation.
func Fields() []Field { return slices.Clone(fields) }

var fields = slices.Concat(
	rows("spec", Works, "", "project", "destination.server", "destination.name", "destination.namespace", "revisionHistoryLimit", "info[].name", "info[].value"),
	sourceRows("spec.source"),
	sourceRows("spec.sources[]"),
	rows("spec.sourceHydrator", Works, "", "syncSource.targetBranch", "syncSource.path", "syncSource.repoURL"),
	rows("spec.sourceHydrator", NotYet, "nothing is hydrated: the branch is delivered as it is", "drySource", "hydrateTo"),
	rows("spec.syncPolicy", Works, "", "automated.enabled", "automated.prune", "automated.selfHeal", "automated.allowEmpty",
		"syncOptions[]", "managedNamespaceMetadata.labels.*", "managedNamespaceMetadata.annotations.*",
		"retry.limit", "retry.refresh", "retry.backoff.duration", "retry.backoff.factor", "retry.backoff.maxDuration"),
	rows("spec.ignoreDifferences[]", Works, "", "group", "kind", "name", "namespace", "jsonPointers[]", "jqPathExpressions[]", "managedFieldsManagers[]"),
	rows("operation", Works, "", "initiatedBy.username", "initiatedBy.automated", "info[].name", "info[].value",
		"retry.limit", "retry.refresh", "retry.backoff.duration", "retry.backoff.factor", "retry.backoff.maxDuration",
		"sync.revision", "sync.revisions[]", "sync.prune", "sync.dryRun", "sync.syncOptions[]", "sync.autoHealAttemptsCount",
		"sync.syncStrategy.apply.force", "sync.syncStrategy.hook.force",
		"sync.resources[].group", "sync.resources[].kind", "sync.resources[].name", "sync.resources[].namespace"),
	rows("operation", Refused, "a sync of local manifests is taken by the API server, which comes later", "sync.manifests[]"),
	sourceRows("operation.sync.source"),
	sourceRows("operation.sync.sources[]"),
)

// sourceRows are the fields of a source, wherever one stands.
func sourceRows(prefix string) []Field {
	return slices.Concat(
		rows(prefix, Works, "", "repoURL", "path", "targetRevision", "ref", "name", "tagPrefix",
			"directory.recurse", "directory.include", "directory.exclude", "directory.disableExtensionFilter",
			"directory.jsonnet.extVars[].name", "directory.jsonnet.extVars[].value", "directory.jsonnet.extVars[].code",
			"directory.jsonnet.tlas[].name", "directory.jsonnet.tlas[].value", "directory.jsonnet.tlas[].code", "directory.jsonnet.libs[]",
			"kustomize.namePrefix", "kustomize.nameSuffix", "kustomize.namespace", "kustomize.images[]",
			"kustomize.replicas[].name", "kustomize.replicas[].count", "kustomize.components[]", "kustomize.ignoreMissingComponents",
			"kustomize.commonLabels.*", "kustomize.labelWithoutSelector", "kustomize.labelIncludeTemplates", "kustomize.forceCommonLabels",
			"kustomize.commonAnnotations.*", "kustomize.commonAnnotationsEnvsubst", "kustomize.forceCommonAnnotations",
			"kustomize.patches[].patch", "kustomize.patches[].path", "kustomize.patches[].options.*",
			"kustomize.patches[].target.group", "kustomize.patches[].target.version", "kustomize.patches[].target.kind",
			"kustomize.patches[].target.name", "kustomize.patches[].target.namespace",
			"kustomize.patches[].target.labelSelector", "kustomize.patches[].target.annotationSelector"),
		rows(prefix, Differs, "there is one Kustomize, built in, whatever version is asked for", "kustomize.version"),
		rows(prefix, NotYet, "they are told to Helm charts that a kustomization inflates, which come later", "kustomize.kubeVersion", "kustomize.apiVersions"),
		rows(prefix, NotYet, "Helm charts come later: the directory is not rendered until then", "helm"),
		rows(prefix, Refused, "Helm charts come later", "chart"),
		rows(prefix, Refused, "config management plugins are not supported", "plugin"),
	)
}

func rows(prefix string, support Support, note string, names ...string) []Field {
	var out []Field
	for _, name := range names {
		out = append(out, Field{Kind: kindApplication, Path: prefix + "." + name, Support: support, Note: note})
	}
	return out
}

// maxFindings bounds what is said about one object.
const maxFindings = 50

var (
	exact  = map[string]Field{}
	within = map[string]bool{} // paths that have rows below them
)

func init() {
	for _, field := range fields {
		exact[field.Path] = field
		for p := parent(field.Path); p != ""; p = parent(p) {
			within[p] = true
		}
	}
}

// parent is the path of the map or list that holds a field.
func parent(path string) string {
	if inner, ok := strings.CutSuffix(path, "[]"); ok {
		return inner
	}
	cut := strings.LastIndexByte(path, '.')
	if cut < 0 {
		return ""
	}
	return path[:cut]
}

// unhandledFields reports the fields that are set and not acted on as upstream
// does, and those that nobody knows.
func unhandledFields(declared *unstructured.Unstructured) []model.Finding {
	walk := fieldWalk{id: object.Of(declared)}
	for _, name := range sortedKeys(declared.Object) {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
		case "spec", "operation":
			walk.value(name, name, declared.Object[name])
		default:
			walk.unknown(clip(name, 100))
		}
	}
	if walk.more > 0 {
		walk.findings = append(walk.findings, model.Finding{Severity: model.Warning, Reason: reasonUnknownField, Message: fmt.Sprintf("%d more fields are not acted on", walk.more), Origin: walk.origin("spec")})
	}
	return walk.findings
}

type fieldWalk struct {
	id       object.ID
	findings []model.Finding
	more     int
}

func (w *fieldWalk) origin(path string) model.Origin {
	return model.Origin{Dialect: config.DialectName, Declared: w.id, Field: path}
}

func (w *fieldWalk) value(path, shape string, value any) {
	if value == nil {
		return
	}
	if row, ok := exact[shape]; ok {
		w.known(path, row)
		return
	}
	if _, ok := exact[shape+".*"]; ok {
		return // free keys
	}
	if !within[shape] {
		w.unknown(path)
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			w.value(path+"."+clip(key, 100), shape+"."+key, value[key])
		}
	case []any:
		for i, item := range value {
			w.value(fmt.Sprintf("%s[%d]", path, i), shape+"[]", item)
		}
	}
}

func (w *fieldWalk) known(path string, row Field) {
	switch row.Support {
	case Differs:
		w.add(model.Info, reasonDiffers, path, row.Note)
	case NotYet:
		w.add(model.Warning, reasonNotActedOn, path, "not yet handled by Plumb: "+row.Note)
	}
}

func (w *fieldWalk) unknown(path string) {
	w.add(model.Warning, reasonUnknownField, path, "no version of Application that Plumb knows has this field: it is not acted on")
}

func (w *fieldWalk) add(severity model.Severity, reason, path, message string) {
	if len(w.findings) >= maxFindings {
		w.more++
		return
	}
	w.findings = append(w.findings, model.Finding{Severity: severity, Reason: reason, Message: message, Origin: w.origin(path)})
}
