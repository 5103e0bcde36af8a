package chart

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/helm"
)

// Document is one manifest that a chart makes.
type Document struct {
	// Template is the name of the template, beginning with that of the chart, as
	// Helm prints it after "# Source:".
	Template string
	// File is the template's path relative to the outermost chart's directory.
	File string
	Text string // YAML
	Kind string
	// Part is the place of the document among those that the template made,
	// which are as many as Parts.
	Part, Parts int
	Hook        helm.Hook // without Events: it is none
}

// Test reports whether the document is a test.
func (d *Document) Test() bool { return slices.Contains(d.Hook.Events, helm.EventTest) }

// head is what Helm looks at in a manifest.
type head struct {
	Kind     string `json:"kind,omitempty"`
	Metadata *struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata,omitempty"`
	Version string `json:"apiVersion"`
}

// Sort cuts what templates printed into manifests, and puts those that are no
// hooks into the order in which Helm installs kinds, and the hooks by kind too
// (pkg/release/v1/util, SortManifests). A hook with an event that Helm does not
// know is left out, as Helm does. files are by the name of their template.
func Sort(files map[string]string, fileOf func(template string) string) (manifests, hooks []Document, err error) {
	for _, name := range sortedKeys(files) {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		parts := Cut(files[name])
		for i, text := range parts {
			var h head
			if err := yaml.Unmarshal([]byte(text), &h); err != nil {
				return nil, nil, &Error{Template: name, File: fileOf(name), Message: fmt.Sprintf("YAML parse error on %s: %s", name, firstLine(err.Error()))}
			}
			d := Document{Template: name, File: fileOf(name), Text: text, Kind: h.Kind, Part: i, Parts: len(parts)}
			role := helm.Plain
			if h.Metadata != nil {
				d.Hook, role = helm.ReadHook(h.Kind, h.Metadata.Name, h.Metadata.Annotations)
			}
			switch role {
			case helm.Plain:
				manifests = append(manifests, d)
			case helm.Hooked:
				hooks = append(hooks, d)
			}
		}
	}
	sortByKind(manifests)
	sortByKind(hooks)
	return manifests, hooks, nil
}

var separator = regexp.MustCompile(`(?m)^---[ \t]*`)

// Cut divides what a template printed at the lines that begin with three
// dashes, whatever follows them there.
func Cut(text string) []string {
	var documents []string
	for _, part := range separator.Split(strings.TrimLeftFunc(text, unicode.IsSpace), -1) {
		if strings.TrimSpace(part) != "" {
			documents = append(documents, strings.TrimLeftFunc(part, unicode.IsSpace))
		}
	}
	return documents
}

func sortByKind(documents []Document) {
	slices.SortStableFunc(documents, func(a, b Document) int {
		switch {
		case helm.InstallsBefore(a.Kind, b.Kind):
			return -1
		case helm.InstallsBefore(b.Kind, a.Kind):
			return 1
		}
		return 0
	})
}

// crds are the files of the directories crds of a chart and its subcharts.
func (c *instance) crds(to []Document) []Document {
	for _, f := range c.Files {
		ext := strings.ToLower(path.Ext(f.Name))
		if strings.HasPrefix(f.Name, "crds/") && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
			to = append(to, Document{Template: path.Join(c.fullName(), f.Name), File: path.Join(c.At, f.Name), Text: string(f.Data)})
		}
	}
	for _, sub := range c.deps {
		to = sub.crds(to)
	}
	return to
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
