// Command bench repeats the figures of docs/benchmarks.md: it generates a
// repository of N applications, starts the embedded control plane with an audit
// log and plumb controller as processes, and measures what a user would wait
// for. Everything is measured beside a raw baseline in the same run, since a
// machine that is busy or slow slows both.
//
//	go run ./bench -n 100,500,1000
//
// An application is a kustomization with two ConfigMaps, a headless Service, a
// ServiceAccount and a Deployment without replicas. All of them are in one
// repository and one namespace, and each has a Kustomization of its own, or with
// -dialect argo an Application. With -dialect helm they are HelmReleases of one
// chart, which has the same objects.
//
// With -flux the controllers of Flux in a directory (source-controller, and
// helm-controller or kustomize-controller) are measured in the same run, on a
// cluster of their own, one after the other:
//
//	go run ./bench -dialect helm -n 100,300 -interval 10m -brief -flux DIR -flux-flags "--concurrent=20"
//
// With -console what people wait for in the console is measured too:
//
//	go run ./bench -console -brief -n 5000 -interval 10m
//
//	console.go        somebody who looks at the console
//	idiom.go          what differs between the dialects
//	applications.go   the repository: generating it, and committing to it
//	client.go         the API server: few allocations, since the driver shares the machine
//	tracker.go        goals over watched objects, and when they were reached
//	engine.go         what is measured: the processes of Plumb, or of Flux
//	process.go        CPU and memory of the measured processes
//	raw.go            the baseline
//	phases.go         what is measured, in order
//	table.go          the figures as Markdown
package main
