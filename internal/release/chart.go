package release

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"sort"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"
)

// Chart is a chart as records hold it: without the charts it depends on, which
// Helm leaves out too. It is immutable, and shared by the records of all releases
// of it.
type Chart struct {
	metadata chart.Metadata
	json     []byte

	once   sync.Once
	packed prefix
	err    error
}

// NewChart prepares a chart for records. The version replaces that of the chart;
// "" leaves it (see helm.ChartVersion).
func NewChart(c *chart.Chart, version string) (*Chart, error) {
	if c == nil || c.Metadata == nil {
		return nil, fmt.Errorf("the chart has no metadata")
	}
	bare := *c
	metadata := *c.Metadata
	bare.Metadata = &metadata
	if version != "" {
		metadata.Version = version
	}
	text, err := json.Marshal(&bare)
	if err != nil {
		return nil, fmt.Errorf("cannot encode chart %s: %w", metadata.Name, err)
	}
	return &Chart{metadata: metadata, json: text}, nil
}

// LoadChart prepares the chart that is made of files, by their paths below its
// directory; bytes of files and their number are bounded by the caller. What
// .helmignore names is left out, as packaging leaves it out.
func LoadChart(files map[string][]byte, version string) (*Chart, error) {
	ignored, err := Ignoring(files[IgnoreFile])
	if err != nil {
		return nil, err
	}
	var kept []*archive.BufferedFile
	for path, data := range files {
		if !strings.HasPrefix(path, "charts/") && !ignored(path) {
			kept = append(kept, &archive.BufferedFile{Name: path, Data: data})
		}
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].Name < kept[j].Name })
	loaded, err := loader.LoadFiles(kept)
	if err != nil {
		return nil, fmt.Errorf("cannot load the chart: %w", err)
	}
	return NewChart(loaded, version)
}

// IgnoreFile names what is no part of the chart in whose directory it stands.
const IgnoreFile = ignore.HelmIgnore

// Ignoring reads the content of an IgnoreFile, which may be empty, and says of
// files, by their paths below the chart's directory, whether packaging leaves
// them out.
func Ignoring(content []byte) (ignored func(path string) bool, err error) {
	rules, err := ignore.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", IgnoreFile, err)
	}
	rules.AddDefaults()
	return func(path string) bool { return ignoredBy(rules, path) }, nil
}

// ignoredBy reports whether a file, or a directory above it, is named by the
// rules.
func ignoredBy(rules *ignore.Rules, path string) bool {
	for i := range path {
		if path[i] == '/' && rules.Ignore(path[:i], entry{name: path[:i], dir: true}) {
			return true
		}
	}
	return rules.Ignore(path, entry{name: path})
}

// Metadata of the chart.
func (c *Chart) Metadata() chart.Metadata { return c.metadata }

// JSON is the chart as records hold it. The caller must not change it.
func (c *Chart) JSON() []byte { return c.json }

// String names the chart, and nothing of its content.
func (c *Chart) String() string { return c.metadata.Name + "@" + c.metadata.Version }

// size is about what the chart takes in memory, in bytes.
func (c *Chart) size() int64 { return int64(len(c.json) + len(c.json)/4) }

// prefix is the compressed beginning of a record: deflate blocks that end at a
// byte, with the checksum and the length of what they hold.
type prefix struct {
	blocks []byte
	sum    uint32
	length uint32
}

// The record begins with the chart, so that its compressed form can be shared.
const (
	chartOpens  = `{"chart":`
	chartCloses = `,`
)

// pack compresses the chart, once.
func (c *Chart) pack() (prefix, error) {
	c.once.Do(func() {
		text := make([]byte, 0, len(chartOpens)+len(c.json)+len(chartCloses))
		text = append(append(append(text, chartOpens...), c.json...), chartCloses...)
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, flate.BestCompression)
		if err == nil {
			_, err = w.Write(text)
		}
		if err == nil {
			err = w.Flush()
		}
		c.packed, c.err = prefix{blocks: out.Bytes(), sum: crc32.ChecksumIEEE(text), length: uint32(len(text))}, err //nolint:gosec // gzip wants the length modulo 2^32
	})
	return c.packed, c.err
}
