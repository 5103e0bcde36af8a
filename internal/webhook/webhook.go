package webhook

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// The keys of argocd-secret that hold what forges prove themselves with
// (util/settings/settings.go); SecretGeneric is Plumb's own.
const (
	SecretGitHub          = "webhook.github.secret"
	SecretGitLab          = "webhook.gitlab.secret"
	SecretBitbucketUUID   = "webhook.bitbucket.uuid"
	SecretBitbucketServer = "webhook.bitbucketserver.secret"
	SecretGogs            = "webhook.gogs.secret"
	SecretAzureUsername   = "webhook.azuredevops.username"
	SecretAzurePassword   = "webhook.azuredevops.password"
	SecretHarbor          = "webhook.harbor.secret"
	SecretGeneric         = "webhook.generic.secret"
)

// DefaultMaxBytes bounds a request's body when Secrets.MaxBytes is 0.
const DefaultMaxBytes = 10 << 20

// Secrets is what the people who run the server agreed on with the forges. A
// forge without a secret is accepted unauthenticated.
type Secrets struct {
	GitHub          model.Secret
	GitLab          model.Secret
	BitbucketUUID   model.Secret
	BitbucketServer model.Secret
	Gogs            model.Secret // Gitea and Forgejo too
	AzureUsername   model.Secret
	AzurePassword   model.Secret
	Harbor          model.Secret // the whole header Authorization; without it Harbor is not listened to
	Generic         model.Secret

	// MaxBytes bounds a request's body (argocd-cm webhook.maxPayloadSizeMB);
	// 0: DefaultMaxBytes.
	MaxBytes int64
}

// SecretsFrom reads the data of argocd-secret. References of the form
// $secret:key are the caller's to resolve first.
func SecretsFrom(data map[string][]byte) Secrets {
	at := func(key string) model.Secret { return model.NewSecret(data[key]) }
	return Secrets{
		GitHub:          at(SecretGitHub),
		GitLab:          at(SecretGitLab),
		BitbucketUUID:   at(SecretBitbucketUUID),
		BitbucketServer: at(SecretBitbucketServer),
		Gogs:            at(SecretGogs),
		AzureUsername:   at(SecretAzureUsername),
		AzurePassword:   at(SecretAzurePassword),
		Harbor:          at(SecretHarbor),
		Generic:         at(SecretGeneric),
	}
}

// any reports whether some forge has a secret.
func (s Secrets) any() bool {
	for _, secret := range []model.Secret{s.GitHub, s.GitLab, s.BitbucketUUID, s.BitbucketServer, s.Gogs, s.AzureUsername, s.AzurePassword, s.Harbor} {
		if !secret.IsZero() {
			return true
		}
	}
	return false
}

// Push is what one delivery says has happened to one repository. All of it is
// the sender's word.
type Push struct {
	// Forge is who sent it: "github", "gitlab", "gitea", "bitbucket-cloud",
	// "bitbucket-server", "azuredevops", "harbor" or "generic" (as model.Forge.Kind).
	Forge string
	// URLs are the repository's addresses, such as its page and its HTTPS and
	// SSH forms. Use Concerns to compare.
	URLs []string
	// Changes are the references that moved, never empty.
	Changes []Change
	// Files are the paths that changed, sorted, without duplicates; nil when
	// the sender does not tell, or not of all of them.
	Files []string
	// PullRequest is the pull request that was opened, changed or closed, nil
	// when the delivery is about no pull request.
	PullRequest *PullRequest
	// Registry: the repository is one of a registry, "oci://host/path", and the
	// references that moved are its tags.
	Registry bool
}

// Change is one reference that moved, appeared or went.
type Change struct {
	// Ref is the full name, such as refs/heads/main; a name without "refs/"
	// may be a branch or a tag, and "" any reference.
	Ref string
	// Before and After are commits, or annotated tags, of 40 or 64 hexadecimal
	// digits; "" when the sender does not tell, or there is none.
	Before, After string
	// Default: it is the default branch, or may be (Bitbucket does not tell).
	Default bool
}

// PullRequest is a pull or merge request.
type PullRequest struct {
	Number int
	// Host is where the forge's API is reached: a host name in lower case.
	Host string
	// Owner is the user, organization, workspace or project key; for GitLab
	// the path of the group.
	Owner string
	// Project is Azure DevOps's project, or the number of GitLab's.
	Project    string
	Repository string // name without the owner
	HeadSHA    string // "" when the sender does not tell
}

// Refused is the answer to a request that is no delivery. Its text holds
// nothing of the request and no secret.
type Refused struct {
	Status  int // HTTP status to answer with
	Message string
}

// Error is the message.
func (r *Refused) Error() string { return r.Message }

func refuse(status int, message string) error { return &Refused{Status: status, Message: message} }

var (
	errUnknown   = refuse(http.StatusBadRequest, "unknown webhook event")
	errMethod    = refuse(http.StatusMethodNotAllowed, "webhooks are delivered by POST")
	errTooLarge  = refuse(http.StatusRequestEntityTooLarge, "the payload is larger than webhook.maxPayloadSizeMB allows")
	errUnread    = refuse(http.StatusBadRequest, "the payload cannot be read")
	errPayload   = refuse(http.StatusBadRequest, "the payload cannot be understood: it must be the forge's JSON")
	errSignature = refuse(http.StatusUnauthorized, "the delivery is not signed with the configured secret")
)

// forge is one sender: how it is recognised, authenticated and decoded.
type forge struct {
	name   string
	is     func(http.Header) bool
	proves func(r *http.Request, body []byte, secrets Secrets) bool
	// decode returns nil for events that move nothing.
	decode func(r *http.Request, body []byte) (*Push, error)
}

// forges in the order in which they are tried: Gitea and Gogs send GitHub's
// headers too, and Bitbucket Cloud those of Bitbucket Server.
var forges = []forge{
	{"azuredevops", has("X-Vss-Activityid"), azureProves, decodeAzure},
	{"gitea", has("X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"), gogsProves, decodeGogs},
	{"github", has("X-Github-Event"), githubProves, decodeGitHub},
	{"gitlab", has("X-Gitlab-Event"), gitlabProves, decodeGitLab},
	{"bitbucket-cloud", has("X-Hook-Uuid"), bitbucketProves, decodeBitbucket},
	{"bitbucket-server", has("X-Event-Key"), bitbucketServerProves, decodeBitbucketServer},
	{"generic", func(http.Header) bool { return true }, genericProves, decodeGeneric},
}

func has(names ...string) func(http.Header) bool {
	return func(h http.Header) bool {
		for _, name := range names {
			if h.Get(name) != "" {
				return true
			}
		}
		return false
	}
}

// Parse authenticates and reads one delivery to /api/webhook. It returns nil
// without an error for deliveries that move no reference, such as a ping.
// Errors are *Refused.
func Parse(r *http.Request, secrets Secrets) (*Push, error) {
	if r.Method != http.MethodPost {
		return nil, errMethod
	}
	sender := senderOf(r.Header, secrets)
	body, err := read(r, secrets.MaxBytes)
	if err != nil {
		return nil, err
	}
	if !sender.proves(r, body, secrets) {
		return nil, errSignature
	}
	push, err := sender.decode(r, body)
	if err != nil || push == nil {
		return nil, err
	}
	push.Forge = sender.name
	return push.checked()
}

func senderOf(header http.Header, secrets Secrets) forge {
	if isHarbor(header, secrets) {
		return harbor
	}
	for _, f := range forges {
		if f.is(header) {
			return f
		}
	}
	return forges[len(forges)-1]
}

// read returns the body, refusing one that is too large.
func read(r *http.Request, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	if r.Body == nil {
		return nil, errUnread
	}
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	var bounded *http.MaxBytesError
	switch {
	case errors.As(err, &bounded), err == nil && int64(len(body)) > limit:
		return nil, errTooLarge
	case err != nil:
		return nil, errUnread
	}
	return body, nil
}

const (
	maxChanges = 1000 // beyond them, any reference may have moved
	maxName    = 4096 // bytes of a reference or an address
)

// checked drops what no repository has, and bounds the rest: a delivery is
// compared with every source that there is.
func (p *Push) checked() (*Push, error) {
	var addresses []string
	for _, address := range p.URLs {
		if len(address) <= maxName && placeOf(address) != "" {
			addresses = append(addresses, address)
		}
	}
	var changes []Change
	for _, change := range p.Changes {
		if len(change.Ref) > maxName {
			continue
		}
		change.Before, change.After = commit(change.Before), commit(change.After)
		changes = append(changes, change)
	}
	switch {
	case len(addresses) == 0 && p.PullRequest == nil:
		return nil, refuse(http.StatusBadRequest, "the payload names no repository")
	case len(changes) == 0:
		return nil, nil
	case len(changes) > maxChanges:
		changes = []Change{{Default: true}}
	}
	p.URLs, p.Changes = addresses, changes
	return p, nil
}

// commit is a hash, or "" for the hash of zeros that stands for none.
func commit(hash string) string {
	if !isHex(hash) || len(hash) != 40 && len(hash) != 64 || strings.Trim(hash, "0") == "" {
		return ""
	}
	return strings.ToLower(hash)
}

func isHex(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return text != ""
}
