package project

import (
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	nodes "plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// RBACConfigMap is the ConfigMap of the installation's policy.
const RBACConfigMap = "argocd-rbac-cm"

// Rule is one line of a policy: what a subject may do ("p"), or a role that it
// has ("g").
type Rule struct {
	Subject string // user, group or role
	Role    string // set in a line that gives Subject a role; nothing else is then

	Resource, Action, Object string // patterns; globs, or expressions where RBAC.Regex
	Deny                     bool
	Origin                   model.Origin // Line counts from 1
}

// String is the rule as a line of a policy.
func (r Rule) String() string {
	fields := []string{"g", r.Subject, r.Role}
	if r.Role == "" {
		effect := "allow"
		if r.Deny {
			effect = "deny"
		}
		fields = []string{"p", r.Subject, r.Resource, r.Action, r.Object, effect}
	}
	for i, field := range fields {
		if needsQuotes(field) {
			fields[i] = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
		}
	}
	return strings.Join(fields, ", ")
}

func needsQuotes(field string) bool {
	return field == "" || strings.ContainsAny(field, "\",\r\n") || strings.TrimSpace(field) != field || strings.HasPrefix(field, "#")
}

// RBAC is the policy of an installation (argocd-rbac-cm).
type RBAC struct {
	Rules   []Rule
	Default string   // role of everybody who is known; "": none
	Scopes  []string // claims of a token that name groups; never empty
	Regex   bool     // patterns are regular expressions (policy.matchMode)
	// Broken: a line could not be read. Upstream then keeps the last policy
	// that could: what a missing line would have denied must not be allowed.
	Broken bool
}

// RBACNeed is the need for the installation's policy.
func RBACNeed(namespace string) model.Need {
	return model.Need{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: RBACConfigMap}
}

// ReadRBAC reads argocd-rbac-cm: policy.csv, then every policy.*.csv by name,
// policy.default, scopes and policy.matchMode. nil is an installation without
// one.
func ReadRBAC(o *unstructured.Unstructured) (RBAC, []model.Finding) {
	out := RBAC{Scopes: []string{"groups"}}
	if o == nil {
		return out, nil
	}
	origin := model.Origin{Dialect: dialectName, Declared: object.Of(o)}
	var findings []model.Finding
	find := func(severity model.Severity, reason, key, message string) {
		at := origin
		at.Field = "data." + key
		findings = append(findings, model.Finding{Severity: severity, Reason: reason, Message: message, Origin: at})
	}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		find(model.Refused, "InvalidPolicy", "", "the values must be text")
		out.Broken = true
		return out, findings
	}
	for _, key := range policyKeys(data) {
		rules, wrong := ParsePolicy(data[key])
		for _, f := range wrong {
			f.Origin.Dialect, f.Origin.Declared, f.Origin.Field = dialectName, origin.Declared, "data."+key
			findings = append(findings, f)
			out.Broken = out.Broken || f.Severity == model.Refused
		}
		for _, rule := range rules {
			rule.Origin.Dialect, rule.Origin.Declared, rule.Origin.Field = dialectName, origin.Declared, "data."+key
			out.Rules = append(out.Rules, rule)
		}
	}
	out.Default = data["policy.default"]
	switch mode := data["policy.matchMode"]; mode {
	case "regex":
		out.Regex = true
		for _, pattern := range patternsOf(out.Rules) {
			if _, err := regexp.Compile(pattern); err != nil {
				find(model.Warning, "InvalidPattern", "policy.csv", fmt.Sprintf("%q is no regular expression and matches nothing", nodes.Clip(pattern, 100)))
			}
		}
	case "", "glob":
	default:
		find(model.Warning, "UnknownMatchMode", "policy.matchMode", fmt.Sprintf("%q is taken for glob", nodes.Clip(mode, 40)))
	}
	if scopes := data["scopes"]; strings.TrimSpace(scopes) != "" {
		var list []string
		if err := yaml.Unmarshal([]byte(nodes.Clip(scopes, 64<<10)), &list); err != nil {
			find(model.Refused, "InvalidPolicy", "scopes", "must be a list of claims such as '[groups, email]'")
		} else if len(list) > 0 {
			out.Scopes = list
		}
	}
	for _, key := range nodes.SortedKeys(data) {
		if !slices.Contains([]string{"policy.default", "policy.matchMode", "scopes"}, key) && !isPolicyKey(key) {
			find(model.Warning, "UnknownField", key, "the key is not known and not acted on")
		}
	}
	return out, append(findings, danglingRoles(out, origin)...)
}

// patternsOf are the patterns of all rules, each once.
func patternsOf(rules []Rule) []string {
	seen := map[string]bool{}
	for _, rule := range rules {
		for _, pattern := range []string{rule.Resource, rule.Action, rule.Object} {
			seen[pattern] = true
		}
	}
	return nodes.SortedKeys(seen)
}

func isPolicyKey(key string) bool {
	return key == "policy.csv" || strings.HasPrefix(key, "policy.") && strings.HasSuffix(key, ".csv")
}

// policyKeys are the keys that hold policies, in the order they are read.
func policyKeys(data map[string]string) []string {
	keys := []string{}
	if _, ok := data["policy.csv"]; ok {
		keys = append(keys, "policy.csv")
	}
	for _, key := range nodes.SortedKeys(data) {
		if key != "policy.csv" && isPolicyKey(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// builtinRoles are those of every installation (builtin-policy.csv).
var builtinRoles = []string{"role:readonly", "role:admin"}

// danglingRoles tells of roles that somebody has and that may do nothing.
func danglingRoles(policy RBAC, origin model.Origin) []model.Finding {
	known := map[string]bool{}
	for _, role := range builtinRoles {
		known[role] = true
	}
	for _, rule := range policy.Rules {
		known[rule.Subject] = true
	}
	var findings []model.Finding
	complain := func(role string, at model.Origin) {
		if !known[role] {
			known[role] = true
			findings = append(findings, model.Finding{
				Severity: model.Warning, Reason: "UnknownRole", Origin: at,
				Message: fmt.Sprintf("role %q may do nothing: no line of the policy is about it", nodes.Clip(role, 200)),
			})
		}
	}
	for _, rule := range policy.Rules {
		if strings.HasPrefix(rule.Role, "role:") {
			complain(rule.Role, rule.Origin)
		}
	}
	if policy.Default != "" {
		at := origin
		at.Field = "data.policy.default"
		complain(policy.Default, at)
	}
	return findings
}

const (
	maxPolicy = 1 << 20 // bytes; a ConfigMap holds no more
	maxFaulty = 50      // findings of one policy
)

var (
	resources = []string{
		"clusters", "projects", "applications", "applicationsets", "repositories", "write-repositories",
		"certificates", "accounts", "gpgkeys", "logs", "exec", "extensions",
	}
	actions = []string{"get", "create", "update", "delete", "sync", "override", "action", "invoke", "rollback"}
)

// ParsePolicy reads the lines of a policy in Casbin's form: "p, subject,
// resource, action, object, effect" and "g, subject, role". Empty lines and
// those that start with # say nothing. A line that cannot be read is a finding
// of severity Refused at its line (Origin.Line) and left out; what can be read
// and has no effect is a Warning.
func ParsePolicy(text string) ([]Rule, []model.Finding) {
	var rules []Rule
	var findings []model.Finding
	find := func(line int, severity model.Severity, reason, format string, args ...any) {
		if len(findings) < maxFaulty {
			findings = append(findings, model.Finding{
				Severity: severity, Reason: reason,
				Message: nodes.Clip(fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...), maxText),
				Origin:  model.Origin{Line: line},
			})
		}
	}
	if len(text) > maxPolicy {
		find(1, model.Refused, "InvalidPolicy", "the policy is larger than %d bytes", maxPolicy)
		return nil, findings
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rule, effect, ok := parseLine(line)
		if !ok {
			find(i+1, model.Refused, "InvalidPolicy", "invalid RBAC policy: %s", line)
			continue
		}
		rule.Origin.Line = i + 1
		if rule.Role == "" {
			if effect != "allow" && effect != "deny" {
				find(i+1, model.Warning, "NoEffect", "effect must be 'allow' or 'deny', not '%s': the line has no effect", effect)
				continue
			}
			if !plausible(rule.Resource, resources) {
				find(i+1, model.Warning, "NoEffect", "there is no resource '%s'", rule.Resource)
			}
			if verb, _, _ := strings.Cut(rule.Action, "/"); !plausible(verb, actions) {
				find(i+1, model.Warning, "NoEffect", "there is no action '%s'", rule.Action)
			}
		}
		rules = append(rules, rule)
	}
	return rules, findings
}

// plausible reports whether a pattern may match one of the words; only plain
// words can be told.
func plausible(pattern string, words []string) bool {
	return strings.ContainsAny(pattern, `*?[{\^$.|(+`) || slices.Contains(words, pattern)
}

// parseLine reads one line as upstream's adapter does (util/rbac
// loadPolicyLine).
func parseLine(line string) (rule Rule, effect string, ok bool) {
	reader := csv.NewReader(strings.NewReader(line))
	reader.TrimLeadingSpace = true
	fields, err := reader.Read()
	if err != nil || len(fields) == 0 {
		return Rule{}, "", false
	}
	switch {
	case fields[0] == "g" && len(fields) == 3 && fields[2] != "":
		return Rule{Subject: fields[1], Role: fields[2]}, "", true
	case fields[0] == "p" && len(fields) == 6:
		return Rule{Subject: fields[1], Resource: fields[2], Action: fields[3], Object: fields[4], Deny: fields[5] == "deny"}, fields[5], true
	}
	return Rule{}, "", false
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
