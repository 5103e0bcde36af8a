package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// run is one Fetch.
type run struct {
	store    *Store
	spec     model.Source
	included map[object.ID]*Tree
	last     *Tree
	recalled string // revision to recall instead of looking; "" to look

	remote     *remote
	used       []*mirror
	roots      map[*mirror][]plumbing.Hash
	contents   map[*depot][]*objects
	submodules int
}

func (s *Store) fetch(ctx context.Context, spec model.Source, included map[object.ID]*Tree, last *Tree, recalled string) (*Tree, error) {
	ctx, cancel := s.deadline(ctx, &spec)
	defer cancel()
	if spec.Git == nil {
		return s.visit(ctx, &visit{store: s, spec: &spec, included: included, last: last, recalled: recalled})
	}
	r := &run{
		store: s, spec: spec, included: included, last: last, recalled: recalled,
		roots: map[*mirror][]plumbing.Hash{}, contents: map[*depot][]*objects{},
	}
	defer r.release()
	tree, err := r.tree(ctx)
	if err != nil {
		return nil, r.fault(err)
	}
	r.settle()
	return tree, nil
}

// tree makes the tree, phase by phase.
func (r *run) tree(ctx context.Context) (*Tree, error) {
	if fault := r.checkIncludes(); fault != nil {
		return nil, fault
	}
	m, fault := r.mirror(r.spec.Git.URL, r.spec.Git.Auth)
	if fault != nil {
		return nil, fault
	}
	r.remote = m.remote
	seen, t, err := r.find(ctx, m)
	if err != nil {
		return nil, err
	}
	inputs := r.inputs(t)
	if r.last != nil && r.last.madeOf(r.store, inputs) {
		return r.last, nil
	}
	log, err := r.hold(ctx, m, seen, t)
	if err != nil {
		return nil, err
	}
	p, err := peel(log, t.object)
	if err != nil {
		return nil, err
	}
	if promised, ok := seen.promised(t); ok && promised != p.commit {
		return nil, fmt.Errorf("the server advertises commit %s for %s, but the tag points at %s", promised, t.reference, p.commit)
	}
	if r.recalled != "" && t.revision(p.commit) != r.recalled {
		return nil, fmt.Errorf("revision %s is not at hand", r.recalled)
	}
	signed, err := r.checkSignatures(ctx, m, seen, t, p)
	if err != nil {
		return nil, err
	}
	return r.assemble(ctx, m, log, t, p, signed, inputs)
}

// find looks at the remote and resolves the reference, or takes both from the
// revision to recall.
func (r *run) find(ctx context.Context, m *mirror) (*advert, target, error) {
	if r.recalled != "" {
		t, err := recalledTarget(r.recalled, r.spec.Git, r.reference())
		return nil, t, err
	}
	ref := r.reference()
	if t, ok, err := r.pinnedAtHand(ctx, m, ref.Revision); ok || err != nil {
		return nil, t, err
	}
	seen, err := m.look(ctx)
	if err != nil {
		return nil, target{}, err
	}
	if ref.Revision != "" {
		t, err := r.resolveRevision(ctx, m, seen, ref)
		return seen, t, err
	}
	t, err := resolve(ctx, m, seen, ref)
	return seen, t, err
}

// recalledTarget reads a revision as target.revision prints it.
func recalledTarget(revision string, git *model.GitSource, ref model.GitRef) (target, error) {
	if git.Verify != nil && !answersAlone(git.Verify.Mode, ref) {
		return target{}, fmt.Errorf("signatures in mode %s can only be verified by asking the remote", git.Verify.Mode)
	}
	if ref.Revision != "" && plumbing.IsHash(revision) {
		return target{object: plumbing.NewHash(revision), plain: true}, nil
	}
	name, hash, ok := strings.Cut(revision, "sha1:")
	if !ok || !plumbing.IsHash(hash) {
		return target{}, fmt.Errorf("revision %s cannot be understood", revision)
	}
	t := target{object: plumbing.NewHash(hash), reference: strings.TrimSuffix(name, "@")}
	switch {
	case git.Ref.Name != "":
		t.absolute = true
	case t.reference != "" && (git.Ref.Tag != "" || git.Ref.SemVer != "") && git.Ref.Commit == "":
		t.tag, t.reference = t.reference, tagsPrefix+t.reference
	case t.reference != "":
		t.reference = headsPrefix + t.reference
	}
	return t, nil
}

// answersAlone reports whether a commit is all that a verification looks at,
// and no tag or history.
func answersAlone(mode model.VerifyMode, ref model.GitRef) bool {
	switch mode {
	case "", model.VerifyHead:
		return true
	case model.VerifyRevision:
		return plumbing.IsHash(ref.Revision)
	}
	return false
}

// promised is the commit that an advertisement names for an annotated tag.
func (a *advert) promised(t target) (plumbing.Hash, bool) {
	if a == nil || t.pinned {
		return plumbing.ZeroHash, false
	}
	h, ok := a.peeled[strings.TrimSuffix(t.reference, peeledSuffix)]
	return h, ok
}

// hold makes sure that the commit is at hand.
func (r *run) hold(ctx context.Context, m *mirror, seen *advert, t target) (log *objects, err error) {
	if t.pinned {
		log, err = m.prove(ctx, seen, t.object, t.tips)
	} else {
		log, err = m.obtain(ctx, seen, t.object)
	}
	if err != nil {
		return nil, err
	}
	r.uses(m, log, t.object)
	return log, nil
}

func (r *run) uses(m *mirror, log *objects, root plumbing.Hash) {
	r.roots[m] = append(r.roots[m], root)
	if !slices.Contains(r.contents[m.depot], log) {
		r.contents[m.depot] = append(r.contents[m.depot], log)
	}
}

// assemble builds the tree of a commit.
func (r *run) assemble(ctx context.Context, m *mirror, log *objects, t target, p peeled, signed verified, inputs string) (*Tree, error) {
	commit, _, err := describeCommit(p.commit, p.commitContent)
	if err != nil {
		return nil, err
	}
	commit.Signature = signed.signer
	git, err := commitTree(p.commitContent)
	if err != nil {
		return nil, err
	}
	root := &raw{repo: m.depot, log: log, git: git}
	var mounts *mount
	if r.spec.Git.RecurseSubmodules {
		mounts = &mount{}
		if err := r.mountSubmodules(ctx, mounts, nil, root, m.remote, 1); err != nil {
			return nil, err
		}
	}
	if len(r.spec.Include) > 0 {
		if mounts == nil {
			mounts = &mount{}
		}
		if err := r.mountIncludes(mounts, root); err != nil {
			return nil, err
		}
	}
	sparse, err := r.sparse(root)
	if err != nil {
		return nil, err
	}
	b := &builder{ctx: ctx, limits: r.store.limits, sparse: sparse}
	var before *dir
	if r.last != nil && r.last.store == r.store {
		before = r.last.root
	}
	if mounts != nil && len(mounts.children) == 0 {
		mounts = nil
	}
	top, err := b.build(root, mounts, r.spec, before)
	if err != nil {
		return nil, err
	}
	return &Tree{
		store: r.store, source: r.spec.ID, root: top, commit: commit,
		revision: t.revision(p.commit), verified: signed.message, inputs: inputs,
		contents: r.contents, observed: r.observed(), file: product{name: commit.Hash + archiveSuffix},
	}, nil
}

// inputs is a fingerprint of everything that a tree is made of: a commit stands
// for its submodules too.
func (r *run) inputs(t target) string {
	h := sha256.New()
	part := func(format string, args ...any) {
		_, _ = fmt.Fprintf(h, format+"\x00", args...)
	}
	git := r.spec.Git
	part("%s %s %s %s %t %t", r.remote.key, t.object, t.reference, t.tag, t.absolute, t.plain)
	part("%t", r.spec.Implied)
	part("%t %q", git.RecurseSubmodules, git.SparsePaths)
	if r.spec.Ignore != nil {
		part("ignore %s", *r.spec.Ignore)
	}
	if v := git.Verify; v != nil {
		part("verify %s", v.Mode)
		for _, k := range v.Keys {
			part("%s %q", k.Name, k.PEM)
		}
	}
	for _, include := range r.spec.Include {
		part("%s %q %q %s", include.Source, include.From, include.To, r.included[include.Source].Digest())
		part("%s", r.included[include.Source].Revision())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// observed reports what statuses show.
func (r *run) observed() Observed {
	o := Observed{Ignore: r.spec.Ignore, SparsePaths: slices.Clone(r.spec.Git.SparsePaths), Recursed: r.spec.Git.RecurseSubmodules}
	for _, include := range r.spec.Include {
		tree := r.included[include.Source]
		if built, ok := tree.built(); ok {
			o.Includes = append(o.Includes, built)
			continue
		}
		o.Includes = append(o.Includes, model.Artifact{Revision: tree.Revision()})
	}
	return o
}

// mirror finds the mirror of a repository, held until the run ends.
func (r *run) mirror(repository string, auth model.GitAuth) (*mirror, *model.Fault) {
	rem, fault := r.store.remote(repository, auth)
	if fault != nil {
		if fault.Reason == reasonAuthenticationFailed {
			fault.Advice = "correct " + r.words().credentials
		}
		return nil, fault
	}
	m := r.store.acquire(rem)
	r.used = append(r.used, m)
	return m, nil
}

// release lets go of the mirrors.
func (r *run) release() {
	for _, m := range r.used {
		r.store.release(m)
	}
}

// settle records what the source uses, now that it has a tree.
func (r *run) settle() {
	if len(r.roots) == 0 {
		return // the last tree is still the answer
	}
	keys := map[string]bool{}
	for m, roots := range r.roots {
		keys[m.remote.key] = true
		m.use(r.spec.ID, roots)
	}
	r.store.settle(r.spec.ID, keys)
}

// sparse checks that the sparse directories exist and returns their prefixes.
func (r *run) sparse(root *raw) ([]string, error) {
	var prefixes []string
	for _, p := range r.spec.Git.SparsePaths {
		if found, err := root.lookup(p); err != nil {
			return nil, err
		} else if !found {
			return nil, &model.Fault{
				Reason:  reasonGitOperationFailed,
				Message: fmt.Sprintf("failed to sparse checkout directories : sparse checkout dir '%s' does not exist in repository", p),
				Advice:  "correct spec.sparseCheckout",
			}
		}
		prefixes = append(prefixes, strings.TrimPrefix(p, "./"))
	}
	return prefixes, nil
}

// find walks to a path of a commit's directories.
func (r *raw) find(elements []string) (*item, error) {
	at := r
	for i, name := range elements {
		items, err := at.items()
		if err != nil {
			return nil, err
		}
		n := slices.IndexFunc(items, func(it item) bool { return it.name == name })
		if n < 0 {
			return nil, nil
		}
		if i == len(elements)-1 {
			return &items[n], nil
		}
		if at = items[n].raw; at == nil {
			return nil, nil
		}
	}
	return &item{node: node{kind: model.DirEntry}, raw: r}, nil
}

func (r *raw) lookup(p string) (bool, error) {
	elements, ok := clean(p)
	if !ok {
		return false, nil
	}
	found, err := r.find(elements)
	return found != nil, err
}

// checkIncludes makes sure that every included source has a tree.
func (r *run) checkIncludes() *model.Fault {
	for i, include := range r.spec.Include {
		tree, known := r.included[include.Source]
		if tree != nil {
			continue
		}
		f := &model.Fault{
			Reason:  reasonIncludeNoArtifact,
			Message: fmt.Sprintf("no artifact available for include '%s'", include.Source.Name),
			Waiting: true,
			Retry:   true,
			Object:  include.Source,
			Origin:  r.spec.Origin,
		}
		f.Origin.Field = fmt.Sprintf("spec.include[%d]", i)
		if !known {
			f.Reason = reasonIncludeNotFound
			f.Message = fmt.Sprintf("could not get resource for include '%s'", include.Source.Name)
			f.Advice = "create the GitRepository, or correct the name"
		}
		return f
	}
	return nil
}

// mountIncludes puts other sources' trees where the source asks for them.
func (r *run) mountIncludes(mounts *mount, root *raw) error {
	for _, include := range r.spec.Include {
		refuse := func(reason, why string) error {
			return &model.Fault{
				Reason:  reason,
				Message: fmt.Sprintf("failed to copy '%s' include from %s to %s: %s", include.Source.Name, include.From, include.To, why),
				Advice:  "correct spec.include",
			}
		}
		tree := r.included[include.Source]
		to := include.To
		if to == "" {
			to = include.Source.Name
		}
		elements, inside := clean(path.Join("/", to)) // as if the tree were the whole file system
		if !inside || len(elements) == 0 {
			return refuse(reasonIncludeIllegalPath, "it would replace the whole tree")
		}
		for _, e := range elements {
			if err := validName(e); err != nil {
				return refuse(reasonIncludeIllegalPath, err.Error())
			}
		}
		if taken, err := root.find(elements); err != nil {
			return err
		} else if taken != nil {
			return refuse(reasonIncludeCopyFailure, "the path exists in the repository")
		}
		_, from := tree.locate(path.Join("/", include.From))
		if from == nil || from.dir == nil {
			return refuse(reasonIncludeCopyFailure, "there is no such directory")
		}
		mounts.place(elements, &raw{repo: from.dir.repo, included: from.dir, from: tree})
		for m, logs := range tree.contents {
			for _, log := range logs {
				if !slices.Contains(r.contents[m], log) {
					r.contents[m] = append(r.contents[m], log)
				}
			}
		}
	}
	return nil
}

// mountSubmodules enters the submodules that a commit declares.
func (r *run) mountSubmodules(ctx context.Context, mounts *mount, at []string, root *raw, parent *remote, nesting int) error {
	file, err := root.find([]string{".gitmodules"})
	if err != nil || file == nil || file.kind != model.FileEntry {
		return err
	}
	if nesting > r.store.limits.Nesting {
		return fmt.Errorf("%w: submodules are nested deeper than %d", errTooLarge, r.store.limits.Nesting)
	}
	content, err := root.read(".gitmodules", file.hash)
	if err != nil {
		return err
	}
	declared, err := parseModules(content)
	if err != nil {
		return err
	}
	for _, sub := range declared {
		elements, inside := clean(sub.path)
		if !inside || len(elements) == 0 {
			return fmt.Errorf("submodule %q is at the forbidden path %q", sub.name, sub.path)
		}
		link, err := root.find(elements)
		if err != nil {
			return err
		}
		if link == nil || link.kind != model.SubmoduleEntry {
			continue // declared, but not part of this commit
		}
		if r.submodules++; r.submodules > r.store.limits.Submodules {
			return fmt.Errorf("%w: there are more than %d submodules", errTooLarge, r.store.limits.Submodules)
		}
		full := append(at[:len(at):len(at)], elements...)
		entered, remote, err := r.enter(ctx, sub, link.hash, parent)
		if err != nil {
			return err
		}
		mounts.place(full, entered)
		if err := r.mountSubmodules(ctx, mounts, full, entered, remote, nesting+1); err != nil {
			return err
		}
	}
	return nil
}

// submodule is one section of a .gitmodules file.
type submodule struct{ name, path, url string }

const maxModulesFile = 1 << 20

// parseModules reads a .gitmodules file, sorted by path.
func parseModules(content []byte) ([]submodule, error) {
	if len(content) > maxModulesFile {
		return nil, fmt.Errorf("%w: the .gitmodules file", errTooLarge)
	}
	modules := config.NewModules()
	if err := modules.Unmarshal(content); err != nil {
		return nil, errors.New("the .gitmodules file cannot be understood")
	}
	var all []submodule
	for _, m := range modules.Submodules {
		if m.Path == "" || m.URL == "" {
			continue
		}
		all = append(all, submodule{name: m.Name, path: m.Path, url: m.URL})
	}
	slices.SortFunc(all, func(a, b submodule) int { return strings.Compare(a.path+"\x00"+a.name, b.path+"\x00"+b.name) })
	return all, nil
}

// enter fetches the commit of a submodule.
func (r *run) enter(ctx context.Context, sub submodule, h plumbing.Hash, parent *remote) (*raw, *remote, error) {
	wrap := func(err error) error {
		return fmt.Errorf("submodule '%s': %w", sub.path, err)
	}
	address, err := submoduleURL(parent.url, sub.url)
	if err != nil {
		return nil, nil, wrap(err)
	}
	m, fault := r.mirror(address.String(), parent.authFor(address))
	if fault != nil {
		return nil, nil, wrap(errors.New(fault.Message))
	}
	log, err := m.prove(ctx, nil, h, nil)
	if err != nil && r.recalled == "" {
		var seen *advert
		if seen, err = m.look(ctx); err == nil {
			log, err = m.prove(ctx, seen, h, seen.tips())
		}
	}
	if err != nil {
		return nil, nil, wrap(errors.New(m.remote.scrub(err.Error())))
	}
	typ, content, err := log.read(h)
	if err != nil {
		return nil, nil, wrap(err)
	}
	if typ != plumbing.CommitObject {
		return nil, nil, wrap(fmt.Errorf("%s is not a commit", h))
	}
	tree, err := commitTree(content)
	if err != nil {
		return nil, nil, wrap(err)
	}
	r.uses(m, log, h)
	return &raw{repo: m.depot, log: log, git: tree}, m.remote, nil
}

// submoduleURL resolves a URL that may be relative to that of its parent.
func submoduleURL(parent *url.URL, declared string) (*url.URL, error) {
	if strings.HasPrefix(declared, "./") || strings.HasPrefix(declared, "../") {
		u := *parent
		u.Path, u.RawPath = path.Join("/", strings.TrimSuffix(parent.Path, "/"), declared), ""
		if fromHome(parent) {
			u.Path = strings.TrimPrefix(u.Path, "/")
		}
		return &u, nil
	}
	u, err := RepositoryURL(declared)
	if err != nil || u.Host == "" {
		return nil, errors.New("its URL cannot be understood")
	}
	return u, nil
}

// authFor is what another URL may see of the credentials: everything on the
// same host. An SSH key proves who we are without being handed over, and the
// host must be in known_hosts. Others get the proxy only.
func (r *remote) authFor(u *url.URL) model.GitAuth {
	switch {
	case r.sameHost(u):
		a := r.auth
		if r.scheme != "ssh" {
			a.Username, a.Password = r.username, model.NewSecret([]byte(r.password))
		}
		return a
	case u.Scheme == "ssh":
		return model.GitAuth{SSHKey: r.auth.SSHKey, SSHKeyPassphrase: r.auth.SSHKeyPassphrase, KnownHosts: r.auth.KnownHosts, Proxy: r.auth.Proxy, Insecure: r.auth.Insecure}
	}
	return model.GitAuth{CA: r.auth.CA, Proxy: r.auth.Proxy, Insecure: r.auth.Insecure}
}

// fault turns an error of a run into what a user can act on.
func (r *run) fault(err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		if fault.Origin == (model.Origin{}) {
			fault.Origin = r.spec.Origin
		}
		return fault
	}
	f := &model.Fault{Reason: reasonGitOperationFailed, Origin: r.spec.Origin, Retry: true, Err: err}
	text := err.Error()
	display := "the repository"
	if r.remote != nil {
		text, display = r.remote.scrub(text), r.remote.display
	}
	f.Message = fmt.Sprintf("failed to checkout and determine revision: unable to clone '%s': %s", display, text)
	r.advise(f, err, text)
	return f
}

// advise sets reason and advice by the kind of error.
func (r *run) advise(f *model.Fault, err error, text string) {
	var access errAccess
	var setup errSetup
	var token errAppToken
	var storage storageError
	var reference errNoReference
	var unreachable errNotReachable
	var ignore errIgnore
	words := r.words()
	switch {
	case errors.Is(err, errEmptyRepository):
		f.Reason, f.Message = reasonEmptyRepository, "git repository is empty"
		f.Advice = "push a first commit"
	case errors.As(err, &token), errors.As(err, &setup):
		f.Reason, f.Message = reasonAuthenticationFailed, "failed to configure authentication options: "+text
		f.Advice = "correct " + words.setup
	case errors.As(err, &storage):
		f.Message = "failed to checkout and determine revision: " + text
		f.Advice = "make room on, or repair, the volume that holds the controller's data"
	case errors.As(err, &access):
		f.Advice = "check the URL and the credentials in " + words.credentials
	case errors.As(err, &reference):
		f.Message = "failed to checkout and determine revision: " + text
		f.Advice = "check " + words.reference + ", or push what it names"
	case errors.As(err, &unreachable):
		f.Message = "failed to checkout and determine revision: " + text
		f.Advice = "no branch or tag of the repository leads to this commit: push it, or correct " + words.commit
	case errors.As(err, &ignore):
		f.Reason, f.Message = reasonSourceIgnore, text
		f.Advice = "shorten the file"
	case errors.Is(err, errStalled), errors.Is(err, context.DeadlineExceeded):
		f.Advice = "the server may be overloaded or out of reach" + words.timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Advice = "check the URL, and that the server is up"
	case errors.Is(err, errTooLarge):
		f.Advice = "make the repository smaller, or split it"
	}
}
