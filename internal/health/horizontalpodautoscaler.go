package health

import "plumb.dev/plumb/internal/model"

// horizontalPodAutoscaler is Current, as in kstatus: metrics come and go. The
// message says what keeps it from scaling.
func horizontalPodAutoscaler(live fields) model.Health {
	for _, kind := range []string{"AbleToScale", "ScalingActive"} {
		if c, ok := live.condition(kind); ok && c.status == "False" && c.reason != "ScalingDisabled" {
			return current("it does not scale now%s", c.because())
		}
	}
	if want, ok := live.whole("status", "desiredReplicas"); ok {
		return current("%s as desired", of(live.count(0, "status", "currentReplicas"), want, "replica"))
	}
	return current("it has not scaled yet")
}
