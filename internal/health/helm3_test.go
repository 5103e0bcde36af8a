package health

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

func TestAsHelm3(t *testing.T) {
	rollout := `, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}`
	for name, c := range map[string]struct {
		object string
		state  model.Healthiness
		reason string
	}{
		"a kind that Helm does not know":  {`{apiVersion: example.com/v1, kind: Shop, status: {conditions: [{type: Ready, status: "False"}]}}`, model.Current, "Current"},
		"a pod that runs":                 {`{apiVersion: v1, kind: Pod, status: {phase: Running}}`, model.InProgress, "PodNotReady"},
		"a pod that is ready":             {`{apiVersion: v1, kind: Pod, status: {conditions: [{type: Ready, status: "True"}]}}`, model.Current, "Current"},
		"a pod that has failed":           {`{apiVersion: v1, kind: Pod, status: {phase: Failed, conditions: [{type: Ready, status: "False"}]}}`, model.InProgress, "PodNotReady"},
		"a service elsewhere":             {`{apiVersion: v1, kind: Service, spec: {type: ExternalName}}`, model.Current, "Current"},
		"a service without an address":    {`{apiVersion: v1, kind: Service, spec: {type: ClusterIP}}`, model.InProgress, "NoClusterIP"},
		"a load balancer":                 {`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, clusterIP: 10.0.0.1}}`, model.InProgress, "NoIngress"},
		"a load balancer by hand":         {`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, clusterIP: 10.0.0.1, externalIPs: [10.1.0.1]}}`, model.Current, "Current"},
		"a load balancer with an address": {`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, clusterIP: 10.0.0.1}, status: {loadBalancer: {ingress: [{ip: 10.1.0.1}]}}}`, model.Current, "Current"},
		"a claim that is pending":         {`{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Pending}}`, model.InProgress, "NotBound"},
		"a deployment never looked at":    {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}}`, model.InProgress, "LatestGenerationNotObserved"},
		"a deployment without ready pods": {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 4` + rollout + `}, status: {observedGeneration: 2, replicas: 5, updatedReplicas: 2, readyReplicas: 3}}`, model.InProgress, "LessReady"},
		"a deployment that may lack one":  {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 4` + rollout + `}, status: {observedGeneration: 2, replicas: 4, updatedReplicas: 4, readyReplicas: 3}}`, model.Current, "Current"},
		"a deployment that recreates":     {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 4, strategy: {type: Recreate}}, status: {observedGeneration: 2, replicas: 4, updatedReplicas: 4, readyReplicas: 3}}`, model.InProgress, "LessReady"},
		"a deployment that is paused":     {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 4, paused: true}}`, model.Current, "Current"},
		"a deployment of one":             {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1` + rollout + `}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1}}`, model.InProgress, "LessReady"},
		"a daemon set that may lack one":  {`{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberReady: 2}}`, model.Current, "Current"},
		"a daemon set that lacks two":     {`{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberReady: 1}}`, model.InProgress, "LessReady"},
		"a daemon set on delete":          {`{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {updateStrategy: {type: OnDelete}}, status: {observedGeneration: 1, desiredNumberScheduled: 3}}`, model.Current, "Current"},
		"a stateful set in part":          {`{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}}, status: {observedGeneration: 1, updatedReplicas: 1, readyReplicas: 3, currentRevision: a, updateRevision: b}}`, model.Current, "Current"},
		"a stateful set between two":      {`{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 3, updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, updatedReplicas: 3, readyReplicas: 3, currentRevision: a, updateRevision: b}}`, model.InProgress, "LessUpdated"},
		"a replica set without pods":      {`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}, spec: {replicas: 3}, status: {observedGeneration: 1, replicas: 0}}`, model.Current, "Current"},
		"a replica set with one bad pod":  {`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}, spec: {replicas: 3}, status: {observedGeneration: 1, replicas: 3, readyReplicas: 2}}`, model.InProgress, "LessReady"},
		"a job under way":                 {`{apiVersion: batch/v1, kind: Job, spec: {completions: 1, backoffLimit: 0}}`, model.InProgress, "JobInProgress"},
		"a job that is done":              {`{apiVersion: batch/v1, kind: Job, spec: {completions: 1, backoffLimit: 0}, status: {succeeded: 1}}`, model.Current, "Current"},
		"a job that has failed":           {`{apiVersion: batch/v1, kind: Job, spec: {completions: 1, backoffLimit: 0}, status: {failed: 1}}`, model.Unhealthy, "JobFailed"},
		"a definition":                    {`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}`, model.InProgress, "NotEstablished"},
		"a definition in conflict":        {`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: NamesAccepted, status: "False"}]}}`, model.Current, "Current"},
		"nonsense":                        {`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: many, strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: [1], maxSurge: most}}}, status: {observedGeneration: 1}}`, model.InProgress, "LessReady"},
	} {
		text, err := yaml.YAMLToJSON([]byte(c.object))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := AsHelm3(o); got.State != c.state || got.Reason != c.reason {
			t.Errorf("%s: got %+v, want %s (%s)", name, got, c.state, c.reason)
		}
	}
	if got := AsHelm3(nil); got.State != model.NotFound {
		t.Errorf("nothing: got %+v", got)
	}
}
