// Package source turns what people declare about Git repositories, OCI
// artifacts, buckets, Helm repositories and charts, and what is made of those,
// into immutable trees.
//
//	Source ──look──▶ advertised refs ──resolve──▶ commit ──fetch──▶ object log ──build──▶ Tree
//	       ──look──▶ revision, digest ──download──▶ archive ──import──────▶ ┘
//
// One mirror stands for one repository as seen with one credential, however
// many declared objects name it: they share one look at the remote and one
// object log on disk. A look answers only those who asked before it started.
//
// A mirror holds no history. It fetches the one commit that is asked for
// (depth 1, telling the server which commits it already has, so that a commit
// that touches one file transfers one file), checks that everything reachable
// from it is there, and appends it to a log of whole objects: nothing is
// stored as a delta, so that reading a file is one read, and a bit that rots
// is seen by its checksum. When the log is mostly garbage it is rewritten. The
// log is a cache: a damaged or lost one is thrown away and fetched again.
//
// Where signatures of the whole history are asked for, its commits are fetched
// without their trees and verified; what is remembered are their hashes, so
// that the next commit costs what is new.
//
// Everything that comes from no Git repository is imported into one more log,
// the depot of contents, as Git stores files and directories, so that trees of
// all kinds are read, compared, filtered and packed by the same code, and equal
// files of successive archives are stored once. Archives are unpacked as they
// are read: paths that leave the archive are refused, links left out, and files,
// depth and bytes bounded. A label in the log finds content again by place,
// credential and digest, or by revision after a restart; nothing that one
// credential fetched is found by another. The protocols are spoken by the
// clients in the packages below (registry, helmrepo, bucket), which know
// nothing of trees; see Registry, ChartRepository and Buckets.
//
// A Tree is the directory structure of a commit as its source asks to see it
// (sparse directories, submodules, includes and ignore rules applied), held in
// memory as nodes that successive revisions share; contents stay on disk.
// Building the tree of a new commit, and listing what changed between two,
// costs what changed. Nothing is ever checked out, so no path, link or mode in
// a repository can reach the file system.
//
// Semantics follow source-controller: reference forms and revisions (fluxcd/pkg
// git, gogit/clone.go), default exclusions and .sourceignore (fluxcd/pkg
// sourceignore), archives (fluxcd/pkg artifact/storage, tar), charts
// (internal/helm/chart), condition reasons (internal/controller); and those of
// generated artifacts source-watcher (internal/builder).
package source
