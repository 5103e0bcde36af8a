package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/request"
	"plumb.dev/plumb/internal/signin/loopback/idptest"
)

// fakeServer is a server of Plumb in memory, which knows tokens and a few
// declared objects.
type fakeServer struct {
	plumbv1connect.UnimplementedDeliveryServiceHandler
	plumbv1connect.UnimplementedFleetServiceHandler
	t       *testing.T
	server  *httptest.Server
	address string

	mu       sync.Mutex
	people   map[string]string // token → name
	signIn   *plumbv1.GetSignInResponse
	out      []string // tokens that have signed out
	manifest string   // of the only object
	pending  string   // its next manifest, after so many looks
	looks    int
	away     int // how many calls are answered with "unavailable"
	calls    []string
	acted    []string
	mute     bool                                    // a stream that is away ends without a word
	news     chan *plumbv1.WatchDeclarationsResponse // to streams; nil breaks one off
	refuse   error
	endless  bool // the list has no last page
}

const servedToken = "canary.session.token"

const servedApps = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system, uid: u1, resourceVersion: "7", generation: 1, annotations: {reconcile.fluxcd.io/requestedAt: old}}
spec: {path: ./apps}
status:
  observedGeneration: 1
  lastAppliedRevision: main@sha1:1111111111111111111111111111111111111111
  lastHandledReconcileAt: old
  conditions: [{type: Ready, status: "True", reason: ReconciliationSucceeded, message: done}]
  inventory: {entries: [{id: apps_web_apps_Deployment, v: v1}, {id: _web__Namespace, v: v1}]}
`

func newFakeServer(t *testing.T, secure bool) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, people: map[string]string{servedToken: "ann"}, manifest: servedApps, signIn: &plumbv1.GetSignInResponse{Local: true, Version: "v1"}}
	mux := http.NewServeMux()
	options := connect.WithInterceptors(connect.UnaryInterceptorFunc(f.intercept))
	mux.Handle(plumbv1connect.NewSessionServiceHandler(fakeSession{f}, options))
	mux.Handle(plumbv1connect.NewDeliveryServiceHandler(f, options))
	mux.Handle(plumbv1connect.NewFleetServiceHandler(f, options))
	mux.Handle(plumbv1connect.NewDeclarationServiceHandler(f, options))
	mux.HandleFunc("POST /auth/logout", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.out = append(f.out, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	f.server = httptest.NewUnstartedServer(mux)
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	if secure {
		f.server.StartTLS()
	} else {
		f.server.Start()
	}
	f.address = f.server.URL
	t.Cleanup(f.server.Close)
	return f
}

func (f *fakeServer) intercept(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		procedure := request.Spec().Procedure
		name := procedure[strings.LastIndexByte(procedure, '/')+1:]
		f.mu.Lock()
		f.calls = append(f.calls, name)
		away, refuse := f.away > 0, f.refuse
		if away {
			f.away--
		}
		_, known := f.people[strings.TrimPrefix(request.Header().Get("Authorization"), "Bearer ")]
		f.mu.Unlock()
		switch {
		case away:
			return nil, connect.NewError(connect.CodeUnavailable, errors.New("this replica does not lead"))
		case name == "GetSignIn" || name == "SignIn":
		case !known:
			return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("no session"))
		case refuse != nil && name != "GetMe":
			return nil, refuse
		}
		return next(ctx, request)
	}
}

func (f *fakeServer) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, call := range f.calls {
		if call == name {
			n++
		}
	}
	return n
}

type fakeSession struct{ *fakeServer }

func (f fakeSession) GetSignIn(context.Context, *plumbv1.GetSignInRequest) (*plumbv1.GetSignInResponse, error) {
	return f.signIn, nil
}

func (f fakeSession) SignIn(_ context.Context, m *plumbv1.SignInRequest) (*plumbv1.SignInResponse, error) {
	if m.GetUsername() != "ann" || m.GetPassword() != "canary password" || !m.GetToken() {
		return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("invalid username or password"))
	}
	return &plumbv1.SignInResponse{Token: servedToken, Expires: timestamppb.New(testNow.Add(time.Hour))}, nil
}

func (f fakeSession) SignOut(context.Context, *plumbv1.SignOutRequest) (*plumbv1.SignOutResponse, error) {
	return &plumbv1.SignOutResponse{Url: "/auth/logout"}, nil
}

func (f fakeSession) GetMe(context.Context, *plumbv1.GetMeRequest) (*plumbv1.GetMeResponse, error) {
	return &plumbv1.GetMeResponse{Name: "ann", Groups: []string{"team", "ops"}, Kind: "account", Expires: timestamppb.New(testNow.Add(time.Hour))}, nil
}

func (f *fakeServer) ListDeclarations(_ context.Context, m *plumbv1.ListDeclarationsRequest) (*plumbv1.ListDeclarationsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending != "" {
		if f.looks--; f.looks < 0 {
			f.manifest, f.pending = f.pending, ""
		}
	}
	out := &plumbv1.ListDeclarationsResponse{}
	switch {
	case m.GetKind() == "GitRepository":
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("is not a kind that is declared to Plumb"))
	case m.GetKind() != "Kustomization":
	case m.GetName() != "" && m.GetName() != "apps":
		return nil, connect.NewError(connect.CodeNotFound, errors.New("it is not declared"))
	case m.GetNamespace() == "" || m.GetNamespace() == "flux-system":
		out.Manifests = append(out.Manifests, f.manifest)
		if f.endless {
			out.NextPageToken = "more"
			return out, nil
		}
		if m.GetNamespace() == "" && m.GetPageToken() == "" { // a second page
			out.NextPageToken = "more"
		} else if m.GetPageToken() == "more" {
			out.Manifests = []string{strings.NewReplacer("name: apps", "name: more", "u1", "u2").Replace(f.manifest)}
		}
	}
	return out, nil
}

// WatchDeclarations sends what there is, and what is told by f.change, until the
// server is made to break off.
func (f *fakeServer) WatchDeclarations(ctx context.Context, m *plumbv1.WatchDeclarationsRequest, out *connect.ServerStream[plumbv1.WatchDeclarationsResponse]) error {
	f.mu.Lock()
	f.calls = append(f.calls, "WatchDeclarations")
	away := f.away > 0
	if away {
		f.away--
	}
	news := f.news
	f.mu.Unlock()
	switch {
	case away && f.mute:
		return nil // as one that is stopped just now
	case away:
		return connect.NewError(connect.CodeUnavailable, errors.New("this replica does not lead"))
	}
	list, err := f.ListDeclarations(ctx, &plumbv1.ListDeclarationsRequest{Group: m.GetGroup(), Kind: m.GetKind(), Namespace: m.GetNamespace(), Name: m.GetName()})
	if err != nil {
		return err
	}
	// In two messages, of which only the second is all.
	if err := out.Send(&plumbv1.WatchDeclarationsResponse{Manifests: list.GetManifests()}); err != nil {
		return err
	}
	if err := out.Send(&plumbv1.WatchDeclarationsResponse{Whole: true}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case message := <-news:
			if message == nil {
				return connect.NewError(connect.CodeUnavailable, errors.New("this replica does not lead any more"))
			}
			if err := out.Send(message); err != nil {
				return err
			}
		}
	}
}

// Act answers with a version that the list does not have yet.
func (f *fakeServer) Act(_ context.Context, m *plumbv1.ActRequest) (*plumbv1.ActResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acted = append(f.acted, fmt.Sprintf("%T", m.GetAction()))
	next := strings.ReplaceAll(f.manifest, `resourceVersion: "7"`, `resourceVersion: "8"`)
	switch m.GetAction().(type) {
	case *plumbv1.ActRequest_Suspend:
		next = strings.ReplaceAll(next, "spec: {", "spec: {suspend: true, ")
	case *plumbv1.ActRequest_Refresh:
		next = strings.NewReplacer("requestedAt: old", "requestedAt: new", "ReconcileAt: old", "ReconcileAt: new", "1111", "2222").Replace(next)
	}
	f.pending, f.looks = next, 2
	return &plumbv1.ActResponse{Version: "8"}, nil
}

func (f *fakeServer) ListClusters(context.Context, *plumbv1.ListClustersRequest) (*plumbv1.ListClustersResponse, error) {
	return &plumbv1.ListClustersResponse{Clusters: []*plumbv1.Cluster{{Name: "in-cluster", Version: "v1.35.0", Health: &plumbv1.Health{State: "Healthy"}, Deliveries: 3, Unhealthy: 1}}}, nil
}

func (f *fakeServer) GetDiff(context.Context, *plumbv1.GetDiffRequest) (*plumbv1.GetDiffResponse, error) {
	web := &plumbv1.ObjectRef{Group: "apps", Kind: "Deployment", Namespace: "apps", Name: "web"}
	old := &plumbv1.ObjectRef{Kind: "ConfigMap", Namespace: "apps", Name: "old"}
	return &plumbv1.GetDiffResponse{Objects: []*plumbv1.ObjectDiff{
		{Object: web, File: "web.yaml", Line: 3, Change: &plumbv1.Change{Object: web, Verb: "apply", Diff: "@@ spec\n-  replicas: 1\n+  replicas: 2\n"}},
		{Object: old, Change: &plumbv1.Change{Object: old, Verb: "delete"}},
		{Object: web, Ignored: true, Change: &plumbv1.Change{Verb: "apply"}},
	}}, nil
}

func (f *fakeServer) Search(_ context.Context, m *plumbv1.SearchRequest) (*plumbv1.SearchResponse, error) {
	web := &plumbv1.ObjectRef{Group: "apps", Kind: "Deployment", Namespace: "apps", Name: "web"}
	apps := refTo(kustomizations, "flux-system", "apps")
	if m.GetText() != "web" {
		return &plumbv1.SearchResponse{}, nil
	}
	return &plumbv1.SearchResponse{Hits: []*plumbv1.Hit{
		{Type: "object", Ref: &plumbv1.ObjectRef{Kind: "Service", Namespace: "apps", Name: "web"}, Delivery: apps},
		{Type: "object", Ref: web, Delivery: apps},
	}}, nil
}

func (f *fakeServer) Explain(_ context.Context, m *plumbv1.ExplainRequest) (*plumbv1.ExplainResponse, error) {
	health := &plumbv1.Health{State: "Degraded", Reason: "CrashLoopBackOff", Message: "it crashes"}
	return &plumbv1.ExplainResponse{
		Headline: m.GetObject().GetKind() + " is as web.yaml:3 wants it, and Degraded", Object: m.GetObject(), Owner: m.GetRef(), File: "web.yaml", Line: 3,
		Because: []*plumbv1.Because{{Text: "it crashes", Object: m.GetObject(), Health: health}}, Advice: []string{"read its log"},
		Commit: &plumbv1.Commit{Subject: "more of it", Author: "Ann"},
	}, nil
}

func (f *fakeServer) StreamLogs(_ context.Context, m *plumbv1.StreamLogsRequest, out *connect.ServerStream[plumbv1.StreamLogsResponse]) error {
	return out.Send(&plumbv1.StreamLogsResponse{Lines: []*plumbv1.LogLine{{Pod: "web-1", Container: "app", Text: "hello of " + m.GetObject().GetName()}}})
}

// terminalOf is one user's machine: what they sign in to stays.
type terminalOf struct {
	t     *testing.T
	env   map[string]string
	input string
	app   func(*app)
}

func newTerminalOf(t *testing.T) *terminalOf {
	return &terminalOf{t: t, env: map[string]string{"XDG_CONFIG_HOME": t.TempDir(), "HOME": t.TempDir()}}
}

func (m *terminalOf) plumb(args ...string) (code int, out, complaint string) {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(Streams{In: strings.NewReader(m.input), Out: &stdout, Err: &stderr, Getenv: func(name string) string { return m.env[name] }})
	a.now = func() time.Time { return testNow }
	if m.app != nil {
		m.app(a)
	}
	code = a.run(m.t.Context(), args)
	if text := stdout.String() + stderr.String(); strings.Contains(text, "canary") {
		m.t.Errorf("plumb %v prints a secret:\n%s", args, text)
	}
	return code, stdout.String(), stderr.String()
}

// must runs what has to succeed.
func (m *terminalOf) must(args ...string) (out, complaint string) {
	m.t.Helper()
	code, out, complaint := m.plumb(args...)
	if code != exitOK {
		m.t.Fatalf("plumb %v: %d\n%s%s", args, code, out, complaint)
	}
	return out, complaint
}

// refused runs what has to fail, and say all of it.
func (m *terminalOf) refused(want []string, args ...string) {
	m.t.Helper()
	code, out, complaint := m.plumb(args...)
	if code == exitOK {
		m.t.Errorf("plumb %v succeeded:\n%s", args, out)
	}
	for _, text := range want {
		if !strings.Contains(complaint, text) {
			m.t.Errorf("plumb %v does not say %q:\n%s", args, text, complaint)
		}
	}
}

func (m *terminalOf) signedIn(f *fakeServer) *terminalOf {
	m.t.Helper()
	m.input = "canary password\n"
	m.must("login", f.address, "--name", "prod", "--username", "ann", "--password-stdin")
	return m
}

func TestLogin(t *testing.T) {
	f, m := newFakeServer(t, false), newTerminalOf(t)
	m.input = "canary password\n"
	_, said := m.must("login", f.address, "--username", "ann", "--password-stdin")
	if !strings.Contains(said, "signed in to "+strings.TrimPrefix(f.address, "http://")+" ("+f.address+") as ann") {
		t.Errorf("said %s", said)
	}
	out, _ := m.must("whoami")
	for _, want := range []string{"Name:            ann", "Groups:          team\n                 ops", "Signed in by:    account", "Ends:            2026-03-01T13:00:00Z"} {
		if !strings.Contains(out, want) {
			t.Errorf("whoami does not say %q:\n%s", want, out)
		}
	}
	info, err := os.Stat(filepath.Join(m.env["XDG_CONFIG_HOME"], "plumb", "logins.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	m.input = "wrong\n"
	m.refused([]string{"invalid username or password", "check the name and the password"}, "login", f.address, "--username", "ann", "--password-stdin")
	m.refused([]string{"--password-stdin"}, "login", f.address, "--username", "ann")
	m.refused([]string{"how to sign in is not said"}, "login", f.address)
	m.refused([]string{"knows no single sign-on"}, "login", f.address, "--sso")
	m.refused([]string{"is not encrypted", "--plaintext"}, "login", "http://plumb.example.org", "--username", "ann")
	m.refused([]string{"another name"}, "login", f.address, "--name", "kubeconfig", "--username", "ann")
	m.refused([]string{"does not know you", "plumb login"}, "login", f.address, "--token", "canary.nobody.knows")
}

func TestLoginByToken(t *testing.T) {
	f, m := newFakeServer(t, false), newTerminalOf(t)
	m.env["PLUMB_AUTH_TOKEN"] = servedToken
	m.must("login", f.address, "--name", "ci")
	delete(m.env, "PLUMB_AUTH_TOKEN")
	out, _ := m.must("context", "list")
	if !strings.Contains(out, "*         ci           "+f.address+"   ann    token") {
		t.Errorf("context list:\n%s", out)
	}
	_, said := m.must("logout")
	if !strings.Contains(said, "the token itself is still good") || f.count("SignOut") > 0 {
		t.Errorf("a token that was given is no session: %s", said)
	}
}

func TestLoginAsKubeconfig(t *testing.T) {
	f, m := newFakeServer(t, false), newTerminalOf(t)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	write := func(user string) {
		content := "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: test, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {" + user + "}}]\n"
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.env["KUBECONFIG"] = file
	write("token: " + servedToken)
	m.must("login", f.address, "--name", "k", "--kubernetes")
	m.must("get", "kustomizations")
	write("token: canary.another")
	m.refused([]string{"does not know you", `token of context "test" has to be that of a service account`}, "get", "kustomizations") // it is read anew each time
	write("username: ann, password: canary")
	m.refused([]string{`context "test" of the kubeconfig signs in without a token`}, "get", "kustomizations")
	content, err := os.ReadFile(filepath.Join(m.env["XDG_CONFIG_HOME"], "plumb", "logins.yaml"))
	if err != nil || strings.Contains(string(content), servedToken) {
		t.Errorf("the token is kept: %v\n%s", err, content)
	}
}

func TestLoginTrustsCertificates(t *testing.T) {
	f, m := newFakeServer(t, true), newTerminalOf(t)
	m.input = "canary password\n"
	login := []string{"login", f.address, "--name", "prod", "--username", "ann", "--password-stdin"}
	fingerprint := logins.Fingerprint(f.server.Certificate())
	m.refused([]string{"nobody vouches for the server's certificate", fingerprint, "--certificate-fingerprint " + fingerprint}, login...)
	m.refused([]string{"not the one that was trusted"}, append(login, "--certificate-fingerprint", strings.Repeat("ab", 32))...)
	m.must(append(login, "--certificate-fingerprint", fingerprint)...)
	m.must("get", "kustomizations")
	m.must(append(login, "--insecure-skip-tls-verify")...)
}

// TestWhichPlace: flags go first, then the environment, then the login in use,
// then the kubeconfig.
func TestWhichPlace(t *testing.T) {
	cluster := newFakeAPI(t, "")
	first, second := newFakeServer(t, false), newFakeServer(t, false)
	m := newTerminalOf(t)
	m.env["KUBECONFIG"] = cluster.kubeconfig()
	who := func(args ...string) string {
		out, _ := m.must(append([]string{"get", "kustomizations"}, args...)...)
		if strings.Contains(out, "apps") {
			return "a server"
		}
		return "the cluster"
	}
	if got := who(); got != "the cluster" {
		t.Errorf("without a login: %s", got)
	}
	m.signedIn(first)
	m.must("login", second.address, "--name", "second", "--username", "ann", "--password-stdin")
	asked := func(f *fakeServer, args ...string) {
		t.Helper()
		before := f.count("ListDeclarations")
		if who(args...) != "a server" || f.count("ListDeclarations") == before {
			t.Errorf("%v: another was asked", args)
		}
	}
	asked(second)
	asked(first, "--plumb-server", "prod")
	asked(first, "--plumb-server", first.address)
	if got := who("--plumb-server", "kubeconfig"); got != "the cluster" {
		t.Error(got)
	}
	if got := who("--kubeconfig", cluster.kubeconfig()); got != "the cluster" {
		t.Error(got)
	}
	if got := who("--context", "test"); got != "the cluster" {
		t.Error(got)
	}
	m.refused([]string{"--plumb-server asks a server of Plumb, and --context a cluster"}, "get", "kustomizations", "--plumb-server", "prod", "--context", "test")
	m.env["PLUMB_SERVER"] = "prod"
	asked(first)
	asked(second, "--plumb-server", "second")
	m.env["PLUMB_SERVER"] = "kubeconfig"
	if got := who(); got != "the cluster" {
		t.Error(got)
	}
	m.env["PLUMB_SERVER"] = "nobody.example.org"
	m.refused([]string{"nobody has signed in to nobody.example.org", "plumb login nobody.example.org"}, "get", "kustomizations")
	m.env["PLUMB_SERVER"], m.env["PLUMB_AUTH_TOKEN"] = first.address, servedToken
	m.must("logout", "prod")
	asked(first)
	delete(m.env, "PLUMB_SERVER")
	m.env["PLUMB_AUTH_TOKEN"] = "canary.x"
	m.refused([]string{"does not know you"}, "get", "kustomizations") // it goes before the token of the login
	delete(m.env, "PLUMB_AUTH_TOKEN")
	m.must("context", "use", "kubeconfig")
	if got := who(); got != "the cluster" {
		t.Error(got)
	}
	m.must("context", "use", "second")
	m.refused([]string{"this needs a kubeconfig, and second (" + second.address + ") is what is asked", "--plumb-server kubeconfig"}, "adopt")
	m.must("context", "delete", "second")
	if got := who(); got != "the cluster" {
		t.Error(got)
	}
	m.refused([]string{"nobody has signed in to second"}, "context", "use", "second")
}

func TestServedCommands(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"get kustomizations", 0, []string{"NAME   REVISION             SUSPENDED   READY   MESSAGE\napps   main@sha1:11111111   False       True    done\n"}},
		{"get kustomizations -A -o name", 0, []string{"kustomization.kustomize.toolkit.fluxcd.io/apps\nkustomization.kustomize.toolkit.fluxcd.io/more\n"}},
		{"get all", 0, []string{"kustomization/apps"}}, // and kinds that are not served are passed over
		{"get ks apps -o yaml", 0, []string{"  path: ./apps\n"}},
		{"get ks nothing", 1, []string{`Kustomization "nothing" not found`}},
		{"get source git", 1, []string{"no matches for kind"}},
		{"get ks -l a=(", 1, []string{"unable to parse"}},
		{"get deliveries", 0, []string{"kustomization/apps   main@sha1:11111111"}},
		{"get clusters", 0, []string{"NAME         SERVER   VERSION   HEALTH    DELIVERIES   UNHEALTHY   MESSAGE\nin-cluster            v1.35.0   Healthy   3            1\n"}},
		{"get clusters -o name", 0, []string{"cluster/in-cluster\n"}},
		{"version", 0, []string{"plumb-server: v1\n"}},
		{"tree ks apps", 0, []string{"├── Deployment/apps/web\n└── Namespace/web\n"}},
		{"diff ks apps", 1, []string{"► Deployment/apps/web changed (web.yaml:3)", "+  replicas: 2", "► ConfigMap/apps/old deleted\n"}},
		{"diff ks apps --path .", 2, []string{"not possible through a server of Plumb", "--plumb-server kubeconfig"}},
		{"explain deploy/web -n apps", 0, []string{"Object:          Deployment/apps/web", "Owner:           Kustomization/flux-system/apps", "File:            web.yaml:3", "Health:          Failed", "Reason:          CrashLoopBackOff", "Advice:          read its log"}},
		{"explain deployments.apps web -n apps", 0, []string{"Deployment is as web.yaml:3 wants it"}},
		{"trace deploy/web -n apps", 0, []string{"Object:          Deployment/web\nNamespace:       apps\nStatus:          Managed by Plumb\n---\nKustomization:   apps\n", "Path:            ./apps\n"}},
		{"trace deploy web nothing -n apps", 1, []string{"Kustomization:   apps\n", "deploy/nothing: no delivery that you may see has deploy nothing"}},
		{"trace --kind Deployment --api-version apps/v1 web -n apps", 0, []string{"Kustomization:   apps\n"}},
		{"trace", 1, []string{"no object is named"}},
		{"export ks apps", 0, []string{"---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: apps\n  namespace: flux-system\nspec:\n  path: ./apps\n"}},
		{"export ks nothing", 1, []string{"see what is declared"}},
		{"explain pod/web-5d9f-abc -n apps", 0, []string{"Object:          Pod/apps/web-5d9f-abc"}},
		{"explain deployment/web -n other", 1, []string{"no delivery that you may see has deployment web"}},
		{"logs ks apps", 0, []string{"[pod/web-1/app] hello of web\n"}},
		{"logs ks apps --object deploy/web --no-prefix", 0, []string{"hello of web\n"}},
		{"logs ks apps --object deploy/nothing", 1, []string{"has no workload deploy/nothing"}},
		{"events -A", 1, []string{"a list of all events is not possible through a server of Plumb", "--for Kustomization/apps"}},
	} {
		code, out, complaint := m.plumb(strings.Fields(c.args)...)
		if code != c.code {
			t.Errorf("plumb %s ends with %d\n%s%s", c.args, code, out, complaint)
		}
		for _, want := range c.want {
			if !strings.Contains(out+complaint, want) {
				t.Errorf("plumb %s does not say %q:\n%s%s", c.args, want, out, complaint)
			}
		}
	}
}

// TestServedActions: what was asked for is waited for, though the server sees
// what it has written itself a moment later.
func TestServedActions(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	_, said := m.must("reconcile", "ks", "apps")
	if !strings.Contains(said, "applied revision main@sha1:2222") {
		t.Errorf("it has not waited: %s", said)
	}
	m.must("resume", "ks", "apps", "--wait=false") // it is not suspended: nothing to do
	if !slices.Equal(f.acted, []string{"*plumbv1.ActRequest_Refresh"}) {
		t.Errorf("asked for %v", f.acted)
	}
	m.must("suspend", "ks", "apps")
	m.refused([]string{"is suspended", "plumb resume"}, "reconcile", "ks", "apps")

	f.refuse = connect.NewError(connect.CodePermissionDenied, errors.New("permission denied: no rule lets ann"))
	m.refused([]string{"permission denied: no rule lets ann", "plumb whoami"}, "get", "ks", "apps")
}

func TestServedAsksAgain(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	f.away = 2
	m.must("get", "ks", "apps")
	if n := f.count("ListDeclarations"); n != 3 {
		t.Errorf("asked %d times", n)
	}
	f.server.Close()
	m.refused([]string{"cannot be reached", "is it running"}, "get", "ks", "apps")
}

// TestServedWatch: a list is followed by one stream, which goes on after the
// server has been away, and what has changed meanwhile is told.
func TestServedWatch(t *testing.T) {
	f := newFakeServer(t, false)
	f.news = make(chan *plumbv1.WatchDeclarationsResponse)
	m := newTerminalOf(t).signedIn(f)
	f.away = 1
	version := func(n, message string) string {
		return strings.NewReplacer(`resourceVersion: "7"`, `resourceVersion: "`+n+`"`, "message: done", "message: "+message).Replace(servedApps)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	var complaint bytes.Buffer
	ended := make(chan int, 1)
	a := newApp(Streams{Out: writer, Err: &complaint, Getenv: func(name string) string { return m.env[name] }})
	a.now = func() time.Time { return testNow }
	go func() { ended <- a.run(ctx, []string{"get", "ks", "--watch", "--no-header"}) }()
	lines := bufio.NewScanner(reader)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%q, not %q (%s)", lines.Text(), want, complaint.String())
		}
	}
	expect("done")
	f.news <- &plumbv1.WatchDeclarationsResponse{Manifests: []string{version("8", "again")}, Whole: true}
	expect("again")
	f.mu.Lock()
	f.manifest = version("9", "meanwhile")
	f.mu.Unlock()
	f.news <- nil
	expect("meanwhile")
	// What is gone and comes back is new.
	f.news <- &plumbv1.WatchDeclarationsResponse{Removed: []*plumbv1.ObjectRef{refTo(kustomizations, "flux-system", "apps")}, Whole: true}
	f.news <- &plumbv1.WatchDeclarationsResponse{Manifests: []string{version("10", "anew")}, Whole: true}
	expect("anew")
	stop()
	_ = reader.Close()
	if code := <-ended; code != exitOK {
		t.Errorf("ends with %d: %s", code, complaint.String())
	}
	if n := f.count("ListDeclarations"); n != 0 {
		t.Errorf("listed %d times", n)
	}
	if n := f.count("WatchDeclarations"); n != 3 {
		t.Errorf("%d streams", n)
	}
	m.refused([]string{`no matches for kind "GitRepository"`}, "get", "source", "git", "--watch")
	// A server that ends streams without a word is not taken for one that is done.
	f.away, f.mute = 100, true
	m.refused([]string{"cannot answer now", "the server has ended the stream"}, "get", "ks", "--watch")
}

// TestSessionEnds: a session that has ended is not sent, and one that has been
// ended is forgotten.
func TestSessionEnds(t *testing.T) {
	f := newFakeServer(t, false)
	m := newTerminalOf(t).signedIn(f)
	m.app = func(a *app) { a.now = func() time.Time { return testNow.Add(2 * time.Hour) } }
	before := f.count("ListDeclarations")
	m.refused([]string{"the session at prod", "has ended", "plumb login " + f.address + " --name prod"}, "get", "ks")
	if f.count("ListDeclarations") > before {
		t.Error("a session that has ended was sent")
	}
	m.app = nil
	m.must("logout")
	if !slices.Equal(f.out, []string{servedToken}) {
		t.Errorf("signed out: %v", f.out)
	}
	m.refused([]string{"no login is in use"}, "logout")
}

// TestSSORenews: a session of an identity provider is renewed before it ends,
// once for commands that run at a time, and ended at both when signing out.
func TestSSORenews(t *testing.T) {
	idp := idptest.New(t)
	f := newFakeServer(t, false)
	f.signIn = &plumbv1.GetSignInResponse{OidcName: "Test", Provider: &plumbv1.Provider{Issuer: idp.Issuer(), ClientId: idptest.ClientID, Scopes: []string{"openid"}}}
	idp.Lifetime = 30 * time.Second // always about to end
	f.anybody()
	m := newTerminalOf(t)
	m.app = func(a *app) {
		a.now = time.Now
		a.browse = func(address string) error {
			go func() {
				if response, err := http.Get(address); err == nil { //nolint:noctx // as a browser
					_ = response.Body.Close()
				}
			}()
			return nil
		}
	}
	m.must("login", f.address, "--name", "sso", "--sso-port", "0")
	if idp.Issued() != 1 {
		t.Errorf("%d sessions were issued", idp.Issued())
	}
	idp.Lifetime = time.Hour
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { m.must("get", "ks") })
	}
	all.Wait()
	if idp.Issued() != 2 {
		t.Errorf("%d sessions were issued", idp.Issued())
	}
	m.must("logout")
	if got := idp.Revoked(); !slices.Equal(got, []string{"refresh-2"}) || len(f.out) != 1 {
		t.Errorf("revoked %v, signed out %d", got, len(f.out))
	}
}

// anybody lets every token in.
func (f *fakeServer) anybody() {
	f.server.Config.Handler = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			f.people[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = "ann"
			f.mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}(f.server.Config.Handler)
}

func TestServedObjectsAreRead(t *testing.T) {
	read, err := readManifest(servedApps)
	if err != nil || read.GetName() != "apps" {
		t.Fatalf("%v, %v", read, err)
	}
	if observed, found, err := unstructured.NestedInt64(read.Object, "status", "observedGeneration"); observed != 1 || !found || err != nil {
		t.Errorf("numbers are not read as Kubernetes has them: %v", err)
	}
	if _, err := readManifest("kind: [broken"); err == nil {
		t.Error("a broken manifest is read")
	}
}

// TestWishes: what a server is asked for is what is written with a kubeconfig, or
// it is said that it cannot be asked for.
func TestWishes(t *testing.T) {
	app, err := readManifest(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: web, namespace: argocd},
  spec: {source: {repoURL: x, targetRevision: main}}, status: {history: [{id: 3, revision: aaa, source: {repoURL: x}}, {id: 4, revision: bbb, source: {repoURL: x}}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	back := &toRollBack{id: -1, prune: true}
	if _, err := back.patch(app, func() string { return "" }); err != nil {
		t.Fatal(err)
	}
	dry := &toRollBack{id: 3, dryRun: true, entry: back.entry}
	for _, c := range []struct {
		wish wish
		want string // of the message, or of the refusal
	}{
		{toLook{request.Look{Hard: true}}, "refresh:{hard:true}"},
		{toLook{request.Look{Force: true}}, "refresh:{force:true}"},
		{toLook{request.Look{Reset: true}}, "refresh:{reset_failures:true}"},
		{toApprove{token: "abc"}, `approve:{token:"abc"}`},
		{toSync{syncFlags{revision: "v1", prune: true, force: true, resources: []string{"apps:Deployment:web"}, replace: true}}, `sync:{revision:"v1" prune:true force:true resources:{group:"apps" kind:"Deployment" name:"web"} options:"Replace=true"}`},
		{toSync{syncFlags{revisions: []string{"v1"}, positions: []int{1}}}, `sync:{revision:"v1"}`},
		{toSync{syncFlags{strategy: "apply"}}, "--strategy apply is not possible"},
		{toSync{syncFlags{retryLimit: 2}}, "--retry-limit is not possible"},
		{toSync{syncFlags{info: []string{"a=b"}}}, "--info is not possible"},
		{back, `rollback:{id:"3" prune:true}`},
		{dry, `rollback:{id:"3" dry_run:true}`},
		{toTerminate{}, "terminate:{}"}, {toLift{}, "lift:{}"}, {toSuspend{}, "suspend:{}"}, {toResume{}, "resume:{}"},
	} {
		m := &plumbv1.ActRequest{}
		var got string
		if err := c.wish.action(app, m); err != nil {
			got = err.Error()
		} else {
			got = strings.Join(strings.Fields(m.String()), " ")
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%T: %s, wanted %s", c.wish, got, c.want)
		}
	}
}
