package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/source"
)

// content is what an action brings to the cluster.
type content struct {
	objects, hooks, crds []model.Rendered
	notes                string
	// untold: it comes from a record, which does not tell what of it is secret.
	untold bool
}

// contentOf makes the record of a revision, and what it brings.
func (r *run) contentOf(ctx context.Context, a *acting) (*content, error) {
	switch {
	case a.action.Kind == release.Rollback && !a.action.Resume:
		last, err := r.revision(ctx, a.facts.Stored[0].Version)
		if err != nil {
			return nil, err
		}
		to, err := r.revision(ctx, a.action.To)
		if err != nil {
			return nil, err
		}
		a.record = release.Back(last, to, name(r.spec.ID), release.ServerSide(r.spec.Release.Rollback.ServerSideApply, to), time.Now())
		return recorded(a.record, r.spec.Origin)
	case a.action.Resume:
		record, err := r.revision(ctx, a.action.Version)
		if err != nil {
			return nil, err
		}
		c, err := recorded(record, r.spec.Origin)
		if err != nil {
			return nil, asFault(err, "StateError")
		}
		if a.action.Kind != release.Rollback {
			rendered, err := r.renderRevision(ctx, a, r.inputs[0].Render.Helm)
			if err != nil {
				return nil, err
			}
			c.crds = rendered.crds
			c.locate(rendered)
		}
		a.record = record
		return c, nil
	}
	return r.freshRevision(ctx, a)
}

// freshRevision renders the chart.
func (r *run) freshRevision(ctx context.Context, a *acting) (*content, error) {
	var last, deployed *release.Record
	var err error
	if len(a.facts.Stored) > 0 {
		if last, err = r.revision(ctx, a.facts.Stored[0].Version); err != nil {
			return nil, err
		}
	}
	if current := release.Deployed(a.facts.Stored); current != nil && last != nil {
		if deployed = last; current.Version != last.Version {
			if deployed, err = r.revision(ctx, current.Version); err != nil {
				return nil, err
			}
		}
	}
	a.known = map[int]*release.Record{}
	for _, record := range []*release.Record{last, deployed} {
		if record != nil {
			a.known[record.Version] = record
		}
	}
	opts := r.inputs[0].Render.Helm
	if r.spec.Release.Upgrade.PreserveValues && a.action.Kind == release.Upgrade && last != nil {
		if err := Preserve(&opts, last); err != nil {
			return nil, err
		}
	}
	config, err := valuesOf(opts.Values)
	if err != nil {
		return nil, err
	}
	c, err := r.renderRevision(ctx, a, opts)
	if err != nil {
		return nil, err
	}
	chart, dir, err := r.recordChart(a)
	if err != nil {
		return nil, err
	}
	a.record, err = release.New(a.action.Helm(), r.spec.Release, &release.Content{
		Chart: chart, Config: config, Objects: c.objects, Hooks: c.hooks, Notes: c.notes, Dir: dir,
		ServerSide: release.ServerSide(r.actionSpec(a).ServerSideApply, last),
	}, last, deployed, time.Now())
	return c, err
}

// Preserve puts the values of the last release below those that are given
// (preserveValues). Which of them are secret is not known any more: those that are
// not given now count as secret.
func Preserve(opts *model.HelmOptions, last *release.Record) error {
	given, err := valuesOf(opts.Values)
	if err != nil {
		return err
	}
	config, defaults, err := release.Reuse(given, last)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	eachText(given, func(text string) { known[text] = true })
	eachText(config, func(text string) {
		if !known[text] {
			opts.Sensitive = append(slices.Clip(opts.Sensitive), model.NewSecret([]byte(text)))
		}
	})
	for _, part := range []struct {
		values map[string]any
		into   *model.Secret
		digest *string
	}{{config, &opts.Values, &opts.ValuesDigest}, {defaults, &opts.Defaults, &opts.DefaultsDigest}} {
		text, err := helm.EncodeValues(part.values)
		if err != nil {
			return err
		}
		if text == nil {
			text = []byte("{}") // none, which is not the same as those of the chart
		}
		*part.into, *part.digest = model.NewSecret(text), helm.ValuesDigest(part.values)
	}
	return nil
}

// eachText visits every text in a value.
func eachText(value any, visit func(string)) {
	switch v := value.(type) {
	case string:
		visit(v)
	case []any:
		for _, item := range v {
			eachText(item, visit)
		}
	case map[string]any:
		for _, item := range v {
			eachText(item, visit)
		}
	}
}

// preservedDigest is that of the values which the next release will have.
func (r *run) preservedDigest(ctx context.Context, version int) (string, error) {
	last, err := r.revision(ctx, version)
	if err != nil {
		return "", err
	}
	values, err := valuesOf(r.inputs[0].Render.Helm.Values)
	if err != nil {
		return "", err
	}
	config, _, err := release.Reuse(values, last)
	if err != nil {
		return "", err
	}
	return helm.ValuesDigest(config), nil
}

func valuesOf(text model.Secret) (map[string]any, error) {
	values, err := helm.DecodeValues(text.Reveal())
	if err != nil {
		return nil, &model.Fault{Reason: "ValuesError", Message: "the values of the release are no mapping"}
	}
	return values, nil
}

// renderRevision renders the chart for an action. It goes around the memo: a
// release renders only when it changes.
func (r *run) renderRevision(ctx context.Context, a *acting, opts model.HelmOptions) (*content, error) {
	in := r.inputs[0]
	opts.Upgrade, opts.Revision, opts.ChartVersion = a.action.Kind != release.Install, a.action.Version, a.facts.Chart.Version
	opts.SkipSchema = r.actionSpec(a).SkipSchema
	in.Render.Helm = opts
	origin := r.spec.Origin
	origin.Repository, origin.Revision = in.URL, r.trees[0].Revision()
	w := &wanted{extras: map[object.ID][]extra{}}
	outside, closing, err := r.outside(&in)
	if err != nil {
		return nil, err
	}
	defer closing()
	manifest, err := r.wholeRender(ctx, &in, in.Render, w, origin, func(tree render.Tree) (*model.Manifest, error) {
		return outside.Build(ctx, render.Record(ctx, tree, render.Limits{}), in.Path, in.Render, origin, render.Limits{})
	})
	r.e.mu.Lock()
	r.e.ask(r.d, w.asks)
	r.d.extras = w.extras
	r.e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := &content{notes: manifest.Notes}
	for i := range manifest.Objects {
		c.add(manifest.Objects[i])
	}
	return c, nil
}

// add puts an object where Helm has it. One that names a hook event which Helm
// does not know is left out.
func (c *content) add(rendered model.Rendered) {
	var o struct {
		Kind     string
		Metadata struct {
			Name        string
			Annotations map[string]string
		}
	}
	if rendered.CRD {
		c.crds = append(c.crds, rendered)
		return
	}
	if json.Unmarshal(rendered.JSON, &o) != nil {
		return
	}
	switch _, role := helm.ReadHook(o.Kind, o.Metadata.Name, o.Metadata.Annotations); role {
	case helm.Hooked:
		c.hooks = append(c.hooks, rendered)
	case helm.Plain:
		c.objects = append(c.objects, rendered)
	}
}

// recorded is the content of a record.
func recorded(record *release.Record, origin model.Origin) (*content, error) {
	objects, err := record.Objects()
	if err != nil {
		return nil, err
	}
	c := &content{untold: true}
	for _, one := range objects {
		at := origin
		at.File = one.Template
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(one.JSON); err != nil {
			return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
		}
		var members []unstructured.Unstructured
		if o.IsList() {
			list, err := o.ToList()
			if err != nil {
				return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
			}
			members = list.Items
		} else {
			members = []unstructured.Unstructured{*o}
		}
		for i := range members {
			body, err := object.Canonical(members[i].Object)
			if err != nil {
				return nil, fmt.Errorf("%s in release %s cannot be read", one.Template, record)
			}
			id := object.Of(&members[i])
			rendered := model.Rendered{ID: id, Version: members[i].GroupVersionKind().Version, JSON: body, Origin: at, Secret: true} // until it is known better: unseal
			if one.Hook != nil {
				c.hooks = append(c.hooks, rendered)
			} else {
				c.objects = append(c.objects, rendered)
			}
		}
	}
	return c, nil
}

// unseal says what of a record's content is secret, as far as that is known: an
// object that was applied exactly so was judged when its chart was rendered, and
// its baseline has kept that over a restart. Anything else counts as secret. The
// caller holds e.mu.
func (r *run) unseal(objects []model.Desired) {
	for i := range objects {
		want := &objects[i]
		en := r.e.book.entries[key{r.d.cluster, want.ID}]
		if en != nil && en.owner == r.spec.ID && en.hasBase() && en.base.Inputs == want.Digest && !isSecret(want.ID) {
			want.Secret = en.base.Sealed
		}
	}
}

// recordChart is the chart as records hold it, prepared once for all releases
// of it.
func (r *run) recordChart(a *acting) (*release.Chart, string, error) {
	tree := r.trees[0]
	dir, err := chartDir(tree)
	if err != nil {
		return nil, "", err
	}
	version := a.facts.Chart.Version
	chart, err := r.e.codec.Chart(tree.Digest()+" "+version, func() (*release.Chart, error) {
		files := map[string][]byte{}
		if err := filesBelow(tree, dir, "", files); err != nil {
			return nil, err
		}
		return release.LoadChart(files, version)
	})
	return chart, dir, err
}

// filesBelow reads every file below a directory, but for charts that others
// depend on, which records leave out.
func filesBelow(tree *source.Tree, dir, at string, into map[string][]byte) error {
	entries, err := tree.List(path.Join(dir, at))
	if err != nil {
		return err
	}
	for i := range entries {
		name := path.Join(at, entries[i].Name)
		switch entries[i].Kind {
		case model.DirEntry:
			if name == "charts" {
				continue
			}
			if err := filesBelow(tree, dir, name, into); err != nil {
				return err
			}
		case model.FileEntry, model.ExecutableEntry:
			if into[name], err = tree.Read(path.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
