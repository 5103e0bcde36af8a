package flux

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

// Field is a row of the compatibility table.
type Field struct {
	Kind string
	// Path is the field's place: [] stands for any index and * for any key;
	// it covers what is below it. "spec" is the whole kind.
	Path    string
	Support Support
	// Note says how it differs, or what it takes. It ends up in findings.
	Note string
	// Gone is the last upstream version that had the field; empty: the newest
	// has it.
	Gone string
}

// Fields is the table, in the order of the documentation. The compatibility
// page, the findings on objects and the tests against upstream's types are
// made from it.
func Fields() []Field { return slices.Clone(fields) }

var fields = slices.Concat(gitRepositoryFields, kustomizationFields, otherKinds())

var gitRepositoryFields = of(kindGitRepository,
	Field{Path: "spec.url", Support: Works, Note: "http, https and ssh; credentials in the URL are used and never shown"},
	Field{Path: "spec.ref.branch", Support: Works, Note: "master when no ref is given"},
	Field{Path: "spec.ref.tag", Support: Works},
	Field{Path: "spec.ref.semver", Support: Works},
	Field{Path: "spec.ref.name", Support: Works},
	Field{Path: "spec.ref.commit", Support: Works},
	Field{Path: "spec.interval", Support: Works, Note: "may be left out: 10m"},
	Field{Path: "spec.timeout", Support: Works},
	Field{Path: "spec.secretRef.name", Support: Works, Note: "username and password, bearerToken, identity and known_hosts, ca.crt, tls.crt and tls.key, GitHub App; the older caFile, certFile and keyFile too"},
	Field{Path: "spec.provider", Support: Works, Note: "generic and github; aws and azure are refused (InvalidProviderConfiguration)"},
	Field{Path: "spec.serviceAccountName", Support: Refused, Note: "belongs to the providers aws and azure"},
	Field{Path: "spec.proxySecretRef.name", Support: Works},
	Field{Path: "spec.verify.mode", Support: Works},
	Field{Path: "spec.verify.secretRef.name", Support: Works},
	Field{Path: "spec.ignore", Support: Works},
	Field{Path: "spec.suspend", Support: Works},
	Field{Path: "spec.recurseSubmodules", Support: Works},
	Field{Path: "spec.include[].repository.name", Support: Works},
	Field{Path: "spec.include[].fromPath", Support: Works},
	Field{Path: "spec.include[].toPath", Support: Works},
	Field{Path: "spec.sparseCheckout[]", Support: Works},
	Field{Path: "spec.gitImplementation", Support: Differs, Gone: "v1beta2", Note: "there is one implementation, which does what both did"},
	Field{Path: "spec.accessFrom", Support: Differs, Gone: "v1beta2", Note: "no access list is enforced for sources; use --no-cross-namespace-refs"},
)

var kustomizationFields = of(kindKustomization, slices.Concat([]Field{
	{Path: "spec.interval", Support: Works, Note: "may be left out: 10m"},
	{Path: "spec.retryInterval", Support: Works},
	{Path: "spec.timeout", Support: Works},
	{Path: "spec.suspend", Support: Works},
	{Path: "spec.sourceRef.apiVersion", Support: Works, Note: "any"},
	{Path: "spec.sourceRef.kind", Support: Works, Note: "GitRepository; OCIRepository, Bucket and ExternalArtifact are refused (NotHandled)"},
	{Path: "spec.sourceRef.name", Support: Works},
	{Path: "spec.sourceRef.namespace", Support: Works, Note: "another namespace is refused with --no-cross-namespace-refs (AccessDenied)"},
	{Path: "spec.path", Support: Works},
	{Path: "spec.prune", Support: Works, Note: "a mass deletion waits for approval"},
	{Path: "spec.deletionPolicy", Support: Works},
	{Path: "spec.force", Support: Works},
	{Path: "spec.wait", Support: Works},
	{Path: "spec.healthChecks[].apiVersion", Support: Works, Note: "with wait the checks count too, where Flux leaves them out"},
	{Path: "spec.healthChecks[].kind", Support: Works},
	{Path: "spec.healthChecks[].name", Support: Works},
	{Path: "spec.healthChecks[].namespace", Support: Works},
	{Path: "spec.healthCheckExprs[].apiVersion", Support: Works},
	{Path: "spec.healthCheckExprs[].kind", Support: Works},
	{Path: "spec.healthCheckExprs[].inProgress", Support: Works},
	{Path: "spec.healthCheckExprs[].failed", Support: Works},
	{Path: "spec.healthCheckExprs[].current", Support: Works},
	{Path: "spec.dependsOn[].name", Support: Works},
	{Path: "spec.dependsOn[].namespace", Support: Works},
	{Path: "spec.dependsOn[].readyExpr", Support: Works},
	{Path: "spec.ignore[].paths[]", Support: Works},
},
	selectorFields("spec.ignore[].target"),
	[]Field{
		{Path: "spec.targetNamespace", Support: Works},
		{Path: "spec.namePrefix", Support: Works},
		{Path: "spec.nameSuffix", Support: Works},
		{Path: "spec.commonMetadata.labels.*", Support: Works},
		{Path: "spec.commonMetadata.annotations.*", Support: Works},
		{Path: "spec.patches[].patch", Support: Works},
	},
	selectorFields("spec.patches[].target"),
	[]Field{
		{Path: "spec.images[].name", Support: Works},
		{Path: "spec.images[].newName", Support: Works},
		{Path: "spec.images[].newTag", Support: Works},
		{Path: "spec.images[].digest", Support: Works},
		{Path: "spec.components[]", Support: Works},
		{Path: "spec.ignoreMissingComponents", Support: Works},
		{Path: "spec.buildMetadata[]", Support: Works},
		{Path: "spec.postBuild.substitute.*", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].kind", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].name", Support: Works},
		{Path: "spec.postBuild.substituteFrom[].optional", Support: Works},
		{Path: "spec.postBuild.substituteStrategy", Support: Works},
		{Path: "spec.serviceAccountName", Support: Works},
		{Path: "spec.kubeConfig.secretRef.name", Support: Works},
		{Path: "spec.kubeConfig.secretRef.key", Support: Works},
		{Path: "spec.kubeConfig.configMapRef.name", Support: Works},
		{Path: "spec.decryption", Support: NotYet, Note: "an object that is encrypted is refused and never applied; the others are applied"},
		{Path: "spec.patchesStrategicMerge[]", Support: Works, Gone: "v1beta2", Note: "as patches"},
		{Path: "spec.patchesJson6902[].patch[]", Support: Works, Gone: "v1beta2", Note: "as patches"},
	},
	selectorFields("spec.patchesJson6902[].target"),
	[]Field{
		{Path: "spec.validation", Support: Differs, Gone: "v1beta2", Note: "the API server validates everything in server-side apply, whatever is written here"},
	},
)...)

func selectorFields(target string) []Field {
	var out []Field
	for _, name := range []string{"group", "version", "kind", "namespace", "name", "labelSelector", "annotationSelector"} {
		out = append(out, Field{Path: target + "." + name, Support: Works})
	}
	return out
}

func of(kind string, rows ...Field) []Field {
	for i := range rows {
		rows[i].Kind = kind
	}
	return rows
}

// otherKinds has one row for each kind that is not handled.
func otherKinds() []Field {
	var out []Field
	for _, kind := range New().Kinds() {
		if !kind.Handled {
			out = append(out, Field{Kind: kind.GroupKind.Kind, Path: "spec", Support: NotYet, Note: consequences[kind.GroupKind.Kind]})
		}
	}
	return out
}

// maxFindings bounds what is said about one object.
const maxFindings = 50

// table answers what becomes of a path of one kind.
type table struct {
	exact  map[string]Field
	within map[string]bool // paths that have rows below them
}

var tables = func() map[string]table {
	out := map[string]table{}
	for _, field := range fields {
		t, ok := out[field.Kind]
		if !ok {
			t = table{exact: map[string]Field{}, within: map[string]bool{}}
			out[field.Kind] = t
		}
		t.exact[field.Path] = field
		for p := parent(field.Path); p != ""; p = parent(p) {
			t.within[p] = true
		}
	}
	return out
}()

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
	id := object.Of(declared)
	walk := fieldWalk{id: id, table: tables[id.Kind]}
	for _, name := range sortedKeys(declared.Object) {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			walk.value("spec", "spec", declared.Object[name])
		default:
			walk.unknown(clip(name, 100))
		}
	}
	if walk.more > 0 {
		walk.findings = append(walk.findings, model.Finding{Severity: model.Warning, Reason: reasonUnknownField, Message: fmt.Sprintf("%d more fields are not acted on", walk.more), Origin: origin(id, "spec")})
	}
	return walk.findings
}

type fieldWalk struct {
	id       object.ID
	table    table
	findings []model.Finding
	more     int
}

func (w *fieldWalk) value(path, shape string, value any) {
	if row, ok := w.table.exact[shape]; ok {
		w.known(path, row)
		return
	}
	if _, ok := w.table.exact[shape+".*"]; ok {
		return // free keys
	}
	if !w.table.within[shape] {
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
		reason := reasonDiffers
		if row.Gone != "" {
			reason = reasonDeprecated
		}
		w.add(model.Info, reason, path, row.Note)
	case NotYet:
		w.add(model.Warning, reasonNotActedOn, path, "not yet handled by Plumb: "+row.Note)
	}
}

func (w *fieldWalk) unknown(path string) {
	w.add(model.Warning, reasonUnknownField, path, "no version of "+w.id.Kind+" that Plumb knows has this field: it is not acted on")
}

func (w *fieldWalk) add(severity model.Severity, reason, path, message string) {
	if len(w.findings) >= maxFindings {
		w.more++
		return
	}
	w.findings = append(w.findings, model.Finding{Severity: severity, Reason: reason, Message: message, Origin: origin(w.id, path)})
}
