package policy

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

const (
	maxPolicy = 2 << 20 // bytes of all policies; a ConfigMap holds 1 MiB
	maxText   = 300     // bytes of a text of others in a finding
	// maxFindings bounds what is told about one policy; the last one says how
	// many more there are.
	maxFindings = 50
)

// Rule is one "p" line: what a subject may do, or may not.
type Rule struct {
	Subject                  string // a user, a group or a role, exactly
	Resource, Action, Object string // patterns: globs, or regular expressions where Config.Regex
	Deny                     bool
	Origin                   model.Origin // Field and Line (from 1), or the field of an AppProject

	plain bool // patterns are names, in either match mode
}

// String is the rule as a line.
func (r Rule) String() string {
	effect := "allow"
	if r.Deny {
		effect = "deny"
	}
	return line("p", r.Subject, r.Resource, r.Action, r.Object, effect)
}

// Grant is one "g" line: a role that a user, a group or another role has.
type Grant struct {
	Member, Role string
	Origin       model.Origin
}

// String is the grant as a line.
func (g Grant) String() string { return line("g", g.Member, g.Role) }

func line(fields ...string) string {
	for i, field := range fields {
		if field == "" || strings.ContainsAny(field, "\",\r\n") || strings.TrimSpace(field) != field {
			fields[i] = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
		}
	}
	return strings.Join(fields, ", ")
}

// Config is what an installation's ConfigMaps say about access.
type Config struct {
	Rules  []Rule
	Grants []Grant
	// Default is the role that everybody has who is asked for, signed in or, if
	// the installation lets them, not; "" for none. See Subject.NotLetIn.
	Default string
	// Scopes are the claims of a token whose values are groups.
	Scopes []string
	// Regex: patterns are regular expressions that may match anywhere.
	Regex bool
	// Broken says why no line of the policy is in force, or is "": a line could
	// not be read, and what it would have denied must not be allowed by the
	// others.
	Broken string

	// Inherit: who may update or delete an Application may do so with its
	// objects (server.rbac.disableApplicationFineGrainedRBACInheritance: false).
	Inherit bool
	// Rollback is what a rollback asks for.
	Rollback RollbackNeeds
	// OverrideForRevision: a sync to another revision than the declared one
	// needs the action override as well.
	OverrideForRevision bool

	// void are rules whose effect is neither allow nor deny. They say nothing,
	// but in mode regex a malformed one ends the evaluation as any other does.
	void []Rule
}

// RollbackNeeds says which actions a rollback needs.
type RollbackNeeds uint8

// What a rollback needs (server.rbac.rollback.enforce.enable).
const (
	RollbackNeedsSync     RollbackNeeds = iota // the default
	RollbackNeedsRollback                      // "true"
	RollbackNeedsBoth                          // a value that says neither
)

// DefaultScopes are the claims that name groups where an installation does not
// say.
var DefaultScopes = []string{"groups"}

// FromConfigMap reads the data of argocd-rbac-cm: policy.csv, then every
// policy.NAME.csv in the order of their keys, policy.default, policy.matchMode
// (glob, regex) and scopes. No data is an installation without a policy: only
// the built-in user has a role.
//
// The origins of findings name the field and the line; the caller adds the
// ConfigMap.
func FromConfigMap(data map[string]string) (*Config, []model.Finding) {
	c := &Config{Default: data["policy.default"], Scopes: slices.Clone(DefaultScopes)}
	var told findings
	size := 0
	for _, key := range policyKeys(data) {
		if size += len(data[key]); size > maxPolicy {
			told.add(model.Refused, "InvalidPolicy", "data."+key, 0, "the policies are larger than %d bytes together", maxPolicy)
			c.withhold("data."+key, 0)
			break
		}
		c.readPolicy("data."+key, data[key], &told)
	}
	c.readMatchMode(data["policy.matchMode"], &told)
	c.readScopes(data["scopes"], &told)
	c.checkPatterns(&told)
	for _, key := range slices.Sorted(mapKeys(data)) {
		if !isPolicyKey(key) && !slices.Contains([]string{"policy.default", "policy.matchMode", "scopes"}, key) {
			told.add(model.Warning, "UnknownField", "data."+key, 0, "the key is not known and not acted on")
		}
	}
	return c, told.done()
}

// Server reads what argocd-cm says about access into c.
func (c *Config) Server(data map[string]string) []model.Finding {
	var told findings
	read := func(key string) (value, known bool) {
		text := data[key]
		if text == "" {
			return false, true
		}
		value, err := strconv.ParseBool(text)
		return value, err == nil
	}
	const (
		inherit  = "server.rbac.disableApplicationFineGrainedRBACInheritance"
		rollback = "server.rbac.rollback.enforce.enable"
		override = "application.sync.requireOverridePrivilegeForRevisionSync"
	)
	disabled, known := read(inherit)
	c.Inherit = known && data[inherit] != "" && !disabled
	if !known {
		told.add(model.Refused, "InvalidSetting", "data."+inherit, 0, "%q is neither true nor false: permissions are not inherited by an application's objects; write \"true\" or \"false\"", clip(data[inherit]))
	}
	switch enforced, known := read(rollback); {
	case !known:
		c.Rollback = RollbackNeedsBoth
		told.add(model.Refused, "InvalidSetting", "data."+rollback, 0, "%q is neither true nor false: a rollback needs both sync and rollback; write \"true\" or \"false\"", clip(data[rollback]))
	case enforced:
		c.Rollback = RollbackNeedsRollback
	default:
		c.Rollback = RollbackNeedsSync
	}
	c.OverrideForRevision = data[override] == "true"
	return told.done()
}

func isPolicyKey(key string) bool {
	return strings.HasPrefix(key, "policy.") && strings.HasSuffix(key, ".csv")
}

// policyKeys are the keys that hold policies, in the order they are read
// (util/rbac PolicyCSV).
func policyKeys(data map[string]string) []string {
	var keys []string
	if _, ok := data["policy.csv"]; ok {
		keys = append(keys, "policy.csv")
	}
	for _, key := range slices.Sorted(mapKeys(data)) {
		if isPolicyKey(key) && key != "policy.csv" {
			keys = append(keys, key)
		}
	}
	return keys
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// withhold takes the policy out of force.
func (c *Config) withhold(field string, number int) {
	if c.Broken == "" {
		c.Broken = place(model.Origin{Field: field, Line: number}) + " cannot be read"
	}
}

// readPolicy reads the lines of one key.
func (c *Config) readPolicy(field, text string, told *findings) {
	number := 0
	for raw := range strings.SplitSeq(text, "\n") {
		number++
		read, wrong := readLine(raw)
		origin := model.Origin{Field: field, Line: number}
		switch read.kind {
		case nothing:
		case unreadable:
			told.add(model.Refused, "InvalidPolicy", field, number,
				"%s: %s. Until the line is corrected no line of the policy is in force, nor is the default role or a role of a project: only the built-in user admin may do anything", clip(strings.TrimSpace(raw)), wrong)
			c.withhold(field, number)
		case ignored:
			told.add(model.Warning, "NoEffect", field, number, "%s: %s", clip(strings.TrimSpace(raw)), wrong)
		case grantLine:
			c.Grants = append(c.Grants, Grant{Member: read.fields[0], Role: read.fields[1], Origin: origin})
		case ruleLine:
			if wrong != "" {
				told.add(model.Warning, "NoEffect", field, number, "%s", wrong)
			}
			if rule, ok := ruleOf(read.fields, origin); ok {
				c.Rules = append(c.Rules, rule)
			} else {
				c.void = append(c.void, rule)
			}
		}
	}
}

type lineKind uint8

const (
	nothing lineKind = iota // empty, or a comment
	ruleLine
	grantLine
	ignored // accepted by upstream, without any effect
	unreadable
)

type policyLine struct {
	kind   lineKind
	fields []string // without the first
}

// readLine reads a line as upstream does (util/rbac loadPolicyLine); wrong says
// what is the matter with it.
func readLine(text string) (read policyLine, wrong string) {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasPrefix(text, "#") {
		return policyLine{}, ""
	}
	reader := csv.NewReader(strings.NewReader(text))
	reader.TrimLeadingSpace = true
	fields, err := reader.Read()
	if err != nil {
		return policyLine{kind: unreadable}, "a field with a quote or a comma in it must stand in quotes, with quotes inside doubled"
	}
	switch key := fields[0]; {
	case key == "p" && len(fields) == 6:
		return policyLine{ruleLine, fields[1:]}, wrongEffect(fields[5])
	case key == "g" && len(fields) == 3:
		return policyLine{grantLine, fields[1:]}, ""
	case key == "p":
		return policyLine{kind: unreadable}, fmt.Sprintf("it has %d fields instead of the 6 of 'p, subject, resource, action, object, effect'", len(fields))
	case key == "g":
		return policyLine{kind: unreadable}, fmt.Sprintf("it has %d fields instead of the 3 of 'g, subject, role'", len(fields))
	case key == "r" || key == "e" || key == "m":
		return policyLine{kind: ignored}, "only lines that begin with p or g mean something"
	}
	return policyLine{kind: unreadable}, "a line must begin with 'p,' or 'g,', or with # for a comment"
}

// denies reports whether an effect is meant to deny. What is spelled otherwise
// than upstream's words, or followed by a comment, has no effect there; a deny
// must not be lost that way.
func denies(effect string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(effect)), "den")
}

func wrongEffect(effect string) string {
	switch {
	case effect == "allow" || effect == "deny":
		return ""
	case denies(effect):
		return fmt.Sprintf("the effect must be 'allow' or 'deny', not %q: it is taken for deny, while Argo CD ignores the line", clip(effect))
	}
	return fmt.Sprintf("the effect must be 'allow' or 'deny', not %q: the line has no effect", clip(effect))
}

// ruleOf is the rule of a line's fields, false when it has no effect.
func ruleOf(fields []string, origin model.Origin) (Rule, bool) {
	rule := Rule{Subject: fields[0], Resource: fields[1], Action: fields[2], Object: fields[3], Deny: denies(fields[4]), Origin: origin}
	return rule, rule.Deny || fields[4] == "allow"
}

func (c *Config) readMatchMode(mode string, told *findings) {
	switch mode {
	case "", "glob":
	case "regex":
		c.Regex = true
	default:
		told.add(model.Warning, "UnknownMatchMode", "data.policy.matchMode", 0, "%q is taken for glob; write glob or regex", clip(mode))
	}
}

func (c *Config) readScopes(text string, told *findings) {
	if text == "" {
		return
	}
	c.Scopes = nil
	if len(text) > maxPolicy {
		text = "{" // no list
	}
	if err := yaml.Unmarshal([]byte(text), &c.Scopes); err != nil {
		c.Scopes = nil
		told.add(model.Refused, "InvalidPolicy", "data.scopes", 0, "must be a list of claims such as '[groups, email]'; until then nobody has a group")
	}
}

// checkPatterns tells of columns that cannot be matched.
func (c *Config) checkPatterns(told *findings) {
	rules := c.Rules
	if c.Regex {
		rules = slices.Concat(c.Rules, c.void)
	}
	for _, rule := range rules {
		for _, column := range []struct{ name, text string }{{"resource", rule.Resource}, {"action", rule.Action}, {"object", rule.Object}} {
			_, err := compileColumn(column.text, c.Regex)
			if err == nil {
				continue
			}
			effect := "the line allows nothing"
			switch {
			case c.Regex:
				effect = "what reaches the line is denied, as in Argo CD"
			case rule.Deny:
				effect = "the line denies for every " + column.name
			}
			told.add(model.Warning, "InvalidPattern", rule.Origin.Field, rule.Origin.Line, "the %s %q %s: %s", column.name, clip(column.text), err.Error(), effect)
		}
	}
}

func compileColumn(text string, regex bool) (*pattern, error) {
	if regex {
		return compileRegex(text)
	}
	return compileGlob(text)
}

// findings collects what is told, within a bound.
type findings struct {
	list  []model.Finding
	more  int
	worst model.Severity
}

func (f *findings) add(severity model.Severity, reason, field string, number int, format string, args ...any) {
	if len(f.list) >= maxFindings {
		f.more++
		if severity == model.Refused {
			f.worst = model.Refused
		}
		return
	}
	message := fmt.Sprintf(format, args...)
	if number > 0 {
		message = "line " + strconv.Itoa(number) + ": " + message
	}
	f.list = append(f.list, model.Finding{Severity: severity, Reason: reason, Message: message, Origin: model.Origin{Field: field, Line: number}})
}

func (f *findings) done() []model.Finding {
	if f.more > 0 {
		severity := model.Warning
		if f.worst == model.Refused {
			severity = model.Refused
		}
		f.list = append(f.list, model.Finding{Severity: severity, Reason: "InvalidPolicy", Message: fmt.Sprintf("and %d more", f.more)})
	}
	return f.list
}

// clip bounds a text of others in a message.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// place is where a rule stands, for people.
func place(origin model.Origin) string {
	text := strings.TrimPrefix(origin.Field, "data.")
	if !origin.Declared.IsZero() {
		text = origin.Declared.String() + " " + text
	}
	if origin.Line > 0 {
		text += ":" + strconv.Itoa(origin.Line)
	}
	return text
}
