package api

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

func TestBelongingsLeaveOutWhatAnotherDeliveryHas(t *testing.T) {
	own := engine.KnownObject{ID: object.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "api"}, UID: "1"}
	clusterWide := engine.KnownObject{ID: object.ID{Kind: "Namespace", Name: "shop"}, UID: "2"}
	foreign := engine.KnownObject{ID: object.ID{Kind: "Secret", Namespace: "bank", Name: "vault"}, UID: "3", Foreign: object.ID{Kind: "Kustomization", Namespace: "bank", Name: "bank"}}
	missing := engine.KnownObject{ID: object.ID{Kind: "Service", Namespace: "late", Name: "api"}}

	objects, namespaces := belongings(&engine.Known{Objects: []engine.KnownObject{own, clusterWide, foreign, missing}})
	if len(objects) != 2 || !objects["1"] || !objects["2"] {
		t.Errorf("objects are %v, want 1 and 2", objects)
	}
	if want := []string{"default", "shop"}; !slices.Equal(namespaces, want) {
		t.Errorf("namespaces are %v, want %v", namespaces, want)
	}
}

func TestEventNamesItsObjectWithGroupAndWithoutCredentials(t *testing.T) {
	event := eventOf(&unstructured.Unstructured{Object: map[string]any{
		"type": "Warning", "reason": "Failed", "message": "cannot fetch https://ann:hunter2@git.example.org/x",
		"lastTimestamp":  "2026-01-02T03:04:05Z",
		"involvedObject": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "api"},
	}})
	about := event.GetAbout()
	if about.GetGroup() != "apps" || about.GetVersion() != "v1" || about.GetKind() != "Deployment" || about.GetName() != "api" {
		t.Errorf("it is about %v", about)
	}
	if got := event.GetMessage(); got != "cannot fetch https://git.example.org/x" {
		t.Errorf("the message is %q", got)
	}
	if event.GetCount() != 1 {
		t.Errorf("the count is %d, want 1: an event without one happened once", event.GetCount())
	}
}
