package api

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// detail fills in what is known of a delivery besides its row.
func (s *Server) detail(ctx context.Context, w *World, out *plumbv1.GetDeliveryResponse, k *engine.Known) {
	fault := k.Fault
	if k.Report != nil {
		if k.Report.Fault != nil {
			fault = k.Report.Fault
		}
		out.LastRun, out.Urls = rows.At(k.Report.At), webLinks(k.Report.ExternalURLs)
		for i := range k.Report.Findings {
			out.Findings = append(out.Findings, rows.Finding(&k.Report.Findings[i]))
		}
		if k.Report.Hold != nil {
			row := proto.CloneOf(out.Delivery)
			row.Hold = rows.Hold(k.Report.Hold, 0)
			out.Delivery = row
		}
	}
	out.Windows, out.Orphans = windowsOf(k.Delivery.Sync.Windows, time.Now()), orphansOf(k.Report)
	out.Fault = rows.Fault(fault)
	out.Images = k.Images
	out.Quarantined = k.Delivery.Sync.Quarantined
	out.Identity, out.NamespaceOfIdentity = k.Delivery.Identity.ServiceAccount, k.Delivery.Identity.Namespace
	out.Sources = sourceStates(w, k)
	caller := callerOf(ctx)
	for _, on := range k.Delivery.DependsOn {
		out.DependsOn = append(out.DependsOn, s.related(ctx, caller, on.On, slices.Contains(k.Waits, on.On)))
	}
	for _, id := range k.Dependants {
		if caller.May(ctx, policy.Get, s.target(rows.Ref(id, ""))).Allowed { // others need not know that they exist
			out.Dependants = append(out.Dependants, s.related(ctx, caller, id, false))
		}
	}
	for i := range k.Objects {
		o := &k.Objects[i]
		out.Resources = append(out.Resources, resourceOf(o))
		if s.kinds[o.ID.GroupKind()].delivery {
			out.Children = append(out.Children, s.related(ctx, caller, o.ID, false))
		}
	}
	out.Parameters = append(s.given(ctx, w, caller, k.Delivery.ID), parameters(&k.Delivery, out.GetManifest())...)
	if w.Engine.Sealed(k.Delivery.ID) {
		for _, p := range out.Parameters {
			p.Value = object.Mask
		}
	}
	if k.Operation != nil {
		out.Operation = operationOf(k.Operation)
	}
}

// windowsOf says what sync windows come to at a moment; nil where there are none.
func windowsOf(windows []model.Window, now time.Time) *plumbv1.SyncWindows {
	if len(windows) == 0 {
		return nil
	}
	verdict := gate.Windows(windows, now)
	out := &plumbv1.SyncWindows{Automatic: verdict.Automatic, Manual: verdict.Manual, Why: verdict.Why, Next: rows.At(verdict.Next)}
	for _, w := range windows {
		out.Windows = append(out.Windows, &plumbv1.SyncWindow{
			Deny: w.Deny, Schedule: w.Schedule, Duration: w.Duration.String(), TimeZone: w.TimeZone, Manual: w.Manual, Description: w.Description,
		})
	}
	return out
}

// blockedNow says that sync windows let nobody sync at a moment, and what becomes
// of who tries; "" where they do.
func blockedNow(windows []model.Window, now time.Time) string {
	verdict := gate.Windows(windows, now)
	if verdict.Manual {
		return ""
	}
	return "a sync window blocks it now, and it waits until it may begin: " + verdict.Why
}

// orphansOf are the objects beside those of a delivery that nobody owns.
func orphansOf(report *model.Report) []*plumbv1.ObjectRef {
	if report == nil {
		return nil
	}
	var out []*plumbv1.ObjectRef
	for _, id := range report.Orphans {
		out = append(out, rows.Ref(id, ""))
	}
	return out
}

// webLinks are the links that a browser may follow: what an annotation says is
// no reason to run it as a script.
func webLinks(links []string) []string {
	return slices.DeleteFunc(slices.Clone(links), func(link string) bool {
		u, err := url.Parse(link)
		return err != nil || u.Scheme != "http" && u.Scheme != "https"
	})
}

// related is another delivery; how it is doing is told to those who may see it.
func (s *Server) related(ctx context.Context, caller *access.Caller, id object.ID, blocks bool) *plumbv1.Related {
	out := &plumbv1.Related{Ref: rows.Ref(id, ""), Blocks: blocks}
	if row, ok := s.deliveries.Get(id); ok && caller.May(ctx, policy.Get, s.target(out.Ref)).Allowed {
		out.Health, out.Sync = row.GetHealth(), row.GetSync()
	}
	return out
}

// resourceOf is one object of a delivery.
func resourceOf(o *engine.KnownObject) *plumbv1.Resource {
	r := &plumbv1.Resource{
		Object: rows.Ref(o.ID, o.Version), Sync: string(o.Sync), Health: rows.HealthOf(o.Health), Prune: !o.Wanted,
		Wave: int32(o.Stage.Wave), File: o.Origin.File, Line: int32(o.Origin.Line), Drift: o.Drift,
	}
	var phases []string
	for _, phase := range o.Stage.Hooks {
		phases = append(phases, string(phase))
	}
	r.Hook = strings.Join(phases, ",")
	return r
}

// sourceStates are the sources of a delivery, in order.
func sourceStates(w *World, k *engine.Known) []*plumbv1.SourceState {
	var out []*plumbv1.SourceState
	for i := range k.Delivery.Inputs {
		in := &k.Delivery.Inputs[i]
		state := &plumbv1.SourceState{Source: rows.Input(in)}
		known, ok := w.Engine.KnownSource(in.Source)
		switch {
		case !ok:
			state.Health = &plumbv1.Health{State: rows.Missing, Message: "it is not declared"}
		case known.Fault != nil:
			state.Fault, state.Health = rows.Fault(known.Fault), &plumbv1.Health{State: rows.Degraded, Reason: known.Fault.Reason, Message: known.Fault.Message}
		default:
			state.Health = &plumbv1.Health{State: rows.Healthy}
		}
		if ok {
			var from *model.Source
			if chart := known.Source.Chart; chart != nil {
				from = specOf(w, chart.From)
			}
			state.Source = rows.SourceOf(in, &known.Source, from)
			state.Revision, state.Commit = known.Revision, rows.Commit(known.Commit)
			state.ShortRevision, state.RevisionUrl = rows.ShortRevision(known.Revision), rows.CommitURL(state.Source.GetUrl(), known.Revision)
		}
		out = append(out, state)
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// operationOf is an operation as people see it.
func operationOf(op *model.OperationReport) *plumbv1.Operation {
	out := &plumbv1.Operation{
		Phase: string(op.Phase), Message: op.Message, By: op.Operation.By, Started: rows.At(op.Started), Finished: rows.At(op.Finished),
		Revision: strings.Join(op.Revisions, ", "),
	}
	if op.Operation.Automated {
		out.By = ""
	}
	for _, r := range op.Results {
		out.Results = append(out.Results, &plumbv1.Result{
			Object: rows.Ref(r.Object, r.Version), Phase: string(r.Phase), Status: string(r.Code), Message: r.Message,
		})
	}
	return out
}

// manifestOf prints a declared object without anything secret. One that another
// delivery brought may have been decrypted on the way, as that one knows.
func manifestOf(w *World, o *unstructured.Unstructured) string {
	if owner, ok := w.Engine.OwnerOf(object.Of(o)); ok {
		o = w.Engine.Mask(owner, o)
	}
	return maskedYAML(o)
}

// maskedYAML prints an object without what a Secret in it holds.
func maskedYAML(o *unstructured.Unstructured) string { return printed(object.Redact(o)) }

// printed is an object as YAML; "" where there is none.
func printed(o *unstructured.Unstructured) string {
	if o == nil {
		return ""
	}
	clean := veiled(o).DeepCopy()
	clean.SetManagedFields(nil)
	text, err := json.Marshal(clean.Object)
	if err != nil {
		return ""
	}
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		return ""
	}
	return object.WithoutCredentials(string(out))
}
