package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/release"
)

var helmReleases = &declaredKind{
	group:      schema.GroupKind{Group: helmGroup, Kind: helmReleaseKind},
	human:      "helmrelease",
	singular:   "helmrelease",
	plural:     "helmreleases",
	aliases:    []string{"hr"},
	delivery:   true,
	reads:      true,
	suspends:   true,
	reconciles: true,
	file:       "helmrelease-file",
	revision:   releasedVersion,
	done:       "applied revision",
	idiom:      releaseIdiom{},
	columns: fluxColumns(
		releasedVersion,
		sourceColumn(withSource),
		column{name: "Chart", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string { return chartAsked(o) }},
	),
}

// releasedVersion is the version of the chart that was released last, or else
// tried.
func releasedVersion(o *unstructured.Unstructured) string {
	if history := historyOf(o); len(history) > 0 {
		version, _ := history[0]["chartVersion"].(string)
		return version
	}
	return text(o, "status", "lastAttemptedRevision")
}

// chartAsked is the chart that a HelmRelease describes; "" when it names one.
func chartAsked(o *unstructured.Unstructured) string {
	return chartText(text(o, "spec", "chart", "spec", "chart"), text(o, "spec", "chart", "spec", "version"))
}

// releaseIdiom is that of a HelmRelease.
type releaseIdiom struct{ fluxIdiom }

func (i releaseIdiom) origin(ctx context.Context, c *cluster, o *unstructured.Unstructured) (source, repository string) {
	source, repository = i.fluxIdiom.origin(ctx, c, o)
	if chart := chartAsked(o); chart != "" {
		source = chart + " of " + source
	}
	return source, repository
}

func (releaseIdiom) applied(o *unstructured.Unstructured) string { return releasedVersion(o) }

func (releaseIdiom) looked(o *unstructured.Unstructured, revision string) bool {
	return releasedVersion(o) == revision || text(o, "status", "lastAttemptedRevision") == revision
}

// revision is one revision of a release, in the words of helm history.
type revision struct {
	Revision    int    `json:"revision"`
	Updated     string `json:"updated"`
	Status      string `json:"status"`
	Chart       string `json:"chart"`
	AppVersion  string `json:"app_version"`
	Description string `json:"description"`
}

// releaseHistory prints the revisions of a release, oldest first.
func (a *app) releaseHistory(ctx context.Context, p place, o *unstructured.Unstructured, output string) error {
	revisions, err := p.revisions(ctx, o)
	if err != nil {
		return err
	}
	if output != "" {
		return a.printDocument(output, revisions)
	}
	if len(revisions) == 0 {
		a.say.plain("%s %s/%s has no history yet", helmReleaseKind, o.GetNamespace(), o.GetName())
		return nil
	}
	t := table{header: []string{"Revision", "Updated", "Status", "Chart", "App version", "Description"}, color: colored(a.streams.Out, a.streams.Getenv)}
	for _, r := range revisions {
		t.rows = append(t.rows, []string{strconv.Itoa(r.Revision), r.Updated, r.Status, r.Chart, r.AppVersion, r.Description})
	}
	return t.write(a.streams.Out)
}

// recordCharts bounds the charts that are remembered while records are read, in
// bytes.
const recordCharts = 8 << 20

// releaseRecords reads Helm's records of a release, oldest first.
func (c *cluster) releaseRecords(ctx context.Context, o *unstructured.Unstructured) ([]*release.Record, error) {
	name, storage := releaseOf(o)
	secrets, err := listPages(ctx, c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(storage), labelled(release.Selector(name)))
	if err != nil {
		return nil, err
	}
	codec := release.NewCodec(recordCharts)
	var records []*release.Record
	for i := range secrets.Items {
		if text(&secrets.Items[i], "type") != release.SecretType {
			continue
		}
		record, err := codec.Read(&secrets.Items[i])
		if err != nil {
			continue // as Helm does; the controller tells of it
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(x, y *release.Record) int { return cmp.Compare(x.Version, y.Version) })
	return records, nil
}

// preserve puts the values of the last release below those that a release is given
// (spec.upgrade.preserveValues), as its next upgrade will.
func (d *derivation) preserve(ctx context.Context, opts *model.Render) error {
	if d.delivery.Release == nil || !d.delivery.Release.Upgrade.PreserveValues || !opts.Helm.Upgrade || d.target == nil {
		return nil
	}
	records, err := d.target.releaseRecords(ctx, d.declared)
	if err != nil {
		return fmt.Errorf("the values of the last release are kept, and cannot be read: %w", err)
	}
	if len(records) == 0 {
		return nil // it will be an install
	}
	return engine.Preserve(&opts.Helm, records[len(records)-1])
}

// releaseOf is the name of a release, and the namespace of its records: as the
// status tells them, or as they will be.
func releaseOf(o *unstructured.Unstructured) (name, storage string) {
	name = helm.ShortName(helm.ReleaseName(text(o, "spec", "releaseName"), text(o, "spec", "targetNamespace"), o.GetName()))
	if history := historyOf(o); len(history) > 0 {
		told, _ := history[0]["name"].(string)
		name = cmp.Or(told, name)
	}
	return name, cmp.Or(text(o, "status", "storageNamespace"), text(o, "spec", "storageNamespace"), o.GetNamespace())
}

func recordedRevisions(records []*release.Record) []revision {
	revisions := make([]revision, 0, len(records))
	for _, r := range records {
		chart := r.Chart.Metadata()
		revisions = append(revisions, revision{
			Revision: r.Version, Updated: r.Info.LastDeployed.UTC().Format(time.RFC3339), Status: string(r.Info.Status),
			Chart: chart.Name + "-" + chart.Version, AppVersion: chart.AppVersion, Description: r.Info.Description,
		})
	}
	return revisions
}

// toldRevisions are those of status.history, which has the newest first.
func toldRevisions(o *unstructured.Unstructured) []revision {
	revisions := []revision{}
	for _, entry := range slices.Backward(historyOf(o)) {
		part := func(name string) string { s, _ := entry[name].(string); return s }
		number, _ := entry["version"].(int64)
		revisions = append(revisions, revision{
			Revision: int(number), Updated: part("lastDeployed"), Status: part("status"),
			Chart: part("chartName") + "-" + part("chartVersion"), AppVersion: part("appVersion"), Description: part("action"),
		})
	}
	return revisions
}

// explainRelease says what became of a release: the last revision, and of a
// failure the action, the hooks and the tests, and what to do.
func (c *cluster) explainRelease(ctx context.Context, e *explanation, o *unstructured.Unstructured) error {
	if history := historyOf(o); len(history) > 0 {
		e.Release = append(e.Release, snapshotText(history[0]))
	} else {
		e.Release = append(e.Release, "nothing has been released yet")
	}
	failed := explainFailures(e, o)
	if !failed {
		return nil
	}
	records, err := c.releaseRecords(ctx, o)
	if err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	if len(records) > 0 {
		explainHooks(e, records[len(records)-1])
	}
	e.Advice = append(e.Advice, "see the revisions with: plumb history "+called(helmReleases, o))
	if stalled, is := conditionOf(o, "Stalled"); is && stalled.status == "True" && stalled.reason == "RetriesExceeded" {
		e.Advice = append(e.Advice, "its retries are used up: correct the chart or the values in Git, or try again as it is with: plumb reconcile "+called(helmReleases, o)+" --reset")
	}
	return nil
}

// snapshotText is one entry of status.history in a line.
func snapshotText(entry map[string]any) string {
	part := func(name string) string { s, _ := entry[name].(string); return s }
	number, _ := entry["version"].(int64)
	out := fmt.Sprintf("%s/%s.v%d, chart %s: %s", part("namespace"), part("name"), number, helm.ChartText(part("chartName"), part("chartVersion")), part("status"))
	if tests, _, _ := unstructured.NestedMap(entry, "testHooks"); len(tests) > 0 {
		out += fmt.Sprintf(", %d tests", len(tests))
	}
	return out
}

// explainFailures adds the actions that have failed, as the conditions tell.
func explainFailures(e *explanation, o *unstructured.Unstructured) (failed bool) {
	for _, kind := range []string{"Released", "TestSuccess", "Remediated"} {
		c, told := conditionOf(o, kind)
		if !told || kind != "Remediated" && c.status != "False" {
			continue
		}
		if !failed {
			if action := text(o, "status", "lastAttemptedReleaseAction"); action != "" {
				e.Release = append(e.Release, strings.TrimSpace("last action: "+action+" to "+text(o, "status", "lastAttemptedRevision")))
			}
		}
		failed = true
		e.Release = append(e.Release, fmt.Sprintf("%s: %s", c.reason, shortHashes(c.message)))
	}
	if count, _, _ := unstructured.NestedInt64(o.Object, "status", "failures"); failed && count > 0 {
		e.Release = append(e.Release, countText(int(count), "failure", "failures")+" so far")
	}
	for _, name := range failedTests(o) {
		e.Release = append(e.Release, "test "+name+" failed")
	}
	return failed
}

// failedTests are the tests of the last revision that failed, by name.
func failedTests(o *unstructured.Unstructured) []string {
	history := historyOf(o)
	if len(history) == 0 {
		return nil
	}
	tests, _, _ := unstructured.NestedMap(history[0], "testHooks")
	var failed []string
	for name, told := range tests {
		fields, _ := told.(map[string]any)
		if fields["phase"] == "Failed" {
			failed = append(failed, name)
		}
	}
	slices.Sort(failed)
	return failed
}

// explainHooks adds the hooks of a record that have failed.
func explainHooks(e *explanation, record *release.Record) {
	for _, hook := range record.Hooks {
		if string(hook.LastRun.Phase) != "Failed" {
			continue
		}
		events := make([]string, len(hook.Events))
		for i, event := range hook.Events {
			events[i] = string(event)
		}
		e.Release = append(e.Release, fmt.Sprintf("hook %s/%s (%s) failed", hook.Kind, hook.Name, strings.Join(events, ", ")))
		e.Advice = append(e.Advice, fmt.Sprintf("read what the hook said: kubectl logs -n %s %s/%s", record.Namespace, strings.ToLower(hook.Kind), hook.Name))
	}
}
