package policy

import (
	_ "embed"
	"fmt"
	"slices"

	"plumb.dev/plumb/internal/model"
)

//go:embed builtin.csv
var builtinPolicy string

// builtinField is the place of built-in rules in explanations.
const builtinField = "built-in policy"

// adminUser is the local user of every installation.
const adminUser = "admin"

// builtin reads the built-in policy, whose lines a test keeps readable.
func builtin() ([]Rule, []Grant) {
	var c Config
	c.readPolicy(builtinField, builtinPolicy, &findings{})
	return c.Rules, c.Grants
}

// Policy is a compiled policy. It does not change and may be used by many at a
// time.
type Policy struct {
	base     ruleset
	projects map[string]*ruleset
	fallback string // the default role
	scopes   []string
	broken   string
	inherit  bool
	rollback RollbackNeeds
	override bool
	findings []model.Finding
}

// ruleset is the installation's rules, or what one project adds to them.
type ruleset struct {
	rules map[string][]*rule  // by subject
	roles map[string][]string // of a member, direct ones
	// broken: a project of which a line cannot be read. Nothing is allowed
	// through it; what it denies is.
	broken bool
}

// rule is a Rule, ready to be matched.
type rule struct {
	Rule
	resource, action, object *pattern
	deny                     bool
	order                    int    // in which rules are read, for explanations
	broken                   string // why the rule denies although it may have been written to allow
}

// Compile makes a policy of what the installation and its projects say. Projects
// are those of the control namespace; of two with one name the first counts. A
// nil configuration is an installation without one.
func Compile(config *Config, projects []Project) *Policy {
	if config == nil {
		config, _ = FromConfigMap(nil)
	}
	p := &Policy{
		projects: map[string]*ruleset{},
		scopes:   config.Scopes, inherit: config.Inherit, rollback: config.Rollback, override: config.OverrideForRevision,
		broken: config.Broken,
	}
	compiler := compiler{patterns: map[patternKey]compiled{}}
	rules, grants := builtin()
	compiler.add(&p.base, rules, grants, false)
	if p.broken != "" {
		return p
	}
	p.fallback = config.Default
	compiler.add(&p.base, config.Rules, config.Grants, config.Regex)
	if config.Regex {
		compiler.addBroken(&p.base, config.void)
	}
	for _, project := range projects {
		if _, twice := p.projects[project.Name]; twice {
			continue
		}
		read, told := rulesOf(project)
		p.findings = append(p.findings, told...)
		own := &ruleset{broken: read.broken}
		compiler.add(own, read.rules, read.grants, config.Regex)
		p.projects[project.Name] = own
	}
	return p
}

// Findings are what is wrong in the roles of projects; each names its project
// and field.
func (p *Policy) Findings() []model.Finding { return slices.Clone(p.findings) }

// Broken says why the installation's policy is not in force, or is "".
func (p *Policy) Broken() string { return p.broken }

// OverrideForRevision reports whether a sync to another revision than the
// declared one needs the action override as well.
func (p *Policy) OverrideForRevision() bool { return p.override }

// compiler makes each pattern once.
type compiler struct {
	patterns map[patternKey]compiled
	order    int
}

type patternKey struct {
	text  string
	regex bool
}

type compiled struct {
	pattern *pattern
	err     error
}

func (c *compiler) add(to *ruleset, rules []Rule, grants []Grant, regex bool) {
	if to.rules == nil {
		to.rules, to.roles = map[string][]*rule{}, map[string][]string{}
	}
	for _, written := range rules {
		if ready, ok := c.rule(written, regex && !written.plain); ok {
			to.rules[written.Subject] = append(to.rules[written.Subject], ready)
		}
	}
	for _, grant := range grants {
		if !slices.Contains(to.roles[grant.Member], grant.Role) {
			to.roles[grant.Member] = append(to.roles[grant.Member], grant.Role)
		}
	}
}

// addBroken adds the rules without an effect that cannot be matched.
func (c *compiler) addBroken(to *ruleset, void []Rule) {
	for _, written := range void {
		if ready, _ := c.rule(written, true); ready.broken != "" {
			to.rules[written.Subject] = append(to.rules[written.Subject], ready)
		}
	}
}

// rule compiles a rule, false when it can have no effect. In mode regex a
// column that is no expression ends the evaluation upstream, and the request is
// refused: such a rule denies what its columns before that one match. A glob
// that is malformed allows nothing, and denies everything.
func (c *compiler) rule(written Rule, regex bool) (*rule, bool) {
	c.order++
	out := &rule{Rule: written, deny: written.Deny, order: c.order}
	columns := []struct {
		name, text string
		into       **pattern
	}{
		{"resource", written.Resource, &out.resource},
		{"action", written.Action, &out.action},
		{"object", written.Object, &out.object},
	}
	for _, column := range columns {
		*column.into = &pattern{shape: anything}
		if regex && out.broken != "" {
			continue
		}
		made := c.pattern(column.text, regex)
		switch {
		case made.err == nil && out.deny && made.pattern.shape == pieces:
			overlapping := *made.pattern
			overlapping.overlap = true
			*column.into = &overlapping
		case made.err == nil:
			*column.into = made.pattern
		case !regex && !out.deny:
			return nil, false
		default:
			out.deny = true
			out.broken = fmt.Sprintf("its %s %s", column.name, made.err.Error())
		}
	}
	return out, true
}

func (c *compiler) pattern(text string, regex bool) compiled {
	key := patternKey{text, regex}
	made, ok := c.patterns[key]
	if !ok {
		made.pattern, made.err = compileColumn(text, regex)
		c.patterns[key] = made
	}
	return made
}

// deepest bounds how many roles lie between a subject and a rule's (casbin's
// default role manager).
const deepest = 10

// reach is every name whose rules are those of a subject: itself and its roles.
func reach(subject string, sets ...*ruleset) map[string]bool {
	known := map[string]bool{subject: true}
	edge := []string{subject}
	for range deepest {
		var next []string
		for _, name := range edge {
			for _, set := range sets {
				for _, role := range set.roles[name] {
					if !known[role] {
						known[role] = true
						next = append(next, role)
					}
				}
			}
		}
		if edge = next; len(edge) == 0 {
			break
		}
	}
	return known
}
