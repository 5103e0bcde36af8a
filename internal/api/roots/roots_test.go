package roots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// shop has a Deployment whose newest Pods cannot pull their image, and Pods of
// others that look alike.
const shop = `
kind: Deployment
apiVersion: apps/v1
metadata: {name: web, namespace: shop, uid: d1}
spec: {replicas: 1, selector: {matchLabels: {app: web}}}
---
kind: ReplicaSet
apiVersion: apps/v1
metadata: {name: web-1, namespace: shop, uid: r1, labels: {app: web}, annotations: {deployment.kubernetes.io/revision: "1"}, ownerReferences: [{uid: d1, controller: true}]}
spec: {selector: {matchLabels: {app: web, pod-template-hash: "1"}}}
---
kind: ReplicaSet
apiVersion: apps/v1
metadata: {name: web-2, namespace: shop, uid: r2, labels: {app: web}, annotations: {deployment.kubernetes.io/revision: "2"}, ownerReferences: [{uid: d1, controller: true}]}
spec: {replicas: 1, selector: {matchLabels: {app: web, pod-template-hash: "2"}}}
---
kind: Pod
apiVersion: v1
metadata: {name: web-2-a, namespace: shop, uid: p1, labels: {app: web, pod-template-hash: "2"}, ownerReferences: [{uid: r2, controller: true}]}
spec: {nodeName: n1, containers: [{name: app, image: "web:missing"}]}
status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ErrImagePull}}}]}
---
kind: Pod
apiVersion: v1
metadata: {name: stranger, namespace: shop, uid: p2, labels: {app: web, pod-template-hash: "2"}}
status: {phase: Failed, reason: Evicted}
---
kind: Event
apiVersion: v1
metadata: {name: e1, namespace: shop, uid: e1}
type: Warning
reason: Failed
message: "manifest for web:missing not found"
lastTimestamp: "2026-03-01T11:00:00Z"
involvedObject: {kind: Pod, name: web-2-a, uid: p1}
---
kind: Event
apiVersion: v1
metadata: {name: e2, namespace: shop, uid: e2}
type: Warning
reason: Evicted
message: of the stranger
involvedObject: {kind: Pod, name: stranger, uid: p2}
`

// shelf lists from a YAML stream, and remembers what it was asked.
type shelf struct {
	all    []*unstructured.Unstructured
	asked  []string
	refuse map[string]error // by kind
}

func shelfOf(t *testing.T, text string) *shelf {
	t.Helper()
	s := &shelf{refuse: map[string]error{}}
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		s.all = append(s.all, o)
	}
	return s
}

func (s *shelf) list(_ context.Context, q Query, each func(*unstructured.Unstructured) error) error {
	s.asked = append(s.asked, strings.TrimSpace(q.Kind.Kind+" "+q.LabelSelector+q.FieldSelector))
	if err := s.refuse[q.Kind.Kind]; err != nil {
		return err
	}
	byLabel, err := labels.Parse(q.LabelSelector)
	if err != nil {
		return err
	}
	byField, err := fields.ParseSelector(q.FieldSelector)
	if err != nil {
		return err
	}
	for _, o := range s.all {
		about, _, _ := unstructured.NestedString(o.Object, "involvedObject", "uid")
		if o.GetKind() == q.Kind.Kind && o.GetNamespace() == q.Namespace && byLabel.Matches(labels.Set(o.GetLabels())) && byField.Matches(fields.Set{"involvedObject.uid": about}) {
			if err := each(o); err != nil {
				return fmt.Errorf("list: %w", err)
			}
		}
	}
	return nil
}

func texts(r *Root) string {
	var all []string
	for _, step := range r.Steps {
		all = append(all, step.Text)
	}
	return strings.Join(all, "\n")
}

func TestFollow(t *testing.T) {
	s := shelfOf(t, shop)
	root, err := Follow(t.Context(), s.list, s.all[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `ReplicaSet web-2: 0 of 1 Pod ready
Pod web-2-a is Pending on n1
container app: ErrImagePull (image web:missing)
warning Failed, last at 2026-03-01T11:00:00Z: manifest for web:missing not found`
	if got := texts(root); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Nothing is read but what the selectors of the Deployment and of its newest
	// ReplicaSet mean, and the events about what is named.
	wanted := []string{"ReplicaSet app=web", "Pod app=web,pod-template-hash=2", "Event involvedObject.uid=d1", "Event involvedObject.uid=r2", "Event involvedObject.uid=p1"}
	if !slices.Equal(s.asked, wanted) {
		t.Errorf("asked for %q", s.asked)
	}
}

// TestFollowWithoutRights: what may not be listed is said, and the rest goes on;
// other errors are told.
func TestFollowWithoutRights(t *testing.T) {
	s := shelfOf(t, shop)
	s.refuse["Pod"] = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	s.refuse["Event"] = apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no"))
	root, err := Follow(t.Context(), s.list, s.all[0])
	if err != nil || !slices.Equal(root.Unread, []string{"pods", "events"}) {
		t.Errorf("%+v, %v", root, err)
	}
	s.refuse["ReplicaSet"] = errors.New("the server is away")
	if _, err := Follow(t.Context(), s.list, s.all[0]); err == nil {
		t.Error("an error was passed over")
	}
}

// TestFollowIsBounded: of a great many Pods only so many are looked at, whether
// they belong to the object or not.
func TestFollowIsBounded(t *testing.T) {
	for controller, most := range map[string]int{"d1": maxPods, "another": maxRead + 1} {
		s := shelfOf(t, "kind: DaemonSet\napiVersion: apps/v1\nmetadata: {name: agent, namespace: shop, uid: d1}\nspec: {selector: {matchLabels: {app: agent}}}")
		looked := 0
		root, err := Follow(t.Context(), func(ctx context.Context, q Query, each func(*unstructured.Unstructured) error) error {
			if q.Kind.Kind != "Pod" {
				return s.list(ctx, q, each)
			}
			for ; ; looked++ {
				pod := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod"}}
				pod.SetName(fmt.Sprint("agent-", looked))
				pod.SetUID(types.UID(pod.GetName()))
				yes := true
				pod.SetOwnerReferences([]metav1.OwnerReference{{UID: types.UID(controller), Controller: &yes}})
				if err := each(pod); err != nil {
					looked++
					return err
				}
			}
		}, s.all[0])
		if err != nil || looked != most || len(root.Children) > maxPods {
			t.Errorf("%s: looked at %d, kept %d: %v", controller, looked, len(root.Children), err)
		}
	}
}
