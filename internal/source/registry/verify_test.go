package registry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/faulttest"
	"plumb.dev/plumb/internal/source/registry/signtest"
)

// publicKey is a key as cosign writes it.
func publicKey(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	return must(signtest.PublicPEM(key))(t)
}

func signed(t *testing.T, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	return must(signtest.Sign(key, message))(t)
}

// must fails a test that cannot be set up.
func must[T any](made T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

// simplePayload is what cosign 1 and 2 sign.
func simplePayload(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"example.com/app"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

// simpleSignature is a layer at the tag of signatures.
func simpleSignature(payload, signature []byte, more map[string]string) mutate.Addendum {
	one := layer(string(payload), simpleSigning)
	one.Annotations = map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(signature)}
	for name, value := range more {
		one.Annotations[name] = value
	}
	return one
}

// attach writes signatures to the tag of an artifact.
func (w *world) attach(repository string, digest v1.Hash, layers ...mutate.Addendum) {
	w.t.Helper()
	w.push(repository+":sha256-"+digest.Hex+".sig", artifact(w.t, nil, string(types.OCIConfigJSON), layers...))
}

// refer writes a blob that refers to an artifact.
func (w *world) refer(repository string, digest v1.Hash, artifactType, blob string) {
	w.t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.MediaType(artifactType))
	image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer([]byte(blob), types.MediaType(artifactType)), MediaType: types.MediaType(artifactType)})
	if err != nil {
		w.t.Fatal(err)
	}
	about := mutate.Subject(image, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: 1}).(v1.Image)
	at := sha256.Sum256([]byte(blob))
	w.push(repository+":referrer-"+hex.EncodeToString(at[:8]), about)
}

// keyBundle is what cosign 3 attaches when it signs with a key.
func keyBundle(t *testing.T, key *ecdsa.PrivateKey, digest v1.Hash) string {
	t.Helper()
	statement := signtest.Statement(digest.Hex)
	text, err := protojson.Marshal(&protobundle.Bundle{
		MediaType: signtest.BundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: "hint"},
		}},
		Content: signtest.Envelope(statement, signed(t, key, signtest.Enveloped(statement))),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func verifyBy(provider string, keys ...model.VerifyKey) *model.Verification {
	return &model.Verification{Provider: provider, Keys: keys, SecretID: "apps/keys"}
}

func TestCosignKeys(t *testing.T) {
	good, other := newKey(t), newKey(t)
	byGood := model.VerifyKey{Name: "cosign.pub", PEM: publicKey(t, good)}
	byOther := model.VerifyKey{Name: "other.pub", PEM: publicKey(t, other)}
	for name, one := range map[string]struct {
		sign func(w *world, digest v1.Hash)
		keys []model.VerifyKey
		want string // part of the fault; "" for a good signature
	}{
		"good": {
			sign: func(w *world, d v1.Hash) {
				w.attach("app", d, simpleSignature(simplePayload(d.String()), signed(t, good, simplePayload(d.String())), nil))
			},
			keys: []model.VerifyKey{byOther, byGood},
		},
		"the second signature": {
			sign: func(w *world, d v1.Hash) {
				payload := simplePayload(d.String())
				w.attach("app", d, simpleSignature(payload, signed(t, other, payload), nil), simpleSignature(payload, signed(t, good, payload), nil))
			},
			keys: []model.VerifyKey{byGood},
		},
		"by a bundle": {
			sign: func(w *world, d v1.Hash) { w.refer("app", d, signtest.BundleType, keyBundle(t, good, d)) },
			keys: []model.VerifyKey{byOther, byGood},
		},
		"a strange referrer beside it": {
			sign: func(w *world, d v1.Hash) {
				w.refer("app", d, "application/spdx+json", "{}")
				w.refer("app", d, signtest.BundleType, keyBundle(t, other, d))
				payload := simplePayload(d.String())
				w.attach("app", d, simpleSignature(payload, signed(t, good, payload), nil))
			},
			keys: []model.VerifyKey{byGood},
		},
		"not signed": {sign: func(*world, v1.Hash) {}, keys: []model.VerifyKey{byGood}, want: "no matching signatures were found for"},
		"by another key": {
			sign: func(w *world, d v1.Hash) {
				w.attach("app", d, simpleSignature(simplePayload(d.String()), signed(t, other, simplePayload(d.String())), nil))
			},
			keys: []model.VerifyKey{byGood}, want: "a signature was made by another key",
		},
		"another key's bundle": {
			sign: func(w *world, d v1.Hash) { w.refer("app", d, signtest.BundleType, keyBundle(t, other, d)) },
			keys: []model.VerifyKey{byGood}, want: "no matching signatures were found for",
		},
		"a bundle about something else": {
			sign: func(w *world, d v1.Hash) {
				another := d
				another.Hex = strings.Repeat("0", 64)
				w.refer("app", d, signtest.BundleType, keyBundle(t, good, another))
			},
			keys: []model.VerifyKey{byGood}, want: "does not match any digest in statement",
		},
		"no bundle": {
			sign: func(w *world, d v1.Hash) { w.refer("app", d, signtest.BundleType, "hello") },
			keys: []model.VerifyKey{byGood}, want: "a bundle cannot be understood",
		},
		"about something else": {
			sign: func(w *world, d v1.Hash) {
				payload := simplePayload("sha256:" + strings.Repeat("0", 64))
				w.attach("app", d, simpleSignature(payload, signed(t, good, payload), nil))
			},
			keys: []model.VerifyKey{byGood}, want: "a signature is about another artifact",
		},
		"the payload was changed": {
			sign: func(w *world, d v1.Hash) {
				w.attach("app", d, simpleSignature(simplePayload(d.String()), signed(t, good, []byte("something else")), nil))
			},
			keys: []model.VerifyKey{byGood}, want: "a signature was made by another key",
		},
		"of another type": {
			sign: func(w *world, d v1.Hash) {
				payload := bytes.Replace(simplePayload(d.String()), []byte("cosign container"), []byte("other"), 1)
				w.attach("app", d, simpleSignature(payload, signed(t, good, payload), nil))
			},
			keys: []model.VerifyKey{byGood}, want: "payload is of the type",
		},
		"no key":             {sign: func(*world, v1.Hash) {}, keys: []model.VerifyKey{{Name: "cosign.key", PEM: byGood.PEM}}, want: "no public keys found in secret 'apps/keys'"},
		"an empty Secret":    {sign: func(*world, v1.Hash) {}, want: "no public keys found in secret 'apps/keys'"},
		"a key that is none": {sign: func(*world, v1.Hash) {}, keys: []model.VerifyKey{{Name: "x.pub", PEM: []byte("x")}}, want: "the entry 'x.pub' of secret 'apps/keys' is no public key"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			digest := w.push("app:latest", simple(t, "content"))
			one.sign(w, digest)
			c, spec := quick(t, Limits{}), w.source("app")
			spec.Verify = verifyBy("cosign", one.keys...)
			got, err := c.Resolve(t.Context(), spec)
			if one.want != "" {
				faulttest.Expect(t, err, reasonVerification, "failed to verify the signature using provider 'cosign': ")
				faulttest.Expect(t, err, reasonVerification, one.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := "verified signature of revision latest@" + digest.String(); got.Verified != want {
				t.Errorf("got %q, want %q", got.Verified, want)
			}
			// It is remembered, but only for these keys.
			asked := w.count(http.MethodGet, "")
			resolve(t, c, spec)
			if n := w.count(http.MethodGet, ""); n != asked {
				t.Errorf("%d requests to verify what is known", n-asked)
			}
			spec.Verify = verifyBy("cosign", model.VerifyKey{Name: "x.pub", PEM: publicKey(t, newKey(t))})
			_, err = c.Resolve(t.Context(), spec)
			faulttest.Expect(t, err, reasonVerification, "no matching signatures")
		})
	}
}

func TestVerifyCharts(t *testing.T) {
	w, key := newWorld(t), newKey(t)
	digest := w.push("charts/podinfo:1.0.0", chartImage(t, "chart"))
	w.push("charts/podinfo:1.1.0", chartImage(t, "not signed"))
	payload := simplePayload(digest.String())
	w.attach("charts/podinfo", digest, simpleSignature(payload, signed(t, key, payload), nil))
	c := quick(t, Limits{})
	spec := &model.ChartSource{Repository: w.host + "/charts", Name: "podinfo", Version: "1.0.x", Verify: verifyBy("cosign", model.VerifyKey{Name: "k.pub", PEM: publicKey(t, key)})}
	got, err := c.ResolveChart(t.Context(), spec)
	if err != nil || got.Verified != "verified signature of version 1.0.0" {
		t.Fatalf("%+v, %v", got, err)
	}
	spec.Version = "1.1.0"
	_, err = c.ResolveChart(t.Context(), spec)
	faulttest.Expect(t, err, reasonVerification, "it is not signed")
}

func TestUnknownProvider(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	spec := w.source("app")
	spec.Verify = verifyBy("gpg")
	_, err := quick(t, Limits{}).Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonVerification, "unsupported verification provider: gpg")
}

func TestSignaturesAreBounded(t *testing.T) {
	w, key := newWorld(t), newKey(t)
	digest := w.push("app:latest", simple(t, "content"))
	payload := simplePayload(digest.String())
	var layers []mutate.Addendum
	for i := range 10 {
		layers = append(layers, simpleSignature(fmt.Appendf(payload, " %*s", i, ""), []byte("x"), nil))
	}
	w.attach("app", digest, append(layers, simpleSignature(payload, signed(t, key, payload), nil))...)
	spec := w.source("app")
	spec.Verify = verifyBy("cosign", model.VerifyKey{Name: "k.pub", PEM: publicKey(t, key)})
	_, err := quick(t, Limits{Signatures: 5}).Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonVerification, "and 2 more")
	resolve(t, quick(t, Limits{}), spec)
}

// sigstore signs for a test.
type sigstore struct {
	*signtest.Sigstore
	t *testing.T
}

func newSigstore(t *testing.T) *sigstore {
	t.Helper()
	return &sigstore{must(signtest.NewSigstore())(t), t}
}

func (s *sigstore) trustedRoot() []byte {
	s.t.Helper()
	return must(s.TrustedRoot())(s.t)
}

// sign makes a keyless signature of an artifact.
func (s *sigstore) sign(digest v1.Hash, by signtest.Signer, change func(annotations map[string]string)) mutate.Addendum {
	s.t.Helper()
	payload := simplePayload(digest.String())
	signature, annotations, err := s.SignSimple(payload, by)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(annotations)
	}
	return simpleSignature(payload, signature, annotations)
}

func TestKeyless(t *testing.T) {
	releaser := signtest.Signer{Subject: "release@example.com", Issuer: "https://issuer.example.com"}
	unlogged := releaser
	unlogged.Unlogged = true
	ours := newSigstore(t)
	trusted := ours.trustedRoot()
	anyone := []model.SignerIdentity{{Issuer: "^https://issuer\\.example\\.com$", Subject: "^release@"}}
	for name, one := range map[string]struct {
		sign      func(d v1.Hash) mutate.Addendum
		wanted    []model.SignerIdentity
		spec, own []byte // trusted roots of the source and of the installation
		want      string
	}{
		"good":              {wanted: anyone, spec: trusted},
		"by the own root":   {wanted: anyone, own: trusted},
		"anybody":           {spec: trusted},
		"one of several":    {wanted: []model.SignerIdentity{{Issuer: "x", Subject: "y"}, anyone[0]}, spec: trusted},
		"another subject":   {wanted: []model.SignerIdentity{{Issuer: ".*", Subject: "^admin@"}}, spec: trusted, want: "no matching CertificateIdentity found"},
		"another issuer":    {wanted: []model.SignerIdentity{{Issuer: "^https://github", Subject: ".*"}}, spec: trusted, want: "no matching CertificateIdentity found"},
		"no root":           {wanted: anyone, want: "and there is none"},
		"no root's form":    {wanted: anyone, spec: []byte("{"), want: "unable to parse trusted root"},
		"no expression":     {wanted: []model.SignerIdentity{{Issuer: "(", Subject: "x"}}, spec: trusted, want: "no regular expression"},
		"another authority": {wanted: anyone, spec: newSigstore(t).trustedRoot(), want: "failed to verify"},
		"not in the log of certificates": {
			sign:   func(d v1.Hash) mutate.Addendum { return ours.sign(d, unlogged, nil) },
			wanted: anyone, spec: trusted, want: "unable to meet threshold of 1",
		},
		"no proof of the entry": {
			sign: func(d v1.Hash) mutate.Addendum {
				return ours.sign(d, releaser, func(a map[string]string) { delete(a, annotationLogEntry) })
			},
			wanted: anyone, spec: trusted, want: "carries no proof of its entry in the transparency log, and the log is not asked",
		},
		"a broken proof": {
			sign: func(d v1.Hash) mutate.Addendum {
				return ours.sign(d, releaser, func(a map[string]string) { a[annotationLogEntry] = "{" })
			},
			wanted: anyone, spec: trusted, want: "cannot be understood",
		},
		"a proof of another time": {
			sign: func(d v1.Hash) mutate.Addendum {
				return ours.sign(d, releaser, func(a map[string]string) {
					a[annotationLogEntry] = strings.Replace(a[annotationLogEntry], `"logIndex":0`, `"logIndex":1`, 1)
				})
			},
			wanted: anyone, spec: trusted, want: "failed to verify log inclusion",
		},
		"another's proof": {
			sign: func(d v1.Hash) mutate.Addendum {
				return ours.sign(d, releaser, func(a map[string]string) {
					a[annotationLogEntry] = ours.sign(d, releaser, nil).Annotations[annotationLogEntry]
				})
			},
			wanted: anyone, spec: trusted, want: "transparency log signature does not match",
		},
		"made with a key": {
			sign: func(d v1.Hash) mutate.Addendum {
				return ours.sign(d, releaser, func(a map[string]string) { delete(a, annotationCertificate) })
			},
			wanted: anyone, spec: trusted, want: "carries no certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			digest := w.push("app:latest", simple(t, "content"))
			if one.sign == nil {
				one.sign = func(d v1.Hash) mutate.Addendum { return ours.sign(d, releaser, nil) }
			}
			w.attach("app", digest, one.sign(digest))
			spec := w.source("app")
			spec.Verify = &model.Verification{Provider: "cosign", Identities: one.wanted, TrustRoot: one.spec}
			got, err := New(Options{Dir: t.TempDir(), TrustRoot: one.own}).Resolve(t.Context(), spec)
			if one.want != "" {
				faulttest.Expect(t, err, reasonVerification, "failed to verify the signature using provider 'cosign keyless': ")
				faulttest.Expect(t, err, reasonVerification, one.want)
				return
			}
			if err != nil || got.Verified == "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestKeylessBundle: a bundle that refers to the artifact, as cosign 3 attaches
// it.
func TestKeylessBundle(t *testing.T) {
	ours := newSigstore(t)
	image := simple(t, "content")
	releaser := signtest.Signer{Subject: "release@example.com", Issuer: "https://issuer.example.com"}
	about := func(digest v1.Hash) string { return string(must(ours.SignBundle(digest.Hex, releaser))(t)) }
	for name, one := range map[string]struct {
		bundle  func(v1.Hash) string
		subject string
		want    string
	}{
		"good":            {bundle: about, subject: "^release@example\\.com$"},
		"another subject": {bundle: about, subject: "^admin@", want: "no matching CertificateIdentity found"},
		"another content": {
			bundle:  func(v1.Hash) string { return about(v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}) },
			subject: ".*", want: "does not match any digest in statement",
		},
		"another root": {
			bundle: func(digest v1.Hash) string {
				return string(must(newSigstore(t).SignBundle(digest.Hex, releaser))(t))
			},
			subject: ".*", want: "failed to verify",
		},
		"a proof that is none": {
			bundle:  func(d v1.Hash) string { return strings.Replace(about(d), `"rootHash":"`, `"rootHash":"AAAA`, 1) },
			subject: ".*", want: "failed to verify log inclusion: calculated root",
		},
		"no proof": {
			bundle:  func(d v1.Hash) string { return strings.Replace(about(d), `"inclusionProof"`, `"promised"`, 1) },
			subject: ".*", want: "a bundle cannot be understood",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			digest := w.push("app:latest", image)
			w.refer("app", digest, signtest.BundleType, one.bundle(digest))
			spec := w.source("app")
			spec.Verify = &model.Verification{Provider: "cosign", TrustRoot: ours.trustedRoot(), Identities: []model.SignerIdentity{{Issuer: "example", Subject: one.subject}}}
			got, err := quick(t, Limits{}).Resolve(t.Context(), spec)
			if one.want != "" {
				faulttest.Expect(t, err, reasonVerification, one.want)
			} else if err != nil || got.Verified == "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
