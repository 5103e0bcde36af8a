package helm

import (
	"crypto/sha1" //nolint:gosec // statuses of old versions of helm-controller hold such digests
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"sort"
	"strings"

	goyaml "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// algorithms by the names that digests begin with.
var algorithms = map[string]func() hash.Hash{
	"sha1":   sha1.New,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

// Digest is "algorithm:hex" of a text that write writes, with the algorithm of
// the digest like; "": SHA-256. It is "" when the algorithm is none of sha1,
// sha256, sha384 and sha512, or when write fails.
func Digest(like string, write func(hash.Hash) error) string {
	name, _, _ := strings.Cut(like, ":")
	if name == "" {
		name = "sha256"
	}
	begin := algorithms[name]
	if begin == nil {
		return ""
	}
	h := begin()
	if write(h) != nil {
		return ""
	}
	return name + ":" + hex.EncodeToString(h.Sum(nil))
}

// ValuesDigest is the digest of composed values as a HelmRelease's status tells
// it (configDigest, lastAttemptedConfigDigest): SHA-256 over YAML with sorted
// keys, or over nothing when there are no values. values are as JSON decodes
// them; a whole number counts the same as an integer and as a float (fluxcd/pkg,
// chartutil.DigestValues).
func ValuesDigest(values map[string]any) string { return digestValues("", values) }

// SameValues reports whether a digest is that of the values, whatever algorithm
// it was made with.
func SameValues(digest string, values map[string]any) bool {
	return strings.Contains(digest, ":") && digest == digestValues(digest, values)
}

func digestValues(like string, values map[string]any) string {
	return Digest(like, func(h hash.Hash) error {
		if len(values) == 0 {
			return nil
		}
		ordered := yaml.JSONObjectToYAMLObject(values)
		sortKeys(ordered)
		return goyaml.NewEncoder(h).Encode(ordered)
	})
}

// sortKeys sorts the keys of mappings, in sequences too. A sequence that is an
// item of another is left as it is, upstream does not look into it.
func sortKeys(value any) {
	switch v := value.(type) {
	case goyaml.MapSlice:
		sort.Slice(v, func(i, j int) bool {
			a, _ := v[i].Key.(string)
			b, _ := v[j].Key.(string)
			return a < b
		})
		for _, item := range v {
			sortKeys(item.Value)
		}
	case []any:
		for _, item := range v {
			sortKeys(item)
		}
	}
}

// SpecDigest is the digest of a part of a spec, as status.observed…Digest tells
// it: SHA-256 over its JSON in upstream's types ([]v2.PostRenderer,
// *v2.CommonMetadata), with the newline that an encoder ends with. A part that
// is not declared has the digest "", which the caller sees to.
func SpecDigest(part any) string {
	return Digest("", func(h hash.Hash) error { return json.NewEncoder(h).Encode(part) })
}
