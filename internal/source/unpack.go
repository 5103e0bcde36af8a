package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// unpacking says how an archive is read.
type unpacking struct {
	// chart: a packaged chart. The first element of every path goes, and paths
	// may be written with backslashes (helm pkg/chart/loader/archive).
	chart bool
	// refuse links instead of leaving them out (fluxcd/pkg tar without
	// WithSkipSymlinks).
	refuse bool
	// bytes that the archive may unpack to; 0: Limits.ArchiveBytes.
	bytes int64
}

// errArchive is an archive that is not accepted, whoever asks again.
type errArchive struct{ text string }

func (e errArchive) Error() string { return e.text }

func badArchive(format string, args ...any) error { return errArchive{fmt.Sprintf(format, args...)} }

// unpack reads a tar archive, which may be compressed with gzip, and hands its
// files and directories (kind DirEntry, no content) to put. Paths that leave
// the archive, devices and the like are refused; anything below a directory
// .git is left out, since no source serves it.
func unpack(ctx context.Context, in io.Reader, limits Limits, how unpacking, put func(elements []string, kind model.EntryKind, content []byte) error) error {
	budget := how.bytes
	if budget <= 0 {
		budget = limits.ArchiveBytes
	}
	plain, err := inflated(in)
	if err != nil {
		return err
	}
	r := &tarReader{ctx: ctx, limits: limits, how: how, budget: budget, left: budget, in: tar.NewReader(dial.Bounded(plain, budget))}
	for {
		err := r.next(put)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return r.explain(err)
		}
	}
}

// inflated reads a gzip stream, or what is none as it is.
func inflated(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if head, err := buffered.Peek(2); err != nil || head[0] != 0x1f || head[1] != 0x8b {
		return buffered, nil //nolint:nilerr // what is shorter than two bytes is no archive, which is found where it is read
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, badArchive("the archive is no gzip file: %s", err)
	}
	return z, nil
}

// tarReader bounds what one archive may cost.
type tarReader struct {
	ctx     context.Context
	limits  Limits
	how     unpacking
	in      *tar.Reader
	budget  int64
	left    int64 // content that may still be read: a sparse file has more of it than the stream
	entries int
}

// next handles one entry; io.EOF at the end.
func (r *tarReader) next(put func(elements []string, kind model.EntryKind, content []byte) error) error {
	if err := r.ctx.Err(); err != nil {
		return cause(r.ctx, err)
	}
	header, err := r.in.Next()
	if err != nil {
		return err
	}
	if r.entries++; r.entries > r.limits.Files {
		return fmt.Errorf("%w: the archive has more than %d files", errTooLarge, r.limits.Files)
	}
	kind, err := r.kind(header)
	if err != nil || kind == 0 {
		return err
	}
	elements, err := r.path(header.Name, kind)
	if err != nil || elements == nil {
		return err
	}
	if kind == model.DirEntry {
		return put(elements, kind, nil)
	}
	content, err := r.content(header)
	if err != nil {
		return err
	}
	return put(elements, kind, content)
}

// kind tells what an entry is, 0 for one that is left out.
func (r *tarReader) kind(header *tar.Header) (model.EntryKind, error) {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		if header.FileInfo().Mode()&0o111 != 0 {
			return model.ExecutableEntry, nil
		}
		return model.FileEntry, nil
	case tar.TypeDir:
		return model.DirEntry, nil
	case tar.TypeXGlobalHeader:
		return 0, nil
	case tar.TypeSymlink, tar.TypeLink:
		if r.how.refuse {
			return 0, badArchive("tar file entry %s is a link, which is not allowed in this context", quoted(header.Name))
		}
		return 0, nil
	}
	return 0, badArchive("tar file entry %s contained unsupported file type %q", quoted(header.Name), header.Typeflag)
}

// path splits a name; nil for one that is left out.
func (r *tarReader) path(name string, kind model.EntryKind) ([]string, error) {
	if r.how.chart {
		return r.chartPath(name, kind)
	}
	if name == "" || strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/") {
		return nil, badArchive("tar contained invalid name error %s", quoted(name))
	}
	return r.elements(name, strings.Split(name, "/"))
}

// chartPath drops the directory that a packaged chart stands in.
func (r *tarReader) chartPath(name string, kind model.EntryKind) ([]string, error) {
	if strings.ContainsRune(name, '\\') {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	base, rest, _ := strings.Cut(name, "/")
	switch {
	case base == "Chart.yaml" && kind != model.DirEntry:
		return nil, badArchive("chart yaml not in base directory")
	case base == "" || strings.HasPrefix(rest, "/") || strings.ContainsRune(name, 0):
		return nil, badArchive("chart illegally contains absolute paths")
	case kind == model.DirEntry:
		// Helm reads no directories; one that is empty is nothing to it.
		return nil, nil
	case path.Clean(rest) == ".":
		return nil, badArchive("chart illegally contains content outside the base directory: %s", quoted(name))
	}
	return r.elements(name, strings.Split(rest, "/"))
}

// elements cleans a path that must stay inside.
func (r *tarReader) elements(name string, parts []string) ([]string, error) {
	elements := parts[:0:0]
	for _, part := range parts {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return nil, badArchive("tar contained invalid name error %s", quoted(name))
		case strings.EqualFold(part, ".git"):
			return nil, nil
		case len(part) > maxName:
			return nil, badArchive("tar contained invalid name error %s", quoted(name))
		}
		elements = append(elements, part)
	}
	if len(elements) > r.limits.Depth {
		return nil, fmt.Errorf("%w: directories of the archive are nested deeper than %d", errTooLarge, r.limits.Depth)
	}
	if len(elements) == 0 {
		return nil, nil // the root itself
	}
	return elements, nil
}

// content reads a file. Memory is taken as content arrives: what a header
// declares need not be true.
func (r *tarReader) content(header *tar.Header) ([]byte, error) {
	if header.Size > r.limits.FileBytes {
		return nil, fmt.Errorf("%w: %s of %d bytes is larger than the %d that are accepted", errTooLarge, quoted(header.Name), header.Size, r.limits.FileBytes)
	}
	if r.left -= header.Size; r.left < 0 {
		return nil, dial.ErrTooLarge
	}
	content := bytes.NewBuffer(make([]byte, 0, min(header.Size, 64<<10)))
	if _, err := io.Copy(content, r.in); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// explain tells a damaged archive from what failed around it.
func (r *tarReader) explain(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, dial.ErrTooLarge):
		return fmt.Errorf("%w: tar is bigger than max archive size of %d bytes", errTooLarge, r.budget)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return badArchive("tar error: %s", err)
	}
	return err
}

// quoted is a foreign name fit for a message.
func quoted(name string) string {
	const most = 200
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Sprintf("%q", name)
}

// newDigest returns the hash of a digest "algorithm:hex", nil for a digest that
// cannot be checked.
func newDigest(digest string) hash.Hash {
	algorithm, value, _ := strings.Cut(digest, ":")
	made := map[string]func() hash.Hash{"sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}[algorithm]
	if made == nil {
		return nil
	}
	h := made()
	if decoded, err := hex.DecodeString(value); err != nil || len(decoded) != h.Size() {
		return nil
	}
	return h
}

// errDigest is content that is not what it was said to be.
type errDigest struct{ got, want string }

func (e errDigest) Error() string {
	return fmt.Sprintf("the content has the digest %s instead of %s", e.got, e.want)
}

// download reads a blob to its end and checks its digest, if one is known. The
// caller closes the spool; body is closed.
func (s *Store) download(ctx context.Context, body io.ReadCloser, digest string) (sp *spool, err error) {
	defer func() {
		if closing := body.Close(); err == nil && closing != nil {
			sp.close()
			err = closing
		}
	}()
	h := sha256.New()
	if digest != "" {
		if h = newDigest(digest); h == nil {
			return nil, badArchive("the digest %s cannot be checked", quoted(digest))
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	sp, err = spooled(dial.Bounded(body, s.limits.FetchBytes), h, s.path("temporary"))
	switch {
	case ctx.Err() != nil:
		if err == nil {
			sp.close()
		}
		return nil, cause(ctx, ctx.Err())
	case errors.Is(err, dial.ErrTooLarge):
		return nil, fmt.Errorf("%w: the download has more than %d bytes", errTooLarge, s.limits.FetchBytes)
	case err != nil:
		return nil, diskError(err)
	}
	algorithm, _, _ := strings.Cut(digest, ":")
	if sum := algorithm + ":" + hex.EncodeToString(h.Sum(nil)); digest != "" && sum != digest {
		sp.close()
		return nil, errDigest{got: sum, want: digest}
	}
	return sp, nil
}

// reader reads a spool from its start.
func (s *spool) reader() io.Reader { return io.NewSectionReader(s, 0, s.size) }
