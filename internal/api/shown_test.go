package api

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestInlineValuesAreVeiled: what a declared object says of passwords is not
// shown, also where a password begins as a reference would; what only names a
// variable is.
func TestInlineValuesAreVeiled(t *testing.T) {
	for what, text := range map[string]string{
		"values of a release":        `{kind: HelmRelease, spec: {values: {db: {password: $CANARY, token: "$CANARY:x"}, replicas: 2, apiKey: '${SHOWN}'}}}`,
		"a substitution":             `{kind: Kustomization, spec: {postBuild: {substitute: {db_password: $CANARY, other: '${SHOWN}'}}}}`,
		"values of a chart":          `{kind: Application, spec: {source: {helm: {values: "db:\n  password: $CANARY\n  token: ${SHOWN}\n"}}}}`,
		"values as an object":        `{kind: Application, spec: {sources: [{helm: {valuesObject: {password: $CANARY, secret: '${SHOWN}'}}}]}}`,
		"a parameter":                `{kind: Application, spec: {source: {helm: {parameters: [{name: db.password, value: $CANARY}, {name: app.secret, value: $ARGOCD_APP_NAME-SHOWN}, {name: token, value: '${SHOWN}'}]}}}}`,
		"the env of a plugin":        `{kind: Application, spec: {source: {plugin: {env: [{name: TOKEN, value: $CANARY}, {name: SECRET, value: '${SHOWN}'}]}}}}`,
		"a template of a set":        `{kind: ApplicationSet, spec: {template: {spec: {source: {helm: {valuesObject: {password: $CANARY, token: '${SHOWN}'}}}}}}}`,
		"an element of a set":        `{kind: ApplicationSet, spec: {generators: [{list: {elements: [{cluster: SHOWN, token: CANARY}]}}, {matrix: {generators: [{clusters: {values: {password: CANARY}}}]}}]}}`,
		"elements of a set, as text": `{kind: ApplicationSet, spec: {generators: [{list: {elementsYaml: "- name: SHOWN\n  token: CANARY\n"}}]}}`,
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		if got := printed(o); strings.Contains(got, "CANARY") || !strings.Contains(got, "SHOWN") {
			t.Errorf("%s:\n%s", what, got)
		}
	}
}
