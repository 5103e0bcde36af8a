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
//
// A suspended or deleted object is a delivery whatever else it says: upstream
// looks at neither's spec, and an object that cannot be compiled could never
// be let go.
func compileKustomization(declared *unstructured.Unstructured, settings dialect.Settings) (*model.Delivery, []model.Finding, error) {
	r, spec := read(declared)
	delivery := deliveryFields(spec, r.id.Namespace, settings)
	delivery.ID = r.id
	delivery.UID = string(declared.GetUID())
	delivery.Generation = declared.GetGeneration()
	delivery.Origin = origin(r.id, "")
	delivery.Ownership = ownership(r.id)
	delivery.Deleting = declared.GetDeletionTimestamp() != nil
	delivery.Finalized = slices.Contains(declared.GetFinalizers(), Finalizer)
	delivery.Wake = declared.GetAnnotations()[AnnotationRequestedAt]
	delivery.Approve = declared.GetAnnotations()[AnnotationApprove]
	delivery.Applied, _, _ = unstructured.NestedString(declared.Object, "status", "lastAppliedRevision")
	delivery.Claims = claims(r, declared)
	noteConditionalFields(spec)
	r.findings = append(r.findings, unhandledFields(declared)...)

	if delivery.Deleting && delivery.Suspended { // finalizerShouldDeleteResources
		delivery.Policy.OnDelete = model.OrphanObjects
	}
	if delivery.Deleting || delivery.Suspended {
		return delivery, r.findings, nil
	}
	if err := r.firstFault(); err != nil {
		return nil, r.findings, err
	}
	return delivery, r.findings, nil
}

// deliveryFields reads the spec.
func deliveryFields(spec node, namespace string, settings dialect.Settings) *model.Delivery {
	return &model.Delivery{
		Inputs: []model.Input{{
			Source: sourceRef(spec.at("sourceRef"), namespace, settings),
			Path:   treePath(spec.at("path").str()),
			Render: model.Render{Kustomize: kustomizeOptions(spec), Substitution: substitution(spec.at("postBuild"), namespace)},
		}},
		Target:    model.Target{Cluster: remoteCluster(spec.at("kubeConfig"), namespace), Namespace: spec.at("targetNamespace").str()},
		Identity:  identity(spec, namespace, settings),
		Policy:    policy(spec),
		DependsOn: dependencies(spec.at("dependsOn"), namespace),
		Suspended: spec.at("suspend").bool(),
	}
}

// sourceRef is the source that is read. What upstream's getSource refuses is
// refused here.
func sourceRef(ref node, namespace string, settings dialect.Settings) object.ID {
	ref.at("apiVersion").str() // upstream reads the kind only
	kind := ref.at("kind").str()
	id := object.ID{Group: GroupSource, Kind: kind, Namespace: ref.at("namespace").str(), Name: ref.at("name").str()}
	if id.Namespace == "" {
		id.Namespace = namespace
	}
	refuse := func(reason, message, advice string) {
		ref.r.fault(&model.Fault{Reason: reason, Message: message, Advice: advice, Origin: model.Origin{Field: ref.path}})
	}
	switch {
	case kind == "" || id.Name == "":
		ref.invalid("names no source: kind and name are required")
	case settings.NoCrossNamespaceRefs && id.Namespace != namespace:
		refuse(reasonAccessDenied, fmt.Sprintf("can't access '%s/%s/%s', cross-namespace references have been blocked", kind, id.Namespace, id.Name), "declare the source in namespace "+namespace)
	case kind == "OCIRepository" || kind == "Bucket" || kind == "ExternalArtifact":
		refuse(reasonNotHandled, fmt.Sprintf("source '%s' is not yet handled by Plumb", id), "read a GitRepository")
	case kind != kindGitRepository:
		refuse(reasonArtifactFailed, fmt.Sprintf("source `%s` kind '%s' not supported", id.Name, clip(kind, 63)), "read a GitRepository")
	}
	return id
}

// kustomizeOptions are the fields that upstream's generator merges into
// kustomization.yaml (fluxcd/pkg kustomize, kustomize_generator.go).
func kustomizeOptions(spec node) model.KustomizeOptions {
	metadata := spec.at("commonMetadata")
	return model.KustomizeOptions{
		Namespace:               spec.at("targetNamespace").str(),
		NamePrefix:              spec.at("namePrefix").str(),
		NameSuffix:              spec.at("nameSuffix").str(),
		CommonLabels:            metadata.at("labels").stringMap(),
		CommonAnnotations:       metadata.at("annotations").stringMap(),
		Patches:                 patches(spec),
		Images:                  images(spec.at("images")),
		Components:              spec.at("components").strings(),
		IgnoreMissingComponents: spec.at("ignoreMissingComponents").bool(),
		BuildMetadata:           spec.at("buildMetadata").strings(),
	}
}

// patches joins spec.patches and the two older lists in the order in which
// kustomize applies them: patchesStrategicMerge, patches, patchesJson6902.
func patches(spec node) []model.Patch {
	var out []model.Patch
	for _, item := range spec.at("patchesStrategicMerge").items() {
		if _, ok := item.value.(map[string]any); !ok {
			item.mistyped("a map")
			continue
		}
		out = append(out, model.Patch{Patch: asJSON(item)})
	}
	for _, item := range spec.at("patches").items() {
		out = append(out, model.Patch{Patch: item.at("patch").str(), Target: selector(item.at("target"))})
	}
	for _, item := range spec.at("patchesJson6902").items() {
		operations := item.at("patch")
		if len(operations.items()) == 0 {
			operations.invalid("holds no operation")
			continue
		}
		target := selector(item.at("target"))
		if target == nil {
			item.invalid("names no target")
			continue
		}
		out = append(out, model.Patch{Patch: asJSON(operations), Target: target})
	}
	return out
}

// asJSON is the value as it stands; JSON is YAML.
func asJSON(n node) string {
	text, err := json.Marshal(n.value)
	if err != nil {
		n.invalid("cannot be written as JSON")
		return ""
	}
	return string(text)
}

// selector is nil when none is given.
func selector(target node) *model.Selector {
	if !target.present() {
		return nil
	}
	return &model.Selector{
		Group:              target.at("group").str(),
		Version:            target.at("version").str(),
		Kind:               target.at("kind").str(),
		Namespace:          target.at("namespace").str(),
		Name:               target.at("name").str(),
		LabelSelector:      target.at("labelSelector").str(),
		AnnotationSelector: target.at("annotationSelector").str(),
	}
}

func images(list node) []model.Image {
	var out []model.Image
	for _, item := range list.items() {
		image := model.Image{Name: item.at("name").str(), NewName: item.at("newName").str(), NewTag: item.at("newTag").str(), Digest: item.at("digest").str()}
		if image.Name == "" {
			item.at("name").invalid("names no image")
		}
		out = append(out, image)
	}
	return out
}

// substitution is nil when spec.postBuild is absent: nothing is replaced then,
// whatever stands in the manifests.
func substitution(post node, namespace string) *model.Substitution {
	if !post.present() {
		return nil
	}
	out := &model.Substitution{
		Inline: post.at("substitute").stringMap(),
		Always: post.at("substituteStrategy").str() == "Always",
	}
	for _, item := range post.at("substituteFrom").items() {
		kind, name := item.at("kind"), item.at("name")
		if kind.str() != "Secret" && kind.str() != "ConfigMap" {
			kind.invalid("must be Secret or ConfigMap, not %q", clip(kind.str(), 63))
			continue
		}
		if name.str() == "" {
			name.invalid("names no %s", kind.str())
			continue
		}
		out.From = append(out.From, model.SubstituteFrom{
			Need:     model.Need{Version: "v1", Kind: kind.str(), Namespace: namespace, Name: name.str()},
			Optional: item.at("optional").bool(),
		})
	}
	return out
}

// remoteCluster is the zero reference when objects go to the own cluster.
func remoteCluster(config node, namespace string) model.ClusterRef {
	if !config.present() {
		return model.ClusterRef{}
	}
	secret, configMap := config.at("secretRef"), config.at("configMapRef")
	need := func(ref node, kind string) model.Need {
		if ref.at("name").str() == "" {
			ref.at("name").invalid("names no %s", kind)
		}
		return model.Need{Version: "v1", Kind: kind, Namespace: namespace, Name: ref.at("name").str()}
	}
	var named []model.ClusterRef
	if secret.present() {
		named = append(named, model.ClusterRef{Need: need(secret, "Secret"), Key: secret.at("key").str()})
	}
	if configMap.present() {
		named = append(named, model.ClusterRef{Need: need(configMap, "ConfigMap")})
	}
	if len(named) != 1 {
		config.invalid("exactly one of configMapRef or secretRef must be given")
		return model.ClusterRef{}
	}
	return named[0]
}

func identity(spec node, namespace string, settings dialect.Settings) model.Identity {
	account := spec.at("serviceAccountName").str()
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
		Prune:        spec.at("prune").bool(),
		Force:        spec.at("force").bool(),
		Drift:        model.Heal,
		Wait:         spec.at("wait").bool(),
		HealthChecks: healthChecks(spec.at("healthChecks")),
		HealthExprs:  healthExprs(spec.at("healthCheckExprs")),
		Ignore:       ignoreRules(spec.at("ignore")),
	}
	out.RetryInterval = out.Interval
	if retry, ok := spec.at("retryInterval").duration(); ok {
		out.RetryInterval = retry
	}
	out.Timeout = out.Interval - timeoutMargin
	if timeout, ok := spec.at("timeout").duration(); ok {
		out.Timeout = timeout
	}
	out.Timeout = max(out.Timeout, minTimeout)
	out.OnDelete = onDelete(spec.at("deletionPolicy"), out.Prune)
	return out
}

func onDelete(field node, prune bool) model.OnDelete {
	switch policy := field.str(); policy {
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
		field.invalid("must be MirrorPrune, Delete, WaitForTermination or Orphan, not %q", clip(policy, 63))
	}
	return model.OrphanObjects
}

func healthChecks(list node) []model.HealthCheck {
	var out []model.HealthCheck
	for _, item := range list.items() {
		version := item.at("apiVersion").str()
		if version == "" {
			version = defaultCheckVersion
		}
		gv, err := schema.ParseGroupVersion(version)
		if err != nil {
			item.at("apiVersion").invalid("%q is not of the form group/version", clip(version, 100))
			continue
		}
		check := model.HealthCheck{Version: gv.Version, Object: object.ID{
			Group:     gv.Group,
			Kind:      item.at("kind").str(),
			Namespace: item.at("namespace").str(),
			Name:      item.at("name").str(),
		}}
		if check.Object.Kind == "" || check.Object.Name == "" {
			item.invalid("names no object: kind and name are required")
			continue
		}
		out = append(out, check)
	}
	return out
}

// healthExprs are compiled here only to see that they can be: upstream stalls
// on one that cannot before it does anything else.
func healthExprs(list node) []model.HealthExpr {
	var out []model.HealthExpr
	for _, item := range list.items() {
		expr := model.HealthExpr{
			APIVersion: item.at("apiVersion").str(),
			Kind:       item.at("kind").str(), // none: the whole group
			InProgress: item.at("inProgress").str(),
			Failed:     item.at("failed").str(),
			Current:    item.at("current").str(),
		}
		if expr.APIVersion == "" {
			item.at("apiVersion").invalid("names no API")
			continue
		}
		_, err := health.CompileExpr(expr)
		item.badExpression(err)
		out = append(out, expr)
	}
	return out
}

// badExpression notes the fault of an expression below the node.
func (n node) badExpression(err error) {
	if err == nil {
		return
	}
	fault := &model.Fault{Reason: reasonInvalidCEL, Message: err.Error()}
	var found *model.Fault
	if errors.As(err, &found) {
		fault.Message, fault.Advice, fault.Origin.Field = found.Message, found.Advice, found.Origin.Field
	}
	fault.Origin = model.Origin{Field: strings.TrimSuffix(n.path+"."+fault.Origin.Field, ".")}
	fault.Message = fault.Origin.Field + ": " + clip(fault.Message, 1000)
	n.r.fault(fault)
}

func ignoreRules(list node) []model.IgnoreRule {
	var out []model.IgnoreRule
	for _, item := range list.items() {
		rule := model.IgnoreRule{Paths: item.at("paths").strings(), Target: selector(item.at("target"))}
		if len(rule.Paths) == 0 {
			item.at("paths").invalid("names no path")
			continue
		}
		out = append(out, rule)
	}
	return out
}

func dependencies(list node, namespace string) []model.Dependency {
	var out []model.Dependency
	for _, item := range list.items() {
		dependency := model.Dependency{
			On:        object.ID{Group: GroupKustomize, Kind: kindKustomization, Namespace: item.at("namespace").str(), Name: item.at("name").str()},
			ReadyExpr: item.at("readyExpr").str(),
		}
		if dependency.On.Namespace == "" {
			dependency.On.Namespace = namespace
		}
		if dependency.On.Name == "" {
			item.at("name").invalid("names no Kustomization")
			continue
		}
		if dependency.ReadyExpr != "" {
			_, err := health.CompileReady(dependency.ReadyExpr)
			item.badExpression(err)
		}
		out = append(out, dependency)
	}
	return out
}

// claims reads status.inventory. An entry that cannot be read is left where it
// is and reported: forgetting it would leave an object behind unseen.
func claims(r *reader, declared *unstructured.Unstructured) []model.Claim {
	entries, _, _ := unstructured.NestedFieldNoCopy(declared.Object, "status", "inventory", "entries")
	list, _ := entries.([]any)
	var out []model.Claim
	for i, entry := range list {
		fields, _ := entry.(map[string]any)
		text, _ := fields["id"].(string)
		version, _ := fields["v"].(string)
		id, err := object.ParseInventory(text)
		if err != nil {
			r.find(model.Warning, reasonNotActedOn, fmt.Sprintf("status.inventory.entries[%d]", i), "%s: it is not pruned", clip(err.Error(), 300))
			continue
		}
		out = append(out, model.Claim{ID: id, Version: version})
	}
	return out
}

// noteConditionalFields reports the fields that mean something else beside
// another one.
func noteConditionalFields(spec node) {
	if checks := spec.at("healthChecks"); spec.at("wait").bool() && len(checks.items()) > 0 {
		spec.r.find(model.Info, reasonDiffers, checks.path, "with wait these are checked too; Flux leaves them out")
	}
}
