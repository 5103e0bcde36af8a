// Package project reads Argo CD's AppProjects: what Applications may read from,
// where they may go and what they may write, when they may sync, as whom, and
// who may do what with them. A project only bounds; it asks for nothing itself.
//
// A violation is a *model.Fault in upstream's words that also names the rule
// which refused. Everything is judged before anything is fetched or applied.
// Roles and their policies are parsed and validated; the server enforces them.
package project
