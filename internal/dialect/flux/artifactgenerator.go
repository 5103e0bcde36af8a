package flux

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	kindArtifactGenerator = "ArtifactGenerator"
	generatorManager      = "source-watcher"

	// generatorFinalizer, generatorLabel and annotationReconcile are source-watcher's
	// (api/v1beta1 artifactgenerator_types.go).
	generatorFinalizer  = GroupExtensions + "/finalizer"
	generatorLabel      = GroupExtensions + "/generator"
	annotationReconcile = GroupExtensions + "/reconcile"

	defaultGeneratorInterval = time.Hour       // GetRequeueAfter
	generatorRetry           = 5 * time.Second // --requeue-dependency
	generatorTimeout         = 5 * time.Minute

	maxGenerated = 10000 // artifacts of one generator
)

// Reasons of an ArtifactGenerator.
const (
	reasonValidationFailed  = "ValidationFailed"
	reasonSourceFetchFailed = "SourceFetchFailed"
)

// generatorSources are the kinds that an artifact can be made of.
var generatorSources = []string{kindBucket, kindGitRepository, kindOCIRepository, kindHelmChart, kindExternalArtifact}

// compileArtifactGenerator makes a delivery of an ArtifactGenerator
// (source-watcher api/v1beta1). Its objects are ExternalArtifacts, which stand
// for the artifacts: Compile makes a source of each. A path pattern asks its
// source for directories, so that it is an input.
//
// A disabled or deleted object is a delivery whatever else it says.
func compileArtifactGenerator(declared *unstructured.Unstructured, settings dialect.Settings) (*model.Delivery, []model.Finding, error) {
	r, g := generatorOf(declared, settings)
	r.Findings = append(r.Findings, unhandledFields(declared)...)
	delivery := &model.Delivery{
		ID:         r.ID,
		UID:        string(declared.GetUID()),
		Generation: declared.GetGeneration(),
		Origin:     origin(r.ID, ""),
		Expands:    true,
		Target:     model.Target{Namespace: r.ID.Namespace},
		Ownership: model.Ownership{
			FieldManager: generatorManager,
			Finalizer:    generatorFinalizer,
			Reference:    &model.OwnerReference{APIVersion: declared.GetAPIVersion(), Kind: r.ID.Kind, Name: r.ID.Name, UID: string(declared.GetUID())},
		},
		Policy: model.Policy{
			Interval: defaultGeneratorInterval, RetryInterval: generatorRetry, Timeout: generatorTimeout,
			Prune: true, OnDelete: model.DeleteObjects, Drift: model.Heal,
		},
		Claims:    generatedClaims(declared),
		Suspended: disabled(declared),
		Deleting:  declared.GetDeletionTimestamp() != nil,
		Finalized: slices.Contains(declared.GetFinalizers(), generatorFinalizer),
		Wake:      declared.GetAnnotations()[AnnotationRequestedAt],
		Approve:   declared.GetAnnotations()[AnnotationApprove],
	}
	if delivery.Deleting || delivery.Suspended {
		return delivery, r.Findings, nil
	}
	if err := r.Err(); err != nil {
		return nil, r.Findings, err
	}
	if g.pattern != nil {
		delivery.Inputs = []model.Input{{Source: g.sources[g.pattern.alias], Render: model.Render{Kind: model.RenderExpand}, Field: "spec.pathPattern"}}
	}
	return delivery, r.Findings, nil
}

// disabled reports whether the generator is told to rest.
func disabled(declared *unstructured.Unstructured) bool {
	return strings.EqualFold(declared.GetAnnotations()[annotationReconcile], "disabled")
}

// generatedClaims reads status.inventory.
func generatedClaims(declared *unstructured.Unstructured) []model.Claim {
	inventory, _, _ := unstructured.NestedSlice(declared.Object, "status", "inventory")
	var out []model.Claim
	for _, item := range inventory {
		entry, _ := item.(map[string]any)
		name, _ := entry["name"].(string)
		namespace, _ := entry["namespace"].(string)
		if name != "" && namespace == declared.GetNamespace() {
			out = append(out, model.Claim{ID: externalID(namespace, name), Version: "v1"})
		}
	}
	return out
}

func externalID(namespace, name string) object.ID {
	return object.ID{Group: GroupSource, Kind: kindExternalArtifact, Namespace: namespace, Name: name}
}

// generator is the spec of an ArtifactGenerator that can be acted on.
type generator struct {
	sources             map[string]object.ID // by alias
	pattern             *pathPattern         // nil: there is none
	artifacts           []model.GeneratedSource
	fields              []string // where each artifact is declared
	labels, annotations map[string]string
}

func generatorOf(declared *unstructured.Unstructured, settings dialect.Settings) (*reader.Reader, generator) {
	r := reader.New(Name, reasonValidationFailed, object.Of(declared))
	return r, readGenerator(r.Root("spec", declared.Object["spec"]), r.ID.Namespace, settings)
}

// readGenerator reads the spec, and refuses what validateSpec of upstream
// refuses and what its schema does.
func readGenerator(spec node, namespace string, settings dialect.Settings) generator {
	common := spec.At("commonMetadata")
	g := generator{
		sources:     map[string]object.ID{},
		labels:      common.At("labels").StringMap(),
		annotations: common.At("annotations").StringMap(),
	}
	for _, item := range spec.At("sources").Items() {
		g.source(item, namespace, settings)
	}
	g.pattern = readPattern(spec.At("pathPattern"), g.sources)
	names := map[string]bool{}
	for _, item := range spec.At("artifacts").Items() {
		made := g.output(item)
		if names[made.Name] {
			item.Invalid("duplicate artifact name '%s' found", reader.Clip(made.Name, 253))
		}
		names[made.Name] = true
		g.artifacts, g.fields = append(g.artifacts, made), append(g.fields, item.Path)
	}
	if len(g.artifacts) == 0 {
		spec.At("artifacts").Invalid("lists no artifact")
	}
	return g
}

var aliasForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$`)

func (g *generator) source(item node, namespace string, settings dialect.Settings) {
	alias := item.At("alias").Str()
	id := object.ID{Group: GroupSource, Kind: item.At("kind").Str(), Namespace: item.At("namespace").Str(), Name: required(item.At("name"), "source")}
	if id.Namespace == "" {
		id.Namespace = namespace
	}
	_, twice := g.sources[alias]
	switch {
	case !aliasForm.MatchString(alias):
		item.At("alias").Invalid("%q is no alias", reader.Clip(alias, 63))
	case twice:
		item.Invalid("duplicate source alias '%s' found", reader.Clip(alias, 63))
	case !slices.Contains(generatorSources, id.Kind):
		item.At("kind").Invalid("%q is none of %v", reader.Clip(id.Kind, 63), generatorSources)
	case settings.NoCrossNamespaceRefs && id.Namespace != namespace:
		item.R.Fault(&model.Fault{Reason: reasonAccessDenied, Message: fmt.Sprintf("cross-namespace reference to source %s is not allowed", id), Advice: "declare the source in namespace " + namespace, Origin: model.Origin{Field: item.Path}})
	}
	g.sources[alias] = id
}

// output reads one artifact; its texts may hold variables of the pattern.
func (g *generator) output(item node) model.GeneratedSource {
	made := model.GeneratedSource{
		Name:           item.At("name").Str(),
		Revision:       g.alias(item.At("revision")),
		OriginRevision: g.alias(item.At("originRevision")),
	}
	if problems := validation.IsDNS1123Subdomain(made.Name); g.pattern == nil && len(problems) > 0 {
		item.At("name").Invalid("artifact name %q is not a valid Kubernetes object name: %s", reader.Clip(made.Name, 253), strings.Join(problems, "; "))
	}
	used := map[string]bool{}
	for _, copied := range item.At("copy").Items() {
		rule, alias := g.copyRule(copied)
		made.Copy = append(made.Copy, rule)
		used[alias] = true
	}
	for _, revision := range []string{made.Revision, made.OriginRevision} {
		used[strings.TrimPrefix(revision, "@")] = true
	}
	if len(made.Copy) == 0 {
		item.At("copy").Invalid("copies nothing")
	}
	for _, alias := range reader.SortedKeys(g.sources) {
		if used[alias] {
			made.From = append(made.From, model.GeneratedInput{Alias: alias, Source: g.sources[alias]})
		}
	}
	return made
}

// alias is "@alias" of a source that there is, or "".
func (g *generator) alias(field node) string {
	text := field.Str()
	if text == "" {
		return ""
	}
	alias, ok := strings.CutPrefix(text, "@")
	if _, known := g.sources[alias]; !ok || !known {
		field.Invalid("source alias '%s' not found", reader.Clip(alias, 63))
	}
	return text
}

func (g *generator) copyRule(item node) (model.CopyRule, string) {
	rule := model.CopyRule{
		From:     item.At("from").Str(),
		To:       item.At("to").Str(),
		Exclude:  item.At("exclude").Strings(),
		Strategy: oneOf(item.At("strategy"), reasonValidationFailed, "Overwrite", "Merge", "Extract"),
	}
	alias, _, slash := strings.Cut(strings.TrimPrefix(rule.From, "@"), "/")
	if _, known := g.sources[alias]; !known || !slash || !strings.HasPrefix(rule.From, "@") {
		item.At("from").Invalid("must be @alias/path of one of the sources, not %q", reader.Clip(rule.From, 100))
	}
	if !strings.HasPrefix(rule.To, "@artifact/") {
		item.At("to").Invalid("must be @artifact/path, not %q", reader.Clip(rule.To, 100))
	}
	return rule, alias
}

// pathPattern finds directories, and names parts of their paths
// (source-watcher, artifactgenerator_pathpattern.go).
type pathPattern struct {
	alias  string
	glob   string // path.Match form that names them and maybe more
	match  *regexp.Regexp
	source string // as it was written
}

var (
	captureName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	globMeta    = regexp.MustCompile(`[*?\[\]\\]`)
)

// readPattern is nil when there is none, or when it cannot be used.
func readPattern(field node, sources map[string]object.ID) *pathPattern {
	text := field.Str()
	if text == "" {
		return nil
	}
	alias, rest, slash := strings.Cut(strings.TrimPrefix(text, "@"), "/")
	if _, known := sources[alias]; !known || !slash || !strings.HasPrefix(text, "@") {
		field.Invalid("must be @alias/pattern of one of the sources, not %q", reader.Clip(text, 100))
		return nil
	}
	p := &pathPattern{alias: alias, source: text}
	var expression strings.Builder
	seen := map[string]bool{}
	err := eachPart(rest, func(literal, capture string) error {
		if capture == "" {
			expression.WriteString(regexp.QuoteMeta(literal))
			p.glob += globMeta.ReplaceAllString(literal, `\$0`)
			return nil
		}
		if problems := validation.IsQualifiedName(capture); seen[capture] || len(problems) > 0 {
			return fmt.Errorf("variable %q stands twice, or is no key of a label", reader.Clip(capture, 63))
		}
		seen[capture] = true
		expression.WriteString("(?P<" + capture + ">[^/]+)")
		p.glob += "*"
		return nil
	})
	if err != nil {
		field.Invalid("%s", err)
		return nil
	}
	p.match, err = regexp.Compile("^" + expression.String() + "$")
	if err != nil {
		field.Invalid("is too long")
		return nil
	}
	return p
}

// captures is what the variables stand for in a path; false: it is none that
// the pattern means.
func (p *pathPattern) captures(dir string) (map[string]string, bool) {
	found := p.match.FindStringSubmatch(dir)
	if found == nil {
		return nil, false
	}
	out := map[string]string{}
	for i, name := range p.match.SubexpNames() {
		if name != "" {
			out[name] = found[i]
		}
	}
	return out, true
}

// eachPart goes through a text with {variables}: either part is "".
func eachPart(text string, part func(literal, variable string) error) error {
	for text != "" {
		literal, rest, open := strings.Cut(text, "{")
		if strings.Contains(literal, "}") {
			return fmt.Errorf("has a closing brace without an opening one")
		}
		if err := part(literal, ""); err != nil || !open {
			return err
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !captureName.MatchString(name) {
			return fmt.Errorf("has a variable that is not of the form {name}")
		}
		if err := part("", name); err != nil {
			return err
		}
		text = after
	}
	return nil
}

// filled puts the values of variables into a text.
func filled(text string, values map[string]string) (string, error) {
	var out strings.Builder
	err := eachPart(text, func(literal, variable string) error {
		value, ok := values[variable]
		if variable != "" && !ok {
			return fmt.Errorf("variable %q is not defined by pathPattern", reader.Clip(variable, 63))
		}
		out.WriteString(literal + value)
		return nil
	})
	return out.String(), err
}

// lowered are captures as names and labels have them.
func lowered(captures map[string]string) map[string]string {
	out := make(map[string]string, len(captures))
	for name, value := range captures {
		out[name] = strings.ToLower(value)
	}
	return out
}

// rendered is an artifact with the variables filled in.
func (g *generator) rendered(i int, captures map[string]string) (model.GeneratedSource, error) {
	made := g.artifacts[i]
	if g.pattern == nil {
		return made, nil
	}
	var err error
	if made.Name, err = filled(made.Name, lowered(captures)); err != nil {
		return made, err
	}
	made.Copy = slices.Clone(made.Copy)
	for j := range made.Copy {
		rule := &made.Copy[j]
		if rule.From, err = filled(rule.From, captures); err != nil {
			return made, err
		}
		if rule.To, err = filled(rule.To, captures); err != nil {
			return made, err
		}
	}
	return made, nil
}

// artifact is the one of this name.
func (g *generator) artifact(name string, captures map[string]string) (*model.GeneratedSource, error) {
	for i := range g.artifacts {
		made, err := g.rendered(i, captures)
		if err != nil {
			return nil, err
		}
		if made.Name == name {
			return &made, nil
		}
	}
	return nil, fmt.Errorf("generates no artifact of this name")
}

// expandArtifactGenerator makes the ExternalArtifacts. With a path pattern it
// asks for the directories that there are first.
func expandArtifactGenerator(declared *unstructured.Unstructured, answers map[string]model.Answer, settings dialect.Settings) ([]model.Rendered, []model.Question, error) {
	r, g := generatorOf(declared, settings)
	if err := r.Err(); err != nil {
		return nil, nil, err
	}
	found := []map[string]string{nil}
	if g.pattern != nil {
		question := g.pattern.question(g.sources[g.pattern.alias], r)
		answer, ok := answers[question.Key]
		switch {
		case !ok:
			return nil, []model.Question{question}, nil
		case answer.Fault != nil:
			return nil, nil, answer.Fault
		}
		found = nil
		for _, dir := range answer.Directories {
			if captures, ok := g.pattern.captures(dir); ok {
				found = append(found, captures)
			}
		}
	}
	objects, err := g.objects(declared, found)
	return objects, nil, err
}

func (p *pathPattern) question(source object.ID, r *reader.Reader) model.Question {
	input := model.Input{Source: source}
	return model.Question{
		Key: object.Digest([]byte(source.Inventory() + "\n" + p.source)),
		Git: &model.GitQuestion{Input: input, Source: model.Source{ID: source}, Directories: []model.GitPath{{Path: p.glob}}},
		// The source is one of the inputs: its next tree asks again.
		Origin: r.Origin("spec.pathPattern"),
	}
}

// objects are the ExternalArtifacts for what the pattern has found, by name.
func (g *generator) objects(declared *unstructured.Unstructured, found []map[string]string) ([]model.Rendered, error) {
	refuse := func(i int, message string) error {
		return &model.Fault{Reason: reasonBuildFailed, Message: "failed to expand path pattern: " + message, Advice: "correct the names", Origin: origin(object.Of(declared), g.fields[i])}
	}
	names := map[string]bool{}
	var out []model.Rendered
	for _, captures := range found {
		for i := range g.artifacts {
			made, err := g.rendered(i, captures)
			if err != nil {
				return nil, refuse(i, err.Error())
			}
			if problem := g.unusable(made.Name, captures, names); problem != "" {
				return nil, refuse(i, problem)
			}
			names[made.Name] = true
			o, err := g.object(declared, made.Name, captures)
			if err != nil {
				return nil, refuse(i, err.Error())
			}
			o.Origin = origin(object.Of(declared), g.fields[i])
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b model.Rendered) int { return strings.Compare(a.ID.Name, b.ID.Name) })
	return out, nil
}

// unusable says why an artifact cannot be called so; "" when it can.
func (g *generator) unusable(name string, captures map[string]string, names map[string]bool) string {
	for _, variable := range reader.SortedKeys(captures) {
		if problems := validation.IsValidLabelValue(strings.ToLower(captures[variable])); len(problems) > 0 {
			return fmt.Sprintf("captured value %q for variable %q is not a valid Kubernetes label value", reader.Clip(captures[variable], 100), variable)
		}
	}
	switch {
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		return fmt.Sprintf("rendered artifact name %q is not a valid Kubernetes object name", reader.Clip(name, 253))
	case names[name]:
		return fmt.Sprintf("two directories resolve to artifact name %q", name)
	case len(names) >= maxGenerated:
		return fmt.Sprintf("it makes more than %d artifacts", maxGenerated)
	}
	return ""
}

// object is the ExternalArtifact as source-watcher applies it, with what the
// variables stand for.
func (g *generator) object(declared *unstructured.Unstructured, name string, captures map[string]string) (model.Rendered, error) {
	labels := map[string]any{}
	for key, value := range g.labels {
		labels[key] = value
	}
	for key, value := range lowered(captures) {
		labels[key] = value
	}
	labels["app.kubernetes.io/managed-by"] = generatorManager
	labels[generatorLabel] = string(declared.GetUID())
	metadata := map[string]any{"name": name, "namespace": declared.GetNamespace(), "labels": labels}
	annotated := maps.Clone(g.annotations)
	if len(captures) > 0 {
		text, err := json.Marshal(captures)
		if err != nil {
			return model.Rendered{}, err
		}
		if annotated == nil {
			annotated = map[string]string{}
		}
		annotated[annotationCaptures] = string(text)
	}
	if len(annotated) > 0 {
		written := map[string]any{}
		for key, value := range annotated {
			written[key] = value
		}
		metadata["annotations"] = written
	}
	body, err := object.Canonical(map[string]any{
		"apiVersion": GroupSource + "/v1",
		"kind":       kindExternalArtifact,
		"metadata":   metadata,
		"spec": map[string]any{"sourceRef": map[string]any{
			"apiVersion": GroupExtensions + "/v1beta1", "kind": kindArtifactGenerator,
			"name": declared.GetName(), "namespace": declared.GetNamespace(),
		}},
	})
	if err != nil {
		return model.Rendered{}, err
	}
	return model.Rendered{ID: externalID(declared.GetNamespace(), name), Version: "v1", JSON: body}, nil
}
