package helmrepo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// inPieces reads an index that must not need to be parsed at once.
func inPieces(text string) (*index, error) {
	return parse(strings.NewReader(text), func() (io.Reader, error) { return nil, errUnusual }, 0)
}

// anyStyle reads an index of any style.
func anyStyle(text string) (*index, error) {
	return parse(strings.NewReader(text), func() (io.Reader, error) { return strings.NewReader(text), nil }, 1<<20)
}

// byHelm reads an index with Helm's library.
func byHelm(t testing.TB, text string) (*helmIndex, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadHelmIndex(name)
}

// same compares what matters of two indexes.
func same(got *index, want *helmIndex) error {
	if len(got.charts) != len(want.Entries) {
		return fmt.Errorf("%d charts, Helm has %d", len(got.charts), len(want.Entries))
	}
	for name, versions := range want.Entries {
		releases, ok := got.charts[name]
		if !ok || len(releases) != len(versions) {
			return fmt.Errorf("chart %s: %d versions, Helm has %d", name, len(releases), len(versions))
		}
		byVersion := map[string]*helmVersion{}
		for _, v := range versions {
			byVersion[v.Version] = v
		}
		for i := range releases {
			r := &releases[i]
			v := byVersion[r.version]
			if v == nil {
				return fmt.Errorf("chart %s: Helm has no version %s", name, r.version)
			}
			var url string
			if len(v.URLs) > 0 {
				url = v.URLs[0]
			}
			if digest := r.digestText(); r.url != url || digest != "" && strings.TrimPrefix(digest, "sha256:") != strings.ToLower(strings.TrimPrefix(v.Digest, "sha256:")) {
				return fmt.Errorf("chart %s %s: %q %s, Helm has %q %s", name, r.version, r.url, digest, url, v.Digest)
			}
			if !r.createdAt().Equal(v.Created) {
				return fmt.Errorf("chart %s %s: created %s, Helm has %s", name, r.version, r.createdAt(), v.Created)
			}
		}
	}
	return nil
}

func TestLargeIndexReadsAsHelmReadsIt(t *testing.T) {
	text := generatedText(t, 5, 120)
	got, err := inPieces(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := byHelm(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := same(got, want); err != nil {
		t.Fatal(err)
	}
	for name, versions := range want.Entries {
		for i, v := range versions {
			if got.charts[name][i].version != v.Version {
				t.Fatalf("%s: place %d is %s, Helm has %s", name, i, got.charts[name][i].version, v.Version)
			}
		}
	}
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := inPieces(string(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	if err := same(fromJSON, want); err != nil {
		t.Fatal("JSON:", err)
	}
	indented, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if fromJSON, err = inPieces(string(indented)); err != nil {
		t.Fatal(err)
	}
	if err := same(fromJSON, want); err != nil {
		t.Fatal("indented JSON:", err)
	}
}

// styles are ways in which an index is written, by whether it is read in pieces.
var styles = []struct {
	name   string
	pieces bool
	text   string
}{
	{"lists indented below their key", true, "apiVersion: v1\nentries:\n  a:\n    - name: a\n      version: 1.0.0\n      urls:\n        - a-1.0.0.tgz\n    - name: a\n      version: 1.1.0\n      urls: [x.tgz]\n"},
	{"four spaces, comments, blank lines, end of line of Windows", true, "# top\r\n---\r\napiVersion: v1 # form\r\n\r\nentries: # all\r\n    # charts\r\n    a:\r\n    # versions\r\n    - name: a\r\n\r\n      # in between\r\n      version: 1.0.0\r\n      urls:\r\n      - https://e.x/a.tgz\r\n"},
	{"a dash alone", true, "apiVersion: v1\nentries:\n  a:\n  -\n    name: a\n    version: 1.0.0\n"},
	{"keys in quotes", true, "apiVersion: v1\n\"entries\":\n  \"a\":\n  - \"name\": \"a\"\n    'version': '1.0.0'\n    \"digest\": \"sha256:" + strings.Repeat("AB", 32) + "\"\n    urls: ['a.tgz']\n"},
	{"entries in flow style", true, "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0, urls: [a.tgz]}\n"},
	{"entries first and last", true, "entries:\n  a:\n  - name: a\n    version: 1.0.0\napiVersion: v1\n"},
	{"no entries", true, "apiVersion: v1\nentries: {}\ngenerated: \"2020-01-01T00:00:00Z\"\n"},
	{"null entries", true, "apiVersion: v1\nentries:\n"},
	{"empty charts", true, "apiVersion: v1\nentries:\n  a: []\n  b:\n  c: null\n  d:\n  - name: d\n    version: 1.0.0\n"},
	{"other lists", true, "apiVersion: v1\npublicKeys:\n- one\n- two\nannotations:\n  a: b\nserverInfo:\n  contextPath: /x\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n"},
	{"block texts that look like entries", true, "apiVersion: v1\nentries:\n  a:\n  - description: |\n      - name: trap\n        version: 9.9.9\n      entries:\n    name: a\n    version: 1.0.0\n    annotations:\n      urls: |-\n        - no\n    urls:\n    - a.tgz\n"},
	{"texts over several lines", true, "apiVersion: v1\nentries:\n  a:\n  - description: one\n      two\n    name:\n      a\n    version: >-\n      1.0.0\n    home: 'x\n\n      version: 2.0.0'\n    urls:\n    - >-\n      a.tgz\n"},
	{"names with digits in front", true, "apiVersion: v1\nentries:\n  1password:\n  - name: 1password\n    version: 1.0.0\n  \"2048\":\n  - name: \"2048\"\n    version: 1.0.0\n"},
	{"numbers for texts", true, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: \"1\"\n    digest: 1234567890123456789012345678901234567890123456789012345678901234\n  - name: a\n    version: '2.10'\n    digest: '1e3'\n"},
	{"addresses of every kind", true, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls:\n    - oci://registry.example.com:5000/charts/a:1.0.0\n    - second\n  - name: a\n    version: 1.0.1\n    urls:\n    - http://10.0.0.1:8080/a-1.0.1.tgz?x=1&y=%20#part\n  - name: a\n    version: 1.0.2\n    urls:\n    - \"charts/a 1.tgz\"\n  - name: a\n    version: 1.0.3\n    urls:\n    - ../a.tgz # old\n  - name: a\n    version: 1.0.4\n    urls: []\n"},
	{"invalid entries", true, "apiVersion: v1\nentries:\n  a:\n  -\n  - null\n  - name: a\n  - version: 1.0.0\n  - name: ../a\n    version: 1.0.0\n  - name: a\n    version: one\n  - name: a\n    version: 1.0.1\n    type: other\n  - name: a\n    version: 1.0.2\n    maintainers:\n    - null\n  - name: a\n    version: 1.0.3\n    maintainers:\n    -\n  - name: a\n    version: 1.0.4\n    dependencies:\n    - name: b\n      alias: b/c\n  - name: a\n    version: 1.0.5\n    dependencies:\n    - name: b\n      alias: ok\n    - name: b\n      alias: ok\n  - name: a\n    version: 1.0.6\n    type: library\n    deprecated: true\n    removed: true\n"},
	{"signs that cannot be printed", true, "apiVersion: v1\nentries:\n  a:\n  - name: \"\\u0001\"\n    version: 1.0.0\n  - name: \"a\\u0001\"\n    version: 1.0.1\n"},
	{"anchors within an entry", true, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    appVersion: &v 1.0.0\n    version: 1.0.0\n    home: *v\n"},

	{"flow style that is no JSON", false, "{apiVersion: v1, entries: {a: [{name: a, version: 1.0.0}]}}"},
	{"more than one document", false, `{"apiVersion":"v1"} {"apiVersion":"v1"}`},
	{"a chart in flow style", false, "apiVersion: v1\nentries:\n  a: [{name: a, version: 1.0.0}]\n"},
	{"anchors across entries", false, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: &u\n    - a.tgz\n  - name: a\n    version: 1.0.1\n    urls: *u\n"},
	{"merges", false, "apiVersion: v1\nentries:\n  a:\n  - &one\n    name: a\n    version: 1.0.0\n  - <<: *one\n    digest: none\n"},
	{"the end of a document", false, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n...\n"},
	{"quotes that reach to the left", false, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    description: \"one\n  two\"\n"},
	{"complex keys", false, "apiVersion: v1\nentries:\n  ? a\n  : - name: a\n      version: 1.0.0\n"},
}

func TestStyles(t *testing.T) {
	for _, c := range styles {
		t.Run(c.name, func(t *testing.T) {
			want, err := byHelm(t, c.text)
			if err != nil {
				t.Fatalf("Helm does not read it: %v", err)
			}
			got, err := inPieces(c.text)
			if c.pieces != (err == nil) {
				t.Fatalf("in pieces: %v", err)
			}
			if !c.pieces {
				if !errors.Is(err, errUnusual) {
					t.Fatal(err)
				}
				if got, err = anyStyle(c.text); err != nil {
					t.Fatal(err)
				}
			}
			if err := same(got, want); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWhatIsNoIndex(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", "empty"},
		"blanks":           {" \n\t\r\n", "empty"},
		"a page":           {"<html>\n<body>\n</body>\n</html>\n", ""},
		"a text":           {"not found\n", ""},
		"no version":       {"entries:\n  a:\n  - name: a\n    version: 1.0.0\n", "apiVersion"},
		"no version, JSON": {`{"entries":{}}`, "apiVersion"},
		"wrong kinds":      {"apiVersion: v1\nentries:\n- a\n", ""},
		"wrong kinds JSON": {`{"apiVersion":"v1","entries":{"a":{"name":"a"}}}`, "form"},
		"wrong time":       {"apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    created: yesterday\n", "yesterday"},
		"half a JSON":      {`{"apiVersion":"v1","entries":{"a":[{"name":`, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := byHelm(t, c.text); err == nil {
				t.Error("Helm reads it")
			}
			if _, err := anyStyle(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something with %q", err, c.want)
			}
		})
	}
}

func TestPiecesAreBounded(t *testing.T) {
	long := strings.Repeat("x", maxPiece+1)
	for name, text := range map[string]string{
		"one line":  "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: " + long,
		"one entry": "apiVersion: v1\nentries:\n  a:\n  - description: |\n" + strings.Repeat("      "+long[:1000]+"\n", maxPiece/1000),
		"the head":  "apiVersion: v1\npublicKeys:\n" + strings.Repeat("- "+long[:1000]+"\n", maxPiece/1000),
	} {
		if _, err := inPieces(text); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnusualStyleIsBounded(t *testing.T) {
	text := "{apiVersion: v1, entries: {}, annotations: {a: " + strings.Repeat("b", 1<<20) + "}}"
	_, err := anyStyle(text)
	if !errors.Is(err, errUnusual) || !strings.Contains(err.Error(), "helm repo index") {
		t.Fatalf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	x, err := inPieces(`apiVersion: v1
entries:
  app:
  - {name: app, version: 1.0.0}
  - {name: app, version: 2.1.0-rc.1}
  - {name: app, version: 2.0.0, created: "2024-01-01T00:00:00Z", urls: [old]}
  - {name: app, version: 2.0.0+build.2, created: "2024-02-01T00:00:00Z", urls: [new]}
  - {name: app, version: 2.0.0+build.1, created: "2024-01-02T00:00:00Z"}
  - {name: app, version: v1.5.0}
  - {name: app, version: "3.0"}
  pre:
  - {name: pre, version: 0.1.0-alpha.1}
  - {name: pre, version: 0.1.0-alpha.2}
  loose:
  - {name: loose, version: "1.2"}
  - {name: loose, version: "1.10"}
  none: []
  ingress-nginx:
  - {name: ingress-nginx, version: 4.10.0}
  - {name: ingress-nginx, version: 4.10.2}
  - {name: ingress-nginx, version: 4.10.3}
  - {name: ingress-nginx, version: 4.11.0}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, wanted, version, fault string }{
		{"app", "", "2.0.0+build.2", ""},
		{"app", "*", "2.0.0+build.2", ""},
		{"app", "2.0.0", "2.0.0", ""}, // written exactly so, though another is newer
		{"app", "2.0.0+build.1", "2.0.0+build.1", ""},
		{"app", "v2.0.0", "2.0.0+build.2", ""},
		{"app", "1.5.0", "v1.5.0", ""},
		{"app", "<2", "v1.5.0", ""},
		{"app", ">=0-0", "2.1.0-rc.1", ""},
		{"app", "~1.0", "1.0.0", ""},
		{"app", "3.0", "3.0", ""},
		{"app", ">=3", "3.0", ""}, // no strict version fits
		{"app", "4", "", "the newest is 3.0"},
		{"pre", "", "", "there are pre-releases only, the newest is 0.1.0-alpha.2"},
		{"pre", ">=0-0", "0.1.0-alpha.2", ""},
		{"loose", "", "1.10", ""},
		{"none", "", "", "publish"},
		{"app", "what?", "", "no range of versions"},
		{"ingress-nginx", "4.10.1", "", "near it are 4.10.0, 4.10.2, 4.10.3; the newest is 4.11.0"},
		{"ingress-nginx", "~4.12.0", "", "near it are 4.10.2, 4.10.3, 4.11.0"},
		{"ingress-ngnix", "", "", `did you mean "ingress-nginx"?`},
		{"nginx", "", "", `did you mean "ingress-nginx"?`},
		{"Loose", "", "", `did you mean "loose"?`},
		{"something-else", "", "", "holds 5 other charts"},
	} {
		r, err := x.find(c.name, c.wanted)
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s %q: %v", c.name, c.wanted, err)
		case c.fault == "" && r.version != c.version:
			t.Errorf("%s %q: got %s, want %s", c.name, c.wanted, r.version, c.version)
		case c.fault != "":
			var absent *missing
			if !errors.As(err, &absent) || !strings.Contains(absent.text+": "+absent.advice, c.fault) {
				t.Errorf("%s %q: got %v (%+v), want %q", c.name, c.wanted, err, absent, c.fault)
			}
		}
	}
}

// FuzzIndex: what Helm reads is read in the same way, piece by piece or at once.
// Helm refuses members that it does not know; those are passed over.
func FuzzIndex(f *testing.F) {
	for _, c := range styles {
		f.Add(c.text)
	}
	f.Add(generatedText(f, 1, 2))
	f.Add(`{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0","urls":["x"]},null]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		want, err := byHelm(t, text)
		if err != nil {
			_, _ = anyStyle(text) // must not panic
			return
		}
		got, err := anyStyle(text)
		if err != nil {
			t.Fatalf("Helm reads it: %v", err)
		}
		if err := same(got, want); err != nil {
			t.Fatal(err)
		}
	})
}
