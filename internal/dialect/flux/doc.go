// Package flux understands Flux's declared objects: sources are compiled into
// model.Source, Kustomization, HelmRelease and ArtifactGenerator into
// model.Delivery, and all of them are reported on; the other kinds are known,
// and refused in their own status until their issues come.
//
//	fields*.go           what becomes of every field of every kind: one table
//	source.go            what all sources have, and the facts that they name
//	gitrepository.go, ocirepository.go, bucket.go, helmrepository.go,
//	helmchart.go, externalartifact.go: one kind of source each
//	gitcredentials.go, httpcredentials.go: what their Secrets hold
//	artifactgenerator.go ArtifactGenerator → model.Delivery of ExternalArtifacts
//	kustomization.go     Kustomization → model.Delivery
//	helmrelease*.go      HelmRelease → model.Delivery with a release
//	decryption.go        the keys that encrypted files are decrypted with
//	project*.go          reports → status and events, in upstream's words
//	refuse.go            faults of objects that cannot be compiled
//	installation.go      upstream's own installation: withheld, watched for
//
// Statuses are functions of the report and the previous object. A report that
// says nothing new gives back the previous status as it was, times included,
// so that nothing is written.
package flux
