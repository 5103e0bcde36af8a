package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// rule decides whether a caller may make a call. It is asked once the message
// is there. A list is open to everybody who is signed in, since it shows to each
// only what they may see.
type rule func(ctx context.Context, s *Server, caller *access.Caller, message any) error

// anyone needs no session.
var anyone rule

// rules has every call of the API: what is not in it is not served.
var rules = map[string]rule{
	plumbv1connect.SessionServiceGetSignInProcedure: anyone,
	plumbv1connect.SessionServiceSignInProcedure:    anyone,
	plumbv1connect.SessionServiceSignOutProcedure:   anyone,
	plumbv1connect.SessionServiceGetMeProcedure:     signedIn,

	plumbv1connect.DeliveryServiceListDeliveriesProcedure:  signedIn,
	plumbv1connect.DeliveryServiceWatchDeliveriesProcedure: signedIn,
	plumbv1connect.DeliveryServiceGetDeliveryProcedure:     onRef(policy.Get),
	plumbv1connect.DeliveryServiceWatchGraphProcedure:      onRef(policy.Get),
	plumbv1connect.DeliveryServiceGetDiffProcedure:         onRef(policy.Get),
	plumbv1connect.DeliveryServiceExplainProcedure:         explainRule,
	plumbv1connect.DeliveryServiceGetHistoryProcedure:      onRef(policy.Get),
	plumbv1connect.DeliveryServiceGetObjectProcedure:       onRef(policy.Get),
	plumbv1connect.DeliveryServiceStreamLogsProcedure:      onRef(policy.ReadLogs),
	plumbv1connect.DeliveryServiceActProcedure:             actRule,

	plumbv1connect.DeclarationServiceListDeclarationsProcedure:  declarationsRule,
	plumbv1connect.DeclarationServiceWatchDeclarationsProcedure: declarationsRule,

	plumbv1connect.FleetServiceGetOverviewProcedure:   signedIn,
	plumbv1connect.FleetServiceListSourcesProcedure:   signedIn,
	plumbv1connect.FleetServiceWatchSourcesProcedure:  signedIn,
	plumbv1connect.FleetServiceGetSourceProcedure:     onRef(policy.Get),
	plumbv1connect.FleetServiceWatchSourceProcedure:   onRef(policy.Get),
	plumbv1connect.FleetServiceActOnSourceProcedure:   actOnSourceRule,
	plumbv1connect.FleetServiceListClustersProcedure:  signedIn,
	plumbv1connect.FleetServiceGetClusterProcedure:    clusterRule,
	plumbv1connect.FleetServiceWatchClustersProcedure: signedIn,
	plumbv1connect.FleetServiceListProjectsProcedure:  signedIn,
	plumbv1connect.FleetServiceWatchProjectsProcedure: signedIn,
	plumbv1connect.FleetServiceListActivityProcedure:  signedIn,
	plumbv1connect.FleetServiceWatchActivityProcedure: signedIn,
	plumbv1connect.FleetServiceSearchProcedure:        signedIn,
	plumbv1connect.FleetServiceGetSettingsProcedure:   onPage(policy.Settings),
}

func signedIn(context.Context, *Server, *access.Caller, any) error { return nil }

// onPage is for what is not about one declared object.
func onPage(page string) rule {
	return func(_ context.Context, _ *Server, caller *access.Caller, _ any) error {
		return refusal(caller.MayUse(policy.Plumb, policy.Get, page))
	}
}

// referring is a message about one declared object.
type referring interface{ GetRef() *plumbv1.ObjectRef }

// onRef is for calls about one declared object.
func onRef(action string) rule {
	return func(ctx context.Context, s *Server, caller *access.Caller, message any) error {
		m, ok := message.(referring)
		if !ok || m.GetRef().GetName() == "" {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("ref is missing: name a declared object by group, kind, namespace and name"))
		}
		return s.may(ctx, caller, action, m.GetRef())
	}
}

// explainRule is onRef, where a delivery is named; what is looked for in every
// delivery is checked when its owner is found.
func explainRule(ctx context.Context, s *Server, caller *access.Caller, message any) error {
	if m, ok := message.(*plumbv1.ExplainRequest); ok && m.GetRef().GetName() == "" && m.GetObject().GetName() != "" {
		return nil
	}
	return onRef(policy.Get)(ctx, s, caller, message)
}

// actRule asks for what the action needs. A preview needs as much, since it tells
// what would happen, and a right to see the delivery, since it shows objects.
func actRule(ctx context.Context, s *Server, caller *access.Caller, message any) error {
	m, ok := message.(*plumbv1.ActRequest)
	if !ok || actionOf(m) == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("no action is given: set one of sync, refresh, suspend, resume, approve, rollback, terminate, delete, lift and object_action"))
	}
	if refresh := m.GetRefresh(); (refresh.GetForce() || refresh.GetResetFailures()) && m.GetRef().GetKind() != "HelmRelease" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("refresh.force and refresh.reset_failures are for a HelmRelease"))
	}
	if err := onRef(actionOf(m))(ctx, s, caller, message); err != nil {
		return err
	}
	if m.GetPreview() {
		if err := onRef(policy.Get)(ctx, s, caller, message); err != nil {
			return err
		}
	}
	if m.GetSync().GetRevision() != "" && s.guard.Policy().OverrideForRevision() {
		return onRef(policy.Override)(ctx, s, caller, message) // upstream asks where it is not the declared one
	}
	return nil
}

// actionOf is the action of a policy that a request asks for; "" when it asks
// for none.
func actionOf(m *plumbv1.ActRequest) string {
	switch action := m.GetAction().(type) {
	case *plumbv1.ActRequest_Sync:
		return policy.Sync
	case *plumbv1.ActRequest_Refresh:
		if action.Refresh.GetForce() || action.Refresh.GetResetFailures() {
			return policy.Sync // it changes the cluster although nothing has changed in Git
		}
		return policy.Refresh
	case *plumbv1.ActRequest_Suspend:
		return policy.Suspend
	case *plumbv1.ActRequest_Resume:
		return policy.Resume
	case *plumbv1.ActRequest_Approve:
		return policy.Approve
	case *plumbv1.ActRequest_Rollback:
		return policy.Rollback
	case *plumbv1.ActRequest_Terminate:
		return policy.Terminate
	case *plumbv1.ActRequest_Delete:
		return policy.Delete
	case *plumbv1.ActRequest_Lift:
		return policy.Rollback
	case *plumbv1.ActRequest_ObjectAction:
		if object := m.GetObjectAction().GetObject(); m.GetRef().GetKind() == "Application" {
			return policy.Action + "/" + policy.ChildAction(object.GetGroup(), object.GetKind(), m.GetObjectAction().GetName())
		}
		return policy.Update
	}
	return ""
}

func actOnSourceRule(ctx context.Context, s *Server, caller *access.Caller, message any) error {
	m, ok := message.(*plumbv1.ActOnSourceRequest)
	action := map[string]string{"refresh": policy.Refresh, "suspend": policy.Suspend, "resume": policy.Resume}[m.GetAction()]
	if !ok || action == "" {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("action %q is none of refresh, suspend and resume", m.GetAction()))
	}
	if kind := s.kinds[rows.ID(m.GetRef()).GroupKind()]; kind.delivery || notDeliveries[m.GetRef().GetKind()] {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s is no source", m.GetRef().GetKind()))
	}
	return onRef(action)(ctx, s, caller, message)
}

// may asks the guard about a declared object. Whether it exists is told only to
// those who may see it: to everybody else it is the same.
func (s *Server) may(ctx context.Context, caller *access.Caller, action string, ref *plumbv1.ObjectRef) error {
	id := rows.ID(ref)
	kind, known := s.kinds[id.GroupKind()]
	if !known {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s is not a kind that is declared to Plumb", id.GroupKind()))
	}
	if kind.delivery && !s.declared(id) {
		// Its project is not known, and a policy may go by that.
		for _, project := range s.projectsOf(id) {
			if p := caller.May(ctx, action, access.Target{ID: id, Project: project}); !p.Allowed {
				return unseen(id, p)
			}
		}
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	target := s.target(ref)
	p := caller.May(ctx, action, target)
	switch {
	case p.Allowed:
		return nil
	case action != policy.Get && caller.May(ctx, policy.Get, target).Allowed:
		return refusal(p)
	}
	return unseen(id, p)
}

// inProject are the kinds that belong to a project, which only they themselves
// tell.
var inProject = map[string]bool{"Application": true, "ApplicationSet": true}

// unseen refuses what the caller may not even see. The reason would tell the
// project of what is in one, and so that it exists.
func unseen(id object.ID, p access.Permission) error {
	if !inProject[id.Kind] {
		return refusal(p)
	}
	return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("permission denied: no rule lets you do this with %s, if there is such a one", id))
}

// projectsOf are the projects that an object may be in which is not there.
func (s *Server) projectsOf(id object.ID) []string {
	if !inProject[id.Kind] {
		return []string{""}
	}
	projects := map[string]bool{"": true}
	s.mu.Lock()
	for at := range s.settings.projects {
		projects[at.Name] = true
	}
	s.mu.Unlock()
	s.deliveries.Each(func(d *plumbv1.Delivery) { projects[d.GetProject()] = true })
	return slices.Sorted(maps.Keys(projects))
}

// declared reports whether there is an object of a name.
func (s *Server) declared(id object.ID) bool {
	if _, ok := s.deliveries.Get(id); ok {
		return true
	}
	if w := s.world.Load(); w != nil {
		o, _ := w.Declared.Declared(id)
		return o != nil
	}
	return false
}

// target is a declared object for the guard, with the project that it belongs
// to now.
func (s *Server) target(ref *plumbv1.ObjectRef) access.Target {
	id := rows.ID(ref)
	t := access.Target{ID: id}
	if w := s.world.Load(); w != nil {
		if o, _ := w.Declared.Declared(id); o != nil {
			t.Project = rows.Project(o)
			return t
		}
	}
	if row, ok := s.deliveries.Get(id); ok {
		t.Project = row.GetProject()
	}
	return t
}

// refusal turns a permission into an error.
func refusal(p access.Permission) error {
	if p.Allowed {
		return nil
	}
	return connect.NewError(connect.CodePermissionDenied, errors.New("permission denied: "+p.Reason))
}

type callerKey struct{}

// callerOf is who makes a call.
func callerOf(ctx context.Context) *access.Caller {
	c, _ := ctx.Value(callerKey{}).(*access.Caller)
	return c
}

// gatekeeper stands in front of every call.
func (s *Server) gatekeeper() connect.Interceptor { return gatekeeper{s} }

type gatekeeper struct{ s *Server }

// WrapUnary applies the rule of a call to its message.
func (g gatekeeper) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, check, err := g.enter(ctx, request.Spec().Procedure)
		if err != nil {
			return nil, err
		}
		if err := check(ctx, request.Any()); err != nil {
			return nil, err
		}
		ctx, cancel := within(ctx)
		defer cancel()
		return next(ctx, request)
	}
}

// WrapStreamingClient is for clients, of which there are none here.
func (g gatekeeper) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler applies the rule of a stream to its first message, and
// ends the stream when the session does.
func (g gatekeeper) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, check, err := g.enter(ctx, conn.Spec().Procedure)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, streamTime)
		defer cancel()
		end, ok := g.s.streams.begin(payer(ctx), weightOf(conn.Spec().Procedure))
		if !ok {
			return exhausted("too many streams go on: close some pages")
		}
		defer end()
		if caller := callerOf(ctx); caller != nil && !caller.Principal.Expires.IsZero() {
			ctx, cancel = context.WithDeadline(ctx, caller.Principal.Expires)
			defer cancel()
		}
		return next(ctx, &checkedStream{StreamingHandlerConn: conn, server: g.s, check: check, ctx: ctx})
	}
}

// checkedStream checks the message that comes in, and again before one goes out
// when the policy is another one or time has passed: a stream is long, and its
// caller may have lost what they had.
type checkedStream struct {
	connect.StreamingHandlerConn
	server *Server
	check  func(context.Context, any) error
	ctx    context.Context //nolint:containedctx // of the stream

	asked   any // what came in
	policy  *policy.Policy
	checked time.Time
}

// rechecked is how long a stream goes on without a look at who its caller is.
const rechecked = 30 * time.Second

// Receive takes what is asked, if the caller may ask it.
func (c *checkedStream) Receive(m any) error {
	if err := c.StreamingHandlerConn.Receive(m); err != nil {
		return err
	}
	c.asked = m
	return c.again()
}

// Send answers, if the caller may still be told.
func (c *checkedStream) Send(m any) error {
	if c.asked != nil && (c.policy != c.server.guard.Policy() || time.Since(c.checked) > rechecked) {
		if err := c.still(); err != nil {
			return err
		}
		if err := c.again(); err != nil {
			return err
		}
	}
	return c.StreamingHandlerConn.Send(m)
}

func (c *checkedStream) again() error {
	c.policy, c.checked = c.server.guard.Policy(), time.Now()
	return c.check(c.ctx, c.asked)
}

// still reports why the credential that the stream began with is not good any
// more; nil: it is.
func (c *checkedStream) still() error {
	x, ok := c.ctx.Value(exchangeKey{}).(exchange)
	if !ok || callerOf(c.ctx) == nil {
		return nil
	}
	switch err := c.server.door.Holds(c.ctx, x.r, callerOf(c.ctx).Principal); {
	case err == nil:
		return nil
	case errors.Is(err, signin.ErrExpired): // which a stream cannot renew, and the next request may
		return connect.NewError(connect.CodeUnavailable, err)
	default:
		return connect.NewError(codeOf(err), err)
	}
}

// enter finds the rule of a call and who makes it.
func (g gatekeeper) enter(ctx context.Context, procedure string) (context.Context, func(context.Context, any) error, error) {
	r, known := rules[procedure]
	if !known {
		return nil, nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("%s has no rule, and is not served", procedure))
	}
	if r == nil {
		return ctx, func(context.Context, any) error { return nil }, nil
	}
	principal, err := signin.Caller(ctx)
	if err != nil {
		return nil, nil, connect.NewError(codeOf(err), err)
	}
	caller := g.s.guard.Caller(principal)
	ctx = context.WithValue(ctx, callerKey{}, caller)
	return ctx, func(ctx context.Context, message any) error {
		err := r(ctx, g.s, g.s.guard.Caller(principal), message)
		if connect.CodeOf(err) == connect.CodePermissionDenied {
			g.s.refusedCall(ctx, principal, procedure, message, err)
		}
		return err
	}, nil
}

// codeOf is the code of an error of the door.
func codeOf(err error) connect.Code {
	switch {
	case errors.Is(err, signin.ErrUnavailable), errors.Is(err, signin.ErrNotReady):
		return connect.CodeUnavailable
	case errors.Is(err, signin.ErrBusy):
		return connect.CodeResourceExhausted
	}
	return connect.CodeUnauthenticated
}
