package signin

import (
	"encoding/base64"
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

// bare is a world before its first start.
func bare(t *testing.T, config map[string]string) *world {
	t.Helper()
	w := newWorld(t, config)
	w.cluster.mutex.Lock()
	w.cluster.secrets = map[string]Stored{}
	w.cluster.show()
	w.cluster.mutex.Unlock()
	return w
}

// Only tests hash cheaply.
func TestCostOfPasswords(t *testing.T) {
	if got := New(Options{Settings: NewFeed()}).cost; got != bcrypt.DefaultCost {
		t.Errorf("cost %d", got)
	}
}

func TestTheFirstStart(t *testing.T) {
	w := bare(t, nil)
	first, err := w.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	password := reveal(first.AdminPassword)
	w.hide(password, w.cluster.data(SecretName, "server.secretkey"))
	if !regexp.MustCompile(`^[0-9A-Za-z-]{16}$`).MatchString(password) || password != w.cluster.data(InitialSecretName, "password") {
		t.Errorf("the password returned is not the one written down")
	}
	if key, err := base64.StdEncoding.DecodeString(w.cluster.data(SecretName, "server.secretkey")); err != nil || len(key) != 32 {
		t.Errorf("the key has %d bytes, %v", len(key), err)
	}
	if w.cluster.data(SecretName, "admin.passwordMtime") != time.Unix(testIssued, 0).UTC().Format(time.RFC3339) {
		t.Error("admin.passwordMtime")
	}
	token, err := w.Login(t.Context(), Admin, password)
	if err != nil {
		t.Fatalf("admin cannot sign in: %v", err)
	}
	if caller, err := w.call(reveal(token)); err != nil || caller.Name != Admin {
		t.Errorf("%v, %v", caller, err)
	}
	before := w.cluster.version
	again, err := w.Start(t.Context())
	if err != nil || !again.AdminPassword.IsZero() || w.cluster.version != before {
		t.Errorf("the second start changes something: %v", err)
	}
}

func TestWhatIsThereIsKept(t *testing.T) {
	w := newWorld(t, nil)
	first, err := w.Start(t.Context())
	if err != nil || !first.AdminPassword.IsZero() || w.cluster.data(SecretName, "server.secretkey") != testKey || w.cluster.data(SecretName, "admin.password") != passwordHash() {
		t.Errorf("an installation of Argo CD was changed: %v", err)
	}
	disabled := bare(t, map[string]string{"admin.enabled": "false"})
	if first, err := disabled.Start(t.Context()); err != nil || !first.AdminPassword.IsZero() || disabled.cluster.data(InitialSecretName, "password") != "" {
		t.Errorf("a disabled admin was given a password: %v", err)
	}
	readOnly := New(Options{Settings: w.cluster.watch()})
	var fault *model.Fault
	if _, err := readOnly.Start(t.Context()); !errors.As(err, &fault) || fault.Reason != "ReadOnly" {
		t.Errorf("without a writer: %v", err)
	}
}

// A password that was taken away is replaced by a new one, as upstream's manual
// says for a forgotten one.
func TestAForgottenPassword(t *testing.T) {
	w := bare(t, nil)
	first, err := w.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.set(nil, map[string]string{"admin.password": "", "admin.passwordMtime": ""})
	second, err := w.Start(t.Context())
	if err != nil || second.AdminPassword.IsZero() || reveal(second.AdminPassword) == reveal(first.AdminPassword) {
		t.Fatalf("no new password: %v", err)
	}
	if w.cluster.data(InitialSecretName, "password") != reveal(second.AdminPassword) {
		t.Error("the old one is still written down")
	}
}

// Replicas that start together agree on one password; so does one that takes up
// what another left half-way.
func TestReplicasStartTogether(t *testing.T) {
	for round := range 20 {
		w := bare(t, nil)
		var group sync.WaitGroup
		passwords := make(chan string, 4)
		for range 4 {
			door := w.replica()
			group.Go(func() {
				first, err := door.Start(t.Context())
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if !first.AdminPassword.IsZero() {
					passwords <- reveal(first.AdminPassword)
				}
			})
		}
		group.Wait()
		close(passwords)
		if len(passwords) != 1 {
			t.Fatalf("round %d: %d replicas say that they set the password", round, len(passwords))
		}
		password := <-passwords
		if w.cluster.data(InitialSecretName, "password") != password {
			t.Errorf("round %d: another password is written down", round)
		}
		if bcrypt.CompareHashAndPassword([]byte(w.cluster.data(SecretName, "admin.password")), []byte(password)) != nil {
			t.Errorf("round %d: another password opens", round)
		}
	}
	w := bare(t, nil)
	w.cluster.conflict = func(s Stored) bool { return s.Name == SecretName && len(s.Data["admin.password"]) > 0 }
	var fault *model.Fault
	if _, err := w.Start(t.Context()); !errors.As(err, &fault) || !fault.Retry {
		t.Fatalf("the hash cannot be written: %v", err)
	}
	left := w.cluster.data(InitialSecretName, "password")
	w.cluster.conflict = nil
	if first, err := w.Start(t.Context()); err != nil || reveal(first.AdminPassword) != left {
		t.Errorf("what was left half-way is not taken up: %v", err)
	}
}
