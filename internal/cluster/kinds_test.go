package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var widget = gvk("example.com/v1", "Widget")

func TestResolveReadsTheCatalogOnce(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/apis", fakeWidgets)
		for range 3 {
			kind, err := c.Resolve(t.Context(), widget)
			want := Kind{GVK: widget, GVR: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}, Namespaced: true, Watchable: true}
			if err != nil || kind != want {
				t.Fatal(kind, err)
			}
			if _, err := c.Resolve(t.Context(), gvk("v1", "ConfigMap")); err != nil {
				t.Fatal(err)
			}
			var unknown *UnknownKindError
			if _, err := c.Resolve(t.Context(), gvk("example.com/v2", "Widget")); !errors.As(err, &unknown) || strings.Join(unknown.Served, ",") != "example.com/v1" {
				t.Fatal(err)
			}
			if _, err := c.Resolve(t.Context(), gvk("example.com/v1", "Gadget")); !errors.As(err, &unknown) || unknown.Served != nil {
				t.Fatal(err)
			}
		}
		if f.count("/apis") != 1 || f.count("/api") != 1 {
			t.Errorf("%v", f.counts)
		}
	})
}

func TestResolveOnServersWithoutAggregatedDiscovery(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/api", `{"kind":"APIVersions","versions":["v1"]}`)
		f.set("/api/v1", `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","namespaced":true,"kind":"Pod","verbs":["create","patch"]},{"name":"pods/eviction","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}]}`)
		f.set("/apis", `{"kind":"APIGroupList","apiVersion":"v1","groups":[`+widgetGroup+`]}`)
		f.set("/apis/example.com/v1", widgetVersion)
		for range 2 {
			if kind, err := c.Resolve(t.Context(), widget); err != nil || kind.GVR.Resource != "widgets" {
				t.Fatal(kind, err)
			}
			if kind, err := c.Resolve(t.Context(), gvk("v1", "Pod")); err != nil || kind.Watchable {
				t.Fatal(kind, err)
			}
		}
		var unknown *UnknownKindError
		if _, err := c.Resolve(t.Context(), gvk("v1", "Eviction")); !errors.As(err, &unknown) {
			t.Fatal(err)
		}
		if f.count("/api/v1") != 1 || f.count("/apis/example.com/v1") != 1 {
			t.Errorf("%v", f.counts)
		}
		set, err := c.APIs(t.Context())
		if err != nil || len(set.Kinds) != 2 || set.Digest == "" {
			t.Fatal(set, err)
		}
	})
}

func TestUnknownIsNotAbsent(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/apis", strings.ReplaceAll(strings.ReplaceAll(fakeWidgets, "Current", "Stale"), "Widget", "Other"))
		var unknown *UnknownKindError
		if _, err := c.Resolve(t.Context(), widget); errors.As(err, &unknown) || !apierrors.IsServiceUnavailable(err) {
			t.Fatal(err)
		}
		f.set("/apis", `not JSON`)
		c.kinds.invalidate()
		if _, err := c.Resolve(t.Context(), widget); err == nil || errors.As(err, &unknown) {
			t.Fatal(err)
		}
	})
}

func TestServerThatIsAwayFailsResolveAtOnce(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *fakeAPI, c *Cluster) {
		c.client = away{}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := c.Resolve(ctx, widget)
		var unknown *UnknownKindError
		if !errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &unknown) || time.Since(began) > 2*time.Second {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
	})
}

// away is a server that nobody listens for.
type away struct{}

func (away) RoundTrip(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }
func (away) CloseIdleConnections()                           {}

func TestWaitersWakeWhenTheirKindIsServed(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/apis/example.com", "") // not yet
		var unknown *UnknownKindError
		if _, err := c.Resolve(t.Context(), widget); !errors.As(err, &unknown) {
			t.Fatal(err)
		}
		before, err := c.APIs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan string, 10)
		defer c.OnKind(widget.GroupKind(), func() { woken <- "widget" })()
		defer c.OnKind(schema.GroupKind{Group: "example.com", Kind: "Gadget"}, func() { woken <- "gadget" })()
		c.OnKind(widget.GroupKind(), func() { woken <- "withdrawn" })()
		crds := <-f.crds
		requests := f.count("/apis/example.com")
		f.idle(t, 4*time.Minute)
		if n := f.count("/apis/example.com"); n != requests {
			t.Fatalf("polled %d times", n-requests)
		}

		// The CRD appears; discovery follows only a moment later.
		f.set(widgetCRDPath, widgetCRD)
		crds.send("ADDED", `{"metadata":{"name":"widgets.example.com","uid":"9","resourceVersion":"50","generation":1}}`)
		synctest.Wait()
		if len(woken) != 0 {
			t.Fatal("woken too early")
		}
		f.set("/apis/example.com", widgetGroup)
		f.set("/apis/example.com/v1", widgetVersion)
		began := time.Now()
		if got := <-woken; got != "widget" || time.Since(began) > 100*time.Millisecond {
			t.Fatalf("%s after %s", got, time.Since(began))
		}
		if _, err := c.Resolve(t.Context(), widget); err != nil {
			t.Fatal(err)
		}
		after, err := c.APIs(t.Context())
		if err != nil || after.Digest == before.Digest || len(after.Kinds) != len(before.Kinds)+1 {
			t.Fatal(after, err)
		}
		f.idle(t, 2*time.Minute)
		requests = f.count("/apis/example.com")
		f.idle(t, 2*time.Minute)
		if f.count("/apis/example.com") != requests || len(woken) != 0 {
			t.Fatalf("still looking: %d", f.count("/apis/example.com")-requests)
		}
		defer c.OnKind(widget.GroupKind(), func() { woken <- "late" })()
		if got := <-woken; got != "late" {
			t.Fatal(got)
		}

		// And goes again.
		f.set("/apis/example.com", "")
		f.set(widgetCRDPath, "")
		crds.send("DELETED", `{"metadata":{"name":"widgets.example.com","uid":"9","resourceVersion":"60","generation":1}}`)
		time.Sleep(time.Second)
		if _, err := c.Resolve(t.Context(), widget); !errors.As(err, &unknown) {
			t.Fatal(err)
		}
	})
}

func TestKindsWithoutPermissionToWatchThem(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.mu.Lock()
		f.crdRefuse = 403
		f.mu.Unlock()
		var unknown *UnknownKindError
		if _, err := c.Resolve(t.Context(), widget); !errors.As(err, &unknown) {
			t.Fatal(err)
		}
		woken := make(chan struct{})
		defer c.OnKind(widget.GroupKind(), func() { close(woken) })()
		f.set("/apis", fakeWidgets)
		began := time.Now()
		<-woken
		if since := time.Since(began); since > 2*blindLook {
			t.Fatal(since)
		}
		// Misses ask again, but not more often than that.
		n := f.count("/apis")
		for range 10 {
			_, _ = c.Resolve(t.Context(), gvk("example.com/v1", "Gadget"))
		}
		if f.count("/apis") > n+1 {
			t.Errorf("%d requests", f.count("/apis")-n)
		}
	})
}

func TestVersionIsKeptUntilTheServerWasAway(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		if _, err := c.Resolve(t.Context(), gvk("v1", "ConfigMap")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if v, err := c.Version(t.Context()); err != nil || v != "v1.37.1" {
				t.Fatal(v, err)
			}
		}
		if n := f.count("/version"); n != 1 {
			t.Fatalf("asked %d times", n)
		}
		crds := <-f.crds
		f.set("/version", `{"gitVersion":"v1.38.0"}`)
		f.set("/apis", fakeWidgets)
		crds.breakOff()
		<-f.crds // it is back
		synctest.Wait()
		if v, err := c.Version(t.Context()); err != nil || v != "v1.38.0" {
			t.Fatal(v, err)
		}
		if _, err := c.Resolve(t.Context(), widget); err != nil {
			t.Fatal(err)
		}
		f.set("/version", `{"gitVersion":"`+canary+`"}`)
		c.kinds.invalidate()
		if v, err := c.Version(t.Context()); err == nil {
			t.Fatal(v)
		}
	})
}

func TestCallThatFindsNoKindHasItLookedUpAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/apis", fakeWidgets)
		kind, err := c.Resolve(t.Context(), widget)
		if err != nil {
			t.Fatal(err)
		}
		get := func() <-chan error {
			return call(func() error {
				_, err := c.As(noIdentity).Get(t.Context(), kind, "apps", "a")
				return err
			})
		}
		const path = "/apis/example.com/v1/namespaces/apps/widgets/a"
		done := get()
		f.expect(t, path).answer(404, `{"kind":"Status","status":"Failure","code":404,"reason":"NotFound","message":"widgets.example.com \"a\" not found","details":{"name":"a","group":"example.com","kind":"widgets"}}`)
		<-done
		time.Sleep(time.Minute)
		if n := f.count("/apis/example.com"); n != 0 {
			t.Fatalf("an absent object made it look %d times", n)
		}
		f.set("/apis/example.com", "")
		done = get()
		f.expect(t, path).answer(404, "404 page not found")
		<-done
		time.Sleep(time.Second)
		var unknown *UnknownKindError
		if _, err := c.Resolve(t.Context(), widget); !errors.As(err, &unknown) {
			t.Fatal(err)
		}
	})
}

// TestKindThatWasCreatedJustBefore is a CRD that is in the first list of the
// watch while discovery does not show all of its versions yet.
func TestKindThatWasCreatedJustBefore(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.mu.Lock()
		f.crdList = []string{`{"metadata":{"name":"widgets.example.com","uid":"9","resourceVersion":"1","creationTimestamp":"` + time.Now().UTC().Format(time.RFC3339) + `"}}`}
		f.mu.Unlock()
		f.set("/apis", strings.ReplaceAll(fakeWidgets, `"version":"v1"`, `"version":"v1beta1"`))
		f.set("/apis/example.com", strings.ReplaceAll(widgetGroup, "v1\"", "v1beta1\""))
		f.set("/apis/example.com/v1beta1", widgetVersion)
		f.set(widgetCRDPath, strings.Replace(widgetCRD, `[{"name":"v1"`, `[{"name":"v1beta1","served":true},{"name":"v1"`, 1))
		if _, err := c.Resolve(t.Context(), widget); err == nil {
			t.Fatal("served already")
		}
		woken := make(chan struct{})
		defer c.OnServed(widget, func() { close(woken) })()
		synctest.Wait()
		f.set("/apis/example.com", strings.Replace(widgetGroup, `"versions":[`, `"versions":[{"groupVersion":"example.com/v1beta1","version":"v1beta1"},`, 1))
		f.set("/apis/example.com/v1", widgetVersion)
		<-woken
		time.Sleep(time.Minute)
		n := f.count("/apis/example.com")
		defer c.OnServed(gvk("example.com/v7", "Widget"), func() { t.Error("served") })()
		time.Sleep(time.Minute)
		if f.count("/apis/example.com") != n {
			t.Error("what was verified is looked at again")
		}
	})
}

func TestNobodyWaitsLongerForTheCatalogThanItsContext(t *testing.T) {
	bubble(t, Options{Timeout: time.Hour}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.mu.Lock()
		delete(f.paths, "/api") // answered when the test says so
		f.mu.Unlock()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := c.Resolve(t.Context(), widget)
			first <- err
		}()
		asked := <-f.exchanges
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			_, err := c.Resolve(ctx, widget)
			second <- err
		}()
		if err := <-second; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		asked.answer(200, fakeCore)
		var unknown *UnknownKindError
		if err := <-first; !errors.As(err, &unknown) {
			t.Error(err)
		}
	})
}
