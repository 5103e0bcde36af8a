package health

import "plumb.dev/plumb/internal/model"

// namespace is Current unless it is being emptied, where its conditions say
// what remains.
func namespace(live fields) model.Health {
	if live.text("status", "phase") != "Terminating" {
		return current("the namespace is active")
	}
	for _, c := range live.conditions() {
		if c.status == "True" {
			return model.Health{State: model.Terminating, Reason: or(c.reason, "Terminating"), Message: or(c.message, "the namespace is being emptied")}
		}
	}
	return model.Health{State: model.Terminating, Reason: "Terminating", Message: "the namespace is being emptied"}
}
