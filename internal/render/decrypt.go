package render

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Outside is what a render has besides the tree. The zero value is nothing.
type Outside struct {
	// Decrypter opens what SOPS has encrypted; nil: it is refused.
	Decrypter Decrypter
}

// Decrypter opens what SOPS has encrypted, with the keys of one declared
// object. Formats are "yaml", "json", "dotenv", "ini" and "binary". Errors are
// *model.Fault without an origin, and hold no plaintext.
type Decrypter interface {
	// DecryptFile opens a whole file, whose MAC it checks, and writes its
	// plaintext in another format.
	DecryptFile(ctx context.Context, file string, content []byte, from, to string) ([]byte, error)
	// DecryptObject opens an object, in JSON, that was made of a document of a
	// file. The MAC is that of the document as it stands in content; an object
	// whose file is not known (empty content) is refused.
	DecryptObject(ctx context.Context, file string, content []byte, format string, object []byte) ([]byte, error)
}

// decrypted returns the plaintext of a file that is read for what is in it, in
// the format that its name tells, or content when it is not encrypted. An
// encrypted file that cannot be opened is a fault. The plaintext is wiped when
// the build ends.
func (b *build) decrypted(at string, content []byte) ([]byte, error) {
	format := formatOf(at)
	if !sealedAs(format, content) {
		return content, nil
	}
	if b.outside.Decrypter == nil {
		return nil, b.faultAt(at, 0, at+" is SOPS encrypted, configuring decryption is required", howToDecrypt)
	}
	plain, err := b.outside.Decrypter.DecryptFile(b.ctx, at, content, format, format)
	if err != nil {
		return nil, b.sealedFault(err, model.Origin{File: at}, object.ID{})
	}
	b.opened = append(b.opened, plain)
	return plain, nil
}

// unsealSources decrypts what the generators of Secrets and the patches of a
// kustomization read, before kustomize does (kustomize-controller, decryptor,
// DecryptSources). As there, the format of a file is that of the key it goes
// to, and one that is not encrypted in it is left as it is.
func (s *survey) unsealSources(l layer) error {
	if s.outside.Decrypter == nil {
		return nil
	}
	for _, generator := range l.k.SecretGenerator {
		for _, source := range generator.FileSources {
			key, p, named := strings.Cut(source, "=")
			if !named {
				p = key
			}
			if err := s.unseal(l, p, formatOf(key)); err != nil {
				return err
			}
		}
		for _, p := range generator.EnvSources {
			format := formatOf(p)
			if format == formatBinary {
				format = formatDotenv
			}
			if err := s.unseal(l, p, format); err != nil {
				return err
			}
		}
	}
	for _, patch := range patches(l.k) {
		if err := s.unseal(l, patch.Path, formatOf(patch.Path)); err != nil {
			return err
		}
	}
	return nil
}

// unseal puts the plaintext of a file in front of it. What is missing, or
// stands elsewhere, kustomize complains about.
func (s *survey) unseal(l layer, p, format string) error {
	at := path.Join(l.dir, p)
	if p == "" || path.IsAbs(p) || climbs(at) || remoteFile(p) {
		return nil
	}
	in, entry, err := s.fs.resolve(at)
	if err != nil || isDir(entry) {
		return nil //nolint:nilerr // kustomize meets the same error where it matters
	}
	if plain, done := s.fs.overlay[in]; done {
		s.fs.overlay[at] = plain
		return nil
	}
	content, err := s.recorder.Read(in)
	if err != nil {
		return s.readFault(in, err)
	}
	if !sealedAs(format, content) {
		return nil
	}
	plain, err := s.outside.Decrypter.DecryptFile(s.ctx, in, content, format, format)
	if err != nil {
		return s.sealedFault(err, model.Origin{File: in}, object.ID{})
	}
	s.opened = append(s.opened, plain)
	s.fs.overlay[in], s.fs.overlay[at] = plain, plain
	return s.boundYAML(in, plain)
}

// forget wipes the files that were decrypted.
func (b *build) forget() {
	for _, plain := range b.opened {
		clear(plain)
	}
}

// unsealed returns an object with what SOPS has encrypted of it decrypted, and
// whether there was something (kustomize-controller, decryptor,
// DecryptResource).
func (c *collector) unsealed(fields map[string]any, id object.ID, at model.Origin) (map[string]any, bool, error) {
	switch {
	case !c.encryptedFor(fields):
		return fields, false, nil
	case c.outside.Decrypter == nil:
		return nil, false, c.encrypted(id, at)
	}
	if mac := macOf(fields); mac != "" {
		opened, err := c.unsealedObject(fields, mac, id, at)
		return opened, true, err
	}
	if _, there := fields["sops"]; there {
		fault := c.faultAt(at.File, at.Line, fmt.Sprintf("%s is SOPS encrypted, and there is no MAC in its sops block", id), "encrypt it again with sops; it was not applied")
		fault.Object = id
		return nil, false, fault
	}
	for _, name := range []string{"data", "stringData"} {
		if err := c.unsealValues(fields, name, id, at); err != nil {
			return nil, false, err
		}
	}
	return fields, true, nil
}

// encryptedFor reports whether an object is encrypted. Where the declaration
// says how things are decrypted, Flux does that to SopsSecrets too.
func (c *collector) encryptedFor(fields map[string]any) bool {
	if Encrypted(fields) {
		return true
	}
	return c.outside.Decrypter != nil && !c.argo && fields["kind"] == "SopsSecret" && !leftEncrypted(fields) && macOf(fields) != ""
}

func (c *collector) unsealedObject(fields map[string]any, mac string, id object.ID, at model.Origin) (map[string]any, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, c.faultAt(at.File, at.Line, fmt.Sprintf("%s cannot be written as JSON", id), "")
	}
	file, content := c.recorder.holding(mac, at.File)
	format := formatOf(file)
	if format != formatJSON {
		format = formatYAML
	}
	name := file
	if name == "" {
		name = id.String()
	}
	plain, err := c.outside.Decrypter.DecryptObject(c.ctx, name, content, format, text)
	if err != nil {
		return nil, c.sealedFault(err, at, id)
	}
	defer clear(plain)
	var opened map[string]any
	if err := json.Unmarshal(plain, &opened); err != nil || opened == nil {
		return nil, c.faultAt(at.File, at.Line, fmt.Sprintf("%s is no object once it is decrypted", id), "")
	}
	return opened, nil
}

// unsealValues decrypts the values of a Secret that are encrypted files. Its
// keys tell in which format they are wanted.
func (c *collector) unsealValues(fields map[string]any, name string, id object.ID, at model.Origin) error {
	values, _ := fields[name].(map[string]any)
	for key, value := range values {
		text, _ := value.(string)
		content := []byte(text)
		if name == "data" {
			decoded, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				continue // the API server says so
			}
			content = decoded
		}
		if !marked(string(content)) {
			continue
		}
		what := fmt.Sprintf("the value %s of %s", key, id)
		format := formatIn(content)
		if format == "" {
			fault := c.faultAt(at.File, at.Line, what+" is encrypted with SOPS, and the sops block that belongs to it is missing", "encrypt the object, or the file, as a whole; it was not applied")
			fault.Object = id
			return fault
		}
		plain, err := c.outside.Decrypter.DecryptFile(c.ctx, what, content, format, formatOf(key))
		if err != nil {
			return c.sealedFault(err, at, id)
		}
		if name == "data" {
			values[key] = base64.StdEncoding.EncodeToString(plain)
		} else {
			values[key] = string(plain)
		}
		clear(plain)
	}
	return nil
}

// sealedFault puts a fault of a Decrypter where it belongs.
func (b *build) sealedFault(err error, at model.Origin, id object.ID) error {
	var fault *model.Fault
	if !errors.As(err, &fault) {
		return b.faultAt(at.File, at.Line, "it cannot be decrypted", "")
	}
	placed := *fault
	placed.Origin, placed.Object = b.origin, id
	placed.Origin.File, placed.Origin.Line = at.File, at.Line
	return &placed
}

// holding returns a file that was read and holds a text, likely that one.
func (r *Recorder) holding(text, likely string) (string, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := []byte(text)
	if content, ok := r.content[likely]; ok && bytes.Contains(content, wanted) {
		return likely, content
	}
	var found []string
	for at, content := range r.content {
		if bytes.Contains(content, wanted) {
			found = append(found, at)
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	first := slices.Min(found)
	return first, r.content[first]
}
