package api

import (
	"cmp"
	"context"
	"strings"
	"time"

	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// entry is something that a person did.
type entry struct {
	Actor   string // "" is the caller
	Action  string
	Object  object.ID // zero: nothing declared
	Message string
	Failed  bool
}

// Bounds of what an entry keeps: anybody may try to sign in by any name.
const (
	maxActor = 256
	maxNote  = 4 << 10
)

// cut is the beginning of a text.
func cut(text string, limit int) string {
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// Record writes down what a person did by another protocol, or was refused.
func (s *Server) Record(ctx context.Context, actor, action string, on object.ID, refused bool, note string) {
	switch {
	case refused && action == signInCall:
		s.refusedSignIn(ctx, actor, cmp.Or(note, signin.ErrLogin.Error()))
	case refused:
		what := rejection{actor: cmp.Or(actor, "anonymous"), known: actor != "", call: action}
		if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
			what.address = addressOf(x.r)
		}
		if !on.IsZero() {
			note = strings.TrimSuffix(on.String()+": "+note, ": ")
		}
		s.refusals.tell(what, note)
	default:
		s.audit(ctx, entry{Actor: actor, Action: action, Object: on, Message: note})
	}
}

// audit writes down what a person did, or tried to do, in the journal and in the
// log. There is no secret in it.
func (s *Server) audit(ctx context.Context, e entry) {
	if e.Actor == "" {
		if caller := callerOf(ctx); caller != nil {
			e.Actor = caller.Principal.Name
		}
	}
	if e.Actor == "" {
		e.Actor = "anonymous"
	}
	e.Actor, e.Message = cut(e.Actor, maxActor), cut(e.Message, maxNote)
	address := ""
	if x, ok := ctx.Value(exchangeKey{}).(exchange); ok {
		address = addressOf(x.r)
	}
	result := "Succeeded"
	if e.Failed {
		result = "Failed"
	}
	on := e.Object
	if on.IsZero() {
		on = object.ID{Kind: "Account", Name: e.Actor}
	}
	s.log.Info("audit", "actor", e.Actor, "action", e.Action, "object", on.String(), "result", result, "address", address)
	if w := s.world.Load(); w != nil {
		w.Journal.Record(journal.History{
			Delivery: on, At: time.Now(), Result: result, Message: e.Message, Actor: e.Actor, Action: e.Action, Address: address,
		})
	}
}
