package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// A survey walks the kustomizations of a build before kustomize runs. It
// refuses what would leave the tree, names the file and line of what is
// missing, and notes where every object is asked for, so that objects can be
// traced to their lines without asking kustomize for annotations, which
// patches could see.
type survey struct {
	*build
	layers   int
	open     []string // directories of the kustomizations that are being walked
	parsed   map[string][]document
	asked    []asked
	made     []asked // by generators: the name is followed by a hash
	openAPI  bool    // a schema other than the built-in one is used
	unclean  bool    // a file may be read differently by kustomize
	files    []string
	inline   []string // patches, literals and plugins that stand in kustomizations, longest first
	rootFile string
	plugins  bool // inside of generators, transformers and validators
	root     *rootFile
	spaces   map[string]string  // kustomizations with charts → namespace from outside
	wants    []Want             // what is not mounted yet
	granted  map[[2]string]bool // mounts that those in others name by their addresses
}

// asked is an object as a file asks for it, with the name and namespace that
// it will have unless something unusual changes them.
type asked struct {
	kind, name, namespace string
	bare                  string // name without prefixes and suffixes
	group                 string
	file                  string
	line                  int
	node                  *yaml.Node // nil for what a generator makes
}

// layer is one kustomization on the way from the root.
type layer struct {
	dir    string
	file   string
	text   []byte // as it stands in the tree; nil when generated
	k      *types.Kustomization
	prefix string
	suffix string
	space  string // namespace that an outer layer or this one sets
	outer  string // namespace that charts are told: this layer's own, or else that of the nearest outer one

	rewrites bool // builds plugins, and may change them
}

func (b *build) survey(root *rootFile, dir string) (*survey, error) {
	s := &survey{build: b, parsed: map[string][]document{}, rootFile: root.path, root: root, spaces: map[string]string{}, granted: map[[2]string]bool{}}
	k := root.kustomization
	k.FixKustomization() // what it changes in slices that are shared, kustomize changes in the same way
	top := layer{dir: dir, file: root.path, text: root.text, k: &k}
	err := s.visit(top.settle())
	slices.SortFunc(s.inline, func(a, b string) int { return len(b) - len(a) })
	var missing *MissingError
	if errors.As(err, &missing) { // of a chart that depends on others
		err = nil
		s.wants = append(s.wants, missing.Wants...)
	}
	if err == nil && len(s.wants) > 0 {
		return nil, &MissingError{Wants: distinctWants(s.wants)}
	}
	return s, err
}

// distinctWants leaves out what is wanted twice.
func distinctWants(wants []Want) []Want {
	seen := map[string]bool{}
	return slices.DeleteFunc(wants, func(w Want) bool {
		was := seen[w.Key]
		seen[w.Key] = true
		return was
	})
}

// settle takes the layer's own names into account.
func (l layer) settle() layer {
	l.prefix += l.k.NamePrefix
	l.suffix = l.k.NameSuffix + l.suffix
	if l.space == "" {
		l.space = l.k.Namespace
	}
	if l.k.Namespace != "" {
		l.outer = l.k.Namespace
	}
	return l
}

func (s *survey) visit(l layer) error {
	if s.layers++; s.layers > s.limits.Layers {
		return s.readFault(l.file, &LimitError{Path: l.file, Message: fmt.Sprintf("this build has more than %d kustomizations, counting one that is used twice twice", s.limits.Layers)})
	}
	if len(s.open) >= s.limits.Depth {
		return s.readFault(l.file, &LimitError{Path: l.file, Message: fmt.Sprintf("more than %d kustomizations in a chain", s.limits.Depth)})
	}
	s.open = append(s.open, l.dir)
	defer func() { s.open = s.open[:len(s.open)-1] }()

	for _, check := range []func(layer) error{
		s.remotes, s.refuseRemoteFiles, s.unsealSources, s.boundInline, s.visitResources, s.visitComponents, s.charts, s.visitPlugins,
	} {
		if err := check(l); err != nil {
			return err
		}
	}
	if !s.plugins {
		s.noteGenerated(l)
	}
	if len(l.k.OpenAPI) > 0 {
		s.openAPI = true
	}
	return nil
}

// refuseRemoteFiles refuses every field that kustomize would fetch over HTTP.
// Directories are seen by visitResources and visitComponents.
func (s *survey) refuseRemoteFiles(l layer) error {
	for _, p := range loads(l.k) {
		if remoteFile(p) {
			return s.remoteFault(l, p)
		}
		if s.leaves(l, path.Join(l.dir, p)) {
			return s.outsideFault(l, p)
		}
	}
	return nil
}

// loads lists the files that the fields of a kustomization name, apart from
// resources, components and plugins.
func loads(k *types.Kustomization) []string {
	paths := slices.Concat(k.Crds, k.Configurations)
	for _, patch := range patches(k) {
		paths = append(paths, patch.Path)
	}
	for _, patch := range strategicMerges(k) {
		paths = append(paths, string(patch))
	}
	for _, replacement := range k.Replacements {
		paths = append(paths, replacement.Path)
	}
	for _, generator := range k.ConfigMapGenerator {
		paths = append(paths, sources(generator.KvPairSources)...)
	}
	for _, generator := range k.SecretGenerator {
		paths = append(paths, sources(generator.KvPairSources)...)
	}
	return append(paths, k.OpenAPI["path"])
}

// patches lists the patches of the field and of the one that it replaced.
func patches(k *types.Kustomization) []types.Patch {
	return slices.Concat(k.Patches, k.PatchesJson6902) //nolint:staticcheck // retired by kustomize, which still builds it
}

func strategicMerges(k *types.Kustomization) []types.PatchStrategicMerge {
	return k.PatchesStrategicMerge //nolint:staticcheck // retired by kustomize, which still builds it
}

func sources(from types.KvPairSources) []string {
	paths := append(slices.Clone(from.EnvSources), from.EnvSource)
	for _, source := range from.FileSources {
		paths = append(paths, source)
		if _, p, ok := strings.Cut(source, "="); ok {
			paths = append(paths, p)
		}
	}
	return paths
}

// boundInline bounds the YAML that kustomize parses by itself, in the
// kustomization and in the files that it names.
func (s *survey) boundInline(l layer) error {
	inline, files := texts(l.k)
	for _, text := range inline {
		if err := s.boundYAML(l.file, []byte(text)); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := s.boundFile(l, file); err != nil {
			return err
		}
	}
	s.hide(l, inline)
	return nil
}

// texts returns the YAML that stands in a kustomization, and the YAML files
// that it names apart from resources.
func texts(k *types.Kustomization) (inline, files []string) {
	for _, patch := range patches(k) {
		inline, files = append(inline, patch.Patch), append(files, patch.Path)
	}
	for _, patch := range strategicMerges(k) {
		if strings.Contains(string(patch), "\n") {
			inline = append(inline, string(patch))
		} else {
			files = append(files, string(patch))
		}
	}
	for _, replacement := range k.Replacements {
		files = append(files, replacement.Path)
	}
	for _, plugin := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
		if strings.Contains(plugin, "\n") {
			inline = append(inline, plugin)
		}
	}
	return inline, slices.Concat(files, k.Crds, k.Configurations, []string{k.OpenAPI["path"]})
}

// hide remembers what no message may show.
func (s *survey) hide(l layer, inline []string) {
	for _, generator := range l.k.ConfigMapGenerator {
		inline = append(inline, generator.LiteralSources...)
	}
	for _, generator := range l.k.SecretGenerator {
		inline = append(inline, generator.LiteralSources...)
	}
	for _, text := range inline {
		const word = 3 // shorter ones say nothing, and are part of everything
		if text = strings.TrimSpace(text); len(text) >= word {
			s.inline = append(s.inline, text)
		}
	}
}

// boundFile bounds a YAML file that kustomize is going to read. One that is
// missing is left to kustomize, which knows whether it is needed.
func (s *survey) boundFile(l layer, p string) error {
	if p == "" || path.IsAbs(p) {
		return nil
	}
	at := path.Join(l.dir, p)
	if climbs(at) {
		return nil
	}
	text, ok, err := s.fileAt(at)
	if err != nil || !ok {
		return nil //nolint:nilerr // kustomize meets the same error where it matters
	}
	return s.boundYAML(at, text)
}

func (s *survey) visitResources(l layer) error {
	for _, p := range l.k.Resources {
		if err := s.resource(l, p); err != nil {
			return err
		}
	}
	return nil
}

// resource visits a file or a directory with a kustomization.
func (s *survey) resource(l layer, p string) error {
	if remoteFile(p) {
		return s.remoteFault(l, p)
	}
	at := path.Join(l.dir, p)
	if path.IsAbs(p) || climbs(at) || s.leaves(l, at) {
		return s.outsideFault(l, p)
	}
	in, entry, err := s.fs.resolve(at)
	switch {
	case isNotExist(err) && remoteDir(p):
		return s.remoteFault(l, p)
	case isNotExist(err):
		return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names %s, which does not exist", l.name(), at), "add the file or remove the line")
	case errors.Is(err, errOutside):
		return s.outsideFault(l, p)
	case err != nil:
		return s.readFault(at, err)
	case !isDir(entry):
		return s.resourceFile(l, in)
	case remoteDir(p):
		return s.remoteFault(l, p) // kustomize would clone it although it exists
	}
	return s.directory(l, in, p)
}

// resourceFile notes the objects of a file.
func (s *survey) resourceFile(l layer, in string) error {
	parsed, known := s.parsed[in]
	if !known {
		text, err := s.recorder.Read(in)
		if err != nil {
			return s.readFault(in, err)
		}
		if err := s.boundYAML(in, text); err != nil {
			return err
		}
		var clean bool
		parsed, clean = documents(text)
		s.unclean = s.unclean || !clean
		s.parsed[in] = parsed
		s.files = append(s.files, in)
	}
	for _, doc := range parsed {
		for _, node := range flattened(doc.node, s.limits.Depth) {
			if s.plugins {
				if err := s.plugin(l, node); err != nil {
					return err
				}
				continue
			}
			s.note(l, in, node)
		}
	}
	return nil
}

func (s *survey) note(l layer, file string, node *yaml.Node) {
	one := asked{
		kind: scalarAt(node, "kind"), bare: scalarAt(node, "metadata", "name"), namespace: scalarAt(node, "metadata", "namespace"),
		group: groupOf(scalarAt(node, "apiVersion")), file: file, line: node.Line, node: node,
	}
	one.name = l.prefix + one.bare + l.suffix
	if l.space != "" {
		one.namespace = l.space
	}
	s.asked = append(s.asked, one)
}

func (s *survey) noteGenerated(l layer) {
	note := func(kind string, args types.GeneratorArgs) {
		one := asked{kind: kind, bare: args.Name, name: l.prefix + args.Name + l.suffix, namespace: args.Namespace, file: l.file, line: l.lineOf("name: " + args.Name)}
		if l.space != "" {
			one.namespace = l.space
		}
		s.made = append(s.made, one)
	}
	for _, generator := range l.k.ConfigMapGenerator {
		note("ConfigMap", generator.GeneratorArgs)
	}
	for _, generator := range l.k.SecretGenerator {
		note("Secret", generator.GeneratorArgs)
	}
}

func (s *survey) visitComponents(l layer) error {
	for _, p := range l.k.Components {
		at := path.Join(l.dir, p)
		in, entry, err := s.fs.resolve(at)
		switch {
		case remoteDir(p):
			return s.remoteFault(l, p)
		case path.IsAbs(p) || climbs(at) || s.leaves(l, at) || errors.Is(err, errOutside):
			return s.outsideFault(l, p)
		case isNotExist(err):
			return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names the component %s, which does not exist", l.name(), at), "add the directory or remove the line")
		case err != nil:
			return s.readFault(at, err)
		case !isDir(entry):
			return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names the component %s, which is no directory", l.name(), at), "a component is a directory with a kustomization of kind Component")
		}
		if err := s.directory(l, in, p); err != nil {
			return err
		}
	}
	return nil
}

// directory visits the kustomization of a directory.
func (s *survey) directory(l layer, in, p string) error {
	for _, open := range s.open {
		if open == in || in == "" || strings.HasPrefix(open, in+"/") {
			return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names %s, which contains a kustomization that leads here: a cycle", l.name(), display(in)), "remove the line, or move what both need into a directory of its own")
		}
	}
	below := layer{dir: in, prefix: l.prefix, suffix: l.suffix, space: l.space, outer: l.outer}
	found := 0
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		text, ok, err := s.fileAt(path.Join(in, name))
		if err != nil {
			return err
		}
		if ok {
			found++
			below.file, below.text = path.Join(in, name), text
		}
	}
	switch {
	case found == 0:
		return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names the directory %s, which has no kustomization.yaml", l.name(), display(in)), "add one that lists its files, or name the files")
	case found > 1:
		return s.faultAt(below.file, 0, fmt.Sprintf("%s has %d kustomization files", display(in), found), "keep one of "+strings.Join(konfig.RecognizedKustomizationFileNames(), ", "))
	}
	if err := s.boundYAML(below.file, below.text); err != nil {
		return err
	}
	below.k = &types.Kustomization{}
	if err := below.k.Unmarshal(below.text); err != nil {
		return s.yamlFault(below.file, below.text, err)
	}
	below.k.FixKustomization()
	below.rewrites = s.plugins && (l.rewrites || transforms(below.k))
	return s.visit(below.settle())
}

// visitPlugins visits the configurations of generators, transformers and
// validators: inline, in files, or built by kustomizations.
func (s *survey) visitPlugins(l layer) error {
	was := s.plugins
	defer func() { s.plugins = was }()
	s.plugins = true
	for _, plugin := range slices.Concat(l.k.Generators, l.k.Transformers, l.k.Validators) {
		if !inlineObject(plugin) {
			if err := s.resource(l, plugin); err != nil {
				return err
			}
			continue
		}
		docs, _ := documents([]byte(plugin))
		for _, doc := range docs {
			for _, node := range flattened(doc.node, s.limits.Depth) {
				if err := s.plugin(l, node); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inlineObject tells a configuration from a path, which kustomize does by
// trying to parse it.
func inlineObject(plugin string) bool {
	node, _ := parseDocument([]byte(plugin))
	return node != nil && node.Kind == yaml.MappingNode
}

// plugin refuses the configuration of a plugin that would leave the tree.
func (s *survey) plugin(l layer, node *yaml.Node) error {
	kind := scalarAt(node, "kind")
	if scalarAt(node, "apiVersion") != konfig.BuiltinPluginApiVersion {
		return s.faultAt(l.file, l.lineOf(kind), fmt.Sprintf("the plugin %s is not built in: plugins that run programs or containers are not supported", kind),
			"use the transformers and generators that are built into kustomize, or commit the plugin's output")
	}
	if kind == chartKind {
		return s.faultAt(l.file, l.lineOf(kind), "a chart stands where it is not rendered", "name its file in generators, or use helmCharts")
	}
	for _, p := range pluginLoads(node) {
		if l.rewrites {
			return s.faultAt(l.file, l.lineOf(kind), fmt.Sprintf("the files that %s names stand behind a kustomization that may change them: that is not supported", kind), "name the plugin's file, or put its configuration inline")
		}
		if _, after, ok := strings.Cut(p, "="); ok && remoteFile(after) || remoteFile(p) {
			return s.remoteFault(l, p)
		}
	}
	return nil
}

// pluginLoads lists what the built-in plugins load.
func pluginLoads(node *yaml.Node) []string {
	var paths []string
	for _, name := range []string{"path", "paths", "files", "envs", "env"} {
		value := field(node, name)
		switch {
		case value == nil:
		case value.Kind == yaml.ScalarNode:
			paths = append(paths, value.Value)
		default:
			for _, item := range value.Content {
				paths = append(paths, item.Value)
			}
		}
	}
	if replacements := field(node, "replacements"); replacements != nil {
		for _, replacement := range replacements.Content {
			if p := scalarAt(replacement, "path"); p != "" {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// transforms reports whether a kustomization does more than list resources.
func transforms(k *types.Kustomization) bool {
	return !reflect.DeepEqual(*k, types.Kustomization{TypeMeta: k.TypeMeta, MetaData: k.MetaData, Resources: k.Resources})
}

// lineOf finds the line of the kustomization that says something, 0 when none
// does.
func (l layer) lineOf(what string) int {
	if what == "" {
		return 0
	}
	for i, line := range bytes.Split(l.text, []byte("\n")) {
		if bytes.Contains(line, []byte(what)) && !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			return i + 1
		}
	}
	return 0
}

// name is how a message calls the kustomization.
func (l layer) name() string {
	if l.text == nil {
		return "the kustomization generated for " + display(l.dir)
	}
	return l.file
}

func display(dir string) string {
	if dir == "" {
		return "the root of the source"
	}
	return dir
}

func climbs(p string) bool { return p == ".." || strings.HasPrefix(p, "../") }

func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}
