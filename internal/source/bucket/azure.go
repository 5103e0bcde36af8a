package bucket

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azurecloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
)

// The entries of an Azure credential Secret (internal/bucket/azure/blob.go).
const (
	keyClientID            = "clientId"
	keyTenantID            = "tenantId"
	keyClientSecret        = "clientSecret"
	keyCertificate         = "clientCertificate"
	keyCertificatePassword = "clientCertificatePassword"
	keyCertificateChain    = "clientCertificateSendChain"
	keyAuthorityHost       = "authorityHost"
	keyAccountKey          = "accountKey"
	keySAS                 = "sasKey"
)

// azureVersion is that of the REST interface.
const azureVersion = "2023-11-03"

// azure is a container of Azure Blob Storage, by its REST interface.
type azure struct {
	wire      *wire
	client    *http.Client
	container *url.URL // without query
	query     url.Values
	sign      func(ctx context.Context, request *http.Request) error // nil: the address says it all, or nobody asks
}

func (c *Client) azure(spec *model.BucketSource) (objects, error) {
	home, err := azureEndpoint(spec.Endpoint)
	if err != nil {
		return nil, err
	}
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/?#%.") {
		return nil, &model.Fault{
			Reason:  reasonOperationFailed,
			Message: fmt.Sprintf("'%s' is no name of a container", spec.Name),
			Advice:  "correct spec.bucketName",
		}
	}
	way, err := c.connection(&spec.Auth)
	if err != nil {
		return nil, err
	}
	store := &azure{wire: way, client: way.client(), query: home.Query()}
	store.client.Timeout = 0 // objects may take long; the caller's context ends them
	bare := *home
	bare.RawQuery, bare.User = "", nil
	store.container = bare.JoinPath(spec.Name)
	return store, c.azureCredentials(spec, store)
}

// azureEndpoint reads the address of an account, https unless it says another
// scheme.
func azureEndpoint(endpoint string) (*url.URL, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	home, err := url.Parse(endpoint)
	if err != nil || home.Host == "" || home.Scheme != "https" && home.Scheme != "http" {
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: "the endpoint of the bucket cannot be understood",
			Advice:  "write spec.endpoint as https://ACCOUNT.blob.core.windows.net",
		}
	}
	return home, nil
}

// azureCredentials picks the credential in upstream's order (azure.NewClient).
func (c *Client) azureCredentials(spec *model.BucketSource, store *azure) error {
	identity, err := azureIdentity(spec.AzureKeys, store.wire)
	switch {
	case err != nil:
		return err
	case identity != nil:
		store.bear(&bearer{exchange: func(ctx context.Context) (model.Secret, time.Time, error) {
			token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{cloud.AzureBlobStorage}})
			if err != nil {
				return model.Secret{}, time.Time{}, azureTokenError(err)
			}
			return model.NewSecret([]byte(token.Token)), token.ExpiresOn, nil
		}})
	case !spec.AzureKeys[keyAccountKey].IsZero():
		return store.shareKey(spec)
	case !spec.AzureKeys[keySAS].IsZero():
		return store.shareSignature(spec.AzureKeys[keySAS])
	case spec.Auth.Workload != nil:
		broker, err := c.broker()
		if err != nil {
			return err
		}
		caller := cloud.Caller{Identity: *spec.Auth.Workload, Proxy: spec.Auth.Proxy}
		store.bear(&bearer{exchange: func(ctx context.Context) (model.Secret, time.Time, error) {
			token, err := broker.Azure(ctx, caller, cloud.AzureBlobStorage)
			return token.Value, token.Expires, err
		}})
	}
	return nil
}

// bear sends a token. Storage takes none without TLS, and nobody else shall see
// it either.
func (a *azure) bear(b *bearer) {
	a.sign = func(ctx context.Context, request *http.Request) error {
		if request.URL.Scheme != "https" {
			return &model.Fault{
				Reason:  reasonURLInvalid,
				Message: "a token is not sent without TLS",
				Advice:  "write spec.endpoint with https://",
			}
		}
		token, err := b.token(ctx)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

// azureIdentity is an application or managed identity that the Secret names;
// nil: it names none.
func azureIdentity(keys map[string]model.Secret, way *wire) (azcore.TokenCredential, error) {
	text := func(key string) string { return string(keys[key].Reveal()) }
	options := azcore.ClientOptions{Transport: way.client(), Retry: policy.RetryOptions{MaxRetries: 1}}
	// Who names a directory of its own also says that it is to be trusted: the
	// public cloud, which may be out of reach, is not asked about it.
	host := text(keyAuthorityHost)
	own := host != ""
	if own {
		options.Cloud = azurecloud.Configuration{ActiveDirectoryAuthorityHost: host}
	}
	tenant, client := text(keyTenantID), text(keyClientID)
	switch {
	case client == "":
		return nil, nil
	case tenant != "" && text(keyClientSecret) != "":
		return azidentity.NewClientSecretCredential(tenant, client, text(keyClientSecret), &azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: own})
	case tenant != "" && !keys[keyCertificate].IsZero():
		certificates, key, err := azidentity.ParseCertificates(keys[keyCertificate].Reveal(), keys[keyCertificatePassword].Reveal())
		if err != nil {
			return nil, errors.New("the 'clientCertificate' of the Secret cannot be parsed, or its password is wrong")
		}
		chain := strings.ToLower(text(keyCertificateChain))
		return azidentity.NewClientCertificateCredential(tenant, client, certificates, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: own, SendCertificateChain: chain == "1" || chain == "true",
		})
	}
	return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(client)})
}

// azureTokenError says why there is no token. The SDK quotes whole answers,
// requests included.
func azureTokenError(err error) error {
	text := "the directory cannot be asked"
	var answer *azidentity.AuthenticationFailedError
	var at *url.Error
	switch {
	case errors.As(err, &answer) && answer.RawResponse != nil:
		text = "the directory answers " + answer.RawResponse.Status
	case errors.As(err, &at):
		text += ": " + at.Err.Error()
	}
	return &model.Fault{
		Reason:  reasonAuthentication,
		Message: "no token was given for the identity of the Secret: " + text,
		Advice:  "check 'tenantId', 'clientId' and what goes with them in the Secret",
		Retry:   true,
	}
}

// shareSignature adds a shared access signature to every address. What the
// endpoint says itself stays.
func (a *azure) shareSignature(signature model.Secret) error {
	values, err := url.ParseQuery(strings.TrimPrefix(strings.TrimSpace(string(signature.Reveal())), "?"))
	if err != nil {
		return errors.New("unable to parse SAS token: the 'sasKey' of the Secret is no query")
	}
	for name, own := range a.query {
		if !values.Has(name) {
			values[name] = own
		}
	}
	a.query = values
	return nil
}

// shareKey signs requests with the key of the account ("Authorize with Shared
// Key", Blob service).
func (a *azure) shareKey(spec *model.BucketSource) error {
	labels := strings.Split(a.container.Hostname(), ".")
	if len(labels) <= 2 {
		return fmt.Errorf("failed to extract account name from endpoint: expected '%s' to be a subdomain", a.container.Hostname())
	}
	key, err := base64.StdEncoding.DecodeString(string(spec.AzureKeys[keyAccountKey].Reveal()))
	if err != nil {
		return errors.New("the 'accountKey' of the Secret is not encoded in base64")
	}
	account := labels[0]
	a.sign = func(_ context.Context, request *http.Request) error {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, azureSigned(account, request))
		request.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	}
	return nil
}

// azureSigned is the text whose signature a request without body carries.
func azureSigned(account string, request *http.Request) string {
	lines := []string{request.Method}
	for range 11 { // headers that none of our requests has
		lines = append(lines, "")
	}
	for _, name := range slices.Sorted(maps.Keys(request.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			lines = append(lines, lower+":"+request.Header.Get(name))
		}
	}
	lines = append(lines, "/"+account+request.URL.EscapedPath())
	query := request.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := slices.Sorted(slices.Values(query[name]))
		lines = append(lines, strings.ToLower(name)+":"+strings.Join(values, ","))
	}
	return strings.Join(lines, "\n")
}

// ask makes a request; the caller closes the body.
func (a *azure) ask(ctx context.Context, address url.URL, query url.Values) (*http.Response, error) {
	all := maps.Clone(a.query)
	maps.Copy(all, query)
	address.RawQuery = all.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Ms-Version", azureVersion)
	request.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	if a.sign != nil {
		if err := a.sign(ctx, request); err != nil {
			return nil, err
		}
	}
	return send(a.client, request)
}

// azurePage is one page of a listing.
type azurePage struct {
	Blobs []struct {
		Name struct {
			Encoded bool   `xml:"Encoded,attr"`
			Text    string `xml:",chardata"`
		} `xml:"Name"`
		Properties struct {
			ETag string `xml:"Etag"`
			Size *int64 `xml:"Content-Length"`
			Kind string `xml:"ResourceType"`
		} `xml:"Properties"`
	} `xml:"Blobs>Blob"`
	NextMarker string `xml:"NextMarker"`
}

func (a *azure) list(ctx context.Context, prefix string, visit func(model.BucketObject) error) error {
	query := url.Values{"restype": {"container"}, "comp": {"list"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	for {
		page, err := a.page(ctx, query)
		if err != nil {
			return err
		}
		if err := page.visit(visit); err != nil {
			return err
		}
		if page.NextMarker == "" {
			return nil
		}
		query.Set("marker", page.NextMarker)
	}
}

// visit passes the blobs of a page on. The entity tag is the one that upstream's
// revisions are made of: as the header of a blob has it, with quotes. What an
// account with hierarchical names lists as a directory is no blob.
func (p *azurePage) visit(visit func(model.BucketObject) error) error {
	for i := range p.Blobs {
		blob := &p.Blobs[i]
		name := blob.Name.Text
		if blob.Name.Encoded {
			var err error
			if name, err = url.PathUnescape(name); err != nil {
				return errors.New("the listing holds a name that cannot be read")
			}
		}
		if blob.Properties.Kind == "directory" {
			continue
		}
		o := model.BucketObject{Key: name, ETag: `"` + strings.Trim(blob.Properties.ETag, `"`) + `"`, Size: -1}
		if blob.Properties.Size != nil {
			o.Size = *blob.Properties.Size
		}
		if err := visit(o); err != nil {
			return err
		}
	}
	return nil
}

func (a *azure) page(ctx context.Context, query url.Values) (*azurePage, error) {
	response, err := a.ask(ctx, *a.container, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, azureError(response)
	}
	var page azurePage
	if err := xml.NewDecoder(response.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("the listing cannot be read: %w", err)
	}
	return &page, nil
}

func (a *azure) get(ctx context.Context, key string) (io.ReadCloser, error) {
	address := *a.container
	address.Path += "/" + key
	address.RawPath = a.container.EscapedPath() + "/" + url.PathEscape(key)
	response, err := a.ask(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return object(response)
	}
	return nil, errors.Join(azureError(response), response.Body.Close())
}

// azureError understands what Azure answers.
func azureError(response *http.Response) error {
	code := response.Header.Get("X-Ms-Error-Code")
	var answer struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	text := http.StatusText(response.StatusCode)
	if xml.NewDecoder(response.Body).Decode(&answer) == nil && answer.Code != "" {
		// What follows the first line names the request.
		text, _, _ = strings.Cut(answer.Message, "\n")
		code = answer.Code
	}
	if code == "" {
		code = response.Status
	}
	refused := &refusal{code: response.StatusCode, text: fmt.Sprintf("%s (%s)", text, code)}
	switch code {
	case "BlobNotFound":
		return fmt.Errorf("%w: %w", fs.ErrNotExist, refused)
	case "ContainerNotFound":
		return fmt.Errorf("%w: %w", errNoBucket, refused)
	}
	return refused
}

func (a *azure) close() { a.wire.close() }
