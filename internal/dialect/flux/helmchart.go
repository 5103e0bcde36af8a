package flux

import (
	"fmt"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const kindHelmChart = "HelmChart"

// The values of HelmChart spec.reconcileStrategy.
const (
	byChartVersion = "ChartVersion"
	byRevision     = "Revision"
)

// Reasons of a HelmChart (helmchart_controller.go, and internal/helm/chart
// errors.go).
const (
	reasonSourceUnavailable = "SourceUnavailable"
	reasonUnsupportedSource = "UnsupportedSourceKind"
	reasonChartReference    = "InvalidChartReference"
)

// helmChart reads a HelmChart (source-controller api/v1 helmchart_types.go and
// its older versions).
func helmChart(c *sourceCompilation, spec node) {
	strategy := oneOf(spec.At("reconcileStrategy"), reasonInvalidSpec, byChartVersion, byRevision)
	chart := &model.ChartSource{
		Name:                    spec.At("chart").Str(),
		Version:                 spec.At("version").Str(),
		ByRevision:              strategy == byRevision,
		ValuesFiles:             chartValuesFiles(spec),
		IgnoreMissingValueFiles: spec.At("ignoreMissingValuesFiles").Bool(),
	}
	c.source.Chart = chart
	if chart.Version == "" {
		chart.Version = "*"
	}
	if chart.Name == "" {
		c.r.Fault(&model.Fault{Reason: reasonChartReference, Message: "invalid chart reference: no chart is named", Advice: "set the field", Origin: model.Origin{Field: spec.Path + ".chart"}})
	}
	c.source.Interval = interval(spec)
	c.source.Suspended = spec.At("suspend").Bool()
	c.chartFrom(spec.At("sourceRef"))
	verify := spec.At("verify")
	chart.Verify = c.verification(verify)
	c.source.Same = sharedChart(c.declared, spec)
	if verify.Present() && !chart.OCI && len(c.open) == 0 && !c.bare && c.r.Err() == nil {
		c.r.Fault(&model.Fault{Reason: reasonVerificationError, Message: "spec.verify is only supported for charts of an OCI registry", Advice: "remove it, or have the chart from a HelmRepository of type oci", Origin: model.Origin{Field: verify.Path}})
	}
}

// chartValuesFiles has the file of v1beta2's valuesFile before the list.
func chartValuesFiles(spec node) []string {
	var out []string
	if first := spec.At("valuesFile").Str(); first != "" {
		out = append(out, first)
	}
	return append(out, spec.At("valuesFiles").Strings()...)
}

// chartFrom reads where the chart is: a repository of charts, or a path of a
// source, whose dependencies may come from the repositories of the namespace.
func (c *sourceCompilation) chartFrom(ref node) {
	ref.At("apiVersion").Str() // upstream reads the kind only
	kind, name, chart := ref.At("kind").Str(), required(ref.At("name"), "source"), c.source.Chart
	switch kind {
	case kindHelmRepository:
		if name != "" {
			c.chartOf(repositoryNeed(c.r.ID.Namespace, name), ref)
		}
	case kindGitRepository, kindBucket:
		chart.From = object.ID{Group: GroupSource, Kind: kind, Namespace: c.r.ID.Namespace, Name: name}
		chart.Name = treePath(chart.Name)
		chart.Dependencies = c.chartPlaces()
	default:
		c.r.Fault(&model.Fault{
			Reason:  reasonUnsupportedSource,
			Message: fmt.Sprintf("failed to get source: unsupported source kind '%s', must be one of: [HelmRepository GitRepository Bucket]", reader.Clip(kind, 63)),
			Advice:  "correct the field",
			Origin:  model.Origin{Field: ref.Path + ".kind"},
		})
	}
}

// chartOf reads the HelmRepository of the chart.
func (c *sourceCompilation) chartOf(need model.Need, ref node) {
	repository := c.object(need, ref.Path, reasonSourceUnavailable, "failed to get source: ")
	if repository == nil {
		return
	}
	place, fault := c.placeOf(repository)
	c.r.Fail(fault, ref.Path)
	chart := c.source.Chart
	chart.Repository, chart.OCI, chart.Auth = place.url, place.oci, place.auth
	chart.Fresh = place.interval
	if !place.oci {
		c.source.After = []object.ID{object.Of(repository)}
	}
	c.source.Timeout = place.timeout
	c.source.Origin.Repository = place.printable()
}

// chartPlaces are the repositories of the namespace. One that cannot be read
// fully is left out: it is not known whether the chart asks for it.
func (c *sourceCompilation) chartPlaces() []model.ChartPlace {
	need := repositoryNeed(c.r.ID.Namespace, "")
	need.Selector = "*"
	if !c.known(need) {
		return nil
	}
	var out []model.ChartPlace
	for _, repository := range c.facts[need].Objects {
		place, fault := c.placeOf(repository)
		if fault == nil {
			out = append(out, model.ChartPlace{URL: strings.TrimSuffix(place.printable(), "/"), Auth: place.auth})
		}
	}
	return out
}
