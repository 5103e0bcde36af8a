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
	defaultGitTimeout = time.Minute      // GitRepository spec.timeout
	defaultGitBranch  = "master"         // fluxcd/pkg git, DefaultBranch
	defaultInterval   = 10 * time.Minute // upstream has none: spec.interval is required there
	defaultSSHUser    = "git"            // fluxcd/pkg git, DefaultPublicKeyAuthUser
)

// compileGitRepository makes a source of a GitRepository (source-controller
// api/v1 gitrepository_types.go and its older versions). The Secrets that it
// names are needs; until they are known the source is nil.
//
// In a suspended or deleted object nothing is a fault. A deleted one is
// compiled without credentials; a suspended one has them if it can, to go on
// serving its last revision after a restart.
func compileGitRepository(declared *unstructured.Unstructured, facts model.Facts) (*model.Source, []model.Need, []model.Finding, error) {
	r, spec := read(declared)
	source, address, credentials := sourceFields(spec, r.id.Namespace)
	source.ID = r.id
	source.UID = string(declared.GetUID())
	source.Generation = declared.GetGeneration()
	source.Origin = origin(r.id, "")
	source.Origin.Repository = source.Git.URL
	source.Wake = declared.GetAnnotations()[AnnotationRequestedAt]
	source.Last = lastArtifact(declared)
	r.findings = append(r.findings, unhandledFields(declared)...)

	if declared.GetDeletionTimestamp() != nil {
		return source, nil, r.findings, nil
	}
	err := r.firstFault()
	if err == nil {
		if open := credentials.open(facts); len(open) > 0 {
			return nil, open, r.findings, nil
		}
		credentials.resolve(r, source.Git, address, facts)
		err = r.firstFault()
	}
	if err != nil && !source.Suspended {
		return nil, nil, r.findings, err
	}
	return source, nil, r.findings, nil
}

// sourceFields reads the spec: the source without credentials, its address as
// it was written, and the Secrets with the credentials.
func sourceFields(spec node, namespace string) (*model.Source, *url.URL, credentialRefs) {
	address := gitURL(spec.at("url"))
	source := &model.Source{
		Git: &model.GitSource{
			URL:               printable(address),
			Ref:               gitRef(spec.at("ref")),
			RecurseSubmodules: spec.at("recurseSubmodules").bool(),
			SparsePaths:       sparsePaths(spec.at("sparseCheckout")),
		},
		Include:   includes(spec, namespace),
		Interval:  interval(spec),
		Timeout:   defaultGitTimeout,
		Suspended: spec.at("suspend").bool(),
	}
	if timeout, ok := spec.at("timeout").duration(); ok {
		source.Timeout = timeout
	}
	if ignore := spec.at("ignore"); ignore.present() {
		patterns := ignore.str()
		source.Ignore = &patterns
	}
	return source, address, gitCredentials(spec, namespace)
}

// interval defaults spec.interval, which manifests in the wild leave out.
func interval(spec node) time.Duration {
	field := spec.at("interval")
	if d, ok := field.duration(); ok {
		return d
	}
	if !field.present() {
		spec.r.find(model.Info, reasonDefaulted, field.path, "no interval is given: %s is used", short(defaultInterval))
	}
	return defaultInterval
}

func gitRef(ref node) model.GitRef {
	out := model.GitRef{
		Branch: ref.at("branch").str(),
		Tag:    ref.at("tag").str(),
		SemVer: ref.at("semver").str(),
		Name:   ref.at("name").str(),
		Commit: ref.at("commit").str(),
	}
	if out == (model.GitRef{}) {
		out.Branch = defaultGitBranch
	}
	return out
}

// sparsePaths drops a leading "./", which Git does not know.
func sparsePaths(list node) []string {
	var out []string
	for _, p := range list.strings() {
		out = append(out, strings.TrimPrefix(p, "./"))
	}
	return out
}

func includes(spec node, namespace string) []model.Include {
	var out []model.Include
	for _, item := range spec.at("include").items() {
		name := item.at("repository").at("name")
		include := model.Include{
			Source: object.ID{Group: GroupSource, Kind: kindGitRepository, Namespace: namespace, Name: name.str()},
			From:   treePath(item.at("fromPath").str()),
			To:     item.at("toPath").str(),
		}
		if include.Source.Name == "" {
			name.invalid("names no GitRepository")
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
	text := field.str()
	refuse := func(why string) *url.URL {
		field.r.fault(&model.Fault{
			Reason:  reasonURLInvalid,
			Message: "failed to parse url: " + why,
			Advice:  "write it as https://host/path or ssh://user@host/path",
			Origin:  model.Origin{Field: field.path},
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
