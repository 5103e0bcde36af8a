package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// What is sealed for a browser to keep. Each purpose has a key of its own, so
// that one cannot be handed in for the other.
const (
	purposeState   = "plumb sign-in state"
	purposeSession = "plumb sign-in session"
)

var errSeal = errors.New("what the browser sent was not sealed here")

func sealer(key []byte, purpose string) (cipher.AEAD, error) {
	if len(key) == 0 {
		return nil, ErrNotReady
	}
	derived, err := hkdf.Key(sha256.New, key, nil, purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts value with a key that comes from server.secretkey.
func seal(key []byte, purpose string, value any) (string, error) {
	aead, err := sealer(key, purpose)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, text, []byte(purpose))), nil
}

// unseal decrypts what seal has made, for the same purpose.
func unseal(key []byte, purpose, sealed string, value any) error {
	aead, err := sealer(key, purpose)
	if err != nil {
		return err
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return errSeal
	}
	text, err = aead.Open(nil, nil, text, []byte(purpose))
	if err != nil || json.Unmarshal(text, value) != nil {
		return errSeal
	}
	return nil
}

// random returns n random bytes as text.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand stops the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
