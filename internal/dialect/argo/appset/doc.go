// Package appset understands ApplicationSets of Argo CD (argoproj.io/v1alpha1,
// docs/operator-manual/applicationset): it is the part of the Argo CD dialect
// that turns one set into Applications. Everything here is pure.
//
//	Compile   the set → a Delivery whose objects are made by expansion
//	Expand    the set, facts and answers → Applications, or open questions
//	Roll      states of the Applications → status.applicationStatus (RollingSync)
//	Turn      may this Application be synced now (RollingSync)
//	Project   a report → status, events, finalizer
//
// A generator that cannot be asked, a fact that is not known and a template
// that fails are faults: none of them makes the set smaller.
package appset
