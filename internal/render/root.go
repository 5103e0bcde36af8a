package render

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// placeholder keeps a kustomization without resources from being refused as
// empty, with the value that upstream's generator takes.
const placeholder = "_placeholder"

// rootFile is the kustomization that a build starts from: the directory's own
// or a generated one, with the options merged in.
type rootFile struct {
	path          string // of the file; where it would be when it was generated
	generated     bool
	text          []byte // of the directory's own; nil when generated
	kustomization types.Kustomization
}

// root finds or generates the kustomization of a directory and merges the
// options (fluxcd/pkg kustomize, Generator.GenerateManifest).
func (b *build) root(dir string) (*rootFile, error) {
	file, err := b.findOrGenerate(dir)
	if err != nil {
		return nil, err
	}
	k := &file.kustomization
	if !file.generated && len(k.Resources) == 0 {
		// Upstream's way to keep it from being refused as empty.
		k.BuildMetadata = []string{types.OriginAnnotations}
	}
	return file, b.merge(k, dir)
}

func (b *build) findOrGenerate(dir string) (*rootFile, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		at := path.Join(dir, name)
		text, ok, err := b.fileAt(at)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		file := &rootFile{path: at, text: text, kustomization: emptyKustomization()}
		if err := b.boundYAML(at, text); err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &file.kustomization); err != nil {
			return nil, b.yamlFault(at, text, err)
		}
		return file, nil
	}
	resources, err := b.scan(dir)
	if err != nil {
		return nil, err
	}
	file := &rootFile{path: path.Join(dir, konfig.DefaultKustomizationFileName()), generated: true, kustomization: emptyKustomization()}
	if len(resources) == 0 {
		file.kustomization.Namespace = placeholder
	}
	file.kustomization.Resources = resources
	return file, nil
}

func emptyKustomization() types.Kustomization {
	return types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
}

// fileAt reads a file if one stands there.
func (b *build) fileAt(at string) ([]byte, bool, error) {
	in, entry, err := b.fs.resolve(at)
	switch {
	case isNotExist(err):
		return nil, false, nil
	case err != nil:
		return nil, false, b.readFault(at, err)
	case isDir(entry):
		return nil, false, nil
	}
	text, err := b.recorder.Read(in)
	if err != nil {
		return nil, false, b.readFault(at, err)
	}
	return text, true, nil
}

// scan lists what a generated kustomization takes: every .yaml and .yml file
// below dir, and every directory with a kustomization of its own, as a whole.
// Links are left out, as they never are part of the artifacts that upstream
// builds from (fluxcd/pkg kustomize, scanManifests).
func (b *build) scan(dir string) ([]string, error) {
	var resources []string
	var visit func(in string, depth int) error
	visit = func(in string, depth int) error {
		if depth > b.limits.Depth {
			return b.readFault(in, &LimitError{Path: in, Message: fmt.Sprintf("directories are nested deeper than %d", b.limits.Depth)})
		}
		entries, err := b.recorder.List(in)
		if err != nil {
			return b.readFault(in, err)
		}
		for _, entry := range entries {
			at := path.Join(in, entry.Name)
			relative := "./" + strings.TrimPrefix(strings.TrimPrefix(at, dir), "/")
			switch {
			case entry.Kind == model.LinkEntry:
			case !isDir(entry):
				if extension := path.Ext(entry.Name); extension == ".yaml" || extension == ".yml" {
					resources = append(resources, relative)
				}
			default:
				own, err := b.hasKustomization(at)
				if err != nil {
					return err
				}
				if own {
					resources = append(resources, relative)
				} else if err := visit(at, depth+1); err != nil {
					return err
				}
			}
			if len(resources) > b.limits.Files {
				return b.readFault(in, &LimitError{Path: in, Message: fmt.Sprintf("more than %d files to build", b.limits.Files)})
			}
		}
		return nil
	}
	return resources, visit(dir, 0)
}

func (b *build) hasKustomization(dir string) (bool, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		_, entry, err := b.fs.resolve(path.Join(dir, name))
		if err == nil && !isDir(entry) {
			return true, nil
		}
		if err != nil && !isNotExist(err) {
			return false, b.readFault(dir, err)
		}
	}
	return false, nil
}

// merge adds the options of the declared object.
func (b *build) merge(k *types.Kustomization, dir string) error {
	opts := b.opts
	if opts.Namespace != "" {
		k.Namespace = opts.Namespace
	}
	if opts.NamePrefix != "" {
		k.NamePrefix = opts.NamePrefix
	}
	if opts.NameSuffix != "" {
		k.NameSuffix = opts.NameSuffix
	}
	for _, patch := range opts.Patches {
		k.Patches = append(k.Patches, patchOf(patch))
	}
	for _, component := range opts.Components {
		if remoteDir(component) || path.IsAbs(strings.TrimPrefix(strings.ToLower(component), "file://")) {
			return b.fault("spec.components", fmt.Sprintf("component path '%s' must be local and relative", component), "name a directory of the source, relative to spec.path")
		}
		if opts.IgnoreMissingComponents {
			there, err := b.exists(path.Join(dir, component))
			if err != nil {
				return err
			}
			if !there {
				continue
			}
		}
		k.Components = append(k.Components, component)
	}
	for _, image := range opts.Images {
		mergeImage(k, image)
	}
	if len(opts.BuildMetadata) > 0 {
		k.BuildMetadata = opts.BuildMetadata
	}
	return nil
}

func (b *build) exists(at string) (bool, error) {
	if at = cleaned(at); climbs(at) {
		return false, nil
	}
	_, _, err := b.fs.resolve(at)
	switch {
	case err == nil:
		return true, nil
	case isNotExist(err), errors.Is(err, errOutside):
		return false, nil
	}
	return false, b.readFault(at, err)
}

// mergeImage overrides the parts of an image that are set. Tag and digest
// choose the version together: setting one clears the other.
func mergeImage(k *types.Kustomization, image model.Image) {
	for i := range k.Images {
		known := &k.Images[i]
		if known.Name != image.Name {
			continue
		}
		if image.NewName != "" {
			known.NewName = image.NewName
		}
		if image.NewTag != "" || image.Digest != "" {
			known.NewTag, known.Digest = image.NewTag, image.Digest
		}
		return
	}
	k.Images = append(k.Images, types.Image{Name: image.Name, NewName: image.NewName, NewTag: image.NewTag, Digest: image.Digest})
}

func patchOf(patch model.Patch) types.Patch {
	out := types.Patch{Patch: patch.Patch, Path: patch.Path, Target: selector(patch.Target)}
	if patch.AllowNameChange || patch.AllowKindChange {
		out.Options = &types.PatchArgs{AllowNameChange: patch.AllowNameChange, AllowKindChange: patch.AllowKindChange}
	}
	return out
}

func selector(s *model.Selector) *types.Selector {
	if s == nil {
		return nil
	}
	out := &types.Selector{LabelSelector: s.LabelSelector, AnnotationSelector: s.AnnotationSelector}
	out.Group, out.Version, out.Kind = s.Group, s.Version, s.Kind
	out.Name, out.Namespace = s.Name, s.Namespace
	return out
}
