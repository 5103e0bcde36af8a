// Package s3test is an object store with the protocol of S3 for tests, as much of
// it as readers use: locations, lists in pages, objects, signatures of version 4.
package s3test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bucket is the name of the only bucket that there is.
const Bucket = "things"

// A Store believes nobody without a signature. Once it serves, Change sets its
// fields.
type Store struct {
	Objects map[string]string
	Keys    map[string]string // access key → secret key; nil: everybody may read
	Session string            // session token that must come with the key

	mu sync.Mutex
}

// Change changes the store between two requests.
func (s *Store) Change(how func(*Store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
}

// ServeHTTP answers for a bucket by path (not by host).
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Keys != nil {
		if code := s.verify(r); code != "" {
			refuse(w, http.StatusForbidden, code)
			return
		}
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case bucket != Bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case query.Has("location"):
		_, _ = fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-test-1</LocationConstraint>`)
	case query.Get("list-type") == "2":
		s.list(w, query)
	default:
		s.object(w, key)
	}
}

// list answers with two objects a page.
func (s *Store) list(w http.ResponseWriter, query url.Values) {
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
	for _, key := range slices.Sorted(maps.Keys(s.Objects)) {
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
		}{url.QueryEscape(key), `"` + ETag(s.Objects[key]) + `"`, len(s.Objects[key])})
		page.NextContinuationToken = key
	}
	_ = xml.NewEncoder(w).Encode(page)
}

// ETag is the entity tag of an object with this content.
func ETag(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

func (s *Store) object(w http.ResponseWriter, key string) {
	content, ok := s.Objects[key]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", `"`+ETag(content)+`"`)
	w.Header().Set("Last-Modified", time.Unix(1700000000, 0).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write([]byte(content))
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no: %s</Message></Error>", code, code)
}

// verify checks a signature of version 4 as the documentation has it, and
// returns the code of a refusal.
func (s *Store) verify(r *http.Request) string {
	fields := map[string]string{}
	for _, field := range strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 {
		return "AccessDenied"
	}
	secret, ok := s.Keys[scope[0]]
	if !ok || r.Header.Get("X-Amz-Security-Token") != s.Session {
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
