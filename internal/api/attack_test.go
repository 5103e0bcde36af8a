package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// guarded puts a policy in force, and is a context of a call of ann's.
func guarded(t *testing.T, s *Server, csv string, projects ...policy.Project) context.Context {
	t.Helper()
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": csv})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	s.guard.SetPolicy(policy.Compile(config, projects))
	return asCaller(t, t.Context(), s, signin.Principal{Kind: signin.KindAccount, Name: "ann", Subject: "ann"})
}

// TestWhatIsGoneStaysHidden: the project of a delivery goes with it. What was done
// with it is told to those who see every project that it may have been in, so that
// a deny does not end with what it protects.
func TestWhatIsGoneStaysHidden(t *testing.T) {
	s := matrixServer(t)
	s.world.Store(&World{Declared: nothingDeclared{}})
	all := func(*plumbv1.Activity) bool { return true }
	gone := journal.History{Delivery: rowsID("Application", "argocd", "merger"), Message: "canary", Result: "Succeeded"}
	there := journal.History{Delivery: rowsID("Application", "argocd", "web"), Result: "Succeeded"}
	flux := journal.History{Delivery: rowsID("Kustomization", "team", "old"), Result: "Succeeded"}
	for what, c := range map[string]struct {
		policy            string
		gone, there, flux bool
	}{
		"all but one project": {"p, ann, applications, get, */*, allow\np, ann, applications, get, core/*, deny", false, true, false},
		"one project":         {"p, ann, applications, get, shop/*, allow", false, true, false},
		"the default project": {"p, ann, applications, get, default/*, allow", false, false, false},
		"all projects":        {"p, ann, applications, get, */*, allow", true, true, false},
		"a namespace":         {"p, ann, kustomizations, get, team/*, allow", false, false, true},
	} {
		ctx := guarded(t, s, c.policy)
		judge := s.entriesFor(ctx, callerOf(ctx))
		for name, entry := range map[string]struct {
			of   journal.History
			want bool
		}{"gone": {gone, c.gone}, "there": {there, c.there}, "of Flux": {flux, c.flux}} {
			for range 2 { // the second time from memory
				if told := judge(1, &entry.of, all) != nil; told != entry.want {
					t.Errorf("%s: what is %s is told: %v", what, name, told)
				}
			}
		}
	}
}

// TestPreviewsNeedARightToSee: who may only ask for a sync is not shown objects.
func TestPreviewsNeedARightToSee(t *testing.T) {
	s := matrixServer(t)
	ctx := guarded(t, s, "p, ann, applications, sync, shop/*, allow")
	act := func(preview bool) error {
		return actRule(ctx, s, callerOf(ctx), &plumbv1.ActRequest{Ref: ref("Application", "argocd", "web"), Preview: preview, Action: &plumbv1.ActRequest_Sync{Sync: &plumbv1.Sync{}}})
	}
	if err := act(false); err != nil {
		t.Errorf("a sync: %v", err)
	}
	if err := act(true); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a preview of it: %v", err)
	}
	ctx = guarded(t, s, "p, ann, applications, sync, shop/*, allow\np, ann, applications, get, shop/*, allow")
	if err := act(true); err != nil {
		t.Errorf("a preview for who sees it: %v", err)
	}
}

// TestPermissionsAreThoseOfTheRules: what a page offers is what the server does.
func TestPermissionsAreThoseOfTheRules(t *testing.T) {
	s := matrixServer(t)
	row, _ := s.deliveries.Get(rowsID("Application", "argocd", "web"))
	for _, text := range []string{
		"p, ann, applications, get, */*, allow\np, ann, applications, action/apps/Deployment/restart, */*, allow",
		"p, ann, applications, get, */*, allow\np, ann, applications, update, */*, allow",
	} {
		ctx := guarded(t, s, text)
		shown := s.permissions(ctx, callerOf(ctx), row)["object_action"].GetAllowed()
		err := actRule(ctx, s, callerOf(ctx), &plumbv1.ActRequest{Ref: row.GetRef(), Action: &plumbv1.ActRequest_ObjectAction{
			ObjectAction: &plumbv1.ObjectAction{Name: restart, Object: &plumbv1.ObjectRef{Group: "apps", Kind: "Deployment", Name: "web"}},
		}})
		if shown != (err == nil) {
			t.Errorf("%s\nshown %v, and the rule says %v", text, shown, err)
		}
	}
}

// TestStrangersTakeNoPlaces: nobody who has not signed in keeps out those who have,
// however slowly they send what they ask.
func TestStrangersTakeNoPlaces(t *testing.T) {
	s, dana := signedInServer(t)
	server := httptest.NewServer(s)
	defer server.Close()
	post := func(path string, body io.Reader, change ...func(*http.Request)) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for _, c := range change {
			c(r)
		}
		return server.Client().Do(r)
	}
	ended := make(chan struct{})
	var bodies []*io.PipeWriter
	trickle := func(path string, n int) {
		for range n {
			body, trickled := io.Pipe()
			bodies = append(bodies, trickled)
			go func() {
				defer func() { ended <- struct{}{} }()
				if response, err := post(path, body); err == nil {
					_ = response.Body.Close()
				}
			}()
			_, _ = trickled.Write([]byte("{")) // it has begun
		}
	}
	trickle(plumbv1connect.DeliveryServiceGetHistoryProcedure, callerReadings+1)
	trickle(plumbv1connect.SessionServiceSignInProcedure, addressSignIns+1)
	answered := func(what, path, body string, want int, change ...func(*http.Request)) {
		t.Helper()
		response, err := post(path, strings.NewReader(body), change...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if text, _ := io.ReadAll(response.Body); response.StatusCode != want {
			t.Errorf("%s is answered with %s %s", what, response.Status, text)
		}
	}
	answered("a stranger", plumbv1connect.DeliveryServiceGetHistoryProcedure, "{}", http.StatusUnauthorized)
	answered("who has signed in", plumbv1connect.DeliveryServiceGetHistoryProcedure, "{}", http.StatusBadRequest, dana)
	answered("a sign-in", plumbv1connect.SessionServiceSignInProcedure, `{"username":"dana","password":"wrong"}`, http.StatusUnauthorized)
	for _, body := range bodies {
		_ = body.CloseWithError(io.ErrUnexpectedEOF)
		<-ended
	}
	w := ask(s, http.MethodPost, plumbv1connect.SessionServiceSignInProcedure, `{"password":"`+strings.Repeat("x", maxSignIn)+`"}`)
	if w.Code == http.StatusOK || !strings.Contains(w.Body.String(), "resource_exhausted") {
		t.Errorf("a password without end: %d %s", w.Code, w.Body)
	}
}

// TestRowsOfAnotherTimeGo: what was deleted while another replica led is not listed
// when this one leads again.
func TestRowsOfAnotherTimeGo(t *testing.T) {
	s := matrixServer(t)
	s.sources.Put(rows.ID(ref("GitRepository", "team", "old")), &plumbv1.Source{Ref: ref("GitRepository", "team", "old")})
	w := &World{Declared: nothingDeclared{}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	deliveries, sources := s.deliveries.News(), s.sources.News()
	s.noticeAll(w)
	go func() { defer close(done); s.keepRows(ctx, w) }()
	<-deliveries
	<-sources
	stop()
	<-done
	s.deliveries.Each(func(d *plumbv1.Delivery) { t.Errorf("%s is still listed", d.GetRef()) })
	s.sources.Each(func(r *plumbv1.Source) { t.Errorf("%s is still listed", r.GetRef()) })
}

// TestWhoReadsNothingHoldsNothing: an answer that nobody takes does not stay, and
// neither does the place in a line that it came from; one that is taken slowly
// arrives whole.
func TestWhoReadsNothingHoldsNothing(t *testing.T) {
	const size = 4 << 20
	for what, c := range map[string]struct {
		read func(t *testing.T, c net.Conn) int // bytes of the answer
		over time.Duration                      // until the handler is done
		all  bool
	}{
		"nothing": {func(*testing.T, net.Conn) int { return 0 }, stuckWrite, false},
		"slowly": {func(t *testing.T, c net.Conn) int {
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			n, piece := 0, make([]byte, writePiece)
			for {
				time.Sleep(stuckWrite / 3)
				read, err := io.ReadFull(answer.Body, piece)
				if n += read; err != nil {
					return n
				}
			}
		}, time.Hour, true},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan error, 1)
				server := &http.Server{Handler: hurried(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, err := w.Write(make([]byte, size))
					done <- err
				}))}
				client, conn := net.Pipe()
				served := make(chan struct{})
				go func() { defer close(served); _ = server.Serve(&oneConn{conn: conn, closed: make(chan struct{})}) }()
				start := time.Now()
				if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				n := c.read(t, client)
				err := <-done
				if took := time.Since(start); took > c.over || (err == nil) != c.all || c.all && n != size {
					t.Errorf("%d bytes, and the handler is done after %s: %v", n, took, err)
				}
				_ = client.Close()
				_ = server.Close()
				<-served
			})
		})
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	if c, l.conn = l.conn, nil; c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// TestCallsAtATimeAreBounded: each may hold an answer.
func TestCallsAtATimeAreBounded(t *testing.T) {
	s, dana := signedInServer(t)
	who := streamer(signin.Principal{Kind: signin.KindAccount, Issuer: signin.Issuer, Subject: "dana"})
	end, ok := s.calls.begin(who, callerCalls)
	if !ok {
		t.Fatal("too few")
	}
	if w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", dana); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("one call more is answered with %d %s", w.Code, w.Body)
	}
	if w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}"); w.Code != http.StatusUnauthorized {
		t.Errorf("somebody else is answered with %d %s", w.Code, w.Body)
	}
	end()
	if w := ask(s, http.MethodPost, "/plumb.v1.SessionService/GetMe", "{}", dana); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}
