package argocd_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/argocd"
)

// watched are the Applications that a watch has told of; whole: all of them.
type watched struct {
	apps  []*unstructured.Unstructured
	whole bool
}

func (w *watched) Of(kind argocd.Kind) ([]*unstructured.Unstructured, bool) {
	if kind != argocd.KindApplication {
		return nil, true
	}
	return append([]*unstructured.Unstructured{}, w.apps...), w.whole
}

// TestListsAskNobody: 5,000 Applications are listed from what is watched, with
// the same filters and for the same eyes; the API server is asked only while not
// all of them have been seen.
func TestListsAskNobody(t *testing.T) {
	s := setup(t, project, defaultProject, shop, other)
	w := &watched{whole: true}
	s.seen = w
	for i := range 5000 {
		name, in := fmt.Sprintf("app-%04d", i), "default"
		if i%1000 == 0 {
			in = "shop"
		}
		w.apps = append(w.apps, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
			"metadata": map[string]any{"name": name, "namespace": "argocd", "resourceVersion": fmt.Sprint(10 + i), "labels": map[string]any{"third": fmt.Sprint(i % 3)}},
			"spec":     map[string]any{"project": in, "destination": map[string]any{"name": "in-cluster", "namespace": "x"}},
		}})
	}
	got := s.must("admin", apps+"List", map[string]any{})
	if n := len(names(got)); n != 5000 || pick(got, "metadata", "resourceVersion") != "5009" {
		t.Errorf("%d Applications in version %v", n, pick(got, "metadata", "resourceVersion"))
	}
	want := []string{"app-0000", "app-1000", "app-2000", "app-3000", "app-4000"}
	if got := names(s.must("shopkeeper", apps+"List", map[string]any{})); !reflect.DeepEqual(got, want) {
		t.Errorf("who may see project shop is shown %v", got)
	}
	if got := names(s.must("admin", apps+"List", map[string]any{"projects": []any{"shop"}, "selector": "third=0"})); !reflect.DeepEqual(got, []string{"app-0000", "app-3000"}) {
		t.Errorf("got %v", got)
	}
	if got := names(s.must("admin", apps+"List", map[string]any{"appNamespace": "elsewhere"})); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if s.objects.lists != 0 {
		t.Errorf("the API server was asked for %d lists", s.objects.lists)
	}
	w.whole = false
	if got := names(s.must("admin", apps+"List", map[string]any{})); !reflect.DeepEqual(got, []string{"other", "shop"}) {
		t.Errorf("got %v", got)
	}
}

// TestCreatedIsListed: whoever creates an Application and lists finds it, though
// the watch tells of it a moment later.
func TestCreatedIsListed(t *testing.T) {
	s := setup(t, project, defaultProject)
	w := &watched{whole: true}
	told := make(chan struct{})
	s.seen = ofFunc(func(kind argocd.Kind) ([]*unstructured.Unstructured, bool) {
		all, _ := w.Of(kind)
		if kind != argocd.KindApplication {
			return all, true
		}
		select {
		case <-told: // somebody has looked before
			all, _, err := s.objects.List(context.Background(), kind, "", nil)
			return all, err == nil
		default:
			close(told)
			return all, true
		}
	})
	s.must("admin", apps+"Create", map[string]any{"application": map[string]any{
		"metadata": map[string]any{"name": "fresh"},
		"spec":     map[string]any{"project": "default", "source": map[string]any{"repoURL": "https://example.org/x.git", "path": "."}, "destination": map[string]any{"name": "in-cluster", "namespace": "x"}},
	}})
	select {
	case <-told:
	default:
		t.Error("nobody has waited for the watch")
	}
	if got := names(s.must("admin", apps+"List", map[string]any{})); !reflect.DeepEqual(got, []string{"fresh"}) {
		t.Errorf("got %v", got)
	}
}

type ofFunc func(argocd.Kind) ([]*unstructured.Unstructured, bool)

func (f ofFunc) Of(kind argocd.Kind) ([]*unstructured.Unstructured, bool) { return f(kind) }

// Secrets are never listed from what is watched: nobody waits until they are.
func TestNobodyWaitsForSecrets(t *testing.T) {
	s := setup(t)
	waited := false
	s.seen = ofFunc(func(kind argocd.Kind) ([]*unstructured.Unstructured, bool) {
		waited = waited || kind == argocd.KindSecret
		return nil, true
	})
	s.must("admin", "repository.RepositoryService/CreateRepository", map[string]any{"repo": map[string]any{"repo": "https://example.org/shop.git"}})
	s.must("admin", "cluster.ClusterService/Create", map[string]any{"cluster": map[string]any{"server": "https://far.example.org", "name": "far"}})
	if waited {
		t.Error("a call waits for a Secret that no list tells of")
	}
}
