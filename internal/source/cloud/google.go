package cloud

import (
	"context"
	"fmt"
	"regexp"
	"sync"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/google/externalaccount"

	"plumb.dev/plumb/internal/model"
)

// Annotations by which a service account is given an identity of Google Cloud.
const (
	googleAccount  = "iam.gke.io/gcp-service-account"
	googleProvider = "gcp.auth.fluxcd.io/workload-identity-provider"
)

var (
	googleScopes = []string{
		"https://www.googleapis.com/auth/cloud-platform",
		"https://www.googleapis.com/auth/userinfo.email",
	}
	googleAccountForm  = regexp.MustCompile(`^[a-zA-Z0-9-]{1,100}@[a-zA-Z0-9-]{1,100}\.iam\.gserviceaccount\.com$`)
	googleProviderForm = regexp.MustCompile(`^projects/\d{1,30}/locations/global/workloadIdentityPools/[^/]{1,100}/providers/[^/]{1,100}$`)
	// Container Registry, Artifact Registry and the S3NS sovereign cloud.
	googleHost = regexp.MustCompile(`^(?:(?:.+\.)?gcr\.io|.+-docker\.pkg\.dev|docker\.s3nsregistry\.fr)$`)
)

// The addresses of the exchange.
const (
	googleSTS        = "https://sts.googleapis.com/v1/token"
	googleIntrospect = "https://sts.googleapis.com/v1/introspect"
	googleImpersonat = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/%s:generateAccessToken"
)

func (b *Broker) googleToken(ctx context.Context, id model.WorkloadIdentity, w *way) (Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, w.client)
	source, err := b.googleSource(ctx, id, w)
	if err != nil {
		return Token{}, err
	}
	token, err := source.Token()
	if err != nil {
		return Token{}, err
	}
	return Token{Value: model.NewSecret([]byte(token.AccessToken)), Expires: token.Expiry}, nil
}

func (b *Broker) googleSource(ctx context.Context, id model.WorkloadIdentity, w *way) (oauth2.TokenSource, error) {
	if id.Account == "" {
		return google.DefaultTokenSource(ctx, googleScopes...)
	}
	email, provider := id.Annotations[googleAccount], id.Annotations[googleProvider]
	switch {
	case email != "" && !googleAccountForm.MatchString(email):
		return nil, misannotated(id, googleAccount, email, "the email of a service account of Google Cloud")
	case provider != "" && !googleProviderForm.MatchString(provider):
		return nil, misannotated(id, googleProvider, provider, "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER")
	}
	// Outside of GKE the provider is the audience of both tokens; in GKE the
	// cluster's own pool and provider are.
	audience := "//iam.googleapis.com/" + provider
	tokenAudience := audience
	if provider == "" {
		cluster, err := b.cluster.get(ctx)
		if err != nil {
			return nil, err
		}
		tokenAudience = cluster.project + ".svc.id.goog"
		audience = fmt.Sprintf("identitynamespace:%s:https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s",
			tokenAudience, cluster.project, cluster.location, cluster.name)
	}
	token, err := b.token(ctx, id, w, tokenAudience)
	if err != nil {
		return nil, err
	}
	exchange := externalaccount.Config{
		UniverseDomain:       "googleapis.com",
		Audience:             audience,
		SubjectTokenType:     "urn:ietf:params:oauth:token-type:jwt",
		TokenURL:             googleSTS,
		SubjectTokenSupplier: subject(token),
		Scopes:               googleScopes,
	}
	if email == "" {
		exchange.TokenInfoURL = googleIntrospect
	} else {
		exchange.ServiceAccountImpersonationURL = fmt.Sprintf(googleImpersonat, email)
	}
	return externalaccount.NewTokenSource(ctx, exchange)
}

func misannotated(id model.WorkloadIdentity, name, value, wanted string) error {
	return advised{fmt.Errorf("invalid %s annotation: '%s'", name, value),
		fmt.Sprintf("annotate service account '%s/%s' with %s", id.Namespace, id.Account, wanted)}
}

// subject is a Kubernetes token that was asked for already.
type subject string

// SubjectToken implements externalaccount.SubjectTokenSupplier.
func (s subject) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return string(s), nil
}

func (b *Broker) googleLogin(ctx context.Context, caller Caller, w *way, host string) (Login, error) {
	if !googleHost.MatchString(host) {
		return Login{}, strange("GCP", host)
	}
	token, err := b.googleToken(ctx, caller.Identity, w)
	return Login{Username: "oauth2accesstoken", Password: token.Value, Expires: token.Expires}, err
}

// gkeCluster is what the metadata server of GKE tells of the cluster. It never
// changes, so it is asked until it answers once. No proxy is in between: the
// server is one of the node.
type gkeCluster struct {
	mu    sync.Mutex
	known *gkeNames
}

type gkeNames struct{ project, location, name string }

func (g *gkeCluster) get(ctx context.Context) (gkeNames, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known != nil {
		return *g.known, nil
	}
	var names gkeNames
	for _, one := range []struct {
		path, what string
		into       *string
	}{
		{"project/project-id", "project ID", &names.project},
		{"instance/attributes/cluster-location", "location", &names.location},
		{"instance/attributes/cluster-name", "name", &names.name},
	} {
		value, err := metadata.NewClient(nil).GetWithContext(ctx, one.path)
		if err != nil {
			return gkeNames{}, fmt.Errorf("failed to get GKE cluster %s from the metadata service: %w", one.what, err)
		}
		if value == "" {
			return gkeNames{}, fmt.Errorf("failed to get GKE cluster %s from the metadata service: empty value", one.what)
		}
		*one.into = value
	}
	g.known = &names
	return names, nil
}
