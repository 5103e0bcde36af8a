// Package policy decides who may do what: the RBAC of Argo CD (argocd-rbac-cm
// and the roles of AppProjects), compiled, and extended by the resources that
// Argo CD does not have, so that one policy governs both dialects.
//
//	FromConfigMap, ReadProject   what people wrote → Config, Project
//	Compile                      Config and Projects → Policy
//	Policy.For                   one subject → View, its roles resolved once
//	View.Can                     a Request → Decision, with the rule that decided
//	Validate                     what is allowed by the grammar and means nothing
//
// # How a request is decided
//
// Each of these names is asked by itself, with all the roles it has: the default
// role, the user (or the role that a token was issued for), and every group of
// the user that a "g" line names. Within one name a deny overrides every allow.
// Between names any allow is enough, as in Argo CD (server/rbacpolicy
// EnforceClaims): a deny for the user does not take away what a group may do,
// and nothing takes away what the default role may do. Without any allow the
// request is refused; Decision.Effect tells a refusal that a rule demands
// (Denied) from one that no rule prevents (Unmatched).
//
// The roles of an AppProject take part only in requests about that project.
//
// # What differs from Argo CD, always towards less
//
//   - A policy of which one line cannot be read is withheld whole: only the
//     built-in user admin stays. Argo CD then answers every request with an
//     error.
//   - Of a project's roles, lines that are not about the role and within the
//     project are left out where they allow. Argo CD refuses them in its API and
//     honours them when they come by kubectl.
//   - A deny whose pattern is malformed denies for every value in that place;
//     in Argo CD it denies nothing.
//   - A user or a group that is called like a role ("role:…", "proj:…:…") does
//     not have it.
//   - Service accounts, which Argo CD does not know as callers, do not have the
//     default role: every Pod of the cluster is one.
//
// And one towards what is documented: the built-in rules are globs in both
// match modes. In Argo CD's mode regex they match nothing at all (argo-cd issue
// 13127).
//
// The package is pure, and safe for concurrent use after Compile.
package policy
