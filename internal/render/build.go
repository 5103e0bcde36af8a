package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// ComparisonError is the reason of every fault of a source of an Argo CD
// Application (argo-cd ApplicationConditionComparisonError).
const ComparisonError = "ComparisonError"

// fluxDialect is the dialect whose charts are Helm releases: their faults keep
// their reasons.
const fluxDialect = "flux"

// Build renders dir of tree the way opts.Kind says.
//
// Kind Flux is Kustomize of this package. The others follow the repository
// server of Argo CD: the directory has to exist, RenderDetect looks for a chart
// or a kustomization, and $NAME stands for opts.Environment where upstream
// substitutes. Objects may come twice, or with generateName and no name (their
// ID has no Name): what that means is decided above, where hooks are known and
// the sources of an Application are put together.
//
// Manifest.Kind says how it was rendered. Errors are *model.Fault; but for
// Flux their reason is ComparisonError, and their field is below origin.Field,
// or below spec.source when that is empty.
//
// opts are those after the files of opts.Overrides were taken into account,
// which the caller reads through the same tree.
func Build(ctx context.Context, tree *Recorder, dir string, opts model.Render, origin model.Origin, limits Limits) (*model.Manifest, error) {
	return Outside{}.Build(ctx, tree, dir, opts, origin, limits)
}

// Build is Build with what is outside of the tree.
func (o Outside) Build(ctx context.Context, tree *Recorder, dir string, opts model.Render, origin model.Origin, limits Limits) (*model.Manifest, error) {
	if opts.Kind == model.RenderFlux {
		return o.kustomize(ctx, tree, dir, opts.Kustomize, origin, limits)
	}
	opts = effective(opts)
	b := &build{ctx: ctx, recorder: tree, limits: limits.orDefaults(), opts: opts.Kustomize, argo: true, release: opts.Kind == model.RenderHelm && origin.Dialect == fluxDialect, outside: o}
	if origin.Field == "" && !b.release {
		origin.Field = "spec.source"
	}
	b.origin = origin
	defer b.forget()
	b.fs = treeFS{links: links{tree: tree, depth: b.limits.Depth}, overlay: map[string][]byte{}}
	m, err := b.application(cleaned(dir), opts)
	if failed := tree.Failed(); failed != nil {
		err = b.unavailable(failed)
	}
	if err != nil {
		return nil, b.compared(err)
	}
	m.Trace, m.Pinned = tree.Trace(), m.Pinned || b.pinned
	return m, nil
}

// application renders as one source of an Application asks for.
func (b *build) application(dir string, opts model.Render) (*model.Manifest, error) {
	kind := opts.Kind
	switch kind {
	case model.RenderNothing:
		return &model.Manifest{Kind: kind}, nil
	case model.RenderDetect, model.RenderKustomize, model.RenderDirectory, model.RenderHelm:
	default:
		return nil, b.fault(b.origin.Field, fmt.Sprintf("no directory is rendered as %q", kind), "")
	}
	dir, err := b.start(dir)
	if err != nil {
		return nil, err
	}
	if kind == model.RenderDetect {
		if kind, err = b.detect(dir, opts); err != nil {
			return nil, err
		}
	}
	if kind == model.RenderHelm && opts.NoHelm || kind == model.RenderKustomize && opts.NoKustomize {
		kind = model.RenderDirectory
	}
	m := &model.Manifest{Kind: kind}
	switch kind {
	case model.RenderHelm:
		var h *helmed
		if h, err = b.helm(dir, opts.Helm); err == nil {
			m.Objects, m.Chart, m.Notes, m.Pinned = h.objects, h.chart, h.notes, h.pinned
		}
	case model.RenderKustomize:
		m.Objects, err = b.ownKustomization(dir)
	default:
		m.Objects, err = b.manifests(dir, opts.Directory)
	}
	return m, err
}

// detect tells the kind of a directory by the files in it, of which the last
// by name decides, as upstream's walk has it: a kustomization beside a chart
// wins (argo-cd util/app/discovery). Tools that are off are not looked for.
func (b *build) detect(dir string, opts model.Render) (model.RenderKind, error) {
	kind := model.RenderDirectory
	for _, sign := range []struct {
		name string
		kind model.RenderKind
	}{
		{"Chart.yaml", model.RenderHelm},
		{"Kustomization", model.RenderKustomize},
		{"kustomization.yaml", model.RenderKustomize},
		{"kustomization.yml", model.RenderKustomize},
	} {
		if sign.kind == model.RenderHelm && opts.NoHelm || sign.kind == model.RenderKustomize && opts.NoKustomize {
			continue
		}
		at := path.Join(dir, sign.name)
		entry, found, err := b.recorder.Lookup(at)
		if err != nil {
			return kind, b.readFault(at, err)
		}
		if found && !isDir(entry) {
			kind = sign.kind
		}
	}
	return kind, nil
}

// effective returns the options with $NAME replaced by the environment where
// upstream replaces it, and without what plays no part in a render of the kind.
// Two of them that are equal render alike.
func effective(opts model.Render) model.Render {
	out := model.Render{Kind: opts.Kind, NoKustomize: opts.NoKustomize, NoHelm: opts.NoHelm}
	switch opts.Kind {
	case model.RenderFlux:
		out.Kustomize = opts.Kustomize
		out.Kustomize.CommonLabels, out.Kustomize.CommonAnnotations = nil, nil // Finish sets them
	case model.RenderDetect:
		out.Kustomize, out.Directory = inEnvironment(opts.Kustomize, opts.Environment), directoryIn(opts.Directory, opts.Environment)
		out.Helm = helmIn(opts.Helm, opts.Environment)
	case model.RenderHelm:
		out.Helm = helmIn(opts.Helm, opts.Environment)
	case model.RenderKustomize:
		out.Kustomize = inEnvironment(opts.Kustomize, opts.Environment)
	case model.RenderDirectory:
		out.Directory = directoryIn(opts.Directory, opts.Environment)
	}
	out.Kustomize.Version = "" // there is one
	if opts.Decryption != nil {
		out.Decryption = &model.Decryption{Digest: opts.Decryption.Digest}
	}
	return out
}

// inEnvironment substitutes in images, labels and, where asked for,
// annotations (argo-cd util/kustomize, Build).
func inEnvironment(opts model.KustomizeOptions, env map[string]string) model.KustomizeOptions {
	opts.ImageLines = slices.Clone(opts.ImageLines)
	for i, line := range opts.ImageLines {
		opts.ImageLines[i] = substituted(line, env)
	}
	opts.CommonLabels = substitutedAll(opts.CommonLabels, env)
	if opts.EnvsubstAnnotations {
		opts.CommonAnnotations = substitutedAll(opts.CommonAnnotations, env)
		opts.EnvsubstAnnotations = false
	}
	return opts
}

// helmIn substitutes in names of value files and in values of parameters. The
// name of another source ("$name/…") is no variable (argo-cd
// reposerver/repository, helmTemplate).
func helmIn(opts model.HelmOptions, env map[string]string) model.HelmOptions {
	opts.ValueFiles = slices.Clone(opts.ValueFiles)
	for i, name := range opts.ValueFiles {
		opts.ValueFiles[i] = fileIn(name, env)
	}
	opts.Parameters = slices.Clone(opts.Parameters)
	for i := range opts.Parameters {
		if p := &opts.Parameters[i]; p.File {
			p.Value = fileIn(p.Value, env)
		} else {
			p.Value = substituted(p.Value, env)
		}
	}
	opts.Version = "" // there is one
	return opts
}

func fileIn(name string, env map[string]string) string {
	if m := referred.FindStringSubmatch(name); m != nil {
		if _, variable := env[m[1]]; !variable {
			return "$" + m[1] + substituted(m[2], env)
		}
	}
	return substituted(name, env)
}

// directoryIn substitutes in the variables of Jsonnet (argo-cd
// reposerver/repository, makeJsonnetVM).
func directoryIn(opts model.DirectoryOptions, env map[string]string) model.DirectoryOptions {
	opts.Jsonnet.ExtVars = variablesIn(opts.Jsonnet.ExtVars, env)
	opts.Jsonnet.TLAs = variablesIn(opts.Jsonnet.TLAs, env)
	return opts
}

func variablesIn(vars []model.JsonnetVar, env map[string]string) []model.JsonnetVar {
	vars = slices.Clone(vars)
	for i := range vars {
		vars[i].Value = substituted(vars[i].Value, env)
	}
	return vars
}

func substitutedAll(values map[string]string, env map[string]string) map[string]string {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]string, len(values))
	for name, value := range values {
		out[name] = substituted(value, env)
	}
	return out
}

// substituted replaces $NAME and ${NAME}; an unknown name is replaced by
// nothing, and $$ is a dollar sign.
func substituted(text string, env map[string]string) string {
	return os.Expand(text, func(name string) string {
		if name == "$" {
			return "$"
		}
		return env[name]
	})
}

// KeyOf is the key of a Build with the same arguments. Everything in opts that
// has a part in the result is in it; a variable of the environment is only
// where it is used, so that what names no revision has one key for all of them.
//
// Files of opts.Overrides may use any variable. Where there can be some, the
// whole environment is part of the key.
func KeyOf(dir string, opts model.Render, limits Limits) Key {
	options := struct {
		Render      model.Render
		Overrides   []string
		Environment map[string]string
	}{Render: effective(opts)}
	if len(opts.Overrides) > 0 {
		options.Overrides, options.Environment = opts.Overrides, opts.Environment
	}
	text, err := json.Marshal(options)
	if err != nil { // strings, lists and maps of strings always marshal
		panic(err)
	}
	return Key{Renderer: Renderer, Options: object.Digest(text), Dir: dir, Limits: limits.orDefaults()}
}

// compared gives a fault the reason that Argo CD has for all of them.
func (b *build) compared(err error) error {
	var fault *model.Fault
	if !errors.As(err, &fault) || b.release {
		return err
	}
	same := *fault
	same.Reason = ComparisonError
	return &same
}
