package project

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	nodes "plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
)

// Policy asks for signatures on some repositories (AppProject
// spec.sourceIntegrity.git.policies, and the older spec.signatureKeys).
type Policy struct {
	Repositories []string // globs of URLs; "!…" leaves out
	Mode         string   // "none", "head" or "strict"
	Keys         []string // fingerprints or key IDs that may sign
	field        string
	verifies     bool // the policy says how to verify
}

// readIntegrity reads both forms. The older one counts where the newer says
// nothing of Git (AppProject.EffectiveSourceIntegrity).
func (p *Project) readIntegrity(spec node) {
	var legacy []string
	for _, item := range spec.at("signatureKeys").items() {
		item.fields("keyID")
		key := item.at("keyID")
		key.checkKey(key.str())
		legacy = append(legacy, key.str())
	}
	integrity := spec.at("sourceIntegrity")
	integrity.fields("git")
	git := integrity.at("git")
	if git.fields("policies") {
		p.readPolicies(git.at("policies"))
		if len(legacy) > 0 {
			git.r.find(model.Warning, "SignatureKeysIgnored", "spec.signatureKeys", "signatureKeys is not acted on, since sourceIntegrity.git is there: move the keys to a policy")
		}
		return
	}
	if len(legacy) > 0 {
		p.Integrity = []Policy{{Repositories: []string{"*"}, Mode: "head", Keys: legacy, field: "spec.signatureKeys", verifies: true}}
	}
}

func (p *Project) readPolicies(list node) {
	for _, item := range list.items() {
		item.fields("repos", "gpg")
		policy := Policy{field: item.path}
		for _, repo := range item.at("repos").items() {
			repo.fields("url")
			url := repo.at("url")
			url.checkGlob(strings.TrimPrefix(url.str(), "!"))
			policy.Repositories = append(policy.Repositories, url.str())
		}
		gpg := item.at("gpg")
		if policy.verifies = gpg.fields("mode", "keys"); policy.verifies {
			policy.Mode = gpg.at("mode").str()
			if !slices.Contains([]string{"none", "head", "strict"}, policy.Mode) {
				item.r.refuse(gpg.path+".mode", "unknown GPG mode %q configured for GIT source integrity", policy.Mode)
			}
			for _, key := range gpg.at("keys").items() {
				key.checkKey(key.str())
				policy.Keys = append(policy.Keys, key.str())
			}
		} else {
			item.r.find(model.Warning, "NothingVerified", item.path, "the policy does not say how to verify, and verifies nothing")
		}
		p.Integrity = append(p.Integrity, policy)
	}
}

func (n node) checkKey(key string) {
	if keyID(key) == "" {
		n.r.refuse(n.path, "'%s' is not a valid GnuPG key ID", key)
	}
}

// keyID is the key ID of a fingerprint (40 hexadecimal digits) or of a key ID
// (16), in capitals; "" for what is neither (util/sourceintegrity, KeyID).
func keyID(key string) string {
	if _, err := hex.DecodeString(key); err != nil {
		return ""
	}
	switch len(key) {
	case 40:
		return strings.ToUpper(key[24:])
	case 16:
		return strings.ToUpper(key)
	}
	return ""
}

// KeyringNeed is the need for the keys that signatures are checked with.
func KeyringNeed(namespace string) model.Need {
	return model.Need{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: repository.GPGKeys}
}

// Verifies reports whether the project has something to say on the signatures
// of a repository, so that Verify needs the keyring.
func (p *Project) Verifies(repoURL string) bool {
	policies := p.policiesFor(repoURL)
	return len(policies) > 1 || len(policies) == 1 && policies[0].verifies && policies[0].Mode != "none"
}

func (p *Project) policiesFor(repoURL string) []Policy {
	var policies []Policy
	for _, policy := range p.Integrity {
		if policy.covers(repoURL) {
			policies = append(policies, policy)
		}
	}
	return policies
}

// Verify is what the project asks of the signatures of a Git repository; nil
// when it asks for nothing. The keyring answers KeyringNeed. Several policies
// for one repository are a mistake that must not turn verification off, and so
// is a keyring without the keys: both are faults.
func (p *Project) Verify(repoURL string, keyring model.Fact) (*model.GitVerify, *model.Fault) {
	policies := p.policiesFor(repoURL)
	shown := repository.Printable(repoURL)
	switch {
	case len(policies) > 1:
		return nil, p.unverified(policies[1].field, "multiple (%d) git source integrity policies found for repo URL: %s", len(policies), shown)
	case len(policies) == 0 || !policies[0].verifies || policies[0].Mode == "none":
		return nil, nil
	}
	policy := policies[0]
	modes := map[string]model.VerifyMode{"head": model.VerifyRevision, "strict": model.VerifyHistory}
	mode, known := modes[policy.Mode]
	if !known {
		return nil, p.unverified(policy.field, "unknown GPG mode %q configured for GIT source integrity", policy.Mode)
	}
	keys, fault := p.trusted(policy, keyring)
	if fault != nil {
		return nil, fault
	}
	return &model.GitVerify{Mode: mode, Keys: keys, SecretID: p.Namespace + "/" + repository.GPGKeys}, nil
}

// covers is upstream's findMatchingGitPolicies: a negation that matches leaves
// the repository out.
func (policy Policy) covers(repoURL string) bool {
	included := false
	for _, pattern := range policy.Repositories {
		switch {
		case denies(pattern) && gate.Glob(pattern[1:], repoURL):
			return false
		case !denies(pattern) && gate.Glob(pattern, repoURL):
			included = true
		}
	}
	return included
}

// trusted picks the policy's keys out of the keyring, whose entries are named
// by key ID.
func (p *Project) trusted(policy Policy, keyring model.Fact) ([]model.VerifyKey, *model.Fault) {
	if keyring.State == model.Forbidden || keyring.State == model.Failed {
		fault := p.unverified(policy.field, "ConfigMap %s/%s with the keys cannot be read: %s", p.Namespace, repository.GPGKeys, keyring.Message)
		fault.Retry = true
		return nil, fault
	}
	ring := map[string]string{}
	if keyring.State == model.Present && keyring.Object != nil {
		data, _, err := unstructured.NestedStringMap(keyring.Object.Object, "data")
		if err != nil {
			return nil, p.unverified(policy.field, "ConfigMap %s/%s does not hold text", p.Namespace, repository.GPGKeys)
		}
		for name, armored := range data {
			ring[keyID(name)] = armored
		}
	}
	var keys []model.VerifyKey
	var missing []string
	for _, key := range policy.Keys {
		id := keyID(key)
		if armored, ok := ring[id]; ok && id != "" {
			keys = append(keys, model.VerifyKey{Name: id, PEM: []byte(armored)})
		} else {
			missing = append(missing, key)
		}
	}
	if len(keys) == 0 {
		return nil, p.unverified(policy.field, "no commit can be verified: %s not in the keyring", absentKeys(missing))
	}
	return keys, nil
}

func absentKeys(missing []string) string {
	if len(missing) == 0 {
		return "the policy names no key, so that any key is"
	}
	const shown = 5
	rest := ""
	if len(missing) > shown {
		rest = fmt.Sprintf(" and %d more", len(missing)-shown)
		missing = missing[:shown]
	}
	return "key " + nodes.Clip(strings.Join(missing, ", "), 300) + rest + " is"
}

// unverified is a fault of verification, which upstream tells as an error of
// the comparison.
func (p *Project) unverified(field, format string, args ...any) *model.Fault {
	fault := p.refusal(field, format, args...)
	fault.Reason = "ComparisonError"
	fault.Message = nodes.Clip("Failed to load target state: "+fault.Message, maxText)
	return fault
}
