package argo

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

func steered(apiVersion, kind string, annotations map[string]string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	o.SetAnnotations(annotations)
	return o
}

func TestHandling(t *testing.T) {
	const options = "argocd.argoproj.io/sync-options"
	for _, c := range []struct {
		annotations map[string]string
		want        model.Handling
	}{
		{nil, model.Handling{}},
		{map[string]string{options: "Prune=false"}, model.Handling{Keep: true, SaysPrune: true}},
		{map[string]string{options: "Prune=confirm, Delete=confirm"}, model.Handling{Confirm: true, SaysPrune: true, ConfirmDelete: true, SaysDelete: true}},
		{map[string]string{options: "Prune=true,Delete=true"}, model.Handling{SaysPrune: true, SaysDelete: true}},
		{map[string]string{options: "Delete=false"}, model.Handling{Orphan: true, SaysDelete: true}},
		{map[string]string{options: "Replace=true,Force=true"}, model.Handling{Replace: true, Force: true}},
		{map[string]string{options: "PruneLast=true,SkipDryRunOnMissingResource=true,Validate=false"}, model.Handling{PruneLast: true, SkipDryRunMissing: true, SkipValidation: true}},
		{map[string]string{options: "ServerSideApply=true,Replace=false,nonsense"}, model.Handling{}},
		{map[string]string{"argocd.argoproj.io/compare-options": "IgnoreExtraneous,ServerSideDiff=true"}, model.Handling{IgnoreExtraneous: true}},
		{map[string]string{"argocd.argoproj.io/ignore-healthcheck": "true"}, model.Handling{Weightless: true}},
		{map[string]string{"helm.sh/resource-policy": "keep"}, model.Handling{Orphan: true}},
	} {
		if got, _ := New().Handling(steered("v1", "ConfigMap", c.annotations)); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.annotations, got, c.want)
		}
	}
	if got, _ := New().Handling(steered("apiextensions.k8s.io/v1", "CustomResourceDefinition", nil)); !got.Orphan {
		t.Error("a CRD goes with the Application, and everything that is stored under it")
	}
}

func TestStage(t *testing.T) {
	const (
		hook   = "argocd.argoproj.io/hook"
		policy = "argocd.argoproj.io/hook-delete-policy"
		waveOf = "argocd.argoproj.io/sync-wave"
	)
	phases := func(p ...model.SyncPhase) []model.SyncPhase { return p }
	before := []model.HookDeletePolicy{model.BeforeHookCreation}
	for _, c := range []struct {
		annotations map[string]string
		want        model.Stage
	}{
		{nil, model.Stage{}},
		{map[string]string{waveOf: "-5"}, model.Stage{Wave: -5}},
		{map[string]string{waveOf: "five"}, model.Stage{}},
		{map[string]string{waveOf: "3", "helm.sh/hook-weight": "4"}, model.Stage{Wave: 3}},
		{map[string]string{"helm.sh/hook-weight": "4"}, model.Stage{Wave: 4}},
		{map[string]string{hook: "PreSync"}, model.Stage{Hooks: phases(model.PreSync), OnDelete: before}},
		{map[string]string{hook: "PreSync, PostSync,PreSync"}, model.Stage{Hooks: phases(model.PreSync, model.PostSync), OnDelete: before}},
		{map[string]string{hook: "SyncFail", policy: "HookSucceeded,HookFailed"}, model.Stage{Hooks: phases(model.SyncFail), OnDelete: []model.HookDeletePolicy{model.HookSucceeded, model.HookFailed}}},
		{map[string]string{hook: "PreDelete"}, model.Stage{Hooks: phases(model.PreDelete), OnDelete: before}},
		{map[string]string{hook: "PostDelete"}, model.Stage{Hooks: phases(model.PostDelete), OnDelete: before}},
		{map[string]string{hook: "Skip"}, model.Stage{Skip: true}},
		{map[string]string{hook: "Skip,Sync"}, model.Stage{Hooks: phases(model.Sync), OnDelete: before}},
		{map[string]string{hook: "Sometimes"}, model.Stage{Skip: true}},
		{map[string]string{hook: ""}, model.Stage{Skip: true}},
		{map[string]string{"helm.sh/hook": "pre-install,pre-upgrade"}, model.Stage{Hooks: phases(model.PreSync), OnDelete: before}},
		{map[string]string{"helm.sh/hook": "post-upgrade", "helm.sh/hook-delete-policy": "hook-succeeded, before-hook-creation"}, model.Stage{Hooks: phases(model.PostSync), OnDelete: []model.HookDeletePolicy{model.HookSucceeded, model.BeforeHookCreation}}},
		{map[string]string{"helm.sh/hook": "pre-delete"}, model.Stage{Hooks: phases(model.PreDelete), OnDelete: before}},
		{map[string]string{"helm.sh/hook": "post-delete"}, model.Stage{Hooks: phases(model.PostDelete), OnDelete: before}},
		{map[string]string{"helm.sh/hook": "test"}, model.Stage{Skip: true}},
		{map[string]string{"helm.sh/hook": "crd-install"}, model.Stage{}},
		{map[string]string{hook: "Sync", "helm.sh/hook": "pre-install"}, model.Stage{Hooks: phases(model.Sync), OnDelete: before}},
		{map[string]string{hook: "Unknown", "helm.sh/hook": "pre-install"}, model.Stage{Hooks: phases(model.PreSync), OnDelete: before}},
	} {
		if _, got := New().Handling(steered("v1", "ConfigMap", c.annotations)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: got %+v, want %+v", c.annotations, got, c.want)
		}
	}
}
