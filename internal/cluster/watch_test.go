package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

const configMaps = "/api/v1/configmaps"

var configMapSpec = WatchSpec{GVK: gvk("v1", "ConfigMap")}

// bubble runs a test against a fake API server with a clock of its own, and
// closes the server inside, so that no goroutine is left.
func bubble(t *testing.T, opts Options, test func(t *testing.T, f *fakeAPI, c *Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t, opts)
		test(t, f, c)
		c.close()
		synctest.Wait()
	})
}

func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.all(); !slices.Equal(got, want) {
		t.Fatalf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWatchStreamsTheListAndGoesOn(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		defer c.Watch(t.Context(), configMapSpec, r)()
		x := f.expect(t, configMaps)
		q := x.URL.Query()
		if q.Get("sendInitialEvents") != "true" || q.Get("resourceVersionMatch") != "NotOlderThan" || q.Get("allowWatchBookmarks") != "true" || q.Get("watch") != "true" {
			t.Fatalf("query %v", q)
		}
		s := x.stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.send("ADDED", configMap("b", "2", "3"))
		r.expect(t, "ADDED a", "ADDED b")
		s.synced("7")
		s.send("MODIFIED", configMap("a", "1", "8"))
		s.send("DELETED", configMap("b", "2", "9"))
		s.send("BOOKMARK", `{"metadata":{"resourceVersion":"20"}}`)
		r.expect(t, "ADDED a", "ADDED b", "SYNCED", "MODIFIED a", "DELETED b")

		// A connection that breaks is taken up where it ended.
		s.breakOff()
		x = f.expect(t, configMaps)
		if q := x.URL.Query(); q.Get("resourceVersion") != "20" || q.Get("sendInitialEvents") != "" {
			t.Fatalf("query %v", q)
		}
		x.stream().send("ADDED", configMap("c", "3", "21"))
		r.expect(t, "ADDED a", "ADDED b", "SYNCED", "MODIFIED a", "DELETED b", "ADDED c")
	})
}

func TestWatchThatBreaksWithinTheListStartsAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		defer c.Watch(t.Context(), configMapSpec, r)()
		s := f.expect(t, configMaps).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.send("ADDED", configMap("b", "2", "9"))
		s.breakOff()
		x := f.expect(t, configMaps)
		if q := x.URL.Query(); q.Get("resourceVersion") != "" || q.Get("sendInitialEvents") != "true" {
			t.Fatalf("initial events have no order, yet it goes on from one: %v", q)
		}
		s = x.stream()
		s.send("ADDED", configMap("b", "2", "9"))
		s.synced("12")
		r.expect(t, "ADDED a", "ADDED b", "ADDED b", "DELETED a", "SYNCED")
	})
}

func TestWatchExpiredTellsOnlyDifferences(t *testing.T) {
	gone := statusText(410, "Expired", "too old resource version: 7 (900)")
	for name, expire := range map[string]func(t *testing.T, f *fakeAPI, s *fakeStream){
		"in the stream": func(_ *testing.T, _ *fakeAPI, s *fakeStream) { s.send("ERROR", gone) },
		"as an answer": func(t *testing.T, f *fakeAPI, s *fakeStream) {
			s.breakOff()
			f.expect(t, configMaps).answer(410, gone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
				r := newRecorder()
				r.note = func(_ watch.EventType, o *unstructured.Unstructured) string {
					return o.GetNamespace() + " " + string(o.GetUID())
				}
				defer c.Watch(t.Context(), configMapSpec, r)()
				s := f.expect(t, configMaps).stream()
				for _, n := range []string{"same", "changed", "vanished", "replaced"} {
					s.send("ADDED", configMap(n, "uid-"+n, "5"))
				}
				s.synced("7")
				synctest.Wait()
				expire(t, f, s)
				x := f.expect(t, configMaps)
				if x.URL.Query().Get("sendInitialEvents") != "true" {
					t.Fatalf("no new list: %s", x.URL)
				}
				before := len(r.all())
				s = x.stream()
				s.send("ADDED", configMap("same", "uid-same", "5"))
				s.send("ADDED", configMap("changed", "uid-changed", "901"))
				s.send("ADDED", configMap("replaced", "uid-other", "902"))
				s.send("ADDED", configMap("new", "uid-new", "903"))
				s.synced("905")
				synctest.Wait()
				got := r.all()[before:]
				want := []string{"MODIFIED changed apps uid-changed", "DELETED replaced apps uid-replaced", "ADDED replaced apps uid-other", "ADDED new apps uid-new", "DELETED vanished apps uid-vanished"}
				if !slices.Equal(got, want) {
					t.Fatalf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}

func TestWatchFallsBackToPages(t *testing.T) {
	for name, refuse := range map[string]func(x *exchange){
		"invalid": func(x *exchange) {
			x.answer(422, statusText(422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"))
		},
		"silent": func(x *exchange) { x.stream() }, // for ever: the parameter was ignored
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
				r := newRecorder()
				defer c.Watch(t.Context(), configMapSpec, r)()
				refuse(f.expect(t, configMaps))
				x := f.expect(t, configMaps)
				if q := x.URL.Query(); q.Get("watch") != "" || q.Get("limit") != "500" {
					t.Fatalf("query %v", q)
				}
				x.answer(200, `{"kind":"ConfigMapList","metadata":{"resourceVersion":"30","continue":"more"},"items":[{"metadata":{"name":"a","uid":"1","resourceVersion":"5"}}]}`)
				x = f.expect(t, configMaps)
				if x.URL.Query().Get("continue") != "more" {
					t.Fatalf("query %v", x.URL.Query())
				}
				x.answer(200, `{"kind":"ConfigMapList","metadata":{"resourceVersion":"30"},"items":[{"metadata":{"name":"b","uid":"2","resourceVersion":"6"}}]}`)
				x = f.expect(t, configMaps)
				if q := x.URL.Query(); q.Get("resourceVersion") != "30" || q.Get("watch") != "true" {
					t.Fatalf("query %v", q)
				}
				x.stream().send("DELETED", configMap("a", "1", "31"))
				r.expect(t, "ADDED a", "ADDED b", "SYNCED", "DELETED a")
			})
		})
	}
}

func TestListStartsAgainWhenItsContinuationExpires(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		done := make(chan error, 1)
		var names []string
		go func() {
			_, err := c.As(noIdentity).List(t.Context(), Kind{GVK: gvk("v1", "ConfigMap"), GVR: gvk("v1", "ConfigMap").GroupVersion().WithResource("configmaps"), Namespaced: true}, ListOptions{}, func(o *unstructured.Unstructured) error {
				names = append(names, o.GetName())
				return nil
			})
			done <- err
		}()
		first := `{"metadata":{"resourceVersion":"30","continue":"more"},"items":[{"metadata":{"name":"a"}}]}`
		for range 2 {
			f.expect(t, configMaps).answer(200, first)
			f.expect(t, configMaps).answer(410, statusText(410, "Expired", "The provided continue parameter is too old"))
		}
		x := f.expect(t, configMaps)
		if q := x.URL.Query(); q.Get("limit") != "" || q.Get("continue") != "" {
			t.Fatalf("query %v", q)
		}
		x.answer(200, `{"metadata":{"resourceVersion":"31"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names, ""); got != "aaab" {
			t.Fatal(got)
		}
	})
}

func TestWatchIsSharedAndNewcomersGetEverything(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		first, second := newRecorder(), newRecorder()
		defer c.Watch(t.Context(), configMapSpec, first)()
		s := f.expect(t, configMaps).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.send("ADDED", configMap("b", "2", "6"))
		s.synced("7")
		synctest.Wait()

		stop := c.Watch(t.Context(), configMapSpec, second)
		x := f.expect(t, configMaps) // the only stream starts again
		s = x.stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.send("ADDED", configMap("c", "3", "8"))
		s.synced("9")
		first.expect(t, "ADDED a", "ADDED b", "SYNCED", "ADDED c", "DELETED b")
		synctest.Wait()
		if got := strings.Join(second.all(), ","); got != "ADDED a,ADDED c,DELETED b,SYNCED" && got != "ADDED a,ADDED c,SYNCED" {
			t.Fatal(got)
		}
		s.send("MODIFIED", configMap("c", "3", "10"))
		synctest.Wait()
		stop()
		s.send("MODIFIED", configMap("c", "3", "11"))
		synctest.Wait()
		if n := len(first.all()) - 5; n != 2 {
			t.Fatalf("the first heard %d changes", n)
		}
		if l := second.all(); l[len(l)-1] != "MODIFIED c" || strings.Count(strings.Join(l, ","), "MODIFIED c") != 1 {
			t.Fatal(l)
		}
		f.idle(t, time.Minute)
	})
}

func TestWatchEndsWithItsLastSubscriber(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		stop := c.Watch(t.Context(), configMapSpec, r)
		x := f.expect(t, configMaps)
		x.stream().synced("1")
		synctest.Wait()
		stop()
		stop() // twice is once
		synctest.Wait()
		if x.Context().Err() == nil {
			t.Fatal("the request is still open")
		}
		// A new subscriber starts a new stream.
		defer c.Watch(t.Context(), configMapSpec, r)()
		f.expect(t, configMaps).stream().synced("1")
		r.expect(t, "SYNCED", "SYNCED")
	})
}

// stopper ends its own subscription from within a call.
type stopper struct {
	*recorder
	stop func()
}

func (s *stopper) Event(typ watch.EventType, o *unstructured.Unstructured) {
	s.recorder.Event(typ, o)
	s.stop()
}

func TestHandlerMayStopItself(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		h := &stopper{recorder: newRecorder()}
		h.stop = c.Watch(t.Context(), configMapSpec, h)
		s := f.expect(t, configMaps).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.send("ADDED", configMap("b", "2", "6"))
		h.expect(t, "ADDED a")
	})
}

func TestWatchRetriesWithGrowingPausesAndSaysSo(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		h := &stallRecorder{recorder: newRecorder()}
		defer c.Watch(t.Context(), configMapSpec, h)()
		s := f.expect(t, configMaps).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.synced("7")
		synctest.Wait()
		s.breakOff()
		var last time.Time
		var pauses []time.Duration
		for range 12 {
			x := f.expect(t, configMaps)
			if !last.IsZero() {
				pauses = append(pauses, time.Since(last))
			}
			last = time.Now()
			x.fail(syscall.ECONNREFUSED)
			synctest.Wait()
		}
		if pauses[0] > 200*time.Millisecond {
			t.Errorf("the second attempt came after %s", pauses[0])
		}
		if p := pauses[len(pauses)-1]; p < longBackoff/2 || p > longBackoff*3/2 {
			t.Errorf("the last pause was %s", p)
		}
		f.expect(t, configMaps).stream().send("MODIFIED", configMap("a", "1", "8"))
		h.expect(t, "ADDED a", "SYNCED", "STALLED true", "STALLED false", "MODIFIED a")
	})
}

type stallRecorder struct{ *recorder }

func (r *stallRecorder) Stalled(err error) {
	if err != nil {
		r.add("STALLED true")
	} else {
		r.add("STALLED false")
	}
}

func TestServerThatExpiresForEverIsNotAskedInALoop(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		defer c.Watch(t.Context(), configMapSpec, newRecorder())()
		began := time.Now()
		for range 12 {
			s := f.expect(t, configMaps).stream()
			s.synced("7")
			s.breakOff()
			f.expect(t, configMaps).answer(410, statusText(410, "Expired", "too old"))
		}
		if time.Since(began) < 10*time.Second {
			t.Fatalf("12 lists within %s", time.Since(began))
		}
	})
}

func TestSilentWatchIsTakenUpAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		defer c.Watch(t.Context(), configMapSpec, r)()
		x := f.expect(t, configMaps)
		x.stream().synced("7")
		synctest.Wait()
		began := time.Now()
		x = f.expect(t, configMaps)
		if since := time.Since(began); since < longSilence || x.URL.Query().Get("resourceVersion") != "7" {
			t.Fatalf("after %s: %s", since, x.URL)
		}
		x.stream()
		r.expect(t, "SYNCED")
	})
}

func TestForbiddenWatchIsGoneAndComesBack(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		defer c.Watch(t.Context(), configMapSpec, r)()
		denied := statusText(403, "Forbidden", "configmaps is forbidden")
		f.expect(t, configMaps).answer(403, denied)
		f.expect(t, configMaps).answer(403, denied)
		s := f.expect(t, configMaps).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.synced("7")
		r.expect(t, "GONE configmaps is forbidden", "ADDED a", "SYNCED")
	})
}

func TestWatchOfAKindThatVanishesAndReturns(t *testing.T) {
	const widgets = "/apis/example.com/v1/widgets"
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		f.set("/apis", fakeWidgets)
		r, late := newRecorder(), newRecorder()
		defer c.Watch(t.Context(), WatchSpec{GVK: gvk("example.com/v1", "Widget")}, r)()
		crds := <-f.crds
		s := f.expect(t, widgets).stream()
		s.send("ADDED", configMap("a", "1", "5"))
		s.synced("7")
		synctest.Wait()

		// The CRD is deleted: the server ends the stream and serves it no more.
		f.set("/apis/example.com", "")
		s.breakOff()
		f.expect(t, widgets).answer(404, statusText(404, "NotFound", "the server could not find the requested resource"))
		gone := `GONE no matches for kind "Widget" in version "example.com/v1"`
		time.Sleep(time.Second)
		r.expect(t, "ADDED a", "SYNCED", gone)
		defer c.Watch(t.Context(), WatchSpec{GVK: gvk("example.com/v1", "Widget")}, late)()
		late.expect(t, gone)
		f.idle(t, 4*time.Minute) // nobody asks while nothing changes

		f.set("/apis/example.com", widgetGroup)
		f.set("/apis/example.com/v1", widgetVersion)
		f.set(widgetCRDPath, widgetCRD)
		crds.send("ADDED", `{"metadata":{"name":"widgets.example.com","uid":"9","resourceVersion":"50","generation":1}}`)
		s = f.expect(t, widgets).stream()
		s.send("ADDED", configMap("b", "2", "51"))
		s.synced("52")
		r.expect(t, "ADDED a", "SYNCED", gone, "ADDED b", "SYNCED")
		late.expect(t, gone, "ADDED b", "SYNCED")
	})
}

func TestInterceptedWatchIsRetried(t *testing.T) {
	failures := 3
	opts := Options{Intercept: Intercept{BeforeRead: func(_ context.Context, call Call) error {
		if call.Verb == "watch" && call.Kind.GVK.Kind == "ConfigMap" && failures > 0 {
			failures--
			return errors.New("injected")
		}
		return nil
	}}}
	bubble(t, opts, func(t *testing.T, f *fakeAPI, c *Cluster) {
		r := newRecorder()
		defer c.Watch(t.Context(), configMapSpec, r)()
		f.expect(t, configMaps).stream().synced("1")
		r.expect(t, "SYNCED")
		if failures != 0 {
			t.Fatal(failures)
		}
	})
}
