package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// What a render may look at besides its source is mounted into its tree: the
// other inputs that it names, what the target serves, and what it asked for the
// last time (charts that a chart depends on, remote bases). What it asks for
// anew is declared as an implied source; the run ends, and the end of the first
// look wakes the delivery.

// maxWanted bounds the rounds in which one render may ask for more.
const maxWanted = 16

// desk is the tree that a render reads, and what lies beside it.
type desk struct {
	main   render.Tree
	tree   render.Tree // main with the mounts
	mounts []render.Mount
}

// desk lays out what the render of an input may look at.
func (r *run) desk(ctx context.Context, in *model.Input, opts model.Render) (*desk, error) {
	d := &desk{main: r.treeFor(in.Source)}
	for j := range r.inputs {
		if other := &r.inputs[j]; other.Name != "" {
			d.mounts = append(d.mounts, render.Mount{At: render.RefAt(other.Name), Tree: r.trees[j], Source: other.Source})
		}
	}
	if opts.Kind == model.RenderHelm || opts.Kind == model.RenderDetect || opts.Kustomize.EnableHelm {
		capabilities, err := r.capabilities(ctx)
		if err != nil {
			return nil, err
		}
		d.mounts = append(d.mounts, render.Mount{At: render.AtAPI, Tree: capabilities})
	}
	if opts.Helm.Live {
		d.mounts = append(d.mounts, render.Mount{At: render.AtLive, Tree: render.Live(r.lookup(ctx))})
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	for _, want := range r.d.extras[in.Source] {
		if s := r.e.book.sources[want.source]; s != nil && s.tree != nil {
			d.mounts = append(d.mounts, render.Mount{At: want.at, Tree: s.tree, Source: want.source})
		}
	}
	d.tree = render.Mounted(d.main, d.mounts)
	return d, nil
}

// extra is a tree that a render asked for.
type extra struct {
	at     string // where it is mounted
	source object.ID
}

// fetch declares what a render misses and lays it beside the tree. The run ends
// with errNotYet where something has not been looked at yet.
func (r *run) fetch(d *desk, in *model.Input, w *wanted, missing *render.MissingError) error {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	waits := false
	for i := range missing.Wants {
		want := &missing.Wants[i]
		spec, err := want.Source(&r.spec, in, r.e.key)
		if err != nil {
			return err
		}
		w.asks = append(w.asks, spec)
		w.extras[in.Source] = append(w.extras[in.Source], extra{want.At, spec.ID})
		tree, err := r.treeNow(&spec, model.Origin{Dialect: r.spec.Origin.Dialect, Declared: r.spec.ID, Field: want.Field}, "ArtifactFailed")
		switch {
		case errors.Is(err, errNotYet):
			waits = true
		case err != nil:
			return err
		default:
			d.mounts = append(d.mounts, render.Mount{At: want.At, Tree: tree, Source: spec.ID})
		}
	}
	if waits {
		return errNotYet
	}
	d.tree = render.Mounted(d.main, d.mounts)
	return nil
}

// capabilities is what charts may know of the target.
func (r *run) capabilities(ctx context.Context) (render.Tree, error) {
	version, err := r.cluster.Version(ctx)
	if err != nil {
		return nil, cluster.Explain(err, "ask for the version of the cluster for", r.spec.ID, r.spec.Origin)
	}
	apis, err := r.cluster.APIs(ctx)
	if err != nil {
		return nil, cluster.Explain(err, "discover", r.spec.ID, r.spec.Origin)
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	w := r.e.watchesOf(r.cluster)
	w.listenForAPIs()
	if key := version + " " + apis.Digest; w.capabilities == nil || w.capable != key {
		w.capabilities, w.capable = render.Capabilities(version, render.APINames(apis.Kinds)), key
	}
	r.capable = w.capable
	return w.capabilities, nil
}

// listenForAPIs evaluates anew who looked at what the cluster serves, when that
// changes. The caller holds e.mu.
func (w *watches) listenForAPIs() {
	if w.stopAPIs != nil {
		return
	}
	w.stopAPIs = w.cluster.OnAPIs(func() {
		e := w.e
		e.mu.Lock()
		defer e.mu.Unlock()
		for id, d := range e.book.deliveries {
			if d.capable != "" && d.cluster == w.cluster.Key() {
				e.queue.add(id, routine)
			}
		}
	})
}

// looksAtAPIs reports whether a render asked what the target serves.
func looksAtAPIs(trace model.Trace) bool {
	return slices.ContainsFunc(trace, func(read model.Read) bool { return strings.HasPrefix(read.Path, render.AtAPI) })
}

// maxLookup bounds the objects in the answer to one lookup.
const maxLookup = 2000

// lookup answers the function lookup of charts as the delivery's identity, and
// notes the answers.
func (r *run) lookup(ctx context.Context) func(apiVersion, kind, namespace, name string) ([]byte, error) {
	return func(apiVersion, kindName, namespace, name string) ([]byte, error) {
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return nil, nil //nolint:nilerr // Helm answers a bad version with nothing
		}
		asked := render.Lookup{APIVersion: apiVersion, Kind: kindName, Namespace: namespace, Name: name}
		kind, err := r.cluster.Resolve(ctx, gv.WithKind(kindName))
		var unknown *cluster.UnknownKindError
		switch {
		case errors.As(err, &unknown):
			r.toldOf(asked)
			return nil, nil
		case err != nil:
			return nil, err
		case !kind.Namespaced:
			asked.Namespace = ""
		}
		if name == "" {
			return r.lookupAll(ctx, kind, asked)
		}
		live, err := r.session.Get(ctx, kind, asked.Namespace, name)
		if apierrors.IsNotFound(err) {
			r.toldOf(asked)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r.toldOf(asked, *live)
		return live.MarshalJSON()
	}
}

// lookupAll answers a question for a list.
func (r *run) lookupAll(ctx context.Context, kind cluster.Kind, asked render.Lookup) ([]byte, error) {
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": asked.APIVersion, "kind": asked.Kind + "List"}}
	_, err := r.session.List(ctx, kind, cluster.ListOptions{Namespace: asked.Namespace}, func(o *unstructured.Unstructured) error {
		if len(list.Items) >= maxLookup {
			return &model.Fault{
				Reason: "BuildFailed", Origin: r.spec.Origin,
				Message: fmt.Sprintf("the chart looks up all %s: there are more than %d", asked.Kind, maxLookup), Advice: "let it ask for one by name, or for those of a namespace",
			}
		}
		list.Items = append(list.Items, *o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.toldOf(asked, list.Items...)
	return list.MarshalJSON()
}
