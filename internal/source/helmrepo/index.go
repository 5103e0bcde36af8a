package helmrepo

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/Masterminds/semver/v3"
)

// index is what is kept of an index.yaml.
type index struct {
	charts map[string][]release // sorted: the highest version first
	bytes  int64                // memory that it takes, roughly
}

// release is one package of a chart. Its texts share the memory of the chart's.
type release struct {
	version string
	url     string // the first one, as it is written; "" when there is none
	digest  [32]byte
	created int64 // nanoseconds since 1970; 0: not told
	digests bool  // whether digest is told
}

// digestText is the digest as models have it, or "".
func (r *release) digestText() string {
	if !r.digests {
		return ""
	}
	return "sha256:" + hex.EncodeToString(r.digest[:])
}

func (r *release) createdAt() time.Time {
	if r.created == 0 {
		return time.Time{}
	}
	return time.Unix(0, r.created).UTC()
}

// entry is what matters of one entry of an index: what is kept, and what
// decides whether Helm takes the entry for valid.
type entry struct {
	APIVersion   string        `json:"apiVersion"`
	Name         string        `json:"name"`
	Version      string        `json:"version"`
	Type         string        `json:"type"`
	URLs         []string      `json:"urls"`
	Created      time.Time     `json:"created"`
	Digest       string        `json:"digest"`
	Maintainers  []*struct{}   `json:"maintainers"`
	Dependencies []*dependency `json:"dependencies"`
}

type dependency struct {
	Alias string `json:"alias"`
}

// head is the rest of an index that matters.
type head struct {
	APIVersion string `json:"apiVersion"`
}

// whole is an index that is read at once.
type whole struct {
	head
	Entries map[string][]*entry `json:"entries"`
}

var aliasForm = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// valid tells whether Helm keeps an entry (chart/v2 Metadata.Validate; two
// dependencies of one name are forgiven, as in repo.loadIndex).
func (e *entry) valid() bool {
	name := printable(e.Name)
	switch {
	case name == "", name == ".", name == "..", name != path.Base(name):
		return false
	case e.Type != "" && e.Type != "application" && e.Type != "library":
		return false
	case slices.Contains(e.Maintainers, nil):
		return false
	}
	if _, err := semver.NewVersion(e.Version); err != nil {
		return false
	}
	for _, d := range e.Dependencies {
		if d == nil || d.Alias != "" && !aliasForm.MatchString(d.Alias) {
			return false
		}
	}
	return true
}

// printable is how Helm cleans the texts of a chart before it judges them.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
}

// errEmpty and errNoVersion are Helm's errors for what is no index at all
// (repo.ErrEmptyIndexYaml, repo.ErrNoAPIVersion).
var (
	errEmpty     = errors.New("it is empty")
	errNoVersion = errors.New("it has no apiVersion: what the address serves is no index of a Helm repository")
)

// collector makes an index of entries, chart by chart.
type collector struct {
	index   index
	name    string
	current []release
	texts   strings.Builder // of the current chart, one after the other
	places  []place
}

// place tells where the texts of a release end.
type place struct{ version, url int }

func newCollector() *collector {
	return &collector{index: index{charts: map[string][]release{}}}
}

// begin starts a chart. Helm keeps the last of two charts of one name.
func (c *collector) begin(name string) {
	c.finish()
	c.name = strings.Clone(name)
}

// add keeps an entry of the current chart, if it is valid.
func (c *collector) add(e *entry) {
	if e == nil || !e.valid() {
		return
	}
	var r release
	if !e.Created.IsZero() {
		r.created = e.Created.UnixNano()
	}
	r.digest, r.digests = parseDigest(e.Digest)
	c.texts.WriteString(e.Version)
	p := place{version: c.texts.Len()}
	if len(e.URLs) > 0 {
		c.texts.WriteString(e.URLs[0])
	}
	p.url = c.texts.Len()
	c.current, c.places = append(c.current, r), append(c.places, p)
}

// parseDigest reads a SHA-256 digest, with or without its algorithm. Others say
// nothing: Helm does not look at them either.
func parseDigest(text string) (digest [32]byte, ok bool) {
	text = strings.TrimPrefix(text, "sha256:")
	if len(text) != hex.EncodedLen(len(digest)) {
		return digest, false
	}
	if _, err := hex.Decode(digest[:], []byte(text)); err != nil {
		return [32]byte{}, false
	}
	return digest, true
}

// releaseBytes is the size of a release without its texts.
const releaseBytes = 96

// finish ends the current chart.
func (c *collector) finish() {
	if c.name == "" {
		return
	}
	texts, at := strings.Clone(c.texts.String()), 0
	for i, p := range c.places {
		c.current[i].version, c.current[i].url = texts[at:p.version], texts[p.version:p.url]
		at = p.url
	}
	kept := slices.Clone(c.current)
	sortReleases(kept)
	c.index.charts[c.name] = kept
	c.index.bytes += int64(len(kept)*releaseBytes + len(texts) + len(c.name) + 64)
	c.name, c.current, c.places = "", c.current[:0], c.places[:0]
	c.texts.Reset()
}

// sortReleases puts the highest version first and, among versions that differ
// by build metadata only, the one that was created last.
func sortReleases(releases []release) {
	type ranked struct {
		release
		version *semver.Version
	}
	all := make([]ranked, len(releases))
	for i, r := range releases {
		parsed, _ := semver.NewVersion(r.version) // only what parses was added
		all[i] = ranked{r, parsed}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(b.version.Compare(a.version), cmp.Compare(b.created, a.created))
	})
	for i := range all {
		releases[i] = all[i].release
	}
}

// result ends the index. An index that names no version of its form is none.
func (c *collector) result(h head) (*index, error) {
	c.finish()
	if h.APIVersion == "" {
		return nil, errNoVersion
	}
	return &c.index, nil
}

// fromWhole makes an index of one that was read at once.
func fromWhole(w *whole) (*index, error) {
	c := newCollector()
	for name, entries := range w.Entries {
		c.begin(name)
		for _, e := range entries {
			c.add(e)
		}
	}
	return c.result(w.head)
}

// missing is what an index does not have.
type missing struct {
	text   string
	advice string
}

func (m *missing) Error() string { return m.text }

// find picks the version of a chart: the one that is written exactly so, else
// the highest that the range allows ("" and "*": the newest stable one).
//
// As in source-controller a range picks from strictly semantic versions; only
// where none of them fits does it pick from those that merely look like
// versions ("1.2"), as Helm and Argo CD do.
func (x *index) find(name, wanted string) (*release, error) {
	releases, ok := x.charts[name]
	switch {
	case !ok:
		return nil, &missing{
			text:   fmt.Sprintf("chart %q is not in the index", name),
			advice: x.suggestName(name),
		}
	case len(releases) == 0:
		return nil, &missing{
			text:   fmt.Sprintf("chart %q has no valid version in the index", name),
			advice: "publish a version of it",
		}
	}
	for i := range releases {
		if wanted == releases[i].version {
			return &releases[i], nil
		}
	}
	constraint, err := semver.NewConstraint(cmp.Or(wanted, "*"))
	if err != nil {
		return nil, &missing{
			text:   fmt.Sprintf("%q is no version of chart %q, and no range of versions either: %s", wanted, name, err),
			advice: suggestVersion(releases, wanted),
		}
	}
	for _, parse := range []func(string) (*semver.Version, error){strictVersion, semver.NewVersion} {
		for i := range releases {
			if v, err := parse(releases[i].version); err == nil && constraint.Check(v) {
				return &releases[i], nil
			}
		}
	}
	return nil, &missing{
		text:   fmt.Sprintf("no '%s' chart with version matching '%s' found", name, wanted),
		advice: suggestVersion(releases, wanted),
	}
}

// strictVersion reads a semantic version, which may start with a "v"
// (fluxcd/pkg version.ParseVersion).
func strictVersion(text string) (*semver.Version, error) {
	return semver.StrictNewVersion(strings.TrimPrefix(text, "v"))
}
