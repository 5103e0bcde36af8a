package signin

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// providerConfig is oidc.config. The names are Argo CD's.
type providerConfig struct {
	Name                     string                    `json:"name"`
	Issuer                   string                    `json:"issuer"`
	ClientID                 string                    `json:"clientID"`
	ClientSecret             string                    `json:"clientSecret"`
	CLIClientID              string                    `json:"cliClientID"`
	EnableUserInfoGroups     bool                      `json:"enableUserInfoGroups"`
	UserInfoBaseURL          string                    `json:"userInfoBaseURL"`
	UserInfoPath             string                    `json:"userInfoPath"`
	UserInfoCacheExpiration  string                    `json:"userInfoCacheExpiration"`
	RequestedScopes          []string                  `json:"requestedScopes"`
	RequestedIDTokenClaims   map[string]*ClaimsRequest `json:"requestedIDTokenClaims"`
	LogoutURL                string                    `json:"logoutURL"`
	RootCA                   string                    `json:"rootCA"`
	EnablePKCEAuthentication bool                      `json:"enablePKCEAuthentication"`
	DomainHint               string                    `json:"domainHint"`
	RefreshTokenThreshold    string                    `json:"refreshTokenThreshold"`
	AllowedAudiences         []string                  `json:"allowedAudiences"`
	SkipAudienceCheck        bool                      `json:"skipAudienceCheckWhenTokenHasNoAudience"`
	Azure                    *azureConfig              `json:"azure"`

	// The rest is derived.
	insecureTLS   bool
	userInfoHolds time.Duration // 0: as long as the token
	overageHolds  time.Duration
	refreshBefore time.Duration
	graph         string // base URL of Microsoft Graph when groups are asked there, else ""
	digest        string // of everything that a connection to the provider depends on
}

type azureConfig struct {
	UseWorkloadIdentity         bool   `json:"useWorkloadIdentity"`
	EnableUserGroupOverageClaim bool   `json:"enableUserGroupOverageClaim"`
	GraphAPIEndpoint            string `json:"graphApiEndpoint"`
	OverageCacheExpiration      string `json:"userGroupOverageClaimCacheExpiration"`
}

// ClaimsRequest is how a claim of the ID token is asked for (OpenID Connect Core,
// 5.5.1).
type ClaimsRequest struct {
	Essential bool     `json:"essential,omitempty"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"`
}

// String hides the secret.
func (c *providerConfig) String() string { return "identity provider " + c.Issuer }

// defaultScopes are upstream's.
var defaultScopes = []string{"openid", "profile", "email", "groups"}

// graphHosts are the hosts of Microsoft Graph that an access token may be sent
// to, as upstream lists them.
var graphHosts = map[string]bool{
	"graph.microsoft.com": true, "graph.microsoft.us": true,
	"graph.microsoft.de": true, "microsoftgraph.chinacloudapi.cn": true,
}

const defaultGraph = "https://graph.microsoft.com/v1.0"

func (c *providerConfig) scopes() []string {
	if len(c.RequestedScopes) == 0 {
		return defaultScopes
	}
	return c.RequestedScopes
}

// audiences returns what a token must be made for, one of these.
func (c *providerConfig) audiences() []string {
	if len(c.AllowedAudiences) > 0 {
		return c.AllowedAudiences
	}
	if c.CLIClientID != "" {
		return []string{c.ClientID, c.CLIClientID}
	}
	return []string{c.ClientID}
}

// issued reports whether a token with that issuer is the provider's: Google
// leaves out the scheme.
func (c *providerConfig) issued(issuer string) bool {
	return issuer == c.Issuer || (c.Issuer == "https://accounts.google.com" && issuer == "accounts.google.com")
}

// needsAccess reports whether groups are asked for with the access token.
func (c *providerConfig) needsAccess() bool { return c.EnableUserInfoGroups || c.graph != "" }

// parseProvider reads oidc.config. One that cannot work is reported and left
// out: nobody can sign in through it.
func (s *setup) parseProvider(data Data) {
	text := data.Config[keyProvider]
	if data.Config[keyDex] != "" {
		s.reportDex(text != "")
	}
	if strings.TrimSpace(text) == "" {
		return
	}
	config, problem := decodeProvider(text, data)
	if problem != "" {
		s.warn(ConfigMapName, keyProvider, "InvalidProvider", problem+": nobody can sign in through the identity provider")
		return
	}
	config.insecureTLS = data.Config[keyInsecureTLS] == "true"
	if config.insecureTLS {
		s.warn(ConfigMapName, keyInsecureTLS, "InsecureTLS", "the certificate of the identity provider is not checked: whoever is in between can sign in as anybody")
	}
	if strings.HasPrefix(config.Issuer, "http://") && !loopback(hostOf(config.Issuer)) {
		s.warn(ConfigMapName, keyProvider, "InsecureProvider", "the issuer is asked without encryption: whoever is in between can sign in as anybody")
	}
	if len(s.urls) == 0 {
		s.warn(ConfigMapName, keyURL, "MissingURL", "url is not set: the identity provider cannot send anybody back here")
	}
	s.deriveProvider(config)
	s.provider = config
}

func (s *setup) reportDex(also bool) {
	message := "dex.config is not acted on: Plumb does not run the Dex that comes with Argo CD. "
	if also {
		message += "oidc.config is used"
	} else {
		message += "Run Dex by itself with these connectors and point oidc.config at it: issuer is Dex's, clientID and clientSecret are one of its staticClients with redirectURIs [<url>/auth/callback], " +
			"cliClientID is another with public: true and redirectURIs [http://localhost:8085/auth/callback], requestedScopes is [openid, profile, email, groups, federated:id, offline_access]"
	}
	s.warn(ConfigMapName, keyDex, "DexNotBundled", message)
}

// decodeProvider returns the configuration, or what is wrong with it.
func decodeProvider(text string, data Data) (*providerConfig, string) {
	var raw map[string]any
	if yaml.Unmarshal([]byte(text), &raw) != nil || raw == nil {
		return nil, "oidc.config is no YAML object"
	}
	var missing []string
	resolved, err := json.Marshal(resolve(raw, data, &missing))
	if err != nil {
		return nil, "oidc.config is no YAML object"
	}
	if len(missing) > 0 {
		return nil, "oidc.config names " + cut(strings.Join(missing, ", "), 200) + ", which is neither a key of " + SecretName +
			" nor a key of a Secret that is labelled " + ReferenceLabel + "=" + ReferenceValue + " ($secret:key)"
	}
	config := new(providerConfig)
	if err := json.Unmarshal(resolved, config); err != nil {
		return nil, "a field of oidc.config has the wrong type"
	}
	switch {
	case !webAddress(config.Issuer):
		return nil, "issuer in oidc.config must be http(s)://…"
	case config.ClientID == "":
		return nil, "clientID in oidc.config is missing"
	case config.UserInfoBaseURL != "" && !webAddress(config.UserInfoBaseURL):
		return nil, "userInfoBaseURL in oidc.config must be http(s)://…"
	case config.LogoutURL != "" && !webAddress(strings.NewReplacer(placeholderToken, "", placeholderReturn, "").Replace(config.LogoutURL)):
		return nil, "logoutURL in oidc.config must be http(s)://…"
	}
	sum := sha256.Sum256(append(resolved, data.Config[keyInsecureTLS]...))
	config.digest = string(sum[:])
	return config, ""
}

// resolve replaces $references in all texts, as upstream does, and notes those
// that lead nowhere.
func resolve(value any, data Data, missing *[]string) any {
	switch value := value.(type) {
	case map[string]any:
		resolved := make(map[string]any, len(value))
		for key, item := range value {
			resolved[key] = resolve(item, data, missing)
		}
		return resolved
	case []any:
		resolved := make([]any, len(value))
		for i, item := range value {
			resolved[i] = resolve(item, data, missing)
		}
		return resolved
	case string:
		text, found := dereference(value, data)
		if !found {
			*missing = append(*missing, value)
		}
		return text
	}
	return value
}

func (s *setup) deriveProvider(config *providerConfig) {
	duration := func(field, text string) time.Duration {
		if text == "" {
			return 0
		}
		parsed, err := time.ParseDuration(text)
		if err != nil || parsed < 0 {
			s.warn(ConfigMapName, keyProvider, "InvalidDuration", fmt.Sprintf("%s in oidc.config must be a duration such as 5m, and is ignored", field))
			return 0
		}
		return parsed
	}
	config.userInfoHolds = duration("userInfoCacheExpiration", config.UserInfoCacheExpiration)
	config.refreshBefore = duration("refreshTokenThreshold", config.RefreshTokenThreshold)
	if config.Azure == nil || !config.Azure.EnableUserGroupOverageClaim {
		return
	}
	config.overageHolds = duration("azure.userGroupOverageClaimCacheExpiration", config.Azure.OverageCacheExpiration)
	graph := config.Azure.GraphAPIEndpoint
	if graph == "" {
		graph = defaultGraph
	}
	parsed, err := url.Parse(graph)
	if err != nil || parsed.Scheme != "https" || !graphHosts[parsed.Hostname()] {
		s.warn(ConfigMapName, keyProvider, "InvalidGraph", "azure.graphApiEndpoint in oidc.config is no address of Microsoft Graph: groups are not asked for there")
		return
	}
	config.graph = strings.TrimSuffix(graph, "/")
}

func webAddress(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != "" && parsed.User == nil
}

func hostOf(text string) string {
	parsed, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return parsed.Host
}
