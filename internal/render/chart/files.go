package chart

import (
	"encoding/base64"
	"path"
	"strings"

	"github.com/gobwas/glob"
)

// fileSet is .Files of templates: names to contents (Helm, pkg/engine, files).
// It is shared by all renders of a chart; templates cannot change it, since
// nothing that they call sets a value in a map of this type.
type fileSet map[string][]byte

// GetBytes returns the content of a file, nothing where there is none.
func (f fileSet) GetBytes(name string) []byte {
	if content, ok := f[name]; ok {
		return content
	}
	return []byte{}
}

// Get is GetBytes as text.
func (f fileSet) Get(name string) string { return string(f.GetBytes(name)) }

// Glob returns the files whose names match; a pattern that cannot be read
// matches all.
func (f fileSet) Glob(pattern string) fileSet {
	matcher, err := glob.Compile(pattern, '/')
	if err != nil {
		matcher, _ = glob.Compile("**")
	}
	found := fileSet{}
	for name, content := range f {
		if matcher.Match(name) {
			found[name] = content
		}
	}
	return found
}

// AsConfig is a YAML mapping of base names to contents.
func (f fileSet) AsConfig() string {
	return f.asYAML(func(content []byte) string { return string(content) })
}

// AsSecrets is AsConfig with contents in base64.
func (f fileSet) AsSecrets() string { return f.asYAML(base64.StdEncoding.EncodeToString) }

func (f fileSet) asYAML(write func([]byte) string) string {
	if f == nil {
		return ""
	}
	entries := map[string]string{}
	for _, name := range sortedKeys(f) {
		entries[path.Base(name)] = write(f[name])
	}
	return toYAML(entries)
}

// Lines returns the lines of a file.
func (f fileSet) Lines(name string) []string {
	content := string(f[name])
	if content == "" {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(content, "\n"), "\n")
}
