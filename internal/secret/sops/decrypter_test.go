package sops

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3"
	masters "github.com/getsops/sops/v3/keys"

	"plumb.dev/plumb/internal/model"
)

const secretYAML = `apiVersion: v1
kind: Secret
metadata:
  # of the shop
  name: database
  namespace: apps
stringData:
  # never in the clear
  password: canary-4f1c9b
  port: "5432"
  yes: "on"
`

var plainFiles = map[format]string{
	formatYAML:   secretYAML + "---\n" + strings.Replace(secretYAML, "database", "queue", 1),
	formatJSON:   `{"password": "canary-4f1c9b", "port": 5432, "ratio": 1.5, "on": true, "none": null, "list": [1, "two"]}`,
	formatDotenv: "# of the shop\nPASSWORD=canary-4f1c9b\nPORT=5432\n",
	formatINI:    "[database]\npassword = canary-4f1c9b\nport = 5432\n",
	formatBinary: "\x00\x01 canary-4f1c9b \xff",
}

// What comes out is what the library itself writes of what went in.
func TestFormats(t *testing.T) {
	s := newSealer()
	ageTo, ageEntry := ageKey(t)
	pgpTo, pgpEntry := s.pgpKey(t, &packet.Config{RSABits: 2048, Algorithm: packet.PubKeyAlgoRSA})
	curveTo, curveEntry := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519})
	for _, k := range []struct {
		name  string
		to    masters.MasterKey
		entry model.DecryptionKey
	}{{"age", ageTo, ageEntry}, {"PGP RSA", pgpTo, pgpEntry}, {"PGP 25519", curveTo, curveEntry}} {
		d := opener(t, Options{}, k.entry)
		for f, plain := range plainFiles {
			sealed := s.seal(t, f, plain, sops.Metadata{}, k.to)
			if bytes.Contains(sealed, []byte(canary)) {
				t.Fatalf("%s is not encrypted: %s", f, sealed)
			}
			got, err := d.DecryptFile(context.Background(), "file", sealed, string(f), string(f))
			if err != nil {
				t.Errorf("%s, %s: %v", k.name, f, err)
				continue
			}
			branches, err := f.store().LoadPlainFile([]byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			want, err := f.store().EmitPlainFile(branches)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: got\n%s\nwant\n%s%v", k.name, f, got, want, err)
			}
		}
	}
}

func TestRules(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	d := opener(t, Options{}, own)
	for name, m := range map[string]sops.Metadata{
		"encrypted_regex":           {EncryptedRegex: "^(data|stringData)$"},
		"unencrypted_regex":         {UnencryptedRegex: "^(apiVersion|kind|metadata)$"},
		"encrypted_suffix":          {EncryptedSuffix: "word"},
		"unencrypted_suffix":        {UnencryptedSuffix: "_plain"},
		"encrypted_comment_regex":   {EncryptedCommentRegex: "never"},
		"unencrypted_comment_regex": {UnencryptedCommentRegex: "shop"},
		"mac_only_encrypted":        {EncryptedRegex: "^stringData$", MACOnlyEncrypted: true},
	} {
		sealed := s.seal(t, formatYAML, secretYAML, m, to)
		got, err := d.DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
		if err != nil || !bytes.Contains(got, []byte(canary)) || bytes.Contains(got, []byte("ENC[")) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestGroups(t *testing.T) {
	s := newSealer()
	a, aEntry := ageKey(t)
	b, bEntry := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	c, cEntry := ageKey(t)
	sealed := s.seal(t, formatJSON, plainFiles[formatJSON], sops.Metadata{KeyGroups: []sops.KeyGroup{{a}, {b}, {c}}, ShamirThreshold: 2})
	for name, given := range map[string][]model.DecryptionKey{"two": {aEntry, bEntry}, "others": {bEntry, cEntry}, "all": {aEntry, bEntry, cEntry}} {
		got, err := opener(t, Options{}, given...).DecryptFile(context.Background(), "a.json", sealed, "json", "json")
		if err != nil || !bytes.Contains(got, []byte(canary)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := opener(t, Options{}, cEntry).DecryptFile(context.Background(), "a.json", sealed, "json", "json")
	refused(t, err, nil, "2 of its 3 groups")
}

func TestBinaryFallsBack(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	got, err := opener(t, Options{}, own).DecryptFile(context.Background(), "x", s.seal(t, formatYAML, "password: canary-4f1c9b\n", sops.Metadata{}, to), "yaml", "binary")
	if err != nil || string(got) != "password: canary-4f1c9b\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTampering(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	sealed := string(s.seal(t, formatYAML, secretYAML, sops.Metadata{EncryptedRegex: "^stringData$"}, to))
	other := string(s.seal(t, formatYAML, secretYAML, sops.Metadata{EncryptedRegex: "^stringData$"}, to))
	macIn := func(text string) string {
		_, after, _ := strings.Cut(text, "mac: ")
		mac, _, _ := strings.Cut(after, "\n")
		return mac
	}
	enc := strings.Index(sealed, "password: ENC[AES256_GCM,data:") + len("password: ENC[AES256_GCM,data:")
	flipped := []byte(sealed)
	flipped[enc] ^= 1
	for name, c := range map[string]struct{ text, want string }{
		"value that is not encrypted": {strings.Replace(sealed, "namespace: apps", "namespace: prod", 1), "MAC does not match"},
		"MAC of another file":         {strings.Replace(sealed, macIn(sealed), macIn(other), 1), "MAC does not match"},
		"MAC taken out":               {strings.Replace(sealed, macIn(sealed), `""`, 1), "MAC does not match"},
		"MAC that is none":            {strings.Replace(sealed, macIn(sealed), canary, 1), "MAC does not match"},
		"time":                        {strings.Replace(sealed, "2026-01-02", "2026-01-03", 1), "MAC does not match"},
		"value":                       {string(flipped), "not as it was encrypted"},
		"value in the clear":          {strings.Replace(sealed, "port: ENC[", "port: "+canary+"[", 1), "not as it was encrypted"},
		"key":                         {strings.Replace(sealed, "password: ENC", "pass: ENC", 1), "not as it was encrypted"},
		"version":                     {strings.Replace(sealed, "version: 3.13.3", "version: 4.0.0", 1), `version "4.0.0"`},
		"no version":                  {strings.Replace(sealed, "version: 3.13.3", "version: "+"next", 1), `version "next"`},
		"no recipients":               {strings.Replace(sealed, "age:", "aged:", 1), "sops block"},
		"no block":                    {secretYAML, "no sops block"},
		"block in the wrong place":    {"a: 1\n---\n" + sealed, "no sops block"},
		"aliases":                     {"x: &a b\ny: *a\n" + sealed, "aliases"},
		"broken":                      {sealed + "\t]", "not valid YAML"},
	} {
		if name != "no block" && c.text == sealed {
			t.Fatalf("%s changes nothing", name)
		}
		_, err := opener(t, Options{}, own).DecryptFile(context.Background(), "apps/secret.yaml", []byte(c.text), "yaml", "yaml")
		if err == nil {
			t.Errorf("%s is not seen", name)
			continue
		}
		if retry := refused(t, err, nil, "apps/secret.yaml", c.want); retry {
			t.Errorf("%s is tried again", name)
		}
	}
}

func TestWrongKeys(t *testing.T) {
	s := newSealer()
	ageTo, _ := ageKey(t)
	pgpTo, _ := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	_, otherAge := ageKey(t)
	_, otherPGP := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, ageTo, pgpTo)
	secrets := []string{string(otherAge.Value.Reveal()), string(otherPGP.Value.Reveal())}

	_, err := opener(t, Options{}, otherAge, otherPGP).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
	refused(t, err, secrets, "age "+ageTo.ToString(), "PGP "+pgpTo.ToString(), "age (1), PGP (1)", "Secret 'apps/sops'", "no age identity that is given is its")

	_, err = opener(t, Options{}, entry("notes.txt", canary)).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
	refused(t, err, secrets, "the keys given are none", "no age identity is given", "no PGP key is given")

	d, err := New(model.Decryption{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
	refused(t, err, secrets, "name a Secret")
}

func TestDefaultKeys(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	pgpTo, pgpOwn := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	options := Options{Default: []model.DecryptionKey{own, pgpOwn}}
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to)
	d, err := New(model.Decryption{}, options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml"); err != nil {
		t.Error(err)
	}
	_, err = d.DecryptFile(context.Background(), "a.yaml", s.seal(t, formatYAML, secretYAML, sops.Metadata{}, pgpTo), "yaml", "yaml")
	refused(t, err, nil, "no PGP key is given", "the default decryption Secret")

	_, other := ageKey(t)
	_, err = opener(t, options, other).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
	refused(t, err, nil, "Secret 'apps/sops'")
}

func TestEntriesThatCannotBeUsed(t *testing.T) {
	s := newSealer()
	public, _ := s.pgpKey(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	locked := s.pgp[public.ToString()]
	if err := locked.PrivateKey.Encrypt([]byte(canary)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value, want string }{
		{"a.agekey", "AGE-PLUGIN-YUBIKEY-1QQPQQQQ" + canary, "age plugin"},
		{"a.agekey", canary, "no age identity"},
		{"a.agekey", "", "no age identity"},
		{"a.agekey", "-----BEGIN AGE ENCRYPTED FILE-----\n" + canary, "passphrase"},
		{"a.agekey", "-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary, "SSH"},
		{"a.asc", canary, "no armored PGP key"},
		{"a.asc", armored(t, locked), "passphrase"},
		{"sops.aws-kms", "{{" + canary, "no YAML"},
		{"sops.aws-kms", "aws_access_key_id: " + canary, "lacks"},
		{"sops.azure-kv", "[" + canary, "no YAML"},
		{"sops.azure-kv", "tenantId: " + canary, "lacks"},
		{"sops.azure-kv", "clientId: " + canary, "managed identity"},
		{"sops.azure-kv", "{tenantId: a, clientId: b, clientSecret: " + canary + ", authorityHost: 'http://evil.example'}", "https"},
		{"sops.azure-kv", "{tenantId: a, clientId: b, clientCertificate: " + canary + "}", "clientCertificate"},
		{"sops.gcp-kms", canary, "no JSON"},
		{"sops.gcp-kms", `{"type": "external_account", "credential_source": {"file": "/etc/passwd"}}`, "type"},
		{"sops.gcp-kms", `{"type": "service_account", "private_key": "` + canary + `", "token_uri": "http://evil.example"}`, "https"},
	} {
		_, err := New(model.Decryption{Keys: []model.DecryptionKey{entry(c.name, c.value)}, SecretID: "apps/sops"}, Options{})
		refused(t, err, nil, c.name, "'apps/sops'", c.want)
	}
}

func TestSSHIdentity(t *testing.T) {
	s := newSealer()
	recipient, private := sshKey(t)
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, recipient)
	if _, err := opener(t, Options{}, private).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml"); err != nil {
		t.Error(err)
	}
}

// An object is opened from what a build made of its document.
func TestObjects(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	d := opener(t, Options{}, own)
	m := sops.Metadata{EncryptedRegex: "^stringData$"}
	one := s.seal(t, formatYAML, secretYAML, m, to)
	two := s.seal(t, formatYAML, strings.Replace(secretYAML, "database", "queue", 1), m, to)
	pair := s.seal(t, formatYAML, plainFiles[formatYAML], m, to)
	together := bytes.Join([][]byte{one, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: plain}\ndata: *m\n"), two}, []byte("---\n"))
	for name, c := range map[string]struct {
		file, from []byte
		at         int // document in from
	}{"alone": {one, one, 0}, "first of two": {pair, pair, 0}, "second of two": {pair, pair, 1}, "among others": {together, one, 0}, "last": {together, two, 0}} {
		built := asBuilt(t, c.from, c.at)
		got, err := d.DecryptObject(context.Background(), "a.yaml", c.file, "yaml", built)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range []string{canary, `"team"`, `"yes": "on"`} {
			if !bytes.Contains(got, []byte(want)) {
				t.Errorf("%s: %s is missing in %s", name, want, got)
			}
		}
		if bytes.Contains(got, []byte(`"sops"`)) {
			t.Errorf("%s: the block is still there", name)
		}
	}
	built := asBuilt(t, one, 0)
	_, err := d.DecryptObject(context.Background(), "a.yaml", bytes.Replace(one, []byte("namespace: apps"), []byte("namespace: prod"), 1), "yaml", built)
	refused(t, err, nil, "MAC does not match")
	_, err = d.DecryptObject(context.Background(), "a.yaml", two, "yaml", built)
	refused(t, err, nil, "does not hold the document")
	_, err = d.DecryptObject(context.Background(), "Secret/apps/database", nil, "yaml", built)
	refused(t, err, nil, "put together by a program")
	without := bytes.Replace(pair, []byte("queue"), []byte("other"), 1)
	_, err = d.DecryptObject(context.Background(), "a.yaml", without, "yaml", asBuilt(t, pair, 0))
	refused(t, err, nil, "MAC does not match")
}

func TestBounds(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	deep := strings.Repeat(`{"a":`, 200) + `"x"` + strings.Repeat("}", 200)
	many := make([]masters.MasterKey, 70)
	for i := range many {
		many[i] = to
	}
	for name, c := range map[string]struct {
		limits  Limits
		format  format
		content []byte
		want    string
	}{
		"bytes":      {Limits{Bytes: 100}, formatYAML, s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to), "more than the 100"},
		"deep JSON":  {Limits{}, formatJSON, []byte(deep), "nested deeper"},
		"very deep":  {Limits{}, formatBinary, bytes.Repeat([]byte("["), 4<<20), "nested deeper"},
		"deep YAML":  {Limits{}, formatYAML, []byte(deep), "nested deeper"},
		"values":     {Limits{Values: 5}, formatYAML, s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to), "more than 5 values"},
		"JSON":       {Limits{Values: 5}, formatJSON, s.seal(t, formatJSON, plainFiles[formatJSON], sops.Metadata{}, to), "more than 5 values"},
		"recipients": {Limits{}, formatYAML, s.seal(t, formatYAML, "a: b\n", sops.Metadata{}, many...), "70 recipients"},
		"dotenv":     {Limits{}, formatDotenv, []byte("sops_" + strings.Repeat("a__map_", 100) + "=x\n"), "nested deeper"},
		"expression": {Limits{}, formatYAML, bytes.Replace(s.seal(t, formatYAML, "a:"+strings.Repeat("\n- b", 2000)+"\n", sops.Metadata{EncryptedRegex: "^a$"}, to), []byte("^a$"), []byte(strings.Repeat("(a|b)?", 500)), 1), "regular expression"},
	} {
		_, err := opener(t, Options{Limits: c.limits}, own).DecryptFile(context.Background(), "f", c.content, string(c.format), string(c.format))
		if err == nil {
			t.Errorf("%s: no fault", name)
			continue
		}
		refused(t, err, nil, c.want)
	}
	_, err := opener(t, Options{}, own).DecryptFile(context.Background(), "f", nil, "toml", "yaml")
	refused(t, err, nil, `no format "toml"`)
	ended, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	_, err = opener(t, Options{}, own).DecryptFile(ended, "f", s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to), "yaml", "yaml")
	if !refused(t, err, nil, "took longer") {
		t.Error("what was late is not tried again")
	}
}

func TestDataKeysAreAskedOnceAndForgotten(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	d := opener(t, Options{}, own)
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to)
	for range 3 {
		if _, err := d.DecryptFile(context.Background(), "f", sealed, "yaml", "yaml"); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.dataKeys) != 1 {
		t.Fatalf("%d data keys", len(d.dataKeys))
	}
	var kept []byte
	for _, key := range d.dataKeys {
		kept = key
	}
	d.Close()
	if len(d.dataKeys) != 0 || !bytes.Equal(kept, make([]byte, len(kept))) {
		t.Error("a data key is still there")
	}
}
