// Package cloud obtains short-lived credentials of the cloud that Plumb runs
// in: what Flux calls workload identity.
//
//	service account ──TokenRequest──▶ Kubernetes token ──exchange──▶ cloud credential ──▶ registry login
//
// Without a service account the credential is that of Plumb's own process, as
// the SDK of the cloud finds it (environment, federated token file, metadata
// server). With one, a Kubernetes token for it is exchanged at the cloud, which
// never sees Plumb's own identity.
//
// A credential is shared by everyone who may have it and kept until most of its
// life is over. A failure is not kept.
//
// Semantics follow fluxcd/pkg auth (auth/aws, auth/gcp, auth/azure): annotations
// of service accounts, audiences, session names, scopes and which registry hosts
// belong to which cloud.
package cloud
