package sops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/getsops/sops/v3/keyservice"
)

// readAge takes a file of age identities, one in a line as age-keygen writes
// them, or a private SSH key. It returns what is wrong with it.
func (k *keys) readAge(value []byte) string {
	const plugin, pem = "AGE-PLUGIN-", "-----BEGIN "
	text := strings.TrimSpace(string(value))
	switch {
	case strings.Contains(text, plugin):
		return "it names an age plugin, which is a program, and none is run"
	case strings.HasPrefix(text, "age-encryption.org/"), strings.HasPrefix(text, armor.Header):
		return "the identity is encrypted with a passphrase, which nobody is here to enter"
	case strings.HasPrefix(text, pem):
		identity, err := agessh.ParseIdentity(value)
		if err != nil {
			return "it is no private SSH key that can be read without a passphrase, of type ed25519 or RSA"
		}
		k.age = append(k.age, identity)
		return ""
	}
	identities, err := age.ParseIdentities(bytes.NewReader(value))
	if err != nil {
		return "it holds no age identity, or a line that is none"
	}
	k.age = append(k.age, identities...)
	return ""
}

// longestDataKey bounds a data key, or a part of one, in the clear.
const longestDataKey = 4 << 10

func (k *keys) openAge(_ context.Context, _ *keyservice.AgeKey, sealed []byte) ([]byte, error) {
	if len(k.age) == 0 {
		return nil, refusal("no age identity is given")
	}
	var source io.Reader = bytes.NewReader(sealed)
	if bytes.HasPrefix(bytes.TrimSpace(sealed), []byte(armor.Header)) {
		source = armor.NewReader(source)
	}
	opened, err := age.Decrypt(source, k.age...)
	var nobody *age.NoIdentityMatchError
	switch {
	case errors.As(err, &nobody):
		return nil, refusal("no age identity that is given is its")
	case err != nil:
		return nil, refusal("the data key cannot be read")
	}
	return readKey(opened)
}

// readKey reads a data key.
func readKey(from io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(from, longestDataKey+1))
	if err != nil || len(key) > longestDataKey {
		return nil, refusal("the data key cannot be read")
	}
	return key, nil
}
