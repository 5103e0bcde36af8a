package object

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// blotted stands in a message for a secret that somebody else quoted.
const blotted = "[secret]"

// Scrubber returns a function that makes a foreign text, such as what a server
// answered, fit for a message: the given values are masked, also as they stand
// in a URL, control characters become spaces, and what is longer than most bytes
// is cut. Empty values mask nothing.
func Scrubber(secrets []string, most int) func(string) string {
	forms := map[string]bool{}
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), url.User(secret).String()} {
			if form != "" {
				forms[form] = true
			}
		}
	}
	// The longest first: a password that begins another must not leave its rest.
	ordered := slices.SortedFunc(maps.Keys(forms), func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range ordered {
		pairs = append(pairs, form, blotted)
	}
	mask := strings.NewReplacer(pairs...)
	printable := func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}
	return func(text string) string {
		text = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(mask.Replace(text), "?")))
		if len(text) <= most {
			return text
		}
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
}

// userInfo is what stands before the host in a URL.
var userInfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]+@`)

// WithoutCredentials takes user names and passwords out of the URLs in a text.
func WithoutCredentials(text string) string { return userInfo.ReplaceAllString(text, "$1") }
