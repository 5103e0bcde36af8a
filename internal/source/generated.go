package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// originRevision is the annotation of artifacts that tells what they were made
// from (source-watcher ArtifactOriginRevisionAnnotation; "flux push artifact").
const originRevision = "org.opencontainers.image.revision"

// extractedBytes bounds an archive that a copy rule unpacks (fluxcd/pkg tar
// DefaultMaxUntarSize).
const extractedBytes = 100 << 20

// generatedVisit makes a tree of the trees of others, with the semantics of
// source-watcher (internal/builder).
type generatedVisit struct{ *visit }

func (v *generatedVisit) place() string {
	g := v.spec.Generated
	question := []string{"generated", g.Name, g.Revision, g.OriginRevision}
	for _, from := range g.From {
		question = append(question, "from", from.Alias)
	}
	for _, rule := range g.Copy {
		question = append(question, "copy", rule.From, rule.To, rule.Strategy)
		question = append(question, rule.Exclude...)
	}
	return label(question...).String()
}

// look says which trees there are. What is made of them is found when it is
// made, and so is the revision.
func (v *generatedVisit) look(context.Context) (offer, error) {
	var question []string
	for _, from := range v.spec.Generated.From {
		tree := v.included[from.Source]
		if tree == nil {
			return offer{}, &model.Fault{
				Reason:  reasonExternalFailed,
				Message: fmt.Sprintf("get sources failed: source '%s' is not ready", from.Source),
				Object:  from.Source, Waiting: true, Retry: true,
			}
		}
		question = append(question, from.Source.String(), tree.Digest(), tree.Revision(), tree.OriginRevision())
	}
	return offer{key: label(question...).String(), load: v.load}, nil
}

func (v *generatedVisit) load(ctx context.Context) (p piece, err error) {
	p.log, err = v.store.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, v.store.limits, b)
		for _, rule := range v.spec.Generated.Copy {
			if err := v.apply(files, rule); err != nil {
				return fmt.Errorf("failed to apply copy operations: failed to apply copy operation from '%s' to '%s': %w", rule.From, rule.To, err)
			}
		}
		var err error
		p.root, err = files.write()
		return err
	})
	return p, err
}

// byAlias returns the tree of an alias.
func (v *generatedVisit) byAlias(alias string) *Tree {
	for _, from := range v.spec.Generated.From {
		if from.Alias == alias {
			return v.included[from.Source]
		}
	}
	return nil
}

// copying is one copy rule at work.
type copying struct {
	model.CopyRule
	files *stock
	from  *Tree
	what  string // path or pattern in from
	to    string // path in the artifact
}

// apply does what a copy rule says.
func (v *generatedVisit) apply(files *stock, rule model.CopyRule) error {
	alias, what, ok := strings.Cut(strings.TrimPrefix(rule.From, "@"), "/")
	if !strings.HasPrefix(rule.From, "@") || !ok {
		return fmt.Errorf("invalid copy source '%s': source format must be '@alias/pattern'", rule.From)
	}
	to, ok := strings.CutPrefix(rule.To, "@artifact/")
	if !ok {
		return fmt.Errorf("invalid copy destination '%s': destination must start with '@artifact/'", rule.To)
	}
	from := v.byAlias(alias)
	if from == nil {
		return fmt.Errorf("source alias '%s' not found", alias)
	}
	for _, pattern := range append([]string{what}, rule.Exclude...) {
		if strings.Count(pattern, "{") > maxBraces {
			return fmt.Errorf("the pattern '%.100s' has more than %d lists of alternatives", pattern, maxBraces)
		}
	}
	for _, pattern := range rule.Exclude {
		if _, err := doublestar.Match(pattern, "."); err != nil {
			return fmt.Errorf("invalid exclude pattern '%s'", pattern)
		}
	}
	c := &copying{CopyRule: rule, files: files, from: from, what: what, to: to}
	if isPattern(what) {
		return c.matches(alias)
	}
	return c.single()
}

// maxBraces bounds what a pattern asks of the matcher, whose work doubles with
// each list of alternatives.
const maxBraces = 4

func isPattern(p string) bool { return strings.ContainsAny(p, "*?[]") }

// single copies one file or directory, as cp does.
func (c *copying) single() error {
	what := path.Clean(c.what)
	elements, inside := clean(what)
	_, n := c.from.locate(what)
	switch {
	case !inside:
		return fmt.Errorf("failed to stat source '%s': path escapes from parent", what)
	case n == nil || n.kind == model.LinkEntry:
		return fmt.Errorf("source '%s' does not exist", what)
	case n.dir == nil && n.kind != model.SubmoduleEntry:
		return c.singleFile(what, elements)
	case c.Strategy == strategyExtract:
		return fmt.Errorf("extract strategy is not supported for directories, got '%s'", what)
	}
	return c.put(what, path.Join(c.to, path.Base(what)), what)
}

// The strategies of copy rules.
const (
	strategyMerge   = "Merge"
	strategyExtract = "Extract"
)

func (c *copying) singleFile(what string, elements []string) error {
	if c.excluded(what, ".") {
		return nil
	}
	if c.Strategy == strategyExtract {
		if !isTarball(what) {
			return fmt.Errorf("extract strategy requires tarball file (.tar.gz or .tgz), got '%s'", what)
		}
		return c.extract(what)
	}
	to := c.to
	into := strings.HasSuffix(c.To, "/")
	if !into {
		target, err := c.target(to)
		if err != nil {
			return err
		}
		is, err := c.files.find(target)
		if err != nil {
			return err
		}
		into = is != nil && is.kind == model.DirEntry
	}
	if into {
		to = path.Join(to, elements[len(elements)-1])
	}
	return c.put(what, to, ".")
}

// target splits a path in the artifact, which it must not leave.
func (c *copying) target(to string) ([]string, error) {
	elements, inside := clean(to)
	if !inside {
		return nil, fmt.Errorf("failed to create destination '%s': path escapes from parent", to)
	}
	return elements, nil
}

// matches copies what a pattern finds: with Extract one of doublestar, where
// "**" stands for any number of directories, else one of path.Match. A directory
// that is found is copied whole.
func (c *copying) matches(alias string) error {
	find := fs.Glob
	if c.Strategy == strategyExtract {
		find = func(in fs.FS, pattern string) ([]string, error) { return doublestar.Glob(in, pattern) }
	}
	found, err := find(treeFS{c.from}, c.what)
	if err != nil {
		return fmt.Errorf("invalid glob pattern '%s': %w", c.what, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("no files match pattern '%s' in source '%s'", c.what, alias)
	}
	base, some := literalRoot(c.what), false
	for _, what := range found {
		if what == "." || what == ".." || c.excluded(what, base) {
			continue
		}
		some = true
		if err := c.match(what, base); err != nil {
			return err
		}
	}
	if !some {
		return fmt.Errorf("all files matching pattern '%s' in source '%s' were excluded", c.what, alias)
	}
	return nil
}

// match copies one thing that the pattern found.
func (c *copying) match(what, base string) error {
	if c.Strategy == strategyExtract {
		if !isTarball(what) {
			return nil
		}
		return c.extract(what)
	}
	to := path.Join(c.to, what)
	if prefix, ok := strings.CutSuffix(c.what, "/**"); ok {
		if below, ok := strings.CutPrefix(what, prefix+"/"); ok {
			to = path.Join(c.to, below)
		}
	}
	return c.put(what, to, base)
}

// literalRoot is the part of a pattern before the first element that is one.
func literalRoot(pattern string) string {
	var literal []string
	for element := range strings.SplitSeq(path.Clean(pattern), "/") {
		if isPattern(element) {
			break
		}
		literal = append(literal, element)
	}
	if len(literal) == 0 {
		return "."
	}
	return path.Join(literal...)
}

// excluded compares a path, and the path below base, with the patterns of the
// rule. A pattern without a slash matches a name at any depth.
func (c *copying) excluded(what, base string) bool {
	below, inside := strings.CutPrefix(what, base+"/")
	for _, pattern := range c.Exclude {
		switch {
		case doublestar.MatchUnvalidated(pattern, what):
			return true
		case inside && doublestar.MatchUnvalidated(pattern, below):
			return true
		case !strings.Contains(pattern, "/") && doublestar.MatchUnvalidated(pattern, path.Base(what)):
			return true
		}
	}
	return false
}

// put copies a file or a directory to a place.
func (c *copying) put(what, to, base string) error {
	target, err := c.target(to)
	if err != nil {
		return err
	}
	within, n := c.from.locate(what)
	switch {
	case n == nil || n.kind == model.LinkEntry:
		return nil // links are in no artifact
	case n.kind == model.SubmoduleEntry:
		_, err := c.files.dir(target)
		return err
	case n.dir != nil:
		return c.files.copy(target, c.from, n.dir, nil, func(below []string, _ bool) bool {
			return !c.excluded(path.Join(what, path.Join(below...)), base)
		})
	}
	if c.Strategy == strategyMerge {
		if is, err := c.files.find(target); err != nil {
			return err
		} else if is != nil {
			return c.merge(what, target, is.kind)
		}
	}
	return c.files.copyFile(target, c.from, within, n)
}

// merge puts the values of a file over those of one that stands in the artifact.
func (c *copying) merge(what string, target []string, kind model.EntryKind) error {
	over, err := c.from.Read(what)
	if err != nil {
		return err
	}
	base, err := c.files.read(target)
	if err != nil {
		return err
	}
	values, err := documents(base)
	if err != nil {
		return err
	}
	changes, err := documents(over)
	if err != nil {
		return err
	}
	merged, err := yaml.Marshal(mergeMaps(values, changes))
	if err != nil {
		return fmt.Errorf("failed to merged YAML: %w", err)
	}
	return c.files.put(target, kind, merged)
}

// documents merges all documents of a file into one mapping.
func documents(content []byte) (map[string]any, error) {
	all := map[string]any{}
	in := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("error reading YAML document: %w", err)
		}
		values := map[string]any{}
		if err := yaml.Unmarshal(document, &values); err != nil {
			return nil, fmt.Errorf("cannot unmarshal YAML document: %w", err)
		}
		all = mergeMaps(all, values)
	}
}

func isTarball(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, archiveSuffix) || strings.HasSuffix(name, ".tgz")
}

// extract unpacks an archive into a directory of the artifact.
func (c *copying) extract(what string) error {
	explain := func(err error) error {
		return fmt.Errorf("failed to extract tarball '%s' to '%s': %w", what, c.to, err)
	}
	target, err := c.target(c.to)
	if err != nil {
		return explain(err)
	}
	if _, err := c.files.dir(target); err != nil {
		return explain(err)
	}
	content, err := c.from.Read(what)
	if err != nil {
		return explain(err)
	}
	how := unpacking{refuse: true, bytes: min(extractedBytes, c.files.limits.ArchiveBytes)}
	err = unpack(c.files.ctx, bytes.NewReader(content), c.files.limits, how, func(elements []string, kind model.EntryKind, content []byte) error {
		return c.files.add(append(target[:len(target):len(target)], elements...), kind, content)
	})
	if err != nil {
		return explain(err)
	}
	return nil
}

// fault: a rule that cannot be followed stays so until a rule or a source
// changes, and a source that changes is looked at anyway.
func (v *generatedVisit) fault(err error) *model.Fault {
	f := &model.Fault{Reason: "BuildFailed", Message: fmt.Sprintf("%s build failed: %s", v.spec.Generated.Name, err), Advice: "correct spec.artifacts, or the source that it copies from"}
	var notAtHand errNotAtHand
	if errors.As(err, &notAtHand) {
		f.Advice = ""
	}
	return f
}

func (v *generatedVisit) finish(t *Tree, _ piece) {
	g := v.spec.Generated
	t.revision = "latest@" + t.Digest()
	if from := v.byAlias(strings.TrimPrefix(g.Revision, "@")); g.Revision != "" && from != nil {
		t.revision = from.Revision()
	}
	if from := v.byAlias(strings.TrimPrefix(g.OriginRevision, "@")); g.OriginRevision != "" && from != nil {
		origin := from.OriginRevision()
		if origin == "" {
			origin = from.Revision()
		}
		t.metadata = map[string]string{originRevision: origin}
	}
	t.file = product{name: hexOf(t.Digest()) + archiveSuffix}
}
