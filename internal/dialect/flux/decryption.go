package flux

import (
	"strings"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/decryption"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

const providerSOPS = "sops"

// decryption reads spec.decryption: nil when none is asked for, or when what it
// names is not known yet. Faults are those of a build, as upstream has it.
func (g *gathering) decryption(field node, settings dialect.Settings) *model.Decryption {
	if !field.Present() {
		return nil
	}
	if provider := field.At("provider"); provider.Str() != providerSOPS {
		provider.Invalid("must be %s, not %q", providerSOPS, reader.Clip(provider.Str(), 63))
	}
	out := &model.Decryption{}
	if ref := field.At("secretRef"); ref.Present() {
		secret, _ := g.secret(ref, reasonBuildFailed, aboutDecryption)
		out.Keys, out.SecretID = decryption.Keys(secret.data, false), secret.need.Namespace+"/"+secret.need.Name
	} else if home, name, ok := strings.Cut(settings.SOPSAgeSecret, "/"); ok {
		secret := secretReader{r: g.r, need: model.Need{Version: "v1", Kind: "Secret", Namespace: home, Name: name}, field: field.Path, reason: reasonBuildFailed, about: aboutDecryption}
		if g.known(secret.need) {
			secret.load(g.facts)
		}
		// Only age keys count: with the credentials of a cloud nobody would come to
		// use an identity of their own.
		out.Keys, out.SecretID = decryption.Keys(secret.data, true), settings.SOPSAgeSecret
	}
	account := field.At("serviceAccountName")
	out.Workload = g.decryptionAccount(account, orElse(account.Str(), settings.DefaultDecryptionServiceAccount))
	out.Digest = decryption.Digest(out)
	return out
}

const aboutDecryption = "sops decryption: "

// decryptionAccount is the service account that clouds are asked as. One that
// does not exist is told when a cloud is asked: age and PGP need none.
func (g *gathering) decryptionAccount(field node, name string) *model.WorkloadIdentity {
	need := model.Need{Version: "v1", Kind: "ServiceAccount", Namespace: g.r.ID.Namespace, Name: name}
	if name == "" || !g.known(need) {
		return nil
	}
	if g.facts[need].State == model.Absent {
		return g.workload("", name, nil)
	}
	return g.workload("", name, g.object(need, field.Path, reasonBuildFailed, aboutDecryption))
}
