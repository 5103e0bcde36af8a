package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/model"
)

var (
	cmKind  = Kind{GVK: gvk("v1", "ConfigMap"), GVR: gvk("v1", "ConfigMap").GroupVersion().WithResource("configmaps"), Namespaced: true, Watchable: true}
	cmPath  = "/api/v1/namespaces/apps/configmaps/a"
	cmText  = configMap("a", "1", "5")
	cmApply = []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"apps","labels":{"name":"x"},"name":"a"}}`)
)

// call runs f beside the test and returns where its error comes out.
func call(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func TestIdempotentCallsAreRepeated(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		done := call(func() error {
			o, err := c.As(noIdentity).Apply(t.Context(), cmKind, cmApply, ApplyOptions{Manager: "m", Force: true})
			if err == nil && o.GetUID() != "1" {
				t.Errorf("%v", o)
			}
			return err
		})
		f.expect(t, cmPath).fail(syscall.ECONNREFUSED)
		f.expect(t, cmPath).fail(io.ErrUnexpectedEOF)
		f.expect(t, cmPath).answer(503, "no endpoints")
		x := f.expect(t, cmPath)
		body, _ := io.ReadAll(x.Body)
		if string(body) != string(cmApply) || x.Header.Get("Content-Type") != "application/apply-patch+yaml" || x.URL.RawQuery != "fieldManager=m&force=true" {
			t.Errorf("%s %s %s", x.URL, x.Header, body)
		}
		x.answer(200, cmText)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		done := call(func() error {
			_, err := c.As(noIdentity).Get(t.Context(), cmKind, "apps", "a")
			return err
		})
		for range maxAttempt {
			f.expect(t, cmPath).answer(503, statusText(503, "ServiceUnavailable", "not ready"))
		}
		if err := <-done; !apierrors.IsServiceUnavailable(err) {
			t.Fatal(err)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		get := func() <-chan error {
			return call(func() error {
				_, err := c.As(noIdentity).Get(t.Context(), cmKind, "apps", "a")
				return err
			})
		}
		done := get()
		f.expect(t, cmPath).answer(429, statusText(429, "TooManyRequests", "slow down"), "Retry-After", "7")
		began := time.Now()
		f.expect(t, cmPath).answer(200, cmText)
		if since := time.Since(began); since < 7*time.Second || since > 9*time.Second {
			t.Errorf("after %s", since)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// More than a call may wait is for the caller to decide.
		done = get()
		f.expect(t, cmPath).answer(429, statusText(429, "TooManyRequests", "slow down"), "Retry-After", "600")
		err := <-done
		if secs, ok := apierrors.SuggestsClientDelay(err); !ok || secs != 600 {
			t.Fatal(err)
		}
	})
}

func TestCreateIsNotRepeatedAfterAnUnclearEnd(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		o := fromJSON(t, cmText)
		create := func() <-chan error {
			return call(func() error {
				_, err := c.As(noIdentity).Create(t.Context(), cmKind, o, WriteOptions{})
				return err
			})
		}
		const path = "/api/v1/namespaces/apps/configmaps"
		done := create()
		f.expect(t, path).fail(syscall.ECONNREFUSED) // nobody acted
		f.expect(t, path).answer(429, statusText(429, "TooManyRequests", "slow down"))
		f.expect(t, path).fail(io.ErrUnexpectedEOF) // somebody may have
		if err := <-done; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		done = create()
		f.expect(t, path).answer(503, statusText(503, "ServiceUnavailable", "x"))
		if err := <-done; !apierrors.IsServiceUnavailable(err) {
			t.Fatal(err)
		}
	})
}

func TestCallsEndWithTheirContextAndTheirTime(t *testing.T) {
	bubble(t, Options{Timeout: 30 * time.Second}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		began := time.Now()
		done := call(func() error {
			_, err := c.As(noIdentity).Get(t.Context(), cmKind, "apps", "a")
			return err
		})
		f.expect(t, cmPath) // never answered
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 30*time.Second {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done = call(func() error {
			_, err := c.As(noIdentity).Get(ctx, cmKind, "apps", "a")
			return err
		})
		f.expect(t, cmPath).answer(503, "")
		synctest.Wait() // within the pause
		cancel()
		if err := <-done; !apierrors.IsServiceUnavailable(err) {
			t.Fatal(err)
		}
	})
}

func TestIdentitiesAreHeaders(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		for who, want := range map[model.Identity]string{
			{}: "",
			{Namespace: "apps", ServiceAccount: "deployer"}: "system:serviceaccount:apps:deployer",
		} {
			done := call(func() error {
				_, err := c.As(who).Get(t.Context(), cmKind, "apps", "a")
				return err
			})
			x := f.expect(t, cmPath)
			if got := x.Header.Get("Impersonate-User"); got != want {
				t.Errorf("%v acts as %q", who, got)
			}
			x.answer(200, cmText)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestKubeconfigThatImpersonates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFake(t, Options{})
		s, err := NewSet(&rest.Config{Host: "http://api.test/prefix/", Transport: f, Impersonate: rest.ImpersonationConfig{UserName: "robot", Groups: []string{"g1", "g2"}, Extra: map[string][]string{"a/b": {"c"}}}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for who, want := range map[model.Identity]string{{}: "robot g1,g2 c", {Namespace: "n", ServiceAccount: "s"}: "system:serviceaccount:n:s  "} {
			done := call(func() error {
				_, err := s.Local().As(who).Get(t.Context(), cmKind, "apps", "a")
				return err
			})
			x := f.expect(t, "/prefix"+cmPath)
			got := x.Header.Get("Impersonate-User") + " " + strings.Join(x.Header.Values("Impersonate-Group"), ",") + " " + x.Header.Get("Impersonate-Extra-a%2Fb")
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
			x.answer(200, cmText)
			<-done
		}
	})
}

func TestNamesCannotLeaveTheirPath(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		s := c.As(noIdentity)
		for _, name := range []string{"", "..", ".", "a/b", "../secrets/x", "a%2fb", strings.Repeat("a", 2000)} {
			if _, err := s.Get(t.Context(), cmKind, "apps", name); err == nil {
				t.Errorf("name %.20q was sent", name)
			}
			if name == "" {
				continue
			}
			if _, err := s.Get(t.Context(), cmKind, name, "a"); err == nil {
				t.Errorf("namespace %.20q was sent", name)
			}
		}
		if _, err := s.Get(t.Context(), cmKind, "", "a"); err == nil {
			t.Error("a namespaced object without a namespace was asked for")
		}
		f.idle(t, time.Second)
	})
}

func TestAnswersAreBounded(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		done := call(func() error {
			_, err := c.As(noIdentity).Get(t.Context(), cmKind, "apps", "a")
			return err
		})
		x := f.expect(t, cmPath)
		x.reply <- reply{resp: &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(endless{})}}
		if err := <-done; !errors.Is(err, errTooLarge) {
			t.Fatal(err)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestInterceptorsSeeWritesAndReads(t *testing.T) {
	var seen []string
	note := func(when string, c Call) {
		seen = append(seen, when+" "+c.Verb+" "+c.Kind.GVK.Kind+" "+c.Namespace+"/"+c.Name+" "+c.Subresource+" "+c.Manager)
	}
	lost := errors.New("lost")
	opts := Options{Intercept: Intercept{
		BeforeWrite: func(_ context.Context, c Call) error {
			note("before", c)
			if c.Name == "refused" {
				return lost
			}
			return nil
		},
		AfterWrite: func(_ context.Context, c Call, err error) error {
			note("after", c)
			if err == nil && c.Verb == "delete" {
				return lost
			}
			return err
		},
		BeforeRead: func(_ context.Context, c Call) error { note("read", c); return nil },
	}}
	bubble(t, opts, func(t *testing.T, f *fakeAPI, c *Cluster) {
		s := c.As(noIdentity)
		done := call(func() error {
			if _, err := s.Apply(t.Context(), cmKind, cmApply, ApplyOptions{Manager: "m"}); err != nil {
				return err
			}
			if _, err := s.Get(t.Context(), cmKind, "apps", "a"); err != nil {
				return err
			}
			if _, err := s.Patch(t.Context(), cmKind, "apps", "refused", PatchOptions{Subresource: "status"}, []byte(`{}`)); !errors.Is(err, lost) {
				t.Errorf("patch: %v", err)
			}
			return s.Delete(t.Context(), cmKind, "apps", "a", DeleteOptions{UID: "1"})
		})
		f.expect(t, cmPath).answer(200, cmText)
		f.expect(t, cmPath).answer(200, cmText)
		x := f.expect(t, cmPath)
		body, _ := io.ReadAll(x.Body)
		if x.Method != "DELETE" || !strings.Contains(string(body), `"preconditions":{"uid":"1"}`) {
			t.Errorf("%s %s", x.Method, body)
		}
		x.answer(200, `{}`)
		if err := <-done; !errors.Is(err, lost) {
			t.Errorf("the answer was not lost: %v", err)
		}
		want := "before apply ConfigMap apps/a  m|after apply ConfigMap apps/a  m|read get ConfigMap apps/a  |before patch ConfigMap apps/refused status |before delete ConfigMap apps/a  |after delete ConfigMap apps/a  "
		if got := strings.Join(seen, "|"); got != want {
			t.Errorf("saw %s", got)
		}
	})
}

type meter struct{ lines []string }

func (m *meter) Request(method, host string, code int, _ time.Duration) {
	m.lines = append(m.lines, method+" "+host+" "+http.StatusText(code))
}

func TestMeterCountsAttempts(t *testing.T) {
	m := &meter{}
	bubble(t, Options{Meter: m}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		done := call(func() error {
			_, err := c.As(noIdentity).Get(t.Context(), cmKind, "apps", "a")
			return err
		})
		f.expect(t, cmPath).fail(syscall.ECONNREFUSED)
		f.expect(t, cmPath).answer(404, statusText(404, "NotFound", "x"))
		if err := <-done; !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if got := strings.Join(m.lines, "|"); got != "GET api.test |GET api.test Not Found" {
			t.Fatal(got)
		}
	})
}

func TestListStopsAtTheCalleesError(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fakeAPI, c *Cluster) {
		enough := errors.New("enough")
		done := call(func() error {
			_, err := c.As(noIdentity).List(t.Context(), cmKind, ListOptions{LabelSelector: "a=b", FieldSelector: "metadata.name=x", MetadataOnly: true, PageSize: 7}, func(o *unstructured.Unstructured) error {
				if o.GetKind() != "ConfigMap" || o.GetAPIVersion() != "v1" || len(o.GetManagedFields()) != 0 {
					t.Errorf("%v", o)
				}
				return enough
			})
			return err
		})
		x := f.expect(t, configMaps)
		if x.URL.RawQuery != "fieldSelector=metadata.name%3Dx&labelSelector=a%3Db&limit=7" || !strings.Contains(x.Header.Get("Accept"), "PartialObjectMetadataList") {
			t.Errorf("%s %s", x.URL, x.Header)
		}
		x.answer(200, `{"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","managedFields":[{"manager":"m"}]}},{"metadata":{"name":"b"}}]}`)
		if err := <-done; !errors.Is(err, enough) {
			t.Fatal(err)
		}
	})
}
