package source

import (
	"context"
	"io"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/bucket"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/helmrepo"
	"plumb.dev/plumb/internal/source/registry"
)

// The clients of what is no Git repository. They know protocols, credentials
// and signatures, and cache what they looked at; the store knows content. Each
// is safe for concurrent use and shares looks and downloads between callers
// that ask for the same with the same credential.
//
// Errors that a user can act on are *model.Fault with the condition reason of
// source-controller; the store completes their Origin. Any other error counts
// as a failure that a retry may mend. No error holds a credential.
//
// What a client opens is read once, to its end unless something fails, and
// closed by the store, which bounds how many bytes it takes. Where a digest is
// known, the store checks what was read against it: clients need not.

// Registry is a client of OCI registries (internal/source/registry).
type Registry interface {
	// Resolve finds what the source's reference stands for now, verifies its
	// signature where that is asked for, and picks the layer. Faults:
	// OCIArtifactPullFailed, OCIArtifactLayerOperationFailed,
	// AuthenticationFailed, URLInvalid, VerificationError.
	Resolve(ctx context.Context, spec *model.OCISource) (model.OCIArtifact, error)
	// Pull opens the layer that Resolve picked, as it is in the registry.
	Pull(ctx context.Context, spec *model.OCISource, artifact model.OCIArtifact) (io.ReadCloser, error)
	// ResolveChart finds the highest version of a chart that spec.Version allows
	// among the tags of spec.Repository/spec.Name ("+" of a version is "_" in a
	// tag), and verifies its signature. An exact version is not looked up among
	// tags. Faults: InvalidChartReference for a chart or version that does not
	// exist, ChartPullError, AuthenticationFailed, VerificationError.
	ResolveChart(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error)
	// PullChart opens the package that ResolveChart found.
	PullChart(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error)
}

// ChartRepository is a client of Helm repositories over HTTP(S)
// (internal/source/helmrepo).
type ChartRepository interface {
	// Index looks at the index now and returns its digest ("sha256:…") and the
	// index as source-controller stores it. Faults: IndexationFailed,
	// FetchFailed in words of helmrepository_controller.go,
	// AuthenticationFailed, URLInvalid.
	Index(ctx context.Context, spec *model.IndexSource) (digest string, content io.ReadCloser, err error)
	// Resolve finds the highest version of a chart that spec.Version allows in
	// the index, which may be as old as spec.Fresh. Faults:
	// InvalidChartReference for a chart or version that does not exist,
	// ChartPullError, AuthenticationFailed.
	Resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error)
	// Download opens the package that Resolve found. Credentials go only to the
	// repository's host unless spec.Auth.PassAll.
	Download(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error)
}

// Buckets is a client of object stores (internal/source/bucket).
type Buckets interface {
	// List returns the objects below spec.Prefix, sorted by key; the store leaves
	// out what ignore rules exclude. More objects than limit are a fault.
	// Faults: BucketOperationFailed, AuthenticationFailed, URLInvalid,
	// InvalidProvider….
	List(ctx context.Context, spec *model.BucketSource, limit int) ([]model.BucketObject, error)
	// Get opens an object. The error of one that does not exist (any more) wraps
	// fs.ErrNotExist.
	Get(ctx context.Context, spec *model.BucketSource, key string) (io.ReadCloser, error)
}

// Clients are what a store fetches with. A nil one is made when the store is
// opened.
type Clients struct {
	Registry Registry
	Charts   ChartRepository
	Buckets  Buckets
}

// withDefaults makes the clients that are not given.
func (c Clients) withDefaults(o *Options, scratch string) Clients {
	broker := cloud.New(cloud.Options{Tokens: o.Tokens})
	if c.Registry == nil {
		c.Registry = registry.New(registry.Options{UserAgent: o.UserAgent, Dir: scratch, Cloud: broker, TrustRoot: o.TrustRoot})
	}
	if c.Charts == nil {
		c.Charts = helmrepo.New(helmrepo.Options{UserAgent: o.UserAgent})
	}
	if c.Buckets == nil {
		c.Buckets = bucket.New(bucket.Options{UserAgent: o.UserAgent, Cloud: broker})
	}
	if len(o.Redirects.All) > 0 {
		lead := &redirected{&o.Redirects, c.Registry, c.Charts}
		c.Registry, c.Charts = lead, redirectedCharts{lead}
	}
	return c
}
