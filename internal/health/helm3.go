package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plumb.dev/plumb/internal/model"
)

// helm3 are the kinds that Helm 3 waits for (Helm 4, pkg/kube ReadyChecker, which
// "--wait=legacy" goes by).
var helm3 = map[schema.GroupKind]rule{
	{Kind: "Pod"}:                                                     podAsHelm3,
	{Kind: "Service"}:                                                 serviceAsHelm3,
	{Kind: "PersistentVolumeClaim"}:                                   claimAsHelm3,
	{Kind: "ReplicationController"}:                                   replicasAsHelm3,
	{Group: "apps", Kind: "Deployment"}:                               deploymentAsHelm3,
	{Group: "apps", Kind: "ReplicaSet"}:                               replicasAsHelm3,
	{Group: "apps", Kind: "StatefulSet"}:                              statefulSetAsHelm3,
	{Group: "apps", Kind: "DaemonSet"}:                                daemonSetAsHelm3,
	{Group: "batch", Kind: "Job"}:                                     jobAsHelm3,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: definitionAsHelm3,
}

// AsHelm3 judges a live object by itself, as Helm 3 did: whatever is not of a kind
// that it knew is Current as soon as it is there, and but for a Job nothing ever
// fails. A nil object is NotFound.
func AsHelm3(o *unstructured.Unstructured) model.Health {
	if o == nil || o.Object == nil {
		return Of(nil)
	}
	if judge, ok := helm3[o.GroupVersionKind().GroupKind()]; ok {
		return judge(fields(o.Object))
	}
	return current("it exists")
}

func podAsHelm3(live fields) model.Health {
	if ready, _ := live.condition("Ready"); ready.status != "True" {
		return inProgress("PodNotReady", "the Pod is not ready%s", ready.because())
	}
	return current("the Pod is ready")
}

func serviceAsHelm3(live fields) model.Health {
	kind := live.text("spec", "type")
	switch {
	case kind == "ExternalName":
		return current("its name is elsewhere")
	case live.text("spec", "clusterIP") == "":
		return inProgress("NoClusterIP", "it has no cluster IP yet")
	case kind == "LoadBalancer" && len(live.texts("spec", "externalIPs")) == 0 && len(live.each("status", "loadBalancer", "ingress")) == 0:
		return inProgress("NoIngress", "the load balancer has no address yet")
	}
	return current("it can be reached")
}

func claimAsHelm3(live fields) model.Health {
	if phase := live.text("status", "phase"); phase != "Bound" {
		return inProgress("NotBound", "it is not bound yet")
	}
	return current("it is bound")
}

// deploymentAsHelm3 asks for as many ready replicas of the last template as a
// rollout may not go below. Helm counts those of the newest ReplicaSet. Here they
// are what is ready and cannot be of an older one, so that it takes longer, at
// times, until old replicas have gone.
func deploymentAsHelm3(live fields) model.Health {
	if live.flag("spec", "paused") {
		return current("the rollout is paused (spec.paused)")
	}
	if unseen(live) {
		return behind(live)
	}
	want := live.count(1, "spec", "replicas")
	least := want - mayBeUnavailable(live, want)
	old := live.count(0, "status", "replicas") - live.count(0, "status", "updatedReplicas")
	ready := max(live.count(0, "status", "readyReplicas")-old, 0)
	if ready < least {
		return inProgress("LessReady", "%s ready", of(ready, least, "replica"))
	}
	return current("%s ready", of(ready, want, "replica"))
}

// mayBeUnavailable is how many replicas a rollout may do without (k8s.io/kubernetes
// pkg/controller/deployment/util, MaxUnavailable).
func mayBeUnavailable(live fields, replicas int64) int64 {
	if live.text("spec", "strategy", "type") != "RollingUpdate" || replicas == 0 {
		return 0
	}
	surge, ok := share(live.at("spec", "strategy", "rollingUpdate", "maxSurge"), replicas, true)
	if !ok {
		return 0
	}
	most, ok := share(live.at("spec", "strategy", "rollingUpdate", "maxUnavailable"), replicas, false)
	switch {
	case !ok:
		return 0
	case surge == 0 && most == 0:
		most = 1 // else nothing could ever be replaced
	}
	return min(most, replicas)
}

// share reads a number, or a percentage of a whole; ok is false for what is
// neither. What is missing is none.
func share(value any, whole int64, up bool) (n int64, ok bool) {
	var written intstr.IntOrString
	switch v := value.(type) {
	case nil:
		return 0, true
	case string:
		written = intstr.FromString(v)
	case int64:
		written = intstr.FromInt32(int32(min(max(v, 0), 1<<30)))
	default:
		return 0, false
	}
	scaled, err := intstr.GetScaledValueFromIntOrPercent(&written, int(whole), up)
	return int64(scaled), err == nil
}

// unseen reports that the controller has not seen the last generation.
func unseen(live fields) bool {
	return live.count(0, "metadata", "generation") != live.count(0, "status", "observedGeneration")
}

func daemonSetAsHelm3(live fields) model.Health {
	want := live.count(0, "status", "desiredNumberScheduled")
	updated := live.count(0, "status", "updatedNumberScheduled")
	ready := live.count(0, "status", "numberReady")
	switch {
	case unseen(live):
		return behind(live)
	case live.text("spec", "updateStrategy", "type") != "RollingUpdate":
		return current("pods are updated when they are deleted")
	case updated != want:
		return inProgress("LessUpdated", "updated on %s", of(updated, want, "node"))
	}
	most, ok := share(live.at("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), want, true)
	if !ok {
		most = want
	}
	if ready < want-most {
		return inProgress("LessReady", "ready on %s", of(ready, want-most, "node"))
	}
	return current("ready on %s", of(ready, want, "node"))
}

func statefulSetAsHelm3(live fields) model.Health {
	want := live.count(1, "spec", "replicas")
	partition := live.count(0, "spec", "updateStrategy", "rollingUpdate", "partition")
	updated := live.count(0, "status", "updatedReplicas")
	ready := live.count(0, "status", "readyReplicas")
	switch {
	case unseen(live):
		return behind(live)
	case live.text("spec", "updateStrategy", "type") != "RollingUpdate":
		return current("pods are updated when they are deleted")
	case updated < want-partition:
		return inProgress("LessUpdated", "%s updated", of(updated, want-partition, "replica"))
	case ready != want:
		return inProgress("LessReady", "%s ready", of(ready, want, "replica"))
	case partition == 0 && live.text("status", "currentRevision") != live.text("status", "updateRevision"):
		return inProgress("LessUpdated", "the update revision is not the current one yet")
	}
	return current("%s ready", of(ready, want, "replica"))
}

// replicasAsHelm3 asks that each Pod that there is be ready, however many are
// asked for.
func replicasAsHelm3(live fields) model.Health {
	have := live.count(0, "status", "replicas")
	ready := live.count(0, "status", "readyReplicas")
	switch {
	case unseen(live):
		return behind(live)
	case ready < have:
		return inProgress("LessReady", "%s ready", of(ready, have, "replica"))
	}
	return current("%s ready", of(ready, have, "replica"))
}

func jobAsHelm3(live fields) model.Health {
	const retries = 6 // the API server's default of spec.backoffLimit
	want, asked := live.whole("spec", "completions")
	done := live.count(0, "status", "succeeded")
	switch {
	case live.count(0, "status", "failed") > live.count(retries, "spec", "backoffLimit"):
		return failed("JobFailed", "the Job has failed")
	case asked && done < want:
		return inProgress("JobInProgress", "%s", of(done, want, "completion"))
	}
	return current("the Job is complete")
}

// definitionAsHelm3 takes a conflict of names for good: the chart may go on.
func definitionAsHelm3(live fields) model.Health {
	for _, c := range live.conditions() {
		if c.kind == "Established" && c.status == "True" || c.kind == "NamesAccepted" && c.status == "False" {
			return current("%s", c.said())
		}
	}
	return inProgress("NotEstablished", "it is not established yet")
}
