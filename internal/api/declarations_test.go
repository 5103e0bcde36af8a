package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// declaredObjects is a world of objects alone.
type declaredObjects map[object.ID]*unstructured.Unstructured

func (d declaredObjects) IDs() []object.ID {
	var ids []object.ID
	for id := range d {
		ids = append(ids, id)
	}
	return ids
}
func (d declaredObjects) Of(gk schema.GroupKind) ([]*unstructured.Unstructured, bool) {
	var all []*unstructured.Unstructured
	for id, o := range d {
		if id.GroupKind() == gk {
			all = append(all, o)
		}
	}
	return all, gk.Kind != "HelmRelease" // which are still being read
}
func (d declaredObjects) Declared(id object.ID) (*unstructured.Unstructured, string) {
	return d[id], ""
}
func (declaredObjects) MadeBy(object.ID) (object.ID, bool) { return object.ID{}, false }
func (declaredObjects) Unheard() string                    { return "" }

func declaredObject(group, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/v1", "kind": kind, "spec": spec}}
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{"team": namespace})
	return o
}

// declarationsServer is the server of the matrix, with some objects.
func declarationsServer(t *testing.T) declarationService {
	t.Helper()
	s, world := matrixServer(t), declaredObjects{}
	for _, o := range []*unstructured.Unstructured{
		declaredObject("argoproj.io", "Application", "argocd", "web", map[string]any{"project": "shop"}),
		declaredObject("argoproj.io", "Application", "argocd", "db", map[string]any{"project": "core"}),
		declaredObject("kustomize.toolkit.fluxcd.io", "Kustomization", "team", "apps", map[string]any{"postBuild": map[string]any{"substitute": map[string]any{"password": "canary", "region": "north"}}}),
		declaredObject("kustomize.toolkit.fluxcd.io", "Kustomization", "team", "more", nil),
		declaredObject("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "root", nil),
	} {
		world[object.Of(o)] = o
	}
	project := declaredObject("argoproj.io", "AppProject", "argocd", "shop", nil)
	project.Object["status"] = map[string]any{"jwtTokensByRole": map[string]any{"ci": "canary"}}
	s.settings.projects = map[object.ID]*unstructured.Unstructured{object.Of(project): project}
	s.world.Store(&World{Declared: world, Engine: engine.New(t.Context(), engine.Options{})})
	return declarationService{s}
}

// listed asks as somebody, through the rule, and says what came: names, and the
// token of the next page.
func (s declarationService) listed(t *testing.T, who signin.Principal, m *plumbv1.ListDeclarationsRequest) (names []string, next string, err error) {
	t.Helper()
	ctx := context.WithValue(t.Context(), callerKey{}, s.guard.Caller(who))
	if err := declarationsRule(ctx, s.Server, callerOf(ctx), m); err != nil {
		return nil, "", err
	}
	answer, err := s.ListDeclarations(ctx, m)
	for _, manifest := range answer.GetManifests() {
		if strings.Contains(manifest, "canary") {
			t.Errorf("a secret is shown:\n%s", manifest)
		}
		_, after, _ := strings.Cut(manifest, "\n  name: ")
		name, _, _ := strings.Cut(after, "\n")
		names = append(names, name)
	}
	return names, answer.GetNextPageToken(), err
}

func TestListDeclarations(t *testing.T) {
	s := declarationsServer(t)
	who := map[string]signin.Principal{}
	for _, c := range callers {
		name, _, _ := strings.Cut(c.name, " ")
		who[name] = c.who
	}
	kustomizations := plumbv1.ListDeclarationsRequest{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}
	for _, c := range []struct {
		who  string
		ask  *plumbv1.ListDeclarationsRequest
		want string // names in order, or the code of the refusal
	}{
		{"admin", &kustomizations, "[root apps more]"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: kustomizations.Group, Kind: kustomizations.Kind, Namespace: "team"}, "[apps more]"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: kustomizations.Group, Kind: kustomizations.Kind, LabelSelector: "team=flux-system"}, "[root]"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "AppProject"}, "[shop]"},
		{"fritz", &kustomizations, "[apps more]"},
		{"dana", &kustomizations, "[]"},
		{"dana", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application"}, "[web]"},
		{"dana", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web"}, "[web]"},
		{"dana", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "db"}, "permission_denied"},
		{"dana", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "nothing"}, "permission_denied"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "nothing"}, "not_found"},
		{"robot", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "db"}, "[db]"}, // by the cluster's RBAC: get, not list
		{"robot", &plumbv1.ListDeclarationsRequest{Group: "argoproj.io", Kind: "Application"}, "[]"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}, "unavailable"},
		{"admin", &plumbv1.ListDeclarationsRequest{Kind: "Secret"}, "invalid_argument"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: kustomizations.Group, Kind: kustomizations.Kind, Name: "apps"}, "invalid_argument"},
		{"admin", &plumbv1.ListDeclarationsRequest{}, "invalid_argument"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: kustomizations.Group, Kind: kustomizations.Kind, LabelSelector: "a=("}, "invalid_argument"},
		{"admin", &plumbv1.ListDeclarationsRequest{Group: kustomizations.Group, Kind: kustomizations.Kind, PageToken: "?"}, "invalid_argument"},
	} {
		names, _, err := s.listed(t, who[c.who], c.ask)
		got := fmt.Sprint(names)
		if err != nil {
			got = connect.CodeOf(err).String()
		}
		if got != c.want {
			t.Errorf("%s, %v: %s, wanted %s", c.who, c.ask, got, c.want)
		}
	}
}

// TestDeclarationsComeInPages: a page ends where the next one begins, though
// objects come and go meanwhile.
func TestDeclarationsComeInPages(t *testing.T) {
	s := declarationsServer(t)
	ask := &plumbv1.ListDeclarationsRequest{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", PageSize: 1}
	var all []string
	for {
		names, next, err := s.listed(t, callers[0].who, ask)
		if err != nil || len(names) != 1 {
			t.Fatalf("%v, %v", names, err)
		}
		all = append(all, names...)
		delete(s.world.Load().Declared.(declaredObjects), object.ID{Group: ask.Group, Kind: ask.Kind, Namespace: "flux-system", Name: "root"})
		if ask.PageToken = next; next == "" {
			break
		}
	}
	if !slices.Equal(all, []string{"root", "apps", "more"}) {
		t.Errorf("got %v", all)
	}
}

// TestWatchDeclarations: first all that the caller may see, then what changes of
// it, and what is gone or is theirs no more; nothing of others.
func TestWatchDeclarations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := declarationsServer(t)
		world := s.world.Load().Declared.(declaredObjects) //nolint:forcetypeassert // as it was made
		var fritz signin.Principal
		for _, c := range callers {
			if strings.HasPrefix(c.name, "fritz") {
				fritz = c.who
			}
		}
		ctx, stop := context.WithCancel(context.WithValue(t.Context(), callerKey{}, s.guard.Caller(fritz)))
		told := make(chan string, 10)
		ended := make(chan error, 1)
		go func() {
			ended <- s.watchDeclarations(ctx, &plumbv1.WatchDeclarationsRequest{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", LabelSelector: "team!=resting"}, func(m *plumbv1.WatchDeclarationsResponse) error {
				var words []string
				for _, manifest := range m.GetManifests() {
					if strings.Contains(manifest, "canary") {
						t.Errorf("a secret is shown:\n%s", manifest)
					}
					_, after, _ := strings.Cut(manifest, "\n  name: ")
					name, _, _ := strings.Cut(after, "\n")
					words = append(words, name)
				}
				for _, ref := range m.GetRemoved() {
					words = append(words, "-"+ref.GetName())
				}
				told <- fmt.Sprint(words, m.GetWhole())
				return nil
			})
		}()
		expect := func(want string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			got := "nothing"
			select {
			case got = <-told:
			default:
			}
			if got != want {
				t.Errorf("told %s, not %s", got, want)
			}
		}
		put := func(namespace, name, version, team string) {
			o := declaredObject("kustomize.toolkit.fluxcd.io", "Kustomization", namespace, name, nil)
			o.SetResourceVersion(version)
			o.SetLabels(map[string]string{"team": team})
			world[object.Of(o)] = o
			s.onlookers.wake(object.Of(o))
		}
		expect("[apps more] true")
		put("team", "more", "2", "team")
		expect("[more] true")
		put("flux-system", "root", "2", "team") // is not for fritz
		expect("nothing")
		put("team", "more", "3", "resting")
		expect("[-more] true")
		apps := object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "team", Name: "apps"}
		delete(world, apps)
		s.onlookers.wake(apps)
		expect("[-apps] true")
		put("team", "new", "4", "team")
		expect("[new] true")
		s.guard.SetPolicy(policy.Compile(nil, nil)) // by which fritz may see nothing
		time.Sleep(2 * rechecked)
		expect("[-new] true")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
