package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/object"
)

func ask(s *Server, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestEveryAnswerIsHardened(t *testing.T) {
	s := matrixServer(t)
	for _, path := range []string{"/openapi.json", "/plumb.v1.SessionService/GetMe", "/nowhere"} {
		h := ask(s, http.MethodPost, path, "{}").Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	for _, unsafe := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(contentPolicy, unsafe) {
			t.Errorf("the content policy has %s", unsafe)
		}
	}
}

// TestNothingIsAnsweredWithoutASession: every call that is not open to anyone
// refuses who has none, before it looks at what is asked.
func TestNothingIsAnsweredWithoutASession(t *testing.T) {
	s := matrixServer(t)
	for _, procedure := range procedures() {
		if rules[procedure] == nil {
			continue
		}
		w := ask(s, http.MethodPost, procedure, "{}")
		if w.Code == http.StatusOK || strings.Contains(w.Body.String(), "deliver") {
			t.Errorf("%s: %d %s", procedure, w.Code, w.Body)
		}
	}
}

// TestAReplicaThatDoesNotLeadAnswers: nobody is kept waiting for settings that
// it has not been told.
func TestAReplicaThatDoesNotLeadAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Namespace: "plumb-system"})
		start := time.Now()
		w := ask(s, http.MethodPost, "/plumb.v1.DeliveryService/ListDeliveries", "{}", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x.y.z") })
		if w.Code != http.StatusServiceUnavailable || time.Since(start) > time.Minute {
			t.Errorf("%d after %s: %s", w.Code, time.Since(start), w.Body)
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // what is allowed comes back with time
		s := matrixServer(t)
		large := `{"username":"` + strings.Repeat("x", 2*requestBytes) + `"}`
		if w := ask(s, http.MethodPost, "/plumb.v1.SessionService/SignIn", large); w.Code == http.StatusOK || !strings.Contains(w.Body.String(), "resource_exhausted") {
			t.Errorf("a request of 2 MiB: %d %s", w.Code, w.Body)
		}
		from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
		for range requestBurst {
			ask(s, http.MethodGet, "/openapi.json", "", from("192.0.2.1:1000"))
		}
		refusedAt := -1
		for i := range requestBurst {
			if w := ask(s, http.MethodGet, "/openapi.json", "", from("192.0.2.1:2000")); w.Code == http.StatusTooManyRequests {
				if w.Header().Get("Retry-After") == "" {
					t.Error("it does not say when to come back")
				}
				refusedAt = i
				break
			}
		}
		if refusedAt < 0 {
			t.Error("an address may ask as much as it likes")
		}
		if w := ask(s, http.MethodGet, "/openapi.json", "", from("192.0.2.2:1000")); w.Code != http.StatusOK {
			t.Errorf("another address: %d", w.Code)
		}
	})
}

// TestAddressesAreBounded: a network of one customer is one address, and the
// table of addresses does not grow without end.
func TestAddressesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(requestRate, requestBurst)
		ask := func(address string) bool { return l.allow(network(address)) }
		for i := range 10 * requestBurst {
			ask(fmt.Sprintf("2001:db8:1:2::%x", i))
		}
		if ask("2001:db8:1:2:ffff::1") {
			t.Error("another address of the same network may go on")
		}
		if !ask("2001:db8:1:3::1") {
			t.Error("another network may not begin")
		}
		some := func(from, n int) {
			for i := range n {
				ask(fmt.Sprintf("10.%d.%d.%d", (from+i)>>16, (from+i)>>8&255, (from+i)&255))
			}
		}
		some(0, maxLimited-len(l.known))
		for range 2 * requestBurst {
			ask("192.0.2.9")
		}
		if len(l.known) > maxLimited || ask("192.0.2.9") {
			t.Errorf("%d addresses are kept, and who asked too much may go on", len(l.known))
		}
		time.Sleep(time.Minute) // those who asked once are forgotten, not those who go on
		for range 2 * requestBurst {
			ask("192.0.2.9")
		}
		some(maxLimited, maxLimited/2)
		if len(l.known) > maxLimited || ask("192.0.2.9") {
			t.Errorf("%d addresses are kept, and who asks too much begins anew", len(l.known))
		}
	})
}

func TestOpenAPI(t *testing.T) {
	w := ask(matrixServer(t), http.MethodGet, "/openapi.json", "")
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Description, Summary string
			RequestBody          json.RawMessage
			Responses            map[string]json.RawMessage
		}
		Components struct {
			Schemas map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	if document.OpenAPI != "3.1.0" {
		t.Errorf("version %q", document.OpenAPI)
	}
	for _, procedure := range procedures() {
		call, ok := document.Paths[procedure]["post"]
		switch {
		case !ok:
			t.Errorf("%s is not described: go generate ./internal/api", procedure)
		case len(call.RequestBody) == 0 || len(call.Responses["200"]) == 0 || len(call.Responses["default"]) == 0:
			t.Errorf("%s: what it takes, answers or refuses with is missing", procedure)
		}
	}
	if len(document.Paths) != len(procedures()) {
		t.Errorf("%d paths for %d calls", len(document.Paths), len(procedures()))
	}
	for _, reference := range references(w.Body.Bytes()) {
		if len(document.Components.Schemas[reference]) == 0 {
			t.Errorf("the schema %s is missing", reference)
		}
	}
}

// references are the schemas that a document refers to.
func references(document []byte) []string {
	var found []string
	for {
		_, rest, ok := bytes.Cut(document, []byte(`"#/components/schemas/`))
		if !ok {
			return found
		}
		name, after, _ := bytes.Cut(rest, []byte(`"`))
		found, document = append(found, string(name)), after
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(name string, at time.Time) []byte {
		t.Helper()
		certificate, privateKey := pemPair(t, name)
		for file, text := range map[string][]byte{cert: certificate, key: privateKey} {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
		return certificate
	}
	if _, err := Certificate(cert, key, nil); err == nil {
		t.Error("a file that is not there is no error")
	}
	start := time.Now().Add(-time.Hour)
	write("one", start)
	config, err := Certificate(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		t.Helper()
		pair, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.DNSNames[0]
	}
	if got := served(); got != "one" {
		t.Errorf("serves %s", got)
	}
	write("two", start.Add(time.Minute))
	if got := served(); got != "two" {
		t.Errorf("after the change serves %s", got)
	}
	if err := os.WriteFile(cert, []byte("half of a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "two" {
		t.Errorf("while the files are written serves %s", got)
	}
	write("three", start.Add(2*time.Minute))
	if got := served(); got != "three" {
		t.Errorf("at last serves %s", got)
	}
}

func TestSelfSigned(t *testing.T) {
	config, err := Certificate("", "", []string{"localhost", "127.0.0.1", ""})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := leafOf(config.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if leaf.IsCA || leaf.NotAfter.Before(time.Now().Add(selfSignedLife/2)) {
		t.Errorf("CA %v until %s", leaf.IsCA, leaf.NotAfter)
	}
}

func TestShownSetting(t *testing.T) {
	for _, c := range []struct{ name, value, hidden, shown string }{
		{"webhook.github.secret", "hunter2", "hunter2", object.Mask},
		{"webhook.github.secret", "$story:key", "", "$story:key"},
		{"webhook.github.secret", "$ecret of mine", "ecret", object.Mask},
		{"webhook.github.secret", "4711", "4711", object.Mask},
		{"door.password", "12345678", "12345678", object.Mask},
		{"token.expiration", "24h", "", "24h"},
		{"oidc.config", "name: Corp\npassword: 4711\n", "4711", "Corp"},
		{"oidc.config", "name: Corp\nclientSecret: hunter2\n", "hunter2", "Corp"},
		{"oidc.config", `{name: Corp, clientSecret: hunter2}`, "hunter2", "Corp"},
		{"oidc.config", `{"name":"Corp","clientSecret":"hunter2"}`, "hunter2", "Corp"},
		{"oidc.config", "name: Corp\nclientSecret: |\n  hunter2\n", "hunter2", "Corp"},
		{"oidc.config", "name: Corp\nclientSecret: $oidc.secret\n", "", "$oidc.secret"},
		{"oidc.config", "name: Corp\nclientSecret: $ecret/of+mine\n", "ecret/of", "Corp"},
		{"dex.config", "connectors:\n- config:\n    bindPW: hunter2\n    host: ldap\n", "hunter2", "ldap"},
		{"dex.config", "staticClients:\n- id: a\n  tokens: [hunter2]\n", "hunter2", "id: a"},
		{"dex.config", "broken: [\nclientSecret: hunter2\n", "hunter2", "broken"},
		{"url", "https://ann:hunter2@cd.example.org", "hunter2", "cd.example.org"},
		{"admin.enabled", "true", "", "true"},
		{"timeout.reconciliation", "180s", "", "180s"},
		{"accounts.ann", "login, apiKey", "", "login, apiKey"},
	} {
		got := shownSetting(c.name, c.value)
		if c.hidden != "" && strings.Contains(got, c.hidden) || !strings.Contains(got, c.shown) {
			t.Errorf("%s: %q is shown as %q", c.name, c.value, got)
		}
	}
}

func TestWebLinks(t *testing.T) {
	got := webLinks([]string{"https://a.example.org", "javascript:alert(1)", "http://b", "data:text/html,x", "//c", " JavaScript:alert(1)"})
	if fmt.Sprint(got) != "[https://a.example.org http://b]" {
		t.Error(got)
	}
}
