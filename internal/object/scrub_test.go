package object

import (
	"strings"
	"testing"
)

func TestScrubber(t *testing.T) {
	scrub := Scrubber([]string{"", "pass", "password", "p@ss w/rd"}, 60)
	for text, want := range map[string]string{
		"it said password, then pass":       "it said [secret], then [secret]",
		"https://x/?k=p%40ss+w%2Frd":        "https://x/?k=[secret]",
		"https://u:p%40ss%20w%2Frd@x/":      "https://u:[secret]@x/",
		" two\nlines\x00 and \xff ":         "two lines  and ?",
		strings.Repeat("ö", 31):             strings.Repeat("ö", 30) + "…",
		strings.Repeat("x", 59) + "ö" + "y": strings.Repeat("x", 59) + "…",
		"a\x1b[31mb":                        "a [31mb",
		"nothing to hide":                   "nothing to hide",
	} {
		if got := scrub(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
