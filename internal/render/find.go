package render

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

// Bounds of one answer, so that a pattern cannot ask for a whole monorepo.
const (
	mostFound      = 10_000   // directories and files
	mostFoundBytes = 16 << 20 // of the files together
)

// Find answers a question about a tree: the directories and files below its
// Input.Path that its patterns name (Argo CD ApplicationSet, git generator).
// What an exclusion names is no part of the answer, and neither are directories
// that begin with a dot. Lists are sorted by path.
//
// Only directories in which something may match are listed, and the lists are
// in the recorder's trace: a commit that changes none of them has the same
// answer. An error is a *model.Fault, or says that the tree could not be read.
func Find(tree *Recorder, q *model.GitQuestion) (model.Answer, error) {
	s := &search{tree: tree}
	for _, p := range q.Directories {
		pattern := strings.Trim(p.Path, "/")
		s.add(&s.directories, p, pathPattern(pattern, path.Match))
	}
	for _, p := range q.Files {
		pattern := strings.Trim(p.Path, "/")
		if !q.Greedy {
			s.add(&s.files, p, pathPattern(pattern, doublestar.Match))
			continue
		}
		s.add(&s.files, p, greedyPattern(pattern))
	}
	if err := s.walk(cleaned(q.Input.Path)); err != nil {
		return model.Answer{}, err
	}
	slices.Sort(s.answer.Directories)
	slices.SortFunc(s.answer.Files, func(a, b model.TreeFile) int { return strings.Compare(a.Path, b.Path) })
	return s.answer, nil
}

// foundReason is the reason of a fault of a generator whose answer cannot be
// had (argo-cd ApplicationSet conditions).
const foundReason = "ErrorOccurred"

// pattern says what it names, and whether it may name anything below a
// directory.
type pattern struct {
	exclude bool
	names   func(path string) bool
	below   func(dir string) bool
}

type search struct {
	tree               *Recorder
	directories, files []pattern
	answer             model.Answer
	bytes              int
}

func (s *search) add(to *[]pattern, from model.GitPath, p pattern) {
	p.exclude = from.Exclude
	*to = append(*to, p)
}

func (s *search) walk(dir string) error {
	entries, err := s.tree.List(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		p := path.Join(dir, entry.Name)
		if err := s.visit(p, entry.Kind); err != nil {
			return err
		}
		if entry.Kind == model.DirEntry && s.enters(p) {
			if err := s.walk(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) enters(dir string) bool {
	below := func(p pattern) bool { return !p.exclude && p.below(dir) }
	return slices.ContainsFunc(s.directories, below) || slices.ContainsFunc(s.files, below)
}

func (s *search) visit(p string, kind model.EntryKind) error {
	if len(s.answer.Directories)+len(s.answer.Files) >= mostFound {
		return tooMuch(fmt.Sprintf("more than %d paths", mostFound))
	}
	switch kind {
	case model.DirEntry:
		if !dotted(p) && anyNames(s.directories, p) {
			s.answer.Directories = append(s.answer.Directories, p)
		}
	case model.FileEntry, model.ExecutableEntry:
		if !anyNames(s.files, p) {
			return nil
		}
		content, err := s.tree.Read(p)
		if err != nil {
			return err
		}
		if s.bytes += len(content); s.bytes > mostFoundBytes {
			return tooMuch(fmt.Sprintf("files of more than %d MiB", mostFoundBytes>>20))
		}
		s.answer.Files = append(s.answer.Files, model.TreeFile{Path: p, Content: content})
	}
	return nil
}

func tooMuch(what string) error {
	return &model.Fault{Reason: foundReason, Message: "the git generator matches " + what, Advice: "narrow its patterns"}
}

// anyNames reports whether a path is named by a pattern and by no exclusion.
func anyNames(patterns []pattern, p string) bool {
	found := false
	for _, pattern := range patterns {
		if !pattern.names(p) {
			continue
		}
		if pattern.exclude {
			return false
		}
		found = true
	}
	return found
}

// dotted reports whether a directory, or one above it, begins with a dot.
func dotted(p string) bool { return strings.HasPrefix(p, ".") || strings.Contains(p, "/.") }

// pathPattern is one whose wildcards stay between slashes, "**" aside.
func pathPattern(text string, match func(pattern, path string) (bool, error)) pattern {
	return pattern{
		names: func(p string) bool {
			ok, err := match(text, p)
			return ok && err == nil
		},
		below: func(dir string) bool { return reaches(text, dir) },
	}
}

// reaches reports whether a pattern may name something below a directory,
// element by element. An element that cannot be judged alone may match.
func reaches(text, dir string) bool {
	wants, has := strings.Split(text, "/"), strings.Split(dir, "/")
	for i, element := range has {
		switch {
		case i >= len(wants):
			return false
		case wants[i] == "**" || strings.ContainsAny(wants[i], "{}"):
			return true
		}
		if ok, err := path.Match(wants[i], element); err == nil && !ok {
			return false
		}
	}
	return len(wants) > len(has)
}

// greedyPattern is one of git's pathspecs, as git ls-files takes them:
// wildcards match slashes too, and a pattern without any names a file, or
// everything below a directory.
func greedyPattern(text string) pattern {
	literal := text
	if i := strings.IndexAny(text, `*?[\`); i >= 0 {
		literal = text[:i]
	}
	if literal == text {
		return pattern{
			names: func(p string) bool { return p == text || strings.HasPrefix(p, text+"/") || text == "" },
			below: func(dir string) bool {
				return dir == text || text == "" || strings.HasPrefix(dir, text+"/") || strings.HasPrefix(text, dir+"/")
			},
		}
	}
	glob := strings.NewReplacer("{", `\{`, "}", `\}`).Replace(text) // braces mean nothing to git
	return pattern{
		names: func(p string) bool { return gate.Glob(glob, p) },
		below: func(dir string) bool {
			return strings.HasPrefix(dir+"/", literal) || strings.HasPrefix(literal, dir+"/")
		},
	}
}
