// Package stage sets the stage that the stories of package scenario and the
// benchmark play on: a real API server, a Git server with repositories, and
// plumb controller as a process that can be killed.
//
//	plane.go       Plane: one plumb-controlplane process
//	process.go     Process: a child that says when it is ready and can be killed
//	forge.go       Forge: a Git server over smart HTTP, with moods
//	repository.go  Repository: a work tree that is committed and pushed
//	kube.go        Kube: reading and writing objects by kind and name
//	question.go    Question: what is asked of one object, and waiting for it by watch
//	dump.go        Dump: everything in a namespace, in a form that can be compared
package stage
