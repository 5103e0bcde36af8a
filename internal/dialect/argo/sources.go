package argo

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// refName is what a source may be called by others (util/argo GetRefSources).
var refName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

const (
	maxSources = 100
	helpPlugin = "render with Kustomize, Jsonnet or plain manifests, or commit what the plugin makes"
)

// declared lists the sources of a spec or of an operation's sync: sources goes
// before source, and a hydrator's sync source before both (ApplicationSpec
// GetSources).
func declaredSources(spec node) []node {
	if hydrator := spec.At("sourceHydrator"); hydrator.Present() {
		return []node{syncSource(hydrator)}
	}
	if sources := spec.At("sources").Items(); len(sources) > 0 {
		return sources
	}
	if source := spec.At("source"); source.Present() {
		return []node{source}
	}
	return nil
}

// syncSource is the branch that a hydrator writes to: what is delivered.
func syncSource(hydrator node) node {
	sync, dry := hydrator.At("syncSource"), hydrator.At("drySource")
	repoURL := sync.At("repoURL").Str()
	if repoURL == "" {
		repoURL = dry.At("repoURL").Str()
	}
	return hydrator.R.Root(sync.Path, map[string]any{
		"repoURL":        repoURL,
		"path":           sync.At("path").Str(),
		"targetRevision": sync.At("targetBranch").Str(),
	})
}

// inputs turns sources into what is rendered, and into the sources that are
// fetched for it. revisions replace the sources' own where they are given.
func (c *compilation) inputs(sources []node, revisions []string) ([]model.Input, []model.Source) {
	if len(sources) > maxSources {
		sources[0].Invalid("there are more than %d sources", maxSources)
		return nil, nil
	}
	var inputs []model.Input
	var fetched []model.Source
	refs := map[string]bool{}
	for i, source := range sources {
		revision := source.At("targetRevision").Str()
		if i < len(revisions) && revisions[i] != "" {
			revision = revisions[i]
		}
		input, from, ok := c.input(source, revision, len(sources) > 1)
		if !ok {
			continue
		}
		if ref := input.Name; ref != "" {
			if refs[ref] {
				source.At("ref").Invalid("there are multiple sources with the same `ref` key: %s", ref)
			}
			refs[ref] = true
		}
		inputs = append(inputs, input)
		fetched = append(fetched, from)
	}
	return inputs, fetched
}

func (c *compilation) input(source node, revision string, several bool) (model.Input, model.Source, bool) {
	repoURL, ref, chart := source.At("repoURL").Str(), source.At("ref").Str(), source.At("chart").Str()
	dir, plain := "", true
	if chart == "" {
		dir, plain = treePath(source.At("path"))
	}
	pathless := chart == "" && source.At("path").Str() == ""
	before := len(source.R.Faults)
	switch {
	case repoURL == "":
		source.At("repoURL").Invalid("the repository of a source is required")
	case chart != "" && revision == "":
		source.At("targetRevision").Invalid("spec.source.targetRevision is required if the manifest source is a helm chart")
	case !plain:
	case pathless && (ref == "" || !several):
		source.Invalid("%s.repoURL and either %s.path or %s.chart are required", source.Path, source.Path, source.Path)
	case ref != "" && !refName.MatchString(ref):
		source.At("ref").Invalid("sources.ref %s cannot contain any special characters except '_' and '-'", reader.Clip(ref, 63))
	}
	if len(source.R.Faults) > before {
		return model.Input{}, model.Source{}, false
	}
	source.R.Fail(c.project.CheckSource(repoURL), source.Path+".repoURL")
	render := c.render(source, chart != "")
	from, ok := c.fetched(source, revision)
	if !ok || len(source.R.Faults) > before {
		return model.Input{}, model.Source{}, false
	}
	input := model.Input{Source: from.ID, Path: dir, Render: render, Name: ref, URL: repository.Printable(repoURL), Field: source.Path}
	if ref != "" && pathless {
		input.Render = model.Render{Kind: model.RenderNothing}
	} else {
		input.Render.Overrides = []string{sourceFile, sourceFileOf(c.instance)}
		input.Charts = c.places(source, &render)
	}
	return input, from, true
}

// render is how a source is rendered: as it says, as the installation allows,
// with what the Application adds.
func (c *compilation) render(source node, chart bool) model.Render {
	render := readRender(source)
	if chart {
		render.Helm.Packaged = true
		if render.Kind == model.RenderDetect {
			render.Kind = model.RenderHelm
		}
	}
	c.adjust(&render, source)
	render.Environment = c.environment(source.At("repoURL").Str(), source.At("path").Str(), source.At("targetRevision").Str())
	render.Kustomize.EnableHelm = c.settings.KustomizeHelm
	render.Kustomize.RemoteBases = c.choices.RemoteBases
	render.Decryption = c.decryption
	c.helmed(&render)
	return render
}

// fetched is the implied source, with what the project asks of its signatures,
// which are those of Git.
func (c *compilation) fetched(source node, revision string) (model.Source, bool) {
	repoURL, field := source.At("repoURL").Str(), source.Path+".repoURL"
	var from model.Source
	var err error
	switch chart := source.At("chart").Str(); {
	case chart != "":
		from, _, err = repository.Chart(c.facts, c.namespace, repository.Wanted{
			RepoURL: repoURL, Chart: chart, Version: revision, Project: c.project.Name,
			PassCredentials: source.At("helm").At("passCredentials").Bool(),
		})
	case repository.InRegistry(repoURL):
		from, _, err = repository.Artifact(c.facts, c.namespace, repoURL, revision, c.project.Name)
	default:
		return c.fromGit(source, revision)
	}
	if err != nil {
		source.R.Fail(asFault(err), field)
		return model.Source{}, false
	}
	return from, true
}

func (c *compilation) fromGit(source node, revision string) (model.Source, bool) {
	repoURL, field := source.At("repoURL").Str(), source.Path+".repoURL"
	from, _, err := repository.Source(c.facts, c.namespace, repoURL, revision, c.project.Name)
	if err != nil {
		source.R.Fail(asFault(err), field)
		return model.Source{}, false
	}
	from = repository.Prefixed(from, source.At("tagPrefix").Str())
	verify, fault := c.project.Verify(repoURL, c.facts[project.KeyringNeed(c.namespace)])
	if fault != nil {
		source.R.Fail(fault, field)
		return model.Source{}, false
	}
	for _, remark := range repository.Remarks(c.facts, c.namespace, repoURL, c.project.Name) {
		remark.Origin.Declared = c.r.ID
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
			c.r.Find(model.Info, reasonDiffers, source.Path, "%s is off in argocd-cm: the directory is taken for plain manifests", key)
			render.Kind = model.RenderDirectory
		}
	}
	off(model.RenderKustomize, c.settings.Kustomize, "kustomize.enable")
	off(model.RenderHelm, c.settings.Helm, "helm.enable")
	render.NoKustomize, render.NoHelm, render.Directory.Jsonnet.Off = !c.settings.Kustomize, !c.settings.Helm, !c.settings.Directory
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
	text := field.Str()
	cleaned := path.Clean(strings.ReplaceAll(text, "\\", "/"))
	switch {
	case path.IsAbs(text):
		field.Invalid("app path is absolute")
		return "", false
	case cleaned == ".." || strings.HasPrefix(cleaned, "../"):
		field.Invalid("app path outside root")
		return "", false
	case cleaned == ".":
		return "", true
	}
	return cleaned, true
}

// readRender reads how a directory is rendered. A tool is named by the options
// that are set for it; several are a fault (ApplicationSource ExplicitType).
func readRender(source node) model.Render {
	kustomize, directory, helm, plugin := source.At("kustomize"), source.At("directory"), source.At("helm"), source.At("plugin")
	render := model.Render{Kind: model.RenderDetect, Kustomize: kustomizeOptions(kustomize), Directory: directoryOptions(directory), Helm: helmOptions(helm)}
	var named []string
	name := func(tool string, kind model.RenderKind, is bool) {
		if is {
			named = append(named, tool)
			render.Kind = kind
		}
	}
	name("Kustomize", model.RenderKustomize, kustomizeNamed(kustomize))
	name("Helm", model.RenderHelm, helmNamed(helm))
	name("Directory", model.RenderDirectory, directoryNamed(render.Directory))
	if plugin.Present() {
		source.R.Fail(&model.Fault{Reason: reasonNotHandled, Message: plugin.Path + ": config management plugins are not supported by Plumb", Advice: helpPlugin}, plugin.Path)
	}
	if len(named) > 1 {
		source.Invalid("multiple application sources defined: %s", strings.Join(named, ","))
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
	fields := kustomize.Fields()
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
		Namespace:               kustomize.At("namespace").Str(),
		NamePrefix:              kustomize.At("namePrefix").Str(),
		NameSuffix:              kustomize.At("nameSuffix").Str(),
		CommonLabels:            kustomize.At("commonLabels").StringMap(),
		CommonAnnotations:       kustomize.At("commonAnnotations").StringMap(),
		Components:              kustomize.At("components").Strings(),
		IgnoreMissingComponents: kustomize.At("ignoreMissingComponents").Bool(),
		ImageLines:              kustomize.At("images").Strings(),
		SelectorLabels:          !kustomize.At("labelWithoutSelector").Bool(),
		TemplateLabels:          kustomize.At("labelIncludeTemplates").Bool(),
		ForceLabels:             kustomize.At("forceCommonLabels").Bool(),
		ForceAnnotations:        kustomize.At("forceCommonAnnotations").Bool(),
		EnvsubstAnnotations:     kustomize.At("commonAnnotationsEnvsubst").Bool(),
		Version:                 kustomize.At("version").Str(),
		KubeVersion:             kustomize.At("kubeVersion").Str(),
		APIVersions:             kustomize.At("apiVersions").Strings(),
	}
	for _, item := range kustomize.At("replicas").Items() {
		out.Replicas = append(out.Replicas, model.Replicas{Name: item.At("name").Str(), Count: count(item.At("count"))})
	}
	for _, item := range kustomize.At("patches").Items() {
		out.Patches = append(out.Patches, patchOf(item))
	}
	return out
}

func patchOf(item node) model.Patch {
	patch := model.Patch{Patch: item.At("patch").Str(), Path: item.At("path").Str()}
	if (patch.Patch == "") == (patch.Path == "") {
		item.Invalid("exactly one of patch and path must be given")
	}
	options := item.At("options")
	patch.AllowNameChange = options.At("allowNameChange").Bool()
	patch.AllowKindChange = options.At("allowKindChange").Bool()
	patch.Target = item.At("target").Selector()
	return patch
}

func directoryOptions(directory node) model.DirectoryOptions {
	jsonnet := directory.At("jsonnet")
	return model.DirectoryOptions{
		Recurse:      directory.At("recurse").Bool(),
		Include:      directory.At("include").Str(),
		Exclude:      directory.At("exclude").Str(),
		AnyExtension: directory.At("disableExtensionFilter").Bool(),
		Jsonnet: model.JsonnetOptions{
			ExtVars: jsonnetVars(jsonnet.At("extVars")),
			TLAs:    jsonnetVars(jsonnet.At("tlas")),
			Libs:    jsonnet.At("libs").Strings(),
		},
	}
}

func jsonnetVars(list node) []model.JsonnetVar {
	var out []model.JsonnetVar
	for _, item := range list.Items() {
		out = append(out, model.JsonnetVar{Name: item.At("name").Str(), Value: item.At("value").Str(), Code: item.At("code").Bool()})
	}
	return out
}

// sourceFile and sourceFileOf are the files that change a source from within
// its directory (reposerver, mergeSourceParameters).
const sourceFile = ".argocd-source.yaml"

func sourceFileOf(instance string) string { return fmt.Sprintf(".argocd-source-%s.yaml", instance) }
