package source

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the trailer of a pack is SHA-1 by format; objects are hashed with collision detection
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"plumb.dev/plumb/internal/model"
)

var errBadPack = errors.New("the server sent a damaged pack")

// spool is what was received: in memory while small, else in an unlinked file.
type spool struct {
	io.ReaderAt
	size int64 // of a pack without the trailer
	file *os.File
}

const spoolInMemory = 2 << 20

// receive reads a pack to its end and checks its trailer.
func receive(in io.Reader, scratch string) (*spool, error) {
	sum := &trailingSum{}
	s, err := spooled(in, sum, scratch)
	if err != nil {
		return nil, err
	}
	if !sum.matches() {
		s.close()
		return nil, fmt.Errorf("%w: its checksum does not match", errBadPack)
	}
	s.size -= sha1.Size
	return s, nil
}

// spooled reads to the end; sum gets what was read.
func spooled(in io.Reader, sum io.Writer, scratch string) (*spool, error) {
	head := make([]byte, 0, 64<<10)
	buffer := bytes.NewBuffer(head)
	n, err := io.Copy(io.MultiWriter(buffer, sum), io.LimitReader(in, spoolInMemory))
	if err != nil {
		return nil, err
	}
	s := &spool{ReaderAt: bytes.NewReader(buffer.Bytes()), size: n}
	if n == spoolInMemory {
		if err := s.spill(buffer.Bytes(), in, sum, scratch); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *spool) spill(head []byte, rest io.Reader, sum io.Writer, scratch string) error {
	f, err := os.CreateTemp(scratch, "pack")
	if err != nil {
		return err
	}
	s.file, s.ReaderAt = f, f
	if err := os.Remove(f.Name()); err != nil {
		s.close()
		return err
	}
	if _, err := f.Write(head); err != nil {
		s.close()
		return err
	}
	n, err := io.Copy(io.MultiWriter(f, sum), rest)
	if err != nil {
		s.close()
		return err
	}
	s.size += n
	return nil
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// trailingSum hashes all but the last 20 bytes and compares them with the hash.
type trailingSum struct {
	hashed [sha1.Size]byte
	state  interface {
		io.Writer
		Sum([]byte) []byte
	}
	tail []byte
}

func (t *trailingSum) Write(p []byte) (int, error) {
	if t.state == nil {
		t.state = sha1.New() //nolint:gosec // see the import
	}
	if len(p) >= sha1.Size {
		_, _ = t.state.Write(t.tail)
		_, _ = t.state.Write(p[:len(p)-sha1.Size])
		t.tail = append(t.tail[:0], p[len(p)-sha1.Size:]...)
		return len(p), nil
	}
	t.tail = append(t.tail, p...)
	if over := len(t.tail) - sha1.Size; over > 0 {
		_, _ = t.state.Write(t.tail[:over])
		t.tail = append(t.tail[:0], t.tail[over:]...)
	}
	return len(p), nil
}

func (t *trailingSum) matches() bool {
	if t.state == nil || len(t.tail) != sha1.Size {
		return false
	}
	return bytes.Equal(t.state.Sum(t.hashed[:0]), t.tail)
}

// packEntry is one object of a pack.
type packEntry struct {
	offset int64
	base   int32 // entry that a delta starts from; noBase, or outside the pack
	typ    plumbing.ObjectType
	hash   plumbing.Hash
	chain  uint16 // deltas to apply
}

const (
	noBase       = -1
	outsideBase  = -2
	maxChain     = 4096 // Git never writes longer ones
	unpackCache  = 8 << 20
	maxPackCount = 20_000_000
)

// unpacker gives access to the objects of a pack by hash. Its deltas may start
// from objects of the log (a thin pack).
type unpacker struct {
	ctx     context.Context
	pack    *spool
	log     *objects
	limits  Limits
	left    int64 // bytes that may still be inflated
	entries []packEntry
	byHash  map[plumbing.Hash]int32
	outside map[int32]plumbing.Hash

	// Two generations of recently inflated objects: enough for runs of deltas.
	young, old map[int32][]byte
	youngBytes int
}

// openPackIndex reads a pack once and names its objects.
func openPackIndex(ctx context.Context, pack *spool, log *objects, limits Limits) (*unpacker, error) {
	u := &unpacker{
		ctx: ctx, pack: pack, log: log, limits: limits, left: limits.UnpackBytes,
		byHash: map[plumbing.Hash]int32{}, outside: map[int32]plumbing.Hash{},
		young: map[int32][]byte{}, old: map[int32][]byte{},
	}
	var header [12]byte
	if _, err := pack.ReadAt(header[:], 0); err != nil || string(header[:4]) != "PACK" || pack.size < 12 {
		return nil, fmt.Errorf("%w: it has no header", errBadPack)
	}
	version, count := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
	if version != 2 && version != 3 || count > maxPackCount {
		return nil, fmt.Errorf("%w: version %d with %d objects", errBadPack, version, count)
	}
	return u, u.scan(int(count))
}

// scan walks the pack from front to back. Deltas whose base comes later are
// resolved in further rounds.
func (u *unpacker) scan(count int) error {
	byOffset := map[int64]int32{}
	waiting := map[plumbing.Hash][]int32{}
	at := int64(12)
	for i := range count {
		if err := u.ctx.Err(); err != nil {
			return cause(u.ctx, err)
		}
		raw, err := u.raw(at)
		if err != nil {
			return err
		}
		e := packEntry{offset: at, base: noBase, typ: raw.typ}
		id := int32(i)
		byOffset[at] = id
		at = raw.next
		u.entries = append(u.entries, e)
		switch raw.typ {
		case plumbing.OFSDeltaObject:
			base, ok := byOffset[raw.baseOffset]
			if !ok {
				return fmt.Errorf("%w: a delta without its base", errBadPack)
			}
			u.entries[id].base = base
			if u.entries[base].hash.IsZero() {
				waiting[plumbing.ZeroHash] = append(waiting[plumbing.ZeroHash], id)
				continue
			}
		case plumbing.REFDeltaObject:
			if !u.findBase(id, raw.baseHash) {
				waiting[raw.baseHash] = append(waiting[raw.baseHash], id)
				continue
			}
		}
		if err := u.name(id, raw.content); err != nil {
			return err
		}
	}
	if at != u.pack.size {
		return fmt.Errorf("%w: it holds more than it declares", errBadPack)
	}
	return u.resolveWaiting(waiting)
}

// findBase sets the base of a delta that names it by hash.
func (u *unpacker) findBase(id int32, hash plumbing.Hash) bool {
	if base, ok := u.byHash[hash]; ok {
		u.entries[id].base = base
		return true
	}
	if u.log.has(hash) {
		u.entries[id].base = outsideBase
		u.outside[id] = hash
		return true
	}
	return false
}

// resolveWaiting names deltas until no round names any.
func (u *unpacker) resolveWaiting(waiting map[plumbing.Hash][]int32) error {
	for len(waiting) > 0 {
		progress := false
		for hash, ids := range waiting {
			var still []int32
			for _, id := range ids {
				ready := u.entries[id].base >= 0 && !u.entries[u.entries[id].base].hash.IsZero()
				if !ready && (hash.IsZero() || !u.findBase(id, hash)) {
					still = append(still, id)
					continue
				}
				if err := u.name(id, nil); err != nil {
					return err
				}
				progress = true
			}
			if len(still) == 0 {
				delete(waiting, hash)
			} else {
				waiting[hash] = still
			}
		}
		if !progress {
			return fmt.Errorf("%w: a delta without its base", errBadPack)
		}
	}
	return nil
}

// name computes what an entry is. content is what its record holds, or nil to
// read it again.
func (u *unpacker) name(id int32, content []byte) error {
	e := &u.entries[id]
	if e.base != noBase {
		typ, err := u.chainEnd(id)
		if err != nil {
			return err
		}
		if content, err = u.apply(id, content); err != nil {
			return err
		}
		e.typ = typ
	}
	e.hash = plumbing.ComputeHash(e.typ, content)
	u.byHash[e.hash] = id
	u.remember(id, content)
	return nil
}

// chainEnd finds the type at the end of a delta chain and its length.
func (u *unpacker) chainEnd(id int32) (plumbing.ObjectType, error) {
	e := &u.entries[id]
	if e.base == outsideBase {
		p, ok := u.log.place(u.outside[id])
		if !ok {
			return plumbing.InvalidObject, fmt.Errorf("%w: a delta without its base", errBadPack)
		}
		e.chain = 1
		return p.typ, nil
	}
	base := u.entries[e.base]
	if base.chain >= maxChain {
		return plumbing.InvalidObject, fmt.Errorf("%w: deltas on deltas without end", errBadPack)
	}
	e.chain = base.chain + 1
	return base.typ, nil
}

// apply makes the content of a delta entry; delta is its record, or nil.
func (u *unpacker) apply(id int32, delta []byte) ([]byte, error) {
	var base []byte
	var err error
	if u.entries[id].base == outsideBase {
		_, base, err = u.log.read(u.outside[id])
	} else {
		base, err = u.content(u.entries[id].base)
	}
	if err != nil {
		return nil, err
	}
	if delta == nil {
		raw, err := u.raw(u.entries[id].offset)
		if err != nil {
			return nil, err
		}
		delta = raw.content
	}
	if err := u.checkDelta(delta); err != nil {
		return nil, err
	}
	content, err := packfile.PatchDelta(base, delta)
	if err != nil {
		return nil, fmt.Errorf("%w: a delta does not fit its base", errBadPack)
	}
	return content, nil
}

// checkDelta bounds the size a delta claims to make, before it is made.
func (u *unpacker) checkDelta(delta []byte) error {
	_, n := binary.Uvarint(delta)
	if n <= 0 {
		return fmt.Errorf("%w: a delta is malformed", errBadPack)
	}
	size, m := binary.Uvarint(delta[n:])
	if m <= 0 {
		return fmt.Errorf("%w: a delta is malformed", errBadPack)
	}
	return u.spend(size)
}

// spend counts inflated bytes against the limits.
func (u *unpacker) spend(size uint64) error {
	if size > uint64(u.limits.FileBytes) {
		return fmt.Errorf("%w: a file of %d bytes is larger than the %d that are accepted", errTooLarge, size, u.limits.FileBytes)
	}
	u.left -= int64(size)
	if u.left < 0 {
		return fmt.Errorf("%w: the pack inflates to more than %d bytes", errTooLarge, u.limits.UnpackBytes)
	}
	return nil
}

// content returns an entry's object. Chains are bounded by maxChain.
func (u *unpacker) content(id int32) ([]byte, error) {
	if c, ok := u.recall(id); ok {
		return c, nil
	}
	if err := u.ctx.Err(); err != nil {
		return nil, cause(u.ctx, err)
	}
	var c []byte
	if u.entries[id].base == noBase {
		raw, err := u.raw(u.entries[id].offset)
		if err != nil {
			return nil, err
		}
		c = raw.content
	} else {
		var err error
		if c, err = u.apply(id, nil); err != nil {
			return nil, err
		}
	}
	u.remember(id, c)
	return c, nil
}

func (u *unpacker) remember(id int32, content []byte) {
	u.young[id] = content
	u.youngBytes += len(content)
	if u.youngBytes > unpackCache {
		u.old, u.young, u.youngBytes = u.young, map[int32][]byte{}, 0
	}
}

func (u *unpacker) recall(id int32) ([]byte, bool) {
	if c, ok := u.young[id]; ok {
		return c, true
	}
	c, ok := u.old[id]
	return c, ok
}

// record is one object of a pack as it stands there.
type record struct {
	typ        plumbing.ObjectType
	content    []byte // of a delta: the instructions
	baseOffset int64
	baseHash   plumbing.Hash
	next       int64
}

// countingReader knows how far a decoder has read; it never reads ahead of it.
type countingReader struct {
	in *bufio.Reader
	n  int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.in.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

var (
	packBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}
	zlibReaders sync.Pool
)

// raw reads the record at an offset.
func (u *unpacker) raw(at int64) (record, error) {
	bad := func(why string) (record, error) { return record{}, fmt.Errorf("%w: %s", errBadPack, why) }
	buffered := packBuffers.Get().(*bufio.Reader)
	defer packBuffers.Put(buffered)
	buffered.Reset(io.NewSectionReader(u.pack, at, u.pack.size-at))
	in := &countingReader{in: buffered}

	b, err := in.ReadByte()
	if err != nil {
		return bad("it ends early")
	}
	r := record{typ: plumbing.ObjectType(b >> 4 & 7)}
	size := uint64(b & 15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = in.ReadByte(); err != nil || shift > 56 {
			return bad("an object has no size")
		}
		size |= uint64(b&0x7f) << shift
	}
	switch r.typ {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	case plumbing.OFSDeltaObject:
		back, err := readOffset(in)
		if err != nil || back <= 0 || back > at {
			return bad("a delta points nowhere")
		}
		r.baseOffset = at - back
	case plumbing.REFDeltaObject:
		if _, err := io.ReadFull(in, r.baseHash[:]); err != nil {
			return bad("it ends early")
		}
	default:
		return bad("an object is of unknown type")
	}
	if err := u.spend(size); err != nil {
		return record{}, err
	}
	if r.content, err = inflateRecord(in, int(size)); err != nil {
		return bad("an object does not inflate")
	}
	r.next = at + in.n
	return r, nil
}

// readOffset reads the distance to a delta's base (gitformat-pack, offset
// encoding).
func readOffset(in io.ByteReader) (int64, error) {
	b, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	n := int64(b & 0x7f)
	for b&0x80 != 0 {
		if b, err = in.ReadByte(); err != nil {
			return 0, err
		}
		if n > 1<<50 {
			return 0, errBadPack
		}
		n = (n+1)<<7 | int64(b&0x7f)
	}
	return n, nil
}

func inflateRecord(in io.Reader, size int) ([]byte, error) {
	z, _ := zlibReaders.Get().(io.ReadCloser)
	if z == nil {
		fresh, err := zlib.NewReader(in)
		if err != nil {
			return nil, err
		}
		z = fresh
	} else if err := z.(zlib.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	defer zlibReaders.Put(z)
	// What is declared need not be true: memory is taken as content arrives.
	content := bytes.NewBuffer(make([]byte, 0, min(size, 64<<10)+1))
	if _, err := io.Copy(content, io.LimitReader(z, int64(size)+1)); err != nil {
		return nil, err
	}
	if content.Len() != size {
		return nil, errBadPack
	}
	return content.Bytes(), nil
}

// keep appends an object of the pack, and everything it refers to, to the
// batch, references first. What the log has is complete already. History is
// not followed.
func (u *unpacker) keep(b *batch, h plumbing.Hash, expect plumbing.ObjectType, depth int) error {
	if b.has(h) {
		return nil
	}
	id, ok := u.byHash[h]
	if !ok {
		return fmt.Errorf("%w: object %s is missing", errBadPack, h)
	}
	typ := u.entries[id].typ
	if expect != plumbing.AnyObject && typ != expect {
		return fmt.Errorf("%w: object %s is a %s where a %s belongs", errBadPack, h, typ, expect)
	}
	if depth > u.limits.Depth+maxTagChain {
		return fmt.Errorf("%w: directories are nested deeper than %d", errTooLarge, u.limits.Depth)
	}
	content, err := u.content(id)
	if err != nil {
		return err
	}
	if err := u.keepReferences(b, typ, content, depth); err != nil {
		return err
	}
	return b.add(typ, h, content)
}

func (u *unpacker) keepReferences(b *batch, typ plumbing.ObjectType, content []byte, depth int) error {
	switch typ {
	case plumbing.CommitObject:
		tree, err := commitTree(content)
		if err != nil {
			return err
		}
		return u.keep(b, tree, plumbing.TreeObject, depth)
	case plumbing.TagObject:
		target, err := tagTarget(content)
		if err != nil {
			return err
		}
		return u.keep(b, target, plumbing.AnyObject, depth+1)
	case plumbing.TreeObject:
		entries, err := parseTree(content)
		if err != nil {
			return err
		}
		for _, e := range entries {
			expect := plumbing.BlobObject
			if e.kind == model.DirEntry {
				expect = plumbing.TreeObject
			}
			if e.kind == model.SubmoduleEntry {
				continue
			}
			if err := u.keep(b, e.hash, expect, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// reachable reports whether a commit is an ancestor of, or is, one of the tips.
func (u *unpacker) reachable(target plumbing.Hash, tips []plumbing.Hash) (found bool, err error) {
	err = u.history(tips, func(commit plumbing.Hash) bool {
		found = commit == target
		return !found
	})
	return found, err
}

// history calls visit for every commit in the history of the tips, until it
// returns false.
func (u *unpacker) history(tips []plumbing.Hash, visit func(commit plumbing.Hash) bool) error {
	seen := map[plumbing.Hash]bool{}
	next := slices.Clone(tips)
	for len(next) > 0 {
		h := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[h] {
			continue
		}
		seen[h] = true
		id, ok := u.byHash[h]
		if !ok {
			continue // the boundary of a shallow server
		}
		content, err := u.content(id)
		if err != nil {
			return err
		}
		switch u.entries[id].typ {
		case plumbing.TagObject:
			if to, err := tagTarget(content); err == nil {
				next = append(next, to)
			}
		case plumbing.CommitObject:
			if !visit(h) {
				return nil
			}
			next = append(next, commitParents(content)...)
		}
	}
	return nil
}
