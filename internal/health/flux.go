package health

import (
	"slices"

	"plumb.dev/plumb/internal/model"
)

// flux judges Flux's own kinds, which carry the conditions that kstatus knows.
// Their definitions give a new object an observed generation of -1, so that it
// is not mistaken for a kind that says nothing of itself; an object without any
// status is judged alike. Static kinds (Alert, Provider, OCI HelmRepository)
// have no status ever.
func flux(live fields) model.Health {
	if _, ok := live.condition("Ready"); ok {
		return readyCondition(live)
	}
	switch {
	case live.text("kind") == "HelmRepository" && live.text("spec", "type") == "oci":
		return current("an OCI HelmRepository has no state")
	case live.flag("spec", "suspend"):
		return inProgress("Suspended", "it is suspended and has never been reconciled")
	}
	return inProgress("NotReconciled", "it has not been reconciled yet")
}

// The kinds of Flux, in Argo CD's sense.
var (
	fluxKustomize = system{group: "kustomize.toolkit.fluxcd.io", kinds: map[string]rule{
		"Kustomization": first(paused("spec.suspend"), fluxCount{done: 1}.clause),
	}}
	fluxHelm = system{group: "helm.toolkit.fluxcd.io", kinds: map[string]rule{
		"HelmRelease": first(paused("spec.suspend"), fluxCount{done: 2, also: []string{"Released", "TestSuccess"}}.clause),
	}}
	fluxSource = system{group: "source.toolkit.fluxcd.io", kinds: map[string]rule{
		"Bucket":           fluxArtifact,
		"ExternalArtifact": fluxOther,
		"GitRepository":    fluxArtifact,
		"HelmChart":        fluxArtifact,
		"HelmRepository":   fluxHelmRepository,
		"OCIRepository":    fluxArtifact,
	}}
	fluxSourceExtensions = system{group: "source.extensions.fluxcd.io", kinds: shared(fluxOther, "ArtifactGenerator")}

	fluxImage = system{group: "image.toolkit.fluxcd.io", kinds: map[string]rule{
		"ImagePolicy": first(fluxCount{done: 1, notYet: "False",
			busy: []string{"NewGeneration", "AccessingRepository", "ApplyingPolicy"}}.clause),
		"ImageRepository": first(paused("spec.suspend"), fluxCount{done: 1, notYet: "False",
			busy: []string{"NewGeneration", "Scanning"}}.clause),
		"ImageUpdateAutomation": first(paused("spec.suspend"), fluxCount{done: 1}.clause),
	}}
	fluxNotification = system{group: "notification.toolkit.fluxcd.io", kinds: map[string]rule{
		"Alert":    fluxStatic,
		"Provider": fluxStatic,
		"Receiver": first(paused("spec.suspend"), fluxReceiver),
	}}
	fluxOperator = system{group: "fluxcd.controlplane.io", kinds: shared(fluxOther, "FluxInstance", "ResourceSet", "ResourceSetInputProvider")}
)

// fluxCount judges by several conditions together, as upstream does: a kind is
// healthy when as many as it takes have succeeded, and in progress only when
// Ready and Reconciling agree on that. All else is unhealthy.
type fluxCount struct {
	done   int      // conditions that must be True: Ready, and those of also
	also   []string // types that count beside Ready
	notYet string   // status of Ready that means that it is at work; "": Unknown
	busy   []string // reasons of Reconciling that mean that it is at work; nil: any
}

func (f fluxCount) clause(live fields) (model.Health, bool) {
	if !live.has("status", "conditions") {
		return model.Health{}, false
	}
	done, working := 0, 0
	for _, c := range live.conditions() {
		switch {
		case c.kind == "Ready" && c.status == or(f.notYet, "Unknown"):
			working++
		case c.status != "True":
		case c.kind == "Ready" || slices.Contains(f.also, c.kind):
			done++
		case c.kind == "Reconciling" && (f.busy == nil || slices.Contains(f.busy, c.reason)):
			working++
		}
	}
	ready, _ := live.condition("Ready")
	message := or(ready.message, or(ready.reason, "its controller says nothing of Ready"))
	switch {
	case working == 2:
		return inProgress(or(ready.reason, "Reconciling"), "%s", message), true
	case done == f.done:
		return current("%s", message), true
	}
	return failed(or(ready.reason, "NotReady"), "%s", message), true
}

// fluxArtifact is healthy when it is ready and its artifact is stored.
var fluxArtifact = first(paused("spec.suspend"), fluxCount{done: 2, also: []string{"ArtifactInStorage"}}.clause)

func fluxHelmRepository(live fields) model.Health {
	if live.text("spec", "type") == "oci" && !live.flag("spec", "suspend") {
		return current("an OCI HelmRepository has no state")
	}
	return fluxArtifact(live)
}

// fluxReceiver has nothing to work on: it is ready or it is not.
func fluxReceiver(live fields) (model.Health, bool) {
	if !live.has("status", "conditions") {
		return model.Health{}, false
	}
	ready, _ := live.condition("Ready")
	if ready.status == "True" {
		return current("%s", ready.said()), true
	}
	return failed(or(ready.reason, "NotReady"), "%s", or(ready.message, "the receiver is not ready")), true
}

// fluxStatic judges Alerts and Providers, which have a status in old versions
// only.
var fluxStatic = first(paused("spec.suspend"), conditionBoth("Ready"), otherwise(model.Current, "it has no state"))

// fluxOther judges kinds of Flux and its operator that Argo CD has no rule for,
// by the conditions that all of them share.
var fluxOther = first(paused("spec.suspend"), unobserved,
	ranked(when("Stalled", "True", model.Unhealthy), when("Reconciling", "True", model.InProgress)), conditionBoth("Ready"))
