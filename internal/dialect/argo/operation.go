package argo

import (
	"reflect"
	"time"

	"plumb.dev/plumb/internal/dialect/argo/status"
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
	running := state.at("phase").str() == phaseRunning || state.at("phase").str() == phaseTerminating
	switch {
	case running && asked != nil && !reflect.DeepEqual(asked, state.at("operation").fields()):
		return c.operation(spec, asked, nil), nil // another request than the one that runs
	case running:
		fields := asked
		if fields == nil {
			fields = state.at("operation").fields()
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
	return (&reader{id: c.r.id}).root(path, value)
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
	r := &reader{id: c.r.id}
	root := r.root("operation", fields)
	sync := root.at("sync")
	initiator := root.at("initiatedBy")
	out := &model.Operation{
		ID:        status.OperationID(c.declared),
		By:        initiator.at("username").str(),
		Automated: initiator.at("automated").bool(),
		Revisions: revisions(sync),
		Prune:     sync.at("prune").bool(),
		DryRun:    sync.at("dryRun").bool(),
		Objects:   objectFilters(sync.at("resources")),
	}
	out.NoHooks, out.Force = strategy(sync.at("syncStrategy"))
	if options := sync.at("syncOptions"); options.present() {
		read := syncOptions(options)
		policy := spec.at("syncPolicy").at("managedNamespaceMetadata")
		read.NamespaceLabels, read.NamespaceNotes = policy.at("labels").stringMap(), policy.at("annotations").stringMap()
		c.migration(&read)
		out.Options = &read
	}
	if retry := root.at("retry"); retry.present() {
		out.Retry = readRetry(retry)
	}
	switch {
	case !sync.present():
		root.refuse("Invalid operation request: no operation specified", "set operation.sync")
	case len(sync.at("manifests").items()) > 0:
		root.refuse("a sync of local manifests is taken by the API server only, which comes later", "commit the manifests, or render them with plumb build")
	default:
		c.operationInputs(r, spec, sync, out, pinned)
	}
	out.Refused = r.first()
	for _, finding := range r.findings {
		c.note(finding)
	}
	return out
}

func (n node) refuse(message, advice string) {
	n.r.fail(&model.Fault{Reason: reasonOperation, Message: message, Advice: advice}, n.path)
}

// operationInputs is where the operation renders from, where that is not what
// the spec says: sources of its own (a rollback), or other revisions. An
// automated one follows the spec.
func (c *compilation) operationInputs(r *reader, spec, sync node, op *model.Operation, pinned []string) {
	if op.Automated || c.settled {
		return
	}
	own := declaredSources(sync)
	sources := own
	if len(own) == 0 {
		sources = declaredSources(node{r: r, path: spec.path, value: spec.value})
	}
	asked := pinned
	if len(asked) == 0 && (len(sources) == 1 || sync.at("revisions").present()) {
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
	if many := sync.at("revisions").strings(); len(many) > 0 {
		return many
	}
	if one := sync.at("revision").str(); one != "" {
		return []string{one}
	}
	return nil
}

// strategy reads syncStrategy: apply leaves hooks out, and goes before hook.
func strategy(field node) (noHooks, force bool) {
	if apply := field.at("apply"); apply.present() {
		return true, apply.at("force").bool()
	}
	return false, field.at("hook").at("force").bool()
}

func objectFilters(list node) []model.ObjectFilter {
	var out []model.ObjectFilter
	for _, item := range list.items() {
		filter := model.ObjectFilter{
			Group:     item.at("group").str(),
			Kind:      item.at("kind").str(),
			Namespace: item.at("namespace").str(),
			Name:      item.at("name").str(),
		}
		if filter.Kind == "" || filter.Name == "" {
			item.invalid("names no object: kind and name are required")
		}
		out = append(out, filter)
	}
	return out
}

// resumed is an operation that was under way. It goes on with the commits it
// began with.
func (c *compilation) resumed(spec node, fields map[string]any, state node) *model.Operation {
	result := state.at("syncResult")
	out := c.operation(spec, fields, revisions(result))
	out.Started = timeOf(state.at("startedAt"))
	out.Terminate = state.at("phase").str() == phaseTerminating
	out.Retries = int(state.at("retryCount").integer(0))
	out.Results = results(result.at("resources"))
	switch {
	case out.Automated:
		out.ID = ""
	case out.ID == "": // somebody took the field away: the state alone tells of it
		out.ID = "resumed " + state.at("startedAt").str()
	}
	return out
}

// finished is the last operation that ended, nil when the status tells of none.
func (c *compilation) finished(spec node, state node) *model.OperationReport {
	phase := model.OperationPhase(state.at("phase").str())
	if !phase.Completed() {
		return nil
	}
	result := state.at("syncResult")
	quiet := &compilation{r: &reader{id: c.r.id}, declared: c.declared, settled: true}
	op := quiet.operation(quiet.r.root("spec", spec.value), state.at("operation").fields(), nil)
	op.Refused = nil
	return &model.OperationReport{
		Operation: *op,
		Phase:     phase,
		Message:   state.at("message").str(),
		Started:   timeOf(state.at("startedAt")),
		Finished:  timeOf(state.at("finishedAt")),
		Revisions: revisions(result),
		Results:   results(result.at("resources")),
		Retries:   int(state.at("retryCount").integer(0)),
	}
}

func results(list node) []model.SyncResult {
	var out []model.SyncResult
	for _, item := range list.items() {
		if len(out) == maxResults {
			break
		}
		result := model.SyncResult{
			Object:    object.ID{Group: item.at("group").str(), Kind: item.at("kind").str(), Namespace: item.at("namespace").str(), Name: item.at("name").str()},
			Version:   item.at("version").str(),
			Code:      model.ResultCode(item.at("status").str()),
			Message:   item.at("message").str(),
			Hook:      model.SyncPhase(item.at("hookType").str()),
			HookPhase: model.OperationPhase(item.at("hookPhase").str()),
			Phase:     model.SyncPhase(item.at("syncPhase").str()),
			Images:    item.at("images").strings(),
		}
		if result.Object.Kind != "" && result.Object.Name != "" {
			out = append(out, result)
		}
	}
	return out
}

// timeOf is zero for what is no time.
func timeOf(field node) time.Time {
	at, err := time.Parse(time.RFC3339, field.str())
	if err != nil {
		return time.Time{}
	}
	return at
}
