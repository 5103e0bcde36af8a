// Package render turns a directory of a tree into Kubernetes objects and says
// exactly which reads the result depends on.
//
//	Tree ──Recorder──▶ Kustomize ──▶ Manifest{Objects, Trace} ──Substitute──▶ Manifest
//	                       ▲
//	            Memo: same reads, same result: nothing is rendered
//	            Index: changed paths ──▶ the users whose reads they touch
//
// A render sees the tree and nothing else: no disk, no network, no
// environment, no process is started. What it asked for (and what it asked for
// in vain) is its trace. Rendering follows Flux's kustomize-controller, which
// builds with the libraries of the kustomize command: package
// github.com/fluxcd/pkg/kustomize is the source of the semantics of generated
// kustomizations, of merged options and of variable substitution.
package render
