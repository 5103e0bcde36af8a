package chart

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	helmchart "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

// Release is what templates know of the release.
type Release struct {
	Name, Namespace string
	Service         string // "": "Helm"
	Upgrade         bool
	Revision        int // 0 stands for 1
}

// Target is what templates know of the cluster.
type Target struct {
	KubeVersion common.KubeVersion
	// HasAPI reports whether "version", "group/version" or one of them with
	// "/Kind" is served; APIs lists all of them.
	HasAPI func(api string) (bool, error)
	APIs   func() ([]string, error)
	// Lookup returns an object, or a list where name is empty; nil when there is
	// none. A nil function finds nothing.
	Lookup func(apiVersion, kind, namespace, name string) (map[string]any, error)
}

// Limits bound a render. A zero field means the default.
type Limits struct {
	Time  time.Duration // default 60 s
	Bytes int64         // that all templates print together, and of one text; default 64 MiB
	Depth int           // includes, calls of tpl and of templates in each other; default 1,500
}

func (l Limits) orDefaults() Limits {
	if l.Time <= 0 {
		l.Time = time.Minute
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 1_500
	}
	return l
}

// Options of a render.
type Options struct {
	Values     map[string]any // over the chart's; left as they are
	Defaults   map[string]any // instead of the chart's; nil: the chart's
	Version    string         // instead of the chart's; "": the chart's
	Release    Release
	Target     Target
	SkipSchema bool
	Limits     Limits
}

// Result is what a chart comes to.
type Result struct {
	CRDs  []Document        // of the directories crds, whole files as they are
	Files map[string]string // what each template printed, by its name; see Sort
	Notes string
	// Pinned: the clock or randomness had a part in it.
	Pinned bool

	places, sources map[string]string
}

// Source is the text of a template.
func (r *Result) Source(template string) string { return r.sources[template] }

// File is the path of a template relative to the outermost chart's directory.
func (r *Result) File(template string) string { return r.places[template] }

// Error is about a chart that cannot be rendered, in Helm's words as far as
// they quote no values.
type Error struct {
	Template string // "": none in particular
	File     string // of the template, relative to the outermost chart's directory
	Line     int
	Message  string
	Stopped  bool // a bound was reached; Retry may help where it was time
	Timeout  bool
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

const notesFile = "NOTES.txt"

// Render renders the chart. Errors are *Error, those of the functions of
// Target, or that of the context.
func (c *Chart) Render(ctx context.Context, opts Options) (*Result, error) {
	if err := compatible(c, opts.Target.KubeVersion); err != nil {
		return nil, err
	}
	root := instantiate(c, nil)
	if opts.Defaults != nil {
		root.values = opts.Defaults
	}
	if opts.Version != "" {
		root.meta.Version = opts.Version
	}
	if err := root.processDependencies(opts.Values); err != nil {
		return nil, &Error{Message: "chart dependencies processing failed: " + err.Error()}
	}
	values, err := coalesced(root, opts.Values, removeNulls)
	if err != nil {
		return nil, &Error{Message: err.Error()}
	}
	if !opts.SkipSchema {
		if err := root.validate(values); err != nil {
			return nil, err
		}
	}
	r := newRun(ctx, opts)
	defer r.cancel()
	templates := map[string]prepared{}
	r.collect(root, r.scope(values, opts), templates)
	files, err := r.render(templates)
	if err != nil {
		return nil, err
	}
	result := &Result{Files: files, Pinned: r.pinned, CRDs: root.crds(nil), places: r.places, sources: r.sources}
	result.takeNotes(root.name)
	return result, nil
}

// compatible checks kubeVersion of Chart.yaml.
func compatible(c *Chart, version common.KubeVersion) error {
	if want := c.Metadata.KubeVersion; want != "" && !util.IsCompatibleRange(want, version.String()) {
		return &Error{Message: fmt.Sprintf("chart requires kubeVersion: %s which is incompatible with Kubernetes %s", want, version.Version)}
	}
	return nil
}

// takeNotes moves what is printed for people out of the manifests.
func (r *Result) takeNotes(chart string) {
	for name, text := range r.Files {
		if strings.HasSuffix(name, notesFile) {
			if name == path.Join(chart, "templates", notesFile) {
				r.Notes = text
			}
			delete(r.Files, name)
		}
	}
}

// run is one render.
type run struct {
	ctx    context.Context
	cancel context.CancelFunc
	limits Limits
	target Target
	apis   []string // once they were asked for
	pinned bool
	failed error // what no template may swallow

	included map[string]int
	depth    int
	text     int64 // bytes of text made so far
	printed  int64
	items    int64 // of lists and tables made so far
	snippets map[string]snippet
	places   map[string]string // of templates in the outermost chart's directory
	sources  map[string]string // what stands there
}

func newRun(ctx context.Context, opts Options) *run {
	r := &run{limits: opts.Limits.orDefaults(), target: opts.Target, included: map[string]int{}, snippets: map[string]snippet{}, places: map[string]string{}, sources: map[string]string{}}
	r.ctx, r.cancel = context.WithTimeoutCause(ctx, r.limits.Time, errLate)
	return r
}

var errLate = errors.New("the time is over")

// scope is what the templates of the outermost chart see.
func (r *run) scope(values map[string]any, opts Options) map[string]any {
	release := opts.Release
	if release.Service == "" {
		release.Service = "Helm"
	}
	if release.Revision == 0 {
		release.Revision = 1
	}
	return map[string]any{
		"Release": map[string]any{
			"Name": release.Name, "Namespace": release.Namespace, "Revision": release.Revision, "Service": release.Service,
			"IsUpgrade": release.Upgrade, "IsInstall": !release.Upgrade,
		},
		"Capabilities": &capabilities{KubeVersion: opts.Target.KubeVersion, HelmVersion: common.DefaultCapabilities.HelmVersion, run: r},
		"Values":       common.Values(values),
	}
}

// prepared is a template with what it sees.
type prepared struct {
	file     parsedFile
	sees     map[string]any
	basePath string
}

// collect gathers the templates of a chart and its subcharts, each with its own
// part of the values (Helm, pkg/engine, allTemplates), and returns what those
// of the chart see.
func (r *run) collect(c *instance, above map[string]any, to map[string]prepared) map[string]any {
	below := map[string]any{}
	sees := map[string]any{
		"Chart": metadataOf(c), "Files": c.files, "Release": above["Release"], "Capabilities": above["Capabilities"],
		"Values": make(common.Values), "Subcharts": below,
	}
	if c.parent == nil {
		sees["Values"] = above["Values"]
	} else if own, err := common.Values(above).Table("Values." + c.name); err == nil {
		sees["Values"] = own
	}
	for _, sub := range c.deps {
		below[sub.name] = r.collect(sub, sees, to)
	}
	full := c.fullName()
	parsed := c.parse(full)
	for _, f := range c.Templates {
		if c.Library() && !strings.HasPrefix(path.Base(f.Name), "_") {
			continue
		}
		name := path.Join(full, f.Name)
		to[name] = prepared{file: parsed[name], sees: sees, basePath: path.Join(full, "templates")}
		r.sources[name] = parsed[name].source
		r.places[name] = path.Join(c.At, f.Name)
	}
	return sees
}

// metadataOf is .Chart.
func metadataOf(c *instance) map[string]any {
	accessor, err := helmchart.NewAccessor(&v2.Chart{Metadata: c.meta})
	if err != nil { // it knows charts
		return map[string]any{}
	}
	fields := accessor.MetadataAsMap()
	fields["IsRoot"] = c.parent == nil
	return fields
}

// parse returns the trees of the chart's templates under its full name. They
// are made once for each name that the chart goes by.
func (c *Chart) parse(full string) parsedTemplates {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.parsed[full]; ok {
		return known
	}
	const most = 64 // names that one chart goes by
	if len(c.parsed) >= most {
		clear(c.parsed)
	}
	parsed := make(parsedTemplates, len(c.Templates))
	for _, f := range c.Templates {
		name := path.Join(full, f.Name)
		source := string(f.Data)
		trees, err := parseText(name, source)
		parsed[name] = parsedFile{source: source, trees: trees, err: err}
	}
	c.parsed[full] = parsed
	return parsed
}

// parseText parses as template.Template.Parse does, and prepares the trees for
// a bounded run.
func parseText(name, text string) (trees map[string]*parse.Tree, err error) {
	defer func() {
		if r := recover(); r != nil {
			trees, err = nil, fmt.Errorf("template: %s: %v", name, r)
		}
	}()
	trees, err = parse.Parse(name, text, "", "", known.names, builtins)
	if err != nil {
		return nil, err
	}
	for _, tree := range trees {
		instrument(tree)
	}
	return trees, nil
}

// render executes the templates, deeper paths first.
func (r *run) render(templates map[string]prepared) (files map[string]string, err error) {
	names := sortedKeys(templates)
	slices.SortStableFunc(names, func(a, b string) int {
		if d := strings.Count(b, "/") - strings.Count(a, "/"); d != 0 {
			return d
		}
		return strings.Compare(b, a)
	})
	t := template.New("gotpl").Option("missingkey=zero").Funcs(known.funcs)
	t.Funcs(r.functions(t))
	for _, name := range names {
		file := templates[name].file
		if file.err != nil {
			return nil, r.unparsed(name, file.err)
		}
		if err := addTrees(t, name, file.trees); err != nil {
			return nil, r.unparsed(name, err)
		}
	}
	files = make(map[string]string, len(names))
	for _, name := range names {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		one := templates[name]
		one.sees["Template"] = common.Values{"Name": name, "BasePath": one.basePath}
		out := &printer{run: r}
		err := t.ExecuteTemplate(out, name, one.sees)
		if stop := r.stopped(); stop != nil {
			var bound *Error
			if errors.As(stop, &bound) {
				bound.Template, bound.File = name, r.places[name]
			}
			return nil, stop
		}
		if err != nil {
			return nil, r.broken(name, err)
		}
		files[name] = strings.ReplaceAll(out.String(), noValue, "")
	}
	return files, nil
}

// noValue is what the template engine prints for what is not there.
const noValue = "<no value>"

func addTrees(t *template.Template, name string, trees map[string]*parse.Tree) error {
	one := t.New(name)
	for _, defined := range sortedKeys(trees) {
		if _, err := one.AddParseTree(defined, trees[defined]); err != nil {
			return err
		}
	}
	return nil
}

// printer gathers what a template prints, up to the limit.
type printer struct {
	strings.Builder
	run *run
}

// Write implements io.Writer.
func (p *printer) Write(text []byte) (int, error) {
	p.run.printed += int64(len(text))
	const again = 16 // what is included is printed again by those who include
	if int64(p.Len()+len(text)) > p.run.limits.Bytes || p.run.printed > again*p.run.limits.Bytes {
		return 0, p.run.stop(fmt.Sprintf("the templates print more than %d bytes", p.run.limits.Bytes))
	}
	return p.Builder.Write(text)
}

// stop ends the render, whatever the template makes of the error.
func (r *run) stop(message string) error { return r.fail(&Error{Message: message, Stopped: true}) }

// fail is stop with an error that is returned as it is.
func (r *run) fail(err error) error {
	if r.failed == nil {
		r.failed = err
	}
	return err
}

func (r *run) stopped() error {
	if r.failed != nil {
		return r.failed
	}
	return r.late()
}

// late reports whether the time is over.
func (r *run) late() error {
	err := r.ctx.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(r.ctx), errLate):
		return r.fail(&Error{Message: fmt.Sprintf("the chart is not rendered within %s", r.limits.Time), Stopped: true, Timeout: true})
	}
	return r.fail(err)
}

// unparsed is about a template with a syntax error.
func (r *run) unparsed(name string, err error) error {
	if cause, ok := r.position(err.Error()); ok {
		parts := strings.Split(err.Error(), ": ")
		cause.Message = fmt.Sprintf("parse error at (%s:%d): %s", cause.Template, cause.Line, clipped(parts[len(parts)-1]))
		return cause
	}
	return &Error{Template: name, File: r.places[name], Message: fmt.Sprintf("parse error in (%s): %s", name, clipped(firstLine(err.Error())))}
}

// broken is about a template that failed.
func (r *run) broken(name string, err error) error {
	cause, ok := r.position(err.Error())
	if !ok {
		cause = &Error{Template: name, File: r.places[name]}
	}
	var said *failError
	if errors.As(err, &said) {
		cause.Message = fmt.Sprintf("execution error at (%s:%d): %s", cause.Template, cause.Line, clipped(said.text))
		return cause
	}
	text := firstLine(err.Error())
	if at := strings.LastIndex(text, inTemplate); at >= 0 { // where it began, not who included that
		text = text[at+len(inTemplate):]
	}
	cause.Message = clipped(text)
	return cause
}

const inTemplate = "template: "

var located = regexp.MustCompile(`template: ([^\s:]+):(\d+)(?::\d+)?:`)

// position finds the innermost template file that an error names.
func (r *run) position(text string) (*Error, bool) {
	var found *Error
	for _, m := range located.FindAllStringSubmatch(text, -1) {
		if file, ok := r.places[m[1]]; ok {
			line, _ := strconv.Atoi(m[2])
			found = &Error{Template: m[1], File: file, Line: line}
		}
	}
	return found, found != nil
}

func clipped(text string) string {
	const most = 1500
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
