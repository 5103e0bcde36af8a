package render

import (
	"encoding/base64"
	"strings"
)

// keepEncrypted is the annotation by which a user says that an object is meant
// to be applied as it is, value "disabled" (kustomize-controller, decryptor).
const keepEncrypted = "kustomize.toolkit.fluxcd.io/decrypt"

// sopsMarkers are what SOPS leaves in the files it encrypts, in their formats:
// binary and JSON, dotenv, INI, YAML (kustomize-controller, decryptor).
var sopsMarkers = []string{`"mac": "ENC[`, `"mac":"ENC[`, "sops_mac=ENC[", "[sops]", "mac: ENC["}

// Encrypted reports whether an object is encrypted with SOPS: it has a sops
// field with a MAC (a Secret: any sops field), or is a Secret one of whose
// values is an encrypted file. Objects that ask to be left alone by the
// annotation kustomize.toolkit.fluxcd.io/decrypt: disabled, and SopsSecrets,
// which an operator decrypts in the cluster, are not.
func Encrypted(fields map[string]any) bool {
	metadata, _ := fields["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if value, _ := annotations[keepEncrypted].(string); strings.EqualFold(value, "disabled") {
		return false
	}
	isSecret := fields["kind"] == "Secret" && fields["apiVersion"] == "v1"
	if sops, ok := fields["sops"]; ok && fields["kind"] != "SopsSecret" {
		block, _ := sops.(map[string]any)
		if mac, _ := block["mac"].(string); mac != "" || isSecret {
			return true
		}
	}
	if !isSecret {
		return false
	}
	return anyValue(fields["data"], func(value string) bool {
		decoded, err := base64.StdEncoding.DecodeString(value)
		return err == nil && marked(string(decoded))
	}) || anyValue(fields["stringData"], marked)
}

// marked reports whether text is a file, or a value, that SOPS has encrypted.
func marked(text string) bool {
	if strings.HasPrefix(text, "ENC[AES256_GCM,") {
		return true
	}
	if !strings.Contains(text, "ENC[") {
		return false
	}
	for _, marker := range sopsMarkers {
		if strings.Contains(text, marker) {
			return true
		}
	}
	return false
}

func anyValue(values any, match func(string) bool) bool {
	m, _ := values.(map[string]any)
	for _, value := range m {
		if text, ok := value.(string); ok && match(text) {
			return true
		}
	}
	return false
}
