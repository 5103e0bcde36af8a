// Package api is the server behind the console and remote command lines: what
// is declared and what became of it, for people, as far as they may see it.
//
//	World ──rows──▶ boards ──query──▶ lists and streams
//	request ──door──▶ Principal ──guard──▶ handler ──▶ answer, audit
//
// The API is Connect's: JSON over HTTP for curl, gRPC for programs; its
// messages are in proto/. Each call has its rule in rules.go, and none is
// served without one.
//
//	server.go    what is put together, and what stands around every call
//	lead.go      following the world: rows, policy, settings
//	rules.go     who may call what
//	deliveries.go, object.go, compare.go, explain.go, history.go, graph.go, logs.go, act.go
//	fleet.go, sources.go, clusters.go, activity.go, session.go, effective.go
//	follow.go    streams of rows, and whom they tell of what
//	rows/, board/, access/   rows, lists of them, permissions
//	pods/        what Pods and workloads are doing
//	argocd/      what Argo CD's own command line speaks
package api

//go:generate go run ./generate
