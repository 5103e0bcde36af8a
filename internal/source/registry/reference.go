package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plumb.dev/plumb/internal/model"
)

const defaultTag = "latest"

// found is what a reference stands for.
type found struct {
	tag    string // "" for a reference by digest
	digest v1.Hash
}

// revision prints it as source-controller does.
func (f found) revision() string {
	if f.tag == "" {
		return f.digest.String()
	}
	return f.tag + "@" + f.digest.String()
}

// find resolves the reference of a source.
func (c *Client) find(ctx context.Context, p *place, spec *model.OCISource) (found, error) {
	if spec.Revision != "" {
		return c.findRevision(ctx, p, spec.Revision)
	}
	if spec.Ref.Digest != "" {
		return p.byDigest(spec.Ref.Digest)
	}
	tag := spec.Ref.Tag
	if spec.Ref.SemVer != "" {
		var err error
		if tag, err = c.tagBySemVer(ctx, p, spec); err != nil {
			return found{}, p.fault(reasonRead, err, "failed to determine the artifact tag for '%s'", p.url)
		}
	}
	if tag == "" {
		tag = defaultTag
	}
	return c.byTag(ctx, p, tag)
}

func (p *place) byDigest(digest string) (found, error) {
	h, err := v1.NewHash(digest)
	if err != nil {
		return found{}, p.fault(reasonPull, fmt.Errorf("'%s' is no digest: %w", digest, err), "failed to determine artifact digest")
	}
	return found{digest: h}, nil
}

func (c *Client) byTag(ctx context.Context, p *place, tag string) (found, error) {
	digest, err := c.head(ctx, p, tag)
	if err != nil {
		return found{}, p.fault(reasonPull, err, "failed to determine artifact digest")
	}
	return found{tag: tag, digest: digest}, nil
}

// tagBySemVer finds the tag of the highest version in the source's range. Only
// the tags of Helm charts write "_" for "+": elsewhere "_" makes no version.
func (c *Client) tagBySemVer(ctx context.Context, p *place, spec *model.OCISource) (string, error) {
	allowed, err := semver.NewConstraint(spec.Ref.SemVer)
	if err != nil {
		return "", errLasting{text: fmt.Sprintf("semver '%s' parse error: %v", spec.Ref.SemVer, err)}
	}
	filter, err := regexp.Compile(spec.Ref.SemVerFilter)
	if err != nil {
		return "", errLasting{text: fmt.Sprintf("the semverFilter '%s' is no regular expression: %v", spec.Ref.SemVerFilter, err)}
	}
	tags, err := c.tags(ctx, p)
	if err != nil {
		return "", err
	}
	ofCharts := spec.Layer != nil && spec.Layer.MediaType == chartLayer
	best, ok := highest(tags, func(tag string) (*semver.Version, error) {
		if !filter.MatchString(tag) {
			return nil, semver.ErrInvalidSemVer
		}
		if ofCharts {
			tag = strings.ReplaceAll(tag, "_", "+")
		}
		return looseVersion(tag)
	}, allowed)
	if !ok {
		return "", errNoVersion{"no match found for semver: " + spec.Ref.SemVer}
	}
	return best, nil
}

// findRevision finds what a name of unknown kind stands for, as Argo CD does: a
// digest, a tag, or else a range of versions over tags that write "_" for "+".
func (c *Client) findRevision(ctx context.Context, p *place, name string) (found, error) {
	if strings.Contains(name, ":") {
		return p.byDigest(name)
	}
	allowed, err := semver.NewConstraint(name)
	_, notVersion := semver.NewVersion(name)
	isRange := err == nil && notVersion != nil
	if tag := strings.ReplaceAll(name, "+", "_"); !isRange || tagForm.MatchString(tag) {
		one, err := c.byTag(ctx, p, tag)
		if !isRange || !missing(err) {
			return one, err
		}
	}
	tags, err := c.tags(ctx, p)
	if err != nil {
		return found{}, p.fault(reasonRead, err, "failed to determine the artifact tag for '%s'", p.url)
	}
	tag, ok := highest(tags, func(tag string) (*semver.Version, error) {
		return semver.NewVersion(strings.ReplaceAll(tag, "_", "+"))
	}, allowed)
	if !ok {
		return found{}, p.fault(reasonRead, errNoVersion{fmt.Sprintf("version matching constraint not found in %d tags", len(tags))},
			"failed to determine the artifact tag for '%s'", p.url)
	}
	return c.byTag(ctx, p, tag)
}

// tagForm is what the distribution specification allows as a tag.
var tagForm = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// chartVersion finds the version of a chart in a range. An exact version is not
// looked up.
func (c *Client) chartVersion(ctx context.Context, p *place, wanted string) (string, error) {
	if _, err := looseVersion(wanted); err == nil {
		return wanted, nil
	}
	tags, err := c.tags(ctx, p)
	if err != nil {
		return "", err
	}
	if len(tags) == 0 {
		return "", errNoVersion{"unable to locate any tags in provided repository: " + p.url}
	}
	for i, tag := range tags {
		tags[i] = strings.ReplaceAll(tag, "_", "+")
		if tags[i] == wanted {
			return wanted, nil
		}
	}
	expression := wanted
	if expression == "" {
		expression = "*"
	}
	allowed, err := semver.NewConstraint(expression)
	if err != nil {
		return "", errNoVersion{fmt.Sprintf("'%s' is neither a version nor a range of versions", wanted)}
	}
	best, ok := highest(tags, looseVersion, allowed)
	if !ok {
		return "", errNoVersion{"could not locate a version matching provided version string " + wanted}
	}
	return best, nil
}

// highest returns the name of the highest version that a range allows. Of
// versions that are equal but for their build metadata it is the one whose name
// is last.
func highest(names []string, parse func(string) (*semver.Version, error), allowed *semver.Constraints) (string, bool) {
	var best *semver.Version
	var chosen string
	for _, name := range names {
		v, err := parse(name)
		if err != nil || !allowed.Check(v) {
			continue
		}
		if best == nil || v.GreaterThan(best) || v.Equal(best) && name > chosen {
			best, chosen = v, name
		}
	}
	return chosen, best != nil
}

// looseVersion accepts what fluxcd/pkg version.ParseVersion accepts: three
// numbers, with an optional v and leading zeros.
func looseVersion(text string) (*semver.Version, error) {
	if strings.Count(text, ".") < 2 {
		return nil, semver.ErrInvalidSemVer
	}
	return semver.NewVersion(text)
}

// head looks which manifest a tag stands for. A registry that does not answer
// HEAD is asked for the manifest itself.
func (c *Client) head(ctx context.Context, p *place, tag string) (v1.Hash, error) {
	if !tagForm.MatchString(tag) {
		return v1.Hash{}, errLasting{text: fmt.Sprintf("'%s' is no tag", tag)}
	}
	return look(ctx, &c.looks, p.key("head", tag), c.limits.Timeout, func(ctx context.Context) (v1.Hash, error) {
		if described, err := p.puller.Head(ctx, p.repo.Tag(tag)); err == nil {
			return described.Digest, nil
		} else if ctx.Err() != nil {
			return v1.Hash{}, err
		}
		described, err := p.puller.Get(ctx, p.repo.Tag(tag))
		if err != nil {
			return v1.Hash{}, err
		}
		return described.Digest, nil
	})
}

// tags lists the tags of a repository. The slice is the caller's own.
func (c *Client) tags(ctx context.Context, p *place) ([]string, error) {
	all, err := look(ctx, &c.looks, p.key("tags"), c.limits.Timeout, func(ctx context.Context) ([]string, error) {
		return c.walkTags(ctx, p)
	})
	return append([]string(nil), all...), err
}

func (c *Client) walkTags(ctx context.Context, p *place) ([]string, error) {
	lister, err := p.puller.Lister(ctx, p.repo)
	if err != nil {
		return nil, err
	}
	var all []string
	for pages := 0; lister.HasNext(); pages++ {
		if pages >= c.limits.Pages {
			return nil, errLasting{text: fmt.Sprintf("the registry lists tags on more than %d pages", c.limits.Pages)}
		}
		page, err := lister.Next(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Tags...)
		if len(all) > c.limits.Tags {
			return nil, errLasting{text: fmt.Sprintf("the repository has more than %d tags", c.limits.Tags)}
		}
	}
	return all, nil
}

// maxAnnotations bounds what a manifest can put into a status, as Kubernetes
// bounds the annotations of an object.
const maxAnnotations = 256 << 10

// manifest fetches what a digest names. An index stands for its image for
// linux/amd64, as upstream has it.
func (c *Client) manifest(ctx context.Context, p *place, digest v1.Hash) (*v1.Manifest, error) {
	key := p.key("manifest", digest.String())
	if m, ok := c.manifests.get(key); ok {
		return m, nil
	}
	return share(ctx, &c.flights, key, c.limits.Timeout, func(ctx context.Context) (*v1.Manifest, error) {
		if m, ok := c.manifests.get(key); ok { // another has fetched it meanwhile
			return m, nil
		}
		described, err := p.puller.Get(ctx, p.repo.Digest(digest.String()))
		if err != nil {
			return nil, err
		}
		image, err := described.Image()
		if err != nil {
			return nil, err
		}
		raw, err := image.RawManifest()
		if err != nil {
			return nil, err
		}
		parsed, err := image.Manifest()
		if err != nil {
			return nil, errors.New("failed to parse artifact manifest")
		}
		if len(parsed.Layers) > c.limits.Layers {
			return nil, errLasting{text: fmt.Sprintf("the artifact has %d layers, more than %d", len(parsed.Layers), c.limits.Layers)}
		}
		annotations := 0
		for name, value := range parsed.Annotations {
			annotations += len(name) + len(value)
		}
		if annotations > maxAnnotations {
			return nil, errLasting{text: fmt.Sprintf("the annotations of the artifact take %d bytes, more than %d", annotations, maxAnnotations)}
		}
		c.manifests.put(key, parsed, int64(4*len(raw)))
		return parsed, nil
	})
}
