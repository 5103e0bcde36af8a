package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

// clouds answers for every address of every cloud.
type clouds struct {
	t       *testing.T
	mu      sync.Mutex
	asked   []string // METHOD host/path, in order
	answers map[string]func(r *http.Request, form url.Values) (int, string)
	now     time.Time
	tokens  []string // namespace/name audience
}

func newClouds(t *testing.T) *clouds {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // nobody's own credentials
	for _, name := range []string{
		"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_ENVIRONMENT_FILEPATH", "AZURE_AUTHORITY_HOST",
	} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	return &clouds{t: t, now: time.Now().Truncate(time.Second), answers: map[string]func(*http.Request, url.Values) (int, string){}}
}

func (c *clouds) on(place string, answer func(r *http.Request, form url.Values) (int, string)) {
	c.answers[place] = answer
}

func (c *clouds) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	form, _ := url.ParseQuery(string(body))
	place := r.Method + " " + r.URL.Host + r.URL.Path
	c.mu.Lock()
	c.asked = append(c.asked, place)
	answer := c.answers[place]
	c.mu.Unlock()
	recorder := httptest.NewRecorder()
	if answer == nil {
		recorder.WriteHeader(http.StatusNotFound)
	} else {
		status, text := answer(r, form)
		recorder.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(text, "<") {
			recorder.Header().Set("Content-Type", "text/xml")
		}
		recorder.WriteHeader(status)
		_, _ = recorder.WriteString(text)
	}
	response := recorder.Result()
	response.Request = r
	return response, nil
}

func (c *clouds) ServiceAccountToken(_ context.Context, namespace, name string, audiences []string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, namespace+"/"+name+" "+strings.Join(audiences, ","))
	return kubernetesToken, nil
}

func (c *clouds) count(place string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, one := range c.asked {
		if one == place {
			n++
		}
	}
	return n
}

func (c *clouds) broker() *Broker {
	return New(Options{Tokens: c, Transport: c, Now: func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.now
	}})
}

func (c *clouds) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const kubernetesToken = "kubernetes-token-canary"

func caller(provider, account string, annotations map[string]string) Caller {
	return Caller{Identity: model.WorkloadIdentity{Provider: provider, Account: account, Namespace: "apps", Annotations: annotations}}
}

var awsCaller = caller("aws", "reader", map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/reader"})

const stsPlace = "POST sts.eu-west-1.amazonaws.com/"

func (c *clouds) serveSTS(region string) {
	c.on("POST sts."+region+".amazonaws.com/", func(_ *http.Request, form url.Values) (int, string) {
		if form.Get("WebIdentityToken") != kubernetesToken || form.Get("RoleArn") != "arn:aws:iam::123456789012:role/reader" ||
			form.Get("RoleSessionName") != "reader.apps."+region+".fluxcd.io" {
			return http.StatusForbidden, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
		}
		return http.StatusOK, fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>ASIAKEY</AccessKeyId><SecretAccessKey>secret-key</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, c.now.Add(time.Hour).UTC().Format(time.RFC3339))
	})
}

func TestAWSRoleOfAServiceAccount(t *testing.T) {
	c := newClouds(t)
	c.serveSTS("eu-west-1")
	b := c.broker()
	got, err := b.AWS(t.Context(), awsCaller, "eu-west-1", "")
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "ASIAKEY" || string(got.SecretAccessKey.Reveal()) != "secret-key" || string(got.SessionToken.Reveal()) != "session" ||
		!got.Expires.Equal(c.now.Add(time.Hour)) {
		t.Errorf("got key %s, expires %s", got.AccessKeyID, got.Expires)
	}
	if want := "apps/reader sts.amazonaws.com"; len(c.tokens) != 1 || c.tokens[0] != want {
		t.Errorf("tokens asked for: %q, want %q", c.tokens, want)
	}
}

func TestCredentialIsKeptForMostOfItsLife(t *testing.T) {
	c := newClouds(t)
	c.serveSTS("eu-west-1")
	b := c.broker()
	get := func(who Caller) {
		t.Helper()
		if _, err := b.AWS(t.Context(), who, "eu-west-1", ""); err != nil {
			t.Fatal(err)
		}
	}
	get(awsCaller)
	c.pass(47 * time.Minute)
	get(awsCaller)
	if n := c.count(stsPlace); n != 1 {
		t.Errorf("%d exchanges within four fifths of an hour, want 1", n)
	}
	c.pass(2 * time.Minute)
	get(awsCaller)
	if n := c.count(stsPlace); n != 2 {
		t.Errorf("%d exchanges after four fifths of an hour, want 2", n)
	}
	// Another namespace's account of the same name is another one.
	other := awsCaller
	other.Identity.Namespace = "elsewhere"
	if _, err := b.AWS(t.Context(), other, "eu-west-1", ""); err == nil {
		t.Error("another namespace got the credential of the first")
	}
}

func TestOneExchangeForMany(t *testing.T) {
	c := newClouds(t)
	c.serveSTS("eu-west-1")
	inner, held := c.answers[stsPlace], make(chan struct{})
	c.on(stsPlace, func(r *http.Request, form url.Values) (int, string) {
		<-held
		return inner(r, form)
	})
	b := c.broker()
	var started, ended sync.WaitGroup
	for range 20 {
		started.Add(1)
		ended.Go(func() {
			started.Done()
			if _, err := b.AWS(t.Context(), awsCaller, "eu-west-1", ""); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	close(held)
	ended.Wait()
	if n := c.count(stsPlace); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

func TestAWSRefusals(t *testing.T) {
	for name, one := range map[string]struct {
		who              Caller
		region, endpoint string
		want             string
	}{
		"no role":              {caller("aws", "reader", nil), "eu-west-1", "", "invalid eks.amazonaws.com/role-arn annotation"},
		"no region":            {awsCaller, "", "", "an AWS region is required"},
		"own without a region": {caller("aws", "", nil), "", "", "AWS_REGION environment variable is not set"},
		"foreign STS":          {awsCaller, "eu-west-1", "https://sts.evil.example", "invalid STS endpoint"},
		"another cloud":        {caller("gcp", "", nil), "eu-west-1", "", `the identity is one of "gcp"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClouds(t)
			_, err := c.broker().AWS(t.Context(), one.who, one.region, one.endpoint)
			wantFault(t, err, one.want)
			if len(c.asked)+len(c.tokens) != 0 {
				t.Errorf("asked %q and for tokens %q", c.asked, c.tokens)
			}
		})
	}
}

func wantFault(t *testing.T, err error, part string) {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Reason != "AuthenticationFailed" || !strings.Contains(fault.Message, part) {
		t.Fatalf("got %v, want a fault AuthenticationFailed with %q", err, part)
	}
	if strings.Contains(fault.Error(), kubernetesToken) {
		t.Errorf("the token stands in %q", fault.Error())
	}
}

func TestTokenStaysOutOfErrors(t *testing.T) {
	c := newClouds(t)
	c.on(stsPlace, func(_ *http.Request, form url.Values) (int, string) {
		return http.StatusForbidden, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>bad " + form.Get("WebIdentityToken") + "</Message></Error></ErrorResponse>"
	})
	_, err := c.broker().AWS(t.Context(), awsCaller, "eu-west-1", "")
	wantFault(t, err, "bad [secret]")
}

func TestOwnAWSCredentials(t *testing.T) {
	c := newClouds(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(kubernetesToken), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
	t.Setenv("AWS_ROLE_SESSION_NAME", "reader.apps.eu-west-1.fluxcd.io")
	t.Setenv("AWS_REGION", "eu-west-1")
	c.serveSTS("eu-west-1")
	got, err := c.broker().AWS(t.Context(), caller("aws", "", nil), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "ASIAKEY" || len(c.tokens) != 0 {
		t.Errorf("got key %s with %d tokens of service accounts", got.AccessKeyID, len(c.tokens))
	}
}

func TestECRLogin(t *testing.T) {
	for host, api := range map[string]struct{ place, region string }{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": {"POST api.ecr.eu-west-1.amazonaws.com/", "eu-west-1"},
		"public.ecr.aws": {"POST api.ecr-public.us-east-1.amazonaws.com/", "us-east-1"},
	} {
		t.Run(host, func(t *testing.T) {
			c := newClouds(t)
			c.serveSTS(api.region)
			c.on(api.place, func(r *http.Request, _ url.Values) (int, string) {
				if !strings.Contains(r.Header.Get("Authorization"), "ASIAKEY") {
					return http.StatusForbidden, `{"__type":"AccessDenied"}`
				}
				data := fmt.Sprintf(`{"authorizationToken":%q,"expiresAt":%d}`,
					base64.StdEncoding.EncodeToString([]byte("AWS:pass:word")), c.now.Add(12*time.Hour).Unix())
				if strings.Contains(r.Header.Get("X-Amz-Target"), "SpencerFrontendService") {
					return http.StatusOK, `{"authorizationData":` + data + `}`
				}
				return http.StatusOK, `{"authorizationData":[` + data + `]}`
			})
			login, err := c.broker().RegistryLogin(t.Context(), awsCaller, host)
			if err != nil {
				t.Fatalf("%v (asked %q)", err, c.asked)
			}
			if login.Username != "AWS" || string(login.Password.Reveal()) != "pass:word" || !login.Expires.Equal(c.now.Add(12*time.Hour)) {
				t.Errorf("got user %s until %s", login.Username, login.Expires)
			}
		})
	}
}

func TestLoginsGoToTheirCloudOnly(t *testing.T) {
	for _, one := range []struct{ provider, host string }{
		{"aws", "ghcr.io"},
		{"aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example"},
		{"aws", "evil.example/123456789012.dkr.ecr.eu-west-1.amazonaws.com"},
		{"gcp", "gcr.io.evil.example"},
		{"gcp", "evilgcr.io"},
		{"azure", "azurecr.io"},
		{"azure", "x.azurecr.io.evil.example"},
		{"generic", "ghcr.io"},
	} {
		c := newClouds(t)
		_, err := c.broker().RegistryLogin(t.Context(), caller(one.provider, "reader", awsCaller.Identity.Annotations), one.host)
		wantFault(t, err, "failed to get credential from "+one.provider)
		if len(c.asked)+len(c.tokens) != 0 {
			t.Errorf("%s: asked %q and for tokens %q", one.host, c.asked, c.tokens)
		}
	}
}

// metadataServer is that of a GKE node.
func metadataServer(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/") {
		case "project/project-id":
			_, _ = io.WriteString(w, "my-project")
		case "instance/attributes/cluster-location":
			_, _ = io.WriteString(w, "europe-west1")
		case "instance/attributes/cluster-name":
			_, _ = io.WriteString(w, "my-cluster")
		case "instance/service-accounts/default/token":
			_, _ = io.WriteString(w, `{"access_token":"node-token","expires_in":3600,"token_type":"Bearer"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
}

func TestGoogle(t *testing.T) {
	const provider = "projects/12/locations/global/workloadIdentityPools/pool/providers/cluster"
	gke := "identitynamespace:my-project.svc.id.goog:https://container.googleapis.com/v1/projects/my-project/locations/europe-west1/clusters/my-cluster"
	for name, one := range map[string]struct {
		who                     Caller
		audience, tokenAudience string
		want                    string
	}{
		"direct, outside of GKE": {
			caller("gcp", "reader", map[string]string{"gcp.auth.fluxcd.io/workload-identity-provider": provider}),
			"//iam.googleapis.com/" + provider, "//iam.googleapis.com/" + provider, "federated-token",
		},
		"impersonated, in GKE": {
			caller("gcp", "reader", map[string]string{"iam.gke.io/gcp-service-account": "reader@my-project.iam.gserviceaccount.com"}),
			gke, "my-project.svc.id.goog", "impersonated-token",
		},
		"own": {caller("gcp", "", nil), "", "", "node-token"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClouds(t)
			metadataServer(t)
			c.on("POST sts.googleapis.com/v1/token", func(_ *http.Request, form url.Values) (int, string) {
				if form.Get("subject_token") != kubernetesToken || form.Get("audience") != one.audience {
					return http.StatusBadRequest, fmt.Sprintf(`{"error":"invalid_request","error_description":"audience %s"}`, form.Get("audience"))
				}
				return http.StatusOK, `{"access_token":"federated-token","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`
			})
			c.on("POST iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/reader@my-project.iam.gserviceaccount.com:generateAccessToken",
				func(r *http.Request, _ url.Values) (int, string) {
					if r.Header.Get("Authorization") != "Bearer federated-token" {
						return http.StatusForbidden, `{}`
					}
					return http.StatusOK, fmt.Sprintf(`{"accessToken":"impersonated-token","expireTime":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
				})
			b := c.broker()
			token, err := b.Google(t.Context(), one.who)
			if err != nil {
				t.Fatalf("%v (asked %q)", err, c.asked)
			}
			if got := string(token.Value.Reveal()); got != one.want {
				t.Errorf("got %q, want %q", got, one.want)
			}
			if one.tokenAudience != "" && (len(c.tokens) != 1 || c.tokens[0] != "apps/reader "+one.tokenAudience) {
				t.Errorf("tokens asked for: %q", c.tokens)
			}
			login, err := b.RegistryLogin(t.Context(), one.who, "europe-west1-docker.pkg.dev")
			if err != nil || login.Username != "oauth2accesstoken" || string(login.Password.Reveal()) != one.want {
				t.Errorf("login of %s: %v", login.Username, err)
			}
		})
	}
}

func TestGoogleRefusals(t *testing.T) {
	c := newClouds(t)
	_, err := c.broker().Google(t.Context(), caller("gcp", "reader", map[string]string{"iam.gke.io/gcp-service-account": "x/../y"}))
	wantFault(t, err, "invalid iam.gke.io/gcp-service-account annotation")
}

var azureCaller = caller("azure", "reader", map[string]string{
	"azure.workload.identity/tenant-id": "11111111-2222-3333-4444-555555555555",
	"azure.workload.identity/client-id": "66666666-7777-8888-9999-000000000000",
})

// serveEntra answers for Microsoft Entra with a token for a scope.
func (c *clouds) serveEntra(scope string) {
	const authority = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555"
	c.on("GET login.microsoftonline.com/common/discovery/instance", func(*http.Request, url.Values) (int, string) {
		return http.StatusOK, `{"tenant_discovery_endpoint":"` + authority + `/v2.0/.well-known/openid-configuration","api-version":"1.1",
"metadata":[{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.windows.net","aliases":["login.microsoftonline.com"]}]}`
	})
	c.on("GET login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0/.well-known/openid-configuration", func(*http.Request, url.Values) (int, string) {
		return http.StatusOK, `{"token_endpoint":"` + authority + `/oauth2/v2.0/token","authorization_endpoint":"` + authority + `/oauth2/v2.0/authorize","issuer":"` + authority + `/v2.0"}`
	})
	c.on("POST login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token", func(_ *http.Request, form url.Values) (int, string) {
		if form.Get("client_assertion") != kubernetesToken || !strings.Contains(form.Get("scope"), scope) {
			return http.StatusUnauthorized, `{"error":"invalid_client","error_description":"no"}`
		}
		return http.StatusOK, `{"token_type":"Bearer","expires_in":3600,"access_token":"entra-token"}`
	})
}

func TestAzureToken(t *testing.T) {
	c := newClouds(t)
	c.serveEntra("https://storage.azure.com/.default")
	token, err := c.broker().Azure(t.Context(), azureCaller, AzureBlobStorage)
	if err != nil {
		t.Fatalf("%v (asked %q)", err, c.asked)
	}
	if string(token.Value.Reveal()) != "entra-token" || len(c.tokens) != 1 || c.tokens[0] != "apps/reader api://AzureADTokenExchange" {
		t.Errorf("tokens asked for: %q", c.tokens)
	}
	_, err = c.broker().Azure(t.Context(), caller("azure", "reader", nil), AzureBlobStorage)
	wantFault(t, err, "the annotation azure.workload.identity/tenant-id is not set")
}

func TestOwnAzureToken(t *testing.T) {
	c := newClouds(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(kubernetesToken), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
	t.Setenv("AZURE_CLIENT_ID", "66666666-7777-8888-9999-000000000000")
	t.Setenv("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555")
	c.serveEntra("https://vault.azure.net/.default")
	token, err := c.broker().Azure(t.Context(), caller("azure", "", nil), AzureKeyVault)
	if err != nil || string(token.Value.Reveal()) != "entra-token" || len(c.tokens) != 0 {
		t.Errorf("%v (asked %q, tokens %q)", err, c.asked, c.tokens)
	}
}

func jsonWebToken(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".sig"
}

func TestACRLogin(t *testing.T) {
	c := newClouds(t)
	c.serveEntra("https://containerregistry.azure.net/.default")
	refresh := jsonWebToken(t, map[string]any{"exp": c.now.Add(3 * time.Hour).Unix()})
	c.on("POST mine.azurecr.io/oauth2/exchange", func(_ *http.Request, form url.Values) (int, string) {
		if form.Get("access_token") != "entra-token" || form.Get("service") != "mine.azurecr.io" || form.Get("grant_type") != "access_token" {
			return http.StatusUnauthorized, ""
		}
		return http.StatusOK, `{"refresh_token":"` + refresh + `"}`
	})
	login, err := c.broker().RegistryLogin(t.Context(), azureCaller, "mine.azurecr.io")
	if err != nil {
		t.Fatalf("%v (asked %q)", err, c.asked)
	}
	if login.Username != acrUser || string(login.Password.Reveal()) != refresh || !login.Expires.Equal(c.now.Add(3*time.Hour)) {
		t.Errorf("got user %s until %s", login.Username, login.Expires)
	}
}

func TestACRAnswersGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"no JSON": "hello", "no token": "{}", "no JSON web token": `{"refresh_token":"x"}`, "no end": `{"refresh_token":"a.e30.b"}`,
	} {
		c := newClouds(t)
		c.serveEntra("https://containerregistry.azure.net/.default")
		c.on("POST mine.azurecr.io/oauth2/exchange", func(*http.Request, url.Values) (int, string) { return http.StatusOK, answer })
		_, err := c.broker().RegistryLogin(t.Context(), azureCaller, "mine.azurecr.io")
		if wantFault(t, err, "the registry"); strings.Contains(err.Error(), "entra-token") {
			t.Errorf("%s: the token stands in %q", name, err)
		}
	}
}

func TestNoTokens(t *testing.T) {
	b := New(Options{Transport: newClouds(t)})
	_, err := b.AWS(t.Context(), awsCaller, "eu-west-1", "")
	wantFault(t, err, "no token can be had for service account 'apps/reader' here")
}

func TestBoundedAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, maxAnswer+1))
	}))
	defer server.Close()
	b := New(Options{})
	w, err := b.way(&model.HTTPAuth{})
	if err != nil {
		t.Fatal(err)
	}
	response, err := w.client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if read, err := io.ReadAll(response.Body); err == nil || len(read) > maxAnswer {
		t.Errorf("read %d bytes, error %v", len(read), err)
	}
}
