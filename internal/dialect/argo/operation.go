package argo

import (
	"reflect"
	"time"

	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Phases of status.operationState.
const (
	phaseRunning     = string(model.OperationRunning)
	phaseTerminating = string(model.OperationTerminating)
)

const maxResults = 20000

// operations reads what was asked for and what was under way: the field
// operation, which stays until its operation has ended, and
// status.operationState (appcontroller.go, processRequestedAppOperation). A
// state without the field is taken up again too: the field may be lost, work
// may not be left half done.
func (c *compilation) operations(spec node) (*model.Operation, *model.OperationReport) {
	asked, _ := c.declared.Object["operation"].(map[string]any)
	state := c.quiet("status.operationState", nested(c.declared.Object, "status", "operationState"))
	running := state.At("phase").Str() == phaseRunning || state.At("phase").Str() == phaseTerminating
	switch {
	case running && asked != nil && !reflect.DeepEqual(asked, state.At("operation").Fields()):
		return c.operation(spec, asked, nil), nil // another request than the one that runs
	case running:
		fields := asked
		if fields == nil {
			fields = state.At("operation").Fields()
		}
		return c.resumed(spec, fields, state), nil
	case asked != nil:
		return c.operation(spec, asked, nil), c.finished(spec, state)
	}
	return nil, c.finished(spec, state)
}

// quiet reads what Plumb or upstream wrote: what is wrong with it stops
// nothing.
func (c *compilation) quiet(path string, value any) node {
	if _, ok := value.(map[string]any); !ok {
		value = nil
	}
	return newReader(c.r.ID).Root(path, value)
}

func nested(fields map[string]any, path ...string) any {
	var value any = fields
	for _, name := range path {
		inner, _ := value.(map[string]any)
		value = inner[name]
	}
	return value
}

// operation reads an operation. What cannot be carried out makes it Refused,
// and leaves the rest of the Application as it is. pinned are revisions that
// are kept instead of those that it asks for.
func (c *compilation) operation(spec node, fields map[string]any, pinned []string) *model.Operation {
	r := newReader(c.r.ID)
	root := r.Root("operation", fields)
	sync := root.At("sync")
	initiator := root.At("initiatedBy")
	out := &model.Operation{
		ID:        status.OperationID(c.declared),
		By:        initiator.At("username").Str(),
		Automated: initiator.At("automated").Bool(),
		Revisions: revisions(sync),
		Prune:     sync.At("prune").Bool(),
		DryRun:    sync.At("dryRun").Bool(),
		Objects:   objectFilters(sync.At("resources")),
	}
	out.NoHooks, out.Force = strategy(sync.At("syncStrategy"))
	if options := sync.At("syncOptions"); options.Present() {
		read := syncOptions(options)
		policy := spec.At("syncPolicy").At("managedNamespaceMetadata")
		read.NamespaceLabels, read.NamespaceNotes = policy.At("labels").StringMap(), policy.At("annotations").StringMap()
		c.migration(&read)
		out.Options = &read
	}
	if retry := root.At("retry"); retry.Present() {
		out.Retry = readRetry(retry)
	}
	switch {
	case !sync.Present():
		refuseOperation(root, "Invalid operation request: no operation specified", "set operation.sync")
	case len(sync.At("manifests").Items()) > 0:
		refuseOperation(root, "what is delivered comes from a source: local manifests are not taken", "commit the manifests, or render them with plumb build")
	default:
		c.operationInputs(r, spec, sync, out, pinned)
	}
	out.Refused = r.First()
	for _, finding := range r.Findings {
		c.note(finding)
	}
	return out
}

func refuseOperation(n node, message, advice string) {
	n.R.Fail(&model.Fault{Reason: reasonOperation, Message: message, Advice: advice}, n.Path)
}

// operationInputs is where the operation renders from, where that is not what
// the spec says: sources of its own (a rollback), or other revisions. An
// automated one follows the spec.
func (c *compilation) operationInputs(r *reader.Reader, spec, sync node, op *model.Operation, pinned []string) {
	if op.Automated || c.settled {
		return
	}
	own := declaredSources(sync)
	sources := own
	if len(own) == 0 {
		sources = declaredSources(r.Root(spec.Path, spec.Value))
	}
	asked := pinned
	if len(asked) == 0 && (len(sources) == 1 || sync.At("revisions").Present()) {
		asked = op.Revisions // several sources go by revisions alone
	}
	if len(own) == 0 && len(asked) == 0 {
		return
	}
	inputs, fetched := c.inputs(sources, asked)
	op.Inputs = inputs
	c.implied = append(c.implied, fetched...)
}

// revisions are sync.revisions, or sync.revision alone.
func revisions(sync node) []string {
	if many := sync.At("revisions").Strings(); len(many) > 0 {
		return many
	}
	if one := sync.At("revision").Str(); one != "" {
		return []string{one}
	}
	return nil
}

// strategy reads syncStrategy: apply leaves hooks out, and goes before hook.
func strategy(field node) (noHooks, force bool) {
	if apply := field.At("apply"); apply.Present() {
		return true, apply.At("force").Bool()
	}
	return false, field.At("hook").At("force").Bool()
}

func objectFilters(list node) []model.ObjectFilter {
	var out []model.ObjectFilter
	for _, item := range list.Items() {
		filter := model.ObjectFilter{
			Group:     item.At("group").Str(),
			Kind:      item.At("kind").Str(),
			Namespace: item.At("namespace").Str(),
			Name:      item.At("name").Str(),
		}
		if filter.Kind == "" || filter.Name == "" {
			item.Invalid("names no object: kind and name are required")
		}
		out = append(out, filter)
	}
	return out
}

// resumed is an operation that was under way. It goes on with the commits it
// began with.
func (c *compilation) resumed(spec node, fields map[string]any, state node) *model.Operation {
	result := state.At("syncResult")
	out := c.operation(spec, fields, revisions(result))
	out.Started = timeOf(state.At("startedAt"))
	out.Terminate = state.At("phase").Str() == phaseTerminating
	out.Retries = int(state.At("retryCount").Int(0))
	out.Results = results(result.At("resources"))
	switch {
	case out.Automated:
		out.ID = ""
	case out.ID == "": // somebody took the field away: the state alone tells of it
		out.ID = "resumed " + state.At("startedAt").Str()
	}
	return out
}

// finished is the last operation that ended, nil when the status tells of none.
func (c *compilation) finished(spec node, state node) *model.OperationReport {
	phase := model.OperationPhase(state.At("phase").Str())
	if !phase.Completed() {
		return nil
	}
	result := state.At("syncResult")
	quiet := &compilation{r: newReader(c.r.ID), declared: c.declared, settled: true}
	op := quiet.operation(quiet.r.Root("spec", spec.Value), state.At("operation").Fields(), nil)
	op.Refused = nil
	return &model.OperationReport{
		Operation: *op,
		Phase:     phase,
		Message:   state.At("message").Str(),
		Started:   timeOf(state.At("startedAt")),
		Finished:  timeOf(state.At("finishedAt")),
		Revisions: revisions(result),
		Results:   results(result.At("resources")),
		Retries:   int(state.At("retryCount").Int(0)),
	}
}

func results(list node) []model.SyncResult {
	var out []model.SyncResult
	for _, item := range list.Items() {
		if len(out) == maxResults {
			break
		}
		result := model.SyncResult{
			Object:    object.ID{Group: item.At("group").Str(), Kind: item.At("kind").Str(), Namespace: item.At("namespace").Str(), Name: item.At("name").Str()},
			Version:   item.At("version").Str(),
			Code:      model.ResultCode(item.At("status").Str()),
			Message:   item.At("message").Str(),
			Hook:      model.SyncPhase(item.At("hookType").Str()),
			HookPhase: model.OperationPhase(item.At("hookPhase").Str()),
			Phase:     model.SyncPhase(item.At("syncPhase").Str()),
			Images:    item.At("images").Strings(),
		}
		if result.Object.Kind != "" && result.Object.Name != "" {
			out = append(out, result)
		}
	}
	return out
}

// timeOf is zero for what is no time.
func timeOf(field node) time.Time {
	at, err := time.Parse(time.RFC3339, field.Str())
	if err != nil {
		return time.Time{}
	}
	return at
}
