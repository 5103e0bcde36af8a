package argocd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// turnstile lets in whoever has not been put out. What else a door does is never
// asked for.
type turnstile struct {
	Door
	mu  sync.Mutex
	out error
}

func (d *turnstile) put(out error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = out
}

func (d *turnstile) Authenticate(context.Context, *http.Request) (signin.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return signin.Principal{Kind: signin.KindAccount, Subject: "ann"}, d.out
}

type rulebook struct{ policy atomic.Pointer[policy.Policy] }

func withBook(p *policy.Policy) *rulebook {
	r := &rulebook{}
	r.policy.Store(p)
	return r
}

func (r *rulebook) Policy() *policy.Policy { return r.policy.Load() }

func (r *rulebook) Can(_ context.Context, who signin.Principal, request policy.Request) bool {
	return r.policy.Load().Can(policy.Subject{Name: who.Subject}, request).Allowed()
}

func book(t *testing.T, csv string) *policy.Policy {
	t.Helper()
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": csv})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	return policy.Compile(config, nil)
}

// TestAStreamEndsWithTheRight: whoever has signed out, or has lost the right, is
// sent nothing more, and what sends nothing ends too.
func TestAStreamEndsWithTheRight(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*turnstile, *rulebook)
		speaks bool          // a message is sent after that
		lasts  time.Duration // how long the stream does
		sent   int           // messages
		code   connect.Code  // 0: it ends well
	}{
		"nothing changes":                        {change: func(*turnstile, *rulebook) {}, speaks: true, lasts: streamTime, sent: 2},
		"the session has ended":                  {change: func(d *turnstile, _ *rulebook) { d.put(signin.ErrInvalidSession) }, lasts: rechecked, sent: 1, code: connect.CodeUnauthenticated},
		"the right is lost, and a message comes": {change: func(_ *turnstile, r *rulebook) { r.policy.Store(book(t, "")) }, speaks: true, sent: 1, code: connect.CodePermissionDenied},
		"the right is lost, and none comes":      {change: func(_ *turnstile, r *rulebook) { r.policy.Store(book(t, "")) }, lasts: rechecked, sent: 1, code: connect.CodePermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				door, rules := &turnstile{}, withBook(book(t, "p, ann, applications, get, shop/*, allow"))
				open := 0
				s := &server{Options: Options{Door: door, Guard: rules, Begin: func(signin.Principal) (func(), bool) { open++; return func() { open-- }, true }}}
				h := handler{
					may: func(ctx context.Context, c *call) error {
						return s.must(ctx, c, policy.Applications, policy.Get, "shop/shop")
					},
					stream: func(ctx context.Context, _ *call, send func(map[string]any) error) error {
						if err := send(nil); err != nil {
							return err
						}
						c.change(door, rules)
						if c.speaks {
							if err := send(nil); err != nil {
								return err
							}
						}
						<-ctx.Done()
						return nil
					},
				}
				caller := &call{who: signin.Principal{Kind: signin.KindAccount, Subject: "ann"}, signedIn: true, request: httptest.NewRequest(http.MethodPost, "/", nil)}
				began, sent := time.Now(), 0
				err := s.lasting(t.Context(), h, caller, func(map[string]any) error { sent++; return nil })
				if (err == nil) != (c.code == 0) || err != nil && codeOf(err) != c.code {
					t.Errorf("it ends with %v, want code %v", err, c.code)
				}
				if lasted := time.Since(began); lasted != c.lasts || sent != c.sent || open != 0 {
					t.Errorf("it lasted %s and sent %d messages, %d are counted still; want %s, %d, 0", lasted, sent, open, c.lasts, c.sent)
				}
			})
		})
	}
}

// TestStreamsAreCounted: one too many is refused before it does anything.
func TestStreamsAreCounted(t *testing.T) {
	s := &server{Options: Options{Guard: withBook(book(t, "")), Begin: func(signin.Principal) (func(), bool) { return nil, false }}}
	h := handler{stream: func(context.Context, *call, func(map[string]any) error) error { t.Error("it has begun"); return nil }}
	if err := s.lasting(t.Context(), h, &call{}, nil); err == nil || codeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("got %v", err)
	}
}

// TestAStreamEndsWithTheSession: a token that expires in a minute watches for a
// minute.
func TestAStreamEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{Options: Options{Door: &turnstile{}, Guard: withBook(book(t, ""))}}
		h := handler{stream: func(ctx context.Context, _ *call, _ func(map[string]any) error) error { <-ctx.Done(); return nil }}
		began := time.Now()
		c := &call{who: signin.Principal{Kind: signin.KindAccount, Subject: "ann", Expires: began.Add(time.Minute)}, signedIn: true}
		if err := s.lasting(t.Context(), h, c, nil); err != nil || time.Since(began) != time.Minute {
			t.Errorf("it lasted %s, and ended with %v", time.Since(began), err)
		}
	})
}

// TestTheEndIsToldToWhoCouldSee: deletions take milliseconds, and whoever waits
// for one comes late. Who could see the Application is told that it is gone; who
// could not learns nothing.
func TestTheEndIsToldToWhoCouldSee(t *testing.T) {
	now := time.Now()
	s := &server{Options: Options{Namespace: "argocd", Now: func() time.Time { return now }, Guard: withBook(book(t, "p, ann, applications, *, shop/*, allow"))}}
	o := &unstructured.Unstructured{Object: map[string]any{"kind": "Application", "spec": map[string]any{"project": "shop"}}}
	o.SetNamespace("argocd")
	o.SetName("web")
	tells := func(who, name string) (told bool) {
		c := &call{who: signin.Principal{Kind: signin.KindAccount, Subject: who}}
		s.tellGone(t.Context(), c, KindApplication, "argocd", name, func() error { told = true; return nil })
		return told
	}
	if tells("ann", "web") {
		t.Error("told of what was never there")
	}
	s.departed.note(KindApplication, o, now)
	if !tells("ann", "web") || tells("bob", "web") || tells("ann", "other") {
		t.Errorf("ann: %v, bob: %v, ann of another: %v", tells("ann", "web"), tells("bob", "web"), tells("ann", "other"))
	}
	now = now.Add(departedFor + time.Second)
	if tells("ann", "web") {
		t.Error("it is remembered for ever")
	}
}
