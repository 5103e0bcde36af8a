package health

import "plumb.dev/plumb/internal/model"

// customResourceDefinition is Current once established, and Failed when its
// names clash with another's or it cannot be installed.
func customResourceDefinition(live fields) model.Health {
	for _, c := range live.conditions() {
		switch {
		case c.kind == "NamesAccepted" && c.status == "False":
			return failed(or(c.reason, "NamesNotAccepted"), "its names are not accepted%s", c.because())
		case c.kind == "Established" && c.status == "False" && c.reason != "Installing":
			return failed(or(c.reason, "NotEstablished"), "it cannot be established%s", c.because())
		case c.kind == "Established" && c.status == "True":
			return current("the kind is established")
		}
	}
	return inProgress("Installing", "the kind is not established yet")
}

// assessCustomResourceDefinition is Argo CD's judgement: unlike in
// [customResourceDefinition], a schema that is not structural is a failure, and
// so is a kind that has conditions but is not established.
func assessCustomResourceDefinition(live fields) model.Health {
	if len(live.conditions()) == 0 {
		return inProgress("NotReported", "the kind is not established yet")
	}
	return first(reported(
		when("Terminating", "True", model.InProgress),
		when("NamesAccepted", "False", model.Unhealthy),
		when("NonStructuralSchema", "True", model.Unhealthy),
		when("Established", "!True", model.InProgress).with("Installing"),
	), reported(when("Established", "True", model.Current)), otherwise(model.Unhealthy, "the kind is not established"))(live)
}
