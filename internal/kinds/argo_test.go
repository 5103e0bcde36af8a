package kinds

import (
	"slices"
	"strings"
	"testing"

	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
)

const argoGroup = "argoproj.io"

// TestArgoDefinitionsAreUpstreams compares with what argo-cd's command line
// and its users' scripts rely on.
func TestArgoDefinitionsAreUpstreams(t *testing.T) {
	for _, want := range []struct {
		kind, plural string
		short        []string
		columns      []string
		status       bool // a subresource
	}{
		{"Application", "applications", []string{"app", "apps"}, []string{"Sync Status", "Health Status", "Revision", "Project"}, false},
		{"ApplicationSet", "applicationsets", []string{"appset", "appsets"}, nil, true},
		{"AppProject", "appprojects", []string{"appproj", "appprojs"}, nil, false},
	} {
		found := For(schema.GroupKind{Group: argoGroup, Kind: want.kind})
		if found == nil {
			t.Errorf("%s has no definition", want.kind)
			continue
		}
		if found.GetLabels()["app.kubernetes.io/part-of"] != "argocd" {
			t.Errorf("%s: labels %v", want.kind, found.GetLabels())
		}
		definition := typed(t, found)
		names, versions := definition.Spec.Names, definition.Spec.Versions
		if names.Plural != want.plural || !slices.Equal(names.ShortNames, want.short) || definition.Spec.Scope != apiextv1.NamespaceScoped {
			t.Errorf("%s: names %+v, scope %s", want.kind, names, definition.Spec.Scope)
		}
		if len(versions) != 1 || versions[0].Name != "v1alpha1" || !versions[0].Served || !versions[0].Storage {
			t.Fatalf("%s: versions %v", want.kind, versions)
		}
		var columns []string
		for _, column := range versions[0].AdditionalPrinterColumns {
			columns = append(columns, column.Name)
		}
		if !slices.Equal(columns, want.columns) {
			t.Errorf("%s: columns %v", want.kind, columns)
		}
		subresources := versions[0].Subresources
		if (subresources != nil && subresources.Status != nil) != want.status {
			t.Errorf("%s: subresources %+v", want.kind, subresources)
		}
		_, s := schemaFor(t, definition, "v1alpha1")
		for _, err := range structural.ValidateStructural(nil, s) {
			t.Errorf("%s: %v", want.kind, err)
		}
	}
}

// argoManifests are accepted as they stand, without losing a field.
const argoManifests = `
apiVersion: argoproj.io/v1alpha1
kind: Application
spec: {source: {repoURL: "https://example.com/a", path: ., kustomize: {commonLabels: {a: b}}}, syncPolicy: {syncOptions: [PrunePropagationPolicy=foreground]}}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
spec:
  project: production
  destination: {name: in-cluster, namespace: shop}
  sources:
    - {repoURL: "https://example.com/a", targetRevision: v1.*, tagPrefix: shop/, path: base, name: base, directory: {recurse: true, jsonnet: {tlas: [{name: a, value: b, code: true}], extVars: [{name: a, value: b}], libs: [lib]}}}
    - {repoURL: "https://example.com/a", ref: values}
    - {repoURL: "https://example.com/a", path: overlay, kustomize: {version: v4.4.1, images: ["a=b:c"], replicas: [{name: a, count: 3}, {name: b, count: "4"}], patches: [{patch: x, target: {kind: Deployment}, options: {allowNameChange: true}}], components: [x], labelIncludeTemplates: true}}
    - {repoURL: "https://example.com/c", chart: c, targetRevision: 1.x, helm: {valueFiles: [$values/a.yaml], valuesObject: {any: [thing]}, parameters: [{name: a, value: b, forceString: true}]}}
  syncPolicy: {automated: {enabled: true, prune: true, selfHeal: true, allowEmpty: false}, retry: {limit: 5, refresh: true, backoff: {duration: 5s, factor: 2, maxDuration: 3m}}, managedNamespaceMetadata: {labels: {a: b}}}
  ignoreDifferences: [{group: apps, kind: Deployment, jsonPointers: [/spec/replicas], jqPathExpressions: [.a], managedFieldsManagers: [x]}]
  info: [{name: a, value: b}]
  revisionHistoryLimit: 3
operation: {initiatedBy: {username: ada}, sync: {revision: abc, prune: true, dryRun: true, resources: [{group: apps, kind: Deployment, name: x}], syncStrategy: {hook: {force: true}}}, retry: {limit: 1}}
status:
  sync: {status: Synced, revision: abc, comparedTo: {source: {repoURL: x}, destination: {server: x}}}
  health: {status: Healthy, lastTransitionTime: "2026-01-01T00:00:00Z"}
  history: [{id: 1, revision: abc, deployedAt: "2026-01-01T00:00:00Z", source: {repoURL: x}}]
  operationState: {phase: Succeeded, operation: {sync: {}}, startedAt: "2026-01-01T00:00:00Z", syncResult: {revision: abc, resources: [{group: "", kind: Pod, name: a, namespace: b, version: v1, status: Synced, hookPhase: Succeeded, syncPhase: Sync}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
spec:
  sourceRepos: ["*", "!https://example.com/x"]
  sourceNamespaces: [team-*]
  destinations: [{server: "*", namespace: team-*}, {name: in-cluster, namespace: "!kube-system"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
  namespaceResourceBlacklist: [{group: "", kind: ResourceQuota}]
  destinationServiceAccounts: [{server: "*", namespace: "*", defaultServiceAccount: robot}]
  orphanedResources: {warn: true, ignore: [{group: "", kind: ConfigMap, name: "kube-*"}]}
  signatureKeys: [{keyID: ABCDEF0123456789}]
  syncWindows: [{kind: allow, schedule: "10 1 * * *", duration: 1h, applications: ["*"], manualSync: true, timeZone: Europe/Berlin}]
  roles: [{name: ci, policies: ["p, proj:x:ci, applications, sync, x/*, allow"], groups: [g], jwtTokens: [{iat: 1535390316}]}]
---
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators:
    - matrix:
        generators:
          - git: {repoURL: "https://example.com/a", revision: HEAD, directories: [{path: "apps/*"}, {path: "apps/x", exclude: true}], values: {a: b}}
          - merge: {mergeKeys: [server], generators: [{clusters: {selector: {matchLabels: {a: b}}}}, {list: {elements: [{server: x, any: {thing: 1}}]}}]}
    - scmProvider: {github: {organization: o, allBranches: true, tokenRef: {secretName: s, key: k}}, filters: [{repositoryMatch: ^a, pathsExist: [k.yaml]}]}
    - pullRequest: {gitlab: {project: "7", labels: [preview], pullRequestState: opened}, requeueAfterSeconds: 60}
    - clusterDecisionResource: {configMapRef: c, name: ducks, requeueAfterSeconds: 180}
    - plugin: {configMapRef: {name: c}, input: {parameters: {a: {b: [1]}}}}
      selector: {matchExpressions: [{key: a, operator: In, values: [b]}]}
  template: {metadata: {name: "{{.name}}"}, spec: {project: default, source: {repoURL: x, path: apps}, destination: {server: x}}}
  templatePatch: "spec: {}"
  syncPolicy: {applicationsSync: create-update, preserveResourcesOnDeletion: true}
  ignoreApplicationDifferences: [{jsonPointers: [/spec/x], name: a}]
  strategy: {type: RollingSync, deletionOrder: Reverse, rollingSync: {steps: [{matchExpressions: [{key: env, operator: In, values: [dev]}], maxUpdate: 10%}, {maxUpdate: 1}]}}
status: {applicationStatus: [{application: a, status: Healthy, step: "1", message: m, targetRevisions: [r], lastTransitionTime: "2026-01-01T00:00:00Z"}]}
`

func TestArgoManifestsAreAcceptedWhole(t *testing.T) {
	for _, doc := range strings.Split(argoManifests, "---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), o); err != nil {
			t.Fatal(err)
		}
		errs, lost := judged(t, o)
		if len(errs) > 0 || len(lost) > 0 {
			t.Errorf("%s: refused for %v, loses %v", o.GetKind(), errs, lost)
		}
	}
}

// judged tells what the server would refuse an object for, and which fields it
// would drop.
func judged(t *testing.T, o *unstructured.Unstructured) (refused, lost []string) {
	t.Helper()
	o.SetName("x")
	internal, s := schemaFor(t, typed(t, For(o.GroupVersionKind().GroupKind())), o.GroupVersionKind().Version)
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range validation.ValidateCustomResource(nil, o.Object, validator) {
		refused = append(refused, err.Field)
	}
	return refused, pruning.PruneWithOptions(o.DeepCopy().Object, s, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
}

func TestWhatArgoRefusesIsRefused(t *testing.T) {
	for doc, field := range map[string]string{
		"{kind: Application, spec: {source: {path: x}}}":                                                                                                             "spec.source.repoURL",
		"{kind: Application, spec: {source: {repoURL: x}, syncPolicy: {automated: {prune: maybe}}}}":                                                                 "spec.syncPolicy.automated.prune",
		"{kind: Application, spec: {sources: {repoURL: x}}}":                                                                                                         "spec.sources",
		"{kind: ApplicationSet, spec: {generators: [{matrix: {}}], template: {metadata: {}, spec: {project: a, destination: {}}}}}":                                  "spec.generators[0].matrix.generators",
		"{kind: ApplicationSet, spec: {generators: [], template: {metadata: {}, spec: {project: a, destination: {}}}, syncPolicy: {applicationsSync: delete-only}}}": "spec.syncPolicy.applicationsSync",
		"{kind: AppProject, spec: {roles: [{policies: []}]}}":                                                                                                        "spec.roles[0].name",
		"{kind: AppProject, spec: {signatureKeys: [{}]}}":                                                                                                            "spec.signatureKeys[0].keyID",
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), o); err != nil {
			t.Fatal(err)
		}
		o.SetAPIVersion(argoGroup + "/v1alpha1")
		if refused, _ := judged(t, o); !slices.Equal(refused, []string{field}) {
			t.Errorf("%s: complaints about %v, want %s", doc, refused, field)
		}
	}
}

// TestArgoDefinitionsAreMerged meets what argo-cd itself installed: as old as
// ours, older, and newer.
func TestArgoDefinitionsAreMerged(t *testing.T) {
	for _, kind := range []string{"Application", "ApplicationSet", "AppProject"} {
		ours := For(schema.GroupKind{Group: argoGroup, Kind: kind})
		change := func(how func(definition *unstructured.Unstructured, spec map[string]any)) *unstructured.Unstructured {
			installed := ours.DeepCopy()
			installed.SetUID("u")
			how(installed, mapAt(mapAt(schemaOf(versionsOf(installed)["v1alpha1"]), "properties"), "spec"))
			return installed
		}

		described := change(func(_ *unstructured.Unstructured, spec map[string]any) { spec["description"] = "upstream explains it" })
		if apply, why := Merge(described, ours); apply != nil || !strings.Contains(why, "as it should be") {
			t.Errorf("%s, the same: %s", kind, why)
		}

		stricter := change(func(_ *unstructured.Unstructured, spec map[string]any) {
			spec["required"] = []any{"destination", "project"}
		})
		apply, why := Merge(stricter, ours)
		if apply == nil || !strings.Contains(why, "up to date") || !same(ours, apply) {
			t.Errorf("%s, stricter: %s", kind, why)
		}

		first := sorted(mapAt(mapAt(mapAt(schemaOf(versionsOf(ours)["v1alpha1"]), "properties"), "spec"), "properties"))[0]
		older := change(func(_ *unstructured.Unstructured, spec map[string]any) { delete(mapAt(spec, "properties"), first) })
		if apply, why := Merge(older, ours); apply == nil || !same(ours, apply) {
			t.Errorf("%s without spec.%s: %s", kind, first, why)
		}

		newer := change(func(_ *unstructured.Unstructured, spec map[string]any) {
			mapAt(spec, "properties")["brandNew"] = map[string]any{"type": "string", "description": "tomorrow's"}
		})
		if apply, why := Merge(newer, ours); apply != nil || !strings.Contains(why, "newer (field spec.brandNew)") {
			t.Errorf("%s, newer: %s", kind, why)
		}
		both := change(func(_ *unstructured.Unstructured, spec map[string]any) {
			mapAt(spec, "properties")["brandNew"] = map[string]any{"type": "string"}
			delete(mapAt(spec, "properties"), first)
		})
		apply, why = Merge(both, ours)
		if apply == nil || !strings.Contains(why, "only what it lacks is added") {
			t.Fatalf("%s, newer and older: %s", kind, why)
		}
		has := mapAt(mapAt(mapAt(schemaOf(versionsOf(apply)["v1alpha1"]), "properties"), "spec"), "properties")
		if has["brandNew"] == nil || has[first] == nil {
			t.Errorf("%s: merged to %v", kind, sorted(has))
		}
		if !same(change(func(*unstructured.Unstructured, map[string]any) {}), ours) {
			t.Errorf("%s: merging changed what it was given", kind)
		}
	}
}

// TestTemplatesOfGeneratorsAreFree: the server keeps what stands in them and
// the dialect finds what is unknown, while the set's own template is checked by
// the server. Nothing that repeats the schema of Application is left.
func TestTemplatesOfGeneratorsAreFree(t *testing.T) {
	kind := schema.GroupKind{Group: argoGroup, Kind: "ApplicationSet"}
	free := 0
	for _, path := range Fields(kind) {
		if strings.HasPrefix(path, "spec.generators[]") && strings.Contains(path, ".template") {
			if free++; !strings.HasSuffix(path, ".template") {
				t.Errorf("%s is in the definition", path)
			}
		}
	}
	if free < 20 {
		t.Errorf("%d templates", free)
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
spec:
  generators:
    - list: {elements: [{a: b}], template: {metadata: {name: a}, spec: {project: default, brandNew: 1, source: {repoURL: x, tomorrow: 2}, destination: {}}}}
    - matrix:
        generators:
          - list: {elements: [{a: b}], template: {metadata: {}, spec: {nested: 3}}}
          - list: {elements: [{c: d}]}
  template: {metadata: {name: a}, spec: {project: default, checked: 4, destination: {}}}
`), o); err != nil {
		t.Fatal(err)
	}
	refused, lost := judged(t, o)
	if len(refused) > 0 || !slices.Equal(lost, []string{"spec.template.spec.checked"}) {
		t.Errorf("refused for %v, loses %v", refused, lost)
	}
	_, _, findings, _ := argo.New().Compile(o, nil, dialect.Settings{})
	var unknown []string
	for _, finding := range findings {
		if finding.Reason == "UnknownField" {
			unknown = append(unknown, finding.Origin.Field)
		}
	}
	slices.Sort(unknown)
	if want := []string{
		"spec.generators[0].list.template.spec.brandNew", "spec.generators[0].list.template.spec.source.tomorrow",
		"spec.generators[1].matrix.generators[0].list.template.spec.nested", "spec.template.spec.checked",
	}; !slices.Equal(unknown, want) {
		t.Errorf("the dialect finds %v, want %v", unknown, want)
	}
}

// TestUpstreamsTemplatesAreNotKept meets upstream's own definition, which has
// the schema of Application in every generator.
func TestUpstreamsTemplatesAreNotKept(t *testing.T) {
	ours := For(schema.GroupKind{Group: argoGroup, Kind: "ApplicationSet"})
	installed := ours.DeepCopy()
	installed.SetUID("u")
	properties := mapAt(mapAt(mapAt(schemaOf(versionsOf(installed)["v1alpha1"]), "properties"), "spec"), "properties")
	for _, generator := range mapAt(mapAt(mapAt(properties, "generators"), "items"), "properties") {
		if below := mapAt(asMap(generator), "properties"); below["template"] != nil {
			below["template"] = copyMap(mapAt(properties, "template"))
		}
	}
	if same(ours, installed) {
		t.Fatal("no template is replaced")
	}
	if apply, why := Merge(installed, ours); apply == nil || !strings.Contains(why, "up to date") || !same(ours, apply) {
		t.Errorf("%s", why)
	}
}

// TestFieldsAreAllThatASchemaHas walks the schema in the other direction.
func TestFieldsAreAllThatASchemaHas(t *testing.T) {
	for _, definition := range CRDs() {
		group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
		fields := Fields(schema.GroupKind{Group: group, Kind: kind})
		if len(fields) < 5 || !slices.IsSorted(fields) || len(slices.Compact(slices.Clone(fields))) != len(fields) {
			t.Errorf("%s: %d fields", kind, len(fields))
		}
		for _, version := range versionsOf(definition) {
			for _, path := range fields {
				if !holds(schemaOf(version), path) {
					t.Errorf("%s has no %s", kind, path)
				}
			}
		}
	}
	for kind, some := range map[string][]string{
		"Application":    {"operation.sync.resources[].kind", "spec.source.kustomize.images[]", "spec.source.kustomize.commonLabels.*", "spec.source.helm.valuesObject", "status.operationState.syncResult.resources[].message", "spec.sources[].tagPrefix"},
		"ApplicationSet": {"spec.generators[].list.template", "spec.generators[].matrix.generators[].git.directories[].path", "spec.strategy.rollingSync.steps[].maxUpdate", "status.applicationStatus[].step"},
		"AppProject":     {"spec.syncWindows[].timeZone", "spec.signatureKeys[].keyID", "status.jwtTokensByRole.*.items[].iat"},
	} {
		fields := Fields(schema.GroupKind{Group: argoGroup, Kind: kind})
		for _, path := range some {
			if !slices.Contains(fields, path) {
				t.Errorf("%s: %s is not among the fields", kind, path)
			}
		}
	}
	if Fields(schema.GroupKind{Group: "*", Kind: "Application"}) != nil || Fields(schema.GroupKind{}) != nil {
		t.Error("a kind of nobody has fields")
	}
}

// TestDefinitionsAreNoBurden keeps what every program carries small.
func TestDefinitionsAreNoBurden(t *testing.T) {
	entries, err := files.ReadDir("crds")
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 640<<10 {
		t.Errorf("the definitions take %d bytes", total)
	}
}
