package policy

import (
	"slices"
	"strings"
	"sync"
)

// Subject is who asks.
type Subject struct {
	// Name is the user: the identifier of a token's claims, or the name of a
	// local account. "" is nobody in particular, who has the default role.
	Name string
	// Groups are the groups of the user.
	Groups []string
	// Role asks as a role itself, instead of a user: "proj:PROJECT:ROLE" for a
	// token that was issued for a project's role, "role:NAME" for questions
	// about a policy. Only whoever checked the token may set it.
	Role string
	// NotLetIn: nobody has let the user in who is only known to be what it says, as
	// every Pod of a cluster is by its service account. The default role, which is
	// for everybody who can sign in, is not theirs.
	NotLetIn bool
}

// Claims is the user that the claims of a verified token name: the user that
// Dex was told, or else the subject, and the values of the scopes as groups
// (util/jwt GetUserIdentifier, GetScopeValues).
func (p *Policy) Claims(claims map[string]any) Subject {
	var s Subject
	s.Name, _ = claims["sub"].(string)
	if federated, ok := claims["federated_claims"].(map[string]any); ok {
		if id, ok := federated["user_id"].(string); ok && id != "" {
			s.Name = id
		}
	}
	for _, scope := range p.scopes {
		switch value := claims[scope].(type) {
		case string:
			s.Groups = append(s.Groups, value)
		case []string:
			s.Groups = append(s.Groups, value...)
		case []any:
			for _, item := range value {
				if group, ok := item.(string); ok {
					s.Groups = append(s.Groups, group)
				}
			}
		}
	}
	return s
}

// projectOfRole is the project of "proj:PROJECT:ROLE", "" for other names.
func projectOfRole(name string) string {
	parts := strings.Split(name, ":")
	if len(parts) != 3 || parts[0] != "proj" {
		return ""
	}
	return parts[1]
}

// isRoleName reports whether a name is one of a role. What comes from an
// identity provider is never a role, however it is called: roles are given by
// "g" lines.
func isRoleName(name string) bool {
	return strings.HasPrefix(name, "role:") || strings.HasPrefix(name, "proj:")
}

// View answers for one subject. Roles are resolved once, and what is asked for
// many objects is prepared once. It may be used by many at a time; it is as old
// as its Policy.
type View struct {
	policy *Policy
	who    string // for explanations
	name   string // what is asked for: a user or a role
	common string // the default role, where it is theirs
	ofRole string // the project of a token's role, or ""
	groups []string
	passed []string // groups that are called like roles
	known  map[string]bool
	base   *scope

	mu       sync.RWMutex
	projects map[string]*scope
}

// scope is what is asked for the requests of one project, or of none.
type scope struct {
	chains []chain

	mu      sync.RWMutex
	answers map[question]*answer
}

// chain is one name with the rules of all its roles, in the order they are read.
type chain struct {
	as    string
	rules []*rule
}

type question struct{ resource, action string }

// answer is what remains of a scope for one resource and action: rules by what
// they say of the object.
type answer struct{ chains []verdicts }

type verdicts struct {
	as          string
	allow, deny shelf
}

// shelf is rules by the realm of their objects, so that one object is held
// against few of them. Rules of one place stand in the order they are read.
type shelf struct {
	all     []*rule
	realms  map[string][]*rule // nil where all is short
	roaming []*rule            // whose objects are in several realms
}

// shortShelf is how many rules are not worth sorting.
const shortShelf = 8

func shelve(rules []*rule) shelf {
	s := shelf{all: rules}
	if len(rules) <= shortShelf {
		return s
	}
	s.realms = map[string][]*rule{}
	for _, r := range rules {
		realms := r.object.realms()
		for _, in := range realms {
			s.realms[in] = append(s.realms[in], r)
		}
		if len(realms) == 0 {
			s.roaming = append(s.roaming, r)
		}
	}
	return s
}

// first is the first rule that matches the object, or nil.
func (s *shelf) first(object string) *rule {
	if s.realms == nil {
		return first(s.all, object)
	}
	here, anywhere := first(s.realms[realm(object)], object), first(s.roaming, object)
	if here == nil || anywhere != nil && anywhere.order < here.order {
		return anywhere
	}
	return here
}

// rememberedAnswers bounds the questions that a scope remembers: actions can be
// invented by whoever asks.
const rememberedAnswers = 256

// For is the view of a subject.
func (p *Policy) For(s Subject) *View {
	v := &View{policy: p, name: s.Name, common: p.fallback, projects: map[string]*scope{}}
	if s.NotLetIn {
		v.common = ""
	}
	switch {
	case s.Role != "":
		v.name, v.who = s.Role, s.Role
		v.ofRole = projectOfRole(s.Role)
	case isRoleName(s.Name):
		v.name, v.who = "", s.Name
	case s.Name == "":
		v.who = "anonymous"
	default:
		v.who = s.Name
	}
	seen := map[string]bool{}
	for _, group := range s.Groups {
		switch {
		case seen[group]:
		case isRoleName(group):
			v.passed = append(v.passed, group)
		default:
			v.groups = append(v.groups, group)
		}
		seen[group] = true
	}
	v.base = v.scopeOf(nil, "")
	v.known = map[string]bool{"": true}
	for _, name := range append([]string{v.common, v.name}, v.groups...) {
		for reached := range reach(name, &p.base) {
			v.known[reached] = true
		}
	}
	return v
}

// scopeOf gathers the chains of a request, in upstream's order: the default
// role, the user, its groups, nobody (EnforceClaims, enforce). own is what the
// request's project adds, nil for a request without a project.
func (v *View) scopeOf(own *ruleset, project string) *scope {
	s := &scope{answers: map[question]*answer{}}
	base := &v.policy.base
	sets := []*ruleset{base}
	if own != nil {
		sets = append(sets, own)
	}
	if v.common != "" {
		s.add(v.common, base)
		if own != nil && (v.ofRole == "" || v.ofRole == project) {
			s.add(v.common, sets...)
		}
	}
	if v.ofRole == "" || own == nil || v.ofRole == project {
		s.add(v.name, sets...)
		if v.ofRole == "" || own == nil {
			for _, group := range v.groups {
				// Upstream looks only at groups that have a role.
				if slices.ContainsFunc(sets, func(set *ruleset) bool { return !set.broken && len(set.roles[group]) > 0 }) {
					s.add(group, sets...)
				}
			}
		}
	}
	s.add("", base)
	return s
}

func (s *scope) add(name string, sets ...*ruleset) {
	c := chain{as: name}
	gather := func(wanted func(*rule) bool, sets []*ruleset) {
		for reached := range reach(name, sets...) {
			for _, set := range sets {
				for _, r := range set.rules[reached] {
					if wanted(r) {
						c.rules = append(c.rules, r)
					}
				}
			}
		}
	}
	sound := slices.DeleteFunc(slices.Clone(sets), func(set *ruleset) bool { return set.broken })
	gather(func(*rule) bool { return true }, sound)
	if len(sound) < len(sets) {
		gather(func(r *rule) bool { return r.deny }, sets)
	}
	if len(c.rules) == 0 {
		return
	}
	slices.SortFunc(c.rules, func(a, b *rule) int { return a.order - b.order })
	c.rules = slices.Compact(c.rules)
	s.chains = append(s.chains, c)
}

// scopeFor is the scope of a request's project.
func (v *View) scopeFor(project string) *scope {
	own, exists := v.policy.projects[project]
	if !exists {
		return v.base
	}
	v.mu.RLock()
	s, ok := v.projects[project]
	v.mu.RUnlock()
	if ok {
		return s
	}
	if s = v.base; v.concerns(own) || v.ofRole != "" {
		s = v.scopeOf(own, project)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.projects[project] = s
	return s
}

// concerns reports whether a project says anything about the subject.
func (v *View) concerns(own *ruleset) bool {
	for name := range own.roles {
		if v.known[name] {
			return true
		}
	}
	for name := range own.rules {
		if v.known[name] {
			return true
		}
	}
	return false
}

// ask is what the scope's rules say about a resource and an action.
func (s *scope) ask(resource, action string) *answer {
	key := question{resource, action}
	s.mu.RLock()
	a, ok := s.answers[key]
	s.mu.RUnlock()
	if ok {
		return a
	}
	a = &answer{}
	for _, c := range s.chains {
		var allow, deny []*rule
		for _, r := range c.rules {
			if !r.resource.match(resource) || !r.action.match(action) {
				continue
			}
			if r.deny {
				deny = append(deny, r)
			} else {
				allow = append(allow, r)
			}
		}
		if len(allow)+len(deny) > 0 {
			a.chains = append(a.chains, verdicts{as: c.as, allow: shelve(allow), deny: shelve(deny)})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) < rememberedAnswers {
		s.answers[question{strings.Clone(resource), strings.Clone(action)}] = a
	}
	return a
}

// about decides for one object: any name that is allowed is enough; within a
// name a deny is stronger.
func (a *answer) about(object string) (effect Effect, by *rule, as string) {
	for i := range a.chains {
		c := &a.chains[i]
		if denied := c.deny.first(object); denied != nil {
			if effect == Unmatched {
				effect, by, as = Denied, denied, c.as
			}
			continue
		}
		if allowed := c.allow.first(object); allowed != nil {
			return Allowed, allowed, c.as
		}
	}
	return effect, by, as
}

func first(rules []*rule, object string) *rule {
	for _, r := range rules {
		if r.object.match(object) {
			return r
		}
	}
	return nil
}

// some reports whether there may be an object that is allowed: a rule allows,
// and no deny of the same name covers the rule's objects plainly.
func (a *answer) some() bool {
	for _, c := range a.chains {
		for _, allow := range c.allow.all {
			covered := slices.ContainsFunc(c.deny.all, func(deny *rule) bool {
				return deny.object.shape == anything || deny.Object == allow.Object && deny.broken == ""
			})
			if !covered {
				return true
			}
		}
	}
	return false
}
