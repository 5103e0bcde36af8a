package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/model"
)

// Trust describes a cluster that trusts the service accounts of the local one, by
// its OIDC issuer: what it is shown is a short-lived token of one of them.
type Trust struct {
	Address        string   // https://host:port
	CA             string   // PEM; "": the roots of this machine
	Namespace      string   // of the service account
	ServiceAccount string   // whose tokens are shown
	Audiences      []string // of the tokens
}

// TrustIn reads what a ConfigMap says of a cluster (fluxcd/pkg auth/utils
// GetRESTConfig, provider generic), for an object in a namespace. The error is a
// *model.Fault.
//
// The service account has to be named: the address and the audiences are what
// whoever wrote the ConfigMap likes, and a token of Plumb's own would let them act
// as Plumb.
func TrustIn(data map[string]string, namespace string) (Trust, error) {
	refused := func(message, advice string) (Trust, error) {
		return Trust{}, &model.Fault{Reason: reasonReconciliation, Message: "the ConfigMap does not describe a cluster that can be reached: " + message, Advice: advice}
	}
	t := Trust{CA: data["ca.crt"], Namespace: namespace, ServiceAccount: data["serviceAccountName"]}
	switch provider := data["provider"]; provider {
	case "generic":
	case "":
		return refused("it names no provider", "set data.provider to generic, or name a Secret with a kubeconfig in spec.kubeConfig.secretRef")
	case "aws", "azure", "gcp":
		return refused(fmt.Sprintf("Plumb asks no cloud for clusters and their tokens, and its provider is %q", provider),
			"name a Secret with a kubeconfig in spec.kubeConfig.secretRef, or let the cluster trust the OIDC issuer of this one and set data.provider to generic")
	default:
		return refused(fmt.Sprintf("its provider %q is unknown", provider), "set data.provider to generic, or name a Secret with a kubeconfig in spec.kubeConfig.secretRef")
	}
	if t.ServiceAccount == "" {
		return refused("it names no service account", "set data.serviceAccountName: Plumb's own identity is not shown to an address that a ConfigMap names")
	}
	address, err := clusterAddress(data["address"])
	if err != nil {
		return refused(err.Error(), "set data.address to the address of its API server, such as https://10.0.0.1:6443")
	}
	t.Address = address
	for audience := range strings.SplitSeq(data["audiences"], "\n") {
		if audience = strings.TrimSpace(audience); audience != "" {
			t.Audiences = append(t.Audiences, audience)
		}
	}
	if len(t.Audiences) == 0 {
		t.Audiences = []string{data["address"]}
	}
	return t, nil
}

// clusterAddress is an address as https://host:port.
func clusterAddress(written string) (string, error) {
	if written == "" {
		return "", fmt.Errorf("it has no address")
	}
	if !strings.HasPrefix(written, "http") {
		written = "https://" + written
	}
	at, err := url.Parse(written)
	switch {
	case err != nil || at.Host == "":
		return "", fmt.Errorf("its address cannot be understood")
	case at.Scheme != "https":
		return "", fmt.Errorf("its address has not the scheme https")
	}
	host := strings.ToLower(at.Host)
	if at.Port() == "" {
		host += ":443"
	}
	return "https://" + host, nil
}

// Trusting is the cluster that a trust describes. The same trust gives the same
// Cluster, however often its token changes. The error is a *model.Fault.
func (s *Set) Trusting(t Trust) (*Cluster, error) {
	said, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	key := s.keyOf("trust\n" + string(said))
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.remote[key]; c != nil {
		return c, nil
	}
	cfg := &rest.Config{Host: t.Address, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(t.CA)}}
	shown := &identity{local: s.local, trust: t, turn: make(chan struct{}, 1)}
	cfg.Wrap(func(way http.RoundTripper) http.RoundTripper { return &identified{way: way, identity: shown} })
	c, err := newCluster(key, cfg, s.opts)
	if err != nil {
		return nil, &model.Fault{
			Reason: reasonReconciliation, Message: "the ConfigMap does not describe a usable connection", Advice: "check address and ca.crt", Err: err,
		}
	}
	s.remote[key] = c
	return c, nil
}

// keyOf is what a remote cluster is known by: it is the same for the same content,
// and reveals nothing of it.
func (s *Set) keyOf(content string) string {
	mac := hmac.New(sha256.New, s.opts.DigestKey)
	_, _ = mac.Write([]byte(content)) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// identity has a token of a service account at hand.
type identity struct {
	local *Cluster
	trust Trust

	turn  chan struct{} // held by whoever looks after the token; guards what follows
	token string
	until time.Time
}

// show is a token that is good for a while yet: one is asked for anew when four
// fifths of its life are over.
func (i *identity) show(ctx context.Context) (string, error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if now := time.Now(); i.token == "" || !now.Before(i.until) {
		token, expires, err := i.local.accountToken(ctx, i.trust.Namespace, i.trust.ServiceAccount, i.trust.Audiences)
		if err != nil {
			return "", fmt.Errorf("failed to create kubernetes token for service account '%s/%s': %w", i.trust.Namespace, i.trust.ServiceAccount, err)
		}
		i.token, i.until = token, now.Add(expires.Sub(now)/5*4)
	}
	return i.token, nil
}

// identified is a way on which each request shows a token.
type identified struct {
	way      http.RoundTripper
	identity *identity
}

// RoundTrip implements http.RoundTripper.
func (r *identified) RoundTrip(request *http.Request) (*http.Response, error) {
	token, err := r.identity.show(request.Context())
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // as a RoundTripper has to
		}
		return nil, err
	}
	shown := request.Clone(request.Context())
	shown.Header.Set("Authorization", "Bearer "+token)
	return r.way.RoundTrip(shown)
}

// WrappedRoundTripper lets the connections of the way be closed.
func (r *identified) WrappedRoundTripper() http.RoundTripper { return r.way }
