package control

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/object"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const madeChart = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmChart
metadata:
  name: shop-web
  labels: {of: web, own: stays}
  managedFields:
  - manager: kubectl
    operation: Apply
    fieldsV1: {"f:metadata": {"f:labels": {"f:own": {}}}, "f:spec": {"f:suspend": {}}}
  - manager: helm-controller
    operation: Apply
    subresource: status
    fieldsV1: {"f:status": {}}
  - manager: helm-controller
    operation: Apply
    fieldsV1: {"f:metadata": {"f:labels": {"f:of": {}}}, "f:spec": {"f:chart": {}, "f:sourceRef": {"f:name": {}}}}
spec:
  chart: web
  suspend: true
  sourceRef: {name: charts}
`

func TestAMadeObjectIsComparedByWhatItsMakerOwns(t *testing.T) {
	asked := func(labels map[string]string, chart string) string {
		return *formOf(labels, nil, map[string]any{"chart": chart, "sourceRef": map[string]any{"name": "charts"}})
	}
	live := madeForm(parsed(t, madeChart), "helm-controller")
	switch {
	case live == nil:
		t.Fatal("its maker owns nothing in it")
	case *live != asked(map[string]string{"of": "web"}, "web"):
		t.Error("what others own in it makes it another")
	case *live == asked(map[string]string{"of": "web"}, "api"):
		t.Error("another chart is the same")
	case *live == asked(nil, "web"):
		t.Error("a label that is not asked for any more is not seen")
	case *live == asked(map[string]string{"of": "web", "own": "stays"}, "web"):
		t.Error("a label that somebody else owns counts as asked for")
	}
}

func TestAnObjectThatNobodyMadeHasNoForm(t *testing.T) {
	if madeForm(parsed(t, madeChart), "") != nil || madeForm(parsed(t, madeChart), "somebody") != nil {
		t.Error("it has")
	}
}

// TestNothingIsMadeForWhoIsGone: a status that was on its way when its object went
// must not have it remembered for good.
func TestNothingIsMadeForWhoIsGone(t *testing.T) {
	ds := &declarations{objects: map[object.ID]*declared{}}
	w := &writer{ds: ds}
	w.makers = newMakers(w)
	d := &declared{id: object.ID{Kind: "HelmRelease", Namespace: "shop", Name: "web"}}
	asked := []*unstructured.Unstructured{parsed(t, madeChart)}
	ds.objects[d.id] = d
	w.makers.want(d, asked, false)
	if len(w.makers.of) != 1 || len(w.makers.claims) != 1 || len(w.makers.due) != 1 {
		t.Fatalf("what is asked for is not made: %v", w.makers.of)
	}
	delete(ds.objects, d.id)
	w.makers.gone(d)
	w.makers.want(d, asked, false)
	if len(w.makers.of) != 0 || len(w.makers.claims) != 0 {
		t.Errorf("it is remembered: %v", w.makers.of)
	}
	if err := w.makers.drop(t.Context(), nil, d, []object.ID{{Kind: "Unheard", Name: "of"}}); err != nil || len(w.makers.of) != 0 {
		t.Errorf("it is remembered once it is dropped: %v %v", w.makers.of, err)
	}
}
