package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template/parse"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"sigs.k8s.io/yaml"
)

// File is a file of a chart; Name is slash separated and relative to the
// chart's directory.
type File struct {
	Name string
	Data []byte
}

// Chart is a chart with its subcharts, parsed. It never changes, and serves any
// number of renders at once.
type Chart struct {
	Metadata *v2.Metadata
	Lock     *v2.Lock // nil: the chart has none
	Values   map[string]any
	Schema   []byte

	Templates []*common.File
	Files     []*common.File // whatever is neither template nor metadata
	Charts    []*Chart       // in charts/, by the name of their directory or archive

	// At is where the chart stands, relative to the outermost: "" for that one,
	// "charts/name", or "charts/name-1.2.3.tgz" for an archive.
	At string

	files  fileSet
	bytes  int64
	schema schema

	mu     sync.Mutex
	parsed map[string]parsedTemplates // by the chart's full name
}

// parsedTemplates are the trees of each template file, and what is wrong with
// those that cannot be parsed.
type parsedTemplates map[string]parsedFile

type parsedFile struct {
	source string
	trees  map[string]*parse.Tree
	err    error
}

type schema struct {
	once     sync.Once
	compiled *jsonschema.Schema
	err      error
}

// Bounds of a chart and its subcharts together.
const (
	mostBytes    = 100 << 20 // as Helm's for an archive
	mostFiles    = 20_000
	mostArchives = 16 // charts in charts
)

// ErrNoChart is returned for files without a Chart.yaml.
var ErrNoChart = errors.New("Chart.yaml file is missing") //nolint:staticcheck // Helm's words, and a name

const (
	metadataFile = "Chart.yaml"
	subcharts    = "charts/"
)

// Load parses the files of a chart, in any order. Archives in charts/ are
// unpacked. Data is kept, and must not be changed afterwards.
func Load(files []File) (*Chart, error) {
	l := &loading{bytes: mostBytes, files: mostFiles}
	for i := range files {
		if err := l.admit(int64(len(files[i].Data))); err != nil {
			return nil, err
		}
	}
	return l.load(files, "", 0)
}

// loading counts what a chart has.
type loading struct {
	bytes int64 // that may still come
	files int
}

func (l *loading) admit(size int64) error {
	l.bytes -= size
	l.files--
	switch {
	case l.bytes < 0:
		return fmt.Errorf("the chart and its subcharts have more than %d bytes", int64(mostBytes))
	case l.files < 0:
		return fmt.Errorf("the chart and its subcharts have more than %d files", mostFiles)
	}
	return nil
}

func (l *loading) load(files []File, at string, depth int) (*Chart, error) {
	if depth > mostArchives {
		return nil, fmt.Errorf("charts are nested deeper than %d", mostArchives)
	}
	c := &Chart{At: at, parsed: map[string]parsedTemplates{}, files: fileSet{}}
	if err := c.readMetadata(files); err != nil {
		return c, err
	}
	below := map[string][]File{}
	for _, f := range files {
		if err := c.take(f, below); err != nil {
			return c, err
		}
	}
	if c.Metadata == nil {
		return c, ErrNoChart
	}
	if err := (&v2.Chart{Metadata: c.Metadata}).Validate(); err != nil {
		return c, err
	}
	for _, f := range c.Files {
		c.files[f.Name] = f.Data
	}
	return c, l.loadCharts(c, below, depth)
}

// readMetadata reads Chart.yaml before anything else.
func (c *Chart) readMetadata(files []File) error {
	for _, f := range files {
		if f.Name != metadataFile {
			continue
		}
		if c.Metadata == nil {
			c.Metadata = new(v2.Metadata)
		}
		if err := yaml.Unmarshal(f.Data, c.Metadata); err != nil {
			return fmt.Errorf("cannot load Chart.yaml: %w", err)
		}
		if c.Metadata.APIVersion == "" {
			c.Metadata.APIVersion = v2.APIVersionV1
		}
	}
	return nil
}

// take puts a file where it belongs.
func (c *Chart) take(f File, below map[string][]File) error {
	c.bytes += int64(len(f.Data))
	kept := &common.File{Name: f.Name, Data: f.Data}
	switch {
	case f.Name == metadataFile:
	case f.Name == "Chart.lock":
		return c.readLock(f)
	case f.Name == "values.yaml":
		values, err := loader.LoadValues(bytes.NewReader(f.Data))
		if err != nil {
			return fmt.Errorf("cannot load values.yaml: %w", err)
		}
		c.Values = values
	case f.Name == "values.schema.json":
		c.Schema = f.Data
	case f.Name == "requirements.yaml":
		if c.Metadata == nil {
			c.Metadata = new(v2.Metadata)
		}
		if err := yaml.Unmarshal(f.Data, c.Metadata); err != nil {
			return fmt.Errorf("cannot load requirements.yaml: %w", err)
		}
		c.keepOld(kept)
	case f.Name == "requirements.lock":
		if c.Metadata == nil {
			c.Metadata = new(v2.Metadata)
		}
		if err := c.readLock(f); err != nil {
			return err
		}
		c.keepOld(kept)
	case strings.HasPrefix(f.Name, "templates/"):
		c.Templates = append(c.Templates, kept)
	case strings.HasPrefix(f.Name, subcharts) && path.Ext(f.Name) != ".prov":
		name := strings.TrimPrefix(f.Name, subcharts)
		first, _, _ := strings.Cut(name, "/")
		below[first] = append(below[first], File{Name: name, Data: f.Data})
	default:
		c.Files = append(c.Files, kept)
	}
	return nil
}

// keepOld keeps a file that only charts of the first version have.
func (c *Chart) keepOld(f *common.File) {
	if c.Metadata.APIVersion == v2.APIVersionV1 {
		c.Files = append(c.Files, f)
	}
}

func (c *Chart) readLock(f File) error {
	c.Lock = new(v2.Lock)
	if err := yaml.Unmarshal(f.Data, c.Lock); err != nil {
		return fmt.Errorf("cannot load %s: %w", f.Name, err)
	}
	return nil
}

func (l *loading) loadCharts(c *Chart, below map[string][]File, depth int) error {
	for _, name := range sortedKeys(below) {
		if strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
			continue
		}
		sub, err := l.loadChart(name, below[name], path.Join(c.At, subcharts, name), depth+1)
		if err != nil {
			return fmt.Errorf("error unpacking subchart %s in %s: %w", name, c.Metadata.Name, err)
		}
		c.Charts = append(c.Charts, sub)
	}
	return nil
}

func (l *loading) loadChart(name string, files []File, at string, depth int) (*Chart, error) {
	if path.Ext(name) == ".tgz" {
		if files[0].Name != name {
			return nil, fmt.Errorf("expected %s, got %s", name, files[0].Name)
		}
		unpacked, err := l.unpack(files[0].Data)
		if err != nil {
			return nil, err
		}
		return l.load(unpacked, at, depth)
	}
	var inside []File
	for _, f := range files {
		if _, rest, ok := strings.Cut(f.Name, "/"); ok {
			inside = append(inside, File{Name: rest, Data: f.Data})
		}
	}
	return l.load(inside, at, depth)
}

// Unpack returns the files of a packaged chart, without the directory that
// holds them all. It has at most so many bytes and files as a chart may.
func Unpack(archive []byte) ([]File, error) {
	l := &loading{bytes: mostBytes, files: mostFiles}
	return l.unpack(archive)
}

var (
	byteOrderMark = []byte{0xEF, 0xBB, 0xBF}
	drivePath     = regexp.MustCompile(`^[a-zA-Z]:/`)
)

func (l *loading) unpack(archive []byte) ([]File, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	var files []File
	// Headers are read by the same reader, and names can be long.
	const slack = 64 << 20
	bounded := &io.LimitedReader{R: unzipped, N: l.bytes + slack}
	for tr := tar.NewReader(bounded); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) && bounded.N > 0 {
			break
		}
		if err != nil {
			if bounded.N <= 0 {
				return nil, l.admit(l.bytes + 1)
			}
			return nil, err
		}
		if header.FileInfo().IsDir() || header.Typeflag == tar.TypeXGlobalHeader || header.Typeflag == tar.TypeXHeader {
			continue
		}
		name, err := nameInArchive(header.Name)
		if err != nil {
			return nil, err
		}
		if err := l.admit(max(header.Size, 0)); err != nil {
			return nil, err
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: name, Data: bytes.TrimPrefix(data, byteOrderMark)})
	}
	if len(files) == 0 {
		return nil, errors.New("no files in chart archive")
	}
	return files, nil
}

// nameInArchive is the name of a file without the first directory.
func nameInArchive(name string) (string, error) {
	first, rest, _ := strings.Cut(strings.ReplaceAll(name, "\\", "/"), "/")
	if path.IsAbs(rest) {
		return "", errors.New("chart illegally contains absolute paths")
	}
	cleaned := path.Clean(rest)
	switch {
	case cleaned == ".":
		if first == metadataFile {
			return "", errors.New("chart yaml not in base directory")
		}
		return "", fmt.Errorf("chart illegally contains content outside the base directory: %q", name)
	case strings.HasPrefix(cleaned, ".."):
		return "", errors.New("chart illegally references parent directory")
	case drivePath.MatchString(cleaned):
		return "", errors.New("chart contains illegally named files")
	}
	return cleaned, nil
}

// Library reports whether the chart only holds definitions for others.
func (c *Chart) Library() bool { return strings.EqualFold(c.Metadata.Type, "library") }

// Bytes is about what the chart keeps in memory, with its subcharts.
func (c *Chart) Bytes() int64 {
	const perByte = 4 // parsed templates and values take more than their text
	total := perByte * c.bytes
	for _, sub := range c.Charts {
		total += sub.Bytes()
	}
	return total
}

// Missing lists the dependencies that Chart.yaml declares and charts/ does not
// hold under their name.
func (c *Chart) Missing() []*v2.Dependency {
	var missing []*v2.Dependency
	for _, d := range c.Metadata.Dependencies {
		if !slices.ContainsFunc(c.Charts, func(sub *Chart) bool { return sub.Metadata.Name == d.Name }) {
			missing = append(missing, d)
		}
	}
	return missing
}

// Under is the chart as one that stands at a place below another's directory.
// It is parsed anew.
func (c *Chart) Under(place string) *Chart {
	out := c.With(c.Charts...)
	out.At = path.Join(place, c.At)
	for i, sub := range c.Charts {
		out.Charts[i] = sub.Under(place)
	}
	return out
}

// With is the chart with these in charts/ instead of its own.
func (c *Chart) With(charts ...*Chart) *Chart {
	return &Chart{
		Metadata: c.Metadata, Lock: c.Lock, Values: c.Values, Schema: c.Schema,
		Templates: c.Templates, Files: c.Files, At: c.At, files: c.files, bytes: c.bytes,
		Charts: slices.Clone(charts), parsed: map[string]parsedTemplates{},
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
