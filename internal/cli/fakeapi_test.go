package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/argo"
)

// fakeAPI is an API server in memory: discovery, GET, LIST, WATCH, POST,
// merge and apply PATCH, DELETE. It has no admission and no schemas.
type fakeAPI struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	version  int
	kinds    []fakeKind
	objects  map[string]*unstructured.Unstructured // by collection/namespace/name
	watchers map[*fakeWatcher]bool
	// changed is called after every write by a client, with the lock held; a
	// test answers as a controller would.
	changed func(o *unstructured.Unstructured)
	// requests are the writes that clients made, for tests that look at them.
	requests []string
}

type fakeKind struct {
	schema.GroupVersionResource
	kind       string
	short      string
	namespaced bool
}

type fakeWatcher struct {
	kind      fakeKind
	namespace string
	matches   func(*unstructured.Unstructured) bool
	events    chan map[string]any
}

var fakeKinds = []fakeKind{
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "gitrepositories"}, "GitRepository", "gitrepo", true},
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "ocirepositories"}, "OCIRepository", "ocirepo", true},
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "buckets"}, "Bucket", "", true},
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "helmrepositories"}, "HelmRepository", "helmrepo", true},
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "helmcharts"}, "HelmChart", "hc", true},
	{schema.GroupVersionResource{Group: sourceGroup, Version: "v1", Resource: "externalartifacts"}, "ExternalArtifact", "ea", true},
	{schema.GroupVersionResource{Group: generatorGroup, Version: "v1beta1", Resource: "artifactgenerators"}, "ArtifactGenerator", "ag", true},
	{schema.GroupVersionResource{Group: kustomizeGroup, Version: "v1", Resource: "kustomizations"}, "Kustomization", "ks", true},
	{schema.GroupVersionResource{Group: helmGroup, Version: "v2", Resource: "helmreleases"}, "HelmRelease", "hr", true},
	{schema.GroupVersionResource{Group: argo.Group, Version: argo.Version, Resource: "applications"}, "Application", "app", true},
	{schema.GroupVersionResource{Group: argo.Group, Version: argo.Version, Resource: "applicationsets"}, "ApplicationSet", "appset", true},
	{schema.GroupVersionResource{Group: argo.Group, Version: argo.Version, Resource: "appprojects"}, "AppProject", "appproj", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "events"}, "Event", "ev", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "ConfigMap", "cm", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "Secret", "", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "Pod", "po", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "services"}, "Service", "svc", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "ServiceAccount", "sa", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}, "PersistentVolumeClaim", "pvc", true},
	{schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "Namespace", "ns", false},
	{schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, "Node", "no", false},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment", "deploy", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, "ReplicaSet", "rs", true},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "StatefulSet", "sts", true},
	{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, "Job", "", true},
	{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "Lease", "", true},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, "ClusterRoleBinding", "", false},
	{schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, "CustomResourceDefinition", "crd", false},
}

// newFakeAPI starts a server that holds the objects of a YAML stream.
func newFakeAPI(t *testing.T, manifests string) *fakeAPI {
	t.Helper()
	f := &fakeAPI{t: t, kinds: fakeKinds, objects: map[string]*unstructured.Unstructured{}, watchers: map[*fakeWatcher]bool{}}
	for _, document := range strings.Split(manifests, "\n---\n") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		o := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(document))
		if err == nil {
			err = o.UnmarshalJSON(data)
		}
		if err != nil {
			t.Fatalf("manifest: %v\n%s", err, document)
		}
		f.put(o)
	}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

// kubeconfig writes a kubeconfig for the server.
func (f *fakeAPI) kubeconfig() string {
	file := filepath.Join(f.t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: %q}}]
users: [{name: test, user: {token: test}}]
contexts: [{name: test, context: {cluster: test, user: test, namespace: apps}}]
`, f.server.URL)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return file
}

// plumb runs one command line against the server, on a fixed clock.
func (f *fakeAPI) plumb(args ...string) (code int, out, err string) {
	f.t.Helper()
	return f.plumbWith(f.t.Context(), "", args...)
}

// testNow is when all commands of the tests run.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (f *fakeAPI) plumbWith(ctx context.Context, input string, args ...string) (code int, out, err string) {
	f.t.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(Streams{
		In: strings.NewReader(input), Out: &stdout, Err: &stderr,
		Getenv: func(string) string { return "" },
	})
	a.now = func() time.Time { return testNow }
	code = a.run(ctx, append([]string{"--kubeconfig", f.kubeconfig()}, args...))
	return code, stdout.String(), stderr.String()
}

func (f *fakeAPI) kindOf(o *unstructured.Unstructured) fakeKind {
	gvk := o.GroupVersionKind()
	for _, k := range f.kinds {
		if k.Group == gvk.Group && k.kind == gvk.Kind {
			return k
		}
	}
	f.t.Fatalf("the fake API server does not serve %s", gvk)
	return fakeKind{}
}

func key(kind fakeKind, namespace, name string) string {
	return kind.Group + "/" + kind.Resource + "/" + namespace + "/" + name
}

// put stores an object as a controller would, and tells the watchers.
func (f *fakeAPI) put(o *unstructured.Unstructured) {
	kind := f.kindOf(o)
	k := key(kind, o.GetNamespace(), o.GetName())
	event := "ADDED"
	if before, ok := f.objects[k]; ok {
		event = "MODIFIED"
		o.SetUID(before.GetUID())
	}
	f.version++
	o.SetResourceVersion(strconv.Itoa(f.version))
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", f.version)))
	}
	if o.GetGeneration() == 0 {
		o.SetGeneration(1)
	}
	f.objects[k] = o
	f.tell(event, kind, o)
}

func (f *fakeAPI) tell(event string, kind fakeKind, o *unstructured.Unstructured) {
	for w := range f.watchers {
		if w.kind == kind && (w.namespace == "" || w.namespace == o.GetNamespace()) && w.matches(o) {
			w.events <- map[string]any{"type": event, "object": o.DeepCopy().Object}
		}
	}
}

// object reads what is stored; nil when there is none.
func (f *fakeAPI) object(kind, namespace, name string) *unstructured.Unstructured {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.kinds {
		if k.kind == kind {
			return f.objects[key(k, namespace, name)].DeepCopy()
		}
	}
	return nil
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		f.answer(w, http.StatusOK, map[string]any{"major": "1", "minor": "33", "gitVersion": "v1.33.1"})
		return
	case r.URL.Path == "/apis/authentication.k8s.io/v1/selfsubjectreviews":
		f.answer(w, http.StatusCreated, map[string]any{
			"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
			"status": map[string]any{"userInfo": map[string]any{"username": "jane"}},
		})
		return
	case r.URL.Path == "/api":
		f.answer(w, http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
		return
	case r.URL.Path == "/apis":
		f.answer(w, http.StatusOK, f.groups())
		return
	case parts[0] == "api" && len(parts) == 2:
		f.answer(w, http.StatusOK, f.resources("", parts[1]))
		return
	case parts[0] == "apis" && len(parts) == 3:
		f.answer(w, http.StatusOK, f.resources(parts[1], parts[2]))
		return
	}
	group, rest := "", parts[2:]
	if parts[0] == "apis" {
		group, rest = parts[1], parts[3:]
	}
	namespace := ""
	if len(rest) > 2 && rest[0] == "namespaces" {
		namespace, rest = rest[1], rest[2:]
	}
	for _, kind := range f.kinds {
		if kind.Group == group && kind.Resource == rest[0] {
			f.serveKind(w, r, kind, namespace, rest[1:])
			return
		}
	}
	f.fail(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
}

func (f *fakeAPI) serveKind(w http.ResponseWriter, r *http.Request, kind fakeKind, namespace string, rest []string) {
	if len(rest) == 0 && r.Method == http.MethodGet && r.URL.Query().Get("watch") == "true" {
		f.watch(w, r, kind, namespace)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodGet {
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	}
	switch {
	case len(rest) == 0 && r.Method == http.MethodGet:
		f.list(w, r, kind, namespace)
	case len(rest) == 0 && r.Method == http.MethodPost:
		f.create(w, r, namespace)
	case len(rest) == 2 && rest[1] == "log": // there is no kubelet
		f.fail(w, http.StatusInternalServerError, "InternalError", "dial tcp: lookup node-1: no such host")
	case len(rest) > 0 && r.Method == http.MethodGet:
		if o := f.find(w, kind, namespace, rest[0]); o != nil {
			f.answer(w, http.StatusOK, o.Object)
		}
	case len(rest) > 0 && r.Method == http.MethodPatch:
		f.patch(w, r, kind, namespace, rest[0])
	case len(rest) > 0 && r.Method == http.MethodDelete:
		if o := f.find(w, kind, namespace, rest[0]); o != nil {
			delete(f.objects, key(kind, namespace, rest[0]))
			f.tell("DELETED", kind, o)
			f.answer(w, http.StatusOK, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
		}
	default:
		f.fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

func (f *fakeAPI) find(w http.ResponseWriter, kind fakeKind, namespace, name string) *unstructured.Unstructured {
	o, ok := f.objects[key(kind, namespace, name)]
	if !ok {
		f.fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", kind.GroupResource(), name))
		return nil
	}
	return o
}

func (f *fakeAPI) create(w http.ResponseWriter, r *http.Request, namespace string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &o.Object); err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	o.SetNamespace(namespace)
	f.put(o)
	f.answer(w, http.StatusCreated, o.Object)
}

func (f *fakeAPI) patch(w http.ResponseWriter, r *http.Request, kind fakeKind, namespace, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	before, ok := f.objects[key(kind, namespace, name)]
	applying := strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch")
	if !ok && !applying {
		f.find(w, kind, namespace, name)
		return
	}
	document := []byte("{}")
	if ok {
		document, err = json.Marshal(before.Object)
	}
	if err == nil && applying {
		body, err = yaml.YAMLToJSON(body)
	}
	if err == nil {
		document, err = jsonpatch.MergePatch(document, body)
	}
	after := &unstructured.Unstructured{}
	if err == nil {
		err = after.UnmarshalJSON(document)
	}
	if err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if r.URL.Query().Get("dryRun") != "" {
		f.answer(w, http.StatusOK, after.Object)
		return
	}
	if ok && fmt.Sprint(before.Object["spec"]) != fmt.Sprint(after.Object["spec"]) {
		after.SetGeneration(before.GetGeneration() + 1)
	}
	f.put(after)
	f.answer(w, http.StatusOK, after.Object)
	if f.changed != nil {
		f.changed(after.DeepCopy())
	}
}

// selection reads the selectors of a list or watch.
func (f *fakeAPI) selection(r *http.Request) func(*unstructured.Unstructured) bool {
	byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		f.t.Errorf("label selector: %v", err)
	}
	byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		f.t.Errorf("field selector: %v", err)
	}
	return func(o *unstructured.Unstructured) bool {
		values := fields.Set{}
		for _, requirement := range byField.Requirements() {
			values[requirement.Field] = text(o, strings.Split(requirement.Field, ".")...)
		}
		return byLabel.Matches(labels.Set(o.GetLabels())) && byField.Matches(values)
	}
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request, kind fakeKind, namespace string) {
	matches := f.selection(r)
	items := []any{}
	var keys []string
	for k := range f.objects {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		o := f.objects[k]
		if f.kindOf(o) == kind && (namespace == "" || namespace == o.GetNamespace()) && matches(o) {
			items = append(items, o.Object)
		}
	}
	f.answer(w, http.StatusOK, map[string]any{
		"apiVersion": kind.GroupVersion().String(), "kind": kind.kind + "List",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(f.version)}, "items": items,
	})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, kind fakeKind, namespace string) {
	watcher := &fakeWatcher{kind: kind, namespace: namespace, matches: f.selection(r), events: make(chan map[string]any, 100)}
	since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		f.t.Errorf("watch from %q: %v", r.URL.Query().Get("resourceVersion"), err)
	}
	f.mu.Lock()
	for _, o := range f.objects {
		version, _ := strconv.Atoi(o.GetResourceVersion())
		if f.kindOf(o) == kind && version > since && (namespace == "" || namespace == o.GetNamespace()) && watcher.matches(o) {
			watcher.events <- map[string]any{"type": "MODIFIED", "object": o.DeepCopy().Object}
		}
	}
	f.watchers[watcher] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.watchers, watcher)
		f.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-watcher.events:
			if err := json.NewEncoder(w).Encode(event); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

func (f *fakeAPI) groups() any {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[string]bool{"": true}
	for _, k := range f.kinds {
		if seen[k.Group] {
			continue
		}
		seen[k.Group] = true
		version := metav1.GroupVersionForDiscovery{GroupVersion: k.GroupVersion().String(), Version: k.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: k.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
	}
	return list
}

func (f *fakeAPI) resources(group, version string) any {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: schema.GroupVersion{Group: group, Version: version}.String()}
	for _, k := range f.kinds {
		if k.Group != group || k.Version != version {
			continue
		}
		resource := metav1.APIResource{Name: k.Resource, SingularName: strings.ToLower(k.kind), Namespaced: k.namespaced, Kind: k.kind, Verbs: []string{"get", "list", "watch", "patch", "create", "delete"}}
		if k.short != "" {
			resource.ShortNames = []string{k.short}
		}
		list.APIResources = append(list.APIResources, resource)
	}
	return list
}

func (f *fakeAPI) answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		f.t.Errorf("answer: %v", err)
	}
}

func (f *fakeAPI) fail(w http.ResponseWriter, code int, reason, message string) {
	f.answer(w, code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
	})
}

// kindNamed finds a kind that the server has.
func (f *fakeAPI) kindNamed(kind string) fakeKind {
	for _, k := range f.kinds {
		if k.kind == kind {
			return k
		}
	}
	f.t.Fatalf("the fake API server does not serve %s", kind)
	return fakeKind{}
}
