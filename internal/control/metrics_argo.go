package control

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// What dashboards for Argo CD query (argo-cd, docs/operator-manual/metrics.md),
// so that they go on working.
const (
	argoGroup       = "argoproj.io"
	kindApplication = "Application"
	localServer     = "https://kubernetes.default.svc"
)

// scrapeTimeout bounds what a scrape asks the API server for; usually both
// answers are known.
const scrapeTimeout = 2 * time.Second

type argoMetrics struct {
	declared  atomic.Pointer[declarations]
	reconcile *prometheus.HistogramVec
	syncs     *prometheus.CounterVec
	syncTime  *prometheus.CounterVec
	git       *prometheus.CounterVec
	gitTime   *prometheus.HistogramVec
	heard     *prometheus.CounterVec
}

func newArgoMetrics() *argoMetrics {
	app := []string{"namespace", "name", "project", "dest_server"}
	return &argoMetrics{
		reconcile: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_app_reconcile", Help: "Application reconciliation performance in seconds.", Buckets: []float64{0.25, .5, 1, 2, 4, 8, 16},
		}, []string{"namespace", "dest_server"}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_sync_total", Help: "Number of application syncs.",
		}, append(append([]string{}, app...), "phase", "dry_run")),
		syncTime: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_sync_duration_seconds_total", Help: "Application sync performance in seconds total.",
		}, app),
		git: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_git_request_total", Help: "Number of git requests performed.",
		}, []string{"repo", "request_type"}),
		heard: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_cluster_events_total", Help: "Number of processed k8s resource events.",
		}, []string{"server", "group", "kind"}),
		gitTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_git_request_duration_seconds", Help: "Git requests duration seconds.", Buckets: []float64{0.1, 0.25, .5, 1, 2, 4, 10, 20},
		}, []string{"repo", "request_type"}),
	}
}

// Synced counts an operation that has ended.
func (m *metrics) Synced(id object.ID, op *model.OperationReport) {
	if id.Kind != kindApplication {
		return
	}
	app := m.argo.application(id.Namespace, id.Name)
	labels := []string{id.Namespace, id.Name, projectOf(app), serverOf(app)}
	m.argo.syncs.WithLabelValues(append(labels, string(op.Phase), strconv.FormatBool(op.Operation.DryRun))...).Inc()
	m.argo.syncTime.WithLabelValues(labels...).Add(op.Finished.Sub(op.Started).Seconds())
}

// Heard counts a watch event.
func (m *metrics) Heard(cluster string, kind schema.GroupKind) {
	if cluster == "" {
		cluster = localServer
	}
	m.argo.heard.WithLabelValues(cluster, kind.Group, kind.Kind).Inc()
}

// Looked counts a look at a repository.
func (m *metrics) Looked(url string, took time.Duration, moved bool) {
	kinds := []string{"ls-remote"}
	if moved {
		kinds = append(kinds, "fetch")
	}
	for _, kind := range kinds {
		m.argo.git.WithLabelValues(url, kind).Inc()
		m.argo.gitTime.WithLabelValues(url, kind).Observe(took.Seconds())
	}
}

func (m *argoMetrics) application(namespace, name string) *unstructured.Unstructured {
	ds := m.declared.Load()
	if ds == nil {
		return nil
	}
	return ds.Object(object.ID{Group: argoGroup, Kind: kindApplication, Namespace: namespace, Name: name})
}

func (m *argoMetrics) server(namespace, name string) string {
	return serverOf(m.application(namespace, name))
}

func projectOf(app *unstructured.Unstructured) string {
	if project := field(app, "spec", "project"); project != "" {
		return project
	}
	return "default"
}

func serverOf(app *unstructured.Unstructured) string {
	if server := field(app, "spec", "destination", "server"); server != "" {
		return server
	}
	if name := field(app, "spec", "destination", "name"); name != "" && name != "in-cluster" {
		return name
	}
	return localServer
}

func field(o *unstructured.Unstructured, path ...string) string {
	if o == nil {
		return ""
	}
	text, _, _ := unstructured.NestedString(o.Object, path...)
	return text
}

// applicationInfo is one series per Application and ApplicationSet, and one per
// cluster, made when they are asked for.
type applicationInfo struct {
	ds                                                 *declarations
	info, condition, set, owned, server, kinds, served *prometheus.Desc
}

func newApplicationInfo(ds *declarations) *applicationInfo {
	return &applicationInfo{
		ds: ds,
		info: prometheus.NewDesc("argocd_app_info", "Information about application.", []string{
			"namespace", "name", "project", "autosync_enabled", "repo", "dest_server", "dest_namespace", "sync_status", "health_status", "operation",
		}, nil),
		condition: prometheus.NewDesc("argocd_app_condition", "Report application conditions.", []string{"namespace", "name", "project", "condition"}, nil),
		set:       prometheus.NewDesc("argocd_appset_info", "Information about ApplicationSets.", []string{"namespace", "name", "resource_update_status"}, nil),
		owned:     prometheus.NewDesc("argocd_appset_owned_applications", "Number of applications owned by the applicationset.", []string{"namespace", "name"}, nil),
		server:    prometheus.NewDesc("argocd_cluster_info", "Information about cluster.", []string{"server", "k8s_version", "name"}, nil),
		served:    prometheus.NewDesc("argocd_cluster_api_resources", "Number of monitored kubernetes API resources.", []string{"server"}, nil),
		kinds:     prometheus.NewDesc("argocd_cluster_api_resource_objects", "Number of k8s resource objects in the cache.", []string{"server"}, nil),
	}
}

// Describe is prometheus.Collector.
func (a *applicationInfo) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{a.info, a.condition, a.set, a.owned, a.server, a.kinds, a.served} {
		out <- d
	}
}

// Collect is prometheus.Collector.
func (a *applicationInfo) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	objects := 0
	owned := map[[2]string]int{}
	for _, id := range a.ds.of(schema.GroupKind{Group: argoGroup, Kind: kindApplication}) {
		o := a.ds.Object(id)
		if o == nil {
			continue
		}
		gauge(a.info, 1, id.Namespace, id.Name, projectOf(o), strconv.FormatBool(automatic(o)), repositoryOf(o), serverOf(o),
			field(o, "spec", "destination", "namespace"), or(field(o, "status", "sync", "status"), "Unknown"), or(field(o, "status", "health", "status"), "Unknown"), operationOf(o))
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		seen := map[string]float64{}
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok {
				kind, _ := m["type"].(string)
				seen[kind]++
			}
		}
		for kind, n := range seen {
			gauge(a.condition, n, id.Namespace, id.Name, projectOf(o), kind)
		}
		resources, _, _ := unstructured.NestedSlice(o.Object, "status", "resources")
		objects += len(resources)
		for _, ref := range o.GetOwnerReferences() {
			if ref.Kind == "ApplicationSet" {
				owned[[2]string{id.Namespace, ref.Name}]++
			}
		}
	}
	for _, id := range a.ds.of(schema.GroupKind{Group: argoGroup, Kind: "ApplicationSet"}) {
		gauge(a.set, 1, id.Namespace, id.Name, upToDate(a.ds.Object(id)))
		gauge(a.owned, float64(owned[[2]string{id.Namespace, id.Name}]), id.Namespace, id.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	version, _ := a.ds.cluster.Version(ctx) // "" while the API server does not answer
	gauge(a.server, 1, localServer, version, "in-cluster")
	if served, err := a.ds.cluster.APIs(ctx); err == nil {
		gauge(a.served, float64(len(served.Kinds)), localServer)
	}
	gauge(a.kinds, float64(objects), localServer)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func automatic(app *unstructured.Unstructured) bool {
	auto, there, _ := unstructured.NestedMap(app.Object, "spec", "syncPolicy", "automated")
	return there && auto["enabled"] != false
}

func repositoryOf(app *unstructured.Unstructured) string {
	if url := field(app, "spec", "source", "repoURL"); url != "" {
		return strings.TrimSuffix(repository.Printable(url), ".git")
	}
	sources, _, _ := unstructured.NestedSlice(app.Object, "spec", "sources")
	if len(sources) > 0 {
		if m, ok := sources[0].(map[string]any); ok {
			url, _ := m["repoURL"].(string)
			return strings.TrimSuffix(repository.Printable(url), ".git")
		}
	}
	return ""
}

// operationOf is what the application is doing, in the words of upstream.
func operationOf(app *unstructured.Unstructured) string {
	switch {
	case app.GetDeletionTimestamp() != nil:
		return "delete"
	case app.Object["operation"] != nil, field(app, "status", "operationState", "phase") == string(model.OperationRunning):
		return "sync"
	}
	return ""
}

func upToDate(set *unstructured.Unstructured) string {
	if set == nil {
		return "Unknown"
	}
	conditions, _, _ := unstructured.NestedSlice(set.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "ResourcesUpToDate" {
			reason, _ := m["reason"].(string)
			return reason
		}
	}
	return "Unknown"
}
