package render

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A story is a txtar file: the comment says what it is about, tree/ holds the
// source, options.yaml what the declared object asks for, and want what comes
// out: objects with the place that asked for them, and the reads.
type story struct {
	Dir         string
	Kind        model.RenderKind // "": as Flux does
	Kustomize   model.KustomizeOptions
	Directory   model.DirectoryOptions
	Environment map[string]string
	Inline      map[string]string
	From        []map[string]any // ConfigMaps and Secrets
	Always      bool
	Reads       bool // show the trace

	Helm    model.HelmOptions
	Values  string // of Helm
	Flux    bool   // the delivery is a HelmRelease
	Version string // of the target; "": there is none
	APIs    []string

	refs map[string]memory // ref/name/…: trees of other inputs
}

func (s story) render() model.Render {
	helm := s.Helm
	helm.Values = model.NewSecret([]byte(s.Values))
	return model.Render{Kind: s.Kind, Kustomize: s.Kustomize, Directory: s.Directory, Environment: s.Environment, Helm: helm}
}

func (s story) origin() model.Origin {
	if s.Flux {
		return model.Origin{Dialect: fluxDialect}
	}
	return model.Origin{}
}

func (s story) mounts() []Mount {
	var mounts []Mount
	for name, tree := range s.refs {
		mounts = append(mounts, Mount{At: RefAt(name), Tree: tree, Source: object.ID{Name: name}})
	}
	if s.Version != "" {
		mounts = append(mounts, Mount{At: AtAPI, Tree: Capabilities(s.Version, s.APIs)})
	}
	return mounts
}

// on is a tree with what is mounted in it.
func (s story) on(tree Tree) Tree {
	if s.Kind != model.RenderHelm && s.Kind != model.RenderDetect && len(s.refs) == 0 {
		return tree
	}
	return Mounted(tree, s.mounts())
}

// parseStory reads a story, its tree, and what it is to come to.
func parseStory(t *testing.T, archive *txtar.Archive) (s story, tree memory, want string) {
	t.Helper()
	var files []txtar.File
	refs := map[string][]txtar.File{}
	for _, f := range archive.Files {
		kind, in, _ := strings.Cut(f.Name, "/")
		switch {
		case kind == "tree":
			files = append(files, txtar.File{Name: in, Data: f.Data})
		case kind == "ref":
			name, in, _ := strings.Cut(in, "/")
			refs[name] = append(refs[name], txtar.File{Name: in, Data: f.Data})
		case f.Name == "options.yaml":
			if err := yaml.UnmarshalStrict(f.Data, &s); err != nil {
				t.Fatal(err)
			}
		case f.Name == "want":
			want = string(f.Data)
		default:
			t.Fatalf("%s has no meaning in a story", f.Name)
		}
	}
	s.refs = map[string]memory{}
	for name, files := range refs {
		s.refs[name] = treeOf(files)
	}
	return s, treeOf(files), want
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { tell(t, file) })
	}
}

func tell(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, tree, want := parseStory(t, archive)
	got := play(t, s, tree)
	if *update {
		rewrite(t, file, archive, got)
		return
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// play renders as the engine does and prints what came out.
func play(t *testing.T, s story, tree memory) string {
	t.Helper()
	m, err := Build(context.Background(), Record(context.Background(), s.on(tree), Limits{}), s.Dir, s.render(), s.origin(), Limits{})
	if err != nil {
		return printFault(t, err)
	}
	render := s.render()
	facts := model.Facts{}
	if s.Inline != nil || s.From != nil || s.Always {
		render.Substitution = &model.Substitution{Inline: s.Inline, Always: s.Always}
		for _, from := range s.From {
			o := &unstructured.Unstructured{Object: from}
			need := model.Need{Version: "v1", Kind: o.GetKind(), Name: o.GetName()}
			facts[need] = model.Fact{State: model.Present, Object: o}
			render.Substitution.From = append(render.Substitution.From, model.SubstituteFrom{Need: need})
		}
	}
	vars, err := Variables(render.Substitution, facts)
	if err != nil {
		return printFault(t, err)
	}
	m, err = Finish(m, render, vars, model.Annotations{Substitute: "kustomize.toolkit.fluxcd.io/substitute"})
	if err != nil {
		return printFault(t, err)
	}
	var b strings.Builder
	if m.Kind != model.RenderFlux {
		fmt.Fprintf(&b, "# rendered as %s\n", m.Kind)
	}
	if c := m.Chart; c != nil {
		fmt.Fprintf(&b, "# chart %s %s of %s, pinned: %v\n%s", c.Name, c.Version, c.AppVersion, m.Pinned, m.Notes)
	}
	for _, rendered := range m.Objects {
		text, err := yaml.JSONToYAML(rendered.JSON)
		if err != nil {
			t.Fatal(err)
		}
		at := rendered.Origin.String()
		if at == "" {
			at = "?"
		}
		fmt.Fprintf(&b, "# %s asked for in %s", rendered.ID, at)
		if rendered.Secret {
			b.WriteString(", secret")
		}
		if rendered.CRD {
			b.WriteString(", definition")
		}
		fmt.Fprintf(&b, "\n%s", text)
	}
	if s.Reads {
		b.WriteString("# reads\n")
		for _, read := range m.Trace {
			fmt.Fprintf(&b, "%s %s\n", readNames[read.Kind], read.Path)
		}
	}
	return b.String()
}

var readNames = map[model.ReadKind]string{
	model.ReadFile: "file", model.ReadList: "list", model.ReadAbsent: "absent", model.ReadTree: "tree", model.ReadType: "type",
}

// printFault shows a fault; every error has to be one.
func printFault(t *testing.T, err error) string {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) {
		var out strings.Builder
		for _, want := range missing.Wants {
			fmt.Fprintf(&out, "wanted in %s: %s\n", want.Field, want.String())
		}
		return out.String()
	}
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("%T is no fault: %v", err, err)
	}
	out := "fault: " + fault.Reason + "\nat: " + fault.Origin.String() + "\n"
	if !fault.Object.IsZero() {
		out += "object: " + fault.Object.String() + "\n"
	}
	return out + fault.Message + "\n" + fault.Advice + "\n"
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, want string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name != "want" {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(want)})
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}
