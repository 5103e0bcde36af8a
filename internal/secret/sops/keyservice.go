package sops

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/keyservice"

	"plumb.dev/plumb/internal/model"
)

// Workload gives the credentials that a cloud has for the service account of
// the declared object, or for Plumb's own (model.Decryption.Workload). An
// error that a retry may mend should be a *model.Fault with Retry; its message
// is shown.
type Workload interface {
	// AWS returns credentials for calls in a region.
	AWS(ctx context.Context, region string) (AWSCredentials, error)
	// Azure returns an access token for a scope, of the identity with the client
	// ID; "": of the default one.
	Azure(ctx context.Context, clientID, scope string) (model.Secret, error)
	// GCP returns an access token for a scope.
	GCP(ctx context.Context, scope string) (model.Secret, error)
	// Vault returns a token of the Vault or OpenBao at an address, which it has
	// to know: the address comes from a file (kustomize-controller,
	// --sops-vault-configmap).
	Vault(ctx context.Context, address string) (model.Secret, error)
}

// AWSCredentials sign requests to AWS. SessionToken may be zero.
type AWSCredentials struct {
	AccessKeyID  string
	SecretKey    model.Secret
	SessionToken model.Secret
}

// refusal says why a key did not open a data key, in words that may be shown.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// unreachable is a refusal that a retry may mend.
type unreachable string

// Error implements error.
func (u unreachable) Error() string { return string(u) }

// try is the attempt to open a data key with one recipient.
type try struct {
	recipient string
	why       string // "": it did
	retry     bool
}

// asker answers the library's questions for data keys and keeps the reasons of
// those that it cannot answer. The library hands in a context of its own, so
// that the one of the opening is used.
type asker struct {
	*opening
	tries []try
}

var _ keyservice.KeyServiceServer = (*asker)(nil)

// askForKey recovers the data key of a file.
func (o *opening) askForKey(m *sops.Metadata) ([]byte, error) {
	a := &asker{opening: o}
	service := keyservice.NewCustomLocalClient(a)
	key, err := m.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{service}, sops.DefaultDecryptionOrder)
	switch {
	case err == nil:
		m.DataKey = nil
		return key, nil
	case o.ctx.Err() != nil:
		return nil, o.late()
	}
	return nil, o.locked(m, a.tries)
}

// Encrypt is never needed.
func (a *asker) Encrypt(context.Context, *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	return nil, refusal("nothing is encrypted here")
}

// Decrypt opens a data key, or a part of one.
func (a *asker) Decrypt(_ context.Context, request *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	name, plain, err := a.open(request.GetKey(), request.GetCiphertext())
	if err == nil && len(plain) == 0 {
		err = refusal("the data key is empty")
	}
	one := try{recipient: name}
	if err != nil {
		one.why, one.retry = said(err)
	}
	a.tries = append(a.tries, one)
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}

// said is what an error may say, and whether a retry may mend it.
func said(err error) (why string, retry bool) {
	var refused refusal
	var away unreachable
	var fault *model.Fault
	switch {
	case errors.As(err, &refused):
		return string(refused), false
	case errors.As(err, &away):
		return string(away), true
	case errors.As(err, &fault):
		return fault.Message, fault.Retry
	}
	return "it could not be asked", true
}

// open hands a question to the keys of its kind.
func (a *asker) open(key *keyservice.Key, sealed []byte) (name string, plain []byte, err error) {
	switch k := key.GetKeyType().(type) {
	case *keyservice.Key_AgeKey:
		plain, err = a.keys.openAge(a.ctx, k.AgeKey, sealed)
		return recipient("age", k.AgeKey.GetRecipient()), plain, err
	case *keyservice.Key_PgpKey:
		plain, err = a.keys.openPGP(a.ctx, k.PgpKey, sealed)
		return recipient("pgp", k.PgpKey.GetFingerprint()), plain, err
	case *keyservice.Key_VaultKey:
		plain, err = a.keys.openVault(a.ctx, k.VaultKey, sealed)
		return recipient("hc_vault", k.VaultKey.GetVaultAddress()), plain, err
	case *keyservice.Key_KmsKey:
		plain, err = a.keys.openAWS(a.ctx, k.KmsKey, sealed)
		return recipient("kms", k.KmsKey.GetArn()), plain, err
	case *keyservice.Key_AzureKeyvaultKey:
		plain, err = a.keys.openAzure(a.ctx, k.AzureKeyvaultKey, sealed)
		return recipient("azure_kv", k.AzureKeyvaultKey.GetVaultUrl()), plain, err
	case *keyservice.Key_GcpKmsKey:
		plain, err = a.keys.openGCP(a.ctx, k.GcpKmsKey, sealed)
		return recipient("gcp_kms", k.GcpKmsKey.GetResourceId()), plain, err
	case *keyservice.Key_HckmsKey:
		return recipient("hckms", k.HckmsKey.GetKeyId()), nil, refusal("Huawei Cloud KMS is not asked, as by Flux")
	}
	return "an unknown key", nil, refusal("its kind is not known")
}

// standardBase64 decodes a sealed data key as most services have it.
func standardBase64(sealed []byte) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(string(sealed))
	if err != nil {
		return nil, refusal("the data key cannot be read")
	}
	return raw, nil
}
