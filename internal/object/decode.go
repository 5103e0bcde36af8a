package object

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Limits bound what one file may cost. A zero field means the default.
type Limits struct {
	Bytes     int // of the file; default 16 MiB
	Documents int // documents and list items; default 20,000
	Depth     int // nesting of maps and lists in one object; default 200
	Nodes     int // values in one document once its aliases are expanded; default 2,000,000
}

func (l Limits) orDefaults() Limits {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Bytes, 16<<20)
	set(&l.Documents, 20_000)
	set(&l.Depth, 200)
	set(&l.Nodes, 2_000_000)
	return l
}

// Decoded is one object of a file.
type Decoded struct {
	Object *unstructured.Unstructured
	Line   int // 1-based line on which the object begins
}

// DecodeError says where in a file something cannot be read as Kubernetes
// objects. The message never quotes values.
type DecodeError struct {
	File    string
	Line    int // 1-based; 0 when the file as a whole is meant
	Message string
}

// Error is file:line: message.
func (e *DecodeError) Error() string {
	if e.Line <= 0 {
		return e.File + ": " + e.Message
	}
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Message
}

// Decode reads the Kubernetes objects of a YAML file with any number of
// documents, or of a file of JSON objects. Values get the types that kubectl
// gives them (YAML 1.1 scalars by way of JSON: whole numbers are int64, others
// float64). Lists (kind List, or a typed list such as ConfigMapList) become
// their items. Empty documents are skipped. Everything else that the API
// server could not take as an object is an error: a duplicate key, a missing
// apiVersion or kind, a name, label or annotation that is not a string. Errors
// are *DecodeError.
func Decode(data []byte, file string, limits Limits) ([]Decoded, error) {
	d := decoder{file: file, limits: limits.orDefaults()}
	if len(data) > d.limits.Bytes {
		return nil, d.fail(0, "the file has %d bytes, more than the %d that are read", len(data), d.limits.Bytes)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for _, document := range split(data) {
		if err := d.document(document); err != nil {
			return nil, err
		}
	}
	return d.out, nil
}

type decoder struct {
	file   string
	limits Limits
	out    []Decoded
}

func (d *decoder) fail(line int, format string, args ...any) error {
	return &DecodeError{File: d.file, Line: line, Message: fmt.Sprintf(format, args...)}
}

// document is the text of one document of a file.
type document struct {
	text  []byte
	first int // line in the file on which text begins
	line  int // line in the file of the first content
	json  bool
}

// split cuts a file into documents that have content.
func split(data []byte) []document {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if documents, ok := splitJSON(data); ok {
			return documents
		}
		// YAML in flow style begins the same way.
	}
	return splitYAML(data)
}

func splitJSON(data []byte) ([]document, bool) {
	var out []document
	reader := json.NewDecoder(bytes.NewReader(data))
	line, counted := 1, 0
	for {
		var raw json.RawMessage
		err := reader.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, true
		}
		if err != nil {
			return nil, false
		}
		start := int(reader.InputOffset()) - len(raw)
		line += bytes.Count(data[counted:start], []byte("\n"))
		counted = start
		if !bytes.Equal(raw, []byte("null")) {
			out = append(out, document{text: raw, first: line, line: line, json: true})
		}
	}
}

// splitYAML cuts at the document markers. YAML does not allow a marker at the
// start of a line inside of any scalar, so that lines are enough to see them.
func splitYAML(data []byte) []document {
	var out []document
	start, first := 0, 1           // of the current document
	content, directive := 0, false // line of its first content; whether only directives were seen
	flush := func(end int) {
		if content > 0 {
			out = append(out, document{text: data[start:end], first: first, line: content})
		}
	}
	for at, line := 0, 1; at < len(data); line++ {
		end := bytes.IndexByte(data[at:], '\n')
		next := at + end + 1
		if end < 0 {
			next = len(data)
		}
		text := bytes.TrimRight(data[at:next], "\r\n")
		switch {
		case isMarker(text, "---"):
			// Directives belong to the document that the marker opens.
			if content > 0 || !directive {
				flush(at)
				start, first = at, line
			}
			content, directive = 0, false
			if rest := bytes.TrimSpace(text[3:]); len(rest) > 0 && rest[0] != '#' {
				content = line
			}
		case isMarker(text, "..."):
			flush(at)
			start, first, content, directive = next, line+1, 0, false
		case content == 0 && len(text) > 0 && text[0] == '%':
			directive = true
		case content == 0:
			if rest := bytes.TrimSpace(text); len(rest) > 0 && rest[0] != '#' {
				content = line
			}
		}
		at = next
	}
	flush(len(data))
	return out
}

func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	return len(line) == len(marker) || line[len(marker)] == ' ' || line[len(marker)] == '\t'
}

// document decodes one document and appends its objects.
func (d *decoder) document(doc document) error {
	if err := d.boundAliases(doc); err != nil {
		return err
	}
	value, err := d.value(doc)
	if err != nil {
		return err
	}
	if value == nil {
		return nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return d.fail(doc.line, "expected a Kubernetes object, found %s", typeName(value))
	}
	if !within(fields, d.limits.Depth) {
		return d.fail(doc.line, "the object is nested deeper than %d levels", d.limits.Depth)
	}
	if isList(fields) {
		return d.list(doc, fields)
	}
	return d.object(fields, doc.line)
}

// boundAliases refuses a document that grows beyond the limit when its aliases
// are expanded, before anything expands them.
func (d *decoder) boundAliases(doc document) error {
	if doc.json || !bytes.ContainsRune(doc.text, '*') || !bytes.ContainsRune(doc.text, '&') {
		return nil
	}
	var root yamlnode.Node
	if err := yamlnode.Unmarshal(doc.text, &root); err != nil {
		return d.syntax(doc, err)
	}
	sizes := map[*yamlnode.Node]int{}
	size, cyclic := d.expanded(&root, sizes)
	if cyclic {
		return d.fail(doc.line, "an anchor contains itself")
	}
	if size > d.limits.Nodes {
		return d.fail(doc.line, "the aliases expand to more than %d values", d.limits.Nodes)
	}
	return nil
}

// expanded counts the values below a node with its aliases followed, up to one
// more than the limit.
func (d *decoder) expanded(n *yamlnode.Node, sizes map[*yamlnode.Node]int) (size int, cyclic bool) {
	const open = -1
	if known, ok := sizes[n]; ok {
		return known, known == open
	}
	sizes[n] = open
	size = 1
	children := n.Content
	if n.Alias != nil {
		children = []*yamlnode.Node{n.Alias}
	}
	for _, child := range children {
		below, cyclic := d.expanded(child, sizes)
		if cyclic {
			return 0, true
		}
		size = min(size+below, d.limits.Nodes+1)
	}
	sizes[n] = size
	return size, false
}

func (d *decoder) value(doc document) (any, error) {
	text := doc.text
	if !doc.json {
		converted, err := yaml.YAMLToJSONStrict(doc.text)
		if err != nil {
			return nil, d.syntax(doc, err)
		}
		text = converted
	}
	var value any
	duplicates, err := strictjson.UnmarshalStrict(text, &value)
	if err != nil {
		return nil, d.fail(doc.line, "not valid JSON: %v", err)
	}
	if len(duplicates) > 0 {
		return nil, d.fail(doc.line, "%v", duplicates[0])
	}
	return value, nil
}

var (
	yamlLine = regexp.MustCompile(`line (\d+)`)
	// yamlQuoted are the places where go.yaml.in/yaml quotes what it read.
	yamlQuoted = regexp.MustCompile("(?s)`.*`|(anchor) '.*'|(invalid map key): .*")
)

// syntax turns the error of a YAML library, which counts lines from the start
// of the document and may quote values, into one that can be shown.
func (d *decoder) syntax(doc document, err error) error {
	message := err.Error()
	if !strings.HasPrefix(message, "yaml: ") && !strings.HasPrefix(message, "error converting YAML to JSON: yaml: ") {
		return d.fail(doc.line, "a mapping has a key, or a field a value, that JSON cannot hold")
	}
	message = strings.TrimPrefix(message, "error converting YAML to JSON: ")
	message = strings.TrimPrefix(message, "yaml: ")
	message = strings.TrimPrefix(message, "unmarshal errors:\n  ")
	message = yamlQuoted.ReplaceAllString(message, "$1$2 (not shown)")
	message, _, _ = strings.Cut(message, "\n")
	line := doc.line
	if found := yamlLine.FindStringSubmatch(message); found != nil {
		if n, err := strconv.Atoi(found[1]); err == nil {
			line = doc.first + n - 1
		}
		message = strings.TrimPrefix(strings.Replace(message, found[0], "", 1), ": ")
	}
	return d.fail(line, "not valid YAML: %s", message)
}

// isList recognises kind List, and typed lists by the shape that the API
// server gives them: they have items, and no name of their own.
func isList(fields map[string]any) bool {
	kind, _ := fields["kind"].(string)
	if kind == "List" {
		return true
	}
	if !strings.HasSuffix(kind, "List") {
		return false
	}
	if _, ok := fields["items"].([]any); !ok {
		return false
	}
	metadata, _ := fields["metadata"].(map[string]any)
	_, named := metadata["name"]
	_, specified := fields["spec"]
	return !named && !specified
}

func (d *decoder) list(doc document, fields map[string]any) error {
	items, ok := fields["items"].([]any)
	if !ok && fields["items"] != nil {
		return d.fail(doc.line, "items of a List is %s, not a list", typeName(fields["items"]))
	}
	lines := itemLines(doc)
	for i, item := range items {
		line := doc.line
		if i < len(lines) {
			line = lines[i]
		}
		object, ok := item.(map[string]any)
		if !ok {
			return d.fail(line, "item %d of a List is %s, not a Kubernetes object", i, typeName(item))
		}
		if isList(object) {
			nested := document{line: line, json: true} // lines inside of it are not told apart
			if err := d.list(nested, object); err != nil {
				return err
			}
			continue
		}
		if kind, _ := fields["kind"].(string); kind != "List" {
			inheritType(object, fields)
		}
		if err := d.object(object, line); err != nil {
			return err
		}
	}
	return nil
}

// inheritType gives an item of a typed list the type that the list implies,
// as the API server's own lists leave it out.
func inheritType(item, list map[string]any) {
	kind, _ := list["kind"].(string)
	if _, ok := item["kind"]; !ok {
		item["kind"] = strings.TrimSuffix(kind, "List")
	}
	if _, ok := item["apiVersion"]; !ok {
		item["apiVersion"] = list["apiVersion"]
	}
}

// itemLines finds the lines on which the items of a list document begin.
func itemLines(doc document) []int {
	var root yamlnode.Node
	if len(doc.text) == 0 || yamlnode.Unmarshal(doc.text, &root) != nil || len(root.Content) == 0 {
		return nil
	}
	top := root.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value != "items" {
			continue
		}
		var lines []int
		for _, item := range top.Content[i+1].Content {
			lines = append(lines, doc.first+item.Line-1)
		}
		return lines
	}
	return nil
}

// object checks what no later step could tell a user about, and appends.
func (d *decoder) object(fields map[string]any, line int) error {
	if len(d.out) >= d.limits.Documents {
		return d.fail(line, "the file has more than %d objects", d.limits.Documents)
	}
	for _, field := range []string{"apiVersion", "kind"} {
		switch value := fields[field].(type) {
		case string:
			if value == "" {
				return d.fail(line, "%s is empty", field)
			}
		case nil:
			return d.fail(line, "%s is missing: this is not a Kubernetes object", field)
		default:
			return d.fail(line, "%s is %s, not a string", field, typeName(value))
		}
	}
	if err := d.metadata(fields, line); err != nil {
		return err
	}
	d.out = append(d.out, Decoded{Object: &unstructured.Unstructured{Object: fields}, Line: line})
	return nil
}

func (d *decoder) metadata(fields map[string]any, line int) error {
	if fields["metadata"] == nil {
		return nil
	}
	metadata, ok := fields["metadata"].(map[string]any)
	if !ok {
		return d.fail(line, "metadata is %s, not a mapping", typeName(fields["metadata"]))
	}
	for _, field := range []string{"name", "namespace", "generateName"} {
		if value, ok := metadata[field]; ok && value != nil {
			if _, ok := value.(string); !ok {
				return d.fail(line, "metadata.%s is %s: put it in quotes", field, typeName(value))
			}
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		if metadata[field] == nil {
			continue
		}
		values, ok := metadata[field].(map[string]any)
		if !ok {
			return d.fail(line, "metadata.%s is %s, not a mapping", field, typeName(metadata[field]))
		}
		for _, key := range sortedKeys(values) {
			if value := values[key]; value != nil {
				if _, ok := value.(string); !ok {
					return d.fail(line, "metadata.%s[%q] is %s: put it in quotes", field, key, typeName(value))
				}
			}
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func typeName(value any) string {
	switch value.(type) {
	case nil:
		return "empty"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return fmt.Sprintf("a %T", value)
}

// within reports whether nothing in value is nested deeper than depth.
func within(value any, depth int) bool {
	if depth < 0 {
		return false
	}
	switch v := value.(type) {
	case map[string]any:
		for _, child := range v {
			if !within(child, depth-1) {
				return false
			}
		}
	case []any:
		for _, child := range v {
			if !within(child, depth-1) {
				return false
			}
		}
	}
	return true
}
