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
}

// Standing is what the other deliveries say of an object.
type Standing struct {
	Owner   object.ID // another delivery that owns it now; zero when there is none
	Wanted  bool      // that owner still wants it, or has not been able to say
	Pending string    // somebody who may want it has not been evaluated yet: who; "" otherwise
	Heir    object.ID // another delivery that wants it and will take it; zero when there is none
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
	Weight func(object.ID) int
	Guard  Guard
}

// Make plans a run that applies the desired objects.
func Make(in Input) *model.Plan {
	p := &model.Plan{}
	changes := in.applies(p)
	deletes := in.prunes(p, wanted(in.Desired))
	deletes = in.hold(p, deletes)
	p.Waves = append(applyWaves(changes), deleteWaves(deletes)...)
	sortClaims(p.Keeps)
	return p
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
		p.Waves = deleteWaves(in.prunes(p, nil))
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
	if exists && (want.Handle.IfNotPresent || seen.Handle.IfNotPresent) {
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

	c := model.Change{Object: want.ID, Version: want.Version, Want: want, UID: seen.UID}
	switch {
	case !st.Owner.IsZero():
		c.Verb, c.Why = model.Adopt, fmt.Sprintf("%s no longer wants it", st.Owner)
	case seen.Presence == Missing && owned && seen.Inputs != "":
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
	if c.Verb == model.Correct && (in.Delivery.Policy.Drift != model.Heal || seen.Resting) {
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
				Reason:  "PruneWaits",
				Message: fmt.Sprintf("%s is no longer wanted; it stays until it is known whether another delivery wants it: waiting for %s", claim.ID, wait),
				Object:  claim.ID,
				Waiting: true,
			})
			continue
		}
		changes = append(changes, model.Change{Verb: verb, Object: claim.ID, Version: claim.Version, Why: why, UID: in.Seen(claim.ID).UID})
	}
	return changes
}

// handOver is no change: the object waits for its heir.
const handOver model.Verb = "hand over"

// prune decides about one object that is owned and not wanted any more. A
// non-empty wait names what has to be known first.
func (in *Input) prune(id object.ID) (verb model.Verb, why, wait string) {
	st := in.Standing(id)
	switch {
	case !st.Owner.IsZero():
		return model.Forget, fmt.Sprintf("it belongs to %s", st.Owner), ""
	case !st.Heir.IsZero():
		// Owned until the other one has really taken it: wanting alone, by one
		// that is not allowed to, must not leave an object behind.
		return handOver, "", ""
	case !st.Dweller.IsZero():
		return model.Forget, fmt.Sprintf("%s has objects in it", st.Dweller), ""
	}
	seen := in.Seen(id)
	switch {
	case seen.Handle.Disabled, seen.Handle.Keep:
		return model.Forget, "an annotation on the object keeps it", ""
	case !in.Delivery.Policy.Prune && !in.Delivery.Deleting:
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
	if gone <= in.Guard.Count || float64(gone) <= in.Guard.Fraction*float64(total) {
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
		Why:     fmt.Sprintf("%d of %d objects would be deleted", gone, total),
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
