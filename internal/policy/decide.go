package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Request is what somebody wants to do.
type Request struct {
	Resource string // one of the resources
	Action   string // one of the actions, or Refresh, Terminate, Suspend, Resume, Approve
	Object   string // in the form that the resource's comment gives
	// Child narrows Update and Delete to an object that a delivery owns
	// (ChildObject), and names which Action (ChildAction). Where it stands in
	// Action already, behind a slash, the line is asked for as it is and nothing
	// is inherited from the whole.
	Child string
}

// Effect is what a policy says to a request.
type Effect uint8

// The effects.
const (
	Unmatched Effect = iota // no rule allows it: refused, unless something else than the policy allows it
	Allowed
	Denied // a rule denies it: refused, whatever else allows it
)

// String is one word.
func (e Effect) String() string { return [...]string{"unmatched", "allowed", "denied"}[e] }

// Decision is the answer to a request. It is cheap to make and to throw away:
// the words are put together when they are asked for.
type Decision struct {
	Effect Effect

	view    *View
	request Request // as it was asked
	action  string  // that was decided on
	rule    *rule
	as      string // name that the rule was found for
	note    string // for refusals without a rule
}

// Allowed reports whether the policy allows the request.
func (d Decision) Allowed() bool { return d.Effect == Allowed }

// By is the place of the rule that decided, such as policy.csv:12 or
// AppProject/argocd/shop spec.roles[0].policies[1]; "" where none did.
func (d Decision) By() string {
	if d.rule == nil {
		return ""
	}
	return place(d.rule.Origin)
}

// Rule is the line that decided; "" where none did.
func (d Decision) Rule() string {
	if d.rule == nil {
		return ""
	}
	return d.rule.String()
}

// Reason is one sentence for people: who, what, and which rule.
func (d Decision) Reason() string {
	what := strings.TrimSpace(d.request.word() + " " + d.request.Resource + " " + clip(d.request.Object))
	if d.note != "" {
		return what + ": " + d.note
	}
	if d.rule == nil {
		text := fmt.Sprintf("no rule lets %s %s", d.view.who, what)
		if d.action != d.request.word() {
			text += " (asked for as " + d.action + ")"
		}
		if len(d.view.passed) > 0 {
			text += "; the group " + clip(d.view.passed[0]) + " is called like a role, and roles are given by g lines only"
		}
		return text
	}
	text := fmt.Sprintf("%s may %s", d.view.who, what)
	if d.Effect == Denied {
		text = fmt.Sprintf("%s may not %s", d.view.who, what)
	}
	text += ": " + d.By() + " (" + clip(d.Rule()) + ")"
	switch {
	case d.rule.broken != "":
		text += ", which denies since " + d.rule.broken
	case d.as == d.view.common && d.as != "" && d.as != d.view.name:
		text += ", by the default role"
	case d.as != d.view.name && d.as != "":
		text += ", as a member of " + d.as
	}
	return text
}

// word is the action with its child.
func (r Request) word() string {
	if r.Child == "" {
		return clip(r.Action)
	}
	return clip(r.Action + "/" + r.Child)
}

// longestRequest bounds each part of a request in bytes.
const longestRequest = 4096

// Can decides a request of a subject. Whoever asks more than once takes For.
func (p *Policy) Can(s Subject, r Request) Decision { return p.For(s).Can(r) }

// Can decides a request.
func (v *View) Can(r Request) Decision {
	if refusal := v.refuse(r); refusal != "" {
		return Decision{Effect: Denied, view: v, request: r, note: refusal}
	}
	if r.Child == "" {
		return v.need(r, r.Action)
	}
	narrow := v.need(r, r.Action+"/"+r.Child)
	if narrow.Allowed() || !v.policy.inherit || r.Action != Update && r.Action != Delete {
		return narrow
	}
	// Whoever may do it with the whole may do it with its parts, whatever is
	// denied of them (server/application getAppLiveResource).
	if whole := v.need(r, r.Action); whole.Allowed() || narrow.Effect == Unmatched {
		return whole
	}
	return narrow
}

// refuse says why a request is not looked at, or "".
func (v *View) refuse(r Request) string {
	if v.policy.broken != "" && v.name != adminUser {
		return "the policy of the installation is not in force, since " + v.policy.broken + ": only the built-in user admin may do anything until it is corrected"
	}
	for _, part := range []string{r.Resource, r.Action, r.Object, r.Child} {
		if len(part) > longestRequest {
			return fmt.Sprintf("a part of the request is longer than %d bytes", longestRequest)
		}
	}
	return ""
}

// need decides by the table of needs.
func (v *View) need(r Request, action string) Decision {
	if action == Rollback {
		return v.rollback(r)
	}
	need, ok := needs[action]
	if !ok || r.Child != "" {
		return v.exactly(r, action)
	}
	var decided Decision
	for i, one := range need.actions {
		d := v.exactly(r, one)
		switch {
		case i == 0:
			decided = d
		case d.Effect == Denied, decided.Effect == Unmatched:
			decided = d
		}
		if decided.Effect == Denied || decided.Effect == Allowed && !need.every {
			break
		}
	}
	return decided
}

// rollback is a sync, or an action of its own where the installation says so.
func (v *View) rollback(r Request) Decision {
	switch v.policy.rollback {
	case RollbackNeedsRollback:
		return v.exactly(r, Rollback)
	case RollbackNeedsBoth:
		if d := v.exactly(r, Rollback); !d.Allowed() {
			return d
		}
	case RollbackNeedsSync:
	}
	return v.exactly(r, Sync)
}

// exactly decides an action as it stands in rules.
func (v *View) exactly(r Request, action string) Decision {
	d := Decision{view: v, request: r, action: action}
	d.Effect, d.rule, d.as = v.scopeFor(projectOf(r)).ask(r.Resource, action).about(r.Object)
	return d
}

// projectOf is the project that a request is about (getProjectFromRequest).
func projectOf(r Request) string {
	if r.Resource == Projects {
		return r.Object
	}
	if !slices.Contains(projectScoped, r.Resource) {
		return ""
	}
	project, _, ok := strings.Cut(r.Object, "/")
	if !ok {
		return ""
	}
	return project
}

// Any reports whether there may be an object that the subject may do this with:
// whether a menu shows it. The request for an object decides. Projects are the
// ones whose roles count; none are all.
func (v *View) Any(resource, action string, projects ...string) bool {
	if v.refuse(Request{Resource: resource, Action: action}) != "" {
		return false
	}
	if len(projects) == 0 {
		for name := range v.policy.projects {
			projects = append(projects, name)
		}
	}
	actions := []string{action}
	if need, ok := needs[action]; ok {
		actions = need.actions
	}
	if action == Rollback && v.policy.rollback != RollbackNeedsRollback {
		actions = []string{Sync}
	}
	some := func(s *scope) bool {
		return slices.ContainsFunc(actions, func(one string) bool { return s.ask(resource, one).some() })
	}
	if some(v.base) {
		return true
	}
	return (resource == Projects || ProjectScoped(resource)) &&
		slices.ContainsFunc(projects, func(name string) bool { return some(v.scopeFor(name)) })
}
