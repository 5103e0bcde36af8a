package plan

import (
	"fmt"
	"sort"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Presence is what is known of an object on the cluster.
type Presence uint8

// An object is trusted when its baseline holds; otherwise it has been looked
// at, or nothing is known of it.
const (
	Unseen  Presence = iota // nobody looked: no decision may rest on it
	Missing                 // looked for, not there
	Present                 // looked at
	Trusted                 // a baseline holds and nothing was seen that contradicts it
)

// Seen is what is known of one object on the target.
type Seen struct {
	Presence Presence
	Inputs   string // digest of the desired state last applied; "" without a baseline
	UID      string
	Drift    string // how it differs from its baseline; "" when it does not
	Deleting bool   // it carries a deletion timestamp
	Foreign  bool   // it does not carry the marks of the delivery
	Resting  bool   // somebody keeps changing it back: the next correction comes later
	Handle   model.Handling
	Wave     int      // sync wave that the live object names
	Same     bool     // looked at, and as it is wanted: the server would change nothing
	Paths    []string // JSON pointers of what differs, where that is known
}

// Consent says which of the changes that a plan finds may be made. What may
// not is listed as pending.
type Consent struct {
	Apply   bool // what Git asks for is brought to the cluster
	Correct bool // what was changed on the cluster is put back
	// CorrectAlong allows corrections in a plan that applies something.
	CorrectAlong bool
	Prune        bool
	Selected     func(id object.ID) bool // nil: every object
	// Unguarded: a person asked for the deletions, however many they are.
	Unguarded bool
}

// Everything is the consent of a delivery that is kept true at all times.
var Everything = Consent{Apply: true, Correct: true, Prune: true}

// Standing is what the other deliveries say of an object.
type Standing struct {
	Owner   object.ID // another delivery that owns it now; zero when there is none
	Wanted  bool      // that owner still wants it, or has not been able to say
	Pending string    // somebody who may want it has not been evaluated yet: who; "" otherwise
	Heir    object.ID // another delivery that wants it and will take it; zero when there is none
	Idle    bool      // the heir takes it only when somebody asks it to
	Dweller object.ID // another delivery that has objects in it, for what holds objects; zero when there is none
}

// Guard bounds how many objects one run may delete unasked.
type Guard struct {
	Count    int     // up to this many are always fine
	Fraction float64 // of all objects owned, above Count
}

// Input is all that a plan depends on.
type Input struct {
	Delivery *model.Delivery
	Desired  []model.Desired
	Claims   []model.Claim // owned until now
	Seen     func(object.ID) Seen
	Standing func(object.ID) Standing
	// Weight is the number of objects that go when this one is deleted, itself
	// included: the inventory of a delivery that the object declares.
	Weight  func(object.ID) int
	Guard   Guard
	Consent Consent
}

// Make plans a run that applies the desired objects.
func Make(in Input) *model.Plan {
	p := &model.Plan{}
	changes := in.allow(p, in.applies(p))
	deletes := in.allow(p, in.prunes(p, wanted(in.Desired)))
	deletes = in.hold(p, deletes)
	if in.Delivery.Sync.Staged {
		p.Waves = append(stepWaves(changes), stepDeletes(deletes)...)
	} else {
		p.Waves = append(applyWaves(changes), deleteWaves(deletes)...)
	}
	sortClaims(p.Keeps)
	return p
}

// allow takes out of the changes those that nobody has consented to: they stay
// as they are, and are told of.
func (in *Input) allow(p *model.Plan, changes []model.Change) []model.Change {
	correct := in.Consent.Correct
	for i := range changes {
		if in.Consent.CorrectAlong && in.Consent.Apply && !changes[i].Quiet && (changes[i].Verb == model.Create || changes[i].Verb == model.Update || changes[i].Verb == model.Adopt) {
			correct = true
		}
	}
	kept := changes[:0]
	for _, c := range changes {
		allowed := in.Consent.Selected == nil || in.Consent.Selected(c.Object)
		switch c.Verb {
		case model.Delete:
			allowed = allowed && in.Consent.Prune
			if !allowed {
				p.Keeps = append(p.Keeps, model.Claim{ID: c.Object, Version: c.Version})
			}
		case model.Forget:
			allowed = true
		case model.Correct:
			allowed = allowed && correct
		default:
			allowed = allowed && in.Consent.Apply
		}
		if !allowed {
			p.Pending = append(p.Pending, c)
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// Unmake plans the end of a delivery: everything that it owns goes, as far as
// its policy says so. Nothing is held: somebody deleted the declaring object,
// and what that would take along was weighed when it was planned.
func Unmake(in Input) *model.Plan {
	p := &model.Plan{}
	switch {
	case in.Delivery.Suspended, in.Delivery.Policy.OnDelete == model.OrphanObjects:
		var forgets []model.Change
		for _, c := range in.Claims {
			forgets = append(forgets, model.Change{Verb: model.Forget, Object: c.ID, Version: c.Version, Why: "the deletion policy keeps it"})
		}
		p.Waves = deleteWaves(forgets)
	default:
		p.Waves = deleteWaves(in.lastStep(p, in.prunes(p, nil)))
	}
	sortClaims(p.Keeps)
	return p
}

func wanted(desired []model.Desired) map[object.ID]bool {
	set := make(map[object.ID]bool, len(desired))
	for i := range desired {
		set[desired[i].ID] = true
	}
	return set
}

// applies decides about every desired object.
func (in *Input) applies(p *model.Plan) []model.Change {
	owned := make(map[object.ID]bool, len(in.Claims))
	for _, c := range in.Claims {
		owned[c.ID] = true
	}
	var changes []model.Change
	for i := range in.Desired {
		want := &in.Desired[i]
		if want.Handle.Disabled {
			continue // neither applied nor owned
		}
		change, blocked, keep := in.apply(want, owned[want.ID])
		if keep {
			p.Keeps = append(p.Keeps, model.Claim{ID: want.ID, Version: want.Version})
		}
		if blocked != nil {
			p.Blocked = append(p.Blocked, *blocked)
			continue
		}
		if change != nil {
			changes = append(changes, *change)
		}
	}
	return changes
}

// apply decides about one desired object: what changes, or what blocks it, and
// whether the delivery owns it afterwards.
func (in *Input) apply(want *model.Desired, owned bool) (change *model.Change, blocked *model.Fault, keep bool) {
	st := in.Standing(want.ID)
	if !st.Owner.IsZero() {
		switch {
		case st.Wanted:
			return nil, &model.Fault{
				Reason:  "Conflict",
				Message: fmt.Sprintf("%s is already managed by %s, which still wants it", want.ID, st.Owner),
				Advice:  "remove it from one of the two",
				Origin:  want.Origin,
				Object:  want.ID,
			}, false
		case st.Pending != "":
			return nil, &model.Fault{
				Reason:  "Adoption",
				Message: fmt.Sprintf("%s belongs to %s; waiting until %s has been evaluated", want.ID, st.Owner, st.Pending),
				Origin:  want.Origin,
				Object:  want.ID,
				Waiting: true,
			}, false
		}
	}

	seen := in.Seen(want.ID)
	if seen.Handle.Disabled {
		return nil, nil, owned
	}
	exists := seen.Presence == Present || seen.Presence == Trusted
	if exists && (want.Handle.IfNotPresent || seen.Handle.IfNotPresent || in.Delivery.Policy.CreateOnly) {
		return nil, nil, true
	}
	if seen.Deleting {
		return nil, &model.Fault{
			Reason:  "Terminating",
			Message: fmt.Sprintf("%s is being deleted; it is applied again once it is gone", want.ID),
			Origin:  want.Origin,
			Object:  want.ID,
			Retry:   true,
			Waiting: true,
		}, owned
	}

	c := model.Change{Object: want.ID, Version: want.Version, Want: want, UID: seen.UID, Wave: want.Stage.Wave, Paths: seen.Paths, Quiet: seen.Same}
	switch {
	case !st.Owner.IsZero():
		c.Verb, c.Why = model.Adopt, fmt.Sprintf("%s no longer wants it", st.Owner)
	case seen.Presence == Missing && owned && seen.Inputs == want.Digest:
		c.Verb, c.Why = model.Correct, "it was deleted"
	case seen.Presence == Missing:
		c.Verb, c.Why = model.Create, "it does not exist"
	case seen.Presence == Present && seen.Inputs == "":
		c.Verb, c.Why = model.Adopt, "it exists and nothing is known of its last apply"
	case seen.Inputs != want.Digest:
		c.Verb, c.Why = model.Update, "its desired state changed"
	case seen.Drift != "":
		c.Verb, c.Why = model.Correct, seen.Drift
	default:
		return nil, nil, true
	}
	if c.Verb == model.Correct && seen.Resting {
		return nil, nil, true
	}
	return &c, nil, true
}

// prunes decides about everything that is owned and not wanted any more.
func (in *Input) prunes(p *model.Plan, want map[object.ID]bool) []model.Change {
	var changes []model.Change
	for _, claim := range in.Claims {
		if want[claim.ID] {
			continue
		}
		verb, why, wait := in.prune(claim.ID)
		if verb == handOver {
			p.Keeps = append(p.Keeps, claim)
			p.HandsOver = append(p.HandsOver, claim.ID)
			continue
		}
		if wait != "" {
			p.Keeps = append(p.Keeps, claim)
			p.Blocked = append(p.Blocked, model.Fault{
				Reason:  PruneWaits,
				Message: fmt.Sprintf("%s is no longer wanted; it stays until it is known whether another delivery wants it: waiting for %s", claim.ID, wait),
				Object:  claim.ID,
				Waiting: true,
			})
			continue
		}
		seen := in.Seen(claim.ID)
		c := model.Change{
			Verb: verb, Object: claim.ID, Version: claim.Version, Why: why, UID: seen.UID,
			Wave: seen.Wave, Last: seen.Handle.PruneLast || in.Delivery.Sync.Options.PruneLast,
		}
		if in.Delivery.Deleting && verb == model.Delete && seen.Handle.ConfirmDelete && !in.Delivery.Confirmed {
			p.Keeps = append(p.Keeps, claim)
			p.Blocked = append(p.Blocked, model.Fault{
				Reason: "DeletionConfirmation", Object: claim.ID, Waiting: true,
				Message: fmt.Sprintf("the deletion of %s waits for a confirmation", claim.ID),
				Advice:  "confirm with the annotation argocd.argoproj.io/deletion-approved on the declaring object",
			})
			continue
		}
		if verb == model.Delete {
			if c.Why = in.kept(claim.ID); c.Why != "" {
				p.Keeps = append(p.Keeps, claim)
				p.Pending = append(p.Pending, c)
				continue
			}
			c.Why = why
		}
		changes = append(changes, c)
	}
	return changes
}

// PruneWaits is the reason of what is no longer wanted and cannot be deleted yet:
// it is not known whether another delivery wants it, or it is on its way out.
const PruneWaits = "PruneWaits"

// handOver is no change: the object waits for its heir.
const handOver model.Verb = "hand over"

// prune decides about one object that is owned and not wanted any more. A
// non-empty wait names what has to be known first.
func (in *Input) prune(id object.ID) (verb model.Verb, why, wait string) {
	st := in.Standing(id)
	switch {
	case !st.Owner.IsZero():
		return model.Forget, fmt.Sprintf("it belongs to %s", st.Owner), ""
	case !st.Heir.IsZero() && st.Idle && in.Delivery.Deleting:
		// Nobody may ever ask, and what is being deleted cannot wait for that.
		return model.Forget, fmt.Sprintf("%s wants it too, and takes it with its next sync", st.Heir), ""
	case !st.Heir.IsZero():
		// Owned until the other one has really taken it: wanting alone, by one
		// that is not allowed to, must not leave an object behind.
		return handOver, "", ""
	case !st.Dweller.IsZero():
		return model.Forget, fmt.Sprintf("%s has objects in it", st.Dweller), ""
	}
	seen := in.Seen(id)
	switch {
	case seen.Handle.Disabled, seen.Handle.Keep && !in.accounts():
		return model.Forget, "an annotation on the object keeps it", ""
	case in.Delivery.Deleting && seen.Handle.Orphan:
		return model.Forget, "an annotation on the object keeps it", ""
	case !in.Delivery.Policy.Prune && !in.Delivery.Deleting && !in.accounts():
		return model.Forget, "pruning is off", ""
	case seen.Presence == Missing:
		return model.Forget, "it is gone already", ""
	case seen.Foreign:
		return model.Forget, "it does not carry the labels of this delivery", ""
	case st.Pending != "":
		return "", "", st.Pending
	case seen.Presence != Present && seen.Presence != Trusted:
		return "", "", "a look at it"
	}
	return model.Delete, "it is no longer wanted", ""
}

// lastStep leaves of the deletions those of the last step; the others follow
// when these are gone.
func (in *Input) lastStep(p *model.Plan, changes []model.Change) []model.Change {
	steps := in.Delivery.Policy.DeleteSteps
	if steps == nil {
		return changes
	}
	last := 0
	for _, c := range in.Claims {
		last = max(last, steps[c.ID])
	}
	now := changes[:0]
	for _, c := range changes {
		if steps[c.Object] == last || c.Verb == model.Forget {
			now = append(now, c)
		} else {
			p.Keeps = append(p.Keeps, model.Claim{ID: c.Object, Version: c.Version})
		}
	}
	return now
}

// accounts reports whether what is not pruned stays owned and is told of,
// rather than forgotten.
func (in *Input) accounts() bool {
	return (in.Delivery.Sync.Staged && in.Delivery.Release == nil || in.Delivery.Expands) && !in.Delivery.Deleting
}

// kept says why an object that is no longer wanted may not be deleted now; ""
// when it may.
func (in *Input) kept(id object.ID) string {
	handle := in.Seen(id).Handle
	switch {
	case !in.accounts():
	case handle.Keep:
		return "an annotation on the object keeps it"
	case handle.Confirm && !in.Delivery.Confirmed:
		return "its deletion waits for a confirmation"
	}
	return ""
}

// hold takes deletions out of the plan that nobody approved and that are too
// many to happen unasked.
func (in *Input) hold(p *model.Plan, changes []model.Change) []model.Change {
	total, gone := 0, 0
	for _, c := range in.Claims {
		total += in.Weight(c.ID)
	}
	var deletes []object.ID
	for _, c := range changes {
		if c.Verb == model.Delete {
			deletes = append(deletes, c.Object)
			gone += in.Weight(c.Object)
		}
	}
	if in.Delivery.Release != nil {
		// Another version of a chart often calls its objects otherwise. What comes in
		// their place counts, whether it is there already or not.
		total = max(total, gone+len(in.Desired))
	}
	why := in.unsafe(gone, total, len(deletes))
	if why == "" {
		return changes
	}
	token := holdToken(deletes)
	if in.Delivery.Approve == token {
		return changes
	}
	p.Held = &model.Hold{
		Token:   token,
		Deletes: deletes,
		Total:   total,
		Why:     why,
	}
	rest := changes[:0]
	for _, c := range changes {
		if c.Verb == model.Delete {
			p.Keeps = append(p.Keeps, model.Claim{ID: c.Object, Version: c.Version})
			continue
		}
		rest = append(rest, c)
	}
	return rest
}

// unsafe says why deletions have to wait for a person; "" when they need not.
func (in *Input) unsafe(gone, total, deletes int) string {
	switch sync := in.Delivery.Sync; {
	case deletes == 0, in.Consent.Unguarded:
		return ""
	case sync.Staged && in.Delivery.Release == nil && !sync.AllowEmpty && len(in.Desired) == 0:
		return "auto-sync would wipe out all resources"
	case gone <= in.Guard.Count, float64(gone) <= in.Guard.Fraction*float64(total):
		return ""
	}
	return fmt.Sprintf("%d of %d objects would be deleted", gone, total)
}

// holdToken names a set of deletions, so that an approval never covers more
// than what the person saw.
func holdToken(ids []object.ID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.Inventory()
	}
	sort.Strings(names)
	var all []byte
	for _, n := range names {
		all = append(append(all, n...), '\n')
	}
	const enough = 12 // hexadecimal digits: only ever compared with one other token
	return object.Digest(all)[len("sha256:"):][:enough]
}

func sortClaims(claims []model.Claim) {
	sort.Slice(claims, func(i, j int) bool { return claims[i].ID.Less(claims[j].ID) })
}
