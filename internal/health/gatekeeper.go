package health

import (
	"plumb.dev/plumb/internal/model"
)

// The kinds of Gatekeeper. Argo CD has no rules for them. A template reports
// once for each of Gatekeeper's pods; constraints are of kinds that templates
// make, all in one group.
var (
	gatekeeperTemplates   = system{group: "templates.gatekeeper.sh", kinds: map[string]rule{"ConstraintTemplate": constraintTemplate}}
	gatekeeperConstraints = system{group: "constraints.gatekeeper.sh", kinds: map[string]rule{"*": constraint}}
)

// constraintTemplate is healthy once its kind exists, and unhealthy when a pod
// cannot compile it.
func constraintTemplate(live fields) model.Health {
	if health, found := podErrors(live); found {
		return health
	}
	if !live.flag("status", "created") {
		return inProgress("NotCreated", "the kind of the constraint does not exist yet")
	}
	return current("the kind of the constraint exists")
}

// constraint is healthy once every pod that reported enforces it. Objects that
// violate it are the audit's business, and no failure of the constraint.
func constraint(live fields) model.Health {
	if health, found := podErrors(live); found {
		return health
	}
	pods := live.each("status", "byPod")
	enforcing := 0
	for _, pod := range pods {
		if pod.flag("enforced") {
			enforcing++
		}
	}
	switch {
	case len(pods) == 0:
		return inProgress("NotReported", "no pod of Gatekeeper has reported yet")
	case enforcing < len(pods):
		return inProgress("NotEnforced", "%s enforcing it", of(int64(enforcing), int64(len(pods)), "pod"))
	}
	if violations := live.count(0, "status", "totalViolations"); violations > 0 {
		return current("it is enforced; the audit counts %d %s", violations, plural(int(violations), "violation"))
	}
	return current("it is enforced")
}

func podErrors(live fields) (model.Health, bool) {
	for _, pod := range live.each("status", "byPod") {
		for _, mistake := range pod.each("errors") {
			return failed(or(camelCase(mistake.text("code")), "Error"), "pod %s: %s",
				or(pod.text("id"), "of Gatekeeper"), or(mistake.text("message"), "an error without a message")), true
		}
	}
	return model.Health{}, false
}
