package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// authority is a cluster's RBAC: "user verb resource namespace name".
type authority struct {
	allows map[string]bool
	asked  int
	err    error
}

func (a *authority) AccessReview(_ context.Context, q cluster.Access) (bool, string, error) {
	a.asked++
	return a.allows[fmt.Sprintf("%s %s %s %s %s", q.User, q.Verb, q.Resource, q.Namespace, q.Name)], "", a.err
}

var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func guarded(t *testing.T, csv string, a *authority, now *time.Time) *Guard {
	t.Helper()
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": csv})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	g := New(Options{
		Reviewer: a, Control: "argocd", Now: func() time.Time { return *now },
		Plural: func(gk schema.GroupKind) string {
			return map[string]string{"Kustomization": "kustomizations", "Application": "applications"}[gk.Kind]
		},
	})
	g.SetPolicy(policy.Compile(config, nil))
	return g
}

func kustomization(namespace, name string) Target {
	return Target{ID: object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: namespace, Name: name}}
}

func application(project, namespace, name string) Target {
	return Target{ID: object.ID{Group: "argoproj.io", Kind: "Application", Namespace: namespace, Name: name}, Project: project}
}

func robot() signin.Principal {
	return signin.Principal{Kind: signin.KindKubernetes, Name: "robot", Subject: "robot", KubernetesUser: "robot"}
}

func TestMay(t *testing.T) {
	a := &authority{allows: map[string]bool{
		"robot get kustomizations team apps": true, "robot patch kustomizations team apps": true, "robot delete kustomizations team apps": true,
		"robot get kustomizations secret root": true, "robot patch applications team web": true,
	}}
	now := clock
	g := guarded(t, `
p, robot, kustomizations, get, secret/*, deny
p, robot, kustomizations, delete, team/*, deny
p, robot, applications, get, shop/*, allow
p, ann, applications, *, shop/team/web, allow
`, a, &now)
	ann := signin.Principal{Kind: signin.KindAccount, Name: "ann", Subject: "ann", KubernetesUser: "account:ann"}
	for _, c := range []struct {
		what   string
		who    signin.Principal
		action string
		target Target
		want   bool
	}{
		{"the cluster lets it", robot(), policy.Get, kustomization("team", "apps"), true},
		{"to patch is to suspend", robot(), policy.Suspend, kustomization("team", "apps"), true},
		{"the cluster says nothing of another", robot(), policy.Get, kustomization("team", "other"), false},
		{"a deny of the policy goes before the cluster", robot(), policy.Get, kustomization("secret", "root"), false},
		{"also where another action is allowed", robot(), policy.Delete, kustomization("team", "apps"), false},
		{"no right on the object is a right to logs", robot(), policy.ReadLogs, kustomization("team", "apps"), false},
		{"nor to its parts", robot(), policy.Action + "/apps/Deployment/restart", application("shop", "team", "web"), false},
		{"the policy lets it", robot(), policy.Get, application("shop", "team", "web"), true},
		{"another project", robot(), policy.Get, application("core", "team", "web"), false},
		{"by the cluster in another project", robot(), policy.Sync, application("core", "team", "web"), true},
		{"an account", ann, policy.Sync, application("shop", "team", "web"), true},
		{"its name in another namespace", ann, policy.Sync, application("shop", "evil", "web"), false},
		{"nobody", signin.Principal{Kind: signin.KindAnonymous}, policy.Get, kustomization("team", "apps"), false},
	} {
		p := g.Caller(c.who).May(context.Background(), c.action, c.target)
		if p.Allowed != c.want || p.Allowed != (p.Reason == "") {
			t.Errorf("%s: %+v", c.what, p)
		}
	}
}

// TestReviewsAreForgotten: the cluster is asked once in a while, and what it
// takes back is taken back here; an answer that failed is a no, and not kept.
func TestReviewsAreForgotten(t *testing.T) {
	a := &authority{allows: map[string]bool{"robot get kustomizations team apps": true}}
	now := clock
	g := guarded(t, "", a, &now)
	may := func() bool {
		return g.Caller(robot()).May(context.Background(), policy.Get, kustomization("team", "apps")).Allowed
	}
	first, second := may(), may()
	if !first || !second || a.asked != 1 {
		t.Errorf("asked %d times", a.asked)
	}
	a.allows = nil
	if !may() {
		t.Error("asked again at once")
	}
	if now = now.Add(reviewLife); may() || a.asked != 2 {
		t.Errorf("what was taken back is still allowed; asked %d times", a.asked)
	}
	a.err = errors.New("no answer")
	if now = now.Add(reviewLife); may() {
		t.Error("an answer that could not be had is a yes")
	}
	a.err, a.allows = nil, map[string]bool{"robot get kustomizations team apps": true}
	if !may() {
		t.Error("a failure was kept")
	}
}

func TestSees(t *testing.T) {
	a := &authority{allows: map[string]bool{"robot list kustomizations team ": true}}
	now := clock
	g := guarded(t, "p, robot, applications, get, shop/*, allow\np, robot, kustomizations, get, team/hidden, deny\n", a, &now)
	rows := []Target{kustomization("team", "apps"), kustomization("team", "hidden"), kustomization("flux-system", "root"), application("shop", "argocd", "web"), application("core", "argocd", "db")}
	c := g.Caller(robot())
	c.Prepare(context.Background(), rows)
	asked := a.asked
	var got []bool
	for _, row := range rows {
		got = append(got, c.Sees(row))
	}
	if fmt.Sprint(got) != "[true false false true false]" {
		t.Error(got)
	}
	if a.asked != asked {
		t.Error("a row asked the cluster")
	}
	if asked > 6 {
		t.Errorf("the cluster was asked %d times for two kinds in three namespaces", asked)
	}

	everywhere := &authority{allows: map[string]bool{"robot list kustomizations  ": true}}
	g = guarded(t, "", everywhere, &now)
	c = g.Caller(robot())
	c.Prepare(context.Background(), rows[:3])
	if everywhere.asked != 1 || !c.Sees(rows[2]) {
		t.Errorf("asked %d times", everywhere.asked)
	}
}

// TestAPolicyTakesEffectAtOnce: a caller looked up after the change goes by it.
func TestAPolicyTakesEffectAtOnce(t *testing.T) {
	now := clock
	g := guarded(t, "p, robot, kustomizations, get, team/*, allow\n", &authority{}, &now)
	may := func() bool {
		return g.Caller(robot()).May(context.Background(), policy.Get, kustomization("team", "apps")).Allowed
	}
	before := may()
	g.SetPolicy(policy.Compile(nil, nil))
	if !before || may() {
		t.Errorf("before %v, after %v", before, may())
	}
}

// counting counts the reviews that it is asked for, and lets a user list in some
// namespaces.
type counting struct {
	asked      map[string]int
	namespaces []string
}

func (c *counting) AccessReview(_ context.Context, a cluster.Access) (bool, string, error) {
	c.asked[a.Verb+" "+a.Namespace]++
	return slices.Contains(c.namespaces, a.Namespace), "", nil
}

// TestLookAsksByPlaces: thousands of objects in a few namespaces are a few
// questions, and there is an end to them.
func TestLookAsksByPlaces(t *testing.T) {
	reviews := &counting{asked: map[string]int{}, namespaces: []string{"team-3"}}
	g := New(Options{Reviewer: reviews, Plural: func(schema.GroupKind) string { return "kustomizations" }})
	caller := g.Caller(signin.Principal{Kind: signin.KindKubernetes, Subject: "robot", KubernetesUser: "robot"})
	target := func(i, namespaces int) Target {
		return Target{ID: object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: fmt.Sprint("team-", i%namespaces), Name: fmt.Sprint(i)}}
	}
	for i := range 5000 {
		if got := caller.Look(t.Context(), target(i, 10)); got != (i%10 == 3) {
			t.Fatalf("%s: %v", target(i, 10).ID, got)
		}
	}
	if len(reviews.asked) != 11 {
		t.Errorf("asked %v", reviews.asked)
	}
	for i := range 5000 {
		caller.Look(t.Context(), target(i, 5000))
	}
	if len(reviews.asked) > maxLooks+2 {
		t.Errorf("%d questions", len(reviews.asked))
	}
	for name, n := range reviews.asked {
		if n > 1 {
			t.Errorf("%s is asked %d times", name, n)
		}
	}
	if caller.Look(t.Context(), Target{ID: object.ID{Kind: "Kustomization", Namespace: "team-3"}}) {
		t.Error("another group's kind is seen")
	}
}

// TestServiceAccountsHaveNoDefaultRole: every Pod of the cluster has a token of
// one. What a policy gives them by name or group they have, and what the cluster
// gives them.
func TestServiceAccountsHaveNoDefaultRole(t *testing.T) {
	now := clock
	g := guarded(t, "g, system:serviceaccounts:ci, role:readonly", &authority{}, &now)
	config, _ := policy.FromConfigMap(map[string]string{"policy.default": "role:readonly", "policy.csv": "g, system:serviceaccounts:ci, role:readonly"})
	g.SetPolicy(policy.Compile(config, []policy.Project{{Namespace: "argocd", Name: "shop", Roles: []policy.Role{{Name: "viewer", Groups: []string{"nobody"}}}}}))
	account := func(namespace string) signin.Principal {
		name := "system:serviceaccount:" + namespace + ":default"
		return signin.Principal{
			Kind: signin.KindKubernetes, Name: name, Subject: name, KubernetesUser: name,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace},
		}
	}
	for what, c := range map[string]struct {
		who  signin.Principal
		want bool
	}{
		"a Pod":                 {account("team"), false},
		"one that is let in":    {account("ci"), true},
		"a person":              {signin.Principal{Kind: signin.KindOIDC, Name: "ann", Subject: "ann", Claims: map[string]any{"sub": "ann"}}, true},
		"an account":            {signin.Principal{Kind: signin.KindAccount, Name: "ann", Subject: "ann"}, true},
		"nobody, where one may": {signin.Principal{Kind: signin.KindAnonymous}, true},
		// By its name it is the account above, and shares nothing with it.
		"a person who is called like a Pod": {signin.Principal{Kind: signin.KindAccount, Subject: "system:serviceaccount:team:default", Groups: account("team").Groups}, true},
	} {
		caller := g.Caller(c.who)
		for _, project := range []string{"shop", "other", ""} {
			for _, action := range []string{policy.Get, policy.ReadLogs} {
				if got := caller.May(t.Context(), action, application(project, "argocd", "web")); got.Allowed != c.want {
					t.Errorf("%s, %s in %q: %+v", what, action, project, got)
				}
			}
		}
		if got := caller.MayUse(policy.Projects, policy.Get, "shop").Allowed; got != c.want {
			t.Errorf("%s sees the project: %v", what, got)
		}
	}
}
