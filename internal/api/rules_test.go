package api

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

var update = flag.Bool("update", false, "write goldens anew")

// procedures are those of every service in the .proto files.
func procedures() []string {
	var all []string
	for _, file := range []protoreflect.FileDescriptor{plumbv1.File_plumb_v1_deliveries_proto, plumbv1.File_plumb_v1_declarations_proto, plumbv1.File_plumb_v1_fleet_proto, plumbv1.File_plumb_v1_session_proto} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestEveryCallHasARule(t *testing.T) {
	known := procedures()
	for _, procedure := range known {
		if _, ok := rules[procedure]; !ok {
			t.Errorf("%s has no rule", procedure)
		}
	}
	for procedure := range rules {
		if !slices.Contains(known, procedure) {
			t.Errorf("the rule of %s is of no call", procedure)
		}
	}
}

// testCluster lets users list and do what its lines say: user, verb, resource,
// namespace ("" everywhere).
type testCluster [][4]string

func (c testCluster) AccessReview(_ context.Context, a cluster.Access) (bool, string, error) {
	for _, line := range c {
		if line[0] == a.User && line[1] == a.Verb && line[2] == a.Resource && (line[3] == "" || line[3] == a.Namespace) {
			return true, "", nil
		}
	}
	return false, "", nil
}

const matrixPolicy = `
p, role:deployer, applications, get, shop/*, allow
p, role:deployer, applications, sync, shop/*, allow
p, role:flux, kustomizations, get, team/*, allow
p, role:flux, kustomizations, sync, team/*, allow
p, role:operator, *, *, */*, allow
p, role:operator, applications, delete, */*, deny
g, dana, role:deployer
g, fritz, role:flux
g, olga, role:operator
`

// matrixServer has two deliveries of each dialect, in two projects and two
// namespaces.
func matrixServer(t testing.TB) *Server {
	t.Helper()
	s := New(Options{Dialects: []dialect.Dialect{flux.New(), argo.New()}, Namespace: "plumb-system"})
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": matrixPolicy})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	s.guard = access.New(access.Options{
		Control: "argocd", Plural: s.plural,
		Reviewer: testCluster{
			{"system:serviceaccount:ci:robot", "get", "kustomizations", "team"}, {"system:serviceaccount:ci:robot", "patch", "kustomizations", "team"},
			{"system:serviceaccount:ci:robot", "get", "applications", ""},
		},
	})
	s.feed.Put(signin.Data{Secret: map[string][]byte{"server.secretkey": []byte("a key that is long enough for tests")}})
	s.guard.SetPolicy(policy.Compile(config, []policy.Project{{Namespace: "argocd", Name: "shop", Roles: []policy.Role{{
		Name: "ci", Policies: []string{"p, proj:shop:ci, applications, sync, shop/web, allow", "p, proj:shop:ci, applications, get, shop/*, allow"},
	}}}}))
	for _, row := range []*plumbv1.Delivery{
		{Ref: ref("Application", "argocd", "web"), Project: "shop", Cluster: "shop-cluster"}, {Ref: ref("Application", "argocd", "db"), Project: "core"},
		{Ref: ref("Kustomization", "team", "apps")}, {Ref: ref("Kustomization", "flux-system", "root")},
	} {
		s.deliveries.Put(rows.ID(row.Ref), row)
	}
	return s
}

func ref(kind, namespace, name string) *plumbv1.ObjectRef {
	group := map[string]string{"Application": "argoproj.io", "Kustomization": "kustomize.toolkit.fluxcd.io", "GitRepository": "source.toolkit.fluxcd.io"}[kind]
	return &plumbv1.ObjectRef{Group: group, Kind: kind, Namespace: namespace, Name: name}
}

// callers of the matrix.
var callers = []struct {
	name string
	who  signin.Principal
}{
	{"admin", signin.Principal{Kind: signin.KindAccount, Name: "admin", Subject: "admin", KubernetesUser: "account:admin"}},
	{"dana (sync in shop)", signin.Principal{Kind: signin.KindAccount, Name: "dana", Subject: "dana", KubernetesUser: "account:dana"}},
	{"fritz (sync in team)", signin.Principal{Kind: signin.KindOIDC, Name: "fritz", Subject: "fritz", Claims: map[string]any{"sub": "fritz"}, KubernetesUser: "oidc:fritz"}},
	{"olga (all but delete)", signin.Principal{Kind: signin.KindAccount, Name: "olga", Subject: "olga", KubernetesUser: "account:olga"}},
	{"proj:shop:ci", signin.Principal{Kind: signin.KindProject, Name: "proj:shop:ci", Subject: "proj:shop:ci", Project: "shop", Role: "ci", KubernetesUser: "project:shop:ci"}},
	{"robot (cluster's RBAC)", signin.Principal{Kind: signin.KindKubernetes, Name: "system:serviceaccount:ci:robot", Subject: "system:serviceaccount:ci:robot", KubernetesUser: "system:serviceaccount:ci:robot"}},
	{"nobody", signin.Principal{Kind: signin.KindAnonymous}},
}

// questions are a message for each call, and one for each action.
func questions() []struct {
	procedure, what string
	message         any
} {
	type question = struct {
		procedure, what string
		message         any
	}
	var all []question
	targets := []*plumbv1.ObjectRef{ref("Application", "argocd", "web"), ref("Application", "argocd", "db"), ref("Kustomization", "team", "apps"), ref("Kustomization", "flux-system", "root")}
	actions := []*plumbv1.ActRequest{
		{Action: &plumbv1.ActRequest_Sync{}}, {Action: &plumbv1.ActRequest_Refresh{}}, {Action: &plumbv1.ActRequest_Suspend{}}, {Action: &plumbv1.ActRequest_Resume{}},
		{Action: &plumbv1.ActRequest_Approve{}}, {Action: &plumbv1.ActRequest_Rollback{}}, {Action: &plumbv1.ActRequest_Terminate{}}, {Action: &plumbv1.ActRequest_Delete{}},
		{Action: &plumbv1.ActRequest_Lift{}}, {Action: &plumbv1.ActRequest_ObjectAction{}}, {},
	}
	about := map[string]func(*plumbv1.ObjectRef) any{
		"GetDelivery": func(r *plumbv1.ObjectRef) any { return &plumbv1.GetDeliveryRequest{Ref: r} },
		"WatchGraph":  func(r *plumbv1.ObjectRef) any { return &plumbv1.WatchGraphRequest{Ref: r} },
		"GetDiff":     func(r *plumbv1.ObjectRef) any { return &plumbv1.GetDiffRequest{Ref: r} },
		"Explain":     func(r *plumbv1.ObjectRef) any { return &plumbv1.ExplainRequest{Ref: r} },
		"GetHistory":  func(r *plumbv1.ObjectRef) any { return &plumbv1.GetHistoryRequest{Ref: r} },
		"GetObject":   func(r *plumbv1.ObjectRef) any { return &plumbv1.GetObjectRequest{Ref: r} },
		"StreamLogs":  func(r *plumbv1.ObjectRef) any { return &plumbv1.StreamLogsRequest{Ref: r} },
	}
	for _, procedure := range procedures() {
		name := procedure[strings.LastIndexByte(procedure, '/')+1:]
		switch {
		case name == "Act":
			for _, action := range actions {
				for _, target := range targets {
					m := &plumbv1.ActRequest{Ref: target, Action: action.Action}
					what := actionName(m)
					if what == "" {
						what = "no action"
					}
					all = append(all, question{procedure, what + " " + target.Kind + "/" + target.Name, m})
				}
			}
		case about[name] != nil:
			for _, target := range targets {
				all = append(all, question{procedure, target.Kind + "/" + target.Name, about[name](target)})
			}
		case name == "GetSource":
			all = append(all, question{procedure, "GitRepository/team/apps", &plumbv1.GetSourceRequest{Ref: ref("GitRepository", "team", "apps")}})
		case name == "WatchSource":
			all = append(all, question{procedure, "GitRepository/team/apps", &plumbv1.WatchSourceRequest{Ref: ref("GitRepository", "team", "apps")}})
		case name == "GetCluster":
			for _, cluster := range []string{"in-cluster", "shop-cluster", "nowhere"} {
				all = append(all, question{procedure, cluster, &plumbv1.GetClusterRequest{Name: cluster}})
			}
		case name == "ListDeclarations":
			for _, m := range []*plumbv1.ListDeclarationsRequest{
				{Group: "argoproj.io", Kind: "Application"}, {Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web"},
				{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "team", Name: "apps"}, {Kind: "Secret"},
			} {
				all = append(all, question{procedure, strings.TrimRight(m.GetKind()+"/"+m.GetNamespace()+"/"+m.GetName(), "/"), m})
			}
		case name == "WatchDeclarations":
			for _, m := range []*plumbv1.WatchDeclarationsRequest{
				{Group: "argoproj.io", Kind: "Application"}, {Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web"},
				{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "team", Name: "apps"}, {Kind: "Secret"},
			} {
				all = append(all, question{procedure, strings.TrimRight(m.GetKind()+"/"+m.GetNamespace()+"/"+m.GetName(), "/"), m})
			}
		case name == "ActOnSource":
			for _, action := range []string{"refresh", "suspend", "explode"} {
				all = append(all, question{procedure, action + " GitRepository/team/apps", &plumbv1.ActOnSourceRequest{Ref: ref("GitRepository", "team", "apps"), Action: action}})
			}
		default:
			all = append(all, question{procedure, "", nil})
		}
	}
	return all
}

// TestMatrix says for every call and every kind of caller whether it is allowed.
// A new call or action shows up here by itself.
func TestMatrix(t *testing.T) {
	s := matrixServer(t)
	var b strings.Builder
	for _, q := range questions() {
		rule := rules[q.procedure]
		line := strings.TrimSpace(strings.TrimPrefix(q.procedure, "/plumb.v1.") + " " + q.what)
		if rule == nil {
			fmt.Fprintf(&b, "%s: open to anyone\n", line)
			continue
		}
		var allowed []string
		for _, c := range callers {
			if rule(context.Background(), s, s.guard.Caller(c.who), q.message) == nil {
				allowed = append(allowed, c.name)
			}
		}
		if len(allowed) == 0 {
			allowed = []string{"-"}
		}
		fmt.Fprintf(&b, "%s: %s\n", line, strings.Join(allowed, ", "))
	}
	const golden = "testdata/matrix.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the matrix is another one (go test ./internal/api -update writes it):\n%s", got)
	}
}

// TestWhatMayNotBeSeenIsAsIfItWereNot: whether an object exists, and in which
// project, is told to nobody who could not see it there.
func TestWhatMayNotBeSeenIsAsIfItWereNot(t *testing.T) {
	s := matrixServer(t)
	s.settings.projects = map[object.ID]*unstructured.Unstructured{rowsID("AppProject", "argocd", "core"): {}, rowsID("AppProject", "argocd", "shop"): {}}
	answer := func(procedure string, who signin.Principal, m any) (connect.Code, string) {
		err := rules[procedure](t.Context(), s, s.guard.Caller(who), m)
		if err == nil {
			return 0, ""
		}
		return connect.CodeOf(err), err.Error()
	}
	calls := map[string]func(*plumbv1.ObjectRef) any{
		plumbv1connect.DeliveryServiceGetDeliveryProcedure: func(r *plumbv1.ObjectRef) any { return &plumbv1.GetDeliveryRequest{Ref: r} },
		plumbv1connect.DeliveryServiceStreamLogsProcedure:  func(r *plumbv1.ObjectRef) any { return &plumbv1.StreamLogsRequest{Ref: r} },
		plumbv1connect.DeliveryServiceGetDiffProcedure:     func(r *plumbv1.ObjectRef) any { return &plumbv1.GetDiffRequest{Ref: r} },
		plumbv1connect.DeliveryServiceActProcedure: func(r *plumbv1.ObjectRef) any {
			return &plumbv1.ActRequest{Ref: r, Action: &plumbv1.ActRequest_Delete{}}
		},
		plumbv1connect.DeclarationServiceListDeclarationsProcedure: func(r *plumbv1.ObjectRef) any {
			return &plumbv1.ListDeclarationsRequest{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
		},
	}
	for procedure, message := range calls {
		for _, c := range callers {
			there, thereText := answer(procedure, c.who, message(ref("Application", "argocd", "db")))
			none, noneText := answer(procedure, c.who, message(ref("Application", "argocd", "no")))
			if seen, _ := answer(plumbv1connect.DeliveryServiceGetDeliveryProcedure, c.who, calls[plumbv1connect.DeliveryServiceGetDeliveryProcedure](ref("Application", "argocd", "db"))); seen == 0 {
				if there == 0 && none != connect.CodeNotFound {
					t.Errorf("%s: %s may do it, and is not told that there is none: %v", procedure, c.name, none)
				}
				continue
			}
			if there != none || strings.ReplaceAll(thereText, "/db", "/no") != noneText || strings.Contains(thereText, "core") {
				t.Errorf("%s: %s learns from %v %q and %v %q", procedure, c.name, there, thereText, none, noneText)
			}
		}
	}
	// A deny for one project must not tell what is in it either.
	config, _ := policy.FromConfigMap(map[string]string{"policy.csv": "p, role:most, applications, *, */*, allow\np, role:most, applications, *, core/*, deny\ng, dana, role:most\n"})
	s.guard.SetPolicy(policy.Compile(config, nil))
	get := calls[plumbv1connect.DeliveryServiceGetDeliveryProcedure]
	there, _ := answer(plumbv1connect.DeliveryServiceGetDeliveryProcedure, callers[1].who, get(ref("Application", "argocd", "db")))
	none, _ := answer(plumbv1connect.DeliveryServiceGetDeliveryProcedure, callers[1].who, get(ref("Application", "argocd", "no")))
	if there != connect.CodePermissionDenied || none != there {
		t.Errorf("who may not see one project learns what is in it: %v and %v", there, none)
	}
}

// TestSourcesAreActedOnAsSources: a right to look is none to write on a project.
func TestSourcesAreActedOnAsSources(t *testing.T) {
	s := matrixServer(t)
	for _, r := range []*plumbv1.ObjectRef{ref("Application", "argocd", "web"), {Group: "argoproj.io", Kind: "AppProject", Namespace: "argocd", Name: "shop"}, ref("Kustomization", "team", "apps")} {
		err := rules[plumbv1connect.FleetServiceActOnSourceProcedure](t.Context(), s, s.guard.Caller(callers[0].who), &plumbv1.ActOnSourceRequest{Ref: r, Action: "refresh"})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", r.GetKind(), err)
		}
	}
}

// TestForceNeedsMoreThanALook: to install or upgrade once more changes the
// cluster though nothing has changed in Git.
func TestForceNeedsMoreThanALook(t *testing.T) {
	s := matrixServer(t)
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": `
p, looker, helmreleases, get, team/*, allow
p, looker, helmreleases, refresh, team/*, allow
p, syncer, helmreleases, get, team/*, allow
p, syncer, helmreleases, sync, team/*, allow
`})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	s.guard.SetPolicy(policy.Compile(config, nil))
	release := &plumbv1.ObjectRef{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease", Namespace: "team", Name: "web"}
	s.deliveries.Put(rows.ID(release), &plumbv1.Delivery{Ref: release})
	for _, c := range []struct {
		who  string
		ref  *plumbv1.ObjectRef
		how  *plumbv1.Refresh
		want connect.Code // 0: it is allowed
	}{
		{"looker", release, &plumbv1.Refresh{}, 0},
		{"looker", release, &plumbv1.Refresh{Force: true}, connect.CodePermissionDenied},
		{"looker", release, &plumbv1.Refresh{ResetFailures: true}, connect.CodePermissionDenied},
		{"syncer", release, &plumbv1.Refresh{Force: true, ResetFailures: true}, 0},
		{"syncer", ref("Kustomization", "team", "apps"), &plumbv1.Refresh{Force: true}, connect.CodeInvalidArgument},
	} {
		caller := s.guard.Caller(signin.Principal{Kind: signin.KindAccount, Name: c.who, Subject: c.who})
		err := actRule(t.Context(), s, caller, &plumbv1.ActRequest{Ref: c.ref, Action: &plumbv1.ActRequest_Refresh{Refresh: c.how}})
		if (err == nil) != (c.want == 0) || err != nil && connect.CodeOf(err) != c.want {
			t.Errorf("%s, %v of %s: %v", c.who, c.how, c.ref.GetKind(), err)
		}
	}
}
