package render

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// Charts in a kustomization are rendered before kustomize runs, and what they
// come to is put where kustomize finds it: as a file among the resources of the
// kustomization that asks for it, which is rewritten to match. Semantics are
// those of the HelmChartInflationGenerator of sigs.k8s.io/kustomize, which runs
// the command helm.

const (
	chartKind       = "HelmChartInflationGenerator"
	mergeValues     = "merge"
	overrideValues  = "override"
	replaceValues   = "replace"
	defaultRelease  = "release-name"
	generatedCharts = ".plumb-chart-"
)

// inflation is one chart that a kustomization asks for, with what that asks for
// of all of them.
type inflation struct {
	types.HelmGlobals
	types.HelmChart
}

// charts renders the charts of a kustomization.
func (s *survey) charts(l layer) error {
	var wanted []inflation
	for _, chart := range l.k.HelmCharts {
		one := inflation{HelmChart: chart}
		if l.k.HelmGlobals != nil {
			one.HelmGlobals = *l.k.HelmGlobals
		}
		wanted = append(wanted, one)
	}
	generators, more, err := s.chartGenerators(l)
	if err != nil {
		return err
	}
	wanted = append(wanted, more...)
	if len(wanted) == 0 && l.k.HelmGlobals == nil {
		return nil
	}
	if !s.opts.EnableHelm {
		return s.chartsRefused(l)
	}
	if was, ok := s.spaces[l.file]; ok && was != l.outer {
		return s.faultAt(l.file, 0, "a kustomization with charts is used with the namespaces "+was+" and "+l.outer, "write the namespace into helmCharts")
	}
	s.spaces[l.file] = l.outer
	name := fmt.Sprintf("%s%d.yaml", generatedCharts, len(s.spaces))
	stream, err := s.inflate(l, wanted)
	if err != nil {
		return err
	}
	if s.plugins {
		return s.faultAt(l.file, 0, "a chart cannot make the configuration of a plugin", "")
	}
	s.fs.overlay[path.Join(l.dir, name)] = stream
	s.unclean = true
	return s.rewrite(l, func(k *types.Kustomization) {
		k.HelmCharts, k.HelmGlobals, k.HelmChartInflationGenerator = nil, nil, nil
		k.Generators = generators
		if len(stream) > 0 {
			k.Resources = append(slices.Clone(k.Resources), name)
		}
	})
}

// rewrite changes a kustomization in front of kustomize.
func (s *survey) rewrite(l layer, change func(*types.Kustomization)) error {
	change(l.k)
	if l.file == s.root.path {
		s.root.kustomization.FixKustomization()
		change(&s.root.kustomization)
		return nil
	}
	text, err := sigsyaml.Marshal(l.k)
	if err != nil {
		return s.faultAt(l.file, 0, "the kustomization cannot be written as YAML", "")
	}
	s.fs.overlay[l.file] = text
	return nil
}

func (s *survey) chartsRefused(l layer) error {
	line := 0
	for _, name := range []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals", "generators"} {
		if line = l.lineOf(name + ":"); line > 0 {
			break
		}
	}
	advice := "deliver the chart with a HelmRelease, or commit its rendered manifests"
	if s.argo {
		advice = "set kustomize.buildOptions: --enable-helm in argocd-cm, or commit its rendered manifests"
	}
	return s.faultAt(l.file, line, "trouble configuring builtin HelmChartInflationGenerator: must specify --enable-helm", advice)
}

// chartGenerators finds the charts that stand in generators, as files or
// inline, and returns the generators without them.
func (s *survey) chartGenerators(l layer) (rest []string, charts []inflation, err error) {
	for _, generator := range l.k.Generators {
		text, file := []byte(generator), l.file
		if !inlineObject(generator) {
			at := path.Join(l.dir, generator)
			if path.IsAbs(generator) || climbs(at) || remoteDir(generator) {
				rest = append(rest, generator) // refused elsewhere
				continue
			}
			var ok bool
			if text, ok, err = s.fileAt(at); err != nil || !ok {
				if err != nil {
					return nil, nil, err
				}
				rest = append(rest, generator)
				continue
			}
			file = at
		}
		found, err := s.chartsIn(file, text)
		switch {
		case err != nil:
			return nil, nil, err
		case len(found) == 0:
			rest = append(rest, generator)
		default:
			charts = append(charts, found...)
		}
	}
	return rest, charts, nil
}

func (s *survey) chartsIn(file string, text []byte) ([]inflation, error) {
	if !strings.Contains(string(text), chartKind) {
		return nil, nil
	}
	if err := s.boundYAML(file, text); err != nil {
		return nil, err
	}
	docs, _ := documents(text)
	var found []inflation
	for _, doc := range docs {
		if scalarAt(doc.node, "kind") != chartKind || scalarAt(doc.node, "apiVersion") != konfig.BuiltinPluginApiVersion {
			continue
		}
		fields, err := doc.decoded()
		if err != nil {
			return nil, s.faultAt(file, doc.line, chartKind+" cannot be read", "")
		}
		var one inflation
		if err := sigsyaml.Unmarshal(fields, &one); err != nil {
			return nil, s.faultAt(file, doc.line, chartKind+" cannot be read", "")
		}
		found = append(found, one)
	}
	if len(found) > 0 && len(found) < len(docs) {
		return nil, s.faultAt(file, 0, "a file of generators holds charts and others", "put each into a file of its own")
	}
	return found, nil
}

// inflate renders charts to one stream of YAML.
func (s *survey) inflate(l layer, wanted []inflation) ([]byte, error) {
	var stream []byte
	for i := range wanted {
		one := &wanted[i]
		if one.HelmChart.Namespace == "" {
			one.HelmChart.Namespace = l.outer
		}
		at, packaged, err := s.chartHome(l, one)
		if err != nil {
			return nil, err
		}
		if at == "" {
			continue // wanted, with others
		}
		objects, err := s.inflated(l, one, at, packaged)
		if err != nil {
			return nil, err
		}
		for i := range objects {
			text, err := s.inflatedObject(l, &objects[i])
			if err != nil {
				return nil, err
			}
			stream = append(append(stream, "---\n"...), text...)
		}
	}
	return stream, nil
}

// chartHome finds a chart: in the directory of charts, or fetched.
func (s *survey) chartHome(l layer, one *inflation) (at string, packaged bool, err error) {
	line := l.lineOf("name: " + one.Name)
	if one.Name == "" {
		return "", false, s.faultAt(l.file, line, "chart name cannot be empty", "")
	}
	at = path.Join(s.homeOf(l, one), one.Name)
	if climbs(at) || s.leaves(l, at) {
		return "", false, s.outsideFault(l, one.ChartHome)
	}
	in, entry, err := s.fs.resolve(at)
	switch {
	case err == nil && isDir(entry):
		return in, false, nil
	case err != nil && !isNotExist(err):
		return "", false, s.readFault(at, err)
	case one.Repo == "":
		return "", false, s.faultAt(l.file, line, fmt.Sprintf("no repo specified for pull, no chart found at '%s'", at), "commit the chart there, or name its repository")
	}
	want := wantChart(WantedChart{Name: one.Name, Version: one.Version, Repository: one.Repo, Devel: one.Devel}, l.file)
	return s.mountOf(want)
}

// mountOf is where a want is mounted; "" when it is not, and is remembered.
func (s *survey) mountOf(want Want) (at string, packaged bool, err error) {
	_, there, err := s.recorder.Lookup(want.At)
	if err != nil {
		return "", false, s.readFault(want.At, err)
	}
	if !there {
		s.wants = append(s.wants, want)
		return "", false, nil
	}
	return want.At, true, nil
}

func (s *survey) homeOf(l layer, one *inflation) string {
	home := one.ChartHome
	if home == "" {
		home = types.HelmDefaultHome
	}
	home = path.Join(l.dir, home)
	if one.Version != "" && one.Repo != "" {
		home = path.Join(home, one.Name+"-"+one.Version)
	}
	return home
}

// inflated renders one chart.
func (s *survey) inflated(l layer, one *inflation, at string, packaged bool) ([]model.Rendered, error) {
	values, err := s.inflationValues(l, one, at)
	if err != nil {
		return nil, err
	}
	release := one.ReleaseName
	if one.NameTemplate != "" {
		release = one.NameTemplate
	}
	if strings.Contains(release, "{{") {
		return nil, s.faultAt(l.file, l.lineOf(release), "a template for the name of a release is not supported", "write the name")
	}
	if release == "" {
		release = defaultRelease
	}
	opts := model.HelmOptions{
		ReleaseName: release, Namespace: one.HelmChart.Namespace, Values: model.NewSecret(values), Packaged: packaged,
		KubeVersion: one.KubeVersion, APIVersions: one.ApiVersions, KnownAPIs: true,
		SkipCRDs: !one.IncludeCRDs, SkipTests: one.SkipTests, SkipHooks: one.SkipHooks,
	}
	if s.opts.KubeVersion != "" {
		opts.KubeVersion = s.opts.KubeVersion
	}
	if len(s.opts.APIVersions) > 0 {
		opts.APIVersions = s.opts.APIVersions
	}
	made, err := s.helm(at, opts)
	if err != nil {
		return nil, err
	}
	s.pinned = s.pinned || made.pinned
	return made.objects, nil
}

// inflatedObject writes an object as kustomize is to read it, and notes where it
// comes from.
func (s *survey) inflatedObject(l layer, rendered *model.Rendered) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(rendered.JSON, &fields); err != nil {
		return nil, s.faultAt(rendered.Origin.File, rendered.Origin.Line, "the object cannot be read", "")
	}
	overlay(fields, "annotations", map[string]string{konfig.HelmGeneratedAnnotation: "true"})
	text, err := sigsyaml.Marshal(fields)
	if err != nil {
		return nil, s.faultAt(rendered.Origin.File, rendered.Origin.Line, "the object cannot be written", "")
	}
	id := rendered.ID
	s.asked = append(s.asked, asked{ // kustomize leaves the namespace of what a chart made alone
		kind: id.Kind, bare: id.Name, name: l.prefix + id.Name + l.suffix, namespace: id.Namespace, group: id.Group,
		file: rendered.Origin.File, line: rendered.Origin.Line,
	})
	return text, nil
}

// inflationValues are what goes over the chart's values.
func (s *survey) inflationValues(l layer, one *inflation, at string) ([]byte, error) {
	values, err := s.valuesIn(l, one.ValuesFile, path.Join(at, "values.yaml"))
	if err != nil {
		return nil, err
	}
	inline := map[string]any{}
	if len(one.ValuesInline) > 0 {
		text, err := sigsyaml.Marshal(one.ValuesInline)
		if err == nil {
			inline, err = parsedValues(text)
		}
		if err != nil {
			return nil, s.faultAt(l.file, l.lineOf("valuesInline:"), "valuesInline is no mapping", "")
		}
		switch one.ValuesMerge {
		case "", overrideValues:
			mergeOver(values, inline)
		case mergeValues:
			mergeOver(inline, values)
			values = inline
		case replaceValues:
			values = inline
		default:
			return nil, s.faultAt(l.file, l.lineOf("valuesMerge:"), "valuesMerge must be one of [merge override replace]", "")
		}
	}
	for _, file := range one.AdditionalValuesFiles {
		more, err := s.valuesIn(l, file, "")
		if err != nil {
			return nil, err
		}
		values = merged(values, more)
	}
	text, err := sigsyaml.Marshal(values)
	if err != nil {
		return nil, s.faultAt(l.file, 0, "the values of a chart cannot be written", "")
	}
	return text, nil
}

// valuesIn reads a file of values: one that is named, or another one that need
// not be there.
func (s *survey) valuesIn(l layer, named, otherwise string) (map[string]any, error) {
	at := otherwise
	if named != "" {
		at = path.Join(l.dir, named)
		if path.IsAbs(named) || climbs(at) || s.leaves(l, at) || remoteFile(named) {
			return nil, s.outsideFault(l, withoutCredentials(named))
		}
	}
	text, ok, err := s.fileAt(at)
	if err != nil {
		return nil, err
	}
	if !ok && named != "" {
		return nil, s.faultAt(l.file, l.lineOf(named), fmt.Sprintf("%s names the value file %s, which does not exist", l.name(), at), "add the file or remove the line")
	}
	if text, err = s.decrypted(at, text); err != nil {
		return nil, err
	}
	if err := s.boundYAML(at, text); err != nil {
		return nil, err
	}
	values, err := parsedValues(text)
	if err != nil {
		return nil, s.faultAt(at, 0, fmt.Sprintf("failed to parse %s: it is no YAML mapping", at), "")
	}
	return values, nil
}

// mergeOver puts src over dst, table by table; a null removes (kustomize
// kyaml/yaml/merge2).
func mergeOver(dst, src map[string]any) {
	for key, value := range src {
		table, isTable := value.(map[string]any)
		has, hasTable := dst[key].(map[string]any)
		switch {
		case value == nil:
			delete(dst, key)
		case isTable && hasTable:
			mergeOver(has, table)
		default:
			dst[key] = value
		}
	}
}
