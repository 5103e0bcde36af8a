package argo

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/model"
)

// helmNamed is ApplicationSourceHelm IsZero.
func helmNamed(helm node) bool { return !emptyValue(helm.Fields()) }

// helmOptions reads what a source says of its chart (reposerver/repository,
// helmTemplate). Who may read files from where, and what the target is, comes
// with the installation.
func helmOptions(helm node) model.HelmOptions {
	out := model.HelmOptions{
		ReleaseName:             helm.At("releaseName").Str(),
		Namespace:               helm.At("namespace").Str(),
		ValueFiles:              helm.At("valueFiles").Strings(),
		IgnoreMissingValueFiles: helm.At("ignoreMissingValueFiles").Bool(),
		SkipCRDs:                helm.At("skipCrds").Bool(),
		SkipSchema:              helm.At("skipSchemaValidation").Bool(),
		SkipTests:               helm.At("skipTests").Bool(),
		KubeVersion:             helm.At("kubeVersion").Str(),
		APIVersions:             helm.At("apiVersions").Strings(),
		Version:                 helm.At("version").Str(),
	}
	switch out.Version {
	case "", "v3", "v4":
	default:
		helm.At("version").Invalid("helm version '%s' is not supported", out.Version)
	}
	values := []byte(helm.At("values").Str())
	if object := helm.At("valuesObject"); object.Present() {
		written, err := json.Marshal(object.Fields())
		if err != nil {
			object.Invalid("cannot be written as JSON")
		}
		values, out.ValuesObject = written, true
	}
	if len(values) > 0 {
		sum := sha256.Sum256(values)
		out.Values, out.ValuesDigest = model.NewSecret(values), "sha256:"+hex.EncodeToString(sum[:])
	}
	for _, item := range helm.At("parameters").Items() {
		out.Parameters = append(out.Parameters, model.HelmParameter{
			Name: item.At("name").Str(), Value: item.At("value").Str(), String: item.At("forceString").Bool(),
		})
	}
	for _, item := range helm.At("fileParameters").Items() {
		out.Parameters = append(out.Parameters, model.HelmParameter{Name: item.At("name").Str(), Value: item.At("path").Str(), File: true})
	}
	return out
}

// helmFields writes the options in the fields of a source.
func helmFields(h model.HelmOptions) map[string]any {
	out := map[string]any{}
	put(out, "releaseName", h.ReleaseName)
	put(out, "namespace", h.Namespace)
	put(out, "valueFiles", anyList(h.ValueFiles))
	put(out, "ignoreMissingValueFiles", h.IgnoreMissingValueFiles)
	put(out, "skipCrds", h.SkipCRDs)
	put(out, "skipSchemaValidation", h.SkipSchema)
	put(out, "skipTests", h.SkipTests)
	put(out, "kubeVersion", h.KubeVersion)
	put(out, "apiVersions", anyList(h.APIVersions))
	put(out, "version", h.Version)
	if h.ValuesObject {
		var object map[string]any
		if json.Unmarshal(h.Values.Reveal(), &object) == nil && object != nil {
			out["valuesObject"] = object
		}
	} else {
		put(out, "values", string(h.Values.Reveal()))
	}
	var parameters, files []any
	for _, p := range h.Parameters {
		one := map[string]any{"name": p.Name}
		if p.File {
			files = append(files, one)
			one["path"] = p.Value
			continue
		}
		parameters = append(parameters, one)
		one["value"] = p.Value
		put(one, "forceString", p.String)
	}
	put(out, "parameters", parameters)
	put(out, "fileParameters", files)
	return out
}

// withRelease names the release after the Application and places it in the
// destination's namespace, where the source says nothing else.
func withRelease(h model.HelmOptions, environment map[string]string) model.HelmOptions {
	release, namespace := releaseOf(environment)
	if h.ReleaseName == "" {
		h.ReleaseName = release
	}
	if h.Namespace == "" {
		h.Namespace = namespace
	}
	return h
}

// withoutRelease takes away what withRelease adds.
func withoutRelease(h model.HelmOptions, environment map[string]string) model.HelmOptions {
	release, namespace := releaseOf(environment)
	if h.ReleaseName == release {
		h.ReleaseName = ""
	}
	if h.Namespace == namespace {
		h.Namespace = ""
	}
	return h
}

// releaseOf is the name of the Application, without the namespace before it,
// and the namespace of the destination (helmTemplate, ParseInstanceName).
func releaseOf(environment map[string]string) (name, namespace string) {
	name = environment["ARGOCD_APP_NAME"]
	if _, after, apart := strings.Cut(name, "_"); apart {
		name = after
	}
	return name, environment["ARGOCD_APP_NAMESPACE"]
}

// helmed adds what the installation and the Application as a whole say of how
// charts are rendered.
func (c *compilation) helmed(render *model.Render) {
	h := withRelease(render.Helm, render.Environment)
	h.KnownAPIs = true // as with helm template
	h.Schemes = c.settings.ValuesFileSchemes
	h.Live = c.declared.GetAnnotations()[AnnotationLookup] == "true"
	render.Helm = h
}

// places are where charts may be had from that the directory depends on.
func (c *compilation) places(source node, render *model.Render) []model.ChartPlace {
	charts := render.Kind == model.RenderHelm || render.Kind == model.RenderDetect || render.Kind == model.RenderKustomize && render.Kustomize.EnableHelm
	if !charts || c.settled {
		return nil
	}
	permitted := func(repoURL string) bool { return c.project.CheckSource(repoURL) == nil }
	return repository.Places(c.facts, c.namespace, c.project.Name, source.At("helm").At("passCredentials").Bool(), permitted)
}
