package source

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
)

// The object log is one file: a magic line, then records. A record is a fixed
// header, then the content, deflated when that pays. Objects are appended
// after everything they refer to, so that a log that ends early is still
// complete for every object in it. Nothing is synced: after a crash of the
// machine the checksums tell what arrived.
const (
	logMagic       = "plumb object log 1\n"
	recordHeader   = 1 + 1 + 20 + 4 + 4 + 4 // type, encoding, hash, size, stored, checksum
	compressFrom   = 16 << 10               // smaller objects are stored as they are: faster to read
	encodedPlain   = 0
	encodedDeflate = 1
)

var (
	errNoObject = errors.New("object not found")
	errDamaged  = errors.New("object log is damaged")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// place says where an object stands in the log.
type place struct {
	offset   int64 // of the stored content
	size     uint32
	stored   uint32
	checksum uint32 // of the stored content
	typ      plumbing.ObjectType
	encoding uint8
}

// logFile is what a log needs of a file.
type logFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Close() error
}

// objects is an append-only log of whole Git objects with its index in
// memory. Reads are safe beside one writer. The file stays readable after it
// was unlinked or replaced, so that a Tree outlives its mirror; it is closed
// when the last Tree is gone.
type objects struct {
	file    logFile
	damaged atomic.Bool // a read failed its checksum: the mirror starts anew

	mu    sync.RWMutex
	index map[plumbing.Hash]place
	end   int64 // where the next record goes
}

// openObjects opens or creates a log, dropping a torn record at its end. The
// error is errDamaged for a file that is no log.
func openObjects(path string, maxObject int64) (*objects, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	log := &objects{file: f, index: map[plumbing.Hash]place{}}
	if err := log.load(f, maxObject); err != nil {
		_ = f.Close()
		return nil, err
	}
	return log, nil
}

// load reads the record headers into the index.
func (l *objects) load(f *os.File, maxObject int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		if _, err := f.WriteAt([]byte(logMagic), 0); err != nil {
			return err
		}
		l.end = int64(len(logMagic))
		return nil
	}
	in := bufio.NewReaderSize(f, 256<<10)
	magic := make([]byte, len(logMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != logMagic {
		return errDamaged
	}
	at := int64(len(logMagic))
	var header [recordHeader]byte
	for {
		if _, err := io.ReadFull(in, header[:]); err != nil {
			break
		}
		p, h := decodeHeader(header[:])
		p.offset = at + recordHeader
		next := p.offset + int64(p.stored)
		if !p.typ.Valid() || p.encoding > encodedDeflate || int64(p.size) > maxObject || next > info.Size() {
			break
		}
		if _, err := in.Discard(int(p.stored)); err != nil {
			break
		}
		l.index[h] = p
		at = next
	}
	l.end = at
	return f.Truncate(at)
}

func decodeHeader(b []byte) (place, plumbing.Hash) {
	var h plumbing.Hash
	copy(h[:], b[2:22])
	return place{
		typ:      plumbing.ObjectType(b[0]),
		encoding: b[1],
		size:     binary.BigEndian.Uint32(b[22:]),
		stored:   binary.BigEndian.Uint32(b[26:]),
		checksum: binary.BigEndian.Uint32(b[30:]),
	}, h
}

func appendHeader(b []byte, p place, h plumbing.Hash) []byte {
	b = append(b, byte(p.typ), p.encoding)
	b = append(b, h[:]...)
	b = binary.BigEndian.AppendUint32(b, p.size)
	b = binary.BigEndian.AppendUint32(b, p.stored)
	return binary.BigEndian.AppendUint32(b, p.checksum)
}

func (l *objects) place(h plumbing.Hash) (place, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p, ok := l.index[h]
	return p, ok
}

func (l *objects) has(h plumbing.Hash) bool {
	_, ok := l.place(h)
	return ok
}

func (l *objects) size(h plumbing.Hash) (int64, bool) {
	p, ok := l.place(h)
	return int64(p.size), ok
}

// bytes is the length of the log.
func (l *objects) bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end
}

// commits lists the last commits of a log, the newest last.
func (l *objects) commits(n int) []plumbing.Hash {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []plumbing.Hash
	for h, p := range l.index {
		if p.typ == plumbing.CommitObject {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b plumbing.Hash) int {
		return int(min(1, max(-1, l.index[a].offset-l.index[b].offset)))
	})
	return all[max(0, len(all)-n):]
}

// read returns an object. The error is errNoObject or wraps errDamaged.
func (l *objects) read(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	p, ok := l.place(h)
	if !ok {
		return plumbing.InvalidObject, nil, errNoObject
	}
	content, err := l.content(h, p)
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	return p.typ, content, nil
}

// content reads and checks what stands at a place.
func (l *objects) content(h plumbing.Hash, p place) ([]byte, error) {
	stored, err := l.stored(p)
	if err != nil {
		return nil, err
	}
	content, err := inflate(stored, p)
	if err != nil {
		l.damaged.Store(true)
		return nil, fmt.Errorf("%w: %s", errDamaged, h)
	}
	return content, nil
}

// stored returns the bytes of a record's content, checked.
func (l *objects) stored(p place) ([]byte, error) {
	b := make([]byte, p.stored)
	if _, err := l.file.ReadAt(b, p.offset); err != nil {
		l.damaged.Store(true)
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if crc32.Checksum(b, castagnoli) != p.checksum {
		l.damaged.Store(true)
		return nil, fmt.Errorf("%w: checksum mismatch", errDamaged)
	}
	return b, nil
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func inflate(stored []byte, p place) ([]byte, error) {
	if p.encoding == encodedPlain {
		return stored, nil
	}
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(stored), nil); err != nil {
		return nil, err
	}
	content := make([]byte, p.size)
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	return content, nil
}

// batch collects records and writes them in large pieces. Nothing of it can be
// read before flush.
type batch struct {
	log    *objects
	buffer []byte
	at     int64 // where buffer goes
	added  map[plumbing.Hash]place
}

const batchBuffer = 1 << 20

func (l *objects) begin() *batch {
	return &batch{log: l, at: l.bytes(), added: map[plumbing.Hash]place{}}
}

// extend adds what fill puts into a batch, all of it or nothing.
func (l *objects) extend(fill func(b *batch) error) (*batch, error) {
	b := l.begin()
	err := fill(b)
	if err == nil {
		err = b.flush()
	}
	if err != nil {
		b.abort()
		return nil, diskError(err)
	}
	return b, nil
}

// has reports whether the object is in the log or in this batch.
func (b *batch) has(h plumbing.Hash) bool {
	if _, ok := b.added[h]; ok {
		return true
	}
	return b.log.has(h)
}

// add appends an object. Everything it refers to must have been added.
func (b *batch) add(typ plumbing.ObjectType, h plumbing.Hash, content []byte) error {
	p := place{typ: typ, size: uint32(len(content))}
	stored := content
	if len(content) >= compressFrom {
		if small := deflate(content); len(small) < len(content)*9/10 {
			stored, p.encoding = small, encodedDeflate
		}
	}
	p.checksum = crc32.Checksum(stored, castagnoli)
	return b.append(h, p, stored)
}

// read returns an object that is in the log or in this batch.
func (b *batch) read(h plumbing.Hash) ([]byte, error) {
	p, added := b.added[h]
	if !added {
		_, content, err := b.log.read(h)
		return content, err
	}
	if p.offset < b.at {
		return b.log.content(h, p)
	}
	start := p.offset - b.at
	return inflate(bytes.Clone(b.buffer[start:start+int64(p.stored)]), p)
}

// append adds a record whose content is encoded already.
func (b *batch) append(h plumbing.Hash, p place, stored []byte) error {
	p.stored = uint32(len(stored))
	p.offset = b.at + int64(len(b.buffer)) + recordHeader
	b.buffer = appendHeader(b.buffer, p, h)
	b.buffer = append(b.buffer, stored...)
	b.added[h] = p
	if len(b.buffer) < batchBuffer {
		return nil
	}
	return b.write()
}

func (b *batch) write() error {
	if _, err := b.log.file.WriteAt(b.buffer, b.at); err != nil {
		return fmt.Errorf("write the local copy: %w", err)
	}
	b.at += int64(len(b.buffer))
	b.buffer = b.buffer[:0]
	return nil
}

// flush makes the batch readable.
func (b *batch) flush() error {
	if err := b.write(); err != nil {
		return err
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for h, p := range b.added {
		b.log.index[h] = p
	}
	b.log.end = b.at
	return nil
}

// abort forgets the batch and gives the space back.
func (b *batch) abort() { _ = b.log.file.Truncate(b.log.bytes()) }

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant of the package
	}
	return w
}}

func deflate(content []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(content) // a bytes.Buffer does not fail
	_ = w.Close()
	return out.Bytes()
}
