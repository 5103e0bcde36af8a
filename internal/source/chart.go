package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source/dial"
)

// chartError is a failure to build a chart, with the condition reason and the
// summary of source-controller (internal/helm/chart/errors.go).
type chartError struct {
	reason, summary string
	lasting         bool // only a change of the declaration or of the content can help
	err             error
}

func (e *chartError) Error() string { return e.summary + ": " + e.err.Error() }
func (e *chartError) Unwrap() error { return e.err }

func chartReference(err error) error {
	return &chartError{"InvalidChartReference", "invalid chart reference", true, err}
}

func chartPull(err error) error { return &chartError{reasonChartPull, "chart pull error", false, err} }

func chartMetadata(err error) error {
	return &chartError{"MetadataPatchError", "chart metadata patch error", true, err}
}

func chartValues(err error) error {
	return &chartError{"ValuesFilesError", "values files merge error", true, err}
}

func chartDependency(err error) error {
	return &chartError{"DependencyBuildError", "dependency build error", false, err}
}

func chartPackage(err error) error {
	return &chartError{"ChartPackageError", "chart package error", false, err}
}

const (
	reasonChartPull  = "ChartPullError"
	chartFile        = "Chart.yaml"
	valuesFile       = "values.yaml"
	requirementsFile = "requirements.yaml" // dependencies of charts of the first version
	chartLock        = "Chart.lock"
	requirementsLock = "requirements.lock"
	chartsDir        = "charts"
	maxChartFile     = 5 << 20 // of the files of a chart that are parsed here (source-controller helm.MaxChartFileSize)
)

// chartName is what source-controller accepts for the chart of a repository
// (chart.RemoteReference).
var chartName = regexp.MustCompile(`^([-a-z0-9]+/?\.?)+$`)

// chartVisit fetches a chart from a repository.
type chartVisit struct{ *visit }

func (v *chartVisit) place() string {
	c := v.spec.Chart
	return label(append([]string{chartPlace(c), trusted(c.Verify)}, v.composing()...)...).String()
}

// chartPlace is where the packages of a chart come from.
func chartPlace(c *model.ChartSource) string {
	return dial.Key(&c.Auth, "chart", c.Repository, fmt.Sprint(c.OCI), c.Name)
}

// composing names what is made of a package; nothing when it stays as it is.
func (v *visit) composing() []string {
	files := v.valuesFiles()
	if len(files) == 0 {
		return nil
	}
	return append([]string{"values", fmt.Sprint(v.spec.Chart.IgnoreMissingValueFiles), v.generation()}, files...)
}

// valuesFiles are the files that a chart's values are merged from; none when
// its own values.yaml stands alone (chart.BuildOptions GetValuesFiles).
func (v *visit) valuesFiles() []string {
	files := v.spec.Chart.ValuesFiles
	if len(files) == 1 && path.Clean(files[0]) == valuesFile {
		return nil
	}
	return files
}

// generation is the build metadata of a chart with merged values, by which a
// change of the files can be told. A chart that is described elsewhere, and the
// HelmChart that is made of the description, have the first one for ever.
func (v *visit) generation() string {
	if v.spec.Implied || v.spec.Same != (object.ID{}) {
		return "1"
	}
	return strconv.FormatInt(v.spec.Generation, 10)
}

func (v *chartVisit) look(ctx context.Context) (offer, error) {
	c := v.spec.Chart
	if err := validChartName(c.Name); err != nil {
		return offer{}, chartReference(err)
	}
	found, err := v.store.resolveChart(ctx, c)
	if err != nil {
		return offer{}, err
	}
	version, err := v.version(found.Version, "")
	if err != nil {
		return offer{}, err
	}
	return offer{
		key:   chartKey(found),
		notes: notes{Revision: version, Verified: found.Verified},
		load: func(ctx context.Context) (piece, error) {
			p, err := v.store.packaged(ctx, c, found)
			if err != nil || len(v.valuesFiles()) == 0 {
				return p, err
			}
			return v.compose(ctx, p, version)
		},
	}, nil
}

func validChartName(name string) error {
	switch {
	case name == "":
		return errors.New("no name set for remote chart reference")
	case !chartName.MatchString(name):
		return fmt.Errorf("invalid chart name '%s': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)", name)
	}
	return nil
}

// chartKey names a package of a place.
func chartKey(found model.ChartArtifact) string {
	if found.Digest != "" {
		return found.Digest
	}
	return label("unsealed", found.Name, found.Version, found.Address).String()
}

// resolveChart finds the version of a chart.
func (s *Store) resolveChart(ctx context.Context, c *model.ChartSource) (model.ChartArtifact, error) {
	key := label(chartPlace(c), c.Version, c.Fresh.String(), trusted(c.Verify)).String()
	return s.charts.look(ctx, s, key, func(ctx context.Context) (model.ChartArtifact, error) {
		if c.OCI {
			return s.clients.Registry.ResolveChart(ctx, c)
		}
		return s.clients.Charts.Resolve(ctx, c)
	})
}

// packaged brings the package of a chart into the depot, once for all sources
// that read it from the same place.
func (s *Store) packaged(ctx context.Context, c *model.ChartSource, found model.ChartArtifact) (piece, error) {
	return s.hold(ctx, label("content", chartPlace(c), chartKey(found)), func(ctx context.Context) (piece, error) {
		body, digest, err := s.openChart(ctx, c, found)
		if err != nil {
			return piece{}, err
		}
		sp, err := s.download(ctx, body, digest)
		if err != nil {
			return piece{}, chartPull(fmt.Errorf("failed to download chart for remote reference: %w", err))
		}
		defer sp.close()
		p, err := s.unpackedChart(ctx, sp)
		if err != nil {
			return piece{}, chartPull(err)
		}
		return p, nil
	})
}

// openChart opens a package, and tells the digest that it must have, if one is
// known.
func (s *Store) openChart(ctx context.Context, c *model.ChartSource, found model.ChartArtifact) (io.ReadCloser, string, error) {
	at, elsewhere := strings.CutPrefix(found.Address, "oci://")
	switch {
	case c.OCI:
		body, err := s.clients.Registry.PullChart(ctx, c, found)
		return body, found.Digest, err
	case elsewhere:
		return s.openElsewhere(ctx, c, at)
	}
	body, err := s.clients.Charts.Download(ctx, c, found)
	return body, found.Digest, err
}

// openElsewhere opens a package that an index says is in a registry. Its digest
// is what the registry says, as it is to Helm. Credentials of the repository go
// there only where they may go anywhere.
func (s *Store) openElsewhere(ctx context.Context, c *model.ChartSource, at string) (io.ReadCloser, string, error) {
	repository, tag, tagged := cutLast(at, ":")
	place, name, below := cutLast(repository, "/")
	if !tagged || !below || strings.Contains(tag, "/") {
		return nil, "", chartPull(fmt.Errorf("the index names the address %s, which is no chart of a registry", quoted(at)))
	}
	there := &model.ChartSource{Repository: place, OCI: true, Name: name, Version: strings.ReplaceAll(tag, "_", "+"), Auth: model.HTTPAuth{Proxy: c.Auth.Proxy}}
	if c.Auth.PassAll {
		there.Auth = c.Auth
	}
	found, err := s.clients.Registry.ResolveChart(ctx, there)
	if err != nil {
		return nil, "", err
	}
	body, err := s.clients.Registry.PullChart(ctx, there, found)
	return body, found.Digest, err
}

// cutLast cuts a text at the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// unpackedChart brings a packaged chart into the depot.
func (s *Store) unpackedChart(ctx context.Context, sp *spool) (piece, error) {
	p, err := s.unpacked(ctx, sp, unpacking{chart: true})
	if err != nil {
		return piece{}, err
	}
	about, err := readChart(func(name string) ([]byte, error) { return p.log.top(p.root, name) })
	if err != nil {
		return piece{}, errArchive{"failed to load chart metadata from written chart: " + err.Error()}
	}
	p.notes.Chart = describeChart(about)
	return p, nil
}

// top reads a file at the top of a directory. The error wraps fs.ErrNotExist
// when there is none.
func (l *objects) top(root plumbing.Hash, name string) ([]byte, error) {
	at := &raw{log: l, git: root}
	found, err := at.find([]string{name})
	switch {
	case err != nil:
		return nil, err
	case found == nil || found.kind != model.FileEntry && found.kind != model.ExecutableEntry:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return at.read(name, found.hash)
}

// readChart reads what Chart.yaml says, and in charts of the first version
// requirements.yaml (source-controller chart.LoadChartMetadata).
func readChart(read func(name string) ([]byte, error)) (*chartv2.Metadata, error) {
	about := &chartv2.Metadata{}
	if err := readYAML(read, chartFile, about); err != nil {
		return nil, err
	}
	if about.APIVersion == "" {
		about.APIVersion = chartv2.APIVersionV1
	}
	if err := readYAML(read, requirementsFile, about); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return about, about.Validate()
}

// readYAML decodes a file of a chart.
func readYAML(read func(name string) ([]byte, error), name string, into any) error {
	content, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no '%s' found: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if len(content) > maxChartFile {
		return fmt.Errorf("size of '%s' exceeds '%d' bytes limit", name, maxChartFile)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		return fmt.Errorf("cannot load '%s': %w", name, err)
	}
	return nil
}

func describeChart(about *chartv2.Metadata) *model.Chart {
	return &model.Chart{Name: about.Name, Version: about.Version, AppVersion: about.AppVersion, Deprecated: about.Deprecated}
}

// version is that of the chart with build metadata: what by says, and the
// generation where values are merged (helmchart_controller.go).
func (v *visit) version(version, by string) (string, error) {
	if len(v.valuesFiles()) > 0 {
		if by != "" {
			by += "."
		}
		by += v.generation()
	}
	if by == "" {
		return version, nil
	}
	parsed, err := semver.NewVersion(version)
	if err != nil {
		return "", chartMetadata(fmt.Errorf("failed to parse version from chart metadata as SemVer: %w", err))
	}
	changed, err := parsed.SetMetadata(by)
	if err != nil {
		return "", chartMetadata(fmt.Errorf("failed to set SemVer metadata on chart version: %w", err))
	}
	return changed.String(), nil
}

// compose makes a chart of a package and its own values files.
func (v *visit) compose(ctx context.Context, p piece, version string) (piece, error) {
	made := piece{notes: p.notes}
	var err error
	made.log, err = v.store.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, v.store.limits, b)
		if err := files.graft(nil, p); err != nil {
			return err
		}
		values, used, err := v.values(func(name string) ([]byte, error) {
			name = path.Clean(name)
			elements, inside := clean(name)
			if !inside || elements == nil || elements[0] == "templates" || elements[0] == chartsDir {
				return nil, fs.ErrNotExist // no file of the chart to Helm
			}
			return files.read(elements)
		})
		if err != nil {
			return err
		}
		made.notes.Values = used
		made.notes.Chart, err = files.amend(version, "", values)
		if err != nil {
			return err
		}
		made.root, err = files.write()
		return err
	})
	return made, err
}

// values merges the values files, each found by read.
func (v *visit) values(read func(name string) ([]byte, error)) (merged map[string]any, used []string, err error) {
	merged = map[string]any{}
	for _, name := range v.valuesFiles() {
		content, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			if v.spec.Chart.IgnoreMissingValueFiles {
				continue
			}
			return nil, nil, chartValues(fmt.Errorf("no values file found at path '%s'", name))
		}
		if err != nil {
			return nil, nil, err
		}
		if len(content) > maxChartFile {
			return nil, nil, chartValues(fmt.Errorf("size of '%s' exceeds '%d' bytes limit", name, maxChartFile))
		}
		values := map[string]any{}
		if err := yaml.Unmarshal(content, &values); err != nil {
			return nil, nil, chartValues(fmt.Errorf("unmarshaling values from '%s' failed: %w", name, err))
		}
		merged, used = mergeMaps(merged, values), append(used, name)
	}
	return merged, used, nil
}

// mergeMaps puts the values of over in place of those of base, mapping by
// mapping (fluxcd/pkg runtime/transform MergeMaps, source-watcher mergeMap).
func mergeMaps(base, over map[string]any) map[string]any {
	merged := make(map[string]any, len(base))
	for key, value := range base {
		merged[key] = value
	}
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		outer, wasMap := merged[key].(map[string]any)
		if isMap && wasMap {
			value = mergeMaps(outer, inner)
		}
		merged[key] = value
	}
	return merged
}

// amend changes version and name of the chart in the stock, where they are
// given, and its default values, where values is not nil.
func (s *stock) amend(version, name string, values map[string]any) (*model.Chart, error) {
	top := func(name string) ([]byte, error) { return s.read([]string{name}) }
	about, err := readChart(top)
	if err != nil {
		return nil, chartPackage(err)
	}
	if err := s.rewrite(nil, about, version, name); err != nil {
		return nil, err
	}
	if values != nil {
		if err := s.setValues(values); err != nil {
			return nil, err
		}
	}
	return describeChart(about), nil
}

// rewrite changes version and name in the Chart.yaml of the chart at a path.
func (s *stock) rewrite(at []string, about *chartv2.Metadata, version, name string) error {
	if (version == "" || version == about.Version) && (name == "" || name == about.Name) {
		return nil
	}
	file := append(at[:len(at):len(at)], chartFile)
	content, err := s.read(file)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if err := yaml.Unmarshal(content, &fields); err != nil {
		return chartPackage(err)
	}
	if version != "" {
		fields["version"], about.Version = version, version
	}
	if name != "" {
		fields["name"], about.Name = name, name
	}
	if content, err = yaml.Marshal(fields); err != nil {
		return chartPackage(err)
	}
	return s.put(file, model.FileEntry, content)
}

// setValues replaces the default values, which the chart must have
// (chart.OverwriteChartDefaultValues).
func (s *stock) setValues(values map[string]any) error {
	if _, err := s.read([]string{valuesFile}); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return chartValues(fmt.Errorf("failed to locate values file: %s", valuesFile))
		}
		return err
	}
	var content []byte
	if len(values) > 0 {
		var err error
		if content, err = yaml.Marshal(values); err != nil {
			return chartValues(err)
		}
	}
	return s.put([]string{valuesFile}, model.FileEntry, content)
}

func (v *visit) chartFault(err error) *model.Fault {
	f := &model.Fault{Reason: reasonChartPull, Message: "chart pull error: " + err.Error()}
	var build *chartError
	if errors.As(err, &build) {
		f.Reason, f.Message = build.reason, err.Error()
		if build.lasting {
			f.Advice = "correct spec.chart, spec.version or spec.valuesFiles, or the chart"
		}
	}
	return f
}

func (v *chartVisit) fault(err error) *model.Fault { return v.chartFault(err) }

func (v *chartVisit) finish(t *Tree, p piece) { v.finishChart(t, p) }

// finishChart tells what the chart is. Its file is a package that Helm installs.
func (v *visit) finishChart(t *Tree, p piece) {
	about := *p.notes.Chart
	about.Digest = t.Digest()
	t.chart = &about
	t.file = product{name: strings.ReplaceAll(about.Name, "/", "-") + "-" + p.notes.Revision + ".tgz", top: about.Name}
}
