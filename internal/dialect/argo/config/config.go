package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The ConfigMaps that are read.
const (
	Name       = "argocd-cm"
	ParamsName = "argocd-cmd-params-cm"
)

// DialectName stands in the origins of findings.
const DialectName = "argo"

// Reasons of findings.
const (
	ReasonInvalid     = "InvalidSetting" // the value cannot be used: what it should change stays as it would be without it
	ReasonDiffers     = "Differs"
	ReasonNotActedOn  = "NotActedOn"
	ReasonServer      = "NotYetServed" // belongs to Argo CD's own server and web interface
	ReasonNoMeaning   = "NotApplicable"
	ReasonUnknown     = "UnknownSetting"
	ReasonUnavailable = "SettingsUnavailable"
)

// Defaults of upstream (util/settings, common, manifests).
const (
	DefaultInstanceLabelKey = "app.kubernetes.io/instance"
	DefaultReconciliation   = 120 * time.Second
	DefaultJitter           = 60 * time.Second
	DefaultGitTimeout       = 15 * time.Second
	DefaultRequeueAfter     = 3 * time.Minute
)

// Tracking is how objects tell whose they are (application.resourceTrackingMethod).
type Tracking string

// The tracking methods.
const (
	TrackByAnnotation         Tracking = "annotation"
	TrackByLabel              Tracking = "label"
	TrackByAnnotationAndLabel Tracking = "annotation+label"
)

// Annotated reports whether the tracking annotation is set.
func (t Tracking) Annotated() bool { return t != TrackByLabel }

// Labelled reports whether the instance label is set.
func (t Tracking) Labelled() bool { return t != TrackByAnnotation }

// Settings are the choices of an installation. The zero value is not the
// default: Read fills in upstream's.
type Settings struct {
	InstanceLabelKey string
	Tracking         Tracking
	InstallationID   string // "": there is one installation

	Reconciliation     time.Duration // how often sources are looked at; 0: never by the clock
	Jitter             time.Duration
	HardReconciliation time.Duration // how often nothing remembered is used; 0: never

	Impersonation         bool // application.sync.impersonation.enabled
	ImpersonationEnforced bool // a missing service account is an error
	InCluster             bool // cluster.inClusterEnabled: the own cluster may be a destination

	Ignore     []model.IgnoreRule // of every Application; CompareOnly
	Compare    model.CompareRules
	Health     *model.HealthRules // nil: none
	Exclusions []ResourceFilter
	Inclusions []ResourceFilter

	Kustomize, Directory, Helm bool // kustomize.enable, jsonnet.enable, helm.enable
	// KustomizeHelm: charts in kustomizations are rendered (kustomize.buildOptions,
	// --enable-helm).
	KustomizeHelm bool
	// ValuesFileSchemes are those that addresses of Helm value files may have.
	ValuesFileSchemes    []string
	GlobalProjects       []GlobalProject
	SensitiveAnnotations []string // resource.sensitive.mask.annotations: masked in Secrets

	// Of argocd-cmd-params-cm.
	ApplicationNamespaces []string // globs, or regular expressions between slashes
	WaveDelay             time.Duration
	SyncTimeout           time.Duration // 0: none
	Submodules            bool
	GitTimeout            time.Duration
	ApplicationSets       ApplicationSets
}

// ApplicationSets are the settings of upstream's ApplicationSet controller.
type ApplicationSets struct {
	Namespaces           []string // globs, or regular expressions between slashes
	Policy               string   // "sync", "create-only", "create-update", "create-delete"; "": each set's own
	PolicyOverride       bool     // a set may say otherwise although Policy is set
	ProgressiveSyncs     bool     // RollingSync is honoured
	PreservedAnnotations []string
	PreservedLabels      []string
	SCMProviders         bool     // scmProvider and pullRequest may be used
	AllowedSCMProviders  []string // API addresses; empty: all
	TokenRefStrict       bool     // Secrets of tokens must carry the label secret-type=scm-creds
	NewGitGlobbing       bool
	Submodules           bool
	RequeueAfter         time.Duration
	DryRun               bool
	MaxResources         int // resources that a status lists
}

// GlobalProject gives its rules to the projects whose labels match.
type GlobalProject struct {
	Name     string
	Selector labels.Selector
}

// ResourceFilter matches kinds on clusters; an empty list matches everything
// (util/settings FilteredResource).
type ResourceFilter struct {
	APIGroups []string `json:"apiGroups"`
	Kinds     []string `json:"kinds"`
	Clusters  []string `json:"clusters"` // globs of server addresses
}

// Concerns reports whether the filter speaks of a cluster, named by its server
// address.
func (f ResourceFilter) Concerns(cluster string) bool {
	return len(f.Clusters) == 0 || slices.ContainsFunc(f.Clusters, func(p string) bool { return Glob(p, cluster) })
}

func (f ResourceFilter) matches(group, kind, cluster string) bool {
	return (len(f.APIGroups) == 0 || slices.ContainsFunc(f.APIGroups, func(p string) bool { return Glob(p, group) })) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, "*") || slices.Contains(f.Kinds, kind)) &&
		f.Concerns(cluster)
}

// alwaysExcluded are kinds that change all the time and that nobody delivers
// (util/settings resources_filter.go).
var alwaysExcluded = []ResourceFilter{
	{APIGroups: []string{"events.k8s.io", "metrics.k8s.io"}},
	{APIGroups: []string{""}, Kinds: []string{"Event"}},
	{APIGroups: []string{"coordination.k8s.io"}, Kinds: []string{"Lease"}},
}

// Exclusions are those of the settings after those that always hold.
func Exclusions(s Settings) []ResourceFilter { return slices.Concat(alwaysExcluded, s.Exclusions) }

// Excludes reports whether objects of a kind are left out on a cluster, named
// by its server address: exclusions win, and once inclusions speak of a
// cluster everything else there is excluded.
func (s Settings) Excludes(group, kind, cluster string) bool {
	matches := func(f ResourceFilter) bool { return f.matches(group, kind, cluster) }
	switch {
	case slices.ContainsFunc(Exclusions(s), matches):
		return true
	case slices.ContainsFunc(s.Inclusions, matches):
		return false
	}
	return slices.ContainsFunc(s.Inclusions, func(f ResourceFilter) bool { return f.Concerns(cluster) })
}

// Needs are the ConfigMaps that Read wants to see.
func Needs(namespace string) []model.Need {
	return []model.Need{need(namespace, Name), need(namespace, ParamsName)}
}

func need(namespace, name string) model.Need {
	return model.Need{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

// Default are the settings of an installation whose ConfigMaps say nothing.
func Default() Settings {
	return Settings{
		InstanceLabelKey:      DefaultInstanceLabelKey,
		Tracking:              TrackByAnnotation,
		Reconciliation:        DefaultReconciliation,
		Jitter:                DefaultJitter,
		ImpersonationEnforced: true,
		InCluster:             true,
		Kustomize:             true,
		Directory:             true,
		Helm:                  true,
		ValuesFileSchemes:     []string{"https", "http"},
		Submodules:            true,
		GitTimeout:            DefaultGitTimeout,
		ApplicationSets:       ApplicationSets{SCMProviders: true, Submodules: true, RequeueAfter: DefaultRequeueAfter, MaxResources: 5000},
	}
}

// Read reads the settings. A ConfigMap that is absent changes nothing; one
// that cannot be read is a finding with reason SettingsUnavailable, since what
// it says is unknown (see Unavailable). Findings name the ConfigMap as the
// declaring object and data.<key> as the field.
func Read(facts model.Facts, namespace string) (Settings, []model.Finding) {
	r := &reader{settings: Default(), namespace: namespace}
	if data := r.open(facts, Name); data != nil {
		r.keys(Name, data, keys)
		r.general(data)
		r.customizations(data)
	}
	if data := r.open(facts, ParamsName); data != nil {
		r.keys(ParamsName, data, params)
		r.parameters(data)
	}
	return r.settings, r.findings
}

// Unavailable is the fault of settings that could not be read: nothing may be
// changed by settings that are unknown. It is nil when they are known.
func Unavailable(facts model.Facts, namespace string) *model.Fault {
	for _, want := range Needs(namespace) {
		fact, asked := facts[want]
		if asked && fact.State != model.Present && fact.State != model.Absent {
			return &model.Fault{
				Reason:  "ComparisonError",
				Message: fmt.Sprintf("ConfigMap %s/%s cannot be read: %s", want.Namespace, want.Name, clip(fact.Message)),
				Advice:  "allow Plumb to read it",
				Object:  object.ID{Kind: "ConfigMap", Namespace: want.Namespace, Name: want.Name},
				Retry:   true,
			}
		}
	}
	return nil
}

type reader struct {
	settings  Settings
	namespace string
	source    string // ConfigMap that is being read
	findings  []model.Finding
}

// open is the data of a ConfigMap, nil when there is none.
func (r *reader) open(facts model.Facts, name string) map[string]string {
	r.source = name
	fact := facts[need(r.namespace, name)]
	switch fact.State {
	case model.Present:
	case model.Forbidden, model.Failed:
		r.find(model.Warning, ReasonUnavailable, "data", "the settings cannot be read: %s", clip(fact.Message))
		return nil
	default:
		return nil
	}
	if fact.Object == nil {
		return nil
	}
	out := map[string]string{}
	fields, _ := fact.Object.Object["data"].(map[string]any)
	for key, value := range fields {
		text, ok := value.(string)
		if !ok {
			r.invalid(key, "is not a string")
			continue
		}
		out[key] = text
	}
	return out
}

func (r *reader) find(severity model.Severity, reason, field, format string, args ...any) {
	r.findings = append(r.findings, model.Finding{
		Severity: severity,
		Reason:   reason,
		Message:  fmt.Sprintf(format, args...),
		Origin: model.Origin{
			Dialect:  DialectName,
			Declared: object.ID{Kind: "ConfigMap", Namespace: r.namespace, Name: r.source},
			Field:    field,
		},
	})
}

func (r *reader) invalid(key, format string, args ...any) {
	r.find(model.Warning, ReasonInvalid, "data."+clipKey(key), "%s: %s", clipKey(key), fmt.Sprintf(format, args...))
}

// general reads the keys of argocd-cm but for resource.customizations.
func (r *reader) general(data map[string]string) {
	s := &r.settings
	if label := data["application.instanceLabelKey"]; label != "" {
		s.InstanceLabelKey = label
	}
	switch method := Tracking(data["application.resourceTrackingMethod"]); method {
	case "":
	case TrackByAnnotation, TrackByLabel, TrackByAnnotationAndLabel:
		s.Tracking = method
	default:
		r.invalid("application.resourceTrackingMethod", "must be annotation, label or annotation+label: annotation is used")
	}
	s.InstallationID = data["installationID"]
	r.duration(data, "timeout.reconciliation", &s.Reconciliation)
	r.duration(data, "timeout.reconciliation.jitter", &s.Jitter)
	r.duration(data, "timeout.hard.reconciliation", &s.HardReconciliation)
	r.flag(data, "application.sync.impersonation.enabled", &s.Impersonation)
	r.flag(data, "application.sync.impersonation.enforced", &s.ImpersonationEnforced)
	r.flag(data, "cluster.inClusterEnabled", &s.InCluster)
	r.enabled(data, "kustomize.enable", &s.Kustomize)
	r.enabled(data, "jsonnet.enable", &s.Directory)
	r.enabled(data, "helm.enable", &s.Helm)
	if schemes, given := data["helm.valuesFileSchemes"]; given {
		s.ValuesFileSchemes = list(schemes)
	}
	r.buildOptions(data)
	s.SensitiveAnnotations = list(data["resource.sensitive.mask.annotations"])
	s.Exclusions, _ = document[[]ResourceFilter](r, data, "resource.exclusions")
	s.Inclusions, _ = document[[]ResourceFilter](r, data, "resource.inclusions")
	r.globalProjects(data)
	r.compareOptions(data)
}

// buildOptions reads the options that kustomize build is run with.
func (r *reader) buildOptions(data map[string]string) {
	const key = "kustomize.buildOptions"
	var others []string
	for _, option := range strings.Fields(data[key]) {
		name, value, given := strings.Cut(option, "=")
		switch {
		case name == "--enable-helm":
			enabled, err := strconv.ParseBool(value)
			r.settings.KustomizeHelm = !given || err == nil && enabled
		case strings.HasPrefix(name, "-"):
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		r.find(model.Warning, ReasonNotActedOn, "data."+key, "Kustomize is built in and takes no option but --enable-helm: %s", clip(strings.Join(others, ", ")))
	}
}

func (r *reader) globalProjects(data map[string]string) {
	type entry struct {
		ProjectName   string         `json:"projectName"`
		LabelSelector map[string]any `json:"labelSelector"`
	}
	projects, _ := document[[]entry](r, data, "globalProjects")
	for i, project := range projects {
		selector, err := labelSelector(project.LabelSelector)
		if err != nil {
			r.invalid("globalProjects", "entry %d has a labelSelector that cannot be used: %s", i, clip(err.Error()))
			continue
		}
		r.settings.GlobalProjects = append(r.settings.GlobalProjects, GlobalProject{Name: project.ProjectName, Selector: selector})
	}
}

func (r *reader) compareOptions(data map[string]string) {
	type compareOptions struct {
		IgnoreAggregatedRoles     bool `json:"ignoreAggregatedRoles"`
		IgnoreResourceStatusField any  `json:"ignoreResourceStatusField"` // YAML reads off as false
	}
	options, _ := document[compareOptions](r, data, "resource.compareoptions")
	r.settings.Compare.IgnoreAggregatedRoles = options.IgnoreAggregatedRoles
	if options.IgnoreResourceStatusField == nil {
		return
	}
	switch fmt.Sprint(options.IgnoreResourceStatusField) {
	case "", "all":
	case "crd":
		r.settings.Compare.Status = model.StatusOfCRDs
	case "none", "off", "false":
		r.settings.Compare.Status = model.StatusOfNone
	default:
		r.invalid("resource.compareoptions", "ignoreResourceStatusField must be all, crd or none: all is used")
	}
}

func (r *reader) origin(key string) model.Origin {
	return model.Origin{Dialect: DialectName, Declared: object.ID{Kind: "ConfigMap", Namespace: r.namespace, Name: Name}, Field: "data." + clipKey(key)}
}

// parameters reads argocd-cmd-params-cm.
func (r *reader) parameters(data map[string]string) {
	s, sets := &r.settings, &r.settings.ApplicationSets
	s.ApplicationNamespaces = list(data["application.namespaces"])
	r.seconds(data, "controller.sync.wave.delay.seconds", &s.WaveDelay)
	r.seconds(data, "controller.sync.timeout.seconds", &s.SyncTimeout)
	r.flag(data, "reposerver.enable.git.submodule", &s.Submodules)
	r.duration(data, "reposerver.git.request.timeout", &s.GitTimeout)
	if s.GitTimeout <= 0 {
		s.GitTimeout = DefaultGitTimeout
	}

	sets.Namespaces = list(data["applicationsetcontroller.namespaces"])
	switch policy := data["applicationsetcontroller.policy"]; policy {
	case "", "sync", "create-only", "create-update", "create-delete":
		sets.Policy = policy
	default:
		r.invalid("applicationsetcontroller.policy", "must be sync, create-only, create-update or create-delete: create-only is used, which takes nothing away")
		sets.Policy = "create-only"
	}
	for _, flag := range []struct {
		key string
		to  *bool
	}{
		{"enable.policy.override", &sets.PolicyOverride}, {"enable.progressive.syncs", &sets.ProgressiveSyncs}, {"enable.scm.providers", &sets.SCMProviders},
		{"enable.tokenref.strict.mode", &sets.TokenRefStrict}, {"enable.new.git.file.globbing", &sets.NewGitGlobbing},
		{"enable.git.submodule", &sets.Submodules}, {"dryrun", &sets.DryRun},
	} {
		r.flag(data, "applicationsetcontroller."+flag.key, flag.to)
	}
	r.duration(data, "applicationsetcontroller.requeue.after", &sets.RequeueAfter)
	if sets.RequeueAfter <= 0 {
		sets.RequeueAfter = DefaultRequeueAfter
	}
	sets.PreservedAnnotations = list(data["applicationsetcontroller.global.preserved.annotations"])
	sets.PreservedLabels = list(data["applicationsetcontroller.global.preserved.labels"])
	sets.AllowedSCMProviders = list(data["applicationsetcontroller.allowed.scm.providers"])
	if text := data["applicationsetcontroller.status.max.resources.count"]; text != "" {
		count, err := strconv.Atoi(text)
		if err != nil || count < 0 {
			r.invalid("applicationsetcontroller.status.max.resources.count", "is not a count")
		} else {
			sets.MaxResources = count
		}
	}
}

// parsed reads a value that is not empty; one that cannot be read is told, with
// what is used instead.
func parsed[T any](r *reader, data map[string]string, key string, to *T, what string, parse func(string) (T, bool)) {
	text := strings.TrimSpace(data[key])
	if text == "" {
		return
	}
	value, ok := parse(text)
	if !ok {
		r.invalid(key, "%s: %v is used", what, *to)
		return
	}
	*to = value
}

func (r *reader) flag(data map[string]string, key string, to *bool) {
	parsed(r, data, key, to, "must be true or false", func(text string) (bool, bool) {
		value, err := strconv.ParseBool(text)
		return value, err == nil
	})
}

// enabled is true for "true" alone (util/settings GetEnabledSourceTypes).
func (r *reader) enabled(data map[string]string, key string, to *bool) {
	if text := data[key]; text != "" {
		*to = text == "true"
	}
}

// maxDuration is more than anybody waits for, and far from where durations
// overflow.
const maxDuration = 10 * 365 * 24 * time.Hour

func (r *reader) duration(data map[string]string, key string, to *time.Duration) {
	parsed(r, data, key, to, "is not a duration such as 180s", parseDuration)
}

// parseDuration takes Go's form and days, as upstream does (util/env
// ParseDurationFromEnv).
func parseDuration(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n < 0 || n > int64(maxDuration/(24*time.Hour)) {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true
	}
	value, err := time.ParseDuration(text)
	return value, err == nil && value >= 0 && value <= maxDuration
}

func (r *reader) seconds(data map[string]string, key string, to *time.Duration) {
	parsed(r, data, key, to, "is not a number of seconds", func(text string) (time.Duration, bool) {
		value, err := strconv.ParseInt(text, 10, 64)
		return time.Duration(value) * time.Second, err == nil && value >= 0 && value <= int64(maxDuration/time.Second)
	})
}

// document reads a value that is YAML; false, and nothing, when there is none
// or it cannot be read whole.
func document[T any](r *reader, data map[string]string, key string) (T, bool) {
	var none T
	text := data[key]
	if strings.TrimSpace(text) == "" {
		return none, false
	}
	read, err := decode[T](text)
	if err != nil {
		r.invalid(key, "%s", err)
		return none, false
	}
	return read, true
}

const (
	maxDocument = 1 << 20
	maxMessage  = 300
)

// decode reads YAML; errors say where, and nothing of a value.
func decode[T any](text string) (T, error) {
	var into, none T
	if len(text) > maxDocument {
		return none, fmt.Errorf("is longer than %d bytes", maxDocument)
	}
	if err := yaml.Unmarshal([]byte(text), &into); err != nil {
		return none, fmt.Errorf("is not the YAML that is expected here: %s", clip(err.Error()))
	}
	return into, nil
}

func list(text string) []string {
	var out []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

func clip(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "..."
}

func clipKey(key string) string {
	if len(key) <= 120 {
		return key
	}
	return strings.ToValidUTF8(key[:120], "") + "..."
}

// digest names a set of texts, in the order given.
func digest(texts ...string) string {
	sum := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(sum, "%d:%s", len(text), text)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}
