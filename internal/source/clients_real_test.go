package source

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ociremote "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plumb.dev/plumb/internal/model"
)

// inProcessRegistry serves images over plain HTTP and counts blobs.
func inProcessRegistry(t testing.TB) (host string, blobs *atomic.Int64) {
	t.Helper()
	blobs = &atomic.Int64{}
	inner := registry.New()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			blobs.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host, blobs
}

// push stores one layer under a tag.
func push(t testing.TB, reference string, content []byte, media types.MediaType) {
	t.Helper()
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(content, media), MediaType: media})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := ociremote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

const (
	fluxLayer = "application/vnd.cncf.flux.content.v1.tar+gzip"
	helmLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

func TestWithARealRegistry(t *testing.T) {
	host, blobs := inProcessRegistry(t)
	push(t, host+"/apps/shop:v1", archived(t, files("a.yaml", "1")...), fluxLayer)
	push(t, host+"/charts/web:1.0.0", archived(t, chartFiles("web", "1.0.0")...), helmLayer)
	push(t, host+"/charts/web:1.1.0", archived(t, chartFiles("web", "1.1.0")...), helmLayer)
	store := openStore(t, t.TempDir(), Limits{})
	spec := ociSource("v1")
	spec.OCI.URL, spec.OCI.Auth.Plain = host+"/apps/shop", true
	tree := mustFetch(t, store, spec, nil)
	if read(t, tree, "a.yaml") != "1" || !strings.HasPrefix(tree.Revision(), "v1@sha256:") {
		t.Errorf("revision %s", tree.Revision())
	}
	chart := chartSource("web", ">=1.0.0")
	chart.Chart.Repository, chart.Chart.OCI, chart.Chart.Auth.Plain = host+"/charts", true, true
	blobs.Store(0)
	for i := range 20 {
		chart.ID.Name = fmt.Sprintf("web-%d", i)
		if tree := mustFetch(t, store, chart, nil); tree.Revision() != "1.1.0" || tree.Chart().Name != "web" {
			t.Fatalf("revision %s", tree.Revision())
		}
	}
	if n := blobs.Load(); n != 1 {
		t.Errorf("one chart was downloaded %d times", n)
	}
	spec.OCI.Ref.Tag = "absent"
	_, err := store.Fetch(context.Background(), spec, nil, nil)
	mustFail(t, err, "OCIArtifactPullFailed")
}

func TestWithARealHelmRepository(t *testing.T) {
	packed := archived(t, chartFiles("web", "1.0.0")...)
	index := fmt.Sprintf("apiVersion: v1\nentries:\n  web:\n  - {apiVersion: v2, name: web, version: 1.0.0, digest: %s, urls: [web-1.0.0.tgz]}\ngenerated: \"2026-01-01T00:00:00Z\"\n", hexOf(digestOf(packed)))
	var indexes, packages atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/index.yaml":
			indexes.Add(1)
			_, _ = w.Write([]byte(index))
		case "/web-1.0.0.tgz":
			packages.Add(1)
			_, _ = w.Write(packed)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	store := openStore(t, t.TempDir(), Limits{})
	repository := model.Source{ID: named("HelmRepository", "r"), Index: &model.IndexSource{URL: srv.URL}}
	if tree := mustFetch(t, store, repository, nil); tree.Revision() != digestOf([]byte(read(t, tree, "index.yaml"))) {
		t.Errorf("revision %s", tree.Revision())
	}
	spec := chartSource("web", "1.x")
	spec.Chart.Repository, spec.Chart.Fresh = srv.URL, 3600_000_000_000
	for i := range 20 {
		spec.ID.Name = fmt.Sprintf("web-%d", i)
		if tree := mustFetch(t, store, spec, nil); tree.Revision() != "1.0.0" {
			t.Fatalf("revision %s", tree.Revision())
		}
	}
	if indexes.Load() > 2 || packages.Load() != 1 {
		t.Errorf("%d indexes and %d packages", indexes.Load(), packages.Load())
	}
	spec.Chart.Version = "2.x"
	_, err := store.Fetch(context.Background(), spec, nil, nil)
	mustFail(t, err, "InvalidChartReference", "web")
}
