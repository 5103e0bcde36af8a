package source

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source/dial"
)

// kind is what tells the sources that are no Git repositories apart. Theirs is
// content that is imported into one depot, as Git stores files and directories.
type kind interface {
	// place says where content comes from, with which credential, and what is
	// made of it: what was found at one place is found again after a restart.
	place() string
	// look asks what there is now.
	look(ctx context.Context) (offer, error)
	// fault is what an error means that is no fault yet.
	fault(err error) *model.Fault
	// finish adds what the archive of the tree is like, and what statuses show.
	finish(t *Tree, p piece)
}

// offer is what a source stands for now.
type offer struct {
	key   string // of the content, together with the place of the content
	notes notes
	load  func(ctx context.Context) (piece, error) // brings the content into the depot
}

// visit is one Fetch of a source that is no Git repository.
type visit struct {
	store    *Store
	spec     *model.Source
	included map[object.ID]*Tree
	last     *Tree
	recalled string
}

// kind picks what handles the source.
func (v *visit) kind() kind {
	switch {
	case v.spec.OCI != nil:
		return &ociVisit{v}
	case v.spec.Bucket != nil:
		return &bucketVisit{v}
	case v.spec.Index != nil:
		return &indexVisit{v}
	case v.spec.Chart != nil && v.spec.Chart.From != object.ID{}:
		return &chartBuild{visit: v}
	case v.spec.Chart != nil:
		return &chartVisit{v}
	case v.spec.External != nil:
		return &externalVisit{v}
	case v.spec.Generated != nil:
		return &generatedVisit{v}
	}
	return nil
}

// tree makes the tree, phase by phase.
func (v *visit) tree(ctx context.Context, k kind) (*Tree, error) {
	place := k.place()
	o, err := v.find(ctx, k, place)
	if err != nil {
		return nil, err
	}
	inputs := v.inputs(place, o.key, &o.notes)
	if v.last != nil && v.last.madeOf(v.store, inputs) {
		return v.last, nil
	}
	content := label("content", place, o.key)
	p, err := v.store.hold(ctx, content, o.load)
	if err != nil {
		return nil, err
	}
	p.notes.Revision, p.notes.Metadata, p.notes.Verified = o.notes.Revision, o.notes.Metadata, o.notes.Verified
	if v.recalled == "" && o.notes.Revision != "" {
		if p, err = v.store.content.name(ctx, revisionLabel(place, o.notes.Revision), p); err != nil {
			return nil, err
		}
	}
	t, err := v.assemble(ctx, p, inputs)
	if err != nil {
		return nil, err
	}
	k.finish(t, p)
	if v.recalled != "" && t.revision != v.recalled {
		return nil, errNotAtHand{v.recalled}
	}
	v.store.content.use(v.spec.ID, []plumbing.Hash{content, revisionLabel(place, t.revision), plumbing.NewHash(p.notes.File)})
	return t, nil
}

func revisionLabel(place, revision string) plumbing.Hash { return label("revision", place, revision) }

// find looks, or takes what was found before from the revision to recall.
func (v *visit) find(ctx context.Context, k kind, place string) (offer, error) {
	if v.recalled == "" || v.spec.Generated != nil {
		return k.look(ctx)
	}
	p, ok, err := v.store.content.recall(ctx, revisionLabel(place, v.recalled))
	if err != nil {
		return offer{}, err
	}
	if !ok {
		return offer{}, errNotAtHand{v.recalled}
	}
	return recalled(p), nil
}

// recalled offers what was brought into the depot before.
func recalled(p piece) offer {
	return offer{key: "recalled " + p.root.String(), notes: p.notes, load: func(context.Context) (piece, error) { return p, nil }}
}

// errNotAtHand is a revision that would have to be fetched.
type errNotAtHand struct{ revision string }

func (e errNotAtHand) Error() string { return fmt.Sprintf("revision %s is not at hand", e.revision) }

// inputs is a fingerprint of everything that a tree is made of.
func (v *visit) inputs(place, key string, n *notes) string {
	ignore := ""
	if v.spec.Ignore != nil {
		ignore = "ignore " + *v.spec.Ignore
	}
	h := label("tree", place, key, n.Revision, n.Verified, ignore, fmt.Sprint(v.spec.Implied))
	return hex.EncodeToString(h[:])
}

// hold returns the content of a label, loading it when the depot has it not.
func (s *Store) hold(ctx context.Context, at plumbing.Hash, load func(ctx context.Context) (piece, error)) (piece, error) {
	p, ok, err := s.content.recall(ctx, at)
	if ok || err != nil {
		return p, err
	}
	return s.loads.join(ctx, s, at.String(), func(ctx context.Context) (piece, error) {
		if p, ok, err := s.content.recall(ctx, at); ok || err != nil {
			return p, err // it came while this question waited
		}
		p, err := load(ctx)
		if err != nil {
			return piece{}, err
		}
		return s.content.name(ctx, at, p)
	})
}

// assemble builds the tree of a piece.
func (v *visit) assemble(ctx context.Context, p piece, inputs string) (*Tree, error) {
	s := v.store
	t := &Tree{
		store: s, source: v.spec.ID, revision: p.notes.Revision, verified: p.notes.Verified, metadata: p.notes.Metadata, inputs: inputs,
		contents: map[*depot][]*objects{s.content: {p.log}},
		observed: Observed{Ignore: v.spec.Ignore, ValuesFiles: p.notes.Values},
	}
	root := &raw{repo: s.content, log: p.log, git: p.root}
	b := &builder{ctx: ctx, limits: s.limits}
	var before *dir
	if v.last != nil && v.last.store == s {
		before = v.last.root
	}
	var err error
	switch how := v.ignoring(); how {
	case ignoreNothing:
		t.root, err = s.shared(p.root, func() (*dir, error) { return b.dir(nil, root, nil, everything, true, before) })
	case ignoreDefaults:
		t.root, err = b.dir(nil, root, nil, newRules(nil, false).alone(), true, before)
	default:
		t.root, err = b.build(root, nil, *v.spec, before)
	}
	return t, err
}

// The ways to leave files out.
type ignoring uint8

const (
	ignoreNothing  ignoring = iota
	ignoreDefaults          // upstream's default patterns, and nothing else
	ignoreDeclared          // those and what spec.ignore and .sourceignore files say
)

// ignoring says what is left out: of a layer as of a repository, of a generated
// artifact by default patterns alone (source-watcher builder.Build). What is
// left out of a bucket is never fetched.
func (v *visit) ignoring() ignoring {
	switch {
	case v.spec.Implied:
		return ignoreNothing
	case v.spec.OCI != nil && !copies(v.spec.OCI):
		return ignoreDeclared
	case v.spec.Generated != nil:
		return ignoreDefaults
	}
	return ignoreNothing
}

// advise sets advice, and the reason where it does not depend on the kind.
func (v *visit) advise(f *model.Fault, err error) {
	var storage storageError
	var archive errArchive
	var digest errDigest
	var ignore errIgnore
	var answer *dial.StatusError
	f.Retry = true
	switch {
	case errors.As(err, &storage):
		f.Advice = "make room on, or repair, the volume that holds the controller's data"
	case errors.As(err, &archive):
		f.Advice, f.Retry = "publish an archive that can be unpacked", false
	case errors.As(err, &digest):
		f.Advice = "the content was changed on the way, or was replaced: publish it again"
	case errors.As(err, &ignore):
		f.Reason, f.Message, f.Advice, f.Retry = reasonSourceIgnore, ignore.Error(), "shorten the file", false
	case errors.Is(err, errTooLarge), errors.Is(err, dial.ErrTooLarge):
		f.Advice, f.Retry = "make it smaller, or split it", false
	case errors.As(err, &answer) && answer.Denied():
		f.Advice = "check the URL, and that it may be read without credentials"
	case errors.Is(err, errStalled), errors.Is(err, context.DeadlineExceeded):
		f.Advice = "the server may be overloaded or out of reach; spec.timeout is how long it is waited for"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Advice = "check the address, and that the server is up"
	}
}

// explain turns an error of a visit into what a user can act on.
func (v *visit) explain(k kind, err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		own := *fault // shared with all who waited for the same answer
		if own.Origin == (model.Origin{}) {
			own.Origin = v.spec.Origin
		}
		return &own
	}
	f := k.fault(err)
	f.Err = err
	v.advise(f, err)
	if f.Origin == (model.Origin{}) {
		f.Origin = v.spec.Origin
	}
	return f
}

// visit fetches a source that is no Git repository.
func (s *Store) visit(ctx context.Context, v *visit) (*Tree, error) {
	k := v.kind()
	if k == nil {
		return nil, &model.Fault{Reason: reasonGitOperationFailed, Message: "the source names nothing to fetch", Origin: v.spec.Origin}
	}
	t, err := v.tree(ctx, k)
	if err != nil {
		return nil, v.explain(k, err)
	}
	return t, nil
}

// deadline bounds a fetch by what its source says.
func (s *Store) deadline(ctx context.Context, spec *model.Source) (context.Context, context.CancelFunc) {
	timeout := spec.Timeout
	if timeout <= 0 {
		timeout = s.limits.Timeout
	}
	return context.WithTimeoutCause(ctx, timeout, noAnswer{timeout})
}

// noAnswer ends a fetch that took longer than its source allows.
type noAnswer struct{ within time.Duration }

func (e noAnswer) Error() string   { return fmt.Sprintf("no answer within %s", e.within) }
func (e noAnswer) Is(t error) bool { return t == context.DeadlineExceeded }

// hexOf is a digest without its algorithm.
func hexOf(digest string) string {
	if _, value, ok := strings.Cut(digest, ":"); ok {
		return value
	}
	return digest
}
