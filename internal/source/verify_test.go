package source

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/crypto/ssh"

	"plumb.dev/plumb/internal/model"
)

// put writes a Git object as it stands.
func (r *repository) put(typ string, content []byte) string {
	r.t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", typ, "-w", "--stdin")
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) cat(typ, name string) []byte {
	r.t.Helper()
	cmd := exec.Command("git", "cat-file", typ, name)
	cmd.Dir = r.dir
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// signCommit replaces the head of main by a signed copy.
func (r *repository) signCommit(sign func([]byte) string) string {
	content := r.cat("commit", "HEAD")
	head, message, _ := bytes.Cut(content, []byte("\n\n"))
	signature := strings.ReplaceAll(strings.TrimSpace(sign(content)), "\n", "\n ")
	signed := string(head) + "\ngpgsig " + signature + "\n\n" + string(message)
	h := r.put("commit", []byte(signed))
	r.git("update-ref", "refs/heads/main", h)
	return h
}

// signTag makes a signed annotated tag.
func (r *repository) signTag(ref, name, commit string, sign func([]byte) string) string {
	content := "object " + commit + "\ntype commit\ntag " + name + "\ntagger A <a@b> 1 +0000\n\nrelease\n"
	h := r.put("tag", []byte(content+sign([]byte(content))))
	r.git("update-ref", "refs/tags/"+ref, h)
	return h
}

func pgpKey(t *testing.T) (model.VerifyKey, string, func([]byte) string) {
	t.Helper()
	entity, err := openpgp.NewEntity("Ada", "", "ada@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var public bytes.Buffer
	w, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sign := func(payload []byte) string {
		var out bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&out, entity, bytes.NewReader(payload), nil); err != nil {
			t.Fatal(err)
		}
		return out.String() + "\n"
	}
	return model.VerifyKey{Name: "ada.asc", PEM: public.Bytes()}, entity.PrimaryKey.KeyIdString(), sign
}

func sshSigner(t *testing.T, namespace string) (model.VerifyKey, string, func([]byte) string) {
	t.Helper()
	public, private := sshKey(t)
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(payload []byte) string {
		digest := sha512.Sum512(payload)
		signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
			Namespace, Reserved, Hash string
			Digest                    []byte
		}{namespace, "", "sha512", digest[:]})...)
		s, err := signer.Sign(nil, signed)
		if err != nil {
			t.Fatal(err)
		}
		blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
			Version                        uint32
			Key                            []byte
			Namespace, Reserved, Hash, Sig string
		}{1, public.Marshal(), namespace, "", "sha512", string(ssh.Marshal(s))})...)
		return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob}))
	}
	return model.VerifyKey{Name: "ada.sshpub", PEM: ssh.MarshalAuthorizedKey(public)}, ssh.FingerprintSHA256(public), sign
}

func TestSignatures(t *testing.T) {
	pgp, pgpID, signPGP := pgpKey(t)
	stranger, _, _ := pgpKey(t)
	sshPub, fingerprint, signSSH := sshSigner(t, "git")
	strangerSSH, _, _ := sshSigner(t, "git")
	filePub, _, signFile := sshSigner(t, "file")
	for name, kind := range map[string]struct {
		key, stranger model.VerifyKey
		id            string
		sign          func([]byte) string
	}{"pgp": {pgp, stranger, pgpID, signPGP}, "ssh": {sshPub, strangerSSH, fingerprint, signSSH}} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.commit("a.yaml", "1")
			commit := r.signCommit(kind.sign)
			tag := r.signTag("v1.0.0", "v1.0.0", commit, kind.sign)
			r.signTag("v1.1.0", "v1.0.0", commit, kind.sign) // a good signature under another name
			r.git("tag", "v2.0.0", commit)
			r.signTag("v3.0.0", "v3.0.0", commit, func(p []byte) string { return kind.sign(append(p, 'x')) })
			srv := serve(t, r.dir)
			store := openStore(t, t.TempDir(), Limits{})
			fetch := func(mode model.VerifyMode, ref model.GitRef, keys ...model.VerifyKey) (*Tree, error) {
				return store.Fetch(context.Background(), gitSource(srv.url, func(s *model.Source) {
					s.Git.Ref = ref
					s.Git.Verify = &model.GitVerify{Mode: mode, Keys: keys, SecretID: "apps/keys"}
				}), nil, nil)
			}
			main, v1 := model.GitRef{Branch: "main"}, model.GitRef{Tag: "v1.0.0"}
			commitLine := "commit '" + commit + "' with key '" + kind.id + "'"
			tagLine := "tag 'v1.0.0@" + tag + "' with key '" + kind.id + "'"
			for _, c := range []struct {
				mode model.VerifyMode
				ref  model.GitRef
				want string
			}{
				{model.VerifyHead, main, "verified signature of\n\t- " + commitLine},
				{model.VerifyTag, v1, "verified signature of\n\t- " + tagLine},
				{model.VerifyTag, model.GitRef{SemVer: "<1.1"}, "verified signature of\n\t- " + tagLine},
				{model.VerifyTag, model.GitRef{Name: "refs/tags/v1.0.0"}, "verified signature of\n\t- " + tagLine},
				{model.VerifyTagAndHead, v1, "verified signature of\n\t- " + tagLine + "\n\t- " + commitLine},
			} {
				tree, err := fetch(c.mode, c.ref, kind.stranger, kind.key)
				if err != nil {
					t.Errorf("%s: %v", c.mode, err)
				} else if tree.Verified() != c.want || tree.Commit().Signature != kind.id {
					t.Errorf("%s: %q", c.mode, tree.Verified())
				}
			}
			_, err := fetch(model.VerifyHead, main, kind.stranger)
			mustFail(t, err, "InvalidCommitSignature", "signature verification of commit '"+commit+"' failed", "apps/keys")
			_, err = fetch(model.VerifyHead, main)
			mustFail(t, err, "InvalidCommitSignature", "no "+strings.ToUpper(name)+" public keys found")
			_, err = fetch(model.VerifyTag, main, kind.key)
			mustFail(t, err, "InvalidVerificationMode", "tag reference is not specified")
			_, err = fetch(model.VerifyTag, model.GitRef{Tag: "v2.0.0"}, kind.key)
			mustFail(t, err, "InvalidGitObject", "since it is not signed")
			_, err = fetch(model.VerifyTag, model.GitRef{Tag: "v1.1.0"}, kind.key)
			mustFail(t, err, "InvalidTagSignature", "the signed tag is named 'v1.0.0'")
			_, err = fetch(model.VerifyTag, model.GitRef{Tag: "v3.0.0"}, kind.key)
			mustFail(t, err, "InvalidTagSignature")

			r.git("reset", "--quiet", "--hard", "main")
			r.commit("a.yaml", "unsigned")
			_, err = fetch(model.VerifyHead, main, kind.key)
			mustFail(t, err, "InvalidCommitSignature", "unsupported signature type: empty")
			r.signCommit(func(p []byte) string { return kind.sign(append(p, ' ')) })
			_, err = fetch(model.VerifyHead, main, kind.key)
			mustFail(t, err, "InvalidCommitSignature")
		})
	}
	r := newRepository(t)
	r.commit("a.yaml", "1")
	r.signCommit(signFile)
	srv := serve(t, r.dir)
	_, err := openStore(t, t.TempDir(), Limits{}).Fetch(context.Background(), gitSource(srv.url, func(s *model.Source) {
		s.Git.Verify = &model.GitVerify{Mode: model.VerifyHead, Keys: []model.VerifyKey{filePub}}
	}), nil, nil)
	mustFail(t, err, "InvalidCommitSignature", "not made for Git")
}

func TestTwoSignaturesAreOneTooMany(t *testing.T) {
	if _, _, err := splitCommit([]byte("tree x\ngpgsig a\n b\ngpgsig c\n\nm")); err == nil {
		t.Error("accepted")
	}
	payload, signature, err := splitCommit([]byte("tree x\ngpgsig a\n b\nencoding y\n\nm\ngpgsig no\n more"))
	if err != nil || string(payload) != "tree x\nencoding y\n\nm\ngpgsig no\n more" || signature != "a\nb\n" {
		t.Errorf("%q %q %v", payload, signature, err)
	}
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "signed", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Objects that the git command signed, with ssh-keygen and with GnuPG.
func TestSignaturesByGit(t *testing.T) {
	for _, c := range []struct{ kind, key, tag string }{{"ssh", "k.sshpub", "v1.0.0"}, {"pgp", "k.asc", "v2.0.0"}} {
		t.Run(c.kind, func(t *testing.T) {
			keys := []model.VerifyKey{{Name: c.key, PEM: fixture(t, c.kind+".pub")}}
			if c.kind == "ssh" {
				keys[0].PEM = append([]byte("ada@example.com "), keys[0].PEM...) // a line of an allowed_signers file
			}
			p := peeled{commitContent: fixture(t, c.kind+".commit"), tagContent: fixture(t, c.kind+".tag"), tag: plumbing.NewHash(strings.Repeat("1", 40))}
			asked := &model.GitVerify{Mode: model.VerifyTagAndHead, Keys: keys}
			out, fault := verify(asked, target{tag: c.tag}, p)
			if fault != nil || out.signer == "" {
				t.Errorf("%v %v", out, fault)
			}
			p.commitContent = bytes.Replace(p.commitContent, []byte("signed by"), []byte("forged by"), 1)
			if _, fault := verify(asked, target{tag: c.tag}, p); fault == nil || fault.Reason != "InvalidCommitSignature" {
				t.Errorf("a forged commit passes: %v", fault)
			}
			p.tagContent = bytes.Replace(p.tagContent, []byte("release"), []byte("forgery"), 1)
			if _, fault := verify(asked, target{tag: c.tag}, p); fault == nil || fault.Reason != "InvalidTagSignature" {
				t.Errorf("a forged tag passes: %v", fault)
			}
		})
	}
}
