package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/signin"
)

// TestRefusalsAreGathered: the first is told at once, what follows together, and
// ever more seldom, so that nobody fills the journal by knocking.
func TestRefusalsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var entries []string
		r := newRefusals(func(what rejection, note string) {
			mu.Lock()
			defer mu.Unlock()
			entries = append(entries, what.actor+": "+note)
		})
		since := func() (told []string) { // the last time
			mu.Lock()
			defer mu.Unlock()
			told, entries = entries, nil
			return told
		}
		remembered := func() (int, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.knocks), r.ticking
		}
		dana := rejection{actor: "dana", known: true, address: "192.0.2.1", call: "Act"}
		for range 3 {
			r.tell(dana, "no")
		}
		r.tell(rejection{actor: "dana", known: true, address: "192.0.2.2", call: "Act"}, "no")
		if told, want := since(), []string{"dana: no", "dana: no"}; !slices.Equal(told, want) {
			t.Fatalf("at once: %q", told)
		}
		time.Sleep(firstQuiet + time.Second)
		synctest.Wait()
		if told := since(); len(told) != 1 || !strings.Contains(told[0], "no; 2 times since") {
			t.Fatalf("after a minute: %q", told)
		}
		const day = 24 * 60 // minutes
		for range day {
			r.tell(dana, "no")
			time.Sleep(time.Minute)
		}
		if told := since(); len(told) > 30 {
			t.Errorf("a day of knocking is %d entries", len(told))
		}
		time.Sleep(3 * longestQuiet)
		synctest.Wait()
		if n, ticking := remembered(); n != 0 || ticking {
			t.Errorf("%d who have gone are remembered", n)
		}
		since()
		for i := range 10 * maxRefusals {
			r.tell(rejection{actor: fmt.Sprint("name-", i), address: "192.0.2.1", call: signInCall}, "no")
		}
		told := since()
		if n, _ := remembered(); len(told) != maxRefusals+1 || n > maxRefusals+1 {
			t.Errorf("ever new names are %d entries, and %d are remembered", len(told), n)
		}
		time.Sleep(3 * longestQuiet)
		synctest.Wait()
	})
}

// journaled is a server that keeps account, with what it has kept.
func journaled(t *testing.T) (*Server, func() []journal.History) {
	t.Helper()
	s := matrixServer(t)
	books, err := journal.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = books.Close() })
	s.world.Store(&World{Declared: nothingDeclared{}, Journal: books})
	return s, func() []journal.History {
		var all []journal.History
		if err := books.Activity(context.Background(), 0, func(_ int64, h journal.History) bool { all = append(all, h); return true }); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(all)
		return all
	}
}

// TestWhatIsRefusedIsWrittenDown: a sign-in, a call, a credential; never with what
// was typed into the wrong field, and in no place where it pushes out others.
func TestWhatIsRefusedIsWrittenDown(t *testing.T) {
	s, kept := journaled(t)
	s.feed.Put(signin.Data{
		Config: map[string]string{"accounts.dana": "login"}, Secret: map[string][]byte{"server.secretkey": []byte("a key that is long enough for tests")},
	})
	for range 3 {
		ask(s, http.MethodPost, "/plumb.v1.SessionService/SignIn", `{"username":"dana","password":"canary-1"}`)
	}
	ask(s, http.MethodPost, "/plumb.v1.SessionService/SignIn", `{"username":"canary-2","password":""}`)
	s.Record(t.Context(), "canary-3", "login", refusedSignIns, true, "")
	ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+strings.Join([]string{"eyJhbGciOiJIUzI1NiJ9", "eyJpc3MiOiJhcmdvY2QiLCJzdWIiOiJtYWxsb3J5In0", "canary"}, "."))
	})
	// What a rule refuses; the whole way through the server needs a session.
	g := gatekeeper{s}
	for _, c := range callers[1:2] {
		caller := s.guard.Caller(c.who)
		for range 5 {
			m := &plumbv1.ActRequest{Ref: ref("Application", "argocd", "db"), Action: &plumbv1.ActRequest_Delete{}}
			g.s.refusedCall(t.Context(), c.who, "/plumb.v1.DeliveryService/Act", m, rules["/plumb.v1.DeliveryService/Act"](t.Context(), s, caller, m))
		}
	}
	s.Record(t.Context(), "dana", "sync", rowsID("Application", "argocd", "db"), true, "permission denied")
	var got []string
	for _, h := range kept() {
		if strings.Contains(fmt.Sprintf("%+v", h), "canary") {
			t.Errorf("a secret is written down: %+v", h)
		}
		got = append(got, fmt.Sprintf("%s %s %s in %s", h.Actor, h.Action, h.Result, h.Delivery))
	}
	want := []string{
		"dana login Refused in Account/refused",
		"unknown login Refused in Account/refused",
		"unknown login Refused in Account/refused",
		"mallory? credential Refused in Account/refused",
		"dana delete Refused in Account/refused/dana",
		"dana sync Refused in Account/refused/dana",
	}
	if !slices.Equal(got, want) {
		t.Errorf("written down:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, h := range kept() {
		if h.Action == "delete" && (!strings.Contains(h.Message, "Application/argocd/db: permission denied") || strings.Contains(h.Message, "core")) {
			t.Errorf("the message is %q", h.Message)
		}
	}
}

// TestWhoSeesRefusals: those who may see the activity of all.
func TestWhoSeesRefusals(t *testing.T) {
	s, _ := journaled(t)
	s.Record(t.Context(), "dana", "sync", rowsID("Application", "argocd", "db"), true, "permission denied")
	for who, sees := range map[string]bool{"admin": true, "dana (sync in shop)": false, "robot (cluster's RBAC)": false} {
		at := slices.IndexFunc(callers, func(c struct {
			name string
			who  signin.Principal
		}) bool {
			return c.name == who
		})
		ctx := context.WithValue(t.Context(), callerKey{}, s.guard.Caller(callers[at].who))
		answer, err := fleetService{s}.ListActivity(ctx, &plumbv1.ListActivityRequest{Query: &plumbv1.Query{Where: map[string]*plumbv1.Values{"result": {Values: []string{refusedResult}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(answer.GetActivities()) == 1; got != sees {
			t.Errorf("%s sees it: %v", who, got)
		}
	}
}
