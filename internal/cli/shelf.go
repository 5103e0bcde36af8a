package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source"
	"plumb.dev/plumb/internal/source/helmrepo"
	"plumb.dev/plumb/internal/source/registry"
)

// outsideError is about content that is neither in the repository nor at hand.
type outsideError struct{ what string }

func (e *outsideError) Error() string { return e.what }

func outsideOf(format string, args ...any) error { return &outsideError{fmt.Sprintf(format, args...)} }

// A shelf has what sources name: charts in local directories, local directories
// in place of repositories, and, where that is allowed, what is fetched. It is
// the clients of a source.Store, so that everything after them is as in the
// engine.
type shelf struct {
	charts    []foundChart
	rewrites  []rewrite
	fetches   bool   // what is not found may be fetched
	cache     string // directory that fetched charts are kept in; "": none
	anyNumber bool   // a chart of another version will do

	registry source.Registry
	index    source.ChartRepository

	mu    sync.Mutex
	packs map[string][]byte // by the place that is packed
	stand map[string]string // by the chart that is asked for: what stands in for it
}

// rewrite puts an address, or a directory, in place of what an address begins
// with.
type rewrite struct{ from, to string }

// localRegistry is the host of artifacts that stand for directories.
const localRegistry = "directory.invalid/"

func newShelf() *shelf {
	agent := "plumb/" + buildVersion()
	return &shelf{
		registry: registry.New(registry.Options{UserAgent: agent}), index: helmrepo.New(helmrepo.Options{UserAgent: agent}),
		packs: map[string][]byte{}, stand: map[string]string{},
	}
}

// stock finds the charts in a directory.
func (s *shelf) stock(dir string) error {
	found, err := chartsBelow(dir)
	s.charts = append(s.charts, found...)
	return err
}

// parseRewrite reads OLD=NEW.
func parseRewrite(text string, local func(string) string) (rewrite, error) {
	from, to, ok := strings.Cut(text, "=")
	if !ok || from == "" || to == "" {
		return rewrite{}, advise(fmt.Errorf("--map-url must be OLD=NEW, not %q", text), "as in: --map-url oci://ghcr.io/example=oci://localhost:5000/example, or a directory for NEW")
	}
	if !strings.Contains(to, "://") {
		to = local(to)
		if info, err := os.Stat(to); err != nil || !info.IsDir() {
			return rewrite{}, advise(fmt.Errorf("--map-url: %s is neither an address nor a directory", to), "write the scheme of an address, as in http://localhost:8080")
		}
	}
	return rewrite{strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")}, nil
}

// rewritten is what stands in place of an address; directory says that it is
// one.
func (s *shelf) rewritten(address string) (to string, directory, found bool) {
	for _, r := range s.rewrites {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(address, "/"), r.from)
		if ok && (rest == "" || rest[0] == '/' || rest == ".git") {
			if !strings.Contains(r.to, "://") {
				return filepath.Join(r.to, filepath.FromSlash(strings.TrimSuffix(rest, ".git"))), true, true
			}
			return r.to + rest, false, true
		}
	}
	return address, false, false
}

// directory is an artifact that holds what a directory does.
func directoryArtifact(dir string) *model.OCISource {
	return &model.OCISource{URL: localRegistry + hex.EncodeToString([]byte(dir))}
}

// packed packs something once.
func (s *shelf) packed(place string, pack func() ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if content, known := s.packs[place]; known {
		return content, nil
	}
	content, err := pack()
	if err == nil {
		s.packs[place] = content
	}
	return content, err
}

func digestText(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// find is the best chart of a name: the version that is asked for, or the
// highest that is allowed.
func (s *shelf) find(name, version string) (foundChart, bool) {
	best, highest := -1, -1
	for i := range s.charts {
		c := &s.charts[i]
		if c.name != name {
			continue
		}
		if highest < 0 || newer(c.version, s.charts[highest].version) {
			highest = i
		}
		if c.version == version || strings.TrimPrefix(c.version, "v") == strings.TrimPrefix(strings.ReplaceAll(version, "_", "+"), "v") {
			return *c, true
		}
		if allows(version, c.version) && (best < 0 || newer(c.version, s.charts[best].version)) {
			best = i
		}
	}
	switch {
	case best >= 0:
		return s.charts[best], true
	case highest >= 0 && s.anyNumber:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stand[chartText(name, version)] = s.charts[highest].version
		return s.charts[highest], true
	}
	return foundChart{}, false
}

// allows reports whether a range, which is "" for any, has a version. An exact
// version allows itself alone.
func allows(wanted, version string) bool {
	if wanted == "" {
		wanted = "*"
	}
	allowed, err := semver.NewConstraint(wanted)
	has, parsed := semver.NewVersion(version)
	return err == nil && parsed == nil && allowed.Check(has)
}

func newer(x, y string) bool {
	a, aErr := semver.NewVersion(x)
	b, bErr := semver.NewVersion(y)
	if aErr != nil || bErr != nil {
		return aErr == nil
	}
	return a.GreaterThan(b)
}

// others says which versions of a chart are at hand.
func (s *shelf) others(name string) string {
	var versions []string
	for _, c := range s.charts {
		if c.name == name && !slices.Contains(versions, c.version) {
			versions = append(versions, c.version)
		}
	}
	if len(versions) == 0 {
		return ""
	}
	return " (at hand: " + strings.Join(versions, ", ") + ")"
}

// repository is where a chart is looked for: rewritten, and whether it may be
// asked.
func (s *shelf) repository(spec *model.ChartSource) (*model.ChartSource, bool) {
	scheme := ""
	if spec.OCI {
		scheme = "oci://"
	}
	to, directory, found := s.rewritten(scheme + spec.Repository)
	if directory || !found && !s.fetches {
		return spec, false
	}
	asked := *spec
	asked.Verify = nil
	if found {
		asked.Repository, asked.OCI = strings.CutPrefix(to, "oci://")
		asked.Auth.Plain = true
	}
	return &asked, true
}

// chart finds a chart for a source: at hand, or where it may be asked for.
func (s *shelf) chart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	name := path.Base(spec.Name)
	scheme := ""
	if spec.OCI {
		scheme = "oci://"
	}
	if dir, directory, _ := s.rewritten(scheme + spec.Repository); directory {
		if err := s.stockOnce(dir); err != nil {
			return model.ChartArtifact{}, err
		}
	}
	if at, found := s.find(name, spec.Version); found {
		content, err := s.packed(at.file, at.pack)
		if err != nil {
			return model.ChartArtifact{}, err
		}
		return model.ChartArtifact{Name: at.name, Version: at.version, Digest: digestText(content), Address: at.file}, nil
	}
	asked, may := s.repository(spec)
	if !may {
		return model.ChartArtifact{}, outsideOf("chart %s of %s%s", chartText(spec.Name, spec.Version), repositoryOfChart(spec), s.others(name))
	}
	if asked.OCI {
		return s.registry.ResolveChart(ctx, asked)
	}
	return s.index.Resolve(ctx, asked)
}

// standIn is what stands in for the chart of a source; "" when it is the one
// that is asked for.
func (s *shelf) standIn(spec *model.Source) string {
	name, version := "", ""
	switch {
	case spec.Chart != nil:
		name, version = path.Base(spec.Chart.Name), spec.Chart.Version
	case spec.OCI != nil:
		name, version = path.Base(spec.OCI.URL), askedVersion(spec.OCI)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.stand[chartText(name, version)]; has != "" {
		return fmt.Sprintf("%s stands in for %s", has, chartText(name, version))
	}
	return ""
}

// stockOnce is stock for a directory that may be known already.
func (s *shelf) stockOnce(dir string) error {
	if slices.ContainsFunc(s.charts, func(c foundChart) bool { return c.root == dir }) {
		return nil
	}
	return s.stock(dir)
}

// open opens the package that chart has found.
func (s *shelf) open(ctx context.Context, spec *model.ChartSource, found model.ChartArtifact) (io.ReadCloser, error) {
	s.mu.Lock()
	content, known := s.packs[found.Address]
	s.mu.Unlock()
	if known {
		return io.NopCloser(bytes.NewReader(content)), nil
	}
	asked, _ := s.repository(spec)
	var body io.ReadCloser
	var err error
	if asked.OCI {
		body, err = s.registry.PullChart(ctx, asked, found)
	} else {
		body, err = s.index.Download(ctx, asked, found)
	}
	if err != nil {
		return nil, err
	}
	return s.keep(path.Base(spec.Name)+"-"+found.Version+".tgz", body)
}

// keep reads what was fetched, and puts it into the cache.
func (s *shelf) keep(name string, body io.ReadCloser) (io.ReadCloser, error) {
	if s.cache == "" {
		return body, nil
	}
	content, err := io.ReadAll(io.LimitReader(body, mostPacked+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if len(content) > mostPacked {
		return nil, fmt.Errorf("%s has more than %d bytes", name, mostPacked)
	}
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(s.cache, ".fetching-")
	if err != nil {
		return nil, err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), filepath.Join(s.cache, strings.ReplaceAll(name, "/", "_")))
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// Resolve implements source.ChartRepository.
func (s *shelf) Resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	return s.chart(ctx, spec)
}

// Download implements source.ChartRepository.
func (s *shelf) Download(ctx context.Context, spec *model.ChartSource, found model.ChartArtifact) (io.ReadCloser, error) {
	return s.open(ctx, spec, found)
}

// Index implements source.ChartRepository.
func (s *shelf) Index(_ context.Context, spec *model.IndexSource) (string, io.ReadCloser, error) {
	return "", nil, outsideOf("the index of %s", withoutCredentials(spec.URL))
}

// List implements source.Buckets.
func (s *shelf) List(_ context.Context, spec *model.BucketSource, _ int) ([]model.BucketObject, error) {
	return nil, outsideOf("bucket %s of %s", spec.Name, spec.Endpoint)
}

// Get implements source.Buckets.
func (s *shelf) Get(_ context.Context, spec *model.BucketSource, key string) (io.ReadCloser, error) {
	return nil, outsideOf("%s of bucket %s of %s", key, spec.Name, spec.Endpoint)
}

// layers is the shelf as a registry: of directories, and of charts that an
// OCIRepository names.
type layers struct{ *shelf }

// ResolveChart implements source.Registry.
func (l layers) ResolveChart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	return l.chart(ctx, spec)
}

// PullChart implements source.Registry.
func (l layers) PullChart(ctx context.Context, spec *model.ChartSource, found model.ChartArtifact) (io.ReadCloser, error) {
	return l.open(ctx, spec, found)
}

// Resolve implements source.Registry.
func (l layers) Resolve(ctx context.Context, spec *model.OCISource) (model.OCIArtifact, error) {
	if name, local := strings.CutPrefix(spec.URL, localRegistry); local {
		dir, err := hex.DecodeString(name)
		if err != nil {
			return model.OCIArtifact{}, err
		}
		content, err := l.packed(spec.URL, func() ([]byte, error) { return packDirectory(string(dir)) })
		if errors.Is(err, fs.ErrNotExist) {
			return model.OCIArtifact{}, outsideOf("directory %s", dir)
		}
		return layerOf("local", content, err)
	}
	name, version := path.Base(spec.URL), askedVersion(spec)
	if dir, directory, _ := l.rewritten("oci://" + spec.URL); directory {
		if err := l.stockOnce(filepath.Dir(dir)); err != nil {
			return model.OCIArtifact{}, err
		}
	}
	if at, found := l.find(name, version); found {
		content, err := l.packed(layerPlace(spec), at.pack)
		return layerOf(at.version, content, err)
	}
	asked, may := l.artifact(spec)
	if !may {
		return model.OCIArtifact{}, outsideOf("artifact oci://%s:%s%s", spec.URL, version, l.others(name))
	}
	return l.registry.Resolve(ctx, asked)
}

// askedVersion is what a reference asks for, in words.
func askedVersion(spec *model.OCISource) string {
	for _, version := range []string{spec.Ref.SemVer, spec.Ref.Tag, spec.Revision, spec.Ref.Digest} {
		if version != "" {
			return version
		}
	}
	return "latest"
}

func layerPlace(spec *model.OCISource) string { return spec.URL + " " + askedVersion(spec) }

func layerOf(tag string, content []byte, err error) (model.OCIArtifact, error) {
	digest := digestText(content)
	return model.OCIArtifact{Revision: tag + "@" + digest, Digest: digest, Tag: tag, LayerDigest: digest, LayerSize: int64(len(content))}, err
}

// artifact is the source with its address rewritten, and whether it may be asked.
func (l layers) artifact(spec *model.OCISource) (*model.OCISource, bool) {
	to, directory, found := l.rewritten("oci://" + spec.URL)
	if directory || !found && !l.fetches {
		return spec, false
	}
	asked := *spec
	asked.Verify = nil
	if found {
		asked.URL, _ = strings.CutPrefix(to, "oci://")
		asked.Auth.Plain = true
	}
	return &asked, true
}

// Pull implements source.Registry.
func (l layers) Pull(ctx context.Context, spec *model.OCISource, artifact model.OCIArtifact) (io.ReadCloser, error) {
	l.mu.Lock()
	content, known := l.packs[spec.URL]
	if !known {
		content, known = l.packs[layerPlace(spec)]
	}
	l.mu.Unlock()
	if known {
		return io.NopCloser(bytes.NewReader(content)), nil
	}
	asked, _ := l.artifact(spec)
	body, err := l.registry.Pull(ctx, asked, artifact)
	if err != nil {
		return nil, err
	}
	return l.keep(path.Base(spec.URL)+"-"+strings.TrimPrefix(askedVersion(spec), "sha256:")+".tgz", body)
}
