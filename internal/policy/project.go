package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Project is what an AppProject says about access.
type Project struct {
	Namespace, Name string
	Roles           []Role
}

// Role is a role of a project.
type Role struct {
	Name     string
	Policies []string // lines, as they were written
	Groups   []string // who has the role, as they were written: quotes around a name with a comma
	Tokens   []Token  // that were issued for it, in the spec or in the status
}

// Token is the record of a token that was issued for a role; the token itself
// is nowhere.
type Token struct {
	ID                  string // "" for the oldest ones
	IssuedAt, ExpiresAt int64  // Unix seconds; ExpiresAt 0: never
}

// Subject is the name of a project's role in policies.
func (p Project) Subject(role string) string { return "proj:" + p.Name + ":" + role }

// ReadProject reads the roles of an AppProject. What is of another type than it
// should be is an error: such a project has no roles.
func ReadProject(o *unstructured.Unstructured) (Project, error) {
	project := Project{Namespace: o.GetNamespace(), Name: o.GetName()}
	var fields struct {
		Spec struct {
			Roles []struct {
				Name      string       `json:"name"`
				Policies  []string     `json:"policies"`
				Groups    []string     `json:"groups"`
				JWTTokens []tokenField `json:"jwtTokens"`
			} `json:"roles"`
		} `json:"spec"`
		Status struct {
			JWTTokensByRole map[string]struct {
				Items []tokenField `json:"items"`
			} `json:"jwtTokensByRole"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &fields); err != nil {
		return project, fmt.Errorf("the roles of %s cannot be read: %w", object.Of(o), err)
	}
	for _, r := range fields.Spec.Roles {
		role := Role{Name: r.Name, Policies: r.Policies, Groups: r.Groups}
		for _, token := range slices.Concat(fields.Status.JWTTokensByRole[r.Name].Items, r.JWTTokens) {
			role.Tokens = append(role.Tokens, Token(token))
		}
		project.Roles = append(project.Roles, role)
	}
	return project, nil
}

type tokenField struct {
	ID        string `json:"id"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`
}

// projectRules is what a project's roles add to the installation's policy.
type projectRules struct {
	rules  []Rule
	grants []Grant
	broken bool // a line cannot be read: only denies are in force
}

// rulesOf reads the roles of a project (AppProject.ProjectPoliciesString). A
// line that cannot be read takes the project's roles out of force, as upstream
// then falls back to the installation's policy; what they deny stays. A line that is not about the role and within the project is left
// out, unless it denies.
func rulesOf(p Project) (projectRules, []model.Finding) {
	read := projectReader{project: p, origin: model.Origin{
		Dialect:  "argo",
		Declared: object.ID{Group: "argoproj.io", Kind: "AppProject", Namespace: p.Namespace, Name: p.Name},
	}}
	for i, role := range p.Roles {
		read.role(fmt.Sprintf("spec.roles[%d]", i), role)
	}
	found := read.told.done()
	for i := range found {
		found[i].Origin.Dialect, found[i].Origin.Declared = read.origin.Dialect, read.origin.Declared
	}
	return read.out, found
}

type projectReader struct {
	project Project
	origin  model.Origin
	out     projectRules
	told    findings
}

func (r *projectReader) at(field string) model.Origin {
	origin := r.origin
	origin.Field = field
	return origin
}

func (r *projectReader) role(field string, role Role) {
	if strings.ContainsAny(role.Name, ":,\"\r\n\t ") || role.Name == "" {
		r.told.add(model.Refused, "InvalidRole", field+".name", 0, "invalid role name %q: the role is not in force; use letters, digits, - and _", clip(role.Name))
		return
	}
	subject := r.project.Subject(role.Name)
	r.out.rules = append(r.out.rules, Rule{
		Subject: subject, Resource: Projects, Action: Get, Object: r.project.Name, Origin: r.at(field), plain: true,
	})
	for i, text := range role.Policies {
		for one := range strings.SplitSeq(text, "\n") {
			r.policy(fmt.Sprintf("%s.policies[%d]", field, i), subject, one)
		}
	}
	for i, name := range role.Groups {
		r.group(fmt.Sprintf("%s.groups[%d]", field, i), subject, name)
	}
}

func (r *projectReader) policy(field, subject, text string) {
	read, wrong := readLine(text)
	switch read.kind {
	case nothing:
	case unreadable:
		r.unreadable(field, text, wrong)
	case ignored, grantLine:
		r.told.add(model.Refused, "InvalidRole", field, 0, "%s: a role of a project has only lines of the form 'p, %s, resource, action, object, effect'; the line is not in force", clip(text), subject)
	case ruleLine:
		rule, ok := ruleOf(read.fields, r.at(field))
		if wrong == "" {
			wrong = r.strays(subject, rule)
		}
		if wrong != "" {
			state := "the line is not in force"
			if rule.Deny {
				state = "as it denies, it is in force for this project"
			}
			r.told.add(model.Refused, "InvalidRole", field, 0, "%s: %s; %s", clip(text), wrong, state)
			ok = rule.Deny
		}
		if ok {
			r.out.rules = append(r.out.rules, rule)
		}
	}
}

func (r *projectReader) unreadable(field, text, wrong string) {
	r.out.broken = true
	r.told.add(model.Refused, "InvalidRole", field, 0, "%s: %s. Until this is corrected the roles of project %s allow nothing; what they deny and the installation's policy stay in force", clip(text), wrong, r.project.Name)
}

var (
	pathOfAction = regexp.MustCompile(`^(action|update|delete)/`)
	objectPart   = regexp.MustCompile(`^[*\w.-]+$`)
)

// strays says how a rule is not about its role and project (validatePolicy).
func (r *projectReader) strays(subject string, rule Rule) string {
	actions := []string{Get, Create, Update, Delete, Sync, Override, Rollback, Suspend, Approve, "*"}
	switch {
	case rule.Subject != subject:
		return fmt.Sprintf("the subject must be %s", subject)
	case !ProjectScoped(rule.Resource):
		return "the resource must be one of " + strings.Join(projectScoped, ", ")
	case !slices.Contains(actions, rule.Action) && !pathOfAction.MatchString(rule.Action):
		return "the action must be one of " + strings.Join(actions, ", ") + ", or begin with action/, update/ or delete/"
	case !r.within(rule.Object):
		return fmt.Sprintf("the object must be %s/*, %s/NAME or %s/NAMESPACE/NAME", r.project.Name, r.project.Name, r.project.Name)
	}
	return ""
}

// within reports whether an object is PROJECT/NAME or PROJECT/NAMESPACE/NAME.
func (r *projectReader) within(object string) bool {
	rest, ok := strings.CutPrefix(object, r.project.Name+"/")
	parts := strings.Split(rest, "/")
	return ok && len(parts) <= 2 && !slices.ContainsFunc(parts, func(part string) bool { return !objectPart.MatchString(part) })
}

// group reads the name of a group as upstream's line "g, NAME, ROLE" would.
func (r *projectReader) group(field, subject, name string) {
	text := strings.TrimSpace("g, " + name + ", " + subject)
	read, wrong := readLine(text)
	if read.kind != grantLine || strings.Contains(name, "\n") || read.fields[1] != subject {
		if wrong == "" {
			wrong = "a name must be one line"
		}
		r.unreadable(field, name, wrong)
		return
	}
	if read.fields[0] == "" {
		r.told.add(model.Refused, "InvalidRole", field, 0, "the group is empty; it is not in force")
		return
	}
	r.out.grants = append(r.out.grants, Grant{Member: read.fields[0], Role: subject, Origin: r.at(field)})
}
