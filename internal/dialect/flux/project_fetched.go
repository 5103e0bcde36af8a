package flux

import (
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

// Annotations of artifacts that tell where they come from (OCI image
// specification).
const (
	originSource   = "org.opencontainers.image.source"
	originRevision = "org.opencontainers.image.revision"
)

// latestArchive is the name by which the newest artifact is served, latestIndex
// that of the index of a Helm repository.
const (
	latestArchive = "latest.tar.gz"
	latestIndex   = "index.yaml"
)

// ociVoice is that of ocirepository_controller.go.
var ociVoice = sourceVoice{
	failed: "OCIArtifactPullFailed",
	stored: func(w *sourceWriter) (string, string) {
		return reasonSucceeded, fmt.Sprintf("stored artifact for digest '%s'", w.report.Artifact.Revision)
	},
	news: func(w *sourceWriter) (string, string) {
		artifact := w.report.Artifact
		message := fmt.Sprintf("stored artifact with revision '%s' from '%s'", artifact.Revision, withoutUser(w.specText("url")))
		if from, revision := artifact.Metadata[originSource], artifact.Metadata[originRevision]; from != "" && revision != "" {
			message += fmt.Sprintf(", origin source '%s', origin revision '%s'", from, revision)
		}
		return reasonNewArtifact, message
	},
	recovered: reasonSucceeded,
	verified: func(w *sourceWriter) string {
		return "verified signature of revision " + w.report.Artifact.Revision
	},
	observed: func(w *sourceWriter) {
		w.observe(map[string]string{"ignore": "observedIgnore", "layerSelector": "observedLayerSelector"})
		w.links(latestArchive)
	},
}

// bucketVoice is that of bucket_controller.go.
var bucketVoice = sourceVoice{
	failed: "BucketOperationFailed",
	stored: storedRevision,
	news: func(w *sourceWriter) (string, string) {
		return reasonNewArtifact, fmt.Sprintf("stored artifact with %d fetched files from '%s' bucket", w.report.Files, w.specText("bucketName"))
	},
	recovered: reasonSucceeded,
	observed: func(w *sourceWriter) {
		w.observe(map[string]string{"ignore": "observedIgnore"})
		w.links(latestArchive)
	},
}

// indexVoice is that of helmrepository_controller.go.
var indexVoice = sourceVoice{
	failed: reasonFailed,
	stored: storedRevision,
	news: func(w *sourceWriter) (string, string) {
		size := "unknown size"
		if w.report.Artifact.Size > 0 {
			size = "size " + humanSize(w.report.Artifact.Size)
		}
		return reasonNewArtifact, fmt.Sprintf("stored fetched index of %s from '%s'", size, withoutUser(w.specText("url")))
	},
	recovered: reasonSucceeded,
	observed:  func(w *sourceWriter) { w.links(latestIndex) },
}

func storedRevision(w *sourceWriter) (string, string) {
	return reasonSucceeded, fmt.Sprintf("stored artifact: revision '%s'", w.report.Artifact.Revision)
}

// chartVoice is that of helmchart_controller.go, and of chart.Build's summary.
var chartVoice = sourceVoice{
	failed:   "ChartPullError",
	stored:   chartSummary,
	news:     chartSummary,
	verified: func(w *sourceWriter) string { return "verified signature of version " + w.report.Artifact.Revision },
	observed: func(w *sourceWriter) {
		setText(w.status, "observedSourceArtifactRevision", w.report.ReadRevision)
		if w.report.Chart != nil {
			setText(w.status, "observedChartName", w.report.Chart.Name)
		}
		delete(w.status, "observedValuesFiles")
		if ignored, _, _ := unstructured.NestedBool(w.previous.Object, "spec", "ignoreMissingValuesFiles"); ignored && len(w.report.ValuesFiles) > 0 {
			w.status["observedValuesFiles"] = asList(w.report.ValuesFiles)
		}
		w.links(latestArchive)
	},
}

// chartSummary says what was done to have the chart: one with values merged in,
// or of a directory, was packaged.
func chartSummary(w *sourceWriter) (string, string) {
	name, merged := path.Base(w.specText("chart")), w.mergedValues()
	if w.report.Chart != nil {
		name = w.report.Chart.Name
	}
	archived := strings.HasSuffix(w.specText("chart"), ".tgz") || w.specText("sourceRef", "kind") == kindHelmRepository
	reason, action := "ChartPullSucceeded", "pulled"
	if !archived || len(merged) > 0 {
		reason, action = "ChartPackageSucceeded", "packaged"
	}
	message := fmt.Sprintf("%s '%s' chart with version '%s'", action, name, w.report.Artifact.Revision)
	if len(merged) > 0 {
		message += fmt.Sprintf(" and merged values files %v", merged)
	}
	return reason, message
}

// mergedValues are the files that the artifact's values were merged of.
func (w *sourceWriter) mergedValues() []string {
	if w.report.ValuesFiles != nil {
		return w.report.ValuesFiles
	}
	_, spec := read(w.previous)
	return chartValuesFiles(spec)
}

func asList(texts []string) []any {
	out := make([]any, len(texts))
	for i, text := range texts {
		out[i] = text
	}
	return out
}

// humanSize is a number of bytes with four significant digits and a decimal
// unit, as upstream's events have it.
func humanSize(bytes int64) string {
	size, units := float64(bytes), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for len(units) > 1 && size >= 1000 {
		size, units = size/1000, units[1:]
	}
	return fmt.Sprintf("%.4g%s", size, units[0])
}

// projectHelmRepository tells of the index, where there is one.
func projectHelmRepository(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	if isRegistry(previous) {
		return projectRegistry(report, previous)
	}
	return indexVoice.project(report, previous)
}

// isRegistry reports whether a HelmRepository is one of a registry.
func isRegistry(repository *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(repository.Object, "spec", "type")
	return kind == typeOCI
}

// projectRegistry writes nothing on a HelmRepository of a registry, which has no
// state, and takes away what it had before it became one (migrationToStatic of
// helmrepository_controller.go). Findings are ours to tell.
func projectRegistry(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	edits := model.Edits{Finalizer: Finalizer}
	if report.Deleted || report.Suspended {
		return edits
	}
	now := newConditions(previous).stamp(report.At, report.Generation)
	for _, condition := range now.sorted() {
		fields, _ := condition.(map[string]any)
		if kind, _ := fields["type"].(string); kind != conditionFindings {
			now.remove(kind)
		}
	}
	edits.Events = now.writeFindings(report.Findings)
	edits.Status = finish(map[string]any{}, now)
	return edits
}

// projectExternalArtifact writes the status of an artifact that is made here, as
// source-watcher does. One that others make is theirs to tell of.
func projectExternalArtifact(report *model.SourceReport, previous *unstructured.Unstructured) model.Edits {
	if !generated(previous) || report.Deleted || report.Suspended {
		return model.Edits{}
	}
	w := sourceWriter{report: report, draft: newDraft(previous, report.At, report.Generation)}
	w.keepArtifact()
	switch {
	case report.Fault != nil:
		w.now.set(conditionReady, statusFalse, faultReason(report.Fault, reasonBuildFailed), faultText(report.Fault))
	case report.Artifact != nil:
		w.now.set(conditionReady, statusTrue, reasonSucceeded, "Artifact is ready")
	default:
		w.now.set(conditionReady, statusUnknown, reasonProgressing, msgInProgress)
	}
	if report.Fault != nil && said(w.now.get(conditionReady)) != said(w.was.get(conditionReady)) {
		w.event(eventType(report.Fault.Waiting), faultReason(report.Fault, reasonBuildFailed), faultText(report.Fault), nil)
	}
	return w.finish(model.Edits{}, "", report.Findings)
}
