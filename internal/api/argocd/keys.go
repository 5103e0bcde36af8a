package argocd

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"plumb.dev/plumb/internal/policy"
)

// keyConfigMap holds public keys by their short ids (argocd-gpg-keys-cm).
const keyConfigMap = "argocd-gpg-keys-cm"

// publicKey is a key as the API tells of it.
type publicKey struct {
	id, fingerprint, owner, kind, armored string
}

func (k publicKey) told(whole bool) map[string]any {
	out := map[string]any{"keyID": k.id, "fingerprint": k.fingerprint, "owner": k.owner, "trust": "unknown", "subType": k.kind}
	if whole {
		out["keyData"] = k.armored
	}
	return out
}

// maxKeys bounds how many keys are read at once.
const maxKeys = 1000

// publicKeys reads armored keys.
func publicKeys(armored string) ([]publicKey, error) {
	entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil {
		return nil, failed(connect.CodeInvalidArgument, "error validating PGP keys from input: they cannot be read")
	}
	if len(entities) > maxKeys {
		return nil, failed(connect.CodeInvalidArgument, "more than %d keys", maxKeys)
	}
	var out []publicKey
	for _, e := range entities {
		k := publicKey{id: e.PrimaryKey.KeyIdString(), fingerprint: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)}
		if bits, err := e.PrimaryKey.BitLength(); err == nil {
			k.kind = fmt.Sprintf("%s%d", algorithmWord(int(e.PrimaryKey.PubKeyAlgo)), bits)
		}
		if names := slices.Sorted(maps.Keys(e.Identities)); len(names) > 0 {
			k.owner = names[0]
		}
		var b bytes.Buffer
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err != nil {
			return nil, err
		}
		if err := e.Serialize(w); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		k.armored = b.String() + "\n"
		out = append(out, k)
	}
	return out, nil
}

// algorithmWord is how gpg calls an algorithm (RFC 9580, 9.1).
func algorithmWord(algorithm int) string {
	switch algorithm {
	case 1, 2, 3:
		return "rsa"
	case 17:
		return "dsa"
	case 16:
		return "elg"
	case 19:
		return "nistp"
	case 22, 27:
		return "ed"
	}
	return "unknown"
}

// keyring are the configured keys, by id. What cannot be read is left out.
func (s *server) keyring(ctx context.Context) (map[string]publicKey, error) {
	o, _, err := s.configMap(ctx, keyConfigMap)
	if err != nil {
		return nil, err
	}
	out := map[string]publicKey{}
	for id := range object(o.Object, "data") {
		keys, err := publicKeys(text(o.Object, "data", id))
		if err != nil {
			s.Log.Warn("a key cannot be read", "configmap", keyConfigMap, "key", id)
			continue
		}
		for _, k := range keys {
			out[k.id] = k
		}
	}
	return out, nil
}

func (s *server) listKeys(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.GPGKeys, policy.Get, ""); err != nil {
		return nil, err
	}
	keys, err := s.keyring(ctx)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, keys[id].told(false))
	}
	return map[string]any{"items": out}, nil
}

// shortID is the id of a key of which a longer form may be given (KeyID).
func shortID(id string) (string, error) {
	id = strings.ToUpper(strings.TrimPrefix(strings.TrimPrefix(id, "0x"), "0X"))
	if len(id) != 16 && len(id) != 40 || strings.Trim(id, "0123456789ABCDEF") != "" {
		return "", failed(connect.CodeInvalidArgument, "Given KeyID is not a valid GnuPG key ID")
	}
	return id[len(id)-16:], nil
}

func (s *server) getKey(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.GPGKeys, policy.Get, ""); err != nil {
		return nil, err
	}
	id, err := shortID(text(c.value, "keyID"))
	if err != nil {
		return nil, err
	}
	keys, err := s.keyring(ctx)
	if err != nil {
		return nil, err
	}
	k, ok := keys[id]
	if !ok {
		return nil, failed(connect.CodeNotFound, "no such key: %s", id)
	}
	return k.told(true), nil
}

func (s *server) createKeys(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.GPGKeys, policy.Create, ""); err != nil {
		return nil, err
	}
	armored := strings.TrimSpace(text(c.value, "publickey", "keyData"))
	if armored == "" {
		return nil, failed(connect.CodeInvalidArgument, "Submitted key data is empty")
	}
	keys, err := publicKeys(armored)
	if err != nil {
		return nil, err
	}
	var created, skipped []any
	err = s.editConfigMap(ctx, keyConfigMap, func(data map[string]string) error {
		created, skipped = []any{}, []any{}
		for _, k := range keys {
			if _, there := data[k.id]; there {
				skipped = append(skipped, k.id)
				continue
			}
			data[k.id] = k.armored
			created = append(created, k.told(false))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"created": map[string]any{"items": created}, "skipped": skipped}, nil
}

func (s *server) deleteKey(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.GPGKeys, policy.Delete, ""); err != nil {
		return nil, err
	}
	id, err := shortID(text(c.value, "keyID"))
	if err != nil {
		return nil, err
	}
	err = s.editConfigMap(ctx, keyConfigMap, func(data map[string]string) error {
		if _, there := data[id]; !there {
			return failed(connect.CodeNotFound, "no such key configured: %s", id)
		}
		delete(data, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return nothing(), nil
}
