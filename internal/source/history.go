package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

// sealTrailer marks a commit whose signer vouches for all that lies before it
// (argo-cd docs/user-guide/source-integrity-git-gpg.md).
const sealTrailer = "Argocd-gpg-seal:"

// seals reports whether a commit claims to be a seal. Like argo-cd it looks for
// the trailer in the whole message, in any case.
func seals(commit []byte) bool {
	_, message, _ := bytes.Cut(commit, []byte("\n\n"))
	return bytes.Contains(bytes.ToLower(message), bytes.ToLower([]byte(sealTrailer)))
}

// approval is a history that was verified. It is kept, so that of the next
// commit only what is new has to be fetched and verified; it says nothing of
// heads that do not descend from this one, since seals that they lack may have
// vouched for a part.
type approval struct {
	digest  string // of the trust
	head    plumbing.Hash
	checked []plumbing.Hash // with a good signature; sorted
	sealed  []plumbing.Hash // that a seal vouches for, and that were not looked at; sorted
	signers []string        // sorted
	until   time.Time       // when a key or signature expires; zero for never
}

func (a *approval) String() string {
	return fmt.Sprintf("history of %d commits with keys '%s'", len(a.checked), strings.Join(a.signers, "', '"))
}

func (a *approval) knows(h plumbing.Hash) bool {
	return a != nil && (among(a.checked, h) || among(a.sealed, h))
}

func among(sorted []plumbing.Hash, h plumbing.Hash) bool {
	_, found := slices.BinarySearchFunc(sorted, h, compareHashes)
	return found
}

func compareHashes(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }

// approvalFor is what was verified for a source with the same keys, none of
// which expired since.
func (m *mirror) approvalFor(r *run, trusted *trust) *approval {
	m.depot.mu.Lock()
	defer m.depot.mu.Unlock()
	a := m.approved[r.spec.ID]
	if a == nil || a.digest != trusted.digest || !a.until.IsZero() && trusted.now.After(a.until) {
		return nil
	}
	return a
}

// errGap is a history that has a part which was neither sent nor verified
// before.
type errGap struct{ commit, parent plumbing.Hash }

func (e errGap) Error() string {
	return fmt.Sprintf("the server did not send commit %s, which %s descends from", e.parent, e.commit)
}

// errLongHistory is a history that nobody wants to wait for.
type errLongHistory struct{ commits int }

func (e errLongHistory) Error() string {
	return fmt.Sprintf("the history has more than %d commits", e.commits)
}

// approve verifies the history of a commit, starting from what was verified
// before when the commit descends from that.
func (r *run) approve(ctx context.Context, m *mirror, seen *advert, t target, p peeled, trusted *trust) (*approval, error) {
	before := m.approvalFor(r, trusted)
	if before != nil && before.head == p.commit {
		return before, nil
	}
	if seen == nil {
		var err error
		if seen, err = m.look(ctx); err != nil {
			return nil, err
		}
	}
	found, err := r.trace(ctx, m, seen, t, p, trusted, before)
	if gap := (errGap{}); before != nil && errors.As(err, &gap) {
		found, err = r.trace(ctx, m, seen, t, p, trusted, nil)
	}
	if err != nil {
		return nil, r.untraced(err, p)
	}
	m.depot.mu.Lock()
	m.approved[r.spec.ID] = found
	m.depot.mu.Unlock()
	return found, nil
}

// untraced explains why a history could not be verified.
func (r *run) untraced(err error, p peeled) error {
	var gap errGap
	var long errLongHistory
	switch {
	case errors.As(err, &gap):
		return &model.Fault{
			Reason:  reasonCommitSignatureInvalid,
			Message: fmt.Sprintf("GIT/GPG: Failed verifying the history of %s: %s", p.commit, err),
			Advice:  "the whole history has to be there: fetch what is missing into the repository",
			Retry:   true, Err: err,
		}
	case errors.As(err, &long):
		return &model.Fault{
			Reason:  reasonCommitSignatureInvalid,
			Message: fmt.Sprintf("GIT/GPG: Failed verifying the history of %s: %s", p.commit, err),
			Advice:  "deliver a signed commit with the trailer " + sealTrailer + ", of which no history is looked at, or verify in mode head",
			Err:     err,
		}
	}
	return err
}

// trace fetches the commits that a commit descends from, apart from those that
// were verified before, and verifies them.
func (r *run) trace(ctx context.Context, m *mirror, seen *advert, t target, p peeled, trusted *trust, before *approval) (*approval, error) {
	w := want{objects: []plumbing.Hash{t.object}, history: true}
	if !seen.points(t.object) {
		w.objects = seen.tips() // servers need not hand out what no reference points at
	}
	if before != nil {
		w.haves = []plumbing.Hash{before.head}
	}
	var found *approval
	_, err := m.write(ctx, func() error {
		return m.pull(ctx, seen, w, func(u *unpacker) (plumbing.Hash, error) {
			past := &lineage{from: u, trusted: trusted, before: before, index: map[plumbing.Hash]int{}}
			err := past.read(p.commit)
			if err == nil {
				past.seal()
				found, err = past.approve(r.spec.Git.Verify)
			}
			return p.commit, err
		})
	})
	return found, err
}

// points reports whether a reference is advertised with just this object.
func (a *advert) points(h plumbing.Hash) bool {
	for _, is := range a.refs {
		if is == h {
			return true
		}
	}
	return false
}

// lineage is a commit with those that it descends from, in a pack.
type lineage struct {
	from    *unpacker
	trusted *trust
	before  *approval // of a history that is not looked at again

	commits []ancestor // descendants before the first parent that was met
	index   map[plumbing.Hash]int
	seals   []int // commits that claim to be seals
}

type ancestor struct {
	hash    plumbing.Hash
	parents []plumbing.Hash
	sealed  bool // it is a good seal, or one descends from it
	edge    bool // it is the parent of one that is not sealed
	found   *inspection
}

func (l *lineage) content(i int) ([]byte, error) {
	if err := l.from.ctx.Err(); err != nil {
		return nil, cause(l.from.ctx, err)
	}
	return l.from.content(l.from.byHash[l.commits[i].hash])
}

// read walks from the head to the first commits, or to those that were
// verified before, which the head of that history must be among.
func (l *lineage) read(head plumbing.Hash) error {
	if !l.add(head) {
		return errGap{head, head}
	}
	met := l.before == nil
	for i := 0; i < len(l.commits); i++ {
		if i >= l.from.limits.History {
			return errLongHistory{l.from.limits.History}
		}
		content, err := l.content(i)
		if err != nil {
			return err
		}
		if seals(content) {
			l.seals = append(l.seals, i)
		}
		l.commits[i].parents = commitParents(content)
		for _, parent := range l.commits[i].parents {
			switch {
			case l.before.knows(parent):
				met = met || parent == l.before.head
			case !l.add(parent):
				return errGap{l.commits[i].hash, parent}
			}
		}
	}
	if !met {
		return errGap{head, l.before.head}
	}
	return nil
}

// add takes a commit of the pack into the lineage.
func (l *lineage) add(h plumbing.Hash) bool {
	if _, known := l.index[h]; known {
		return true
	}
	id, ok := l.from.byHash[h]
	if !ok || l.from.entries[id].typ != plumbing.CommitObject {
		return false
	}
	l.index[h] = len(l.commits)
	l.commits = append(l.commits, ancestor{hash: h})
	return true
}

// seal marks well signed seals and everything that they vouch for. One behind
// another adds nothing.
func (l *lineage) seal() {
	for _, at := range l.seals {
		if l.commits[at].sealed || l.inspect(at).finding != goodSignature {
			continue
		}
		l.commits[at].sealed = true
		next := slices.Clone(l.commits[at].parents)
		for len(next) > 0 {
			i, here := l.index[next[len(next)-1]]
			next = next[:len(next)-1]
			if here && !l.commits[i].sealed {
				l.commits[i].sealed = true
				next = append(next, l.commits[i].parents...)
			}
		}
	}
}

// inspect judges a commit, once.
func (l *lineage) inspect(i int) inspection {
	if l.commits[i].found == nil {
		found := inspection{finding: badSignature}
		if content, err := l.content(i); err == nil {
			found = l.trusted.inspectCommit(content)
		}
		l.commits[i].found = &found
	}
	return *l.commits[i].found
}

// approve verifies every commit that no seal vouches for, and those that such
// commits start from: seals, and others where somebody branched off.
func (l *lineage) approve(asked *model.GitVerify) (*approval, error) {
	if err := l.markEdges(); err != nil {
		return nil, err
	}
	a := &approval{digest: l.trusted.digest, head: l.commits[0].hash, until: l.trusted.until}
	signers, blamed := map[string]bool{}, map[string]bool{}
	var problems []string
	for i, commit := range l.commits {
		if commit.sealed && !commit.edge {
			a.sealed = append(a.sealed, commit.hash)
			continue
		}
		content, err := l.content(i)
		if err != nil {
			return nil, err
		}
		found := l.inspect(i)
		if found.finding == goodSignature {
			a.checked = append(a.checked, commit.hash)
			a.until = sooner(a.until, found.until)
			signers[found.key] = true
			continue
		}
		// One key is told of once; commits without any have different authors.
		if found.key != "" && blamed[found.key] {
			continue
		}
		blamed[found.key] = true
		problems = append(problems, found.problem(commit.hash.String(), content, "author"))
		if len(problems) == maxProblems {
			break
		}
	}
	if len(problems) > 0 {
		return nil, distrust(asked, reasonCommitSignatureInvalid, problems...)
	}
	a.join(l.before, signers)
	return a, nil
}

// markEdges finds the parents of commits that are not sealed. One that a seal
// vouched for before, and that was not looked at, has to be fetched after all.
func (l *lineage) markEdges() error {
	for _, commit := range l.commits {
		if commit.sealed {
			continue
		}
		for _, parent := range commit.parents {
			if i, here := l.index[parent]; here {
				l.commits[i].edge = true
			} else if !among(l.before.checked, parent) {
				return errGap{commit.hash, parent}
			}
		}
	}
	return nil
}

// join adds what was verified before.
func (a *approval) join(before *approval, signers map[string]bool) {
	if before != nil {
		a.checked = append(a.checked, before.checked...)
		a.sealed = append(a.sealed, before.sealed...)
		a.until = sooner(a.until, before.until)
		for _, signer := range before.signers {
			signers[signer] = true
		}
	}
	slices.SortFunc(a.checked, compareHashes)
	slices.SortFunc(a.sealed, compareHashes)
	for signer := range signers {
		a.signers = append(a.signers, signer)
	}
	slices.Sort(a.signers)
}
