package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"go.yaml.in/yaml/v3"
)

// format is one way to write a tree.
type format string

const (
	formatYAML   format = "yaml"
	formatJSON   format = "json"
	formatDotenv format = "dotenv"
	formatINI    format = "ini"
	formatBinary format = "binary"
)

func (f format) store() sops.Store {
	stores := config.NewStoresConfig()
	switch f {
	case formatYAML:
		return sopsyaml.NewStore(&stores.YAML)
	case formatJSON:
		return json.NewStore(&stores.JSON)
	case formatDotenv:
		return dotenv.NewStore(&stores.Dotenv)
	case formatINI:
		return ini.NewStore(&stores.INI)
	case formatBinary:
		return json.NewBinaryStore(&stores.JSONBinary)
	}
	return nil
}

func formatsOf(file, from, to string) (in, out format, err error) {
	in, out = format(from), format(to)
	for _, f := range []format{in, out} {
		if f.store() == nil {
			return in, out, fault(file, fmt.Sprintf("there is no format %q", f), "")
		}
	}
	return in, out, nil
}

// write writes a tree of plaintext.
func (o *opening) write(branches sops.TreeBranches, in, out format) ([]byte, error) {
	plain, err := out.store().EmitPlainFile(branches)
	if errors.Is(err, json.BinaryStoreEmitPlainError) {
		if in == formatBinary {
			in = formatJSON
		}
		plain, err = in.store().EmitPlainFile(branches)
	}
	if err != nil {
		return nil, o.fault(fmt.Sprintf("what is in it cannot be written as %s", out), "give the key of the generator, or the file, the extension of what was encrypted")
	}
	return plain, nil
}

// load reads an encrypted file within the limits.
func (o *opening) load(content []byte, in format) (sops.Tree, error) {
	if len(content) > o.limits.Bytes {
		return sops.Tree{}, o.fault(fmt.Sprintf("it has %d bytes, more than the %d that are decrypted", len(content), o.limits.Bytes), "split it")
	}
	if err := o.bound(content, in); err != nil {
		return sops.Tree{}, err
	}
	tree, err := in.store().LoadEncryptedFile(content)
	switch {
	case errors.Is(err, sops.MetadataNotFound):
		return sops.Tree{}, o.malformed("its first document has no sops block")
	case err != nil:
		return sops.Tree{}, o.malformed(fmt.Sprintf("it cannot be read as %s with a sops block", in))
	}
	return tree, o.boundTree(&tree)
}

// bound refuses what would make the library recurse or grow without end.
func (o *opening) bound(content []byte, in format) error {
	switch in {
	case formatYAML:
		docs, err := nodes(content)
		if err != nil {
			return o.malformed("it is not valid YAML")
		}
		left := o.limits.Values
		for _, doc := range docs {
			if err := o.boundNode(doc, o.limits.Depth, &left); err != nil {
				return err
			}
		}
	case formatJSON, formatBinary:
		if depth := jsonDepth(content); depth > o.limits.Depth {
			return o.deep()
		}
	case formatDotenv, formatINI:
		// Keys of the sops block are unfolded at these marks.
		for line := range bytes.Lines(content) {
			key, _, _ := bytes.Cut(line, []byte("="))
			if bytes.Count(key, []byte("__map_"))+bytes.Count(key, []byte("__list_")) > o.limits.Depth {
				return o.deep()
			}
		}
	}
	return nil
}

func (o *opening) deep() error {
	return o.fault(fmt.Sprintf("its values are nested deeper than %d", o.limits.Depth), "")
}

func (o *opening) boundNode(n *yaml.Node, depth int, left *int) error {
	*left--
	switch {
	case n.Kind == yaml.AliasNode:
		return o.malformed("it holds YAML aliases, which SOPS writes out")
	case depth < 0:
		return o.deep()
	case *left < 0:
		return o.fault(fmt.Sprintf("it has more than %d values", o.limits.Values), "split it")
	}
	for _, child := range n.Content {
		if err := o.boundNode(child, depth-1, left); err != nil {
			return err
		}
	}
	return nil
}

// jsonDepth is how deep brackets are nested.
func jsonDepth(text []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}

// boundTree bounds the metadata and what its expressions cost: the library
// compiles them again for every key on the way to every value.
func (o *opening) boundTree(tree *sops.Tree) error {
	m := &tree.Metadata
	if n := m.MasterKeyCount(); n > o.limits.Recipients {
		return o.fault(fmt.Sprintf("it has %d recipients, more than the %d that are tried", n, o.limits.Recipients), "")
	}
	const longestKey = 64 << 10
	for _, group := range m.KeyGroups {
		for _, key := range group {
			if len(key.EncryptedDataKey()) > longestKey {
				return o.malformed("the data key in it is longer than any")
			}
		}
	}
	if !knownVersion(m.Version) {
		return o.fault(fmt.Sprintf("it was encrypted by version %q of SOPS, whose format is not known", printable(m.Version)), "encrypt it with a version 3 of SOPS")
	}
	values := 0
	for _, branch := range tree.Branches {
		values += count(branch)
	}
	if values > o.limits.Values {
		return o.fault(fmt.Sprintf("it has more than %d values", o.limits.Values), "split it")
	}
	const most = 4 << 20
	if expression := len(m.EncryptedRegex) + len(m.UnencryptedRegex) + len(m.EncryptedCommentRegex) + len(m.UnencryptedCommentRegex); expression*values > most {
		return o.fault("its regular expression is too long for so many values", "use a shorter one, or split the file")
	}
	return nil
}

// knownVersion reports whether the format of a version of SOPS is known: up to
// that of the library. Old files may have none.
func knownVersion(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return version == "" || err == nil && n >= 0 && n <= 3
}

func count(value any) int {
	total := 1
	switch value := value.(type) {
	case sops.TreeBranch:
		for _, item := range value {
			total += count(item.Value)
		}
	case []any:
		for _, item := range value {
			total += count(item)
		}
	}
	return total
}

// nodes parses the documents of a YAML file.
func nodes(content []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, &doc)
	}
}

// withMAC returns the part of a file that was encrypted under a MAC. A YAML
// file may be put together of several encrypted ones, and of plain documents.
func (o *opening) withMAC(content []byte, in format, mac string) ([]byte, error) {
	if in != formatYAML {
		return content, nil
	}
	if len(content) > o.limits.Bytes {
		return nil, o.fault(fmt.Sprintf("it has %d bytes, more than the %d that are decrypted", len(content), o.limits.Bytes), "split it")
	}
	docs, err := nodes(content)
	if err != nil {
		return nil, o.malformed("it is not valid YAML")
	}
	var part bytes.Buffer
	encoder := yaml.NewEncoder(&part)
	own := 0
	for _, doc := range docs {
		if len(doc.Content) == 0 || valueAt(doc.Content[0], "sops", "mac") != mac {
			continue
		}
		left := o.limits.Values
		if err := o.boundNode(doc, o.limits.Depth, &left); err != nil {
			return nil, err
		}
		if err := encoder.Encode(doc); err != nil {
			return nil, o.malformed("it cannot be cut into documents")
		}
		own++
	}
	if own == len(docs) {
		return content, nil
	}
	if err := encoder.Close(); err != nil || own == 0 {
		return nil, o.malformed("it does not hold the document that was encrypted")
	}
	return part.Bytes(), nil
}

// valueAt is the text at a path of keys, or "".
func valueAt(n *yaml.Node, path ...string) string {
	for _, key := range path {
		if n.Kind != yaml.MappingNode {
			return ""
		}
		var next *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return ""
		}
		n = next
	}
	return n.Value
}
