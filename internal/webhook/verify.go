package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // old senders sign with it; one that knows better is held to it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// equal compares without telling by its duration where the two differ, nor
// how long the secret is.
func equal(given string, secret model.Secret) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256(secret.Reveal())
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// signed reports whether a header holds the HMAC of the body in hexadecimal,
// behind prefix.
func signed(header, prefix string, body []byte, secret model.Secret, algorithm func() hash.Hash) bool {
	digits, ok := strings.CutPrefix(header, prefix)
	if !ok {
		return false
	}
	given, err := hex.DecodeString(digits)
	if err != nil {
		return false
	}
	mac := hmac.New(algorithm, secret.Reveal())
	_, _ = mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// hubSigned checks GitHub's signature; the old SHA-1 counts only where the
// sender knows no better.
func hubSigned(h http.Header, body []byte, secret model.Secret) bool {
	if newer := h.Get("X-Hub-Signature-256"); newer != "" {
		return signed(newer, "sha256=", body, secret, sha256.New)
	}
	return signed(h.Get("X-Hub-Signature"), "sha1=", body, secret, sha1.New)
}

func githubProves(r *http.Request, body []byte, secrets Secrets) bool {
	return secrets.GitHub.IsZero() || hubSigned(r.Header, body, secrets.GitHub)
}

func gitlabProves(r *http.Request, _ []byte, secrets Secrets) bool {
	return secrets.GitLab.IsZero() || equal(r.Header.Get("X-Gitlab-Token"), secrets.GitLab)
}

// gogsProves checks what Gogs, Gitea and Forgejo sign with.
func gogsProves(r *http.Request, body []byte, secrets Secrets) bool {
	if secrets.Gogs.IsZero() {
		return true
	}
	for _, header := range []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} {
		if given := r.Header.Get(header); given != "" {
			return signed(given, "", body, secrets.Gogs, sha256.New)
		}
	}
	return false
}

func bitbucketProves(r *http.Request, _ []byte, secrets Secrets) bool {
	return secrets.BitbucketUUID.IsZero() || equal(r.Header.Get("X-Hook-Uuid"), secrets.BitbucketUUID)
}

// bitbucketServerProves lets the connection test pass, which is not signed and
// does nothing.
func bitbucketServerProves(r *http.Request, body []byte, secrets Secrets) bool {
	return secrets.BitbucketServer.IsZero() || r.Header.Get("X-Event-Key") == "diagnostics:ping" ||
		signed(r.Header.Get("X-Hub-Signature"), "sha256=", body, secrets.BitbucketServer, sha256.New)
}

func azureProves(r *http.Request, _ []byte, secrets Secrets) bool {
	if secrets.AzureUsername.IsZero() && secrets.AzurePassword.IsZero() {
		return true
	}
	user, password, _ := r.BasicAuth()
	known, right := equal(user, secrets.AzureUsername), equal(password, secrets.AzurePassword)
	return known && right
}

func genericProves(r *http.Request, body []byte, secrets Secrets) bool {
	if secrets.Generic.IsZero() {
		return !secrets.any()
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return equal(token, secrets.Generic)
	}
	return signed(r.Header.Get("X-Hub-Signature-256"), "sha256=", body, secrets.Generic, sha256.New)
}
