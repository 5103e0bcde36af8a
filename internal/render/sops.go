package render

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
)

// keepEncrypted is the annotation by which a user says that an object is meant
// to be applied as it is, value "disabled" (kustomize-controller, decryptor).
const keepEncrypted = "kustomize.toolkit.fluxcd.io/decrypt"

// The formats of files, as SOPS calls them.
const (
	formatYAML   = "yaml"
	formatJSON   = "json"
	formatDotenv = "dotenv"
	formatINI    = "ini"
	formatBinary = "binary"
)

// formatOf is the format that a name tells (kustomize-controller, decryptor,
// formatForPath).
func formatOf(name string) string {
	for _, known := range []struct{ extension, format string }{
		{".dockerconfigjson", formatJSON}, {".yaml", formatYAML}, {".yml", formatYAML},
		{".json", formatJSON}, {".env", formatDotenv}, {".ini", formatINI},
	} {
		if strings.HasSuffix(name, known.extension) {
			return known.format
		}
	}
	return formatBinary
}

// sopsMAC finds the MAC that SOPS leaves in what it encrypts, in YAML and in
// JSON, which is also the envelope of binary files.
var (
	sopsMAC  = regexp.MustCompile(`["']?\bmac["']?\s*:\s*["']?ENC\[`)
	iniMAC   = regexp.MustCompile(`(?m)^mac\s*=\s*ENC\[`)
	sealMark = []byte("ENC[")
)

// sealedAs reports whether a file is encrypted, when it has a format.
func sealedAs(format string, content []byte) bool {
	if !bytes.Contains(content, sealMark) {
		return false
	}
	switch format {
	case formatDotenv:
		return bytes.Contains(content, []byte("sops_mac=ENC["))
	case formatINI:
		return bytes.Contains(content, []byte("[sops]")) && iniMAC.Match(content)
	case formatYAML:
		return sopsMAC.Match(content)
	}
	return sopsMAC.Match(content) && bytes.HasPrefix(bytes.TrimSpace(content), []byte("{"))
}

// formatIn is the format that a file is encrypted in; "": it is not.
func formatIn(content []byte) string {
	for _, format := range []string{formatDotenv, formatINI, formatJSON, formatYAML} {
		if sealedAs(format, content) {
			return format
		}
	}
	return ""
}

// leftEncrypted reports whether an object asks to be applied as it is.
func leftEncrypted(fields map[string]any) bool {
	metadata, _ := fields["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, _ := annotations[keepEncrypted].(string)
	return strings.EqualFold(value, "disabled")
}

// macOf is the MAC of an encrypted object, or "".
func macOf(fields map[string]any) string {
	block, _ := fields["sops"].(map[string]any)
	mac, _ := block["mac"].(string)
	return mac
}

// Encrypted reports whether an object is encrypted with SOPS: it has a sops
// field with a MAC (a Secret: any sops field), or is a Secret one of whose
// values is an encrypted file. Objects that ask to be left alone by the
// annotation kustomize.toolkit.fluxcd.io/decrypt: disabled, and SopsSecrets,
// which an operator decrypts in the cluster, are not.
func Encrypted(fields map[string]any) bool {
	if leftEncrypted(fields) {
		return false
	}
	isSecret := fields["kind"] == "Secret" && fields["apiVersion"] == "v1"
	if _, ok := fields["sops"]; ok && fields["kind"] != "SopsSecret" && (macOf(fields) != "" || isSecret) {
		return true
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
	return strings.HasPrefix(text, "ENC[AES256_GCM,") || formatIn([]byte(text)) != ""
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
