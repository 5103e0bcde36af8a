package api

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// watched is a server whose settings come by watches that a test plays.
type watched struct {
	*Server
	t *testing.T
}

func newWatched(t *testing.T) watched {
	t.Helper()
	s := New(Options{Dialects: []dialect.Dialect{flux.New(), argo.New()}, Namespace: "plumb-system"})
	s.settings = settings{
		home: "argocd", configs: map[string]map[string]string{}, secrets: map[string]map[string][]byte{}, labelled: map[string]bool{},
		projects: map[object.ID]*unstructured.Unstructured{}, clusters: map[object.ID]registeredCluster{},
		unread: map[string]bool{"configs": true, "secret": true, "labelled": true, "signedOut": true, "projects": true},
	}
	return watched{s, t}
}

func (w watched) told(what string, typ watch.EventType, o map[string]any) {
	settingsWatch{w.Server, what}.Event(typ, &unstructured.Unstructured{Object: o})
}

func (w watched) synced(parts ...string) {
	for _, what := range parts {
		settingsWatch{w.Server, what}.Synced()
	}
}

func configMap(name string, data map[string]any) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": "argocd"}, "data": data}
}

func project(name string, policies ...any) map[string]any {
	return map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": map[string]any{"name": name, "namespace": "argocd"},
		"spec": map[string]any{"roles": []any{map[string]any{"name": "ci", "policies": policies, "groups": []any{"org:all"}}}}}
}

// may asks for dana, who is in org:all.
func (w watched) may(action, object string) bool {
	caller := w.guard.Caller(signin.Principal{Kind: signin.KindOIDC, Subject: "dana", Groups: []string{"org:all"}, Claims: map[string]any{"sub": "dana", "groups": []any{"org:all"}}})
	return caller.Can(policy.Request{Resource: policy.Applications, Action: action, Object: object})
}

var errRefused = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no"))

// TestSettingsThatCannotBeReadStayInForce: what is known is not forgotten because
// the API server does not answer, and what was deleted meanwhile is when it does.
func TestSettingsThatCannotBeReadStayInForce(t *testing.T) {
	w := newWatched(t)
	w.told("configs", watch.Added, configMap("argocd-rbac-cm", map[string]any{
		"policy.default": "role:readonly", "policy.csv": "p, role:all, applications, *, */*, allow\np, role:all, applications, *, core/*, deny\ng, dana, role:all\n",
	}))
	w.told("configs", watch.Added, configMap("argocd-cm", map[string]any{"users.anonymous.enabled": "false", "admin.enabled": "false"}))
	w.told("projects", watch.Added, project("shop", "p, proj:shop:ci, applications, delete, shop/*, deny"))
	if w.may("get", "shop/web") {
		t.Fatal("a policy is in force before all is known")
	}
	w.synced("configs", "secret", "labelled", "signedOut", "projects")
	right := func(when string) {
		t.Helper()
		if !w.may("sync", "shop/web") || w.may("sync", "core/db") {
			t.Errorf("%s: the policy is another one", when)
		}
		data, err := w.feed.Settings(t.Context())
		if err != nil || data.Config["admin.enabled"] != "false" {
			t.Errorf("%s: the settings of sign-in are %v, %v", when, data.Config, err)
		}
	}
	right("at first")
	for _, what := range []string{"configs", "secret", "labelled", "signedOut", "projects"} {
		settingsWatch{w.Server, what}.Gone(errRefused)
	}
	right("while nothing can be read")
	// It comes back, one thing after another: in between nothing is missing.
	w.told("configs", watch.Added, configMap("argocd-cm", map[string]any{"admin.enabled": "false"}))
	right("while it comes back")
	w.synced("secret", "labelled", "signedOut", "projects")
	right("before all ConfigMaps are told")
	w.synced("configs") // argocd-rbac-cm was deleted meanwhile
	if w.may("get", "shop/web") {
		t.Error("a policy that was deleted while it could not be watched stays in force")
	}
	if len(w.settings.projects) != 0 {
		t.Errorf("projects that were deleted meanwhile: %v", w.settings.projects)
	}
}

// TestSettingsOfArgoCDThatComeLater: sign-in has begun with Plumb's own namespace,
// and then somebody applies Argo CD's ConfigMaps where they belong.
func TestSettingsOfArgoCDThatComeLater(t *testing.T) {
	w := newWatched(t)
	w.settings.home, w.settings.argo, w.settings.unread["argo"] = "plumb-system", map[string]map[string]string{}, true
	w.told("configs", watch.Added, configMap("argocd-rbac-cm", map[string]any{"policy.csv": "p, role:all, applications, get, */*, allow\ng, dana, role:all\n"}))
	w.told("configs", watch.Added, configMap("argocd-cm", map[string]any{"admin.enabled": "false"}))
	w.synced("configs", "secret", "labelled", "signedOut", "projects")
	if w.may("get", "shop/web") {
		t.Fatal("a policy is in force before all is known")
	}
	w.synced("argo")
	in := func(when string, get, sync bool) {
		t.Helper()
		if w.may("get", "shop/web") != get || w.may("sync", "shop/web") != sync {
			t.Errorf("%s: the policy is another one", when)
		}
		if data, err := w.feed.Settings(t.Context()); err != nil || data.Config["admin.enabled"] != "false" {
			t.Errorf("%s: the settings of sign-in are %v, %v", when, data.Config, err)
		}
	}
	in("without them", true, false)
	later := configMap("argocd-rbac-cm", map[string]any{"policy.csv": "p, role:all, applications, sync, */*, allow\ng, dana, role:all\n"})
	w.told("argo", watch.Added, later)
	in("with them", false, true)
	settingsWatch{w.Server, "argo"}.Gone(errRefused)
	in("while they cannot be read", false, true)
	w.synced("argo") // they were deleted meanwhile
	in("after them", true, false)
}

// TestProjectsThatCannotBeReadOpenNothing: what they deny is not known, so that
// nothing is allowed. A kind that is not served has none.
func TestProjectsThatCannotBeReadOpenNothing(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		open bool
	}{
		"forbidden":  {errRefused, false},
		"no answer":  {errors.New("connection refused"), false},
		"not served": {&cluster.UnknownKindError{GVK: projectKind.WithVersion("v1alpha1")}, true},
	} {
		w := newWatched(t)
		w.told("configs", watch.Added, configMap("argocd-rbac-cm", map[string]any{"policy.csv": "p, role:all, applications, *, */*, allow\ng, dana, role:all\n"}))
		w.synced("configs", "secret", "labelled", "signedOut")
		settingsWatch{w.Server, "projects"}.Gone(c.err)
		if got := w.may("sync", "shop/web"); got != c.open {
			t.Errorf("%s: dana may sync: %v", name, got)
		}
	}
}

// TestASecretThatLosesItsLabelIsTheSameSecret: the settings of sign-in have a
// watch of their own.
func TestASecretThatLosesItsLabelIsTheSameSecret(t *testing.T) {
	w := newWatched(t)
	secret := map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"server.secretkey": "a2V5"}, "metadata": map[string]any{
		"name": signin.SecretName, "namespace": "argocd", "labels": map[string]any{signin.ReferenceLabel: signin.ReferenceValue},
	}}
	w.told("secret", watch.Added, secret)
	w.told("labelled", watch.Added, secret)
	w.synced("configs", "secret", "labelled", "signedOut", "projects")
	w.told("labelled", watch.Deleted, secret)
	data, err := w.feed.Settings(t.Context())
	if err != nil || string(data.Secret["server.secretkey"]) != "key" || len(data.Others) != 0 {
		t.Errorf("%v, %v", data.Others, err)
	}
	w.told("secret", watch.Deleted, secret)
	if data, _ := w.feed.Settings(t.Context()); len(data.Secret) != 0 {
		t.Error("a Secret that was deleted is in force")
	}
}

// TestAClusterThatDoesNotAnswerAllowsNothing: an access review that fails is a no,
// and is not remembered.
func TestAClusterThatDoesNotAnswerAllowsNothing(t *testing.T) {
	s := matrixServer(t)
	s.guard = access.New(access.Options{Control: "argocd", Plural: s.plural, Reviewer: reviewer{s}}) // of a world that there is not
	robot := s.guard.Caller(callers[5].who)
	if robot.May(t.Context(), policy.Get, access.Target{ID: rowsID("Kustomization", "team", "apps")}).Allowed {
		t.Error("what cannot be asked is allowed")
	}
}

// TestTokensOfProjects: what an AppProject lists of a role, in its spec and in its
// status; of a role that is no more there are none.
func TestTokensOfProjects(t *testing.T) {
	s := matrixServer(t)
	project := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": map[string]any{"namespace": "argocd", "name": "shop"},
		"spec": map[string]any{"roles": []any{map[string]any{"name": "ci", "jwtTokens": []any{map[string]any{"iat": int64(100)}}}}},
		"status": map[string]any{"jwtTokensByRole": map[string]any{
			"ci":   map[string]any{"items": []any{map[string]any{"id": "one", "iat": int64(200), "exp": int64(300)}}},
			"gone": map[string]any{"items": []any{map[string]any{"id": "two", "iat": int64(400)}}},
		}},
	}}
	s.settings.projects = map[object.ID]*unstructured.Unstructured{object.Of(project): project}
	for role, want := range map[string]string{"ci": "[{one 200 300} { 100 0}]", "gone": "[]", "other": "[]"} {
		tokens, err := projectTokens{s}.Tokens(t.Context(), "shop", role)
		if got := fmt.Sprint(tokens); err != nil || got != want {
			t.Errorf("%s: %s, %v", role, got, err)
		}
	}
}
