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

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
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

// Scrubber returns a function that makes what a server said fit for a message
// (object.Scrubber). Values shorter than four bytes are not masked: they would
// tear every message apart.
func Scrubber(secrets []string) func(string) string {
	long := slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(s) < 4 })
	return object.Scrubber(long, maxMessage)
}

// Display is an address fit for a message: without user, query and fragment.
func Display(address *url.URL) string {
	bare := *address
	bare.User, bare.RawQuery, bare.Fragment, bare.RawFragment, bare.ForceQuery = nil, "", "", "", false
	return bare.String()
}
