package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/generate"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// A derivation is what a delivery wants, worked out here and now through the
// rooms that the engine uses, with the rights of whoever runs the command.
//
//	declared ──compile──▶ Delivery, Sources ──fetch──▶ trees ──render──▶ ┐
//	                                 questions ──answer──▶ expand ──▶ objects on their target
type derivation struct {
	declared *unstructured.Unstructured
	words    dialect.Dialect
	delivery model.Delivery
	facts    model.Facts
	findings []model.Finding
	reads    []reading   // one for each input, in order
	trace    model.Trace // what was looked at

	objects  []wanted
	hooks    []wanted    // objects that run in a sync and are not kept true
	withheld []wanted    // parts of an upstream installation, never applied
	to       destination // of the objects
	target   *cluster    // the same; nil when it is no cluster
	secrets  differ.Veil

	rules    *differ.Rules // what counts as no difference
	implicit *differ.Rules // those of them that nobody wrote: they are always respected; nil: none
}

// reading is where one input comes from.
type reading struct {
	url      string // without credentials
	revision string // "" for a local directory
	commit   model.Commit
}

// wanted is one object that a delivery wants.
type wanted struct {
	id     object.ID
	origin model.Origin
	object *unstructured.Unstructured // marked as the delivery's own, without the watch label
	secret bool                       // holds secret material
	handle model.Handling
	runs   string // of a hook: when it runs; "" for anything else
	crd    bool   // Helm installs it before all else, and never deletes it
}

// revision names what was rendered, in the words of the dialect; "" when some
// of it is a local directory.
func (d *derivation) revision() string {
	var all []string
	for _, read := range d.reads {
		switch {
		case read.revision == "":
			return ""
		case d.delivery.Sync.Staged:
			all = append(all, read.commit.Hash)
		default:
			all = append(all, read.revision)
		}
	}
	return strings.Join(all, ",")
}

// commit is that of the first input; the zero value when it is a local
// directory, or when there is none.
func (d *derivation) commit() model.Commit {
	if len(d.reads) == 0 {
		return model.Commit{}
	}
	return d.reads[0].commit
}

// deriver works out derivations of one cluster. It keeps fetched trees, so
// that deliveries of one source share one look at it.
type deriver struct {
	world    world
	settings dialect.Settings
	store    *source.Store
	asker    *generate.Asker
	trees    map[object.ID]*source.Tree
	implied  map[object.ID]model.Source // sources that no object stands for
	target   chartTarget
	key      []byte // of the names of implied sources
	// located puts a place that is at hand in place of a source; nil: all are
	// fetched from where they are. Without it, generators ask the world too.
	located func(model.Source) (model.Source, error)
	say     *terminal
}

// chartTarget is what charts are told of the target instead of what it is.
type chartTarget struct {
	kubeVersion string
	apiVersions []string
	remoteBases bool // bases at addresses are asked for, whatever the delivery says
}

// newDeriver prepares a deriver with a temporary store; close removes it.
func (a *app) newDeriver(home world) (*deriver, func(), error) {
	return a.newDeriverOf(home, source.Clients{})
}

// newDeriverOf is newDeriver with other clients of what is fetched.
func (a *app) newDeriverOf(home world, clients source.Clients) (*deriver, func(), error) {
	redirects, err := a.redirects.read(a)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "plumb-derive-")
	if err != nil {
		return nil, nil, err
	}
	agent := "plumb/" + buildVersion()
	store, err := source.Open(source.Options{Dir: dir, UserAgent: agent, Clients: clients, Redirects: redirects})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	d := &deriver{
		world: home, store: store, asker: generate.New(generate.Options{UserAgent: agent}), say: a.say, key: key,
		trees: map[object.ID]*source.Tree{}, implied: map[object.ID]model.Source{},
		// Which other namespaces the controller looks at is its own affair: who
		// asks for a preview means it.
		settings: dialect.Settings{ArgoNamespace: a.kube.argoNamespace, ApplicationNamespaces: []string{"*"}},
	}
	return d, func() {
		// What is left behind is in the temporary directory, for the system to
		// clean up.
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}, nil
}

// derive works out what a declared delivery wants. A local directory stands in
// place of the directory in the source, which is not fetched then.
func (d *deriver) derive(ctx context.Context, declared *unstructured.Unstructured, local string) (*derivation, error) {
	out := &derivation{declared: declared, words: dialectOf(declared)}
	if out.words == nil {
		return nil, fmt.Errorf("%s is of a kind that Plumb does not handle", object.Of(declared))
	}
	intent, facts, findings, err := d.compile(ctx, out.words, declared)
	if err != nil {
		return nil, err
	}
	if intent.Delivery == nil {
		return nil, fmt.Errorf("%s delivers nothing", object.Of(declared))
	}
	out.delivery, out.facts, out.findings = *intent.Delivery, facts, findings
	for i := range intent.Implied {
		d.implied[intent.Implied[i].ID] = intent.Implied[i]
	}
	if out.to, err = d.world.destination(ctx, out.delivery.Target, facts); err != nil {
		return nil, err
	}
	out.target = out.to.cluster()
	rendered, err := d.rendered(ctx, out, local)
	if err != nil {
		return nil, err
	}
	for i := range rendered {
		if err := out.place(&rendered[i]); err != nil {
			return nil, err
		}
	}
	out.sort()
	return out, out.compileRules()
}

// compile asks the dialect what an object means, and reads the objects that it
// needs to see.
func (d *deriver) compile(ctx context.Context, words dialect.Dialect, declared *unstructured.Unstructured) (dialect.Intent, model.Facts, []model.Finding, error) {
	facts := model.Facts{}
	for {
		intent, needs, findings, err := words.Compile(declared, facts, d.settings)
		open := slices.DeleteFunc(slices.Clone(needs), func(n model.Need) bool { _, known := facts[n]; return known })
		if err != nil || len(open) == 0 {
			return intent, facts, findings, err
		}
		for _, need := range open {
			facts[need] = d.world.fact(ctx, need)
		}
	}
}

// rendered is everything that a delivery asks for: what its inputs hold, and
// what the dialect makes of answers. Of an object that is asked for twice, the
// later one goes before.
func (d *deriver) rendered(ctx context.Context, out *derivation, local string) ([]model.Rendered, error) {
	var all []model.Rendered
	at := map[object.ID]int{}
	take := func(objects []model.Rendered) {
		for _, o := range objects {
			if was, again := at[o.ID]; again && o.ID.Name != "" {
				all[was] = o
				continue
			}
			at[o.ID] = len(all)
			all = append(all, o)
		}
	}
	replaced, err := localInput(&out.delivery, local)
	if err != nil {
		return nil, err
	}
	for i := range out.delivery.Inputs {
		directory := ""
		if i == replaced {
			directory = local
		}
		manifest, err := d.render(ctx, out, out.delivery.Inputs[i], directory)
		if err != nil {
			return nil, err
		}
		take(manifest.Objects)
	}
	if out.delivery.Expands {
		objects, err := d.expand(ctx, out, local)
		if err != nil {
			return nil, err
		}
		take(objects)
	}
	return all, nil
}

// localInput is the index of the input that a local directory stands for: the
// only one that makes objects; -1 when it stands for none.
func localInput(delivery *model.Delivery, local string) (int, error) {
	found := -1
	if local == "" || delivery.Expands {
		return found, nil
	}
	for i := range delivery.Inputs {
		if delivery.Inputs[i].Render.Kind == model.RenderNothing {
			continue
		}
		if found >= 0 {
			return -1, advise(fmt.Errorf("%s has several sources, and a local directory stands for one", delivery.ID), "leave --path out: the sources are fetched")
		}
		found = i
	}
	return found, nil
}

// render makes the objects of one input, finished but not yet marked.
func (d *deriver) render(ctx context.Context, out *derivation, in model.Input, local string) (*model.Manifest, error) {
	if in.Render.Kind == model.RenderExpand {
		return &model.Manifest{}, nil
	}
	tree, dir, closeTree, err := d.tree(ctx, out, in, local)
	if err != nil {
		return nil, err
	}
	defer closeTree()
	read := &out.reads[len(out.reads)-1]
	origin := out.delivery.Origin
	origin.Repository, origin.Revision = in.URL, read.revision
	outside, closing, err := d.world.outside(&in)
	if err != nil {
		return nil, err
	}
	defer closing()
	base, err := out.asReleased(tree, in.Render, read)
	if err != nil {
		return nil, err
	}
	if err := out.preserve(ctx, &base); err != nil {
		return nil, err
	}
	base = d.target.told(base)
	out.secrets = append(out.secrets, base.Helm.Sensitive...)
	manifest, err := d.whole(ctx, out, &in, tree, base, func(tree render.Tree) (*model.Manifest, error) {
		recorder := render.Record(ctx, tree, render.Limits{})
		opts, err := overridden(out.words, inBuild(base, read.commit), dir, recorder)
		if err != nil {
			return nil, err
		}
		return outside.Build(ctx, recorder, dir, opts, origin, render.Limits{})
	})
	if err != nil {
		return nil, err
	}
	out.trace = append(out.trace, manifest.Trace...)
	variables, err := d.variables(ctx, out, in.Render.Substitution)
	if err != nil {
		return nil, err
	}
	return render.Finish(manifest, in.Render, variables, out.delivery.Ownership.Control)
}

// asReleased are the options of the revision that a release would get next.
func (d *derivation) asReleased(tree render.Tree, opts model.Render, read *reading) (model.Render, error) {
	if d.delivery.Release == nil {
		return opts, nil
	}
	if last := d.delivery.Release.History; len(last) > 0 {
		opts.Helm.Upgrade, opts.Helm.Revision = true, last[0].Version+1
	}
	fetched, ok := tree.(*source.Tree)
	if !ok {
		return opts, nil
	}
	chart, err := engine.ChartIn(fetched)
	if err != nil {
		return opts, &model.Fault{Reason: render.ArtifactFailed, Origin: d.delivery.Origin, Message: err.Error()}
	}
	opts.Helm.ChartVersion, _, err = helm.ChartVersion(chart.Version, fetched.Revision())
	if err != nil {
		return opts, &model.Fault{Reason: render.ArtifactFailed, Origin: d.delivery.Origin, Message: err.Error()}
	}
	read.revision = opts.Helm.ChartVersion
	return opts, nil
}

// told are the options with what charts are told of the target.
func (t chartTarget) told(opts model.Render) model.Render {
	if t.kubeVersion != "" {
		opts.Helm.KubeVersion, opts.Kustomize.KubeVersion = t.kubeVersion, t.kubeVersion
	}
	opts.Kustomize.RemoteBases = opts.Kustomize.RemoteBases || t.remoteBases
	opts.Helm.APIVersions = slices.Concat(opts.Helm.APIVersions, t.apiVersions)
	opts.Kustomize.APIVersions = slices.Concat(opts.Kustomize.APIVersions, t.apiVersions)
	return opts
}

// whole renders, and fetches what the render misses until it misses nothing.
func (d *deriver) whole(ctx context.Context, out *derivation, in *model.Input, tree render.Tree, opts model.Render, build func(render.Tree) (*model.Manifest, error)) (*model.Manifest, error) {
	mounts, err := d.mounts(ctx, out, opts)
	if err != nil {
		return nil, err
	}
	for range maxRounds {
		manifest, err := build(render.Mounted(tree, mounts))
		var missing *render.MissingError
		if !errors.As(err, &missing) {
			return manifest, err
		}
		for i := range missing.Wants {
			want := &missing.Wants[i]
			spec, err := want.Source(&out.delivery, in, d.key)
			if err != nil {
				return nil, err
			}
			wanted, err := d.fetch(ctx, spec, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", want, err)
			}
			mounts = append(mounts, render.Mount{At: want.At, Tree: wanted, Source: spec.ID})
		}
	}
	return nil, &model.Fault{
		Reason: render.BuildFailed, Origin: out.delivery.Origin,
		Message: fmt.Sprintf("the render asks for more in more than %d rounds", maxRounds), Advice: "vendor the dependencies of the chart",
	}
}

// mounts are what a render may look at besides its tree: the other inputs that
// it names, and the target.
func (d *deriver) mounts(ctx context.Context, out *derivation, opts model.Render) ([]render.Mount, error) {
	var mounts []render.Mount
	for i := range out.delivery.Inputs {
		other := &out.delivery.Inputs[i]
		if other.Name == "" {
			continue
		}
		spec, err := d.sourceSpec(ctx, other.Source)
		if err != nil {
			return nil, err
		}
		tree, err := d.fetch(ctx, spec, nil)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, render.Mount{At: render.RefAt(other.Name), Tree: tree, Source: other.Source})
	}
	if opts.Kind == model.RenderHelm || opts.Kind == model.RenderDetect {
		capabilities, err := out.to.capabilities(ctx)
		if err != nil {
			return nil, err
		}
		if capabilities != nil {
			mounts = append(mounts, render.Mount{At: render.AtAPI, Tree: capabilities})
		}
	}
	if opts.Helm.Live {
		if live := out.to.lookup(ctx); live != nil {
			mounts = append(mounts, render.Mount{At: render.AtLive, Tree: live})
		}
	}
	return mounts, nil
}

// inBuild adds what is known of the commit to what a render may refer to
// (Argo CD, "Build Environment").
func inBuild(opts model.Render, commit model.Commit) model.Render {
	if !opts.NamesRevision() {
		return opts
	}
	environment := map[string]string{
		"ARGOCD_APP_REVISION":         commit.Hash,
		"ARGOCD_APP_REVISION_SHORT":   commit.Hash[:min(7, len(commit.Hash))],
		"ARGOCD_APP_REVISION_SHORT_8": commit.Hash[:min(8, len(commit.Hash))],
	}
	for name, value := range opts.Environment {
		environment[name] = value
	}
	opts.Environment = environment
	return opts
}

// overridden lets files of the directory change how it is rendered.
func overridden(words dialect.Dialect, opts model.Render, dir string, tree *render.Recorder) (model.Render, error) {
	for _, file := range opts.Overrides {
		at := path.Join(dir, file)
		entry, found, err := tree.Lookup(at)
		if err != nil {
			return opts, err
		}
		if !found || entry.Kind == model.DirEntry {
			continue
		}
		content, err := tree.Read(at)
		if err != nil {
			return opts, err
		}
		if opts, err = words.Override(opts, file, content); err != nil {
			return opts, err
		}
	}
	return opts, nil
}

// variables are those of a substitution; the values of secret ones are kept, to
// be masked wherever they went.
func (d *deriver) variables(ctx context.Context, out *derivation, sub *model.Substitution) (map[string]render.Variable, error) {
	if sub == nil {
		return nil, nil
	}
	facts := model.Facts{}
	for _, from := range sub.From {
		facts[from.Need] = d.world.fact(ctx, from.Need)
	}
	variables, err := render.Variables(sub, facts)
	if err != nil {
		return nil, err
	}
	for _, variable := range variables {
		if variable.Secret {
			out.secrets = append(out.secrets, variable.Value)
		}
	}
	return variables, nil
}

// tree finds the content of an input: the local directory, or the source.
func (d *deriver) tree(ctx context.Context, out *derivation, in model.Input, local string) (render.Tree, string, func(), error) {
	if local != "" {
		root, dir, err := repositoryOf(local, in.Path)
		if err != nil {
			return nil, "", nil, err
		}
		tree, err := render.Directory(root)
		if err != nil {
			return nil, "", nil, err
		}
		out.reads = append(out.reads, reading{})
		return tree, dir, func() { _ = tree.Close() }, nil
	}
	spec, err := d.sourceSpec(ctx, in.Source)
	if err != nil {
		return nil, "", nil, err
	}
	tree, err := d.fetch(ctx, spec, nil)
	if err != nil {
		return nil, "", nil, err
	}
	read := reading{url: in.URL, revision: tree.Revision(), commit: tree.Commit()}
	if read.url == "" && spec.Git != nil {
		read.url = withoutCredentials(spec.Git.URL)
	}
	out.reads = append(out.reads, read)
	return tree, in.Path, func() {}, nil
}

// repositoryOf finds the root that a local directory may refer to, and the
// directory below it: the part of the path in front of the delivery's own
// path, else the git checkout that holds it, else the directory itself.
func repositoryOf(local, deliveryPath string) (root, dir string, err error) {
	local, err = filepath.Abs(local)
	if err != nil {
		return "", "", err
	}
	info, err := os.Stat(local)
	if err != nil {
		return "", "", advise(err, "--path names the local directory that stands for the delivery's spec.path")
	}
	if !info.IsDir() {
		return "", "", fmt.Errorf("%s is no directory", local)
	}
	clean := path.Clean("/" + filepath.ToSlash(deliveryPath))
	if prefix, ok := strings.CutSuffix(filepath.ToSlash(local), clean); ok && clean != "/" && prefix != "" {
		return filepath.FromSlash(prefix), clean[1:], nil
	}
	for at := local; ; at = filepath.Dir(at) {
		if exists(filepath.Join(at, ".git")) {
			below, err := filepath.Rel(at, local)
			if below == "." {
				below = ""
			}
			return at, filepath.ToSlash(below), err
		}
		if at == filepath.Dir(at) {
			return local, "", nil
		}
	}
}

// sourceSpec is the source of a delivery: an implied one, or the declared
// object, read and compiled.
func (d *deriver) sourceSpec(ctx context.Context, id object.ID) (model.Source, error) {
	if spec, known := d.implied[id]; known {
		return spec, nil
	}
	declared, err := d.world.declaration(ctx, id)
	if err != nil {
		return model.Source{}, err
	}
	intent := dialect.Intent{}
	if words := dialectOf(declared); words != nil {
		if intent, _, _, err = d.compile(ctx, words, declared); err != nil {
			return model.Source{}, fmt.Errorf("%s: %w", id, err)
		}
	}
	if intent.Source == nil {
		return model.Source{}, advise(fmt.Errorf("%s is a kind of source that Plumb does not fetch yet", id), "name a local directory with --path")
	}
	return *intent.Source, nil
}

// fetch gets the tree of a source and of those that it is made of. within are
// the sources that are made of it.
func (d *deriver) fetch(ctx context.Context, spec model.Source, within []object.ID) (*source.Tree, error) {
	located := spec
	if d.located != nil {
		var err error
		if located, err = d.located(spec); err != nil {
			return nil, err
		}
	}
	if tree, known := d.trees[spec.ID]; known {
		return tree, nil
	}
	if slices.Contains(within, spec.ID) {
		return nil, &model.Fault{Reason: "IncludeUnavailable", Message: fmt.Sprintf("%s is made of itself", spec.ID)}
	}
	included := map[object.ID]*source.Tree{}
	for _, id := range spec.Reads() {
		inner, err := d.sourceSpec(ctx, id)
		if err != nil {
			return nil, err
		}
		if included[id], err = d.fetch(ctx, inner, append(within, spec.ID)); err != nil {
			return nil, err
		}
	}
	d.say.waiting("fetching %s", placeOfSource(&spec))
	tree, err := d.store.Fetch(ctx, located, included, nil)
	if err != nil {
		return nil, err
	}
	d.trees[spec.ID] = tree
	return tree, nil
}

// placeOfSource is how progress names a source: an implied one has no name of
// its own.
func placeOfSource(spec *model.Source) string {
	switch {
	case !spec.Implied:
	case spec.Git != nil:
		return withoutCredentials(spec.Git.URL)
	case spec.Chart != nil && spec.Chart.From.IsZero():
		return "chart " + chartText(spec.Chart.Name, spec.Chart.Version) + " of " + repositoryOfChart(spec.Chart)
	case spec.Chart != nil:
		return "chart " + spec.Chart.Name + " of " + spec.Chart.From.String()
	case spec.External != nil:
		return withoutCredentials(spec.External.URL)
	case spec.OCI != nil:
		return "oci://" + withoutCredentials(spec.OCI.URL)
	}
	return spec.ID.String()
}

// repositoryOfChart is the address of a chart's repository, as it is declared.
func repositoryOfChart(chart *model.ChartSource) string {
	if chart.OCI {
		return "oci://" + withoutCredentials(chart.Repository)
	}
	return withoutCredentials(chart.Repository)
}

// place makes a rendered object into what is applied: its namespace by the
// scope of its kind, the delivery's marks, secrets in one form. What the
// project of the delivery does not permit is a fault.
func (d *derivation) place(rendered *model.Rendered) error {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(rendered.JSON); err != nil {
		return fmt.Errorf("%s: %w", rendered.ID, err)
	}
	w := wanted{id: rendered.ID, origin: rendered.Origin, object: o, secret: rendered.Secret, crd: rendered.CRD && d.delivery.Release != nil}
	if replaced(o) {
		d.withheld = append(d.withheld, w)
		return nil
	}
	placed, err := d.settleNamespace(&w, rendered.Version)
	if err != nil {
		return err
	}
	if placed {
		if fault := gate.Permits(&d.delivery.Permit, w.id, w.id.Namespace != ""); fault != nil {
			fault.Object, fault.Origin = w.id, w.origin
			return fault
		}
	}
	skip := w.handled(d)
	object.FoldStringData(o)
	if !w.crd {
		engine.Mark(&d.delivery.Ownership, o)
	}
	w.object = withoutWatchLabel(o)
	switch {
	case skip:
	case w.runs != "":
		d.hooks = append(d.hooks, w)
	case w.id.Name == "":
		return &model.Fault{
			Reason: render.ComparisonError, Object: w.id, Origin: w.origin,
			Message: fmt.Sprintf("%s has no metadata.name: generateName is for hooks only", w.id), Advice: "give it a name, or make it a hook",
		}
	default:
		d.objects = append(d.objects, w)
	}
	return nil
}

// handled reads what the annotations of an object ask for, in the words of its
// delivery; skip: it is not for a cluster.
func (w *wanted) handled(d *derivation) (skip bool) {
	handle, stage := d.words.Handling(w.object)
	w.handle = handle
	if d.delivery.Release == nil {
		w.runs = phasesOf(stage)
		return stage.Skip
	}
	hook, role := helm.ReadHook(w.object.GetKind(), w.object.GetName(), w.object.GetAnnotations())
	events := make([]string, len(hook.Events))
	for i, event := range hook.Events {
		events[i] = string(event)
	}
	w.handle, w.runs = model.Handling{Keep: helm.Keeps(w.object.GetAnnotations())}, strings.Join(events, ", ")
	if !w.crd {
		engine.MarkRelease(&d.delivery.Ownership, w.object)
	}
	return role == helm.Ignored
}

// sort puts what is wanted in the order in which it is shown.
func (d *derivation) sort() {
	for _, list := range [][]wanted{d.objects, d.hooks} {
		slices.SortStableFunc(list, func(x, y wanted) int {
			switch {
			case x.id.Less(y.id):
				return -1
			case y.id.Less(x.id):
				return 1
			}
			return 0
		})
	}
}

// settleNamespace takes the namespace off an object of a cluster-wide kind, and
// gives one that names none the delivery's, where the kind needs it. A kind
// that the target does not serve yet is left as it is: it is not placed.
func (d *derivation) settleNamespace(w *wanted, version string) (placed bool, err error) {
	namespaced, known, err := d.to.scope(w.id.GroupKind(), version)
	switch {
	case err != nil, !known:
		return false, err
	case !namespaced:
		w.object.SetNamespace("")
		w.id.Namespace = ""
	case w.id.Namespace == "" && d.delivery.Target.Namespace != "":
		w.object.SetNamespace(d.delivery.Target.Namespace)
		w.id.Namespace = d.delivery.Target.Namespace
	case w.id.Namespace == "":
		return false, &model.Fault{
			Reason: "ReconciliationFailed", Object: w.id, Origin: w.origin,
			Message: fmt.Sprintf("%s has no namespace", w.id),
			Advice:  "set metadata.namespace, or the target namespace of " + d.delivery.ID.String(),
		}
	}
	return true, nil
}
