package argocd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/api/argocd/wire"
	"plumb.dev/plumb/internal/model"
)

// message is what a client sends and gets.
type message struct {
	kind  *wire.Type
	value map[string]any
}

type clientCodec struct{}

func (clientCodec) Name() string { return "proto" }

func (clientCodec) Marshal(v any) ([]byte, error) {
	m, _ := v.(*message)
	return m.kind.Marshal(m.value), nil
}

func (clientCodec) Unmarshal(raw []byte, v any) (err error) {
	m, _ := v.(*message)
	m.value, _, err = m.kind.Unmarshal(raw)
	return err
}

func method(t *testing.T, path string) *wire.Method {
	t.Helper()
	schema, err := wire.Known()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range schema.Methods() {
		if m.Path() == "/"+path {
			return m
		}
	}
	t.Fatalf("there is no %s", path)
	return nil
}

func (s *stage) rpc(path string, options ...connect.ClientOption) (*connect.Client[message, message], *wire.Method) {
	m := method(s.t, path)
	options = append([]connect.ClientOption{
		connect.WithCodec(clientCodec{}), connect.WithSchema(m.Descriptor),
		connect.WithResponseInitializer(func(_ connect.Spec, v any) error {
			v.(*message).kind = m.Output //nolint:forcetypeassert // the client makes no other
			return nil
		}),
	}, options...)
	return connect.NewClient[message, message](s.client, s.url+m.Path(), options...), m
}

// as makes a call by gRPC.
func (s *stage) as(who, path string, value map[string]any) (map[string]any, error) {
	s.t.Helper()
	client, m := s.rpc(path, connect.WithGRPC())
	request := connect.NewRequest(&message{m.Input, value})
	if who != "" {
		request.Header().Set("token", "token-"+who)
	}
	answer, err := client.CallUnary(context.Background(), request)
	if err != nil {
		return nil, err
	}
	return answer.Msg.value, nil
}

// must is as, without an error.
func (s *stage) must(who, path string, value map[string]any) map[string]any {
	s.t.Helper()
	out, err := s.as(who, path, value)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	return out
}

// refused is as, with an error of a code in which a text occurs.
func (s *stage) refused(code connect.Code, part, who, path string, value map[string]any) {
	s.t.Helper()
	out, err := s.as(who, path, value)
	if connect.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		s.t.Errorf("%s: got %v, %v; want %s with %q", path, out, err, code, part)
	}
}

func pick(o map[string]any, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(o, path...)
	return value
}

func names(list map[string]any) []string {
	var out []string
	items, _, _ := unstructured.NestedSlice(list, "items")
	for _, item := range items {
		m, _ := item.(map[string]any)
		name, _, _ := unstructured.NestedString(m, "metadata", "name")
		if name == "" {
			name, _ = m["name"].(string)
		}
		out = append(out, name)
	}
	return out
}

const apps = "application.ApplicationService/"

const project = `
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: shop, namespace: argocd}
spec:
  sourceRepos: ["https://example.org/shop.git"]
  destinations: [{server: "https://kubernetes.default.svc", namespace: "shop*"}]
  roles: [{name: ci, policies: ["p, proj:shop:ci, applications, sync, shop/*, allow"], groups: [deployers]}]`

const defaultProject = `
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{server: "*", namespace: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}`

const shop = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: argocd, labels: {team: a}}
spec:
  project: shop
  source: {repoURL: "https://example.org/shop.git", path: deploy, targetRevision: main}
  destination: {server: "https://kubernetes.default.svc", namespace: shop}
status:
  history:
  - {id: 0, revision: aaaa, source: {repoURL: "https://example.org/shop.git", path: deploy}}
  - {id: 1, revision: bbbb, source: {repoURL: "https://example.org/shop.git", path: deploy}}`

const other = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: other, namespace: argocd}
spec:
  source: {repoURL: "https://example.org/other.git", path: "."}
  destination: {name: in-cluster, namespace: other}
  syncPolicy: {automated: {}}`

func TestWhoMayList(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	for who, want := range map[string][]string{"admin": {"other", "shop"}, "reader": {"other", "shop"}, "shopkeeper": {"shop"}, "stranger": nil} {
		if got := names(s.must(who, apps+"List", map[string]any{})); !reflect.DeepEqual(got, want) {
			t.Errorf("%s sees %v, want %v", who, got, want)
		}
	}
	s.refused(connect.CodeUnauthenticated, "no session information", "", apps+"List", map[string]any{})
	for query, want := range map[string]map[string]any{
		"other": {"projects": []any{"default"}}, "shop": {"selector": "team=a"}, "shop ": {"repo": "https://example.org/shop"},
	} {
		if got := names(s.must("admin", apps+"List", want)); !reflect.DeepEqual(got, []string{strings.TrimSpace(query)}) {
			t.Errorf("%v: got %v", want, got)
		}
	}
}

// TestNobodyLearnsWhatExists: without a project every refusal is the same.
func TestNobodyLearnsWhatExists(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	for _, name := range []string{"other", "nothing"} {
		_, err := s.as("shopkeeper", apps+"Get", map[string]any{"name": name})
		if connect.CodeOf(err) != connect.CodePermissionDenied || !strings.HasSuffix(err.Error(), "permission denied") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"other", "nothing"} {
		s.refused(connect.CodeNotFound, `applications.argoproj.io "`+name+`" not found`, "shopkeeper", apps+"Get", map[string]any{"name": name, "projects": []any{"shop"}})
	}
	if got := s.must("shopkeeper", apps+"Get", map[string]any{"name": "shop"}); pick(got, "spec", "project") != "shop" {
		t.Errorf("got %v", got)
	}
}

func application(name string, change func(spec map[string]any)) map[string]any {
	spec := map[string]any{
		"project": "", "source": map[string]any{"repoURL": "https://example.org/x.git", "path": "a", "helm": map[string]any{}},
		"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "x"},
	}
	if change != nil {
		change(spec)
	}
	return map[string]any{"metadata": map[string]any{"name": name}, "spec": spec, "operation": map[string]any{"sync": map[string]any{"revision": "evil"}}}
}

func TestCreate(t *testing.T) {
	s := setup(t, project, defaultProject)
	created := s.must("admin", apps+"Create", map[string]any{"application": application("x", nil)})
	if pick(created, "spec", "project") != "default" || pick(created, "operation") != nil || pick(created, "spec", "source", "helm") != nil || pick(created, "metadata", "namespace") != "argocd" {
		t.Errorf("it was not put in order: %v", created)
	}
	s.must("admin", apps+"Create", map[string]any{"application": application("x", func(spec map[string]any) { spec["project"] = "default" })})
	another := application("x", func(spec map[string]any) {
		spec["source"] = map[string]any{"repoURL": "https://example.org/x.git", "path": "b"}
	})
	s.refused(connect.CodeInvalidArgument, "existing application spec is different, use upsert flag to force update", "admin", apps+"Create", map[string]any{"application": another})
	if got := s.must("admin", apps+"Create", map[string]any{"application": another, "upsert": true}); pick(got, "spec", "source", "path") != "b" {
		t.Errorf("got %v", got)
	}
	for part, change := range map[string]func(map[string]any){
		`app is not allowed in project "nowhere", or the project does not exist`: func(spec map[string]any) { spec["project"] = "nowhere" },
		"application repo https://example.org/x.git is not permitted in project 'shop'": func(spec map[string]any) {
			spec["project"] = "shop"
		},
		"do not match any of the allowed destinations in project 'shop'": func(spec map[string]any) {
			spec["project"], spec["source"] = "shop", map[string]any{"repoURL": "https://example.org/shop.git", "path": "a"}
		},
		"there are no clusters with this name: moon": func(spec map[string]any) { spec["destination"] = map[string]any{"name": "moon"} },
		"Destination server missing from app spec":   func(spec map[string]any) { spec["destination"] = map[string]any{} },
		"spec.source.repoURL and either":             func(spec map[string]any) { spec["source"] = map[string]any{"repoURL": "https://example.org/x.git"} },
		"duplicate source name: a": func(spec map[string]any) {
			delete(spec, "source")
			spec["sources"] = []any{map[string]any{"name": "a", "repoURL": "x", "path": "a"}, map[string]any{"name": "a", "repoURL": "y", "path": "a"}}
		},
	} {
		s.refused(connect.CodeInvalidArgument, part, "admin", apps+"Create", map[string]any{"application": application("y", change)})
	}
	s.world.invalid = &model.Fault{Reason: "InvalidSpecError", Message: "spec.source.path: no such directory"}
	s.refused(connect.CodeInvalidArgument, "application spec for y is invalid: InvalidSpecError: spec.source.path: no such directory", "admin", apps+"Create", map[string]any{"application": application("y", nil)})
	s.must("admin", apps+"Create", map[string]any{"application": application("y", nil), "validate": false})
	s.refused(connect.CodePermissionDenied, "permission denied: applications, create, default/z, sub: reader", "reader", apps+"Create", map[string]any{"application": application("z", nil)})
}

func TestChange(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	spec := map[string]any{
		"project": "shop", "source": map[string]any{"repoURL": "https://example.org/shop.git", "path": "next"},
		"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "shop"},
	}
	if got := s.must("shopkeeper", apps+"UpdateSpec", map[string]any{"name": "shop", "spec": spec}); pick(got, "source", "path") != "next" {
		t.Errorf("got %v", got)
	}
	got := s.must("shopkeeper", apps+"Patch", map[string]any{"name": "shop", "patchType": "merge", "patch": `{"spec":{"source":{"path":"merged"}}}`})
	if pick(got, "spec", "source", "path") != "merged" {
		t.Errorf("got %v", got)
	}
	s.must("shopkeeper", apps+"Patch", map[string]any{"name": "shop", "patchType": "json", "patch": `[{"op":"replace","path":"/spec/source/path","value":"deploy"}]`})
	s.refused(connect.CodeInvalidArgument, "Patch type 'strategic' is not supported", "shopkeeper", apps+"Patch", map[string]any{"name": "shop", "patchType": "strategic", "patch": "{}"})
	// out of the project, into one that is not theirs
	spec["project"] = "default"
	s.refused(connect.CodePermissionDenied, "permission denied: applications, create, default/shop", "shopkeeper", apps+"UpdateSpec", map[string]any{"name": "shop", "spec": spec})
	// an operation is not smuggled in
	s.must("shopkeeper", apps+"Patch", map[string]any{"name": "shop", "patchType": "merge", "patch": `{"operation":{"sync":{"revision":"evil"}},"status":{"sync":{"status":"Synced"}}}`})
	o, err := s.objects.Get(context.Background(), argocd.KindApplication, "argocd", "shop")
	if err != nil || pick(o.Object, "operation") != nil || pick(o.Object, "status", "sync") != nil {
		t.Errorf("a patch wrote %v (%v)", o, err)
	}
}

// TestNamespaces: an Application is seen where the settings or the flag let it
// be, and nowhere else.
func TestNamespaces(t *testing.T) {
	anywhere := strings.Replace(defaultProject, "spec: {", "spec: {sourceNamespaces: [\"*\"], ", 1)
	in := func(namespace string) string {
		return strings.Replace(other, "namespace: argocd", "namespace: "+namespace, 1)
	}
	const params = `
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cmd-params-cm, namespace: argocd}
data: {application.namespaces: by-settings}`
	s := setup(t, anywhere, params, in("by-flag-one"), in("by-settings"), in("elsewhere"))
	if got := names(s.must("admin", apps+"List", map[string]any{})); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	for namespace, seen := range map[string]bool{"by-flag-one": true, "by-settings": true, "elsewhere": false} {
		if _, err := s.as("admin", apps+"Get", map[string]any{"name": "other", "appNamespace": namespace}); (err == nil) != seen {
			t.Errorf("in %s: %v", namespace, err)
		}
	}
}

func TestSync(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	got := s.must("shopkeeper", apps+"Sync", map[string]any{
		"name": "shop", "prune": true, "strategy": map[string]any{"hook": map[string]any{"force": true}},
		"resources": []any{map[string]any{"group": "apps", "kind": "Deployment", "name": "web"}}, "syncOptions": map[string]any{"items": []any{"Replace=true"}},
	})
	for path, want := range map[string]any{
		"sync.revision": nil, "sync.prune": true, "sync.syncStrategy.hook.force": true, "initiatedBy.username": "shopkeeper", "sync.syncOptions": []any{"Replace=true"},
	} {
		if value := pick(got, append([]string{"operation"}, strings.Split(path, ".")...)...); !reflect.DeepEqual(value, want) {
			t.Errorf("%s is %v, want %v", path, value, want)
		}
	}
	if pick(got, "metadata", "annotations", "argocd.argoproj.io/refresh") != "normal" {
		t.Error("the repository is not looked at first")
	}
	s.refused(connect.CodeFailedPrecondition, "another operation is already in progress", "shopkeeper", apps+"Sync", map[string]any{"name": "shop"})
	s.refused(connect.CodePermissionDenied, "permission denied: applications, sync, shop/shop", "reader", apps+"Sync", map[string]any{"name": "shop"})
	s.refused(connect.CodeFailedPrecondition, "Cannot sync to v2: auto-sync currently set to ", "admin", apps+"Sync", map[string]any{"name": "other", "revision": "v2"})
	s.refused(connect.CodeFailedPrecondition, "cannot sync local manifests", "admin", apps+"Sync", map[string]any{"name": "other", "manifests": []any{"{}"}})
	if len(s.deeds) != 1 || s.deeds[0].Action != "sync" || s.deeds[0].Detail != "initiated partial sync to main" {
		t.Errorf("told of %v", s.deeds)
	}
	got = s.must("admin", apps+"Sync", map[string]any{"name": "other", "revision": "v2", "dryRun": true})
	if pick(got, "operation", "sync", "revision") != "v2" || pick(got, "metadata", "annotations", "argocd.argoproj.io/refresh") != nil {
		t.Errorf("got %v", got)
	}
}

func TestSyncWindows(t *testing.T) {
	closed := strings.Replace(project, "  roles:", `  syncWindows: [{kind: deny, schedule: "0 9 * * *", duration: 2h, applications: ["*"]}]
  roles:`, 1)
	s := setup(t, closed, defaultProject, shop)
	s.refused(connect.CodePermissionDenied, "cannot sync: blocked by sync window", "admin", apps+"Sync", map[string]any{"name": "shop"})
	got := s.must("admin", apps+"GetApplicationSyncWindows", map[string]any{"name": "shop"})
	want := map[string]any{"kind": "deny", "schedule": "0 9 * * *", "duration": "2h", "manualSync": false}
	if !reflect.DeepEqual(got["activeWindows"], []any{want}) || got["canSync"] != false {
		t.Errorf("got %v", got)
	}
	state := s.must("admin", "project.ProjectService/GetSyncWindowsState", map[string]any{"name": "shop"})
	if windows, _ := state["windows"].([]any); len(windows) != 1 {
		t.Errorf("got %v", state)
	}
}

func TestRollbackAndTerminate(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	s.refused(connect.CodeInvalidArgument, "application argocd/shop does not have deployment with id 7", "admin", apps+"Rollback", map[string]any{"name": "shop", "id": int64(7)})
	s.refused(connect.CodeFailedPrecondition, "rollback cannot be initiated when auto-sync is enabled", "admin", apps+"Rollback", map[string]any{"name": "other", "id": int64(0)})
	s.refused(connect.CodeInvalidArgument, "Unable to terminate operation. No operation is in progress", "admin", apps+"TerminateOperation", map[string]any{"name": "shop"})
	got := s.must("admin", apps+"Rollback", map[string]any{"name": "shop", "id": int64(0), "prune": true})
	if pick(got, "operation", "sync", "revision") != "aaaa" || pick(got, "operation", "sync", "source", "path") != "deploy" || pick(got, "operation", "sync", "prune") != true {
		t.Errorf("got %v", got["operation"])
	}
	if _, err := s.objects.Patch(context.Background(), argocd.KindApplication, "argocd", "shop", "", []byte(`{"status":{"operationState":{"phase":"Running"}}}`)); err != nil {
		t.Fatal(err)
	}
	s.must("admin", apps+"TerminateOperation", map[string]any{"name": "shop"})
	o, err := s.objects.Get(context.Background(), argocd.KindApplication, "argocd", "shop")
	if err != nil || pick(o.Object, "status", "operationState", "phase") != "Terminating" {
		t.Errorf("got %v (%v)", o, err)
	}
}

// TestRefreshWaits: the answer is the Application after somebody looked.
func TestRefreshWaits(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	s.objects.onChange(func(_ watch.EventType, o *unstructured.Unstructured) {
		if kind := o.GetAnnotations()["argocd.argoproj.io/refresh"]; kind != "" {
			go func() {
				_, err := s.objects.Patch(context.Background(), argocd.KindApplication, "argocd", "shop", "",
					[]byte(`{"metadata":{"annotations":{"argocd.argoproj.io/refresh":null}},"status":{"sync":{"status":"looked `+kind+`"}}}`))
				if err != nil {
					t.Error(err)
				}
			}()
		}
	})
	if got := s.must("admin", apps+"Get", map[string]any{"name": "shop", "refresh": "hard"}); pick(got, "status", "sync", "status") != "looked hard" {
		t.Errorf("got %v", got)
	}
}

func TestWatch(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	for name, protocol := range map[string]connect.ClientOption{"gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb()} {
		t.Run(name, func(t *testing.T) {
			client, m := s.rpc(apps+"Watch", protocol)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			request := connect.NewRequest(&message{m.Input, map[string]any{}})
			request.Header().Set("token", "token-shopkeeper")
			stream, err := client.CallServerStream(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			next := func() (string, any) {
				if !stream.Receive() {
					t.Fatal(stream.Err())
				}
				typ, _ := stream.Msg().value["type"].(string)
				return typ, pick(stream.Msg().value, "application", "metadata", "name")
			}
			if typ, who := next(); typ != "ADDED" || who != "shop" {
				t.Fatalf("got %s %v", typ, who)
			}
			for _, app := range []string{"other", "shop"} { // of which the first is not told
				if _, err := s.objects.Patch(ctx, argocd.KindApplication, "argocd", app, "", []byte(`{"metadata":{"labels":{"a":"`+name+`"}}}`)); err != nil {
					t.Fatal(err)
				}
			}
			if typ, who := next(); typ != "MODIFIED" || who != "shop" {
				t.Fatalf("got %s %v", typ, who)
			}
		})
	}
}

// TestWatchForTheEnd: what is gone already is told to whoever may see everything.
func TestWatchForTheEnd(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	client, m := s.rpc(apps+"Watch", connect.WithGRPC())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request := connect.NewRequest(&message{m.Input, map[string]any{"name": "gone"}})
	request.Header().Set("token", "token-reader")
	stream, err := client.CallServerStream(ctx, request)
	if err != nil || !stream.Receive() {
		t.Fatal(err)
	}
	if got := stream.Msg().value; got["type"] != "DELETED" || pick(got, "application", "metadata", "name") != "gone" {
		t.Errorf("got %v", got)
	}
}

// TestWatchOfWhatIsNew: what a watch does not know yet is not told to be gone.
func TestWatchOfWhatIsNew(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	s.objects.late = true
	client, m := s.rpc(apps+"Watch", connect.WithGRPC())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request := connect.NewRequest(&message{m.Input, map[string]any{"name": "shop"}})
	request.Header().Set("token", "token-reader")
	declared := make(chan struct{})
	go func() {
		defer close(declared)
		for s.objects.asked() == 0 && ctx.Err() == nil { // the watch has begun when it is looked whether the object is there
			runtime.Gosched()
		}
		s.declare(shop)
	}()
	stream, err := client.CallServerStream(ctx, request)
	if s.objects.asked() == 0 {
		t.Fatal("nobody looks whether the Application is there")
	}
	<-declared
	if err != nil || !stream.Receive() || stream.Msg().value["type"] != "ADDED" {
		t.Errorf("got %v", err)
	}
}

// TestWebIsNotCompressed: argocd --grpc-web says that it takes compressed
// messages, and does not.
func TestWebIsNotCompressed(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	m := method(t, apps+"List")
	request, err := http.NewRequest(http.MethodPost, s.url+m.Path(), bytes.NewReader([]byte{0, 0, 0, 0, 0}))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Content-Type": "application/grpc-web+proto", "Grpc-Accept-Encoding": "gzip", "token": "token-admin"} {
		request.Header.Set(k, v)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil || len(raw) < 6 || raw[0] != 0 || !bytes.Contains(raw, []byte("https://example.org/shop.git")) {
		t.Errorf("got %q (%v)", raw, err)
	}
	// an error without an answer is in the headers, where argocd looks for it
	request, err = http.NewRequest(http.MethodPost, s.url+m.Path(), bytes.NewReader([]byte{0, 0, 0, 0, 0}))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc-web+proto")
	refused, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = refused.Body.Close() }()
	if refused.Header.Get("Grpc-Status") != "16" || refused.Header.Get("Grpc-Message") != "no session information" {
		t.Errorf("got %v", refused.Header)
	}
}

func TestDelete(t *testing.T) {
	for name, c := range map[string]struct {
		request map[string]any
		want    []any
	}{
		"cascading":     {map[string]any{}, []any{"resources-finalizer.argocd.argoproj.io"}},
		"foreground":    {map[string]any{"cascade": true, "propagationPolicy": "foreground"}, []any{"resources-finalizer.argocd.argoproj.io/foreground"}},
		"non-cascading": {map[string]any{"cascade": false}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t, project, defaultProject, shop)
			var last *unstructured.Unstructured
			s.objects.onChange(func(typ watch.EventType, o *unstructured.Unstructured) {
				if typ == watch.Deleted {
					last = o
				}
			})
			c.request["name"] = "shop"
			s.must("shopkeeper", apps+"Delete", c.request)
			got, _ := pick(last.Object, "metadata", "finalizers").([]any)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("deleted with %v, want %v", got, c.want)
			}
		})
	}
	s := setup(t, project, defaultProject, shop)
	s.refused(connect.CodeInvalidArgument, "invalid propagation policy: sideways", "admin", apps+"Delete", map[string]any{"name": "shop", "propagationPolicy": "sideways"})
	s.refused(connect.CodeInvalidArgument, "cannot set propagation policy when cascading is disabled", "admin", apps+"Delete", map[string]any{"name": "shop", "cascade": false, "propagationPolicy": "foreground"})
	s.refused(connect.CodePermissionDenied, "permission denied: applications, delete, shop/shop", "reader", apps+"Delete", map[string]any{"name": "shop"})
}

// TestGateway speaks JSON over HTTP, as scripts do.
func TestGateway(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	call := func(verb, path, token, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequest(verb, s.url+path, bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		raw, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]any{}
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatalf("%s %s: %s", verb, path, raw)
		}
		return answer.StatusCode, out
	}
	for _, c := range []struct {
		verb, path, who, body string
		status                int
		part                  string
	}{
		{"GET", "/api/version", "", "", 200, "v3.6.0"},
		{"POST", "/api/v1/session", "", `{"username":"admin","password":"admin-password"}`, 200, "token-admin"},
		{"POST", "/api/v1/session", "", `{"username":"admin","password":"wrong"}`, 401, "invalid username or password"},
		{"GET", "/api/v1/applications", "", "", 401, "no session information"},
		{"GET", "/api/v1/applications?projects=shop&fields=items.metadata.name", "token-reader", "", 200, "shop"},
		{"GET", "/api/v1/applications?selector=nobody%3Dhere", "token-reader", "", 200, "items:[]"},
		{"GET", "/api/v1/applications/shop", "token-reader", "", 200, "https://example.org/shop.git"},
		{"GET", "/api/v1/applications/none?project=shop", "token-reader", "", 404, "not found"},
		{"POST", "/api/v1/applications/shop/sync", "token-reader", `{}`, 403, "permission denied"},
		{"POST", "/api/v1/applications/shop/sync", "token-admin", `{"revision":"main","prune":true}`, 200, "initiatedBy:map[username:admin]"},
		{"POST", "/api/v1/applications", "token-admin", `{"metadata":{"name":"made"},"spec":{"source":{"repoURL":"https://example.org/x.git","path":"."},"destination":{"name":"in-cluster","namespace":"x"}}}`, 200, "made"},
		{"DELETE", "/api/v1/applications/made?cascade=false", "token-admin", "", 200, "map[]"},
		{"GET", "/api/v1/account/can-i/applications/sync/shop/shop", "token-reader", "", 200, "value:no"},
		{"GET", "/api/v1/clusters/https%3A%2F%2Fkubernetes.default.svc", "token-admin", "", 200, "in-cluster"},
		{"POST", "/api/v1/applications/shop/sync", "token-admin", `{"revision":`, 400, "no JSON"},
		{"GET", "/api/v1/applications/shop/logs?tailLines=many", "token-admin", "", 400, "tailLines"},
	} {
		status, out := call(c.verb, c.path, c.who, c.body)
		if status != c.status || !strings.Contains(fmt.Sprint(out), c.part) {
			t.Errorf("%s %s: got %d %v, want %d with %q", c.verb, c.path, status, out, c.status, c.part)
		}
	}
}
