package render

import (
	"context"
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
	key := KeyOf("apps/a", model.KustomizeOptions{}, Limits{})
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
