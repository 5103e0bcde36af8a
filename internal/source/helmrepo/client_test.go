package helmrepo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/faulttest"
)

// repositoryServer serves an index and packages, and counts what is sent.
type repositoryServer struct {
	*httptest.Server
	index    atomic.Pointer[string]
	etag     bool // else Last-Modified
	sent     atomic.Int64
	notSent  atomic.Int64 // answers 304
	packages atomic.Int64
	// answer may answer a request itself.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T, index string) *repositoryServer {
	t.Helper()
	s := &repositoryServer{etag: true}
	s.index.Store(&index)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *repositoryServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answer != nil && s.answer(w, r) {
		return
	}
	if !strings.HasSuffix(r.URL.Path, "/index.yaml") {
		s.packages.Add(1)
		_, _ = w.Write(packed("package " + r.URL.Path))
		return
	}
	text := *s.index.Load()
	known := r.Header.Get("If-Modified-Since") != ""
	if s.etag {
		w.Header().Set("ETag", fmt.Sprintf("%q", sum([]byte(text))))
		known = r.Header.Get("If-None-Match") == w.Header().Get("ETag")
	} else {
		w.Header().Set("Last-Modified", time.Unix(1700000000, 0).UTC().Format(http.TimeFormat))
	}
	if known {
		s.notSent.Add(1)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.sent.Add(1)
	_, _ = io.WriteString(w, text)
}

// packed is a gzip stream, as a package is one.
func packed(content string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(content))
	_ = z.Close()
	return b.Bytes()
}

// indexOf writes an index of versions "version address digest" of the chart app.
func indexOf(versions ...string) string {
	text := "apiVersion: v1\nentries:\n  app:\n"
	for _, v := range versions {
		f := append(strings.Fields(v), "", "")
		text += fmt.Sprintf("  - name: app\n    version: %s\n    digest: %q\n    urls:\n    - %q\n", f[0], f[2], f[1])
	}
	return text
}

func (s *repositoryServer) chart(version string, change ...func(*model.ChartSource)) *model.ChartSource {
	spec := &model.ChartSource{Repository: s.URL + "/stable", Name: "app", Version: version}
	for _, c := range change {
		c(spec)
	}
	return spec
}

func resolve(t *testing.T, c *Client, spec *model.ChartSource) model.ChartArtifact {
	t.Helper()
	a, err := c.Resolve(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pulled(t *testing.T, c *Client, spec *model.ChartSource, a model.ChartArtifact) string {
	t.Helper()
	body, err := c.Download(t.Context(), spec, a)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, body)
}

func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOneLookForAll(t *testing.T) {
	s := serve(t, indexOf("1.0.0 a.tgz"))
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	s.answer = func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	}
	c := New(Options{})
	fresh := func(spec *model.ChartSource) { spec.Fresh = time.Hour }
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if a := resolve(t, c, s.chart("", fresh)); a.Version != "1.0.0" {
				t.Error(a)
			}
		})
	}
	<-arrived
	close(release)
	group.Wait()
	resolve(t, c, s.chart("", fresh))
	if n := s.sent.Load() + s.notSent.Load(); n != 1 {
		t.Errorf("%d looks", n)
	}
	resolve(t, c, s.chart("")) // not fresh enough for everybody
	text := indexOf("1.0.0 a.tgz", "1.1.0 b.tgz")
	s.index.Store(&text)
	if a := resolve(t, c, s.chart("", fresh)); a.Version != "1.0.0" {
		t.Error("looked although it was fresh")
	}
	if a := resolve(t, c, s.chart("")); a.Version != "1.1.0" || a.Address != s.URL+"/stable/b.tgz" {
		t.Error(a)
	}
	if sent, known := s.sent.Load(), s.notSent.Load(); sent != 2 || known != 1 {
		t.Errorf("sent %d times, known %d times", sent, known)
	}
	// Another credential looks for itself.
	resolve(t, c, s.chart("", fresh, func(spec *model.ChartSource) { spec.Auth.Username = "ada" }))
	if s.sent.Load() != 3 {
		t.Error("an index was shared with another credential")
	}
}

func TestIndexText(t *testing.T) {
	for _, etag := range []bool{true, false} {
		text := indexOf("1.0.0 a.tgz")
		s := serve(t, text)
		s.etag = etag
		c := New(Options{})
		resolve(t, c, s.chart("")) // the text is not kept for this
		spec := &model.IndexSource{URL: s.URL + "/stable/"}
		for range 3 {
			digest, body, err := c.Index(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, body); got != text || digest != sum([]byte(text)) {
				t.Errorf("%s: %q", digest, got)
			}
		}
		// The two addresses differ by a slash: one repository each.
		if sent, known := s.sent.Load(), s.notSent.Load(); sent != 2 || known != 2 {
			t.Errorf("etag %t: sent %d times, known %d times", etag, sent, known)
		}
	}
}

func TestTextIsFetchedAfterALookWithout(t *testing.T) {
	s := serve(t, indexOf("1.0.0 a.tgz"))
	c := New(Options{})
	resolve(t, c, s.chart(""))
	_, body, err := c.Index(t.Context(), &model.IndexSource{URL: s.URL + "/stable"})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, body); got != *s.index.Load() {
		t.Error(got)
	}
	resolve(t, c, s.chart("")) // the text is not lost by this
	if _, body, err = c.Index(t.Context(), &model.IndexSource{URL: s.URL + "/stable"}); err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	if sent, known := s.sent.Load(), s.notSent.Load(); sent != 2 || known != 2 {
		t.Errorf("sent %d times, known %d times", sent, known)
	}
}

func TestPackedIndex(t *testing.T) {
	s := serve(t, "")
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Error("gzip is not asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed(indexOf("1.0.0 a.tgz")))
		return true
	}
	if a := resolve(t, New(Options{}), s.chart("")); a.Version != "1.0.0" {
		t.Error(a)
	}
}

func TestDownloads(t *testing.T) {
	content := packed("package /stable/a.tgz")
	digest := sum(content)
	s := serve(t, indexOf("1.0.0 a.tgz "+strings.TrimPrefix(digest, "sha256:"), "2.0.0 a.tgz "+strings.Repeat("0", 64), "3.0.0 /other/b.tgz?x=1"))
	c := New(Options{})
	spec := s.chart("1.0.0")
	a := resolve(t, c, spec)
	if a.Digest != digest || a.Address != s.URL+"/stable/a.tgz" {
		t.Fatalf("%+v", a)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := pulled(t, c, spec, a); got != string(content) {
				t.Error("another package arrived")
			}
		})
	}
	group.Wait()
	if n := s.packages.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	wrong := s.chart("2.0.0")
	_, err := c.Download(t.Context(), wrong, resolve(t, c, wrong))
	faulttest.Expect(t, err, reasonPull, "digest", "chart 'app' 2.0.0", s.URL+"/stable/a.tgz", "index the repository again")
	unknown := s.chart("3.0.0")
	if got := pulled(t, c, unknown, resolve(t, c, unknown)); got != string(packed("package /other/b.tgz")) {
		t.Error(got)
	}
}

func TestPackagesPackedOnTheWay(t *testing.T) {
	content := packed("package")
	for _, known := range []bool{true, false} {
		for name, body := range map[string][]byte{"twice": packed(string(content)), "only said to be": content} {
			digest := ""
			if known {
				digest = sum(content)
			}
			s := serve(t, indexOf("1.0.0 a.tgz "+digest))
			s.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, ".tgz") {
					return false
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(body)
				return true
			}
			c, spec := New(Options{}), s.chart("")
			if got := pulled(t, c, spec, resolve(t, c, spec)); got != string(content) {
				t.Errorf("packed %s, digest known %t: another package", name, known)
			}
		}
	}
}

func TestCredentialsStayAtHome(t *testing.T) {
	var seen atomic.Pointer[string]
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, word, _ := r.BasicAuth()
		text := user + ":" + word + "?" + r.URL.RawQuery
		seen.Store(&text)
		_, _ = w.Write(packed("away"))
	}))
	defer other.Close()
	s := serve(t, indexOf("1.0.0 "+other.URL+"/a.tgz", "2.0.0 b.tgz", "3.0.0 https://user:the-secret-word@elsewhere.example/c.tgz"))
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		user, word, _ := r.BasicAuth()
		text := user + ":" + word + "?" + r.URL.RawQuery
		seen.Store(&text)
		if user != "ada" || word != "the-secret-word" || r.URL.Query().Get("token") != "the-secret-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	spec := s.chart("1.0.0", func(spec *model.ChartSource) {
		spec.Repository += "?token=the-secret-token"
		spec.Auth.Username, spec.Auth.Password = "ada", model.NewSecret([]byte("the-secret-word"))
	})
	c := New(Options{})
	for _, step := range []struct {
		version string
		pass    bool
		want    string
	}{{"1.0.0", false, ":?"}, {"1.0.0", true, "ada:the-secret-word?"}, {"2.0.0", false, "ada:the-secret-word?token=the-secret-token"}} {
		spec.Version, spec.Auth.PassAll = step.version, step.pass
		a := resolve(t, c, spec)
		if strings.Contains(a.Address, faulttest.Canary) {
			t.Errorf("the address tells a secret: %s", a.Address)
		}
		pulled(t, c, spec, a)
		if got := *seen.Load(); got != step.want {
			t.Errorf("%s, passed on %t: got %s, want %s", step.version, step.pass, got, step.want)
		}
	}
	spec.Version = "3.0.0"
	if a := resolve(t, c, spec); a.Address != "https://elsewhere.example/c.tgz" {
		t.Error(a.Address)
	}

	spec.Auth.Password = model.NewSecret([]byte("the-secret-guess"))
	_, err := c.Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonPull, "401", "check the credentials", s.URL+"/stable/index.yaml")
	spec.Auth.Username, spec.Auth.Password = "", model.Secret{}
	_, err = c.Resolve(t.Context(), spec)
	faulttest.Expect(t, err, reasonPull, "401", "spec.secretRef")
}

func TestFaults(t *testing.T) {
	s := serve(t, indexOf("1.0.0 oci://registry.example.com/charts/app:1.0.0", "2.0.0", "3.0.0 %zz", "4.0.0 gone.tgz"))
	c := New(Options{Limits: Limits{PackageBytes: 10}})
	_, err := c.Resolve(t.Context(), s.chart("5.x"))
	faulttest.Expect(t, err, reasonReference, "no 'app' chart with version matching '5.x' found", "the newest is 4.0.0", s.URL)
	_, err = c.Resolve(t.Context(), s.chart("", func(spec *model.ChartSource) { spec.Name = "ap" }))
	faulttest.Expect(t, err, reasonReference, `did you mean "app"?`)
	_, err = c.Resolve(t.Context(), s.chart("2.0.0"))
	faulttest.Expect(t, err, reasonPull, "no downloadable URLs")
	_, err = c.Resolve(t.Context(), s.chart("3.0.0"))
	faulttest.Expect(t, err, reasonPull, "cannot be understood")
	inRegistry := s.chart("1.0.0")
	a := resolve(t, c, inRegistry)
	if a.Address != "oci://registry.example.com/charts/app:1.0.0" {
		t.Error(a.Address)
	}
	_, err = c.Download(t.Context(), inRegistry, a)
	faulttest.Expect(t, err, reasonPull, `scheme "oci"`, "OCIRepository")
	large := s.chart("4.0.0")
	_, err = c.Download(t.Context(), large, resolve(t, c, large))
	faulttest.Expect(t, err, reasonPull, "larger than allowed")

	for address, want := range map[string]string{"oci://host/x": "spec.type", "ftp://host": "ftp", "::": "https://host/path", "https://": "https://host/path"} {
		_, _, err := c.Index(t.Context(), &model.IndexSource{URL: address})
		faulttest.Expect(t, err, reasonURLInvalid, want)
	}
	_, _, err = c.Index(t.Context(), &model.IndexSource{URL: s.URL, Auth: model.HTTPAuth{CA: []byte("x")}})
	faulttest.Expect(t, err, reasonAuthentication, "ca.crt")
	_, _, err = c.Index(t.Context(), &model.IndexSource{URL: "http://127.0.0.1:1"})
	faulttest.Expect(t, err, reasonFailed, "failed to fetch Helm repository index", "is up")
}

func TestHostileIndexes(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		reason string
		part   string
	}{
		"too large": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, generatedText(t, 10, 100)) }, reasonFailed, "larger than allowed"},
		"a bomb":    {func(w http.ResponseWriter) { bomb(w) }, reasonFailed, "larger than allowed"},
		"no gzip stream": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "apiVersion: v1")
		}, reasonIndexation, "gzip"},
		"broken off": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{\"apiVersion\":")
		}, reasonFailed, "broke off"},
		"a page":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html></html>") }, reasonIndexation, "index YAML"},
		"empty":        {func(http.ResponseWriter) {}, reasonIndexation, "empty"},
		"not modified": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) }, reasonFailed, "304"},
		"in trouble":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, reasonFailed, "asked again"},
		"elsewhere":    {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, reasonFailed, "check the address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "")
			s.answer = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			_, _, err := New(Options{Limits: Limits{IndexBytes: 100_000}}).Index(t.Context(), &model.IndexSource{URL: s.URL})
			faulttest.Expect(t, err, c.reason, c.part)
		})
	}
	s := serve(t, "")
	hung := make(chan struct{})
	defer close(hung)
	s.answer = func(http.ResponseWriter, *http.Request) bool { <-hung; return true }
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("no answer within 50ms"))
	defer cancel()
	_, _, err := New(Options{}).Index(ctx, &model.IndexSource{URL: s.URL})
	faulttest.Expect(t, err, reasonFailed, "no answer within 50ms")
}

// bomb sends little that unpacks to a lot.
func bomb(w http.ResponseWriter) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = io.WriteString(z, "apiVersion: v1\nentries:\n")
	line := bytes.Repeat([]byte("# nothing\n"), 10_000)
	for range 100 {
		if _, err := z.Write(line); err != nil {
			return
		}
	}
	_ = z.Close()
}

func TestTLS(t *testing.T) {
	s := serve(t, indexOf("1.0.0 a.tgz"))
	safe := httptest.NewTLSServer(s)
	defer safe.Close()
	spec := &model.IndexSource{URL: safe.URL}
	c := New(Options{})
	_, _, err := c.Index(t.Context(), spec)
	faulttest.Expect(t, err, reasonFailed, "certificate")
	for _, auth := range []model.HTTPAuth{
		{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw})},
		{Insecure: true},
	} {
		spec.Auth = auth
		_, body, err := c.Index(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close()
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := serve(t, generatedText(t, 10, 100))
	c := New(Options{Limits: Limits{IndexMemory: 600 << 10, PackageMemory: 5 << 10}})
	for i := range 5 {
		spec := s.chart("", func(spec *model.ChartSource) {
			spec.Repository, spec.Name, spec.Fresh = fmt.Sprintf("%s/r%d", s.URL, i), "chart-1", time.Hour
		})
		a := resolve(t, c, spec)
		a.Address, a.Digest = fmt.Sprintf("%s/p%d.tgz", s.URL, i), sum(packed(fmt.Sprintf("package /p%d.tgz", i)))
		pulled(t, c, spec, a)
	}
	if n := len(c.repositories); n < 1 || n > 3 {
		t.Errorf("%d indexes are kept", n)
	}
	if n := len(c.packages); n < 1 || n > 4 {
		t.Errorf("%d packages are kept", n)
	}
	sent := s.sent.Load()
	resolve(t, c, s.chart("", func(spec *model.ChartSource) {
		spec.Repository, spec.Name, spec.Fresh = s.URL+"/r4", "chart-1", time.Hour
	}))
	if s.sent.Load() != sent {
		t.Error("the last one was dropped")
	}
}

// What is kept of an index is a fraction of its text, and reading it takes no
// more memory than a few times the text, most of which is garbage at once.
func TestIndexIsCompact(t *testing.T) {
	text := generatedText(t, 50, 50)
	before := heap()
	x, err := inPieces(text)
	if err != nil {
		t.Fatal(err)
	}
	kept := int64(heap()) - int64(before)
	runtime.KeepAlive(text)
	if kept > int64(len(text))/6 || x.bytes < kept/2 || x.bytes > 2*kept+1<<20 {
		t.Errorf("of %d bytes %d are kept, said to be %d", len(text), kept, x.bytes)
	}
	if n := len(x.charts); n != 50 {
		t.Errorf("%d charts", n)
	}
}
