package argo

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/model"
)

// refName is what a source may be called by others (util/argo GetRefSources).
var refName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

const (
	maxSources = 100
	helpHelm   = "Helm charts come later: keep the chart with Argo CD until then, or deliver manifests"
	helpPlugin = "render with Kustomize, Jsonnet or plain manifests, or commit what the plugin makes"
)

// declared lists the sources of a spec or of an operation's sync: sources goes
// before source, and a hydrator's sync source before both (ApplicationSpec
// GetSources).
func declaredSources(spec node) []node {
	if hydrator := spec.at("sourceHydrator"); hydrator.present() {
		return []node{syncSource(hydrator)}
	}
	if sources := spec.at("sources").items(); len(sources) > 0 {
		return sources
	}
	if source := spec.at("source"); source.present() {
		return []node{source}
	}
	return nil
}

// syncSource is the branch that a hydrator writes to: what is delivered.
func syncSource(hydrator node) node {
	sync, dry := hydrator.at("syncSource"), hydrator.at("drySource")
	repoURL := sync.at("repoURL").str()
	if repoURL == "" {
		repoURL = dry.at("repoURL").str()
	}
	return node{r: hydrator.r, path: sync.path, value: map[string]any{
		"repoURL":        repoURL,
		"path":           sync.at("path").str(),
		"targetRevision": sync.at("targetBranch").str(),
	}}
}

// inputs turns sources into what is rendered, and into the sources that are
// fetched for it. revisions replace the sources' own where they are given.
func (c *compilation) inputs(sources []node, revisions []string) ([]model.Input, []model.Source) {
	if len(sources) > maxSources {
		sources[0].invalid("there are more than %d sources", maxSources)
		return nil, nil
	}
	var inputs []model.Input
	var fetched []model.Source
	refs := map[string]bool{}
	for i, source := range sources {
		revision := source.at("targetRevision").str()
		if i < len(revisions) && revisions[i] != "" {
			revision = revisions[i]
		}
		input, from, ok := c.input(source, revision, len(sources) > 1)
		if !ok {
			continue
		}
		if ref := input.Name; ref != "" {
			if refs[ref] {
				source.at("ref").invalid("there are multiple sources with the same `ref` key: %s", ref)
			}
			refs[ref] = true
		}
		inputs = append(inputs, input)
		fetched = append(fetched, from)
	}
	return inputs, fetched
}

func (c *compilation) input(source node, revision string, several bool) (model.Input, model.Source, bool) {
	repoURL, ref := source.at("repoURL").str(), source.at("ref").str()
	dir, plain := treePath(source.at("path"))
	before := len(source.r.faults)
	switch {
	case repoURL == "":
		source.at("repoURL").invalid("the repository of a source is required")
	case source.at("chart").present():
		source.r.fail(&model.Fault{Reason: reasonNotHandled, Message: source.path + ".chart: Helm sources are not yet handled by Plumb", Advice: helpHelm}, source.path+".chart")
	case !plain:
	case source.at("path").str() == "" && (ref == "" || !several):
		source.invalid("%s.repoURL and either %s.path or %s.chart are required", source.path, source.path, source.path)
	case ref != "" && !refName.MatchString(ref):
		source.at("ref").invalid("sources.ref %s cannot contain any special characters except '_' and '-'", clip(ref, 63))
	}
	if len(source.r.faults) > before {
		return model.Input{}, model.Source{}, false
	}
	source.r.fail(c.project.CheckSource(repoURL), source.path+".repoURL")
	render := readRender(source)
	c.adjust(&render, source)
	render.Environment = c.environment(repoURL, source.at("path").str(), source.at("targetRevision").str())
	from, ok := c.fetched(source, repoURL, revision)
	if !ok || len(source.r.faults) > before {
		return model.Input{}, model.Source{}, false
	}
	if ref != "" && source.at("path").str() == "" {
		render = model.Render{Kind: model.RenderNothing}
	} else {
		render.Overrides = []string{sourceFile, sourceFileOf(c.instance)}
	}
	return model.Input{Source: from.ID, Path: dir, Render: render, Name: ref, URL: repository.Printable(repoURL), Field: source.path}, from, true
}

// fetched is the implied source, with what the project asks of its signatures.
func (c *compilation) fetched(source node, repoURL, revision string) (model.Source, bool) {
	field := source.path + ".repoURL"
	from, _, err := repository.Source(c.facts, c.namespace, repoURL, revision, c.project.Name)
	if err != nil {
		source.r.fail(asFault(err), field)
		return model.Source{}, false
	}
	from = repository.Prefixed(from, source.at("tagPrefix").str())
	verify, fault := c.project.Verify(repoURL, c.facts[project.KeyringNeed(c.namespace)])
	if fault != nil {
		source.r.fail(fault, field)
		return model.Source{}, false
	}
	for _, remark := range repository.Remarks(c.facts, c.namespace, repoURL, c.project.Name) {
		remark.Origin.Declared = c.r.id
		c.note(remark)
	}
	return repository.Verified(from, verify), true
}

// asFault is the error of a room that returns faults.
func asFault(err error) *model.Fault {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault
	}
	return &model.Fault{Reason: reasonComparison, Message: err.Error()}
}

// adjust makes what the installation's settings change of a render.
func (c *compilation) adjust(render *model.Render, source node) {
	off := func(kind model.RenderKind, enabled bool, key string) {
		if render.Kind == kind && !enabled {
			c.r.find(model.Info, reasonDiffers, source.path, "%s is off in argocd-cm: the directory is taken for plain manifests", key)
			render.Kind = model.RenderDirectory
		}
	}
	off(model.RenderKustomize, c.settings.Kustomize, "kustomize.enable")
	off(model.RenderHelm, c.settings.Helm, "helm.enable")
	if render.Kind == model.RenderDetect && !c.settings.Kustomize && !c.settings.Helm {
		render.Kind = model.RenderDirectory
	}
}

// environment is what a render may refer to (docs, "Build Environment"); the
// revision is added by whoever renders.
func (c *compilation) environment(repoURL, dir, revision string) map[string]string {
	return map[string]string{
		"ARGOCD_APP_NAME":                   c.instance,
		"ARGOCD_APP_NAMESPACE":              c.place.Namespace,
		"ARGOCD_APP_PROJECT_NAME":           c.project.Name,
		"ARGOCD_APP_SOURCE_REPO_URL":        repository.Printable(repoURL),
		"ARGOCD_APP_SOURCE_PATH":            dir,
		"ARGOCD_APP_SOURCE_TARGET_REVISION": revision,
	}
}

// treePath is a directory in the tree, "" for the root.
func treePath(field node) (string, bool) {
	text := field.str()
	cleaned := path.Clean(strings.ReplaceAll(text, "\\", "/"))
	switch {
	case path.IsAbs(text):
		field.invalid("app path is absolute")
		return "", false
	case cleaned == ".." || strings.HasPrefix(cleaned, "../"):
		field.invalid("app path outside root")
		return "", false
	case cleaned == ".":
		return "", true
	}
	return cleaned, true
}

// readRender reads how a directory is rendered. A tool is named by the options
// that are set for it; several are a fault (ApplicationSource ExplicitType).
func readRender(source node) model.Render {
	kustomize, directory, helm, plugin := source.at("kustomize"), source.at("directory"), source.at("helm"), source.at("plugin")
	render := model.Render{Kind: model.RenderDetect, Kustomize: kustomizeOptions(kustomize), Directory: directoryOptions(directory)}
	var named []string
	name := func(tool string, kind model.RenderKind, is bool) {
		if is {
			named = append(named, tool)
			render.Kind = kind
		}
	}
	name("Kustomize", model.RenderKustomize, kustomizeNamed(kustomize))
	name("Helm", model.RenderHelm, !emptyValue(helm.fields()))
	name("Directory", model.RenderDirectory, directoryNamed(render.Directory))
	if plugin.present() {
		source.r.fail(&model.Fault{Reason: reasonNotHandled, Message: plugin.path + ": config management plugins are not supported by Plumb", Advice: helpPlugin}, plugin.path)
	}
	if len(named) > 1 {
		source.invalid("multiple application sources defined: %s", strings.Join(named, ","))
	}
	return render
}

// emptyValue reports whether a value holds nothing but empty values.
func emptyValue(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case bool:
		return !value
	case []any:
		return len(value) == 0
	case map[string]any:
		for _, inner := range value {
			if !emptyValue(inner) {
				return false
			}
		}
		return true
	}
	return false
}

// kustomizeNamed is ApplicationSourceKustomize IsZero: options that only say
// how others are meant name no tool.
func kustomizeNamed(kustomize node) bool {
	fields := kustomize.fields()
	for _, name := range []string{
		"namePrefix", "nameSuffix", "version", "namespace", "images", "replicas", "commonLabels",
		"commonAnnotations", "patches", "components", "kubeVersion", "apiVersions", "ignoreMissingComponents",
	} {
		if !emptyValue(fields[name]) {
			return true
		}
	}
	return false
}

// directoryNamed is ApplicationSourceDirectory IsZero.
func directoryNamed(d model.DirectoryOptions) bool {
	j := d.Jsonnet
	return d.Recurse || d.AnyExtension || len(j.ExtVars) > 0 || len(j.TLAs) > 0 || len(j.Libs) > 0
}

func kustomizeOptions(kustomize node) model.KustomizeOptions {
	out := model.KustomizeOptions{
		Namespace:               kustomize.at("namespace").str(),
		NamePrefix:              kustomize.at("namePrefix").str(),
		NameSuffix:              kustomize.at("nameSuffix").str(),
		CommonLabels:            kustomize.at("commonLabels").stringMap(),
		CommonAnnotations:       kustomize.at("commonAnnotations").stringMap(),
		Components:              kustomize.at("components").strings(),
		IgnoreMissingComponents: kustomize.at("ignoreMissingComponents").bool(),
		ImageLines:              kustomize.at("images").strings(),
		SelectorLabels:          !kustomize.at("labelWithoutSelector").bool(),
		TemplateLabels:          kustomize.at("labelIncludeTemplates").bool(),
		ForceLabels:             kustomize.at("forceCommonLabels").bool(),
		ForceAnnotations:        kustomize.at("forceCommonAnnotations").bool(),
		EnvsubstAnnotations:     kustomize.at("commonAnnotationsEnvsubst").bool(),
		Version:                 kustomize.at("version").str(),
	}
	for _, item := range kustomize.at("replicas").items() {
		out.Replicas = append(out.Replicas, model.Replicas{Name: item.at("name").str(), Count: item.at("count").count()})
	}
	for _, item := range kustomize.at("patches").items() {
		out.Patches = append(out.Patches, patchOf(item))
	}
	return out
}

func patchOf(item node) model.Patch {
	patch := model.Patch{Patch: item.at("patch").str(), Path: item.at("path").str()}
	if (patch.Patch == "") == (patch.Path == "") {
		item.invalid("exactly one of patch and path must be given")
	}
	options := item.at("options")
	patch.AllowNameChange = options.at("allowNameChange").bool()
	patch.AllowKindChange = options.at("allowKindChange").bool()
	if target := item.at("target"); target.present() {
		patch.Target = &model.Selector{
			Group:              target.at("group").str(),
			Version:            target.at("version").str(),
			Kind:               target.at("kind").str(),
			Namespace:          target.at("namespace").str(),
			Name:               target.at("name").str(),
			LabelSelector:      target.at("labelSelector").str(),
			AnnotationSelector: target.at("annotationSelector").str(),
		}
	}
	return patch
}

func directoryOptions(directory node) model.DirectoryOptions {
	jsonnet := directory.at("jsonnet")
	return model.DirectoryOptions{
		Recurse:      directory.at("recurse").bool(),
		Include:      directory.at("include").str(),
		Exclude:      directory.at("exclude").str(),
		AnyExtension: directory.at("disableExtensionFilter").bool(),
		Jsonnet: model.JsonnetOptions{
			ExtVars: jsonnetVars(jsonnet.at("extVars")),
			TLAs:    jsonnetVars(jsonnet.at("tlas")),
			Libs:    jsonnet.at("libs").strings(),
		},
	}
}

func jsonnetVars(list node) []model.JsonnetVar {
	var out []model.JsonnetVar
	for _, item := range list.items() {
		out = append(out, model.JsonnetVar{Name: item.at("name").str(), Value: item.at("value").str(), Code: item.at("code").bool()})
	}
	return out
}

// sourceFile and sourceFileOf are the files that change a source from within
// its directory (reposerver, mergeSourceParameters).
const sourceFile = ".argocd-source.yaml"

func sourceFileOf(instance string) string { return fmt.Sprintf(".argocd-source-%s.yaml", instance) }
