package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

// A label is how the log finds content again by what it was asked for: a record
// of the type of a tag, which refers to a directory, whose hash is made of the
// question instead of the content. It is read after a restart too, and a log
// that is rewritten keeps what its labels refer to.

// label is the hash under which the answer to a question stands.
func label(question ...string) plumbing.Hash {
	h := sha256.New()
	for _, part := range question {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = h.Write(length[:])
		_, _ = h.Write([]byte(part))
	}
	var hash plumbing.Hash
	copy(hash[:], h.Sum(nil))
	return hash
}

// notes are what is known of content besides its bytes.
type notes struct {
	Revision string            `json:"revision,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Verified string            `json:"verified,omitempty"`
	Chart    *model.Chart      `json:"chart,omitempty"`
	Values   []string          `json:"values,omitempty"`  // files that a chart's values were merged from
	Objects  []bucketFile      `json:"objects,omitempty"` // of a bucket, sorted by key
	File     string            `json:"file,omitempty"`    // hash of the served file, when it is no archive of the tree
}

// piece is a directory in a depot.
type piece struct {
	log   *objects
	root  plumbing.Hash
	notes notes
}

// attach adds a label for a directory that the batch or the log has, unless it
// is there as it would be.
func (b *batch) attach(at, root plumbing.Hash, r notes) error {
	note, err := json.Marshal(r)
	if err != nil {
		return err
	}
	content := fmt.Appendf(nil, "object %s\ntype tree\n\n%s", root, note)
	if is, err := b.read(at); err == nil && bytes.Equal(is, content) {
		return nil
	}
	return b.add(plumbing.TagObject, at, content)
}

// labelled finds what a label refers to.
func (l *objects) labelled(at plumbing.Hash) (p piece, ok bool, err error) {
	if !l.has(at) {
		return piece{}, false, nil
	}
	_, content, err := l.read(at)
	if err != nil {
		return piece{}, false, err
	}
	root, err := tagTarget(content)
	if err != nil {
		return piece{}, false, err
	}
	_, note, _ := bytes.Cut(content, []byte("\n\n"))
	p = piece{log: l, root: root}
	if err := json.Unmarshal(note, &p.notes); err != nil {
		return piece{}, false, fmt.Errorf("%w: a label cannot be read", errDamaged)
	}
	return p, l.has(root), nil
}

// recall finds what a label refers to in the newest log of the depot.
func (d *depot) recall(ctx context.Context, at plumbing.Hash) (p piece, ok bool, err error) {
	_, err = d.write(ctx, func() error {
		var err error
		p, ok, err = d.log.labelled(at)
		return err
	})
	return p, ok, err
}

// extend adds what fill puts into a batch, and returns the log that has it. fill
// may run twice.
func (d *depot) extend(ctx context.Context, fill func(b *batch) error) (*objects, error) {
	return d.write(ctx, func() error {
		_, err := d.log.extend(fill)
		return err
	})
}

// name attaches a label to a piece, which may stand in a log that was replaced
// since, and returns the piece as the newest log has it.
func (d *depot) name(ctx context.Context, at plumbing.Hash, p piece) (piece, error) {
	log, err := d.extend(ctx, func(b *batch) error {
		if err := b.take(ctx, p); err != nil {
			return err
		}
		return b.attach(at, p.root, p.notes)
	})
	p.log = log
	return p, err
}

// take makes sure that the batch has a piece, and the file that is served for
// it.
func (b *batch) take(ctx context.Context, p piece) error {
	if file := plumbing.NewHash(p.notes.File); p.notes.File != "" {
		if err := copyObject(ctx, p.log, b, file); err != nil {
			return err
		}
	}
	return copyObject(ctx, p.log, b, p.root)
}
