package api

import (
	"strings"
	"testing"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/model"
)

// said are parameters as lines of "name=value".
func said(parameters []*plumbv1.Parameter) string {
	var lines []string
	for _, p := range parameters {
		lines = append(lines, p.GetName()+"="+p.GetValue())
	}
	return strings.Join(lines, "\n")
}

func TestParametersOfARelease(t *testing.T) {
	manifest := `
kind: HelmRelease
spec:
  releaseName: shop
  chart: {spec: {chart: shop, valuesFiles: [values.yaml, values-prod.yaml]}}
  valuesFrom:
  - {kind: Secret, name: shop-values}
  - {kind: ConfigMap, name: shop, valuesKey: tag, targetPath: image.tag}
  values: {replicas: 2, database: {password: "***"}}
`
	composed := model.NewSecret([]byte("database: {password: hunter2}"))
	d := &model.Delivery{Release: &model.Release{}, Inputs: []model.Input{{Render: model.Render{Helm: model.HelmOptions{ReleaseName: "shop", Values: composed}}}}}
	got := said(parameters(d, manifest))
	for _, want := range []string{
		"helm.releaseName=shop", "helm.valuesFiles=values.yaml, values-prod.yaml", "helm.valuesFrom=Secret shop-values",
		"helm.valuesFrom=ConfigMap shop key tag at image.tag", "password: '***'", "replicas: 2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("what comes from a Secret is told:\n%s", got)
	}
}

func TestParametersOfAnApplication(t *testing.T) {
	manifest := `
kind: Application
spec:
  sources:
  - helm:
      valueFiles: [prod.yaml]
      parameters: [{name: image.tag, value: "1.2"}, {name: auth.password, value: hunter2}]
      fileParameters: [{name: config, path: files/config.toml}]
      values: "replicas: 2\n"
  - directory: {jsonnet: {tlas: [{name: env, value: prod}]}}
`
	d := &model.Delivery{Inputs: []model.Input{
		{Field: "spec.sources[0]", Path: "chart"},
		{Field: "spec.sources[1]", Path: "jsonnet", Render: model.Render{Kustomize: model.KustomizeOptions{Replicas: []model.Replicas{{Name: "web", Count: 3}}}}},
	}}
	got := said(parameters(d, manifest))
	for _, want := range []string{
		"spec.sources[0]: path=chart", "spec.sources[0]: helm.valueFiles=prod.yaml", "spec.sources[0]: helm.parameters.image.tag=1.2",
		"spec.sources[0]: helm.parameters.auth.password=***", "spec.sources[0]: helm.fileParameters.config=files/config.toml",
		"spec.sources[0]: helm.values=replicas: 2", "spec.sources[1]: jsonnet.tlas.env=prod", "spec.sources[1]: kustomize.replicas.web=3",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	one := said(parameters(&model.Delivery{Inputs: []model.Input{{}}}, "spec: {source: {helm: {valuesObject: {a: 1}}}}"))
	if one != "helm.values=a: 1\n" {
		t.Errorf("the values of one source are told as %q", one)
	}
}

func TestParametersOfASubstitutionAreMasked(t *testing.T) {
	render := model.Render{Substitution: &model.Substitution{
		Inline: map[string]string{"region": "eu", "db_password": "hunter2", "repository": "https://ann:hunter2@git.example.org/x"},
		From:   []model.SubstituteFrom{{Need: model.Need{Kind: "Secret", Namespace: "flux-system", Name: "cluster"}}},
	}}
	got := said(parameters(&model.Delivery{Inputs: []model.Input{{Render: render}}}, ""))
	if !strings.Contains(got, "postBuild.substitute.region=eu") || !strings.Contains(got, "postBuild.substituteFrom=Secret/flux-system/cluster") {
		t.Errorf("told\n%s", got)
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("a secret is told:\n%s", got)
	}
}

func TestParametersOfAGenerator(t *testing.T) {
	given := []byte(`{"name":"prod","values.token":"hunter2","metadata.labels.region":"eu"}`)
	if got := said(generated(given, true)); got != "generator.metadata.labels.region=eu\ngenerator.name=prod\ngenerator.values.token=***" {
		t.Errorf("told\n%s", got)
	}
	if got := said(generated(given, false)); strings.Contains(got, "region") || !strings.Contains(got, "generator.name=prod") {
		t.Errorf("to those who may not see clusters is told\n%s", got)
	}
	if got := generated(nil, true); got != nil {
		t.Errorf("without a generator there is %v", got)
	}
}
