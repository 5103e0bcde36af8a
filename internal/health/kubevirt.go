package health

import "plumb.dev/plumb/internal/model"

// The kinds of KubeVirt and of its importer of disks.
var (
	kubeVirt = system{group: "kubevirt.io", kinds: map[string]rule{
		"VirtualMachine":         virtualMachine,
		"VirtualMachineInstance": first(machinePhase, machineConditions),
	}}
	kubeVirtDisks = system{group: "cdi.kubevirt.io", kinds: map[string]rule{
		"DataVolume": first(
			word("status.phase", words{"Succeeded": model.Current, "Paused": model.Paused}),
			reported(when("Running", "False", model.Unhealthy).with("Error")),
			word("status.phase", words{"Failed": model.Unhealthy, "Unknown": model.Unhealthy}),
		),
	}}
)

// virtualMachine that does not run is suspended, unless it is on its way: its
// instance has been created.
func virtualMachine(live fields) model.Health {
	status := or(live.text("status", "printableStatus"), "unknown")
	if c, _ := live.condition("Paused"); c.status == "True" {
		return suspended("Paused", "the machine is paused")
	}
	ready, known := live.condition("Ready")
	switch {
	case ready.status == "True":
		return current("the machine runs")
	case known && !live.flag("status", "created"):
		return suspended("Stopped", "the machine is not running (%s)", status)
	}
	return inProgress(or(ready.reason, "Starting"), "the machine is starting (%s)", status)
}

var machinePhase = word("status.phase", words{
	"Failed": model.Unhealthy, "Pending": model.InProgress, "Scheduling": model.InProgress, "Scheduled": model.InProgress,
	"Succeeded": model.Paused, "Unknown": model.Unknown,
})

var machineConditions = ranked(
	when("Paused", "True", model.Paused),
	when("Ready", "True", model.Current),
	when("Ready", "", model.Unhealthy),
)
