package policy

import (
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// Validate tells what the grammar of a policy allows and what means nothing, or
// other than it seems: words that do not exist, objects that no request has,
// roles without a rule, groups that are never looked at. It adds to what
// FromConfigMap and Policy.Findings tell, and looks at the installation's policy
// alone; projects only count where they give roles. nil: they are not known, and
// nothing is told of their roles.
func Validate(c *Config, projects []Project) []model.Finding {
	check := validation{config: c, rules: map[string]bool{}, roles: map[string][]string{}, bound: map[string]bool{}, unknown: projects == nil}
	rules, grants := builtin()
	check.gather(rules, grants)
	check.gather(c.Rules, c.Grants)
	for _, project := range projects {
		read, _ := rulesOf(project)
		check.gather(read.rules, read.grants)
	}
	for _, rule := range c.Rules {
		check.words(rule)
		check.object(rule)
		check.subject(rule)
	}
	for _, grant := range c.Grants {
		check.grant(grant)
	}
	if c.Default != "" && !check.does(c.Default) {
		check.told.add(model.Warning, "UnknownRole", "data.policy.default", 0, "the default role %q may do nothing: no line of the policy is about it", clip(c.Default))
	}
	return check.told.done()
}

type validation struct {
	config *Config
	rules  map[string]bool     // subjects that have rules
	roles  map[string][]string // by member
	bound  map[string]bool     // members

	unknown bool // what projects there are is not known
	told    findings
}

func (v *validation) gather(rules []Rule, grants []Grant) {
	for _, rule := range rules {
		v.rules[rule.Subject] = true
	}
	for _, grant := range grants {
		v.roles[grant.Member] = append(v.roles[grant.Member], grant.Role)
		v.bound[grant.Member] = true
	}
}

// does reports whether any rule is about a role or one that it has.
func (v *validation) does(role string) bool {
	if v.unknown && strings.HasPrefix(role, "proj:") {
		return true
	}
	for name := range reach(role, &ruleset{roles: v.roles}) {
		if v.rules[name] {
			return true
		}
	}
	return false
}

func (v *validation) warn(origin model.Origin, reason, format string, args ...any) {
	v.told.add(model.Warning, reason, origin.Field, origin.Line, format, args...)
}

// words looks for resources and actions that no request has.
func (v *validation) words(rule Rule) {
	resource, err := compileColumn(rule.Resource, v.config.Regex)
	if err != nil {
		return // told by FromConfigMap
	}
	action, err := compileColumn(rule.Action, v.config.Regex)
	if err != nil {
		return
	}
	resources := slices.DeleteFunc(Resources(), func(name string) bool { return !resource.match(name) })
	if len(resources) == 0 {
		v.warn(rule.Origin, "NoEffect", "there is no resource %q; there are %s", clip(rule.Resource), strings.Join(Resources(), ", "))
		return
	}
	var actions []string
	for _, name := range resources {
		actions = append(actions, vocabulary[name]...)
		for _, parent := range parents {
			// A part is any path: the pattern is held against its own text.
			if slices.Contains(vocabulary[name], parent) && strings.HasPrefix(strings.TrimPrefix(rule.Action, "^"), parent+"/") {
				return
			}
		}
	}
	if rule.Action == Action {
		v.warn(rule.Origin, "NoEffect", "the action %q needs a path, such as action/*", Action)
		return
	}
	if !slices.ContainsFunc(actions, action.match) {
		slices.Sort(actions)
		v.warn(rule.Origin, "NoEffect", "%s have no action %q; there are %s", resources[0], clip(rule.Action), strings.Join(slices.Compact(actions), ", "))
	}
}

// object looks for objects that no request has.
func (v *validation) object(rule Rule) {
	paths := map[string]string{
		Applications: "PROJECT/NAME", ApplicationSets: "PROJECT/NAME", Logs: "PROJECT/NAME", Exec: "PROJECT/NAME",
		Kustomizations: "NAMESPACE/NAME", HelmReleases: "NAMESPACE/NAME", Sources: "NAMESPACE/NAME",
	}
	shape, ok := paths[rule.Resource]
	if object, err := compileColumn(rule.Object, v.config.Regex); ok && err == nil && object.shape == exactly && !strings.Contains(rule.Object, "/") {
		v.warn(rule.Origin, "NoEffect", "the object of %s is %s; %q is no object", rule.Resource, shape, clip(rule.Object))
	}
	if rule.Resource == Plumb && !v.config.Regex && starsOnly(rule.Object).shape == exactly && rule.Object != Settings && rule.Object != Activity {
		v.warn(rule.Origin, "NoEffect", "the object of %s is %s or %s; %q is none", Plumb, Settings, Activity, clip(rule.Object))
	}
}

// subject looks for rules that nobody is asked for, or everybody.
func (v *validation) subject(rule Rule) {
	for _, field := range []string{rule.Subject, rule.Resource, rule.Action, rule.Object} {
		if strings.TrimSpace(field) != field {
			v.warn(rule.Origin, "NoEffect", "%q has spaces around it, which count", clip(field))
		}
	}
	switch {
	case rule.Subject == "":
		v.warn(rule.Origin, "EverybodyMay", "the subject is empty, which is everybody; give the line to a role, and name it in policy.default if that is meant")
	case strings.Contains(rule.Subject, ":") && !isRoleName(rule.Subject) && !v.bound[rule.Subject]:
		v.warn(rule.Origin, "NoEffect", "if %q is a group, the line has no effect: a group is only looked at when a line 'g, %s, ROLE' gives it a role; give the line to that role", clip(rule.Subject), clip(rule.Subject))
	}
}

// grant looks for roles that may do nothing.
func (v *validation) grant(grant Grant) {
	if grant.Member == "" {
		v.warn(grant.Origin, "EverybodyMay", "the user is empty, which is everybody; name the role in policy.default if that is meant")
	}
	if !v.does(grant.Role) {
		v.warn(grant.Origin, "UnknownRole", "role %q may do nothing: no line of the policy is about it", clip(grant.Role))
	}
}
