package argo

import (
	"fmt"
	"maps"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// maxOverride bounds a file that changes a source.
const maxOverride = 1 << 20

// Override merges a file of the directory into how it is rendered, as a JSON
// merge patch over the fields of a source (reposerver, mergeSourceParameters):
// maps are merged, null removes, lists are replaced. Where a source comes from
// cannot be changed so, nor what its credentials are for, and a plugin is as it
// is in a spec.
func (Argo) Override(render model.Render, file string, content []byte) (model.Render, error) {
	refuse := func(format string, args ...any) error {
		return &model.Fault{
			Reason:  reasonComparison,
			Message: "error while parsing source parameters: " + fmt.Sprintf(format, args...),
			Advice:  "correct " + file,
			Origin:  model.Origin{Dialect: Name, File: file},
		}
	}
	if len(content) > maxOverride {
		return render, refuse("%s is longer than %d bytes", file, maxOverride)
	}
	var patch any
	if err := yaml.Unmarshal(content, &patch); err != nil {
		return render, refuse("%s is not YAML: %s", file, reader.Clip(err.Error(), 300))
	}
	if patch == nil {
		return render, nil
	}
	fields, ok := patch.(map[string]any)
	if !ok {
		return render, refuse("%s must hold the fields of a source", file)
	}
	merged := merge(sourceFields(render), fields)
	r := newReader(object.ID{})
	next := readRender(r.Root(file, merged))
	if fault := r.First(); fault != nil {
		fault.Origin = model.Origin{Dialect: Name, File: file}
		fault.Reason = reasonComparison
		return render, fault
	}
	if next.Kind == model.RenderDetect && render.Kind == model.RenderDirectory {
		next.Kind = render.Kind // settled by the installation's settings
	}
	if next.Kind == model.RenderDetect && render.Helm.Packaged {
		next.Kind = model.RenderHelm
	}
	next.Environment, next.Overrides, next.Substitution, next.Decryption = render.Environment, render.Overrides, render.Substitution, render.Decryption
	next.Kustomize.EnableHelm, next.Kustomize.RemoteBases = render.Kustomize.EnableHelm, render.Kustomize.RemoteBases
	next.NoKustomize, next.NoHelm, next.Directory.Jsonnet.Off = render.NoKustomize, render.NoHelm, render.Directory.Jsonnet.Off
	installed := render.Helm
	next.Helm = withRelease(next.Helm, render.Environment)
	next.Helm.KnownAPIs, next.Helm.Schemes, next.Helm.Live, next.Helm.Packaged = installed.KnownAPIs, installed.Schemes, installed.Live, installed.Packaged
	return next, nil
}

// merge is a JSON merge patch (RFC 7386).
func merge(into map[string]any, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(out, key)
		case map[string]any:
			inner, _ := out[key].(map[string]any)
			out[key] = merge(inner, value)
		default:
			out[key] = value
		}
	}
	return out
}

// sourceFields writes a render in the fields of a source.
func sourceFields(render model.Render) map[string]any {
	out := map[string]any{}
	if render.Kind == model.RenderHelm {
		helm := helmFields(withoutRelease(render.Helm, render.Environment))
		if len(helm) == 0 && !render.Helm.Packaged { // named by an option that plays no part here
			helm["releaseName"] = render.Helm.ReleaseName
		}
		put(out, "helm", helm)
	}
	if kustomize := kustomizeFields(render.Kustomize); len(kustomize) > 0 {
		out["kustomize"] = kustomize
	}
	if directory := directoryFields(render.Directory); len(directory) > 0 {
		out["directory"] = directory
	}
	return out
}

// put sets what is not empty.
func put(into map[string]any, name string, value any) {
	if !emptyValue(value) {
		into[name] = value
	}
}

func kustomizeFields(k model.KustomizeOptions) map[string]any {
	out := map[string]any{}
	put(out, "namespace", k.Namespace)
	put(out, "namePrefix", k.NamePrefix)
	put(out, "nameSuffix", k.NameSuffix)
	put(out, "commonLabels", anyMap(k.CommonLabels))
	put(out, "commonAnnotations", anyMap(k.CommonAnnotations))
	put(out, "components", anyList(k.Components))
	put(out, "ignoreMissingComponents", k.IgnoreMissingComponents)
	put(out, "images", anyList(k.ImageLines))
	put(out, "labelWithoutSelector", !k.SelectorLabels)
	put(out, "labelIncludeTemplates", k.TemplateLabels)
	put(out, "forceCommonLabels", k.ForceLabels)
	put(out, "forceCommonAnnotations", k.ForceAnnotations)
	put(out, "commonAnnotationsEnvsubst", k.EnvsubstAnnotations)
	put(out, "version", k.Version)
	put(out, "kubeVersion", k.KubeVersion)
	put(out, "apiVersions", anyList(k.APIVersions))
	var replicas, patches []any
	for _, r := range k.Replicas {
		replicas = append(replicas, map[string]any{"name": r.Name, "count": r.Count})
	}
	for _, p := range k.Patches {
		patches = append(patches, patchFields(p))
	}
	put(out, "replicas", replicas)
	put(out, "patches", patches)
	return out
}

func patchFields(p model.Patch) map[string]any {
	out, options := map[string]any{}, map[string]any{}
	put(out, "patch", p.Patch)
	put(out, "path", p.Path)
	put(options, "allowNameChange", p.AllowNameChange)
	put(options, "allowKindChange", p.AllowKindChange)
	put(out, "options", options)
	if t := p.Target; t != nil {
		target := map[string]any{}
		for name, value := range map[string]string{
			"group": t.Group, "version": t.Version, "kind": t.Kind, "namespace": t.Namespace, "name": t.Name,
			"labelSelector": t.LabelSelector, "annotationSelector": t.AnnotationSelector,
		} {
			put(target, name, value)
		}
		out["target"] = target
	}
	return out
}

func directoryFields(d model.DirectoryOptions) map[string]any {
	out, jsonnet := map[string]any{}, map[string]any{}
	put(out, "recurse", d.Recurse)
	put(out, "include", d.Include)
	put(out, "exclude", d.Exclude)
	put(out, "disableExtensionFilter", d.AnyExtension)
	put(jsonnet, "extVars", varFields(d.Jsonnet.ExtVars))
	put(jsonnet, "tlas", varFields(d.Jsonnet.TLAs))
	put(jsonnet, "libs", anyList(d.Jsonnet.Libs))
	put(out, "jsonnet", jsonnet)
	return out
}

func varFields(vars []model.JsonnetVar) []any {
	var out []any
	for _, v := range vars {
		out = append(out, map[string]any{"name": v.Name, "value": v.Value, "code": v.Code})
	}
	return out
}

func anyList(list []string) []any {
	var out []any
	for _, item := range list {
		out = append(out, item)
	}
	return out
}

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range m {
		out[key] = value
	}
	return out
}
