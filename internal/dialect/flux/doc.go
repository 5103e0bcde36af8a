// Package flux understands Flux's declared objects: GitRepository and
// Kustomization are compiled and reported on, the other kinds are known, and
// refused in their own status until their issues come.
//
//	fields.go         what becomes of every field of every kind: one table
//	gitrepository.go  GitRepository → model.Source, with the Secrets it names
//	kustomization.go  Kustomization → model.Delivery
//	project*.go       reports → status and events, in upstream's words
//	refuse.go         faults of objects that cannot be compiled
//	installation.go   upstream's own installation: withheld, watched for
//
// Statuses are functions of the report and the previous object. A report that
// says nothing new gives back the previous status as it was, times included,
// so that nothing is written.
package flux
