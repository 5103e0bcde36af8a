package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/dial"
)

// Condition reasons, in the words of source-controller (api/v1
// condition_types.go and bucket_types.go).
const (
	reasonURLInvalid      = "URLInvalid"
	reasonAuthentication  = "AuthenticationFailed"
	reasonOperationFailed = "BucketOperationFailed"
	reasonInvalidProvider = "InvalidProviderConfiguration"
	reasonInvalidSTS      = "InvalidSTSConfiguration"
)

// The providers, as spec.provider and spec.sts.provider name them.
const (
	providerGeneric = "generic"
	providerAWS     = "aws"
	providerGoogle  = "gcp"
	providerAzure   = "azure"
	providerLDAP    = "ldap"
)

// Cloud hands out short-lived credentials of the cloud that Plumb runs in
// (*cloud.Broker).
type Cloud interface {
	AWS(ctx context.Context, caller cloud.Caller, region, stsEndpoint string) (cloud.AWSCredentials, error)
	Google(ctx context.Context, caller cloud.Caller) (cloud.Token, error)
	Azure(ctx context.Context, caller cloud.Caller, scope string) (cloud.Token, error)
}

// Options configure a Client.
type Options struct {
	// UserAgent is what servers see; "plumb" when empty.
	UserAgent string
	// Cloud serves sources that have no credential of their own; nil: they are
	// refused.
	Cloud Cloud
	// Google is the address of Google Cloud Storage;
	// "https://storage.googleapis.com" when empty. As upstream, the endpoint of a
	// source of this provider does not count.
	Google string
}

// maxPlaces bounds how many connections to buckets are kept ready.
const maxPlaces = 256

// Client asks object stores. It is safe for concurrent use.
type Client struct {
	options Options

	mu     sync.Mutex
	places map[string]*place
	turn   int64
}

// New returns a client that has asked nothing yet.
func New(o Options) *Client {
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	if o.Google == "" {
		o.Google = "https://storage.googleapis.com"
	}
	return &Client{options: o, places: map[string]*place{}}
}

// place is one bucket as seen with one credential.
type place struct {
	objects
	spec  model.BucketSource
	scrub func(string) string
	used  int64 // guarded by Client.mu
}

// objects is what the protocols have in common. Errors of an object that does
// not exist wrap fs.ErrNotExist, those of a bucket errNoBucket.
type objects interface {
	// list calls visit for every object below a prefix.
	list(ctx context.Context, prefix string, visit func(model.BucketObject) error) error
	get(ctx context.Context, key string) (io.ReadCloser, error)
	close()
}

// List returns the objects below spec.Prefix, sorted by key. Of one key that is
// listed more than once the last counts. More objects than limit are a fault.
// Faults: BucketOperationFailed, AuthenticationFailed, URLInvalid,
// InvalidProviderConfiguration, InvalidSTSConfiguration.
func (c *Client) List(ctx context.Context, spec *model.BucketSource, limit int) ([]model.BucketObject, error) {
	p, err := c.open(spec)
	if err != nil {
		return nil, err
	}
	found := map[string]model.BucketObject{}
	err = p.list(withPages(ctx, limit), spec.Prefix, func(o model.BucketObject) error {
		if o.Key == "" || !strings.HasPrefix(o.Key, spec.Prefix) {
			return fmt.Errorf("the server lists '%s', which was not asked for", p.scrub(o.Key))
		}
		o.Key, o.ETag = strings.Clone(o.Key), strings.Clone(o.ETag)
		if found[o.Key] = o; len(found) > limit {
			return errTooMany
		}
		return nil
	})
	if err != nil {
		return nil, p.fault(ctx, fmt.Sprintf("indexation of objects from bucket '%s' failed", spec.Name), err, limit)
	}
	return slices.SortedFunc(maps.Values(found), func(a, b model.BucketObject) int { return strings.Compare(a.Key, b.Key) }), nil
}

// Get opens an object. The error of one that does not exist (any more) wraps
// fs.ErrNotExist.
func (c *Client) Get(ctx context.Context, spec *model.BucketSource, key string) (io.ReadCloser, error) {
	p, err := c.open(spec)
	if err != nil {
		return nil, err
	}
	body, err := p.get(ctx, key)
	if err != nil {
		return nil, p.fault(ctx, fmt.Sprintf("fetch from bucket '%s' failed: failed to get '%s' object", spec.Name, p.scrub(key)), err, 0)
	}
	return body, nil
}

// open returns the place of a bucket. Errors are faults.
func (c *Client) open(spec *model.BucketSource) (*place, error) {
	key := placeKey(spec)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.places[key]
	if p == nil {
		var err error
		if p, err = c.connect(spec); err != nil {
			return nil, err
		}
		c.places[key] = p
		c.dropOldest()
	}
	c.turn++
	p.used = c.turn
	return p, nil
}

// dropOldest drops the places used the longest ago that are too many. c.mu is
// held.
func (c *Client) dropOldest() {
	for len(c.places) > maxPlaces {
		var oldest string
		for key, p := range c.places {
			if p.used > 0 && (oldest == "" || p.used < c.places[oldest].used) {
				oldest = key
			}
		}
		c.places[oldest].close()
		delete(c.places, oldest)
	}
}

// placeKey digests what makes two buckets differ.
func placeKey(spec *model.BucketSource) string {
	asked := []string{spec.Provider, spec.Name, spec.Endpoint, spec.Region, string(spec.ServiceAccount.Reveal())}
	for _, name := range slices.Sorted(maps.Keys(spec.AzureKeys)) {
		asked = append(asked, name, string(spec.AzureKeys[name].Reveal()))
	}
	if spec.STS != nil {
		asked = append(asked, "sts", spec.STS.Provider, spec.STS.Endpoint, dial.Key(&spec.STS.Auth))
	}
	return dial.Key(&spec.Auth, asked...)
}

// connect makes a place. Nothing is asked yet.
func (c *Client) connect(spec *model.BucketSource) (*place, error) {
	p := &place{spec: *spec, scrub: dial.Scrubber(secrets(spec))}
	makers := map[string]func(*model.BucketSource) (objects, error){
		"":              c.s3,
		providerGeneric: c.s3,
		providerAWS:     c.s3,
		providerGoogle:  c.google,
		providerAzure:   c.azure,
	}
	connect, ok := makers[spec.Provider]
	if !ok {
		return nil, &model.Fault{
			Reason:  reasonInvalidProvider,
			Message: fmt.Sprintf("there is no bucket provider '%s'", spec.Provider),
			Advice:  "set spec.provider to generic, aws, gcp or azure",
		}
	}
	var err error
	if p.objects, err = connect(spec); err != nil {
		return nil, p.setup(err)
	}
	return p, nil
}

// setup is the fault of a place that cannot be asked.
func (p *place) setup(err error) *model.Fault {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault
	}
	return &model.Fault{
		Reason:  reasonAuthentication,
		Message: fmt.Sprintf("failed to configure the client of bucket '%s': %s", p.spec.Name, p.scrub(err.Error())),
		Advice:  "correct the Secrets that the Bucket names",
		Err:     err,
	}
}

// secrets lists what no message may hold.
func secrets(spec *model.BucketSource) []string {
	all := append(dial.Secrets(&spec.Auth), string(spec.ServiceAccount.Reveal()))
	for name, value := range spec.AzureKeys {
		if name != keyTenantID && name != keyClientID && name != keyAuthorityHost {
			all = append(all, string(value.Reveal()))
		}
	}
	if spec.STS != nil {
		all = append(all, dial.Secrets(&spec.STS.Auth)...)
	}
	return all
}
