package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// The wire speaks Git's protocol version 0, which every server knows and which
// needs one round trip for a look and one for a fetch. go-git's packp package
// encodes and decodes the messages; its transports are not used, because they
// hold no connection to an SSH server, cannot bound what a server sends, and
// decode no multi_ack answer, which Azure DevOps insists on.

var (
	errEmptyRepository = errors.New("git repository is empty")
	errStalled         = errors.New("the server stopped sending")
	errTooLarge        = errors.New("the server sends more than the limit allows")
)

// advert is what a server advertised in one look.
type advert struct {
	refs         map[string]plumbing.Hash
	peeled       map[string]plumbing.Hash // annotated tags
	capabilities *capability.List
	base         string // HTTP: the repository's URL after redirects
	trusted      bool   // HTTP: base may be given the credentials
}

// advertised reports whether some reference points at the object.
func (a *advert) advertised(h plumbing.Hash) bool {
	for _, is := range a.refs {
		if is == h {
			return true
		}
	}
	for _, is := range a.peeled {
		if is == h {
			return true
		}
	}
	return false
}

// link is a way to a remote. Both calls may run at the same time.
type link interface {
	// look asks for the advertised references.
	look(ctx context.Context) (*advert, error)
	// pull sends a request and returns the answer from its first byte on.
	pull(ctx context.Context, seen *advert, request []byte) (io.ReadCloser, error)
	// hangUp closes idle connections.
	hangUp()
}

// readAdvert decodes a reference advertisement.
func readAdvert(in io.Reader) (*advert, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(in)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return nil, errEmptyRepository
	case err != nil:
		var text *pktline.ErrorLine
		if errors.As(err, &text) {
			return nil, fmt.Errorf("the server says: %s", text.Text)
		}
		return nil, fmt.Errorf("the server's answer is not a reference advertisement: %w", err)
	case refs.IsEmpty():
		return nil, errEmptyRepository
	}
	seen := &advert{refs: refs.References, peeled: refs.Peeled, capabilities: refs.Capabilities}
	if refs.Head != nil {
		seen.refs["HEAD"] = *refs.Head
	}
	return seen, nil
}

// want is one request for a pack.
type want struct {
	objects []plumbing.Hash
	haves   []plumbing.Hash // commits at hand, all of them without their parents
	depth   int             // 0: the whole history
	history bool            // the commits alone, if the server can; haves stand for all that they descend from
}

// encode writes the request as upload-pack reads it.
func (w want) encode(seen *advert, agent string) ([]byte, bool, error) {
	request := packp.NewUploadRequestFromCapabilities(seen.capabilities)
	for _, c := range []capability.Capability{capability.MultiACK, capability.MultiACKDetailed, capability.IncludeTag} {
		request.Capabilities.Delete(c)
	}
	for _, c := range []capability.Capability{capability.MultiACKDetailed, capability.MultiACK} {
		if seen.capabilities.Supports(c) {
			_ = request.Capabilities.Set(c)
			break
		}
	}
	if request.Capabilities.Supports(capability.Agent) {
		_ = request.Capabilities.Set(capability.Agent, agent)
	}
	if len(w.haves) > 0 && !w.history {
		_ = request.Capabilities.Set(capability.ThinPack)
	}
	request.Wants = w.objects
	shallow := w.depth > 0 && seen.capabilities.Supports(capability.Shallow)
	if shallow {
		request.Depth = packp.DepthCommits(w.depth)
		request.Shallows = w.haves
		_ = request.Capabilities.Set(capability.Shallow)
	}
	if w.history && seen.capabilities.Supports(capability.Filter) {
		_ = request.Capabilities.Set(capability.Filter)
		request.Filter = packp.FilterTreeDepth(0)
	}
	var out bytes.Buffer
	if err := request.Encode(&out); err != nil {
		return nil, false, err
	}
	haves := packp.UploadHaves{}
	if shallow || w.history {
		haves.Haves = w.haves
	}
	if err := haves.Encode(&out, false); err != nil {
		return nil, false, err
	}
	if err := pktline.NewEncoder(&out).EncodeString("done\n"); err != nil {
		return nil, false, err
	}
	return out.Bytes(), shallow, nil
}

// openPack reads an answer up to the pack and returns a reader of the pack.
func openPack(in io.Reader, seen *advert, shallow bool) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if shallow {
		if err := skipUntilFlush(buffered); err != nil {
			return nil, err
		}
	}
	if err := skipAcknowledgements(buffered); err != nil {
		return nil, err
	}
	switch {
	case seen.capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, buffered), nil
	case seen.capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, buffered), nil
	}
	return buffered, nil
}

// maxPrelude bounds the lines before a pack.
const maxPrelude = 100_000

// skipUntilFlush passes over the shallow section.
func skipUntilFlush(in *bufio.Reader) error {
	for range maxPrelude {
		length, line, err := peekLine(in)
		if err != nil {
			return err
		}
		if err := serverError(line); err != nil {
			return err
		}
		if _, err := in.Discard(length); err != nil {
			return err
		}
		if line == nil {
			return nil
		}
	}
	return errTooLarge
}

// skipAcknowledgements passes over ACK and NAK lines.
func skipAcknowledgements(in *bufio.Reader) error {
	for range maxPrelude {
		length, line, err := peekLine(in)
		if err != nil {
			return err
		}
		if err := serverError(line); err != nil {
			return err
		}
		if line != nil && !bytes.HasPrefix(line, []byte("ACK ")) && !bytes.HasPrefix(line, []byte("NAK")) {
			return nil
		}
		if _, err := in.Discard(length); err != nil {
			return err
		}
	}
	return errTooLarge
}

func serverError(line []byte) error {
	if text, ok := bytes.CutPrefix(line, []byte("ERR ")); ok {
		return fmt.Errorf("the server says: %s", bytes.TrimSpace(text))
	}
	return nil
}

// peekLine returns the next packet line without consuming it: its full length,
// and at most its first 512 bytes; nil for a flush. Anything that is no packet
// line counts as content.
func peekLine(in *bufio.Reader) (int, []byte, error) {
	head, err := in.Peek(4)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("the server's answer ends early: %w", err)
	}
	var size [2]byte
	if _, err := hex.Decode(size[:], head); err != nil {
		return 0, head, nil //nolint:nilerr // no length: a pack without side band
	}
	length := int(size[0])<<8 | int(size[1])
	if length == 0 {
		return 4, nil, nil
	}
	if length < 4 {
		return 0, nil, errors.New("the server's answer is malformed")
	}
	line, err := in.Peek(min(length, 512))
	if err != nil {
		return 0, nil, fmt.Errorf("the server's answer ends early: %w", err)
	}
	return length, line[4:], nil
}

// watchdog ends a conversation in which nothing arrives for a while, and
// bounds what arrives. Its context ends with cause errStalled.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	left   atomic.Int64
}

func watch(ctx context.Context, stall time.Duration, limit int64) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel, stall: stall}
	w.left.Store(limit)
	w.timer = time.AfterFunc(stall, func() { cancel(errStalled) })
	return ctx, w
}

// stop ends the watch.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// reader watches over a stream. Closing it ends the watch.
func (w *watchdog) reader(ctx context.Context, in io.ReadCloser) io.ReadCloser {
	return &watchedReader{watchdog: w, ctx: ctx, in: in}
}

type watchedReader struct {
	*watchdog
	ctx context.Context
	in  io.ReadCloser
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if n > 0 {
		r.timer.Reset(r.stall)
	}
	if r.left.Add(-int64(n)) < 0 {
		return 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = cause(r.ctx, err)
	}
	return n, err
}

func (r *watchedReader) Close() error {
	err := r.in.Close()
	r.stop()
	return err
}

// cause replaces an error by the reason its context ended, if it did.
func cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
