package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Comparison is how one object is, beside how it is wanted. Everything secret
// in it is masked already.
type Comparison struct {
	Object    object.ID
	Version   string
	Origin    model.Origin
	Verb      model.Verb // what an apply would do: Create, Update, Recreate, Delete; "" nothing
	Ignored   bool       // it differs only where a rule leaves it to others
	Desired   *unstructured.Unstructured
	Live      *unstructured.Unstructured
	Predicted *unstructured.Unstructured // as the API server would store it; nil where nothing is sent
	Diff      string                     // from Live to Predicted, unified; where a secret value changes, its masks differ
	Fault     *model.Fault               // why it could not be compared
}

// errNoDelivery ends a look at a delivery that is not declared.
var errNoDelivery = errors.New("there is no delivery of that name")

// viewer is a run that only looks: it acts as the delivery and changes nothing.
func (e *Engine) viewer(id object.ID) (*run, error) {
	e.mu.Lock()
	d := e.book.deliveries[id]
	if d == nil {
		e.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", id, errNoDelivery)
	}
	r := &run{e: e, d: d, spec: d.spec, facts: d.facts, version: d.version, report: &model.Report{Delivery: id}}
	refusal := d.refusal
	e.mu.Unlock()
	if refusal != nil {
		return nil, refusal // what it may not deliver to, it may not look at either
	}
	var err error
	if r.cluster, err = e.targetOf(&r.spec, r.facts); err != nil {
		return nil, asFault(err, "ReconciliationFailed")
	}
	r.session = r.cluster.As(r.spec.Identity)
	return r, nil
}

// Session is what acts on the target of a delivery, as the delivery.
func (e *Engine) Session(id object.ID) (*cluster.Session, error) {
	r, err := e.viewer(id)
	if err != nil {
		return nil, err
	}
	return r.session, nil
}

// Mask copies a live object of a delivery without anything secret.
func (e *Engine) Mask(id object.ID, live *unstructured.Unstructured) *unstructured.Unstructured {
	return e.MaskBelow(id, live, object.ID{})
}

// MaskBelow is Mask for what the cluster made of an object of the delivery, such
// as a Pod of a Deployment: what is secret in the one is in the other too. Zero:
// it is not known of which.
func (e *Engine) MaskBelow(id object.ID, live *unstructured.Unstructured, above object.ID) *unstructured.Unstructured {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[id]
	if d == nil || live == nil {
		return object.Redact(live)
	}
	want := d.wantOf(object.Of(live))
	clean := d.masked(live, want, d.veil())
	if want == nil && !object.IsSecret(live) && e.hides(d, live, above) {
		clean = object.Conceal(clean)
	}
	return clean
}

// Sealed reports whether an object on the local cluster is owned by a delivery
// that has secrets in it, though it is no Secret.
func (e *Engine) Sealed(id object.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	en := e.book.entries[key{id: id}]
	if en == nil || e.book.deliveries[en.owner] == nil {
		return false
	}
	d := e.book.deliveries[en.owner]
	want := d.desiredOf(id)
	return want != nil && want.Secret || want == nil && (d.decrypts() || e.sealedBefore(d, id))
}

// hides reports whether an object that the delivery does not want may hold what
// was decrypted, or what is not told from it: nothing marks that in the cluster.
// The caller holds e.mu.
func (e *Engine) hides(d *delivery, live *unstructured.Unstructured, above object.ID) bool {
	sealed := func(w *model.Desired) bool { return w != nil && w.Secret && !isSecret(w.ID) }
	made := metav1.GetControllerOf(live) != nil
	switch {
	case d.decrypts() && (d.desired == nil || !made):
		return true
	case !made:
		return e.sealedBefore(d, object.Of(live))
	case !above.IsZero():
		return sealed(d.wantOf(above)) || d.wantOf(above) == nil && (d.decrypts() || e.sealedBefore(d, above))
	}
	reaches := func(id object.ID) bool {
		return id.Kind != "ConfigMap" && (id.Namespace == "" || id.Namespace == live.GetNamespace())
	}
	for _, list := range [][]model.Desired{d.desired, d.hooks} {
		for i := range list {
			if sealed(&list[i]) && reaches(list[i].ID) {
				return true
			}
		}
	}
	for k := range e.book.owned[d.spec.ID] {
		if !isSecret(k.id) && reaches(k.id) && e.sealedBefore(d, k.id) {
			return true
		}
	}
	return false
}

func isSecret(id object.ID) bool { return id.Group == "" && id.Kind == "Secret" }

// sealedBefore reports whether an object that the delivery owns and wants no more
// had something secret in it when it was wanted, whatever the delivery decrypts by
// now. Of one that nobody remembers to have applied it is not known, and taken for
// granted, but for an Application, which may keep such objects for good. The
// caller holds e.mu.
func (e *Engine) sealedBefore(d *delivery, id object.ID) bool {
	en := e.book.entries[key{d.cluster, id}]
	if en == nil || en.owner != d.spec.ID || d.desiredOf(id) != nil {
		return false
	}
	unknown := en.base.UID == "" && (!d.spec.Sync.Staged || d.spec.Release != nil)
	return en.base.Sealed || unknown
}

// decrypts reports whether anything that the delivery brings may have been
// encrypted.
func (d *delivery) decrypts() bool {
	return slices.ContainsFunc(d.spec.Inputs, func(in model.Input) bool { return in.Render.Decryption != nil })
}

// wantOf is an object, or a hook, as the delivery wants it; nil: it does not.
// The caller holds e.mu.
func (d *delivery) wantOf(id object.ID) *model.Desired {
	if want := d.desiredOf(id); want != nil {
		return want
	}
	for i := range d.hooks {
		if d.hooks[i].ID == id {
			return &d.hooks[i]
		}
	}
	return nil
}

// veil are the values that were secret where the delivery took them from. The
// caller holds e.mu.
func (d *delivery) veil() differ.Veil {
	var veil differ.Veil
	for i := range d.spec.Inputs {
		for _, value := range d.spec.Inputs[i].Render.Helm.Sensitive {
			if tellable(value) {
				veil = append(veil, value)
			}
		}
	}
	for need, fact := range d.facts {
		if need.Kind != "Secret" || fact.Object == nil {
			continue
		}
		data, _, _ := unstructured.NestedMap(fact.Object.Object, "data")
		for k := range data {
			if value, ok := secretValue(fact.Object, k); ok && tellable(value) {
				veil = append(veil, value)
			}
		}
	}
	return veil
}

// shortestSecret is how long a value has to be to be looked for wherever it may
// have gone, in bytes: "1" and "80" in a Secret are everywhere. A PIN of four
// digits is not; within longer texts it is, so that Veil takes it for itself only
// where it stands alone. In a Secret everything is masked, however short it is.
const shortestSecret = 4

// tellable reports whether a value can be told from what is no secret.
func tellable(value model.Secret) bool {
	text := string(value.Reveal())
	return len(text) >= shortestSecret && text != "true" && text != "null"
}

// masked copies an object without anything secret. want is the same object as it
// is wanted; nil: it is not. The caller holds e.mu.
func (d *delivery) masked(o *unstructured.Unstructured, want *model.Desired, veil differ.Veil) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	like := o
	if want != nil {
		if wanted := d.wanted(want.ID); wanted != nil {
			like = wanted
		}
	}
	clean := veil.Mask(o, like)
	if want != nil && want.Secret && !object.IsSecret(o) {
		clean = object.Conceal(clean)
	}
	clean.SetManagedFields(nil)
	set := clean.GetLabels()
	delete(set, WatchLabel) // Plumb's own affair
	if len(set) == 0 {
		set = nil
	}
	clean.SetLabels(set)
	return clean
}

// Compare asks the API server what applying the wanted objects would change, as
// the delivery's identity. only picks objects; none: all. Objects that are as
// they are wanted come with an empty verb.
func (e *Engine) Compare(ctx context.Context, id object.ID, only []object.ID) ([]Comparison, error) {
	r, err := e.viewer(id)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	d := r.d
	wants, veil := slices.Clone(d.desired), d.veil()
	var extra []model.Claim
	for k, version := range e.book.owned[id] {
		if k.cluster == d.cluster && d.desiredOf(k.id) == nil && d.fault == nil && len(d.desired) > 0 {
			extra = append(extra, model.Claim{ID: k.id, Version: version})
		}
	}
	e.mu.Unlock()
	picked := func(id object.ID) bool { return len(only) == 0 || slices.Contains(only, id) }
	var found []Comparison
	var mu sync.Mutex
	add := func(c Comparison) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, c)
	}
	wants = slices.DeleteFunc(wants, func(w model.Desired) bool { return !picked(w.ID) || w.Handle.Disabled })
	each(wants, func(w model.Desired) { add(r.compareOne(ctx, &w, veil)) })
	extra = slices.DeleteFunc(extra, func(c model.Claim) bool { return !picked(c.ID) })
	each(extra, func(c model.Claim) {
		if one := r.compareExtra(ctx, c, veil); one != nil {
			add(*one)
		}
	})
	slices.SortFunc(found, func(a, b Comparison) int { return a.Object.Compare(b.Object) })
	return found, ctx.Err()
}

// compareOne predicts one wanted object.
func (r *run) compareOne(ctx context.Context, w *model.Desired, veil differ.Veil) Comparison {
	out := Comparison{Object: w.ID, Version: w.Version, Origin: w.Origin}
	wanted := &unstructured.Unstructured{}
	if err := wanted.UnmarshalJSON(w.JSON); err != nil {
		out.Fault = asFault(err, "ComparisonError")
		return out
	}
	masked := func(o *unstructured.Unstructured) *unstructured.Unstructured {
		r.e.mu.Lock()
		defer r.e.mu.Unlock()
		return r.d.masked(o, w, veil)
	}
	out.Desired = masked(wanted)
	if owner := r.keeper(w.ID); !owner.IsZero() {
		if !w.Handle.IfNotPresent {
			out.Fault = keptFault(w.ID, owner, w.Origin)
		}
		return out
	}
	kind, err := r.served(ctx, w.ID, w.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		out.Verb = model.Create
		return out
	}
	var live *unstructured.Unstructured
	if err == nil {
		live, err = r.session.Get(ctx, kind, w.ID.Namespace, w.ID.Name)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		out.Fault = r.explained(err, "read", w)
		return out
	}
	out.Live = masked(live)
	change := model.Change{Object: w.ID, Version: w.Version, Verb: model.Update, Want: w}
	if live == nil {
		change.Verb = model.Create
	}
	body, err := r.body(ctx, kind, change)
	if err != nil {
		out.Fault = r.explained(err, "read", w)
		return out
	}
	after, err := r.session.Apply(ctx, kind, body, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true, DryRun: true})
	switch {
	case err == nil:
		r.judgePrediction(&out, w, wanted, live, after)
		out.Predicted = masked(after)
		out.Diff = shownDiff(&out, w, veil.Over(live, wanted), veil.Over(after, wanted))
	case live == nil && apierrors.IsNotFound(err):
		out.Verb = model.Create // its namespace comes with it
	case live != nil && cluster.IsImmutable(err) && r.forces(w):
		out.Verb, out.Predicted = model.Recreate, out.Desired
	default:
		out.Fault = r.explained(err, "dry-run", w)
	}
	return out
}

// keeper is another delivery that has an object and goes on wanting it.
func (r *run) keeper(id object.ID) object.ID {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.e.keeper(r.d, id)
}

// keptFault says why an object is not shown.
func keptFault(id, owner object.ID, origin model.Origin) *model.Fault {
	return &model.Fault{
		Reason: "Conflict", Object: id, Origin: origin, Message: fmt.Sprintf("%s belongs to %s", id, owner),
		Advice: "look at it there, or let one of the two no longer want it",
	}
}

// judgePrediction says what an apply would do.
func (r *run) judgePrediction(out *Comparison, w *model.Desired, wanted, live, after *unstructured.Unstructured) {
	if live == nil {
		out.Verb = model.Create
		return
	}
	r.e.mu.Lock()
	rules := r.d.judgement.rules
	r.e.mu.Unlock()
	differs := object.Diff(unmanaged(live), unmanaged(after)) != ""
	if !differs || w.Handle.IfNotPresent {
		return
	}
	if r.spec.Sync.Staged {
		if same, _ := differ.Same(wanted, after, live, rules); same {
			out.Ignored = true
			return
		}
	}
	out.Verb = model.Update
}

// shownDiff is the difference between two objects in which veiled values are
// masked already.
func shownDiff(c *Comparison, w *model.Desired, live, after *unstructured.Unstructured) string {
	if w.Secret && !object.IsSecret(after) {
		return object.Diff(c.Live, c.Predicted)
	}
	if diff := object.Diff(live, after); diff != "" || c.Verb == "" {
		return diff
	}
	return "  a secret value changes\n"
}

// unmanaged is an object without what every write changes.
func unmanaged(o *unstructured.Unstructured) *unstructured.Unstructured {
	clean := o.DeepCopy()
	clean.SetManagedFields(nil)
	clean.SetResourceVersion("")
	clean.SetGeneration(0)
	return clean
}

// compareExtra looks at an object that is owned and not wanted any more; nil
// when it is gone.
func (r *run) compareExtra(ctx context.Context, c model.Claim, veil differ.Veil) *Comparison {
	out := &Comparison{Object: c.ID, Version: c.Version, Verb: model.Delete}
	kind, err := r.served(ctx, c.ID, c.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		return nil
	}
	var live *unstructured.Unstructured
	if err == nil {
		live, err = r.session.Get(ctx, kind, c.ID.Namespace, c.ID.Name)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		out.Verb, out.Fault = "", cluster.Explain(err, "read", c.ID, model.Origin{})
		return out
	}
	r.e.mu.Lock()
	out.Live = r.d.masked(live, nil, veil)
	if !object.IsSecret(live) && r.e.hides(r.d, live, object.ID{}) {
		out.Live = object.Conceal(out.Live)
	}
	r.e.mu.Unlock()
	if !r.spec.Policy.Prune && !r.spec.Sync.Staged {
		out.Verb = ""
	}
	return out
}

// explained turns an answer of the API server into a fault without secrets.
func (r *run) explained(err error, verb string, w *model.Desired) *model.Fault {
	if w.Secret {
		return cluster.ExplainSensitive(err, verb, w.ID, w.Origin)
	}
	return cluster.Explain(err, verb, w.ID, w.Origin)
}

// Live reads one object of a delivery's target as the delivery; nil when it is
// not there, and an error when another delivery has it. Nothing in it is masked.
func (e *Engine) Live(ctx context.Context, id object.ID, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	r, err := e.viewer(id)
	if err != nil {
		return nil, err
	}
	at := object.ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: namespace, Name: name}
	if owner := r.keeper(at); !owner.IsZero() {
		return nil, keptFault(at, owner, model.Origin{})
	}
	kind, err := r.served(ctx, at, gvk.Version)
	var unknown *cluster.UnknownKindError
	if errors.As(err, &unknown) {
		return nil, nil
	}
	if err != nil {
		return nil, cluster.Explain(err, "discover", at, model.Origin{})
	}
	live, err := r.session.Get(ctx, kind, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, cluster.Explain(err, "read", at, model.Origin{})
	}
	return live, nil
}

// IsNoDelivery reports whether a look failed because there is no delivery of
// that name.
func IsNoDelivery(err error) bool { return errors.Is(err, errNoDelivery) }

// Desired is an object of a delivery as it is wanted, without anything secret;
// nil when it is not wanted.
func (e *Engine) Desired(delivery, id object.ID) *unstructured.Unstructured {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.book.deliveries[delivery]
	if d == nil {
		return nil
	}
	want := d.wantOf(id)
	if want == nil {
		return nil
	}
	o := &unstructured.Unstructured{}
	if o.UnmarshalJSON(want.JSON) != nil {
		return nil
	}
	return d.masked(o, want, d.veil())
}
