package flux

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const defaultFetchTimeout = time.Minute // spec.timeout of every source

// gathering asks for the facts that an object names as its fields are read. A
// fact that is not known yet is a need, and what depends on it is left out until
// it is known.
type gathering struct {
	r     *reader.Reader
	facts model.Facts
	open  []model.Need
	bare  bool // nothing is asked for: the object is being deleted
}

// known reports whether a need has been answered; it is asked for otherwise.
func (g *gathering) known(need model.Need) bool {
	if g.bare {
		return false
	}
	if _, ok := g.facts[need]; ok {
		return true
	}
	if !slices.Contains(g.open, need) {
		g.open = append(g.open, need)
	}
	return false
}

// all reports whether every need has been answered; zero needs are none.
func (g *gathering) all(needs ...model.Need) bool {
	all := !g.bare
	for _, need := range needs {
		if need != (model.Need{}) && !g.known(need) {
			all = false
		}
	}
	return all
}

// secret is the Secret that a field names by its name; false when it names none,
// or when it cannot be read, which is a fault unless it is only not known yet.
func (g *gathering) secret(ref node, reason, about string) (secretReader, bool) {
	s := secretReader{r: g.r, need: secretNeed(ref, g.r.ID.Namespace), field: ref.Path, reason: reason, about: about}
	if s.need == (model.Need{}) || !g.known(s.need) {
		return s, false
	}
	return s, s.load(g.facts)
}

// object is what a need was answered with, or a fault in upstream's words.
func (g *gathering) object(need model.Need, field, reason, about string) *unstructured.Unstructured {
	if !g.known(need) {
		return nil
	}
	fact := g.facts[need]
	fault := &model.Fault{Reason: reason, Origin: model.Origin{Field: field}, Retry: true}
	name := fmt.Sprintf("%s '%s/%s'", need.Kind, need.Namespace, need.Name)
	switch fact.State {
	case model.Present:
		return fact.Object
	case model.Absent:
		fault.Message, fault.Advice = about+name+" not found", "create it"
	case model.Forbidden:
		fault.Message, fault.Advice = about+name+" may not be read: "+reader.Clip(fact.Message, 500), "allow Plumb to read it"
	default:
		fault.Message = about + name + ": " + reader.Clip(fact.Message, 500)
	}
	g.r.Fault(fault)
	return nil
}

// sourceCompilation makes a source of one declared object.
type sourceCompilation struct {
	gathering
	declared *unstructured.Unstructured
	settings dialect.Settings
	source   *model.Source
}

// understand reads the object: what all sources have, and then what its kind
// has.
func understand(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings, kind func(*sourceCompilation, node)) *sourceCompilation {
	r, spec := read(declared)
	c := &sourceCompilation{
		gathering: gathering{r: r, facts: facts, bare: declared.GetDeletionTimestamp() != nil},
		declared:  declared,
		settings:  settings,
		source: &model.Source{
			ID:         r.ID,
			UID:        string(declared.GetUID()),
			Generation: declared.GetGeneration(),
			Origin:     origin(r.ID, ""),
			Interval:   defaultInterval,
			Timeout:    defaultFetchTimeout,
			Deleting:   declared.GetDeletionTimestamp() != nil,
			Wake:       declared.GetAnnotations()[AnnotationRequestedAt],
			Last:       lastArtifact(declared),
		},
	}
	kind(c, spec)
	r.Findings = append(r.Findings, unhandledFields(declared)...)
	return c
}

// compileSource makes a source of a declared object. The Secrets and other
// objects that it names are needs; until they are known the source is nil.
//
// In a suspended or deleted object nothing is a fault. A deleted one is
// compiled without credentials; a suspended one has them if it can, to go on
// serving its last revision after a restart.
func compileSource(declared *unstructured.Unstructured, facts model.Facts, settings dialect.Settings, kind func(*sourceCompilation, node)) (*model.Source, []model.Need, []model.Finding, error) {
	c := understand(declared, facts, settings, kind)
	err := c.r.Err()
	switch {
	case c.bare:
	case err != nil && !c.source.Suspended:
		return nil, nil, c.r.Findings, err
	case err == nil && len(c.open) > 0:
		return nil, c.open, c.r.Findings, nil
	}
	return c.source, nil, c.r.Findings, nil
}

// times reads the fields that every fetched source has.
func (c *sourceCompilation) times(spec node) {
	c.source.Interval = interval(spec)
	c.source.Suspended = spec.At("suspend").Bool()
	if timeout, ok := spec.At("timeout").Duration(); ok {
		c.source.Timeout = timeout
	}
}

func (c *sourceCompilation) ignore(spec node) {
	if ignore := spec.At("ignore"); ignore.Present() {
		patterns := ignore.Str()
		c.source.Ignore = &patterns
	}
}

// required is a string that must be there.
func required(field node, what string) string {
	text := field.Str()
	if text == "" {
		field.Invalid("names no %s", what)
	}
	return text
}

// oneOf is the value of a field that takes some values only; absent it is the
// first of them.
func oneOf(field node, reason string, values ...string) string {
	text := field.Str()
	if text == "" {
		return values[0]
	}
	if !slices.Contains(values, text) {
		field.R.Fault(&model.Fault{
			Reason:  reason,
			Message: fmt.Sprintf("%s: %q is none of %v", field.Path, reader.Clip(text, 63), values),
			Advice:  "correct the field",
			Origin:  model.Origin{Field: field.Path},
		})
	}
	return text
}
