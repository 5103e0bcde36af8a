package argo

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// compilation is one Application on its way to a delivery.
type compilation struct {
	declared  *unstructured.Unstructured
	facts     model.Facts
	choices   dialect.Settings
	namespace string // of the installation
	instance  string // how the Application is called on its objects

	r        *reader.Reader
	settings config.Settings
	project  *project.Project
	place    project.Place
	cluster  registered
	target   model.Target
	implied  []model.Source
	// decryption of everything that is rendered; nil: none is asked for.
	decryption *model.Decryption
	homeless   bool // the destination does not exist
	settled    bool // only the account of something past is read: no source is looked up
}

// installation is the namespace of Argo CD's own objects.
func installation(settings dialect.Settings) string {
	if settings.ArgoNamespace != "" {
		return settings.ArgoNamespace
	}
	return defaultNamespace
}

// compileApplication makes a delivery of an Application. A suspended one is a
// delivery whatever else it says: upstream looks at none of it. A deleted one
// is a delivery whatever it wants to read; who may not write somewhere may not
// delete there either, so its project must be known.
func compileApplication(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings) (dialect.Intent, []model.Need, []model.Finding, error) {
	c := &compilation{
		declared: declared, facts: facts, choices: settings,
		namespace: installation(settings),
		r:         newReader(object.Of(declared)),
	}
	spec := c.r.Root("spec", declared.Object["spec"])
	if open := c.open(spec); len(open) > 0 {
		return dialect.Intent{}, open, nil, nil
	}
	c.surroundings()
	delivery := c.frame()
	bound := c.bounds(spec)
	if len(c.r.Faults) == 0 {
		c.ask(spec, delivery)
	}
	delivery.Ownership = c.ownership(delivery)
	if bound {
		c.write(delivery)
	}
	c.remarks()

	intent := dialect.Intent{Delivery: delivery, Implied: distinct(c.implied)}
	fault := c.r.First()
	switch {
	case fault == nil:
	case delivery.Suspended && !delivery.Deleting:
	case delivery.Deleting && c.homeless && c.project != nil:
		delivery.Policy.OnDelete = model.OrphanObjects // the cluster is gone, and what was on it
	case delivery.Deleting && bound:
	default:
		return dialect.Intent{}, nil, c.r.Findings, fault
	}
	return intent, nil, c.r.Findings, nil
}

// open lists what has to be seen first: the installation's settings and
// Secrets, the project, and the set that made the Application.
func (c *compilation) open(spec node) []model.Need {
	needs := append(repository.Needs(c.namespace), repository.Secrets(c.namespace, "cluster"), c.projectNeed(spec))
	if owner, ok := appset.OwnerNeed(c.declared); ok {
		needs = append(needs, owner)
	}
	if keys, ok := c.keysNeed(); ok {
		needs = append(needs, keys)
	}
	open := unanswered(needs, c.facts)
	if len(open) > 0 {
		return open
	}
	read, _, err := project.FromFact(c.projectNeed(spec), c.facts[c.projectNeed(spec)])
	if err != nil {
		return nil
	}
	c.settings, _ = config.Read(c.facts, c.namespace)
	return unanswered(c.globalNeeds(read), c.facts)
}

func unanswered(needs []model.Need, facts model.Facts) []model.Need {
	var open []model.Need
	for _, need := range needs {
		if _, known := facts[need]; !known && !slices.Contains(open, need) {
			open = append(open, need)
		}
	}
	return open
}

func (c *compilation) projectNeed(spec node) model.Need {
	fields, _ := spec.Value.(map[string]any)
	name, _ := fields["project"].(string)
	return project.Need(c.namespace, name)
}

func (c *compilation) globalNeeds(p *project.Project) []model.Need {
	var out []model.Need
	for _, name := range p.Globals(c.settings.GlobalProjects) {
		out = append(out, project.Need(c.namespace, name))
	}
	return out
}

// frame is what the object says of itself, whatever it asks for.
func (c *compilation) frame() *model.Delivery {
	annotations := c.declared.GetAnnotations()
	d := &model.Delivery{
		ID:         c.r.ID,
		UID:        string(c.declared.GetUID()),
		Generation: c.declared.GetGeneration(),
		Origin:     c.r.Origin(""),
		Claims:     claims(c.declared),
		Suspended:  annotations[AnnotationSkipReconcile] == "true",
		Deleting:   c.declared.GetDeletionTimestamp() != nil,
		Approve:    annotations[status.AnnotationApprove],
		Confirmed:  confirmed(c.declared),
	}
	d.Wake, d.WakeHard = status.Wake(c.declared)
	if at := c.declared.GetDeletionTimestamp(); at != nil {
		d.DeletedAt = at.Time
	}
	d.Applied = applied(c.declared)
	d.Policy = model.Policy{
		Interval: repository.Interval(c.settings),
		Timeout:  noTimeout,
		OnDelete: model.OrphanObjects,
		Cascade:  cascade(c.declared.GetFinalizers()),
		Drift:    model.Note,
	}
	d.Policy.RetryInterval = min(d.Policy.Interval, longestRetry)
	d.Sync.Staged = true
	if c.settings.SyncTimeout > 0 {
		d.Policy.Timeout = c.settings.SyncTimeout
	}
	for _, finalizer := range c.declared.GetFinalizers() {
		switch {
		case finalizer == status.FinalizerResources || finalizer == status.FinalizerForeground || finalizer == status.FinalizerBackground:
			d.Finalized = true
			d.Policy.OnDelete = model.DeleteAndWait
		case strings.HasPrefix(finalizer, status.FinalizerPreDelete), strings.HasPrefix(finalizer, status.FinalizerPostDelete):
			d.Finalized = true
		}
	}
	return d
}

// applied is the revision of the last sync in the history, which holds those
// that succeeded; several sources have one each, separated by commas.
func applied(o *unstructured.Unstructured) string {
	history, _ := nested(o.Object, "status", "history").([]any)
	if len(history) == 0 {
		return ""
	}
	last, _ := history[len(history)-1].(map[string]any)
	many, _ := last["revisions"].([]any)
	var out []string
	for _, item := range many {
		if revision, ok := item.(string); ok {
			out = append(out, revision)
		}
	}
	if len(out) == 0 {
		revision, _ := last["revision"].(string)
		return revision
	}
	return strings.Join(out, ",")
}

// confirmed reports whether a person confirmed deletions since the operation
// or the deletion that waits for it began (Application IsDeletionConfirmed).
func confirmed(o *unstructured.Unstructured) bool {
	at, err := time.Parse(time.RFC3339, o.GetAnnotations()[annotationApproved])
	if err != nil {
		return false
	}
	since := time.Time{}
	if deleted := o.GetDeletionTimestamp(); deleted != nil {
		since = deleted.Time
	} else if text, ok := nested(o.Object, "status", "operationState", "startedAt").(string); ok {
		if started, err := time.Parse(time.RFC3339, text); err == nil {
			since = started
		}
	}
	return !at.Before(since)
}

// surroundings reads the settings.
func (c *compilation) surroundings() {
	var findings []model.Finding
	c.settings, findings = config.Read(c.facts, c.namespace)
	c.instance = c.r.ID.Name
	if c.r.ID.Namespace != c.namespace {
		c.instance = c.r.ID.Namespace + "_" + c.r.ID.Name
	}
	c.r.Fail(config.Unavailable(c.facts, c.namespace), "spec")
	for _, finding := range findings { // others are told where the settings are
		if finding.Reason == config.ReasonInvalid {
			finding.Origin = c.r.Origin(finding.Origin.Declared.Name + ": " + finding.Origin.Field)
			c.note(finding)
		}
	}
}

// bounds finds the project and the destination, and judges one by the other;
// false when it is not known what the Application may do.
func (c *compilation) bounds(spec node) bool {
	spec.At("project").Str()
	if !c.mayLiveHere() {
		return false
	}
	read, _, err := project.FromFact(c.projectNeed(spec), c.facts[c.projectNeed(spec)])
	if err != nil {
		c.r.Fail(asFault(err), "spec.project")
		return false
	}
	var globals []*project.Project
	for _, need := range c.globalNeeds(read) {
		global, _, err := project.FromFact(need, c.facts[need])
		if err != nil && c.facts[need].State != model.Absent {
			c.r.Fail(asFault(err), "spec.project")
			return false
		}
		if err == nil {
			globals = append(globals, global)
		}
	}
	c.project = read.With(c.scoped(read.Name), globals...)
	if fault := c.project.CheckNamespace(c.r.ID.Name, c.r.ID.Namespace); fault != nil {
		c.r.Fail(fault, "spec.project")
		return false
	}
	before := len(c.r.Faults)
	c.destination(spec.At("destination"))
	if len(c.r.Faults) > before {
		return false
	}
	c.r.Fail(c.project.CheckDestination(c.place), "spec.destination")
	return true
}

// mayLiveHere reports whether Applications of this namespace are looked at:
// upstream ignores others in silence.
func (c *compilation) mayLiveHere() bool {
	allowed := slices.Concat(c.choices.ApplicationNamespaces, c.settings.ApplicationNamespaces)
	if c.r.ID.Namespace == c.namespace || config.Listed(allowed, c.r.ID.Namespace) {
		return true
	}
	c.r.Fail(&model.Fault{
		Reason:  reasonInvalidSpec,
		Message: "Applications in namespace " + c.r.ID.Namespace + " are not looked at",
		Advice:  "create it in namespace " + c.namespace + ", or add the namespace to application.namespaces in ConfigMap " + c.namespace + "/" + config.ParamsName,
	}, "metadata.namespace")
	return false
}

// ask reads what the Application wants.
func (c *compilation) ask(spec node, d *model.Delivery) {
	sources := declaredSources(spec)
	if len(sources) == 0 {
		spec.At("source").Invalid("spec.source.repoURL and either spec.source.path or spec.source.chart are required")
		return
	}
	c.decryption = c.keys()
	inputs, fetched := c.inputs(sources, nil)
	d.Inputs = inputs
	c.implied = append(c.implied, fetched...)

	var auto automated
	d.Sync, auto = c.syncPolicy(spec)
	d.Policy.Prune = auto.prune
	if auto.selfHeal {
		d.Policy.Drift = model.Heal
	}
	d.Policy.Force = d.Sync.Options.Force
	d.Policy.Ignore = c.ignoreRules(spec.At("ignoreDifferences"), d.Sync.Options.LeaveIgnored)
	if !d.Deleting && !d.Suspended && len(c.r.Faults) == 0 {
		d.Operation, d.Finished = c.operations(spec)
		c.turn(d)
	}
}

// turn lets an Application of a progressive set sync by itself when the set says
// that it is its turn, and only then: such a set generates it without automated
// syncs. A set that cannot be read allows nothing.
func (c *compilation) turn(d *model.Delivery) {
	need, ok := appset.OwnerNeed(c.declared)
	if !ok {
		return
	}
	fact := c.facts[need]
	var allowed bool
	var why string
	switch fact.State {
	case model.Present:
		if !appset.Rolling(fact.Object) {
			return
		}
		allowed, why = appset.Turn(fact.Object, c.r.ID.Name)
	case model.Absent:
		return
	default:
		why = need.String() + " cannot be read, so that it is not known whose turn it is: " + reader.Clip(fact.Message, 300)
	}
	d.Sync.Manual = !allowed
	if !allowed {
		c.r.Find(model.Info, reasonTurn, "metadata.ownerReferences", "%s", why)
	}
}

// write is where and as whom the delivery writes, and how it compares.
func (c *compilation) write(d *model.Delivery) {
	d.Target = c.target
	d.Permit = c.permit()
	d.Policy.Compare = c.settings.Compare
	d.Policy.HealthRules = c.settings.Health
	d.Policy.Kinds = c.kinds()
	if c.settings.Impersonation {
		identity, fault := c.project.Identity(c.place, c.r.ID.Namespace, c.settings.ImpersonationEnforced)
		c.r.Fail(fault, "spec.destination")
		d.Identity = identity
	}
}

const (
	longestRetry = time.Minute
	noTimeout    = 365 * 24 * time.Hour // upstream sets no bound to a sync
)

// cascade is how objects go with the Application: in the foreground, unless
// the finalizer says otherwise (Application GetPropagationPolicy).
func cascade(finalizers []string) string {
	if slices.Contains(finalizers, status.FinalizerBackground) && !slices.Contains(finalizers, status.FinalizerForeground) && !slices.Contains(finalizers, status.FinalizerResources) {
		return "background"
	}
	return "foreground"
}

// ownership marks objects as upstream does (util/argo resource_tracking.go).
func (c *compilation) ownership(d *model.Delivery) model.Ownership {
	out := model.Ownership{FieldManager: fieldManager, TakeOver: []string{"kubectl-client-side-apply"}}
	if manager := d.Sync.Options.MigrateManager; manager != "" {
		out.TakeOver = append(out.TakeOver, manager)
	}
	if d.Sync.Options.NoMigration {
		out.TakeOver = nil
	}
	if c.settings.Tracking.Annotated() {
		out.Tracking = model.Tracking{Annotation: annotationTracking, Owner: c.instance}
		if c.settings.InstallationID != "" {
			out.Tracking.InstallationAnnotation, out.Tracking.InstallationID = annotationInstallation, c.settings.InstallationID
		}
	}
	if c.settings.Tracking.Labelled() {
		value := c.instance
		if c.settings.Tracking == config.TrackByAnnotationAndLabel && len(value) > maxInstanceLabel {
			value = strings.TrimRight(value[:maxInstanceLabel], "-_.")
		}
		out.Labels = map[string]string{c.settings.InstanceLabelKey: value}
	}
	return out
}

// ignoreRules are the Application's own, and those of the installation.
// Groups and kinds are globs; an empty group is the core group.
func (c *compilation) ignoreRules(list node, respected bool) []model.IgnoreRule {
	out := slices.Clone(c.settings.Ignore)
	for _, item := range list.Items() {
		rule := model.IgnoreRule{
			Paths:    item.At("jsonPointers").Strings(),
			Queries:  item.At("jqPathExpressions").Strings(),
			Managers: item.At("managedFieldsManagers").Strings(),
			Target:   &model.Selector{Group: config.Pattern(item.At("group").Str()), Kind: config.Pattern(item.At("kind").Str())},
			Origin:   c.r.Origin(item.Path),
		}
		if name := item.At("name").Str(); name != "" {
			rule.Target.Name = regexp.QuoteMeta(name)
		}
		if namespace := item.At("namespace").Str(); namespace != "" {
			rule.Target.Namespace = regexp.QuoteMeta(namespace)
		}
		if item.At("kind").Str() == "" {
			item.At("kind").Invalid("names no kind")
		}
		out = append(out, rule)
	}
	for i := range out {
		out[i].CompareOnly = !respected
	}
	return out
}

// claims reads status.resources: what the last report said the Application
// owns. Hooks are no part of it, and neither is what was not there.
func claims(declared *unstructured.Unstructured) []model.Claim {
	list, _ := nested(declared.Object, "status", "resources").([]any)
	var out []model.Claim
	for _, item := range list {
		fields, _ := item.(map[string]any)
		text := func(name string) string { s, _ := fields[name].(string); return s }
		id := object.ID{Group: text("group"), Kind: text("kind"), Namespace: text("namespace"), Name: text("name")}
		hook, _ := fields["hook"].(bool)
		missing := nested(fields, "health", "status") == "Missing"
		if id.Kind == "" || id.Name == "" || hook || missing {
			continue
		}
		out = append(out, model.Claim{ID: id, Version: text("version")})
	}
	return out
}

// note adds a finding once.
func (c *compilation) note(finding model.Finding) {
	if !slices.Contains(c.r.Findings, finding) {
		c.r.Findings = append(c.r.Findings, finding)
	}
}

// distinct keeps the first source of each identity.
func distinct(sources []model.Source) []model.Source {
	seen := map[object.ID]bool{}
	var out []model.Source
	for _, source := range sources {
		if !seen[source.ID] {
			seen[source.ID] = true
			out = append(out, source)
		}
	}
	return out
}

// remarks tells what is not acted on.
func (c *compilation) remarks() {
	annotations := c.declared.GetAnnotations()
	told := map[string]string{
		annotationGeneratePaths: "every render records what it read: a commit renders exactly the Applications that it concerns, without this annotation",
		annotationHydrate:       "the source hydrator is not handled: the branch is delivered as it is",
		annotationManagedBy:     "links of the web interface come with the API server",
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if annotations[name] != "" {
			c.r.Find(model.Info, reasonDiffers, "metadata.annotations["+name+"]", "%s", told[name])
		}
	}
	for _, finding := range unhandledFields(c.declared) {
		c.note(finding)
	}
}
