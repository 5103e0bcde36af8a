package signin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/model"
)

// TestACallThatGoesOnRenewsNothing: a refresh token can often be used once, and
// there is nobody to hand the next one to.
func TestACallThatGoesOnRenewsNothing(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "refreshTokenThreshold: 9m", map[string]string{"users.session.duration": "1h"})
	b := newBrowser(w)
	b.signIn(p, "")
	stream := b.request(http.MethodPost, testURL+"/")
	ann := Principal{Kind: KindOIDC}
	if err := w.Holds(t.Context(), stream, ann); err != nil {
		t.Errorf("a session holds: %v", err)
	}
	w.clock.pass(2 * time.Minute) // it would be renewed by now
	if err := w.Holds(t.Context(), stream, ann); err != nil || p.renewals != 0 {
		t.Errorf("%v, %d renewals", err, p.renewals)
	}
	w.clock.pass(20 * time.Minute)
	if err := w.Holds(t.Context(), stream, ann); !errors.Is(err, ErrExpired) || p.renewals != 0 {
		t.Errorf("after its end: %v, %d renewals", err, p.renewals)
	}
	if _, err := b.who(); err != nil || p.renewals != 1 {
		t.Errorf("the next request renews it: %v, %d renewals", err, p.renewals)
	}
	fresh := b.request(http.MethodPost, testURL+"/")
	b.get(testURL + "/auth/logout")
	if err := w.Holds(t.Context(), fresh, ann); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("after it was signed out: %v", err)
	}
	if err := w.Holds(t.Context(), httptest.NewRequest(http.MethodPost, testURL+"/", nil), ann); !errors.Is(err, ErrNoSession) {
		t.Errorf("nobody: %v", err)
	}
}

// TestACallThatGoesOnEndsWithItsSession: also if the session had got another token
// before it was signed out.
func TestACallThatGoesOnEndsWithItsSession(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "refreshTokenThreshold: 9m", map[string]string{"users.session.duration": "1h"})
	b := newBrowser(w)
	b.signIn(p, "")
	stream := b.request(http.MethodPost, testURL+"/")
	w.clock.pass(2 * time.Minute)
	if _, err := b.who(); err != nil || p.renewals != 1 {
		t.Fatalf("%v, %d renewals", err, p.renewals)
	}
	b.get(testURL + "/auth/logout")
	if err := w.Holds(t.Context(), stream, Principal{Kind: KindOIDC}); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("after the session was signed out: %v", err)
	}
}

// TestAnonymousCallsGoOn: who has been let in as nobody, with a cookie that is not
// valid any more, stays that as long as nobody needs a name.
func TestAnonymousCallsGoOn(t *testing.T) {
	w := newWorld(t, map[string]string{"users.anonymous.enabled": "true"})
	stream := withCookie(w.login("alice"))
	if err := w.Logout(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	caller, err := w.Authenticate(t.Context(), stream)
	if err != nil || caller.Kind != KindAnonymous {
		t.Fatalf("%v, %v", caller, err)
	}
	if err := w.Holds(t.Context(), stream, caller); err != nil {
		t.Errorf("nobody: %v", err)
	}
	if err := w.Holds(t.Context(), stream, Principal{Kind: KindAccount}); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("somebody who has signed out goes on as nobody: %v", err)
	}
	w.cluster.set(map[string]string{"users.anonymous.enabled": "false"}, nil)
	if err := w.Holds(t.Context(), stream, caller); !errors.Is(err, ErrNoSession) {
		t.Errorf("where everybody needs a name: %v", err)
	}
}

// TestWhoASessionIsOfIsToldOnce: who comes from the identity provider, and who is
// not let in, is told to whoever keeps account.
func TestWhoASessionIsOfIsToldOnce(t *testing.T) {
	p := newIDP(t)
	var told []string
	w := withProvider(t, p, "", nil)
	w.Door.options.SignedIn = func(_ *http.Request, name string, err error) {
		text := name
		if err != nil {
			text = "refused: " + err.Error()
		}
		told = append(told, text)
	}
	newBrowser(w).signIn(p, "")
	b := newBrowser(w)
	asked := b.leave("")
	b.get(testURL + "/auth/callback?error=access_denied&state=" + asked.Query().Get("state"))
	b = newBrowser(w)
	asked = b.leave("")
	b.get(testURL + "/auth/callback?code=invented&state=" + asked.Query().Get("state"))
	newBrowser(w).get(testURL + "/auth/callback?code=x&state=y") // of no attempt: anybody's page can do that
	want := []string{"ann@example.com", "refused: " + ErrInvalidSession.Error(), "refused: " + ErrExpired.Error()}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestWhomARefusedCredentialSaysItIsOf is for accounts of refusals: readable,
// short, and of refused ones only.
func TestWhomARefusedCredentialSaysItIsOf(t *testing.T) {
	w := newWorld(t, nil)
	valid := w.login("alice")
	var claimant string
	door := w.Identify(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { claimant = Claimant(r.Context()) }))
	for token, want := range map[string]string{
		valid: "",
		handmade(hs256, argoClaims("mallory:login", nil), "another key"):                   "mallory:login",
		handmade(hs256, map[string]any{"sub": "x", "email": "eve\n\x1b@example.com"}, "k"): "eve@example.com",
		handmade(hs256, argoClaims(strings.Repeat("long", 100), nil), "another key"):       strings.Repeat("long", 25) + "…",
		"a password in the wrong place":                                                    "",
		"":                                                                                 "",
	} {
		r := httptest.NewRequest(http.MethodGet, testURL+"/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		door.ServeHTTP(httptest.NewRecorder(), r)
		if claimant != want {
			t.Errorf("it says %q, want %q", claimant, want)
		}
	}
}

// silent is an API server that does not answer.
type silent struct{}

func (silent) Review(ctx context.Context, _ model.Secret, _ []string) (Review, error) {
	<-ctx.Done()
	return Review{}, ctx.Err()
}

// TestReviewsAreNotAwaitedForEver: anybody can send what looks like a token of a
// service account, and nobody waits longer for it than for a while.
func TestReviewsAreNotAwaitedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, func(o *Options) { o.Reviewer = silent{} })
		start := time.Now()
		answers := make(chan error)
		const callers = 3 * maxAsking
		for i := range callers {
			token := handmade(`{"alg":"RS256"}`, map[string]any{"sub": "system:serviceaccount:a:b", "exp": testIssued + 600, "n": i}, "k")
			go func() { _, err := w.AuthenticateToken(t.Context(), model.NewSecret([]byte(token))); answers <- err }()
		}
		for range callers {
			if err := <-answers; !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(start); took > reviewTimeout {
			t.Errorf("somebody waited for %s", took)
		}
	})
}
