// Package signin tells who is calling the API server: a local account, a person
// of the identity provider, a role of a project, a service account, or nobody.
// What a caller may do is decided elsewhere.
//
// It is configured as Argo CD is (ConfigMap argocd-cm, Secret argocd-secret) and
// its tokens are Argo CD's, so that accounts, API tokens and settings go on
// working after a move, in both directions. It opens no client of the cluster:
// what it knows comes through Settings, Projects and Reviewer, what it changes
// goes through Writer.
//
//	door := signin.New(signin.Options{Settings: feed, Writer: secrets, …})
//	first, err := door.Start(ctx)          // key and first password, once
//	mux.Handle("/auth/", door.Handler())   // sign-in in the browser
//	caller, err := door.Authenticate(ctx, request)
//
// How the parts hang together:
//
//   - settings.go, accounts.go, providerconfig.go: the configuration, parsed once
//     for each version of it; what is wrong becomes a finding.
//   - token.go: tokens that are signed here (HS256 with server.secretkey).
//   - login.go, manage.go, start.go: passwords, tokens of accounts, first start.
//   - provider.go, keys.go, browser.go, session.go, groups.go: the identity
//     provider. A session in the browser is the provider's ID token in the cookie
//     argocd.token, as upstream has it, and beside it the refresh token, sealed.
//   - review.go: service accounts.
//   - revoked.go: tokens that were signed out before they expired.
//   - cookie.go, seal.go, forgery.go: what browsers hold and send.
//
// Errors that leave the package say nothing about why; the log says it, without
// any token in it.
package signin
