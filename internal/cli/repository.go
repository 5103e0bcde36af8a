package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// repositoryFlags say what of a repository is rendered, and from where the rest
// comes.
type repositoryFlags struct {
	all      bool
	charts   []string
	rewrites []string
	fetch    bool
	cache    string
	any      bool
	age      string
	own      []string
	from     []string
	told     chartTarget
	output   string
	reveal   bool
	strict   bool
}

const repositoryNotes = `With --all and a directory instead of a kind, render a whole repository without a
cluster: every Kustomization, HelmRelease, Application, ApplicationSet and
ArtifactGenerator that is found in it or comes out of a render, down to the last.

Sources that stand for the repository itself are read from the directory: the one
called flux-system, those whose address is one of the checkout's remotes (or given
by --repository), else those that are called like the directory. Charts come from
--charts, from a repository that --map-url puts in place of another, or, with
--fetch, from where they are. ConfigMaps and Secrets for substitutions and values
are those that the repository declares.

What SOPS has encrypted is named and left out, unless --sops-age-key opens it;
where others need its values, placeholders stand for them.

The summary has a line for each delivery: ok; missing, when it needs what is not in
the repository and was not at hand; or failed. The exit code is 1 when something
failed, and with --strict when something is missing too.`

// bindRepository lets "plumb build" itself render a repository.
func (a *app) bindRepository(build *cobra.Command) {
	flags := &repositoryFlags{}
	set := build.Flags()
	set.BoolVar(&flags.all, "all", false, "render the whole repository in PATH, by default the working directory")
	set.StringArrayVar(&flags.charts, "charts", nil, "`DIR` with charts, packaged or not, such as a clone of a repository of charts; repeatable")
	set.StringArrayVar(&flags.rewrites, "map-url", nil, "`OLD=NEW`: take what lies at or below the address OLD from NEW, an address or a directory; repeatable")
	set.BoolVar(&flags.fetch, "fetch", false, "fetch what is not at hand from where it is")
	set.StringVar(&flags.cache, "cache", "", "`DIR` in which charts are looked up, and kept when they were fetched")
	set.BoolVar(&flags.any, "any-version", false, "where a chart is at hand in another version only, take that and say so")
	set.StringVar(&flags.age, "sops-age-key", "", "`FILE` with age identities that open what SOPS has encrypted")
	set.StringArrayVar(&flags.own, "repository", nil, "`URL` of the repository; by default those of the checkout's remotes; repeatable")
	set.StringArrayVar(&flags.from, "from", nil, "start from what stands below this `DIR` of the repository alone, such as that of one of several clusters; repeatable")
	flags.told.bind(set)
	set.StringVarP(&flags.output, "output", "o", "summary", "summary, json (the summary), or yaml: all objects")
	set.BoolVar(&flags.reveal, "show-secrets", false, "print secret values")
	set.BoolVar(&flags.strict, "strict", false, "fail when something is missing")
	build.Annotations = map[string]string{runsItself: "--all"}
	build.Args = func(cmd *cobra.Command, args []string) error {
		if !flags.all {
			return unknownSubcommand(cmd, args)
		}
		return cobra.MaximumNArgs(1)(cmd, args)
	}
	build.RunE = func(cmd *cobra.Command, args []string) error {
		if !flags.all {
			return showHelp(cmd, args)
		}
		ctx, cancel := a.within(cmd.Context())
		defer cancel()
		return a.buildRepository(ctx, flags, append(args, ".")[0])
	}
}

// buildRepository renders a repository and says what came of it.
func (a *app) buildRepository(ctx context.Context, flags *repositoryFlags, dir string) error {
	if !slices.Contains([]string{"summary", "json", "yaml"}, flags.output) {
		return fmt.Errorf("--output must be summary, json or yaml, not %q", flags.output)
	}
	r, closing, err := a.openRepository(flags, a.path(dir))
	if err != nil {
		return err
	}
	defer closing()
	if err := r.run(ctx); err != nil {
		return err
	}
	return a.printRepository(flags, r)
}

// repository is one that is being rendered as a whole.
type repository struct {
	dir     string
	world   *offline
	shelf   *shelf
	deriver *deriver

	found   []*item // deliveries that stand in files
	unread  []*item // files that cannot be read
	queue   []*item
	known   map[object.ID]*item
	done    []*item
	skipped map[object.ID]string // encrypted objects, with their files
	covered map[string]bool      // files that a render has read
	used    []model.Source       // that the derivation at hand has asked for
}

// item is a delivery of the repository, and what came of it.
type item struct {
	id     object.ID
	object *unstructured.Unstructured
	file   string // that it stands in; "" when a delivery brought it

	derived *derivation
	status  string
	notes   []string
	loose   bool // no delivery reads its file
	again   bool // a delivery brought it in another form: what it came to does not count
}

// What came of a delivery.
const (
	rendersWell    = "ok"
	rendersMissing = "missing"
	rendersFailed  = "failed"
	leftEncrypted  = "skipped"
)

// openRepository finds what there is in the directory.
func (a *app) openRepository(flags *repositoryFlags, dir string) (*repository, func(), error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil, advise(fmt.Errorf("%s is no directory", dir), "as in: plumb build --all ./fleet")
	}
	r := &repository{dir: dir, world: newOffline(), shelf: newShelf(), known: map[object.ID]*item{}, skipped: map[object.ID]string{}, covered: map[string]bool{}}
	r.world.self = originsOf(dir, flags.own)
	if flags.age != "" {
		keys, err := os.ReadFile(a.path(flags.age))
		if err != nil {
			return nil, nil, err
		}
		r.world.ageKeys = []model.DecryptionKey{{Name: "given.agekey", Value: model.NewSecret(keys)}}
	}
	if err := r.stock(a, flags); err != nil {
		return nil, nil, err
	}
	quiet := *a
	quiet.say = newTerminal(io.Discard, a.streams.Getenv)
	deriver, closing, err := quiet.newDeriverOf(r.world, source.Clients{Registry: layers{r.shelf}, Charts: r.shelf, Buckets: r.shelf})
	if err != nil {
		return nil, nil, err
	}
	deriver.located, deriver.target = r.locate, flags.told
	deriver.target.remoteBases = true // told as missing one by one
	r.deriver = deriver
	if err := r.scan(); err != nil {
		closing()
		return nil, nil, err
	}
	r.recognise()
	r.narrow(flags.from)
	return r, closing, nil
}

// narrow leaves the deliveries that stand below some directories.
func (r *repository) narrow(from []string) {
	if len(from) == 0 {
		return
	}
	elsewhere := func(one *item) bool {
		return !slices.ContainsFunc(from, func(dir string) bool {
			dir = inTree(filepath.ToSlash(dir))
			return dir == "" || strings.HasPrefix(one.file, dir+"/")
		})
	}
	r.found, r.unread = slices.DeleteFunc(r.found, elsewhere), slices.DeleteFunc(r.unread, elsewhere)
}

// stock gathers the charts that are at hand.
func (r *repository) stock(a *app, flags *repositoryFlags) error {
	r.shelf.fetches, r.shelf.anyNumber = flags.fetch, flags.any
	for _, text := range flags.rewrites {
		one, err := parseRewrite(text, a.path)
		if err != nil {
			return err
		}
		r.shelf.rewrites = append(r.shelf.rewrites, one)
	}
	for _, dir := range flags.charts {
		if err := r.shelf.stock(a.path(dir)); err != nil {
			return advise(fmt.Errorf("--charts: %w", err), "name a directory that holds charts")
		}
	}
	if flags.cache == "" {
		return nil
	}
	r.shelf.cache = a.path(flags.cache)
	err := r.shelf.stock(r.shelf.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// locate puts what is at hand in place of a source.
func (r *repository) locate(spec model.Source) (model.Source, error) {
	r.used = append(r.used, spec)
	var address, what string
	switch {
	case spec.Git != nil:
		address, what = spec.Git.URL, "Git repository "
	case spec.OCI != nil:
		address, what = "oci://"+spec.OCI.URL, "artifact "
	case spec.Bucket != nil:
		address, what = spec.Bucket.Endpoint+"/"+spec.Bucket.Name, "bucket "
	case spec.External != nil:
		address, what = spec.External.URL, "file "
	default:
		return spec, nil
	}
	if r.world.self.own(address) {
		return inDirectory(spec, r.dir)
	}
	to, directory, mapped := r.shelf.rewritten(address)
	switch {
	case spec.OCI != nil: // the shelf knows
	case directory:
		return inDirectory(spec, to)
	case spec.Git != nil && mapped:
		git := *spec.Git
		git.URL = to
		spec.Git = &git
	case spec.External != nil && mapped:
		external := *spec.External
		external.URL = to
		spec.External = &external
	case spec.Bucket != nil, !r.shelf.fetches, address == "":
		return spec, outsideOf("%s%s", what, cmp.Or(withoutCredentials(address), spec.ID.String()))
	}
	return spec, nil
}

// inDirectory reads a source from a directory.
func inDirectory(spec model.Source, dir string) (model.Source, error) {
	if len(spec.Include) > 0 {
		return spec, outsideOf("%s, which is made of other repositories", spec.ID)
	}
	spec.Git, spec.Bucket, spec.External, spec.OCI = nil, nil, nil, directoryArtifact(dir)
	return spec, nil
}

// run renders everything, from the deliveries that no other brings.
func (r *repository) run(ctx context.Context) error {
	reached, err := r.reach(ctx)
	if err != nil {
		return err
	}
	for i, one := range r.found {
		if !r.broughtByOthers(i, reached) && one.object.GetKind() != helmReleaseKind {
			r.start(one)
		}
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	for _, one := range r.found {
		if !r.covered[one.file] && r.start(one) {
			one.loose = true
			one.notes = append(one.notes, "no delivery reads "+one.file)
		}
	}
	for _, one := range r.unread {
		if !r.covered[one.file] { // else a render tells of it
			r.done = append(r.done, one)
		}
	}
	return r.drain(ctx)
}

// reach renders every delivery that stands in a file without what it needs
// besides, to learn which files it reads.
func (r *repository) reach(ctx context.Context) ([]map[string]bool, error) {
	tree, err := r.deriver.fetch(ctx, model.Source{
		ID: object.ID{Group: "plumb.dev", Kind: "Repository", Name: r.dir}, OCI: &model.OCISource{URL: ownAddress}, Implied: true,
	}, nil)
	if err != nil {
		return nil, err
	}
	reached := make([]map[string]bool, len(r.found))
	for i, one := range r.found {
		reached[i] = map[string]bool{}
		for dir, opts := range directoriesOf(one.object) {
			recorder := render.Record(ctx, tree, render.Limits{})
			// What fails here is told where it is rendered in earnest.
			_, _ = render.Outside{Decrypter: &sealed{}}.Build(ctx, recorder, dir, opts, model.Origin{}, render.Limits{})
			for _, read := range recorder.Trace() {
				reached[i][read.Path] = true
				r.covered[read.Path] = true
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return reached, nil
}

// directoriesOf are the directories that a delivery renders, as it stands.
func directoriesOf(o *unstructured.Unstructured) map[string]model.Render {
	switch o.GetKind() {
	case kustomizations.group.Kind:
		return map[string]model.Render{inTree(text(o, "spec", "path")): {Kind: model.RenderFlux}}
	case applicationKind:
		spec, _, _ := unstructured.NestedMap(o.Object, "spec")
		out := map[string]model.Render{}
		for _, from := range sourcesIn(spec) {
			dir, _ := from["path"].(string)
			recurse, _, _ := unstructured.NestedBool(from, "directory", "recurse")
			if dir != "" {
				out[inTree(dir)] = model.Render{Kind: model.RenderDetect, Directory: model.DirectoryOptions{Recurse: recurse}}
			}
		}
		return out
	}
	return nil
}

// inTree is a path as a tree has it.
func inTree(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// broughtByOthers reports whether another delivery reads the file of one, which
// does not itself lead back there.
func (r *repository) broughtByOthers(i int, reached []map[string]bool) bool {
	file := r.found[i].file
	for j := range r.found {
		if j != i && reached[j][file] && (!reached[i][r.found[j].file] || !reached[i][file] && r.found[j].file != file) {
			return true
		}
	}
	return false
}

// start puts a delivery that stands in a file into the queue, unless it is known
// already.
func (r *repository) start(one *item) bool {
	kind := deliveryKindOf(one.object.GroupVersionKind().GroupKind())
	if one.object.GetNamespace() == "" {
		namespace := looseNamespace
		if kind != helmReleases {
			namespace = kind.idiom.namespace(&kubeFlags{namespace: defaultNamespace, argoNamespace: defaultArgoNamespace})
		}
		one.object.SetNamespace(namespace)
	}
	one.id = object.Of(one.object)
	if was := r.known[one.id]; was != nil {
		if was.file != "" && !sameSpec(was.object, one.object) {
			was.notes = append(was.notes, leftOut(one))
		}
		return false
	}
	r.world.bring(one.object)
	r.enqueue(one)
	return true
}

func (r *repository) enqueue(one *item) {
	r.known[one.id] = one
	r.queue = append(r.queue, one)
}

// drain works the queue off. Where all that is left waits for something, one
// after another is done without.
func (r *repository) drain(ctx context.Context) error {
	for p := delivered; len(r.queue) > 0; {
		moved := false
		waiting := r.queue
		r.queue = nil
		for i, one := range waiting {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !r.attempt(ctx, one, p) {
				r.queue = append(r.queue, one)
				continue
			}
			moved = true
			if p >= absentForGood { // it may have brought what others wait for
				r.queue = append(r.queue, waiting[i+1:]...)
				break
			}
		}
		switch {
		case moved:
			p = delivered
		default:
			p++
		}
	}
	return nil
}

// attempt works out a delivery, unless it has to wait for what others may bring.
func (r *repository) attempt(ctx context.Context, one *item, p patience) (settled bool) {
	derived, err := r.derive(ctx, one, p)
	if err != nil && p < absentForGood && len(r.world.absent) > 0 {
		return false
	}
	absent, used := r.world.absent, r.world.usedSealed
	if err != nil && slices.ContainsFunc(absent, assumable) {
		var again error
		if derived, again = r.derive(ctx, one, assumedEmpty); again == nil {
			err = nil
			one.missing(absent)
		}
	}
	one.status = cmp.Or(one.status, rendersWell)
	standIns := r.standIns()
	one.notes = append(one.notes, standIns...)
	if err != nil {
		one.fail(err, absent, used, len(standIns) > 0)
		r.done = append(r.done, one)
		return true
	}
	r.done = append(r.done, one)
	r.take(one, derived)
	return true
}

func (r *repository) derive(ctx context.Context, one *item, p patience) (*derivation, error) {
	r.world.begin(p)
	r.used = nil
	return r.deriver.derive(ctx, asRendered(one.object), "")
}

// standIns tells of charts of other versions than those that were asked for.
func (r *repository) standIns() []string {
	var notes []string
	for i := range r.used {
		if note := r.shelf.standIn(&r.used[i]); note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes
}

// assumable are the needs that can be done without for a look.
func assumable(need model.Need) bool {
	return need.Group == "" && (need.Kind == "Secret" || need.Kind == "ConfigMap")
}

// missing notes what is not in the repository.
func (i *item) missing(absent []model.Need) {
	i.status = rendersMissing
	for _, need := range absent {
		i.notes = append(i.notes, needText(need)+", which the repository does not declare")
	}
}

// fail notes why there is no render: for want of something, or because of a
// mistake.
func (i *item) fail(err error, absent []model.Need, used []object.ID, otherChart bool) {
	var outside *outsideError
	var remote *render.RemoteError
	switch {
	case errors.As(err, &outside):
		i.status, i.notes = rendersMissing, append(i.notes, outside.what)
	case errors.As(err, &remote):
		i.status, i.notes = rendersMissing, append(i.notes, remote.Address)
	case len(absent) > 0:
		i.missing(absent)
	case len(used) > 0:
		i.status = rendersMissing
		i.notes = append(i.notes, fmt.Sprintf("the values of %s, which is encrypted: %v", used[0], err))
	case i.loose && hasVariables(i.object):
		i.status, i.notes = rendersMissing, append(i.notes, "its variables are not known")
	case otherChart:
		i.status, i.notes = rendersMissing, append(i.notes, "it does not render: "+err.Error())
	default:
		i.status, i.notes = rendersFailed, append(i.notes, err.Error())
	}
}

// hasVariables reports whether an object waits for a substitution.
func hasVariables(o *unstructured.Unstructured) bool {
	text, err := o.MarshalJSON()
	return err == nil && strings.Contains(string(text), "${")
}

// take takes up what a delivery wants.
func (r *repository) take(one *item, derived *derivation) {
	one.derived = derived
	for _, read := range derived.trace {
		r.covered[read.Path] = true
	}
	for _, list := range []*[]wanted{&derived.objects, &derived.hooks} {
		*list = slices.DeleteFunc(*list, func(w wanted) bool {
			if !r.world.sealed.has(w.id) {
				return false
			}
			r.skipped[w.id] = w.origin.File
			r.world.bringSealed(w.object)
			return true
		})
	}
	for _, w := range derived.objects {
		r.world.bring(w.object)
		if deliveryKindOf(w.id.GroupKind()) != nil {
			r.brought(w)
		}
	}
}

// brought puts a delivery that another one wants into the queue; again, where it
// was started from a file that says something else.
func (r *repository) brought(w wanted) {
	was := r.known[w.id]
	if was != nil && (was.file == "" || sameSpec(was.object, w.object)) {
		return
	}
	now := &item{id: w.id, object: w.object.DeepCopy()}
	if was != nil {
		was.again = true
		r.queue = slices.DeleteFunc(r.queue, func(i *item) bool { return i == was })
		if !r.covered[was.file] {
			now.notes = append(now.notes, leftOut(was))
		}
	}
	r.enqueue(now)
}

// leftOut tells of a delivery that another one of the same name goes before.
func leftOut(one *item) string {
	return one.file + " declares another one, which is left out: see --from"
}

func sameSpec(x, y *unstructured.Unstructured) bool {
	a, aErr := json.Marshal(x.Object["spec"])
	b, bErr := json.Marshal(y.Object["spec"])
	return aErr == nil && bErr == nil && string(a) == string(b)
}
