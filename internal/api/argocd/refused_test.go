package argocd_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

// TestWhatIsRefusedIsTold: who keeps account hears of every call that somebody was
// not allowed to make, in whatever protocol it came, and of no other.
func TestWhatIsRefusedIsTold(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	plain := func(verb, path, token string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), verb, s.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	s.refused(connect.CodePermissionDenied, "permission denied", "reader", apps+"Delete", map[string]any{"name": "shop"})
	plain(http.MethodPost, "/api/v1/applications/shop/sync", "token-reader")
	plain(http.MethodGet, "/api/v1/applications/none", "token-shopkeeper")
	if _, err := s.as("reader", apps+"Get", map[string]any{"name": "shop"}); err != nil {
		t.Fatal(err)
	}
	plain(http.MethodGet, "/api/v1/applications/shop", "")
	var told []string
	for _, d := range s.denied {
		told = append(told, fmt.Sprint(d.Who.Name, " ", d.Action, ": ", d.Detail))
	}
	want := []string{
		"reader Delete: permission denied: applications, delete, shop/shop, sub: reader",
		"reader Sync: permission denied: applications, sync, shop/shop, sub: reader",
		"shopkeeper Get: permission denied",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%q, want\n%q", told, want)
	}
}
