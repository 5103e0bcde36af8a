package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// fakeAPI is an API server as a RoundTripper, so that tests run in a synctest
// bubble with its clock. Discovery and the watches of kinds are answered by
// what is set here; every other request waits for the test to expect it.
type fakeAPI struct {
	exchanges chan *exchange
	crds      chan *fakeStream // the watch of CRDs, once it is open and synced

	mu        sync.Mutex
	apis      string            // answer to /apis
	paths     map[string]string // path → answer, tried before exchanges
	counts    map[string]int    // requests by path
	crdList   []string          // objects in the first list of CRDs
	crdRefuse int               // HTTP status for the watch of CRDs; 0: served
}

const (
	fakeCore = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":""},"versions":[{"version":"v1","freshness":"Current","resources":[
		{"resource":"configmaps","responseKind":{"group":"","version":"v1","kind":"ConfigMap"},"scope":"Namespaced","verbs":["create","delete","get","list","patch","update","watch"]}]}]}]}`
	fakeNoGroups = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}`
	fakeWidgets  = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":"example.com"},"versions":[{"version":"v1","freshness":"Current","resources":[
		{"resource":"widgets","responseKind":{"group":"example.com","version":"v1","kind":"Widget"},"scope":"Namespaced","verbs":["create","delete","get","list","patch","update","watch"]}]}]}]}`
	widgetCRDPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
	widgetCRD     = `{"kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},"spec":{"versions":[{"name":"v1","served":true},{"name":"v0","served":false}]},"status":{"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}}`
	widgetGroup   = `{"kind":"APIGroup","apiVersion":"v1","name":"example.com","versions":[{"groupVersion":"example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"example.com/v1","version":"v1"}}`
	widgetVersion = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"example.com/v1","resources":[{"name":"widgets","namespaced":true,"kind":"Widget","verbs":["create","delete","get","list","patch","update","watch"]},{"name":"widgets/status","namespaced":true,"kind":"Widget","verbs":["get"]}]}`
)

func newFake(t *testing.T, opts Options) (*fakeAPI, *Cluster) {
	t.Helper()
	f := &fakeAPI{
		exchanges: make(chan *exchange), crds: make(chan *fakeStream, 100),
		apis: fakeNoGroups, paths: map[string]string{"/api": fakeCore, "/version": `{"gitVersion":"v1.37.1"}`}, counts: map[string]int{},
	}
	s, err := NewSet(&rest.Config{Host: "http://api.test", Transport: f}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return f, s.Local()
}

func (f *fakeAPI) set(path, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "/apis" {
		f.apis = answer
		return
	}
	f.paths[path] = answer
}

func (f *fakeAPI) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[path]
}

// CloseIdleConnections keeps client-go from warning that it is missing.
func (f *fakeAPI) CloseIdleConnections() {}

// RoundTrip is part of http.RoundTripper.
func (f *fakeAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &exchange{Request: req, reply: make(chan reply, 1)}
	f.mu.Lock()
	f.counts[req.URL.Path]++
	answer, known := f.paths[req.URL.Path]
	apis, refuse := f.apis, f.crdRefuse
	f.mu.Unlock()
	switch {
	case req.URL.Path == "/apis":
		x.answer(200, apis)
	case known && answer == "":
		x.answer(404, statusText(404, "NotFound", "the server could not find the requested resource"))
	case known:
		x.answer(200, answer)
	case strings.HasSuffix(req.URL.Path, "/customresourcedefinitions") && refuse != 0:
		x.answer(refuse, statusText(refuse, "Forbidden", "no"))
	case strings.HasSuffix(req.URL.Path, "/customresourcedefinitions"):
		s := x.stream()
		f.mu.Lock()
		list := f.crdList
		f.mu.Unlock()
		go func() {
			for _, o := range list {
				s.send("ADDED", o)
			}
			s.synced("1")
			f.crds <- s
		}()
	case strings.HasSuffix(req.URL.Path, "/apiservices"):
		s := x.stream()
		go s.synced("1")
	default:
		select {
		case f.exchanges <- x:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	select {
	case r := <-x.reply:
		return r.resp, r.err
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

type reply struct {
	resp *http.Response
	err  error
}

// exchange is one request that waits for its answer.
type exchange struct {
	*http.Request
	reply chan reply
}

// expect returns the next request, which must be of this path.
func (f *fakeAPI) expect(t *testing.T, path string) *exchange {
	t.Helper()
	select {
	case x := <-f.exchanges:
		if x.URL.Path != path {
			t.Fatalf("got %s %s, want %s", x.Method, x.URL, path)
		}
		return x
	case <-time.After(time.Hour):
		t.Fatalf("no request of %s came", path)
		return nil
	}
}

// idle fails when a request comes within d.
func (f *fakeAPI) idle(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case x := <-f.exchanges:
		t.Fatalf("unexpected %s %s", x.Method, x.URL)
	case <-time.After(d):
	}
}

func (x *exchange) answer(code int, body string, headers ...string) {
	resp := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: x.Request}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Set(headers[i], headers[i+1])
	}
	x.reply <- reply{resp: resp}
}

func (x *exchange) fail(err error) { x.reply <- reply{err: err} }

func (x *exchange) stream() *fakeStream {
	r, w := io.Pipe()
	context.AfterFunc(x.Context(), func() { _ = w.CloseWithError(x.Context().Err()) })
	x.reply <- reply{resp: &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, ContentLength: -1, Request: x.Request}}
	return &fakeStream{w: w}
}

// fakeStream is an open watch.
type fakeStream struct{ w *io.PipeWriter }

func (s *fakeStream) send(typ, object string) {
	_, _ = fmt.Fprintf(s.w, `{"type":%q,"object":%s}`+"\n", typ, object)
}

func (s *fakeStream) synced(version string) {
	s.send("BOOKMARK", `{"metadata":{"resourceVersion":"`+version+`","annotations":{"k8s.io/initial-events-end":"true"}}}`)
}

func (s *fakeStream) breakOff() { _ = s.w.CloseWithError(io.ErrUnexpectedEOF) }

func configMap(name, uid, version string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"apps","uid":%q,"resourceVersion":%q}}`, name, uid, version)
}

func statusText(code int, reason, message string) string {
	out, _ := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
	return string(out)
}

var noIdentity = model.Identity{}

var noOrigin = model.Origin{}

func idOf(o *unstructured.Unstructured) object.ID { return object.Of(o) }
