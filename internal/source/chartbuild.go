package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/ignore"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// chartBuild makes a chart of a directory, or of a package, in the tree of
// another source, as source-controller's chart builder does
// (internal/helm/chart/builder_local.go, dependency_manager.go).
type chartBuild struct {
	*visit
	from     *Tree
	elements []string
	at       *node
}

func (v *chartBuild) place() string {
	c := v.spec.Chart
	question := []string{"chart from", v.spec.ID.String(), v.spec.UID, c.From.String(), c.From.Group, c.Name, fmt.Sprint(c.ByRevision), fmt.Sprint(v.spec.Generation)}
	for _, place := range c.Dependencies {
		question = append(question, place.URL, place.Alias, dial.Key(&place.Auth))
	}
	return label(append(question, v.composing()...)...).String()
}

// look reads name and version of the chart. Unless the source's revision counts
// (reconcileStrategy), they alone say whether there is a new chart.
func (v *chartBuild) look(ctx context.Context) (offer, error) {
	c := v.spec.Chart
	if v.from = v.included[c.From]; v.from == nil {
		return offer{}, &model.Fault{
			Reason:  "NoSourceArtifact",
			Message: fmt.Sprintf("no artifact available for %s source '%s'", c.From.Kind, c.From.Name),
			Object:  c.From, Waiting: true, Retry: true,
		}
	}
	p := path.Join("/", c.Name) // as if the tree were the whole file system
	if _, v.at = v.from.locate(p); v.at == nil {
		return offer{}, chartReference(fmt.Errorf("no chart found at path '%s'", c.Name))
	}
	v.elements, _ = clean(p)
	about, load, err := v.found(ctx)
	if err != nil {
		return offer{}, err
	}
	by := ""
	if c.ByRevision {
		by = v.revisionMetadata()
	}
	version, err := v.version(about.Version, by)
	if err != nil {
		return offer{}, err
	}
	if served, ok, err := v.served(ctx, about.Name, version); ok || err != nil {
		return served, err
	}
	return offer{
		key:   label(about.Name, version, v.from.Digest()).String(),
		notes: notes{Revision: version},
		load:  func(ctx context.Context) (piece, error) { return load(ctx, version) },
	}, nil
}

// served is the chart that the source, declared as it is, made of this version
// before: it stays what it was, whatever has become of the files.
func (v *chartBuild) served(ctx context.Context, name, version string) (offer, bool, error) {
	known := v.spec.Last != nil && v.spec.Last.Revision == version
	if v.last != nil && v.last.store == v.store && v.last.chart != nil {
		known = v.last.chart.Name == name && v.last.revision == version
	}
	if !known {
		return offer{}, false, nil
	}
	p, ok, err := v.store.content.recall(ctx, revisionLabel(v.place(), version))
	if err != nil || !ok || p.notes.Chart.Name != name {
		return offer{}, false, err
	}
	return recalled(p), true, nil
}

// revisionMetadata is the revision of the source as build metadata: the first
// twelve digits of a commit or of the digest of a bucket.
func (v *chartBuild) revisionMetadata() string {
	const digits = 12
	revision := v.from.Revision()
	if kind := v.spec.Chart.From.Kind; kind != "GitRepository" && kind != "Bucket" {
		return revision
	}
	if hash := v.from.Commit().Hash; hash != "" {
		revision = hash
	}
	revision = hexOf(revision)
	return revision[:min(digits, len(revision))]
}

// found reads the metadata, and says how the chart is made.
func (v *chartBuild) found(ctx context.Context) (*model.Chart, func(ctx context.Context, version string) (piece, error), error) {
	if v.at.dir != nil {
		about, err := readChart(v.within(v.elements))
		if err != nil {
			return nil, nil, chartReference(err)
		}
		return describeChart(about), func(ctx context.Context, version string) (piece, error) { return v.build(ctx, about, version) }, nil
	}
	p, err := v.packed(ctx, v.elements)
	if err != nil {
		return nil, nil, chartReference(err)
	}
	return p.notes.Chart, func(ctx context.Context, version string) (piece, error) {
		if version == p.notes.Chart.Version && len(v.valuesFiles()) == 0 {
			return p, nil
		}
		return v.repack(ctx, p, version)
	}, nil
}

// within reads the files of a directory of the tree.
func (v *chartBuild) within(dir []string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) { return v.from.Read(path.Join(append(slices.Clone(dir), name)...)) }
}

// packed brings a package that stands in the tree into the depot.
func (v *chartBuild) packed(ctx context.Context, elements []string) (piece, error) {
	where := path.Join(elements...)
	entry, _, err := v.from.Lookup(where)
	if err != nil {
		return piece{}, err
	}
	return v.store.hold(ctx, label("content", "package", entry.Digest), func(ctx context.Context) (piece, error) {
		content, err := v.from.Read(where)
		if err != nil {
			return piece{}, err
		}
		return v.store.unpackedChart(ctx, &spool{ReaderAt: bytes.NewReader(content), size: int64(len(content))})
	})
}

// repack changes a package's version and values.
func (v *chartBuild) repack(ctx context.Context, p piece, version string) (piece, error) {
	return v.put(ctx, version, func(files *stock) error { return files.graft(nil, p) })
}

// build packages a directory with all that it depends on.
func (v *chartBuild) build(ctx context.Context, about *chartv2.Metadata, version string) (piece, error) {
	missing, err := v.missing(ctx, about)
	if err != nil {
		return piece{}, err
	}
	added, err := v.gather(ctx, missing)
	if err != nil {
		return piece{}, err
	}
	return v.put(ctx, version, func(files *stock) error {
		if err := v.copyChart(files, nil, v.elements, v.at.dir); err != nil {
			return err
		}
		for _, dependency := range added {
			if err := dependency.put(files); err != nil {
				return err
			}
		}
		return nil
	})
}

// put makes a chart of what fill puts, with merged values and the version.
func (v *chartBuild) put(ctx context.Context, version string, fill func(files *stock) error) (made piece, err error) {
	made.log, err = v.store.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, v.store.limits, b)
		if err := fill(files); err != nil {
			return err
		}
		var values map[string]any
		var err error
		if len(v.valuesFiles()) > 0 {
			values, made.notes.Values, err = v.values(func(name string) ([]byte, error) { return v.from.Read(path.Join("/", name)) })
			if err != nil {
				return err
			}
		}
		if made.notes.Chart, err = files.amend(version, "", values); err != nil {
			return err
		}
		made.root, err = files.write()
		return err
	})
	return made, err
}

// copyChart puts the directory of a chart but for what its .helmignore leaves
// out.
func (v *chartBuild) copyChart(files *stock, to, elements []string, d *dir) error {
	rules := ignore.Empty()
	if content, err := v.within(elements)(ignore.HelmIgnore); err == nil {
		if rules, err = ignore.Parse(bytes.NewReader(content)); err != nil {
			return chartPackage(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rules.AddDefaults()
	return files.copy(to, v.from, d, nil, func(below []string, isDir bool) bool {
		return !rules.Ignore(strings.Join(below, "/"), fileInfo{name: below[len(below)-1], dir: isDir})
	})
}

// fileInfo is what ignore rules and patterns ask of an entry.
type fileInfo struct {
	name string
	dir  bool
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return 0 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.dir }
func (i fileInfo) Sys() any           { return nil }
func (i fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// missing lists the dependencies that the chart declares, or that its lock file
// names, and does not hold.
func (v *chartBuild) missing(ctx context.Context, about *chartv2.Metadata) ([]*chartv2.Dependency, error) {
	declared, err := v.declared(about)
	if err != nil || len(declared) == 0 {
		return nil, err
	}
	held, err := v.held(ctx)
	if err != nil || len(held) == len(declared) {
		return nil, err
	}
	var missing []*chartv2.Dependency
	for _, d := range declared {
		if !slices.Contains(held, dependencyName(d)) {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// dependencyName is by which name a chart knows another one.
func dependencyName(d *chartv2.Dependency) string {
	if d.Alias != "" {
		return d.Alias
	}
	return d.Name
}

// declared are the dependencies as the lock file has them, or Chart.yaml.
func (v *chartBuild) declared(about *chartv2.Metadata) ([]*chartv2.Dependency, error) {
	locks := []string{chartLock}
	if about.APIVersion == chartv2.APIVersionV1 {
		locks = append(locks, requirementsLock)
	}
	declared := about.Dependencies
	for _, name := range locks {
		lock := &chartv2.Lock{}
		err := readYAML(v.within(v.elements), name, lock)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, chartPackage(err)
		default:
			declared = lock.Dependencies
		}
	}
	for _, d := range declared {
		if err := d.Validate(); err != nil {
			return nil, chartPackage(err)
		}
	}
	return declared, nil
}

// held are the names of the charts in the directory charts.
func (v *chartBuild) held(ctx context.Context) ([]string, error) {
	_, charts := v.from.locate(path.Join(append(slices.Clone(v.elements), chartsDir)...))
	if charts == nil || charts.dir == nil {
		return nil, nil
	}
	var names []string
	for i := range charts.dir.entries {
		e := &charts.dir.entries[i]
		at := append(slices.Clone(v.elements), chartsDir, e.name)
		switch {
		case strings.HasPrefix(e.name, "_"), strings.HasPrefix(e.name, "."):
		case e.dir != nil:
			about, err := readChart(v.within(at))
			if err != nil {
				return nil, chartPackage(err)
			}
			names = append(names, about.Name)
		case path.Ext(e.name) == ".tgz":
			p, err := v.packed(ctx, at)
			if err != nil {
				return nil, chartPackage(err)
			}
			names = append(names, p.notes.Chart.Name)
		}
	}
	return names, nil
}

// dependency is a chart that is put below another one.
type dependency struct {
	name  string // of its directory below charts
	chart *model.Chart
	place func(files *stock, at []string) error
}

// put places the dependency. One that is known by an alias gets it for its name.
func (d *dependency) put(files *stock) error {
	at := []string{chartsDir, d.name}
	if err := d.place(files, at); err != nil {
		return err
	}
	about := &chartv2.Metadata{Name: d.chart.Name}
	return files.rewrite(at, about, "", d.name)
}

const maxDependencies = 200 // of one chart

// gather finds the missing dependencies: in the tree, or at a repository.
func (v *chartBuild) gather(ctx context.Context, missing []*chartv2.Dependency) ([]*dependency, error) {
	if len(missing) > maxDependencies {
		return nil, chartDependency(fmt.Errorf("%w: there are more than %d dependencies", errTooLarge, maxDependencies))
	}
	var all []*dependency
	for _, d := range missing {
		name := dependencyName(d)
		find, where := v.remote, "remote"
		if d.Repository == "" || strings.HasPrefix(d.Repository, "file://") {
			find, where = v.local, "local"
		}
		if err := validName(name); err != nil {
			return nil, chartDependency(fmt.Errorf("the dependency has the forbidden name %s", quoted(name)))
		}
		found, err := find(ctx, d)
		if err != nil {
			return nil, chartDependency(fmt.Errorf("failed to add %s dependency '%s': %w", where, name, plainFault(err)))
		}
		found.name = name
		all = append(all, found)
	}
	return all, nil
}

// plainFault keeps what a client says of a dependency from becoming the fault
// of the chart, whose reason is another one.
func plainFault(err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return errors.New(fault.Message)
	}
	return err
}

// local finds a dependency in the tree.
func (v *chartBuild) local(ctx context.Context, d *chartv2.Dependency) (*dependency, error) {
	below := path.Join(chartsDir, d.Name)
	if d.Repository != "" {
		u, err := url.Parse(d.Repository)
		if err != nil {
			return nil, errors.New("failed to parse alleged local chart reference")
		}
		below = path.Join(u.Host, u.Path)
	}
	p := path.Join("/", path.Join(v.elements...), below)
	_, at := v.from.locate(p)
	if at == nil {
		return nil, fmt.Errorf("no chart found at '%s' (reference '%s')", p, d.Repository)
	}
	elements, _ := clean(p)
	found, err := v.localChart(ctx, elements, at)
	if err != nil {
		return nil, fmt.Errorf("failed to load chart from '%s' (reference '%s'): %w", p, d.Repository, err)
	}
	allowed, err := semver.NewConstraint(d.Version)
	if err != nil {
		return nil, fmt.Errorf("invalid version/constraint format '%s': %w", d.Version, err)
	}
	version, err := semver.NewVersion(found.chart.Version)
	if err != nil {
		return nil, err
	}
	if !allowed.Check(version) {
		return nil, fmt.Errorf("can't get a valid version for constraint '%s'", d.Version)
	}
	return found, nil
}

// localChart reads a chart of the tree, be it a directory or a package.
func (v *chartBuild) localChart(ctx context.Context, elements []string, at *node) (*dependency, error) {
	if at.dir == nil {
		p, err := v.packed(ctx, elements)
		if err != nil {
			return nil, err
		}
		return packagedDependency(p), nil
	}
	about, err := readChart(v.within(elements))
	if err != nil {
		return nil, err
	}
	return &dependency{chart: describeChart(about), place: func(files *stock, to []string) error {
		return v.copyChart(files, to, elements, at.dir)
	}}, nil
}

func packagedDependency(p piece) *dependency {
	return &dependency{chart: p.notes.Chart, place: func(files *stock, to []string) error { return files.graft(to, p) }}
}

// remote fetches a dependency.
func (v *chartBuild) remote(ctx context.Context, d *chartv2.Dependency) (*dependency, error) {
	from, err := v.repository(d)
	if err != nil {
		return nil, err
	}
	found, err := v.store.resolveChart(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("failed to get chart '%s' version '%s' from '%s': %w", d.Name, d.Version, shownRepository(d.Repository), plainFault(err))
	}
	p, err := v.store.packaged(ctx, from, found)
	if err != nil {
		return nil, fmt.Errorf("chart download of version '%s' failed: %w", found.Version, plainFault(err))
	}
	return packagedDependency(p), nil
}

func shownRepository(repository string) string {
	u, err := url.Parse(repository)
	if err != nil {
		return "the repository"
	}
	return dial.Display(u)
}

// repository says where a dependency is had from: the place that knows the
// address or the alias, or the address without credentials.
func (v *chartBuild) repository(d *chartv2.Dependency) (*model.ChartSource, error) {
	from := &model.ChartSource{Name: d.Name, Version: d.Version, Fresh: v.spec.Chart.Fresh}
	address := strings.TrimRight(d.Repository, "/")
	alias, aliased := strings.CutPrefix(address, "@")
	if !aliased {
		alias, aliased = strings.CutPrefix(address, "alias:")
	}
	best := -1
	for _, place := range v.spec.Chart.Dependencies {
		at := strings.TrimRight(place.URL, "/")
		switch {
		case place.Git != nil:
			continue
		case aliased && place.Alias != "" && place.Alias == alias:
			address, aliased = at, false
		case !aliased && (address == at || strings.HasPrefix(address, at+"/")):
		default:
			continue
		}
		if len(at) > best {
			best, from.Auth = len(at), place.Auth
		}
	}
	if aliased {
		return nil, fmt.Errorf("no repository of the alias '%s' is declared", alias)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the repository of the dependency is no URL")
	}
	switch u.Scheme {
	case "http", "https":
		from.Repository = address
	case "oci":
		from.Repository, from.OCI = strings.TrimPrefix(address, "oci://"), true
	default:
		return nil, fmt.Errorf("unsupported scheme %q of the repository of a dependency", u.Scheme)
	}
	return from, nil
}

func (v *chartBuild) fault(err error) *model.Fault { return v.chartFault(err) }

func (v *chartBuild) finish(t *Tree, p piece) { v.finishChart(t, p) }
