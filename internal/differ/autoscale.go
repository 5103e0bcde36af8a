package differ

import (
	"bytes"
	"encoding/json"
	"regexp"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// AutoscaledReplicas makes rules that leave /spec/replicas of workloads to the
// autoscaler that the same set brings: a HorizontalPodAutoscaler, or a
// ScaledObject of KEDA. Without them both would write the field for ever. A
// workload that names no replicas needs none. Replicas of 0 switch a
// HorizontalPodAutoscaler off (Kubernetes, "Horizontal Pod Autoscaling",
// implicit maintenance-mode deactivation), so that they are kept; KEDA scales
// from 0. Only autoscalers and what they name are decoded.
func AutoscaledReplicas(objects []model.Desired) []model.IgnoreRule {
	byID := map[object.ID]int{}
	var scalers []int
	for i := range objects {
		if isScaler(objects[i].ID) {
			scalers = append(scalers, i)
		}
	}
	if len(scalers) == 0 {
		return nil
	}
	for i := range objects {
		byID[objects[i].ID] = i
	}
	var rules []model.IgnoreRule
	seen := map[object.ID]bool{}
	for _, i := range scalers {
		scaler := &objects[i]
		target, ok := scaleTarget(scaler)
		at, wanted := byID[target]
		if !wanted && target.Group == "extensions" {
			target.Group = "apps"
			at, wanted = byID[target]
		}
		if !ok || !wanted || seen[target] {
			continue
		}
		replicas := explicitReplicas(objects[at].JSON)
		if replicas == nil || *replicas == 0 && scaler.ID.Kind == horizontal {
			continue
		}
		seen[target] = true
		rules = append(rules, model.IgnoreRule{Paths: []string{"/spec/replicas"}, Target: exactly(target), Origin: scaler.Origin})
	}
	return rules
}

const horizontal = "HorizontalPodAutoscaler"

func isScaler(id object.ID) bool {
	return id.Kind == horizontal && (id.Group == "autoscaling" || id.Group == "extensions") || id.Kind == "ScaledObject" && id.Group == "keda.sh"
}

// scaleTarget reads which object an autoscaler scales.
func scaleTarget(scaler *model.Desired) (object.ID, bool) {
	var o struct {
		Spec struct {
			ScaleTargetRef struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
				Name       string `json:"name"`
			} `json:"scaleTargetRef"`
		} `json:"spec"`
	}
	if json.Unmarshal(scaler.JSON, &o) != nil {
		return object.ID{}, false
	}
	ref := o.Spec.ScaleTargetRef
	if scaler.ID.Kind != horizontal { // KEDA's defaults
		if ref.Kind == "" {
			ref.Kind = "Deployment"
		}
		if ref.APIVersion == "" {
			ref.APIVersion = "apps/v1"
		}
	}
	version, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil || ref.Name == "" || ref.Kind == "" {
		return object.ID{}, false
	}
	return object.ID{Group: version.Group, Kind: ref.Kind, Namespace: scaler.ID.Namespace, Name: ref.Name}, true
}

// explicitReplicas is what a workload asks for, or nil.
func explicitReplicas(body []byte) *int64 {
	if !bytes.Contains(body, []byte(`"replicas"`)) {
		return nil
	}
	var o struct {
		Spec struct {
			Replicas *int64 `json:"replicas"`
		} `json:"spec"`
	}
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	return o.Spec.Replicas
}

// exactly selects one object.
func exactly(id object.ID) *model.Selector {
	group := regexp.QuoteMeta(id.Group)
	if group == "" {
		group = "(?:)" // the core group, not any
	}
	return &model.Selector{Group: group, Kind: regexp.QuoteMeta(id.Kind), Namespace: regexp.QuoteMeta(id.Namespace), Name: regexp.QuoteMeta(id.Name)}
}
