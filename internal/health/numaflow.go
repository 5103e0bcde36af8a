package health

import "plumb.dev/plumb/internal/model"

// The kinds of Numaflow, and of Numaplane, which rolls them out.
var (
	numaflow = system{group: "numaflow.numaproj.io", kinds: map[string]rule{
		"InterStepBufferService": first(neverObserved, numaUnwell(true), word("status.phase", words{"Running": model.Current})),
		"MonoVertex":             first(neverObserved, numaUnwell(true), numaPhase),
		"Pipeline":               first(neverObserved, numaUnwell(true), numaPhase, word("status.phase", words{"Pausing": model.Current})),
		"Vertex":                 first(neverObserved, numaUnwell(false), numaPhase),
	}}
	numaplane = system{group: "numaplane.numaproj.io", kinds: map[string]rule{
		"ISBServiceRollout":         numaRollout{broken: "ISBSvcFailed"}.rule(),
		"MonoVertexRollout":         numaRollout{broken: "MonoVertexFailed", paused: "MonoVertexPausingOrPaused"}.rule(),
		"NumaflowControllerRollout": numaRollout{}.rule(),
		"PipelineRollout":           numaRollout{broken: "PipelineFailed", paused: "PipelinePausingOrPaused"}.rule(),
	}}
)

// numaPhase: what is paused on purpose is well, as upstream has it.
var numaPhase = word("status.phase", words{"Running": model.Current, "Paused": model.Current})

// numaUnwell finds what failed: the phase, any condition that is False, and for
// what Numaplane upgrades step by step, the result of the upgrade.
func numaUnwell(upgraded bool) clause {
	return func(live fields) (model.Health, bool) {
		if live.text("status", "phase") == "Failed" {
			return failed("Failed", "%s", or(live.text("status", "message"), "it has failed")), true
		}
		if upgraded && live.text("metadata", "labels", "numaplane.numaproj.io/progressive-result-state") == "failed" {
			return failed("UpgradeFailed", "the progressive upgrade failed"), true
		}
		return reported(when("", "False", model.Unhealthy))(live)
	}
}

// numaRollout is how the kinds of Numaplane differ. Without broken, children
// that are unhealthy for any reason but being at work count as failed, and
// there is no progressive upgrade.
type numaRollout struct {
	broken string // reason of ChildResourcesHealthy for children that failed
	paused string // condition of what is paused on purpose
}

func (n numaRollout) rule() rule {
	children := when("ChildResourcesHealthy", "False", model.Unhealthy)
	if n.broken == "" {
		children = children.without("Progressing")
	} else {
		children = children.with(n.broken)
	}
	failures := []mark{children}
	if n.broken != "" {
		failures = append(failures, when("ProgressiveUpgradeSucceeded", "False", model.Unhealthy))
	}
	healthy := []mark{when("ChildResourcesHealthy", "True", model.Current)}
	if n.paused != "" {
		healthy = append([]mark{when(n.paused, "True", model.Current)}, healthy...)
	}
	return first(
		unreported, neverObserved, n.upgrading,
		reported(when("ChildResourcesHealthy", "False", model.InProgress).with("Progressing")),
		word("status.phase", words{"Failed": model.Unhealthy}),
		reported(failures...),
		ranked(healthy...),
		otherwise(model.Unknown, "no condition tells how the rollout is doing"),
	)
}

// upgrading decides while an upgrade is under way that has not failed.
func (n numaRollout) upgrading(live fields) (model.Health, bool) {
	if live.text("status", "upgradeInProgress") == "" && live.text("status", "phase") != "Pending" {
		return model.Health{}, false
	}
	if n.broken != "" {
		for _, c := range live.conditions() {
			if c.kind == "ProgressiveUpgradeSucceeded" && c.status == "False" {
				return model.Health{}, false
			}
		}
	}
	return inProgress("UpgradeInProgress", "an upgrade is under way"), true
}
