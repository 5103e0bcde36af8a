// Package object knows Kubernetes objects as data: their identity, how they
// are decoded from files that strangers wrote, their canonical form and digest,
// the paths that a field manager owns and the cut of an object down to such
// paths, and how secrets in them are masked. It calls no client, clock, disk or
// network.
package object
