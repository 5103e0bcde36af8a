package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/model"
)

// Cluster is one API server, reached by one transport.
type Cluster struct {
	key    string
	cfg    *rest.Config // as Plumb itself, for machinery outside this room
	base   *url.URL
	client http.RoundTripper
	self   rest.ImpersonationConfig // whom the connection itself acts as; often nobody
	opts   Options

	limit   *limiter
	kinds   *kinds
	watches *watches
	contact contact

	ctx  context.Context // ends with close
	stop context.CancelFunc
}

func newCluster(key string, cfg *rest.Config, opts Options) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = opts.UserAgent
	cfg.QPS, cfg.RateLimiter, cfg.Timeout = -1, nil, 0
	self := cfg.Impersonate
	exported := rest.CopyConfig(cfg)
	cfg.Impersonate = rest.ImpersonationConfig{}

	hasTLS := cfg.CAFile != "" || len(cfg.CAData) != 0 || cfg.CertFile != "" || len(cfg.CertData) != 0 || cfg.Insecure
	base, _, err := rest.DefaultServerURL(cfg.Host, "", schema.GroupVersion{}, hasTLS)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	// On loopback compressing costs more than it saves: the API server would
	// gzip every answer of more than 128 KiB.
	if loopback(base.Hostname()) {
		cfg.DisableCompression = true
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("transport to the API server: %w", err)
	}

	c := &Cluster{key: key, cfg: exported, base: base, client: transport, self: self, opts: opts}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.contact.changed = opts.contacted
	c.limit = newLimiter(opts.Writes, opts.BackgroundWrites)
	c.watches = newWatches(c)
	c.kinds = newKinds(c)
	return c, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Key names the cluster: "" for the local one, else 32 hex digits that are
// stable for the same kubeconfig and Options.DigestKey and reveal nothing.
func (c *Cluster) Key() string { return c.key }

// Host is the API server's address without credentials, for people.
func (c *Cluster) Host() string { return c.base.Host }

// Config is a copy of the connection as Plumb itself, for machinery such as
// client-go's leader election.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.cfg) }

// As is a session that acts as an identity by impersonation headers. The zero
// identity is Plumb itself.
func (c *Cluster) As(who model.Identity) *Session {
	return &Session{c: c, who: who}
}

// close ends watches and idle connections. Requests under way end by their own
// contexts.
func (c *Cluster) close() {
	c.stop()
	utilnet.CloseIdleConnectionsFor(c.client)
}
