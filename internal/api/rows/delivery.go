// Package rows makes what lists show of what is declared and known: one row
// for a delivery or a source, in the words of both dialects' users.
package rows

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The states of health that rows show, worst last.
const (
	Healthy     = "Healthy"
	Suspended   = "Suspended"
	Progressing = "Progressing"
	Missing     = "Missing"
	Degraded    = "Degraded"
	Unknown     = "Unknown"
)

// InCluster names the cluster of the declared objects.
const InCluster = "in-cluster"

// heldInLists bounds the deletions of a hold that a row names.
const heldInLists = 20

// Declared is what a row is made of.
type Declared struct {
	Object  *unstructured.Unstructured
	Dialect string
	MadeBy  object.ID // zero: by nobody
}

// Delivery is the row of a delivery; known is false before its declaration has
// been understood.
func Delivery(d Declared, k *engine.Known, known bool) *plumbv1.Delivery {
	row := &plumbv1.Delivery{
		Ref: Ref(object.Of(d.Object), d.Object.GroupVersionKind().Version), Dialect: d.Dialect,
		Labels: d.Object.GetLabels(), Created: at(d.Object.GetCreationTimestamp().Time),
		Deleting: d.Object.GetDeletionTimestamp() != nil,
	}
	if !d.MadeBy.IsZero() {
		row.MadeBy = Ref(d.MadeBy, "")
	}
	row.Project = Project(d.Object)
	if !known {
		row.Health, row.Sync, row.Cluster = undeclared(d.Object), string(model.SyncUnknown), InCluster
		row.Reason, row.Message = row.Health.Reason, row.Health.Message
		row.Automation = "automatic"
		return row
	}
	describe(row, k)
	judge(row, k)
	return row
}

// Project is the project that an Application belongs to, or that the
// Applications of an ApplicationSet do; "" for other kinds.
func Project(o *unstructured.Unstructured) string {
	switch o.GetKind() {
	case "Application":
		name, _, _ := unstructured.NestedString(o.Object, "spec", "project")
		return cmp.Or(name, "default")
	case "ApplicationSet":
		name, _, _ := unstructured.NestedString(o.Object, "spec", "template", "spec", "project")
		return cmp.Or(name, "default")
	}
	return ""
}

// undeclared is the health of what is not understood: its own conditions say
// why.
func undeclared(o *unstructured.Unstructured) *plumbv1.Health {
	for _, c := range Conditions(o) {
		if (c.Type == "Ready" && c.Status == "False") || strings.HasSuffix(c.Type, "Error") {
			return &plumbv1.Health{State: Degraded, Reason: cmp.Or(c.Reason, c.Type), Message: c.Message}
		}
	}
	return &plumbv1.Health{State: Unknown}
}

// describe fills in what is declared.
func describe(row *plumbv1.Delivery, k *engine.Known) {
	spec := &k.Delivery
	row.Cluster = Cluster(spec.Target.Cluster)
	row.TargetNamespace = spec.Target.Namespace
	row.Suspended, row.Deleting = spec.Suspended, row.Deleting || spec.Deleting
	switch {
	case spec.Suspended:
		row.Automation = "suspended"
	case spec.Sync.Manual:
		row.Automation = "manual"
	default:
		row.Automation = "automatic"
	}
	if len(spec.Inputs) > 0 {
		row.Source = Input(&spec.Inputs[0])
	}
	for _, on := range spec.DependsOn {
		row.DependsOn = append(row.DependsOn, Ref(on.On, ""))
	}
	if r := k.Report; r != nil {
		row.Revision, row.AppliedRevision, row.Commit = r.Revision, r.Applied, Commit(r.Commit)
		row.Phase, row.Running, row.Changed = string(r.Phase), r.Running, at(r.At)
		if r.Hold != nil {
			row.Hold = Hold(r.Hold, heldInLists)
		}
		if op := k.Operation; op != nil && !op.Phase.Completed() {
			row.Running = true
		}
	}
}

// judge fills in how it is doing.
func judge(row *plumbv1.Delivery, k *engine.Known) {
	row.Sync = string(k.Sync)
	worst := &plumbv1.Health{State: Healthy}
	var of object.ID
	for i := range k.Objects {
		o := &k.Objects[i]
		if o.Stage.Hook() {
			continue
		}
		row.Objects++
		if o.Sync != model.Synced {
			row.OutOfSync++
		}
		h := HealthOf(o.Health)
		if h.State == Degraded || h.State == Missing {
			row.Unhealthy++
		}
		if o.Wanted && Severity(h.State) > Severity(worst.State) {
			worst, of = h, o.ID
		}
	}
	if worst.State != Healthy && !of.IsZero() {
		worst = &plumbv1.Health{State: worst.State, Reason: worst.Reason, Message: strings.TrimSuffix(of.String()+": "+worst.Message, ": ")}
	}
	row.Health = worst
	fault, report := k.Fault, k.Report
	if report != nil && report.Fault != nil {
		fault = report.Fault
	}
	switch {
	case row.Suspended && report == nil:
		row.Health = &plumbv1.Health{State: Suspended}
	case fault != nil && fault.Waiting:
		raise(row, Progressing, fault)
	case fault != nil:
		raise(row, Degraded, fault)
	case report == nil:
		row.Health = &plumbv1.Health{State: Progressing, Reason: "Queued", Message: "waiting for its first run"}
	case row.Running && Severity(worst.State) < Severity(Progressing):
		row.Health = &plumbv1.Health{State: Progressing, Reason: "Progressing", Message: report.Message}
	}
	switch {
	case fault != nil:
		row.Reason, row.Message = fault.Reason, fault.Message
	case row.Hold != nil:
		row.Reason, row.Message = "PruneHeld", row.Hold.Why
	case report != nil && report.Message != "" && row.Running:
		row.Reason, row.Message = "Progressing", report.Message
	default:
		row.Reason, row.Message = row.Health.Reason, row.Health.Message
	}
	if report == nil && k.Sync == "" {
		row.Sync = string(model.SyncUnknown)
	}
}

// raise makes a row at least as bad as its fault.
func raise(row *plumbv1.Delivery, state string, fault *model.Fault) {
	if Severity(row.Health.State) <= Severity(state) {
		row.Health = &plumbv1.Health{State: state, Reason: fault.Reason, Message: fault.Message}
	}
}

var worstLast = []string{Healthy, Suspended, Progressing, Missing, Unknown, Degraded}

// Severity ranks health: what is worst is what a delivery is.
func Severity(state string) int {
	return slices.Index(worstLast, state)
}

// HealthOf puts a judgement into the words of rows. What has no health of its
// own is healthy as long as it is there.
func HealthOf(h model.Health) *plumbv1.Health {
	state := map[model.Healthiness]string{
		"": Healthy, model.Current: Healthy, model.InProgress: Progressing, model.Terminating: Progressing,
		model.Unhealthy: Degraded, model.NotFound: Missing, model.Paused: Suspended, model.Unknown: Unknown,
	}[h.State]
	return &plumbv1.Health{State: cmp.Or(state, Unknown), Reason: h.Reason, Message: h.Message}
}

// Ref names an object.
func Ref(id object.ID, version string) *plumbv1.ObjectRef {
	return &plumbv1.ObjectRef{Group: id.Group, Version: version, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// ID is the identity that a reference names.
func ID(ref *plumbv1.ObjectRef) object.ID {
	return object.ID{Group: ref.GetGroup(), Kind: ref.GetKind(), Namespace: ref.GetNamespace(), Name: ref.GetName()}
}

// Cluster names where a delivery goes.
func Cluster(c model.ClusterRef) string {
	if c.Local() {
		return InCluster
	}
	return cmp.Or(c.Name, c.Server, c.Need.Namespace+"/"+c.Need.Name)
}

// Input is where a delivery is rendered from.
func Input(in *model.Input) *plumbv1.SourceRef {
	ref := &plumbv1.SourceRef{Url: object.WithoutCredentials(in.URL), Path: in.Path}
	if !in.Source.IsZero() {
		ref.Ref = Ref(in.Source, "")
	}
	return ref
}

// Commit is a commit as rows show it.
func Commit(c model.Commit) *plumbv1.Commit {
	if c.Hash == "" {
		return nil
	}
	return &plumbv1.Commit{Hash: c.Hash, Subject: c.Message, Author: c.Author, Time: at(c.When), SignedBy: c.Signature}
}

// Hold is what waits for an approval; at most limit deletions are named, 0: all.
func Hold(h *model.Hold, limit int) *plumbv1.Hold {
	out := &plumbv1.Hold{Token: h.Token, Why: h.Why, Total: int32(h.Total)}
	for i, id := range h.Deletes {
		if limit > 0 && i == limit {
			break
		}
		out.Deletes = append(out.Deletes, Ref(id, ""))
	}
	return out
}

// Conditions are those of a declared object.
func Conditions(o *unstructured.Unstructured) []*plumbv1.Condition {
	items, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []*plumbv1.Condition
	for _, item := range items {
		c, ok := item.(map[string]any)
		if !ok {
			continue
		}
		word := func(key string) string { s, _ := c[key].(string); return s }
		condition := &plumbv1.Condition{Type: word("type"), Status: word("status"), Reason: word("reason"), Message: object.WithoutCredentials(word("message"))}
		if since, err := time.Parse(time.RFC3339, word("lastTransitionTime")); err == nil {
			condition.Since = at(since)
		}
		out = append(out, condition)
	}
	return out
}

// Fault is a fault as people see it.
func Fault(f *model.Fault) *plumbv1.Fault {
	if f == nil {
		return nil
	}
	out := &plumbv1.Fault{
		Reason: f.Reason, Message: f.Message, Advice: f.Advice, Field: f.Origin.Field, File: f.Origin.File, Line: int32(f.Origin.Line),
		Waiting: f.Waiting, Severity: "error",
	}
	if !f.Object.IsZero() {
		out.Object = Ref(f.Object, "")
	}
	return out
}

// Finding is a finding as people see it.
func Finding(f *model.Finding) *plumbv1.Fault {
	severity := "info"
	if f.Severity == model.Warning {
		severity = "warning"
	}
	return &plumbv1.Fault{Reason: f.Reason, Message: f.Message, Field: f.Origin.Field, File: f.Origin.File, Line: int32(f.Origin.Line), Severity: severity}
}

// at is a time, or nothing where there is none.
func at(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// At is at for others.
func At(t time.Time) *timestamppb.Timestamp { return at(t) }
