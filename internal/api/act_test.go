package api

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/plumbv1"
)

// TestWhatActionsWrite: what an action asks for is in the patch, and nothing of
// it in that of another.
func TestWhatActionsWrite(t *testing.T) {
	const release = `{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: web, namespace: team}}`
	const app = `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: web, namespace: argocd},
  spec: {source: {repoURL: x}}, status: {history: [{id: 3, revision: aaa, source: {repoURL: x}}, {id: 4, revision: bbb, source: {repoURL: x}}]}}`
	for _, c := range []struct {
		name, object string
		m            *plumbv1.ActRequest
		has, lacks   []string // of the patch
		says         string
	}{
		{"a look", release, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Refresh{Refresh: &plumbv1.Refresh{}}},
			[]string{`"reconcile.fluxcd.io/requestedAt"`}, []string{"forceAt", "resetAt"}, "asked to look again"},
		{"force", release, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Refresh{Refresh: &plumbv1.Refresh{Force: true}}},
			[]string{`"reconcile.fluxcd.io/requestedAt"`, `"reconcile.fluxcd.io/forceAt"`}, []string{"resetAt"}, "asked to install or upgrade once more"},
		{"reset", release, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Refresh{Refresh: &plumbv1.Refresh{ResetFailures: true}}},
			[]string{`"reconcile.fluxcd.io/resetAt"`}, []string{"forceAt"}, "asked to look again, with its failures counted from zero"},
		{"a sync looks at the sources first", app, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Sync{Sync: &plumbv1.Sync{}}},
			[]string{`"argocd.argoproj.io/refresh":"normal"`, `"operation":`, `"username":"ann"`}, []string{"dryRun"}, "asked to sync"},
		{"a way back", app, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Rollback{Rollback: &plumbv1.Rollback{Id: "3"}}},
			[]string{`"revision":"aaa"`}, []string{"dryRun", "refresh"}, "asked to roll back to sync 3"},
		{"a way back, predicted", app, &plumbv1.ActRequest{Action: &plumbv1.ActRequest_Rollback{Rollback: &plumbv1.Rollback{Id: "3", DryRun: true}}},
			[]string{`"revision":"aaa"`, `"dryRun":true`}, []string{"quarantine"}, "asked to predict a rollback to sync 3"},
	} {
		o := &unstructured.Unstructured{}
		text, err := yaml.YAMLToJSON([]byte(c.object))
		if err == nil {
			err = o.UnmarshalJSON(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		patch, says, err := (&acting{request: c.m, by: "ann"}).patch(o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		written, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.has {
			if !strings.Contains(string(written), want) {
				t.Errorf("%s: no %s in %s", c.name, want, written)
			}
		}
		for _, other := range c.lacks {
			if strings.Contains(string(written), other) {
				t.Errorf("%s: %s in %s", c.name, other, written)
			}
		}
		if says != c.says {
			t.Errorf("%s: says %q", c.name, says)
		}
	}
}
