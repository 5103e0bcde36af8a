package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

const (
	defaultBranch = "master" // fluxcd/pkg git.DefaultBranch
	peeledSuffix  = "^{}"
	headsPrefix   = "refs/heads/"
	tagsPrefix    = "refs/tags/"
	maxTagChain   = 5 // tags of tags
)

// target is the commit that a reference stands for.
type target struct {
	object    plumbing.Hash // what is fetched: the commit, or the annotated tag
	reference string        // such as refs/heads/main; "" for a commit without a branch
	tag       string        // short name, when reached by a tag
	absolute  bool          // the revision prints the whole reference
	plain     bool          // the revision is the commit's hash alone
	tips      []plumbing.Hash
	pinned    bool // object must be proven part of the history of tips
}

// revision is how Flux prints it (fluxcd/pkg git.Commit String and
// AbsoluteReference; gitrepository_controller.go commitReference), or Argo CD
// for a revision of unknown kind.
func (t target) revision(commit plumbing.Hash) string {
	if t.plain {
		return commit.String()
	}
	digest := "sha1:" + commit.String()
	if t.absolute && t.reference != "" {
		return t.reference + "@" + digest
	}
	if parts := strings.SplitN(t.reference, "/", 3); len(parts) == 3 {
		return parts[2] + "@" + digest
	}
	return digest
}

// errNoReference is a reference that the remote does not advertise.
type errNoReference struct{ text string }

func (e errNoReference) Error() string { return e.text }

// resolve finds what a reference stands for. The order in which fields win is
// that of fluxcd/pkg gogit Client.clone: commit, name, tag, semver, branch.
// (The API documentation says that semver wins over tag; the code decides.)
func resolve(ctx context.Context, m *mirror, seen *advert, ref model.GitRef) (target, error) {
	switch {
	case ref.Commit != "":
		return resolveCommit(seen, ref)
	case ref.Name != "":
		return resolveName(seen, ref.Name)
	case ref.Tag != "":
		return resolveTag(seen, ref.Tag)
	case ref.SemVer != "":
		return resolveSemVer(ctx, m, seen, ref.SemVer)
	}
	branch := ref.Branch
	if branch == "" {
		branch = defaultBranch
	}
	return resolveBranch(seen, branch)
}

func resolveBranch(seen *advert, branch string) (target, error) {
	name := headsPrefix + branch
	h, ok := seen.refs[name]
	if !ok {
		return target{}, errNoReference{fmt.Sprintf("couldn't find remote ref '%s'", name)}
	}
	return target{object: h, reference: name}, nil
}

func resolveTag(seen *advert, tag string) (target, error) {
	name := tagsPrefix + tag
	h, ok := seen.refs[name]
	if !ok {
		return target{}, errNoReference{fmt.Sprintf("couldn't find remote ref '%s'", name)}
	}
	return target{object: h, reference: name, tag: tag}, nil
}

// resolveName finds any reference. The suffix ^{} of an annotated tag means the
// commit, and stays in the revision.
func resolveName(seen *advert, name string) (target, error) {
	if strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") {
		return target{}, errNoReference{fmt.Sprintf("ref %s is invalid; Git refs cannot begin or end with a slash '/'", name)}
	}
	plain := strings.TrimSuffix(name, peeledSuffix)
	h, ok := seen.refs[plain]
	if _, annotated := seen.peeled[plain]; plain != name && !annotated {
		ok = false
	}
	if !ok {
		return target{}, errNoReference{fmt.Sprintf("unable to resolve ref '%s' to a specific commit", name)}
	}
	t := target{object: h, reference: name, absolute: true}
	if tag, ok := strings.CutPrefix(plain, tagsPrefix); ok {
		t.tag = tag
	}
	return t, nil
}

func resolveCommit(seen *advert, ref model.GitRef) (target, error) {
	if !plumbing.IsHash(ref.Commit) {
		return target{}, errNoReference{fmt.Sprintf("'%s' is not a full commit hash of 40 hexadecimal digits", ref.Commit)}
	}
	t := target{object: plumbing.NewHash(ref.Commit), pinned: true}
	if ref.Branch != "" {
		branch, err := resolveBranch(seen, ref.Branch)
		if err != nil {
			return target{}, err
		}
		t.reference, t.tips = branch.reference, []plumbing.Hash{branch.object}
	} else {
		t.tips = seen.tips()
	}
	if ref.Name != "" {
		t.reference, t.absolute = ref.Name, true
	}
	return t, nil
}

// tips lists every branch and tag once, in a stable order.
func (a *advert) tips() []plumbing.Hash {
	all := map[plumbing.Hash]bool{}
	for name, h := range a.refs {
		if strings.HasPrefix(name, headsPrefix) || strings.HasPrefix(name, tagsPrefix) {
			all[h] = true
		}
	}
	for name, h := range a.peeled {
		if all[a.refs[name]] {
			all[h] = true
		}
	}
	tips := slices.Collect(maps.Keys(all))
	plumbing.HashesSort(tips)
	return tips
}

// resolveSemVer finds the tag of the highest version in a range. Versions that
// are equal but for their build metadata are ordered by the time of their
// commits.
func resolveSemVer(ctx context.Context, m *mirror, seen *advert, expression string) (target, error) {
	constraint, err := semver.NewConstraint(expression)
	if err != nil {
		return target{}, errNoReference{fmt.Sprintf("semver parse error: %v", err)}
	}
	best := highest(seen, constraint, "", parseVersion)
	if len(best) == 0 {
		return target{}, errNoReference{"no match found for semver: " + expression}
	}
	return latest(ctx, m, seen, best)
}

// highest lists the tags of the highest version that a range allows, in the
// order of their names. Only tags that start with prefix count, and their
// version is what follows it.
func highest(seen *advert, allowed *semver.Constraints, prefix string, parse func(string) (*semver.Version, error)) []string {
	var best *semver.Version
	var names []string
	for name := range seen.refs {
		tag, isTag := strings.CutPrefix(name, tagsPrefix)
		text, counts := strings.CutPrefix(tag, prefix)
		if !isTag || !counts {
			continue
		}
		v, err := parse(text)
		if err != nil || !allowed.Check(v) {
			continue
		}
		switch {
		case best == nil || v.GreaterThan(best):
			best, names = v, []string{tag}
		case v.Equal(best):
			names = append(names, tag)
		}
	}
	slices.Sort(names)
	return names
}

// parseVersion accepts what fluxcd/pkg version.ParseVersion accepts: all three
// numbers, an optional v, leading zeros.
func parseVersion(tag string) (*semver.Version, error) {
	if len(strings.SplitN(tag, ".", 3)) != 3 {
		return nil, semver.ErrInvalidSemVer
	}
	return semver.NewVersion(tag)
}

// latest picks the tag with the youngest commit; the order of the names
// decides a tie.
func latest(ctx context.Context, m *mirror, seen *advert, tags []string) (target, error) {
	if len(tags) == 1 {
		return resolveTag(seen, tags[0])
	}
	var best target
	var bestTime time.Time
	for _, tag := range tags {
		t, err := resolveTag(seen, tag)
		if err != nil {
			return target{}, err
		}
		log, err := m.obtain(ctx, seen, t.object)
		if err != nil {
			return target{}, err
		}
		p, err := peel(log, t.object)
		if err != nil {
			return target{}, err
		}
		commit, _, err := describeCommit(p.commit, p.commitContent)
		if err != nil {
			return target{}, err
		}
		if best.tag == "" || !commit.When.Before(bestTime) {
			best, bestTime = t, commit.When
		}
	}
	return best, nil
}

// peeled is a commit, and the annotated tag it was reached by.
type peeled struct {
	commit        plumbing.Hash
	commitContent []byte
	tag           plumbing.Hash // zero for lightweight tags and branches
	tagContent    []byte
}

// peel follows tags to the commit.
func peel(log *objects, h plumbing.Hash) (peeled, error) {
	var p peeled
	for range maxTagChain {
		typ, content, err := log.read(h)
		if err != nil {
			return p, err
		}
		switch typ {
		case plumbing.CommitObject:
			p.commit, p.commitContent = h, content
			return p, nil
		case plumbing.TagObject:
			if p.tag.IsZero() {
				p.tag, p.tagContent = h, content
			}
			if h, err = tagTarget(content); err != nil {
				return p, err
			}
		default:
			return p, fmt.Errorf("the reference points at a %s, not at a commit", typ)
		}
	}
	return p, errors.New("the reference points at tags of tags without end")
}
