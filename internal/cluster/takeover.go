package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// TakeOver says whose fields become ours before an apply.
type TakeOver struct {
	As          string   // our field manager
	From        []string // managers by prefix, whether they applied or updated; As itself where it updated
	Annotations []string // metadata.annotations to remove, such as kubectl's last applied configuration
	Labels      []string // metadata.labels to remove
}

// TakeOver gives us the fields that kubectl and other earlier managers own, so
// that a field which leaves the desired object leaves the cluster too. Entries
// of subresources stay. Semantics: kustomize-controller's cleanup
// (fluxcd/pkg/ssa, PatchReplaceFieldsManagers), but guarded by the object's
// resource version: an object that somebody wrote in between is a conflict.
// Without anything to do, nothing is sent and live is returned.
func (s *Session) TakeOver(ctx context.Context, kind Kind, live *unstructured.Unstructured, what TakeOver) (*unstructured.Unstructured, bool, error) {
	patch, err := what.patch(live)
	if err != nil {
		return nil, false, err
	}
	if patch == nil {
		return live, false, nil
	}
	got, err := s.Patch(ctx, kind, live.GetNamespace(), live.GetName(), PatchOptions{Type: types.MergePatchType, Manager: what.As}, patch)
	if err != nil {
		return nil, false, err
	}
	return got, true, nil
}

// Needed reports whether TakeOver would change the object.
func (what TakeOver) Needed(live *unstructured.Unstructured) (bool, error) {
	patch, err := what.patch(live)
	return patch != nil, err
}

// patch is nil when there is nothing to take over. It is a merge patch, since
// removing by JSON patch what is gone already would be invalid, and not the
// conflict that a stale object is.
func (what TakeOver) patch(live *unstructured.Unstructured) ([]byte, error) {
	meta := map[string]any{}
	remove := func(field string, present map[string]string, keys []string) {
		removed := map[string]any{}
		for _, key := range keys {
			if _, ok := present[key]; ok {
				removed[key] = nil
			}
		}
		if len(removed) > 0 {
			meta[field] = removed
		}
	}
	remove("annotations", live.GetAnnotations(), what.Annotations)
	remove("labels", live.GetLabels(), what.Labels)

	entries, changed, err := what.entries(live.GetManagedFields())
	if err != nil {
		return nil, err
	}
	if changed {
		meta["managedFields"] = entries
	}
	if len(meta) == 0 {
		return nil, nil
	}
	meta["resourceVersion"] = live.GetResourceVersion()
	return json.Marshal(map[string]any{"metadata": meta})
}

// entries merges what matching managers own into our own apply entry, which is
// made from the first of them if there is none yet.
func (what TakeOver) entries(all []metav1.ManagedFieldsEntry) ([]metav1.ManagedFieldsEntry, bool, error) {
	var ours *metav1.ManagedFieldsEntry
	var taken, rest []metav1.ManagedFieldsEntry
	for i, e := range all {
		switch {
		case e.Subresource == "" && e.Manager == what.As && e.Operation == metav1.ManagedFieldsOperationApply:
			ours = &all[i]
		case what.takes(e):
			taken = append(taken, e)
		default:
			rest = append(rest, e)
		}
	}
	if len(taken) == 0 {
		return all, false, nil
	}
	if ours == nil {
		first := taken[0]
		first.Manager, first.Operation = what.As, metav1.ManagedFieldsOperationApply
		ours, taken = &first, taken[1:]
	}
	merged, err := fieldSet(*ours)
	if err != nil {
		return nil, false, err
	}
	for _, e := range taken {
		set, err := fieldSet(e)
		if err != nil {
			return nil, false, err
		}
		merged = merged.Union(set)
	}
	raw, err := merged.ToJSON()
	if err != nil {
		return nil, false, fmt.Errorf("encode managed fields: %w", err)
	}
	mine := *ours
	mine.FieldsV1 = metav1.NewFieldsV1(string(raw))
	return append(rest, mine), true, nil
}

func (what TakeOver) takes(e metav1.ManagedFieldsEntry) bool {
	if e.Subresource != "" {
		return false
	}
	if e.Manager == what.As {
		return e.Operation == metav1.ManagedFieldsOperationUpdate
	}
	for _, prefix := range what.From {
		if strings.HasPrefix(e.Manager, prefix) {
			return true
		}
	}
	return false
}

func fieldSet(e metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("managed fields of %q: %w", e.Manager, err)
	}
	return set, nil
}
