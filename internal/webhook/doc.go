// Package webhook reads what forges send when something was pushed, so that
// exactly the sources it concerns look again at once.
//
//	request ──which forge──▶ authenticate ──▶ decode ──▶ Push ──Concerns──▶ sources
//
// A payload is never believed: it names repositories and references, and all
// it can bring about is a look at them, which tells what is really there.
// Therefore a forge without a configured secret is accepted, as Argo CD does.
//
// Registries tell of tags likewise: GitHub's by the event "package", Harbor with
// the header that webhook.harbor.secret agrees on. Artifacts and charts of the
// repository look again.
//
// Headers, Secret keys and the events that count follow Argo CD
// (util/webhook, applicationset/webhook, docs/operator-manual/webhook.md).
// Three things are finer here: every reference of a delivery counts and not
// only the first, a branch is told from a tag of the same name, and the
// several addresses of one Azure DevOps repository are one.
//
// The payloads are decoded by small structs of our own. The library that
// upstream uses decodes each payload whole, so that a delivery is lost when a
// forge changes the type of a field that nobody reads, reads bodies without a
// bound, and brings a client of every forge into the program.
//
// # The generic form
//
// Whatever is not one of the forges (a plain Git server's post-receive hook, a
// pipeline) posts JSON to the same address:
//
//	{
//	  "repoURL": "https://git.example.com/team/shop.git",
//	  "ref": "refs/heads/main",
//	  "revision": "9b2c…",
//	  "before": "41aa…",
//	  "defaultBranch": "main",
//	  "files": ["apps/shop/values.yaml"]
//	}
//
// Only repoURL is required; "repoURLs" may list further addresses of the
// repository. Without ref, every reference of the repository may have moved; a
// ref that does not start with "refs/" may be a branch or a tag. Without
// defaultBranch, the reference may be the default branch. Without files, it is
// not known which changed.
//
// With webhook.generic.secret in argocd-secret the request must carry the
// secret as a bearer token, or an HMAC-SHA256 of its body in the header
// X-Hub-Signature-256 as GitHub writes it. Without one, the form is accepted
// only as long as no forge has a secret either: it must not be the way around
// theirs.
package webhook
