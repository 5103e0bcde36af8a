package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// indexAnnotation leads from an object that a post-renderer hands back to the
// one that it was. No object keeps it.
const indexAnnotation = "plumb.dev/post-render"

// postRender runs the post-renderers one after the other (helm-controller
// internal/postrender), over hooks and other objects as the strategy says
// (Helm, pkg/action, PostRenderStrategy).
func (h *helming) postRender(plain, hooked []item) ([]item, []item, error) {
	if len(h.opts.PostRenderers) == 0 {
		return plain, hooked, nil
	}
	var err error
	switch h.opts.PostRenderStrategy {
	case "nohooks":
		plain, err = h.postRendered(plain)
	case "separate":
		if hooked, err = h.postRendered(hooked); err == nil {
			plain, err = h.postRendered(plain)
		}
	default:
		var all []item
		for i := range plain {
			plain[i].at.group = "" // told apart below
		}
		for i := range hooked {
			hooked[i].at.group = hookMark
		}
		if all, err = h.postRendered(slices.Concat(plain, hooked)); err == nil {
			plain, hooked = nil, nil
			for _, one := range all {
				if one.at.group == hookMark {
					hooked = append(hooked, one)
				} else {
					plain = append(plain, one)
				}
			}
		}
	}
	return plain, hooked, err
}

// hookMark marks hooks among items.
const hookMark = "hook"

func (h *helming) postRendered(items []item) ([]item, error) {
	for i, opts := range h.opts.PostRenderers {
		if len(items) == 0 {
			return nil, nil
		}
		if len(opts.Patches) > 0 || len(opts.Images) > 0 {
			var err error
			if items, err = h.kustomized(items, opts, fmt.Sprintf("spec.postRenderers[%d]", i)); err != nil {
				return nil, err
			}
		}
		for _, one := range items {
			overlay(one.fields, "labels", opts.CommonLabels)
			overlay(one.fields, "annotations", opts.CommonAnnotations)
		}
	}
	return items, nil
}

// kustomized runs kustomize over objects, in memory.
func (h *helming) kustomized(items []item, opts model.KustomizeOptions, field string) ([]item, error) {
	k := emptyKustomization()
	const input = "helm-output.yaml"
	k.Resources = []string{input}
	b := &build{ctx: h.ctx, recorder: h.recorder, limits: h.limits, origin: h.origin, argo: h.argo}
	s := &survey{build: b}
	for _, patch := range opts.Patches {
		if err := h.boundYAML("", []byte(patch.Patch)); err != nil {
			return nil, err
		}
		k.Patches = append(k.Patches, types.Patch{Patch: patch.Patch, Target: selector(patch.Target)})
		s.inline = append(s.inline, strings.TrimSpace(patch.Patch))
	}
	for _, image := range opts.Images {
		k.Images = append(k.Images, types.Image{Name: image.Name, NewName: image.NewName, NewTag: image.NewTag, Digest: image.Digest})
	}
	config, err := json.Marshal(k)
	if err != nil {
		return nil, h.fault(field, "the post-renderer cannot be written as JSON", "")
	}
	stream, err := h.stream(items)
	if err != nil {
		return nil, err
	}
	b.fs = treeFS{links: links{tree: nowhere{}, depth: h.limits.Depth}, overlay: map[string][]byte{"kustomization.yaml": config, input: stream}}
	resources, err := b.build("", false)
	if err != nil {
		return nil, h.fault(field, "error while running post render on files: "+s.harmless(err.Error()), "")
	}
	var out []item
	for _, resource := range resources.Resources() {
		one, err := h.returned(resource, items)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// stream writes objects as one file, each with its index.
func (h *helming) stream(items []item) ([]byte, error) {
	var out []byte
	for i, one := range items {
		overlay(one.fields, "annotations", map[string]string{indexAnnotation: strconv.Itoa(i)})
		text, err := sigsyaml.Marshal(one.fields)
		if err != nil {
			return nil, h.faultAt(one.at.file, one.at.line, "an object cannot be written as YAML", "")
		}
		out = append(append(out, "---\n"...), text...)
	}
	return out, nil
}

// returned is an object that kustomize handed back.
func (h *helming) returned(resource interface{ MarshalJSON() ([]byte, error) }, items []item) (item, error) {
	text, err := marshal(resource)
	var one item
	if err == nil {
		err = json.Unmarshal(text, &one.fields)
	}
	if err != nil {
		return one, h.fault("", "a post-renderer makes what is no object", "")
	}
	metadata, _ := one.fields["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	index, _ := annotations[indexAnnotation].(string)
	if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(items) {
		one.at = items[i].at
	}
	if delete(annotations, indexAnnotation); annotations != nil && len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	return one, nil
}

// nowhere is a tree with nothing in it.
type nowhere struct{}

// Lookup implements Tree.
func (nowhere) Lookup(p string) (model.Entry, bool, error) {
	return model.Entry{Kind: model.DirEntry, Size: -1}, p == "", nil
}

// List implements Tree.
func (nowhere) List(dir string) ([]model.Entry, error) {
	if dir != "" {
		return nil, notThere("list", dir)
	}
	return nil, nil
}

// Read implements Tree.
func (nowhere) Read(p string) ([]byte, error) { return nil, notThere("read", p) }

// Link implements Tree.
func (nowhere) Link(p string) (string, error) { return "", notThere("readlink", p) }
