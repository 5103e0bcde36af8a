package signin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// detour answers for Microsoft Graph and leads everything else where it wants.
type detour struct{ graph http.Handler }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "graph.microsoft.com" {
		return http.DefaultTransport.RoundTrip(r)
	}
	answer := httptest.NewRecorder()
	d.graph.ServeHTTP(answer, r)
	return answer.Result(), nil
}

func TestEntra(t *testing.T) {
	p := newIDP(t)
	w := withProvider(t, p, "azure: {useWorkloadIdentity: true, enableUserGroupOverageClaim: true, userGroupOverageClaimCacheExpiration: 2m}", nil)
	asked, status := 0, http.StatusOK
	w.Door.options.Transport = detour{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/v1.0/me/getMemberGroups" || string(body) != `{"securityEnabledOnly":true}` || r.Header.Get("Authorization") != "Bearer canary-access-token" {
			t.Errorf("Graph is asked %s %s %s", r.Method, r.URL, body)
		}
		w.WriteHeader(status)
		writeJSON(w, map[string]any{"value": []string{"group-1", "group-2"}})
	})}
	w.Door.options.FederatedToken = func() ([]byte, error) { return []byte("canary-federated-token\n"), nil }
	w.hide("canary-federated-token")
	p.claims = map[string]any{"groups": nil, "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://evil.example.com"}}}

	b := newBrowser(w)
	b.signIn(p, "")
	form := p.forms[len(p.forms)-1]
	if form.Get("client_assertion") != "canary-federated-token" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Get("grant_type") != "authorization_code" {
		t.Errorf("the code was redeemed with %v", form)
	}
	for range 2 {
		caller, err := b.who()
		if err != nil || !slices.Equal(caller.Groups, []string{"group-1", "group-2"}) || !slices.Equal(caller.KubernetesGroups, []string{"oidc:group-1", "oidc:group-2"}) {
			t.Fatalf("%v, %v\n%s", caller.Groups, err, w.log)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	w.clock.pass(2*time.Minute + time.Second)
	status = http.StatusServiceUnavailable
	if _, err := b.who(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while Graph is down: %v", err)
	}
	status = http.StatusUnauthorized
	if _, err := b.who(); !errors.Is(err, ErrExpired) {
		t.Errorf("when Graph does not take the token: %v", err)
	}
	few := map[string]any{"groups": []string{"in-the-token"}, "_claim_names": nil, "_claim_sources": nil}
	if caller, err := w.call(p.issue(few)); err != nil || !slices.Equal(caller.Groups, []string{"in-the-token"}) {
		t.Errorf("groups that fit into the token: %v, %v", caller.Groups, err)
	}
	lost := withProvider(t, p, "", nil)
	if caller, err := lost.call(p.issue(nil)); err != nil || len(caller.Groups) != 0 || !strings.Contains(lost.log.String(), "enableUserGroupOverageClaim") {
		t.Errorf("without the setting: %v, %v", caller.Groups, err)
	}
	w.Door.options.FederatedToken = federatedTokenFile
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "")
	w.Door.provider.Store(nil)
	query := p.approve(b.leave(""))
	w.hide(query.Get("code"), query.Get("state"))
	if answer := b.get(testURL + "/auth/callback?" + query.Encode()); answer.Code != http.StatusServiceUnavailable || !strings.Contains(w.log.String(), "AZURE_FEDERATED_TOKEN_FILE") {
		t.Errorf("without the file: %d\n%s", answer.Code, w.log)
	}
}

// What "argocd logout" sends: a POST with the token as a cookie, nothing else.
func TestSignOutOfACommandLine(t *testing.T) {
	w := newWorld(t, nil)
	token := w.login("alice")
	request := withCookie(token)
	request.Method = http.MethodPost
	answer := httptest.NewRecorder()
	w.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusSeeOther {
		t.Errorf("answered with %d", answer.Code)
	}
	if _, err := w.call(token); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("the token after that: %v", err)
	}
}
