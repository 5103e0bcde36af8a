package engine

import (
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// TestARecordIsNoMoreSecretThanWhatWasApplied: after a restart a release is wanted
// as its record has it, which does not tell what is secret. Baselines do.
func TestARecordIsNoMoreSecretThanWhatWasApplied(t *testing.T) {
	id := object.ID{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease", Namespace: "shop", Name: "shop"}
	e := &Engine{book: newBook()}
	d := &delivery{spec: model.Delivery{ID: id}}
	r := &run{e: e, d: d, spec: d.spec}
	config := func(name string) object.ID { return object.ID{Kind: "ConfigMap", Namespace: "shop", Name: name} }
	secret := object.ID{Kind: "Secret", Namespace: "shop", Name: "s"}
	applied := func(id, owner object.ID, base model.Baseline) { e.own(key{id: id}, owner, "v1").base = base }
	applied(config("open"), id, model.Baseline{UID: "1", Cut: "c", Inputs: "digest"})
	applied(config("sealed"), id, model.Baseline{UID: "2", Cut: "c", Inputs: "digest", Sealed: true})
	applied(config("another"), id, model.Baseline{UID: "3", Cut: "c", Inputs: "of another revision"})
	applied(config("others"), object.ID{Kind: "Kustomization", Name: "x"}, model.Baseline{UID: "4", Cut: "c", Inputs: "digest"})
	applied(config("unread"), id, model.Baseline{})
	applied(secret, id, model.Baseline{UID: "5", Cut: "c", Inputs: "digest"})

	var wants []model.Desired
	for _, id := range []object.ID{config("open"), config("sealed"), config("another"), config("others"), config("unread"), config("unknown"), secret} {
		wants = append(wants, model.Desired{ID: id, Digest: "digest", Secret: true})
	}
	r.unseal(wants)
	for _, want := range wants {
		if hidden := want.ID != config("open"); want.Secret != hidden {
			t.Errorf("%s: secret is %v, want %v", want.ID, want.Secret, hidden)
		}
	}
}

// TestWhatWasNotAppliedUnsealsNothing: a revision may tell nothing of a secret that
// is still there, because it has not been applied.
func TestWhatWasNotAppliedUnsealsNothing(t *testing.T) {
	e, _ := bookOf(t)
	d := declare(e, "web", thing)
	r := &run{e: e, d: d, spec: d.spec}
	e.book.entries[key{"", thing}].base = model.Baseline{UID: "1", Cut: "c", Inputs: "first", Sealed: true}
	first := func() []model.Desired {
		wants := []model.Desired{{ID: thing, Version: "v1", Digest: "first", Secret: true}}
		r.unseal(wants)
		return wants
	}
	e.want(d, first())
	e.want(d, []model.Desired{{ID: thing, Version: "v1", Digest: "second"}}) // fails before it is applied
	e.want(d, first())                                                       // is brought back
	if back := first(); !back[0].Secret {
		t.Error("what is brought back counts as open")
	}
	e.book.entries[key{"", thing}].base = model.Baseline{UID: "1", Cut: "c", Inputs: "second"}
	e.want(d, []model.Desired{{ID: thing, Version: "v1", Digest: "second"}})
	e.want(d, nil)
	if e.book.entries[key{"", thing}].base.Sealed {
		t.Error("what was applied open counts as sealed")
	}
}
