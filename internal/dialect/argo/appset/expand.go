package appset

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Expand makes the Applications of a set, by name, or asks what it has to know
// first. Errors are faults: with reason ApplicationGenerationFromParamsError
// when a generator failed, RenderTemplateParamsError when a template did, and
// ApplicationValidationError when names are missing, invalid or not unique.
func (r Room) Expand(declared *unstructured.Unstructured, facts model.Facts, answers map[string]model.Answer, settings dialect.Settings) ([]model.Rendered, []model.Question, []model.Finding, error) {
	set, _, err := read(declared)
	if err != nil {
		return nil, nil, nil, err
	}
	namespace := argoNamespace(settings)
	options, err := settled(facts, namespace)
	if err != nil {
		return nil, nil, nil, set.fault(reasonParamsError, "spec.generators", err)
	}
	e := &expansion{
		room: r, set: set, facts: facts, answers: answers, namespace: namespace, options: options,
		render: newRenderer(set.spec.GoTemplate, set.spec.GoTemplateOptions),
	}
	sets, err := e.generators()
	if err != nil {
		return nil, nil, e.findings, err
	}
	if len(e.questions) > 0 {
		return nil, e.questions, e.findings, nil
	}
	apps, err := e.applications(sets)
	if err != nil {
		return nil, nil, e.findings, err
	}
	e.remarks(apps)
	rendered, err := e.rendered(apps)
	if err != nil {
		return nil, nil, e.findings, err
	}
	return rendered, nil, e.findings, nil
}

// generators evaluates all of them, so that every question is asked at once.
func (e *expansion) generators() ([]generated, error) {
	var out []generated
	for i, requested := range e.set.spec.Generators {
		at := fmt.Sprintf("spec.generators[%d]", i)
		made, err := e.entry(at, requested, e.set.spec.Template, nil)
		if err != nil && !errors.Is(err, errOpen) {
			return nil, e.set.fault(reasonParamsError, at, err)
		}
		out = append(out, made...)
	}
	return out, nil
}

// application is a generated Application with what made it.
type application struct {
	fields map[string]any // metadata and spec
	name   string
	from   string // path of the generator
	given  []byte // its parameters, for people to see
}

// applications fills the templates and checks the names.
func (e *expansion) applications(sets []generated) ([]application, error) {
	var out []application
	for _, made := range sets {
		for _, with := range made.params {
			fields, err := e.application(made.template, with)
			if err != nil {
				return nil, e.renderFault(made.path, with, err)
			}
			metadata, _ := fields["metadata"].(map[string]any)
			name, _ := metadata["name"].(string)
			out = append(out, application{fields: fields, name: name, from: made.path, given: told(with)})
		}
	}
	slices.SortStableFunc(out, func(a, b application) int { return cmp.Compare(a.name, b.name) })
	for i, app := range out {
		switch {
		case app.name == "":
			return nil, e.invalidName(app, "an Application without a name would be generated")
		case i > 0 && out[i-1].name == app.name:
			return nil, e.invalidName(app, fmt.Sprintf("more than one Application would be called %s", reader.Clip(app.name, maxName)))
		}
		if problems := validation.IsDNS1123Subdomain(app.name); len(problems) > 0 {
			return nil, e.invalidName(app, fmt.Sprintf("an Application cannot be called %q", reader.Clip(app.name, 100)))
		}
	}
	return out, nil
}

func (e *expansion) invalidName(app application, message string) *model.Fault {
	return &model.Fault{
		Reason:  reasonValidationError,
		Message: fmt.Sprintf("ApplicationSet %s: %s (by %s)", e.set.id.Name, message, app.from),
		Advice:  "make spec.template.metadata.name unique for each set of parameters, and normalize what it is made of",
		Origin:  originOf(e.set.id, "spec.template.metadata.name"),
	}
}

// renderFault names the generator and the parameters that there were, never
// their values.
func (e *expansion) renderFault(generator string, with params, err error) *model.Fault {
	fault := e.set.fault(reasonRenderError, "spec.template", err)
	names := reader.Clip(strings.Join(reader.SortedKeys(with), ", "), 300)
	fault.Message += fmt.Sprintf(" (with the parameters of %s: %s)", generator, cmp.Or(names, "none"))
	fault.Retry = false
	return fault
}

// application fills a template with one set of parameters
// (utils.RenderTemplateParams). Without parameters it is taken as it stands.
func (e *expansion) application(template map[string]any, with params) (map[string]any, error) {
	var filled any = template
	if len(with) > 0 {
		var err error
		if filled, err = e.render.tree("spec.template", template, with); err != nil {
			return nil, err
		}
	}
	fields, _ := filled.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	spec, _ := fields["spec"].(map[string]any)
	app := map[string]any{"metadata": kept(metadata, "name", "labels", "annotations", "finalizers"), "spec": spec}
	if spec == nil {
		app["spec"] = map[string]any{}
	}
	if len(with) > 0 && !e.set.spec.SyncPolicy.PreserveResourcesOnDeletion {
		meta := app["metadata"].(map[string]any)
		if empty(meta["finalizers"]) {
			meta["finalizers"] = []any{resourcesFinalizer}
		}
	}
	if e.set.spec.TemplatePatch != nil {
		patched, err := e.patched(app, with)
		if err != nil {
			return nil, &placed{"spec.templatePatch", err}
		}
		app = patched
	}
	return e.settle(app)
}

func kept(fields map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		if value := fields[name]; !empty(value) {
			out[name] = value
		}
	}
	return out
}

// patched applies spec.templatePatch as a strategic merge patch. The project
// stays what the template says (applyTemplatePatch).
func (e *expansion) patched(app map[string]any, with params) (map[string]any, error) {
	text, err := e.render.replace(*e.set.spec.TemplatePatch, with)
	if err != nil {
		return nil, err
	}
	var patch map[string]any
	if err := yaml.Unmarshal([]byte(text), &patch); err != nil {
		return nil, fmt.Errorf("is no map in YAML or JSON once it is filled: %s", reader.Clip(err.Error(), 200))
	}
	if patch["operation"] != nil {
		e.find(model.Warning, reasonDiffers, "spec.templatePatch", "operation is not acted on: every comparison would ask for another sync")
	}
	var original map[string]any
	if err := decode(app, &original); err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(original, patch, patchMeta(""))
	if err != nil {
		return nil, fmt.Errorf("cannot be applied: %s", reader.Clip(err.Error(), 200))
	}
	if merged["spec"] == nil {
		merged["spec"] = map[string]any{}
	}
	spec, ok := merged["spec"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("spec must be a map, not %s", reader.TypeName(merged["spec"]))
	}
	before, _ := app["spec"].(map[string]any)
	delete(spec, "project")
	if before["project"] != nil {
		spec["project"] = before["project"]
	}
	if merged["metadata"] == nil {
		merged["metadata"] = map[string]any{}
	}
	metadata, ok := merged["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("metadata must be a map, not %s", reader.TypeName(merged["metadata"]))
	}
	return map[string]any{"metadata": kept(metadata, "name", "labels", "annotations", "finalizers"), "spec": spec}, nil
}

// patchMeta tells how lists of an Application are merged: all are replaced but
// the finalizers.
type patchMeta string

// LookupPatchMetadataForStruct implements strategicpatch.LookupPatchMeta.
func (m patchMeta) LookupPatchMetadataForStruct(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	return patchMeta(key), strategicpatch.PatchMeta{}, nil
}

// LookupPatchMetadataForSlice implements strategicpatch.LookupPatchMeta.
func (m patchMeta) LookupPatchMetadataForSlice(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	meta := strategicpatch.PatchMeta{}
	if m == "metadata" && key == "finalizers" {
		meta.SetPatchStrategies([]string{"merge"})
	}
	return patchMeta(key), meta, nil
}

// Name implements strategicpatch.LookupPatchMeta.
func (m patchMeta) Name() string { return string(m) }

// settle brings an Application into the form in which it is written: fields of
// the right type, defaults, nothing empty (argo.NormalizeApplicationSpec), and
// under RollingSync no automated sync of its own.
func (e *expansion) settle(app map[string]any) (map[string]any, error) {
	spec, unknown, wrong := sections["application"].fit("spec", app["spec"])
	for _, field := range unknown {
		e.find(model.Warning, reasonUnknownField, "spec.templatePatch", "no version of Application that Plumb knows has "+field+": it is left out")
	}
	meta, _, wrongMeta := sections["template"].fields["metadata"].fit("metadata", app["metadata"])
	for _, m := range slices.Concat(wrongMeta, wrong) {
		return nil, fmt.Errorf("%s %s in the generated Application", m.path, m.message)
	}
	fields, _ := withoutEmpty(sections["application"], spec).(map[string]any)
	if fields["project"] == nil {
		fields["project"] = defaultProject
	}
	if fields["destination"] == nil {
		fields["destination"] = map[string]any{}
	}
	if policy, ok := fields["syncPolicy"].(map[string]any); ok && e.set.spec.rolling() {
		if automated, ok := policy["automated"].(map[string]any); ok {
			automated["enabled"] = false
		}
	}
	return map[string]any{"metadata": meta, "spec": fields}, nil
}

// withoutEmpty leaves out empty strings, and the options of a source and the
// sync policy where nothing is in them. Maps with free keys stay as they are.
func withoutEmpty(s *shape, value any) any {
	s = s.resolved()
	switch v := value.(type) {
	case map[string]any:
		if s.kind != shapeObject {
			return v
		}
		out := make(map[string]any, len(v))
		for name, field := range v {
			field = withoutEmpty(s.fields[name], field)
			if field == "" {
				continue
			}
			if slices.Contains([]string{"helm", "kustomize", "directory", "syncPolicy"}, name) && empty(field) {
				continue
			}
			out[name] = field
		}
		return out
	case []any:
		if s.kind != shapeList {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = withoutEmpty(s.items, item)
		}
		return out
	}
	return value
}

// remarks says what is wrong with an Application although it is generated, as
// upstream checks before it writes it (validateGeneratedApplications), and
// which templates give something else each time.
func (e *expansion) remarks(apps []application) {
	if len(e.render.unsteady) > 0 {
		e.find(model.Warning, reasonNotReproducible, "spec.template", "the templates use "+strings.Join(reader.SortedKeys(e.render.unsteady), ", ")+": each evaluation gives other Applications")
	}
	projects, projectsErr := list(e.facts, projectsNeed(e.namespace))
	registered, clustersErr := e.allClusters()
	for _, app := range apps {
		spec, _ := app.fields["spec"].(map[string]any)
		project, _ := spec["project"].(string)
		there := func(o *unstructured.Unstructured) bool { return o.GetName() == project }
		if projectsErr == nil && project != defaultProject && !slices.ContainsFunc(projects, there) {
			e.find(model.Warning, reasonValidationError, "spec.template.spec.project", fmt.Sprintf("Application %s names project %s, which does not exist", app.name, reader.Clip(project, 100)))
			continue
		}
		if clustersErr != nil {
			continue
		}
		if complaint := badDestination(spec, registered); complaint != "" {
			e.find(model.Warning, reasonValidationError, "spec.template.spec.destination", fmt.Sprintf("the destination of Application %s is invalid: %s", app.name, complaint))
		}
	}
}

// badDestination says why a destination cannot be used, or "". One that names
// neither server nor cluster is the own cluster in Plumb.
func badDestination(spec map[string]any, registered []cluster) string {
	destination, _ := spec["destination"].(map[string]any)
	name, _ := destination["name"].(string)
	server, _ := destination["server"].(string)
	named := func(c cluster) bool { return c.name == name }
	served := func(c cluster) bool { return strings.TrimRight(c.server, "/") == strings.TrimRight(server, "/") }
	switch {
	case name != "" && server != "":
		return "it names both a server and a cluster"
	case server != "" && !slices.ContainsFunc(registered, served):
		return fmt.Sprintf("no cluster with server %q is registered", reader.Clip(server, 200))
	case name != "" && !slices.ContainsFunc(registered, named):
		return fmt.Sprintf("no cluster is called %q", reader.Clip(name, 100))
	}
	return ""
}

// rendered are the Applications as objects.
func (e *expansion) rendered(apps []application) ([]model.Rendered, error) {
	out := make([]model.Rendered, 0, len(apps))
	for _, app := range apps {
		metadata, _ := app.fields["metadata"].(map[string]any)
		metadata["namespace"] = e.set.id.Namespace
		whole := map[string]any{"apiVersion": apiVersion, "kind": kindApp, "metadata": metadata, "spec": app.fields["spec"]}
		// Plain values only: patches and files bring others.
		text, err := json.Marshal(whole)
		if err != nil {
			return nil, e.set.fault(reasonRenderError, "spec.template", err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(text); err != nil {
			return nil, e.set.fault(reasonRenderError, "spec.template", err)
		}
		body, err := object.Canonical(o.Object)
		if err != nil {
			return nil, e.set.fault(reasonRenderError, "spec.template", err)
		}
		out = append(out, model.Rendered{
			ID:      applicationID(e.set.id.Namespace, app.name),
			Version: version,
			JSON:    body,
			Origin:  originOf(e.set.id, app.from),
			Given:   app.given,
		})
	}
	return out, nil
}
