package registry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	oras "oras.land/oras-go/v2/registry/remote"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/faulttest"
	"plumb.dev/plumb/internal/source/registry/signtest"
)

// notary signs for a test.
type notary struct {
	signtest.Notary
	t *testing.T
}

func newNotary(t *testing.T) *notary {
	t.Helper()
	return &notary{signtest.Notary{Authority: must(signtest.NewAuthority())(t)}, t}
}

func (n *notary) sign(w *world, repository string, digest v1.Hash, mediaType string) {
	n.t.Helper()
	at, err := oras.NewRepository(w.host + "/" + repository)
	if err != nil {
		n.t.Fatal(err)
	}
	at.PlainHTTP = true
	if _, err := notation.Sign(n.t.Context(), must(n.Signer())(n.t), notationregistry.NewRepository(at), notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaType},
		ArtifactReference: w.host + "/" + repository + "@" + digest.String(),
	}); err != nil {
		n.t.Fatal(err)
	}
}

func trustPolicy(level string, stores ...string) model.VerifyKey {
	identities := `"*"`
	if stores == nil {
		identities = ""
	}
	quoted := ""
	if stores != nil {
		quoted = `"` + strings.Join(stores, `","`) + `"`
	}
	return model.VerifyKey{Name: notationPolicy, PEM: fmt.Appendf(nil, `{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],
"signatureVerification":{"level":%q},"trustStores":[%s],"trustedIdentities":[%s]}]}`, level, quoted, identities)}
}

func TestNotation(t *testing.T) {
	ours, theirs := newNotary(t), newNotary(t)
	ca := func(n *notary) model.VerifyKey {
		return model.VerifyKey{Name: "ca.crt", PEM: n.PEM()}
	}
	strict := trustPolicy("strict", "ca:ours")
	for name, one := range map[string]struct {
		by       *notary
		form     string
		keys     []model.VerifyKey
		want     string // part of the fault
		verified bool
	}{
		"good (JWS)":          {by: ours, form: jws.MediaTypeEnvelope, keys: []model.VerifyKey{strict, ca(ours)}, verified: true},
		"good (COSE)":         {by: ours, form: cose.MediaTypeEnvelope, keys: []model.VerifyKey{strict, ca(ours)}, verified: true},
		"another authority":   {by: theirs, form: jws.MediaTypeEnvelope, keys: []model.VerifyKey{strict, ca(ours)}, want: "no matching signatures were found for"},
		"let pass":            {by: theirs, form: jws.MediaTypeEnvelope, keys: []model.VerifyKey{trustPolicy("audit", "ca:ours"), ca(ours)}},
		"not looked at":       {keys: []model.VerifyKey{trustPolicy("skip"), ca(ours)}},
		"skip but with store": {keys: []model.VerifyKey{trustPolicy("skip", "ca:ours"), ca(ours)}},
		"not signed":          {keys: []model.VerifyKey{strict, ca(ours)}, want: "it is not signed"},
		"no policy":           {keys: []model.VerifyKey{ca(ours)}, want: "'trustpolicy.json' not found in secret 'apps/keys'"},
		"a broken policy":     {keys: []model.VerifyKey{{Name: notationPolicy, PEM: []byte("{")}, ca(ours)}, want: "error occurred while parsing trustpolicy.json"},
		"no such level":       {keys: []model.VerifyKey{trustPolicy("some", "ca:ours"), ca(ours)}, want: "is not valid"},
		"no certificate":      {keys: []model.VerifyKey{strict}, want: "no certificates found in secret 'apps/keys'"},
		"no certificate's form": {
			keys: []model.VerifyKey{strict, {Name: "x.pem", PEM: []byte("x")}}, want: "the entry 'x.pem' of secret 'apps/keys' is no certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			digest := w.push("app:latest", simple(t, "content"))
			if one.by != nil {
				one.by.sign(w, "app", digest, one.form)
			}
			spec := w.source("app")
			spec.Verify = verifyBy("notation", one.keys...)
			got, err := quick(t, Limits{}).Resolve(t.Context(), spec)
			if one.want != "" {
				faulttest.Expect(t, err, reasonVerification, "failed to verify the signature using provider 'notation': ")
				faulttest.Expect(t, err, reasonVerification, one.want)
				return
			}
			if err != nil || got.Verified != "" != one.verified {
				t.Errorf("verified %q, %v", got.Verified, err)
			}
		})
	}
}
