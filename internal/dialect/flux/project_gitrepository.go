package flux

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// gitVoice is that of gitrepository_controller.go.
var gitVoice = sourceVoice{
	failed: "GitOperationFailed",
	stored: func(w *sourceWriter) (string, string) {
		return reasonSucceeded, fmt.Sprintf("stored artifact for revision '%s'", w.report.Artifact.Revision)
	},
	news: func(w *sourceWriter) (string, string) {
		return reasonNewArtifact, fmt.Sprintf("stored artifact for commit '%s'", orElse(w.report.Commit.Message, w.report.Artifact.Revision))
	},
	recovered: reasonSucceeded,
	verified: func(w *sourceWriter) string {
		return fmt.Sprintf("verified signature of\n\t- %s with key '%s'", w.report.Artifact.Revision, w.report.Verified)
	},
	observed: func(w *sourceWriter) {
		w.observe(map[string]string{
			"ignore":            "observedIgnore",
			"include":           "observedInclude",
			"recurseSubmodules": "observedRecurseSubmodules",
			"sparseCheckout":    "observedSparseCheckout",
		})
		w.includedArtifacts()
		w.verificationMode()
	},
}

// verificationMode tells the mode of the verification that passed.
func (w *sourceWriter) verificationMode() {
	_, asked, _ := unstructured.NestedMap(w.previous.Object, "spec", "verify")
	switch {
	case w.report.Verified != "":
		w.status["sourceVerificationMode"] = string(verifyMode(w.specText("verify", "mode")))
	case !asked:
		delete(w.status, "sourceVerificationMode")
	}
}

func (w *sourceWriter) includedArtifacts() {
	if len(w.report.Includes) == 0 {
		delete(w.status, "includedArtifacts")
		return
	}
	before, _, _ := unstructured.NestedSlice(w.status, "includedArtifacts")
	list := make([]any, len(w.report.Includes))
	for i, artifact := range w.report.Includes {
		list[i] = writtenArtifact(artifact)
		if i >= len(before) {
			continue
		}
		if written, ok := before[i].(map[string]any); ok && sameArtifact(*artifactOf(written), artifact) {
			list[i] = written
		}
	}
	w.status["includedArtifacts"] = list
}
