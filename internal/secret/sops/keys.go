package sops

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"

	"plumb.dev/plumb/internal/model"
)

// The names of entries that hold keys (kustomize-controller,
// internal/decryptor); other entries are left out.
const (
	ageExtension  = ".agekey"
	pgpExtension  = ".asc"
	vaultTokenKey = "sops.vault-token"
	awsKey        = "sops.aws-kms"
	azureKey      = "sops.azure-kv"
	gcpKey        = "sops.gcp-kms"
)

// keys are what files can be opened with.
type keys struct {
	secretID string
	client   *http.Client
	workload Workload

	age        []age.Identity
	pgp        openpgp.EntityList
	vaultToken string
	aws        *awsCredentials
	azure      azureCredential
	gcp        *gcpCredentials
}

// readKeys reads the entries of the Secret, or the default identities where
// none is named.
func readKeys(d model.Decryption, o Options) (keys, error) {
	k := keys{secretID: d.SecretID, client: clientOf(o.Client), workload: o.Workload}
	if d.SecretID == "" && len(d.Keys) == 0 {
		for _, entry := range o.Default {
			if path.Ext(entry.Name) != ageExtension {
				continue
			}
			if err := k.read(entry); err != nil {
				return keys{}, err
			}
		}
		return k, nil
	}
	for _, entry := range d.Keys {
		if err := k.read(entry); err != nil {
			return keys{}, err
		}
	}
	return k, nil
}

// read takes one entry.
func (k *keys) read(entry model.DecryptionKey) error {
	value := entry.Value.Reveal()
	var what string
	switch {
	case path.Ext(entry.Name) == ageExtension:
		what = k.readAge(value)
	case path.Ext(entry.Name) == pgpExtension:
		what = k.readPGP(value)
	case entry.Name == vaultTokenKey:
		k.vaultToken = strings.TrimSpace(string(value))
	case entry.Name == awsKey:
		k.aws, what = readAWS(value)
	case entry.Name == azureKey:
		k.azure, what = k.readAzure(value)
	case entry.Name == gcpKey:
		k.gcp, what = readGCP(value)
	}
	if what == "" {
		return nil
	}
	return &model.Fault{Reason: BuildFailed, Message: fmt.Sprintf("the entry %q of %s cannot be used: %s", printable(entry.Name), k.place(), what), Advice: "correct the entry, or remove it"}
}

// place is where the keys come from.
func (k *keys) place() string {
	if k.secretID == "" {
		return "the default decryption Secret"
	}
	return "Secret '" + k.secretID + "'"
}

// kinds says which keys there are, without any of them.
func (k *keys) kinds() string {
	var all []string
	add := func(there bool, what string) {
		if there {
			all = append(all, what)
		}
	}
	add(len(k.age) > 0, fmt.Sprintf("age (%d)", len(k.age)))
	add(len(k.pgp) > 0, fmt.Sprintf("PGP (%d)", len(k.pgp)))
	add(k.vaultToken != "", "a Vault token")
	add(k.aws != nil, "AWS credentials")
	add(k.azure != nil, "an Azure credential")
	add(k.gcp != nil, "a Google credential")
	add(k.workload != nil, "the workload identity")
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// advice is the next step when nothing opens a file.
func (k *keys) advice(retry bool) string {
	switch {
	case retry:
		return "see whether the key service can be reached; it is tried again"
	case k.secretID == "" && k.kinds() == "none":
		return "name a Secret that holds one of its keys, as an entry such as identity.agekey or sops.asc"
	}
	return fmt.Sprintf("put the private key of one of its recipients into %s, or encrypt the file for a key that is there (“sops updatekeys”)", k.place())
}
