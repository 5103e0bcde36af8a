// Package health judges live objects: given what the API server says of an
// object, how is it doing, and what holds it up? There are two judgements, since
// Flux and Argo CD differ on what "healthy" means.
//
// [Of] answers as kstatus (sigs.k8s.io/cli-utils, in Flux's fork), which Flux
// waits by, with reasons and messages that name the cause. [Deeper] looks also
// at what a workload has made, to find the root cause in a pod, and [Expr]
// judges by CEL expressions that a user gives for a kind
// (spec.healthCheckExprs).
//
// [Assess] answers as Argo CD: a kind without a rule has no health, a load
// balancer is waited for, and what waits for somebody is suspended. [LuaRules]
// puts the Lua scripts of users (resource.customizations.health) before that.
//
// One file holds the rules of one kind or of one upstream system, made of the
// building blocks in verdict.go and listed in systems.go; testdata has a YAML
// file for each case, those of Assess below testdata/assess. Nothing here calls
// a client, the clock, the disk or the network.
package health
