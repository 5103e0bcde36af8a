package stage

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const asked = `
metadata:
  name: app
  generation: 2
  annotations:
    example.com/owner: jane
    reconcile.fluxcd.io/requestedAt: now
status:
  observedGeneration: 2
  lastHandledReconcileAt: now
  lastAppliedRevision: main@sha1:abc
  lastAttemptedRevision: main@sha1:def
  conditions:
    - {type: Ready, status: "True", reason: Succeeded, message: "Applied revision: main@sha1:abc"}
    - {type: Healthy, status: "False", reason: HealthCheckFailed, message: a=b}
`

// decode reads the object as the API server's answers are read.
func decode(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte("apiVersion: v1\nkind: Example\n" + asked))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestQuestions(t *testing.T) {
	object := decode(t)
	for words, seen := range map[string]string{
		"exists":                 "",
		"gone":                   "it exists",
		"ready":                  "",
		"ready at main@sha1:abc": "",
		"ready at main@sha1:def": "not at",
		"attempted def":          "",
		"failed":                 `"True", not "False"`,
		"failed BuildFailed":     `"True", not "False"`,
		"saying Applied":         "",
		"saying applied":         "without",
		"Healthy=False":          "",
		"Healthy=True":           "condition Healthy",
		"Stalled=":               "",
		".metadata.name=app":     "",
		".metadata.name!=app":    `is "app"`,
		".metadata.missing=":     "",
		".metadata.name~^a.p$":   "",
		".metadata.name~^b":      "does not match",
		`.metadata.annotations.example\.com/owner=jane`:             "",
		`.status.conditions[?(@.type=="Healthy")].message=a=b`:      "",
		`.status.conditions[?(@.type=="Healthy")].message~^b`:       "does not match",
		`.status.conditions[?(@.type!="Healthy")].status=True`:      "",
		`ready at abc .metadata.name=app Healthy=False saying main`: "",
	} {
		question, err := ParseQuestion(strings.Fields(words))
		if err != nil {
			t.Errorf("%s: %v", words, err)
			continue
		}
		if got := question.Ask(object); (got == "") != (seen == "") || !strings.Contains(got, seen) {
			t.Errorf("%s: saw %q, want %q", words, got, seen)
		}
	}
}

func TestQuestionsAboutWhatIsNotThere(t *testing.T) {
	for words, holds := range map[string]bool{"gone": true, "exists": false, "ready": false, ".metadata.name=": false} {
		question, err := ParseQuestion(strings.Fields(words))
		if err != nil {
			t.Fatal(err)
		}
		if got := question.Ask(nil); (got == "") != holds {
			t.Errorf("%s: %q", words, got)
		}
	}
}

func TestReadinessWaitsForTheLatest(t *testing.T) {
	question, err := ParseQuestion([]string{"ready"})
	if err != nil {
		t.Fatal(err)
	}
	for change, edit := range map[string]func(*unstructured.Unstructured){
		"generation": func(o *unstructured.Unstructured) { o.SetGeneration(3) },
		"wake-up":    func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{wakeAnnotation: "later"}) },
	} {
		object := decode(t)
		edit(object)
		if question.Ask(object) == "" {
			t.Errorf("ready although the last %s has not been seen", change)
		}
	}
}

func TestNoQuestions(t *testing.T) {
	for _, words := range []string{"", "at", "gone ready", "nonsense", ".metadata.name", ".metadata[=a", ".metadata.name~("} {
		if _, err := ParseQuestion(strings.Fields(words)); err == nil {
			t.Errorf("%q is taken for a question", words)
		}
	}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{"ks/app": "ks/here/app", "ks/there/app": "ks/there/app"} {
		name, err := ParseName(text, "here")
		if err != nil || name.String() != want {
			t.Errorf("%s: %s %v, want %s", text, name, err, want)
		}
	}
	for _, text := range []string{"app", "a/b/c/d"} {
		if _, err := ParseName(text, "here"); err == nil {
			t.Errorf("%q is taken for a name", text)
		}
	}
}
