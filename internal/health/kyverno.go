package health

import "plumb.dev/plumb/internal/model"

// kyverno judges policies: healthy once the webhooks enforce them. What keeps
// one from being ready is mended by its controller or by a change of the
// policy, so that it stays in progress as upstream has it.
var kyverno = system{group: "kyverno.io", kinds: map[string]rule{
	"ClusterPolicy": kyvernoPolicy,
	"Policy":        kyvernoPolicy,
}}

// kyvernoPolicy is ready when the condition says so in every part of it.
func kyvernoPolicy(live fields) model.Health {
	ready, _ := live.condition("Ready")
	if ready.status == "True" && ready.reason == "Succeeded" && ready.message == "Ready" {
		return current("the policy is ready")
	}
	return inProgress(or(ready.reason, "NotReported"), "the policy is not ready yet%s", ready.because())
}
