// Package helmrepo is a client of Helm repositories over HTTP(S): it looks at
// an index, finds the version of a chart that a range allows, and downloads
// packages.
//
// An index is looked at once for all who name the repository with the same
// credential, with conditional requests where the server knows them, and read
// as a stream: what is kept of tens of megabytes is a few, namely version,
// address, digest and time of each package. Only where an index is written in
// an unusual style of YAML is it parsed as a whole, up to a smaller bound.
//
// Semantics are those of Helm (pkg/repo/v1: which entries are valid, how
// addresses are resolved) and of source-controller
// (internal/helm/repository: which version a range picks).
package helmrepo
