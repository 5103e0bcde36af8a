package engine

import (
	"context"
	"fmt"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/secret/sops"
	"plumb.dev/plumb/internal/source/cloud"
)

// outside is what a render may ask besides its tree: for now, keys. close wipes
// what they opened.
func (r *run) outside(in *model.Input) (out render.Outside, closing func(), err error) {
	wanted := in.Render.Decryption
	if wanted == nil {
		return out, func() {}, nil
	}
	opts := sops.Options{}
	if r.e.opts.Clouds != nil {
		identity := model.WorkloadIdentity{Namespace: r.spec.ID.Namespace}
		if wanted.Workload != nil {
			identity = *wanted.Workload
		}
		opts.Workload = lentKeys{broker: r.e.opts.Clouds, identity: identity}
	}
	decrypter, err := sops.New(*wanted, opts)
	if err != nil {
		return out, nil, err
	}
	return render.Outside{Decrypter: decrypter}, decrypter.Close, nil
}

// lentKeys lets the clouds' key services be asked as a workload identity.
type lentKeys struct {
	broker   *cloud.Broker
	identity model.WorkloadIdentity
}

func (l lentKeys) caller(provider string) cloud.Caller {
	identity := l.identity
	identity.Provider = provider
	return cloud.Caller{Identity: identity}
}

// AWS implements sops.Workload.
func (l lentKeys) AWS(ctx context.Context, region string) (sops.AWSCredentials, error) {
	lent, err := l.broker.AWS(ctx, l.caller("aws"), region, "")
	if err != nil {
		return sops.AWSCredentials{}, err
	}
	return sops.AWSCredentials{AccessKeyID: lent.AccessKeyID, SecretKey: lent.SecretAccessKey, SessionToken: lent.SessionToken}, nil
}

// Azure implements sops.Workload. The identity is that of the service account.
func (l lentKeys) Azure(ctx context.Context, _, scope string) (model.Secret, error) {
	token, err := l.broker.Azure(ctx, l.caller("azure"), scope)
	return token.Value, err
}

// GCP implements sops.Workload.
func (l lentKeys) GCP(ctx context.Context, _ string) (model.Secret, error) {
	token, err := l.broker.Google(ctx, l.caller("gcp"))
	return token.Value, err
}

// Vault implements sops.Workload. The address comes from a file, so that no
// identity may be shown to it.
func (l lentKeys) Vault(_ context.Context, address string) (model.Secret, error) {
	return model.Secret{}, fmt.Errorf("no identity is known for the Vault at %s: put a token into the Secret of keys as sops.vault-token", address)
}
