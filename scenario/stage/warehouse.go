package stage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/source/bucket/s3test"
)

// A Warehouse is an OCI registry, a Helm repository and a bucket of an object
// store on loopback, filled by the story.
type Warehouse struct {
	host   string
	server *http.Server
	ended  chan struct{}

	mu       sync.Mutex
	packages map[string][]byte           // chart archives by file name
	index    map[string][]map[string]any // entries by chart
	guard    [2]string                   // user and password; empty: everybody is let in
	broken   bool
	asked    map[string]int // requests by path

	bucket  s3test.Store
	signers signers
}

// NewWarehouse serves an empty one.
func NewWarehouse() (*Warehouse, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Warehouse{
		host: listener.Addr().String(), ended: make(chan struct{}),
		packages: map[string][]byte{}, index: map[string][]map[string]any{}, asked: map[string]int{},
		signers: newSigners(),
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	mux.HandleFunc("/charts/", w.charts)
	mux.Handle("/", &w.bucket)
	w.server = &http.Server{Handler: w.guarded(mux)}
	go func() {
		defer close(w.ended)
		_ = w.server.Serve(listener)
	}()
	return w, nil
}

// Close ends the server with all connections.
func (w *Warehouse) Close() {
	_ = w.server.Close()
	<-w.ended
}

// Host is the address of the registry, without a scheme.
func (w *Warehouse) Host() string { return w.host }

// Charts is the address of the Helm repository.
func (w *Warehouse) Charts() string { return "http://" + w.host + "/charts" }

// Guard lets nobody in without a user and a password, which are the access key
// and the secret key of the bucket; empty ones let everybody in.
func (w *Warehouse) Guard(user, password string) {
	w.mu.Lock()
	w.guard = [2]string{user, password}
	w.mu.Unlock()
	w.bucket.Change(func(s *s3test.Store) {
		s.Keys = nil
		if user != "" {
			s.Keys = map[string]string{user: password}
		}
	})
}

// Break makes every request fail, or not.
func (w *Warehouse) Break(broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = broken
}

// Asked is how often a path was asked for.
func (w *Warehouse) Asked(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

func (w *Warehouse) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked[r.URL.Path]++
		guard, broken := w.guard, w.broken
		w.mu.Unlock()
		user, password, _ := r.BasicAuth()
		switch {
		case broken:
			http.Error(out, "out of order", http.StatusServiceUnavailable)
		case !strings.HasPrefix(r.URL.Path, "/v2/") && !strings.HasPrefix(r.URL.Path, "/charts/"):
			next.ServeHTTP(out, r) // the object store checks signatures itself
		case guard[0] != "" && (user != guard[0] || password != guard[1]):
			out.Header().Set("WWW-Authenticate", `Basic realm="warehouse"`)
			http.Error(out, "who are you?", http.StatusUnauthorized)
		default:
			next.ServeHTTP(out, r)
		}
	})
}

func (w *Warehouse) charts(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	file := strings.TrimPrefix(r.URL.Path, "/charts/")
	if file == "index.yaml" {
		text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "entries": w.index, "generated": "2026-01-01T00:00:00Z"})
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = out.Write(text)
		return
	}
	content, ok := w.packages[file]
	if !ok {
		http.NotFound(out, r)
		return
	}
	_, _ = out.Write(content)
}

// PushChart packages a chart's directory, and offers it in the Helm repository
// and below "charts" in the registry. fill is done to every file.
func (w *Warehouse) PushChart(ctx context.Context, dir string, fill func([]byte) []byte) error {
	text, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		return err
	}
	var metadata map[string]any
	if err := yaml.Unmarshal(fill(text), &metadata); err != nil {
		return err
	}
	chart, version := fmt.Sprint(metadata["name"]), fmt.Sprint(metadata["version"])
	archive, err := Pack(dir, chart, fill)
	if err != nil {
		return err
	}
	file := chart + "-" + version + ".tgz"
	sum := sha256.Sum256(archive)
	entry := map[string]any{}
	for k, v := range metadata {
		entry[k] = v
	}
	entry["urls"], entry["digest"], entry["created"] = []string{file}, hex.EncodeToString(sum[:]), "2026-01-01T00:00:00Z"
	w.mu.Lock()
	w.packages[file] = archive
	w.index[chart] = slices.DeleteFunc(w.index[chart], func(e map[string]any) bool { return e["version"] == metadata["version"] })
	w.index[chart] = append(w.index[chart], entry)
	w.mu.Unlock()
	_, err = w.push(ctx, "charts/"+chart+":"+strings.ReplaceAll(version, "+", "_"), "application/vnd.cncf.helm.config.v1+json", nil,
		[]mutate.Addendum{layerOf(archive, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")})
	return err
}

// FluxLayer is the media type of the layer of an artifact of Flux.
const FluxLayer = "application/vnd.cncf.flux.content.v1.tar+gzip"

// A Layer of an artifact is an archive of the files of a directory.
type Layer struct{ MediaType, Dir string }

// PushArtifact offers layers at "repository:tag" in the registry, as "flux push
// artifact" does, and returns the digest of the manifest. origin is where it
// says that its content is from.
func (w *Warehouse) PushArtifact(ctx context.Context, at, origin string, layers []Layer, fill func([]byte) []byte) (string, error) {
	var packed []mutate.Addendum
	for _, l := range layers {
		archive, err := Pack(l.Dir, "", fill)
		if err != nil {
			return "", err
		}
		packed = append(packed, layerOf(archive, types.MediaType(l.MediaType)))
	}
	annotations := map[string]string{"org.opencontainers.image.created": "2026-01-01T00:00:00Z", "org.opencontainers.image.revision": origin}
	return w.push(ctx, at, "application/vnd.cncf.flux.config.v1+json", annotations, packed)
}

func layerOf(content []byte, mediaType types.MediaType) mutate.Addendum {
	return mutate.Addendum{Layer: static.NewLayer(content, mediaType), MediaType: mediaType}
}

// push writes an image, and returns its digest.
func (w *Warehouse) push(ctx context.Context, at string, config types.MediaType, annotations map[string]string, layers []mutate.Addendum) (string, error) {
	image, err := imageOf(config, annotations, layers)
	if err != nil {
		return "", err
	}
	if err := w.write(ctx, at, image); err != nil {
		return "", err
	}
	digest, err := image.Digest()
	return digest.String(), err
}

func imageOf(config types.MediaType, annotations map[string]string, layers []mutate.Addendum) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
	image, err := mutate.Append(image, layers...)
	if err != nil || annotations == nil {
		return image, err
	}
	return mutate.Annotations(image, annotations).(v1.Image), nil
}

func (w *Warehouse) write(ctx context.Context, at string, image v1.Image) error {
	ref, err := name.NewTag(w.host+"/"+at, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx), remote.WithTransport(w))
}

// RoundTrip lets the story itself in, whatever the guard.
func (w *Warehouse) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	guard := w.guard
	w.mu.Unlock()
	if guard[0] != "" {
		r = r.Clone(r.Context())
		r.SetBasicAuth(guard[0], guard[1])
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Pack is an archive of a directory, as "helm package" and "flux build artifact"
// make it, below another one if that has a name. fill is done to every file.
func Pack(dir, below string, fill func([]byte) []byte) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		content = fill(content)
		in, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: path.Join(below, filepath.ToSlash(in)), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(1_700_000_000, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
