package health

import (
	"encoding/json"

	"plumb.dev/plumb/internal/model"
)

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

// scalingFailures are the reasons by which an autoscaler cannot work.
var scalingFailures = []mark{
	when("AbleToScale", "", model.Unhealthy).with("FailedGetScale", "FailedUpdateScale"),
	when("ScalingActive", "", model.Unhealthy).with(
		"FailedGetResourceMetric", "FailedGetObjectMetric", "FailedGetPodsMetric",
		"FailedGetExternalMetric", "FailedComputeMetricsReplicas", "InvalidSelector"),
}

// assessHorizontalPodAutoscaler is Argo CD's judgement: unlike in
// [horizontalPodAutoscaler], metrics that cannot be had are a failure. Version
// 1 of the API carries its conditions in an annotation.
func assessHorizontalPodAutoscaler(live fields) model.Health {
	if live.text("apiVersion") == "autoscaling/v1" {
		text := live.text("metadata", "annotations", "autoscaling.alpha.kubernetes.io/conditions")
		var conditions []any
		if text != "" && json.Unmarshal([]byte(text), &conditions) != nil {
			return unknown("InvalidAnnotation", "the annotation with the conditions is not JSON")
		}
		live = fields{"status": map[string]any{"conditions": conditions}}
	}
	return first(
		reported(scalingFailures...),
		reported(when("AbleToScale", "True", model.Current), when("ScalingLimited", "True", model.Current)),
	)(live)
}
