package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Where a render finds what is no part of its source. Everything below
// reserved is, in a Mounted tree, a mount or nothing: a source cannot put
// anything there.
const (
	reserved = ".plumb"

	// AtAPI is where the mount of Capabilities belongs, AtLive that of Live.
	AtAPI  = reserved + "/api"
	AtLive = reserved + "/live"

	atRef   = reserved + "/ref/"
	atChart = reserved + "/chart/"
	atBase  = reserved + "/base/"
	atURL   = reserved + "/url/"
)

// RefAt is where the tree of the input called name belongs, whose files others
// name as "$name/…".
func RefAt(name string) string { return atRef + segment(name) }

// Mount is a tree that stands at a place of another one.
type Mount struct {
	At     string    // RefAt(name), Want.At, AtAPI or AtLive
	Tree   Tree      // what is asked there
	Source object.ID // whose tree that is; the zero ID: nobody's, see Split
}

// Mounted is main with other trees at places of it. Nothing of main is seen
// where a mount may stand, and no list names a mount.
func Mounted(main Tree, mounts []Mount) Tree {
	return &mounted{main: main, mounts: slices.Clone(mounts)}
}

type mounted struct {
	main   Tree
	mounts []Mount
}

// route returns the tree that a path belongs to, and the path in it; nil when
// nothing can stand there.
func (m *mounted) route(p string) (Tree, string) {
	if !isReserved(p) {
		return m.main, p
	}
	for i := range m.mounts {
		if in, ok := belowMount(p, m.mounts[i].At); ok {
			return m.mounts[i].Tree, in
		}
	}
	return nil, ""
}

func isReserved(p string) bool { return p == reserved || strings.HasPrefix(p, reserved+"/") }

// belowMount returns p as seen from at, which it is below, or is.
func belowMount(p, at string) (string, bool) {
	rest, ok := strings.CutPrefix(p, at)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "", true
	}
	return strings.CutPrefix(rest, "/")
}

// Lookup implements Tree.
func (m *mounted) Lookup(p string) (model.Entry, bool, error) {
	tree, in := m.route(p)
	if tree == nil {
		return model.Entry{}, false, nil
	}
	return tree.Lookup(in)
}

// List implements Tree.
func (m *mounted) List(dir string) ([]model.Entry, error) {
	tree, in := m.route(dir)
	if tree == nil {
		return nil, notThere("list", dir)
	}
	entries, err := tree.List(in)
	if err != nil || dir != "" {
		return entries, err
	}
	hides := func(e model.Entry) bool { return e.Name == reserved }
	if slices.ContainsFunc(entries, hides) {
		entries = slices.DeleteFunc(slices.Clone(entries), hides)
	}
	return entries, nil
}

// Read implements Tree.
func (m *mounted) Read(p string) ([]byte, error) {
	tree, in := m.route(p)
	if tree == nil {
		return nil, notThere("read", p)
	}
	return tree.Read(in)
}

// Link implements Tree.
func (m *mounted) Link(p string) (string, error) {
	tree, in := m.route(p)
	if tree == nil {
		return "", notThere("readlink", p)
	}
	return tree.Link(in)
}

func notThere(op, p string) error { return &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist} }

// Split gives each source its own part of what a render read of
// Mounted(main, mounts): main's is the first of the readings, those of mounts
// without a Source are left out, and so are questions about a place where
// nothing was mounted.
func Split(trace model.Trace, main object.ID, mounts []Mount) []Reading {
	readings := make([]Reading, 1, len(mounts)+1)
	readings[0].Source = main
	at := map[int]int{} // mount → reading
	for _, read := range trace {
		if !isReserved(read.Path) {
			readings[0].Trace = append(readings[0].Trace, read)
			continue
		}
		for i := range mounts {
			in, ok := belowMount(read.Path, mounts[i].At)
			if !ok {
				continue
			}
			if !mounts[i].Source.IsZero() {
				if _, known := at[i]; !known {
					at[i] = len(readings)
					readings = append(readings, Reading{Source: mounts[i].Source})
				}
				to := &readings[at[i]]
				read.Path = in
				to.Trace = append(to.Trace, read)
			}
			break
		}
	}
	return readings
}

// MissingError says that a render needs trees that are not mounted. It is no
// fault, and no memo keeps it: with all of them mounted at the place of its
// Want, the same render goes on (and may then want others).
type MissingError struct{ Wants []Want }

// Error names what is missing.
func (e *MissingError) Error() string {
	names := make([]string, len(e.Wants))
	for i := range e.Wants {
		names[i] = e.Wants[i].String()
	}
	return "not fetched yet: " + strings.Join(names, ", ")
}

// Want is one tree that is to be mounted. Exactly one of Chart, Base and URL is
// set.
type Want struct {
	Key string // the same for what is the same, whoever wants it
	At  string // where the render looks for it

	Chart *WantedChart
	Base  *WantedBase
	URL   string // of one file, which the tree holds at its root under any name
	Field string // of the declaring object, or the file that asks for it
}

// WantedChart is a Helm chart whose tree has Chart.yaml at its root, or in its
// only directory.
type WantedChart struct {
	Name    string
	Version string // a version, or a semver range; "": the newest
	// Repository is as it is written: "https://…" or "http://…" of a repository
	// with an index, "oci://…" of a registry (the name is added), or "@alias" and
	// "alias:alias" of a model.ChartPlace.
	Repository string
	Devel      bool // versions that are not stable count too
}

// WantedBase is a Git repository whose tree has the base at a path.
type WantedBase struct {
	URL        string // for git: https, ssh or user@host:path; without "git::"
	Ref        string // branch, tag or commit; "": the remote's HEAD
	Path       string // of the base, for the account; the whole tree is mounted
	Submodules bool
}

// String is for messages: it holds no credentials.
func (w *Want) String() string {
	switch {
	case w.Chart != nil:
		text := "chart " + w.Chart.Name
		if w.Chart.Version != "" {
			text += " " + w.Chart.Version
		}
		return text + " of " + withoutCredentials(w.Chart.Repository)
	case w.Base != nil:
		return "base " + withoutCredentials(w.Base.URL)
	}
	return "file " + withoutCredentials(w.URL)
}

func wantChart(c WantedChart, field string) Want {
	key := keyed("chart", c.Repository, c.Name, c.Version, fmt.Sprint(c.Devel))
	return Want{Key: key, At: atChart + key, Chart: &c, Field: field}
}

func wantBase(b WantedBase, field string) Want {
	key := keyed("base", b.URL, b.Ref, fmt.Sprint(b.Submodules))
	return Want{Key: key, At: atBase + key, Base: &b, Field: field}
}

func wantURL(address, field string) Want {
	key := keyed("url", address)
	return Want{Key: key, At: atURL + key, URL: address, Field: field}
}

func keyed(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// A segment is any text as one element of a path.
func segment(text string) string {
	switch text {
	case "":
		return "%"
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(text)
}

func unsegment(element string) (string, bool) {
	if element == "%" {
		return "", true
	}
	text, err := url.PathUnescape(element)
	return text, err == nil
}

// apiVersionFile holds the version of Kubernetes in the tree of Capabilities.
const apiVersionFile = "version"

// Capabilities is a tree that tells charts what the target is: its version
// (such as "v1.34.1") is the content of the file "version", and each of apis
// ("v1", "apps/v1", "apps/v1/Deployment") is a path at which something stands.
// A render that asks for one of them reads that path only.
func Capabilities(kubeVersion string, apis []string) Tree {
	c := &capabilities{version: []byte(kubeVersion), children: map[string]map[string]struct{}{"": {}}}
	for _, api := range apis {
		for p := cleaned(api); p != "" && !climbs(p); p = parent(p) {
			if c.children[p] == nil {
				c.children[p] = map[string]struct{}{}
			}
			above := parent(p)
			if c.children[above] == nil {
				c.children[above] = map[string]struct{}{}
			}
			c.children[above][path.Base(p)] = struct{}{}
		}
	}
	sorted := slices.Sorted(slices.Values(apis))
	c.apis = slices.Compact(sorted)
	c.digest = keyed(append([]string{kubeVersion}, c.apis...)...)
	return c
}

type capabilities struct {
	version  []byte
	apis     []string
	digest   string
	children map[string]map[string]struct{}
}

// Lookup implements Tree.
func (c *capabilities) Lookup(p string) (model.Entry, bool, error) {
	if p == apiVersionFile {
		return contentEntry(p, c.version), true, nil
	}
	if _, ok := c.children[p]; !ok {
		return model.Entry{}, false, nil
	}
	entry := model.Entry{Name: path.Base(p), Kind: model.DirEntry, Size: -1}
	if p == "" {
		entry.Digest = c.digest
	}
	return entry, true, nil
}

// List implements Tree.
func (c *capabilities) List(dir string) ([]model.Entry, error) {
	below, ok := c.children[dir]
	if !ok {
		return nil, notThere("list", dir)
	}
	var entries []model.Entry
	for _, name := range slices.Sorted(maps.Keys(below)) {
		entries = append(entries, model.Entry{Name: name, Kind: model.DirEntry, Size: -1})
	}
	return entries, nil
}

// Read implements Tree.
func (c *capabilities) Read(p string) ([]byte, error) {
	if p != apiVersionFile {
		return nil, notThere("read", p)
	}
	return c.version, nil
}

// Link implements Tree.
func (c *capabilities) Link(p string) (string, error) { return "", notThere("readlink", p) }

// Lookup is what a chart asks of the target with the function of that name. An
// empty Name asks for a list, of all namespaces where Namespace is empty.
type Lookup struct{ APIVersion, Kind, Namespace, Name string }

func (l Lookup) path() string {
	return segment(l.APIVersion) + "/" + segment(l.Kind) + "/" + segment(l.Namespace) + "/" + segment(l.Name)
}

func parseLookup(p string) (Lookup, bool) {
	const parts = 4
	elements := strings.Split(p, "/")
	if len(elements) != parts {
		return Lookup{}, false
	}
	var l Lookup
	for i, to := range []*string{&l.APIVersion, &l.Kind, &l.Namespace, &l.Name} {
		text, ok := unsegment(elements[i])
		if !ok {
			return Lookup{}, false
		}
		*to = text
	}
	return l, true
}

// Live is a tree that asks the target. get returns an object, or a list where
// name is empty, as JSON; nil when there is none; an error fails the render,
// which is then tried again. One question is asked once. The answers of a
// target change: a render, and a look at a trace, want a tree of their own.
func Live(get func(apiVersion, kind, namespace, name string) ([]byte, error)) Tree {
	return &live{get: get, answers: map[string]liveAnswer{}}
}

type live struct {
	get func(apiVersion, kind, namespace, name string) ([]byte, error)

	mu      sync.Mutex
	answers map[string]liveAnswer
}

type liveAnswer struct {
	content []byte
	err     error
}

// liveError is about a target that does not answer.
type liveError struct{ err error }

func (e *liveError) Error() string { return "the function lookup: " + e.err.Error() }
func (e *liveError) Unwrap() error { return e.err }

func (l *live) ask(p string) ([]byte, error) {
	question, ok := parseLookup(p)
	if !ok {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.answers[p]
	if !ok {
		known.content, known.err = l.get(question.APIVersion, question.Kind, question.Namespace, question.Name)
		if known.err != nil {
			known.err = &liveError{known.err}
		}
		l.answers[p] = known
	}
	return known.content, known.err
}

// Lookup implements Tree.
func (l *live) Lookup(p string) (model.Entry, bool, error) {
	if p == "" {
		return model.Entry{Kind: model.DirEntry, Size: -1}, true, nil
	}
	content, err := l.ask(p)
	if err != nil || content == nil {
		return model.Entry{}, false, err
	}
	return contentEntry(p, content), true, nil
}

// List implements Tree. What a target holds is not listed.
func (l *live) List(dir string) ([]model.Entry, error) { return nil, notThere("list", dir) }

// Read implements Tree.
func (l *live) Read(p string) ([]byte, error) {
	content, err := l.ask(p)
	if err == nil && content == nil {
		err = notThere("read", p)
	}
	return content, err
}

// Link implements Tree.
func (l *live) Link(p string) (string, error) { return "", notThere("readlink", p) }

func contentEntry(p string, content []byte) model.Entry {
	sum := sha256.Sum256(content)
	return model.Entry{Name: path.Base(p), Kind: model.FileEntry, Digest: hex.EncodeToString(sum[:]), Size: int64(len(content))}
}

// subtree is what stands at and below a directory, as a tree of its own: no
// link leads out of it.
type subtree struct {
	tree Tree
	at   string
}

// Lookup implements Tree.
func (s subtree) Lookup(p string) (model.Entry, bool, error) {
	return s.tree.Lookup(path.Join(s.at, p))
}

// List implements Tree.
func (s subtree) List(dir string) ([]model.Entry, error) { return s.tree.List(path.Join(s.at, dir)) }

// Read implements Tree.
func (s subtree) Read(p string) ([]byte, error) { return s.tree.Read(path.Join(s.at, p)) }

// Link implements Tree.
func (s subtree) Link(p string) (string, error) { return s.tree.Link(path.Join(s.at, p)) }
