package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Condition reasons of ocirepository_controller.go.
const (
	reasonOCIPullFailed  = "OCIArtifactPullFailed"
	reasonOCILayerFailed = "OCIArtifactLayerOperationFailed"
)

// ociVisit fetches an OCIRepository.
type ociVisit struct{ *visit }

// chartContent is the media type of a packaged chart. As an artifact of its own
// (OCISource.Revision) it is the chart's directory without the archive's first
// one (argo-cd util/oci, extractContentToManifestsDir).
const chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// copies reports whether the layer is taken as one file.
func copies(o *model.OCISource) bool { return o.Layer != nil && o.Layer.Copy }

func (v *ociVisit) place() string {
	o := v.spec.OCI
	media, how := "", "extract"
	if o.Layer != nil {
		media = o.Layer.MediaType
	}
	switch {
	case copies(o):
		how = "copy"
	case o.Revision != "":
		how = "content"
	}
	return dial.Key(&o.Auth, "oci", o.URL, media, how, trusted(o.Verify))
}

// trusted is a fingerprint of the signatures that are asked for.
func trusted(asked *model.Verification) string {
	if asked == nil {
		return ""
	}
	question := []string{asked.Provider, string(asked.TrustRoot)}
	for _, key := range asked.Keys {
		question = append(question, "key", key.Name, string(key.PEM))
	}
	for _, identity := range asked.Identities {
		question = append(question, "identity", identity.Issuer, identity.Subject)
	}
	return label(question...).String()
}

func (v *ociVisit) look(ctx context.Context) (offer, error) {
	o := v.spec.OCI
	key := label(v.place(), o.Revision, o.Ref.Digest, o.Ref.SemVer, o.Ref.SemVerFilter, o.Ref.Tag).String()
	found, err := v.store.layers.look(ctx, v.store, key, func(ctx context.Context) (model.OCIArtifact, error) {
		return v.store.clients.Registry.Resolve(ctx, o)
	})
	if err != nil {
		return offer{}, err
	}
	return offer{
		key:   found.LayerDigest,
		notes: notes{Revision: found.Revision, Metadata: found.Metadata, Verified: found.Verified},
		load:  func(ctx context.Context) (piece, error) { return v.store.layer(ctx, o, found) },
	}, nil
}

// errLayer is a layer that was pulled and cannot be used.
type errLayer struct{ err error }

func (e errLayer) Error() string { return e.err.Error() }
func (e errLayer) Unwrap() error { return e.err }

// layer brings a layer into the depot.
func (s *Store) layer(ctx context.Context, o *model.OCISource, found model.OCIArtifact) (piece, error) {
	body, err := s.clients.Registry.Pull(ctx, o, found)
	if err != nil {
		return piece{}, err
	}
	sp, err := s.download(ctx, body, found.LayerDigest)
	if err != nil {
		return piece{}, err
	}
	defer sp.close()
	p, err := s.unpacked(ctx, sp, unpacking{chart: o.Revision != "" && found.LayerMediaType == chartContent})
	var archive errArchive
	if copies(o) && (err == nil || errors.As(err, &archive)) {
		p, err = s.copied(ctx, sp, p, hexOf(found.LayerDigest)+".tgz")
	}
	if err != nil {
		return piece{}, errLayer{err}
	}
	return p, nil
}

// unpacked brings the content of an archive into the depot.
func (s *Store) unpacked(ctx context.Context, sp *spool, how unpacking) (p piece, err error) {
	p.log, err = s.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, s.limits, b)
		err := unpack(ctx, sp.reader(), s.limits, how, files.add)
		if err == nil {
			p.root, err = files.write()
		}
		return err
	})
	return p, err
}

// add puts a file or makes a directory.
func (s *stock) add(elements []string, kind model.EntryKind, content []byte) error {
	if kind == model.DirEntry {
		_, err := s.dir(elements)
		return err
	}
	return s.put(elements, kind, content)
}

// copied keeps a layer as the file that is served. Whoever reads the tree sees
// what is in it, as all do that read artifacts of source-controller; a layer
// that is no archive is one file.
func (s *Store) copied(ctx context.Context, sp *spool, p piece, name string) (piece, error) {
	if sp.size > s.limits.FileBytes {
		return piece{}, fmt.Errorf("%w: the layer of %d bytes is larger than the %d that are accepted", errTooLarge, sp.size, s.limits.FileBytes)
	}
	content, err := io.ReadAll(sp.reader())
	if err != nil {
		return piece{}, diskError(err)
	}
	found := p
	p.log, err = s.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, s.limits, b)
		file, err := files.keep(content)
		if err != nil {
			return err
		}
		p.notes.File = file.String()
		if found.log != nil {
			return b.take(ctx, found)
		}
		if err := files.place([]string{name}, model.FileEntry, file); err != nil {
			return err
		}
		p.root, err = files.write()
		return err
	})
	return p, err
}

func (v *ociVisit) fault(err error) *model.Fault {
	f := &model.Fault{Reason: reasonOCIPullFailed, Message: fmt.Sprintf("failed to pull artifact from 'oci://%s': %s", v.spec.OCI.URL, err)}
	var layer errLayer
	if errors.As(err, &layer) {
		f.Reason, f.Message = reasonOCILayerFailed, fmt.Sprintf("failed to extract layer contents from artifact: %s", err)
	}
	return f
}

func (v *ociVisit) finish(t *Tree, p piece) {
	digest := p.notes.Revision[strings.LastIndex(p.notes.Revision, "@")+1:]
	t.file = product{name: digest + archiveSuffix}
	if copies(v.spec.OCI) {
		t.file.raw = plumbing.NewHash(p.notes.File)
	}
}
