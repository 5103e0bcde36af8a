package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// values composes what goes over the chart's own values: the files in their
// order, the values of the declared object, and the parameters, of which those
// that are always texts go after those that are not, and files after both
// (Helm, pkg/cli/values; argo-cd reposerver/repository, helmTemplate). dir is
// that of the source, which paths are relative to.
func (h *helming) values(c *loadedChart, dir string) (map[string]any, error) {
	if c != nil {
		dir = c.dir
	}
	h.dir = dir
	files, err := h.valueFiles()
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, file := range files {
		text, err := h.readValueFile(file)
		if err != nil {
			return nil, err
		}
		if err := h.over(&values, file.name(), text); err != nil {
			return nil, err
		}
	}
	if err := h.over(&values, "", h.opts.Values.Reveal()); err != nil {
		return nil, err
	}
	return values, h.parameters(values)
}

// read are values of a file, or of the declared object.
func (h *helming) read(file string, text []byte) (map[string]any, error) {
	if h.opts.Typed && file == "" {
		return helm.DecodeValues(text)
	}
	return parsedValues(text)
}

// over merges a text into values.
func (h *helming) over(values *map[string]any, file string, text []byte) error {
	if err := h.boundYAML(file, text); err != nil {
		return err
	}
	more, err := h.read(file, text)
	switch {
	case err == nil:
		*values = merged(*values, more)
		return nil
	case file == "":
		return h.fault(h.origin.Field, "the values of the release are no mapping", "")
	}
	return h.faultAt(file, 0, fmt.Sprintf("failed to parse %s: it is no YAML mapping", file), "")
}

// parsedValues reads values as Helm does: several documents are merged.
func parsedValues(text []byte) (map[string]any, error) {
	return loader.LoadValues(bytes.NewReader(text))
}

// merged is one table over another.
func merged(values, over map[string]any) map[string]any { return loader.MergeMaps(values, over) }

// valueFile is a file of values, or of a parameter.
type valueFile struct {
	tree Tree   // that the path is of; links stay in it
	at   string // where that tree stands in the recorder's
	path string
	want *Want // of an address
}

func (f valueFile) name() string {
	if f.want != nil {
		return withoutCredentials(f.want.URL)
	}
	return path.Join(f.at, f.path)
}

var referred = regexp.MustCompile(`^\$([A-Za-z0-9_-]+)(/.*)?$`)

// locate finds out what a name of a file means: an address, "$name/…" in the
// tree of another input, a path below the root of the source ("/…"), or one
// relative to the chart (argo-cd util/io/path).
func (h *helming) locate(name, field string) (valueFile, error) {
	if m := referred.FindStringSubmatch(name); m != nil {
		at := RefAt(m[1])
		_, found, err := h.recorder.Lookup(at)
		if err != nil {
			return valueFile{}, h.readFault(at, err)
		}
		if !found {
			return valueFile{}, h.fault(field, fmt.Sprintf("source referenced %q, but no source has a 'ref' field defined", "$"+m[1]), "give a source of the Application that ref")
		}
		return h.within(valueFile{tree: subtree{h.recorder, at}, at: at, path: cleaned(m[2])}, name, field)
	}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		if !slices.ContainsFunc(h.opts.Schemes, func(s string) bool { return strings.EqualFold(s, u.Scheme) }) {
			return valueFile{}, h.fault(field, fmt.Sprintf("the URL scheme '%s' is not allowed", u.Scheme), "commit the file, or allow the scheme")
		}
		want := wantURL(name, field)
		return valueFile{want: &want}, nil
	}
	at := path.Join(h.dir, name)
	if path.IsAbs(name) {
		at = name
	}
	return h.within(valueFile{tree: h.recorder, path: cleaned(at)}, name, field)
}

func (h *helming) within(f valueFile, name, field string) (valueFile, error) {
	if f.path == "" || climbs(f.path) || f.at == "" && isReserved(f.path) && !isReserved(h.dir) {
		return f, h.fault(field, fmt.Sprintf("file '%s' resolved to outside repository root", clipped(name)), "name a file of the source")
	}
	return f, nil
}

// isGlob tells patterns from paths as upstream does.
func isGlob(name string) bool { return strings.ContainsAny(name, "*?[") }

// valueFiles lists the files of values. A pattern stands for what it matches,
// but for files that are named for themselves.
func (h *helming) valueFiles() ([]valueFile, error) {
	var all []valueFile
	named := map[string]bool{}
	for i, name := range h.opts.ValueFiles {
		f, err := h.locate(name, fmt.Sprintf("%s.helm.valueFiles[%d]", h.origin.Field, i))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
		if f.want != nil || !isGlob(f.path) {
			named[f.name()] = true
		}
	}
	l := &listingFiles{helming: h, seen: map[string]bool{}}
	for i, f := range all {
		if err := l.add(f, named, h.opts.ValueFiles[i]); err != nil {
			return nil, err
		}
	}
	if len(l.wants) > 0 {
		return nil, &MissingError{Wants: l.wants}
	}
	return l.files, nil
}

// listingFiles gathers the files of values that are there.
type listingFiles struct {
	*helming
	files []valueFile
	seen  map[string]bool
	wants []Want
}

func (l *listingFiles) add(f valueFile, named map[string]bool, written string) error {
	switch {
	case f.want != nil:
		return l.remote(f)
	case isGlob(f.path):
		return l.pattern(f, named, written)
	}
	_, entry, err := links{tree: f.tree, depth: l.limits.Depth}.resolve(f.path)
	switch {
	case isNotExist(err) && l.opts.IgnoreMissingValueFiles:
		return nil
	case isNotExist(err):
		return l.faultAt(f.name(), 0, fmt.Sprintf("the value file %s does not exist", f.name()), "commit it, correct its name, or ignore missing value files")
	case errors.Is(err, errOutside):
		return l.fault(l.origin.Field, fmt.Sprintf("file '%s' resolved to outside repository root", clipped(written)), "a link may lead to its own source only")
	case err != nil:
		return l.readFault(f.name(), err)
	case isDir(entry):
		return l.faultAt(f.name(), 0, fmt.Sprintf("the value file %s is a directory", f.name()), "")
	}
	l.append(f)
	return nil
}

func (l *listingFiles) append(f valueFile) {
	if !l.seen[f.name()] {
		l.seen[f.name()] = true
		l.files = append(l.files, f)
	}
}

func (l *listingFiles) remote(f valueFile) error {
	_, found, err := l.recorder.Lookup(f.want.At)
	switch {
	case err != nil:
		return l.readFault(f.want.At, err)
	case !found:
		l.wants = append(l.wants, *f.want)
		return nil
	}
	l.append(f)
	return nil
}

// pattern adds what a glob matches, in the order of package doublestar, which
// upstream has: a directory's own files before those of the directories in it.
func (l *listingFiles) pattern(f valueFile, named map[string]bool, written string) error {
	tree := &globbedTree{links: links{tree: f.tree, depth: l.limits.Depth}, left: mostGlobbed}
	matches, err := doublestar.Glob(tree, f.path)
	switch {
	case tree.failed != nil:
		return l.readFault(l.dir, tree.failed)
	case err != nil:
		return l.fault(l.origin.Field, fmt.Sprintf("error expanding glob pattern %q: %v", clipped(written), err), "")
	case len(matches) == 0 && l.opts.IgnoreMissingValueFiles:
		return nil
	case len(matches) == 0:
		return l.fault(l.origin.Field, fmt.Sprintf("values file glob %q matched no files", clipped(written)), "correct the pattern, or ignore missing value files")
	}
	for _, match := range matches {
		one := valueFile{tree: f.tree, at: f.at, path: match}
		if named[one.name()] {
			continue
		}
		if err := l.add(valueFile{tree: f.tree, at: f.at, path: match}, named, match); err != nil {
			return err
		}
	}
	return nil
}

// readValueFile reads a file, and decrypts it where it is encrypted.
func (h *helming) readValueFile(f valueFile) ([]byte, error) {
	if f.want != nil {
		return h.readRemote(f.want)
	}
	in, _, err := links{tree: f.tree, depth: h.limits.Depth}.resolve(f.path)
	if err != nil {
		return nil, h.readFault(f.name(), err)
	}
	text, err := f.tree.Read(in)
	if err != nil {
		return nil, h.readFault(f.name(), err)
	}
	return h.decrypted(f.name(), text)
}

// readRemote reads the only file of a mount.
func (h *helming) readRemote(want *Want) ([]byte, error) {
	entries, err := h.recorder.List(want.At)
	if err != nil || len(entries) != 1 || isDir(entries[0]) {
		return nil, h.fault(want.Field, withoutCredentials(want.URL)+" is not one file", "")
	}
	at := path.Join(want.At, entries[0].Name)
	text, err := h.recorder.Read(at)
	if err != nil {
		return nil, h.readFault(at, err)
	}
	return text, nil
}

// parameters sets single values, in Helm's order.
func (h *helming) parameters(values map[string]any) error {
	for _, pick := range []func(p *model.HelmParameter) bool{
		func(p *model.HelmParameter) bool { return !p.String && !p.File },
		func(p *model.HelmParameter) bool { return p.String && !p.File },
		func(p *model.HelmParameter) bool { return p.File },
	} {
		for i := range h.opts.Parameters {
			if p := &h.opts.Parameters[i]; pick(p) {
				if err := h.parameter(values, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (h *helming) parameter(values map[string]any, p *model.HelmParameter) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = h.fault(h.origin.Field+".helm.parameters", fmt.Sprintf("the parameter %s cannot be set", clipped(p.Name)), "")
		}
	}()
	line := p.Name + "=" + escapeCommas(p.Value)
	switch {
	case p.File:
		err = strvals.ParseIntoFile(line, values, func(name []rune) (any, error) { return h.fileParameter(string(name)) })
	case p.String:
		err = strvals.ParseIntoString(line, values)
	default:
		err = strvals.ParseInto(line, values)
	}
	var missing *MissingError
	var fault *model.Fault
	if err == nil || errors.As(err, &missing) || errors.As(err, &fault) {
		return err
	}
	return h.fault(h.origin.Field+".helm.parameters", fmt.Sprintf("the parameter %s cannot be set: %s", clipped(p.Name), withoutQuotes(firstLine(err.Error()))), "its name is a path such as a.b[0].c")
}

var quotedText = regexp.MustCompile(`"[^"]*"`)

// withoutQuotes takes out what an error quotes.
func withoutQuotes(text string) string { return quotedText.ReplaceAllString(text, elided) }

func (h *helming) fileParameter(name string) (string, error) {
	field := h.origin.Field + ".helm.fileParameters"
	f, err := h.locate(name, field)
	if err != nil {
		return "", err
	}
	l := &listingFiles{helming: h, seen: map[string]bool{}}
	if f.want != nil {
		err = l.remote(f)
		if err == nil && len(l.wants) > 0 {
			err = &MissingError{Wants: l.wants}
		}
	}
	if err != nil {
		return "", err
	}
	text, err := h.readValueFile(f)
	return string(text), err
}

// escapeCommas keeps commas in a value from being read as the end of it, but
// for lists in braces (argo-cd util/helm, cleanSetParameters).
func escapeCommas(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var out strings.Builder
	var before rune
	for _, r := range value {
		if r == ',' && before != '\\' {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
		before = r
	}
	return out.String()
}

// mostGlobbed bounds the entries that a pattern looks at.
const mostGlobbed = 100_000

// globbedTree is a tree as package doublestar reads it.
type globbedTree struct {
	links
	left   int
	failed error
}

var (
	_ fs.ReadDirFS = (*globbedTree)(nil)
	_ fs.StatFS    = (*globbedTree)(nil)
)

func inTree(name string) string {
	if name == "." {
		return ""
	}
	return name
}

// Open implements fs.FS; nothing is opened by patterns.
func (g *globbedTree) Open(name string) (fs.File, error) { return nil, notThere("open", name) }

// Stat implements fs.StatFS, following links.
func (g *globbedTree) Stat(name string) (fs.FileInfo, error) {
	_, entry, err := g.resolve(inTree(name))
	if err != nil {
		if !isNotExist(err) && !errors.Is(err, errOutside) && g.failed == nil {
			g.failed = err
		}
		return nil, notThere("stat", name)
	}
	entry.Name = path.Base(name)
	return fileInfo{entry}, nil
}

// ReadDir implements fs.ReadDirFS.
func (g *globbedTree) ReadDir(name string) ([]fs.DirEntry, error) {
	in, entry, err := g.resolve(inTree(name))
	if err != nil || !isDir(entry) {
		return nil, notThere("readdir", name)
	}
	entries, err := g.tree.List(in)
	if err != nil {
		g.failed = err
		return nil, err
	}
	if g.left -= len(entries); g.left < 0 {
		g.failed = &LimitError{Path: in, Message: fmt.Sprintf("a pattern looks at more than %d files", mostGlobbed)}
		return nil, g.failed
	}
	out := make([]fs.DirEntry, len(entries))
	for i, one := range entries {
		out[i] = fs.FileInfoToDirEntry(fileInfo{one})
	}
	return out, nil
}
