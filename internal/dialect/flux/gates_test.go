package flux

import (
	"strings"
	"testing"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
)

func TestReadGates(t *testing.T) {
	got, idle, err := ReadGates([]string{"DisableChartDigestTracking=true", "UseHelm3Defaults=true", "DefaultToRetryOnFailure=true", "OOMWatch=true", "UseHelm3Defaults=false", "StrictPostBuildSubstitutions=false"})
	if want := (dialect.Gates{PlainChartVersions: true, RetryOnFailure: true, LaxSubstitution: true}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if len(idle) != 1 || !strings.Contains(idle[0], "OOMWatch=true") {
		t.Errorf("%q", idle)
	}
	for written, want := range map[string]string{
		"Unheard=true":                     "known are AdditiveCELDependencyCheck, ",
		"OOMWatch":                         "must be true or false",
		"OOMWatch=yes":                     "must be true or false",
		"disablechartdigesttracking=false": "there is no feature gate",
		"":                                 "there is no feature gate",
	} {
		if _, _, err := ReadGates([]string{written}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", written, err)
		}
	}
	for name, one := range gates {
		if (one.acts == nil) == (one.idle == "") {
			t.Errorf("%s acts, or it says why not", name)
		}
	}
}

const gatedRelease = `
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: shop}
spec:
  interval: 1h
  chartRef: {kind: OCIRepository, name: web}
  dependsOn: [{name: base, readyExpr: "true"}]
`

const gatedKustomization = `
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: web, namespace: shop}
spec:
  interval: 1h
  prune: true
  sourceRef: {kind: GitRepository, name: repo}
  postBuild: {substitute: {a: b}}
  dependsOn: [{name: base, readyExpr: "true"}]
`

func TestGatesReachWhatTheyAreAbout(t *testing.T) {
	compiled := func(declared string, gates dialect.Gates) *model.Delivery {
		t.Helper()
		intent, needs, _, err := Flux{}.Compile(parsed(t, declared), nil, dialect.Settings{Flux: gates})
		if err != nil || len(needs) > 0 || intent.Delivery == nil {
			t.Fatalf("%v %v", err, needs)
		}
		return intent.Delivery
	}
	for name, c := range map[string]struct {
		gates    dialect.Gates
		declared string
		shows    func(d *model.Delivery) bool
	}{
		"readyExpr of a release":   {dialect.Gates{AdditiveReadyExpr: true}, gatedRelease, func(d *model.Delivery) bool { return d.DependsOn[0].Additive }},
		"readyExpr":                {dialect.Gates{AdditiveReadyExpr: true}, gatedKustomization, func(d *model.Delivery) bool { return d.DependsOn[0].Additive }},
		"waiting as Helm 3":        {dialect.Gates{Helm3Defaults: true}, gatedRelease, func(d *model.Delivery) bool { return d.Release.WaitStrategy == model.WaitLegacy }},
		"applying as Helm 3":       {dialect.Gates{Helm3Defaults: true}, gatedRelease, func(d *model.Delivery) bool { return d.Release.Install.ServerSideApply == applyClientSide }},
		"post-rendering as Helm 3": {dialect.Gates{Helm3Defaults: true}, gatedRelease, func(d *model.Delivery) bool { return d.Inputs[0].Render.Helm.PostRenderStrategy == "nohooks" }},
		"patience":                 {dialect.Gates{PatientHealth: true}, gatedKustomization, func(d *model.Delivery) bool { return d.Policy.Patient }},
		"plain versions":           {dialect.Gates{PlainChartVersions: true}, gatedRelease, func(d *model.Delivery) bool { return d.Release.PlainVersion }},
		"retries": {dialect.Gates{RetryOnFailure: true}, gatedRelease, func(d *model.Delivery) bool {
			return d.Release.Install.RetryOnFailure && d.Release.Upgrade.RetryOnFailure && d.Release.Upgrade.RetryInterval > 0
		}},
		"no strictness": {dialect.Gates{LaxSubstitution: true}, gatedKustomization, func(d *model.Delivery) bool { return !d.Inputs[0].Render.Substitution.Strict }},
	} {
		if c.shows(compiled(c.declared, dialect.Gates{})) {
			t.Errorf("%s without the gate", name)
		}
		if !c.shows(compiled(c.declared, c.gates)) {
			t.Errorf("%s with the gate does not show", name)
		}
	}
	loud := strings.Replace(gatedRelease, "  interval: 1h\n", "  interval: 1h\n  install: {serverSideApply: true, strategy: {name: RemediateOnFailure}}\n  waitStrategy: {name: poller}\n", 1)
	d := compiled(loud, dialect.Gates{Helm3Defaults: true, RetryOnFailure: true})
	if d.Release.WaitStrategy != model.WaitPoller || d.Release.Install.ServerSideApply != applyServerSide || d.Release.Install.RetryOnFailure {
		t.Error("a gate goes over what is written")
	}
}
