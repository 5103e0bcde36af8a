package flux

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	fieldManager = "kustomize-controller"

	// timeoutMargin and minTimeout are upstream's GetTimeout: an interval
	// without its last half minute, and never less than half a minute.
	timeoutMargin = 30 * time.Second
	minTimeout    = 30 * time.Second

	// defaultCheckVersion is what a health check without apiVersion means
	// (kustomize-controller internal/inventory, ReferenceToObjMetadataSet).
	defaultCheckVersion = "apps/v1"
)

// ownership is how kustomize-controller marks what it applies (its apply
// function, and fluxcd/pkg ssa: SetOwnerLabels).
func ownership(id object.ID) model.Ownership {
	return model.Ownership{
		FieldManager: fieldManager,
		Finalizer:    Finalizer,
		Labels: map[string]string{
			GroupKustomize + "/name":      id.Name,
			GroupKustomize + "/namespace": id.Namespace,
		},
		TakeOver:             []string{"kubectl", "before-first-apply"},
		TakeOverAnnotations:  []string{"kubectl.kubernetes.io/last-applied-configuration", GroupKustomize + "/checksum", "fluxcd.io/sync-checksum"},
		TakeOverObjectLabels: []string{"fluxcd.io/sync-gc-mark"},
		Control: model.Annotations{
			Reconcile:  GroupKustomize + "/reconcile",
			Prune:      GroupKustomize + "/prune",
			SSA:        GroupKustomize + "/ssa",
			Force:      GroupKustomize + "/force",
			Substitute: GroupKustomize + "/substitute",
		},
	}
}

// compileKustomization makes a delivery of a Kustomization
// (kustomize-controller api/v1 kustomization_types.go and its older versions).
// The Secret with the keys of its decryption is a need.
//
// A suspended or deleted object is a delivery whatever else it says: upstream
// looks at neither's spec, and an object that cannot be compiled could never
// be let go.
func compileKustomization(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (*model.Delivery, []model.Need, []model.Finding, error) {
	r, spec := read(declared)
	g := gathering{r: r, facts: facts, bare: atRest(declared, spec)}
	delivery := deliveryFields(&g, spec, settings)
	describe(delivery, r, declared)
	delivery.Ownership = ownership(r.ID)
	delivery.Applied, _, _ = unstructured.NestedString(declared.Object, "status", "lastAppliedRevision")
	noteConditionalFields(spec)
	r.Findings = append(r.Findings, unhandledFields(declared)...)

	if delivery.Deleting && delivery.Suspended { // finalizerShouldDeleteResources
		delivery.Policy.OnDelete = model.OrphanObjects
	}
	if delivery.Deleting || delivery.Suspended {
		return delivery, nil, r.Findings, nil
	}
	if err := r.Err(); err != nil {
		return nil, nil, r.Findings, err
	}
	if len(g.open) > 0 {
		return nil, g.open, r.Findings, nil
	}
	return delivery, nil, r.Findings, nil
}

// atRest reports whether nothing is rendered for the object, so that nothing has
// to be known for it: it is suspended or being deleted.
func atRest(declared *unstructured.Unstructured, spec node) bool {
	return declared.GetDeletionTimestamp() != nil || spec.At("suspend").Bool()
}

// deliveryFields reads the spec.
func deliveryFields(g *gathering, spec node, settings dialect.Settings) *model.Delivery {
	namespace := g.r.ID.Namespace
	kustomize := kustomizeOptions(spec)
	kustomize.RemoteBases = settings.RemoteBases
	policy := policy(spec)
	policy.Patient = settings.Flux.PatientHealth
	return &model.Delivery{
		Inputs: []model.Input{{
			Source: sourceRef(spec.At("sourceRef"), namespace, settings),
			Path:   treePath(spec.At("path").Str()),
			Render: model.Render{
				Kustomize:    kustomize,
				Decryption:   g.decryption(spec.At("decryption"), settings),
				Substitution: substitution(spec.At("postBuild"), namespace, settings.Flux),
			},
		}},
		Target:    model.Target{Cluster: remoteCluster(spec.At("kubeConfig"), namespace), Namespace: spec.At("targetNamespace").Str()},
		Identity:  identity(spec, namespace, settings),
		Policy:    policy,
		DependsOn: dependencies(spec.At("dependsOn"), GroupKustomize, kindKustomization, namespace, settings.Flux),
		Suspended: spec.At("suspend").Bool(),
	}
}

// kustomizationSources are the kinds that spec.sourceRef may name.
var kustomizationSources = []string{kindGitRepository, kindOCIRepository, kindBucket, kindExternalArtifact}

// sourceRef is the source that is read. What upstream's getSource refuses is
// refused here.
func sourceRef(ref node, namespace string, settings dialect.Settings) object.ID {
	ref.At("apiVersion").Str() // upstream reads the kind only
	kind := ref.At("kind").Str()
	id := object.ID{Group: GroupSource, Kind: kind, Namespace: ref.At("namespace").Str(), Name: ref.At("name").Str()}
	if id.Namespace == "" {
		id.Namespace = namespace
	}
	refuse := func(reason, message, advice string) {
		ref.R.Fault(&model.Fault{Reason: reason, Message: message, Advice: advice, Origin: model.Origin{Field: ref.Path}})
	}
	switch {
	case kind == "" || id.Name == "":
		ref.Invalid("names no source: kind and name are required")
	case settings.NoCrossNamespaceRefs && id.Namespace != namespace:
		refuse(reasonAccessDenied, fmt.Sprintf("can't access '%s/%s/%s', cross-namespace references have been blocked", kind, id.Namespace, id.Name), "declare the source in namespace "+namespace)
	case !slices.Contains(kustomizationSources, kind):
		refuse(reasonArtifactFailed, fmt.Sprintf("source `%s` kind '%s' not supported", id.Name, reader.Clip(kind, 63)), "read one of "+strings.Join(kustomizationSources, ", "))
	}
	return id
}

// kustomizeOptions are the fields that upstream's generator merges into
// kustomization.yaml (fluxcd/pkg kustomize, kustomize_generator.go).
func kustomizeOptions(spec node) model.KustomizeOptions {
	metadata := spec.At("commonMetadata")
	return model.KustomizeOptions{
		Namespace:               spec.At("targetNamespace").Str(),
		NamePrefix:              spec.At("namePrefix").Str(),
		NameSuffix:              spec.At("nameSuffix").Str(),
		CommonLabels:            metadata.At("labels").StringMap(),
		CommonAnnotations:       metadata.At("annotations").StringMap(),
		Patches:                 patches(spec),
		Images:                  images(spec.At("images")),
		Components:              spec.At("components").Strings(),
		IgnoreMissingComponents: spec.At("ignoreMissingComponents").Bool(),
		BuildMetadata:           spec.At("buildMetadata").Strings(),
	}
}

// patches joins spec.patches and the two older lists in the order in which
// kustomize applies them: patchesStrategicMerge, patches, patchesJson6902.
func patches(spec node) []model.Patch {
	var out []model.Patch
	for _, item := range spec.At("patchesStrategicMerge").Items() {
		if _, ok := item.Value.(map[string]any); !ok {
			item.Mistyped("a map")
			continue
		}
		out = append(out, model.Patch{Patch: asJSON(item)})
	}
	for _, item := range spec.At("patches").Items() {
		out = append(out, model.Patch{Patch: item.At("patch").Str(), Target: item.At("target").Selector()})
	}
	for _, item := range spec.At("patchesJson6902").Items() {
		operations := item.At("patch")
		if len(operations.Items()) == 0 {
			operations.Invalid("holds no operation")
			continue
		}
		target := item.At("target").Selector()
		if target == nil {
			item.Invalid("names no target")
			continue
		}
		out = append(out, model.Patch{Patch: asJSON(operations), Target: target})
	}
	return out
}

// asJSON is the value as it stands; JSON is YAML.
func asJSON(n node) string {
	text, err := json.Marshal(n.Value)
	if err != nil {
		n.Invalid("cannot be written as JSON")
		return ""
	}
	return string(text)
}

func images(list node) []model.Image {
	var out []model.Image
	for _, item := range list.Items() {
		image := model.Image{Name: item.At("name").Str(), NewName: item.At("newName").Str(), NewTag: item.At("newTag").Str(), Digest: item.At("digest").Str()}
		if image.Name == "" {
			item.At("name").Invalid("names no image")
		}
		out = append(out, image)
	}
	return out
}

// substitution is nil when spec.postBuild is absent: nothing is replaced then,
// whatever stands in the manifests.
func substitution(post node, namespace string, gates dialect.Gates) *model.Substitution {
	if !post.Present() {
		return nil
	}
	out := &model.Substitution{
		Inline: post.At("substitute").StringMap(),
		Always: post.At("substituteStrategy").Str() == "Always",
		Strict: !gates.LaxSubstitution,
	}
	for _, item := range post.At("substituteFrom").Items() {
		kind, name := item.At("kind"), item.At("name")
		if kind.Str() != "Secret" && kind.Str() != "ConfigMap" {
			kind.Invalid("must be Secret or ConfigMap, not %q", reader.Clip(kind.Str(), 63))
			continue
		}
		if name.Str() == "" {
			name.Invalid("names no %s", kind.Str())
			continue
		}
		out.From = append(out.From, model.SubstituteFrom{
			Need:     model.Need{Version: "v1", Kind: kind.Str(), Namespace: namespace, Name: name.Str()},
			Optional: item.At("optional").Bool(),
		})
	}
	return out
}

// remoteCluster is the zero reference when objects go to the own cluster.
func remoteCluster(config node, namespace string) model.ClusterRef {
	if !config.Present() {
		return model.ClusterRef{}
	}
	secret, configMap := config.At("secretRef"), config.At("configMapRef")
	need := func(ref node, kind string) model.Need {
		if ref.At("name").Str() == "" {
			ref.At("name").Invalid("names no %s", kind)
		}
		return model.Need{Version: "v1", Kind: kind, Namespace: namespace, Name: ref.At("name").Str()}
	}
	var named []model.ClusterRef
	if secret.Present() {
		named = append(named, model.ClusterRef{Need: need(secret, "Secret"), Key: secret.At("key").Str()})
	}
	if configMap.Present() {
		named = append(named, model.ClusterRef{Need: need(configMap, "ConfigMap")})
	}
	if len(named) != 1 {
		config.Invalid("exactly one of configMapRef or secretRef must be given")
		return model.ClusterRef{}
	}
	return named[0]
}

func identity(spec node, namespace string, settings dialect.Settings) model.Identity {
	account := spec.At("serviceAccountName").Str()
	if account == "" {
		account = settings.DefaultServiceAccount
	}
	if account == "" {
		return model.Identity{}
	}
	return model.Identity{Namespace: namespace, ServiceAccount: account}
}

func policy(spec node) model.Policy {
	out := model.Policy{
		Interval:     interval(spec),
		Prune:        spec.At("prune").Bool(),
		Force:        spec.At("force").Bool(),
		Drift:        model.Heal,
		Wait:         spec.At("wait").Bool(),
		HealthChecks: healthChecks(spec.At("healthChecks")),
		HealthExprs:  healthExprs(spec.At("healthCheckExprs")),
		Ignore:       ignoreRules(spec.At("ignore")),
	}
	out.RetryInterval = out.Interval
	if retry, ok := spec.At("retryInterval").Duration(); ok {
		out.RetryInterval = retry
	}
	out.Timeout = out.Interval - timeoutMargin
	if timeout, ok := spec.At("timeout").Duration(); ok {
		out.Timeout = timeout
	}
	out.Timeout = max(out.Timeout, minTimeout)
	out.OnDelete = onDelete(spec.At("deletionPolicy"), out.Prune)
	return out
}

func onDelete(field node, prune bool) model.OnDelete {
	switch policy := field.Str(); policy {
	case "", "MirrorPrune":
		if prune {
			return model.DeleteObjects
		}
	case "Delete":
		return model.DeleteObjects
	case "WaitForTermination":
		return model.DeleteAndWait
	case "Orphan":
	default:
		field.Invalid("must be MirrorPrune, Delete, WaitForTermination or Orphan, not %q", reader.Clip(policy, 63))
	}
	return model.OrphanObjects
}

func healthChecks(list node) []model.HealthCheck {
	var out []model.HealthCheck
	for _, item := range list.Items() {
		version := item.At("apiVersion").Str()
		if version == "" {
			version = defaultCheckVersion
		}
		gv, err := schema.ParseGroupVersion(version)
		if err != nil {
			item.At("apiVersion").Invalid("%q is not of the form group/version", reader.Clip(version, 100))
			continue
		}
		check := model.HealthCheck{Version: gv.Version, Object: object.ID{
			Group:     gv.Group,
			Kind:      item.At("kind").Str(),
			Namespace: item.At("namespace").Str(),
			Name:      item.At("name").Str(),
		}}
		if check.Object.Kind == "" || check.Object.Name == "" {
			item.Invalid("names no object: kind and name are required")
			continue
		}
		out = append(out, check)
	}
	return out
}

// healthExprs are compiled here only to see that they can be: upstream stalls
// on one that cannot before it does anything else, and on a kind, or a whole group,
// that is named twice.
func healthExprs(list node) []model.HealthExpr {
	var out []model.HealthExpr
	taken := map[schema.GroupKind]bool{}
	for _, item := range list.Items() {
		expr := model.HealthExpr{
			APIVersion: item.At("apiVersion").Str(),
			Kind:       item.At("kind").Str(), // none: the whole group
			InProgress: item.At("inProgress").Str(),
			Failed:     item.At("failed").Str(),
			Current:    item.At("current").Str(),
		}
		if expr.APIVersion == "" {
			item.At("apiVersion").Invalid("names no API")
			continue
		}
		_, err := health.CompileExpr(expr)
		if kind := schema.FromAPIVersionAndKind(expr.APIVersion, expr.Kind).GroupKind(); err == nil && taken[kind] {
			err = fmt.Errorf("duplicate custom health check for GroupKind %s", kind)
		} else {
			taken[kind] = true
		}
		badExpression(item, err)
		out = append(out, expr)
	}
	return out
}

// badExpression notes the fault of an expression below the node.
func badExpression(n node, err error) {
	if err == nil {
		return
	}
	fault := &model.Fault{Reason: reasonInvalidCEL, Message: err.Error()}
	var found *model.Fault
	if errors.As(err, &found) {
		fault.Message, fault.Advice, fault.Origin.Field = found.Message, found.Advice, found.Origin.Field
	}
	fault.Origin = model.Origin{Field: strings.TrimSuffix(n.Path+"."+fault.Origin.Field, ".")}
	fault.Message = fault.Origin.Field + ": " + reader.Clip(fault.Message, 1000)
	n.R.Fault(fault)
}

func ignoreRules(list node) []model.IgnoreRule {
	var out []model.IgnoreRule
	for _, item := range list.Items() {
		rule := model.IgnoreRule{Paths: item.At("paths").Strings(), Target: item.At("target").Selector()}
		if len(rule.Paths) == 0 {
			item.At("paths").Invalid("names no path")
			continue
		}
		out = append(out, rule)
	}
	return out
}

// dependencies are other deliveries of the same kind.
func dependencies(list node, group, kind, namespace string, gates dialect.Gates) []model.Dependency {
	var out []model.Dependency
	for _, item := range list.Items() {
		dependency := model.Dependency{
			On:        object.ID{Group: group, Kind: kind, Namespace: item.At("namespace").Str(), Name: item.At("name").Str()},
			ReadyExpr: item.At("readyExpr").Str(),
			Additive:  gates.AdditiveReadyExpr,
		}
		if dependency.On.Namespace == "" {
			dependency.On.Namespace = namespace
		}
		if dependency.On.Name == "" {
			item.At("name").Invalid("names no %s", kind)
			continue
		}
		if dependency.ReadyExpr != "" {
			_, err := health.CompileReady(dependency.ReadyExpr)
			badExpression(item, err)
		}
		out = append(out, dependency)
	}
	return out
}

// claims reads status.inventory. An entry that cannot be read is left where it
// is and reported: forgetting it would leave an object behind unseen.
func claims(r *reader.Reader, declared *unstructured.Unstructured) []model.Claim {
	entries, _, _ := unstructured.NestedFieldNoCopy(declared.Object, "status", "inventory", "entries")
	list, _ := entries.([]any)
	var out []model.Claim
	for i, entry := range list {
		fields, _ := entry.(map[string]any)
		text, _ := fields["id"].(string)
		version, _ := fields["v"].(string)
		id, err := object.ParseInventory(text)
		if err != nil {
			r.Find(model.Warning, reasonNotActedOn, fmt.Sprintf("status.inventory.entries[%d]", i), "%s: it is not pruned", reader.Clip(err.Error(), 300))
			continue
		}
		out = append(out, model.Claim{ID: id, Version: version})
	}
	return out
}

// noteConditionalFields reports the fields that mean something else beside
// another one.
func noteConditionalFields(spec node) {
	if checks := spec.At("healthChecks"); spec.At("wait").Bool() && len(checks.Items()) > 0 {
		spec.R.Find(model.Info, reasonDiffers, checks.Path, "with wait these are checked too; Flux leaves them out")
	}
}
