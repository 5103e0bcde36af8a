package health

import "plumb.dev/plumb/internal/model"

// velero judges backups and what belongs to them (velero.io v1). Argo CD has no
// rules for them.
var velero = system{group: "velero.io", kinds: map[string]rule{
	"Backup":  first(veleroRun),
	"Restore": first(veleroRun),
	"BackupStorageLocation": first(word("status.phase", words{
		"Available": model.Current, "Unavailable": model.Unhealthy,
	})),
	"BackupRepository": first(word("status.phase", words{
		"Ready": model.Current, "New": model.InProgress, "NotReady": model.Unhealthy,
	})),
	"Schedule": first(paused("spec.paused"), word("status.phase", words{
		"Enabled": model.Current, "New": model.InProgress, "FailedValidation": model.Unhealthy,
	})),
}}

var veleroRun = word("status.phase", words{
	"Completed":                 model.Current,
	"Failed":                    model.Unhealthy,
	"PartiallyFailed":           model.Unhealthy,
	"FinalizingPartiallyFailed": model.Unhealthy,
	"FailedValidation":          model.Unhealthy,
	"WaitingForPluginOperationsPartiallyFailed": model.Unhealthy,

	"New":                        model.InProgress,
	"ReadyToStart":               model.InProgress,
	"Queued":                     model.InProgress,
	"InProgress":                 model.InProgress,
	"Finalizing":                 model.InProgress,
	"WaitingForPluginOperations": model.InProgress,
	"Deleting":                   model.InProgress,
})
