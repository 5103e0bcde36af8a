// Package plan decides what a run changes. It compares what a delivery wants
// with what is known of the cluster and with what other deliveries want, and
// answers with ordered waves of changes: all that will ever be applied. It is
// pure, so that a plan can be printed, tested and shown before it happens.
//
// The order inside a plan:
//
//	definitions   Namespaces and CustomResourceDefinitions
//	classes       cluster-wide objects that others refer to by name: *Class, ClusterRole, …
//	the rest      in parallel
//	deletions     the other way round, after everything above has been applied
//
// A deletion is planned only when nobody else wants the object, when everybody
// who might is known to have been asked (Unknown is not empty), and when it is
// not part of a mass deletion that no person has approved.
package plan
