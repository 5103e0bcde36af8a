package sops

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
)

// openVault asks the transit engine of a Vault, or an OpenBao, with the token
// of the Secret, or else with that of the workload identity.
func (k *keys) openVault(ctx context.Context, key *keyservice.VaultKey, sealed []byte) ([]byte, error) {
	to, err := vaultURL(key)
	if err != nil {
		return nil, err
	}
	token := k.vaultToken
	if token == "" {
		if k.workload == nil {
			return nil, refusal("no Vault token is given")
		}
		secret, err := k.workload.Vault(ctx, key.GetVaultAddress())
		if err != nil {
			return nil, err
		}
		token = string(secret.Reveal())
	}
	if strings.ContainsAny(token, "\r\n") {
		return nil, refusal("the Vault token is more than one line")
	}
	var answer struct {
		Data struct {
			Plaintext []byte `json:"plaintext"`
		} `json:"data"`
	}
	header := http.Header{"X-Vault-Token": {token}, "X-Vault-Request": {"true"}}
	if err := k.post(ctx, to, header, map[string]string{"ciphertext": string(sealed)}, &answer); err != nil {
		return nil, err
	}
	return answer.Data.Plaintext, nil
}

// vaultURL is where a data key is decrypted. The parts come from a file.
func vaultURL(key *keyservice.VaultKey) (*url.URL, error) {
	to, err := url.Parse(key.GetVaultAddress())
	if err != nil || to.Scheme != "https" && to.Scheme != "http" || to.Host == "" || to.User != nil || to.RawQuery != "" || to.Fragment != "" {
		return nil, refusal("its address is no URL of a Vault")
	}
	below := path.Join(key.GetEnginePath(), "decrypt", key.GetKeyName())
	if strings.Contains(key.GetKeyName(), "/") || key.GetKeyName() == "" || key.GetEnginePath() == "" || strings.Contains("/"+below+"/", "/../") || path.Base(path.Dir(below)) != "decrypt" {
		return nil, refusal("its engine path or key name cannot be one")
	}
	to.Path, to.RawPath = path.Join("/", to.Path, "v1", below), ""
	return to, nil
}
