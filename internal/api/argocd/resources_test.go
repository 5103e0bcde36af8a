package argocd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/argocd"
)

func manifest(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// canary must not be in any answer, in any form.
const (
	canary        = "canary-3f9a1c"
	canaryEncoded = "Y2FuYXJ5LTNmOWExYw=="
)

func withoutCanary(t *testing.T, what string, answer any) {
	t.Helper()
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{canary, canaryEncoded, strings.TrimRight(canaryEncoded, "=")} {
		if strings.Contains(string(raw), form) {
			t.Errorf("%s tells a secret: %s", what, raw)
		}
	}
}

const secretManifest = `{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: shop, annotations: {note: canary-3f9a1c}}, data: {password: Y2FuYXJ5LTNmOWExYw==, old: "*** (before)"}}`

func delivered(t *testing.T) *stage {
	s := setup(t, project, defaultProject, shop)
	s.declare("{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {resource.sensitive.mask.annotations: note}}")
	secret := manifest(t, secretManifest)
	web := manifest(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {replicas: 1}}`)
	s.world.live = map[argocd.Ref]*unstructured.Unstructured{
		{Kind: "Secret", Namespace: "shop", Name: "db"}: secret, {Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}: web,
	}
	s.world.manifests = []*unstructured.Unstructured{secret, web}
	s.world.managed = []argocd.Managed{
		{Ref: argocd.Ref{Kind: "Secret", Version: "v1", Namespace: "shop", Name: "db"}, Desired: secret, Live: secret, Predicted: secret},
		{Ref: argocd.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, Desired: web, Modified: true},
		{Ref: argocd.Ref{Group: "batch", Kind: "Job", Namespace: "shop", Name: "hook"}, Desired: web, Hook: true},
	}
	node := func(group, kind, name, uid string, parents ...any) any {
		return map[string]any{"group": group, "version": "v1", "kind": kind, "namespace": "shop", "name": name, "uid": uid, "parentRefs": parents}
	}
	ref := func(group, kind, name string) any {
		return map[string]any{"group": group, "kind": kind, "namespace": "shop", "name": name}
	}
	s.world.tree = map[string]any{"nodes": []any{
		node("", "Secret", "db", "u0"), node("apps", "Deployment", "web", "u1"), node("apps", "ReplicaSet", "web-1", "u2", ref("apps", "Deployment", "web")),
		node("", "Pod", "web-1-a", "u3", ref("apps", "ReplicaSet", "web-1")), node("", "Pod", "cron-x", "u4"),
	}}
	return s
}

func TestSecretsAreMasked(t *testing.T) {
	s := delivered(t)
	onSecret := map[string]any{"name": "shop", "resourceName": "db", "namespace": "shop", "version": "v1", "kind": "Secret"}
	for path, request := range map[string]map[string]any{
		"GetManifests": {"name": "shop"}, "ManagedResources": {"applicationName": "shop"}, "GetResource": onSecret,
		"PatchResource": {"name": "shop", "resourceName": "db", "namespace": "shop", "version": "v1", "kind": "Secret", "patch": "{}", "patchType": "application/merge-patch+json"},
		"ServerSideDiff": {"appName": "shop", "liveResources": []any{map[string]any{"kind": "Secret", "namespace": "shop", "name": "db"}},
			"targetManifests": []any{`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"password":"` + canary + `"}}`}},
	} {
		answer := s.must("admin", apps+path, request)
		withoutCanary(t, path, answer)
		if !strings.Contains(fmt.Sprint(answer), "++++++++") {
			t.Errorf("%s: nothing is masked: %v", path, answer)
		}
	}
	got := s.must("admin", apps+"GetResource", onSecret)
	o := map[string]any{}
	text, _ := got["manifest"].(string)
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if pick(o, "data", "password") != "++++++++" || pick(o, "data", "old") != "+++++++++" || pick(o, "metadata", "annotations", "note") != "++++++++" {
		t.Errorf("got %s", text)
	}
	_, err := s.as("admin", apps+"PatchResource", map[string]any{"name": "shop", "resourceName": "db", "namespace": "shop", "version": "v1", "kind": "Secret",
		"patch": `{"data":{"refused":"` + canaryEncoded + `"}}`, "patchType": "application/merge-patch+json"})
	if err == nil || strings.Contains(err.Error(), canaryEncoded) || !strings.Contains(err.Error(), "failed to patch Secret shop/db") {
		t.Errorf("got %v", err)
	}
}

func TestDiffShowsNothingThatIsNotOfTheApplication(t *testing.T) {
	s := delivered(t)
	s.world.live[argocd.Ref{Kind: "ConfigMap", Namespace: "other", Name: "theirs"}] = manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: other}, data: {a: canary-3f9a1c}}`)
	got := s.must("reader", apps+"ServerSideDiff", map[string]any{"appName": "shop",
		"liveResources":   []any{map[string]any{"kind": "ConfigMap", "namespace": "other", "name": "theirs"}},
		"targetManifests": []any{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"theirs","namespace":"other"}}`}})
	withoutCanary(t, "ServerSideDiff", got)
	items, _ := got["items"].([]any)
	one, _ := items[0].(map[string]any)
	if len(items) != 1 || one["liveState"] != "null" || one["modified"] != true {
		t.Errorf("got %v", got)
	}
}

func TestManagedResources(t *testing.T) {
	s := delivered(t)
	got := s.must("reader", apps+"ManagedResources", map[string]any{"applicationName": "shop", "kind": "Deployment"})
	forOne := s.objects.gets
	items, _ := got["items"].([]any)
	if len(items) != 1 {
		t.Fatalf("got %v", got)
	}
	one, _ := items[0].(map[string]any)
	if one["liveState"] != "null" || one["predictedLiveState"] != "null" || !strings.Contains(fmt.Sprint(one["targetState"]), `"kind":"Deployment"`) || one["modified"] != true {
		t.Errorf("got %v", one)
	}
	if all, _ := s.must("reader", apps+"ManagedResources", map[string]any{"applicationName": "shop"})["items"].([]any); len(all) != 2 {
		t.Errorf("hooks are told of: %v", all)
	}
	if forTwo := s.objects.gets - forOne; forTwo != forOne {
		t.Errorf("%d objects are read for one difference, %d for two", forOne, forTwo)
	}
}

func TestObjectsOfAnApplication(t *testing.T) {
	s := delivered(t)
	on := func(kind, name string, more map[string]any) map[string]any {
		out := map[string]any{"name": "shop", "namespace": "shop", "resourceName": name, "version": "v1", "kind": kind, "group": map[string]string{"Deployment": "apps"}[kind]}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	s.refused(connect.CodeInvalidArgument, "Deployment apps none not found as part of application shop", "admin", apps+"GetResource", on("Deployment", "none", nil))
	s.refused(connect.CodePermissionDenied, "permission denied", "reader", apps+"DeleteResource", on("Deployment", "web", nil))
	s.must("admin", apps+"DeleteResource", on("Deployment", "web", map[string]any{"orphan": true}))
	s.must("admin", apps+"DeleteResource", on("Deployment", "web", map[string]any{"force": true}))
	if want := []argocd.Deletion{{Orphan: true}, {Force: true}}; !reflect.DeepEqual(s.world.deleted, want) {
		t.Errorf("got %v", s.world.deleted)
	}
	actions := s.must("reader", apps+"ListResourceActions", on("Deployment", "web", nil))
	if got := fmt.Sprint(actions["actions"]); !strings.Contains(got, "restart") || !strings.Contains(got, "disabled:true") {
		t.Errorf("got %s", got)
	}
	s.refused(connect.CodePermissionDenied, "permission denied", "reader", apps+"RunResourceActionV2", on("Deployment", "web", map[string]any{"action": "restart"}))
	s.must("shopkeeper", apps+"RunResourceActionV2", on("Deployment", "web", map[string]any{"action": "scale", "resourceActionParameters": []any{map[string]any{"name": "replicas", "value": "3"}}}))
	s.must("shopkeeper", apps+"RunResourceAction", on("Deployment", "web", map[string]any{"action": "restart"}))
	itself := map[string]any{"name": "shop", "group": "argoproj.io", "kind": "Application", "version": "v1alpha1", "resourceName": "shop", "namespace": "argocd", "action": "restart"}
	if got := s.must("reader", apps+"ListResourceActions", itself); got["actions"] != nil {
		t.Errorf("an Application itself has actions: %v", got)
	}
	s.refused(connect.CodeInvalidArgument, "an Application itself has no action restart", "admin", apps+"RunResourceAction", itself)
	itself["namespace"] = "elsewhere"
	s.refused(connect.CodeInvalidArgument, "not found as part of application shop", "reader", apps+"ListResourceActions", itself)
	if want := []string{"Deployment/web scale map[replicas:3]", "Deployment/web restart map[]"}; !reflect.DeepEqual(s.world.acted, want) {
		t.Errorf("got %v", s.world.acted)
	}
	metadata := s.must("reader", apps+"RevisionMetadata", map[string]any{"name": "shop", "revision": "x"})
	if metadata["author"] != "Ada <ada@example.org>" || metadata["date"] != "2026-05-04T10:00:00Z" {
		t.Errorf("got %v", metadata)
	}
}

func (s *stage) logsOf(query map[string]any) ([]string, error) {
	client, m := s.rpc(apps+"PodLogs", connect.WithGRPC())
	request := connect.NewRequest(&message{m.Input, query})
	request.Header().Set("token", "token-shopkeeper")
	stream, err := client.CallServerStream(context.Background(), request)
	if err != nil {
		return nil, err
	}
	var out []string
	for stream.Receive() {
		v := stream.Msg().value
		if v["last"] == true {
			out = append(out, "last")
		} else {
			out = append(out, fmt.Sprint(v["podName"], ": ", v["content"]))
		}
	}
	return out, stream.Err()
}

func TestLogs(t *testing.T) {
	s := delivered(t)
	s.world.logs = []argocd.LogLine{{At: moment, Text: "Hello"}, {At: moment.Add(time.Minute), Text: "world"}}
	for name, c := range map[string]struct {
		query map[string]any
		want  []string
	}{
		"below a Deployment":  {map[string]any{"group": "apps", "kind": "Deployment", "resourceName": "web"}, []string{"web-1-a: Hello", "web-1-a: world", "last"}},
		"by name":             {map[string]any{"podName": "cron-x"}, []string{"cron-x: Hello", "cron-x: world", "last"}},
		"what contains":       {map[string]any{"podName": "cron-x", "filter": "hell"}, []string{"cron-x: Hello", "last"}},
		"what contains not":   {map[string]any{"podName": "cron-x", "filter": "!hell"}, []string{"cron-x: world", "last"}},
		"with matching case":  {map[string]any{"podName": "cron-x", "filter": "hell", "matchCase": true}, []string{"last"}},
		"until a moment":      {map[string]any{"podName": "cron-x", "untilTime": "2026-05-04T10:00:30Z"}, []string{"cron-x: Hello", "last"}},
		"of nothing at all":   {map[string]any{"podName": "nobody"}, nil},
		"of another's object": {map[string]any{"kind": "Deployment", "resourceName": "elsewhere"}, nil},
	} {
		c.query["name"] = "shop"
		got, err := s.logsOf(c.query)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
	if _, err := s.logsOf(map[string]any{"name": "shop", "untilTime": "tomorrow"}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("got %v", err)
	}
}

func TestWatchTree(t *testing.T) {
	s := delivered(t)
	s.world.gone = make(chan struct{})
	client, m := s.rpc(apps+"WatchResourceTree", connect.WithGRPCWeb())
	ctx, cancel := context.WithCancel(context.Background())
	request := connect.NewRequest(&message{m.Input, map[string]any{"applicationName": "shop"}})
	request.Header().Set("token", "token-reader")
	stream, err := client.CallServerStream(ctx, request)
	if err != nil || !stream.Receive() {
		t.Fatal(err, stream)
	}
	if nodes, _ := stream.Msg().value["nodes"].([]any); len(nodes) != 5 {
		t.Errorf("got %v", stream.Msg().value)
	}
	cancel()
	<-s.world.gone // the watch ends with its caller
}
