package sops

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/getsops/sops/v3/keyservice"
	"sigs.k8s.io/yaml"
)

// azureCredential gives access tokens.
type azureCredential azcore.TokenCredential

// azureConfig is the entry sops.azure-kv (kustomize-controller,
// internal/sops/azkv).
type azureConfig struct {
	TenantID                   string `json:"tenantId"`
	ClientID                   string `json:"clientId"`
	ClientSecret               string `json:"clientSecret"`
	ClientCertificate          string `json:"clientCertificate"`
	ClientCertificatePassword  string `json:"clientCertificatePassword"`
	ClientCertificateSendChain bool   `json:"clientCertificateSendChain"`
	AuthorityHost              string `json:"authorityHost"`

	// What the command az writes.
	AppID    string `json:"appId"`
	Tenant   string `json:"tenant"`
	Password string `json:"password"`
}

// readAzure reads the entry, and returns what is wrong with it.
func (k *keys) readAzure(value []byte) (azureCredential, string) {
	var c azureConfig
	if err := yaml.Unmarshal(value, &c); err != nil {
		return nil, "it is no YAML or JSON of a service principal"
	}
	if c.ClientSecret == "" && c.Tenant != "" && c.AppID != "" && c.Password != "" {
		c.TenantID, c.ClientID, c.ClientSecret = c.Tenant, c.AppID, c.Password
	}
	options := k.azureOptions()
	options.Cloud = cloud.AzurePublic
	if c.AuthorityHost != "" {
		authority, err := url.Parse(c.AuthorityHost)
		if err != nil || authority.Scheme != "https" || authority.Host == "" {
			return nil, "its authorityHost is no https URL"
		}
		options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: c.AuthorityHost, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}}
	}
	var credential azureCredential
	var err error
	switch {
	case c.TenantID != "" && c.ClientID != "" && c.ClientSecret != "":
		credential, err = azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	case c.TenantID != "" && c.ClientID != "" && c.ClientCertificate != "":
		certificates, key, parsed := azidentity.ParseCertificates([]byte(c.ClientCertificate), []byte(c.ClientCertificatePassword))
		if parsed != nil {
			return nil, "its clientCertificate cannot be read"
		}
		credential, err = azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: options, SendCertificateChain: c.ClientCertificateSendChain})
	case c.ClientID != "":
		// A managed identity: the one that Plumb's pod has under this name.
		if k.workload == nil {
			return nil, "it names a managed identity, and Plumb has no workload identity"
		}
		return workloadAzure{k.workload, c.ClientID}, ""
	default:
		return nil, "it lacks tenantId, clientId and clientSecret, or clientCertificate"
	}
	if err != nil {
		return nil, "no service principal is made of its fields"
	}
	return credential, ""
}

func (k *keys) azureOptions() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: k.client,
		Retry:     policy.RetryOptions{MaxRetries: -1}, // the caller tries again
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
}

// workloadAzure asks the workload identity.
type workloadAzure struct {
	Workload
	clientID string
}

// GetToken implements azcore.TokenCredential.
func (w workloadAzure) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := w.Azure(ctx, w.clientID, strings.Join(options.Scopes, " "))
	return azcore.AccessToken{Token: string(token.Reveal()), ExpiresOn: time.Now().Add(time.Minute)}, err
}

// A file says which vault has its key; only Azure's own are asked, in whichever
// of its clouds.
var (
	azureVaults = []string{
		".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net", ".vault.microsoftazure.de",
		".managedhsm.azure.net", ".managedhsm.azure.cn", ".managedhsm.usgovcloudapi.net",
	}
	azureName = regexp.MustCompile(`^[0-9A-Za-z-]+$`)
)

func isAzureVault(address string) bool {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.User != nil || at.Port() != "" && at.Port() != "443" || strings.Trim(at.Path, "/") != "" {
		return false
	}
	for _, domain := range azureVaults {
		if name, ok := strings.CutSuffix(at.Hostname(), domain); ok && azureName.MatchString(name) {
			return true
		}
	}
	return false
}

func (k *keys) openAzure(ctx context.Context, key *keyservice.AzureKeyVaultKey, sealed []byte) ([]byte, error) {
	if !isAzureVault(key.GetVaultUrl()) || len(key.GetVaultUrl()+key.GetName()+key.GetVersion()) > longestName {
		return nil, refusal("its URL is none of an Azure Key Vault")
	}
	if !azureName.MatchString(key.GetName()) || key.GetVersion() != "" && !azureName.MatchString(key.GetVersion()) {
		return nil, refusal("its key name or version cannot be one")
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(sealed))
	if err != nil {
		return nil, refusal("the data key cannot be read")
	}
	credential := k.azure
	if credential == nil {
		if k.workload == nil {
			return nil, refusal("no Azure credential is given")
		}
		credential = workloadAzure{Workload: k.workload}
	}
	client, err := azkeys.NewClient(key.GetVaultUrl(), credential, &azkeys.ClientOptions{ClientOptions: k.azureOptions()})
	if err != nil {
		return nil, refusal("its URL is none of an Azure Key Vault")
	}
	algorithm := azkeys.EncryptionAlgorithmRSAOAEP256
	answer, err := client.Decrypt(ctx, key.GetName(), key.GetVersion(), azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: raw}, nil)
	if err != nil {
		return nil, azureError(err)
	}
	return answer.Result, nil
}

// azureError tells the status and the code only.
func azureError(err error) error {
	var response *azcore.ResponseError
	if errors.As(err, &response) {
		return statusError("Azure", response.StatusCode, response.ErrorCode)
	}
	var refused *azidentity.AuthenticationFailedError
	if errors.As(err, &refused) {
		if refused.RawResponse == nil {
			return unreachable("Azure gave no access token")
		}
		return statusError("Azure's sign-in", refused.RawResponse.StatusCode, "")
	}
	if why, retry := said(err); !retry {
		return refusal(why)
	}
	return unreachable("no answer from Azure")
}
