package signin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Admin is the account that is always there.
const Admin = "admin"

// What an account may do with this room.
const (
	CapabilityLogin  = "login"  // sign in with a password
	CapabilityAPIKey = "apiKey" // have tokens
)

// Account is a local account as it may be shown.
type Account struct {
	Name         string
	Enabled      bool
	Capabilities []string      // CapabilityLogin, CapabilityAPIKey
	Tokens       []IssuedToken // newest first
	// PasswordChanged is when the password was set; tokens from before are void.
	// Zero when it is not known.
	PasswordChanged time.Time
}

// Can reports whether the account has the capability.
func (a Account) Can(capability string) bool { return slices.Contains(a.Capabilities, capability) }

func (a Account) token(id string) int {
	return slices.IndexFunc(a.Tokens, func(t IssuedToken) bool { return t.ID == id })
}

// Accounts returns the local accounts, by name.
func (d *Door) Accounts(ctx context.Context) ([]Account, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return nil, err
	}
	accounts := slices.Collect(maps.Values(setup.accounts))
	slices.SortFunc(accounts, func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
	for i := range accounts {
		accounts[i].Tokens = slices.Clone(accounts[i].Tokens)
		slices.SortStableFunc(accounts[i].Tokens, func(a, b IssuedToken) int { return cmp.Compare(b.IssuedAt, a.IssuedAt) })
	}
	return accounts, nil
}

// parseAccounts reads accounts.* and admin.*. An account whose entries cannot be
// read is disabled. (upstream: util/settings/accounts.go)
func (s *setup) parseAccounts(data Data) {
	s.accounts = map[string]Account{Admin: {Name: Admin, Enabled: true, Capabilities: []string{CapabilityLogin}}}
	s.hashes = map[string]string{}
	s.parseAdminEnabled(data.Config)
	for _, key := range slices.Sorted(maps.Keys(data.Config)) {
		rest, ok := strings.CutPrefix(key, "accounts.")
		if !ok {
			continue
		}
		name, suffix, _ := strings.Cut(rest, ".")
		if name == "" || (suffix != "" && suffix != "enabled") {
			s.warn(ConfigMapName, key, "UnknownKey", "an account is accounts.NAME or accounts.NAME.enabled, and NAME has no dot: this key is ignored")
			continue
		}
		s.parseAccountKey(name, suffix, key, data.Config[key])
	}
	for name, account := range s.accounts {
		s.accounts[name] = s.parseAccountSecret(account, data.Secret)
	}
}

func (s *setup) parseAdminEnabled(config map[string]string) {
	text, ok := config["admin.enabled"]
	if !ok {
		return
	}
	enabled, err := strconv.ParseBool(text)
	if err != nil {
		s.warn(ConfigMapName, "admin.enabled", "InvalidValue", "admin.enabled must be true or false: admin stays enabled, as with Argo CD")
		enabled = true
	}
	admin := s.accounts[Admin]
	admin.Enabled = enabled
	s.accounts[Admin] = admin
}

func (s *setup) parseAccountKey(name, suffix, key, value string) {
	account, ok := s.accounts[name]
	if !ok {
		account = Account{Name: name, Enabled: true}
	}
	switch suffix {
	case "enabled":
		enabled, err := strconv.ParseBool(value)
		if err != nil {
			s.warn(ConfigMapName, key, "InvalidValue", key+" must be true or false: the account is disabled")
		}
		account.Enabled = enabled
	default:
		for capability := range strings.SplitSeq(value, ",") {
			switch capability = strings.TrimSpace(capability); capability {
			case "":
			case CapabilityLogin, CapabilityAPIKey:
				if !account.Can(capability) {
					account.Capabilities = append(account.Capabilities, capability)
				}
			default:
				s.warn(ConfigMapName, key, "InvalidValue", "an account can have login and apiKey: "+strconv.Quote(cut(capability, 40))+" is ignored")
			}
		}
	}
	s.accounts[name] = account
}

// secretKey returns the key of argocd-secret that holds what of the account.
func secretKey(account, what string) string {
	if account == Admin {
		return Admin + "." + what
	}
	return "accounts." + account + "." + what
}

func (s *setup) parseAccountSecret(account Account, secret map[string][]byte) Account {
	if hash := strings.TrimSpace(string(secret[secretKey(account.Name, "password")])); hash != "" {
		s.hashes[account.Name] = hash
		if cost, err := bcrypt.Cost([]byte(hash)); err != nil {
			s.warn(SecretName, secretKey(account.Name, "password"), "InvalidPassword", "the password of "+account.Name+" is not a bcrypt hash: nobody can sign in with it; argocd account bcrypt makes one")
		} else {
			s.hashCost = max(s.hashCost, cost)
		}
	}
	key := secretKey(account.Name, "passwordMtime")
	if text := strings.TrimSpace(string(secret[key])); text != "" {
		changed, err := time.Parse(time.RFC3339, text)
		switch {
		case err == nil:
			account.PasswordChanged = changed
		case account.Name == Admin: // as upstream
			s.warn(SecretName, key, "InvalidTime", key+" is not a time in RFC 3339, and ignored")
		default:
			s.warn(SecretName, key, "InvalidTime", key+" is not a time in RFC 3339: the account is disabled, since it is not known which of its tokens are void")
			account.Enabled = false
		}
	}
	tokens, err := parseTokens(secret, account.Name)
	if err != nil {
		s.warn(SecretName, secretKey(account.Name, "tokens"), "InvalidTokens", "the list of tokens of "+account.Name+" cannot be read: none of them is valid")
	}
	account.Tokens = tokens
	return account
}

var errTokens = errors.New("the list of tokens cannot be read")

// parseTokens reads <account>.tokens.
func parseTokens(secret map[string][]byte, account string) ([]IssuedToken, error) {
	text := secret[secretKey(account, "tokens")]
	if len(text) == 0 {
		return nil, nil
	}
	var tokens []IssuedToken
	if json.Unmarshal(text, &tokens) != nil {
		return nil, errTokens
	}
	return tokens, nil
}
