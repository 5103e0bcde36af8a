package access

import (
	"testing"

	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// TestWhatAViewRemembers: a decision is remembered under its policy only, for a
// project only, and within a bound.
func TestWhatAViewRemembers(t *testing.T) {
	g := New(Options{Control: "argocd"})
	put := func(csv string) {
		t.Helper()
		config, findings := policy.FromConfigMap(map[string]string{"policy.csv": csv})
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		g.SetPolicy(policy.Compile(config, nil))
	}
	ann := signin.Principal{Kind: signin.KindAccount, Subject: "ann"}
	web := Target{ID: object.ID{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web"}, Project: "shop"}
	elsewhere := web
	elsewhere.Project = "bank"
	put("p, ann, applications, get, shop/*, allow")
	for range 2 {
		if caller := g.Caller(ann); !caller.Sees(web) || caller.Sees(elsewhere) {
			t.Error("it is not the project that decides")
		}
	}
	if n := g.decided.Load(); n != 2 {
		t.Errorf("%d decisions were made of 2 questions", n)
	}
	put("p, ann, applications, get, bank/*, allow")
	if caller := g.Caller(ann); caller.Sees(web) || !caller.Sees(elsewhere) {
		t.Error("a decision outlives its policy")
	}
	g.decided.Store(maxDecisions)
	caller := g.Caller(ann)
	if caller.Sees(Target{ID: object.ID{Kind: "Other"}}); len(caller.view.sees) != 2 {
		t.Errorf("%d decisions are remembered, past the bound", len(caller.view.sees))
	}
	if caller := g.Caller(ann); len(caller.view.sees) != 0 || g.decided.Load() != 0 {
		t.Error("nothing makes room")
	}
}
