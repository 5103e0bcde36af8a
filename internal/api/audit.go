package api

import (
	"context"
	"net"
	"strings"
	"time"

	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
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

// Record writes down what a person did by another protocol.
func (s *Server) Record(ctx context.Context, actor, action string, on object.ID, refused bool, note string) {
	if refused && on.IsZero() {
		on = refusedSignIns
	}
	s.audit(ctx, entry{Actor: actor, Action: action, Object: on, Message: note, Failed: refused})
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
		address, _, _ = net.SplitHostPort(x.r.RemoteAddr)
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
