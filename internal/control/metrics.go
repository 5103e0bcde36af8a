package control

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// metrics carry the names that dashboards for Flux query (fluxcd
// monitoring docs, controller-runtime and client-go metrics), so that they go
// on working, and a few of Plumb's own.
type metrics struct {
	registry *prometheus.Registry

	duration  *prometheus.HistogramVec // gotk_reconcile_duration_seconds
	time      *prometheus.HistogramVec // controller_runtime_reconcile_time_seconds
	total     *prometheus.CounterVec   // controller_runtime_reconcile_total
	requests  *prometheus.CounterVec   // rest_client_requests_total
	latency   *prometheus.HistogramVec // rest_client_request_duration_seconds
	renders   *prometheus.CounterVec
	heals     prometheus.Counter
	workqueue *prometheus.HistogramVec // workqueue_work_duration_seconds
	argo      *argoMetrics
}

func newMetrics() *metrics {
	buckets := []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gotk_reconcile_duration_seconds", Help: "The duration in seconds of a reconciliation of a declared object.",
			Buckets: prometheus.ExponentialBuckets(10e-3, 2, 12),
		}, []string{"kind", "name", "namespace"}),
		time: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "controller_runtime_reconcile_time_seconds", Help: "Length of time per reconciliation.", Buckets: buckets,
		}, []string{"controller"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "controller_runtime_reconcile_total", Help: "Total number of reconciliations.",
		}, []string{"controller", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rest_client_requests_total", Help: "Number of HTTP requests, partitioned by status code, method, and host.",
		}, []string{"code", "method", "host"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rest_client_request_duration_seconds", Help: "Request latency in seconds.", Buckets: buckets,
		}, []string{"verb", "host"}),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumb_renders_total", Help: "Renders asked for, by whether the answer was remembered.",
		}, []string{"remembered"}),
		heals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "plumb_heals_total", Help: "Managed objects put back after somebody changed or deleted them.",
		}),
		workqueue: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "workqueue_work_duration_seconds", Help: "How long in seconds processing an item from workqueue takes.", Buckets: buckets,
		}, []string{"name"}),
	}
	m.argo = newArgoMetrics()
	m.registry.MustRegister(
		m.duration, m.time, m.total, m.requests, m.latency, m.renders, m.heals, m.workqueue,
		m.argo.reconcile, m.argo.syncs, m.argo.syncTime, m.argo.git, m.argo.gitTime, m.argo.heard,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Ran counts one run of a delivery.
func (m *metrics) Ran(kind, namespace, name string, took time.Duration, ok bool) {
	controller, result := controllerLabel(kind), "success"
	if !ok {
		result = "error"
	}
	s := took.Seconds()
	m.time.WithLabelValues(controller).Observe(s)
	m.total.WithLabelValues(controller, result).Inc()
	m.workqueue.WithLabelValues(controller).Observe(s)
	if kind == kindApplication {
		m.argo.reconcile.WithLabelValues(namespace, m.argo.server(namespace, name)).Observe(s)
		return // told in Argo CD's own words
	}
	m.duration.WithLabelValues(kind, name, namespace).Observe(s)
}

func controllerLabel(kind string) string {
	lower := []byte(kind)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// Rendered counts one answer of the render memo.
func (m *metrics) Rendered(hit bool) { m.renders.WithLabelValues(strconv.FormatBool(hit)).Inc() }

// Healed counts one object that was put back.
func (m *metrics) Healed() { m.heals.Inc() }

// Request counts one request to an API server.
func (m *metrics) Request(method, host string, code int, took time.Duration) {
	text := strconv.Itoa(code)
	if code == 0 {
		text = "<error>"
	}
	m.requests.WithLabelValues(text, method, host).Inc()
	m.latency.WithLabelValues(method, host).Observe(took.Seconds())
}

// queueLength is what the engine says of its queue.
type queueLength interface{ Queued() int }

// leading adds what only the leading replica knows, and returns how to take it
// away again.
func (m *metrics) leading(q queueLength, ds *declarations) (done func()) {
	depth := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "workqueue_depth", Help: "Current depth of workqueue.",
		ConstLabels: prometheus.Labels{"name": "kustomization"},
	}, func() float64 { return float64(q.Queued()) })
	info := &resourceInfo{ds: ds, desc: prometheus.NewDesc("gotk_resource_info", "The current state of a declared object.",
		[]string{"customresource_group", "customresource_version", "customresource_kind", "exported_namespace", "name", "ready", "suspended", "revision"}, nil)}
	apps := newApplicationInfo(ds)
	m.argo.declared.Store(ds)
	m.registry.MustRegister(depth, info, apps)
	return func() {
		m.registry.Unregister(apps)
		m.registry.Unregister(depth)
		m.registry.Unregister(info)
	}
}

// resourceInfo is one series per declared object, made when it is asked for.
type resourceInfo struct {
	ds   *declarations
	desc *prometheus.Desc
}

// Describe is prometheus.Collector.
func (r *resourceInfo) Describe(out chan<- *prometheus.Desc) { out <- r.desc }

// Collect is prometheus.Collector.
func (r *resourceInfo) Collect(out chan<- prometheus.Metric) {
	r.ds.mu.RLock()
	all := make([]*unstructured.Unstructured, 0, len(r.ds.objects))
	for _, d := range r.ds.objects {
		all = append(all, d.current.Load())
	}
	r.ds.mu.RUnlock()
	for _, o := range all {
		gvk := o.GroupVersionKind()
		if gvk.Group == argoGroup {
			continue // told in Argo CD's own words
		}
		suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
		out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, 1,
			gvk.Group, gvk.Version, gvk.Kind, o.GetNamespace(), o.GetName(),
			readyStatus(o), strconv.FormatBool(suspended), revisionOf(o))
	}
}

func readyStatus(o *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			status, _ := m["status"].(string)
			return status
		}
	}
	return "Unknown"
}

func revisionOf(o *unstructured.Unstructured) string {
	if rev, ok, _ := unstructured.NestedString(o.Object, "status", "lastAppliedRevision"); ok {
		return rev
	}
	rev, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
	return rev
}
