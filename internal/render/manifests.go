package render

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
	kubejson "k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/gate"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// manifests renders a directory of plain files and of Jsonnet, as upstream
// finds and reads them (argo-cd reposerver/repository, findManifests): all
// files are found before the first is read as a manifest, in the order of a
// walk by name.
func (b *build) manifests(dir string, opts model.DirectoryOptions) ([]model.Rendered, error) {
	files, err := b.find(dir, opts)
	if err != nil {
		return nil, err
	}
	c := (&survey{build: b}).collector(nil)
	r := reader{collector: c, jsonnet: &jsonnet{build: b, dir: dir, opts: opts.Jsonnet}}
	defer r.jsonnet.close()
	for _, file := range files {
		if err := b.ctx.Err(); err != nil {
			return nil, b.recorder.fail(err)
		}
		if err := r.read(file); err != nil {
			return nil, err
		}
	}
	return c.objects, nil
}

// manifestFile is a file that may hold manifests.
type manifestFile struct {
	path string // as it is named; a link may lead elsewhere
	text []byte // as UTF-8; nil for Jsonnet
}

func (f manifestFile) name() string { return path.Base(f.path) }

// manifestName tells manifests by their names.
var manifestName = regexp.MustCompile(`^.*\.(yaml|yml|json|jsonnet)$`)

const jsonnetExtension = ".jsonnet"

// skipMarker anywhere in a file keeps it from being rendered.
const skipMarker = "+argocd:skip-file-rendering"

// finder walks a directory.
type finder struct {
	*build
	root  string
	opts  model.DirectoryOptions
	files []manifestFile
}

func (b *build) find(dir string, opts model.DirectoryOptions) ([]manifestFile, error) {
	for _, option := range [][2]string{{"include", opts.Include}, {"exclude", opts.Exclude}} {
		if field, pattern := option[0], option[1]; !gate.ValidGlob(pattern) {
			// Upstream goes on as if nothing matched: it would delete what it
			// no longer includes, or apply what it should exclude.
			return nil, b.fault(b.origin.Field+".directory."+field, fmt.Sprintf("the pattern %q cannot be read", clipped(pattern)), "correct it, or put a backslash before characters that are meant as they are")
		}
	}
	f := &finder{build: b, root: dir, opts: opts}
	err := f.walk(dir, 0)
	return f.files, err
}

// clipped is a text that is short enough for a message.
func clipped(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (f *finder) walk(dir string, depth int) error {
	if depth > f.limits.Depth {
		return f.readFault(dir, &LimitError{Path: dir, Message: fmt.Sprintf("directories are nested deeper than %d", f.limits.Depth)})
	}
	entries, err := f.recorder.List(dir)
	if err != nil {
		return f.readFault(dir, err)
	}
	for _, entry := range entries {
		at := path.Join(dir, entry.Name)
		if isDir(entry) {
			if f.opts.Recurse {
				err = f.walk(at, depth+1)
			}
		} else {
			err = f.visit(at, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visit takes a file unless it is left out by its name, by a pattern, or by
// its own wish.
func (f *finder) visit(at string, entry model.Entry) error {
	relative := strings.TrimPrefix(strings.TrimPrefix(at, f.root), "/")
	if !f.opts.AnyExtension && !manifestName.MatchString(entry.Name) {
		return nil
	}
	in := at
	if entry.Kind == model.LinkEntry {
		target, pointed, err := f.fs.resolve(at)
		switch {
		case isNotExist(err):
			return nil
		case errors.Is(err, errOutside):
			return f.faultAt(at, 0, fmt.Sprintf("illegal filepath in symlink at %q", relative), "a link may lead to its own source only: copy what it means")
		case err != nil:
			return f.readFault(at, err)
		case isDir(pointed):
			return nil
		}
		in = target
	}
	if f.opts.Exclude != "" && gate.Glob(f.opts.Exclude, relative) || f.opts.Include != "" && !gate.Glob(f.opts.Include, relative) {
		return nil
	}
	text, err := f.recorder.Read(in)
	if err != nil {
		return f.readFault(at, err)
	}
	text = utf8Of(text)
	if bytes.Contains(text, []byte(skipMarker)) {
		return nil
	}
	file := manifestFile{path: at}
	if !strings.HasSuffix(entry.Name, jsonnetExtension) {
		file.text = text
	}
	f.files = append(f.files, file)
	return nil
}

// utf8Of decodes text by its byte order mark; without one it is UTF-8.
func utf8Of(text []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, []byte{0xef, 0xbb, 0xbf}):
		return text[3:]
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return text
	}
	units := make([]uint16, 0, len(text)/2)
	for i := 2; i+1 < len(text); i += 2 {
		units = append(units, order.Uint16(text[i:]))
	}
	return []byte(string(utf16.Decode(units)))
}

// reader makes objects of manifest files.
type reader struct {
	*collector
	jsonnet *jsonnet
}

func (r reader) read(file manifestFile) error {
	switch {
	case file.text == nil && r.jsonnet.opts.Off:
		return nil
	case file.text == nil:
		return r.readJsonnet(file)
	case strings.HasSuffix(file.name(), ".json"):
		return r.readJSON(file)
	}
	return r.readYAML(file)
}

// manifest is one object of a file.
type manifest struct {
	fields map[string]any
	line   int        // 0: unknown
	node   *yaml.Node // where it was read from YAML and holds a list
}

// readYAML takes every document of a file. A file that cannot be read is an
// error when some of it can, or when it looks like a manifest; others are
// somebody else's YAML.
func (r reader) readYAML(file manifestFile) error {
	if err := r.boundYAML(file.path, file.text); err != nil {
		return err
	}
	objects, line, err := decodeManifests(file.text)
	if err != nil {
		if len(objects) == 0 && !looksLikeManifest(file.text) {
			return nil
		}
		return r.unreadable(file, line)
	}
	for i := range objects {
		if err := r.take(file, &objects[i]); err != nil {
			return err
		}
	}
	return nil
}

// looksLikeManifest reports whether a file that cannot be read was meant to be
// a manifest.
func looksLikeManifest(text []byte) bool {
	for _, key := range []string{"apiVersion:", "kind:", "metadata:"} {
		if !bytes.Contains(text, []byte(key)) {
			return false
		}
	}
	return true
}

// readJSON takes the one object of a file. An object without kind that could
// be a manifest of an OCI image is left out, as upstream does for directories
// that come from a registry: that is any JSON whose fields do not contradict.
func (r reader) readJSON(file manifestFile) error {
	decoder := json.NewDecoder(bytes.NewReader(file.text))
	var raw json.RawMessage
	err := decoder.Decode(&raw)
	if err != nil {
		return r.unreadable(file, 0)
	}
	one, err := decodeFields(raw, lineOfContent(file.text))
	if err != nil {
		var image imageManifest
		if json.Unmarshal(raw, &image) == nil {
			return nil
		}
		return r.unreadable(file, 0)
	}
	if decoder.More() {
		return r.faultAt(file.path, 0, fmt.Sprintf("Found multiple objects in %q. Only single objects are allowed in JSON files.", file.name()), "use one file for each, a List, or YAML")
	}
	if one == nil {
		return nil
	}
	return r.take(file, one)
}

// imageManifest has the types of the fields of a manifest of the OCI image
// specification.
type imageManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        imageDescriptor   `json:"config"`
	Layers        []imageDescriptor `json:"layers"`
	Subject       *imageDescriptor  `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

type imageDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	Data         []byte            `json:"data"`
	ArtifactType string            `json:"artifactType"`
}

// readJsonnet takes the object, or the objects in the array, that a program
// comes to.
func (r reader) readJsonnet(file manifestFile) error {
	text, err := r.jsonnet.evaluate(file.path)
	if err != nil {
		return err
	}
	var result any
	if err := kubejson.Unmarshal(text, &result); err != nil {
		return r.faultAt(file.path, 0, fmt.Sprintf("Failed to unmarshal generated json %q", file.name()), "")
	}
	results, ok := result.([]any)
	if !ok {
		results = []any{result}
	}
	for i, one := range results {
		if one == nil {
			continue
		}
		fields, _ := one.(map[string]any)
		if kind, _ := fields["kind"].(string); kind == "" {
			what := "the result is"
			if ok {
				what = fmt.Sprintf("item %d of the result is", i)
			}
			return r.faultAt(file.path, 0, fmt.Sprintf("Failed to unmarshal generated json %q: %s no object with a kind", file.name(), what), "a program has to come to a Kubernetes object, or to an array of them")
		}
		if err := r.take(file, &manifest{fields: fields}); err != nil {
			return err
		}
	}
	return nil
}

// take adds an object. One with items is a list, whatever its kind; one whose
// items are null is an empty one.
func (r reader) take(file manifestFile, m *manifest) error {
	at := &asked{file: file.path, line: m.line}
	items, there := m.fields["items"]
	list, ok := items.([]any)
	switch {
	case ok:
	case there && items == nil && m.fields["spec"] == nil && m.fields["status"] == nil:
		return nil
	default:
		return r.add(m.fields, at)
	}
	nodes := field(m.node, "items")
	for i, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return r.faultAt(file.path, m.line, "a List holds an item that is not a Kubernetes object", "")
		}
		line := m.line
		if nodes != nil && len(nodes.Content) == len(list) {
			line = nodes.Content[i].Line
		}
		if err := r.add(fields, &asked{file: file.path, line: line}); err != nil {
			return err
		}
	}
	return nil
}

// unreadable says what is wrong with a file, without quoting it.
func (r reader) unreadable(file manifestFile, line int) error {
	what := "it is no Kubernetes object, or not valid"
	var at *object.DecodeError
	if _, err := object.Decode(file.text, file.path, object.Limits{}); errors.As(err, &at) {
		what = at.Message
		if at.Line > 0 {
			line = at.Line
		}
	}
	return r.faultAt(file.path, line, fmt.Sprintf("Failed to unmarshal %q: %s", file.name(), what), "correct the file, exclude it, or write "+skipMarker+" in a comment when it is no manifest")
}

// errNoObject is about a document that is no object with a kind.
var errNoObject = errors.New("no object with a kind")

// decodeManifests reads the documents of a file as kubectl does: a file that
// begins like JSON is a stream of JSON objects, if it can be read as one. What
// was read before an error is returned with it, and the error's line.
func decodeManifests(text []byte) (objects []manifest, line int, err error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if objects, ok := decodeStream(text); ok {
			return objects, 0, nil
		}
	}
	for first := 1; len(text) > 0; {
		part, lines, rest := cutDocument(text)
		at := first + lineOfContent(part) - 1
		one, err := decodeDocument(part, at, first)
		if err != nil {
			return objects, at, err
		}
		if one != nil {
			objects = append(objects, *one)
		}
		first += lines
		text = rest
	}
	return objects, 0, nil
}

// decodeStream reads JSON objects that follow each other.
func decodeStream(text []byte) ([]manifest, bool) {
	var objects []manifest
	decoder := json.NewDecoder(bytes.NewReader(text))
	line, counted := 1, 0
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return objects, true
		}
		if err != nil {
			return nil, false
		}
		start := int(decoder.InputOffset()) - len(raw)
		line += bytes.Count(text[counted:start], []byte("\n"))
		counted = start
		one, err := decodeFields(raw, line)
		if err != nil {
			return nil, false
		}
		if one != nil {
			objects = append(objects, *one)
		}
	}
}

// decodeDocument reads one YAML document; nil: it is empty.
func decodeDocument(part []byte, line, first int) (*manifest, error) {
	text, err := sigsyaml.YAMLToJSON(part)
	if err != nil {
		return nil, err
	}
	one, err := decodeFields(text, line)
	if err != nil || one == nil {
		return nil, err
	}
	if _, list := one.fields["items"].([]any); list {
		if node, ok := parseDocument(part); ok && node != nil {
			shift(node, first-1)
			one.node = node
		}
	}
	return one, nil
}

func decodeFields(text []byte, line int) (*manifest, error) {
	var value any
	if err := kubejson.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	if value == nil {
		return nil, nil
	}
	fields, _ := value.(map[string]any)
	if kind, _ := fields["kind"].(string); kind == "" {
		return nil, errNoObject
	}
	return &manifest{fields: fields, line: line}, nil
}

// lineOfContent is the line of the first thing in a document, counted from 1.
func lineOfContent(text []byte) int {
	line := 1
	for _, l := range bytes.Split(text, []byte("\n")) {
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' && l[0] != '%' && !isMarker(l) {
			return line
		}
		line++
	}
	return 1
}
