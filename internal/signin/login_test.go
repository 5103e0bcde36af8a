package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

func TestSignInWithAPassword(t *testing.T) {
	w := newWorld(t, map[string]string{"accounts.off": "login", "accounts.off.enabled": "false", "accounts.blank": "login", "accounts.odd": "login"})
	w.cluster.set(nil, map[string]string{"accounts.off.password": passwordHash(), "accounts.bot.password": passwordHash(), "accounts.odd.password": "plain"})
	if caller, err := w.call(w.login("alice")); err != nil || caller.Name != "alice" {
		t.Fatalf("alice: %v, %v", caller.Name, err)
	}
	var waited []time.Duration
	w.Door.options.Wait = func(_ context.Context, pause time.Duration) { waited = append(waited, pause) }
	for name, c := range map[string]struct{ account, password, log string }{
		"wrong password":     {"alice", "wrong", "wrong password"},
		"blank password":     {"alice", "", "blank"},
		"long password":      {"alice", strings.Repeat("x", 100), "too long"},
		"unknown account":    {"mallory", testPassword, "no such account"},
		"long name":          {strings.Repeat("a", 33), testPassword, "too long"},
		"disabled account":   {"off", testPassword, "disabled"},
		"without capability": {"bot", testPassword, "capability login"},
		"without a password": {"blank", testPassword, "no password"},
		"no hash":            {"odd", testPassword, "no password"},
	} {
		t.Run(name, func(t *testing.T) {
			waited = nil
			before := len(w.log.String())
			_, err := w.Login(t.Context(), c.account, c.password)
			if err != ErrLogin { //nolint:errorlint // exactly this one, whatever was wrong
				t.Errorf("got %v", err)
			}
			if len(waited) != 1 || waited[0] <= 0 || waited[0] > refusalPace {
				t.Errorf("waited %v", waited)
			}
			logged := w.log.String()[before:]
			if !strings.Contains(logged, c.log) {
				t.Errorf("the log says %q", logged)
			}
			if c.account == "mallory" && strings.Contains(logged, c.account) {
				t.Errorf("what is no account may be a password, and is in the log: %q", logged)
			}
		})
	}
}

func TestWrongPasswordsCloseAnAccountForAWhile(t *testing.T) {
	w := newWorld(t, nil)
	try := func(name, password string) error {
		_, err := w.Login(t.Context(), name, password)
		return err
	}
	for range 4 {
		if err := try("alice", "wrong"); !errors.Is(err, ErrLogin) {
			t.Fatal(err)
		}
	}
	w.login("alice") // takes the failures back
	for range 5 {
		_ = try("alice", "wrong")
	}
	if err := try("alice", testPassword); !errors.Is(err, ErrLogin) {
		t.Errorf("after five wrong passwords the right one opens: %v", err)
	}
	if !strings.Contains(w.log.String(), "too many wrong passwords") {
		t.Error("the log does not say so")
	}
	if err := try("admin", testPassword); err != nil {
		t.Errorf("another account is closed as well: %v", err)
	}
	w.clock.pass(301 * time.Second)
	w.login("alice")
	for range 1000 {
		w.attempts.note("nobody", true, map[string]Account{"alice": {}}, w.clock.Now())
	}
	if len(w.attempts.failed) != 0 {
		t.Errorf("%d names are remembered", len(w.attempts.failed))
	}
}

func TestTooManyAtATime(t *testing.T) {
	w := newWorld(t, nil, func(o *Options) { o.Limits = Limits{Waiting: 1} })
	w.attempts.waiting <- struct{}{}
	if _, err := w.Login(t.Context(), "alice", testPassword); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	<-w.attempts.waiting
	w.login("alice")
}

func TestLimitsFromTheEnvironment(t *testing.T) {
	environment := map[string]string{
		"ARGOCD_SESSION_FAILURE_MAX_FAIL_COUNT": "3", "ARGOCD_SESSION_FAILURE_WINDOW_SECONDS": "0",
		"ARGOCD_MAX_CONCURRENT_LOGIN_REQUESTS_COUNT": "many",
	}
	got := LimitsFrom(func(name string) string { return environment[name] })
	if want := (Limits{Failures: 3, Window: 0, Waiting: 50}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAPasswordIsChanged(t *testing.T) {
	w := newWorld(t, map[string]string{"passwordPattern": "^new-.*$"})
	w.cluster.deaf = true // what was written counts before the watch shows it
	session := w.login("alice")
	api, issued, err := w.CreateToken(t.Context(), "alice", "ci", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.hide(reveal(api))
	caller, err := w.call(session)
	if err != nil {
		t.Fatal(err)
	}
	const next = "new-canary-5520"
	w.hide(next)
	for name, c := range map[string]struct {
		caller        Principal
		account       string
		current, next string
		reason        string
	}{
		"wrong current password": {caller, "", "wrong", next, "InvalidArgument"},
		"too simple":             {caller, "", testPassword, "simple", "InvalidArgument"},
		"too long for bcrypt":    {caller, "", testPassword, "new-" + strings.Repeat("x", 100), "InvalidArgument"},
		"unknown account":        {caller, "mallory", testPassword, next, "NotFound"},
		"a project":              {Principal{Kind: KindProject, Name: "proj:a:b"}, "alice", testPassword, next, "InvalidArgument"},
		"an old sign-in":         {Principal{Kind: KindOIDC, Name: "x", Issued: w.clock.Now().Add(-6 * time.Minute)}, "alice", "", next, "SessionTooOld"},
	} {
		var fault *model.Fault
		if err := w.UpdatePassword(t.Context(), c.caller, c.account, c.current, c.next); !errors.As(err, &fault) || fault.Reason != c.reason {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), c.next) || strings.Contains(err.Error(), testPassword) {
			t.Errorf("%s: the password is in the error", name)
		}
	}
	if err := w.UpdatePassword(t.Context(), caller, "", testPassword, next); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"session": session, "API token": reveal(api)} {
		if _, err := w.call(token); !errors.Is(err, ErrInvalidSession) {
			t.Errorf("the %s of the same second is valid still: %v", name, err)
		}
	}
	if _, err := w.Login(t.Context(), "alice", testPassword); !errors.Is(err, ErrLogin) {
		t.Errorf("the old password: %v", err)
	}
	token, err := w.Login(t.Context(), "alice", next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.call(reveal(token)); err != nil {
		t.Errorf("a session of the same second as the change: %v", err)
	}
	if got := w.cluster.data(SecretName, "accounts.alice.passwordMtime"); got != "2027-01-15T08:00:01Z" {
		t.Errorf("passwordMtime %s", got)
	}
	if !strings.HasPrefix(w.cluster.data(SecretName, "accounts.alice.password"), "$2a$04$") {
		t.Error("the password is not kept as bcrypt")
	}
	fresh := Principal{Kind: KindOIDC, Name: "boss", Issued: w.clock.Now()}
	if err := w.UpdatePassword(t.Context(), fresh, "alice", "", "new-canary-5521"); err != nil {
		t.Errorf("a fresh sign-in of a person: %v", err)
	}
	_ = issued
}

func TestTokensOfAccounts(t *testing.T) {
	w := newWorld(t, nil)
	token, issued, err := w.CreateToken(t.Context(), "bot", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := w.call(reveal(token))
	if err != nil || caller.TokenID != issued.ID || caller.Expires.Unix() != issued.ExpiresAt || issued.ExpiresAt != testIssued+3600 {
		t.Errorf("%+v, %v", caller, err)
	}
	if list := w.cluster.data(SecretName, "accounts.bot.tokens"); list != `[{"id":"bot-1","iat":1799999000},{"id":"`+issued.ID+`","iat":1800000000,"exp":1800003600}]` {
		t.Errorf("argocd-secret lists %s", list)
	}
	for name, try := range map[string]func() error{
		"the same id":    func() error { _, _, err := w.CreateToken(t.Context(), "bot", "bot-1", 0); return err },
		"not allowed":    func() error { _, _, err := w.CreateToken(t.Context(), "admin", "", 0); return err },
		"unknown":        func() error { _, _, err := w.CreateToken(t.Context(), "mallory", "", 0); return err },
		"in the past":    func() error { _, _, err := w.CreateToken(t.Context(), "bot", "", -1); return err },
		"delete unknown": func() error { return w.DeleteToken(t.Context(), "bot", "no") },
		"a colon": func() error {
			_, _, err := w.ProjectToken(t.Context(), "a:b", "c", "", 0)
			return err
		},
	} {
		var fault *model.Fault
		if err := try(); !errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	accounts, err := w.Accounts(t.Context())
	if err != nil || len(accounts) != 3 || accounts[2].Name != "bot" || accounts[2].Tokens[0].ID != issued.ID {
		t.Errorf("%+v, %v", accounts, err)
	}
	busy := 3
	w.cluster.conflict = func(Stored) bool { busy--; return busy >= 0 }
	if err := w.DeleteToken(t.Context(), "bot", issued.ID); err != nil {
		t.Fatalf("while others write: %v", err)
	}
	if _, err := w.call(reveal(token)); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a deleted token: %v", err)
	}
	project, record, err := w.ProjectToken(t.Context(), "shop", "deploy", "p-9", time.Minute)
	if err != nil || record != (IssuedToken{ID: "p-9", IssuedAt: testIssued, ExpiresAt: testIssued + 60}) {
		t.Fatalf("%+v, %v", record, err)
	}
	if _, err := w.call(reveal(project)); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a project's token that is not listed yet: %v", err)
	}
}

func TestSignOutIsForAllReplicas(t *testing.T) {
	w := newWorld(t, nil)
	other := w.replica()
	token := w.login("alice")
	request := withCookie(token)
	if err := w.Logout(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	restarted := w.replica()
	for name, door := range map[string]*Door{"this replica": w.Door, "another": other, "after a restart": restarted} {
		if _, err := door.Authenticate(t.Context(), request); !errors.Is(err, ErrInvalidSession) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if kept := w.cluster.data(SignedOutSecretName, signedOutKey); kept == "" || strings.Contains(kept, strings.Split(token, ".")[1]) {
		t.Errorf("the Secret holds %q", kept)
	}
	w.clock.pass(25 * time.Hour)
	if err := w.Logout(t.Context(), withCookie(w.login("admin"))); err != nil {
		t.Fatal(err)
	}
	if kept := w.cluster.data(SignedOutSecretName, signedOutKey); strings.Count(kept, ":") != 1 {
		t.Errorf("what has expired is kept: %s", kept)
	}
	var fault *model.Fault
	if err := w.Logout(t.Context(), withCookie(handmade(hs256, argoClaims("bot:apiKey", map[string]any{"jti": "bot-1"}), testKey))); !errors.As(err, &fault) {
		t.Errorf("an API token is signed out: %v", err)
	}
}

// TestNoSignOutPushesOutAnother: whoever signs out again and again ends sessions
// of their own that they did not mean, and nothing that was signed out lives again.
func TestNoSignOutPushesOutAnother(t *testing.T) {
	w := newWorld(t, nil)
	stolen := w.login("alice")
	if err := w.Logout(t.Context(), withCookie(stolen)); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Second)
	first := w.login("admin")
	began := w.clock.Now()
	session := func(i int) named {
		return tokenOf("admin:login", fmt.Sprint(i), began.Add(time.Duration(i)*time.Millisecond))
	}
	many := newSignedOut()
	for i := range maxRevoked + 500 {
		many.add(session(i), w.clock.Now().Add(24*time.Hour))
	}
	w.revoke(t.Context(), many)
	w.clock.pass(20 * time.Second)
	last := w.login("admin")
	for name, door := range map[string]*Door{"this replica": w.Door, "after a restart": w.replica()} {
		if _, err := door.Authenticate(t.Context(), withCookie(stolen)); !errors.Is(err, ErrInvalidSession) {
			t.Errorf("%s: what somebody else signed out: %v", name, err)
		}
		for i := range maxRevoked + 500 {
			if !door.revoked.has(session(i), w.clock.Now()) {
				t.Fatalf("%s: their own %d lives again", name, i)
			}
		}
		if _, err := door.Authenticate(t.Context(), withCookie(first)); !errors.Is(err, ErrInvalidSession) {
			t.Errorf("%s: their oldest session has not ended: %v", name, err)
		}
		if _, err := door.Authenticate(t.Context(), withCookie(last)); err != nil {
			t.Errorf("%s: their newest session has ended: %v", name, err)
		}
	}
	if size := len(w.cluster.data(SignedOutSecretName, signedOutKey)); size > 100_000 {
		t.Errorf("one caller takes %d bytes", size)
	}
	w.clock.pass(25 * time.Hour)
	w.revoke(t.Context(), newSignedOut())
	if kept := w.cluster.data(SignedOutSecretName, signedOutKey) + w.cluster.data(SignedOutSecretName, endedKey); kept != "{}{}" {
		t.Errorf("what has expired is kept: %s", kept)
	}
}

func TestSignOutsAreBounded(t *testing.T) {
	known, now := newSignedOut(), time.Unix(testIssued, 0)
	for i := range maxRevoked + 500 {
		known.add(tokenOf(fmt.Sprint("caller", i), "1", now), now.Add(time.Duration(1+i/3)*time.Second))
	}
	last := tokenOf("last", "1", now)
	known.add(last, now.Add(time.Hour*1000))
	known.bound(now)
	if len(known.Sessions) != maxRevoked || !known.has(last, now) {
		t.Errorf("%d are kept", len(known.Sessions))
	}
	text, err := json.Marshal(known.Sessions)
	if err != nil || len(text) > 700_000 {
		t.Errorf("a Secret of %d bytes, %v", len(text), err)
	}
}
