package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

// Seal encrypts a file in place, as "sops encrypt --age" does, for the key pair
// of an identity. The extension of the file says how it is read. Of Kubernetes
// objects only data and stringData are encrypted.
func Seal(file string, identity *age.X25519Identity) error {
	plain, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	store, rules := storeOf(filepath.Ext(file))
	tree := sops.Tree{FilePath: file, Metadata: rules}
	if tree.Branches, err = store.LoadPlainFile(plain); err != nil {
		return fmt.Errorf("seal %s: %w", file, err)
	}
	tree.Metadata.KeyGroups = []sops.KeyGroup{{&sopsage.MasterKey{Recipient: identity.Recipient().String()}}}
	tree.Metadata.Version, tree.Metadata.LastModified = "3.13.3", time.Now().UTC().Truncate(time.Second)
	key, errs := tree.GenerateDataKey()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		return err
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		return err
	}
	sealed, err := store.EmitEncryptedFile(tree)
	if err != nil {
		return err
	}
	return os.WriteFile(file, sealed, 0o600)
}

// storeOf is what sops reads and writes files of an extension with, and what of
// them it encrypts.
func storeOf(extension string) (sops.Store, sops.Metadata) {
	formats, all := config.NewStoresConfig(), sops.Metadata{UnencryptedSuffix: sops.DefaultUnencryptedSuffix}
	switch extension {
	case ".yaml", ".yml":
		return yaml.NewStore(&formats.YAML), sops.Metadata{EncryptedRegex: "^(data|stringData)$"}
	case ".json":
		return json.NewStore(&formats.JSON), all
	case ".env":
		return dotenv.NewStore(&formats.Dotenv), all
	case ".ini":
		return ini.NewStore(&formats.INI), all
	}
	return json.NewBinaryStore(&formats.JSONBinary), all
}
