package render

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/util"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/render/chart"
)

// chartMemory bounds what parsed charts take that renders share.
const chartMemory = 64 << 20

// charts are the charts that have been parsed, by the digest of their files. A
// thousand releases of one chart parse it once.
var charts = newChartMemo(chartMemory)

type chartMemo struct {
	budget int64

	mu     sync.Mutex
	used   int64
	known  map[string]*list.Element // of *parsedChart
	order  *list.List               // last used first
	parsed int                      // how often a chart was parsed, for tests
}

type parsedChart struct {
	key   string
	once  sync.Once
	chart *chart.Chart
	err   error
	// linked: links lead out of the chart's directory, so that its digest does
	// not stand for its files.
	linked bool
	cost   int64
}

func newChartMemo(budget int64) *chartMemo {
	return &chartMemo{budget: budget, known: map[string]*list.Element{}, order: list.New()}
}

// get returns what parse came to for a key, now or before. Errors are not kept,
// and are those of this call.
func (m *chartMemo) get(key string, parse func(*parsedChart) error) *parsedChart {
	m.mu.Lock()
	element, ok := m.known[key]
	if ok {
		m.order.MoveToFront(element)
	} else {
		element = m.order.PushFront(&parsedChart{key: key})
		m.known[key] = element
	}
	one, _ := element.Value.(*parsedChart)
	m.mu.Unlock()
	mine := false
	one.once.Do(func() {
		mine = true
		one.err = parse(one)
		m.settle(element, one)
	})
	if one.err != nil && !mine { // another call's, which may have been cancelled
		one = &parsedChart{key: key}
		one.err = parse(one)
	}
	return one
}

// settle counts a chart that has been parsed, and drops what is too much.
func (m *chartMemo) settle(element *list.Element, one *parsedChart) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parsed++
	if one.err != nil {
		m.drop(element)
		return
	}
	const perEntry = 1 << 10
	one.cost = perEntry
	if one.chart != nil {
		one.cost += one.chart.Bytes()
	}
	if m.known[one.key] == element {
		m.used += one.cost
	}
	for m.used > m.budget && m.order.Len() > 1 {
		m.drop(m.order.Back())
	}
}

func (m *chartMemo) drop(element *list.Element) {
	one, _ := element.Value.(*parsedChart)
	if m.known[one.key] != element {
		return
	}
	m.order.Remove(element)
	delete(m.known, one.key)
	m.used -= one.cost
}

// loadedChart is a chart with where it stands and what names its content.
type loadedChart struct {
	*chart.Chart
	dir string
	key string
}

// chartAt loads the chart of a directory, or of the only directory in it; nil
// when there is none. packaged charts have no ignored files any more.
func (b *build) chartAt(dir string, packaged bool) (*loadedChart, error) {
	dir, inner, there, err := b.findChart(dir)
	if err != nil || !there {
		return nil, err
	}
	packaged = packaged || inner
	digest, known, err := b.recorder.Whole(dir)
	if err != nil {
		return nil, b.readFault(dir, err)
	}
	if known {
		key := fmt.Sprintf("%s %v", digest, packaged)
		one := charts.get(key, func(p *parsedChart) error {
			return p.read(b.filesOf(unrecorded{b.recorder}, dir, packaged))
		})
		if one.err != nil {
			return nil, b.chartFault(dir, one.err)
		}
		if !one.linked {
			return &loadedChart{one.chart, dir, key}, nil
		}
	}
	return b.chartByFile(dir, packaged)
}

// filesOf gathers the files of a chart. Links in a mount stay in it.
func (b *build) filesOf(tree Tree, dir string, packaged bool) *chartFiles {
	if root := mountRoot(dir); root != "" {
		tree, dir = subtree{tree, root}, strings.TrimPrefix(strings.TrimPrefix(dir, root), "/")
	}
	return &chartFiles{links: links{tree: tree, depth: b.limits.Depth}, dir: dir, packaged: packaged, limits: b.limits}
}

// chartByFile loads a chart whose files are recorded one by one.
func (b *build) chartByFile(dir string, packaged bool) (*loadedChart, error) {
	w := b.filesOf(b.recorder, dir, packaged)
	w.sum = sha256.New()
	if err := w.walk(); err != nil {
		return nil, b.chartFault(dir, err)
	}
	key := hex.EncodeToString(w.sum.Sum(nil))
	one := charts.get(key, func(p *parsedChart) error {
		var err error
		p.chart, err = chart.Load(w.files)
		return err
	})
	if one.err != nil {
		return nil, b.chartFault(dir, one.err)
	}
	return &loadedChart{one.chart, dir, key}, nil
}

func (p *parsedChart) read(w *chartFiles) error {
	w.stay = true
	err := w.walk()
	if errors.Is(err, errLinked) {
		p.linked = true
		return nil
	}
	if err == nil {
		p.chart, err = chart.Load(w.files)
	}
	return err
}

// findChart returns the directory of a chart: this one, or the only one in it
// (inner), as in an archive.
func (b *build) findChart(dir string) (at string, inner, there bool, err error) {
	if there, err = b.holdsChart(dir); err != nil || there {
		return dir, false, there, err
	}
	entries, err := b.recorder.List(dir)
	if err != nil {
		return "", false, false, b.readFault(dir, err)
	}
	if len(entries) != 1 || !isDir(entries[0]) {
		return "", false, false, nil
	}
	only := path.Join(dir, entries[0].Name)
	there, err = b.holdsChart(only)
	return only, true, there, err
}

func (b *build) holdsChart(dir string) (bool, error) {
	at := path.Join(dir, "Chart.yaml")
	_, entry, err := b.fs.resolve(at)
	switch {
	case isNotExist(err):
		return false, nil
	case err != nil:
		return false, b.readFault(at, err)
	}
	return !isDir(entry), nil
}

// errLinked: a chart has links that lead out of its directory.
var errLinked = errors.New("a link leads out of the chart")

// chartFiles gathers the files of a chart as Helm does: without what is
// ignored, with links followed.
type chartFiles struct {
	links
	dir      string
	packaged bool
	limits   Limits
	stay     bool // no link may lead out of the directory
	sum      hash.Hash

	ignored func(name string, dir bool) bool
	files   []chart.File
	entries int
}

func (w *chartFiles) walk() error {
	w.ignored = func(string, bool) bool { return false }
	if !w.packaged {
		rules, err := w.rules()
		if err != nil {
			return err
		}
		if w.ignored, err = chart.Ignore(rules); err != nil {
			return fmt.Errorf("%s: %w", chart.IgnoreFile, err)
		}
	}
	return w.below(w.dir, "", 0)
}

func (w *chartFiles) rules() ([]byte, error) {
	in, entry, err := w.resolve(path.Join(w.dir, chart.IgnoreFile))
	if isNotExist(err) {
		return nil, nil
	}
	if err == nil && !isDir(entry) {
		return w.tree.Read(in)
	}
	return nil, err
}

// below gathers a directory of the tree, which the chart knows by a name.
func (w *chartFiles) below(in, name string, depth int) error {
	if depth > w.limits.Depth {
		return &LimitError{Path: in, Message: fmt.Sprintf("directories are nested deeper than %d", w.limits.Depth)}
	}
	entries, err := w.tree.List(in)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if w.entries++; w.entries > w.limits.Files {
			return &LimitError{Path: in, Message: fmt.Sprintf("the chart has more than %d files and directories", w.limits.Files)}
		}
		at, known := path.Join(in, entry.Name), path.Join(name, entry.Name)
		if entry.Kind == model.LinkEntry {
			if at, entry, err = w.follow(at); err != nil {
				return err
			}
		}
		switch {
		case w.ignored(known, isDir(entry)):
		case isDir(entry):
			err = w.below(at, known, depth+1)
		default:
			err = w.take(at, known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *chartFiles) follow(at string) (string, model.Entry, error) {
	in, entry, err := w.resolve(at)
	switch {
	case err != nil:
		return "", entry, fmt.Errorf("the link %s cannot be followed: %w", at, err)
	case w.stay && w.dir != "" && in != w.dir && !strings.HasPrefix(in, w.dir+"/"):
		return "", entry, errLinked
	}
	return in, entry, nil
}

func (w *chartFiles) take(in, name string) error {
	content, err := w.tree.Read(in)
	if err != nil {
		return err
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	w.files = append(w.files, chart.File{Name: name, Data: content})
	if w.sum != nil {
		_, _ = fmt.Fprintf(w.sum, "%q %d\n", name, len(content))
		_, _ = w.sum.Write(content)
	}
	return nil
}

// chartFault is about a chart that cannot be loaded.
func (b *build) chartFault(dir string, err error) error {
	var fault *model.Fault
	var limit *LimitError
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.As(err, &limit):
		return b.readFault(dir, err)
	case errors.Is(err, errOutside):
		return b.faultAt(dir, 0, firstLine(err.Error()), "a link may lead to its own source only: copy what it means")
	}
	return b.faultAt(path.Join(dir, "Chart.yaml"), 0, "the chart cannot be loaded: "+firstLine(err.Error()), "")
}

// complete adds the charts that a chart depends on and does not bring. Those of
// repositories are wanted until they are mounted.
func (b *build) complete(c *loadedChart) (*loadedChart, error) {
	missing := c.Missing()
	if len(missing) == 0 {
		return c, nil
	}
	var wants []Want
	var subs []*loadedChart
	names := map[string]bool{}
	sum := sha256.New()
	_, _ = io.WriteString(sum, c.key)
	for _, d := range missing {
		sub, want, err := b.dependency(c, d)
		switch {
		case err != nil:
			return nil, err
		case want != nil:
			wants = append(wants, *want)
		case !names[sub.key]:
			names[sub.key] = true
			subs = append(subs, sub)
			_, _ = fmt.Fprintf(sum, " %s", sub.key)
		}
	}
	if len(wants) > 0 {
		return nil, &MissingError{Wants: wants}
	}
	key := hex.EncodeToString(sum.Sum(nil))
	whole := charts.get(key, func(p *parsedChart) error {
		all := append([]*chart.Chart{}, c.Charts...)
		for _, sub := range subs {
			all = append(all, sub.Under("charts/"+sub.Metadata.Name))
		}
		p.chart = c.With(all...)
		return nil
	})
	return &loadedChart{whole.chart, c.dir, key}, nil
}

// dependency finds one chart that another depends on, or says what to fetch.
func (b *build) dependency(c *loadedChart, d *helmchart.Dependency) (*loadedChart, *Want, error) {
	file := path.Join(c.dir, "Chart.yaml")
	missing := func(why, advice string) error {
		return b.faultAt(file, 0, fmt.Sprintf("found in Chart.yaml, but missing in charts/ directory: %s%s", d.Name, why), advice)
	}
	if local, ok := strings.CutPrefix(d.Repository, "file://"); ok {
		sub, err := b.localChart(c, d, local)
		if err != nil || sub != nil {
			return sub, nil, err
		}
		return nil, nil, missing(": "+d.Repository+" holds no chart of that name and version", "correct the path, or commit the chart into charts/")
	}
	if d.Repository == "" {
		return nil, nil, missing("", "name its repository, or commit the chart into charts/")
	}
	want := wantChart(WantedChart{Name: d.Name, Version: lockedVersion(c.Chart, d), Repository: d.Repository}, file)
	_, there, err := b.recorder.Lookup(want.At)
	if err != nil {
		return nil, nil, b.readFault(file, err)
	}
	if !there {
		return nil, &want, nil
	}
	sub, err := b.chartAt(want.At, true)
	switch {
	case err != nil:
		return nil, nil, err
	case sub == nil:
		return nil, nil, missing(": what "+withoutCredentials(d.Repository)+" has under that name is no chart", "")
	case sub.Metadata.Name != d.Name:
		return nil, nil, missing(fmt.Sprintf(": the repository has the chart %s under that name", clipped(sub.Metadata.Name)), "")
	}
	return sub, nil, nil
}

// localChart loads a dependency from a path relative to the chart, or to the
// root of the source.
func (b *build) localChart(c *loadedChart, d *helmchart.Dependency, local string) (*loadedChart, error) {
	at := cleaned(path.Join(c.dir, local))
	if path.IsAbs(local) {
		at = cleaned(local)
	}
	if climbs(at) {
		return nil, b.faultAt(path.Join(c.dir, "Chart.yaml"), 0, fmt.Sprintf("the dependency %s at %s leads out of the source", d.Name, d.Repository), "a chart may read its own source only")
	}
	in, entry, err := b.fs.resolve(at)
	switch {
	case isNotExist(err), err == nil && !isDir(entry):
		return nil, nil
	case err != nil:
		return nil, b.readFault(at, err)
	}
	sub, err := b.chartAt(in, false)
	if err != nil || sub == nil || sub.Metadata.Name != d.Name || !util.IsCompatibleRange(d.Version, sub.Metadata.Version) {
		return nil, err
	}
	return sub, nil
}

// lockedVersion is the version that Chart.lock settled, where it still fits.
func lockedVersion(c *chart.Chart, d *helmchart.Dependency) string {
	if c.Lock == nil {
		return d.Version
	}
	for _, locked := range c.Lock.Dependencies {
		if locked == nil || locked.Name != d.Name || locked.Repository != d.Repository {
			continue
		}
		if _, err := semver.NewVersion(locked.Version); err == nil && (d.Version == "" || util.IsCompatibleRange(d.Version, locked.Version)) {
			return locked.Version
		}
	}
	return d.Version
}
