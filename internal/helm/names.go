package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"plumb.dev/plumb/internal/model"
)

// longestName is what Helm allows for the name of a release, in bytes.
const longestName = 53

// ShortName is a name that Helm accepts for a release: one that is too long is
// cut, and ends with the first 12 digits of its SHA-256 (helm-controller
// internal/release/name.go).
func ShortName(name string) string {
	if len(name) <= longestName {
		return name
	}
	const digits = 12
	sum := sha256.Sum256([]byte(name))
	return name[:longestName-digits-1] + "-" + hex.EncodeToString(sum[:])[:digits]
}

// ReleaseName is the full name of the release of a HelmRelease: spec.releaseName,
// or else its own name, after spec.targetNamespace where that is set. Helm gets
// it as [ShortName] makes it; messages of failures tell it in full.
func ReleaseName(releaseName, targetNamespace, name string) string {
	switch {
	case releaseName != "":
		return releaseName
	case targetNamespace != "":
		return targetNamespace + "-" + name
	}
	return name
}

// ReleaseText names a release and its revision: "namespace/name.v3".
func ReleaseText(s *model.ReleaseSnapshot) string {
	return fmt.Sprintf("%s/%s.v%d", s.Namespace, s.Name, s.Version)
}

// ChartText names a chart and its version: "podinfo@6.5.0".
func ChartText(name, version string) string { return name + "@" + version }

// revisionDigits is how much of a digest goes into the version of a chart.
const revisionDigits = 12

// ChartVersion adds the digest of an artifact to the version of the chart in it,
// as build metadata, so that a tag that moved is another version: "1.2.3" of
// "1.2.3@sha256:ab…" is "1.2.3+ab…" with 12 digits. The second result is the
// digest that status.history[].ociDigest tells: for a revision that is no
// version, the revision itself. A revision without a digest leaves the version
// alone, and the digest is "". It is an error when the version is not semantic,
// or another one than the artifact's tag says (helm-controller,
// mutateChartWithSourceRevision).
func ChartVersion(version, revision string) (string, string, error) {
	if !strings.Contains(revision, ":") {
		return version, "", nil
	}
	parsed, err := semver.NewVersion(version)
	if err != nil {
		return "", "", fmt.Errorf("invalid chart version %s", version)
	}
	digest := revision
	tag, of, tagged := strings.Cut(revision, "@")
	// Registries know no "+", so tags are spelled with "_" instead.
	if at, err := semver.NewVersion(strings.ReplaceAll(tag, "_", "+")); tagged && err == nil {
		if !at.Equal(parsed) || strings.Contains(of, "@") {
			return "", "", fmt.Errorf("artifact revision %s does not match chart version %s", tag, version)
		}
		digest = of
	}
	_, hash, _ := strings.Cut(digest, ":")
	if len(hash) < revisionDigits || strings.Contains(hash, ":") {
		return "", "", fmt.Errorf("invalid artifact revision %s", digest)
	}
	marked, err := parsed.SetMetadata(hash[:revisionDigits])
	if err != nil {
		return "", "", fmt.Errorf("invalid artifact revision %s", digest)
	}
	return marked.String(), digest, nil
}
