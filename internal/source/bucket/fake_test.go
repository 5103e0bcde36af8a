package bucket

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/bucket/s3test"
)

// fakeS3 is a store that remembers what it was asked.
type fakeS3 struct {
	*httptest.Server
	s3test.Store
	mu       sync.Mutex
	requests []string
	// answer may answer a request itself.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newFakeS3(t *testing.T, objects map[string]string) *fakeS3 {
	t.Helper()
	f := &fakeS3{Store: s3test.Store{Objects: objects, Keys: map[string]string{"key": "the-secret-key"}}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// source describes the bucket of the store.
func (f *fakeS3) source() *model.BucketSource {
	return &model.BucketSource{
		Provider: providerGeneric, Name: s3test.Bucket, Endpoint: strings.TrimPrefix(f.URL, "http://"),
		Auth: model.HTTPAuth{Plain: true, Username: "key", Password: model.NewSecret([]byte("the-secret-key"))},
	}
}

func (f *fakeS3) asked(part string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.String())
	f.mu.Unlock()
	if f.answer == nil || !f.answer(w, r) {
		f.Store.ServeHTTP(w, r)
	}
}
