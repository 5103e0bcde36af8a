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
	"sync/atomic"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// download is one package that callers share.
type download struct {
	flight dial.Shared[*archive]
	kept   atomic.Pointer[archive] // nil before it arrived, and where no digest names it
	used   int64                   // guarded by Client.mu
}

// archive is a package as it is published.
type archive struct{ bytes []byte }

func (a *archive) content() []byte {
	if a == nil {
		return nil
	}
	return a.bytes
}

// errDigest is a package that is not what the index says it is.
var errDigest = errors.New("its digest is not the one that the index tells")

// fetch returns the package at an address, downloading it once for all that
// ask for it.
func (c *Client) fetch(ctx context.Context, r *repository, auth *model.HTTPAuth, address *url.URL, digest string) (*archive, error) {
	d := c.download(dial.Key(auth, r.base.String(), r.query, address.String(), digest))
	if kept := d.kept.Load(); kept != nil {
		return kept, nil
	}
	var notBefore time.Time
	if digest == "" {
		notBefore = time.Now() // another content may have come since
	}
	return d.flight.Ask(ctx, notBefore, func(ctx context.Context) (*archive, error) {
		got, err := c.pull(ctx, r, address, digest)
		if err != nil {
			return nil, err
		}
		if digest != "" {
			d.kept.Store(got)
			c.trim()
		}
		return got, nil
	})
}

func (c *Client) download(key string) *download {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.packages[key]
	if d == nil {
		d = &download{}
		c.packages[key] = d
	}
	c.turn++
	d.used = c.turn
	return d
}

// pull downloads a package.
func (c *Client) pull(ctx context.Context, r *repository, address *url.URL, digest string) (*archive, error) {
	// A package is a gzip stream already: nobody is asked to pack it again.
	response, err := r.http.Get(ctx, address, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, r.http.Refused(response)
	}
	content, err := io.ReadAll(dial.Bounded(response.Body, c.limits.PackageBytes))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case response.ContentLength >= 0 && int64(len(content)) != response.ContentLength:
		return nil, io.ErrUnexpectedEOF
	case digest == "" || sum(content) == digest:
		if response.Header.Get("Content-Encoding") == "gzip" && digest == "" {
			content = c.unwrap(content)
		}
		return &archive{content}, nil
	}
	if inner := c.unwrap(content); sum(inner) == digest {
		return &archive{inner}, nil
	}
	return nil, errDigest
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(digest[:])
}

// unwrap takes away what a server packed around a package. Some only say that
// they did: what is in there is no package then, and content is returned.
func (c *Client) unwrap(content []byte) []byte {
	unpacker, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return content
	}
	inner, err := io.ReadAll(dial.Bounded(unpacker, c.limits.PackageBytes))
	if err != nil || !bytes.HasPrefix(inner, []byte{0x1f, 0x8b}) {
		return content
	}
	return inner
}

// resolve makes the address of a package absolute
// (repo.ResolveReferenceURL), without user.
func (r *repository) resolve(reference string) (*url.URL, error) {
	u, err := url.Parse(reference)
	if err != nil {
		return nil, errors.New("the address of the package cannot be understood")
	}
	if !u.IsAbs() {
		u = r.base.ResolveReference(u)
		u.RawQuery = "" // the declared address's takes its place
	}
	u.User = nil
	return u, nil
}

// withQuery puts the query of the declared address, which may be what grants
// access, behind the address of a package of the repository.
func (r *repository) withQuery(address *url.URL) *url.URL {
	inside := address.Scheme == r.base.Scheme && address.Host == r.base.Host && strings.HasPrefix(address.Path, r.base.Path)
	if r.query == "" || !inside || address.RawQuery != "" {
		return address
	}
	full := *address
	full.RawQuery = r.query
	return &full
}

// packageAddress reads the address of a package that Resolve found.
func packageAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("the address of the package cannot be understood")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("packages are not downloaded by the scheme %q", u.Scheme)
	}
	return u, nil
}
