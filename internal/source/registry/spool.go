package registry

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// spool shares downloads: the first who wants a blob fetches it into a file,
// and everyone who wants it meanwhile, or soon after, reads that.
type spool struct {
	dir     string
	flights singleflight.Group

	mu   sync.Mutex
	held map[string]*blob
	idle int64 // bytes of blobs without a reader
}

// blob is a whole download. Its file has no name where the system allows it, so
// that a crash leaves nothing behind.
type blob struct {
	file    *os.File
	size    int64
	readers int
	forget  *time.Timer // running while there is no reader
}

// A blob that nobody reads is kept for a while, so that many who want it one
// after the other share it too, but not at the cost of much disk.
const (
	keepIdle    = 30 * time.Second
	maxIdle     = 256 << 20
	maxIdleOnes = 64
)

func newSpool(dir string) *spool { return &spool{dir: dir, held: map[string]*blob{}} }

// open returns a reader of the blob of this key, which fetch writes when it is
// not at hand.
func (s *spool) open(ctx context.Context, key string, limit time.Duration, fetch func(context.Context, io.Writer) error) (io.ReadCloser, error) {
	for {
		if reader := s.reader(key); reader != nil {
			return reader, nil
		}
		_, err := share(ctx, &s.flights, key, limit, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.fill(ctx, key, fetch)
		})
		if err != nil {
			return nil, err
		}
		// It may have been forgotten again before this reader came.
	}
}

func (s *spool) fill(ctx context.Context, key string, fetch func(context.Context, io.Writer) error) error {
	if s.has(key) { // another download has ended meanwhile
		return nil
	}
	file, err := os.CreateTemp(s.dir, "blob-*")
	if err != nil {
		return fmt.Errorf("no place for a download: %w", err)
	}
	_ = os.Remove(file.Name()) // fails where open files keep their names; then it goes with the last reader
	if err := fetch(ctx, file); err != nil {
		discard(file)
		return err
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		discard(file)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &blob{file: file, size: at}
	s.held[key] = one
	s.rest(key, one)
	return nil
}

func (s *spool) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[key] != nil
}

func (s *spool) reader(key string) io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.held[key]
	if one == nil {
		return nil
	}
	if one.readers == 0 {
		one.forget.Stop()
		s.idle -= one.size
	}
	one.readers++
	return &blobReader{Reader: io.NewSectionReader(one.file, 0, one.size), close: sync.OnceFunc(func() { s.release(key, one) })}
}

func (s *spool) release(key string, one *blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.readers--
	if one.readers == 0 {
		s.rest(key, one)
	}
}

// rest keeps a blob without readers for a while.
func (s *spool) rest(key string, one *blob) {
	s.idle += one.size
	period := keepIdle
	if s.idle > maxIdle || len(s.held) > maxIdleOnes {
		period = time.Millisecond // enough for those who wait for this download
	}
	one.forget = time.AfterFunc(period, func() { s.drop(key, one) })
}

func (s *spool) drop(key string, one *blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.readers > 0 || s.held[key] != one {
		return
	}
	delete(s.held, key)
	s.idle -= one.size
	discard(one.file)
}

func discard(file *os.File) {
	_ = file.Close()
	_ = os.Remove(file.Name())
}

type blobReader struct {
	io.Reader
	close func()
}

// Close implements io.Closer. It may be called more than once.
func (r *blobReader) Close() error {
	r.close()
	return nil
}
