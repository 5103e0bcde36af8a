package flux

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect"
)

// gate is a feature gate of Flux's controllers (--feature-gates).
type gate struct {
	// acts sets what the gate means here; nil: it means nothing.
	acts func(gates *dialect.Gates, on bool)
	idle string // why it means nothing
}

// Why gates have no meaning.
const (
	gateOfCaches   = "it is about what Flux's controllers keep in memory"
	gateOfLogs     = "it is about the logs of Flux's controllers"
	gateOfImages   = "it belongs to the automation of images"
	gateAlwaysOn   = "it is always so"
	gateSuperseded = "Flux itself passes over it by now"
)

// gates are those of source-controller 1.9, kustomize-controller 1.9, helm-controller
// 1.6, notification-controller 1.9, the image controllers 1.2 and source-watcher 2.2
// (internal/features of each). Names that several have mean the same in all.
var gates = map[string]gate{
	"AdditiveCELDependencyCheck":     {acts: func(g *dialect.Gates, on bool) { g.AdditiveReadyExpr = on }},
	"AdoptLegacyReleases":            {idle: gateSuperseded},
	"AllowDNSLookups":                {idle: "charts never look names up: getHostByName is empty"},
	"CacheSecretsAndConfigMaps":      {idle: gateOfCaches},
	"CancelHealthCheckOnNewRevision": {idle: gateAlwaysOn},
	"CorrectDrift":                   {idle: gateSuperseded},
	"DefaultToRetryOnFailure":        {acts: func(g *dialect.Gates, on bool) { g.RetryOnFailure = on }},
	"DetectDrift":                    {idle: gateSuperseded},
	"DirectSourceFetch":              {idle: gateOfCaches},
	"DisableChartDigestTracking":     {acts: func(g *dialect.Gates, on bool) { g.PlainChartVersions = on }},
	"DisableConfigWatchers":          {idle: "what is referred to is always watched"},
	"DisableFailFastBehavior":        {acts: func(g *dialect.Gates, on bool) { g.PatientHealth = on }},
	"DisableStatusPollerCache":       {idle: gateOfCaches},
	"ExternalArtifact":               {idle: gateAlwaysOn},
	"FluxStorage":                    {idle: gateOfImages},
	"GitAllBranchReferences":         {idle: gateOfImages},
	"GitForcePushBranch":             {idle: gateOfImages},
	"GitShallowClone":                {idle: gateOfImages},
	"GitSparseCheckout":              {idle: gateOfImages},
	"GroupChangeLog":                 {idle: gateOfLogs},
	"MigrateAPIVersion":              {idle: gateOfCaches},
	"OOMWatch":                       {idle: gateOfCaches},
	"ObjectLevelWorkloadIdentity":    {idle: gateAlwaysOn},
	"StrictPostBuildSubstitutions":   {acts: func(g *dialect.Gates, on bool) { g.LaxSubstitution = !on }},
	"UseHelm3Defaults":               {acts: func(g *dialect.Gates, on bool) { g.Helm3Defaults = on }},
}

// ReadGates reads feature gates as Flux's controllers take them, such as
// "DisableChartDigestTracking=true", and tells of each that has no meaning here. The
// error names what is not known.
func ReadGates(written []string) (read dialect.Gates, idle []string, err error) {
	for _, one := range written {
		name, value, given := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		known, ok := gates[name]
		switch {
		case !ok:
			return read, nil, fmt.Errorf("there is no feature gate %q: known are %s", name, strings.Join(slices.Sorted(maps.Keys(gates)), ", "))
		case !given || value != "true" && value != "false":
			return read, nil, fmt.Errorf("the feature gate %s must be true or false, not %q", name, value)
		}
		if known.acts != nil {
			known.acts(&read, value == "true")
		} else {
			idle = append(idle, fmt.Sprintf("the feature gate %s=%s has no meaning for Plumb: %s", name, value, known.idle))
		}
	}
	return read, idle, nil
}
