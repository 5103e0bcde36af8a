package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// parameterList gathers parameters, without secrets.
type parameterList []*plumbv1.Parameter

// add takes a parameter that says something; one whose name is secret is masked.
func (l *parameterList) add(name, value string) {
	if value != "" && sensitive(name) {
		value = object.Mask
	}
	l.clean(name, value)
}

// clean takes a parameter whose value has been masked where it had to be.
func (l *parameterList) clean(name, value string) {
	if value != "" {
		*l = append(*l, &plumbv1.Parameter{Name: name, Value: object.WithoutCredentials(value)})
	}
}

// parameters are what a render is given: of each source its path and options, and
// the values of its chart as they are declared. manifest is the declared object
// as it is shown, with secrets masked: what a release reads from Secrets is named
// and not told.
func parameters(d *model.Delivery, manifest string) []*plumbv1.Parameter {
	var out parameterList
	for i := range d.Inputs {
		in, prefix := &d.Inputs[i], ""
		if len(d.Inputs) > 1 {
			prefix = in.Field + ": "
		}
		out.add(prefix+"path", in.Path)
		out.substitution(prefix, in.Render.Substitution)
		out.kustomize(prefix, &in.Render.Kustomize)
	}
	var declared struct {
		Spec map[string]any `json:"spec"`
	}
	if yaml.Unmarshal([]byte(manifest), &declared) == nil {
		out.release(declared.Spec)
		out.sources(declared.Spec)
	}
	return out
}

func (l *parameterList) substitution(prefix string, sub *model.Substitution) {
	if sub == nil {
		return
	}
	for _, name := range sortedKeys(sub.Inline) {
		l.add(prefix+"postBuild.substitute."+name, sub.Inline[name])
	}
	for _, from := range sub.From {
		l.clean(prefix+"postBuild.substituteFrom", from.Need.String())
	}
}

func (l *parameterList) kustomize(prefix string, k *model.KustomizeOptions) {
	l.add(prefix+"kustomize.namespace", k.Namespace)
	l.add(prefix+"kustomize.namePrefix", k.NamePrefix)
	l.add(prefix+"kustomize.nameSuffix", k.NameSuffix)
	l.add(prefix+"kustomize.components", strings.Join(k.Components, ", "))
	for _, image := range k.Images {
		l.clean(prefix+"kustomize.images."+image.Name, strings.Trim(cmp.Or(image.NewName, image.Name)+":"+image.NewTag+image.Digest, ":"))
	}
	for _, image := range k.ImageLines {
		l.clean(prefix+"kustomize.images", image)
	}
	for _, replicas := range k.Replicas {
		l.clean(prefix+"kustomize.replicas."+replicas.Name, fmt.Sprint(replicas.Count))
	}
}

// release is what a HelmRelease says of its values.
func (l *parameterList) release(spec map[string]any) {
	l.clean("helm.releaseName", text(spec, "releaseName"))
	files, _, _ := unstructured.NestedStringSlice(spec, "chart", "spec", "valuesFiles")
	l.clean("helm.valuesFiles", strings.Join(files, ", "))
	for _, from := range items(spec["valuesFrom"]) {
		words := []string{text(from, "kind"), text(from, "name")}
		if key := text(from, "valuesKey"); key != "" {
			words = append(words, "key", key)
		}
		if path := text(from, "targetPath"); path != "" {
			words = append(words, "at", path)
		}
		l.clean("helm.valuesFrom", strings.Join(words, " "))
	}
	l.clean("helm.values", written(spec["values"]))
}

// sources is what an Application says of the charts, Jsonnet files and plugins of
// its sources.
func (l *parameterList) sources(spec map[string]any) {
	if one, ok := spec["source"].(map[string]any); ok {
		l.source("", one)
	}
	for i, source := range items(spec["sources"]) {
		l.source(fmt.Sprintf("spec.sources[%d]: ", i), source)
	}
}

func (l *parameterList) source(prefix string, source map[string]any) {
	helm, _ := source["helm"].(map[string]any)
	l.clean(prefix+"helm.releaseName", text(helm, "releaseName"))
	files, _, _ := unstructured.NestedStringSlice(helm, "valueFiles")
	l.clean(prefix+"helm.valueFiles", strings.Join(files, ", "))
	l.pairs(prefix+"helm.parameters.", helm["parameters"], "value")
	l.pairs(prefix+"helm.fileParameters.", helm["fileParameters"], "path")
	l.clean(prefix+"helm.values", cmp.Or(written(helm["valuesObject"]), text(helm, "values")))
	for _, kind := range []string{"extVars", "tlas"} {
		variables, _, _ := unstructured.NestedSlice(source, "directory", "jsonnet", kind)
		l.pairs(prefix+"jsonnet."+kind+".", variables, "value")
	}
	plugin, _ := source["plugin"].(map[string]any)
	l.pairs(prefix+"plugin.env.", plugin["env"], "value")
}

// pairs are items with a name and what is in a field. What is nested below a name
// that is secret is masked with it.
func (l *parameterList) pairs(prefix string, list any, field string) {
	for _, item := range items(list) {
		name, value := text(item, "name"), text(item, field)
		if field == "value" {
			value = shownSetting(name, value)
		}
		l.clean(prefix+name, value)
	}
}

// given are the parameters of the generator that made an Application, for those
// who may see its ApplicationSet. What a cluster is labelled with is for those who
// may see clusters.
func (s *Server) given(ctx context.Context, w *World, caller *access.Caller, id object.ID) []*plumbv1.Parameter {
	set, ok := w.Engine.OwnerOf(id)
	if !ok || set.Kind != "ApplicationSet" || !caller.May(ctx, policy.Get, s.target(rows.Ref(set, ""))).Allowed {
		return nil
	}
	clusters := caller.MayUse(policy.Clusters, policy.Get, "*").Allowed
	return generated(w.Engine.Given(set, id), clusters)
}

func generated(given []byte, clusters bool) []*plumbv1.Parameter {
	var texts map[string]string
	if json.Unmarshal(given, &texts) != nil {
		return nil
	}
	var out parameterList
	for _, name := range sortedKeys(texts) {
		if clusters || !strings.HasPrefix(name, "metadata.") {
			out.clean("generator."+name, shownSetting(name, texts[name]))
		}
	}
	return out
}

func items(list any) []map[string]any {
	all, _ := list.([]any)
	out := make([]map[string]any, 0, len(all))
	for _, item := range all {
		if fields, ok := item.(map[string]any); ok {
			out = append(out, fields)
		}
	}
	return out
}

func text(fields map[string]any, name string) string {
	value, _ := fields[name].(string)
	return value
}

// written is a tree as YAML; "" for one that is empty.
func written(tree any) string {
	if fields, ok := tree.(map[string]any); !ok || len(fields) == 0 {
		return ""
	}
	out, err := yaml.Marshal(tree)
	if err != nil {
		return ""
	}
	return string(out)
}
