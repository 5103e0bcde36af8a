package rows

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
)

// Source is the row of a source; known is false before its declaration has been
// understood.
func Source(d Declared, k *engine.KnownSource, known bool) *plumbv1.Source {
	row := &plumbv1.Source{
		Ref: Ref(object.Of(d.Object), d.Object.GroupVersionKind().Version), Dialect: d.Dialect, Labels: d.Object.GetLabels(),
		Created: at(d.Object.GetCreationTimestamp().Time), Url: declaredURL(d.Object), TargetRevision: declaredRevision(d.Object),
	}
	if !known {
		row.Health = undeclared(d.Object)
		row.Reason, row.Message = row.Health.Reason, row.Health.Message
		return row
	}
	row.Revision, row.Commit, row.Suspended, row.Readers = k.Revision, Commit(k.Commit), k.Source.Suspended, int32(len(k.Readers))
	if k.Artifact != nil {
		row.Revision, row.Fetched = cmp.Or(k.Artifact.Revision, row.Revision), at(k.Artifact.Updated)
	}
	row.ShortRevision, row.RevisionUrl = ShortRevision(row.Revision), CommitURL(row.Url, row.Revision)
	switch {
	case k.Fault != nil && k.Fault.Waiting:
		row.Health = &plumbv1.Health{State: Progressing, Reason: k.Fault.Reason, Message: k.Fault.Message}
	case k.Fault != nil:
		row.Health = &plumbv1.Health{State: Degraded, Reason: k.Fault.Reason, Message: k.Fault.Message}
	case row.Suspended:
		row.Health = &plumbv1.Health{State: Suspended}
	case !k.Looked && row.Revision == "":
		row.Health = &plumbv1.Health{State: Progressing, Reason: "Progressing", Message: "it has not been looked at yet"}
	default:
		row.Health = &plumbv1.Health{State: Healthy}
	}
	row.Reason, row.Message = row.Health.Reason, row.Health.Message
	return row
}

// declaredURL is where a source is, without credentials.
func declaredURL(o *unstructured.Unstructured) string {
	for _, path := range [][]string{{"spec", "url"}, {"spec", "endpoint"}, {"spec", "sourceRef", "name"}} {
		if text, _, _ := unstructured.NestedString(o.Object, path...); text != "" {
			return object.WithoutCredentials(text)
		}
	}
	return ""
}

// declaredRevision is what a source follows, as it is declared.
func declaredRevision(o *unstructured.Unstructured) string {
	for _, field := range []string{"commit", "name", "semver", "tag", "branch", "digest"} {
		if text, _, _ := unstructured.NestedString(o.Object, "spec", "ref", field); text != "" {
			return text
		}
	}
	version, _, _ := unstructured.NestedString(o.Object, "spec", "version")
	return version
}
