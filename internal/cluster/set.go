package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"plumb.dev/plumb/internal/model"
)

// Options are the choices of whoever wires a Set. The zero value works.
type Options struct {
	UserAgent        string        // of every request; default "plumb"
	Writes           int           // writes in flight per cluster that change it; default 32
	BackgroundWrites int           // writes in flight per cluster that only report; default 4
	Timeout          time.Duration // of one attempt of a request that is no watch; default 60s

	// DigestKey keys the digests by which remote clusters are told apart. A
	// plain digest of a kubeconfig would let its readers test guesses of the
	// credentials in it. Without a key, Cluster.Key differs between processes.
	DigestKey []byte

	AllowExec        bool // kubeconfigs may run commands (upstream: --insecure-kubeconfig-exec)
	AllowFiles       bool // kubeconfigs may name files of this machine
	AllowInsecureTLS bool // kubeconfigs may skip verification (upstream: --insecure-kubeconfig-tls)

	Intercept Intercept
	Meter     Meter        // nil: nothing is counted
	Log       *slog.Logger // nil: silent

	contacted func() // a cluster answers again, or no more
}

// Meter counts requests, attempts each, as rest_client_requests_total does.
type Meter interface {
	// Request is called after an attempt. Code is the HTTP status, or 0 when no
	// answer came. Host is the API server's host and port.
	Request(method, host string, code int, took time.Duration)
}

// maxKubeconfig is what fits in a Secret; nothing larger is parsed.
const maxKubeconfig = 1 << 20

// Set hands out clusters: the local one and remote ones, shared by the digest
// of their kubeconfig.
type Set struct {
	opts  Options
	local *Cluster

	mu       sync.Mutex
	remote   map[string]*Cluster
	contacts chan struct{} // closed when a cluster answers again, or no more
}

// NewSet prepares the local cluster; nothing is sent yet.
func NewSet(local *rest.Config, opts Options) (*Set, error) {
	if opts.UserAgent == "" {
		opts.UserAgent = "plumb"
	}
	if opts.Writes <= 0 {
		opts.Writes = 32
	}
	if opts.BackgroundWrites <= 0 {
		opts.BackgroundWrites = 4
	}
	if opts.Timeout <= 0 {
		opts.Timeout = time.Minute
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if len(opts.DigestKey) == 0 {
		opts.DigestKey = make([]byte, sha256.Size)
		_, _ = rand.Read(opts.DigestKey) // crypto/rand.Read never fails
	}
	s := &Set{opts: opts, remote: map[string]*Cluster{}, contacts: make(chan struct{})}
	s.opts.contacted = s.contacted
	var err error
	if s.local, err = newCluster("", local, s.opts); err != nil {
		return nil, err
	}
	return s, nil
}

// Contacts is closed when a cluster answers again, or no more (Cluster.Contact).
func (s *Set) Contacts() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contacts
}

func (s *Set) contacted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.contacts)
	s.contacts = make(chan struct{})
}

// Local is the cluster that holds the declared objects.
func (s *Set) Local() *Cluster { return s.local }

// Remote is the cluster that a kubeconfig's current context names. The same
// bytes give the same Cluster. The error is a *model.Fault that repeats nothing
// of the content but names of files and commands that it is not allowed to use.
func (s *Set) Remote(kubeconfig []byte) (*Cluster, error) {
	key := s.keyOf(string(kubeconfig))

	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.remote[key]; c != nil {
		return c, nil
	}
	cfg, err := s.opts.remoteConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	c, err := newCluster(key, cfg, s.opts)
	if err != nil {
		return nil, kubeconfigFault("it does not describe a usable connection", "check server, certificate-authority-data and the client certificate", err)
	}
	s.remote[key] = c
	return c, nil
}

// Retain closes every remote cluster that keep does not want any more, such as
// those whose kubeconfig was rotated.
func (s *Set) Retain(keep func(key string) bool) {
	s.mu.Lock()
	var dropped []*Cluster
	for key, c := range s.remote {
		if !keep(key) {
			dropped = append(dropped, c)
			delete(s.remote, key)
		}
	}
	s.mu.Unlock()
	for _, c := range dropped {
		c.close()
	}
}

// Close ends all watches and idle connections of all clusters.
func (s *Set) Close() {
	s.Retain(func(string) bool { return false })
	s.local.close()
}

func kubeconfigFault(message, advice string, cause error) *model.Fault {
	return &model.Fault{
		Reason:  reasonReconciliation,
		Message: "the kubeconfig cannot be used: " + message,
		Advice:  advice,
		Err:     cause,
	}
}

// remoteConfig reads a kubeconfig that a stranger wrote: it may describe a
// connection, but neither run commands nor read files of this machine.
func (o Options) remoteConfig(content []byte) (*rest.Config, error) {
	if len(content) > maxKubeconfig {
		return nil, kubeconfigFault(fmt.Sprintf("it has %d bytes, more than %d", len(content), maxKubeconfig), "", nil)
	}
	parsed, err := clientcmd.Load(content)
	if err != nil {
		// The parser quotes what it could not read.
		return nil, kubeconfigFault("it is not valid YAML of kind Config", "compare it with the output of kubectl config view --raw --minify --flatten", nil)
	}
	current, ok := parsed.Contexts[parsed.CurrentContext]
	if !ok || current == nil {
		return nil, kubeconfigFault(fmt.Sprintf("its current-context %q names no context", parsed.CurrentContext), "set current-context", nil)
	}
	if err := o.allowed(parsed.Clusters[current.Cluster], parsed.AuthInfos[current.AuthInfo]); err != nil {
		return nil, err
	}
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*parsed, parsed.CurrentContext, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		// These errors name fields and files, never values.
		return nil, kubeconfigFault(err.Error(), "correct its current context", err)
	}
	return cfg, nil
}

func (o Options) allowed(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
	if cluster == nil || cluster.Server == "" {
		return kubeconfigFault("the cluster of its current context has no server", "set clusters[].cluster.server", nil)
	}
	if cluster.InsecureSkipTLSVerify && !o.AllowInsecureTLS {
		return kubeconfigFault("insecure-skip-tls-verify is not allowed", "give certificate-authority-data, or allow it with --insecure-kubeconfig-tls", nil)
	}
	files := []struct{ field, path string }{{"certificate-authority", cluster.CertificateAuthority}}
	if user != nil {
		if user.Exec != nil && !o.AllowExec {
			return kubeconfigFault(fmt.Sprintf("the exec plugin %q is not allowed", user.Exec.Command), "use a token or client-certificate-data, or allow it with --insecure-kubeconfig-exec", nil)
		}
		if user.AuthProvider != nil {
			return kubeconfigFault(fmt.Sprintf("the auth-provider %q is not supported", user.AuthProvider.Name), "use a token or client-certificate-data", nil)
		}
		files = append(files, []struct{ field, path string }{
			{"client-certificate", user.ClientCertificate},
			{"client-key", user.ClientKey},
			{"tokenFile", user.TokenFile},
		}...)
	}
	for _, f := range files {
		if f.path != "" && !o.AllowFiles {
			return kubeconfigFault(fmt.Sprintf("%s names the file %q, and files are not allowed", f.field, f.path), "embed the content, as kubectl config view --raw --minify --flatten does", nil)
		}
	}
	return nil
}
