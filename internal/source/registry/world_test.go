package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	served "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plumb.dev/plumb/internal/model"
)

// world is a registry that counts what it is asked for, and that a test may
// stand in front of.
type world struct {
	t      *testing.T
	server *httptest.Server
	inner  http.Handler
	host   string

	mu    sync.Mutex
	front func(w http.ResponseWriter, r *http.Request, next http.Handler) // nil: nobody
	asked map[string]int                                                  // METHOD path
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, asked: map[string]int{}}
	w.inner = served.New(served.Logger(log.New(io.Discard, "", 0)), served.WithReferrersSupport(true))
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	w.host = strings.TrimPrefix(w.server.URL, "http://")
	return w
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked[r.Method+" "+r.URL.Path]++
	front := w.front
	w.mu.Unlock()
	if front == nil {
		w.inner.ServeHTTP(out, r)
		return
	}
	front(out, r, w.inner)
}

// stand puts a handler in front of the registry.
func (w *world) stand(front func(out http.ResponseWriter, r *http.Request, next http.Handler)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.front = front
}

// count tells how often paths that hold a part were asked for.
func (w *world) count(method, part string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for asked, times := range w.asked {
		if strings.HasPrefix(asked, method+" ") && strings.Contains(asked, part) {
			n += times
		}
	}
	return n
}

// behind writes to the registry itself, past whoever stands in front.
func (w *world) behind() remote.Option {
	return remote.WithTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		if r.Body == nil {
			r.Body = http.NoBody
		}
		w.inner.ServeHTTP(recorder, r)
		response := recorder.Result()
		response.Request = r
		return response, nil
	}))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) reference(text string) name.Reference {
	w.t.Helper()
	reference, err := name.ParseReference(w.host + "/" + text)
	if err != nil {
		w.t.Fatal(err)
	}
	return reference
}

// push writes an image to "repository:tag" and returns its digest.
func (w *world) push(at string, image v1.Image) v1.Hash {
	w.t.Helper()
	if err := remote.Write(w.reference(at), image, w.behind()); err != nil {
		w.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	return digest
}

const fluxLayer = "application/vnd.cncf.flux.content.v1.tar+gzip"

// layer is content of a media type.
func layer(content, mediaType string) mutate.Addendum {
	return mutate.Addendum{Layer: static.NewLayer([]byte(content), types.MediaType(mediaType)), MediaType: types.MediaType(mediaType)}
}

// artifact is an image of layers.
func artifact(t *testing.T, annotations map[string]string, config string, layers ...mutate.Addendum) v1.Image {
	t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.MediaType(config))
	image, err := mutate.Append(image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	if annotations != nil {
		image = mutate.Annotations(image, annotations).(v1.Image)
	}
	return image
}

func simple(t *testing.T, content string) v1.Image {
	t.Helper()
	return artifact(t, nil, "application/vnd.cncf.flux.config.v1+json", layer(content, fluxLayer))
}

func chartImage(t *testing.T, content string) v1.Image {
	t.Helper()
	return artifact(t, map[string]string{annotationCreated: "2026-01-02T03:04:05Z"}, chartConfig,
		layer("provenance", "application/vnd.cncf.helm.chart.provenance.v1.prov"), layer(content, chartLayer))
}

func (w *world) source(repository string) *model.OCISource {
	return &model.OCISource{URL: w.host + "/" + repository}
}

func resolve(t *testing.T, c *Client, spec *model.OCISource) model.OCIArtifact {
	t.Helper()
	artifact, err := c.Resolve(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return artifact
}

func pull(ctx context.Context, c *Client, spec *model.OCISource, artifact model.OCIArtifact) (string, error) {
	content, err := c.Pull(ctx, spec, artifact)
	if err != nil {
		return "", err
	}
	defer func() { _ = content.Close() }()
	read, err := io.ReadAll(content)
	return string(read), err
}

// wantFault checks the reason and a part of the message.
func wantFault(t *testing.T, err error, reason, part string) *model.Fault {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Reason != reason || !strings.Contains(fault.Message, part) {
		t.Fatalf("got %#v (%v), want a fault %s with %q", err, err, reason, part)
	}
	return fault
}

func quick(t *testing.T, limits Limits) *Client {
	t.Helper()
	return New(Options{Dir: t.TempDir(), Limits: limits})
}
