package appset

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// expansion is one run over the generators of a set. A generator that needs an
// answer asks and goes on with errOpen, so that one run asks everything that
// can be asked at once.
type expansion struct {
	room      Room
	set       *parsed
	facts     model.Facts
	answers   map[string]model.Answer
	namespace string // Argo CD's
	options   config.ApplicationSets
	render    *renderer

	questions []model.Question
	findings  []model.Finding
}

// generated is what one generator of an entry made.
type generated struct {
	path     string
	template map[string]any
	params   []params
}

// entry evaluates the generators of one entry of spec.generators
// (generators.Transform). with are the parameters of the generator before it in
// a matrix; base is nil inside of matrix and merge, which have one template.
func (e *expansion) entry(at string, requested map[string]any, base map[string]any, with params) ([]generated, error) {
	selects, err := selectorOf(requested)
	if err != nil {
		return nil, &placed{at + ".selector", err}
	}
	interpolated := requested
	if len(with) > 0 {
		if interpolated, err = e.interpolate(at, requested, with); err != nil {
			return nil, err
		}
	}
	var out []generated
	var pending error
	for _, kind := range kindsOf(requested) {
		body, _ := requested[kind].(map[string]any)
		template, _ := body["template"].(map[string]any)
		sets, err := e.generate(at+"."+kind, kind, interpolated[kind])
		if errors.Is(err, errOpen) {
			pending = err
			continue
		}
		if err != nil {
			return nil, err
		}
		if selects != nil {
			sets = slices.DeleteFunc(sets, func(set params) bool { return !selects.matches(set) })
		}
		if len(sets) > maxParams {
			return nil, &placed{at + "." + kind, fmt.Errorf("makes more than %d sets of parameters", maxParams)}
		}
		out = append(out, generated{path: at + "." + kind, template: overlay(template, base), params: sets})
	}
	return out, pending
}

// generate makes the sets of parameters of one generator.
func (e *expansion) generate(at, kind string, body any) ([]params, error) {
	made, known := map[string]func(string, any) ([]params, error){
		"list": e.list, "clusters": e.clusters, "git": e.git, "scmProvider": e.repositories, "clusterDecisionResource": e.decisions,
		"pullRequest": e.pullRequests, "matrix": e.matrix, "merge": e.merge, "plugin": e.plugin,
	}[kind]
	if !known {
		return nil, &placed{at, errors.New("no such generator")}
	}
	return made(at, body)
}

// interpolate fills a generator with the parameters of another. Values may
// also use parameters of their own generator: what is not known yet stays.
func (e *expansion) interpolate(at string, generator map[string]any, with params) (map[string]any, error) {
	out := make(map[string]any, len(generator))
	for _, kind := range reader.SortedKeys(generator) {
		body, ok := generator[kind].(map[string]any)
		if !ok || kind == "selector" {
			out[kind] = generator[kind]
			continue
		}
		filled := make(map[string]any, len(body))
		for _, name := range reader.SortedKeys(body) {
			where := at + "." + kind + "." + name
			var value any
			var err error
			switch name {
			case "values":
				value, err = e.interpolateValues(where, body[name], with)
			case "generators":
				value, err = e.interpolateChildren(where, body[name], with)
			default:
				value, err = e.render.tree(where, body[name], with)
			}
			if err != nil {
				return nil, err
			}
			filled[name] = value
		}
		out[kind] = filled
	}
	return out, nil
}

func (e *expansion) interpolateValues(at string, values any, with params) (any, error) {
	fields, _ := values.(map[string]any)
	out := make(map[string]any, len(fields))
	for _, key := range reader.SortedKeys(fields) {
		text, _ := fields[key].(string)
		filled, err := e.render.replaceKnown(text, with)
		switch {
		case errors.Is(err, errMissing):
			filled = text
		case err != nil:
			return nil, &placed{at + "." + reader.Clip(key, 100), err}
		}
		out[key] = filled
	}
	return out, nil
}

func (e *expansion) interpolateChildren(at string, children any, with params) (any, error) {
	items, _ := children.([]any)
	out := make([]any, len(items))
	for i, item := range items {
		child, _ := item.(map[string]any)
		filled, err := e.interpolate(fmt.Sprintf("%s[%d]", at, i), child, with)
		if err != nil {
			return nil, err
		}
		out[i] = filled
	}
	return out, nil
}

// overlay is a generator's template over the set's: what it leaves empty comes
// from below (mergeGeneratorTemplate).
func overlay(over, under map[string]any) map[string]any {
	out := make(map[string]any, len(over)+len(under))
	for key, value := range over {
		out[key] = value
	}
	for key, value := range under {
		has, isMap := out[key].(map[string]any)
		below, belowMap := value.(map[string]any)
		switch {
		case isMap && belowMap && (key != "valuesObject" || len(has) == 0):
			out[key] = overlay(has, below)
		case empty(out[key]):
			out[key] = value
		}
	}
	return out
}

func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// list: elements, and elementsYaml after them (generators/list.go).
func (e *expansion) list(at string, body any) ([]params, error) {
	var g listGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	var out []params
	for i, element := range g.Elements {
		where := fmt.Sprintf("%s.elements[%d]", at, i)
		fields, ok := element.(map[string]any)
		if !ok && element != nil {
			return nil, &placed{where, fmt.Errorf("must be a map, not %s", reader.TypeName(element))}
		}
		set, err := e.element(where, fields)
		if err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	if strings.TrimSpace(g.ElementsYaml) == "" {
		return out, nil
	}
	var more []map[string]any
	if err := yaml.Unmarshal([]byte(g.ElementsYaml), &more); err != nil {
		return nil, &placed{at + ".elementsYaml", fmt.Errorf("is no list of maps: %s", reader.Clip(err.Error(), 200))}
	}
	for _, element := range more {
		out = append(out, element)
	}
	return out, nil
}

func (e *expansion) element(at string, fields map[string]any) (params, error) {
	set := params{}
	if !e.set.spec.GoTemplate {
		return set, flatElement(at, fields, set)
	}
	for key, value := range fields {
		set[key] = asDecoded(value)
	}
	dotted := map[string]any{}
	for key, value := range fields {
		if name, ok := strings.CutPrefix(key, "values."); ok && name != "" {
			dotted[name] = asDecoded(value)
		}
	}
	if len(dotted) > 0 {
		mergeOver(set, params{"values": dotted})
		e.find(model.Info, reasonDiffers, at, "keys that begin with values. are read as fields of values, as Argo CD's documentation has it; Argo CD itself does not find them with goTemplate")
	}
	return set, nil
}

// flatElement is an element of the older style, which knows only strings.
func flatElement(at string, fields map[string]any, into params) error {
	for _, key := range reader.SortedKeys(fields) {
		value := fields[key]
		if key != "values" {
			text, ok := value.(string)
			if !ok {
				return &placed{at + "." + reader.Clip(key, 100), fmt.Errorf("must be a string, not %s, without goTemplate", reader.TypeName(value))}
			}
			into[key] = text
			continue
		}
		values, ok := value.(map[string]any)
		if !ok {
			return &placed{at + ".values", fmt.Errorf("must be a map, not %s", reader.TypeName(value))}
		}
		for _, name := range reader.SortedKeys(values) {
			text, ok := values[name].(string)
			if !ok {
				return &placed{at + ".values." + reader.Clip(name, 100), fmt.Errorf("must be a string, not %s, without goTemplate", reader.TypeName(values[name]))}
			}
			into["values."+name] = text
		}
	}
	return nil
}

// find notes something, once.
func (e *expansion) find(severity model.Severity, reason, field, message string) {
	finding := model.Finding{Severity: severity, Reason: reason, Message: message, Origin: originOf(e.set.id, field)}
	if len(e.findings) < maxFindings && !slices.Contains(e.findings, finding) {
		e.findings = append(e.findings, finding)
	}
}

// clusters: one set for each registered cluster that the selector takes, and
// the local one when there is no selector and no Secret for it
// (generators/cluster.go).
func (e *expansion) clusters(at string, body any) ([]params, error) {
	var g clusterGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	selects, err := metav1.LabelSelectorAsSelector(&g.Selector)
	if err != nil {
		return nil, &placed{at + ".selector", err}
	}
	registered, err := clusters(e.facts, e.namespace)
	if err != nil {
		return nil, &placed{at, err}
	}
	var out []params
	local := len(g.Selector.MatchLabels)+len(g.Selector.MatchExpressions) == 0
	places := map[string]int{}
	for _, c := range registered {
		if !selects.Matches(labels.Set(c.labels)) {
			continue
		}
		if c.server == inClusterAddress {
			local = false
		}
		set := e.clusterParams(c)
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		if i, twice := places[c.name]; twice { // upstream knows clusters by name
			out[i] = set
			continue
		}
		places[c.name] = len(out)
		out = append(out, set)
	}
	if local {
		set := params{"name": inClusterName, "nameNormalized": inClusterName, "server": inClusterAddress, "project": ""}
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	if g.FlatList {
		all := make([]any, len(out))
		for i, set := range out {
			all[i] = map[string]any(set)
		}
		return []params{{"clusters": all}}, nil
	}
	return out, nil
}

func (e *expansion) clusterParams(c cluster) params {
	set := params{"name": c.name, "nameNormalized": normalize(c.name), "server": c.server, "project": c.project}
	if e.set.spec.GoTemplate {
		meta := map[string]any{}
		if len(c.annotations) > 0 {
			meta["annotations"] = c.annotations
		}
		if len(c.labels) > 0 {
			meta["labels"] = c.labels
		}
		set["metadata"] = meta
		return set
	}
	for key, value := range c.annotations {
		set["metadata.annotations."+key] = value
	}
	for key, value := range c.labels {
		set["metadata.labels."+key] = value
	}
	return set
}

// answer looks for the answer to a question, or asks it.
func (e *expansion) answer(q model.Question, at string) (model.Answer, error) {
	q.Origin = originOf(e.set.id, at)
	answer, ok := e.answers[q.Key]
	if !ok {
		if !slices.ContainsFunc(e.questions, func(asked model.Question) bool { return asked.Key == q.Key }) {
			e.questions = append(e.questions, q)
		}
		return model.Answer{}, errOpen
	}
	if answer.Fault != nil {
		return model.Answer{}, &model.Fault{
			Reason:  reasonParamsError,
			Message: at + ": " + answer.Fault.Message,
			Advice:  answer.Fault.Advice,
			Origin:  q.Origin,
			Retry:   answer.Fault.Retry,
			Waiting: answer.Fault.Waiting,
			Err:     answer.Fault,
		}
	}
	return answer, nil
}

// keyOf digests what makes a question: never a secret, but the identity of the
// objects that hold them.
func keyOf(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil { // only trees and plain structs come here
		text = fmt.Append(nil, parts...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// matrix: every pair of what two generators make; the second may use the
// parameters of the first (generators/matrix.go).
func (e *expansion) matrix(at string, body any) ([]params, error) {
	var c combination
	if err := decode(body, &c); err != nil {
		return nil, &placed{at, err}
	}
	if len(c.Generators) != 2 {
		return nil, &placed{at + ".generators", fmt.Errorf("a matrix needs two generators, not %d", len(c.Generators))}
	}
	first, err := e.child(at, 0, c.Generators[0], nil)
	if err != nil {
		return nil, err
	}
	out := []params{}
	var pending error
	for _, a := range first {
		second, err := e.child(at, 1, c.Generators[1], a)
		if errors.Is(err, errOpen) {
			pending = err
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			both, err := e.render.combine(a, b)
			if err != nil {
				return nil, &placed{at, err}
			}
			if out = append(out, both); len(out) > maxParams {
				return nil, &placed{at, fmt.Errorf("makes more than %d sets of parameters", maxParams)}
			}
		}
	}
	return out, pending
}

// merge: what the first generator makes, with what the others say of the same
// merge keys over it (generators/merge.go).
func (e *expansion) merge(at string, body any) ([]params, error) {
	var c combination
	if err := decode(body, &c); err != nil {
		return nil, &placed{at, err}
	}
	var sets [][]params
	var pending error
	for i, generator := range c.Generators {
		set, err := e.child(at, i, generator, nil)
		if errors.Is(err, errOpen) {
			pending = err
			continue
		}
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	if pending != nil {
		return nil, pending
	}
	out, err := e.render.merge(c.MergeKeys, sets)
	if err != nil {
		return nil, &placed{at, err}
	}
	return out, nil
}

// child evaluates a generator that stands in a matrix or merge.
func (e *expansion) child(at string, i int, generator map[string]any, with params) ([]params, error) {
	where := fmt.Sprintf("%s.generators[%d]", at, i)
	out, err := e.entry(where, generator, nil, with)
	if err != nil {
		return nil, err
	}
	if len(out) != 1 {
		return nil, &placed{where, errors.New("must hold exactly one generator")}
	}
	return out[0].params, nil
}

// duck describes the objects of a clusterDecisionResource, as its ConfigMap
// has it.
type duck struct {
	group, version, resource, listKey, matchKey string
}

func duckOf(o *unstructured.Unstructured) (duck, error) {
	data := configMapData(o)
	g, v, ok := strings.Cut(data["apiVersion"], "/")
	if !ok || g == "" || data["kind"] == "" {
		return duck{}, fmt.Errorf("ConfigMap %s names no kind with group and version in apiVersion and kind", o.GetName())
	}
	return duck{group: g, version: v, resource: data["kind"], listKey: cmp.Or(data["statusListKey"], "clusters"), matchKey: data["matchKey"]}, nil
}

func (d duck) need(namespace string) model.Need {
	return model.Need{Group: d.group, Version: d.version, Resource: d.resource, Namespace: namespace, Selector: "*"}
}

// decisions: the clusters that the status of other objects names
// (generators/duck_type.go).
func (e *expansion) decisions(at string, body any) ([]params, error) {
	var g decisionGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	described, err := lookup(e.facts, "ConfigMap", e.namespace, g.ConfigMapRef)
	if err != nil {
		return nil, &placed{at + ".configMapRef", err}
	}
	kind, err := duckOf(described)
	if err != nil {
		return nil, &placed{at + ".configMapRef", err}
	}
	if kind.matchKey == "" {
		return nil, &placed{at + ".configMapRef", fmt.Errorf("ConfigMap %s has no matchKey: no cluster can be found by it", described.GetName())}
	}
	all, err := list(e.facts, kind.need(e.namespace))
	if err != nil {
		return nil, &placed{at, err}
	}
	selects, err := metav1.LabelSelectorAsSelector(&g.LabelSelector)
	if err != nil {
		return nil, &placed{at + ".labelSelector", err}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(o *unstructured.Unstructured) bool {
		if g.Name != "" {
			return o.GetName() != g.Name
		}
		return !selects.Matches(labels.Set(o.GetLabels()))
	})
	if len(all) == 0 {
		return nil, &placed{at, fmt.Errorf("there is no object of %s that it names", kind.resource)}
	}
	registered, err := e.allClusters()
	if err != nil {
		return nil, &placed{at, err}
	}
	var out []params
	for _, o := range all {
		sets, err := e.decided(at, g, kind, o, registered)
		if err != nil {
			return nil, err
		}
		out = append(out, sets...)
	}
	return out, nil
}

// decided are the sets of one deciding object. An object without a status has
// not decided yet, which is not a decision for no cluster; upstream takes it
// for one.
func (e *expansion) decided(at string, g decisionGenerator, kind duck, o *unstructured.Unstructured, registered []cluster) ([]params, error) {
	status, _ := o.Object["status"].(map[string]any)
	decisions, ok := status[kind.listKey].([]any)
	if !ok {
		return nil, &model.Fault{
			Reason:  reasonParamsError,
			Message: fmt.Sprintf("%s: %s has no list status.%s yet", at, object.Of(o), reader.Clip(kind.listKey, 60)),
			Advice:  "wait for the controller that decides",
			Origin:  originOf(e.set.id, at),
			Object:  object.Of(o),
			Waiting: true,
		}
	}
	var out []params
	for _, decision := range decisions {
		fields, ok := decision.(map[string]any)
		if !ok {
			return nil, &placed{at, fmt.Errorf("status.%s of %s holds %s, not a map", reader.Clip(kind.listKey, 60), object.Of(o), reader.TypeName(decision))}
		}
		name := ""
		if value := fields[kind.matchKey]; value != nil {
			name = fmt.Sprint(value)
		}
		i := slices.IndexFunc(registered, func(c cluster) bool { return c.name == name })
		if name == "" || i < 0 {
			e.find(model.Warning, reasonParamsError, at, fmt.Sprintf("no registered cluster is called %q", reader.Clip(name, 100)))
			continue
		}
		set := params{"name": registered[i].name, "server": registered[i].server}
		for key, value := range fields {
			set[key] = fmt.Sprint(value)
		}
		if len(g.Values) > 0 { // upstream does not fill these
			e.render.setValues(g.Values, set)
		}
		out = append(out, set)
	}
	return out, nil
}

// allClusters are the registered clusters and the local one.
func (e *expansion) allClusters() ([]cluster, error) {
	registered, err := clusters(e.facts, e.namespace)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(registered, func(c cluster) bool { return c.server == inClusterAddress }) {
		registered = append(registered, cluster{name: inClusterName, server: inClusterAddress})
	}
	return registered, nil
}
