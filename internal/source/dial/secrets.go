package dial

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"plumb.dev/plumb/internal/model"
)

// Key digests everything that could make two answers differ: what is asked for,
// and with which credential, certificates and proxy. It is keyed, so that it is
// no oracle for a guessed password by itself.
func Key(auth *model.HTTPAuth, asked ...string) string {
	h := hmac.New(sha256.New, []byte("plumb http source 1"))
	for _, text := range asked {
		part(h, text)
	}
	part(h, "auth")
	for _, text := range []string{
		auth.Username, string(auth.Password.Reveal()), string(auth.BearerToken.Reveal()),
		string(auth.ClientCert), string(auth.ClientKey.Reveal()), string(auth.CA),
	} {
		part(h, text)
	}
	for _, config := range auth.DockerConfig {
		part(h, string(config.Reveal()))
	}
	for i, set := range []bool{auth.Insecure, auth.Plain, auth.PassAll} {
		if set {
			part(h, "flag", string(rune('0'+i)))
		}
	}
	if p := auth.Proxy; p != nil {
		part(h, "proxy", p.Address, p.Username, string(p.Password.Reveal()))
	}
	if w := auth.Workload; w != nil {
		part(h, "workload", w.Provider, w.Namespace, w.Account)
		for _, name := range slices.Sorted(maps.Keys(w.Annotations)) {
			part(h, name, w.Annotations[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func part(h hash.Hash, texts ...string) {
	for _, text := range texts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		_, _ = h.Write(length[:])
		_, _ = h.Write([]byte(text))
	}
}

// Secrets lists the values of auth, and of the addresses, that no message may
// hold.
func Secrets(auth *model.HTTPAuth, addresses ...*url.URL) []string {
	password := string(auth.Password.Reveal())
	all := []string{password, string(auth.BearerToken.Reveal()), string(auth.ClientKey.Reveal())}
	if password != "" {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(auth.Username+":"+password)))
	}
	if p := auth.Proxy; p != nil {
		all = append(all, string(p.Password.Reveal()))
		if via, err := url.Parse(p.Address); err == nil {
			addresses = append(addresses, via)
		}
	}
	for _, address := range addresses {
		if address == nil {
			continue
		}
		if address.User != nil {
			hidden, _ := address.User.Password()
			// A token is often written as the user of an address.
			all = append(all, hidden, address.User.Username(), address.User.String())
		}
		for _, values := range address.Query() {
			all = append(all, values...)
		}
	}
	return all
}

// maxMessage bounds what is quoted from a server, in bytes.
const maxMessage = 400

// Scrubber returns a function that masks the given values, also as they stand
// in a URL, drops control characters and bounds the length. Values shorter than
// four bytes are not masked: they would tear every message apart.
func Scrubber(secrets []string) func(string) string {
	forms := map[string]bool{}
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), url.User(secret).String()} {
			if len(form) >= 4 {
				forms[form] = true
			}
		}
	}
	// The longest first: a password that begins another must not leave its rest.
	ordered := slices.SortedFunc(maps.Keys(forms), func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range ordered {
		pairs = append(pairs, form, "[secret]")
	}
	mask := strings.NewReplacer(pairs...)
	return func(text string) string { return tidy(mask.Replace(text)) }
}

// tidy makes a foreign text fit for a condition.
func tidy(text string) string {
	printable := func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}
	text = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(text, "?")))
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// Display is an address fit for a message: without user, query and fragment.
func Display(address *url.URL) string {
	bare := *address
	bare.User, bare.RawQuery, bare.Fragment, bare.RawFragment, bare.ForceQuery = nil, "", "", "", false
	return bare.String()
}
