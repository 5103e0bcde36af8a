package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/pkg/util"
	"sigs.k8s.io/kustomize/api/types"

	"plumb.dev/plumb/internal/model"
)

// ownKustomization builds the kustomization of a directory with the options of
// an Application edited in. Upstream runs "kustomize edit" in a checkout, whose
// rules are followed here: they are in sigs.k8s.io/kustomize/kustomize,
// commands/edit.
func (b *build) ownKustomization(dir string) ([]model.Rendered, error) {
	root, err := b.findOwn(dir)
	if err != nil {
		return nil, err
	}
	for _, edit := range []func(*types.Kustomization) error{b.editNames, b.editImages, b.editLabels, b.editAnnotations} {
		if err := edit(&root.kustomization); err != nil {
			return nil, err
		}
	}
	if err := b.editComponents(&root.kustomization, dir); err != nil {
		return nil, err
	}
	return b.from(root, dir)
}

// findOwn reads the one kustomization of a directory, strictly.
func (b *build) findOwn(dir string) (*rootFile, error) {
	var root *rootFile
	var found []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		at := path.Join(dir, name)
		text, ok, err := b.fileAt(at)
		if err != nil {
			return nil, err
		}
		if ok {
			root = &rootFile{path: at, text: text}
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		names := konfig.RecognizedKustomizationFileNames()
		return nil, b.fault(b.origin.Field+".path", fmt.Sprintf("unable to find one of '%s' in directory '%s'", strings.Join(names, "', '"), display(dir)),
			"commit a kustomization.yaml, or correct the path")
	case 1:
	default:
		return nil, b.faultAt(root.path, 0, fmt.Sprintf("Found multiple kustomization files: %s", strings.Join(found, ", ")), "keep one of them")
	}
	if err := b.boundYAML(root.path, root.text); err != nil {
		return nil, err
	}
	if err := root.kustomization.Unmarshal(root.text); err != nil {
		return nil, b.yamlFault(root.path, root.text, err)
	}
	root.kustomization.FixKustomization()
	return root, nil
}

func (b *build) editNames(k *types.Kustomization) error {
	if b.opts.NamePrefix != "" {
		k.NamePrefix = b.opts.NamePrefix
	}
	if b.opts.NameSuffix != "" {
		k.NameSuffix = b.opts.NameSuffix
	}
	if b.opts.Namespace != "" {
		k.Namespace = b.opts.Namespace
	}
	if len(b.opts.BuildMetadata) > 0 {
		k.BuildMetadata = b.opts.BuildMetadata
	}
	for _, patch := range b.opts.Patches {
		k.Patches = append(k.Patches, patchOf(patch))
	}
	if len(b.opts.Replicas) > 0 {
		byName := map[string]int64{}
		for _, replica := range k.Replicas {
			byName[replica.Name] = replica.Count
		}
		for _, replica := range b.opts.Replicas {
			byName[replica.Name] = replica.Count
		}
		k.Replicas = nil
		for _, name := range sortedKeys(byName) {
			k.Replicas = append(k.Replicas, types.Replica{Name: name, Count: byName[name]})
		}
	}
	return nil
}

// preserve stands for the part of an image that the kustomization has.
const preserve = "*"

// editImages replaces what the kustomization says of an image by what a line
// says: "name=new", "name:tag", "name@digest" and what can be made of them
// ("kustomize edit set image").
func (b *build) editImages(k *types.Kustomization) error {
	for _, image := range b.opts.Images {
		mergeImage(k, image)
	}
	if len(b.opts.ImageLines) == 0 {
		return nil
	}
	byName := map[string]types.Image{}
	for _, line := range b.opts.ImageLines {
		image, ok := parseImage(line)
		if !ok {
			return b.fault(b.origin.Field+".kustomize.images", fmt.Sprintf("invalid format of image %q", line),
				"use <image>=<newimage>:<newtag>, <image>=<newimage>@<digest>, <image>=<newimage>:<newtag>@<digest>, <image>=<newimage>, <image>:<newtag>, <image>:<newtag>@<digest> or <image>@<digest>")
		}
		byName[image.Name] = image
	}
	for _, was := range k.Images {
		image, replaced := byName[was.Name]
		if !replaced {
			byName[was.Name] = was
			continue
		}
		for _, part := range [][2]*string{{&image.NewName, &was.NewName}, {&image.NewTag, &was.NewTag}, {&image.Digest, &was.Digest}} {
			if *part[0] == preserve {
				*part[0] = *part[1]
			}
		}
		byName[was.Name] = image
	}
	k.Images = nil
	for _, name := range sortedKeys(byName) {
		image := byName[name]
		for _, part := range []*string{&image.NewName, &image.NewTag, &image.Digest} {
			if *part == preserve {
				*part = ""
			}
		}
		k.Images = append(k.Images, image)
	}
	return nil
}

func parseImage(line string) (types.Image, bool) {
	name, replacement, renamed := strings.Cut(line, "=")
	if !renamed {
		replacement = line
	}
	newName, tag, digest := util.SplitImageName(replacement)
	if newName == line {
		return types.Image{}, false // it changes nothing
	}
	if !renamed {
		return types.Image{Name: newName, NewTag: tag, Digest: digest}, true
	}
	return types.Image{Name: name, NewName: newName, NewTag: tag, Digest: digest}, true
}

// editLabels adds the common labels ("kustomize edit add label").
func (b *build) editLabels(k *types.Kustomization) error {
	opts := b.opts
	if len(opts.CommonLabels) == 0 {
		return nil
	}
	if opts.SelectorLabels {
		if opts.TemplateLabels {
			return b.fault(b.origin.Field+".kustomize.labelIncludeTemplates", "--without-selector flag must be specified for --include-templates to work", "set labelWithoutSelector: true as well")
		}
		if k.CommonLabels == nil { //nolint:staticcheck // retired by kustomize, whose "edit" still writes it
			k.CommonLabels = map[string]string{} //nolint:staticcheck // as above
		}
		return b.add("label", opts.CommonLabels, k.CommonLabels, opts.ForceLabels) //nolint:staticcheck // as above
	}
	for i := range k.Labels {
		if label := &k.Labels[i]; !label.IncludeSelectors && label.IncludeTemplates == opts.TemplateLabels {
			if label.Pairs == nil {
				label.Pairs = map[string]string{}
			}
			return b.add("label", opts.CommonLabels, label.Pairs, opts.ForceLabels)
		}
	}
	label := types.Label{Pairs: map[string]string{}, IncludeTemplates: opts.TemplateLabels}
	k.Labels = append(k.Labels, label)
	return b.add("label", opts.CommonLabels, label.Pairs, opts.ForceLabels)
}

// editAnnotations adds the common annotations ("kustomize edit add annotation").
func (b *build) editAnnotations(k *types.Kustomization) error {
	if len(b.opts.CommonAnnotations) == 0 {
		return nil
	}
	if k.CommonAnnotations == nil {
		k.CommonAnnotations = map[string]string{}
	}
	return b.add("annotation", b.opts.CommonAnnotations, k.CommonAnnotations, b.opts.ForceAnnotations)
}

// add puts labels or annotations beside those that are there; one that is
// there already gives way only to force. Upstream hands them over as
// "name:value", where quotes around the value go.
func (b *build) add(kind string, more, there map[string]string, force bool) error {
	for _, name := range sortedKeys(more) {
		field := b.origin.Field + ".kustomize.common" + strings.ToUpper(kind[:1]) + kind[1:] + "s"
		if name == "" || strings.Contains(name, ":") {
			return b.fault(field, fmt.Sprintf("invalid %s: '%s' (need k:v pair where v may be quoted)", kind, name), "")
		}
		if _, known := there[name]; known && !force {
			return b.fault(field, fmt.Sprintf("%s %s already in kustomization file. Use --force to override.", kind, name),
				fmt.Sprintf("set forceCommon%ss: true, or remove it from one of the two", strings.ToUpper(kind[:1])+kind[1:]))
		}
		value := more[name]
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		there[name] = value
	}
	return nil
}

// editComponents adds components, whose paths may be globs ("kustomize edit
// add component"). Which of them are missing is looked up without globs.
func (b *build) editComponents(k *types.Kustomization, dir string) error {
	field := b.origin.Field + ".kustomize.components"
	for _, component := range b.opts.Components {
		if remoteDir(component) || path.IsAbs(component) {
			return b.fault(field, fmt.Sprintf("component path '%s' must be local and relative", withoutCredentials(component)), "builds do not fetch anything: name a directory of the source, relative to the path")
		}
		if b.opts.IgnoreMissingComponents {
			there, err := b.exists(path.Join(dir, component))
			if err != nil {
				return err
			}
			if !there {
				continue
			}
		}
		matches, err := b.globbed(dir, component)
		if err != nil {
			return err
		}
		if len(matches) == 0 {
			return b.fault(field, fmt.Sprintf("%s has no match", component), "correct the path, or set ignoreMissingComponents: true")
		}
		for _, match := range matches {
			if !slices.Contains(k.Components, match) {
				k.Components = append(k.Components, match)
			}
		}
	}
	return nil
}

// globbed finds the paths, relative to dir, that a pattern means, as
// path/filepath.Glob does. One without wildcards is returned as it is when
// something stands there.
func (b *build) globbed(dir, pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		there, err := b.exists(path.Join(dir, pattern))
		if err != nil || !there {
			return nil, err
		}
		return []string{pattern}, nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, b.fault(b.origin.Field+".kustomize.components", fmt.Sprintf("the pattern %s cannot be read", pattern), "")
	}
	above, last := path.Split(path.Clean(pattern))
	above = strings.TrimSuffix(above, "/")
	dirs := []string{above}
	if strings.ContainsAny(above, `*?[\`) {
		var err error
		if dirs, err = b.globbed(dir, above); err != nil {
			return nil, err
		}
	}
	var matches []string
	for _, in := range dirs {
		names, err := b.namesIn(path.Join(dir, in))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if ok, _ := path.Match(last, name); ok {
				matches = append(matches, path.Join(in, name))
			}
		}
	}
	return matches, nil
}

// namesIn lists a directory; what is none has no names.
func (b *build) namesIn(dir string) ([]string, error) {
	if dir = cleaned(dir); climbs(dir) {
		return nil, nil
	}
	in, entry, err := b.fs.resolve(dir)
	switch {
	case isNotExist(err), errors.Is(err, errOutside):
		return nil, nil
	case err != nil:
		return nil, b.readFault(dir, err)
	case !isDir(entry):
		return nil, nil
	}
	entries, err := b.recorder.List(in)
	if err != nil {
		return nil, b.readFault(dir, err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name
	}
	return names, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
