// Package health judges live objects: given what the API server says of an
// object, how is it doing, and what holds it up? The answers are those of
// kstatus (sigs.k8s.io/cli-utils, in Flux's fork), which Flux waits by, with
// reasons and messages that name the cause.
//
// [Of] looks at one object alone, [Deeper] also at what a workload has made,
// to find the root cause in a pod, and [Expr] by CEL expressions that a user
// gives for a kind (spec.healthCheckExprs). One file holds the rule of one
// kind; testdata has a YAML file for each case. Nothing here calls a client,
// the clock, the disk or the network.
package health
