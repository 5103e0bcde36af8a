package source

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

const (
	headReference = "HEAD"
	shortest      = 7 // digits of a shortened hash (argo-cd util/git IsTruncatedCommitSHA)
)

// reference is what the source asks for. One that no declared object stands
// for and that names nothing reads the remote's HEAD, not Flux's default.
func (r *run) reference() model.GitRef {
	ref := r.spec.Git.Ref
	if r.spec.Implied && ref == (model.GitRef{TagPrefix: ref.TagPrefix}) {
		ref.Revision = headReference
	}
	return ref
}

// resolveRevision finds what a name of unknown kind stands for, as Argo CD does
// (util/git/client.go lsRemote, util/versions MaxVersion): a full hash, a range
// of versions over tags, a reference, a shortened hash. Where a branch and a
// tag have one name Argo CD picks either; here it is the branch. A range reads
// as a name when no tag is in it.
func (r *run) resolveRevision(ctx context.Context, m *mirror, seen *advert, ref model.GitRef) (target, error) {
	if plumbing.IsHash(ref.Revision) {
		return resolveHash(seen, plumbing.NewHash(ref.Revision)), nil
	}
	name := ref.Revision
	if _, err := semver.NewVersion(name); err == nil {
		name = ref.TagPrefix + name
	} else if allowed, err := semver.NewConstraint(name); err == nil {
		if tags := highest(seen, allowed, ref.TagPrefix, semver.NewVersion); len(tags) > 0 {
			t, err := latest(ctx, m, seen, tags)
			t.plain = true
			return t, err
		}
	}
	if t, ok := resolveAnyName(seen, name); ok {
		return t, nil
	}
	if isShortHash(name) {
		return r.resolveShort(ctx, m, seen, strings.ToLower(name))
	}
	return target{}, errNoReference{fmt.Sprintf("unable to resolve '%s' to a commit SHA", name)}
}

// resolveHash pins a commit that some reference advertises, such as the head
// of a pull request, or that branches or tags lead to.
func resolveHash(seen *advert, h plumbing.Hash) target {
	t := target{object: h, plain: true, pinned: true, tips: seen.tips()}
	if seen.advertised(h) {
		t.tips = []plumbing.Hash{h}
	}
	return t
}

// resolveAnyName looks for a reference by its full or short name.
func resolveAnyName(seen *advert, name string) (target, bool) {
	full := []string{name}
	if !strings.HasPrefix(name, "refs/") {
		full = append(full, headsPrefix+name, tagsPrefix+name, "refs/remotes/"+name, "refs/"+name)
	}
	for _, reference := range full {
		if h, ok := seen.refs[reference]; ok {
			t := target{object: h, reference: reference, plain: true}
			if tag, ok := strings.CutPrefix(reference, tagsPrefix); ok {
				t.tag = tag
			}
			return t, true
		}
	}
	return target{}, false
}

func isShortHash(text string) bool {
	if len(text) < shortest || len(text) >= hex.EncodedLen(len(plumbing.Hash{})) {
		return false
	}
	_, err := hex.DecodeString(text + strings.Repeat("0", len(text)%2))
	return err == nil
}

// resolveShort completes a hash. It takes the whole history, once: a commit
// that merely happens to be at hand, or to be advertised, may be the work of
// somebody who looked for one that starts alike. What it stood for the last
// time it stands for still.
func (r *run) resolveShort(ctx context.Context, m *mirror, seen *advert, short string) (target, error) {
	tips := seen.tips()
	if r.last != nil && r.last.contents[m.depot] != nil && r.last.revision == r.last.commit.Hash && strings.HasPrefix(r.last.revision, short) {
		return target{object: plumbing.NewHash(r.last.revision), plain: true, pinned: true, tips: tips}, nil
	}
	h, err := m.complete(ctx, seen, short, tips)
	return target{object: h, plain: true, pinned: true, tips: tips}, err
}

// complete fetches the one commit in the history of the tips whose hash starts
// with short.
func (m *mirror) complete(ctx context.Context, seen *advert, short string, tips []plumbing.Hash) (plumbing.Hash, error) {
	var found plumbing.Hash
	_, err := m.write(ctx, func() error {
		return m.pull(ctx, seen, want{objects: tips}, func(u *unpacker) (plumbing.Hash, error) {
			var err error
			found, err = u.abbreviated(short, tips)
			return found, err
		})
	})
	return found, err
}

// abbreviated finds a commit by the first digits of its hash.
func (u *unpacker) abbreviated(short string, tips []plumbing.Hash) (plumbing.Hash, error) {
	var found []plumbing.Hash
	err := u.history(tips, func(commit plumbing.Hash) bool {
		if strings.HasPrefix(commit.String(), short) {
			found = append(found, commit)
		}
		return len(found) < 2
	})
	switch {
	case err != nil:
		return plumbing.ZeroHash, err
	case len(found) == 0:
		return plumbing.ZeroHash, errNoReference{fmt.Sprintf("unable to resolve '%s' to a commit SHA: no branch or tag leads to such a commit", short)}
	case len(found) > 1:
		plumbing.HashesSort(found)
		return plumbing.ZeroHash, errNoReference{fmt.Sprintf("unable to resolve '%s' to a commit SHA: it may be %s or %s", short, found[0], found[1])}
	}
	return found[0], nil
}

// has reports whether an object is at hand already.
func (m *mirror) has(ctx context.Context, h plumbing.Hash) (bool, error) {
	log, err := m.write(ctx, func() error { return nil })
	return err == nil && log.has(h), err
}

// pinnedAtHand is the target of a revision that is a full hash and was fetched
// before. It cannot mean anything else, so that the remote need not be asked
// (as Argo CD does not).
func (r *run) pinnedAtHand(ctx context.Context, m *mirror, revision string) (t target, ok bool, err error) {
	if !plumbing.IsHash(revision) {
		return target{}, false, nil
	}
	t = target{object: plumbing.NewHash(revision), plain: true, pinned: true}
	ok, err = m.has(ctx, t.object)
	return t, ok, err
}

// wording is how advice names what a user can change.
type wording struct {
	reference   string // the field that says what is read
	commit      string // the field when it is a commit
	credentials string // where credentials stand
	setup       string // where credentials and the proxy stand
	timeout     string // what bounds the wait
}

var (
	declaredWords = wording{
		reference: "spec.ref", commit: "spec.ref.commit", credentials: "the Secret that spec.secretRef names",
		setup: "the Secret that spec.secretRef or spec.proxySecretRef names", timeout: "; spec.timeout is how long it is waited for",
	}
	impliedWords = wording{
		reference: "targetRevision", commit: "targetRevision", credentials: "the repository's Secret",
		setup: "the repository's Secret",
	}
)

func (r *run) words() wording {
	if r.spec.Implied {
		return impliedWords
	}
	return declaredWords
}
