package project

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	nodes "plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/policy"
)

// Role is a role of a project: what it may do, and who has it.
type Role struct {
	Name, Description string
	// Policies are the rules that could be read, and that are the role's own.
	Policies []policy.Rule
	Groups   []string // of single sign-on
	Tokens   []Token
}

// Token is the account of a token that was issued for a role, from the spec and
// the status. The token itself is nowhere.
type Token struct {
	ID                  string // the older ones have none: then the seconds of IssuedAt
	IssuedAt, ExpiresAt int64  // Unix seconds; ExpiresAt 0: never
}

// Subject is the role's name in policies.
func (r Role) Subject(project string) string { return "proj:" + project + ":" + r.Name }

var (
	roleName       = regexp.MustCompile(`^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$`)
	groupForbidden = regexp.MustCompile("[\"\n\r\t]")
)

func (p *Project) readRoles(list, status node) {
	seen := map[string]bool{}
	for _, item := range list.items() {
		item.fields("name", "description", "policies", "jwtTokens", "groups")
		role := Role{Name: item.at("name").str(), Description: item.at("description").str()}
		if seen[role.Name] {
			item.r.refuse(item.path+".name", "role '%s' already exists", role.Name)
		}
		seen[role.Name] = true
		if !roleName.MatchString(role.Name) {
			item.r.refuse(item.path+".name", "invalid role name '%s'. Must consist of alphanumeric characters, '-' or '_', and must start and end with an alphanumeric character", role.Name)
		}
		role.Policies = p.readRolePolicies(role.Name, item.at("policies"))
		role.Groups = readGroups(role.Name, item.at("groups"))
		role.Tokens = readTokens(item.at("jwtTokens"), status.at("jwtTokensByRole").at(role.Name).at("items"))
		p.Roles = append(p.Roles, role)
	}
}

func (p *Project) readRolePolicies(role string, list node) []policy.Rule {
	var rules []policy.Rule
	seen := map[string]bool{}
	for _, item := range list.items() {
		text := item.str()
		if seen[text] {
			item.r.refuse(item.path, "policy '%s' already exists for role '%s'", text, role)
			continue
		}
		seen[text] = true
		rule, wrong := parseRolePolicy(p.Name, role, text)
		if wrong != "" {
			item.r.refuse(item.path, "invalid policy rule '%s': %s", text, wrong)
			continue
		}
		rule.Origin = item.r.origin(item.path)
		rules = append(rules, rule)
	}
	return rules
}

func readGroups(role string, list node) []string {
	var groups []string
	seen := map[string]bool{}
	for _, item := range list.items() {
		group := item.str()
		if seen[group] {
			item.r.refuse(item.path, "group '%s' already exists for role '%s'", group, role)
			continue
		}
		seen[group] = true
		if wrong := wrongGroup(group); wrong != "" {
			item.r.refuse(item.path, "group '%s' %s", group, wrong)
			continue
		}
		groups = append(groups, group)
	}
	return groups
}

// wrongGroup says what is wrong with the name of a group (validateGroupName).
func wrongGroup(name string) string {
	inner := strings.TrimSpace(name)
	quoted := len(inner) > 1 && strings.HasPrefix(inner, `"`) && strings.HasSuffix(inner, `"`)
	if quoted {
		inner = inner[1 : len(inner)-1]
	}
	switch runes := []rune(name); {
	case !quoted && strings.Contains(inner, ","):
		return "must be quoted"
	case inner == "":
		return "is empty"
	case groupForbidden.MatchString(inner):
		return "contains invalid characters"
	case unicode.IsSpace(runes[0]):
		return "contains a leading space"
	case unicode.IsSpace(runes[len(runes)-1]):
		return "contains a trailing space"
	}
	return ""
}

// readTokens joins the tokens of the spec and of the status, the newest first;
// where both know one, the spec's account counts (jwtTokensCombine).
func readTokens(spec, status node) []Token {
	tokens := map[string]Token{}
	for _, list := range []node{status, spec} {
		for _, item := range list.items() {
			item.fields("iat", "exp", "id")
			token := Token{ID: item.at("id").str(), IssuedAt: item.at("iat").int(), ExpiresAt: item.at("exp").int()}
			if token.ID == "" {
				token.ID = strconv.FormatInt(token.IssuedAt, 10)
			}
			tokens[token.ID] = token
		}
	}
	var out []Token
	for _, id := range nodes.SortedKeys(tokens) {
		out = append(out, tokens[id])
	}
	slices.SortStableFunc(out, func(a, b Token) int { return cmp.Compare(b.IssuedAt, a.IssuedAt) })
	return out
}

// actionsOfRoles are what a rule of a project's role may name.
var (
	actionsOfRoles  = []string{"get", "create", "update", "delete", "sync", "override", "rollback", "*"}
	actionPatterns  = regexp.MustCompile(`(action|update|delete)/.*`)
	scopedResources = []string{"applications", "applicationsets", "logs", "exec", "clusters", "repositories"}
)

// parseRolePolicy reads a policy of a project's role, which must be about the
// role and within the project (validatePolicy); wrong says what is not so.
func parseRolePolicy(project, role, text string) (rule policy.Rule, wrong string) {
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.Trim(parts[i], " ")
	}
	if len(parts) != 6 || parts[0] != "p" {
		return policy.Rule{}, "must be of the form: 'p, sub, res, act, obj, eft'"
	}
	rule = policy.Rule{Subject: parts[1], Resource: parts[2], Action: parts[3], Object: parts[4], Deny: parts[5] == "deny"}
	subject := Role{Name: role}.Subject(project)
	switch {
	case rule.Subject != subject:
		wrong = "policy subject must be: '" + subject + "', not '" + rule.Subject + "'"
	case !slices.Contains(scopedResources, rule.Resource):
		wrong = "project resource must be: 'applications', 'applicationsets', 'repositories', 'exec', 'logs' or 'clusters', not '" + rule.Resource + "'"
	case !slices.Contains(actionsOfRoles, rule.Action) && !actionPatterns.MatchString(rule.Action):
		wrong = "invalid action '" + rule.Action + "'"
	case !withinProject(project, rule.Object):
		wrong = "object must be of form '" + project + "/*', '" + project + "[/<NAMESPACE>]/<APPNAME>' or '" + project + "/<APPNAME>', not '" + rule.Object + "'"
	case parts[5] != "allow" && parts[5] != "deny":
		wrong = "effect must be: 'allow' or 'deny'"
	}
	return rule, wrong
}

var objectPart = regexp.MustCompile(`^[*\w.-]+$`)

// withinProject reports whether an object is PROJECT[/NAMESPACE]/NAME.
func withinProject(project, object string) bool {
	rest, ok := strings.CutPrefix(object, project+"/")
	parts := strings.Split(rest, "/")
	return ok && len(parts) <= 2 && !slices.ContainsFunc(parts, func(part string) bool { return !objectPart.MatchString(part) })
}
