package argo

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/conformance"
	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const canary = "canary-7f3a"

// answersTo gathers the answers to everything that an object's compilation
// asks for.
func (s scene) answersTo(t *testing.T, declared *unstructured.Unstructured) model.Facts {
	t.Helper()
	facts := model.Facts{}
	for range 6 {
		_, needs, _, _ := New().Compile(declared, facts, s.settings)
		if len(needs) == 0 {
			return facts
		}
		for _, need := range needs {
			facts[need] = s.answer(t, need)
		}
	}
	t.Fatal("the needs never end")
	return nil
}

// TestConformance takes the inputs of the goldens as samples.
func TestConformance(t *testing.T) {
	suite := conformance.Suite{Dialect: New(), Canary: canary, Installation: "argocd"}
	for _, input := range goldens.Inputs(t, "*.txt") {
		s := parseScene(t, input.Text)
		for _, declared := range s.objects {
			suite.Samples = append(suite.Samples, conformance.Sample{Name: input.Name + "/" + declared.GetName(), Declared: declared, Facts: s.answersTo(t, declared), Settings: s.settings})
		}
	}
	set := golden.AsServed(t, map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": map[string]any{"name": "set", "namespace": "argocd"},
		"spec": map[string]any{
			"generators": []any{map[string]any{"list": map[string]any{"elements": []any{map[string]any{"env": "dev"}}}}},
			"template": map[string]any{
				"metadata": map[string]any{"name": "{{env}}"},
				"spec":     map[string]any{"project": "default", "source": map[string]any{"repoURL": "https://example.com/r", "path": "x"}, "destination": map[string]any{"name": "in-cluster"}},
			},
		},
	})
	s := scene{}
	suite.Samples = append(suite.Samples, conformance.Sample{Name: "set", Declared: set, Facts: s.answersTo(t, set)})
	conformance.Run(t, suite)
}

// tellsCanary looks for the canary in everything that can be printed but in
// values of type model.Secret.
func tellsCanary(value reflect.Value) bool {
	if !value.IsValid() || value.Type() == reflect.TypeFor[model.Secret]() {
		return false
	}
	switch value.Kind() {
	case reflect.String:
		return strings.Contains(value.String(), canary)
	case reflect.Pointer, reflect.Interface:
		return tellsCanary(value.Elem())
	case reflect.Struct:
		for i := range value.NumField() {
			if tellsCanary(value.Field(i)) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if value.Type().Elem().Kind() == reflect.Uint8 && value.Kind() == reflect.Slice {
			return strings.Contains(string(value.Bytes()), canary)
		}
		for i := range value.Len() {
			if tellsCanary(value.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			if tellsCanary(key) || tellsCanary(value.MapIndex(key)) {
				return true
			}
		}
	}
	return false
}

func app(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	return golden.AsServed(t, map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"name": "a", "namespace": "argocd"}, "spec": fields,
	})
}

func secretOf(name, kind string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "stringData": data,
		"metadata": map[string]any{"name": name, "namespace": "argocd", "uid": name, "resourceVersion": "1", "labels": map[string]any{"argocd.argoproj.io/secret-type": kind}},
	}}
}

// TestCanary puts a secret wherever one may stand: nothing that comes out of
// Compile tells of it, the faults included.
func TestCanary(t *testing.T) {
	repositories := []map[string]any{
		{"username": canary, "password": canary}, {"bearerToken": canary}, {"sshPrivateKey": canary}, {"tlsClientCertKey": canary},
		{"githubAppPrivateKey": canary, "githubAppID": "1"}, {"githubAppPrivateKey": canary, "githubAppID": canary},
		{"insecure": canary}, {"proxy": canary}, {"proxy": "http://u:" + canary + "@x"}, {"gcpServiceAccountKey": canary},
		{"depth": canary}, {"enableLfs": canary},
	}
	clusters := []string{
		`{"bearerToken":"` + canary + `"}`, `{"username":"u","password":"` + canary + `"}`, canary, `{"bearerToken":1` + canary,
		`{"tlsClientConfig":{"certData":"` + canary + `"}}`, `{"execProviderConfig":{"env":{"A":"` + canary + `"}}}`,
		`{"awsAuthConfig":{"profile":"` + canary + `"}}`, `{"tlsClientConfig":{"keyData":"aaaa","caData":"aaaa","insecure":true}}`,
	}
	urls := []string{"https://example.com/r", "ssh://git@example.com/r", "https://u:" + canary + "@example.com/r", "https://u:" + canary + "@ example.com/r", canary + "@x@y"}
	seen := 0
	for _, repository := range repositories {
		for _, config := range clusters {
			for _, url := range urls {
				data := map[string]any{"url": url}
				for key, value := range repository {
					data[key] = value
				}
				s := scene{cluster: []*unstructured.Unstructured{
					secretOf("repository", "repository", data),
					secretOf("cluster", "cluster", map[string]any{"name": "c", "server": "https://c.example.com", "config": config}),
				}}
				declared := app(t, `{source: {path: x}, destination: {name: c}}`)
				if err := unstructured.SetNestedField(declared.Object, url, "spec", "source", "repoURL"); err != nil {
					t.Fatal(err)
				}
				intent, findings, err := s.compileIn(t, declared)
				var fault *model.Fault
				if err != nil && !errors.As(err, &fault) {
					t.Fatalf("%v is no fault", err)
				}
				if repository["username"] == canary && intent.Delivery != nil { // a user name is no secret
					for i := range intent.Implied {
						intent.Implied[i].Git.Auth.Username = ""
					}
				}
				for _, value := range []any{intent, findings, fault, fmt.Sprintf("%+v %#v", intent, intent)} {
					if tellsCanary(reflect.ValueOf(value)) {
						t.Errorf("%v %s %s: a secret is told: %v", repository, config, url, value)
					}
				}
				if fault != nil && !strings.Contains(url, canary) { // what the spec itself tells, its status may repeat
					edits := New().Refuse(fault, findings, declared)
					delete(declared.Object, "spec")
					if tellsCanary(reflect.ValueOf(edits)) {
						t.Errorf("%v %s %s: the refusal tells a secret", repository, config, url)
					}
				}
				if fault == nil {
					seen++
				}
			}
		}
	}
	if seen == 0 {
		t.Error("nothing compiles: the canary is never used")
	}
}

func TestKubeconfig(t *testing.T) {
	for _, c := range []struct{ server, config, want string }{
		{
			"https://c.example.com", `{"bearerToken":"t","tlsClientConfig":{"caData":"Y2E=","serverName":"n"}}`,
			"clusters:\n- cluster:\n    certificate-authority-data: Y2E=\n    server: https://c.example.com\n    tls-server-name: \"n\"\n  name: cluster\nusers:\n- name: cluster\n  user:\n    token: t\n",
		},
		{
			"https://c.example.com", `{"username":"u","password":"p","tlsClientConfig":{"insecure":true},"proxyUrl":"http://p","disableCompression":true}`,
			"clusters:\n- cluster:\n    disable-compression: true\n    insecure-skip-tls-verify: true\n    proxy-url: http://p\n    server: https://c.example.com\n  name: cluster\nusers:\n- name: cluster\n  user:\n    password: p\n    username: u\n",
		},
		{
			"https://c.example.com", `{"tlsClientConfig":{"certData":"Y2VydA==","keyData":"a2V5"}}`,
			"clusters:\n- cluster:\n    server: https://c.example.com\n  name: cluster\nusers:\n- name: cluster\n  user:\n    client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n",
		},
		{"https://c.example.com", ``, "clusters:\n- cluster:\n    server: https://c.example.com\n  name: cluster\nusers:\n- name: cluster\n  user: {}\n"},
		{inClusterServer, `{"tlsClientConfig":{"insecure":false}}`, ""},
		{inClusterServer, `{"bearerToken":"t"}`, "clusters:\n- cluster:\n    server: https://kubernetes.default.svc\n  name: cluster\nusers:\n- name: cluster\n  user:\n    token: t\n"},
	} {
		s := scene{cluster: []*unstructured.Unstructured{secretOf("c", "cluster", map[string]any{"name": "c", "server": c.server, "config": c.config})}}
		intent, _, err := s.compileIn(t, app(t, `{source: {repoURL: "https://example.com/r", path: x}, destination: {name: c}}`))
		if err != nil {
			t.Fatalf("%s: %v", c.config, err)
		}
		ref := intent.Delivery.Target.Cluster
		if ref.Local() != (c.want == "") || ref.Server != c.server || ref.Name != "c" {
			t.Errorf("%s: %+v", c.config, ref)
		}
		if c.want == "" {
			continue
		}
		var got, want map[string]any
		if err := json.Unmarshal(ref.Kubeconfig.Reveal(), &got); err != nil {
			t.Fatal(err)
		}
		text := "apiVersion: v1\nkind: Config\ncurrent-context: cluster\ncontexts:\n- name: cluster\n  context: {cluster: cluster, user: cluster}\n" + c.want
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", c.config, got, want)
		}
	}
}

// TestNamespacedCluster: a cluster that is registered for namespaces takes no
// cluster-scoped objects, unless its Secret says so.
func TestNamespacedCluster(t *testing.T) {
	for resources, want := range map[string]int{"": 1, "true": 0} {
		s := scene{cluster: []*unstructured.Unstructured{secretOf("c", "cluster", map[string]any{"name": "c", "server": "https://c.example.com", "namespaces": "x", "clusterResources": resources})}}
		intent, _, err := s.compileIn(t, app(t, `{source: {repoURL: "https://example.com/r", path: x}, destination: {name: c}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(intent.Delivery.Permit.ClusterDeny); got != want {
			t.Errorf("clusterResources %q: %d denials", resources, got)
		}
	}
}

// TestUnknownFacts: settings, Secrets and projects that cannot
// be read are a fault that a retry can help with.
func TestUnknownFacts(t *testing.T) {
	declared := app(t, `{source: {repoURL: "https://example.com/r", path: x}, destination: {name: in-cluster}}`)
	for need := range (scene{}).answersTo(t, declared) {
		for _, state := range []model.FactState{model.Forbidden, model.Failed} {
			s := scene{states: map[string]model.Fact{need.String(): {State: state, Message: "no access"}}}
			intent, _, err := s.compileIn(t, declared)
			var fault *model.Fault
			if !errors.As(err, &fault) || !fault.Retry || intent.Delivery != nil {
				t.Errorf("%s %s: %v", need, state, err)
			}
		}
	}
}

func TestDeletion(t *testing.T) {
	const gone = `{"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [%s], "name": "a", "namespace": "argocd"}`
	for _, c := range []struct {
		finalizers, spec string
		onDelete         model.OnDelete
		propagation      string
		finalized        bool
	}{
		{`"resources-finalizer.argocd.argoproj.io"`, "", model.DeleteAndWait, "foreground", true},
		{`"resources-finalizer.argocd.argoproj.io/foreground"`, "", model.DeleteAndWait, "foreground", true},
		{`"resources-finalizer.argocd.argoproj.io/background"`, "", model.DeleteAndWait, "background", true},
		{`"post-delete-finalizer.argocd.argoproj.io/cleanup"`, "", model.OrphanObjects, "foreground", true},
		{`"pre-delete-finalizer.argocd.argoproj.io"`, "", model.OrphanObjects, "foreground", true},
		{`"somebody.example.com/else"`, "", model.OrphanObjects, "foreground", false},
		// what it wants to read does not matter any more
		{`"resources-finalizer.argocd.argoproj.io"`, `{source: {repoURL: "ftp://x", path: y}, destination: {name: in-cluster}}`, model.DeleteAndWait, "foreground", true},
	} {
		spec := c.spec
		if spec == "" {
			spec = `{source: {repoURL: "https://example.com/r", path: x}, destination: {name: in-cluster}}`
		}
		declared := app(t, spec)
		var metadata map[string]any
		if err := json.Unmarshal([]byte(fmt.Sprintf(gone, c.finalizers)), &metadata); err != nil {
			t.Fatal(err)
		}
		declared.Object["metadata"] = metadata
		intent, _, err := scene{}.compileIn(t, declared)
		if err != nil {
			t.Errorf("%s: %v", c.finalizers, err)
			continue
		}
		d := intent.Delivery
		if !d.Deleting || d.Policy.OnDelete != c.onDelete || d.Policy.Cascade != c.propagation || d.Finalized != c.finalized {
			t.Errorf("%s: %s %s %t", c.finalizers, d.Policy.OnDelete, d.Policy.Cascade, d.Finalized)
		}
	}
}

func TestReplaces(t *testing.T) {
	workload := func(kind, name, image string, labels map[string]string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": kind, "metadata": map[string]any{"name": name},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"image": image}}}}},
		}}
		o.SetLabels(labels)
		return o
	}
	definition := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name}}}
	}
	part := func(name string) map[string]string {
		return map[string]string{"app.kubernetes.io/part-of": "argocd", "app.kubernetes.io/name": name}
	}
	for _, c := range []struct {
		o    *unstructured.Unstructured
		want bool
	}{
		{workload("StatefulSet", "argocd-application-controller", "x", part("argocd-application-controller")), true},
		{workload("Deployment", "my-release-argocd-server", "x", part("argocd-server")), true},
		{workload("Deployment", "argocd-repo-server", "mirror:5000/argoproj/argocd:v3.1.0@sha256:1", nil), true},
		{workload("Deployment", "argocd-redis", "redis", part("argocd-redis")), true},
		{workload("Deployment", "argocd-repo-server", "somebody/else", nil), false},
		{workload("Deployment", "web", "quay.io/argoproj/argocd", nil), false},
		{workload("Deployment", "web", "x", part("web")), false},
		{definition("applications.argoproj.io"), true},
		{definition("applicationsets.argoproj.io"), true},
		{definition("appprojects.argoproj.io"), true},
		{definition("rollouts.argoproj.io"), false},
		{steered("v1", "ConfigMap", nil), false},
	} {
		if got := New().Replaces(c.o); got != c.want {
			t.Errorf("%s %s %v: got %t", c.o.GetKind(), c.o.GetName(), c.o.GetLabels(), got)
		}
	}
}

// TestFieldsOfUpstream: every field of upstream's CRD has a row in the table,
// and every row is a field.
func TestFieldsOfUpstream(t *testing.T) {
	text, err := os.ReadFile("testdata/fields.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	if err := yaml.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	if len(known) < 300 {
		t.Fatalf("%d fields", len(known))
	}
	covered := func(path string) bool {
		for p := path; p != ""; p = reader.Parent(p) {
			if _, ok := table.Exact[p]; ok {
				return true
			}
		}
		_, free := table.Exact[path+".*"]
		return free || table.Within[path]
	}
	is := map[string]bool{}
	for _, path := range known {
		is[path] = true
		if !covered(path) {
			t.Errorf("%s has no row", path)
		}
	}
	for _, row := range Fields() {
		if !is[row.Path] {
			t.Errorf("%s is no field of upstream's", row.Path)
		}
		if row.Support != reader.Works && row.Note == "" {
			t.Errorf("%s does not say what becomes of it", row.Path)
		}
	}
}

// TestUnknownKindIsRefused: other kinds of the group belong to siblings.
func TestUnknownKindIsRefused(t *testing.T) {
	_, _, _, err := New().Compile(steered("argoproj.io/v1alpha1", "Rollout", nil), nil, dialect.Settings{})
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Reason != reasonNotHandled {
		t.Errorf("got %v", err)
	}
}

func TestClaimsAreRead(t *testing.T) {
	declared := app(t, `{}`)
	declared.Object["status"] = map[string]any{"resources": []any{
		map[string]any{"version": "v1", "kind": "ConfigMap", "namespace": "x", "name": "a", "status": "Synced"},
		map[string]any{"version": "v1", "kind": "ConfigMap", "namespace": "x", "name": "b", "requiresPruning": true},
		map[string]any{"version": "v1", "kind": "ConfigMap", "namespace": "x", "name": "c", "health": map[string]any{"status": "Missing"}},
		map[string]any{"group": "batch", "version": "v1", "kind": "Job", "namespace": "x", "name": "d", "hook": true},
		map[string]any{"kind": "Namespace"}, "nonsense", nil,
	}}
	want := []model.Claim{
		{ID: object.ID{Kind: "ConfigMap", Namespace: "x", Name: "a"}, Version: "v1"},
		{ID: object.ID{Kind: "ConfigMap", Namespace: "x", Name: "b"}, Version: "v1"},
	}
	if got := claims(declared); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// FuzzCompile compiles an Application whose spec, operation and status are
// what others wrote.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"spec":{"source":{"repoURL":"https://example.com/r","path":"x"}},"operation":{"sync":{"revision":"a"}}}`))
	f.Add([]byte(`{"spec":{"sources":[{"repoURL":"git@x:y","ref":"r"},{"repoURL":"https://x/y","path":"..","kustomize":{"patches":[{}]}}]},"status":{"operationState":{"phase":"Running","operation":{"sync":{}},"syncResult":{"resources":[{"kind":"a","name":"b"}]}}}}`))
	f.Add([]byte(`{"spec":{"syncPolicy":{"automated":{},"retry":{"limit":-1,"backoff":{"factor":1e9,"duration":"9999999h"}}},"ignoreDifferences":[{"kind":"*"}]},"operation":{"retry":{"limit":9223372036854775807},"sync":{"sources":[null]}}}`))
	f.Add([]byte(`{"spec":{"source":{"repoURL":"https://x/y","path":"a"},"destination":{"server":"https://z"}},"status":{"operationState":{"phase":"Failed","operation":7,"syncResult":[]},"resources":{},"history":[{"revisions":[1]}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			return
		}
		declared := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": map[string]any{"name": "a", "namespace": "argocd"},
		}}
		for _, name := range []string{"spec", "operation", "status"} {
			if fields[name] != nil {
				declared.Object[name] = fields[name]
			}
		}
		intent, findings, err := scene{}.compileIn(t, declared)
		again, _, _ := scene{}.compileIn(t, declared)
		if !reflect.DeepEqual(intent, again) {
			t.Error("the same object compiles to something else the second time")
		}
		var fault *model.Fault
		if err != nil && (!errors.As(err, &fault) || fault.Reason == "" || fault.Origin.Declared.Name != "a") {
			t.Errorf("%v is no fault that says where", err)
		}
		for _, finding := range findings {
			if finding.Origin.Declared.Name != "a" || finding.Reason == "" {
				t.Errorf("finding %+v", finding)
			}
		}
		if d := intent.Delivery; d != nil {
			for _, retry := range []*model.Retry{d.Sync.Retry, operationRetry(d)} {
				if retry != nil && (retry.Factor < 1 || retry.Duration < 0 || retry.Max < 0 || retry.Max > maxPause) {
					t.Errorf("retry %+v", *retry)
				}
			}
			if d.Policy.Interval <= 0 || d.Policy.Timeout <= 0 || d.Sync.HistoryLimit < 0 {
				t.Errorf("policy %+v", d.Policy)
			}
		}
	})
}

func operationRetry(d *model.Delivery) *model.Retry {
	if d.Operation == nil {
		return nil
	}
	return d.Operation.Retry
}
