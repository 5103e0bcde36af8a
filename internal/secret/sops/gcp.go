package sops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"

	"github.com/getsops/sops/v3/keyservice"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	gcpHost  = "cloudkms.googleapis.com"
	gcpScope = "https://www.googleapis.com/auth/cloudkms"
)

// gcpCredentials is the entry sops.gcp-kms.
type gcpCredentials struct {
	// source gets tokens by a client of the context.
	source func(ctx context.Context) oauth2.TokenSource
}

// readGCP reads the entry, and returns what is wrong with it. Of the kinds of
// credentials that Google has, those are refused that would make Plumb read a
// file, start a program or ask any server for a token.
func readGCP(value []byte) (*gcpCredentials, string) {
	value = bytes.Trim(value, "\n")
	var c struct {
		Type         string `json:"type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(value, &c); err != nil {
		return nil, "it is no JSON of Google credentials"
	}
	switch c.Type {
	case "service_account":
		account, err := google.JWTConfigFromJSON(value, gcpScope)
		if err != nil {
			return nil, "the key of its service account cannot be read"
		}
		if at, err := url.Parse(account.TokenURL); err != nil || at.Scheme != "https" {
			return nil, "its token_uri is no https URL"
		}
		return &gcpCredentials{account.TokenSource}, ""
	case "authorized_user":
		app := oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, Endpoint: google.Endpoint, Scopes: []string{gcpScope}}
		return &gcpCredentials{func(ctx context.Context) oauth2.TokenSource {
			return app.TokenSource(ctx, &oauth2.Token{RefreshToken: c.RefreshToken})
		}}, ""
	}
	return nil, "credentials of this type are not used: give the key of a service account, or use workload identity"
}

// token gets an access token.
func (c *gcpCredentials) token(ctx context.Context, client *http.Client) (string, error) {
	token, err := c.source(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
	if err == nil {
		return token.AccessToken, nil
	}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		return "", statusError("Google's sign-in", refused.Response.StatusCode, "")
	}
	return "", unreachable("Google gave no access token")
}

// keyResource names a key of Google's.
var keyResource = regexp.MustCompile(`^projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+$`)

func (k *keys) openGCP(ctx context.Context, key *keyservice.GcpKmsKey, sealed []byte) ([]byte, error) {
	if !keyResource.MatchString(key.GetResourceId()) || len(key.GetResourceId()) > longestName {
		return nil, refusal("its resource ID is none of a key")
	}
	raw, err := standardBase64(sealed)
	if err != nil {
		return nil, err
	}
	var token string
	switch {
	case k.gcp != nil:
		token, err = k.gcp.token(ctx, k.client)
	case k.workload != nil:
		secret, failed := k.workload.GCP(ctx, gcpScope)
		token, err = string(secret.Reveal()), failed
	default:
		err = refusal("no Google credential is given")
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Plaintext []byte `json:"plaintext"`
	}
	to := &url.URL{Scheme: "https", Host: gcpHost, Path: "/v1/" + key.GetResourceId() + ":decrypt"}
	question := map[string][]byte{"ciphertext": raw}
	if err := k.post(ctx, to, http.Header{"Authorization": {"Bearer " + token}}, question, &answer); err != nil {
		return nil, err
	}
	return answer.Plaintext, nil
}
