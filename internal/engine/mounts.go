package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

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
	if opts.Kind == model.RenderHelm || opts.Kind == model.RenderDetect {
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
		spec, err := r.wantedSource(in, want)
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

// wantedSource is the implied source of what a render asks for. The first place
// that the delivery knows for the address says how to get it. The caller holds
// e.mu.
func (r *run) wantedSource(in *model.Input, want *render.Want) (model.Source, error) {
	s := model.Source{
		Implied: true, Interval: r.spec.Policy.Interval, Timeout: r.spec.Policy.Timeout,
		Origin: model.Origin{Dialect: r.spec.Origin.Dialect, Declared: r.spec.ID, Field: want.Field},
	}
	if s.Interval <= 0 {
		s.Interval = time.Hour
	}
	var place model.ChartPlace
	kind := "Repository"
	switch {
	case want.Chart != nil:
		c := want.Chart
		at, found := placeOf(in.Charts, c.Repository)
		if alias, named := aliased(c.Repository); named {
			if !found {
				return s, &model.Fault{
					Reason: "BuildFailed", Origin: s.Origin,
					Message: fmt.Sprintf("the chart %s is asked of the repository %q, which nobody declares", c.Name, alias), Advice: "declare a Helm repository of that name, or write its address",
				}
			}
			c.Repository = at.URL
		}
		place, kind = at, "Chart"
		address, oci := strings.CutPrefix(c.Repository, "oci://")
		version := c.Version
		if c.Devel && version == "" {
			version = ">0.0.0-0"
		}
		s.Chart = &model.ChartSource{Repository: address, OCI: oci, Auth: place.Auth, Name: c.Name, Version: version, Fresh: s.Interval}
	case want.Base != nil:
		place, _ = placeOf(in.Charts, want.Base.URL)
		s.Git = &model.GitSource{URL: want.Base.URL, Ref: model.GitRef{Revision: want.Base.Ref}, RecurseSubmodules: want.Base.Submodules}
		if place.Git != nil {
			s.Git.Auth = *place.Git
		}
	default:
		place, _ = placeOf(in.Charts, want.URL)
		s.External = &model.ExternalSource{URL: want.URL, Plain: true, Auth: place.Auth}
	}
	s.ID = object.ID{Group: "plumb.dev", Kind: kind, Namespace: r.spec.ID.Namespace, Name: object.Keyed(r.e.key, []byte(want.Key+"\x00"+fingerprint(&place)))}
	return s, nil
}

// placeOf is the first place that an address lies in, or that an alias names.
func placeOf(places []model.ChartPlace, address string) (model.ChartPlace, bool) {
	alias, named := aliased(address)
	for i := range places {
		p := &places[i]
		if named && p.Alias == alias || !named && within(p.URL, address) {
			return *p, true
		}
	}
	return model.ChartPlace{}, false
}

// aliased reads "@name" and "alias:name" (Helm, "Chart dependencies").
func aliased(repository string) (string, bool) {
	if name, ok := strings.CutPrefix(repository, "@"); ok {
		return name, true
	}
	return strings.CutPrefix(repository, "alias:")
}

// within reports whether an address is at or below another one: credentials of
// a host's path never go to another.
func within(base, address string) bool {
	base, address = strings.TrimSuffix(base, "/"), strings.TrimSuffix(address, "/")
	return base != "" && (base == address || strings.HasPrefix(address, base+"/")) && !strings.Contains(address, "/../") && path.Clean("/"+address) != "/"
}

// fingerprint tells places with other credentials apart. It is only ever used
// in a keyed digest.
func fingerprint(p *model.ChartPlace) string {
	a := &p.Auth
	parts := []string{p.URL, a.Username, string(a.Password.Reveal()), string(a.BearerToken.Reveal()), string(a.ClientCert), string(a.ClientKey.Reveal()), string(a.CA), fmt.Sprint(a.Insecure, a.Plain, a.PassAll)}
	for _, config := range a.DockerConfig {
		parts = append(parts, string(config.Reveal()))
	}
	if g := p.Git; g != nil {
		parts = append(parts, g.Username, string(g.Password.Reveal()), string(g.BearerToken.Reveal()), string(g.SSHKey.Reveal()), string(g.KnownHosts), string(g.CA))
	}
	return strings.Join(parts, "\x00")
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
		w.capabilities, w.capable = render.Capabilities(version, apiNames(apis.Kinds)), key
	}
	r.capable = w.capable
	return w.capabilities, nil
}

// apiNames are the names by which a chart asks for what is served: versions,
// and kinds of versions (Helm, Capabilities.APIVersions).
func apiNames(kinds []schema.GroupVersionKind) []string {
	names := make([]string, 0, len(kinds)*2)
	for _, gvk := range kinds {
		version := gvk.GroupVersion().String()
		names = append(names, version, version+"/"+gvk.Kind)
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// lookup answers the function lookup of charts as the delivery's identity.
func (r *run) lookup(ctx context.Context) func(apiVersion, kind, namespace, name string) ([]byte, error) {
	return func(apiVersion, kindName, namespace, name string) ([]byte, error) {
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return nil, nil //nolint:nilerr // Helm answers a bad version with nothing
		}
		kind, err := r.cluster.Resolve(ctx, gv.WithKind(kindName))
		var unknown *cluster.UnknownKindError
		if errors.As(err, &unknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !kind.Namespaced {
			namespace = ""
		}
		if name != "" {
			live, err := r.session.Get(ctx, kind, namespace, name)
			if apierrors.IsNotFound(err) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return live.MarshalJSON()
		}
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": apiVersion, "kind": kindName + "List"}}
		_, err = r.session.List(ctx, kind, cluster.ListOptions{Namespace: namespace}, func(o *unstructured.Unstructured) error {
			list.Items = append(list.Items, *o)
			return nil
		})
		if err != nil {
			return nil, err
		}
		return list.MarshalJSON()
	}
}
