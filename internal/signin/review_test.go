package signin

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

type reviewer struct {
	asked [][]string
	say   Review
	err   error
}

func (r *reviewer) Review(_ context.Context, _ model.Secret, audiences []string) (Review, error) {
	r.asked = append(r.asked, audiences)
	return r.say, r.err
}

func TestServiceAccounts(t *testing.T) {
	const account = "system:serviceaccount:ci:deployer"
	claims := map[string]any{"iss": "https://kubernetes.default.svc", "sub": account, "aud": []string{"plumb", "x"}, "exp": testIssued + 600, "iat": testIssued}
	known := Review{Authenticated: true, User: account, Groups: []string{"system:serviceaccounts"}, Audiences: []string{"plumb"}}
	token := func(change map[string]any) string {
		all := maps.Clone(claims)
		maps.Copy(all, change)
		return handmade(`{"alg":"RS256"}`, all, "the key of the API server")
	}

	ask := &reviewer{say: known}
	w := newWorld(t, nil, func(o *Options) { o.Reviewer = ask })
	caller, err := w.call(token(nil))
	want := Principal{
		Kind: KindKubernetes, Name: account, Subject: account, Groups: known.Groups, KubernetesUser: account, KubernetesGroups: known.Groups,
		Issuer: "kubernetes", TokenID: caller.TokenID, Issued: time.Unix(testIssued, 0), Expires: time.Unix(testIssued+600, 0),
	}
	if err != nil || !reflect.DeepEqual(caller, want) || caller.TokenID == "" {
		t.Fatalf("%+v, %v", caller, err)
	}
	if _, err := w.call(token(nil)); err != nil || !reflect.DeepEqual(ask.asked, [][]string{{"plumb"}}) {
		t.Errorf("asked %v, %v", ask.asked, err)
	}
	w.clock.pass(31 * time.Second)
	ask.say = Review{}
	if _, err := w.call(token(nil)); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("a token that was revoked half a minute ago: %v", err)
	}

	for name, c := range map[string]struct {
		change map[string]any
		say    Review
		err    error
		want   error
		asked  [][]string
	}{
		"the API server's audience": {map[string]any{"aud": "https://kubernetes.default.svc"}, known, nil, nil, [][]string{nil}},
		"a token without audiences": {map[string]any{"aud": nil}, known, nil, nil, [][]string{nil}},
		"not for us":                {nil, Review{Authenticated: true, User: account}, nil, ErrInvalidSession, [][]string{{"plumb"}}},
		"another name":              {nil, Review{Authenticated: true, User: "system:admin", Audiences: []string{"plumb"}}, nil, ErrInvalidSession, [][]string{{"plumb"}}},
		"refused":                   {nil, Review{}, nil, ErrInvalidSession, [][]string{{"plumb"}}},
		"no answer":                 {nil, Review{}, errors.New("connection refused"), ErrUnavailable, [][]string{{"plumb"}}},
		"expired":                   {map[string]any{"exp": testIssued - 1}, known, nil, ErrInvalidSession, nil},
		"no service account":        {map[string]any{"sub": "somebody"}, known, nil, ErrInvalidSession, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ask := &reviewer{say: c.say, err: c.err}
			w := newWorld(t, nil, func(o *Options) { o.Reviewer = ask })
			if _, err := w.call(token(c.change)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if !reflect.DeepEqual(ask.asked, c.asked) {
				t.Errorf("asked for %v, want %v", ask.asked, c.asked)
			}
		})
	}
	alone := newWorld(t, nil)
	if _, err := alone.call(token(nil)); !errors.Is(err, ErrInvalidSession) {
		t.Errorf("without a reviewer: %v", err)
	}
}

func withCookie(token string) *http.Request {
	request := httptest.NewRequest(http.MethodGet, testURL+"/auth/logout", nil)
	request.AddCookie(&http.Cookie{Name: CookieName, Value: token})
	return request
}

func TestForgedRequests(t *testing.T) {
	w := newWorld(t, map[string]string{"additionalUrls": "[https://other.example.com]"})
	token := w.login("alice")
	door := w.RefuseForgery(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, c := range []struct {
		name    string
		method  string
		headers string // name=value, separated by blanks
		refused bool
	}{
		{"reading", "GET", "cookie Origin=https://evil.example.com Sec-Fetch-Site=cross-site", false},
		{"our console", "POST", "cookie Sec-Fetch-Site=same-origin Origin=https://gitops.example.com X-Plumb-Request=1", false},
		{"our other address", "POST", "cookie Origin=https://other.example.com X-Plumb-Request=1", false},
		{"a program with the cookie", "DELETE", "cookie X-Plumb-Request=1", false},
		{"a token in a header", "POST", "Authorization=Bearer|a.b.c Origin=https://evil.example.com", false},
		{"a token in a header besides the cookie", "POST", "cookie Authorization=Bearer|a.b.c Origin=https://evil.example.com", false},
		{"nobody's session, from here", "POST", "Origin=https://gitops.example.com", false},
		{"nobody's session, from nowhere", "POST", "", false},
		{"a sign-in for another", "POST", "Origin=https://evil.example.com", true},
		{"a sign-in by a form elsewhere", "POST", "Sec-Fetch-Site=cross-site", true},
		{"without our header", "POST", "cookie Sec-Fetch-Site=same-origin Origin=https://gitops.example.com", true},
		{"another site", "POST", "cookie Sec-Fetch-Site=cross-site X-Plumb-Request=1", true},
		{"a sibling site", "PUT", "cookie Sec-Fetch-Site=same-site X-Plumb-Request=1", true},
		{"another origin", "PATCH", "cookie Origin=https://evil.example.com X-Plumb-Request=1", true},
		{"an opaque origin", "POST", "cookie Origin=null X-Plumb-Request=1", true},
		{"a proxy's bearer does not count", "POST", "cookie Authorization=Bearer|opaque Origin=https://evil.example.com X-Plumb-Request=1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := httptest.NewRequest(c.method, testURL+"/api", nil)
			for header := range strings.FieldsSeq(c.headers) {
				if name, value, ok := strings.Cut(header, "="); ok {
					request.Header.Set(name, strings.ReplaceAll(value, "|", " "))
				} else {
					request.AddCookie(&http.Cookie{Name: CookieName, Value: token})
				}
			}
			answer := httptest.NewRecorder()
			door.ServeHTTP(answer, request)
			if refused := answer.Code == http.StatusForbidden; refused != c.refused {
				t.Errorf("answered with %d", answer.Code)
			}
		})
	}
}
