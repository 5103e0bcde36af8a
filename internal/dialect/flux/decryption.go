package flux

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const (
	providerSOPS = "sops"
	ageKeySuffix = ".agekey"
)

// keySuffixes and keyNames say which entries of the Secret are keys; the others
// are not looked at (kustomize-controller internal/decryptor, ImportKeys).
var (
	keySuffixes = []string{ageKeySuffix, ".asc"}
	keyNames    = []string{"sops.vault-token", "sops.aws-kms", "sops.azure-kv", "sops.gcp-kms"}
)

// decryption reads spec.decryption: nil when none is asked for, or when what it
// names is not known yet. Faults are those of a build, as upstream has it.
func (g *gathering) decryption(field node, settings dialect.Settings) *model.Decryption {
	if !field.Present() {
		return nil
	}
	if provider := field.At("provider"); provider.Str() != providerSOPS {
		provider.Invalid("must be %s, not %q", providerSOPS, reader.Clip(provider.Str(), 63))
	}
	out := &model.Decryption{}
	if ref := field.At("secretRef"); ref.Present() {
		secret, _ := g.secret(ref, reasonBuildFailed, aboutDecryption)
		out.Keys, out.SecretID = decryptionKeys(secret, false), secret.need.Namespace+"/"+secret.need.Name
	} else if home, name, ok := strings.Cut(settings.SOPSAgeSecret, "/"); ok {
		secret := secretReader{r: g.r, need: model.Need{Version: "v1", Kind: "Secret", Namespace: home, Name: name}, field: field.Path, reason: reasonBuildFailed, about: aboutDecryption}
		if g.known(secret.need) {
			secret.load(g.facts)
		}
		out.Keys, out.SecretID = decryptionKeys(secret, true), settings.SOPSAgeSecret
	}
	account := field.At("serviceAccountName")
	out.Workload = g.decryptionAccount(account, orElse(account.Str(), settings.DefaultDecryptionServiceAccount))
	out.Digest = decryptionDigest(out)
	return out
}

const aboutDecryption = "sops decryption: "

// decryptionKeys are the entries of a Secret that are keys, in the order of
// their names. Of the installation's own Secret only age keys count: with the
// credentials of a cloud nobody would come to use an identity of their own.
func decryptionKeys(secret secretReader, ageOnly bool) []model.DecryptionKey {
	var keys []model.DecryptionKey
	for _, name := range reader.SortedKeys(secret.data) {
		suffix := path.Ext(name)
		isKey := slices.Contains(keySuffixes, suffix) || slices.Contains(keyNames, name)
		if isKey && (!ageOnly || suffix == ageKeySuffix) {
			keys = append(keys, model.DecryptionKey{Name: name, Value: model.NewSecret(secret.data[name])})
		}
	}
	return keys
}

// decryptionAccount is the service account that clouds are asked as. One that
// does not exist is told when a cloud is asked: age and PGP need none.
func (g *gathering) decryptionAccount(field node, name string) *model.WorkloadIdentity {
	need := model.Need{Version: "v1", Kind: "ServiceAccount", Namespace: g.r.ID.Namespace, Name: name}
	if name == "" || !g.known(need) {
		return nil
	}
	if g.facts[need].State == model.Absent {
		return g.workload("", name, nil)
	}
	return g.workload("", name, g.object(need, field.Path, reasonBuildFailed, aboutDecryption))
}

// decryptionDigest is of keys and identity, each with its length, so that no two
// are spelled alike.
func decryptionDigest(d *model.Decryption) string {
	h := sha256.New()
	write := func(parts ...string) {
		for _, part := range parts {
			_, _ = fmt.Fprintf(h, "%d:", len(part)) // a hash takes everything
			_, _ = io.WriteString(h, part)
		}
	}
	for _, key := range d.Keys {
		write("key", key.Name, string(key.Value.Reveal()))
	}
	if w := d.Workload; w != nil {
		write("workload", w.Provider, w.Namespace, w.Account)
		for _, name := range reader.SortedKeys(w.Annotations) {
			write(name, w.Annotations[name])
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
