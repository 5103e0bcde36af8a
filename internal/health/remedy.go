package health

import "slices"

// remedies are what to do about the reasons that Kubernetes gives for Pods that
// do not get ready, without the commands to do it with.
var remedies = map[string]string{
	"ImagePullBackOff":           "correct the image's name or tag, or give the pod the registry's credentials (imagePullSecrets)",
	"ErrImagePull":               "correct the image's name or tag, or give the pod the registry's credentials (imagePullSecrets)",
	"ErrImageNeverPull":          "put the image on the node, or let it be pulled (imagePullPolicy)",
	"InvalidImageName":           "correct the image's name",
	"CrashLoopBackOff":           "read what it said before it ended: the log of the previous instance",
	"ContainerCrashLooping":      "read what it said before it ended: the log of the previous instance",
	"Error":                      "read what it said before it ended: the log of the previous instance",
	"OOMKilled":                  "raise its memory limit, or make it use less",
	"CreateContainerConfigError": "create the ConfigMap or Secret that it refers to, or correct the reference",
	"CreateContainerError":       "correct what the message names: command, volumes or security context of the container",
	"RunContainerError":          "correct what the message names: command, volumes or security context of the container",
	"StartError":                 "correct the command of the container: it could not be started",
	"ContainerCannotRun":         "correct the command of the container: it could not be started",
	"FailedMount":                "create the volume, ConfigMap or Secret that is to be mounted, or correct the reference",
	"FailedAttachVolume":         "see the volume that the message names, and the node that still has it",
	"Unschedulable":              "no node fits: see its requests, node selector and tolerations, and the free capacity of the nodes",
	"SchedulingGated":            "somebody has to take the scheduling gates off the pod",
	"Evicted":                    "the node ran short of what the message names: request it, or limit its use",
	"FailedCreate":               "Pods are refused: see the quota, the admission policy or the service account that the message names",
	"ReadinessProbe":             "it runs, and its readiness probe fails: read its log, and check the probe's port, path and timing",
	"StartupProbe":               "it runs, and its startup probe fails: read its log, and check the probe's port, path and timing",
	"Unhealthy":                  "its probe fails: read its log, and check the probe's port, path and timing",
	"ProgressDeadlineExceeded":   "its new Pods do not become ready: see their events and logs",
	"BackoffLimitExceeded":       "read what its Pods said, correct the Job, and let it be made anew",
	"DeadlineExceeded":           "it took longer than activeDeadlineSeconds: allow more, or make it faster",
	"ProvisioningFailed":         "see the storage class that the claim names",
}

// Remedy is what to do about a reason for which a Pod, or what makes Pods, is
// not healthy; "" where there is no general advice.
func Remedy(reason string) string { return remedies[reason] }

// RemedyOf is what to do about the root of a trail, and the step that is meant:
// of the container for which its Pod is not well, if there is a remedy for that,
// else of the lowest object, else of what the last warning says. "" where there
// is no general advice.
func RemedyOf(steps []Step) (advice string, root Step) {
	above := Step{}
	for _, step := range steps {
		switch {
		case step.Container == "" && !step.Warning:
			above = step
		case step.Container != "" && step.Reason == above.Reason && Remedy(step.Reason) != "":
			return Remedy(step.Reason), step
		}
	}
	for _, warnings := range []bool{false, true} {
		for _, step := range slices.Backward(steps) {
			if advice := Remedy(step.Reason); advice != "" && step.Warning == warnings {
				return advice, step
			}
		}
	}
	return "", Step{}
}
