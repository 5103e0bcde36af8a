package flux

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// A HelmRelease with a chart template has a HelmChart (helm-controller
// internal/reconcile/helmchart_template.go). The release does not wait for that
// object: it reads an implied source that is called by what the template says,
// and the HelmChart shows to people, and to their tools, what that source holds.

// The kind of implied sources of charts: there are no such objects.
const (
	impliedGroup = "plumb.dev"
	impliedKind  = "Chart"
)

// statusHelmChart is the field that names the HelmChart, as namespace/name.
const statusHelmChart = "helmChart"

// chartOfRelease names the HelmChart of a template (GetHelmChartName). It lies
// where the chart is read from.
func chartOfRelease(spec node, release object.ID) object.ID {
	return object.ID{
		Group:     GroupSource,
		Kind:      kindHelmChart,
		Namespace: orElse(spec.At("chart").At("spec").At("sourceRef").At("namespace").Str(), release.Namespace),
		Name:      release.Namespace + "-" + release.Name,
	}
}

// chartMarks are the labels and annotations that the template asks for.
func chartMarks(spec node) (labels, annotations map[string]string) {
	metadata := spec.At("chart").At("metadata")
	return metadata.At("labels").StringMap(), metadata.At("annotations").StringMap()
}

// chartSpec is the spec of the HelmChart that a template describes, as the API
// server stores it: whoever reads the object's own spec comes to the same.
func chartSpec(template, fallback node) map[string]any {
	ref := template.At("sourceRef")
	out := map[string]any{
		"chart":             template.At("chart").Str(),
		"version":           orElse(template.At("version").Str(), "*"),
		"sourceRef":         map[string]any{"kind": ref.At("kind").Str(), "name": ref.At("name").Str()},
		"interval":          chartInterval(template.At("interval"), fallback).String(),
		"reconcileStrategy": orElse(template.At("reconcileStrategy").Str(), byChartVersion),
	}
	if files := chartValuesFiles(template); len(files) > 0 {
		out["valuesFiles"] = asList(files)
	}
	if template.At("ignoreMissingValuesFiles").Bool() {
		out["ignoreMissingValuesFiles"] = true
	}
	if verify := template.At("verify"); verify.Present() {
		written := map[string]any{"provider": orElse(verify.At("provider").Str(), verifyCosign)}
		if name := verify.At("secretRef").At("name").Str(); name != "" {
			written["secretRef"] = map[string]any{"name": name}
		}
		out["verify"] = written
	}
	return out
}

// chartInterval is that of the template, or of the release.
func chartInterval(own, fallback node) time.Duration {
	if d, ok := own.Duration(); ok {
		return d
	}
	d, _ := fallback.Duration()
	return d
}

// impliedID names the implied source of a chart. The name tells templates apart,
// and has nothing of what their Secrets hold: a digest of that is a way to guess
// it.
func impliedID(namespace string, spec map[string]any) object.ID {
	text, _ := json.Marshal(spec) // texts and lists of texts
	sum := sha256.Sum256(text)
	return object.ID{Group: impliedGroup, Kind: impliedKind, Namespace: namespace, Name: hex.EncodeToString(sum[:16])}
}

// sharedChart is the implied source that reads the same as a HelmChart which was
// made of a template; zero for one that somebody declared.
func sharedChart(declared *unstructured.Unstructured, spec node) object.ID {
	if declared == nil || declared.GetDeletionTimestamp() != nil {
		return object.ID{}
	}
	labels := declared.GetLabels()
	name, namespace := labels[GroupHelm+"/name"], labels[GroupHelm+"/namespace"]
	if name == "" || namespace == "" || declared.GetName() != namespace+"-"+name {
		return object.ID{}
	}
	return impliedID(declared.GetNamespace(), chartSpec(spec, node{}))
}

// releaseChart is the HelmChart that a HelmRelease asks for; nil when it has no
// template.
func releaseChart(release *unstructured.Unstructured) *unstructured.Unstructured {
	r, spec := read(release)
	if !spec.At("chart").Present() || spec.At("chartRef").Present() {
		return nil
	}
	id := chartOfRelease(spec, r.ID)
	labels, annotations := chartMarks(spec)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, originLabels(r.ID))
	chart := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": GroupSource + "/v1",
		"kind":       kindHelmChart,
		"metadata":   map[string]any{"name": id.Name, "namespace": id.Namespace},
		"spec":       chartSpec(spec.At("chart").At("spec"), spec.At("interval")),
	}}
	chart.SetLabels(labels)
	if len(annotations) > 0 {
		chart.SetAnnotations(annotations)
	}
	return chart
}

// keepChart has the HelmChart of the template made, and the one before it, if
// that was another, deleted. The status names it before it is there: so nothing
// is ever made that the status does not know of.
func keepChart(status record, release *unstructured.Unstructured) (makes []*unstructured.Unstructured, drops []object.ID) {
	wanted := ""
	if chart := releaseChart(release); chart != nil {
		makes = append(makes, chart)
		wanted = chart.GetNamespace() + "/" + chart.GetName()
	}
	if before := status.text(statusHelmChart); before != wanted {
		drops = namedChart(before)
	}
	setText(status, statusHelmChart, wanted)
	return makes, drops
}

// deletedChart is the HelmChart that goes with a HelmRelease: none while that is
// suspended.
func deletedChart(release *unstructured.Unstructured) []object.ID {
	if suspended, _, _ := unstructured.NestedBool(release.Object, "spec", "suspend"); suspended {
		return nil
	}
	return namedChart(record(statusOf(release)).text(statusHelmChart))
}

// namedChart reads status.helmChart.
func namedChart(text string) []object.ID {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil
	}
	return []object.ID{{Group: GroupSource, Kind: kindHelmChart, Namespace: namespace, Name: name}}
}

// leaveChart lets everything about the HelmChart be as it is: what the template
// asks for may not be had, or is not understood.
func leaveChart(edits *model.Edits, release *unstructured.Unstructured) {
	edits.Makes, edits.Drops = nil, nil
	if edits.Status != nil {
		setText(edits.Status, statusHelmChart, record(statusOf(release)).text(statusHelmChart))
	}
}
