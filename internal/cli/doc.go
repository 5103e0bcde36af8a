// Package cli is the plumb command line: it reads flags, talks to the API
// server with the user's own kubeconfig, and wires the rooms below it into
// something that runs.
//
//	run.go         Run: the one way in; streams, exit codes, how errors are printed
//	connect.go     kubeconfig flags and the clients made from them
//	place.go       where declared objects are seen and asked: the cluster, or a server of Plumb
//	wish.go        what is asked of them; served.go, served_see.go: by a server of Plumb
//	login.go, context.go, session.go, logins/   signing in to one, and what is kept of it
//	kinds.go       the declared kinds that commands take
//	idiom.go       what their objects say of themselves, dialect by dialect; argo.go: Argo CD's
//	terminal.go    progress lines, colours; table.go: aligned columns
//	get … export   commands that need nothing but the Kubernetes API, most of which a server answers too
//	sync, terminate-op, history, rollback   operations of Applications
//	derive.go, expand.go   what a delivery wants, worked out here
//	build, diff, explain   that, and how the cluster differs from it
//	up, down, status, controller   running Plumb itself
//	install, uninstall, adopt, check   moving in and out of a cluster
//
// Results go to standard output and nothing else does; progress, warnings and
// errors go to standard error. Exit codes: 0 done, 1 failed; plumb diff: 0 no
// difference, 1 differences, 2 failed.
package cli
