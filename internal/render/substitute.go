package render

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"github.com/fluxcd/pkg/envsubst/parse"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Variable is a value that substitution puts in place of ${name}.
type Variable struct {
	Value  model.Secret // printed nowhere, wherever it comes from
	Secret bool         // it comes from a Secret: an object that receives it is marked Secret
}

// variableName is what may be substituted (fluxcd/pkg kustomize, varsubRegex).
var variableName = regexp.MustCompile(`^[_[:alpha:]][_[:alpha:][:digit:]]*$`)

// Variables merges the variables of a substitution: those of From in order,
// later ones winning, then Inline, without line breaks, as
// kustomize-controller does. A fact that is missing from facts counts as not
// asked for yet and is a fault with Waiting set. Errors are *model.Fault.
func Variables(sub *model.Substitution, facts model.Facts) (map[string]Variable, error) {
	if sub == nil {
		return nil, nil
	}
	vars := map[string]Variable{}
	for _, from := range sub.From {
		fact, asked := facts[from.Need]
		name := fmt.Sprintf("'%s/%s'", from.Need.Kind, from.Need.Name)
		fault := &model.Fault{Reason: BuildFailed, Origin: model.Origin{Field: "spec.postBuild.substituteFrom"}}
		switch {
		case !asked:
			fault.Message, fault.Waiting, fault.Retry = "substitute from "+name+": not read yet", true, true
			return nil, fault
		case fact.State == model.Present:
			if err := take(vars, fact.Object); err != nil {
				fault.Message = fmt.Sprintf("substitute from %s error: %v", name, err)
				return nil, fault
			}
		case fact.State == model.Absent && from.Optional:
		case fact.State == model.Absent:
			fault.Message, fault.Retry = "substitute from "+name+" error: not found", true
			fault.Advice = "create it, or set optional: true"
			return nil, fault
		default:
			fault.Message, fault.Retry = "substitute from "+name+" error: "+fact.Message, true
			return nil, fault
		}
	}
	for name, value := range sub.Inline {
		vars[name] = Variable{Value: model.NewSecret([]byte(oneLine(value)))}
	}
	return vars, nil
}

// take adds the data of a ConfigMap or Secret.
func take(vars map[string]Variable, from *unstructured.Unstructured) error {
	data, _, err := unstructured.NestedMap(from.Object, "data")
	if err != nil {
		return errors.New("its data is no mapping")
	}
	isSecret := from.GetKind() == "Secret"
	for name, value := range data {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("the value of %q is not a string", name)
		}
		if isSecret {
			decoded, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("the value of %q is not base64", name)
			}
			text = string(decoded)
		}
		vars[name] = Variable{Value: model.NewSecret([]byte(oneLine(text))), Secret: isSecret}
	}
	return nil
}

func oneLine(value string) string { return strings.ReplaceAll(value, "\n", "") }

// Bounds on what one object may ask of a substitution. The library recurses
// once for every reference, and cutting a pattern off a value takes time that
// grows with the square of its length.
const (
	mostReferences = 20_000
	mostMatching   = 64 << 20 // sum of the squares of the lengths that # and % work on
	largestObject  = 16 << 20 // bytes of an object after substitution
)

// Substitute runs Flux's post-build substitution over the objects: each one is
// written as YAML, ${variables} and the functions of
// github.com/fluxcd/pkg/envsubst in it are replaced, and the result is read
// again (fluxcd/pkg kustomize, SubstituteVariables). It follows that a value
// like 5 or true becomes a number or a boolean where the object's text leaves
// it without quotes. Variables that are not defined are empty, or with sub.Strict a
// fault where there is no default.
//
// An object that carries the label or annotation control.Substitute with the
// value "disabled" is left alone. Without any variable nothing is replaced
// unless sub.Always is set; then defaults such as ${NAME:=value} take effect.
// An object that receives the value of a variable with Secret set is marked
// Secret. Errors are *model.Fault and show no value; m is not changed.
func Substitute(m *model.Manifest, sub *model.Substitution, vars map[string]Variable, control model.Annotations) (*model.Manifest, error) {
	if sub == nil || len(vars) == 0 && !sub.Always || len(m.Objects) == 0 {
		return m, nil
	}
	s := substitution{vars: vars, strict: sub.Strict, exempt: control.Substitute}
	for name := range vars {
		if !variableName.MatchString(name) && (s.invalid == "" || name < s.invalid) {
			s.invalid = name
		}
	}
	out := *m
	out.Objects = slices.Clone(m.Objects)
	for i := range out.Objects {
		if err := s.replace(&out.Objects[i]); err != nil {
			return nil, err
		}
	}
	return &out, unique(out.Objects)
}

type substitution struct {
	vars    map[string]Variable
	strict  bool
	exempt  string
	invalid string // name of a variable that cannot be one, or ""
}

func (s substitution) replace(rendered *model.Rendered) error {
	exempt, err := s.exempted(rendered)
	if err != nil || exempt {
		return err
	}
	if s.invalid != "" {
		return substitutionFault(rendered, fmt.Sprintf("'%s' var name is invalid, must match '%s'", s.invalid, variableName))
	}
	if !strings.Contains(string(rendered.JSON), "$") {
		return nil // the text would be read back as it was written
	}
	text, err := yaml.JSONToYAML(rendered.JSON)
	if err != nil {
		return substitutionFault(rendered, "it cannot be written as YAML")
	}
	received, err := s.check(rendered, string(text))
	if err != nil {
		return substitutionFault(rendered, err.Error())
	}
	replaced, err := s.eval(string(text))
	if err != nil {
		return substitutionFault(rendered, "variable substitution failed: "+err.Error())
	}
	return s.reread(rendered, replaced, received)
}

// exempted reports whether the object asks to be left alone.
func (s substitution) exempted(rendered *model.Rendered) (bool, error) {
	if s.exempt == "" || !strings.Contains(string(rendered.JSON), s.exempt) {
		return false, nil
	}
	var fields map[string]any
	if err := json.Unmarshal(rendered.JSON, &fields); err != nil {
		return false, substitutionFault(rendered, "it cannot be read again")
	}
	o := unstructured.Unstructured{Object: fields}
	return o.GetLabels()[s.exempt] == "disabled" || o.GetAnnotations()[s.exempt] == "disabled", nil
}

// check bounds the work, and reports whether a secret value is asked for.
func (s substitution) check(rendered *model.Rendered, text string) (secret bool, err error) {
	if strings.Count(text, "${") > mostReferences {
		return false, fmt.Errorf("it has more than %d references to variables", mostReferences)
	}
	tree, err := parse.Parse(text)
	if err != nil {
		return false, fmt.Errorf("variable substitution failed: %w%s", err, broken(rendered, text))
	}
	c := cost{vars: s.vars}
	switch size := c.of(tree.Root); {
	case size > largestObject:
		err = fmt.Errorf("with its variables replaced it may have more than %d bytes", largestObject)
	case c.matching > mostMatching:
		err = fmt.Errorf("cutting patterns off the variable %s and others takes too long", c.longest)
	}
	return c.secret, err
}

// cost adds up what a substitution may need at most.
type cost struct {
	vars     map[string]Variable
	matching int
	longest  string // name of the variable with the longest value that is matched
	secret   bool
}

// of returns the most bytes that a node may be replaced by, no more than just
// above largestObject.
func (c *cost) of(node parse.Node) int {
	total := 0
	switch n := node.(type) {
	case *parse.TextNode:
		total = len(n.Value)
	case *parse.ListNode:
		for _, child := range n.Nodes {
			total = min(total+c.of(child), largestObject+1)
		}
	case *parse.FuncNode:
		args := 0
		for _, arg := range n.Args {
			args = min(args+c.of(arg), largestObject+1)
		}
		variable := c.vars[n.Param]
		c.secret = c.secret || variable.Secret
		value := min(len(variable.Value.Reveal()), largestObject+1)
		total = value + args
		switch {
		case n.Name == "//":
			total = value + (value+1)*args // an empty pattern matches between all bytes
		case len(n.Args) > 0 && (strings.HasPrefix(n.Name, "#") || strings.HasPrefix(n.Name, "%")):
			c.match(n.Param, value)
		}
	}
	return min(total, largestObject+1)
}

func (c *cost) match(name string, length int) {
	if c.longest == "" || length > len(c.vars[c.longest].Value.Reveal()) {
		c.longest = name
	}
	c.matching = min(c.matching+length*length, mostMatching+1)
}

// reference is the beginning of a reference, as far as it is surely a name.
var reference = regexp.MustCompile(`\$\{#?[A-Za-z0-9_]{0,60}[^\n}]{0,200}\}?`)

// broken names the reference that cannot be parsed. The text of a Secret is
// not shown.
func broken(rendered *model.Rendered, text string) string {
	if rendered.Secret {
		return ""
	}
	for _, found := range reference.FindAllString(text, -1) {
		if _, err := parse.Parse(found); err == nil {
			continue
		}
		end := len("${")
		for end < len(found) && variableName.MatchString(strings.TrimPrefix(found[2:end+1], "#")) {
			end++
		}
		return fmt.Sprintf(" at %q", found[:end])
	}
	return ""
}

// eval replaces; the library may panic over numbers that do not fit.
func (s substitution) eval(text string) (replaced string, err error) {
	at := ""
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the expression around the variable %s cannot be computed", at)
		}
	}()
	return envsubst.Eval(text, func(name string) (string, bool) {
		at = name
		value, defined := s.vars[name]
		return string(value.Value.Reveal()), defined || !s.strict
	})
}

// reread puts the replaced text in place of the object.
func (s substitution) reread(rendered *model.Rendered, replaced string, received bool) error {
	if len(replaced) > largestObject {
		return substitutionFault(rendered, fmt.Sprintf("with its variables replaced it has more than %d bytes", largestObject))
	}
	if strings.Contains(replaced, "&") && strings.Contains(replaced, "*") {
		// A value may bring anchors of its own.
		const most = 2_000_000
		if node, _ := parseDocument([]byte(replaced)); node != nil && expanded(node, most) > most {
			return substitutionFault(rendered, fmt.Sprintf("the YAML aliases in its variables expand to more than %d values", most))
		}
	}
	text, err := yaml.YAMLToJSON([]byte(replaced))
	if err != nil {
		return substitutionFault(rendered, "with its variables replaced it is no valid YAML: a value may need quotes")
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return substitutionFault(rendered, "with its variables replaced it is no object any more")
	}
	id, version := identify(fields)
	if id.Kind == "" || id.Name == "" || version == "" {
		return substitutionFault(rendered, "with its variables replaced it has no apiVersion, kind or metadata.name, or one that is not a string: a value may need quotes")
	}
	canonical, err := object.Canonical(fields)
	if err != nil {
		return substitutionFault(rendered, "with its variables replaced it cannot be written as JSON")
	}
	rendered.ID, rendered.Version, rendered.JSON = id, version, canonical
	rendered.Secret = rendered.Secret || received || secret(fields)
	return nil
}

func substitutionFault(rendered *model.Rendered, what string) error {
	return &model.Fault{
		Reason:  BuildFailed,
		Message: fmt.Sprintf("post build failed for %s: %s", rendered.ID, what),
		Advice:  "write $${name} for text that is no variable, or annotate the object with kustomize.toolkit.fluxcd.io/substitute: disabled",
		Origin:  rendered.Origin, Object: rendered.ID,
	}
}

// unique refuses two objects that substitution has given one identity.
func unique(objects []model.Rendered) error {
	seen := make(map[object.ID]model.Origin, len(objects))
	for _, rendered := range objects {
		if first, ok := seen[rendered.ID]; ok {
			return (&build{origin: rendered.Origin}).duplicateFault(rendered.ID, first, rendered.Origin)
		}
		seen[rendered.ID] = rendered.Origin
	}
	return nil
}

// Finish does what upstream does with the objects after the build: it runs the
// substitution, when there is one, and then sets the common labels and
// annotations of the options on the metadata of every object, overriding what
// is there (kustomize-controller, spec.commonMetadata). Those of other kinds than
// RenderFlux are kustomize's own, and set already.
func Finish(m *model.Manifest, render model.Render, vars map[string]Variable, control model.Annotations) (*model.Manifest, error) {
	m, err := Substitute(m, render.Substitution, vars, control)
	if err != nil {
		return nil, err
	}
	labels, annotations := render.Kustomize.CommonLabels, render.Kustomize.CommonAnnotations
	if render.Kind != model.RenderFlux || len(labels)+len(annotations) == 0 {
		return m, nil
	}
	out := *m
	out.Objects = slices.Clone(m.Objects)
	for i := range out.Objects {
		rendered := &out.Objects[i]
		var fields map[string]any
		if err := json.Unmarshal(rendered.JSON, &fields); err != nil {
			return nil, substitutionFault(rendered, "it cannot be read again")
		}
		overlay(fields, "labels", labels)
		overlay(fields, "annotations", annotations)
		canonical, err := object.Canonical(fields)
		if err != nil {
			return nil, substitutionFault(rendered, "it cannot be written as JSON")
		}
		rendered.JSON = canonical
	}
	return &out, nil
}

// overlay sets entries of a map in the metadata of an object.
func overlay(fields map[string]any, name string, entries map[string]string) {
	if len(entries) == 0 {
		return
	}
	metadata, ok := fields["metadata"].(map[string]any)
	if !ok {
		return
	}
	values, ok := metadata[name].(map[string]any)
	if !ok {
		values = map[string]any{}
		metadata[name] = values
	}
	for key, value := range entries {
		values[key] = value
	}
}
