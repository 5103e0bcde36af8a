package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"plumb.dev/plumb/internal/model"
)

// Audience and annotations by which a service account is given an identity of
// Microsoft Entra.
const (
	azureAudience = "api://AzureADTokenExchange"
	azureTenant   = "azure.workload.identity/tenant-id"
	azureClient   = "azure.workload.identity/client-id"
)

// acrHost are the registries of the public and the national clouds.
var acrHost = regexp.MustCompile(`^[^/]+\.(?:azurecr\.io|azurecr\.cn|azurecr\.de|azurecr\.us)$`)

// Of Azure Container Registry: the scope of tokens in the known clouds, and the
// user name that goes with a refresh token.
const (
	acrScope = "https://containerregistry.azure.net/.default"
	acrUser  = "00000000-0000-0000-0000-000000000000"
)

func (b *Broker) azureToken(ctx context.Context, id model.WorkloadIdentity, w *way, scope string) (Token, error) {
	credential, err := b.azureCredential(ctx, id, w)
	if err != nil {
		return Token{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return Token{}, err
	}
	return Token{Value: model.NewSecret([]byte(token.Token)), Expires: token.ExpiresOn}, nil
}

func (b *Broker) azureCredential(ctx context.Context, id model.WorkloadIdentity, w *way) (azcore.TokenCredential, error) {
	options := azcore.ClientOptions{Transport: w.client}
	if id.Account == "" {
		return ownAzureCredential(options)
	}
	for _, name := range []string{azureTenant, azureClient} {
		if id.Annotations[name] == "" {
			return nil, advised{fmt.Errorf("the annotation %s is not set", name),
				fmt.Sprintf("set it on service account '%s/%s'", id.Namespace, id.Account)}
		}
	}
	token, err := b.token(ctx, id, w, azureAudience)
	if err != nil {
		return nil, err
	}
	return azidentity.NewClientAssertionCredential(id.Annotations[azureTenant], id.Annotations[azureClient],
		func(context.Context) (string, error) { return token, nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
}

// ownAzureCredential is that of the process: the environment, a federated token
// file, or the managed identity of the node. Unlike the SDK's own chain it runs
// no programs.
func ownAzureCredential(options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if fromEnvironment, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: options}); err == nil {
		return fromEnvironment, nil
	}
	if os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" {
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: options})
	}
	managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if client := os.Getenv("AZURE_CLIENT_ID"); client != "" {
		managed.ID = azidentity.ClientID(client)
	}
	return azidentity.NewManagedIdentityCredential(managed)
}

// azureEnvironment describes a cloud that the SDK does not know (Azure Stack),
// in the file that AZURE_ENVIRONMENT_FILEPATH names
// (kubernetes-sigs/cloud-provider-azure, azclient.Environment).
type azureEnvironment struct {
	Suffix          string `json:"containerRegistryDNSSuffix"`
	ResourceManager string `json:"resourceManagerEndpoint"`
	Audience        string `json:"tokenAudience"`
}

// ownEnvironment reads the file; nil when none is named.
func ownEnvironment() (*azureEnvironment, error) {
	file := os.Getenv("AZURE_ENVIRONMENT_FILEPATH")
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.New("the file of AZURE_ENVIRONMENT_FILEPATH cannot be read")
	}
	environment := &azureEnvironment{}
	if err := json.Unmarshal(content, environment); err != nil || environment.ResourceManager == "" || environment.Audience == "" {
		return nil, errors.New("the file of AZURE_ENVIRONMENT_FILEPATH must hold resourceManagerEndpoint and tokenAudience")
	}
	return environment, nil
}

func (b *Broker) acrLogin(ctx context.Context, caller Caller, w *way, host string) (Login, error) {
	scope := acrScope
	environment, err := ownEnvironment()
	if err != nil {
		return Login{}, err
	}
	known := acrHost.MatchString(host)
	if environment != nil {
		scope = environment.ResourceManager + "/.default"
		known = known || environment.Suffix != "" && strings.HasSuffix(host, environment.Suffix)
	}
	if !known {
		return Login{}, strange("Azure", host)
	}
	token, err := b.azureToken(ctx, caller.Identity, w, scope)
	if err != nil {
		return Login{}, err
	}
	w.hide(string(token.Value.Reveal()))
	return acrExchange(ctx, w, host, token)
}

// acrExchange gives a token of Entra for a refresh token of the registry
// (Azure/acr docs, AAD-OAuth.md: POST /oauth2/exchange).
func acrExchange(ctx context.Context, w *way, host string, token Token) (Login, error) {
	form := url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {string(token.Value.Reveal())}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return Login{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := w.client.Do(request)
	if err != nil {
		return Login{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Login{}, err
	}
	if response.StatusCode != http.StatusOK {
		return Login{}, fmt.Errorf("the registry answers %d %s to the exchange of the token", response.StatusCode, http.StatusText(response.StatusCode))
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.RefreshToken == "" {
		return Login{}, errors.New("the answer of the registry holds no refresh token")
	}
	expires, err := expiry(answer.RefreshToken)
	if err != nil {
		return Login{}, err
	}
	return Login{Username: acrUser, Password: model.NewSecret([]byte(answer.RefreshToken)), Expires: expires}, nil
}

// expiry reads when a JSON web token ends. Its signature is the registry's
// business.
func expiry(token string) (time.Time, error) {
	var claims struct {
		Expires int64 `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("the refresh token of the registry is no JSON web token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}, errors.New("the refresh token of the registry does not tell when it ends")
	}
	return time.Unix(claims.Expires, 0), nil
}
