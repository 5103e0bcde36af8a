package flux

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	fluxkustomize "github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	kindHelmRelease     = "HelmRelease"
	helmFieldManager    = "helm-controller"
	annotationForceAt   = "reconcile.fluxcd.io/forceAt"
	annotationResetAt   = "reconcile.fluxcd.io/resetAt"
	keyDriftDetection   = GroupHelm + "/driftDetection"
	defaultHelmTimeout  = helm.DefaultTimeout * time.Second
	defaultRetryPause   = helm.DefaultRetryInterval * time.Second
	retryOnFailure      = "RetryOnFailure"
	remediateOnFailure  = "RemediateOnFailure"
	remedyRollback      = "rollback"
	remedyUninstall     = "uninstall"
	crdsSkip            = "Skip"
	crdsCreate          = "Create"
	applyServerSide     = "enabled"
	applyClientSide     = "disabled"
	applyAsBefore       = "auto"
	longestReleaseName  = 53 // spec.releaseName, by its definition
	maxHistoryOfRecords = 1 << 20
)

// wholeObject leads to everything in an object but what says which one it is.
const wholeObject = `(keys - ["apiVersion", "kind", "metadata"])[] as $field | .[$field]`

// compileHelmRelease makes a delivery of a HelmRelease (helm-controller api/v2
// helmrelease_types.go and its older versions), and the implied source of its
// chart template. The objects that its chart and its values come from are needs.
//
// A suspended or deleted object is a delivery whatever else it says, as a
// Kustomization is: neither needs chart or values.
func compileHelmRelease(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	r, spec := read(declared)
	g := gathering{r: r, facts: facts, bare: atRest(declared, spec)}
	delivery := releaseFields(spec, r.ID, settings)
	describe(delivery, r, declared)
	delivery.Ownership = releaseOwnership(r.ID, delivery.Release)
	readReleaseStatus(delivery.Release, declared)
	delivery.Applied = appliedRevision(delivery.Release)
	intent := dialect.Intent{Delivery: delivery}
	input := &delivery.Inputs[0]
	input.Source, intent.Implied = g.chart(spec, settings)
	if len(intent.Implied) > 0 {
		input.Shown = chartOfRelease(spec, r.ID)
	}
	values, options := g.values(spec), &input.Render.Helm
	options.Typed = true
	options.Values, options.ValuesDigest, options.Sensitive = values.values, values.digest, values.sensitive
	delivery.Release.ValuesDigest = values.digest
	noteReleaseFields(spec)
	r.Findings = append(r.Findings, unhandledFields(declared)...)

	if delivery.Deleting && delivery.Suspended { // reconcileDelete of upstream
		delivery.Policy.OnDelete = model.OrphanObjects
	}
	if g.bare {
		return intent, nil, r.Findings, nil
	}
	if err := r.Err(); err != nil {
		return dialect.Intent{}, nil, r.Findings, err
	}
	if len(g.open) > 0 {
		return dialect.Intent{}, g.open, r.Findings, nil
	}
	return intent, nil, r.Findings, nil
}

// describe fills in what every declared object tells of a delivery.
func describe(delivery *model.Delivery, r *reader.Reader, declared *unstructured.Unstructured) {
	delivery.ID = r.ID
	delivery.UID = string(declared.GetUID())
	delivery.Generation = declared.GetGeneration()
	delivery.Origin = origin(r.ID, "")
	delivery.Deleting = declared.GetDeletionTimestamp() != nil
	delivery.Finalized = slices.Contains(declared.GetFinalizers(), Finalizer)
	delivery.Wake = declared.GetAnnotations()[AnnotationRequestedAt]
	delivery.Approve = declared.GetAnnotations()[AnnotationApprove]
	delivery.Claims = claims(r, declared)
}

// releaseOwnership is how helm-controller and the Helm in it mark what they
// apply.
func releaseOwnership(id object.ID, release *model.Release) model.Ownership {
	labels, annotations := helm.Marks(release.Name, release.Namespace)
	return model.Ownership{
		FieldManager:       helmFieldManager,
		Finalizer:          Finalizer,
		Labels:             originLabels(id),
		TakeOver:           []string{"helm"},
		ReleaseLabels:      labels,
		ReleaseAnnotations: annotations,
	}
}

// originLabels tell on every object, hooks and CRDs included, which HelmRelease
// it is of (helm-controller internal/postrender).
func originLabels(id object.ID) map[string]string {
	return map[string]string{GroupHelm + "/name": id.Name, GroupHelm + "/namespace": id.Namespace}
}

// releaseFields reads the spec, but for the chart and the values.
func releaseFields(spec node, id object.ID, settings dialect.Settings) *model.Delivery {
	release := releaseSpec(spec, id, settings.Flux)
	return &model.Delivery{
		Inputs: []model.Input{{Render: model.Render{Kind: model.RenderHelm, Helm: model.HelmOptions{
			ReleaseName:        release.Name,
			Namespace:          release.Namespace,
			SkipCRDs:           release.InstallCRDs == crdsSkip && release.UpgradeCRDs == crdsSkip,
			SkipSchema:         release.Install.SkipSchema && release.Upgrade.SkipSchema,
			Live:               true,
			Packaged:           true, // Flux renders archives of charts only
			PostRenderers:      postRenderers(spec),
			PostRenderStrategy: oneOf(spec.At("postRenderStrategy"), reasonInvalidSpec, postRenderStrategies(settings.Flux)...),
			OwnLabels:          originLabels(id),
		}}}},
		Release:   release,
		Target:    model.Target{Cluster: remoteCluster(spec.At("kubeConfig"), id.Namespace), Namespace: release.Namespace},
		Identity:  identity(spec, id.Namespace, settings),
		Policy:    releasePolicy(spec, release),
		DependsOn: dependencies(spec.At("dependsOn"), GroupHelm, kindHelmRelease, id.Namespace, settings.Flux),
		Suspended: spec.At("suspend").Bool(),
	}
}

// releaseSpec reads what Helm's life cycle goes by.
func releaseSpec(spec node, id object.ID, gates dialect.Gates) *model.Release {
	waits, strategies := []string{model.WaitPoller, model.WaitLegacy}, []string{remediateOnFailure, retryOnFailure}
	if gates.Helm3Defaults {
		slices.Reverse(waits)
	}
	if gates.RetryOnFailure {
		slices.Reverse(strategies)
	}
	timeout := timeoutOf(spec, defaultHelmTimeout)
	test := spec.At("test")
	target := spec.At("targetNamespace").Str()
	release := &model.Release{
		FullName:         helm.ReleaseName(releaseName(spec.At("releaseName")), target, id.Name),
		Namespace:        orElse(target, id.Namespace),
		StorageNamespace: orElse(spec.At("storageNamespace").Str(), id.Namespace),
		MaxHistory:       int(bounded(spec.At("maxHistory"), helm.DefaultMaxHistory, 0, maxHistoryOfRecords)),
		Test:             testAction(test, timeout),
		Rollback:         rollbackAction(spec.At("rollback"), timeout),
		Uninstall:        uninstallAction(spec.At("uninstall"), timeout),
		CreateNamespace:  spec.At("install").At("createNamespace").Bool() && target != "",
		InstallCRDs:      installCRDs(spec.At("install")),
		// Upstream's documents say Skip; its code has the default of install.
		UpgradeCRDs:          crdsPolicy(spec.At("upgrade").At("crds"), crdsCreate),
		Reinstall:            oneOf(spec.At("upgrade").At("chartNameChangeStrategy"), reasonInvalidSpec, "Reinstall", "InPlaceUpdate") == "Reinstall",
		WaitStrategy:         oneOf(spec.At("waitStrategy").At("name"), reasonInvalidSpec, waits...),
		PlainVersion:         gates.PlainChartVersions,
		PostRenderersDigest:  postRenderersDigest(spec.At("postRenderers")),
		CommonMetadataDigest: commonMetadataDigest(spec.At("commonMetadata")),
	}
	release.Name = helm.ShortName(release.FullName)
	release.Install = installAction(spec.At("install"), timeout, strategies, !gates.Helm3Defaults)
	release.Upgrade = upgradeAction(spec.At("upgrade"), timeout, strategies)
	release.InstallRemedy = installRemedy(spec.At("install").At("remediation"), release.Test.IgnoreFailures)
	release.UpgradeRemedy = upgradeRemedy(spec.At("upgrade").At("remediation"), release.Test.IgnoreFailures)
	spec.At("persistentClient").Bool() // says how upstream's client is made, which Plumb has no like of
	return release
}

func releaseName(field node) string {
	name := field.Str()
	if len(name) > longestReleaseName {
		field.Invalid("%q is longer than %d characters", reader.Clip(name, 80), longestReleaseName)
	}
	return name
}

// timeoutOf is upstream's GetTimeout of an action: that of the release unless
// it has its own.
func timeoutOf(spec node, fallback time.Duration) time.Duration {
	if own, ok := spec.At("timeout").Duration(); ok {
		return own
	}
	return fallback
}

// waitingAction reads what install, upgrade and rollback have in common.
func waitingAction(spec node, timeout time.Duration) model.ReleaseAction {
	waits := !spec.At("disableWait").Bool()
	jobs := !spec.At("disableWaitForJobs").Bool()
	return model.ReleaseAction{
		Enabled:  true,
		Timeout:  timeoutOf(spec, timeout),
		Wait:     waits,
		WaitJobs: waits && jobs,
		Hooks:    !spec.At("disableHooks").Bool(),
	}
}

// releasingAction reads what install and upgrade have in common. The first strategy
// is that of an action which names none.
func releasingAction(spec node, timeout time.Duration, strategies []string) model.ReleaseAction {
	out := waitingAction(spec, timeout)
	out.TakeOwnership = !spec.At("disableTakeOwnership").Bool()
	out.SkipOpenAPI = spec.At("disableOpenAPIValidation").Bool()
	out.SkipSchema = spec.At("disableSchemaValidation").Bool()
	strategy := spec.At("strategy")
	out.RetryOnFailure = oneOf(strategy.At("name"), reasonInvalidSpec, strategies...) == retryOnFailure
	if out.RetryOnFailure {
		out.RetryInterval = defaultRetryPause
	}
	if pause, ok := strategy.At("retryInterval").Duration(); ok {
		if !out.RetryOnFailure {
			strategy.At("retryInterval").Invalid("can only be set when the strategy is %s", retryOnFailure)
		}
		out.RetryInterval = pause
	}
	return out
}

func installAction(spec node, timeout time.Duration, strategies []string, serverSide bool) model.ReleaseAction {
	out := releasingAction(spec, timeout, strategies)
	out.Replace = spec.At("replace").Bool()
	if field := spec.At("serverSideApply"); field.Present() {
		serverSide = field.Bool()
	}
	out.ServerSideApply = applyClientSide
	if serverSide {
		out.ServerSideApply = applyServerSide
	}
	return out
}

func upgradeAction(spec node, timeout time.Duration, strategies []string) model.ReleaseAction {
	out := releasingAction(spec, timeout, strategies)
	out.Force = spec.At("force").Bool()
	out.PreserveValues = spec.At("preserveValues").Bool()
	out.CleanupOnFail = spec.At("cleanupOnFail").Bool()
	out.ServerSideApply = oneOf(spec.At("serverSideApply"), reasonInvalidSpec, applyAsBefore, applyServerSide, applyClientSide)
	return out
}

func rollbackAction(spec node, timeout time.Duration) model.ReleaseAction {
	out := waitingAction(spec, timeout)
	out.Force = spec.At("force").Bool()
	out.CleanupOnFail = spec.At("cleanupOnFail").Bool()
	out.ServerSideApply = oneOf(spec.At("serverSideApply"), reasonInvalidSpec, applyAsBefore, applyServerSide, applyClientSide)
	return out
}

func uninstallAction(spec node, timeout time.Duration) model.ReleaseAction {
	return model.ReleaseAction{
		Enabled:     true,
		Timeout:     timeoutOf(spec, timeout),
		Wait:        !spec.At("disableWait").Bool(),
		Hooks:       !spec.At("disableHooks").Bool(),
		KeepHistory: spec.At("keepHistory").Bool(),
		Propagation: oneOf(spec.At("deletionPropagation"), reasonInvalidSpec, "background", "foreground", "orphan"),
	}
}

func testAction(spec node, timeout time.Duration) model.ReleaseAction {
	out := model.ReleaseAction{
		Enabled:        spec.At("enable").Bool(),
		Timeout:        timeoutOf(spec, timeout),
		Hooks:          true,
		IgnoreFailures: spec.At("ignoreFailures").Bool(),
	}
	for _, item := range spec.At("filters").Items() {
		filter := model.TestFilter{Name: item.At("name").Str(), Exclude: item.At("exclude").Bool()}
		if filter.Name == "" {
			item.At("name").Invalid("names no test")
			continue
		}
		out.Filters = append(out.Filters, filter)
	}
	return out
}

// installCRDs honours the field that crds took the place of, as Helm and older
// helm-controllers did.
func installCRDs(install node) string {
	fallback := crdsCreate
	if install.At("skipCRDs").Bool() {
		fallback = crdsSkip
	}
	return crdsPolicy(install.At("crds"), fallback)
}

func crdsPolicy(field node, fallback string) string {
	if field.Str() == "" {
		return fallback
	}
	return oneOf(field, reasonInvalidSpec, crdsCreate, crdsSkip, "CreateReplace")
}

// remedy reads what both remedies have in common.
func remedy(spec node, ignoreTests bool) model.Remedy {
	out := model.Remedy{
		Retries:            int(bounded(spec.At("retries"), 0, -1<<31, 1<<31-1)),
		IgnoreTestFailures: ignoreTests,
	}
	if field := spec.At("ignoreTestFailures"); field.Present() {
		out.IgnoreTestFailures = field.Bool()
	}
	return out
}

func installRemedy(spec node, ignoreTests bool) model.Remedy {
	out := remedy(spec, ignoreTests)
	out.Strategy = remedyUninstall
	out.Last = spec.At("remediateLastFailure").Bool()
	return out
}

func upgradeRemedy(spec node, ignoreTests bool) model.Remedy {
	out := remedy(spec, ignoreTests)
	out.Strategy = oneOf(spec.At("strategy"), reasonInvalidSpec, remedyRollback, remedyUninstall)
	out.Last = out.Retries > 0
	if field := spec.At("remediateLastFailure"); field.Present() {
		out.Last = field.Bool()
	}
	return out
}

// releasePolicy is how the objects are looked after between two releases. Each
// action waits as it is told to; afterwards a HelmRelease is no worse for an
// object that is not well.
func releasePolicy(spec node, release *model.Release) model.Policy {
	out := model.Policy{
		Interval:    interval(spec),
		Timeout:     timeoutOf(spec, defaultHelmTimeout),
		Prune:       true,
		OnDelete:    model.DeleteAndWait,
		Cascade:     release.Uninstall.Propagation,
		HealthExprs: healthExprs(spec.At("healthCheckExprs")),
	}
	out.RetryInterval = out.Interval
	if !release.Uninstall.Wait {
		out.OnDelete = model.DeleteObjects
	}
	out.Drift, out.Ignore = driftDetection(spec.At("driftDetection"))
	return out
}

// driftDetection says what a difference leads to, and what is none. Ignored
// paths are ignored in comparisons only: a release writes them.
func driftDetection(spec node) (model.Drift, []model.IgnoreRule) {
	rules := ignoreRules(spec.At("ignore"))
	for i := range rules {
		rules[i].CompareOnly = true
		whole := slices.Contains(rules[i].Paths, "")
		rules[i].Paths = slices.DeleteFunc(rules[i].Paths, func(path string) bool { return path == "" })
		if whole {
			rules[i] = leaveAlone(rules[i])
		}
	}
	mode := oneOf(spec.At("mode"), reasonInvalidSpec, "disabled", "enabled", "warn")
	if mode == "disabled" {
		return model.Ignore, rules
	}
	disabled := keyDriftDetection + "=disabled"
	rules = append(rules,
		leaveAlone(model.IgnoreRule{CompareOnly: true, Target: &model.Selector{AnnotationSelector: disabled}}),
		leaveAlone(model.IgnoreRule{CompareOnly: true, Target: &model.Selector{LabelSelector: disabled}}))
	if mode == "warn" {
		return model.Note, rules
	}
	return model.Heal, rules
}

// leaveAlone makes a rule ignore objects as a whole.
func leaveAlone(rule model.IgnoreRule) model.IgnoreRule {
	rule.Whole = true
	rule.Queries = append(rule.Queries, wholeObject)
	rule.Paths = append(rule.Paths, "/metadata/labels", "/metadata/annotations", "/metadata/finalizers", "/metadata/ownerReferences")
	return rule
}

// postRenderStrategies begin with that of a release which names none.
func postRenderStrategies(gates dialect.Gates) []string {
	if gates.Helm3Defaults {
		return []string{"nohooks", "combined", "separate"}
	}
	return []string{"combined", "nohooks", "separate"}
}

// postRenderers are run in the order of upstream's BuildPostRenderers; the
// labels of origin, which go last, are options of their own.
func postRenderers(spec node) []model.KustomizeOptions {
	var out []model.KustomizeOptions
	for _, item := range spec.At("postRenderers").Items() {
		if kustomize := item.At("kustomize"); kustomize.Present() {
			out = append(out, model.KustomizeOptions{Patches: patches(kustomize), Images: images(kustomize.At("images"))})
		}
	}
	metadata := spec.At("commonMetadata")
	common := model.KustomizeOptions{CommonLabels: metadata.At("labels").StringMap(), CommonAnnotations: metadata.At("annotations").StringMap()}
	if len(common.CommonLabels)+len(common.CommonAnnotations) > 0 {
		out = append(out, common)
	}
	return out
}

// postRenderersDigest is of upstream's newest form: the lists that older
// versions had besides become patches.
func postRenderersDigest(list node) string {
	if !list.Present() {
		return ""
	}
	var written []helmv2.PostRenderer
	if !decode(list, &written) {
		return ""
	}
	for i, item := range list.Items() {
		kustomize := item.At("kustomize")
		if kustomize.At("patchesStrategicMerge").Present() || kustomize.At("patchesJson6902").Present() {
			written[i].Kustomize.Patches = upstreamPatches(patches(kustomize))
		}
	}
	return helm.SpecDigest(written)
}

func upstreamPatches(patches []model.Patch) []fluxkustomize.Patch {
	out := make([]fluxkustomize.Patch, len(patches))
	for i, patch := range patches {
		out[i].Patch = patch.Patch
		if to := patch.Target; to != nil {
			out[i].Target = &fluxkustomize.Selector{
				Group: to.Group, Version: to.Version, Kind: to.Kind, Namespace: to.Namespace, Name: to.Name,
				LabelSelector: to.LabelSelector, AnnotationSelector: to.AnnotationSelector,
			}
		}
	}
	return out
}

func commonMetadataDigest(field node) string {
	var written helmv2.CommonMetadata
	if !field.Present() || !decode(field, &written) {
		return ""
	}
	return helm.SpecDigest(&written)
}

// decode reads a value into upstream's type. What is of another type is a fault
// that has been found already where the field is read.
func decode(n node, into any) bool {
	text, err := json.Marshal(n.Value)
	return err == nil && json.Unmarshal(text, into) == nil
}

// noteReleaseFields reports the fields whose value decides whether they work.
func noteReleaseFields(spec node) {
	for _, action := range []string{"install", "upgrade", "rollback"} {
		field := spec.At(action).At("serverSideApply")
		if field.Value == false || field.Value == applyClientSide {
			spec.R.Find(model.Info, reasonDiffers, field.Path, "Plumb applies server-side, whatever is written here")
		}
	}
}

// bounded is a whole number between two others.
func bounded(field node, fallback, least, most int64) int64 {
	value := field.Int(fallback)
	if value < least || value > most {
		field.Invalid("%d is not between %d and %d", value, least, most)
		return fallback
	}
	return value
}

func orElse(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// chart is the source that the chart comes from: what spec.chartRef names, or
// what spec.chart describes, which no object stands for. What upstream refuses is
// refused here (isValidChartRef, internal/acl).
func (g *gathering) chart(spec node, settings dialect.Settings) (object.ID, []model.Source) {
	template, ref := spec.At("chart"), spec.At("chartRef")
	switch {
	case template.Present() == ref.Present():
		spec.Invalid("either chart or chartRef must be set")
		return object.ID{}, nil
	case ref.Present():
		return referredChart(ref, settings), nil
	}
	return g.impliedChart(spec, settings)
}

// templateFields are those of a HelmChart that a HelmRelease describes.
var templateFields = []string{
	"chart", "version", "sourceRef", "interval", "reconcileStrategy",
	"valuesFile", "valuesFiles", "ignoreMissingValuesFiles", "verify",
}

// impliedChart is the source of the HelmChart that helm-controller would make of
// the template, in the namespace of what the chart is read from. Releases with
// the same template share it.
func (g *gathering) impliedChart(spec node, settings dialect.Settings) (object.ID, []model.Source) {
	chart, template := chartOfRelease(spec, g.r.ID), spec.At("chart").At("spec")
	chartMarks(spec)
	allowed(template, chart.Kind, chart.Namespace, chart.Name, settings)
	fields := map[string]any{}
	for _, name := range templateFields {
		if field := template.At(name); field.Present() {
			fields[name] = field.Value
		}
	}
	if fields["interval"] == nil {
		fields["interval"] = spec.At("interval").Value
	}
	source := g.templateSource(template, chart, fields)
	if g.bare || len(g.r.Faults) > 0 {
		return object.ID{}, nil
	}
	source.ID = impliedID(chart.Namespace, chartSpec(template, spec.At("interval")))
	source.Origin = model.Origin{Dialect: Name, Field: template.Path, Repository: source.Origin.Repository}
	source.Implied = true
	return source.ID, []model.Source{*source}
}

// templateSource compiles the HelmChart. What it needs is needed here, and its
// faults are told at the template.
func (g *gathering) templateSource(template node, chart object.ID, fields map[string]any) *model.Source {
	inner := sourceCompilation{
		gathering: gathering{r: reader.New(Name, reasonInvalidSpec, chart), facts: g.facts, open: g.open, bare: g.bare},
		source:    &model.Source{Timeout: defaultFetchTimeout},
	}
	helmChart(&inner, inner.r.Root("spec", fields))
	g.open = inner.open
	for _, fault := range inner.r.Faults {
		if fault.Retry { // upstream tells what its HelmChart waits for on that
			fault.Reason = reasonSourceNotReady
		}
		g.r.Fail(fault, template.Path+strings.TrimPrefix(fault.Origin.Field, "spec"))
	}
	for shape := range inner.r.Seen {
		shape = template.Shape + strings.TrimPrefix(shape, "spec")
		if _, known := tables[kindHelmRelease].Exact[shape]; known {
			g.r.Seen[shape] = true
		}
	}
	return inner.source
}

func referredChart(ref node, settings dialect.Settings) object.ID {
	ref.At("apiVersion").Str() // upstream reads the kind only
	id := object.ID{
		Group:     GroupSource,
		Kind:      oneOf(ref.At("kind"), reasonInvalidSpec, "OCIRepository", "HelmChart", "ExternalArtifact"),
		Namespace: orElse(ref.At("namespace").Str(), ref.R.ID.Namespace),
		Name:      required(ref.At("name"), "chart"),
	}
	allowed(ref, id.Kind, id.Namespace, id.Name, settings)
	return id
}

// allowed refuses references across namespaces where they are blocked.
func allowed(field node, kind, namespace, name string, settings dialect.Settings) {
	if !settings.NoCrossNamespaceRefs || namespace == field.R.ID.Namespace {
		return
	}
	field.R.Fail(&model.Fault{
		Reason:  reasonAccessDenied,
		Message: fmt.Sprintf("cross-namespace references are not allowed: cannot access %s %s/%s", kind, namespace, name),
		Advice:  "declare the source in namespace " + field.R.ID.Namespace,
	}, field.Path)
}
