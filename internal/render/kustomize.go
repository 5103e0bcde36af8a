package render

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Kustomize builds dir of tree with options merged in, as Flux's
// kustomize-controller does: a kustomization.yaml is generated in memory where
// dir has none. Only the options that kustomize itself knows take part here;
// see Finish for the others.
//
// The objects come in kustomize's order, in canonical JSON, each with the file
// and line that asked for it where that can be known. Errors are *model.Fault.
// A tree that is a *Recorder is used as it is, with its own context and
// limits; the trace then also holds what was read through it before.
func Kustomize(ctx context.Context, tree Tree, dir string, opts model.KustomizeOptions, origin model.Origin, limits Limits) (*model.Manifest, error) {
	return Outside{}.kustomize(ctx, tree, dir, opts, origin, limits)
}

func (o Outside) kustomize(ctx context.Context, tree Tree, dir string, opts model.KustomizeOptions, origin model.Origin, limits Limits) (*model.Manifest, error) {
	recorder, ok := tree.(*Recorder)
	if !ok {
		recorder = Record(ctx, tree, limits)
	}
	b := &build{ctx: ctx, recorder: recorder, limits: recorder.limits, opts: opts, origin: origin, outside: o}
	defer b.forget()
	b.fs = treeFS{links: links{tree: recorder, depth: recorder.limits.Depth}, overlay: map[string][]byte{}}
	objects, err := b.run(cleaned(dir))
	if failed := recorder.Failed(); failed != nil {
		return nil, b.unavailable(failed)
	}
	if err != nil {
		return nil, err
	}
	return &model.Manifest{Objects: objects, Trace: recorder.Trace(), Pinned: b.pinned}, nil
}

// build is one call of Kustomize.
type build struct {
	ctx      context.Context
	recorder *Recorder
	limits   Limits
	fs       treeFS
	opts     model.KustomizeOptions
	origin   model.Origin

	argo    bool // as Argo CD does, not as Flux
	release bool // the chart of a HelmRelease
	pinned  bool // the clock or randomness had a part in it

	outside Outside
	opened  [][]byte // files that were decrypted, wiped in the end
}

func (b *build) run(dir string) ([]model.Rendered, error) {
	dir, err := b.start(dir)
	if err != nil {
		return nil, err
	}
	root, err := b.root(dir)
	if err != nil {
		return nil, err
	}
	return b.from(root, dir)
}

// from builds a kustomization.
func (b *build) from(root *rootFile, dir string) ([]model.Rendered, error) {
	surveyed, err := b.survey(root, dir)
	if err != nil {
		return nil, err
	}
	if objects, ok, err := b.plain(root, surveyed); ok || err != nil {
		return objects, err
	}
	text, err := yaml.Marshal(root.kustomization)
	if err != nil {
		return nil, b.fault("", "the kustomization cannot be written: "+err.Error(), "")
	}
	b.fs.overlay[root.path] = text
	resources, err := b.build(dir, surveyed.openAPI)
	if err != nil {
		return nil, surveyed.explain(err)
	}
	return surveyed.rendered(resources)
}

// start finds the directory that is built.
func (b *build) start(dir string) (string, error) {
	if climbs(dir) {
		return "", b.pathFault(dir, "leads out of the source")
	}
	in, entry, err := b.fs.resolve(dir)
	switch {
	case isNotExist(err):
		return "", b.pathFault(dir, "does not exist")
	case errors.Is(err, errOutside):
		return "", b.pathFault(dir, "leads out of the source")
	case err != nil:
		return "", b.readFault(dir, err)
	case !isDir(entry):
		return "", b.pathFault(dir, "is no directory")
	}
	return in, nil
}

func cleaned(dir string) string {
	dir = path.Clean(dir)
	for len(dir) > 0 && dir[0] == '/' {
		dir = dir[1:]
	}
	if dir == "." {
		return ""
	}
	return dir
}

// sharedSchema guards the process-wide OpenAPI data of kustomize. Builds that use
// the built-in schema share it; one that brings another has it for itself
// (kustomize issues 3659 and 4824 are what happens otherwise).
var sharedSchema struct {
	sync.RWMutex
	loaded sync.Once
}

// build runs kustomize.
func (b *build) build(dir string, ownSchema bool) (resources resmap.ResMap, err error) {
	if ownSchema {
		sharedSchema.Lock()
		defer sharedSchema.Unlock()
		resetSchema()
		defer resetSchema()
	} else {
		sharedSchema.loaded.Do(loadSchema)
		sharedSchema.RLock()
		defer sharedSchema.RUnlock()
	}
	defer func() {
		if r := recover(); r != nil {
			resources, err = nil, fmt.Errorf("kustomize panicked over the input: %v", r)
		}
	}()
	kustomizer := krusty.MakeKustomizer(&krusty.Options{
		LoadRestrictions: types.LoadRestrictionsNone, // the tree is the restriction
		PluginConfig:     types.DisabledPluginConfig(),
	})
	return kustomizer.Run(b.fs, outside(dir))
}

func loadSchema() {
	sharedSchema.Lock()
	defer sharedSchema.Unlock()
	resetSchema()
}

// resetSchema drops what a build added and parses the built-in schema, so that
// builds that run at the same time only read it.
func resetSchema() {
	openapi.ResetOpenAPI()
	_ = openapi.Schema()
}

// rendered turns kustomize's resources into objects.
func (s *survey) rendered(resources resmap.ResMap) ([]model.Rendered, error) {
	c := s.collector(s.places())
	for _, resource := range resources.Resources() {
		if err := s.ctx.Err(); err != nil {
			return nil, s.recorder.fail(err)
		}
		text, err := marshal(resource)
		if err != nil {
			return nil, s.fault("", fmt.Sprintf("%s cannot be written as JSON", resource.CurId()), "")
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, s.fault("", fmt.Sprintf("%s cannot be read as JSON", resource.CurId()), "")
		}
		if err := c.add(fields, nil); err != nil {
			return nil, err
		}
	}
	return c.objects, nil
}

// marshal is MarshalJSON of a resource, which may panic over nodes that a
// patch has broken.
func marshal(resource interface{ MarshalJSON() ([]byte, error) }) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kustomize panicked over a resource: %v", r)
		}
	}()
	return resource.MarshalJSON()
}

// collector gathers the objects of a build and sees to it that each is one.
type collector struct {
	*survey
	objects []model.Rendered
	seen    map[object.ID]int
	places  *places
}

func (s *survey) collector(places *places) *collector {
	return &collector{survey: s, seen: map[object.ID]int{}, places: places}
}

// add appends an object, or the items of a list. at is where it was asked for;
// nil: that has to be found out.
func (c *collector) add(fields map[string]any, at *asked) error {
	if items, ok := listItems(fields); ok {
		for _, item := range items {
			child, ok := item.(map[string]any)
			if !ok {
				return c.fault("", "a List holds an item that is not a Kubernetes object", "")
			}
			if err := c.add(child, at); err != nil {
				return err
			}
		}
		return nil
	}
	if len(c.objects) >= c.limits.Objects {
		return c.fault("", fmt.Sprintf("the build has more than %d objects", c.limits.Objects), "split it into several")
	}
	id, version := identify(fields)
	if at == nil {
		at = c.places.find(id)
	}
	origin := c.originOf(at)
	fields, opened, err := c.unsealed(fields, id, origin)
	if err != nil {
		return err
	}
	if opened { // what was encrypted may be its name, too
		id, version = identify(fields)
	}
	if id.Kind == "" || version == "" || id.Name == "" && (!c.argo || !named(fields)) {
		return c.nameless(id, origin)
	}
	if first, ok := c.seen[id]; ok && !c.argo {
		return c.duplicateFault(id, c.objects[first].Origin, origin)
	}
	text, err := object.Canonical(fields)
	if err != nil {
		return c.faultAt(origin.File, origin.Line, fmt.Sprintf("%s cannot be written as JSON: %v", id, err), "")
	}
	c.seen[id] = len(c.objects)
	c.objects = append(c.objects, model.Rendered{ID: id, Version: version, JSON: text, Origin: origin, Secret: opened || secret(fields)})
	return nil
}

// named reports whether the API server would give an object a name.
func named(fields map[string]any) bool {
	metadata, _ := fields["metadata"].(map[string]any)
	prefix, _ := metadata["generateName"].(string)
	return prefix != ""
}

func (s *survey) originOf(at *asked) model.Origin {
	origin := s.origin
	if at != nil {
		origin.File, origin.Line = at.file, at.line
	}
	return origin
}
