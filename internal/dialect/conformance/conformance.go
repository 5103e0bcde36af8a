// Package conformance is the suite that every dialect must pass: what the
// engine counts on and no type can say. A dialect's own test calls Run with
// sample objects of its kinds.
package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Suite is what a dialect brings to be judged.
type Suite struct {
	Dialect dialect.Dialect
	Samples []Sample
	// Canary stands in every secret value of the facts; it must come out
	// nowhere but in values of type model.Secret.
	Canary string
	// Installation is the namespace of the settings of the whole installation,
	// for dialects that have such; "": objects are compiled of their own
	// namespace alone.
	Installation string
}

// Sample is one declared object with the answers to its needs. A need that has
// no answer is absent.
type Sample struct {
	Name     string
	Declared *unstructured.Unstructured
	Facts    model.Facts
	Settings dialect.Settings
	// Elsewhere are namespaces that the object or the settings send the dialect
	// to, besides the object's own.
	Elsewhere []string
}

// maxRounds is how often a dialect may ask for more before it must be content.
const maxRounds = 10

// Run judges the dialect.
func Run(t *testing.T, s Suite) {
	if len(s.Samples) == 0 {
		t.Fatal("there are no samples")
	}
	t.Run("kinds", func(t *testing.T) { s.kinds(t) })
	t.Run("every handled kind has a sample that compiles", func(t *testing.T) { s.covered(t) })
	t.Run("controllers", func(t *testing.T) { s.controllers(t) })
	for _, sample := range s.Samples {
		t.Run(sample.Name, func(t *testing.T) { s.sample(t, sample) })
	}
	t.Run("objects of nobody", func(t *testing.T) { s.strangers(t) })
}

func (s Suite) kinds(t *testing.T) {
	if s.Dialect.Name() == "" {
		t.Error("the dialect has no name")
	}
	kinds := s.Dialect.Kinds()
	if !reflect.DeepEqual(kinds, s.Dialect.Kinds()) {
		t.Error("the kinds are in another order each time")
	}
	seen := map[schema.GroupKind]bool{}
	for _, kind := range kinds {
		if seen[kind.GroupKind] {
			t.Errorf("%s is there twice", kind.GroupKind)
		}
		seen[kind.GroupKind] = true
		if kind.Plural == "" || len(kind.Versions) == 0 {
			t.Errorf("%s has no plural or no version", kind.GroupKind)
		}
		if !slices.IsSortedFunc(kind.Versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) }) {
			t.Errorf("%s: versions %v are not newest first", kind.GroupKind, kind.Versions)
		}
	}
}

func (s Suite) covered(t *testing.T) {
	compiled := map[schema.GroupKind]bool{}
	for _, sample := range s.Samples {
		if _, _, err := s.settle(t, sample, nil); err == nil {
			compiled[object.Of(sample.Declared).GroupKind()] = true
		}
	}
	for _, kind := range s.Dialect.Kinds() {
		if kind.Handled && !compiled[kind.GroupKind] {
			t.Errorf("no sample of %s compiles", kind.GroupKind)
		}
		if !kind.Handled && compiled[kind.GroupKind] {
			t.Errorf("%s is not handled, yet it compiles", kind.GroupKind)
		}
	}
}

func (s Suite) controllers(t *testing.T) {
	known := map[schema.GroupKind]bool{}
	for _, kind := range s.Dialect.Kinds() {
		known[kind.GroupKind] = true
	}
	for _, controller := range s.Dialect.Controllers(dialect.Settings{}) {
		if controller.Deployment.Name == "" || controller.Deployment.Namespace == "" {
			t.Errorf("%+v does not say where it runs", controller)
		}
		for _, kind := range controller.Kinds {
			if _, ok := known[kind]; !ok {
				t.Errorf("%s acts on %s, which is none of the dialect's kinds", controller.Deployment, kind)
			}
			known[kind] = false
		}
	}
	for kind, missing := range known {
		if missing {
			t.Errorf("no controller acts on %s", kind)
		}
	}
}

// settle answers needs until none is open. state, when given, answers all of
// them alike.
func (s Suite) settle(t *testing.T, sample Sample, state *model.Fact) (dialect.Intent, []model.Finding, error) {
	t.Helper()
	facts := model.Facts{}
	for range maxRounds {
		intent, needs, findings, err := s.Dialect.Compile(sample.Declared, facts, sample.Settings)
		if len(needs) == 0 {
			return intent, findings, err
		}
		for _, need := range needs {
			if _, asked := facts[need]; asked {
				t.Fatalf("%s is asked for again after it was answered", need)
			}
			if !slices.Contains(s.readable(sample), need.Namespace) {
				t.Errorf("%s is asked for outside of the object's namespace and that of the installation", need)
			}
			fact, ok := sample.Facts[need]
			switch {
			case state != nil:
				fact = *state
			case !ok:
				fact = model.Fact{State: model.Absent}
			}
			facts[need] = fact
		}
	}
	t.Fatalf("needs are still open after %d rounds", maxRounds)
	return dialect.Intent{}, nil, nil
}

// readable are the namespaces that an object's compilation may look into.
func (s Suite) readable(sample Sample) []string {
	return append([]string{sample.Declared.GetNamespace(), s.Installation}, sample.Elsewhere...)
}

func (s Suite) sample(t *testing.T, sample Sample) {
	before := sample.Declared.DeepCopy()
	intent, findings, err := s.settle(t, sample, nil)
	again, findingsAgain, errAgain := s.settle(t, sample, nil)
	if !reflect.DeepEqual(intent, again) || !reflect.DeepEqual(findings, findingsAgain) || !reflect.DeepEqual(err, errAgain) {
		t.Error("the same object compiles to something else the second time")
	}
	s.judgeFindings(t, sample, findings)
	s.secretive(t, "compile", intent, findings, err)

	for _, state := range []model.FactState{model.Absent, model.Forbidden, model.Failed} {
		_, _, err := s.settle(t, sample, &model.Fact{State: state, Message: "the message of the server"})
		if err != nil {
			s.judgeFault(t, sample, faultOf(t, err))
		}
	}
	if err != nil {
		fault := faultOf(t, err)
		s.judgeFault(t, sample, fault)
		s.refusal(t, sample, fault, findings)
	}
	if intent.Delivery != nil {
		s.judgeDelivery(t, sample, intent.Delivery)
		s.deliveryReports(t, sample, intent.Delivery, findings)
	}
	if intent.Source != nil {
		s.judgeSource(t, sample, intent.Source)
		if silent(intent.Source) {
			s.silence(t, sample, intent.Source)
		} else {
			s.sourceReports(t, sample, intent.Source, findings)
		}
	}
	if !reflect.DeepEqual(before.Object, sample.Declared.Object) {
		t.Error("the declared object was changed")
	}
}

var camelCase = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)

func (s Suite) judgeFindings(t *testing.T, sample Sample, findings []model.Finding) {
	t.Helper()
	for _, f := range findings {
		if f.Severity == "" || !camelCase.MatchString(f.Reason) || f.Message == "" {
			t.Errorf("finding %+v has no severity, reason or message", f)
		}
		if f.Origin.Declared != object.Of(sample.Declared) || f.Origin.Field == "" || f.Origin.Dialect != s.Dialect.Name() {
			t.Errorf("finding %q does not say where: %+v", f.Message, f.Origin)
		}
	}
}

func faultOf(t *testing.T, err error) *model.Fault {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("%v is no fault", err)
	}
	return fault
}

func (s Suite) judgeFault(t *testing.T, sample Sample, fault *model.Fault) {
	t.Helper()
	if !camelCase.MatchString(fault.Reason) || fault.Message == "" {
		t.Errorf("fault %+v has no reason or message", fault)
	}
	if fault.Origin.Declared != object.Of(sample.Declared) || fault.Origin.Dialect != s.Dialect.Name() {
		t.Errorf("fault %q does not say where: %+v", fault.Message, fault.Origin)
	}
}

func (s Suite) judgeDelivery(t *testing.T, sample Sample, d *model.Delivery) {
	t.Helper()
	if d.ID != object.Of(sample.Declared) || d.Generation != sample.Declared.GetGeneration() {
		t.Errorf("the delivery is not the object's: %v at %d", d.ID, d.Generation)
	}
	if d.Ownership.FieldManager == "" || len(d.Ownership.Labels) == 0 && d.Ownership.Tracking.Annotation == "" && d.Ownership.Reference == nil {
		t.Error("what is applied would not be marked")
	}
	if d.Policy.Interval <= 0 || d.Policy.RetryInterval <= 0 || d.Policy.Timeout <= 0 {
		t.Errorf("timings are missing: %+v", d.Policy)
	}
	if d.Policy.Drift == "" || d.Policy.OnDelete == "" {
		t.Errorf("policies are missing: %+v", d.Policy)
	}
}

func (s Suite) judgeSource(t *testing.T, sample Sample, source *model.Source) {
	t.Helper()
	if source.ID != object.Of(sample.Declared) || source.Interval <= 0 || source.Timeout <= 0 {
		t.Errorf("the source is not the object's, or has no timings: %+v", source)
	}
}

// secretive looks for the canary in everything that can be printed.
func (s Suite) secretive(t *testing.T, what string, values ...any) {
	t.Helper()
	if s.Canary == "" {
		return
	}
	for _, value := range values {
		for _, text := range []string{fmt.Sprintf("%v", value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value), deep(value)} {
			if strings.Contains(text, s.Canary) {
				t.Errorf("%s tells a secret", what)
			}
		}
	}
}

// deep joins every text that a value holds, behind pointers too, but for those
// of model.Secret.
func deep(value any) string {
	var texts []string
	walk(reflect.ValueOf(value), &texts)
	return strings.Join(texts, "\n")
}

func walk(value reflect.Value, texts *[]string) {
	if !value.IsValid() || value.Type() == reflect.TypeFor[model.Secret]() {
		return
	}
	switch value.Kind() {
	case reflect.String:
		*texts = append(*texts, value.String())
	case reflect.Pointer, reflect.Interface:
		walk(value.Elem(), texts)
	case reflect.Struct:
		for i := range value.NumField() {
			walk(value.Field(i), texts)
		}
	case reflect.Slice, reflect.Array:
		if value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8 {
			*texts = append(*texts, string(value.Bytes()))
			return
		}
		for i := range value.Len() {
			walk(value.Index(i), texts)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			walk(key, texts)
			walk(value.MapIndex(key), texts)
		}
	}
}

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
)

// sourceOf is the first source that a delivery reads; none when it reads none.
func sourceOf(d *model.Delivery) object.ID {
	if len(d.Inputs) == 0 {
		return object.ID{}
	}
	return d.Inputs[0].Source
}

// deliveryReports walks through the life of a delivery.
func (s Suite) deliveryReports(t *testing.T, sample Sample, d *model.Delivery, findings []model.Finding) {
	owned := []model.Claim{{ID: object.ID{Kind: "ConfigMap", Namespace: "x", Name: "a"}, Version: "v1"}}
	base := model.Report{Delivery: d.ID, Generation: d.Generation, At: noon, Started: noon.Add(-time.Second), Source: sourceOf(d), Revision: "main@sha1:1", Digest: "sha256:1", Findings: findings}
	with := func(change func(*model.Report)) *model.Report {
		report := base
		change(&report)
		return &report
	}
	steps := []struct {
		name   string
		report *model.Report
		ready  bool
	}{
		{name: "running", report: with(func(r *model.Report) { r.Phase, r.Running = model.PhaseApply, true })},
		{name: "done", ready: true, report: with(func(r *model.Report) {
			r.Phase, r.Applied, r.Inventory = model.PhaseDone, r.Revision, owned
			synced(d, r)
			r.Objects = []model.Outcome{{Object: owned[0].ID, Verb: model.Create}}
		})},
		{name: "done again", ready: true, report: with(func(r *model.Report) {
			r.Phase, r.Applied, r.Inventory, r.At, r.Started = model.PhaseDone, r.Revision, owned, later, later
			synced(d, r)
		})},
		{name: "failed", report: with(func(r *model.Report) {
			r.Phase, r.At, r.Fault = model.PhaseRender, later, &model.Fault{Reason: "BuildFailed", Message: "no such file"}
		})},
		{name: "waiting", report: with(func(r *model.Report) {
			r.Phase, r.At, r.Fault = model.PhaseResolve, later, &model.Fault{Reason: "DependencyNotReady", Message: "another one is not ready", Waiting: true}
		})},
		{name: "held", report: with(func(r *model.Report) {
			r.Phase, r.At, r.Inventory = model.PhaseDone, later, owned
			r.Hold = &model.Hold{Token: "approve-me", Deletes: []object.ID{owned[0].ID}, Total: 1}
		})},
		{name: "recovered", ready: true, report: with(func(r *model.Report) {
			r.Phase, r.Applied, r.Inventory, r.At = model.PhaseDone, r.Revision, []model.Claim{}, later
			synced(d, r)
		})},
	}
	live := sample.Declared.DeepCopy()
	for _, step := range steps {
		edits := s.project(t, step.name, live, func(previous *unstructured.Unstructured) model.Edits { return s.Dialect.Project(step.report, previous) })
		if step.name == "done again" && (!same(edits, live) || len(edits.Events) > 0) {
			t.Errorf("a run that found everything as it was writes: %v %v", edits.Status, edits.Events)
		}
		if step.report.Hold != nil && !strings.Contains(deep(edits.Status), step.report.Hold.Token) {
			t.Error("a held plan does not say how it is approved")
		}
		live = after(live, edits)
		// a staged delivery that goes, or was asked to do something, is not ready whatever the report says
		busy := d.Sync.Staged && (d.Deleting || d.Operation != nil)
		if got := s.Dialect.Ready(live); got != (step.ready && !busy) {
			t.Errorf("%s: ready is %t", step.name, got)
		}
		if !step.report.Running { // a run that has only begun may keep what the last one told
			s.tellsFindings(t, step.name, live, findings)
		}
	}
	gone := s.Dialect.Project(with(func(r *model.Report) { r.Phase, r.Deleted = model.PhaseDelete, true }), live)
	if gone.Finalizer != "" && gone.Finalize {
		t.Error("a deleted object keeps its finalizer")
	}
}

// synced adds the account of a staged delivery, or of a Helm release: everything
// is as it is wanted.
func synced(d *model.Delivery, r *model.Report) {
	if d.Release != nil {
		released := &model.Verdict{OK: true, Reason: "InstallSucceeded", Message: "Helm install succeeded"}
		r.Release = &model.ReleaseReport{
			StoredIn:  d.Release.StorageNamespace,
			History:   []model.ReleaseSnapshot{{Digest: "sha256:1", Name: d.Release.Name, Namespace: d.Release.Namespace, Version: 1, Status: "deployed", FirstDeployed: noon, LastDeployed: noon}},
			Attempted: model.ReleaseAttempt{Action: "install", Revision: "1.0.0", Generation: r.Generation},
			Released:  released, Ready: released,
		}
	}
	if !d.Sync.Staged {
		return
	}
	r.Compared, r.Sync = true, model.Synced
	for range d.Inputs {
		r.Inputs = append(r.Inputs, model.InputReport{Revision: "1", Kind: string(model.RenderDirectory)})
	}
	for _, claim := range r.Inventory {
		r.Resources = append(r.Resources, model.Resource{ID: claim.ID, Version: claim.Version, Sync: model.Synced, Health: &model.Health{State: model.Current}})
	}
}

// silent reports whether upstream writes nothing on the object of a source:
// somebody else tells of it, or it has no state.
func silent(source *model.Source) bool {
	return source.External != nil || source.Index != nil && source.Index.OCI
}

// silence asks that reports leave such an object alone, but for findings, and
// that it loses a finalizer that it should not have.
func (s Suite) silence(t *testing.T, sample Sample, source *model.Source) {
	t.Helper()
	for _, report := range []*model.SourceReport{
		{Source: source.ID, Generation: source.Generation, At: noon, Running: true},
		{Source: source.ID, Generation: source.Generation, At: noon, Artifact: &model.Artifact{Revision: "1", Digest: "sha256:1"}},
		{Source: source.ID, Generation: source.Generation, At: noon, Fault: &model.Fault{Reason: "Failed", Message: "no route to host"}},
	} {
		edits := s.project(t, "silent", sample.Declared, func(previous *unstructured.Unstructured) model.Edits {
			return s.Dialect.ProjectSource(report, previous)
		})
		if edits.Finalize || len(edits.Status) > 0 || len(edits.Events) > 0 {
			t.Errorf("an object that is not ours to tell of is written: %v %v", edits.Status, edits.Events)
		}
	}
}

func (s Suite) sourceReports(t *testing.T, sample Sample, source *model.Source, findings []model.Finding) {
	artifact := &model.Artifact{Revision: "main@sha1:1", Digest: "sha256:1", Path: "p", URL: "http://x/p", Size: 1, Updated: noon}
	base := model.SourceReport{Source: source.ID, Generation: source.Generation, At: noon, Findings: findings}
	with := func(change func(*model.SourceReport)) *model.SourceReport {
		report := base
		change(&report)
		return &report
	}
	steps := []struct {
		name   string
		report *model.SourceReport
		ready  bool
	}{
		{name: "running", report: with(func(r *model.SourceReport) { r.Running = true })},
		{name: "done", ready: true, report: with(func(r *model.SourceReport) { r.Artifact = artifact })},
		{name: "done again", ready: true, report: with(func(r *model.SourceReport) { r.Artifact, r.At = artifact, later })},
		{name: "failed", report: with(func(r *model.SourceReport) {
			r.Artifact, r.At, r.Fault = artifact, later, &model.Fault{Reason: "GitOperationFailed", Message: "no route to host", Retry: true}
		})},
		{name: "recovered", ready: true, report: with(func(r *model.SourceReport) { r.Artifact, r.At = artifact, later })},
	}
	live := sample.Declared.DeepCopy()
	for _, step := range steps {
		edits := s.project(t, step.name, live, func(previous *unstructured.Unstructured) model.Edits {
			return s.Dialect.ProjectSource(step.report, previous)
		})
		if step.name == "done again" && (!same(edits, live) || len(edits.Events) > 0) {
			t.Errorf("a look that found nothing new writes: %v %v", edits.Status, edits.Events)
		}
		if step.name == "failed" && !strings.Contains(deep(edits.Status), artifact.Digest) {
			t.Error("a failure loses the last good artifact")
		}
		live = after(live, edits)
		if got := s.Dialect.Ready(live); got != step.ready {
			t.Errorf("%s: ready is %t", step.name, got)
		}
		s.tellsFindings(t, step.name, live, findings)
	}
	gone := s.Dialect.ProjectSource(with(func(r *model.SourceReport) { r.Deleted = true }), live)
	if gone.Finalizer != "" && gone.Finalize {
		t.Error("a deleted object keeps its finalizer")
	}
}

// tellsFindings asks for the path of every finding on the object.
func (s Suite) tellsFindings(t *testing.T, step string, live *unstructured.Unstructured, findings []model.Finding) {
	t.Helper()
	status := deep(live.Object["status"])
	for _, f := range findings {
		if !strings.Contains(status, f.Origin.Field) {
			t.Errorf("%s: the status does not tell of %s", step, f.Origin.Field)
		}
	}
}

func (s Suite) refusal(t *testing.T, sample Sample, fault *model.Fault, findings []model.Finding) {
	stamped := *fault
	stamped.At = noon
	live := sample.Declared.DeepCopy()
	edits := s.project(t, "refused", live, func(previous *unstructured.Unstructured) model.Edits {
		return s.Dialect.Refuse(&stamped, findings, previous)
	})
	if edits.Status == nil && len(edits.Events) == 0 && edits.Finalizer == "" {
		t.Error("a refused object is ignored in silence")
	}
	if s.Dialect.Ready(after(live, edits)) {
		t.Error("a refused object is ready")
	}
	s.secretive(t, "refusal", edits)
}

// project judges one projection: pure, and no news the second time.
func (s Suite) project(t *testing.T, name string, live *unstructured.Unstructured, project func(*unstructured.Unstructured) model.Edits) model.Edits {
	t.Helper()
	before := live.DeepCopy()
	edits := project(live)
	if !reflect.DeepEqual(before.Object, live.Object) {
		t.Errorf("%s: the object was changed", name)
	}
	if _, err := json.Marshal(edits.Status); err != nil {
		t.Errorf("%s: the status cannot be written: %v", name, err)
	}
	if edits.Status == nil {
		return edits
	}
	next := after(live, edits)
	again := project(next)
	if !same(again, next) || len(again.Events) > 0 {
		t.Errorf("%s: the same report twice is news: %v %v", name, again.Status, again.Events)
	}
	for _, event := range edits.Events {
		if event.Type != "Normal" && event.Type != "Warning" || !camelCase.MatchString(event.Reason) || event.Message == "" || len(event.Message) > 1024 {
			t.Errorf("%s: the API server would refuse event %+v", name, event)
		}
	}
	return edits
}

// same reports whether the edits leave the status as it is.
func same(edits model.Edits, live *unstructured.Unstructured) bool {
	return edits.Status == nil || reflect.DeepEqual(edits.Status, live.Object["status"])
}

func after(live *unstructured.Unstructured, edits model.Edits) *unstructured.Unstructured {
	next := live.DeepCopy()
	if edits.Status != nil {
		next.Object["status"] = edits.Status
	}
	return next.DeepCopy() // panics on a value that is no JSON
}

func (s Suite) strangers(t *testing.T) {
	for _, o := range []*unstructured.Unstructured{
		{Object: map[string]any{}},
		{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x", "namespace": "y"}}},
	} {
		intent, needs, _, err := s.Dialect.Compile(o, nil, dialect.Settings{})
		if err == nil || intent.Source != nil || intent.Delivery != nil || len(needs) > 0 {
			t.Errorf("an object of nobody's kind compiles: %v", o.Object)
		}
		if s.Dialect.Replaces(o) {
			t.Errorf("%v is taken for a part of upstream's installation", o.Object)
		}
		if s.Dialect.Ready(o) {
			t.Errorf("%v is ready", o.Object)
		}
	}
}
