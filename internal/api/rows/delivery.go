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
	// Source is what the first of a delivery's sources reads, and From what that is
	// read from where it is a chart of another source; nil: it is not known.
	Source, From *model.Source
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
	describe(row, d, k)
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
func describe(row *plumbv1.Delivery, d Declared, k *engine.Known) {
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
		row.Source = SourceOf(&spec.Inputs[0], d.Source, d.From)
	}
	for _, on := range spec.DependsOn {
		row.DependsOn = append(row.DependsOn, Ref(on.On, ""))
	}
	if r := k.Report; r != nil {
		row.Revision, row.AppliedRevision, row.Commit = r.Revision, r.Applied, Commit(r.Commit)
		row.ShortRevision, row.RevisionUrl = ShortRevision(r.Revision), CommitURL(row.GetSource().GetUrl(), r.Revision)
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

var (
	worstLast     = []string{Healthy, Suspended, Progressing, Unknown, Missing, Degraded}
	outOfSyncLast = []string{string(model.Synced), string(model.SyncUnknown), string(model.OutOfSync)}
)

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

// SourceOf is Input, with what is known of the source: s is the one that is read,
// from the one that its chart is taken from; either may be nil.
func SourceOf(in *model.Input, s, from *model.Source) *plumbv1.SourceRef {
	ref := Input(in)
	if !in.Shown.IsZero() {
		ref.Ref = Ref(in.Shown, "")
	}
	if s == nil {
		return ref
	}
	if s.Implied && in.Shown.IsZero() {
		ref.Ref = nil // nobody declares it
	}
	if ref.Url == "" {
		ref.Url = SourceURL(s)
	}
	ref.TargetRevision = TargetRevision(s)
	if s.Chart != nil {
		ref.Chart = s.Chart.Name
		if from != nil && ref.Url == "" {
			ref.Url = SourceURL(from)
		}
	}
	return ref
}

// SourceURL is where a source is read from, without credentials; "" where that
// has no address of its own, as a chart of another source.
func SourceURL(s *model.Source) string {
	oci := func(address string) string { return "oci://" + strings.TrimPrefix(address, "oci://") }
	url := ""
	switch {
	case s.Git != nil:
		url = s.Git.URL
	case s.OCI != nil:
		url = oci(s.OCI.URL)
	case s.Bucket != nil:
		url = s.Bucket.Endpoint + "/" + s.Bucket.Name
	case s.Index != nil && s.Index.OCI:
		url = oci(s.Index.URL)
	case s.Index != nil:
		url = s.Index.URL
	case s.Chart != nil && s.Chart.Repository != "" && s.Chart.OCI:
		url = oci(s.Chart.Repository)
	case s.Chart != nil:
		url = s.Chart.Repository
	}
	return object.WithoutCredentials(url)
}

// TargetRevision is what a source follows, as it is declared.
func TargetRevision(s *model.Source) string {
	switch {
	case s.Git != nil:
		ref := &s.Git.Ref
		return cmp.Or(ref.Revision, ref.Name, ref.Commit, ref.SemVer, ref.Tag, ref.Branch)
	case s.OCI != nil:
		return cmp.Or(s.OCI.Revision, s.OCI.Ref.Digest, s.OCI.Ref.SemVer, s.OCI.Ref.Tag)
	case s.Chart != nil:
		return s.Chart.Version
	}
	return ""
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
