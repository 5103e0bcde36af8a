package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// gatewayAPI judges the kinds of the Gateway API. Routes and policies report
// once for each parent or ancestor.
var gatewayAPI = system{group: "gateway.networking.k8s.io", kinds: map[string]rule{
	"BackendTLSPolicy": first(ancestors(false)),
	"Gateway":          gateway,
	"GatewayClass":     gatewayClass,
	"GRPCRoute":        first(parents(false)),
	"HTTPRoute":        first(parents(true)),
}}

// attached judges one set of conditions of a gateway, a listener or a parent:
// references that do not resolve and refusals outweigh what is not programmed.
func attached(conditions []condition, where string) (model.Health, bool) {
	for _, m := range []mark{
		when("ResolvedRefs", "False", model.Unhealthy), when("Accepted", "False", model.Unhealthy), when("Programmed", "!True", model.InProgress),
	} {
		for _, c := range conditions {
			if m.fits(c) {
				return verdict(m.state, c.reason, "%s%s", where, c.said()), true
			}
		}
	}
	return model.Health{}, false
}

func gateway(live fields) model.Health {
	conditions, listeners := live.conditions(), live.each("status", "listeners")
	if health, decided := attached(conditions, ""); decided {
		return health
	}
	for _, listener := range listeners {
		if health, decided := attached(listener.conditionsAt("conditions"), "listener "+listener.text("name")+": "); decided {
			return health
		}
	}
	if !live.has("status", "conditions") && len(listeners) == 0 {
		return inProgress("NotReported", "no controller has taken the gateway yet")
	}
	return current("the gateway is programmed")
}

func gatewayClass(live fields) model.Health {
	generation, numbered := live.whole("metadata", "generation")
	for _, c := range live.each("status", "conditions") {
		seen, named := c.whole("observedGeneration")
		if c.text("type") != "Accepted" || numbered && named && seen != generation {
			continue
		}
		accepted := condition{c.text("type"), c.text("status"), c.text("reason"), c.text("message")}
		switch accepted.status {
		case "True":
			return current("%s", accepted.said())
		case "False":
			return failed(or(accepted.reason, "NotAccepted"), "%s", accepted.said())
		}
		return inProgress(or(accepted.reason, "Pending"), "%s", accepted.said())
	}
	return inProgress("NotReported", "no controller has taken the class yet")
}

// parents judges a route. Where only conditions about this generation count, a
// parent that has not seen it is left out, and one must have.
func parents(observed bool) clause {
	return func(live fields) (model.Health, bool) {
		var names []string
		for _, parent := range live.each("status", "parents") {
			conditions := parent.conditionsAt("conditions")
			if len(conditions) == 0 || observed && stale(live, parent, false) {
				continue
			}
			name := or(parent.text("parentRef", "name"), "(unnamed)")
			if health, decided := attached(conditions, "parent "+name+": "); decided {
				return health, true
			}
			names = append(names, name)
		}
		return current("the route is attached to %s", strings.Join(names, ", ")), len(names) > 0
	}
}

// stale reports whether conditions are about an earlier generation. Those that
// name none count as stale where strict.
func stale(live, at fields, strict bool) bool {
	generation, ok := live.whole("metadata", "generation")
	if !ok {
		return false
	}
	for _, c := range at.each("conditions") {
		if seen, named := c.whole("observedGeneration"); seen != generation && (named || strict) {
			return true
		}
	}
	return false
}

// ancestors judges a policy: every ancestor has to have accepted it. Where
// strict, one that says nothing of that refuses it.
func ancestors(strict bool) clause {
	return func(live fields) (model.Health, bool) {
		list := live.each("status", "ancestors")
		for _, ancestor := range list {
			if stale(live, ancestor, strict) {
				return behind(live), true
			}
		}
		accepted, silent := 0, ""
		for _, ancestor := range list {
			name := ancestor.text("ancestorRef", "name")
			said := false
			for _, c := range ancestor.conditionsAt("conditions") {
				if c.kind != "Accepted" && c.kind != "ResolvedRefs" {
					continue
				}
				if c.status != "True" {
					return failed(or(c.reason, "NotAccepted"), "ancestor %s: %s", name, c.said()), true
				}
				said = said || c.kind == "Accepted"
			}
			if said {
				accepted++
			} else {
				silent = name
			}
		}
		if strict && silent != "" {
			return failed("NotAccepted", "ancestor %s has not accepted it", silent), true
		}
		return current("%d %s accepted it", accepted, plural(accepted, "ancestor")), accepted > 0
	}
}
