package helmrepo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Limits bound what a repository can make the client do. The zero value of a
// field is its default.
type Limits struct {
	IndexBytes   int64 // an index, unpacked; 50 MiB, as source-controller (helm.MaxIndexSize)
	LooseBytes   int64 // an index in unusual style, which is parsed at once; 8 MiB
	PackageBytes int64 // a package; 32 MiB
	// IndexMemory is for all indexes together, as they are kept; 64 MiB. What was
	// not asked for the longest goes first.
	IndexMemory int64
	// PackageMemory is for all packages that were downloaded lately; 32 MiB.
	PackageMemory int64
}

func (l Limits) withDefaults() Limits {
	for _, limit := range []struct {
		value    *int64
		standard int64
	}{
		{&l.IndexBytes, 50 << 20},
		{&l.LooseBytes, 8 << 20},
		{&l.PackageBytes, 32 << 20},
		{&l.IndexMemory, 64 << 20},
		{&l.PackageMemory, 32 << 20},
	} {
		if *limit.value <= 0 {
			*limit.value = limit.standard
		}
	}
	return l
}

// Options configure a Client.
type Options struct {
	// UserAgent is what servers see; "plumb" when empty.
	UserAgent string
	Limits    Limits
}

// Client asks Helm repositories. It is safe for concurrent use.
type Client struct {
	agent  string
	limits Limits

	mu           sync.Mutex
	repositories map[string]*repository // by address and credential
	packages     map[string]*download   // by address, digest and credential
	turn         int64                  // of the last use of anything; counts up
}

// New returns a client that has looked at nothing yet.
func New(o Options) *Client {
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	return &Client{
		agent: o.UserAgent, limits: o.Limits.withDefaults(),
		repositories: map[string]*repository{}, packages: map[string]*download{},
	}
}

// repository is one address as seen with one credential.
type repository struct {
	base  *url.URL // without user and query
	query string   // of the declared address: put behind every address of the repository
	http  *dial.Client
	looks dial.Shared[*seen]

	mu       sync.Mutex
	last     *seen // nil before the first look that succeeded
	lookedAt time.Time

	used int64 // guarded by Client.mu
}

// seen is what a look at an index found.
type seen struct {
	index    *index
	digest   string // of the text, "sha256:…"
	text     []byte // gzip stream of it; nil unless it was asked for
	etag     string
	modified string
}

func (s *seen) bytes() int64 { return s.index.bytes + int64(len(s.text)) }

// open returns the repository of an address. Errors are faults.
func (c *Client) open(address string, auth *model.HTTPAuth) (*repository, error) {
	declared, fault := parseAddress(address)
	if fault != nil {
		return nil, fault
	}
	key := dial.Key(auth, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.repositories[key]
	if r == nil {
		client, err := dial.New(declared, auth, c.agent)
		if err != nil {
			return nil, &model.Fault{
				Reason:  reasonAuthentication,
				Message: "failed to configure the client of the Helm repository: " + err.Error(),
				Advice:  "correct the Secret that the HelmRepository names",
				Err:     err,
			}
		}
		bare := *declared
		bare.User, bare.RawQuery, bare.Fragment, bare.RawFragment = nil, "", "", ""
		r = &repository{base: &bare, query: declared.RawQuery, http: client}
		c.repositories[key] = r
	}
	c.turn++
	r.used = c.turn
	return r, nil
}

// parseAddress reads the address of a repository, with a slash at its end
// (source-controller repository.NormalizeURL).
func parseAddress(address string) (*url.URL, *model.Fault) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: "invalid Helm repository URL: it cannot be understood",
			Advice:  "write it as https://host/path",
		}
	case u.Scheme == "oci":
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type",
			Advice:  "set spec.type to oci",
		}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: fmt.Sprintf("invalid Helm repository URL: charts are not fetched by the scheme %q", u.Scheme),
			Advice:  "use https or http, or oci with spec.type oci",
		}
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	if u.RawPath != "" {
		u.RawPath = strings.TrimRight(u.RawPath, "/") + "/"
	}
	return u, nil
}

// look returns the index as it was at notBefore or later; with text, the text
// of the index is at hand as well.
func (c *Client) look(ctx context.Context, r *repository, notBefore time.Time, text bool) (*seen, error) {
	for {
		r.mu.Lock()
		last, at := r.last, r.lookedAt
		r.mu.Unlock()
		if last != nil && !at.Before(notBefore) && (last.text != nil || !text) {
			return last, nil
		}
		found, err := r.looks.Ask(ctx, notBefore, func(ctx context.Context) (*seen, error) {
			return c.ask(ctx, r, text)
		})
		if err != nil || found.text != nil || !text {
			return found, err
		}
		// The look that was under way did not keep the text: the next one does.
		notBefore = time.Now()
	}
}

// ask looks at the index once.
func (c *Client) ask(ctx context.Context, r *repository, text bool) (*seen, error) {
	started := time.Now()
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last != nil && last.text == nil && text {
		last = nil // it must be sent again
	}
	found, err := c.fetchIndex(ctx, r, last, text || last != nil && last.text != nil)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.last, r.lookedAt = found, started
	r.mu.Unlock()
	c.trim()
	return found, nil
}

// fetchIndex asks for the index, unless it is still the last one.
func (c *Client) fetchIndex(ctx context.Context, r *repository, last *seen, keep bool) (*seen, error) {
	headers := http.Header{"Accept-Encoding": {"gzip"}}
	if last != nil && last.etag != "" {
		headers.Set("If-None-Match", last.etag)
	} else if last != nil && last.modified != "" {
		headers.Set("If-Modified-Since", last.modified)
	}
	response, err := r.http.Get(ctx, r.within("index.yaml"), headers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusNotModified && last != nil:
		return last, nil
	case response.StatusCode != http.StatusOK:
		return nil, r.http.Refused(response)
	}
	found, err := c.readIndex(response, keep)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	found.etag, found.modified = response.Header.Get("ETag"), response.Header.Get("Last-Modified")
	return found, nil
}

// errIndex is an index that arrived and is none.
type errIndex struct{ err error }

func (e errIndex) Error() string { return e.err.Error() }
func (e errIndex) Unwrap() error { return e.err }

// readIndex reads an index while it arrives, and keeps its text packed.
func (c *Client) readIndex(response *http.Response, keep bool) (*seen, error) {
	arriving := &readFailure{in: response.Body}
	plain := dial.Bounded(arriving, c.limits.IndexBytes)
	if response.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(plain)
		if err != nil {
			return nil, arriving.or(errIndex{errors.New("it is said to be a gzip stream, and is none")})
		}
		plain = dial.Bounded(unpacked, c.limits.IndexBytes)
	}
	var text bytes.Buffer
	packer, err := gzip.NewWriterLevel(&text, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	tee := io.TeeReader(plain, io.MultiWriter(hash, packer))
	again := func() (io.Reader, error) {
		if err := packer.Close(); err != nil {
			return nil, err
		}
		return gzip.NewReader(bytes.NewReader(text.Bytes()))
	}
	x, err := parse(tee, again, c.limits.LooseBytes)
	if err == nil {
		err = drain(tee)
	}
	switch {
	case errors.Is(err, dial.ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, arriving.or(errIndex{err})
	}
	found := &seen{index: x, digest: "sha256:" + hex.EncodeToString(hash.Sum(nil))}
	if keep {
		if err := packer.Close(); err != nil {
			return nil, err
		}
		found.text = bytes.Clone(text.Bytes())
	}
	return found, nil
}

// readFailure remembers why a stream broke off: what is made of the pieces that
// came is not to blame for it.
type readFailure struct {
	in  io.Reader
	err error
}

func (f *readFailure) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func (f *readFailure) or(err error) error {
	if f.err != nil {
		return fmt.Errorf("the answer broke off: %w", f.err)
	}
	return err
}

// within is the address of something of the repository.
func (r *repository) within(path string) *url.URL {
	u := r.base.JoinPath(path)
	u.RawQuery = r.query
	return u
}

// trim drops what was not used for the longest until all fits.
func (c *Client) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	dropOldest(c.repositories, c.limits.IndexMemory, func(r *repository) (int64, int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		size := int64(64 << 10) // connections
		if r.last != nil {
			size += r.last.bytes()
		}
		return size, r.used
	}, func(r *repository) { r.http.Close() })
	dropOldest(c.packages, c.limits.PackageMemory, func(d *download) (int64, int64) {
		return 1<<10 + int64(len(d.kept.Load().content())), d.used
	}, func(*download) {})
}

// dropOldest drops entries until the rest has room. The one used last stays.
func dropOldest[T any](all map[string]T, room int64, weigh func(T) (size, used int64), drop func(T)) {
	for {
		var sum, oldest, newest int64
		var key string
		for k, one := range all {
			size, used := weigh(one)
			sum += size
			if key == "" || used < oldest {
				key, oldest = k, used
			}
			newest = max(newest, used)
		}
		if sum <= room || oldest == newest {
			return
		}
		drop(all[key])
		delete(all, key)
	}
}
