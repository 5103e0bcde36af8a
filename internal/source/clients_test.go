package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5" //nolint:gosec // entity tags of object stores are MD5
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// entry is one entry of an archive.
type entry struct {
	name, content string
	typ           byte // 0: a file
	link          string
	mode          int64
}

// archived makes a tar.gz of entries.
func archived(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Linkname: e.link, Size: int64(len(e.content)), Mode: e.mode}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// files makes entries of "path", "content", ….
func files(pairs ...string) []entry {
	var all []entry
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, entry{name: pairs[i], content: pairs[i+1]})
	}
	return all
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// offline stands for servers: what they have and how often they were asked.
type offline struct {
	mu       sync.Mutex
	layers   map[string][]byte // by tag
	charts   map[string][]byte // packages, by name and version
	versions map[string]string // newest version of a chart
	objects  map[string]string // of the bucket
	index    string
	down     error

	looks, pulls, lists, gets atomic.Int64
	hold                      chan struct{} // looks wait for it, if it is set
}

func newOffline() *offline {
	return &offline{layers: map[string][]byte{}, charts: map[string][]byte{}, versions: map[string]string{}, objects: map[string]string{}}
}

func (o *offline) clients() Clients {
	return Clients{Registry: offlineRegistry{o}, Charts: offlineCharts{o}, Buckets: offlineBuckets{o}}
}

func (o *offline) failing() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}

func (o *offline) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = err
}

type offlineRegistry struct{ *offline }

func (o offlineRegistry) Resolve(_ context.Context, spec *model.OCISource) (model.OCIArtifact, error) {
	o.looks.Add(1)
	if err := o.failing(); err != nil {
		return model.OCIArtifact{}, err
	}
	layer, ok := o.layers[spec.Ref.Tag]
	if !ok {
		return model.OCIArtifact{}, &model.Fault{Reason: reasonOCIPullFailed, Message: "no such tag", Retry: true}
	}
	digest := digestOf(append([]byte("manifest "), layer...))
	return model.OCIArtifact{
		Revision: spec.Ref.Tag + "@" + digest, Digest: digest, Tag: spec.Ref.Tag, LayerDigest: digestOf(layer), LayerSize: int64(len(layer)),
		Metadata: map[string]string{"org.opencontainers.image.source": "https://example.com"},
	}, nil
}

func (o offlineRegistry) Pull(_ context.Context, spec *model.OCISource, _ model.OCIArtifact) (io.ReadCloser, error) {
	o.pulls.Add(1)
	return io.NopCloser(bytes.NewReader(o.layers[spec.Ref.Tag])), o.failing()
}

func (o offlineRegistry) ResolveChart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	return o.resolve(ctx, spec)
}

func (o offlineRegistry) PullChart(_ context.Context, _ *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	return o.open(chart)
}

func (o *offline) resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	o.looks.Add(1)
	if o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return model.ChartArtifact{}, ctx.Err()
		}
	}
	if err := o.failing(); err != nil {
		return model.ChartArtifact{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	version := spec.Version
	if newest, ok := o.versions[spec.Name]; ok && (version == "" || version == "*") {
		version = newest
	}
	content, ok := o.charts[spec.Name+" "+version]
	if !ok {
		return model.ChartArtifact{}, &model.Fault{Reason: "InvalidChartReference", Message: "no such chart", Retry: true}
	}
	address := spec.Repository + "/" + spec.Name + "-" + version + ".tgz"
	if strings.Contains(spec.Repository, "elsewhere") {
		address = "oci://registry.example/charts/" + spec.Name + ":" + version
	}
	return model.ChartArtifact{Name: spec.Name, Version: version, Digest: digestOf(content), Address: address}, nil
}

func (o *offline) open(chart model.ChartArtifact) (io.ReadCloser, error) {
	o.pulls.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	return io.NopCloser(bytes.NewReader(o.charts[chart.Name+" "+chart.Version])), nil
}

type offlineCharts struct{ *offline }

func (o offlineCharts) Index(context.Context, *model.IndexSource) (string, io.ReadCloser, error) {
	o.looks.Add(1)
	if err := o.failing(); err != nil {
		return "", nil, err
	}
	return digestOf([]byte(o.index)), io.NopCloser(strings.NewReader(o.index)), nil
}

func (o offlineCharts) Resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	return o.resolve(ctx, spec)
}

func (o offlineCharts) Download(_ context.Context, _ *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	return o.open(chart)
}

type offlineBuckets struct{ *offline }

func (o offlineBuckets) List(_ context.Context, spec *model.BucketSource, _ int) ([]model.BucketObject, error) {
	o.lists.Add(1)
	if err := o.failing(); err != nil {
		return nil, err
	}
	var all []model.BucketObject
	for key, content := range o.objects {
		if strings.HasPrefix(key, spec.Prefix) {
			sum := md5.Sum([]byte(content)) //nolint:gosec // as above
			all = append(all, model.BucketObject{Key: key, ETag: hex.EncodeToString(sum[:]), Size: int64(len(content))})
		}
	}
	slices.SortFunc(all, func(a, b model.BucketObject) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

func (o offlineBuckets) Get(_ context.Context, _ *model.BucketSource, key string) (io.ReadCloser, error) {
	o.gets.Add(1)
	content, ok := o.objects[key]
	if !ok {
		return nil, &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

// openWith opens a store with the servers.
func (o *offline) openWith(t testing.TB, dir string, limits Limits) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Limits: limits, ArtifactURL: "http://source.example", Clients: o.clients()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func named(kind, name string) object.ID {
	return object.ID{Group: "source.toolkit.fluxcd.io", Kind: kind, Namespace: "apps", Name: name}
}

func ociSource(tag string) model.Source {
	return model.Source{ID: named("OCIRepository", "app"), OCI: &model.OCISource{URL: "registry.example/app", Ref: model.OCIRef{Tag: tag}}}
}

func chartSource(name, version string) model.Source {
	return model.Source{ID: named("HelmChart", name), Generation: 3, Chart: &model.ChartSource{Repository: "https://charts.example", Name: name, Version: version}}
}

// chartFiles are the entries of a packaged chart.
func chartFiles(name, version string, more ...string) []entry {
	all := files(
		name+"/Chart.yaml", fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: \"9\"\n", name, version),
		name+"/values.yaml", "replicas: 1\nimage:\n  tag: old\n  name: app\n",
		name+"/templates/cm.yaml", "kind: ConfigMap\n",
	)
	for i := 0; i < len(more); i += 2 {
		all = append(all, entry{name: name + "/" + more[i], content: more[i+1]})
	}
	return all
}

func (o *offline) publish(t testing.TB, name, version string, more ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.charts[name+" "+version] = archived(t, chartFiles(name, version, more...)...)
	o.versions[name] = version
}
