// Package decryption reads the Secrets that hold the keys of SOPS.
package decryption

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const ageKeySuffix = ".agekey"

// keySuffixes and keyNames say which entries of the Secret are keys; the others
// are not looked at (kustomize-controller internal/decryptor, ImportKeys).
var (
	keySuffixes = []string{ageKeySuffix, ".asc"}
	keyNames    = []string{"sops.vault-token", "sops.aws-kms", "sops.azure-kv", "sops.gcp-kms"}
)

// Keys are the entries of a Secret's data that are keys, in the order of their
// names; with ageOnly those of age.
func Keys(data map[string][]byte, ageOnly bool) []model.DecryptionKey {
	var keys []model.DecryptionKey
	for _, name := range reader.SortedKeys(data) {
		suffix := path.Ext(name)
		isKey := slices.Contains(keySuffixes, suffix) || slices.Contains(keyNames, name)
		if isKey && (!ageOnly || suffix == ageKeySuffix) {
			keys = append(keys, model.DecryptionKey{Name: name, Value: model.NewSecret(data[name])})
		}
	}
	return keys
}

// Digest is of keys and identity, each with its length, so that no two are
// spelled alike.
func Digest(d *model.Decryption) string {
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
