package render

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// document is one document of a YAML file.
type document struct {
	line int        // in the file, of the first content
	node *yaml.Node // nil when it has no content or cannot be parsed
}

// decoded is the document as YAML by itself.
func (d *document) decoded() ([]byte, error) { return yaml.Marshal(d.node) }

// documents cuts a file at its document markers and parses each part, with
// lines counted from the start of the file. clean is false when a part cannot
// be parsed, which is left to kustomize to complain about, or when the file is
// written in a way that other parsers may cut differently.
func documents(text []byte) (docs []document, clean bool) {
	clean = !bytes.ContainsRune(text, '\r') && !bytes.HasPrefix(text, []byte("\xef\xbb\xbf"))
	for first := 1; len(text) > 0; {
		part, lines, rest := cutDocument(text)
		node, ok := parseDocument(part)
		clean = clean && ok && !divided(part)
		if node != nil {
			shift(node, first-1)
			docs = append(docs, document{line: node.Line, node: node})
		}
		first += lines
		text = rest
	}
	return docs, clean
}

// divided reports whether a part holds markers or directives of its own.
func divided(part []byte) bool {
	part = bytes.TrimPrefix(part, []byte("---\n"))
	for _, marker := range []string{"---", "...", "%"} {
		if bytes.HasPrefix(part, []byte(marker)) || bytes.Contains(part, []byte("\n"+marker)) {
			return true
		}
	}
	return false
}

// cutDocument returns the text up to the next marker, its lines with that of
// the marker, and what follows.
func cutDocument(text []byte) (part []byte, lines int, rest []byte) {
	for at := 0; at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		next := at + end + 1
		if end < 0 {
			next = len(text)
		}
		lines++
		if at > 0 && isMarker(text[at:next]) {
			return text[:at], lines, text[next:]
		}
		at = next
	}
	return text, lines, nil
}

func isMarker(line []byte) bool {
	after, ok := bytes.CutPrefix(line, []byte("---"))
	after = bytes.TrimSpace(after)
	return ok && (len(after) == 0 || after[0] == '#')
}

// parseDocument returns the value of a YAML document, nil when it has none;
// false when it cannot be parsed.
func parseDocument(text []byte) (*yaml.Node, bool) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, false
	}
	if len(root.Content) == 0 {
		return nil, true
	}
	return root.Content[0], true
}

func shift(node *yaml.Node, by int) {
	if by == 0 {
		return
	}
	node.Line += by
	for _, child := range node.Content {
		shift(child, by)
	}
}

// field returns the value of a key of a mapping, or nil.
func field(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// scalarAt returns the text at a path of keys, or "".
func scalarAt(node *yaml.Node, keys ...string) string {
	for _, key := range keys {
		node = field(node, key)
	}
	if node == nil || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

// flattened returns the items of a list, and of lists in it, or the node.
func flattened(node *yaml.Node, depth int) []*yaml.Node {
	items := field(node, "items")
	if kind := scalarAt(node, "kind"); depth <= 0 || items == nil || items.Kind != yaml.SequenceNode || len(kind) < 4 || kind[len(kind)-4:] != "List" {
		return []*yaml.Node{node}
	}
	var out []*yaml.Node
	for _, item := range items.Content {
		out = append(out, flattened(item, depth-1)...)
	}
	return out
}

// expanded counts the values below a node with aliases followed, up to one
// more than limit; an anchor that contains itself counts as too much.
func expanded(node *yaml.Node, limit int) int {
	sizes := map[*yaml.Node]int{}
	var size func(n *yaml.Node) int
	size = func(n *yaml.Node) int {
		if known, ok := sizes[n]; ok {
			return known
		}
		sizes[n] = limit + 1 // until it is known: that of a cycle
		total := 1
		if n.Alias != nil {
			total += size(n.Alias)
		}
		for _, child := range n.Content {
			if total = min(total+size(child), limit+1); total > limit {
				break
			}
		}
		sizes[n] = total
		return total
	}
	return size(node)
}
