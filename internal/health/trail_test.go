package health

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// manifests reads a YAML stream.
func manifests(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		all = append(all, o)
	}
	return all
}

const deploymentWeb = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
spec: {replicas: 2}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-old, namespace: shop, uid: r1, annotations: {deployment.kubernetes.io/revision: "1"}, ownerReferences: [{uid: d1}]}
spec: {replicas: 1}
status: {readyReplicas: 1}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-new, namespace: shop, uid: r2, annotations: {deployment.kubernetes.io/revision: "2"}, ownerReferences: [{uid: d1}]}
spec: {replicas: 2}
---
`

func TestTrail(t *testing.T) {
	for _, c := range []struct {
		name, given string
		want        []string
		advice      string
	}{
		{"an image that cannot be pulled", deploymentWeb + `
apiVersion: v1
kind: Pod
metadata: {name: web-new-a, namespace: shop, uid: p1, ownerReferences: [{uid: r2}]}
spec: {nodeName: node-1, containers: [{name: app, image: "example.org/web:missing"}]}
status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-new-b, namespace: shop, uid: p2, ownerReferences: [{uid: r2}]}
spec: {containers: [{name: app, image: "example.org/web:missing"}]}
status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff}}}]}`,
			[]string{
				"ReplicaSet web-new: 0 of 2 Pods ready",
				"Pod web-new-a is Pending on node-1; 1 more Pod alike",
				"container app: ImagePullBackOff (image example.org/web:missing)",
			}, "correct the image's name"},
		{"a crash, beside a container that is not ready", deploymentWeb + `
apiVersion: v1
kind: Pod
metadata: {name: web-new-a, namespace: shop, uid: p1, ownerReferences: [{uid: r2}]}
spec: {nodeName: node-1, containers: [{name: app, image: app:1}, {name: proxy, image: proxy:1, readinessProbe: {}}]}
status:
  phase: Running
  containerStatuses:
  - {name: proxy, ready: false, state: {running: {}}}
  - {name: app, restartCount: 4, state: {waiting: {reason: CrashLoopBackOff, message: back-off 1m20s}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled, message: canary, finishedAt: "2026-03-01T11:00:00Z"}}}`,
			[]string{
				"ReplicaSet web-new: 0 of 2 Pods ready",
				"Pod web-new-a is Running on node-1",
				"container proxy runs, but its readiness probe has not succeeded (image proxy:1)",
				"container app: CrashLoopBackOff: it ended with exit code 137 (OOMKilled), restarted 4 times (image app:1, last ended at 2026-03-01T11:00:00Z)",
			}, "read what it said before it ended"},
		{"a Pod that no node takes", `
apiVersion: v1
kind: Pod
metadata: {name: big, namespace: shop, uid: p1}
spec: {containers: [{name: app}]}
status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/3 nodes are available: 3 Insufficient cpu."}]}`,
			[]string{"Pod big is Pending: no node takes the pod: 0/3 nodes are available: 3 Insufficient cpu."}, "no node fits"},
		{"Pods that may not be made", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-new, namespace: shop, uid: r2, ownerReferences: [{uid: d1}]}
spec: {replicas: 2}
status: {conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: exceeded quota}]}`,
			[]string{"ReplicaSet web-new: 0 of 2 Pods ready: FailedCreate: exceeded quota"}, "Pods are refused"},
		{"the last Job of several", `
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: shop, uid: c1}
---
apiVersion: batch/v1
kind: Job
metadata: {name: backup-1, namespace: shop, uid: j1, creationTimestamp: "2026-03-01T10:00:00Z", ownerReferences: [{uid: c1}]}
status: {succeeded: 1, conditions: [{type: Complete, status: "True"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: backup-2, namespace: shop, uid: j2, creationTimestamp: "2026-03-01T11:00:00Z", ownerReferences: [{uid: c1}]}
status: {failed: 3, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded, message: too many}]}
---
apiVersion: v1
kind: Pod
metadata: {name: backup-2-x, namespace: shop, uid: p1, ownerReferences: [{uid: j2}]}
spec: {restartPolicy: Never, containers: [{name: dump, image: "dump:1"}]}
status: {phase: Failed, containerStatuses: [{name: dump, state: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-03-01T11:02:00Z"}}}]}`,
			[]string{
				"Job backup-2: 0 of 1 Pod completed, 3 failed: BackoffLimitExceeded: too many",
				"Pod backup-2-x is Failed",
				"container dump ended with exit code 1 (image dump:1, last ended at 2026-03-01T11:02:00Z)",
			}, "read what"},
		{"nothing that makes Pods", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := manifests(t, strings.TrimSpace(c.given))
			steps := Trail(all[0], all[1:])
			var got []string
			for _, step := range steps {
				got = append(got, step.Text)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if advice, _ := RemedyOf(steps); !strings.HasPrefix(advice, c.advice) || (advice == "") != (c.advice == "") {
				t.Errorf("advice %q", advice)
			}
		})
	}
}

// TestWarnings: the newest first, each once, and none that says what is known.
func TestWarnings(t *testing.T) {
	pod := Step{UID: "p1", Reason: "ImagePullBackOff", Text: "container app: ImagePullBackOff: Back-off pulling image"}
	event := func(reason, message, at, about string) string {
		return "kind: Event\ntype: Warning\nreason: " + reason + "\nmessage: '" + message + "'\ncount: 3\nlastTimestamp: \"" + at + "\"\ninvolvedObject: {uid: " + about + "}"
	}
	events := manifests(t, strings.Join([]string{
		event("Failed", "Error: ImagePullBackOff", "2026-03-01T11:09:00Z", "p1"),
		event("Failed", "manifest unknown", "2026-03-01T11:00:00Z", "p1"),
		event("FailedMount", "no volume", "2026-03-01T11:05:00Z", "p1"),
		event("FailedMount", "no volume", "2026-03-01T11:04:00Z", "p1"),
		event("BackOff", "Back-off", "2026-03-01T11:10:00Z", "p1"),
		event("Failed", "of another", "2026-03-01T11:10:00Z", "p2"),
		"kind: Event\ntype: Normal\nreason: Pulling\nmessage: x\ninvolvedObject: {uid: p1}",
	}, "\n---\n"))
	var got []string
	for _, step := range Warnings(pod, events, []Step{pod}, 2) {
		got = append(got, step.Text)
	}
	want := "warning FailedMount, 3 times, last at 2026-03-01T11:05:00Z: no volume\nwarning Failed, 3 times, last at 2026-03-01T11:00:00Z: manifest unknown"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
