package health

import "plumb.dev/plumb/internal/model"

// The kinds of Karpenter. A NodeClaim says how far its node has come.
var (
	karpenter = system{group: "karpenter.sh", kinds: map[string]rule{
		"NodeClaim": first(unobserved, ranked(
			when("Disrupting", "True", model.Paused),
			when("Ready", "True", model.Current),
			when("Ready", "False", model.Unhealthy),
			when("Initialized", "True", model.InProgress),
			when("Registered", "True", model.InProgress),
			when("Launched", "True", model.InProgress),
		)),
		"NodePool": readyBoth,
	}}
	karpenterAWS = system{group: "karpenter.k8s.aws", kinds: shared(readyBoth, "EC2NodeClass")}
)
