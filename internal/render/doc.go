// Package render turns a directory of a tree into Kubernetes objects and says
// exactly which reads the result depends on.
//
//	Tree ──Recorder──▶ Build ──▶ Manifest{Objects, Trace, Kind} ──Finish──▶ Manifest
//	                     ▲
//	          Memo: same options, same reads, same result: nothing is rendered
//	          Index: changed paths ──▶ the users whose reads they touch
//
// A render sees the tree and nothing else: no disk, no network, no
// environment. What it asked for (and what it asked for in vain) is its trace.
//
// Build knows the kinds of model.RenderKind:
//
//   - Flux: the Kustomize of Flux's kustomize-controller, which builds with the
//     libraries of the kustomize command: package github.com/fluxcd/pkg/kustomize
//     is the source of the semantics of generated kustomizations, of merged
//     options and of variable substitution (kustomize.go, root.go).
//   - Kustomize: the directory's own kustomization, with the options of an Argo CD
//     Application as "kustomize edit" would write them into it (edit.go).
//   - Directory: plain manifests and Jsonnet, as Argo CD's repository server finds
//     and reads them (manifests.go, jsonnet.go).
//   - Helm: a chart, as "helm template" renders it, with the options of an Argo CD
//     Application or of a HelmRelease (helm.go, helmvalues.go, postrender.go). The
//     chart itself is the business of package chart.
//   - Detect: one of these three, by what lies in the directory.
//   - Nothing: a source that others only refer to.
//
// # What lies beside the tree
//
// A render may need more than its source: files of another input, charts that
// a chart depends on, remote bases, what the target serves, and objects of it.
// All of it is mounted into the tree at reserved places (Mounted, mount.go), so
// that every question is a read with a path, and traces, memo and index work as
// for files. What is missing is asked for by a MissingError, which is no fault:
// the render goes on when it is mounted.
//
// # Charts are parsed once
//
// A chart is loaded with one read, of its whole directory, where the tree has
// digests of directories; else file by file. Parsed charts are kept by the digest
// of what they were loaded from and shared by all renders (chartload.go).
//
// # Jsonnet in a process of its own
//
// A Jsonnet program can run for ever, or ask for more memory than there is,
// and neither can be stopped from within a Go process. It is therefore
// evaluated by this binary started again as "plumb-jsonnet" (worker.go), which
// has pipes, an empty environment and no reason to open anything: what it
// imports it asks for, and the answer is a read of the tree that is recorded
// like any other. Its bounds are those of Limits: time (it is killed, and on
// Linux the kernel counts its processor time too), memory (a watch of its heap,
// and on Linux a resource limit that also meets a single allocation that is too
// large), calls in each other, size of a result. No more than two run at a time.
// Whatever becomes of one, it has ended, and was waited for, when Build returns.
//
// Nothing else of a render starts a process.
package render
