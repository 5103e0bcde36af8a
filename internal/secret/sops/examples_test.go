package sops

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/getsops/sops/v3"
	sopsage "github.com/getsops/sops/v3/age"
	masters "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/pgp"

	"plumb.dev/plumb/internal/model"
)

var write = flag.Bool("write", false, "encrypt the examples in testdata anew")

// An example is a file in testdata, encrypted for the age and the PGP key
// there, each of which opens it; with alone, only the one of them that is
// named does.
type example struct {
	file   string
	format format
	plain  string
	rules  sops.Metadata
	alone  string
}

var onlyData = sops.Metadata{EncryptedRegex: "^(data|stringData)$"}

var examples = []example{
	{file: "secret.yaml", format: formatYAML, rules: onlyData, plain: `apiVersion: v1
kind: Secret
metadata:
    name: database-credentials
    namespace: apps
type: Opaque
stringData:
    # of the shop
    username: admin
    password: canary-4f1c9b
`},
	{file: "secret-age.yaml", format: formatYAML, rules: onlyData, alone: "age", plain: secretNamed("by-age")},
	{file: "secret-pgp.yaml", format: formatYAML, rules: onlyData, alone: "pgp", plain: secretNamed("by-pgp")},
	{file: "two.yaml", format: formatYAML, rules: onlyData, plain: secretNamed("first") + "---\n" + secretNamed("second")},
	{file: "values.yaml", format: formatYAML, rules: sops.Metadata{EncryptedRegex: "(?i)password"}, plain: "replicas: 2\nauth:\n    user: admin\n    adminPassword: canary-4f1c9b\n"},
	{file: "config.json", format: formatJSON, plain: "{\n\t\"password\": \"canary-4f1c9b\",\n\t\"port\": 5432,\n\t\"tls\": true\n}\n"},
	{file: "credentials.env", format: formatDotenv, plain: "USERNAME=admin\nPASSWORD=canary-4f1c9b\n"},
	{file: "database.ini", format: formatINI, plain: "[database]\nuser     = admin\npassword = canary-4f1c9b\n"},
	{file: "license", format: formatBinary, plain: "\x00\x01\x02 canary-4f1c9b \xfe\xff\n"},
}

func secretNamed(name string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n    name: " + name + "\n    namespace: apps\nstringData:\n    token: canary-4f1c9b\n"
}

func TestExamples(t *testing.T) {
	ageEntry, pgpEntry := testdata(t, "age.agekey"), testdata(t, "sops.asc")
	if *write {
		seal(t, ageEntry, pgpEntry)
	}
	for _, e := range examples {
		sealed, err := os.ReadFile(filepath.Join("testdata", e.file))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte(canary)) {
			t.Errorf("%s is not encrypted", e.file)
		}
		for kind, key := range map[string]model.DecryptionKey{"age": ageEntry, "pgp": pgpEntry} {
			got, err := opener(t, Options{}, key).DecryptFile(context.Background(), e.file, sealed, string(e.format), string(e.format))
			if e.alone != "" && e.alone != kind {
				refused(t, err, nil, e.file)
				continue
			}
			if err != nil || string(got) != e.plain {
				t.Errorf("%s by %s: got\n%q\nwant\n%q\n%v", e.file, kind, got, e.plain, err)
			}
		}
	}
}

func testdata(t testing.TB, name string) model.DecryptionKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return entry(name, string(text))
}

// seal encrypts the examples for the keys in testdata.
func seal(t *testing.T, ageEntry, pgpEntry model.DecryptionKey) {
	t.Helper()
	identities, err := age.ParseIdentities(bytes.NewReader(ageEntry.Value.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	identity, _ := identities[0].(*age.X25519Identity)
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(pgpEntry.Value.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	s := newSealer()
	fingerprint := strings.ToUpper(hex.EncodeToString(ring[0].PrimaryKey.Fingerprint))
	s.pgp[fingerprint] = ring[0]
	for _, e := range examples {
		var to []masters.MasterKey
		if e.alone != "pgp" {
			to = append(to, &sopsage.MasterKey{Recipient: identity.Recipient().String()})
		}
		if e.alone != "age" {
			to = append(to, &pgp.MasterKey{Fingerprint: fingerprint, CreationDate: lastModified})
		}
		if err := os.WriteFile(filepath.Join("testdata", e.file), s.seal(t, e.format, e.plain, e.rules, to...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is done to a file, what comes out is plaintext of it or a fault
// that tells nothing.
func FuzzDecrypt(f *testing.F) {
	own := testdata(f, "age.agekey")
	formats := []format{formatYAML, formatJSON, formatDotenv, formatINI, formatBinary}
	for _, e := range examples {
		sealed, err := os.ReadFile(filepath.Join("testdata", e.file))
		if err != nil {
			f.Fatal(err)
		}
		for i, in := range formats {
			if in == e.format {
				f.Add(sealed, byte(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, kind byte) {
		d := opener(t, Options{Client: noClient, Limits: Limits{Bytes: 64 << 10, Values: 1000}}, own)
		in := string(formats[int(kind)%len(formats)])
		if _, err := d.DecryptFile(context.Background(), "file", content, in, in); err != nil {
			refused(t, err, nil, "file")
		}
		if _, err := d.DecryptObject(context.Background(), "file", content, in, content); err != nil {
			refused(t, err, nil, "file")
		}
	})
}
