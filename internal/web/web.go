// Package web holds the console: the pages that "make console" builds of web/
// into dist, embedded.
package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The folder is in the repository with nothing but a placeholder in it, so that
// the Go code builds without Node.
//
//go:embed all:dist
var built embed.FS

const page = "index.html"

// missing is what is served where the console has not been built.
const missing = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Plumb</title>
<h1>Plumb</h1><p>This binary was built without the console. Build it with <code>make build</code>; the API works as it is.</p></html>`

// Handler serves the console. Every path that is no file is the page itself,
// which knows what to show. Files whose name has a digest are kept by browsers
// for good.
func Handler() http.Handler {
	files, err := fs.Sub(built, "dist")
	if err != nil {
		panic(err) // the folder is embedded
	}
	index, err := fs.ReadFile(files, page)
	if err != nil {
		index = []byte(missing)
	}
	packed := &pack{files: map[string][]byte{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "there is nothing like that here", http.StatusNotFound)
			return
		}
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if info, err := fs.Stat(files, name); err == nil && !info.IsDir() && name != page {
			if strings.HasPrefix(name, "assets/") {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			if !packed.serve(w, r, files, name) {
				http.ServeFileFS(w, r, files, name)
			}
			return
		}
		if strings.HasPrefix(name, "assets/") || strings.HasPrefix(name, "api/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		http.ServeContent(w, r, page, time.Time{}, bytes.NewReader(index))
	})
}

// pack holds files as gzip has them, once somebody has asked for them. They are
// few, and never change.
type pack struct {
	mu    sync.Mutex
	files map[string][]byte
}

// serve answers with the compressed form of a file; false where the client or
// the file is better off without.
func (p *pack) serve(w http.ResponseWriter, r *http.Request, files fs.FS, name string) bool {
	kind := mime.TypeByExtension(path.Ext(name))
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || !strings.HasPrefix(kind, "text/") && path.Ext(name) != ".svg" {
		return false
	}
	body, err := p.get(files, name)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Encoding", "gzip")
	h.Add("Vary", "Accept-Encoding")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
	return true
}

func (p *pack) get(files fs.FS, name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if body, ok := p.files[name]; ok {
		return body, nil
	}
	plain, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	p.files[name] = out.Bytes()
	return p.files[name], nil
}
