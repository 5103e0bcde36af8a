package podstatus

import (
	"strings"
	"testing"
)

func TestImages(t *testing.T) {
	const good, none, bad = "pulled", "not found", "no name"
	cases := map[string]string{
		"nginx":                            good,
		"nginx:1.27":                       good,
		"badger:2":                         good, // "bad" is no word of it
		"registry.example.com:5000/a/b:v1": good,
		"invalid.example.com/app:1":        good, // only the end of the host counts
		"nginx:9":                          good,
		"nginx:1.99":                       good,
		"nginx@sha256:0123456789012345678901234567890123456789012345678901234567890123": good,

		"nginx:nope":              none,
		"nginx:1.27-typo2":        none,
		"nginx:does-not-exist":    none,
		"nginx:DoesNotExist":      none,
		"nginx:99.99.99":          none,
		"nginx:v9.9.9":            none,
		"nginx:999":               none,
		"team/no-such-app:1":      none,
		"team/bad:1":              none,
		"registry.invalid/app:1":  none,
		"registry.invalid:5000/a": none,

		"":           bad,
		"Nginx":      bad,
		"nginx:a b":  bad,
		"nginx:":     bad,
		"https://x/": bad,
	}
	for text, want := range cases {
		got := good
		found, fault := inspect(text)
		switch {
		case fault != nil && fault.invalidName:
			got = bad
		case fault != nil:
			got = none
		case !strings.Contains(found.id, "@sha256:"):
			got = "without a digest: " + found.id
		}
		if got != want {
			t.Errorf("image %q: %s, want %s", text, got, want)
		}
	}
}
