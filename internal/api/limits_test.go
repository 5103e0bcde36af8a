package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

func rowsID(kind, namespace, name string) object.ID {
	r := ref(kind, namespace, name)
	return object.ID{Group: r.GetGroup(), Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName()}
}

// handmade signs claims as any library for tokens does, with HMAC.
func handmade(claims, key string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signedInServer answers whoever has the token that it comes with.
func signedInServer(t *testing.T) (s *Server, bearer func(*http.Request)) {
	t.Helper()
	s = matrixServer(t)
	s.world.Store(&World{Declared: nothingDeclared{}})
	s.feed.Put(signin.Data{Config: map[string]string{"accounts.dana": "login"}, Secret: map[string][]byte{
		"server.secretkey":       []byte("a key that is long enough for tests"),
		"accounts.dana.password": []byte("$2a$04$xxxxxxxxxxxxxxxxxxxxxuxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
	}})
	token := handmade(`{"iss":"argocd","sub":"dana:login","iat":900000000,"nbf":900000000,"exp":4100000000,"jti":"1"}`, "a key that is long enough for tests")
	return s, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// TestWhoIsSignedInIsCountedForThemselves: people behind one proxy share its
// address, and one of them does not keep out the others.
func TestWhoIsSignedInIsCountedForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // what is allowed comes back with time
		s, dana := signedInServer(t)
		for range 2 * requestBurst {
			ask(s, http.MethodGet, "/openapi.json", "")
		}
		if w := ask(s, http.MethodGet, "/openapi.json", ""); w.Code != http.StatusTooManyRequests {
			t.Fatalf("a stranger who asks too much is answered with %d", w.Code)
		}
		if w := ask(s, http.MethodGet, "/auth/login", ""); w.Code != http.StatusTooManyRequests {
			t.Errorf("and may begin to sign in: %d", w.Code)
		}
		if w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", dana); w.Code != http.StatusOK {
			t.Errorf("somebody behind the same address is answered with %d %s", w.Code, w.Body)
		}
		for range 2 * requestBurst {
			ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", dana, func(r *http.Request) { r.RemoteAddr = "192.0.2.77:1" })
		}
		w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", dana, func(r *http.Request) { r.RemoteAddr = "192.0.2.78:1" })
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "resource_exhausted") {
			t.Errorf("one who asks too much, wherever they are, is answered with %d %v %s", w.Code, w.Header(), w.Body)
		}
	})
}

// TestExpensiveCallsTakeTurns: each kind of call that costs a lot stands in a line,
// in whatever protocol it comes.
func TestExpensiveCallsTakeTurns(t *testing.T) {
	s := matrixServer(t)
	for call, want := range map[string]*turns{
		"POST /plumb.v1.FleetService/Search": s.reading, "POST /plumb.v1.DeliveryService/GetObject": s.reading, "POST /plumb.v1.DeliveryService/ListDeliveries": nil,
		"POST /plumb.v1.SessionService/SignIn": s.signing, "POST /session.SessionService/Create": s.signing, "POST /api/v1/session": s.signing, "DELETE /api/v1/session": nil,
		"POST /application.ApplicationService/GetManifests": s.comparing, "GET /api/v1/applications/web/manifests": s.comparing,
		"GET /api/v1/applications/web/managed-resources": s.comparing, "GET /api/v1/applications/web/server-side-diff": s.comparing,
		"GET /api/v1/applications/web/resource-tree": s.reading, "GET /api/v1/applications": s.reading, "GET /api/v1/applications/web": nil,
		"POST /api/v1/applications/web/sync": nil, "GET /api/v1/applications/web/logs": nil,
	} {
		method, path, _ := strings.Cut(call, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.lineOf(r); got != want {
			t.Errorf("%s stands in another line", call)
		}
	}
}

// TestALineThatIsTooLong: one who has too many calls in it is told to come back,
// and others are served.
func TestALineThatIsTooLong(t *testing.T) {
	s, dana := signedInServer(t)
	who := streamer(signin.Principal{Kind: signin.KindAccount, Issuer: signin.Issuer, Subject: "dana"})
	s.reading.waits = 0
	for range callerReadings {
		give, err := s.reading.take(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		defer give()
	}
	w := ask(s, http.MethodPost, "/plumb.v1.DeliveryService/GetHistory", "{}", dana)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("answered with %d %s", w.Code, w.Body)
	}
	if w := ask(s, http.MethodPost, "/plumb.v1.DeliveryService/GetHistory", "{}"); w.Code != http.StatusUnauthorized {
		t.Errorf("somebody else is answered with %d %s", w.Code, w.Body)
	}
}

// TestSimpleRequestsChangeNothing: what a page of another site can have a browser
// send without asking is not even read, at no endpoint.
func TestSimpleRequestsChangeNothing(t *testing.T) {
	s, _ := signedInServer(t)
	for _, path := range append(procedures(), "/api/v1/session", "/api/v1/applications", "/application.ApplicationService/Sync", "/openapi.json", "/nowhere") {
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json", "application/jsonx"} {
			w := ask(s, http.MethodPost, path, `{"username":"dana","password":"x"}`, func(r *http.Request) {
				r.Header.Set("Content-Type", kind)
				if kind == "" {
					r.Header.Del("Content-Type")
				}
			})
			if w.Code != http.StatusUnsupportedMediaType {
				t.Errorf("%s as %q is answered with %d", path, kind, w.Code)
			}
		}
	}
	for kind, refused := range map[string]bool{"application/json": false, "application/json; charset=utf-8": false, "application/proto": false, "text/plain": true} {
		w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", `{}`, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
		if got := w.Code == http.StatusUnsupportedMediaType; got != refused {
			t.Errorf("%s is answered with %d", kind, w.Code)
		}
	}
	if w := ask(s, http.MethodDelete, "/nowhere", "", func(r *http.Request) { r.Header.Del("Content-Type") }); w.Code != http.StatusNotFound {
		t.Errorf("a deletion without a body is answered with %d", w.Code)
	}
	foreign := ask(s, http.MethodPost, "/plumb.v1.SessionService/SignIn", `{"username":"dana","password":"x"}`, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") })
	if foreign.Code != http.StatusForbidden {
		t.Errorf("a sign-in by a page of another site is answered with %d", foreign.Code)
	}
}

// TestQueriesAreBounded: every part of a query is held against every row.
func TestQueriesAreBounded(t *testing.T) {
	long := strings.Repeat("a ", maxSearch)
	many := &plumbv1.Values{Values: make([]string, maxWhere+1)}
	for name, q := range map[string]*plumbv1.Query{
		"search": {Search: long}, "words": {Search: strings.Repeat("a ", maxWords+1)}, "selector": {LabelSelector: "a in (" + strings.Repeat("b,", maxSelector) + "c)"}, "where": {Where: map[string]*plumbv1.Values{"health": many}},
	} {
		if _, err := queryOf(q, false); err == nil {
			t.Errorf("%s has no bound", name)
		}
		if _, err := activityFilter(&plumbv1.ListActivityRequest{Query: q}); err == nil {
			t.Errorf("%s has no bound among activity", name)
		}
	}
}
