package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"

	"plumb.dev/plumb/internal/model"
)

const (
	sshKeySuffix = ".sshpub" // of a Secret's entry that holds SSH keys; all others are OpenPGP
	pgpSignature = "-----BEGIN PGP SIGNATURE-----"
	sshSignature = "-----BEGIN SSH SIGNATURE-----"
	x509Message  = "-----BEGIN SIGNED MESSAGE-----"
)

// verified is the outcome of a verification: the message of the condition, and
// who signed.
type verified struct {
	message string
	signer  string
}

// checkSignatures verifies what a source asks for.
func (r *run) checkSignatures(ctx context.Context, m *mirror, seen *advert, t target, p peeled) (verified, error) {
	asked := r.spec.Git.Verify
	if asked != nil && (asked.Mode == model.VerifyRevision || asked.Mode == model.VerifyHistory) {
		return r.verifyIntegrity(ctx, m, seen, t, p)
	}
	out, fault := verify(asked, t, p)
	if fault != nil {
		return out, fault
	}
	return out, nil
}

// verify checks what a GitRepository asks for
// (gitrepository_controller.go verifySignature).
func verify(asked *model.GitVerify, t target, p peeled) (verified, *model.Fault) {
	var out verified
	if asked == nil || asked.Mode == "" {
		return out, nil
	}
	lines := []string{}
	if asked.Mode == model.VerifyTag || asked.Mode == model.VerifyTagAndHead {
		signer, fault := verifyTag(asked, t, p)
		if fault != nil {
			return out, fault
		}
		lines = append(lines, fmt.Sprintf("tag '%s' with key '%s'", tagName(t, p), signer))
		out.signer = signer
	}
	if asked.Mode == model.VerifyHead || asked.Mode == model.VerifyTagAndHead {
		payload, signature, err := splitCommit(p.commitContent)
		if err == nil {
			out.signer, err = verifySignature(asked.Keys, payload, signature)
		}
		if err != nil {
			return out, &model.Fault{
				Reason:  reasonCommitSignatureInvalid,
				Message: fmt.Sprintf("signature verification of commit '%s' failed: %s", p.commit, err),
				Advice:  trustAdvice(asked),
				Err:     err,
			}
		}
		lines = append(lines, fmt.Sprintf("commit '%s' with key '%s'", p.commit, out.signer))
	}
	if len(lines) == 0 {
		return out, &model.Fault{
			Reason:  reasonVerificationModeInvalid,
			Message: fmt.Sprintf("signatures cannot be verified in mode %q", asked.Mode),
			Advice:  "use HEAD, Tag or TagAndHEAD",
		}
	}
	out.message = "verified signature of\n\t- " + strings.Join(lines, "\n\t- ")
	return out, nil
}

func trustAdvice(asked *model.GitVerify) string {
	if asked.SecretID == "" {
		return "sign with a trusted key, or add the signer's public key to the Secret of trusted keys"
	}
	return "sign with a trusted key, or add the signer's public key to the Secret " + asked.SecretID
}

func verifyTag(asked *model.GitVerify, t target, p peeled) (string, *model.Fault) {
	if t.tag == "" {
		return "", &model.Fault{
			Reason:  reasonVerificationModeInvalid,
			Message: "cannot verify tag object's signature if a tag reference is not specified",
			Advice:  "set spec.ref.tag or spec.ref.semver, or verify in mode HEAD",
		}
	}
	payload, signature := splitTag(p.tagContent)
	if signature == "" {
		return "", &model.Fault{
			Reason:  reasonGitObjectInvalid,
			Message: fmt.Sprintf("cannot verify signature of tag '%s' since it is not signed", tagName(t, p)),
			Advice:  "sign the tag with git tag --sign",
			Retry:   true,
		}
	}
	signer, err := verifySignature(asked.Keys, payload, signature)
	if err == nil && headerValue(p.tagContent, "tag") != t.tag {
		// The signature stands for the name that the tagger wrote.
		err = fmt.Errorf("the signed tag is named '%s'", headerValue(p.tagContent, "tag"))
	}
	if err != nil {
		return "", &model.Fault{
			Reason:  reasonTagSignatureInvalid,
			Message: fmt.Sprintf("signature verification of tag '%s' failed: %s", tagName(t, p), err),
			Advice:  trustAdvice(asked),
			Err:     err,
		}
	}
	return signer, nil
}

func tagName(t target, p peeled) string {
	if p.tag.IsZero() {
		return t.tag
	}
	return t.tag + "@" + p.tag.String()
}

// headerValue finds a header line of a commit or tag.
func headerValue(content []byte, name string) string {
	head, _, _ := bytes.Cut(content, []byte("\n\n"))
	for line := range strings.Lines(string(head)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

// splitCommit separates a commit from its signature, byte for byte: Git signs
// the object without the gpgsig header.
func splitCommit(content []byte) (payload []byte, signature string, err error) {
	var signed strings.Builder
	inHeaders, inSignature, signatures := true, false, 0
	for line := range bytes.Lines(content) {
		switch {
		case inHeaders && inSignature && bytes.HasPrefix(line, []byte(" ")):
			_, _ = signed.Write(line[1:])
			continue
		case inHeaders && bytes.HasPrefix(line, []byte("gpgsig ")):
			inSignature = true
			signatures++
			_, _ = signed.Write(line[len("gpgsig "):])
			continue
		}
		inSignature = false
		if bytes.Equal(line, []byte("\n")) {
			inHeaders = false
		}
		payload = append(payload, line...)
	}
	if signatures > 1 {
		return nil, "", errors.New("the commit carries more than one signature")
	}
	return payload, signed.String(), nil
}

// splitTag separates a tag from the signature at its end.
func splitTag(content []byte) (payload []byte, signature string) {
	cut := -1
	for _, mark := range []string{pgpSignature, sshSignature, x509Message} {
		if at := bytes.LastIndex(content, []byte("\n"+mark)); at > cut {
			cut = at
		}
	}
	if cut < 0 {
		return content, ""
	}
	return content[:cut+1], string(content[cut+1:])
}

// verifySignature returns the key that a payload was signed with.
func verifySignature(keys []model.VerifyKey, payload []byte, signature string) (string, error) {
	signature = strings.TrimSpace(signature)
	var rings, sshKeys [][]byte
	for _, k := range keys {
		if strings.HasSuffix(k.Name, sshKeySuffix) {
			sshKeys = append(sshKeys, k.PEM)
		} else {
			rings = append(rings, k.PEM)
		}
	}
	switch {
	case strings.HasPrefix(signature, pgpSignature):
		if len(rings) == 0 {
			return "", errors.New("PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)")
		}
		return verifyPGP(rings, payload, signature)
	case strings.HasPrefix(signature, sshSignature):
		if len(sshKeys) == 0 {
			return "", errors.New("SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)")
		}
		return verifySSH(sshKeys, payload, signature)
	case signature == "":
		return "", errors.New("unsupported signature type: empty")
	case strings.HasPrefix(signature, x509Message):
		return "", errors.New("unsupported signature type: x509")
	}
	return "", errors.New("unsupported signature type: unknown")
}

// verifyPGP returns the id of the primary key.
func verifyPGP(rings [][]byte, payload []byte, signature string) (string, error) {
	readable := false
	for _, armored := range rings {
		ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
		if err != nil {
			continue
		}
		readable = true
		signer, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(payload), strings.NewReader(signature), nil)
		if err == nil {
			return signer.PrimaryKey.KeyIdString(), nil
		}
	}
	if !readable {
		return "", errors.New("unable to read armored key ring")
	}
	return "", errors.New("unable to verify payload with any of the given key rings")
}

// verifySSH returns the fingerprint of the key.
func verifySSH(keys [][]byte, payload []byte, signature string) (string, error) {
	parsed, err := parseSSHSignature([]byte(signature))
	if err != nil {
		return "", err
	}
	readable := false
	for _, lines := range keys {
		trusted, err := parseAuthorizedKeys(lines)
		if err != nil {
			continue
		}
		readable = true
		for _, key := range trusted {
			if bytes.Equal(key.Marshal(), parsed.key.Marshal()) && parsed.verify(payload) == nil {
				return ssh.FingerprintSHA256(key), nil
			}
		}
	}
	if !readable {
		return "", errors.New("unable to parse authorized keys")
	}
	return "", errors.New("unable to verify payload with any of the given authorized keys")
}

// parseAuthorizedKeys reads one key per line. A line of an allowed_signers file
// starts with the principals, which are not looked at.
func parseAuthorizedKeys(text []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			_, rest, _ := strings.Cut(line, " ")
			if key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest))); err != nil {
				return nil, errors.New("unable to parse authorized key")
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// The SSH signature format is described in OpenSSH's PROTOCOL.sshsig.
const (
	sshsigMagic     = "SSHSIG"
	sshsigNamespace = "git"
)

type sshSig struct {
	key       ssh.PublicKey
	hash      string
	signature *ssh.Signature
}

func parseSSHSignature(armored []byte) (*sshSig, error) {
	bad := errors.New("the SSH signature is malformed")
	block, _ := pem.Decode(armored)
	if block == nil || block.Type != "SSH SIGNATURE" {
		return nil, bad
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte(sshsigMagic))
	if !ok {
		return nil, bad
	}
	var body struct {
		Version   uint32
		PublicKey string
		Namespace string
		Reserved  string
		Hash      string
		Signature string
	}
	if err := ssh.Unmarshal(rest, &body); err != nil || body.Version != 1 {
		return nil, bad
	}
	if body.Namespace != sshsigNamespace {
		return nil, errors.New("the SSH signature was not made for Git")
	}
	key, err := ssh.ParsePublicKey([]byte(body.PublicKey))
	if err != nil {
		return nil, bad
	}
	s := &sshSig{key: key, hash: body.Hash, signature: &ssh.Signature{}}
	if err := ssh.Unmarshal([]byte(body.Signature), s.signature); err != nil {
		return nil, bad
	}
	if s.signature.Format == ssh.KeyAlgoRSA {
		return nil, errors.New("SSH signatures by RSA with SHA-1 are not accepted")
	}
	return s, nil
}

func (s *sshSig) verify(payload []byte) error {
	var digest []byte
	switch s.hash {
	case "sha256":
		sum := sha256.Sum256(payload)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(payload)
		digest = sum[:]
	default:
		return fmt.Errorf("SSH signatures over %q are not accepted", s.hash)
	}
	signed := append([]byte(sshsigMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{sshsigNamespace, "", s.hash, digest})...)
	return s.key.Verify(signed, s.signature)
}
