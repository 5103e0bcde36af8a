//go:build upstream

package health

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
)

// These tests measure against Argo CD's own cases. They need a checkout of
// argo-cd, named by PLUMB_ARGOCD:
//
//	PLUMB_ARGOCD=/path/to/argo-cd go test -tags upstream -run Upstream -v ./internal/health

const (
	wantByScript = 0.98 // share of cases
	wantByRule   = 120  // kinds
)

// upstreamCase is one entry of a health_test.yaml.
type upstreamCase struct {
	directory string // below resource_customizations, such as "argoproj.io/Rollout"
	input     string
	status    string
	message   string
	object    *unstructured.Unstructured
}

func upstreamRoot(t *testing.T) string {
	t.Helper()
	root := os.Getenv("PLUMB_ARGOCD")
	if root == "" {
		t.Fatal("PLUMB_ARGOCD does not name a checkout of argo-cd")
	}
	return filepath.Join(root, "resource_customizations")
}

func upstreamCases(t *testing.T, root string) []upstreamCase {
	t.Helper()
	var cases []upstreamCase
	scripts, err := filepath.Glob(filepath.Join(root, "*", "*", "health.lua"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no health.lua below %s (%v)", root, err)
	}
	for _, path := range scripts {
		directory := filepath.Dir(path)
		name, err := filepath.Rel(root, directory)
		if err != nil {
			t.Fatal(err)
		}
		var table struct {
			Tests []struct {
				InputPath    string `json:"inputPath"`
				HealthStatus struct{ Status, Message string }
			}
		}
		readYAML(t, filepath.Join(directory, "health_test.yaml"), &table)
		for _, test := range table.Tests {
			object := map[string]any{}
			readYAML(t, filepath.Join(directory, test.InputPath), &object)
			cases = append(cases, upstreamCase{
				directory: filepath.ToSlash(name), input: test.InputPath,
				status: test.HealthStatus.Status, message: test.HealthStatus.Message,
				object: &unstructured.Unstructured{Object: object},
			})
		}
	}
	return cases
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// As upstream reads it, only the first document of a file counts.
	data = []byte(strings.SplitN(strings.TrimPrefix(string(data), "---\n"), "\n---\n", 2)[0])
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// argoWord is Argo CD's word for a judgement; "" where it gives none.
func argoWord(health model.Health, known bool) string {
	if !known {
		return ""
	}
	for word, state := range argoStates {
		if state == health.State {
			return word
		}
	}
	return "(" + string(health.State) + ")"
}

// TestUpstreamByScript gives Argo CD's scripts as the configuration of users
// would.
func TestUpstreamByScript(t *testing.T) {
	root := upstreamRoot(t)
	rules := &model.HealthRules{Digest: "upstream", Scripts: map[string]string{}, OpenLibs: map[string]bool{}}
	cases := upstreamCases(t, root)
	for _, c := range cases {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.directory), "health.lua"))
		if err != nil {
			t.Fatal(err)
		}
		key := strings.ReplaceAll(c.directory, "_", "*")
		rules.Scripts[key], rules.OpenLibs[key] = string(source), true
	}
	compiled, err := CompileLua(rules)
	if err != nil {
		t.Error(err)
	}
	compiled = compiled.WithClock(time.Now)
	states, messages, alone := 0, 0, 0
	for _, c := range cases {
		// Upstream's own harness runs the script even on an object that is being
		// deleted, for which Argo CD asks no script.
		if health, known, _ := compiled.ruleFor(c.object).judge(c.object, time.Now); argoWord(health, known) == c.status &&
			strings.TrimSpace(health.Message) == strings.TrimSpace(c.message) {
			alone++
		}
		health, known, err := compiled.Assess(c.object)
		got := argoWord(health, known)
		switch {
		case got != c.status:
			t.Logf("differs: %s %s: got %s (%s), upstream %s (%s); error: %v", c.directory, c.input, got, health.Message, c.status, c.message, err)
			continue
		case strings.TrimSpace(health.Message) != strings.TrimSpace(c.message):
			t.Logf("message: %s %s: got %q, upstream %q", c.directory, c.input, health.Message, c.message)
		default:
			messages++
		}
		states++
	}
	t.Logf("by script: %d of %d cases have the same status (%.1f%%), %d of those the same message; run alone, %d have the same status and message",
		states, len(cases), 100*float64(states)/float64(len(cases)), messages, alone)
	if float64(states) < wantByScript*float64(len(cases)) {
		t.Errorf("fewer than %.0f%% of the cases agree", 100*wantByScript)
	}
}

// TestUpstreamByRule judges by our own rules.
func TestUpstreamByRule(t *testing.T) {
	root := upstreamRoot(t)
	cases := upstreamCases(t, root)
	agrees, kinds := 0, map[string]bool{}
	for _, c := range cases {
		health, known := Assess(c.object)
		same := argoWord(health, known) == c.status
		if before, seen := kinds[c.directory]; !seen || before {
			kinds[c.directory] = same
		}
		if same {
			agrees++
			continue
		}
		t.Logf("differs: %s %s: got %s (%s: %s), upstream %s (%s)",
			c.directory, c.input, argoWord(health, known), health.Reason, health.Message, c.status, c.message)
	}
	var whole, partly []string
	for kind, same := range kinds {
		if same {
			whole = append(whole, kind)
		} else {
			partly = append(partly, kind)
		}
	}
	sort.Strings(partly)
	t.Logf("by rule: all cases agree for %d of %d kinds; %d of %d cases agree; kinds that differ: %s",
		len(whole), len(kinds), agrees, len(cases), strings.Join(partly, ", "))
	if len(whole) < wantByRule {
		t.Errorf("fewer than %d kinds agree", wantByRule)
	}
}

// TestUpstreamBuiltIn judges the cases of gitops-engine, whose expectations are
// in the code of a test; the names of the files tell them.
func TestUpstreamBuiltIn(t *testing.T) {
	root := filepath.Join(filepath.Dir(upstreamRoot(t)), "gitops-engine", "pkg", "health", "testdata")
	expected := map[string]string{
		"apiservice-v1-false": "Progressing", "apiservice-v1-true": "Healthy",
		"apiservice-v1beta1-false": "Progressing", "apiservice-v1beta1-true": "Healthy",
		"daemonset-ondelete": "Healthy", "deployment-degraded": "Degraded", "deployment-progressing": "Progressing",
		"deployment-suspended": "Suspended", "hpa-v1-degraded": "Degraded", "hpa-v1-degraded-failedgetobjectmetric": "Degraded",
		"hpa-v1-healthy": "Healthy", "hpa-v1-healthy-toofew": "Healthy", "hpa-v1-progressing": "Progressing",
		"hpa-v1-progressing-with-no-annotations": "Progressing", "hpa-v2-degraded": "Degraded", "hpa-v2-healthy": "Healthy",
		"hpa-v2-progressing": "Progressing", "ingress": "Healthy", "ingress-nonemptylist": "Healthy", "ingress-unassigned": "Progressing",
		"job-failed": "Degraded", "job-running": "Progressing", "job-succeeded": "Healthy", "job-suspended": "Suspended",
		"pod-crashloop": "Degraded", "pod-deletion": "Progressing", "pod-error": "Degraded", "pod-failed": "Degraded",
		"pod-imagepullbackoff": "Degraded", "pod-pending": "Progressing", "pod-running-not-ready": "Progressing",
		"pod-running-restart-always": "Healthy", "pod-running-restart-never": "Progressing",
		"pod-running-restart-never-with-ignore-annotation":         "Healthy",
		"pod-running-restart-never-hook-with-ignore-annotation":    "Progressing",
		"pod-running-restart-never-with-ignore-annotation-backoff": "Degraded",
		"pod-running-restart-onfailure":                            "Progressing", "pod-succeeded": "Healthy",
		"pvc-bound": "Healthy", "pvc-pending": "Progressing", "statefulset": "Healthy", "statefulset-ondelete": "Healthy",
		"svc-clusterip": "Healthy", "svc-loadbalancer": "Healthy", "svc-loadbalancer-nonemptylist": "Healthy",
		"svc-loadbalancer-unassigned": "Progressing",
	}
	for name, want := range expected {
		object := map[string]any{}
		readYAML(t, filepath.Join(root, name+".yaml"), &object)
		health, known := Assess(&unstructured.Unstructured{Object: object})
		if got := argoWord(health, known); got != want {
			t.Errorf("%s: got %s (%s: %s), upstream %s", name, got, health.Reason, health.Message, want)
		}
	}
}
