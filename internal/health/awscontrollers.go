package health

import "plumb.dev/plumb/internal/model"

// awsControllers judges the kinds of AWS Controllers for Kubernetes. A Ready of
// False is work in progress; what cannot be mended is terminal.
var awsControllers = system{
	group: "*.services.k8s.aws",
	kinds: map[string]rule{"*": first(reported(
		when("ACK.Terminal", "True", model.Unhealthy),
		when("Ready", "False", model.InProgress),
		when("Ready", "True", model.Current),
	))},
}
