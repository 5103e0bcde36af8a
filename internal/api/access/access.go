// Package access decides who may see and do what with declared objects. A
// request is allowed by Argo CD's policy (internal/policy), which here covers
// both dialects, or by the cluster's own RBAC for the declared object; a policy
// that denies it goes before both. What nothing allows is refused.
package access

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// Target is a declared object that somebody wants to do something with.
type Target struct {
	ID      object.ID
	Project string // of an Application or ApplicationSet
}

// Permission is an answer.
type Permission struct {
	Allowed bool
	Reason  string // why not; "" where it is allowed
}

// Reviewer asks a cluster's own authorisation.
type Reviewer interface {
	AccessReview(context.Context, cluster.Access) (allowed bool, reason string, err error)
}

// Options are what a guard is made of.
type Options struct {
	Reviewer Reviewer // nil: the cluster is not asked
	// Control is the namespace of Argo CD's own objects.
	Control string
	// Plural is the resource of a kind, such as "kustomizations".
	Plural func(schema.GroupKind) string
	Now    func() time.Time // nil: time.Now
}

// Guard answers for everybody.
type Guard struct {
	opts   Options
	policy atomic.Pointer[policy.Policy]

	mu      sync.Mutex
	reviews map[string]review
	views   map[string]*view
	viewsOf *policy.Policy
	decided atomic.Int64 // decisions that views remember
}

// view is what a policy says to somebody. It remembers what may be seen: lists
// ask for the same again and again.
type view struct {
	*policy.View
	decided *atomic.Int64 // by all views

	mu   sync.RWMutex
	sees map[Target]policy.Effect
}

// see is what the policy says to seeing a target.
func (v *view) see(t Target, request func() policy.Request) policy.Effect {
	v.mu.RLock()
	effect, known := v.sees[t]
	v.mu.RUnlock()
	if known {
		return effect
	}
	effect = v.Can(request()).Effect
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.decided.Add(1) <= maxDecisions {
		v.sees[t] = effect
	}
	return effect
}

type review struct {
	allowed bool
	until   time.Time
}

// Bounds of what is remembered.
const (
	reviewLife = 30 * time.Second
	maxReviews = 20000
	maxViews   = 1000
	reviewers  = 16

	maxDecisions = 200000 // about 30 MiB
)

// New makes a guard with an empty policy, by which only admin may do anything.
func New(opts Options) *Guard {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	g := &Guard{opts: opts, reviews: map[string]review{}, views: map[string]*view{}}
	g.policy.Store(policy.Compile(nil, nil))
	return g
}

// SetPolicy puts a policy in force.
func (g *Guard) SetPolicy(p *policy.Policy) { g.policy.Store(p) }

// Policy is the one in force: another pointer is another policy.
func (g *Guard) Policy() *policy.Policy { return g.policy.Load() }

// Caller is somebody, under the policy as it is now.
type Caller struct {
	Principal signin.Principal
	guard     *Guard
	view      *view

	mu   sync.Mutex
	seen map[place]bool // kinds in namespaces that the cluster lets the caller list; "" for everywhere
}

type place struct {
	kind      schema.GroupKind
	namespace string
}

// Caller looks up what a principal may do.
func (g *Guard) Caller(p signin.Principal) *Caller {
	return &Caller{Principal: p, guard: g, view: g.view(subject(g.Policy(), p)), seen: map[place]bool{}}
}

// subject is a principal in the words of a policy.
func subject(p *policy.Policy, who signin.Principal) policy.Subject {
	switch who.Kind {
	case signin.KindAnonymous:
		return policy.Subject{}
	case signin.KindProject:
		return policy.Subject{Role: "proj:" + who.Project + ":" + who.Role}
	case signin.KindOIDC:
		s := p.Claims(who.Claims)
		if s.Name == "" {
			s.Name = who.Subject
		}
		for _, group := range who.Groups {
			if !slices.Contains(s.Groups, group) {
				s.Groups = append(s.Groups, group)
			}
		}
		return s
	}
	return policy.Subject{Name: who.Subject, Groups: who.Groups, NotLetIn: who.Kind == signin.KindKubernetes}
}

// view resolves a subject's roles, once for each policy.
func (g *Guard) view(s policy.Subject) *view {
	p := g.Policy()
	k := fmt.Sprintf("%t %q", s.NotLetIn, append([]string{s.Name, s.Role}, s.Groups...))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.viewsOf != p || len(g.views) >= maxViews || g.decided.Load() > maxDecisions {
		g.views, g.viewsOf = map[string]*view{}, p
		g.decided.Store(0)
	}
	v := g.views[k]
	if v == nil {
		v = &view{View: p.For(s), decided: &g.decided, sees: map[Target]policy.Effect{}}
		g.views[k] = v
	}
	return v
}

// May decides one request about a declared object. action is one of
// internal/policy's.
func (c *Caller) May(ctx context.Context, action string, t Target) Permission {
	d := c.view.Can(c.guard.request(action, t))
	switch d.Effect {
	case policy.Allowed:
		return Permission{Allowed: true}
	case policy.Denied:
		return Permission{Reason: d.Reason()}
	}
	access, ok := c.guard.access(action, t)
	if ok && c.review(ctx, access) {
		return Permission{Allowed: true}
	}
	return Permission{Reason: d.Reason()}
}

// MayUse decides a request that is not about a declared object: a page of
// settings or activity, a cluster, a repository, an account.
func (c *Caller) MayUse(resource, action, name string) Permission {
	d := c.view.Can(policy.Request{Resource: resource, Action: action, Object: name})
	if d.Allowed() {
		return Permission{Allowed: true}
	}
	return Permission{Reason: d.Reason()}
}

// Can decides a request in the words of the policy, by the policy alone.
func (c *Caller) Can(r policy.Request) bool { return c.view.Can(r).Allowed() }

// Any reports whether there may be an object of a resource that the caller may
// do this with.
func (c *Caller) Any(resource, action string) bool { return c.view.Any(resource, action) }

// request puts a request into the words of a policy.
func (g *Guard) request(action string, t Target) policy.Request {
	r := policy.Request{Action: action, Object: t.ID.Namespace + "/" + t.ID.Name}
	switch t.ID.Kind {
	case "Application", "ApplicationSet":
		r.Resource = policy.Applications
		if t.ID.Kind == "ApplicationSet" {
			r.Resource = policy.ApplicationSets
		}
		r.Object = policy.ApplicationObject(g.opts.Control, t.Project, t.ID.Namespace, t.ID.Name)
		if action == policy.ReadLogs {
			r.Resource, r.Action = policy.Logs, policy.Get
		}
	case "AppProject":
		r.Resource, r.Object = policy.Projects, t.ID.Name
	case "Kustomization":
		r.Resource = policy.Kustomizations
	case "HelmRelease":
		r.Resource = policy.HelmReleases
	default:
		r.Resource = policy.Sources
	}
	return r
}

// access puts a request into the words of Kubernetes: whoever may patch a
// declared object may ask for what its annotations and its spec ask for. False
// where a right on the declared object says nothing about it.
func (g *Guard) access(action string, t Target) (cluster.Access, bool) {
	verb, ok := policy.Verb(g.request(action, t))
	resource := g.opts.Plural(t.ID.GroupKind())
	return cluster.Access{Verb: verb, Group: t.ID.Group, Resource: resource, Namespace: t.ID.Namespace, Name: t.ID.Name}, ok && resource != ""
}

// review asks the cluster, unless it has been asked a moment ago. An answer that
// could not be had is a no.
func (c *Caller) review(ctx context.Context, a cluster.Access) bool {
	g := c.guard
	if g.opts.Reviewer == nil || c.Principal.KubernetesUser == "" {
		return false
	}
	a.User, a.Groups = c.Principal.KubernetesUser, c.Principal.KubernetesGroups
	k := fmt.Sprintf("%q %q %q %q %q %q %q", a.User, a.Groups, a.Verb, a.Group, a.Resource, a.Namespace, a.Name)
	now := g.opts.Now()
	g.mu.Lock()
	known, ok := g.reviews[k]
	g.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.allowed
	}
	allowed, _, err := g.opts.Reviewer.AccessReview(ctx, a)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reviews) >= maxReviews {
		clear(g.reviews)
	}
	g.reviews[k] = review{allowed, now.Add(reviewLife)}
	return allowed
}

// Reviewed reports whether Prepare has anything to ask.
func (c *Caller) Reviewed() bool {
	return c.guard.opts.Reviewer != nil && c.Principal.KubernetesUser != ""
}

// Prepare asks the cluster once for everywhere, and where that is refused once
// for each namespace, whether the caller may list what targets names, so that
// Sees answers from memory.
func (c *Caller) Prepare(ctx context.Context, targets []Target) {
	if !c.Reviewed() {
		return
	}
	open := map[place]bool{}
	for _, t := range targets {
		if c.effect(t) == policy.Unmatched {
			open[place{t.ID.GroupKind(), t.ID.Namespace}] = true
		}
	}
	everywhere := map[schema.GroupKind]bool{}
	for at := range open {
		if _, asked := everywhere[at.kind]; !asked {
			everywhere[at.kind] = c.lists(ctx, place{kind: at.kind})
		}
	}
	limit := make(chan struct{}, reviewers)
	var all sync.WaitGroup
	for at := range open {
		if everywhere[at.kind] {
			continue
		}
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			c.lists(ctx, at)
		})
	}
	all.Wait()
}

// maxLooks bounds the places that one caller asks the cluster about by Look.
const maxLooks = 200

// Look is Sees for targets that Prepare was not told of: it asks the cluster about
// their kind, once for everywhere and once for each namespace. Where it would have
// to ask about too many, the answer is no.
func (c *Caller) Look(ctx context.Context, t Target) bool {
	switch c.view.Can(c.guard.request(policy.Get, t)).Effect {
	case policy.Allowed:
		return true
	case policy.Denied:
		return false
	}
	if !c.Reviewed() {
		return false
	}
	for _, at := range []place{{kind: t.ID.GroupKind()}, {t.ID.GroupKind(), t.ID.Namespace}} {
		c.mu.Lock()
		allowed, known := c.seen[at]
		full := len(c.seen) >= maxLooks
		c.mu.Unlock()
		if !known && !full {
			allowed = c.lists(ctx, at)
		}
		if allowed {
			return true
		}
	}
	return false
}

// lists asks whether the caller may list a kind, and remembers it.
func (c *Caller) lists(ctx context.Context, at place) bool {
	resource := c.guard.opts.Plural(at.kind)
	allowed := resource != "" && c.review(ctx, cluster.Access{Verb: "list", Group: at.kind.Group, Resource: resource, Namespace: at.namespace})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[at] = allowed
	return allowed
}

// effect is what the policy says to seeing a target.
func (c *Caller) effect(t Target) policy.Effect {
	return c.view.see(t, func() policy.Request { return c.guard.request(policy.Get, t) })
}

// Sees reports whether a row of a list is for the caller, from memory; Prepare
// comes before.
func (c *Caller) Sees(t Target) bool {
	switch c.effect(t) {
	case policy.Allowed:
		return true
	case policy.Denied:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[place{kind: t.ID.GroupKind()}] || c.seen[place{t.ID.GroupKind(), t.ID.Namespace}]
}
