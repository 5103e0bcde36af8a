package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
)

// s3Retries is how often minio-go makes a request that failed. The queue of the
// engine has more patience.
const s3Retries = 2

// s3 is a bucket behind the protocol of S3.
type s3 struct {
	core   minio.Core
	wire   *wire
	bucket string
	// lend gets the credentials of a cloud before a request; nil: there are
	// others, or none.
	lend func(ctx context.Context) error
}

func (c *Client) s3(spec *model.BucketSource) (objects, error) {
	way, err := c.connection(&spec.Auth)
	if err != nil {
		return nil, err
	}
	store := &s3{wire: way, bucket: spec.Name}
	keys, err := c.s3Credentials(spec, store)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(spec.Endpoint, &minio.Options{
		Creds:      keys,
		Secure:     !spec.Auth.Plain,
		Transport:  way,
		Region:     spec.Region,
		MaxRetries: s3Retries,
	})
	if err != nil {
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: fmt.Sprintf("the endpoint of bucket '%s' cannot be understood: %s", spec.Name, err),
			Advice:  "write spec.endpoint as host or host:port, without scheme and path",
			Err:     err,
		}
	}
	client.SetAppInfo(c.options.UserAgent, "1")
	store.core.Client = client
	return store, nil
}

// s3Credentials picks the credential in upstream's order (minio.NewClient): that
// of the Secret, of AWS, of an STS; none is anonymous.
func (c *Client) s3Credentials(spec *model.BucketSource, store *s3) (*credentials.Credentials, error) {
	auth := &spec.Auth
	switch sts := spec.STS; {
	case auth.Username != "" || !auth.Password.IsZero():
		if auth.Username == "" || auth.Password.IsZero() {
			return nil, errors.New("required fields 'accesskey' and 'secretkey'")
		}
		return credentials.NewStaticV4(auth.Username, string(auth.Password.Reveal()), ""), nil
	case auth.Workload != nil:
		return c.lent(spec, store)
	case sts == nil:
		return nil, nil
	case sts.Provider == providerLDAP && spec.Provider != providerAWS:
		return c.ldap(spec)
	default:
		return nil, &model.Fault{
			Reason:  reasonInvalidSTS,
			Message: fmt.Sprintf("STS provider '%s' is not supported for '%s' bucket provider", sts.Provider, spec.Provider),
			Advice:  "use aws with provider aws, or ldap with provider generic",
		}
	}
}

// ldap gets temporary credentials from the STS of a store that knows an LDAP
// directory.
func (c *Client) ldap(spec *model.BucketSource) (*credentials.Credentials, error) {
	sts := spec.STS
	if at, err := url.Parse(sts.Endpoint); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: "the endpoint of the STS cannot be understood",
			Advice:  "write spec.sts.endpoint as https://host",
		}
	}
	auth := sts.Auth
	if auth.Proxy == nil {
		auth.Proxy = spec.Auth.Proxy
	}
	way, err := c.connection(&auth)
	if err != nil {
		return nil, err
	}
	return credentials.New(&credentials.LDAPIdentity{
		Client:       way.client(),
		STSEndpoint:  sts.Endpoint,
		LDAPUsername: auth.Username,
		LDAPPassword: string(auth.Password.Reveal()),
	}), nil
}

// lent are credentials of AWS. The broker remembers them and knows when they
// end: it is asked before each request.
func (c *Client) lent(spec *model.BucketSource, store *s3) (*credentials.Credentials, error) {
	broker, err := c.broker()
	if err != nil {
		return nil, err
	}
	var endpoint string
	if spec.STS != nil {
		endpoint = spec.STS.Endpoint
	}
	caller := cloud.Caller{Identity: *spec.Auth.Workload, Proxy: spec.Auth.Proxy}
	purse := &purse{}
	store.lend = func(ctx context.Context) error {
		keys, err := broker.AWS(ctx, caller, spec.Region, endpoint)
		if err != nil {
			return err
		}
		purse.value.Store(&credentials.Value{
			AccessKeyID:     keys.AccessKeyID,
			SecretAccessKey: string(keys.SecretAccessKey.Reveal()),
			SessionToken:    string(keys.SessionToken.Reveal()),
			SignerType:      credentials.SignatureV4,
		})
		return nil
	}
	return credentials.New(purse), nil
}

// broker is who lends credentials of clouds.
func (c *Client) broker() (Cloud, error) {
	if c.options.Cloud == nil {
		return nil, errors.New("there is no credential, and no cloud is asked for one here")
	}
	return c.options.Cloud, nil
}

// purse hands lent credentials to minio-go, the latest each time.
type purse struct {
	value atomic.Pointer[credentials.Value]
}

func (p *purse) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	if v := p.value.Load(); v != nil {
		return *v, nil
	}
	return credentials.Value{}, errors.New("no credentials were lent")
}

func (p *purse) Retrieve() (credentials.Value, error) { return p.RetrieveWithCredContext(nil) }
func (p *purse) IsExpired() bool                      { return true }

func (s *s3) list(ctx context.Context, prefix string, visit func(model.BucketObject) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing that is given up
	defer cancel()
	if err := s.borrow(ctx); err != nil {
		return err
	}
	for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix:    prefix,
		Recursive: true,
		UseV1:     s3utils.IsGoogleEndpoint(*s.core.EndpointURL()),
	}) {
		if o.Err != nil {
			return s3Error(o.Err)
		}
		if err := visit(model.BucketObject{Key: o.Key, ETag: o.ETag, Size: o.Size}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *s3) get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := s.borrow(ctx); err != nil {
		return nil, err
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, s3Error(err)
	}
	return body, nil
}

func (s *s3) borrow(ctx context.Context) error {
	if s.lend == nil {
		return nil
	}
	return s.lend(ctx)
}

func (s *s3) close() { s.wire.close() }

// s3Error understands what a store answers.
func s3Error(err error) error {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case minio.NoSuchKey:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case minio.NoSuchBucket:
		return fmt.Errorf("%w: %w", errNoBucket, err)
	}
	text := answer.Message
	if text == "" {
		text = answer.Code
	}
	return &refusal{code: answer.StatusCode, text: fmt.Sprintf("%s (%s)", text, answer.Code), clock: answer.Code == "RequestTimeTooSkewed"}
}

// refusal is an answer of a store that is no success.
type refusal struct {
	code  int // status of HTTP
	text  string
	clock bool
}

func (r *refusal) Error() string { return r.text }
