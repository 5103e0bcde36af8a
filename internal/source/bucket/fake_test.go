package bucket

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

// fakeS3 is a store with the protocol of S3 that believes nobody without a
// signature.
type fakeS3 struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]string
	keys     map[string]string // access key → secret key; nil: everybody may read
	session  string            // session token that must come with the key
	requests []string
	// answer may answer a request itself.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newFakeS3(t *testing.T, objects map[string]string) *fakeS3 {
	t.Helper()
	f := &fakeS3{objects: objects, keys: map[string]string{"key": "the-secret-key"}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// source describes the bucket "things" of the store.
func (f *fakeS3) source() *model.BucketSource {
	return &model.BucketSource{
		Provider: providerGeneric, Name: "things", Endpoint: strings.TrimPrefix(f.URL, "http://"),
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
	if f.answer != nil && f.answer(w, r) {
		return
	}
	if f.keys != nil {
		if code := f.verify(r); code != "" {
			s3Refuse(w, http.StatusForbidden, code)
			return
		}
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case bucket != "things":
		s3Refuse(w, http.StatusNotFound, "NoSuchBucket")
	case query.Has("location"):
		_, _ = fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-test-1</LocationConstraint>`)
	case query.Get("list-type") == "2":
		f.list(w, query)
	default:
		f.object(w, key)
	}
}

// list answers with two objects a page.
func (f *fakeS3) list(w http.ResponseWriter, query url.Values) {
	var page struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []struct {
			Key, ETag string
			Size      int
		}
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
	}
	page.EncodingType = "url"
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, query.Get("prefix")) || key <= query.Get("continuation-token") {
			continue
		}
		if len(page.Contents) == 2 {
			page.IsTruncated = true
			break
		}
		page.Contents = append(page.Contents, struct {
			Key, ETag string
			Size      int
		}{url.QueryEscape(key), `"` + etagOf(f.objects[key]) + `"`, len(f.objects[key])})
		page.NextContinuationToken = key
	}
	_ = xml.NewEncoder(w).Encode(page)
}

func etagOf(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

func (f *fakeS3) object(w http.ResponseWriter, key string) {
	content, ok := f.objects[key]
	if !ok {
		s3Refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", `"`+etagOf(content)+`"`)
	w.Header().Set("Last-Modified", time.Unix(1700000000, 0).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write([]byte(content))
}

func s3Refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no: %s</Message></Error>", code, code)
}

// verify checks a signature of version 4 as the documentation has it, and
// returns the code of a refusal.
func (f *fakeS3) verify(r *http.Request) string {
	fields := map[string]string{}
	for _, field := range strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 {
		return "AccessDenied"
	}
	secret, ok := f.keys[scope[0]]
	if !ok || r.Header.Get("X-Amz-Security-Token") != f.session {
		return "InvalidAccessKeyId"
	}
	var headers strings.Builder
	for _, name := range strings.Split(fields["SignedHeaders"], ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		_, _ = fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	request := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"),
		headers.String(), fields["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	digest := sha256.Sum256([]byte(request))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range append(slices.Clone(scope[1:]), text) {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if hex.EncodeToString(key) != fields["Signature"] {
		return "SignatureDoesNotMatch"
	}
	return ""
}
