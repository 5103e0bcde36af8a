package signin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

const (
	// maxTries is how often a change is tried again when somebody else was faster.
	maxTries = 8
	// freshSignIn is how old the sign-in of a person may be who sets an account's
	// password. (upstream: ChangePasswordSSOTokenMaxAge)
	freshSignIn = 5 * time.Minute
	// maxTokenID bounds the ID of a token, in bytes.
	maxTokenID = 253
)

// UpdatePassword sets the password of account ("" is the caller's own). A caller
// who is a local account proves it with current, its own password; a person of
// the identity provider must have signed in during the last five minutes. All
// sessions and tokens of the account end. Whether the caller may change another
// account is the caller of this function to decide. (upstream: server/account)
func (d *Door) UpdatePassword(ctx context.Context, caller Principal, account, current, next string) error {
	if account == "" {
		account = caller.Name
	}
	if err := d.proveCaller(ctx, caller, current); err != nil {
		return err
	}
	setup, err := d.setup(ctx)
	if err != nil {
		return err
	}
	if _, ok := setup.accounts[account]; !ok {
		return unknownAccount(account)
	}
	if err := setup.acceptable(next); err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(next), d.cost)
	if err != nil {
		return err
	}
	// Tokens carry whole seconds: the next one lies after all that were issued.
	changed := d.options.Now().Truncate(time.Second).Add(time.Second).UTC()
	err = d.changeSecret(ctx, func(data map[string][]byte) error {
		data[secretKey(account, "password")] = hash
		data[secretKey(account, "passwordMtime")] = []byte(changed.Format(time.RFC3339))
		return nil
	})
	if err == nil {
		d.log.Info("password changed", "account", account, "by", caller.Name)
	}
	return err
}

func (d *Door) proveCaller(ctx context.Context, caller Principal, current string) error {
	switch caller.Kind {
	case KindAccount:
		_, err := d.checkPassword(ctx, caller.Name, current)
		if errors.Is(err, ErrLogin) {
			return &model.Fault{Reason: "InvalidArgument", Message: "current password does not match"}
		}
		return err
	case KindOIDC:
		if caller.Issued.IsZero() || d.options.Now().Sub(caller.Issued) > freshSignIn {
			return &model.Fault{Reason: "SessionTooOld", Message: "the sign-in is too old to change a password", Advice: "sign in again (argocd relogin), and change it within five minutes"}
		}
		return nil
	}
	return &model.Fault{Reason: "InvalidArgument", Message: "a password can be changed by a local account and by a person who has signed in only"}
}

func (s *setup) acceptable(password string) error {
	advice := "choose one that matches " + s.patternText + " (passwordPattern in " + ConfigMapName + ")"
	switch {
	case s.pattern == nil:
		return &model.Fault{Reason: "InvalidPattern", Message: "passwordPattern in " + ConfigMapName + " is not a regular expression", Advice: "mend it first"}
	case !s.pattern.MatchString(password):
		return &model.Fault{Reason: "InvalidArgument", Message: "new password does not match the following expression: " + s.patternText, Advice: advice}
	case password == "" || len(password) > maxPassword:
		return &model.Fault{Reason: "InvalidArgument", Message: "a password has 1 to 72 bytes", Advice: advice}
	}
	return nil
}

func unknownAccount(name string) error {
	return &model.Fault{Reason: "NotFound", Message: "account " + strconv.Quote(cut(name, maxName)) + " does not exist", Advice: "accounts are declared in " + ConfigMapName + ": accounts.NAME: login, apiKey"}
}

// CreateToken returns an API token of the account and lists it in argocd-secret.
// An empty id is chosen; lifetime 0 is for ever. It is shown this once only.
func (d *Door) CreateToken(ctx context.Context, account, id string, lifetime time.Duration) (model.Secret, IssuedToken, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return model.Secret{}, IssuedToken{}, err
	}
	owner, ok := setup.accounts[account]
	if !ok {
		return model.Secret{}, IssuedToken{}, unknownAccount(account)
	}
	if !owner.Can(CapabilityAPIKey) {
		return model.Secret{}, IssuedToken{}, &model.Fault{Reason: "InvalidArgument", Message: "account '" + account + "' does not have apiKey capability", Advice: "add it in " + ConfigMapName + ": accounts." + account + ": apiKey"}
	}
	token, issued, err := d.mint(setup, account+":"+CapabilityAPIKey, id, lifetime, issueTime(d.options.Now(), owner))
	if err != nil {
		return model.Secret{}, IssuedToken{}, err
	}
	err = d.changeTokens(ctx, account, func(tokens []IssuedToken) ([]IssuedToken, error) {
		if slices.ContainsFunc(tokens, func(t IssuedToken) bool { return t.ID == issued.ID }) {
			return nil, &model.Fault{Reason: "AlreadyExists", Message: "account already has token with id " + strconv.Quote(issued.ID), Advice: "choose another id, or delete that token first"}
		}
		return append(tokens, issued), nil
	})
	if err != nil {
		return model.Secret{}, IssuedToken{}, err
	}
	d.log.Info("token created", "account", account, "id", issued.ID)
	return token, issued, nil
}

// DeleteToken revokes an API token of the account.
func (d *Door) DeleteToken(ctx context.Context, account, id string) error {
	setup, err := d.setup(ctx)
	if err != nil {
		return err
	}
	if _, ok := setup.accounts[account]; !ok {
		return unknownAccount(account)
	}
	err = d.changeTokens(ctx, account, func(tokens []IssuedToken) ([]IssuedToken, error) {
		at := slices.IndexFunc(tokens, func(t IssuedToken) bool { return t.ID == id })
		if at < 0 {
			return nil, &model.Fault{Reason: "NotFound", Message: "token with id " + strconv.Quote(cut(id, maxTokenID)) + " does not exist"}
		}
		return slices.Delete(tokens, at, at+1), nil
	})
	if err == nil {
		d.log.Info("token deleted", "account", account, "id", id)
	}
	return err
}

// ProjectToken returns a token of a project's role and what must be listed of it
// in the AppProject (status.jwtTokensByRole and spec.roles[].jwtTokens): it is
// valid from then on, and until it is taken off there. The caller does that
// before it hands the token out, and sees to it that the role exists and that
// the id is not taken.
func (d *Door) ProjectToken(ctx context.Context, project, role, id string, lifetime time.Duration) (model.Secret, IssuedToken, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return model.Secret{}, IssuedToken{}, err
	}
	subject := "proj:" + project + ":" + role
	if p, r, ok := projectOf(subject); !ok || p == "" || r == "" {
		return model.Secret{}, IssuedToken{}, &model.Fault{Reason: "InvalidArgument", Message: "names of projects and roles are not empty and have no colon"}
	}
	return d.mint(setup, subject, id, lifetime, d.options.Now())
}

func (d *Door) mint(setup *setup, subject, id string, lifetime time.Duration, issued time.Time) (model.Secret, IssuedToken, error) {
	switch {
	case lifetime < 0:
		return model.Secret{}, IssuedToken{}, &model.Fault{Reason: "InvalidArgument", Message: "a token cannot expire before it is issued"}
	case len(id) > maxTokenID:
		return model.Secret{}, IssuedToken{}, &model.Fault{Reason: "InvalidArgument", Message: "the id of a token has at most " + strconv.Itoa(maxTokenID) + " bytes"}
	case id == "":
		id = newID()
	}
	record := IssuedToken{ID: id, IssuedAt: issued.Unix()}
	if lifetime > 0 {
		record.ExpiresAt = issued.Add(lifetime).Unix()
	}
	token, err := sign(setup.key, ownClaims{
		Issuer: Issuer, Subject: subject, ID: id,
		NotBefore: d.options.Now().Unix(), IssuedAt: record.IssuedAt, ExpiresAt: record.ExpiresAt,
	})
	return token, record, err
}

func (d *Door) changeTokens(ctx context.Context, account string, change func([]IssuedToken) ([]IssuedToken, error)) error {
	return d.changeSecret(ctx, func(data map[string][]byte) error {
		tokens, err := parseTokens(data, account)
		if err != nil {
			return &model.Fault{Reason: "InvalidTokens", Message: "the list of tokens of " + account + " cannot be read", Advice: "mend or delete the key " + secretKey(account, "tokens") + " of Secret " + SecretName}
		}
		tokens, err = change(tokens)
		if err != nil {
			return err
		}
		text, err := json.Marshal(tokens)
		if err != nil {
			return err
		}
		if data[secretKey(account, "tokens")] = text; len(tokens) == 0 {
			delete(data, secretKey(account, "tokens"))
		}
		return nil
	})
}

// changeSecret changes argocd-secret as it is at that moment.
func (d *Door) changeSecret(ctx context.Context, change func(map[string][]byte) error) error {
	stored, err := d.edit(ctx, SecretName, func(stored *Stored) error { return change(stored.Data) })
	if err != nil {
		return err
	}
	d.wrote(ctx, stored.Data)
	return nil
}

// edit reads the Secret, changes it and writes it, again and again while others
// are faster. It writes nothing when nothing changed.
func (d *Door) edit(ctx context.Context, name string, change func(*Stored) error) (Stored, error) {
	if d.options.Writer == nil {
		return Stored{}, &model.Fault{Reason: "ReadOnly", Message: "sign-in is read-only here: nothing can be changed"}
	}
	for range maxTries {
		stored, err := d.options.Writer.Read(ctx, name)
		if err != nil {
			return Stored{}, err
		}
		stored.Name = name
		before := maps.Clone(stored.Data)
		if stored.Data == nil {
			stored.Data = map[string][]byte{}
		} else {
			stored.Data = maps.Clone(stored.Data)
		}
		if stored.Version == "" {
			stored.Labels = map[string]string{"app.kubernetes.io/name": name, ReferenceLabel: "plumb"}
			if name == SecretName { // Argo CD finds it by that
				stored.Labels[ReferenceLabel] = ReferenceValue
			}
		}
		if err := change(&stored); err != nil {
			return Stored{}, err
		}
		if stored.Version != "" && maps.EqualFunc(before, stored.Data, bytes.Equal) {
			return stored, nil
		}
		if err = d.options.Writer.Write(ctx, stored); err == nil {
			return stored, nil
		}
		if !errors.Is(err, ErrConflict) {
			return Stored{}, err
		}
	}
	return Stored{}, &model.Fault{Reason: "Conflict", Message: "Secret " + name + " is being changed by others all the time", Retry: true}
}
