package pods

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text = strings.ReplaceAll(text, "\t", "  ")
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return o
}

const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"

// TestStatus: the word that kubectl get pods prints.
func TestStatus(t *testing.T) {
	const one = "spec: {nodeName: n1, containers: [{name: app, image: 'app:1'}]}\n"
	const two = "spec: {containers: [{name: app, image: 'app:1'}, {name: proxy, image: 'proxy:1'}]}\n"
	const prepared = "spec: {initContainers: [{name: load, image: 'load:1'}, {name: mesh, image: 'mesh:1', restartPolicy: Always}], containers: [{name: app, image: 'app:1'}]}\n"
	for _, c := range []struct{ what, pod, want string }{
		{"nothing is known", one, ": 0/1, 0 restarts"},
		{"it waits for a node", one + "status: {phase: Pending}", "Pending: 0/1, 0 restarts"},
		{"a gate holds it", one + "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}", "SchedulingGated: 0/1, 0 restarts"},
		{"it was evicted", one + "status: {phase: Failed, reason: Evicted}", "Evicted: 0/1, 0 restarts"},
		{"it is made", one + "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ContainerCreating}}}]}", "ContainerCreating: 0/1, 0 restarts"},
		{"it runs", one + "status: {phase: Running, containerStatuses: [{name: app, ready: true, restartCount: 1, state: {running: {}}}]}", "Running: 1/1, 1 restarts"},
		{"it crashes", one + "status: {phase: Running, containerStatuses: [{name: app, restartCount: 7, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1}}}]}", "CrashLoopBackOff: 0/1, 7 restarts"},
		{"it ended", one + "status: {phase: Succeeded, containerStatuses: [{name: app, state: {terminated: {exitCode: 0, reason: Completed}}}]}", "Completed: 0/1, 0 restarts"},
		{"it was killed", one + "status: {phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]}", "OOMKilled: 0/1, 0 restarts"},
		{"it ended for no reason", one + "status: {phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 3}}}]}", "ExitCode:3: 0/1, 0 restarts"},
		{"a signal ended it", one + "status: {phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 137, signal: 9}}}]}", "Signal:9: 0/1, 0 restarts"},
		{"one has ended, and one goes on", two + "status: {phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: app, state: {terminated: {reason: Completed}}}, {name: proxy, ready: true, state: {running: {}}}]}", "Running: 1/2, 0 restarts"},
		{"one has ended, and the Pod is not ready", two + "status: {phase: Running, containerStatuses: [{name: app, state: {terminated: {reason: Completed}}}, {name: proxy, ready: true, state: {running: {}}}]}", "NotReady: 1/2, 0 restarts"},
		{"it is being prepared", prepared + "status: {phase: Pending, initContainerStatuses: [{name: load, state: {running: {}}}, {name: mesh, state: {waiting: {reason: PodInitializing}}}]}", "Init:0/2: 0/2, 0 restarts"},
		{"the second part of it", prepared + "status: {phase: Pending, initContainerStatuses: [{name: load, state: {terminated: {exitCode: 0}}}, {name: mesh, state: {waiting: {reason: PodInitializing}}}]}", "Init:1/2: 0/2, 0 restarts"},
		{"that fails", prepared + "status: {phase: Pending, initContainerStatuses: [{name: load, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}}]}", "Init:CrashLoopBackOff: 0/2, 2 restarts"},
		{"that failed", prepared + "status: {phase: Pending, initContainerStatuses: [{name: load, state: {terminated: {exitCode: 1, reason: Error}}}]}", "Init:Error: 0/2, 0 restarts"},
		{"it is prepared, with a sidecar", prepared + "status: {phase: Running, conditions: [{type: Initialized, status: 'True'}], initContainerStatuses: [{name: load, state: {terminated: {exitCode: 0}}}, {name: mesh, started: true, ready: true, restartCount: 1, state: {running: {}}}], containerStatuses: [{name: app, ready: true, state: {running: {}}}]}", "Running: 2/2, 1 restarts"},
	} {
		p := Read(decode(t, head+c.pod))
		if got := fmt.Sprintf("%s: %d/%d, %d restarts", p.Status, p.Ready, p.Of, p.Restarts); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	going := strings.Replace(head, "{name: web}", "{name: web, deletionTimestamp: '2026-01-01T00:00:00Z'}", 1) + one
	for status, want := range map[string]string{
		"status: {phase: Running}": "Terminating", "status: {phase: Running, reason: NodeLost}": "Unknown", "status: {phase: Succeeded}": "Succeeded",
	} {
		if got := Read(decode(t, going+status)).Status; got != want {
			t.Errorf("being deleted, with %s: %q, want %q", status, got, want)
		}
	}
	if got := Read(decode(t, head+"spec: [nonsense]")); got.Status != "Unknown" || len(got.Containers) != 0 {
		t.Errorf("what cannot be read is %+v", got)
	}
}

func listed(containers []Container) string {
	var out []string
	for _, c := range containers {
		text := c.Name + " " + c.Kind
		for word, set := range map[string]bool{" default": c.Default} {
			if set {
				text += word
			}
		}
		if c.Previous {
			text += " previous"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestContainers(t *testing.T) {
	const spec = "spec: {initContainers: [{name: load}, {name: mesh, restartPolicy: Always}], containers: [{name: app}, {name: proxy}], ephemeralContainers: [{name: debug}]}\n"
	for _, c := range []struct{ what, object, want string }{
		{"of a Pod", head + spec + "status: {containerStatuses: [{name: app, lastState: {terminated: {exitCode: 1}}}]}", "load init, mesh sidecar, app container default previous, proxy container, debug ephemeral"},
		{"with another default", strings.Replace(head, "{name: web}", "{annotations: {kubectl.kubernetes.io/default-container: proxy}}", 1) + spec, "load init, mesh sidecar, app container, proxy container default, debug ephemeral"},
		{"of a workload", "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {initContainers: [{name: load}], containers: [{name: app}]}}}", "load init, app container default"},
		{"of a CronJob", "apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: app}]}}}}}", "app container default"},
		{"of what has none", "apiVersion: v1\nkind: Service\nspec: {}", ""},
		{"of nonsense", "apiVersion: apps/v1\nkind: Deployment\nspec: {template: 1}", ""},
	} {
		if got := listed(ContainersOf(decode(t, c.object))); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.what, got, c.want)
		}
	}
}

func TestReplicas(t *testing.T) {
	for object, want := range map[string]string{
		"apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 3}\nstatus: {readyReplicas: 2, updatedReplicas: 1}":           "{3 2 1} true",
		"apiVersion: apps/v1\nkind: Deployment\nspec: {}":                                                                      "{1 0 0} true",
		"apiVersion: apps/v1\nkind: DaemonSet\nstatus: {desiredNumberScheduled: 5, numberReady: 4, updatedNumberScheduled: 3}": "{5 4 3} true",
		"apiVersion: apps/v1\nkind: ReplicaSet\nspec: {replicas: 2}\nstatus: {replicas: 2, readyReplicas: 1}":                  "{2 1 2} true",
		"apiVersion: batch/v1\nkind: Job\nspec: {completions: 2}\nstatus: {succeeded: 1, active: 1}":                           "{2 1 0} true",
		"apiVersion: v1\nkind: Service\nspec: {}":                                                                              "{0 0 0} false",
	} {
		got, ok := ReplicasOf(decode(t, object))
		if text := fmt.Sprint(got, ok); text != want {
			t.Errorf("%s: %s, want %s", object, text, want)
		}
	}
	set := "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {annotations: {deployment.kubernetes.io/revision: '7'}}"
	if got := Revision(decode(t, set)); got != 7 {
		t.Errorf("the revision is %d", got)
	}
	if got := Revision(decode(t, strings.ReplaceAll(set, "ReplicaSet", "Deployment"))); got != 0 {
		t.Errorf("of a Deployment it is %d", got)
	}
}
