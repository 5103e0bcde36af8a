package health

import (
	"fmt"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The building blocks of rules in Argo CD's sense. A rule is a list of clauses;
// the first that has something to say decides, and an object of which none has
// is in progress: its controller has not reported yet.

// clause judges an object if it can.
type clause func(live fields) (model.Health, bool)

// first makes a rule of clauses.
func first(clauses ...clause) rule {
	return func(live fields) model.Health {
		for _, decide := range clauses {
			if health, ok := decide(live); ok {
				return health
			}
		}
		return inProgress("NotReported", "its controller has not reported how it is doing")
	}
}

// verdict is a judgement with the state's own reason where there is none.
func verdict(state model.Healthiness, reason, format string, args ...any) model.Health {
	return model.Health{State: state, Reason: or(reason, string(state)), Message: fmt.Sprintf(format, args...)}
}

func suspended(reason, format string, args ...any) model.Health {
	return verdict(model.Paused, reason, format, args...)
}

func unknown(reason, format string, args ...any) model.Health {
	return verdict(model.Unknown, reason, format, args...)
}

// otherwise decides for good: the end of a list of clauses.
func otherwise(state model.Healthiness, message string) clause {
	return func(fields) (model.Health, bool) { return verdict(state, "", "%s", message), true }
}

// mark is what a condition means.
type mark struct {
	kind, status string // status "" stands for any, "!True" for any but True
	reasons      []string
	except       []string
	state        model.Healthiness
}

// when gives a condition a meaning: when("Ready", "False", model.Unhealthy).
func when(kind, status string, state model.Healthiness) mark {
	return mark{kind: kind, status: status, state: state}
}

// with restricts a mark to some reasons.
func (m mark) with(reasons ...string) mark {
	m.reasons = reasons
	return m
}

// without exempts some reasons from a mark.
func (m mark) without(reasons ...string) mark {
	m.except = reasons
	return m
}

func (m mark) fits(c condition) bool {
	if m.kind != "" && m.kind != c.kind {
		return false
	}
	if denied, not := strings.CutPrefix(m.status, "!"); not {
		if c.status == denied {
			return false
		}
	} else if m.status != "" && m.status != c.status {
		return false
	}
	if len(m.reasons) > 0 && !slices.Contains(m.reasons, c.reason) {
		return false
	}
	return !slices.Contains(m.except, c.reason)
}

func (m mark) verdict(c condition) (model.Health, bool) {
	return verdict(m.state, c.reason, "%s", c.said()), true
}

// said is what a condition tells people.
func (c condition) said() string {
	if c.message != "" {
		return c.message
	}
	said := c.kind + " is " + c.status
	if c.reason != "" {
		said += ": " + c.reason
	}
	return said
}

// reported goes through the conditions in the order in which the controller
// wrote them; the first with a meaning decides.
func reported(marks ...mark) clause {
	return func(live fields) (model.Health, bool) {
		for _, c := range live.conditions() {
			for _, m := range marks {
				if m.fits(c) {
					return m.verdict(c)
				}
			}
		}
		return model.Health{}, false
	}
}

// ranked goes through the marks in their order; the first that a condition has
// decides.
func ranked(marks ...mark) clause {
	return func(live fields) (model.Health, bool) {
		conditions := live.conditions()
		for _, m := range marks {
			for _, c := range conditions {
				if m.fits(c) {
					return m.verdict(c)
				}
			}
		}
		return model.Health{}, false
	}
}

// conditionBoth decides by one condition: True is healthy, False is not.
func conditionBoth(kind string) clause {
	return reported(when(kind, "True", model.Current), when(kind, "False", model.Unhealthy))
}

// readyBoth is the judgement that most controllers ask for: healthy when Ready
// is True, unhealthy when it is False, in progress until they say either.
var readyBoth = first(conditionBoth("Ready"))

// words maps what a controller writes into a field to its meaning.
type words map[string]model.Healthiness

// word reads a field, such as "status.phase", that holds one word.
func word(path string, meaning words) clause {
	return func(live fields) (model.Health, bool) {
		said := live.text(split(path)...)
		state, ok := meaning[said]
		if !ok || !live.has(split(path)...) {
			return model.Health{}, false
		}
		return spoken(live, path, said, state), true
	}
}

// wordElse is word for fields whose other words have a meaning too.
func wordElse(path string, meaning words, other model.Healthiness) clause {
	return func(live fields) (model.Health, bool) {
		if !live.has(split(path)...) {
			return model.Health{}, false
		}
		said := live.text(split(path)...)
		state, ok := meaning[said]
		if !ok {
			state = other
		}
		return spoken(live, path, said, state), true
	}
}

// spoken is a verdict over a word, with the message beside it if there is one.
func spoken(live fields, path, said string, state model.Healthiness) model.Health {
	parts := split(path)
	beside := live.sub(parts[:len(parts)-1]...)
	message := parts[len(parts)-1] + " is " + or(said, "empty") +
		condition{message: or(beside.text("message"), beside.text("errorMessage"))}.because()
	return verdict(state, camelCase(said), "%s", message)
}

// camelCase makes a reason of a controller's word: "In progress" → "InProgress".
func camelCase(said string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(said, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func split(path string) []string { return strings.Split(path, ".") }

// paused decides that an object whose flag is set waits for somebody.
func paused(path string) clause {
	return func(live fields) (model.Health, bool) {
		if !live.flag(split(path)...) {
			return model.Health{}, false
		}
		return suspended("Suspended", "it is suspended (%s)", path), true
	}
}

// flagged decides when a flag is set.
func flagged(path string, state model.Healthiness) clause {
	return func(live fields) (model.Health, bool) {
		if !live.flag(split(path)...) {
			return model.Health{}, false
		}
		return verdict(state, "", "%s is set", path), true
	}
}

// unobserved decides while the status is about an earlier spec. A status that
// names no generation passes.
func unobserved(live fields) (model.Health, bool) {
	generation, ok := live.whole("metadata", "generation")
	seen, said := live.whole("status", "observedGeneration")
	if !ok || !said || seen == generation {
		return model.Health{}, false
	}
	return behind(live), true
}

// neverObserved is unobserved for controllers that always name the generation:
// without one they have not looked yet.
func neverObserved(live fields) (model.Health, bool) {
	generation, _ := live.whole("metadata", "generation")
	seen, said := live.whole("status", "observedGeneration")
	if said && seen == generation {
		return model.Health{}, false
	}
	return behind(live), true
}

func behind(live fields) model.Health {
	return inProgress(notObserved, "the controller of %s has not seen the last change yet", live.text("kind"))
}

// unreported decides while there is no status.
func unreported(live fields) (model.Health, bool) {
	if live.has("status") {
		return model.Health{}, false
	}
	return inProgress("NotReported", "its controller has not reported how it is doing"), true
}

// shared gives several kinds one rule.
func shared(judge rule, kinds ...string) map[string]rule {
	all := make(map[string]rule, len(kinds))
	for _, kind := range kinds {
		all[kind] = judge
	}
	return all
}
