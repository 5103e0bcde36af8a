package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
)

// sealed stands in for keys that are not at hand: what SOPS has encrypted gets
// placeholders for values, so that what depends on it can still be rendered, and
// is left out of the result.
type sealed struct {
	files   []string
	objects []object.ID
}

var _ render.Decrypter = (*sealed)(nil)

// placeholder is good as a name, a host and a text.
const placeholder = "placeholder"

var sealedValue = regexp.MustCompile(`ENC\[AES256_GCM,data:[^\]]*?(?:,type:(\w+))?\]`)

// DecryptFile implements render.Decrypter.
func (s *sealed) DecryptFile(_ context.Context, file string, content []byte, from, to string) ([]byte, error) {
	if !slices.Contains(s.files, file) {
		s.files = append(s.files, file)
	}
	switch from {
	case "yaml", "json":
		var value map[string]any
		if err := yaml.Unmarshal(content, &value); err != nil {
			return nil, fmt.Errorf("%s cannot be read as %s", file, from)
		}
		delete(value, "sops")
		if to == "json" {
			return json.Marshal(unseal(value, false))
		}
		return yaml.Marshal(unseal(value, false))
	case "binary":
		return []byte(placeholder), nil
	}
	var lines []string
	for _, line := range strings.Split(string(content), "\n") {
		if !strings.HasPrefix(line, "sops_") && line != "[sops]" {
			lines = append(lines, sealedValue.ReplaceAllString(line, placeholder))
		}
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// DecryptObject implements render.Decrypter.
func (s *sealed) DecryptObject(_ context.Context, file string, _ []byte, _ string, sealedObject []byte) ([]byte, error) {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(sealedObject); err != nil {
		return nil, fmt.Errorf("%s holds what is no object", file)
	}
	s.objects = append(s.objects, object.Of(o))
	unsealObject(o)
	return o.MarshalJSON()
}

// has reports whether an object was encrypted. Its namespace may have been
// settled since.
func (s *sealed) has(id object.ID) bool {
	return slices.ContainsFunc(s.objects, func(was object.ID) bool {
		return was.GroupKind() == id.GroupKind() && was.Name == id.Name && (was.Namespace == "" || was.Namespace == id.Namespace)
	})
}

// unsealObject puts placeholders into an object.
func unsealObject(o *unstructured.Unstructured) {
	delete(o.Object, "sops")
	for name, value := range o.Object {
		o.Object[name] = unseal(value, object.IsSecret(o) && name == "data")
	}
}

// unseal puts placeholders into a value; encoded: texts are base64.
func unseal(value any, encoded bool) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = unseal(v[key], encoded)
		}
	case []any:
		for i := range v {
			v[i] = unseal(v[i], encoded)
		}
	case string:
		return unsealText(v, encoded)
	}
	return value
}

func unsealText(text string, encoded bool) any {
	sealedAs := sealedValue.FindStringSubmatch(text)
	if sealedAs == nil || sealedAs[0] != text {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if !encoded || err != nil || !strings.Contains(string(decoded), "ENC[AES256_GCM,") {
			return text
		}
		return base64.StdEncoding.EncodeToString([]byte(placeholder)) // of a whole file
	}
	switch {
	case encoded:
		return base64.StdEncoding.EncodeToString([]byte(placeholder))
	case sealedAs[1] == "int" || sealedAs[1] == "float":
		return int64(1)
	case sealedAs[1] == "bool":
		return true
	}
	return placeholder
}
