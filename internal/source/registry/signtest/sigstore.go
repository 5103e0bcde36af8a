package signtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"
)

// BundleType is the media type of the bundles that cosign 3 attaches.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Annotations of the layers of cosign 1 and 2.
const (
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLogEntry    = "dev.sigstore.cosign/bundle"
)

// A Sigstore is an instance of it: an authority, a log of certificates and a log
// of signatures.
type Sigstore struct {
	authority *Authority
	certLog   *ecdsa.PrivateKey
	entryLog  *ecdsa.PrivateKey
}

// NewSigstore makes an instance that nobody else knows.
func NewSigstore() (*Sigstore, error) {
	authority, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	s := &Sigstore{authority: authority}
	if s.certLog, err = NewKey(); err != nil {
		return nil, err
	}
	s.entryLog, err = NewKey()
	return s, err
}

// logID is how a log is called: the digest of its key.
func logID(key *ecdsa.PrivateKey) ([sha256.Size]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return sha256.Sum256(raw), err
}

// logHost is where the logs say that they are.
const logHost = "log.example.com"

// TrustedRoot is what verifiers are given, as JSON.
func (s *Sigstore) TrustedRoot() ([]byte, error) {
	since := time.Now().Add(-time.Hour)
	logs := make([]map[string]*root.TransparencyLog, 2)
	for i, key := range []*ecdsa.PrivateKey{s.certLog, s.entryLog} {
		id, err := logID(key)
		if err != nil {
			return nil, err
		}
		logs[i] = map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {
			BaseURL: "https://" + logHost, ID: id[:], ValidityPeriodStart: since,
			HashFunc: crypto.SHA256, PublicKey: &key.PublicKey, SignatureHashFunc: crypto.SHA256,
		}}
	}
	issuer := &root.FulcioCertificateAuthority{Root: s.authority.Certificate, ValidityPeriodStart: since, URI: "https://fulcio.example.com"}
	made, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{issuer}, logs[0], nil, logs[1])
	if err != nil {
		return nil, err
	}
	return made.MarshalJSON()
}

// A Signer is whom a certificate was issued to: an identity of an issuer.
type Signer struct {
	Subject, Issuer string
	// Unlogged certificates carry no promise of the log of certificates.
	Unlogged bool
}

// Object identifiers of what certificates of sigstore carry.
var (
	oidIssuer  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidPromise = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// certificate is issued for a key that is used once.
func (s *Sigstore) certificate(to Signer, public *ecdsa.PublicKey) (*x509.Certificate, error) {
	issuer, err := asn1.Marshal(to.Issuer)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), EmailAddresses: []string{to.Subject},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidIssuer, Value: issuer}},
	}
	// The log signs what the certificate will be without its promise.
	before, err := s.authority.Issue(template, public)
	if err != nil || to.Unlogged {
		return before, err
	}
	promise, err := s.promise(before)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(slices.Clone(template.ExtraExtensions), pkix.Extension{Id: oidPromise, Value: promise})
	return s.authority.Issue(template, public)
}

// promise is the word of the log of certificates that it will hold one.
func (s *Sigstore) promise(before *x509.Certificate) ([]byte, error) {
	id, err := logID(s.certLog)
	if err != nil {
		return nil, err
	}
	promise := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: id}, Timestamp: uint64(time.Now().UnixMilli())}
	signing, err := ct.SerializeSCTSignatureInput(promise, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
		EntryType: ct.PrecertLogEntryType, Timestamp: promise.Timestamp,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(s.authority.Certificate.RawSubjectPublicKeyInfo), TBSCertificate: before.RawTBSCertificate},
	}}})
	if err != nil {
		return nil, err
	}
	signature, err := Sign(s.certLog, signing)
	if err != nil {
		return nil, err
	}
	promise.Signature = ct.DigitallySigned{Algorithm: cttls.SignatureAndHashAlgorithm{Hash: cttls.SHA256, Signature: cttls.ECDSA}, Signature: signature}
	raw, err := cttls.Marshal(promise)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(withLength(withLength(raw)))
}

// withLength puts the length in two bytes before a text.
func withLength(text []byte) []byte {
	return append([]byte{byte(len(text) >> 8), byte(len(text))}, text...)
}

// SignSimple signs a payload as cosign 1 and 2 do; the annotations tell of the
// certificate, and of the entry in the log of signatures.
func (s *Sigstore) SignSimple(payload []byte, by Signer) (signature []byte, annotations map[string]string, err error) {
	signature, certificate, err := s.sign(payload, by)
	if err != nil {
		return nil, nil, err
	}
	digest := sha256.Sum256(payload)
	entry, err := s.entry(fmt.Sprintf(
		`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
		hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(signature), base64.StdEncoding.EncodeToString(inPEM(certificate))))
	if err != nil {
		return nil, nil, err
	}
	proof, err := json.Marshal(map[string]any{"SignedEntryTimestamp": entry.signature, "Payload": json.RawMessage(entry.promise)})
	return signature, map[string]string{annotationCertificate: string(inPEM(certificate)), annotationLogEntry: string(proof)}, err
}

// sign signs a message with a new key, and has it certified.
func (s *Sigstore) sign(message []byte, by Signer) (signature []byte, certificate *x509.Certificate, err error) {
	key, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	if certificate, err = s.certificate(by, &key.PublicKey); err != nil {
		return nil, nil, err
	}
	signature, err = Sign(key, message)
	return signature, certificate, err
}

// entry is one of the log of signatures, of which it is the first.
type entry struct {
	body      []byte
	log       [sha256.Size]byte
	at        int64
	promise   string // what the log has signed
	signature []byte
}

func (s *Sigstore) entry(body string) (e entry, err error) {
	e.body, e.at = []byte(body), time.Now().Unix()
	if e.log, err = logID(s.entryLog); err != nil {
		return e, err
	}
	// The canonical form: sorted keys, no space.
	e.promise = fmt.Sprintf(`{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":0}`,
		base64.StdEncoding.EncodeToString(e.body), e.at, hex.EncodeToString(e.log[:]))
	e.signature, err = Sign(s.entryLog, []byte(e.promise))
	return e, err
}

// proof is that of a log with a single entry: the root of its tree is the leaf.
// The log says that it is a Rekor 1 by the number of its tree.
func (s *Sigstore) proof(e entry) (*protorekor.InclusionProof, error) {
	leaf := sha256.Sum256(append([]byte{0}, e.body...))
	note := fmt.Sprintf("%s - 1234\n1\n%s\n", logHost, base64.StdEncoding.EncodeToString(leaf[:]))
	signature, err := Sign(s.entryLog, []byte(note))
	if err != nil {
		return nil, err
	}
	named := append(slices.Clone(e.log[:4]), signature...)
	return &protorekor.InclusionProof{
		TreeSize: 1, RootHash: leaf[:],
		Checkpoint: &protorekor.Checkpoint{Envelope: fmt.Sprintf("%s\n— %s %s\n", note, logHost, base64.StdEncoding.EncodeToString(named))},
	}, nil
}

// inToto is the type of the statements in bundles.
const inToto = "application/vnd.in-toto+json"

// Statement is what cosign 3 signs of an artifact with a digest in hex.
func Statement(digest string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, digest)
}

// Envelope carries a signed statement.
func Envelope(statement, signature []byte) *protobundle.Bundle_DsseEnvelope {
	return &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: statement, PayloadType: inToto, Signatures: []*protodsse.Signature{{Sig: signature}},
	}}
}

// Enveloped is what is signed of a statement.
func Enveloped(statement []byte) []byte { return dsse.PAE(inToto, statement) }

// SignBundle signs an artifact with a digest in hex as cosign 3 does: a bundle
// with the certificate, and the promise and the proof of the log of signatures.
func (s *Sigstore) SignBundle(digest string, by Signer) ([]byte, error) {
	statement := Statement(digest)
	signature, certificate, err := s.sign(Enveloped(statement), by)
	if err != nil {
		return nil, err
	}
	envelope := Envelope(statement, signature)
	whole, err := protojson.Marshal(envelope.DsseEnvelope)
	if err != nil {
		return nil, err
	}
	wholeDigest, statementDigest := sha256.Sum256(whole), sha256.Sum256(statement)
	e, err := s.entry(fmt.Sprintf(
		`{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":%q},"payloadHash":{"algorithm":"sha256","value":%q},"signatures":[{"signature":%q,"verifier":%q}]}}`,
		hex.EncodeToString(wholeDigest[:]), hex.EncodeToString(statementDigest[:]),
		base64.StdEncoding.EncodeToString(signature), base64.StdEncoding.EncodeToString(inPEM(certificate))))
	if err != nil {
		return nil, err
	}
	proof, err := s.proof(e)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(&protobundle.Bundle{
		MediaType: BundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: certificate.Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{{
				LogId: &protocommon.LogId{KeyId: e.log[:]}, KindVersion: &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"},
				IntegratedTime: e.at, CanonicalizedBody: e.body, InclusionProof: proof,
				InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.signature},
			}},
		},
		Content: envelope,
	})
}
