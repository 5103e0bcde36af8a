package generate

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

// appServer is a GitHub that knows one App with one installation.
type appServer struct {
	*server
	minted int
	key    *rsa.PrivateKey
	status int // of minting; 0: it works
	revoke bool
}

func newAppServer(t *testing.T, now func() time.Time) *appServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &appServer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v3/app/installations", func(w http.ResponseWriter, r *http.Request) {
		s.checkClaim(t, r, now())
		w.Header().Set("Link", `<http://x/?page=2>; rel="next"`)
		if r.URL.Query().Get("page") == "2" {
			w.Header().Del("Link")
			reply(w, []fields{{"id": 42, "account": fields{"login": "Acme"}}})
			return
		}
		reply(w, []fields{{"id": 41, "account": fields{"login": "other"}}})
	})
	mux.HandleFunc("POST /api/v3/app/installations/42/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		s.checkClaim(t, r, now())
		if s.status != 0 {
			refuse(w, s.status, "Not Found")
			return
		}
		s.minted++
		w.WriteHeader(http.StatusCreated)
		reply(w, fields{"token": s.token(), "expires_at": now().Add(time.Hour)})
	})
	mux.HandleFunc("GET /api/v3/repos/acme/shop/pulls", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+s.token() || s.revoke {
			s.revoke = false
			refuse(w, http.StatusUnauthorized, "Bad credentials "+r.Header.Get("Authorization"))
			return
		}
		reply(w, []fields{pull(1)})
	})
	s.server = serve(t, mux.ServeHTTP)
	return s
}

func (s *appServer) token() string { return worldToken + strings.Repeat("+", s.minted) }

func (s *appServer) checkClaim(t *testing.T, r *http.Request, now time.Time) {
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		t.Fatalf("no claim: %q", r.Header.Get("Authorization"))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claim struct {
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
		Issuer  string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &claim); err != nil {
		t.Fatal(err)
	}
	if claim.Issuer != "7" || claim.Issued > now.Unix() || claim.Expires <= now.Unix() || claim.Expires > now.Add(10*time.Minute).Unix() {
		t.Errorf("claim: %+v", claim)
	}
}

func (s *appServer) question(form string) model.Question {
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)}
	if form == "PKCS8" {
		der, err := x509.MarshalPKCS8PrivateKey(s.key)
		if err != nil {
			panic(err)
		}
		block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	q := github1("", "")
	q.PullRequests.Forge.Credential = model.Credential{App: &model.GitHubApp{
		AppID: "7", BaseURL: s.URL, PrivateKey: model.NewSecret(pem.EncodeToMemory(block)),
	}}
	return q
}

func TestGitHubApp(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s := newAppServer(t, clock)
	a := New(Options{})
	a.now = clock
	ask(t, a, s.question(""))
	ask(t, a, s.question(""))
	if s.minted != 1 {
		t.Errorf("minted %d tokens", s.minted)
	}
	now = now.Add(56 * time.Minute) // it ends soon
	ask(t, a, s.question(""))
	if s.minted != 2 {
		t.Errorf("minted %d tokens", s.minted)
	}
	s.revoke = true
	if fault := isFault(t, a.Ask(t.Context(), s.question(""))); !strings.Contains(fault.Message, "401") {
		t.Errorf("fault: %+v", fault)
	}
	ask(t, a, s.question("")) // with a new one
	if s.minted != 3 {
		t.Errorf("minted %d tokens", s.minted)
	}
	q := s.question("PKCS8")
	q.PullRequests.Forge.Credential.App.InstallationID = "42"
	s.forget()
	fresh := New(Options{})
	fresh.now = clock
	ask(t, fresh, q)
	if asked := s.requests(); strings.Contains(strings.Join(asked, "\n"), "/app/installations?") {
		t.Errorf("the installation was known: %q", asked)
	}
}

// That an App or its installation is missing says nothing of the repository.
func TestGitHubAppThatFails(t *testing.T) {
	now := time.Now()
	s := newAppServer(t, func() time.Time { return now })
	for name, change := range map[string]func(*model.Question){
		"installation removed": func(*model.Question) { s.status = http.StatusNotFound },
		"not installed":        func(q *model.Question) { q.PullRequests.Forge.Credential.App.InstallationOwner = "nobody" },
		"no key":               func(q *model.Question) { q.PullRequests.Forge.Credential.App.PrivateKey = secret(worldToken) },
		"way up":               func(q *model.Question) { q.PullRequests.Forge.Credential.App.InstallationID = ".." },
	} {
		t.Run(name, func(t *testing.T) {
			s.status = 0
			q := s.question("")
			q.PullRequests.MissingIsEmpty = true
			change(&q)
			if fault := isFault(t, New(Options{}).Ask(t.Context(), q)); !strings.Contains(fault.Message, "GitHub App") {
				t.Errorf("fault: %+v", fault)
			}
		})
	}
}
