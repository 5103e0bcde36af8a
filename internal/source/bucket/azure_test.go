package bucket

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/faulttest"
)

// oneToken is a cloud that always gives the same token.
type oneToken struct{ *lender }

func (oneToken) Google(ctx context.Context, caller cloud.Caller) (cloud.Token, error) {
	return new(lender).Google(ctx, caller)
}

func (oneToken) Azure(ctx context.Context, caller cloud.Caller, scope string) (cloud.Token, error) {
	return new(lender).Azure(ctx, caller, scope)
}

// fakeAzure is an account with a container "things". It answers only what
// allowed lets pass.
func fakeAzure(t *testing.T, allowed func(r *http.Request) bool) *httptest.Server {
	t.Helper()
	refuse := func(w http.ResponseWriter, status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>no %s.\nRequestId:1</Message></Error>", code, code)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		container, blob, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch {
		case r.Header.Get("X-Ms-Version") == "" || r.Header.Get("X-Ms-Date") == "" || !allowed(r):
			refuse(w, http.StatusForbidden, "AuthenticationFailed")
		case container != "things":
			refuse(w, http.StatusNotFound, "ContainerNotFound")
		case blob == "app/b &+ä.yaml":
			_, _ = fmt.Fprint(w, "a: b")
		case blob != "":
			refuse(w, http.StatusNotFound, "BlobNotFound")
		case query.Get("comp") != "list" || query.Get("restype") != "container" || query.Get("prefix") != "app/":
			refuse(w, http.StatusBadRequest, "InvalidUri")
		case query.Get("marker") == "":
			_, _ = fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>
<Blob><Name>app/b &amp;+ä.yaml</Name><Properties><Etag>0x8DA</Etag><Content-Length>4</Content-Length></Properties></Blob>
<Blob><Name>app/dir</Name><Properties><Etag>0x8DD</Etag><Content-Length>0</Content-Length><ResourceType>directory</ResourceType></Properties></Blob>
</Blobs><NextMarker>2/two</NextMarker></EnumerationResults>`)
		case query.Get("marker") == "2/two":
			_, _ = fmt.Fprint(w, `<EnumerationResults><Blobs><Blob><Name Encoded="true">app/a%20%2525</Name><Properties><Etag>0x8DB</Etag></Properties></Blob></Blobs><NextMarker/></EnumerationResults>`)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// The entity tags have the quotes that upstream's revisions are made with.
const azureListing = "app/a %25 \"0x8DB\" -1\napp/b &+ä.yaml \"0x8DA\" 4\n"

func azureSource(server *httptest.Server) *model.BucketSource {
	return &model.BucketSource{
		Provider: providerAzure, Name: "things", Endpoint: server.URL, Prefix: "app/",
		Auth:      model.HTTPAuth{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
		AzureKeys: map[string]model.Secret{},
	}
}

func TestAzureByTokenSignatureAndNone(t *testing.T) {
	public := fakeAzure(t, func(*http.Request) bool { return true })
	c := New(Options{Cloud: oneToken{}})
	if got := listing(t, c, azureSource(public)); got != azureListing {
		t.Error(got)
	}
	if got := content(t, c, azureSource(public), "app/b &+ä.yaml"); got != "a: b" {
		t.Error(got)
	}
	if _, err := c.Get(t.Context(), azureSource(public), "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	other := azureSource(public)
	other.Name = "others"
	_, err := c.List(t.Context(), other, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "bucket 'others' not found")

	byToken := fakeAzure(t, func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer azure-1" })
	spec := azureSource(byToken)
	spec.Auth.Workload = &model.WorkloadIdentity{Provider: "azure"}
	if got := listing(t, c, spec); got != azureListing {
		t.Error(got)
	}

	bySAS := fakeAzure(t, func(r *http.Request) bool {
		return r.URL.Query().Get("sig") == "the-secret/sig=" && r.URL.Query().Get("own") == "1"
	})
	spec = azureSource(bySAS)
	spec.Endpoint += "?own=1"
	spec.AzureKeys[keySAS] = model.NewSecret([]byte("?sv=1&sig=the-secret%2Fsig%3D\n"))
	if got := listing(t, c, spec); got != azureListing {
		t.Error(got)
	}
	_, err = c.List(t.Context(), azureSource(bySAS), 10)
	faulttest.Expect(t, err, reasonOperationFailed, "no AuthenticationFailed. (AuthenticationFailed)", "spec.secretRef")
}

func TestAzureByAccountKey(t *testing.T) {
	request, err := http.NewRequest(http.MethodGet, "https://myaccount.blob.core.windows.net/things?restype=container&comp=list&prefix=app%2F", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Ms-Version", azureVersion)
	request.Header.Set("X-Ms-Date", "Fri, 26 Jun 2015 23:39:12 GMT")
	// As the documentation has it: the method, eleven headers that are empty, the
	// headers and the resource in canonical form.
	want := "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2023-11-03\n/myaccount/things\ncomp:list\nprefix:app/\nrestype:container"
	if got := azureSigned("myaccount", request); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}

	key := []byte("the-secret-key-of-the-account")
	spec := &model.BucketSource{
		Provider: providerAzure, Name: "things", Endpoint: "https://myaccount.blob.example.com",
		AzureKeys: map[string]model.Secret{keyAccountKey: model.NewSecret([]byte(base64.StdEncoding.EncodeToString(key)))},
	}
	made, err := New(Options{}).azure(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.(*azure).sign(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(want))
	if got := request.Header.Get("Authorization"); got != "SharedKey myaccount:"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		t.Error(got)
	}
}

// A directory of Microsoft Entra gives the token of an application.
func TestAzureByApplication(t *testing.T) {
	var asked url.Values
	var directory *httptest.Server
	directory = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
			_, _ = fmt.Fprintf(w, `{"token_endpoint":"%[1]s/tenant/oauth2/v2.0/token","authorization_endpoint":"%[1]s/tenant/authorize","issuer":"%[1]s/tenant"}`, directory.URL)
		case r.URL.Path == "/common/discovery/instance":
			_, _ = fmt.Fprintf(w, `{"tenant_discovery_endpoint":"%s/tenant/v2.0/.well-known/openid-configuration","metadata":[]}`, directory.URL)
		default:
			_ = r.ParseForm()
			asked = r.PostForm
			_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","access_token":"of-the-app","expires_in":%d}`, int(time.Hour.Seconds()))
		}
	}))
	defer directory.Close()
	server := fakeAzure(t, func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer of-the-app" })
	spec := azureSource(server)
	for key, value := range map[string]string{keyTenantID: "tenant", keyClientID: "client", keyClientSecret: "the-secret-of-the-app", keyAuthorityHost: directory.URL} {
		spec.AzureKeys[key] = model.NewSecret([]byte(value))
	}
	if got := listing(t, New(Options{}), spec); got != azureListing {
		t.Error(got)
	}
	if asked.Get("client_id") != "client" || asked.Get("scope") == "" {
		t.Errorf("asked with %v", asked)
	}
}

func TestAzureRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint, container string
		keys                map[string]string
		reason, part        string
	}{
		"no address":     {"https://", "things", nil, reasonURLInvalid, "ACCOUNT"},
		"no container":   {"https://a.b.c", "a/../b", nil, reasonOperationFailed, "no name"},
		"no account":     {"https://host", "things", map[string]string{keyAccountKey: "dGhlLXNlY3JldA=="}, reasonAuthentication, "subdomain"},
		"no base64":      {"https://a.b.c", "things", map[string]string{keyAccountKey: "the-secret!"}, reasonAuthentication, "base64"},
		"no query":       {"https://a.b.c", "things", map[string]string{keySAS: "the-secret%zz"}, reasonAuthentication, "SAS"},
		"no certificate": {"https://a.b.c", "things", map[string]string{keyTenantID: "t", keyClientID: "c", keyCertificate: "the-secret"}, reasonAuthentication, "clientCertificate"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &model.BucketSource{Provider: providerAzure, Name: c.container, Endpoint: c.endpoint, AzureKeys: map[string]model.Secret{}}
			for key, value := range c.keys {
				spec.AzureKeys[key] = model.NewSecret([]byte(value))
			}
			_, err := New(Options{}).List(t.Context(), spec, 10)
			faulttest.Expect(t, err, c.reason, c.part)
		})
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	spec := &model.BucketSource{Provider: providerAzure, Name: "things", Endpoint: plain.URL, Auth: model.HTTPAuth{Workload: &model.WorkloadIdentity{}}}
	_, err := New(Options{Cloud: oneToken{}}).List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonURLInvalid, "without TLS")
}
