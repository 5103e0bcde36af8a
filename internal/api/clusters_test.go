package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// worldServer is matrixServer with an engine that knows nothing, an empty journal
// in memory, and an API server that tells its version.
func worldServer(t *testing.T) *Server {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"gitVersion":"v1.37.1"}`))
	}))
	t.Cleanup(api.Close)
	clusters, err := cluster.NewSet(&rest.Config{Host: api.URL}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clusters.Close)
	j, err := journal.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	s := matrixServer(t)
	s.world.Store(&World{
		Declared: nothingDeclared{}, Journal: j, Local: clusters.Local(),
		Engine: engine.New(t.Context(), engine.Options{Clusters: clusters, Journal: j}),
	})
	return s
}

func clusterSecret(name, server, project string) *unstructured.Unstructured {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{
			"name": "cluster-" + name, "namespace": "argocd",
			"labels":      map[string]any{secretType: "cluster", "region": "eu"},
			"annotations": map[string]any{"example.org/owner": "ann", "managed-by": "argocd.argoproj.io", "kubectl.kubernetes.io/last-applied-configuration": `{"data":{"config":"hunter2"}}`},
		},
		"data": map[string]any{
			"name": encode(name), "server": encode(server), "project": encode(project), "namespaces": encode("team, bank"), "config": encode(`{"bearerToken":"hunter2"}`),
		},
	}}
}

// TestRegisteredClusterHasNoCredentials: of the Secret, only what is none is kept.
func TestRegisteredClusterHasNoCredentials(t *testing.T) {
	c := readRegistered(clusterSecret("eu-1", "https://ann:hunter2@eu-1.example.org/", "shop"))
	want := "{argocd/cluster-eu-1 eu-1 https://eu-1.example.org shop [team bank] map[region:eu] map[example.org/owner:ann]}"
	if got := fmt.Sprint(c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestClusters(t *testing.T) {
	s := worldServer(t)
	s.settings.clusters = map[object.ID]registeredCluster{}
	for _, o := range []*unstructured.Unstructured{
		clusterSecret("shop-cluster", "https://eu-1.example.org", "shop"), clusterSecret("empty", "https://eu-2.example.org", ""),
	} {
		s.settings.clusters[object.Of(o)] = readRegistered(o)
	}
	s.deliveries.Put(rows.ID(ref("Application", "argocd", "bad")), &plumbv1.Delivery{
		Ref: ref("Application", "argocd", "bad"), Project: "shop", Cluster: "shop-cluster", Objects: 5, Health: &plumbv1.Health{State: rows.Degraded},
	})
	for _, row := range []string{"apps", "root"} {
		namespace := map[string]string{"apps": "team", "root": "flux-system"}[row]
		s.deliveries.Put(rows.ID(ref("Kustomization", namespace, row)), &plumbv1.Delivery{Ref: ref("Kustomization", namespace, row), Cluster: rows.InCluster, Objects: 2})
	}
	s.deliveries.Remove(rows.ID(ref("Application", "argocd", "db")))
	show := func(who signin.Principal) string {
		t.Helper()
		answer, err := fleetService{s}.ListClusters(asCaller(t, t.Context(), s, who), nil)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range answer.GetClusters() {
			server := c.GetServer()
			if c.GetName() == rows.InCluster && server != "" {
				server = "here"
			}
			lines = append(lines, fmt.Sprintf("%s %q %s: %d deliveries, %d unhealthy, %d objects, %s %v, %v %v", c.GetName(), server, c.GetVersion(),
				c.GetDeliveries(), c.GetUnhealthy(), c.GetObjects(), c.GetHealth().GetState(), c.GetReachable(), c.GetLabels(), c.GetAnnotations()))
			if c.GetReachable() && c.GetSince() == nil {
				t.Errorf("%s is reachable since nobody knows when", c.GetName())
			}
		}
		return strings.Join(lines, "\n")
	}
	show(callers[0].who) // asks the API server
	const all = `empty "https://eu-2.example.org" : 0 deliveries, 0 unhealthy, 0 objects, Unknown false, map[region:eu] map[example.org/owner:ann]
in-cluster "here" v1.37.1: 2 deliveries, 0 unhealthy, 4 objects, Healthy true, map[] map[]
shop-cluster "https://eu-1.example.org" : 2 deliveries, 1 unhealthy, 5 objects, Unknown false, map[region:eu] map[example.org/owner:ann]`
	if got := show(callers[0].who); got != all {
		t.Errorf("admin sees\n%s\nwant\n%s", got, all)
	}
	if got, want := show(callers[1].who), `shop-cluster "" : 2 deliveries, 1 unhealthy, 5 objects, Unknown false, map[] map[]`; got != want {
		t.Errorf("dana, who may not get clusters, sees\n%s\nwant\n%s", got, want)
	}
	if got, want := show(callers[2].who), `in-cluster "" v1.37.1: 1 deliveries, 0 unhealthy, 2 objects, Healthy true, map[] map[]`; got != want {
		t.Errorf("fritz sees\n%s\nwant\n%s", got, want)
	}
	if _, err := (fleetService{s}).GetCluster(asCaller(t, t.Context(), s, callers[1].who), &plumbv1.GetClusterRequest{Name: "empty"}); err == nil {
		t.Error("dana is told of a cluster that she may not see")
	}
}

// TestContactHealth: why a server does not answer names addresses, and is for
// those who may get clusters.
func TestContactHealth(t *testing.T) {
	refused := cluster.Contact{Asked: true, Err: errors.New("dial tcp 10.0.0.1:6443: connection refused")}
	if h := contactHealth(refused, true); h.GetState() != rows.Degraded || !strings.Contains(h.GetMessage(), "10.0.0.1") {
		t.Errorf("with details: %v", h)
	}
	if h := contactHealth(refused, false); h.GetState() != rows.Degraded || strings.Contains(h.GetMessage(), "10.0.0.1") {
		t.Errorf("without: %v", h)
	}
	if h := contactHealth(cluster.Contact{}, true); h.GetState() != rows.Unknown {
		t.Errorf("before it was asked: %v", h)
	}
}
