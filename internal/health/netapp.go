package health

import "plumb.dev/plumb/internal/model"

// The kinds of NetApp's Astra and Trident.
var (
	astra = system{group: "astra.netapp.io", kinds: map[string]rule{
		"Application": readyBoth,
		"AppVault": first(word("status.state", words{
			"available": model.Current, "Available": model.Current, "failed": model.Unhealthy, "Failed": model.Unhealthy,
		})),
		"Backup":             astraRun,
		"ExecHook":           execHook,
		"ExecHooksRun":       astraRun,
		"ResourceBackup":     astraRun,
		"ResticVolumeBackup": astraRun,
		"Schedule":           astraSchedule,
		"Snapshot":           astraRun,
	}}
	trident = system{group: "trident.netapp.io", kinds: map[string]rule{
		"TridentBackendConfig": tridentBackend,
		"TridentOrchestrator": first(word("status.status", words{
			"Installed": model.Current, "Failed": model.Unhealthy, "Error": model.Unhealthy,
		})),
	}}
)

var astraRun = first(wordElse("status.state", words{
	"Completed": model.Current, "Running": model.InProgress,
}, model.Unhealthy))

func execHook(live fields) model.Health {
	switch live.at("spec", "enabled") {
	case true:
		return current("the hook is enabled")
	case false:
		return suspended("Disabled", "the hook is disabled (spec.enabled)")
	}
	return inProgress("NotReported", "it is not known whether the hook is enabled")
}

func astraSchedule(live fields) model.Health {
	if last := live.text("status", "lastScheduleTime"); last != "" {
		return current("it last ran at %s", last)
	}
	return current("it has not run yet")
}

func tridentBackend(live fields) model.Health {
	message := live.text("status", "message")
	switch {
	case live.text("status", "phase") == "Bound" && live.text("status", "lastOperationStatus") == "Success":
		return current("%s", or(message, "the backend is bound"))
	case live.text("status", "lastOperationStatus") == "Failed":
		return failed("OperationFailed", "%s", or(message, "the last operation failed"))
	}
	return inProgress("NotBound", "the backend is not made yet")
}
