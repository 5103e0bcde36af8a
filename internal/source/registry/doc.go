// Package registry is a client of OCI registries: artifacts (source-controller's
// OCIRepository, Argo CD's oci:// sources) and Helm charts.
//
//	reference ──look──▶ digest ──▶ manifest ──▶ layer ──▶ download
//	                      └──▶ signatures ──▶ verified
//
// Only the look goes out each time, as one HEAD (or one walk through the tags
// for a range of versions). It is shared by all who ask for the same with the
// same credential, and answers only those who asked before it left. What a digest names
// never changes, so that manifests, good signatures and downloads in progress
// are shared and remembered, always by registry, repository and credential:
// knowing a digest opens nothing.
//
// A registry is hostile until a digest or a signature says otherwise: bytes,
// pages, tags, layers, signatures and silence are bounded, and a redirect takes
// neither a credential nor a client certificate along.
//
// Semantics follow source-controller (ocirepository_controller.go, internal/oci,
// internal/helm/repository/oci_chart_repository.go) and, for OCISource.Revision,
// Argo CD (util/oci/client.go). Signatures are checked offline: against public
// keys, or against a trusted root that is at hand. What cannot be checked so is
// a fault that says why.
package registry
