package sops

import (
	"bytes"
	"context"
	"errors"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"
)

// readPGP takes armored private keys. It returns what is wrong with them.
func (k *keys) readPGP(value []byte) string {
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(value))
	if err != nil {
		return "it is no armored PGP key"
	}
	usable := false
	for _, entity := range entities {
		all := []*packet.PrivateKey{entity.PrivateKey}
		for _, subkey := range entity.Subkeys {
			all = append(all, subkey.PrivateKey)
		}
		for _, key := range all {
			if key == nil || key.Dummy() {
				continue
			}
			if key.Encrypted {
				return "the private key is protected by a passphrase, which nobody is here to enter: export it without one"
			}
			usable = true
		}
	}
	if !usable {
		return "it holds no private key (gpg --export-secret-keys --armor writes one)"
	}
	k.pgp = append(k.pgp, entities...)
	return ""
}

func (k *keys) openPGP(_ context.Context, _ *keyservice.PgpKey, sealed []byte) ([]byte, error) {
	if len(k.pgp) == 0 {
		return nil, refusal("no PGP key is given")
	}
	block, err := armor.Decode(bytes.NewReader(sealed))
	if err != nil {
		return nil, refusal("the data key cannot be read")
	}
	message, err := openpgp.ReadMessage(block.Body, k.pgp, nil, nil)
	switch {
	case errors.Is(err, pgperrors.ErrKeyIncorrect):
		return nil, refusal("no PGP key that is given is its")
	case err != nil:
		return nil, refusal("the data key cannot be read")
	case !message.IsEncrypted:
		return nil, refusal("the data key is not encrypted")
	}
	return readKey(message.UnverifiedBody)
}
