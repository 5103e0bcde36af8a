// Package githubapp signs the claim by which a GitHub App proves who it is,
// before it is given a token (docs.github.com, "Generating a JSON Web Token
// (JWT) for a GitHub App").
package githubapp

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"

	"plumb.dev/plumb/internal/model"
)

// GitHub takes claims of ten minutes at most; clocks differ.
const (
	before = time.Minute
	valid  = 9 * time.Minute
)

// Claim is a signed token (RS256, RFC 7519) that is good for nine minutes from
// now. Errors hold nothing of the key.
func Claim(app model.GitHubApp, now time.Time) (string, error) {
	key, err := parseRSAKey(app.PrivateKey.Reveal())
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(map[string]any{
		"iat": now.Add(-before).Unix(),
		"exp": now.Add(valid).Unix(),
		"iss": app.AppID,
	})
	if err != nil {
		return "", err
	}
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the private key of the GitHub App cannot sign")
	}
	return signed + "." + encode(signature), nil
}

// parseRSAKey reads a key in PEM form, PKCS #1 or PKCS #8.
func parseRSAKey(text []byte) (*rsa.PrivateKey, error) {
	bad := errors.New("the private key of the GitHub App is not an RSA key in PEM form")
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return nil, bad
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, bad
	}
	if key, ok := parsed.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, bad
}
