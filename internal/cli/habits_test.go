package cli

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ailingShop is a Deployment whose newest Pod cannot pull its image, on a node that is
// simulated.
const ailingShop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, uid: n1}
---
apiVersion: v1
kind: Node
metadata: {name: node-1, uid: o1, labels: {simulate.plumb.dev/node: "true"}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system, uid: k1, generation: 1}
spec: {path: ./apps}
status: {observedGeneration: 1, conditions: [{type: Ready, status: Unknown, reason: Progressing, message: waiting for Deployment/shop/web}], inventory: {entries: [{id: shop_web_apps_Deployment, v: v1}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1, generation: 1}
spec: {replicas: 1, selector: {matchLabels: {app: web}}}
status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, unavailableReplicas: 1}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, namespace: shop, uid: r1, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]}
spec: {replicas: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1-a, namespace: shop, uid: p1, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]}
spec: {nodeName: node-1, containers: [{name: app, image: "web:missing"}]}
status: {phase: Pending, containerStatuses: [{name: app, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]}
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: shop, uid: e1}
type: Warning
reason: FailedMount
message: no volume "data"
lastTimestamp: "2026-03-01T11:00:00Z"
involvedObject: {kind: Pod, name: web-1-a, namespace: shop, uid: p1}
`

// TestExplainFollowsDown: from the Deployment to the container, with the command
// that shows what it said.
func TestExplainFollowsDown(t *testing.T) {
	f := newFakeAPI(t, ailingShop)
	code, out, errs := f.plumb("explain", "deployment/web", "-n", "shop")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"Reason:          CrashLoopBackOff\n",
		"Because:         ReplicaSet web-1: 0 of 1 Pod ready\n",
		"\n                 Pod web-1-a is Pending on node-1\n",
		"\n                 container app: CrashLoopBackOff: it ended with exit code 1, restarted 2 times (image web:missing)\n",
		"\n                 warning FailedMount, last at 2026-03-01T11:00:00Z: no volume \"data\"\n",
		"Advice:          read what it said before it ended: kubectl logs --previous -n shop pod/web-1-a -c app\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Count(out, "CrashLoopBackOff") != 2 {
		t.Errorf("the same is said again and again:\n%s", out)
	}
}

// TestRefusalsSayWhatToDo: whoever types something wrong is told how it is right.
func TestRefusalsSayWhatToDo(t *testing.T) {
	f := newFakeAPI(t, ailingShop)
	for args, want := range map[string][]string{
		"nope":                              {`unknown command "nope" for "plumb"`, "see: plumb --help"},
		"gett":                              {"is plumb get meant?"},
		"get kustomizaton":                  {"is plumb get kustomizations meant?", "plumb get --help"},
		"completion nope":                   {`unknown command "nope" for "plumb completion"`},
		"get ks one two":                    {"accepts at most 1 arg", "see: plumb get kustomizations --help"},
		"explain":                           {"no object is named", "KIND/NAME"},
		"explain deployment/a deployment/b": {"names more than one object"},
		"get ks --context nope":             {`"nope" does not exist`, "kubectl config get-contexts"},
		"get ks --kubeconfig /nope":         {"there is no kubeconfig: ", "plumb status"},
		"logs ks apps":                      {"pod/web-1-a: it is on the simulated node node-1, which runs no programs", "real nodes"},
		"reconcile ks apps --timeout 300ms": {"no outcome within 300ms", "Ready Unknown: waiting for", "plumb explain kustomization apps -n flux-system"},
		"trace deployment/nope -n shop":     {`"nope" not found`},
		"explain nothing/x":                 {`serves no kind called "nothing"`},
	} {
		code, _, errs := f.plumb(strings.Fields(args)...)
		if code == exitOK {
			t.Errorf("plumb %s succeeds", args)
		}
		for _, text := range want {
			if !strings.Contains(errs, text) {
				t.Errorf("plumb %s does not say %q:\n%s", args, text, errs)
			}
		}
	}
	_, out, _ := f.plumb("explain", "configmap/nowhere")
	if !strings.Contains(out, "if it is in another namespace than flux-system, name that with -n") {
		t.Errorf("explain does not say where it has looked:\n%s", out)
	}
}

// TestCompletions: what a shell offers is what there is, and never a file.
func TestCompletions(t *testing.T) {
	f := newFakeAPI(t, ailingShop)
	f.put(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": map[string]any{"name": "infra", "namespace": "flux-system", "uid": "k2"},
	}})
	for args, want := range map[string]string{
		"get ks |":                           "apps infra",
		"get ks i|":                          "infra",
		"get ks -n s|":                       "shop",
		"get ks -o |":                        "json name wide yaml",
		"history ks -o |":                    "json yaml",
		"get ks --context |":                 "test",
		"get ks --plumb-server |":            "kubeconfig",
		"events --for Kustomization/|":       "Kustomization/apps Kustomization/infra",
		"explain depl|":                      "deployment",
		"explain -n shop deployment |":       "web",
		"explain -n shop deployment/|":       "deployment/web",
		"explain deployment/web |":           "",
		"trace -n shop deployment/web pod/|": "pod/web-1-a",
	} {
		words := strings.Split(strings.TrimSuffix(args, "|"), " ")
		code, out, errs := f.plumb(append([]string{"__complete"}, words...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		offered, directive := strings.Join(lines[:len(lines)-1], " "), lines[len(lines)-1]
		if code != exitOK || offered != want || directive != ":4" {
			t.Errorf("%s: %q, %s (%d, %s), wanted %q", args, offered, directive, code, errs, want)
		}
	}
}
