package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render/chart"
)

// helmed is what a chart came to.
type helmed struct {
	objects []model.Rendered
	chart   *model.Chart
	notes   string
	pinned  bool
}

// helm renders the chart of a directory: the objects of its directories crds,
// those of its templates in the order in which Helm installs them, and its
// hooks.
func (b *build) helm(dir string, opts model.HelmOptions) (*helmed, error) {
	one, err := b.chartAt(dir, opts.Packaged)
	switch {
	case err != nil:
		return nil, err
	case one == nil:
		return nil, b.faultAt(path.Join(dir, "Chart.yaml"), 0, "Chart.yaml file is missing", "name the directory of a chart")
	}
	if strings.EqualFold(one.Metadata.Type, "library") {
		return nil, b.faultAt(path.Join(one.dir, "Chart.yaml"), 0, "library charts are not installable", "a library is for other charts to depend on")
	}
	one, missing := b.complete(one)
	var more *MissingError
	if missing != nil && !errors.As(missing, &more) {
		return nil, missing
	}
	// Value files that are wanted too are asked for in the same round.
	h := &helming{build: b, opts: opts}
	values, err := h.values(one, dir)
	if err = bothMissing(missing, err); err != nil {
		return nil, h.masked(err)
	}
	return h.render(one, values)
}

// bothMissing puts what two steps miss into one error.
func bothMissing(first, second error) error {
	var a, b *MissingError
	switch {
	case first == nil:
		return second
	case errors.As(first, &a) && errors.As(second, &b):
		return &MissingError{Wants: slices.Concat(a.Wants, b.Wants)}
	case second != nil:
		return second
	}
	return first
}

// helming is the render of one chart.
type helming struct {
	*build
	opts model.HelmOptions
	dir  string // of the chart
	hide []string
}

func (h *helming) render(c *loadedChart, values map[string]any) (*helmed, error) {
	h.dir = c.dir
	target, err := h.target()
	if err != nil {
		return nil, err
	}
	defaults, err := h.defaults()
	if err != nil {
		return nil, err
	}
	result, err := c.Render(h.ctx, chart.Options{
		Values: values, Defaults: defaults, Version: h.opts.ChartVersion, SkipSchema: h.opts.SkipSchema, Target: target,
		Release: chart.Release{
			Name: h.opts.ReleaseName, Namespace: h.opts.Namespace, Service: h.opts.Service,
			Upgrade: h.opts.Upgrade, Revision: h.opts.Revision,
		},
		Limits: chart.Limits{Time: h.limits.HelmTime, Bytes: h.limits.HelmBytes},
	})
	if err != nil {
		return nil, h.renderFault(err)
	}
	out, err := h.made(result)
	if err != nil {
		return nil, h.masked(err)
	}
	version := c.Metadata.Version
	if h.opts.ChartVersion != "" {
		version = h.opts.ChartVersion
	}
	return &helmed{
		objects: out, notes: result.Notes, pinned: result.Pinned,
		chart: &model.Chart{Name: c.Metadata.Name, Version: version, AppVersion: c.Metadata.AppVersion, Digest: c.key, Deprecated: c.Metadata.Deprecated},
	}, nil
}

// defaults are the values that stand in for the chart's; nil: the chart's do.
func (h *helming) defaults() (map[string]any, error) {
	if h.opts.Defaults.IsZero() {
		return nil, nil
	}
	values, err := parsedValues(h.opts.Defaults.Reveal())
	if err != nil {
		return nil, h.fault(h.origin.Field, "the default values of the release are no mapping", "")
	}
	return values, nil
}

// target is what the chart may know of the cluster. Questions about it are
// reads of the mount AtAPI, and of AtLive.
func (h *helming) target() (chart.Target, error) {
	t := chart.Target{KubeVersion: common.DefaultCapabilities.KubeVersion}
	version := h.opts.KubeVersion
	served := version == ""
	if h.opts.KnownAPIs {
		served = len(h.opts.APIVersions) == 0
	}
	if at := path.Join(AtAPI, apiVersionFile); served || version == "" {
		_, found, err := h.recorder.Lookup(at)
		if err != nil {
			return t, h.readFault(at, err)
		}
		served = served && found
		if found && version == "" {
			text, err := h.recorder.Read(at)
			if err != nil {
				return t, h.readFault(at, err)
			}
			version = string(text)
		}
	}
	if version != "" {
		parsed, err := common.ParseKubeVersion(version)
		if err != nil {
			return t, h.fault(h.origin.Field, fmt.Sprintf("could not parse kubernetes version %s: %v", clipped(version), err), "")
		}
		t.KubeVersion = *parsed
	}
	builtIn := !served || h.opts.KnownAPIs
	t.HasAPI = func(api string) (bool, error) {
		if builtIn && common.DefaultVersionSet.Has(api) || slices.Contains(h.opts.APIVersions, api) {
			return true, nil
		}
		if !served || api == "" || cleaned(api) != api || climbs(api) || api == apiVersionFile {
			return false, nil
		}
		_, found, err := h.recorder.Lookup(path.Join(AtAPI, api))
		return found, err
	}
	t.APIs = func() ([]string, error) {
		var all []string
		if builtIn {
			all = append(all, common.DefaultVersionSet...)
		}
		if served {
			more, err := h.servedAPIs()
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
		return append(all, h.opts.APIVersions...), nil
	}
	if h.opts.Live {
		t.Lookup = h.lookup
	}
	return t, nil
}

// servedAPIs lists the whole mount AtAPI.
func (h *helming) servedAPIs() ([]string, error) {
	tree := Tree(h.recorder)
	if _, whole, err := h.recorder.Whole(AtAPI); err != nil {
		return nil, err
	} else if whole {
		tree = unrecorded{h.recorder}
	}
	var apis []string
	const deepest = 3 // group/version/Kind
	var list func(dir, name string, depth int) error
	list = func(dir, name string, depth int) error {
		entries, err := tree.List(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			api := path.Join(name, entry.Name)
			if entry.Kind != model.DirEntry {
				continue
			}
			if depth > 1 || !strings.Contains(entry.Name, ".") && entry.Name[0] == 'v' {
				apis = append(apis, api)
			}
			if depth < deepest {
				if err := list(path.Join(dir, entry.Name), api, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return apis, list(AtAPI, "", 1)
}

// lookup asks the mount AtLive.
func (h *helming) lookup(apiVersion, kind, namespace, name string) (map[string]any, error) {
	at := path.Join(AtLive, Lookup{apiVersion, kind, namespace, name}.path())
	_, found, err := h.recorder.Lookup(at)
	if err != nil || !found {
		return nil, err
	}
	text, err := h.recorder.Read(at)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("the function lookup got what is no object: %w", err)
	}
	return fields, nil
}

// renderFault is about a chart that cannot be rendered.
func (h *helming) renderFault(err error) error {
	var cause *chart.Error
	if !errors.As(err, &cause) {
		if h.ctx.Err() != nil {
			return h.recorder.fail(h.ctx.Err())
		}
		var fault *model.Fault
		if errors.As(err, &fault) {
			return err
		}
		return h.readFault(h.dir, err)
	}
	fault := h.fault("", cause.Message, "")
	if cause.File != "" {
		fault.Origin.File, fault.Origin.Line = path.Join(h.dir, cause.File), cause.Line
	}
	if cause.Stopped {
		fault.Advice, fault.Retry = "look for loops and recursion without end in the chart", cause.Timeout
	}
	return h.masked(fault)
}

// elidedTexts are those of this length or more: shorter ones are part of
// everything.
const elidedTexts = 4

// masked takes secret texts out of a message: those that came from Secrets, or,
// where that is not known, all texts among the values.
func (h *helming) masked(err error) error {
	var fault *model.Fault
	if !errors.As(err, &fault) {
		return err
	}
	same := *fault
	for _, text := range h.secrets() {
		same.Message = strings.ReplaceAll(same.Message, text, elided)
	}
	return &same
}

func (h *helming) secrets() []string {
	if h.hide != nil {
		return h.hide
	}
	h.hide = []string{}
	add := func(text string) {
		if len(strings.TrimSpace(text)) >= elidedTexts {
			h.hide = append(h.hide, text)
		}
	}
	if h.opts.Sensitive != nil {
		for _, text := range h.opts.Sensitive {
			add(string(text.Reveal()))
		}
	} else if values, err := parsedValues(h.opts.Values.Reveal()); err == nil {
		eachText(values, add)
	}
	slices.SortFunc(h.hide, func(a, b string) int { return len(b) - len(a) })
	return h.hide
}

// eachText visits every text in a value.
func eachText(value any, visit func(string)) {
	switch v := value.(type) {
	case string:
		visit(v)
	case []any:
		for _, item := range v {
			eachText(item, visit)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			eachText(v[key], visit)
		}
	}
}

// made turns what templates printed into objects.
func (h *helming) made(result *chart.Result) ([]model.Rendered, error) {
	manifests, hooks, err := chart.Sort(result.Files, result.File)
	if err != nil {
		return nil, h.renderFault(err)
	}
	if h.opts.SkipHooks {
		hooks = nil
	}
	if h.opts.SkipTests {
		hooks = slices.DeleteFunc(hooks, func(d chart.Document) bool { return d.Test() })
	}
	var definitions []chart.Document
	if !h.opts.SkipCRDs {
		definitions = cutFiles(result.CRDs)
	}
	whole := map[string]string{}
	for i := range result.CRDs {
		whole[result.CRDs[i].Template] = result.CRDs[i].Text
	}
	crds, err := h.items(definitions, func(d *chart.Document) string { return whole[d.Template] })
	if err != nil {
		return nil, err
	}
	source := func(d *chart.Document) string { return result.Source(d.Template) }
	plain, err := h.items(manifests, source)
	if err != nil {
		return nil, err
	}
	hooked, err := h.items(hooks, source)
	if err != nil {
		return nil, err
	}
	if plain, hooked, err = h.postRender(plain, hooked); err != nil {
		return nil, err
	}
	return h.collect(crds, slices.Concat(plain, hooked))
}

// cutFiles divides files of definitions into documents.
func cutFiles(files []chart.Document) []chart.Document {
	var out []chart.Document
	for _, file := range files {
		parts := chart.Cut(file.Text)
		for i, text := range parts {
			one := file
			one.Text, one.Part, one.Parts = text, i, len(parts)
			out = append(out, one)
		}
	}
	return out
}

// item is one object on its way through post-renderers.
type item struct {
	fields map[string]any
	at     asked
}

// items decodes documents. Lists become what is in them.
func (h *helming) items(documents []chart.Document, source func(*chart.Document) string) ([]item, error) {
	var out []item
	for i := range documents {
		d := &documents[i]
		at := asked{file: path.Join(h.dir, d.File)}
		if err := h.boundYAML(at.file, []byte(d.Text)); err != nil {
			return nil, err
		}
		text, err := sigsyaml.YAMLToJSON([]byte(d.Text))
		if err != nil {
			return nil, h.faultAt(at.file, 0, fmt.Sprintf("YAML parse error on %s: %s", d.Template, firstLine(err.Error())), "")
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			return nil, h.faultAt(at.file, 0, fmt.Sprintf("%s makes what is no JSON", d.Template), "")
		}
		if value == nil {
			continue
		}
		fields, ok := value.(map[string]any)
		if !ok {
			return nil, h.faultAt(at.file, 0, fmt.Sprintf("%s makes what is no Kubernetes object", d.Template), "")
		}
		at.line = lineOf(source(d), d)
		out = h.flatten(out, fields, at)
		if len(out) > h.limits.Objects {
			return nil, h.fault("", fmt.Sprintf("the chart has more than %d objects", h.limits.Objects), "split it into several")
		}
	}
	return out, nil
}

func (h *helming) flatten(to []item, fields map[string]any, at asked) []item {
	list, ok := listItems(fields)
	if !ok {
		return append(to, item{fields, at})
	}
	for _, one := range list {
		if child, ok := one.(map[string]any); ok {
			to = h.flatten(to, child, at)
		} else {
			to = append(to, item{map[string]any{}, at}) // refused as nameless
		}
	}
	return to
}

// lineOf is the line of a template that a document comes from, as well as it
// can be told: that of the part with the same number where it prints as many
// as it has, else that of the only mention of the kind.
func lineOf(source string, d *chart.Document) int {
	if parts := chart.Cut(source); len(parts) == d.Parts {
		if at := strings.Index(source, parts[d.Part]); at >= 0 {
			return strings.Count(source[:at], "\n") + lineOfContent([]byte(parts[d.Part]))
		}
	}
	mark := "kind: " + d.Kind
	if at := strings.Index(source, mark); d.Kind != "" && at >= 0 && strings.Count(source, mark) == 1 {
		return strings.Count(source[:at], "\n") + 1
	}
	return 0
}

// collect makes the objects of a release.
func (h *helming) collect(crds, others []item) ([]model.Rendered, error) {
	c := (&survey{build: h.build}).collector(nil)
	for i, one := range slices.Concat(crds, others) {
		overlay(one.fields, "labels", h.opts.OwnLabels)
		from := len(c.objects)
		if err := c.add(one.fields, &one.at); err != nil {
			return nil, err
		}
		for j := from; j < len(c.objects); j++ {
			c.objects[j].CRD = i < len(crds)
			c.objects[j].Secret = c.objects[j].Secret || h.sensitive(c.objects[j].JSON)
		}
	}
	return c.objects, nil
}

// sensitive reports whether an object holds a text that came from a Secret.
func (h *helming) sensitive(text []byte) bool {
	if h.opts.Sensitive == nil {
		return false
	}
	for _, secret := range h.secrets() {
		written, err := object.CanonicalValue(secret)
		if err == nil && len(written) > 2 && strings.Contains(string(text), string(written[1:len(written)-1])) {
			return true
		}
	}
	return false
}
