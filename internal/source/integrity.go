package source

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"

	"plumb.dev/plumb/internal/model"
)

// finding is what a signature turned out to be, in the words of argo-cd
// (util/git GPGVerificationResult, util/sourceintegrity gpgProblemMessage).
type finding string

const (
	goodSignature    finding = "signed"
	unsigned         finding = "unsigned"
	badSignature     finding = "bad signature"
	expiredSignature finding = "expired signature"
	expiredKey       finding = "signed with expired key"
	revokedKey       finding = "signed with revoked key"
	absentKey        finding = "signed with key not in keyring"
	unallowedKey     finding = "signed with unallowed key"
	unsupportedKind  finding = "signed in a way that is not supported"
)

const (
	maxSignature = 64 << 10 // bytes of one armored signature
	maxIdentity  = 100      // bytes of a name and address that a message repeats
	maxProblems  = 10       // that one fault names, as in argo-cd
)

// inspection is a judged signature.
type inspection struct {
	finding finding
	key     string    // ID of the key, or fingerprint of an SSH key; "" when unknown
	until   time.Time // when the signature expires; zero for never
}

// trust is the keys that may sign, read once.
type trust struct {
	digest string // stands for the keys
	ring   openpgp.EntityList
	// names are the key IDs by which a key was named. A primary key stands for
	// its subkeys, a subkey for itself; "" is any key of the entity.
	names map[*openpgp.Entity][]string
	ssh   [][]byte
	until time.Time // when the first of the keys expires; zero for never
	now   time.Time
}

// newTrust reads the keys. An entry that is named by a key ID trusts that key
// alone, whatever else it holds.
func newTrust(keys []model.VerifyKey, now time.Time) (*trust, error) {
	t := &trust{names: map[*openpgp.Entity][]string{}, now: now}
	sum := sha256.New()
	for _, key := range keys {
		_, _ = fmt.Fprintf(sum, "%q %q\x00", key.Name, key.PEM)
		if strings.HasSuffix(key.Name, sshKeySuffix) {
			t.ssh = append(t.ssh, key.PEM)
			continue
		}
		for _, entity := range readRing(key.PEM) {
			t.ring = append(t.ring, entity)
			t.names[entity] = append(t.names[entity], namedKey(key.Name))
			t.watch(entity)
		}
	}
	t.digest = hex.EncodeToString(sum.Sum(nil))
	if len(t.ring)+len(t.ssh) == 0 {
		return nil, errors.New("none of the trusted keys can be read")
	}
	return t, nil
}

// readRing reads every block of armored keys in a text, up to one that is
// damaged.
func readRing(text []byte) openpgp.EntityList {
	var all openpgp.EntityList
	in := bufio.NewReader(bytes.NewReader(text)) // shared by the blocks: Decode reads ahead
	for {
		block, err := armor.Decode(in)
		if err != nil {
			return all
		}
		if block.Type != openpgp.PublicKeyType {
			return all
		}
		entities, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return all
		}
		all = append(all, entities...)
		if _, err := io.Copy(io.Discard, block.Body); err != nil {
			return all
		}
	}
}

// namedKey is the key ID in the name of an entry, "" when that is no key ID or
// fingerprint.
func namedKey(name string) string {
	if _, err := hex.DecodeString(name); err != nil || len(name) != 16 && len(name) != 40 {
		return ""
	}
	return strings.ToUpper(name[len(name)-16:])
}

// watch notes when a key of an entity expires.
func (t *trust) watch(entity *openpgp.Entity) {
	if self, _ := entity.PrimarySelfSignature(); self != nil {
		t.expires(entity.PrimaryKey, self)
	}
	for _, subkey := range entity.Subkeys {
		if subkey.Sig != nil {
			t.expires(subkey.PublicKey, subkey.Sig)
		}
	}
}

func (t *trust) expires(key *packet.PublicKey, binding *packet.Signature) {
	if !key.KeyExpired(binding, t.now) {
		t.until = sooner(t.until, expiry(key.CreationTime, binding.KeyLifetimeSecs))
	}
	t.until = sooner(t.until, t.expiryOf(binding))
}

// expiryOf is when a signature that holds now expires.
func (t *trust) expiryOf(signature *packet.Signature) time.Time {
	if signature.SigExpired(t.now) {
		return time.Time{}
	}
	return expiry(signature.CreationTime, signature.SigLifetimeSecs)
}

func expiry(from time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return from.Add(time.Duration(*seconds) * time.Second)
}

// sooner is the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// inspect judges the signature of a payload.
func (t *trust) inspect(payload []byte, signature string) inspection {
	signature = strings.TrimSpace(signature)
	switch {
	case signature == "":
		return inspection{finding: unsigned}
	case len(signature) > maxSignature:
		return inspection{finding: badSignature}
	case strings.HasPrefix(signature, pgpSignature):
		return t.inspectPGP(payload, signature)
	case strings.HasPrefix(signature, sshSignature):
		return t.inspectSSH(payload, signature)
	}
	return inspection{finding: unsupportedKind}
}

func (t *trust) inspectPGP(payload []byte, signature string) inspection {
	body, packets, err := onlySignature(signature)
	if err != nil {
		return inspection{finding: badSignature}
	}
	found := inspection{finding: badSignature, key: fmt.Sprintf("%016X", *packets.IssuerKeyId)}
	_, signer, err := openpgp.VerifyDetachedSignature(t.ring, bytes.NewReader(payload), bytes.NewReader(body), &packet.Config{Time: func() time.Time { return t.now }})
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		found.finding = absentKey
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		found.finding = revokedKey
	case errors.Is(err, pgperrors.ErrKeyExpired):
		found.finding = expiredKey
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		found.finding = expiredSignature
	case err == nil && !t.allows(signer, found.key):
		found.finding = unallowedKey
	case err == nil:
		found.finding, found.until = goodSignature, t.expiryOf(packets)
	}
	return found
}

func (t *trust) allows(signer *openpgp.Entity, key string) bool {
	return slices.ContainsFunc(t.names[signer], func(name string) bool {
		return name == "" || name == key || name == signer.PrimaryKey.KeyIdString()
	})
}

// onlySignature reads an armored signature. Git takes one signature, so that
// nobody can be shown another one than was checked.
func onlySignature(armored string) ([]byte, *packet.Signature, error) {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil || block.Type != openpgp.SignatureType {
		return nil, nil, errors.New("it is not an armored signature")
	}
	body, err := io.ReadAll(io.LimitReader(block.Body, maxSignature))
	if err != nil {
		return nil, nil, err
	}
	packets := packet.NewReader(bytes.NewReader(body))
	first, err := packets.Next()
	if err != nil {
		return nil, nil, err
	}
	signature, ok := first.(*packet.Signature)
	if !ok || signature.IssuerKeyId == nil {
		return nil, nil, errors.New("it names no key")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("there is more than one")
	}
	return body, signature, nil
}

func (t *trust) inspectSSH(payload []byte, signature string) inspection {
	parsed, err := parseSSHSignature([]byte(signature))
	if err != nil {
		return inspection{finding: badSignature}
	}
	found := inspection{finding: absentKey, key: ssh.FingerprintSHA256(parsed.key)}
	for _, lines := range t.ssh {
		trusted, err := parseAuthorizedKeys(lines)
		if err != nil || !slices.ContainsFunc(trusted, func(key ssh.PublicKey) bool { return bytes.Equal(key.Marshal(), parsed.key.Marshal()) }) {
			continue
		}
		if found.finding = badSignature; parsed.verify(payload) == nil {
			found.finding = goodSignature
		}
	}
	return found
}

// inspectCommit judges the signature of a commit object.
func (t *trust) inspectCommit(content []byte) inspection {
	payload, signature, err := splitCommit(content)
	if err != nil {
		return inspection{finding: badSignature}
	}
	return t.inspect(payload, signature)
}

// problem says what is wrong with a revision, in argo-cd's words.
func (i inspection) problem(revision string, content []byte, who string) string {
	return fmt.Sprintf("GIT/GPG: Failed verifying revision %s by '%s': %s (key_id=%s)", revision, identity(content, who), i.finding, i.key)
}

// identity is the name and address in a header of a commit or tag, fit to be
// shown.
func identity(content []byte, header string) string {
	value := headerValue(content, header)
	if end := strings.LastIndexByte(value, '>'); end >= 0 {
		value = value[:end+1]
	}
	value = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, value)
	if len(value) > maxIdentity {
		value = strings.ToValidUTF8(value[:maxIdentity], "") + "…"
	}
	return value
}

// verifyIntegrity checks what an Argo CD project asks of a revision: the
// signature of its annotated tag or else of its commit, and in mode History
// that of the tag, the commit and all that it descends from (argo-cd
// util/sourceintegrity, util/git LsSignatures).
func (r *run) verifyIntegrity(ctx context.Context, m *mirror, seen *advert, t target, p peeled) (verified, error) {
	asked := r.spec.Git.Verify
	trusted, err := newTrust(asked.Keys, time.Now())
	if err != nil {
		return verified{}, distrust(asked, reasonCommitSignatureInvalid, fmt.Sprintf("GIT/GPG: Failed verifying revision %s: %s", p.commit, err))
	}
	var out verified
	var lines []string
	if !p.tag.IsZero() {
		found, fault := trusted.tag(asked, t, p)
		if fault != nil {
			return verified{}, fault
		}
		out.signer = found.key
		lines = append(lines, fmt.Sprintf("tag '%s' with key '%s'", tagName(t, p), found.key))
	}
	if p.tag.IsZero() || asked.Mode == model.VerifyHistory {
		found := trusted.inspectCommit(p.commitContent)
		if found.finding != goodSignature {
			return verified{}, distrust(asked, reasonCommitSignatureInvalid, found.problem(p.commit.String(), p.commitContent, "author"))
		}
		if out.signer == "" {
			out.signer = found.key
		}
		lines = append(lines, fmt.Sprintf("commit '%s' with key '%s'", p.commit, found.key))
	}
	if asked.Mode == model.VerifyHistory && !seals(p.commitContent) {
		past, err := r.approve(ctx, m, seen, t, p, trusted)
		if err != nil {
			return verified{}, err
		}
		lines = append(lines, past.String())
	}
	out.message = "verified signature of\n\t- " + strings.Join(lines, "\n\t- ")
	return out, nil
}

// tag judges an annotated tag.
func (t *trust) tag(asked *model.GitVerify, at target, p peeled) (inspection, *model.Fault) {
	name := at.tag
	if name == "" {
		name = p.tag.String()
	}
	payload, signature := splitTag(p.tagContent)
	found := t.inspect(payload, signature)
	if written := headerValue(p.tagContent, "tag"); found.finding == goodSignature && at.tag != "" && written != at.tag {
		// The signature stands for the name that the tagger wrote.
		found.finding = finding(fmt.Sprintf("the signed tag is named %q", clipped(written)))
	}
	if found.finding != goodSignature {
		return found, distrust(asked, reasonTagSignatureInvalid, found.problem(name, p.tagContent, "tagger"))
	}
	return found, nil
}

func clipped(text string) string {
	if len(text) > maxIdentity {
		return strings.ToValidUTF8(text[:maxIdentity], "") + "…"
	}
	return text
}

// distrust is the fault of a revision that is not signed as the project asks.
func distrust(asked *model.GitVerify, reason string, problems ...string) *model.Fault {
	fault := &model.Fault{
		Reason:  reason,
		Message: strings.Join(problems, "\n"),
		Advice:  "sign with a key that the AppProject names and that is in the keyring",
	}
	if asked.SecretID != "" {
		fault.Advice += " " + asked.SecretID
	}
	if asked.Mode == model.VerifyHistory {
		fault.Advice += "; older commits can be vouched for by a signed commit with the trailer " + sealTrailer
	}
	return fault
}
