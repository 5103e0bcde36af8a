package flux

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const (
	defaultGitBranch = "master"         // fluxcd/pkg git, DefaultBranch
	defaultInterval  = 10 * time.Minute // upstream has none: spec.interval is required there
	defaultSSHUser   = "git"            // fluxcd/pkg git, DefaultPublicKeyAuthUser
)

// gitRepository reads a GitRepository (source-controller api/v1
// gitrepository_types.go and its older versions).
func gitRepository(c *sourceCompilation, spec node) {
	address := gitURL(spec.At("url"))
	c.source.Git = &model.GitSource{
		URL:               printable(address),
		Ref:               gitRef(spec.At("ref")),
		RecurseSubmodules: spec.At("recurseSubmodules").Bool(),
		SparsePaths:       sparsePaths(spec.At("sparseCheckout")),
	}
	c.source.Origin.Repository = c.source.Git.URL
	c.source.Include = includes(spec, c.r.ID.Namespace)
	c.times(spec)
	c.ignore(spec)
	credentials := gitCredentials(spec, c.r.ID.Namespace)
	if c.r.Err() == nil && c.all(credentials.needs()...) {
		credentials.resolve(c.r, c.source.Git, address, c.facts)
	}
}

// interval defaults spec.interval, which manifests in the wild leave out.
func interval(spec node) time.Duration {
	field := spec.At("interval")
	if d, ok := field.Duration(); ok {
		return d
	}
	if !field.Present() {
		spec.R.Find(model.Info, reasonDefaulted, field.Path, "no interval is given: %s is used", short(defaultInterval))
	}
	return defaultInterval
}

func gitRef(ref node) model.GitRef {
	out := model.GitRef{
		Branch: ref.At("branch").Str(),
		Tag:    ref.At("tag").Str(),
		SemVer: ref.At("semver").Str(),
		Name:   ref.At("name").Str(),
		Commit: ref.At("commit").Str(),
	}
	if out == (model.GitRef{}) {
		out.Branch = defaultGitBranch
	}
	return out
}

// sparsePaths drops a leading "./", which Git does not know.
func sparsePaths(list node) []string {
	var out []string
	for _, p := range list.Strings() {
		out = append(out, strings.TrimPrefix(p, "./"))
	}
	return out
}

func includes(spec node, namespace string) []model.Include {
	var out []model.Include
	for _, item := range spec.At("include").Items() {
		name := item.At("repository").At("name")
		include := model.Include{
			Source: object.ID{Group: GroupSource, Kind: kindGitRepository, Namespace: namespace, Name: name.Str()},
			From:   treePath(item.At("fromPath").Str()),
			To:     item.At("toPath").Str(),
		}
		if include.Source.Name == "" {
			name.Invalid("names no GitRepository")
			continue
		}
		if include.To == "" { // upstream's GetToPath
			include.To = include.Source.Name
		}
		include.To = treePath(include.To)
		out = append(out, include)
	}
	return out
}

// treePath cleans a path of a tree; it cannot leave the root, as upstream's
// securejoin has it. The root is "".
func treePath(p string) string {
	return strings.TrimPrefix(path.Clean("/"+p), "/")
}

// gitURL is nil when the field cannot be used.
func gitURL(field node) *url.URL {
	text := field.Str()
	refuse := func(why string) *url.URL {
		field.R.Fault(&model.Fault{
			Reason:  reasonURLInvalid,
			Message: "failed to parse url: " + why,
			Advice:  "write it as https://host/path or ssh://user@host/path",
			Origin:  model.Origin{Field: field.Path},
		})
		return nil
	}
	if text == "" {
		return refuse("it is empty")
	}
	address, err := url.Parse(text)
	switch { // url errors repeat the address, which may hold a password
	case err != nil:
		return refuse("it is not a URL")
	case !slices.Contains([]string{"http", "https", "ssh"}, address.Scheme):
		return refuse("it must begin with http://, https:// or ssh://")
	case address.Host == "":
		return refuse("it names no host")
	}
	return address
}

// printable is the address without credentials; ssh keeps the user, without
// whom the address is another one.
func printable(address *url.URL) string {
	if address == nil {
		return ""
	}
	bare := *address
	bare.User = nil
	if address.Scheme == "ssh" && address.User != nil {
		bare.User = url.User(address.User.Username())
	}
	return bare.String()
}

// lastArtifact is the artifact that the status tells of.
func lastArtifact(declared *unstructured.Unstructured) *model.Artifact {
	written, ok, err := unstructured.NestedMap(declared.Object, "status", "artifact")
	if !ok || err != nil {
		return nil
	}
	return artifactOf(written)
}

func artifactOf(written map[string]any) *model.Artifact {
	text := func(key string) string { s, _ := written[key].(string); return s }
	artifact := &model.Artifact{Revision: text("revision"), Digest: text("digest"), Path: text("path"), URL: text("url")}
	if size, ok := written["size"].(int64); ok {
		artifact.Size = size
	}
	if updated, err := time.Parse(time.RFC3339, text("lastUpdateTime")); err == nil {
		artifact.Updated = updated
	}
	if metadata, ok := written["metadata"].(map[string]any); ok && len(metadata) > 0 {
		artifact.Metadata = map[string]string{}
		for key, value := range metadata {
			artifact.Metadata[key] = fmt.Sprint(value)
		}
	}
	return artifact
}
