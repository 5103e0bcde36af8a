package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/roots"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// Explain says why a delivery, or an object, is as it is.
func (s deliveryService) Explain(ctx context.Context, m *plumbv1.ExplainRequest) (*plumbv1.ExplainResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	ref := m.GetRef()
	if ref.GetName() == "" {
		owner, ok := w.Engine.OwnerOf(rows.ID(m.GetObject()))
		ref = rows.Ref(owner, "")
		if !ok || s.may(ctx, callerOf(ctx), policy.Get, ref) != nil {
			// The same for both: what others own is not told.
			return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no delivery that you may see owns %s", rows.ID(m.GetObject())))
		}
	}
	id := rows.ID(ref)
	row, ok := s.deliveries.Get(id)
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	k, known := w.Engine.Known(id)
	e := &explanation{ctx: ctx, server: s.Server, world: w, row: row, known: &k, out: &plumbv1.ExplainResponse{Owner: row.GetRef(), Object: row.GetRef()}}
	e.origin()
	switch {
	case m.GetObject().GetName() != "":
		return e.out, e.object(ctx, m.GetObject())
	case !known:
		e.say("it is not understood: "+cmp.Or(row.GetMessage(), "its conditions say why"), "wrong")
		e.advise("correct the declared object; its manifest and conditions are on this page")
		return e.out, nil
	}
	e.delivery()
	return e.out, nil
}

// explanation gathers reasons, from what is seen down to the root of it.
type explanation struct {
	ctx    context.Context //nolint:containedctx // of the one call that an explanation is for
	server *Server
	world  *World
	row    *plumbv1.Delivery
	known  *engine.Known
	out    *plumbv1.ExplainResponse
}

// origin says which commit asked for it.
func (e *explanation) origin() {
	e.out.Url, e.out.Revision, e.out.Commit = e.row.GetSource().GetUrl(), e.row.GetRevision(), e.row.GetCommit()
	e.out.ShortRevision, e.out.RevisionUrl = e.row.GetShortRevision(), e.row.GetRevisionUrl()
}

func (e *explanation) say(headline, state string) { e.out.Headline, e.out.State = headline, state }

func (e *explanation) because(b *plumbv1.Because) { e.out.Because = append(e.out.Because, b) }

func (e *explanation) advise(advice string) {
	if advice != "" && !slices.Contains(e.out.Advice, advice) {
		e.out.Advice = append(e.out.Advice, advice)
	}
}

// delivery explains the delivery itself: what stops it comes first, then what
// is unwell, then what differs.
func (e *explanation) delivery() {
	name := e.row.GetRef().GetKind() + " " + e.row.GetRef().GetName()
	fault := e.known.Fault
	report := e.known.Report
	if report != nil && report.Fault != nil {
		fault = report.Fault
	}
	switch {
	case report != nil && report.Hold != nil:
		e.say(fmt.Sprintf("%s holds back %d deletions until somebody approves them", name, len(report.Hold.Deletes)), "held")
		e.because(&plumbv1.Because{Text: report.Hold.Why})
		e.advise("look at what would be deleted, and approve it; or bring the objects back by a commit")
	case e.row.GetSuspended():
		e.say(name+" is suspended: nothing is delivered until it is resumed", "suspended")
		e.advise("resume it when it may go on")
	case fault != nil && fault.Waiting:
		e.say(name+" waits: "+fault.Message, "waiting")
		e.advise(fault.Advice)
		e.waits()
	case fault != nil:
		e.say(name+" stopped: "+fault.Message, "wrong")
		e.fault(fault)
	case e.row.GetHealth().GetState() == rows.Degraded || e.row.GetHealth().GetState() == rows.Missing:
		e.say(fmt.Sprintf("%s is delivered, and %d of its %d objects are not healthy", name, max(e.row.GetUnhealthy(), 1), e.row.GetObjects()), "wrong")
	case e.row.GetRunning() || e.row.GetHealth().GetState() == rows.Progressing:
		e.say(name+" is at work: "+cmp.Or(e.row.GetMessage(), "it has not ended yet"), "working")
	case e.row.GetSync() == "OutOfSync":
		e.say(fmt.Sprintf("%s differs from its source in %s", name, counted(max(e.row.GetOutOfSync(), 1), "object")), "wrong")
		e.drifted()
	default:
		e.say(name+" is as its source wants it, and healthy", "ok")
	}
	e.unwell()
	e.sources()
}

// fault explains why a run stopped.
func (e *explanation) fault(f *model.Fault) {
	because := &plumbv1.Because{Text: f.Message, File: f.Origin.File, Line: int32(f.Origin.Line)}
	if !f.Object.IsZero() {
		because.Object = rows.Ref(f.Object, "")
	}
	e.because(because)
	e.advise(f.Advice)
	if f.Origin.File != "" {
		e.out.File, e.out.Line = f.Origin.File, int32(f.Origin.Line)
		e.advise(fmt.Sprintf("correct %s and commit", f.Origin.String()))
	}
	if c := e.row.GetCommit(); c != nil && e.row.GetAppliedRevision() != "" && e.row.GetAppliedRevision() != e.row.GetRevision() {
		e.because(&plumbv1.Because{Text: fmt.Sprintf("it came with commit %.8s %q by %s; what was applied last is %s", c.GetHash(), c.GetSubject(), c.GetAuthor(), shortRevision(e.row.GetAppliedRevision()))})
		e.advise(fmt.Sprintf("or revert that commit: git revert %.8s", c.GetHash()))
	}
}

// waits names what is waited for, and why that is not ready, down to the root.
func (e *explanation) waits() {
	seen := map[object.ID]bool{}
	next := e.known.Waits
	for len(next) > 0 && len(seen) < maxOwners {
		id := next[0]
		if seen[id] {
			break
		}
		seen[id] = true
		row, ok := e.server.deliveries.Get(id)
		if ok && !callerOf(e.ctx).May(e.ctx, policy.Get, e.server.target(row.GetRef())).Allowed {
			e.because(&plumbv1.Because{Text: id.String() + " is not ready; why is told to those who may see it", Object: rows.Ref(id, "")})
			return
		}
		if !ok {
			e.because(&plumbv1.Because{Text: id.String() + " is not declared", Object: rows.Ref(id, "")})
			return
		}
		e.because(&plumbv1.Because{Text: fmt.Sprintf("%s is %s: %s", id, row.GetHealth().GetState(), row.GetMessage()), Object: row.GetRef(), Health: row.GetHealth()})
		k, ok := e.world.Engine.Known(id)
		if !ok {
			return
		}
		next = k.Waits
	}
}

// unwell names the objects that are not healthy, the worst first.
func (e *explanation) unwell() {
	var bad []*engine.KnownObject
	for i := range e.known.Objects {
		o := &e.known.Objects[i]
		if state := rows.HealthOf(o.Health).State; o.Wanted && !o.Stage.Hook() && state != rows.Healthy && state != rows.Suspended {
			bad = append(bad, o)
		}
	}
	slices.SortStableFunc(bad, func(a, b *engine.KnownObject) int {
		return rows.Severity(rows.HealthOf(b.Health).State) - rows.Severity(rows.HealthOf(a.Health).State)
	})
	for i, o := range bad {
		if i == shownReasons {
			e.because(&plumbv1.Because{Text: fmt.Sprintf("and %d more", len(bad)-shownReasons)})
			return
		}
		h := rows.HealthOf(o.Health)
		e.because(&plumbv1.Because{
			Text: strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", o.ID, h.GetState(), cmp.Or(h.GetMessage(), h.GetReason())), ": "), Object: rows.Ref(o.ID, o.Version), Health: h,
			File: o.Origin.File, Line: int32(o.Origin.Line),
		})
		if i < followedObjects && o.Foreign.IsZero() && h.GetState() != rows.Missing {
			e.followKnown(o)
		}
		e.advise(healthAdvice(h))
	}
}

// shownReasons bounds the objects that an explanation names, and followedObjects
// those of them that it follows down to the root.
const (
	shownReasons    = 5
	followedObjects = 3
)

// followKnown is follow for an object that has not been read yet. What cannot be
// read now is left out.
func (e *explanation) followKnown(o *engine.KnownObject) {
	kind := schema.GroupVersionKind{Group: o.ID.Group, Version: o.Version, Kind: o.ID.Kind}
	live, err := e.world.Engine.Live(e.ctx, rows.ID(e.row.GetRef()), kind, o.ID.Namespace, o.ID.Name)
	if err == nil && live != nil {
		e.follow(live)
	}
}

// follow goes from an object of the delivery that is not well down to what the
// cluster has made of it, to the Pod that is worst and to the warnings about
// them, as the delivery may read them.
func (e *explanation) follow(live *unstructured.Unstructured) {
	session, err := e.world.Engine.Session(rows.ID(e.row.GetRef()))
	if err != nil {
		return // its target cannot be looked at, and its fault says why
	}
	root, err := roots.Follow(e.ctx, listing(session), live)
	if err != nil {
		e.because(&plumbv1.Because{Text: "what the cluster made of it cannot be looked at now: " + object.WithoutCredentials(err.Error())})
		return
	}
	for _, step := range root.Steps {
		e.because(&plumbv1.Because{Text: object.WithoutCredentials(step.Text), Object: rows.Ref(step.Object, "")})
	}
	advice, _ := health.RemedyOf(root.Steps)
	e.advise(advice)
}

// listing lists as a delivery.
func listing(session *cluster.Session) roots.List {
	return func(ctx context.Context, q roots.Query, each func(*unstructured.Unstructured) error) error {
		kind, err := session.Cluster().Resolve(ctx, q.Kind)
		if err != nil {
			return err
		}
		_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: q.Namespace, LabelSelector: q.LabelSelector, FieldSelector: q.FieldSelector}, each)
		return err
	}
}

// healthAdvice says what to do about common illnesses: by the reason, or by the
// first word of the message that is one.
func healthAdvice(h *plumbv1.Health) string {
	if advice := health.Remedy(h.GetReason()); advice != "" {
		return advice
	}
	for word := range strings.FieldsFuncSeq(h.GetMessage(), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if advice := health.Remedy(word); advice != "" && word != "Error" {
			return advice
		}
	}
	return ""
}

// drifted names the objects that differ.
func (e *explanation) drifted() {
	n := 0
	for i := range e.known.Objects {
		o := &e.known.Objects[i]
		if o.Sync == model.Synced || n == shownReasons {
			continue
		}
		n++
		e.because(&plumbv1.Because{Text: fmt.Sprintf("%s differs: %s", o.ID, cmp.Or(o.Drift, "it is not as the source wants it")), Object: rows.Ref(o.ID, o.Version), File: o.Origin.File, Line: int32(o.Origin.Line)})
	}
	if e.row.GetAutomation() == "manual" {
		e.advise("nothing is changed until somebody syncs: see the diff, then sync")
	} else if e.row.GetDialect() == "argo" {
		e.advise("see the diff, then sync; with selfHeal it is put right by itself")
	}
}

// sources names sources that fail: what is delivered is then older than what is
// in the repository.
func (e *explanation) sources() {
	for i := range e.known.Delivery.Inputs {
		source, ok := e.world.Engine.KnownSource(e.known.Delivery.Inputs[i].Source)
		if ok && source.Fault != nil && !source.Fault.Waiting {
			e.because(&plumbv1.Because{Text: "its source fails: " + source.Fault.Message, Object: rows.Ref(source.Source.ID, "")})
			e.advise(source.Fault.Advice)
			if e.out.State == "ok" {
				e.say(e.out.Headline+"; its source cannot be looked at", "wrong")
			}
		}
	}
}

// counted is a number of things, in words for one and for many.
func counted(n int32, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// object explains one object of the delivery.
func (e *explanation) object(ctx context.Context, ref *plumbv1.ObjectRef) error {
	f, err := e.server.find(ctx, e.world, rows.ID(e.row.GetRef()), ref)
	if err != nil {
		return err
	}
	e.out.Object = rows.Ref(f.id, ref.GetVersion())
	if f.known == nil {
		h := rows.HealthOf(e.world.Engine.HealthOf(rows.ID(e.row.GetRef()), f.live))
		e.say(fmt.Sprintf("%s was made by the cluster of what %s delivered, and is %s", f.id, e.row.GetRef().GetName(), h.GetState()), stateOf(h))
		e.because(&plumbv1.Because{Text: cmp.Or(h.GetMessage(), h.GetReason(), "nothing is wrong with it"), Object: e.out.Object, Health: h})
		if h.GetState() != rows.Healthy {
			e.follow(f.live)
		}
		e.advise(healthAdvice(h))
		return nil
	}
	o := f.known
	h := rows.HealthOf(o.Health)
	e.out.File, e.out.Line = o.Origin.File, int32(o.Origin.Line)
	switch {
	case !o.Foreign.IsZero():
		e.say(fmt.Sprintf("%s is wanted, and belongs to %s", o.ID, o.Foreign), "wrong")
		e.advise("let one of the two no longer want it")
		return nil
	case !o.Wanted:
		e.say(fmt.Sprintf("%s is owned by %s and not wanted any more", o.ID, e.row.GetRef().GetName()), "wrong")
		e.advise("it is pruned where the delivery prunes, or by a sync with prune")
	case f.live == nil:
		e.say(fmt.Sprintf("%s is wanted and does not exist", o.ID), "wrong")
		e.unwellBy(e.known.Fault)
	case o.Sync != model.Synced:
		e.say(fmt.Sprintf("%s differs from %s", o.ID, cmp.Or(o.Origin.String(), "its source")), "wrong")
	default:
		e.say(fmt.Sprintf("%s is as %s wants it, and %s", o.ID, cmp.Or(o.Origin.String(), "its source"), h.GetState()), stateOf(h))
	}
	if h.GetState() != rows.Healthy {
		e.because(&plumbv1.Because{Text: cmp.Or(h.GetMessage(), h.GetReason()), Object: e.out.Object, Health: h})
		if f.live != nil {
			e.follow(f.live)
		}
		e.advise(healthAdvice(h))
	}
	if f.live != nil && o.Sync != model.Synced {
		e.because(&plumbv1.Because{Text: cmp.Or(o.Drift, "it has not been applied as it is wanted"), Object: e.out.Object})
		compared, err := e.server.compare(ctx, e.world, rows.ID(e.row.GetRef()), []object.ID{o.ID})
		if err == nil && len(compared) > 0 {
			e.out.Drift = changeOf(&compared[0]).GetDiff()
		}
	}
	return nil
}

func (e *explanation) unwellBy(f *model.Fault) {
	if f == nil && e.known.Report != nil {
		f = e.known.Report.Fault
	}
	if f != nil {
		e.fault(f)
	}
}

func stateOf(h *plumbv1.Health) string {
	switch h.GetState() {
	case rows.Healthy:
		return "ok"
	case rows.Progressing:
		return "working"
	case rows.Suspended:
		return "suspended"
	case rows.Unknown:
		return "unknown"
	}
	return "wrong"
}

// shortRevision is a revision with its digest cut short.
func shortRevision(revision string) string {
	const shown = 12
	at := strings.LastIndexByte(revision, ':')
	if digest := revision[at+1:]; len(digest) > shown {
		return revision[:at+1] + digest[:shown]
	}
	return revision
}
