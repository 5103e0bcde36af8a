package health

import "plumb.dev/plumb/internal/model"

// keda judges KEDA's scalers. One that falls back on a fixed count is not well,
// and one that is paused is suspended only while it is ready.
var keda = system{group: "keda.sh", kinds: map[string]rule{
	"ScaledJob": first(ranked(when("Ready", "False", model.Unhealthy), when("Ready", "Unknown", model.Unhealthy)), kedaReady),
	"ScaledObject": first(ranked(
		when("Ready", "False", model.Unhealthy), when("Fallback", "True", model.Unhealthy)), kedaReady),
}}

func kedaReady(live fields) (model.Health, bool) {
	ready, _ := live.condition("Ready")
	if ready.status != "True" {
		return model.Health{}, false
	}
	return ranked(when("Paused", "True", model.Paused), when("Ready", "True", model.Current))(live)
}
