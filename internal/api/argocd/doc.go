// Package argocd speaks the API of Argo CD's server, so that its command line,
// and scripts that call its HTTP API, work against Plumb: gRPC, gRPC-Web and
// JSON over HTTP, by one handler.
//
//	bytes ──wire──▶ map ──service──▶ Objects, Deliveries ──▶ map ──wire──▶ bytes
//
// What a call asks of the policy, and the words and codes in which it is
// refused, are upstream's (argo-cd/server), since scripts go by them. What is
// declared is read and written as objects of the cluster; what becomes of it is
// asked of Deliveries.
//
//	wire/           messages: what they are made of, reading and writing them
//	server.go       what is put together, and who is let in
//	serve.go        gRPC and gRPC-Web
//	gateway.go      JSON over HTTP; routes.go
//	access.go       asking the policy, in upstream's words
//	session.go, accounts.go, settings.go
//	applications.go, declare.go, validate.go, operations.go, resources.go, logs.go
//	applicationsets.go, projects.go, tokens.go
//	repositories.go, credentials.go, clusters.go, certificates.go, keys.go
//	objects.go      Objects over a cluster; feed.go shares what is watched
//	world/          Deliveries over the engine
//
// No credential of a repository or cluster is ever part of an answer, and what
// Secrets hold is masked.
package argocd
