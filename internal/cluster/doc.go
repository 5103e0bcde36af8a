// Package cluster is the only room that talks to Kubernetes API servers: it
// reads, predicts, applies, deletes and watches, always as somebody.
//
//	NewSet ── Local, Remote ──▶ Cluster ── As(identity) ──▶ Session: Get, List, Apply, TakeOver, Patch, Create, Update, Delete
//	                               ├── Resolve, OnKind, APIs, Version: what the cluster serves
//	                               └── Watch: shared streams, run as Plumb itself
//
// A Cluster has one transport. Identities are request headers on it, so a
// thousand of them cost no connection. Writes pass a limiter with two classes:
// what changes the cluster never waits for statuses.
//
// Nothing here polls. Kinds are discovered once and again when a watch of
// CustomResourceDefinitions and APIServices says so; objects are seen by
// streams that keep a name, a UID and a version per object, never the object.
//
// Errors are those of k8s.io/apimachinery/pkg/api/errors, *UnknownKindError for
// a kind that is not served, or errors of the network. Explain turns any of
// them into a fault for people, without the values that API servers repeat in
// their answers about Secrets.
package cluster
