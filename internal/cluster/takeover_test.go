package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func entry(manager, operation, subresource, fields string) string {
	return fmt.Sprintf(`{"manager":%q,"operation":%q,"subresource":%q,"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":%s}`, manager, operation, subresource, fields)
}

// TestTakeOverEntries lists entries before and after as manager/operation:fields.
func TestTakeOverEntries(t *testing.T) {
	what := TakeOver{As: "kustomize-controller", From: []string{"kubectl", "before-first-apply"}, Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration"}, Labels: []string{"a~b/c"}}
	a, b, ab := `{"f:data":{"f:a":{}}}`, `{"f:data":{"f:b":{}}}`, `{"f:data":{"f:a":{},"f:b":{}}}`
	for name, tc := range map[string]struct {
		before []string
		after  string // "": nothing to do
	}{
		"nothing":                  {nil, ""},
		"only ours":                {[]string{entry("kustomize-controller", "Apply", "", a)}, ""},
		"others stay":              {[]string{entry("helm", "Update", "", a), entry("kube-controller-manager", "Update", "status", b)}, ""},
		"renamed":                  {[]string{entry("kubectl-client-side-apply", "Update", "", a), entry("hpa", "Update", "", b)}, "hpa/Update" + b + " kustomize-controller/Apply" + a},
		"applied by kubectl":       {[]string{entry("kubectl", "Apply", "", a)}, "kustomize-controller/Apply" + a},
		"merged":                   {[]string{entry("kubectl-edit", "Update", "", b), entry("kustomize-controller", "Apply", "", a)}, "kustomize-controller/Apply" + ab},
		"two merged":               {[]string{entry("kubectl-edit", "Update", "", b), entry("before-first-apply", "Update", "", a)}, "kustomize-controller/Apply" + ab},
		"our own updates":          {[]string{entry("kustomize-controller", "Update", "", a), entry("kustomize-controller", "Apply", "", b)}, "kustomize-controller/Apply" + ab},
		"subresources stay theirs": {[]string{entry("kubectl", "Update", "status", a), entry("kubectl", "Apply", "scale", a)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := fromJSON(t, `{"metadata":{"name":"x","resourceVersion":"7","managedFields":[`+strings.Join(tc.before, ",")+`]}}`)
			patch, err := what.patch(o)
			if err != nil {
				t.Fatal(err)
			}
			if needed, err := what.Needed(o); err != nil || needed != (tc.after != "") {
				t.Errorf("needed %t, %v", needed, err)
			}
			if tc.after == "" {
				if patch != nil {
					t.Fatalf("%s", patch)
				}
				return
			}
			var merge struct {
				Metadata struct {
					ResourceVersion string
					ManagedFields   []struct {
						Manager, Operation string
						FieldsV1           json.RawMessage
					}
				}
			}
			if err := json.Unmarshal(patch, &merge); err != nil || merge.Metadata.ResourceVersion != "7" {
				t.Fatalf("%s %v", patch, err)
			}
			var got []string
			for _, e := range merge.Metadata.ManagedFields {
				got = append(got, e.Manager+"/"+e.Operation+string(e.FieldsV1))
			}
			if strings.Join(got, " ") != tc.after {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), tc.after)
			}
		})
	}
	patch, err := what.patch(fromJSON(t, `{"metadata":{"name":"x","resourceVersion":"7","labels":{"a~b/c":"1"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","keep":"1"}}}`))
	want := `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":null},"labels":{"a~b/c":null},"resourceVersion":"7"}}`
	if err != nil || string(patch) != want {
		t.Errorf("%s %v", patch, err)
	}
	if _, err := what.patch(fromJSON(t, `{"metadata":{"managedFields":[`+entry("kubectl", "Update", "", `{"x":1}`)+`]}}`)); err == nil {
		t.Error("unreadable managed fields are taken over")
	}
}

// TestTakeOverRemovesWhatLeavesGit is the reason for it: without it a field
// that kubectl set would stay for ever.
func TestTakeOverRemovesWhatLeavesGit(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns, ctx, s := newNamespace(t, c), testContext(t), c.As(noIdentity)
	kind := mustKind(t, c, "v1", "ConfigMap")
	created, err := s.Create(ctx, kind, fromJSON(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"`+ns+`","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"keep":"1","drop":"1"}}`), WriteOptions{Manager: "kubectl-client-side-apply"})
	if err != nil {
		t.Fatal(err)
	}
	what := TakeOver{As: "kustomize-controller", From: []string{"kubectl"}, Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration"}}
	taken, did, err := s.TakeOver(ctx, kind, created, what)
	if err != nil || !did {
		t.Fatal(did, err)
	}
	if _, did, err := s.TakeOver(ctx, kind, taken, what); err != nil || did {
		t.Errorf("taken over twice: %v", err)
	}
	if _, _, err := s.TakeOver(ctx, kind, created, what); err == nil || !strings.Contains(Explain(err, "take over", idOf(created), noOrigin).Message, "Conflict") {
		t.Errorf("a stale object was taken over: %v", err)
	}
	got, err := s.Apply(ctx, kind, []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"`+ns+`"},"data":{"keep":"1"}}`), ApplyOptions{Manager: "kustomize-controller", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	data, _, _ := unstructured.NestedStringMap(got.Object, "data")
	if len(data) != 1 || len(got.GetAnnotations()) != 0 || got.GetUID() != created.GetUID() || len(got.GetManagedFields()) != 1 {
		t.Errorf("%v", got.Object)
	}
}
