package flux

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// maxSnapshots bounds what is read of status.history; upstream keeps what lies
// before the last success, five at most when there was none.
const maxSnapshots = 100

// record is a map of a status. It may hold anything: what cannot be read is as
// if it were not there.
type record map[string]any

func (r record) text(field string) string { text, _ := r[field].(string); return text }

func (r record) number(field string) int64 {
	switch n := r[field].(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

func (r record) time(field string) time.Time {
	at, err := time.Parse(time.RFC3339, r.text(field))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

func (r record) duration(field string) time.Duration {
	d, err := time.ParseDuration(r.text(field))
	if err != nil {
		return 0
	}
	return d
}

func (r record) setNumber(field string, n int64) {
	if n == 0 {
		delete(r, field)
		return
	}
	r[field] = n
}

func (r record) setTime(field string, at time.Time) {
	if !at.IsZero() {
		r[field] = timestamp(at)
	}
}

// readReleaseStatus reads what the next decision about the release goes by.
func readReleaseStatus(release *model.Release, declared *unstructured.Unstructured) {
	fields, _ := declared.Object["status"].(map[string]any)
	status := record(fields)
	release.History = history(status)
	release.Failures = status.number("failures")
	release.InstallFailures = status.number("installFailures")
	release.UpgradeFailures = status.number("upgradeFailures")
	release.Attempted = attempt(status)
	release.Observed = model.ReleaseObserved{
		Generation:           status.number("observedGeneration"),
		StorageNamespace:     status.text("storageNamespace"),
		PostRenderersDigest:  status.text("observedPostRenderersDigest"),
		CommonMetadataDigest: status.text("observedCommonMetadataDigest"),
	}
	release.ForceHandled, release.ResetHandled = status.text("lastHandledForceAt"), status.text("lastHandledResetAt")
	release.ForceToken = requested(declared, annotationForceAt, release.ForceHandled)
	release.ResetToken = requested(declared, annotationResetAt, release.ResetHandled)
	told := newConditions(declared)
	release.Released, release.Tested, release.Remedied = told.verdict(conditionReleased), told.verdict(conditionTestSuccess), told.verdict(conditionRemediated)
	release.Drifted = told.verdict(conditionDrifted)
}

// requested is the token of a request that is asked for together with a
// reconciliation and has not been handled (fluxcd/pkg apis/meta,
// HandleAnnotationRequest); "" when there is none.
func requested(declared *unstructured.Unstructured, annotation, handled string) string {
	asked := declared.GetAnnotations()
	token := asked[annotation]
	seen, _, _ := unstructured.NestedString(declared.Object, "status", "lastHandledReconcileAt")
	if token == "" || token != asked[AnnotationRequestedAt] || token == seen || token == handled {
		return ""
	}
	return token
}

// verdict is a condition as it is told; nil when it is not there.
func (c *conditions) verdict(kind string) *model.Verdict {
	condition := record(c.get(kind))
	if condition == nil {
		return nil
	}
	status := condition.text("status")
	return &model.Verdict{OK: status == statusTrue, Unknown: status == statusUnknown, Reason: condition.text("reason"), Message: condition.text("message")}
}

// tell writes a condition, or removes it when there is no verdict.
func (c *conditions) tell(kind string, verdict *model.Verdict) {
	if verdict == nil {
		c.remove(kind)
		return
	}
	status := statusFalse
	switch {
	case verdict.Unknown:
		status = statusUnknown
	case verdict.OK:
		status = statusTrue
	}
	c.set(kind, status, verdict.Reason, verdict.Message)
}

// appliedRevision is the version of the chart that was released last and is
// deployed.
func appliedRevision(release *model.Release) string {
	if len(release.History) > 0 && release.History[0].Status == "deployed" {
		return release.History[0].ChartVersion
	}
	return ""
}

func attempt(status record) model.ReleaseAttempt {
	digest := status.text("lastAttemptedConfigDigest")
	if sum := status.text("lastAttemptedValuesChecksum"); digest == "" && sum != "" {
		digest = "sha1:" + sum // v2beta1
	}
	return model.ReleaseAttempt{
		Action:       status.text("lastAttemptedReleaseAction"),
		Revision:     status.text("lastAttemptedRevision"),
		Generation:   status.number("lastAttemptedGeneration"),
		ConfigDigest: digest,
		OCIDigest:    status.text("lastAttemptedRevisionDigest"),
		Duration:     status.duration("lastAttemptedReleaseActionDuration"),
	}
}

// writeAttempt writes it, and drops the fields that it took the place of.
func writeAttempt(status record, attempted model.ReleaseAttempt) {
	setText(status, "lastAttemptedReleaseAction", attempted.Action)
	setText(status, "lastAttemptedRevision", attempted.Revision)
	status.setNumber("lastAttemptedGeneration", attempted.Generation)
	setText(status, "lastAttemptedConfigDigest", attempted.ConfigDigest)
	setText(status, "lastAttemptedRevisionDigest", attempted.OCIDigest)
	if attempted.Duration > 0 {
		status["lastAttemptedReleaseActionDuration"] = attempted.Duration.String()
	}
	delete(status, "lastAttemptedValuesChecksum")
	delete(status, "lastReleaseRevision")
}

// history reads status.history, newest first.
func history(status record) []model.ReleaseSnapshot {
	list, _ := status["history"].([]any)
	var out []model.ReleaseSnapshot
	for _, item := range list[:min(len(list), maxSnapshots)] {
		if fields, ok := item.(map[string]any); ok {
			out = append(out, snapshot(fields))
		}
	}
	slices.SortStableFunc(out, func(a, b model.ReleaseSnapshot) int { return b.Version - a.Version })
	return out
}

func snapshot(fields record) model.ReleaseSnapshot {
	return model.ReleaseSnapshot{
		APIVersion:    fields.text("apiVersion"),
		Digest:        fields.text("digest"),
		Name:          fields.text("name"),
		Namespace:     fields.text("namespace"),
		Version:       int(fields.number("version")),
		Status:        fields.text("status"),
		ChartName:     fields.text("chartName"),
		ChartVersion:  fields.text("chartVersion"),
		AppVersion:    fields.text("appVersion"),
		ConfigDigest:  fields.text("configDigest"),
		FirstDeployed: fields.time("firstDeployed"),
		LastDeployed:  fields.time("lastDeployed"),
		DeletedTime:   fields.time("deleted"),
		TestHooks:     testHooks(fields["testHooks"]),
		OCIDigest:     fields.text("ociDigest"),
		Action:        fields.text("action"),
	}
}

// testHooks is nil when tests have not run, and empty when there are none.
func testHooks(value any) map[string]model.TestHook {
	hooks, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	out := make(map[string]model.TestHook, len(hooks))
	for name, value := range hooks {
		fields, _ := value.(map[string]any)
		hook := record(fields)
		out[name] = model.TestHook{Started: hook.time("lastStarted"), Finished: hook.time("lastCompleted"), Phase: hook.text("phase")}
	}
	return out
}

// writeHistory writes the snapshots, each as it was where it says nothing new.
func writeHistory(status record, snapshots []model.ReleaseSnapshot) {
	if len(snapshots) == 0 {
		delete(status, "history")
		return
	}
	list := make([]any, len(snapshots))
	for i := range snapshots {
		list[i] = map[string]any(writtenSnapshot(&snapshots[i]))
	}
	status["history"] = list
}

func writtenSnapshot(s *model.ReleaseSnapshot) record {
	out := record{
		"digest":       s.Digest,
		"name":         s.Name,
		"namespace":    s.Namespace,
		"version":      int64(s.Version),
		"status":       s.Status,
		"chartName":    s.ChartName,
		"chartVersion": s.ChartVersion,
		"configDigest": s.ConfigDigest,
		// Upstream's definition requires them; a record without has the zero time.
		"firstDeployed": timestamp(s.FirstDeployed),
		"lastDeployed":  timestamp(s.LastDeployed),
	}
	setText(out, "apiVersion", s.APIVersion)
	setText(out, "appVersion", s.AppVersion)
	setText(out, "ociDigest", s.OCIDigest)
	setText(out, "action", s.Action)
	out.setTime("deleted", s.DeletedTime)
	if s.TestHooks != nil {
		hooks := map[string]any{}
		for _, name := range reader.SortedKeys(s.TestHooks) {
			hooks[name] = map[string]any(writtenHook(s.TestHooks[name]))
		}
		out["testHooks"] = hooks
	}
	return out
}

func writtenHook(hook model.TestHook) record {
	out := record{}
	setText(out, "phase", hook.Phase)
	out.setTime("lastStarted", hook.Started)
	out.setTime("lastCompleted", hook.Finished)
	return out
}
