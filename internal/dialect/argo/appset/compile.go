package appset

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The values of spec.syncPolicy.applicationsSync (ApplicationsSyncPolicy).
const (
	policySync         = "sync"
	policyCreateOnly   = "create-only"
	policyCreateUpdate = "create-update"
	policyCreateDelete = "create-delete"
)

var syncPolicies = []string{policyCreateOnly, policyCreateUpdate, policyCreateDelete, policySync}

// Compile turns a set into a delivery whose objects are made by Expand. While
// needs are returned it is to be called again with the facts. The implied
// sources are those that Git generators name without parameters of others.
func (r Room) Compile(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (*model.Delivery, []model.Source, []model.Need, []model.Finding, error) {
	set, findings, err := read(declared)
	deleting := declared.GetDeletionTimestamp() != nil // goes, whatever else is wrong with it
	if err != nil && !deleting {
		return nil, nil, nil, findings, err
	}
	namespace := argoNamespace(settings)
	if needs := open(facts, config.Needs(namespace)); len(needs) > 0 {
		return nil, nil, needs, findings, nil
	}
	options, err := settled(facts, namespace)
	if err != nil {
		return nil, nil, nil, findings, err
	}
	c := compilation{room: r, set: set, facts: facts, namespace: namespace, options: options, sources: map[object.ID]bool{}}
	if set.spec.rolling() {
		c.ask(applicationsNeed(set.id.Namespace))
	}
	if !deleting {
		if err := c.generators(settings); err != nil {
			return nil, nil, nil, findings, err
		}
		findings = append(findings, set.installed(options)...)
	}
	if needs := open(facts, c.needs); len(needs) > 0 {
		return nil, nil, needs, findings, nil
	}
	delivery, err := c.delivery()
	if err != nil {
		return nil, nil, nil, findings, err
	}
	return delivery, c.implied, nil, findings, nil
}

// open are the needs that no fact answers yet, each once.
func open(facts model.Facts, needs []model.Need) []model.Need {
	var out []model.Need
	for _, need := range needs {
		if _, asked := facts[need]; !asked && !slices.Contains(out, need) {
			out = append(out, need)
		}
	}
	return out
}

// allowedIn refuses a set in a namespace that the installation does not watch
// (--applicationset-namespaces, docs Appset-Any-Namespace.md).
func (p *parsed) allowedIn(argo string, options config.ApplicationSets, settings dialect.Settings) error {
	namespace := p.id.Namespace
	if namespace == argo || config.Listed(settings.ApplicationNamespaces, namespace) || config.Listed(options.Namespaces, namespace) {
		return nil
	}
	return &model.Fault{
		Reason:  reasonNotAllowed,
		Message: fmt.Sprintf("ApplicationSets in namespace %s are not acted on: neither is it Argo CD's (%s) nor is it listed", namespace, argo),
		Advice:  "list the namespace in applicationsetcontroller.namespaces of argocd-cmd-params-cm",
		Origin:  originOf(p.id, "metadata.namespace"),
	}
}

type compilation struct {
	room      Room
	set       *parsed
	facts     model.Facts
	namespace string // Argo CD's
	options   config.ApplicationSets

	needs   []model.Need
	inputs  []model.Input
	implied []model.Source
	sources map[object.ID]bool
	polls   []time.Duration
}

// generators gathers what all of them have to see.
func (c *compilation) generators(settings dialect.Settings) error {
	if err := c.set.allowedIn(c.namespace, c.options, settings); err != nil {
		return err
	}
	c.ask(projectsNeed(c.namespace), clustersNeed(c.namespace))
	for i, generator := range c.set.spec.Generators {
		if err := c.generator(fmt.Sprintf("spec.generators[%d]", i), generator); err != nil {
			return err
		}
	}
	return nil
}

// installed are the findings on how the installation is set up.
func (p *parsed) installed(options config.ApplicationSets) []model.Finding {
	var out []model.Finding
	if p.spec.rolling() && !options.ProgressiveSyncs {
		out = append(out, model.Finding{Severity: model.Info, Reason: reasonDiffers, Message: "is acted on although applicationsetcontroller.enable.progressive.syncs is not set in argocd-cmd-params-cm", Origin: originOf(p.id, "spec.strategy")})
	}
	if options.DryRun {
		out = append(out, model.Finding{Severity: model.Warning, Reason: reasonDiffers, Message: "nothing is changed: applicationsetcontroller.dryrun is set in argocd-cmd-params-cm", Origin: originOf(p.id, "spec")})
	}
	return out
}

func (c *compilation) ask(needs ...model.Need) { c.needs = append(c.needs, needs...) }

// generator gathers what a generator has to see, and the sources it reads.
func (c *compilation) generator(path string, generator map[string]any) error {
	for _, kind := range kindsOf(generator) {
		at := path + "." + kind
		var err error
		switch kind {
		case "git":
			err = c.git(generator[kind])
		case "clusterDecisionResource":
			err = c.decision(generator[kind])
		case "plugin":
			err = c.plugin(generator[kind])
		case "scmProvider":
			err = c.forge(generator[kind], forgesOfSCM)
		case "pullRequest":
			err = c.forge(generator[kind], forgesOfPullRequests)
		case "matrix", "merge":
			var children combination
			if err = decode(generator[kind], &children); err != nil {
				break
			}
			for i, child := range children.Generators {
				if err := c.generator(fmt.Sprintf("%s.generators[%d]", at, i), child); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return c.set.fault(reasonInvalidSpec, at, err)
		}
	}
	return nil
}

func (c *compilation) poll(seconds *int64, otherwise time.Duration) {
	if d := pollInterval(seconds, otherwise); d > 0 {
		c.polls = append(c.polls, d)
	}
}

// pollInterval is spec.generators[].*.requeueAfterSeconds; 0 is never.
func pollInterval(seconds *int64, otherwise time.Duration) time.Duration {
	if seconds == nil {
		return otherwise
	}
	return time.Duration(max(0, min(*seconds, int64(365*24*time.Hour/time.Second)))) * time.Second
}

// git names the source of a generator. One whose address or revision comes
// from another generator is only known to Expand; what its credential takes is
// asked for here all the same.
func (c *compilation) git(body any) error {
	var g gitGenerator
	if err := decode(body, &g); err != nil {
		return err
	}
	if len(g.Directories) == 0 && len(g.Files) == 0 {
		return errors.New("names neither directories nor files")
	}
	c.poll(g.RequeueAfterSeconds, c.options.RequeueAfter)
	source, needs, err := c.room.Source(c.facts, c.namespace, g.RepoURL, g.Revision, c.set.projectForSources())
	c.ask(needs...)
	if strings.Contains(g.RepoURL+g.Revision, "{{") || len(needs) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if c.sources[source.ID] {
		return nil
	}
	c.sources[source.ID] = true
	c.implied = append(c.implied, source)
	c.inputs = append(c.inputs, inputOf(source, g.RepoURL))
	return nil
}

func inputOf(source model.Source, url string) model.Input {
	return model.Input{Source: source.ID, Render: model.Render{Kind: model.RenderExpand}, URL: withoutCredentials(url)}
}

var userInfo = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@]*:[^/@]*@`)

// withoutCredentials leaves a user's name, and takes a password.
func withoutCredentials(url string) string { return userInfo.ReplaceAllString(url, "$1") }

// noProject is a name that no project can have.
const noProject = "-"

// projectForSources is the project whose repository credentials count: none
// when it is only known after generating (generators/git.go).
func (p *parsed) projectForSources() string {
	tree, _ := p.spec.Template["spec"].(map[string]any)
	project, _ := tree["project"].(string)
	if strings.Contains(project, "{{") {
		return noProject
	}
	return cmp.Or(project, defaultProject)
}

func (c *compilation) plugin(body any) error {
	var g pluginGenerator
	if err := decode(body, &g); err != nil {
		return err
	}
	c.poll(g.RequeueAfterSeconds, defaultPollInterval)
	need := namedNeed("ConfigMap", c.namespace, g.ConfigMapRef.Name)
	c.ask(need)
	if need.Selector != "" {
		c.ask(model.Need{Version: "v1", Kind: "Secret", Namespace: c.namespace, Selector: "*"})
		return nil
	}
	if fact := c.facts[need]; fact.State == model.Present && fact.Object != nil {
		if name, _, ok := tokenReference(configMapData(fact.Object)["token"]); ok {
			c.ask(namedNeed("Secret", c.namespace, name))
		}
	}
	return nil
}

func (c *compilation) decision(body any) error {
	var g decisionGenerator
	if err := decode(body, &g); err != nil {
		return err
	}
	if strings.Contains(g.ConfigMapRef, "{{") {
		return errors.New("configMapRef cannot come from another generator: what kind of object decides must be known before")
	}
	named, selected := g.Name != "", len(g.LabelSelector.MatchLabels)+len(g.LabelSelector.MatchExpressions) > 0
	if named == selected {
		return errors.New("needs either a name or a labelSelector")
	}
	c.poll(g.RequeueAfterSeconds, c.options.RequeueAfter)
	need := namedNeed("ConfigMap", c.namespace, g.ConfigMapRef)
	c.ask(need)
	if fact := c.facts[need]; fact.State == model.Present && fact.Object != nil {
		if duck, err := duckOf(fact.Object); err == nil {
			c.ask(duck.need(c.namespace))
		}
	}
	return nil
}

// forge asks for the Secrets and ConfigMaps that a provider of a forge names.
func (c *compilation) forge(body any, forges func(any) (map[string]*forgeFields, *int64, error)) error {
	providers, requeue, err := forges(body)
	if err != nil {
		return err
	}
	c.poll(requeue, defaultPollInterval)
	for _, name := range reader.SortedKeys(providers) {
		p := providers[name]
		for _, ref := range []*secretRef{p.TokenRef, p.AccessTokenRef, p.AppPasswordRef, p.BasicAuth.password(), p.BearerToken.token()} {
			if ref != nil {
				c.ask(namedNeed("Secret", c.set.id.Namespace, ref.SecretName))
			}
		}
		if p.AppSecretName != "" {
			c.ask(namedNeed("Secret", c.namespace, p.AppSecretName))
		}
		if p.CARef != nil {
			c.ask(namedNeed("ConfigMap", c.set.id.Namespace, p.CARef.ConfigMapName))
		}
	}
	return nil
}

func (b *basicAuth) password() *secretRef {
	if b == nil {
		return nil
	}
	return b.PasswordRef
}

func (b *bearerToken) token() *secretRef {
	if b == nil {
		return nil
	}
	return b.TokenRef
}

// delivery is what the engine keeps true.
func (c *compilation) delivery() (*model.Delivery, error) {
	set := c.set
	policy := set.policy(c.options)
	d := &model.Delivery{
		ID:         set.id,
		UID:        set.uid,
		Generation: set.meta.GetGeneration(),
		Origin:     originOf(set.id, ""),
		Inputs:     c.inputs,
		Expands:    true,
		Target:     model.Target{Namespace: set.id.Namespace},
		Ownership: model.Ownership{
			FieldManager: fieldManager,
			Finalizer:    resourcesFinalizer,
			Reference:    &model.OwnerReference{APIVersion: apiVersion, Kind: kindSet, Name: set.id.Name, UID: set.uid},
		},
		Policy: model.Policy{
			RetryInterval: validationRetry,
			Prune:         policy == policySync || policy == policyCreateDelete,
			CreateOnly:    policy == policyCreateOnly || policy == policyCreateDelete,
			OnDelete:      model.DeleteObjects,
			Drift:         model.Heal,
			Ignore:        set.ignoreRules(c.options),
		},
		Claims:    claims(set.meta),
		Suspended: c.options.DryRun,
		Deleting:  set.meta.GetDeletionTimestamp() != nil,
		Finalized: slices.Contains(set.meta.GetFinalizers(), resourcesFinalizer),
		Wake:      set.meta.GetAnnotations()[RefreshAnnotation],
		Approve:   set.meta.GetAnnotations()[ApproveAnnotation],
	}
	if value, asked := set.meta.GetAnnotations()[RefreshAnnotation]; asked {
		d.Wake, d.WakeHard = cmp.Or(value, "refresh"), true
	}
	if len(c.polls) > 0 {
		d.Policy.Interval = slices.Min(c.polls)
	}
	switch {
	case !d.Policy.Prune, slices.Contains(set.meta.GetFinalizers(), metav1.FinalizerOrphanDependents): // kubectl delete --cascade=orphan
		d.Policy.OnDelete = model.OrphanObjects
	case set.spec.reverseDeletion():
		d.Policy.OnDelete = model.DeleteAndWait
		steps, err := c.deleteSteps()
		if err != nil {
			return nil, err
		}
		d.Policy.DeleteSteps = steps
	}
	return d, nil
}

// policy is what may be done to Applications: the installation's choice goes
// before the set's, unless it lets sets override it (utils.DefaultPolicy).
func (p *parsed) policy(options config.ApplicationSets) string {
	own := policySync
	if p.spec.SyncPolicy.ApplicationsSync != nil {
		own = *p.spec.SyncPolicy.ApplicationsSync
	}
	if options.Policy != "" && (!options.PolicyOverride || p.spec.SyncPolicy.ApplicationsSync == nil) {
		return options.Policy
	}
	return own
}

// claims are the Applications that the last status lists.
func claims(declared *unstructured.Unstructured) []model.Claim {
	resources, _, _ := unstructured.NestedSlice(declared.Object, "status", "resources")
	var out []model.Claim
	for _, value := range resources {
		fields, _ := value.(map[string]any)
		name, _ := fields["name"].(string)
		if name == "" {
			continue
		}
		out = append(out, model.Claim{ID: applicationID(declared.GetNamespace(), name), Version: version})
	}
	return out
}

func applicationID(namespace, name string) object.ID {
	return object.ID{Group: group, Kind: kindApp, Namespace: namespace, Name: name}
}

// ignoreRules leave fields of Applications to others: those of
// ignoreApplicationDifferences, and labels and annotations that are preserved.
func (p *parsed) ignoreRules(options config.ApplicationSets) []model.IgnoreRule {
	var rules []model.IgnoreRule
	for i, rule := range p.spec.IgnoreApplicationDifferences {
		target := &model.Selector{Group: group, Kind: kindApp}
		if rule.Name != "" {
			target.Name = regexp.QuoteMeta(rule.Name)
		}
		rules = append(rules, model.IgnoreRule{
			Paths: rule.JSONPointers, Queries: rule.JQPathExpressions, Target: target,
			Origin: originOf(p.id, fmt.Sprintf("spec.ignoreApplicationDifferences[%d]", i)),
		})
	}
	var kept []string
	for _, key := range slices.Concat(p.spec.PreservedFields.Annotations, options.PreservedAnnotations, preservedAnnotations) {
		kept = append(kept, "/metadata/annotations/"+pointerEscape(key))
	}
	for _, key := range slices.Concat(p.spec.PreservedFields.Labels, options.PreservedLabels) {
		kept = append(kept, "/metadata/labels/"+pointerEscape(key))
	}
	return append(rules, model.IgnoreRule{
		Paths:  kept,
		Target: &model.Selector{Group: group, Kind: kindApp},
		Origin: originOf(p.id, "spec.preservedFields"),
	})
}

func pointerEscape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// deleteSteps orders the Applications that there are: those of later steps go
// first (progressivesync.PerformReverseDeletion).
func (c *compilation) deleteSteps() (map[object.ID]int, error) {
	apps, err := Owned(c.set.meta, c.facts)
	if err != nil {
		return nil, c.set.fault(reasonRolloutError, "spec.strategy", err)
	}
	out := map[object.ID]int{}
	for _, app := range apps {
		if step := stepOf(c.set.spec.Strategy.RollingSync.Steps, app.GetLabels()); step > 0 {
			out[object.Of(app)] = step
		}
	}
	return out, nil
}

// Owned are the Applications that a set controls by owner reference, as the
// facts of a RollingSync have them. An error means that they are not known.
func Owned(declared *unstructured.Unstructured, facts model.Facts) ([]*unstructured.Unstructured, error) {
	all, err := list(facts, applicationsNeed(declared.GetNamespace()))
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, app := range all {
		if need, owned := OwnerNeed(app); owned && need.Name == declared.GetName() {
			out = append(out, app)
		}
	}
	return out, nil
}

// fault is an error of a generator or template, with the most precise place.
func (p *parsed) fault(reason, path string, err error) *model.Fault {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault
	}
	var at *placed
	message := path + ": " + err.Error()
	if errors.As(err, &at) {
		path, message = at.path, err.Error()
	}
	return &model.Fault{Reason: reason, Message: message, Origin: originOf(p.id, path), Retry: reason != reasonInvalidSpec}
}
