package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	clusters "plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// A derivation is what a delivery wants, worked out here and now through the
// rooms that the engine uses, with the rights of whoever runs the command.
//
//	declared ──compile──▶ Delivery, Source ──fetch──▶ tree ──render, substitute──▶ objects on their target
type derivation struct {
	declared *unstructured.Unstructured
	delivery model.Delivery
	source   *model.Source // nil for a local directory
	findings []model.Finding

	revision string // "" for a local directory
	commit   model.Commit

	objects  []wanted
	withheld []wanted // parts of an upstream installation, never applied
	target   *cluster // where the objects go
	secrets  secretValues
}

// wanted is one object that a delivery wants.
type wanted struct {
	id     object.ID
	origin model.Origin
	object *unstructured.Unstructured // marked as the delivery's own, without the watch label
	secret bool                       // holds secret material
}

// deriver works out derivations of one cluster. It keeps fetched trees, so
// that deliveries of one source share one look at it.
type deriver struct {
	home    *cluster
	dialect dialect.Dialect
	store   *source.Store
	trees   map[object.ID]*source.Tree
	say     *terminal
}

// newDeriver prepares a deriver with a temporary store; close removes it.
func (a *app) newDeriver(home *cluster) (*deriver, func(), error) {
	dir, err := os.MkdirTemp("", "plumb-derive-")
	if err != nil {
		return nil, nil, err
	}
	store, err := source.Open(source.Options{Dir: dir, UserAgent: "plumb/" + buildVersion()})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	d := &deriver{home: home, dialect: flux.New(), store: store, trees: map[object.ID]*source.Tree{}, say: a.say}
	return d, func() {
		// What is left behind is in the temporary directory, for the system to
		// clean up.
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}, nil
}

// derive works out what a declared delivery wants. With a local directory that
// stands in place of the directory in the source, no source is fetched.
func (d *deriver) derive(ctx context.Context, declared *unstructured.Unstructured, local string) (*derivation, error) {
	out := &derivation{declared: declared}
	intent, facts, findings, err := d.compile(ctx, declared)
	if err != nil {
		return nil, err
	}
	if intent.Delivery == nil {
		return nil, fmt.Errorf("%s delivers nothing", object.Of(declared))
	}
	out.delivery, out.findings = *intent.Delivery, findings
	if out.target, err = d.target(ctx, out.delivery.Target, facts); err != nil {
		return nil, err
	}
	tree, dir, closeTree, err := d.tree(ctx, out, local)
	if err != nil {
		return nil, err
	}
	defer closeTree()
	manifest, err := d.render(ctx, out, tree, dir)
	if err != nil {
		return nil, err
	}
	return out, out.place(manifest, d.dialect)
}

// compile asks the dialect what an object means, and reads the objects that it
// needs to see.
func (d *deriver) compile(ctx context.Context, declared *unstructured.Unstructured) (dialect.Intent, model.Facts, []model.Finding, error) {
	facts := model.Facts{}
	for {
		intent, needs, findings, err := d.dialect.Compile(declared, facts, dialect.Settings{})
		open := slices.DeleteFunc(slices.Clone(needs), func(n model.Need) bool { _, known := facts[n]; return known })
		if err != nil || len(open) == 0 {
			return intent, facts, findings, err
		}
		for _, need := range open {
			facts[need] = d.home.fact(ctx, need)
		}
	}
}

// fact answers a need as the user may see it.
func (c *cluster) fact(ctx context.Context, need model.Need) model.Fact {
	mapping, err := c.mapper.RESTMapping(schema.GroupKind{Group: need.Group, Kind: need.Kind}, need.Version)
	var o *unstructured.Unstructured
	if err == nil {
		o, err = c.objects.Resource(mapping.Resource).Namespace(need.Namespace).Get(ctx, need.Name, getOptions)
	}
	switch {
	case err == nil:
		return model.Fact{State: model.Present, Object: o}
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return model.Fact{State: model.Absent}
	case apierrors.IsForbidden(err):
		return model.Fact{State: model.Forbidden, Message: err.Error()}
	}
	return model.Fact{State: model.Failed, Message: err.Error()}
}

// target is the cluster that a delivery goes to.
func (d *deriver) target(ctx context.Context, to model.Target, facts model.Facts) (*cluster, error) {
	if to.Cluster.Local() {
		return d.home, nil
	}
	need := to.Cluster.Need
	fact, known := facts[need]
	if !known {
		fact = d.home.fact(ctx, need)
	}
	kubeconfig, err := kubeconfigIn(fact, to.Cluster)
	if err != nil {
		return nil, err
	}
	set, err := clusters.NewSet(d.home.config, clusters.Options{})
	if err != nil {
		return nil, err
	}
	defer set.Close()
	remote, err := set.Remote(kubeconfig)
	if err != nil {
		return nil, err
	}
	config := remote.Config()
	config.WarningHandler = d.home.config.WarningHandler
	return newCluster(config)
}

// kubeconfigIn takes a kubeconfig out of a Secret, or a ConfigMap.
func kubeconfigIn(fact model.Fact, ref model.ClusterRef) ([]byte, error) {
	if fact.State != model.Present {
		return nil, &model.Fault{
			Reason:  "ReconciliationFailed",
			Message: fmt.Sprintf("the kubeconfig in %s cannot be read: it is %s", ref.Need, fact.State),
			Advice:  "read it with an account that may, or use --path on a cluster you can reach",
		}
	}
	keys := []string{ref.Key}
	if ref.Key == "" {
		keys = []string{"value", "value.yaml"} // kustomize-controller's defaults
	}
	for _, key := range keys {
		value, found, err := dataOf(fact.Object, key)
		if err != nil || found {
			return value, err
		}
	}
	return nil, &model.Fault{
		Reason:  "ReconciliationFailed",
		Message: fmt.Sprintf("%s has no key %s with a kubeconfig", ref.Need, strings.Join(keys, " or ")),
	}
}

// tree finds the content: the local directory, or the source.
func (d *deriver) tree(ctx context.Context, out *derivation, local string) (render.Tree, string, func(), error) {
	if local != "" {
		root, dir, err := repositoryOf(local, out.delivery.Path)
		if err != nil {
			return nil, "", nil, err
		}
		tree, err := render.Directory(root)
		if err != nil {
			return nil, "", nil, err
		}
		return tree, dir, func() { _ = tree.Close() }, nil
	}
	spec, err := d.sourceSpec(ctx, out.delivery.Source)
	if err != nil {
		return nil, "", nil, err
	}
	tree, err := d.fetch(ctx, spec, nil)
	if err != nil {
		return nil, "", nil, err
	}
	out.source, out.revision, out.commit = &spec, tree.Revision(), tree.Commit()
	return tree, out.delivery.Path, func() {}, nil
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

// sourceSpec reads and compiles the source of a delivery.
func (d *deriver) sourceSpec(ctx context.Context, id object.ID) (model.Source, error) {
	resource, _, err := d.home.resource(id.GroupKind())
	if err != nil {
		return model.Source{}, err
	}
	declared, err := resource.Namespace(id.Namespace).Get(ctx, id.Name, getOptions)
	if err != nil {
		return model.Source{}, err
	}
	intent, _, _, err := d.compile(ctx, declared)
	if err != nil {
		return model.Source{}, fmt.Errorf("%s: %w", id, err)
	}
	if intent.Source == nil {
		return model.Source{}, advise(fmt.Errorf("%s is a kind of source that Plumb does not fetch yet", id), "name a local directory with --path")
	}
	return *intent.Source, nil
}

// fetch gets the tree of a source and of those that it includes. within are
// the sources that include it.
func (d *deriver) fetch(ctx context.Context, spec model.Source, within []object.ID) (*source.Tree, error) {
	if tree, known := d.trees[spec.ID]; known {
		return tree, nil
	}
	if slices.Contains(within, spec.ID) {
		return nil, &model.Fault{Reason: "IncludeUnavailable", Message: fmt.Sprintf("%s includes itself", spec.ID)}
	}
	included := map[object.ID]*source.Tree{}
	for _, include := range spec.Include {
		inner, err := d.sourceSpec(ctx, include.Source)
		if err != nil {
			return nil, err
		}
		if included[include.Source], err = d.fetch(ctx, inner, append(within, spec.ID)); err != nil {
			return nil, err
		}
	}
	d.say.waiting("fetching %s", spec.ID)
	tree, err := d.store.Fetch(ctx, spec, included, nil)
	if err != nil {
		return nil, err
	}
	d.trees[spec.ID] = tree
	return tree, nil
}

// render builds the directory and substitutes variables.
func (d *deriver) render(ctx context.Context, out *derivation, tree render.Tree, dir string) (*model.Manifest, error) {
	origin := out.delivery.Origin
	origin.Revision = out.revision
	manifest, err := render.Kustomize(ctx, tree, dir, out.delivery.Render.Kustomize, origin, render.Limits{})
	if err != nil {
		return nil, err
	}
	sub := out.delivery.Render.Substitution
	if sub == nil {
		return manifest, nil
	}
	facts := model.Facts{}
	for _, from := range sub.From {
		facts[from.Need] = d.home.fact(ctx, from.Need)
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
	return render.Substitute(manifest, sub, variables, out.delivery.Ownership.Control)
}

// place makes rendered objects into what is applied: namespaces by the scope
// of their kinds, the delivery's labels, secrets in one form.
func (d *derivation) place(manifest *model.Manifest, words dialect.Dialect) error {
	for _, rendered := range manifest.Objects {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(rendered.JSON); err != nil {
			return fmt.Errorf("%s: %w", rendered.ID, err)
		}
		w := wanted{id: rendered.ID, origin: rendered.Origin, object: o, secret: rendered.Secret}
		if words.Replaces(o) {
			d.withheld = append(d.withheld, w)
			continue
		}
		if err := d.settleNamespace(&w, rendered.Version); err != nil {
			return err
		}
		object.FoldStringData(o)
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		for name, value := range d.delivery.Ownership.Labels {
			labels[name] = value
		}
		o.SetLabels(labels)
		d.objects = append(d.objects, w)
	}
	slices.SortStableFunc(d.objects, func(x, y wanted) int {
		switch {
		case x.id.Less(y.id):
			return -1
		case y.id.Less(x.id):
			return 1
		}
		return 0
	})
	return nil
}

// settleNamespace takes the namespace off an object of a cluster-wide kind, and
// asks for one where the kind needs it. A kind that the target does not serve
// yet is left as it is.
func (d *derivation) settleNamespace(w *wanted, version string) error {
	mapping, err := d.target.mapper.RESTMapping(w.id.GroupKind(), version)
	switch {
	case meta.IsNoMatchError(err):
		return nil
	case err != nil:
		return err
	case mapping.Scope.Name() == meta.RESTScopeNameRoot:
		w.object.SetNamespace("")
		w.id.Namespace = ""
	case w.id.Namespace == "":
		return &model.Fault{
			Reason: "ReconciliationFailed", Object: w.id, Origin: w.origin,
			Message: fmt.Sprintf("%s has no namespace", w.id),
			Advice:  "set metadata.namespace, or spec.targetNamespace of " + d.delivery.ID.String(),
		}
	}
	return nil
}
