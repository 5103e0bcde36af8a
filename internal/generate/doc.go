// Package generate asks the world what generators have to know: which
// repositories a forge hosts, which pull requests are open, what a plugin
// answers.
//
//	Question ──▶ forge or plugin ──pages──▶ filters ──▶ Answer
//
// An answer is whole or it is a fault. A page that failed, a list that was too
// long or that went on changing while it was read, a limit on requests: all of
// them are faults, because whoever reads the answer deletes what it lacks.
//
// A list of several pages is read until two readings agree: a forge numbers
// pages from the newest entry, so that an entry that goes away between two
// pages hides another one. Forges that support conditional requests answer the
// second reading from our memory.
//
// What is remembered (answers with an entity tag, paths of a commit, tokens of
// GitHub Apps, until when a forge wants to be left alone) is kept apart by
// server and credential, so that nobody learns what another one may see, and
// is bounded. Questions that are the same, credential included, are asked once
// at a time.
//
// Credentials are sent to the declared server only; a redirection to another
// one is refused.
//
// Semantics follow applicationset/services of argo-cd (scm_provider,
// pull_request, plugin). Different on purpose: every list is read to its end
// (upstream reads one page of Gitea's and Azure DevOps's lists), paths are
// looked up at the commit that the answer names instead of a branch that may
// move, and an answer of a plugin without parameters is a fault.
package generate
