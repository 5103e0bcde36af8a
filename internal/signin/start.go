package signin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

// First is what the first start has made.
type First struct {
	// AdminPassword is admin's first password, in the replica that set it and only
	// there; else zero. It lies in Secret argocd-initial-admin-secret as well.
	AdminPassword model.Secret
}

const (
	keyBytes        = 32 // of server.secretkey, before it is written in base64
	passwordLength  = 16
	passwordLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"

	// basisAnnotation says for which version of argocd-secret a first password was
	// made, so that replicas that start together agree on one, and a password that
	// was taken away on purpose is not given back.
	basisAnnotation = "plumb.dev/made-for"
)

// Start makes what the first start needs: the key that tokens are signed with,
// and, unless admin is disabled, admin's first password. What is there is kept.
// Several replicas may call it at once. (upstream: InitializeSettings)
func (d *Door) Start(ctx context.Context) (First, error) {
	data, err := d.options.Settings.Settings(ctx)
	if err != nil {
		return First{}, err
	}
	if err := d.makeKey(ctx); err != nil {
		return First{}, err
	}
	if !parse(data, d.options.URL, d.options.Namespace).accounts[Admin].Enabled {
		return First{}, nil
	}
	for range maxTries {
		first, err := d.makePassword(ctx)
		if !errors.Is(err, ErrConflict) {
			return first, err
		}
	}
	return First{}, &model.Fault{Reason: "Conflict", Message: "Secret " + SecretName + " is being changed by others all the time", Retry: true}
}

func (d *Door) makeKey(ctx context.Context) error {
	return d.changeSecret(ctx, func(data map[string][]byte) error {
		if len(data[keyServerSecret]) > 0 {
			return nil
		}
		key := make([]byte, keyBytes)
		_, _ = rand.Read(key) // never fails: crypto/rand stops the process instead
		data[keyServerSecret] = []byte(base64.StdEncoding.EncodeToString(key))
		return nil
	})
}

// makePassword sets admin's password if there is none. The clear text is written
// down first, for this very version of argocd-secret; then its hash replaces
// exactly that version. Whoever comes in between starts again.
func (d *Door) makePassword(ctx context.Context) (First, error) {
	settings, err := d.options.Writer.Read(ctx, SecretName)
	if err != nil {
		return First{}, err
	}
	settings.Name = SecretName
	hashKey, timeKey := secretKey(Admin, "password"), secretKey(Admin, "passwordMtime")
	switch {
	case settings.Version == "":
		return First{}, ErrConflict // taken away since the key was made
	case len(settings.Data[hashKey]) > 0:
		return First{}, nil
	}
	password, err := d.writeDown(ctx, settings.Version)
	if err != nil {
		return First{}, err
	}
	hash, err := bcrypt.GenerateFromPassword(password, d.cost)
	if err != nil {
		return First{}, err
	}
	changed := map[string][]byte{}
	maps.Copy(changed, settings.Data)
	settings.Data = changed
	settings.Data[hashKey] = hash
	settings.Data[timeKey] = []byte(d.options.Now().UTC().Format(time.RFC3339))
	if err := d.options.Writer.Write(ctx, settings); err != nil {
		return First{}, err
	}
	d.wrote(ctx, settings.Data)
	d.log.Info("admin has a first password", "secret", InitialSecretName)
	return First{AdminPassword: model.NewSecret(password)}, nil
}

// writeDown returns the first password for a version of argocd-secret: the one
// that another replica has just written down for it, or a new one.
func (d *Door) writeDown(ctx context.Context, basis string) ([]byte, error) {
	note, err := d.options.Writer.Read(ctx, InitialSecretName)
	if err != nil {
		return nil, err
	}
	note.Name = InitialSecretName
	if written := note.Data["password"]; note.Annotations[basisAnnotation] == basis && len(written) > 0 {
		return written, nil
	}
	password, err := newPassword()
	if err != nil {
		return nil, err
	}
	note.Annotations = maps.Clone(note.Annotations)
	if note.Annotations == nil {
		note.Annotations = map[string]string{}
	}
	note.Annotations[basisAnnotation] = basis
	note.Data = map[string][]byte{"password": password}
	if err := d.options.Writer.Write(ctx, note); err != nil {
		return nil, err
	}
	return password, nil
}

func newPassword() ([]byte, error) {
	var password strings.Builder
	for range passwordLength {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(passwordLetters))))
		if err != nil {
			return nil, err
		}
		password.WriteByte(passwordLetters[at.Int64()])
	}
	return []byte(password.String()), nil
}
