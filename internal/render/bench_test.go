package render

import (
	"context"
	"fmt"
	"path"
	"testing"

	"plumb.dev/plumb/internal/model"
)

func BenchmarkKustomizeSmall(b *testing.B) {
	tree := small()
	mustBuild(b, tree, "apps/a", model.KustomizeOptions{})
	b.ReportAllocs()
	for b.Loop() {
		mustBuild(b, tree, "apps/a", model.KustomizeOptions{})
	}
}

func BenchmarkKustomizeSmallParallel(b *testing.B) {
	tree := small()
	mustBuild(b, tree, "apps/a", model.KustomizeOptions{NamePrefix: "x-"})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mustBuild(b, tree, "apps/a", model.KustomizeOptions{NamePrefix: "x-"})
		}
	})
}

func BenchmarkKustomizePatched(b *testing.B) {
	tree := small()
	opts := model.KustomizeOptions{Patches: []model.Patch{{Patch: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 3}\n"}}}
	mustBuild(b, tree, "apps/a", opts)
	b.ReportAllocs()
	for b.Loop() {
		mustBuild(b, tree, "apps/a", opts)
	}
}

func BenchmarkMemoHit(b *testing.B) {
	tree := small()
	memo := NewMemo(1 << 20)
	key := KeyOf("apps/a", model.Render{}, Limits{})
	render := func(r *Recorder) (*model.Manifest, error) {
		return Kustomize(context.Background(), r, "apps/a", model.KustomizeOptions{}, model.Origin{}, Limits{})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := memo.Render(context.Background(), key, model.Origin{}, tree, render); err != nil {
			b.Fatal(err)
		}
	}
}

// hundred is a directory of 100 plain manifests.
func hundred() memory {
	tree := memory{}
	for i := range 20 {
		for p, content := range small() {
			if path.Base(p) != "kustomization.yaml" {
				tree[fmt.Sprintf("apps/a/%02d-%s", i, path.Base(p))] = content
			}
		}
	}
	return tree
}

func BenchmarkDirectoryOf100(b *testing.B) {
	tree, opts := indexed(hundred()), model.Render{Kind: model.RenderDetect}
	build := func(r *Recorder) (*model.Manifest, error) {
		return Build(context.Background(), r, "apps/a", opts, model.Origin{}, Limits{})
	}
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if m, err := build(Record(context.Background(), tree, Limits{})); err != nil || len(m.Objects) != 100 {
				b.Fatal(m, err)
			}
		}
	})
	b.Run("memo", func(b *testing.B) {
		memo, key := NewMemo(1<<22), KeyOf("apps/a", opts, Limits{})
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := memo.Render(context.Background(), key, model.Origin{}, tree, build); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkJsonnet(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := evaluated(context.Background(), "{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } }", Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// flat answers from one listing of one directory, as a source's tree does
// without looking at every path.
type flat struct {
	memory
	dir     string
	entries []model.Entry
	byPath  map[string]model.Entry
}

func indexed(tree memory) flat {
	f := flat{memory: tree, dir: "apps/a", byPath: map[string]model.Entry{}}
	f.entries, _ = tree.List(f.dir)
	for _, entry := range f.entries {
		f.byPath[path.Join(f.dir, entry.Name)] = entry
	}
	return f
}

func (f flat) Lookup(p string) (model.Entry, bool, error) {
	if p == f.dir {
		return model.Entry{Kind: model.DirEntry, Size: -1}, true, nil
	}
	entry, ok := f.byPath[p]
	return entry, ok, nil
}

func (f flat) List(string) ([]model.Entry, error) { return f.entries, nil }
