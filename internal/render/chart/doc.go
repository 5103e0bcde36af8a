// Package chart renders Helm charts: files in, manifests out, as the command
// "helm template" does, without a disk, a network, an environment or a
// cluster.
//
//	files ──Load──▶ Chart ──┬──▶ Render(values, release) ──▶ Result
//	                        ├──▶ Render(…)
//	                        └──▶ …
//
// A Chart is parsed once and shared: its values, its templates (as parsed
// trees) and its compiled schemas are read by all renders at once, and each
// render copies only what it may change.
//
// The types of charts, the ranges of versions, the rules of .helmignore and the
// syntax of parameters are Helm's own packages. The coalescing of values, the
// processing of dependencies and the engine are this package's, since Helm's
// log values, fetch schemas, parse every template anew for every release and
// cannot be bounded; tests hold them against Helm's. Semantics are those of
// Helm 4: pkg/chart/v2/loader, pkg/chart/common/util, pkg/chart/v2/util,
// pkg/engine and pkg/action (renderResources).
//
// A chart is a program that others wrote. It is bounded by Limits: loops and
// calls look at the clock, what they print is counted, and functions that make
// much of little are asked how much before they do.
package chart
