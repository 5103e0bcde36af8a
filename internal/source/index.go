package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

const (
	reasonIndexationFailed = "IndexationFailed"  // helmrepository_controller.go
	reasonExternalFailed   = "SourceFetchFailed" // source-watcher: of a source that cannot be downloaded
	indexFile              = "index.yaml"
)

// indexVisit fetches the index of a HelmRepository.
type indexVisit struct{ *visit }

func (v *indexVisit) place() string { return dial.Key(&v.spec.Index.Auth, "index", v.spec.Index.URL) }

// look asks for the index. What was sent is kept, under its digest, while the
// question is shared: an index is read once, however many sources name it.
func (v *indexVisit) look(ctx context.Context) (offer, error) {
	if v.spec.Index.OCI {
		return offer{key: "none", load: v.nothing}, nil
	}
	return v.store.indexes.look(ctx, v.store, v.place(), func(ctx context.Context) (offer, error) {
		digest, body, err := v.store.clients.Charts.Index(ctx, v.spec.Index)
		if err != nil {
			return offer{}, err
		}
		defer func() { _ = body.Close() }() // it is not read when the index is known
		p, err := v.store.hold(ctx, label("content", v.place(), digest), func(ctx context.Context) (piece, error) {
			return v.load(ctx, body)
		})
		return offer{key: digest, notes: notes{Revision: digest}, load: func(context.Context) (piece, error) { return p, err }}, err
	})
}

// nothing is the tree of a registry, which has no index.
func (v *indexVisit) nothing(ctx context.Context) (piece, error) { return v.store.one(ctx, "", nil) }

// load brings an index into the depot.
func (v *indexVisit) load(ctx context.Context, body io.ReadCloser) (piece, error) {
	content, err := v.store.small(ctx, body, v.store.limits.FileBytes)
	if err != nil {
		return piece{}, err
	}
	return v.store.one(ctx, indexFile, content)
}

// small reads what fits in memory, and closes it.
func (s *Store) small(ctx context.Context, body io.ReadCloser, limit int64) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	content, err := io.ReadAll(dial.Bounded(body, limit))
	err = errors.Join(err, body.Close())
	switch {
	case ctx.Err() != nil:
		return nil, cause(ctx, ctx.Err())
	case errors.Is(err, dial.ErrTooLarge):
		return nil, fmt.Errorf("%w: a file has more than %d bytes", errTooLarge, limit)
	}
	return content, err
}

// one makes a tree of one file, or of none, and serves it as it is.
func (s *Store) one(ctx context.Context, name string, content []byte) (p piece, err error) {
	p.log, err = s.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, s.limits, b)
		if name != "" {
			if err := files.put([]string{name}, model.FileEntry, content); err != nil {
				return err
			}
			p.notes.File = files.root.entries[name].hash.String()
		}
		var err error
		p.root, err = files.write()
		return err
	})
	return p, err
}

func (v *indexVisit) fault(err error) *model.Fault {
	return &model.Fault{Reason: reasonIndexationFailed, Message: fmt.Sprintf("failed to fetch Helm repository index: %s", err)}
}

func (v *indexVisit) finish(t *Tree, p piece) {
	t.file = product{name: "index-" + hexOf(p.notes.Revision) + ".yaml", raw: plumbing.NewHash(p.notes.File)}
}

// externalVisit fetches what an ExternalArtifact tells of.
type externalVisit struct{ *visit }

func (v *externalVisit) place() string {
	e := v.spec.External
	return dial.Key(&e.Auth, "external", e.URL, e.Digest, fmt.Sprint(e.Plain))
}

// look takes the status of the object for what there is.
func (v *externalVisit) look(ctx context.Context) (offer, error) {
	e := v.spec.External
	if e.Plain {
		return v.lookAtFile(ctx)
	}
	if newDigest(e.Digest) == nil {
		return offer{}, badArchive("the artifact has no digest that can be checked, but %s", quoted(e.Digest))
	}
	return offer{key: e.Digest, notes: notes{Revision: e.Revision}, load: v.load}, nil
}

// lookAtFile reads a file that is served as it is: nothing else tells whether
// it has changed.
func (v *externalVisit) lookAtFile(ctx context.Context) (offer, error) {
	body, closing, err := v.get(ctx)
	if err != nil {
		return offer{}, err
	}
	defer closing()
	content, err := v.store.small(ctx, body, v.store.limits.FileBytes)
	if err != nil {
		return offer{}, err
	}
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	name := "file"
	if at, err := url.Parse(v.spec.External.URL); err == nil && path.Base(at.Path) != "/" && path.Base(at.Path) != "." {
		name = path.Base(at.Path)
	}
	return offer{key: digest, notes: notes{Revision: digest}, load: func(ctx context.Context) (piece, error) {
		return v.store.one(ctx, name, content)
	}}, nil
}

// get opens what is served at the address. closing ends the connection.
func (v *externalVisit) get(ctx context.Context) (body io.ReadCloser, closing func(), err error) {
	address, auth, err := v.store.options.Redirects.web(v.spec.External.URL, v.spec.External.Auth)
	if err != nil {
		return nil, nil, err
	}
	at, err := url.Parse(address)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, nil, badArchive("the address of the artifact is no URL of scheme http or https")
	}
	client, err := dial.New(at, &auth, v.store.options.UserAgent)
	if err != nil {
		return nil, nil, err
	}
	response, err := client.Get(ctx, at, nil)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	if response.StatusCode != http.StatusOK {
		err := errors.Join(client.Refused(response), response.Body.Close())
		client.Close()
		return nil, nil, err
	}
	return response.Body, client.Close, nil
}

func (v *externalVisit) load(ctx context.Context) (piece, error) {
	e := v.spec.External
	body, closing, err := v.get(ctx)
	if err != nil {
		return piece{}, err
	}
	defer closing()
	sp, err := v.store.download(ctx, body, e.Digest)
	if err != nil {
		return piece{}, err
	}
	defer sp.close()
	return v.store.unpacked(ctx, sp, unpacking{})
}

func (v *externalVisit) fault(err error) *model.Fault {
	shown := "the artifact"
	if at, parsed := url.Parse(v.spec.External.URL); parsed == nil {
		shown = "'" + dial.Display(at) + "'"
	}
	return &model.Fault{Reason: reasonExternalFailed, Message: fmt.Sprintf("failed to download artifact from %s: %s", shown, err)}
}

func (v *externalVisit) finish(t *Tree, _ piece) {
	if v.spec.External.Plain {
		return // an archive of the tree is served, if anybody asks
	}
	t.file = product{name: hexOf(v.spec.External.Digest) + archiveSuffix}
}
