package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/singleflight"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/dial"
)

// Logins are the credentials that a cloud gives for its registries.
type Logins interface {
	RegistryLogin(ctx context.Context, caller cloud.Caller, host string) (cloud.Login, error)
}

// Options configure a Client.
type Options struct {
	// UserAgent is what registries see; "plumb" when empty.
	UserAgent string
	// Dir holds downloads in progress; the system's temporary directory when
	// empty.
	Dir string
	// Cloud serves sources with a workload identity; nil: they are refused.
	Cloud Logins
	// TrustRoot is the sigstore trusted root (JSON) of the installation, for
	// keyless signatures of sources that name none; nil: those are refused.
	TrustRoot []byte
	Limits    Limits
}

// Limits bound what a registry can make the client do. The zero value of a
// field is its default.
type Limits struct {
	ManifestBytes  int64         // one manifest, index or list of referrers; 4 MiB
	PageBytes      int64         // one page of tags; 4 MiB
	BlobBytes      int64         // one layer; 1 GiB
	SignatureBytes int64         // one signature; 4 MiB
	Layers         int           // of one manifest; 1,000
	Tags           int           // of one repository; 100,000
	Pages          int           // of tags; 1,000
	Signatures     int           // tried for one artifact; 50
	Stall          time.Duration // without a byte from the registry; 30 s
	Timeout        time.Duration // of one look or download that is shared; 10 min
}

func (l Limits) withDefaults() Limits {
	for _, bytes := range []struct {
		value     *int64
		byDefault int64
	}{{&l.ManifestBytes, 4 << 20}, {&l.PageBytes, 4 << 20}, {&l.BlobBytes, 1 << 30}, {&l.SignatureBytes, 4 << 20}} {
		if *bytes.value <= 0 {
			*bytes.value = bytes.byDefault
		}
	}
	for _, count := range []struct {
		value     *int
		byDefault int
	}{{&l.Layers, 1000}, {&l.Tags, 100_000}, {&l.Pages, 1000}, {&l.Signatures, 50}} {
		if *count.value <= 0 {
			*count.value = count.byDefault
		}
	}
	for _, period := range []struct {
		value     *time.Duration
		byDefault time.Duration
	}{{&l.Stall, 30 * time.Second}, {&l.Timeout, 10 * time.Minute}} {
		if *period.value <= 0 {
			*period.value = period.byDefault
		}
	}
	return l
}

// Client talks to registries. It is safe for concurrent use.
type Client struct {
	options   Options
	limits    Limits
	looks     looks
	flights   singleflight.Group
	manifests *memory[*v1.Manifest]
	verified  *memory[bool] // whether a good signature was asked for, and not skipped by its policy
	spool     *spool

	mu       sync.Mutex
	sessions map[string]*session
	uses     uint64
}

// New returns a client. Nothing is asked before a source is.
func New(o Options) *Client {
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	return &Client{
		options:   o,
		limits:    o.Limits.withDefaults(),
		manifests: newMemory[*v1.Manifest](32 << 20),
		verified:  newMemory[bool](4 << 20),
		spool:     newSpool(o.Dir),
		sessions:  map[string]*session{},
	}
}

// Resolve finds what the source's reference stands for now, verifies its
// signature where that is asked for, and picks the layer. Errors are
// *model.Fault with the reasons URLInvalid, AuthenticationFailed,
// ReadOperationFailed, OCIArtifactPullFailed, OCIArtifactLayerOperationFailed
// and VerificationError.
func (c *Client) Resolve(ctx context.Context, spec *model.OCISource) (model.OCIArtifact, error) {
	p, err := c.place(spec.URL, &spec.Auth)
	if err != nil {
		return model.OCIArtifact{}, err
	}
	found, err := c.find(ctx, p, spec)
	if err != nil {
		return model.OCIArtifact{}, err
	}
	artifact := model.OCIArtifact{Revision: found.revision(), Digest: found.digest.String(), Tag: found.tag}
	if spec.Verify != nil {
		good, err := c.verify(ctx, p, found.digest, spec.Verify)
		if err != nil {
			return model.OCIArtifact{}, err
		}
		if good {
			artifact.Verified = "verified signature of revision " + artifact.Revision
		}
	}
	m, err := c.manifest(ctx, p, found.digest)
	if err != nil {
		return model.OCIArtifact{}, p.fault(reasonPull, err, "failed to pull artifact from '%s'", p.url)
	}
	layer, err := pick(m, spec)
	if err != nil {
		return model.OCIArtifact{}, p.fault(reasonLayer, err, "")
	}
	artifact.Metadata = m.Annotations
	artifact.LayerDigest, artifact.LayerMediaType, artifact.LayerSize = layer.Digest.String(), string(layer.MediaType), layer.Size
	return artifact, nil
}

// Pull opens the layer that Resolve picked, as it is in the registry. What is
// read has the layer's digest. Errors are *model.Fault with the reason
// OCIArtifactPullFailed.
func (c *Client) Pull(ctx context.Context, spec *model.OCISource, artifact model.OCIArtifact) (io.ReadCloser, error) {
	p, err := c.place(spec.URL, &spec.Auth)
	if err != nil {
		return nil, err
	}
	content, err := c.download(ctx, p, artifact.LayerDigest, c.limits.BlobBytes)
	if err != nil {
		return nil, p.fault(reasonPull, err, "failed to pull artifact from '%s'", p.url)
	}
	return content, nil
}

// Media types of Helm charts (helm.sh/helm pkg/registry constants).
const (
	chartConfig      = "application/vnd.cncf.helm.config.v1+json"
	chartLayer       = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	legacyChartLayer = "application/tar+gzip"
)

const annotationCreated = "org.opencontainers.image.created"

// ResolveChart finds the highest version of a chart that spec.Version allows
// among the tags of spec.Repository/spec.Name, and verifies its signature. An
// exact version is not looked up among tags. Errors are *model.Fault with the
// reasons URLInvalid, AuthenticationFailed, InvalidChartReference (no such
// chart or version), ChartPullError and VerificationError.
func (c *Client) ResolveChart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	p, err := c.chartPlace(spec)
	if err != nil {
		return model.ChartArtifact{}, err
	}
	version, err := c.chartVersion(ctx, p, spec.Version)
	if err != nil {
		return model.ChartArtifact{}, chartFault(p, err, "failed to get chart version for remote reference")
	}
	tag := strings.ReplaceAll(version, "+", "_")
	digest, err := c.head(ctx, p, tag)
	if err != nil {
		return model.ChartArtifact{}, chartFault(p, err, "failed to get '"+p.url+":"+tag+"'")
	}
	chart := model.ChartArtifact{
		Name:     path.Base(spec.Name),
		Version:  version,
		Address:  p.repo.Name() + ":" + tag,
		Manifest: digest.String(),
	}
	if spec.Verify != nil {
		good, err := c.verify(ctx, p, digest, spec.Verify)
		if err != nil {
			return model.ChartArtifact{}, err
		}
		if good {
			chart.Verified = "verified signature of version " + version
		}
	}
	m, err := c.manifest(ctx, p, digest)
	if err != nil {
		return model.ChartArtifact{}, chartFault(p, err, "failed to get '"+p.url+":"+tag+"'")
	}
	layer, ok := layerOf(m, chartLayer, legacyChartLayer)
	if !ok {
		return model.ChartArtifact{}, p.fault(reasonChartPull, errors.New("the manifest does not contain a layer with mediatype "+chartLayer),
			"chart pull error: '%s:%s' is no Helm chart", p.url, tag)
	}
	chart.Digest = layer.Digest.String()
	if created, err := time.Parse(time.RFC3339, m.Annotations[annotationCreated]); err == nil {
		chart.Created = created
	}
	return chart, nil
}

// PullChart opens the package that ResolveChart found. What is read has the
// package's digest. Errors are *model.Fault with the reason ChartPullError.
func (c *Client) PullChart(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	p, err := c.chartPlace(spec)
	if err != nil {
		return nil, err
	}
	content, err := c.download(ctx, p, chart.Digest, c.limits.BlobBytes)
	if err != nil {
		return nil, p.fault(reasonChartPull, err, "chart pull error: failed to download chart for remote reference: failed to get '%s'", chart.Address)
	}
	return content, nil
}

func (c *Client) chartPlace(spec *model.ChartSource) (*place, error) {
	return c.place(strings.TrimSuffix(spec.Repository, "/")+"/"+strings.Trim(spec.Name, "/"), &spec.Auth)
}

// chartFault tells a chart or version that does not exist from a failure.
func chartFault(p *place, err error, doing string) *model.Fault {
	var none errNoVersion
	if missing(err) || errors.As(err, &none) {
		return p.fault(reasonChartReference, err, "%s", "invalid chart reference: "+doing)
	}
	return p.fault(reasonChartPull, err, "%s", "chart pull error: "+doing)
}

// pick finds the layer that holds the content.
func pick(m *v1.Manifest, spec *model.OCISource) (v1.Descriptor, error) {
	switch {
	case len(m.Layers) == 0:
		return v1.Descriptor{}, errors.New("no layers found in artifact")
	case spec.Layer != nil && spec.Layer.MediaType != "":
		layer, ok := layerOf(m, spec.Layer.MediaType)
		if !ok {
			return v1.Descriptor{}, errors.New("failed to find layer with media type '" + spec.Layer.MediaType + "' in artifact")
		}
		return layer, nil
	case spec.Layer == nil && spec.Revision != "":
		return onlyContent(m)
	}
	return m.Layers[0], nil
}

// onlyContent picks a layer as Argo CD does: the chart of a Helm chart, else the
// only one that is an archive.
func onlyContent(m *v1.Manifest) (v1.Descriptor, error) {
	if m.Config.MediaType == chartConfig {
		if layer, ok := layerOf(m, chartLayer); ok {
			return layer, nil
		}
		return v1.Descriptor{}, errors.New("the Helm chart has no layer of media type " + chartLayer)
	}
	var content []v1.Descriptor
	for _, layer := range m.Layers {
		for _, suffix := range []string{"tar+gzip", "tar.gzip", "tar"} {
			if strings.HasSuffix(string(layer.MediaType), suffix) {
				content = append(content, layer)
				break
			}
		}
	}
	if len(content) != 1 {
		return v1.Descriptor{}, errContentLayers(len(content))
	}
	return content[0], nil
}

// layerOf finds the first layer of the first of the media types that there is
// one of.
func layerOf(m *v1.Manifest, mediaTypes ...string) (v1.Descriptor, bool) {
	for _, wanted := range mediaTypes {
		for _, layer := range m.Layers {
			if string(layer.MediaType) == wanted {
				return layer, true
			}
		}
	}
	return v1.Descriptor{}, false
}

// download opens a blob of at most limit bytes. Those who want it at the same
// time share one download.
func (c *Client) download(ctx context.Context, p *place, digest string, limit int64) (io.ReadCloser, error) {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil, err
	}
	return c.spool.open(ctx, p.key("blob", digest), c.limits.Timeout, func(ctx context.Context, into io.Writer) error {
		layer, err := p.puller.Layer(ctx, p.repo.Digest(h.String()))
		if err != nil {
			return err
		}
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }()
		_, err = io.Copy(into, dial.Bounded(content, limit))
		return err
	})
}

// small reads a blob of at most limit bytes into memory.
func (c *Client) small(ctx context.Context, p *place, digest v1.Hash) ([]byte, error) {
	content, err := c.download(ctx, p, digest.String(), c.limits.SignatureBytes)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	return io.ReadAll(dial.Bounded(content, c.limits.SignatureBytes))
}
