package appset

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plumb.dev/plumb/internal/dialect/reader"
)

// RollState is where an Application stands in a RollingSync
// (ProgressiveSyncStatusCode).
type RollState string

// The states, in the order in which an Application passes them.
const (
	Waiting     RollState = "Waiting"     // has changes, and it is not its turn
	Pending     RollState = "Pending"     // it is its turn, and nothing has happened yet
	Progressing RollState = "Progressing" // a sync was begun
	Healthy     RollState = "Healthy"     // synced and healthy
)

// AppStatus is an entry of status.applicationStatus: all that a RollingSync
// remembers, so that a restart changes nothing.
type AppStatus struct {
	Application        string
	State              RollState
	Message            string
	Step               int // from 1; -1: no step selects it
	TargetRevisions    []string
	LastTransitionTime time.Time // seconds count
}

// AppState is what is known of one Application of a set.
type AppState struct {
	Name   string
	Labels map[string]string
	// Exists: the Application is on the cluster. One that is wanted and not
	// there yet keeps its step from being complete.
	Exists       bool
	Revisions    []string  // it was last compared with
	Sources      []string  // what each of Revisions is a revision of: repository, chart and what is asked of it
	Sync         string    // status.sync.status
	Health       string    // status.health.status
	ReconciledAt time.Time // zero when unknown
	Started      time.Time // of the last operation; zero when there was none
	Failed       bool      // it has an error that keeps it from being synced
	// Stale: its state was found for another spec than the one it has now.
	Stale bool
	// Elsewhere: its last operation synced other sources than it has now.
	Elsewhere bool
	// Paused: nobody compares it, and nobody waits for that.
	Paused bool
}

// Rollout is the outcome of one look at all Applications of a set.
type Rollout struct {
	Statuses []AppStatus // by name
	Step     int         // that is being rolled out, from 1; 0: all are complete
	Problem  string      // what is wrong with the steps; ""
}

// Roll moves a RollingSync on (progressivesync, PerformProgressiveSyncs):
//
//	Waiting ──its step's turn, and maxUpdate allows──▶ Pending
//	Pending ──an operation began──▶ Progressing ──synced and healthy──▶ Healthy
//	any     ──another revision, another spec, or out of sync──▶ Waiting
//
// A step's turn comes when every Application of the steps before is Healthy.
// It is a function of its arguments: previous is the last result as persisted.
// No Application begins while one of an earlier step has yet to be compared
// with the revision that it would sync: a commit is not seen by all at once.
//
// Some rules go beyond upstream, which would wait for ever there: a Pending
// Application that is in sync needs no operation; a Healthy one that is out of
// sync waits for its turn again, and so does a Progressing one whose operation
// synced what is no longer asked for.
func Roll(steps []Step, apps []AppState, previous []AppStatus, now time.Time) Rollout {
	r := roll{steps: steps, now: now.UTC().Truncate(time.Second)}
	apps = slices.Clone(apps)
	slices.SortFunc(apps, func(a, b AppState) int { return cmp.Compare(a.Name, b.Name) })
	for _, app := range apps {
		step, problem := placeOf(steps, app.Labels)
		r.note(problem, app.Name)
		if !app.Exists {
			r.missing = append(r.missing, step)
			continue
		}
		last := slices.IndexFunc(previous, func(s AppStatus) bool { return s.Application == app.Name })
		status := AppStatus{
			Application: app.Name, State: Waiting, TargetRevisions: app.Revisions, LastTransitionTime: r.now,
			Message: "the Application is new to the rollout and waits for its turn",
		}
		if last >= 0 {
			status = previous[last]
		}
		status.Step = step
		r.observe(&status, app)
		r.statuses = append(r.statuses, status)
		r.apps = append(r.apps, app)
	}
	r.promote()
	return Rollout{Statuses: r.statuses, Step: r.current(), Problem: r.problem()}
}

type roll struct {
	steps    []Step
	now      time.Time
	statuses []AppStatus
	apps     []AppState // of statuses
	missing  []int      // steps of Applications that are not there yet

	operators  map[int]string   // steps with an operator that does not exist
	duplicates map[string][]int // Applications that several steps select
	maxUpdates map[int]string   // steps whose maxUpdate is no number
}

func (r *roll) to(status *AppStatus, state RollState, message string) {
	status.State, status.Message, status.LastTransitionTime = state, message, r.now
}

// observe moves one Application by what it is doing.
func (r *roll) observe(status *AppStatus, app AppState) {
	otherRevisions := !slices.Equal(status.TargetRevisions, app.Revisions)
	otherSpec := app.Stale && status.State != Waiting
	outOfSync := app.Sync == "OutOfSync" && (status.State == Healthy || status.State == Progressing && app.Elsewhere)
	if otherRevisions || otherSpec || outOfSync {
		status.TargetRevisions = app.Revisions
		switch {
		case otherRevisions:
			r.to(status, Waiting, "the Application has another revision to sync and waits for its turn")
		case otherSpec:
			r.to(status, Waiting, "the Application has another spec and waits for its turn")
		default:
			r.to(status, Waiting, "the Application is out of sync and waits for its turn")
		}
	}
	inSync := app.Sync == "Synced" && !app.Stale
	switch status.State {
	case Waiting, Pending:
		switch {
		case inSync && app.Health == "Healthy":
			r.to(status, Healthy, "the Application is synced and healthy")
		case inSync:
			r.to(status, Progressing, "the Application is synced and not healthy yet")
		case status.State == Pending && app.Started.After(status.LastTransitionTime) && !app.Elsewhere:
			r.to(status, Progressing, "a sync of the Application has begun")
		case status.State == Pending && app.Failed && app.ReconciledAt.After(status.LastTransitionTime):
			r.to(status, Progressing, "the Application has an error and cannot be synced")
		}
	case Progressing:
		if inSync && app.Health == "Healthy" {
			r.to(status, Healthy, "the Application has become healthy")
		}
	}
}

// promote lets Applications of the steps whose turn it is begin, as many at
// once as maxUpdate allows. What is compared with an old spec is not ready.
func (r *roll) promote() {
	reached := r.current()
	if reached == 0 {
		reached = len(r.steps)
	}
	moving, total := make([]int, len(r.steps)+1), make([]int, len(r.steps)+1)
	heads := r.heads()
	for _, status := range r.statuses {
		if status.Step < 1 {
			continue
		}
		total[status.Step]++
		if status.State == Pending || status.State == Progressing {
			moving[status.Step]++
		}
	}
	for i := range r.statuses {
		status := &r.statuses[i]
		if status.Step < 1 {
			continue
		}
		limit := r.limit(status.Step, total[status.Step])
		if status.State != Waiting || status.Step > reached || moving[status.Step] >= limit || r.apps[i].Stale && !r.apps[i].Failed || ahead(r.apps[i], status.Step, heads) {
			continue
		}
		r.to(status, Pending, "it is the Application's turn: its sync is about to begin")
		moving[status.Step]++
	}
}

// heads are, for each source, the first step of each revision of it that
// Applications were compared with.
func (r *roll) heads() map[string]map[string]int {
	heads := map[string]map[string]int{}
	for i, app := range r.apps {
		step := r.statuses[i].Step
		if step < 1 || app.Paused {
			continue
		}
		for n, source := range app.Sources[:min(len(app.Sources), len(app.Revisions))] {
			if heads[source] == nil {
				heads[source] = map[string]int{}
			}
			if first, ok := heads[source][app.Revisions[n]]; !ok || step < first {
				heads[source][app.Revisions[n]] = step
			}
		}
	}
	return heads
}

// ahead reports whether an Application was compared with another revision of a
// source than one of an earlier step.
func ahead(app AppState, step int, heads map[string]map[string]int) bool {
	for n, source := range app.Sources[:min(len(app.Sources), len(app.Revisions))] {
		for revision, first := range heads[source] {
			if revision != app.Revisions[n] && first < step {
				return true
			}
		}
	}
	return false
}

// limit is maxUpdate of a step: percentages round down, but to no less than
// one; without it there is none.
func (r *roll) limit(step, total int) int {
	declared := r.steps[step-1].MaxUpdate
	if declared == nil {
		return total
	}
	limit, err := intstr.GetScaledValueFromIntOrPercent(declared, total, false)
	if err != nil {
		if r.maxUpdates == nil {
			r.maxUpdates = map[int]string{}
		}
		r.maxUpdates[step] = reader.Clip(declared.String(), 40)
	}
	if declared.Type == intstr.String && declared.StrVal != "0%" {
		limit = max(limit, 1)
	}
	return limit
}

// current is the first step that is not complete, or 0.
func (r *roll) current() int {
	first := 0
	consider := func(step int) {
		if step > 0 && (first == 0 || step < first) {
			first = step
		}
	}
	for _, step := range r.missing {
		consider(step)
	}
	for _, status := range r.statuses {
		if status.State != Healthy {
			consider(status.Step)
		}
	}
	return first
}

// stepOf is the first step that selects labels, from 1; -1: none does.
func stepOf(steps []Step, labels map[string]string) int {
	step, _ := placeOf(steps, labels)
	return step
}

// problemOf is what is wrong with the steps that look at an Application.
type problemOf struct {
	selected []int          // all steps that select it
	operator map[int]string // steps with an operator that does not exist
}

func placeOf(steps []Step, labels map[string]string) (int, problemOf) {
	problem := problemOf{}
	for i, step := range steps {
		selected := true
		for _, expression := range step.MatchExpressions {
			value, has := labels[expression.Key]
			listed := has && slices.Contains(expression.Values, value)
			switch expression.Operator {
			case "In":
				selected = selected && listed
			case "NotIn":
				selected = selected && !listed
			default:
				selected = false
				if problem.operator == nil {
					problem.operator = map[int]string{}
				}
				problem.operator[i+1] = reader.Clip(expression.Operator, 40)
			}
		}
		if selected {
			problem.selected = append(problem.selected, i+1)
		}
	}
	if len(problem.selected) == 0 {
		return -1, problem
	}
	return problem.selected[0], problem
}

func (r *roll) note(problem problemOf, app string) {
	for step, operator := range problem.operator {
		if r.operators == nil {
			r.operators = map[int]string{}
		}
		r.operators[step] = operator
	}
	if len(problem.selected) > 1 {
		if r.duplicates == nil {
			r.duplicates = map[string][]int{}
		}
		r.duplicates[app] = problem.selected
	}
}

// problem tells the worst thing that is wrong with the steps, in upstream's
// order (ValidationIssues).
func (r *roll) problem() string {
	switch {
	case len(r.operators) > 0:
		step := slices.Min(sortedInts(r.operators))
		return fmt.Sprintf("step %d has the operator %q: only In and NotIn exist", step, r.operators[step])
	case len(r.duplicates) > 0:
		names := reader.SortedKeys(r.duplicates)
		return fmt.Sprintf("Application %s is selected by steps %s (%d such Applications)", names[0], joinInts(r.duplicates[names[0]]), len(names))
	case len(r.maxUpdates) > 0:
		step := slices.Min(sortedInts(r.maxUpdates))
		return fmt.Sprintf("maxUpdate %q of step %d is neither a number nor a percentage: one Application moves at a time", r.maxUpdates[step], step)
	}
	var idle []int
	for step := 1; step <= len(r.steps); step++ {
		if !slices.Contains(r.missing, step) && !slices.ContainsFunc(r.statuses, func(s AppStatus) bool { return s.Step == step }) {
			idle = append(idle, step)
		}
	}
	if len(idle) > 0 {
		return fmt.Sprintf("no Application is selected by steps %s", joinInts(idle))
	}
	return ""
}

func sortedInts[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func joinInts(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}

// Turn reports whether an Application of a set may be synced automatically now.
// Without a RollingSync it always may; with one its entry in
// status.applicationStatus must be Pending. why is for people, "" when allowed.
func Turn(set *unstructured.Unstructured, application string) (allowed bool, why string) {
	if !Rolling(set) {
		return true, ""
	}
	for _, status := range readStatuses(set) {
		if status.Application != application {
			continue
		}
		switch {
		case status.State == Pending:
			return true, ""
		case status.Step < 1:
			return false, fmt.Sprintf("no step of the RollingSync of ApplicationSet %s selects it: sync it by hand", set.GetName())
		case status.State == Waiting:
			return false, fmt.Sprintf("the RollingSync of ApplicationSet %s has it wait for its turn in step %d", set.GetName(), status.Step)
		case status.State == Progressing:
			return false, fmt.Sprintf("the RollingSync of ApplicationSet %s has begun its sync", set.GetName())
		}
		return false, fmt.Sprintf("the RollingSync of ApplicationSet %s has completed it", set.GetName())
	}
	return false, fmt.Sprintf("the RollingSync of ApplicationSet %s does not know it yet", set.GetName())
}

// Rolling reports whether the Applications of a set move in steps.
func Rolling(set *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(set.Object, "spec", "strategy", "type")
	steps, _, _ := unstructured.NestedSlice(set.Object, "spec", "strategy", "rollingSync", "steps")
	return kind == "RollingSync" && len(steps) > 0
}

// readStatuses reads status.applicationStatus.
func readStatuses(set *unstructured.Unstructured) []AppStatus {
	entries, _, _ := unstructured.NestedSlice(set.Object, "status", "applicationStatus")
	var out []AppStatus
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		text := func(name string) string { s, _ := fields[name].(string); return s }
		status := AppStatus{Application: text("application"), State: RollState(text("status")), Message: text("message"), Step: -1}
		if step, err := strconv.Atoi(text("step")); err == nil {
			status.Step = step
		}
		if when, err := time.Parse(time.RFC3339, text("lastTransitionTime")); err == nil {
			status.LastTransitionTime = when
		}
		revisions, _ := fields["targetRevisions"].([]any)
		for _, revision := range revisions {
			if s, ok := revision.(string); ok {
				status.TargetRevisions = append(status.TargetRevisions, s)
			}
		}
		out = append(out, status)
	}
	return out
}

func writeStatuses(statuses []AppStatus) []any {
	out := make([]any, len(statuses))
	for i, s := range statuses {
		revisions := make([]any, len(s.TargetRevisions))
		for j, revision := range s.TargetRevisions {
			revisions[j] = revision
		}
		out[i] = map[string]any{
			"application": s.Application, "status": string(s.State), "message": s.Message,
			"step": strconv.Itoa(s.Step), "targetRevisions": revisions,
			"lastTransitionTime": s.LastTransitionTime.UTC().Format(time.RFC3339),
		}
	}
	return out
}

// StateOf reads the state of an Application on the cluster.
func StateOf(app *unstructured.Unstructured) AppState {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(app.Object, append([]string{"status"}, path...)...)
		return s
	}
	when := func(path ...string) time.Time {
		t, _ := time.Parse(time.RFC3339, text(path...))
		return t
	}
	state := AppState{
		Name: app.GetName(), Labels: app.GetLabels(), Exists: true,
		Sync: text("sync", "status"), Health: text("health", "status"),
		ReconciledAt: when("reconciledAt"), Started: when("operationState", "startedAt"),
		Stale: stale(app), Elsewhere: elsewhere(app), Sources: sourcesOf(app),
		Paused: app.GetAnnotations()[skipAnnotation] == "true",
	}
	if several, _, _ := unstructured.NestedStringSlice(app.Object, "status", "sync", "revisions"); len(several) > 0 {
		state.Revisions = several
	} else if one := text("sync", "revision"); one != "" {
		state.Revisions = []string{one}
	}
	conditions, _, _ := unstructured.NestedSlice(app.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if kind := fields["type"]; kind == "InvalidSpecError" || kind == "UnknownError" {
			state.Failed = true
		}
	}
	return state
}

// sourcesOf names the sources of an Application, but for the part that each
// reads of it.
func sourcesOf(app *unstructured.Unstructured) []string {
	spec, _, _ := unstructured.NestedMap(app.Object, "spec")
	sources, _ := spec["sources"].([]any)
	if len(sources) == 0 {
		sources = []any{spec["source"]}
	}
	var out []string
	for _, source := range sources {
		fields, _ := source.(map[string]any)
		out = append(out, fmt.Sprintf("%v %v %v", fields["repoURL"], fields["chart"], fields["targetRevision"]))
	}
	return out
}

// stale reports whether the comparison in the status was made for other
// sources or another destination than the spec has now.
func stale(app *unstructured.Unstructured) bool {
	compared, found, _ := unstructured.NestedMap(app.Object, "status", "sync", "comparedTo")
	if !found || len(compared) == 0 {
		return false
	}
	return differs(app, compared, "destination")
}

// elsewhere reports whether the last operation synced other sources than the
// spec has now.
func elsewhere(app *unstructured.Unstructured) bool {
	result, _, _ := unstructured.NestedMap(app.Object, "status", "operationState", "syncResult")
	if result["source"] == nil && result["sources"] == nil {
		return false
	}
	return differs(app, result)
}

// differs compares the sources of the spec, and fields besides, with what a
// part of the status has of the same names.
func differs(app *unstructured.Unstructured, told map[string]any, fields ...string) bool {
	spec, _, _ := unstructured.NestedMap(app.Object, "spec")
	if spec["sourceHydrator"] != nil { // what is synced is not what the spec names
		return false
	}
	sources := "source"
	if spec["sources"] != nil {
		sources = "sources"
	}
	for _, name := range append(fields, sources) {
		if !reflect.DeepEqual(solid(spec[name]), solid(told[name])) {
			return true
		}
	}
	return false
}

// solid is a tree without anything empty; nil when nothing is left.
func solid(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			if item = solid(item); item != nil {
				out[key] = item
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = solid(item)
		}
		return out
	}
	if empty(value) {
		return nil
	}
	return value
}
