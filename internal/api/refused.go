package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// What was refused is written down, since it is how an attack begins. Whoever
// knocks decides how often, so that an entry stands for all that one caller from
// one address tried of one call: the first at once, the others together after a
// minute, then after two, and so on up to an hour.

// rejection is what is told together.
type rejection struct {
	actor   string
	known   bool // actor has signed in; else it is what somebody said
	address string
	call    string
}

// Bounds of what is remembered of refusals.
const (
	maxRefusals    = 200 // told apart; what comes on top is told as one
	firstQuiet     = time.Minute
	longestQuiet   = time.Hour
	refusedResult  = "Refused"
	signInCall     = "login"
	credentialCall = "credential"
)

// refusals gathers what was refused.
type refusals struct {
	write func(rejection, string) // an entry; it must not wait

	mu      sync.Mutex
	knocks  map[rejection]*knocking
	ticking bool
}

// knocking is what came of one sort since the last entry of it.
type knocking struct {
	more  int
	since time.Time
	note  string // of the last
	quiet time.Duration
	next  time.Time // when the next entry may be made
}

func newRefusals(write func(rejection, string)) *refusals {
	return &refusals{write: write, knocks: map[rejection]*knocking{}}
}

// tell adds one refusal.
func (r *refusals) tell(what rejection, note string) {
	r.mu.Lock()
	k := r.knocks[what]
	if k == nil && len(r.knocks) >= maxRefusals {
		what = rejection{actor: "many others", call: "many"}
		k = r.knocks[what]
	}
	now := time.Now()
	if k != nil {
		if k.more == 0 {
			k.since = now
		}
		k.more, k.note = k.more+1, note
		r.mu.Unlock()
		return
	}
	r.knocks[what] = &knocking{quiet: firstQuiet, next: now.Add(firstQuiet)}
	r.tick()
	r.mu.Unlock()
	r.write(what, note)
}

// tick looks again in a minute. The caller holds r.mu.
func (r *refusals) tick() {
	if !r.ticking {
		r.ticking = true
		time.AfterFunc(firstQuiet, r.sum)
	}
}

// sum writes down what has come since, and forgets who has gone.
func (r *refusals) sum() {
	type entry struct {
		what rejection
		note string
	}
	var entries []entry
	r.mu.Lock()
	now := time.Now()
	for what, k := range r.knocks {
		switch {
		case now.Before(k.next):
		case k.more == 0:
			delete(r.knocks, what)
		default:
			note := fmt.Sprintf("%s; %s since %s", k.note, counted(int32(min(k.more, 1<<30)), "time"), k.since.UTC().Format(time.TimeOnly))
			entries = append(entries, entry{what, note})
			k.quiet = min(2*k.quiet, longestQuiet)
			k.more, k.next = 0, now.Add(k.quiet)
		}
	}
	r.ticking = false
	if len(r.knocks) > 0 {
		r.tick()
	}
	r.mu.Unlock()
	for _, e := range entries {
		r.write(e.what, e.note)
	}
}

// refusedSignIns is what the journal keeps attempts under that come to nothing.
// Anybody can make them, under any name: together they have the room of one
// account, and push out nothing of what others did.
var refusedSignIns = object.ID{Kind: "Account", Name: "refused"}

// refusedTo is what the journal keeps under that somebody was not allowed: it
// pushes out nothing but more of it, and nothing of the objects that were asked
// for.
func refusedTo(actor string) object.ID {
	return object.ID{Kind: "Account", Namespace: "refused", Name: cut(actor, maxActor)}
}

// keepRefusal writes an entry of what was refused.
func (s *Server) keepRefusal(what rejection, note string) {
	s.log.Info("audit", "actor", what.actor, "action", what.call, "result", refusedResult, "address", what.address, "message", note)
	w := s.world.Load()
	if w == nil || w.Journal == nil {
		return
	}
	room := refusedSignIns
	if what.known {
		room = refusedTo(what.actor)
	}
	w.Journal.Record(journal.History{
		Delivery: room, At: time.Now(), Result: refusedResult, Message: cut(note, maxNote), Actor: what.actor, Action: what.call, Address: what.address,
	})
}

// refusedCall notes that a caller may not do what they asked for.
func (s *Server) refusedCall(ctx context.Context, who signin.Principal, procedure string, message any, err error) {
	what := rejection{actor: nameOf(who), known: who.Kind != signin.KindAnonymous, call: procedure[strings.LastIndexByte(procedure, '/')+1:]}
	if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
		what.address = addressOf(x.r)
	}
	switch m := message.(type) {
	case *plumbv1.ActRequest:
		what.call = actionName(m)
	case *plumbv1.ActOnSourceRequest:
		what.call = m.GetAction()
	}
	note := err.Error()
	var refused *connect.Error
	if errors.As(err, &refused) {
		note = refused.Message()
	}
	if m, ok := message.(referring); ok && m.GetRef().GetName() != "" {
		note = cut(rows.ID(m.GetRef()).String(), maxActor) + ": " + note
	}
	s.refusals.tell(what, note)
}

// noteStranger notes a credential that is not valid. claimant is whom it says it
// is of.
func (s *Server) noteStranger(r *http.Request, claimant string, err error) {
	actor := "unknown"
	if claimant != "" {
		actor = claimant + "?"
	}
	s.refusals.tell(rejection{actor: cut(actor, maxActor), address: addressOf(r), call: credentialCall}, err.Error())
}

// refusedSignIn notes an attempt to sign in that came to nothing. What was given
// as the name of an account that does not exist may be anything, such as a
// password in the wrong field, and is not kept.
func (s *Server) refusedSignIn(ctx context.Context, name, note string) {
	what := rejection{actor: "unknown", call: signInCall}
	if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
		what.address = addressOf(x.r)
	}
	if accounts, err := s.door.Accounts(ctx); err == nil {
		for _, account := range accounts {
			if account.Name == name {
				what.actor = name
			}
		}
	}
	s.refusals.tell(what, note)
}

// signedInThere keeps account of who has come from the identity provider, or has
// not been let in.
func (s *Server) signedInThere(r *http.Request, name string, err error) {
	ctx := context.WithValue(r.Context(), exchangeKey{}, exchange{r: r})
	if err != nil {
		s.refusals.tell(rejection{actor: "unknown", address: addressOf(r), call: signInCall}, err.Error())
		return
	}
	s.audit(ctx, entry{Actor: name, Action: signInCall})
}

// nameOf is what a caller is called in entries.
func nameOf(who signin.Principal) string {
	if who.Name == "" {
		return "anonymous"
	}
	return who.Name
}
