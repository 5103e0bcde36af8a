package podstatus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
)

// No registry is asked. An image exists unless its name says that it does not:
//
//   - its registry's host ends in .invalid (reserved for names that never resolve),
//   - its repository or tag contains one of missingParts,
//   - its repository or tag contains one of missingWords as a word of its own,
//   - its tag is a version of nines only, such as 99.99 or v9.9.9.
var (
	missingParts = []string{
		"missing", "broken", "nonexistent", "non-existent", "does-not-exist", "doesnotexist",
		"not-found", "notfound", "no-such", "invalid",
	}
	missingWords = regexp.MustCompile(`(^|[^a-z])(bad|wrong|typo|nope)($|[^a-z])`)
	ninesOnly    = regexp.MustCompile(`^v?(9{2,}|9+(\.9+)+)$`)
)

const unresolvableHost = ".invalid"

// image is a reference that the node could pull.
type image struct {
	name string
	id   string
}

// imageFault is why a node cannot use an image.
type imageFault struct {
	invalidName bool
	message     string
}

// inspect finds out whether an image can be used.
func inspect(text string) (image, *imageFault) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return image{}, &imageFault{
			invalidName: true,
			message:     fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", text, text, err),
		}
	}
	named = reference.TagNameOnly(named)
	if message := pullError(named); message != "" {
		return image{}, &imageFault{message: message}
	}
	return image{name: named.String(), id: reference.TrimNamed(named).String() + "@" + digestOf(named)}, nil
}

// pullError is what the container runtime says of an image it cannot get.
func pullError(named reference.Named) string {
	name := named.String()
	if host := reference.Domain(named); strings.HasSuffix(hostname(host), unresolvableHost) {
		return fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: failed to do request: dial tcp: lookup %s: no such host", name, name, host)
	}
	if missing(reference.Path(named), tagOf(named)) {
		return notFound(name)
	}
	return ""
}

func notFound(name string) string {
	return fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", name, name, name)
}

// normalized is the full name of an image, or the text itself.
func normalized(text string) string {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return text
	}
	return reference.TagNameOnly(named).String()
}

func missing(repository, tag string) bool {
	for _, text := range []string{repository, strings.ToLower(tag)} {
		for _, part := range missingParts {
			if strings.Contains(text, part) {
				return true
			}
		}
		if missingWords.MatchString(text) {
			return true
		}
	}
	return ninesOnly.MatchString(tag)
}

func tagOf(named reference.Named) string {
	if tagged, ok := named.(reference.Tagged); ok {
		return tagged.Tag()
	}
	return ""
}

// digestOf is the image's own digest, or one that its name decides.
func digestOf(named reference.Named) string {
	if digested, ok := named.(reference.Digested); ok {
		return digested.Digest().String()
	}
	return "sha256:" + sum(named.String())
}

func hostname(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}
