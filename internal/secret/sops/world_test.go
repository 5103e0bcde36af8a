package sops

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	masters "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/pgp"
	"golang.org/x/crypto/ssh"

	"plumb.dev/plumb/internal/model"
)

// canary is in everything that is encrypted, and must be in no message.
const canary = "canary-4f1c9b"

// sealer encrypts as the command sops does. The keys of clouds only mark what
// they are given, so that a fake service can open it.
type sealer struct {
	pgp map[string]*openpgp.Entity // by fingerprint
}

const mark = "sealed:"

// lastModified is when everything was encrypted.
var lastModified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (s sealer) Encrypt(_ context.Context, request *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	marked := append([]byte(mark), request.Plaintext...)
	var sealed []byte
	switch k := request.Key.KeyType.(type) {
	case *keyservice.Key_AgeKey:
		key := sopsage.MasterKey{Recipient: k.AgeKey.Recipient}
		if err := key.Encrypt(request.Plaintext); err != nil {
			return nil, err
		}
		sealed = []byte(key.EncryptedKey)
	case *keyservice.Key_PgpKey:
		var err error
		if sealed, err = s.withPGP(k.PgpKey.Fingerprint, request.Plaintext); err != nil {
			return nil, err
		}
	case *keyservice.Key_VaultKey:
		sealed = []byte("vault:v1:" + base64.StdEncoding.EncodeToString(marked))
	case *keyservice.Key_AzureKeyvaultKey:
		sealed = []byte(base64.RawURLEncoding.EncodeToString(marked))
	default:
		sealed = []byte(base64.StdEncoding.EncodeToString(marked))
	}
	return &keyservice.EncryptResponse{Ciphertext: sealed}, nil
}

func (s sealer) Decrypt(context.Context, *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	return nil, errors.New("not asked")
}

func (s sealer) withPGP(fingerprint string, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	armored, err := armor.Encode(&out, "PGP MESSAGE", nil)
	if err != nil {
		return nil, err
	}
	to, err := openpgp.Encrypt(armored, []*openpgp.Entity{s.pgp[fingerprint]}, nil, &openpgp.FileHints{IsBinary: true}, nil)
	if err != nil {
		return nil, err
	}
	if _, err := to.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(to.Close(), armored.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// seal encrypts a file. Without groups in the metadata there is one, of keys.
func (s sealer) seal(t testing.TB, f format, plain string, m sops.Metadata, keys ...masters.MasterKey) []byte {
	t.Helper()
	branches, err := f.store().LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.KeyGroups) == 0 {
		m.KeyGroups = []sops.KeyGroup{keys}
	}
	if m.Version == "" {
		m.Version = "3.13.3"
	}
	if m.EncryptedRegex+m.UnencryptedRegex+m.EncryptedSuffix+m.UnencryptedSuffix+m.EncryptedCommentRegex+m.UnencryptedCommentRegex == "" {
		m.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	m.LastModified = lastModified
	tree := sops.Tree{Branches: branches, Metadata: m}
	key, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(s)})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, m.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	sealed, err := f.store().EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// ageKey makes an identity: the recipient in a file, and the entry of a Secret.
func ageKey(t testing.TB) (masters.MasterKey, model.DecryptionKey) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &sopsage.MasterKey{Recipient: identity.Recipient().String()}, entry("identity.agekey", "# created: today\n"+identity.String()+"\n")
}

// pgpKey makes a key pair: the recipient in a file, and the entry of a Secret.
func (s sealer) pgpKey(t testing.TB, config *packet.Config) (masters.MasterKey, model.DecryptionKey) {
	t.Helper()
	entity, err := openpgp.NewEntity("plumb test", "", "test@plumb.example", config)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := strings.ToUpper(hex.EncodeToString(entity.PrimaryKey.Fingerprint))
	s.pgp[fingerprint] = entity
	return &pgp.MasterKey{Fingerprint: fingerprint, CreationDate: lastModified}, entry("sops.asc", armored(t, entity))
}

func armored(t testing.TB, entity *openpgp.Entity) string {
	t.Helper()
	var out bytes.Buffer
	to, err := armor.Encode(&out, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(entity.SerializePrivateWithoutSigning(to, nil), to.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func newSealer() sealer { return sealer{pgp: map[string]*openpgp.Entity{}} }

func entry(name, value string) model.DecryptionKey {
	return model.DecryptionKey{Name: name, Value: model.NewSecret([]byte(value))}
}

func opener(t testing.TB, o Options, keys ...model.DecryptionKey) *Decrypter {
	t.Helper()
	d, err := New(model.Decryption{Keys: keys, SecretID: "apps/sops"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// refused checks a fault: what it says, and that it tells no secret. It reports
// whether a retry may help.
func refused(t testing.TB, err error, secrets []string, wants ...string) (retry bool) {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a fault", err)
	}
	if fault.Reason != BuildFailed {
		t.Errorf("reason %q", fault.Reason)
	}
	text := fault.Error() + fmt.Sprintf("%+v %v", fault, fault.Err)
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said in: %s", want, fault.Error())
		}
	}
	for _, secret := range append(secrets, canary, "AGE-SECRET-KEY-1", "PRIVATE KEY", base64.StdEncoding.EncodeToString([]byte(canary))) {
		if strings.Contains(text, secret) {
			t.Errorf("%q is told: %s", secret, text)
		}
	}
	return fault.Retry
}

// asBuilt is the JSON of a document with a label that a build added, and its
// keys in another order.
func asBuilt(t testing.TB, file []byte, document int) []byte {
	t.Helper()
	docs, err := nodes(file)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := docs[document].Decode(&fields); err != nil {
		t.Fatal(err)
	}
	metadata, _ := fields["metadata"].(map[string]any)
	metadata["labels"] = map[string]any{"team": "shop"}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sshKey makes an SSH key, as recipient and as entry of a Secret.
func sshKey(t testing.TB) (masters.MasterKey, model.DecryptionKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(recipient)))
	return &sopsage.MasterKey{Recipient: line}, entry("ssh.agekey", string(pem.EncodeToMemory(block)))
}
