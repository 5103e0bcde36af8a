package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"

	"crypto/tls"
)

// sshLink runs git-upload-pack over one SSH connection that is kept between
// looks. The host key is checked against known_hosts, unless the source says
// that it is not.
type sshLink struct {
	remote *remote
	config *ssh.ClientConfig
	limits Limits

	turn   chan struct{} // holds a token while somebody opens or ends a session; guards what follows
	client *ssh.Client
}

const sshConnectTimeout = 30 * time.Second

func newSSHLink(r *remote, scratch string, limits Limits) (*sshLink, error) {
	signer, err := r.signer()
	if err != nil {
		return nil, err
	}
	if _, err := r.proxyURL(); err != nil {
		return nil, err
	}
	l := &sshLink{remote: r, limits: limits, turn: make(chan struct{}, 1)}
	l.config = &ssh.ClientConfig{
		User:    r.username,
		Auth:    []ssh.AuthMethod{ssh.PublicKeys(signer)},
		Timeout: sshConnectTimeout,
	}
	if r.auth.Insecure {
		l.config.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // asked for by the repository's Secret
		return l, nil
	}
	hosts, err := readKnownHosts(r.auth.KnownHosts, scratch)
	if err != nil {
		return nil, err
	}
	l.config.HostKeyCallback = hosts.HostKeyCallback()
	l.config.HostKeyAlgorithms = hosts.HostKeyAlgorithms(l.address())
	return l, nil
}

// readKnownHosts parses the known_hosts of a Secret. The parser reads files
// only, so it is given one for a moment; host keys are public.
func readKnownHosts(content []byte, scratch string) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp(scratch, "known_hosts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	hosts, err := knownhosts.NewDB(f.Name())
	if err != nil {
		// The error names the temporary file and quotes the line.
		return nil, errors.New("the 'known_hosts' of the secret cannot be parsed")
	}
	return hosts, nil
}

func (l *sshLink) address() string {
	port := l.remote.url.Port()
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(l.remote.url.Hostname(), port)
}

func (l *sshLink) look(ctx context.Context) (*advert, error) {
	stream, err := l.run(ctx, l.limits.RefBytes)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	seen, err := readAdvert(stream)
	if err != nil {
		return nil, stream.explain(err)
	}
	_, _ = stream.in.Write([]byte("0000")) // nothing is wanted: a clean goodbye
	return seen, nil
}

func (l *sshLink) pull(ctx context.Context, _ *advert, request []byte) (io.ReadCloser, error) {
	stream, err := l.run(ctx, l.limits.RefBytes+l.limits.FetchBytes)
	if err != nil {
		return nil, err
	}
	// Over SSH every conversation starts with the advertisement.
	if err := skipAdvert(stream.buffered); err != nil {
		_ = stream.Close()
		return nil, stream.explain(err)
	}
	if _, err := stream.in.Write(request); err != nil {
		_ = stream.Close()
		return nil, stream.explain(cause(stream.ctx, err))
	}
	return stream, nil
}

// maxRefs bounds the lines of an advertisement; its bytes are bounded too.
const maxRefs = 2_000_000

func skipAdvert(in *bufio.Reader) error {
	for range maxRefs {
		length, line, err := peekLine(in)
		if err != nil {
			return err
		}
		if err := serverError(line); err != nil {
			return err
		}
		if length == 0 {
			return errors.New("the server's answer is not a reference advertisement")
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

// sshStream is one run of git-upload-pack.
type sshStream struct {
	ctx      context.Context
	in       io.WriteCloser
	buffered *bufio.Reader
	body     io.Closer
	errors   *boundedText
}

func (s *sshStream) Read(p []byte) (int, error) { return s.buffered.Read(p) }
func (s *sshStream) Close() error               { return s.body.Close() }

// explain adds what the server wrote to its standard error.
func (s *sshStream) explain(err error) error {
	if said := s.errors.String(); said != "" && !errors.Is(err, errStalled) {
		return errAccess{"the server says: " + said}
	}
	return err
}

// boundedText keeps the first lines of a stream.
type boundedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *boundedText) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := 2*maxMessage - b.text.Len(); room > 0 {
		b.text.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (b *boundedText) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(b.text.String())
}

// run starts git-upload-pack. A kept connection that turns out dead is
// replaced once.
func (l *sshLink) run(ctx context.Context, limit int64) (*sshStream, error) {
	ctx, dog := watch(ctx, l.limits.Stall, limit)
	session, err := l.session(ctx)
	if err != nil {
		err = cause(ctx, err)
		dog.stop()
		return nil, err
	}
	stream, err := l.start(ctx, dog, session)
	if err != nil {
		err = cause(ctx, err)
		_ = session.Close()
		dog.stop()
		return nil, err
	}
	return stream, nil
}

func (l *sshLink) start(ctx context.Context, dog *watchdog, session *ssh.Session) (*sshStream, error) {
	s := &sshStream{ctx: ctx, errors: &boundedText{}}
	var err error
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	session.Stderr = s.errors
	// A context that ends closes the session, which ends every read and write.
	release := context.AfterFunc(ctx, func() { _ = session.Close() })
	body := dog.reader(ctx, sessionReader{Reader: out, session: session, release: release})
	s.body, s.buffered = body, bufio.NewReaderSize(body, 32<<10)
	return s, session.Start(uploadPack + " " + shellQuote(l.remote.url.Path))
}

type sessionReader struct {
	io.Reader
	session *ssh.Session
	release func() bool
}

func (r sessionReader) Close() error {
	r.release()
	if err := r.session.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// shellQuote writes a path as one argument for a POSIX shell, as Git does
// (quote.c).
func shellQuote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// session opens a channel on the kept connection, dialling if need be.
func (l *sshLink) session(ctx context.Context) (*ssh.Session, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if l.client != nil {
		// A dead peer answers nothing at all: do not wait out the context.
		kept := l.client
		expired := time.AfterFunc(min(l.limits.Stall, 5*time.Second), func() { _ = kept.Close() })
		session, err := kept.NewSession()
		if expired.Stop() && err == nil {
			return session, nil
		}
		_ = kept.Close()
		l.client = nil
	}
	client, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	session, err := client.NewSession()
	if !stop() || err != nil {
		_ = client.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	l.client = client
	return session, nil
}

// dial connects and shakes hands, all of it within the context.
func (l *sshLink) dial(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, sshConnectTimeout)
	defer cancel()
	via, err := l.remote.proxyURL()
	if err != nil {
		return nil, err
	}
	conn, err := dialThrough(ctx, via, l.address())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, l.address(), l.config)
	if !stop() {
		_ = conn.Close()
		return nil, errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, sshError(err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// sshError says what a failed handshake means.
func sshError(err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return errAccess{"ssh: handshake failed: knownhosts: key mismatch"}
	case knownhosts.IsHostUnknown(err):
		return errAccess{"ssh: handshake failed: knownhosts: key is unknown"}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return errAccess{"ssh: handshake failed: the server accepts none of the keys"}
	}
	return err
}

// dialThrough connects to an address directly or by a proxy.
func dialThrough(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	if via == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	if via.Scheme == "socks5" || via.Scheme == "socks5h" {
		through, err := proxy.FromURL(via, dialer)
		if err != nil {
			return nil, errors.New("the proxy address cannot be used")
		}
		return through.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	}
	return dialConnect(ctx, dialer, via, address)
}

// dialConnect asks an HTTP proxy for a tunnel (RFC 9110, CONNECT).
func dialConnect(ctx context.Context, dialer *net.Dialer, via *url.URL, address string) (net.Conn, error) {
	at := via.Host
	if via.Port() == "" {
		at = net.JoinHostPort(via.Hostname(), map[string]string{"http": "80", "https": "443"}[via.Scheme])
	}
	conn, err := dialer.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	if via.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	tunnel, err := requestTunnel(conn, via, address)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

func requestTunnel(conn net.Conn, via *url.URL, address string) (net.Conn, error) {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if via.User != nil {
		password, _ := via.User.Password()
		pair := base64.StdEncoding.EncodeToString([]byte(via.User.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+pair)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(conn, 64<<10))
	response, err := http.ReadResponse(in, request) //nolint:bodyclose // there is none but the tunnel itself, closed with conn
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	// The server may have spoken already.
	early, err := in.Peek(in.Buffered())
	if err != nil {
		return nil, err
	}
	return &tunnel{Conn: conn, in: io.MultiReader(bytes.NewReader(early), conn)}, nil
}

type tunnel struct {
	net.Conn
	in io.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.in.Read(p) }

func (l *sshLink) hangUp() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.client != nil {
		_ = l.client.Close()
		l.client = nil
	}
}
