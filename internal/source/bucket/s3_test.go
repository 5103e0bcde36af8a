package bucket

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/bucket/s3test"
	"plumb.dev/plumb/internal/source/cloud"
	"plumb.dev/plumb/internal/source/faulttest"
)

func listing(t *testing.T, c *Client, spec *model.BucketSource) string {
	t.Helper()
	all, err := c.List(t.Context(), spec, 100)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, o := range all {
		_, _ = fmt.Fprintf(&b, "%s %s %d\n", o.Key, o.ETag, o.Size)
	}
	return b.String()
}

func content(t *testing.T, c *Client, spec *model.BucketSource, key string) string {
	t.Helper()
	body, err := c.Get(t.Context(), spec, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestS3ListsAndGets(t *testing.T) {
	f := newFakeS3(t, map[string]string{
		"app/b.yaml": "b", "app/a.yaml": "a", "app/ä & ö+.yaml": "umlaut", "app/": "", "other.yaml": "o", "app/../up.yaml": "up",
	})
	c, spec := New(Options{}), f.source()
	spec.Prefix = "app/"
	want := ""
	for _, key := range []string{"app/", "app/../up.yaml", "app/a.yaml", "app/b.yaml", "app/ä & ö+.yaml"} {
		want += fmt.Sprintf("%s %s %d\n", key, s3test.ETag(f.Objects[key]), len(f.Objects[key]))
	}
	if got := listing(t, c, spec); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for key, want := range f.Objects {
		if key != "app/" && !strings.Contains(key, "..") {
			if got := content(t, c, spec, key); got != want {
				t.Errorf("%s: got %q, want %q", key, got, want)
			}
		}
	}
	if n := f.asked("location"); n != 1 {
		t.Errorf("the region was asked for %d times", n)
	}
}

func TestS3Refusals(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a": "a"})
	c := New(Options{})
	for name, c2 := range map[string]struct {
		change func(*model.BucketSource)
		reason string
		parts  []string
	}{
		"no such bucket": {func(s *model.BucketSource) { s.Name = "others" }, reasonOperationFailed, []string{"bucket 'others' not found", "spec.bucketName"}},
		"wrong key":      {func(s *model.BucketSource) { s.Auth.Password = model.NewSecret([]byte("the-secret-guess")) }, reasonOperationFailed, []string{"SignatureDoesNotMatch", "check the credentials"}},
		"anonymous":      {func(s *model.BucketSource) { s.Auth.Username, s.Auth.Password = "", model.Secret{} }, reasonOperationFailed, []string{"AccessDenied", "spec.secretRef"}},
		"half a key":     {func(s *model.BucketSource) { s.Auth.Username = "" }, reasonAuthentication, []string{"accesskey"}},
		"no such host":   {func(s *model.BucketSource) { s.Endpoint = "127.0.0.1:1" }, reasonOperationFailed, []string{"is up"}},
		"with a path":    {func(s *model.BucketSource) { s.Endpoint = "http://host/path" }, reasonURLInvalid, []string{"without scheme"}},
		"provider":       {func(s *model.BucketSource) { s.Provider = "tape" }, reasonInvalidProvider, []string{"tape"}},
		"sts": {func(s *model.BucketSource) {
			s.Auth.Username, s.Auth.Password, s.STS = "", model.Secret{}, &model.STS{Provider: "aws", Endpoint: "https://sts"}
		}, reasonInvalidSTS, []string{"'aws'", "'generic'"}},
		"no cloud": {func(s *model.BucketSource) {
			s.Auth.Username, s.Auth.Password, s.Auth.Workload = "", model.Secret{}, &model.WorkloadIdentity{Provider: "aws"}
		}, reasonAuthentication, []string{"no cloud"}},
		"bad authority": {func(s *model.BucketSource) { s.Auth.CA = []byte("none") }, reasonAuthentication, []string{"ca.crt"}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := f.source()
			c2.change(spec)
			_, err := c.List(t.Context(), spec, 10)
			faulttest.Expect(t, err, c2.reason, c2.parts...)
		})
	}
	_, err := c.Get(t.Context(), f.source(), "gone")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an object that is gone: %v", err)
	}
	faulttest.Expect(t, err, reasonOperationFailed, "'gone'", "does not exist")
}

func TestS3Anonymous(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a": "public"})
	f.Keys = nil
	c, spec := New(Options{}), f.source()
	spec.Auth.Username, spec.Auth.Password = "", model.Secret{}
	if got := content(t, c, spec, "a"); got != "public" {
		t.Error(got)
	}
}

// lender is a cloud that gives another credential each time.
type lender struct {
	given int
}

func (l *lender) AWS(_ context.Context, caller cloud.Caller, region, endpoint string) (cloud.AWSCredentials, error) {
	if caller.Identity.Account != "reader" || region != "eu-test-1" || endpoint != "https://sts.eu-test-1.amazonaws.com" {
		return cloud.AWSCredentials{}, fmt.Errorf("asked for %+v %s %s", caller, region, endpoint)
	}
	l.given++
	return cloud.AWSCredentials{
		AccessKeyID: fmt.Sprint("lent-", l.given), SecretAccessKey: model.NewSecret([]byte("the-secret-lent")),
		SessionToken: model.NewSecret([]byte("session")),
	}, nil
}

func (l *lender) Google(context.Context, cloud.Caller) (cloud.Token, error) {
	l.given++
	return cloud.Token{Value: model.NewSecret(fmt.Append(nil, "google-", l.given))}, nil
}

func (l *lender) Azure(_ context.Context, _ cloud.Caller, scope string) (cloud.Token, error) {
	if scope != cloud.AzureBlobStorage {
		return cloud.Token{}, errors.New(scope)
	}
	l.given++
	return cloud.Token{Value: model.NewSecret(fmt.Append(nil, "azure-", l.given)), Expires: time.Now().Add(time.Hour)}, nil
}

func TestS3WithLentCredentials(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a": "lent"})
	f.Session = "session"
	f.Keys = map[string]string{"lent-1": "the-secret-lent", "lent-2": "the-secret-lent"}
	spec := f.source()
	spec.Provider, spec.Region = providerAWS, "eu-test-1"
	spec.Auth.Username, spec.Auth.Password = "", model.Secret{}
	spec.Auth.Workload = &model.WorkloadIdentity{Provider: "aws", Account: "reader", Namespace: "apps"}
	spec.STS = &model.STS{Provider: "aws", Endpoint: "https://sts.eu-test-1.amazonaws.com"}
	l := &lender{}
	c := New(Options{Cloud: l})
	if got := listing(t, c, spec); !strings.HasPrefix(got, "a ") {
		t.Error(got)
	}
	if got := content(t, c, spec, "a"); got != "lent" {
		t.Error(got)
	}
	_, err := c.Get(t.Context(), spec, "a")
	faulttest.Expect(t, err, reasonOperationFailed, "InvalidAccessKeyId") // the third is not known
	if l.given != 3 {
		t.Errorf("%d credentials were asked for", l.given)
	}
}

func TestS3WithLDAP(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a": "by ldap"})
	f.Session, f.Keys = "temporary", map[string]string{"ldap-key": "the-secret-ldap"}
	logins := 0
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logins++
		if r.FormValue("Action") != "AssumeRoleWithLDAPIdentity" || r.FormValue("LDAPUsername") != "ada" || r.FormValue("LDAPPassword") != "the-secret-word" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not %s</Message></Error></ErrorResponse>", r.FormValue("LDAPPassword"))
			return
		}
		_, _ = fmt.Fprintf(w, `<AssumeRoleWithLDAPIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>ldap-key</AccessKeyId><SecretAccessKey>the-secret-ldap</SecretAccessKey><SessionToken>temporary</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	spec := f.source()
	spec.Auth.Username, spec.Auth.Password = "", model.Secret{}
	spec.STS = &model.STS{Provider: "ldap", Endpoint: sts.URL, Auth: model.HTTPAuth{Username: "ada", Password: model.NewSecret([]byte("the-secret-word"))}}
	c := New(Options{})
	if got := content(t, c, spec, "a") + content(t, c, spec, "a"); got != "by ldapby ldap" || logins != 1 {
		t.Errorf("%q with %d logins", got, logins)
	}
	spec.STS.Auth.Password = model.NewSecret([]byte("the-secret-guess"))
	_, err := c.List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed)
}

func TestHostileListings(t *testing.T) {
	page := func(n int, keys ...string) string {
		var b strings.Builder
		_, _ = fmt.Fprintf(&b, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t%d</NextContinuationToken>", n)
		for _, key := range keys {
			_, _ = fmt.Fprintf(&b, "<Contents><Key>%s</Key><ETag>x</ETag><Size>-5</Size></Contents>", key)
		}
		return b.String() + "</ListBucketResult>"
	}
	for name, c := range map[string]struct {
		answer func(n int) string
		want   string
	}{
		"objects without end": {func(n int) string { return page(n, fmt.Sprint("a", n), fmt.Sprint("b", n)) }, "more than 10"},
		"pages without end":   {func(n int) string { return page(n) }, "does not come to an end"},
		"one object for ever": {func(n int) string { return page(n, "same") }, "does not come to an end"},
		"not asked for":       {func(n int) string { return page(n, "q", "elsewhere") }, "not asked for"},
		"a page without end":  {func(int) string { return "<ListBucketResult><Name>" + strings.Repeat("x", maxPage) }, "larger than allowed"},
		"no listing":          {func(int) string { return "<html>" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeS3(t, nil)
			n := 0
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !r.URL.Query().Has("list-type") {
					return false
				}
				n++
				_, _ = io.WriteString(w, c.answer(n))
				return true
			}
			spec := f.source()
			if name == "not asked for" {
				spec.Prefix = "q"
			}
			_, err := New(Options{}).List(t.Context(), spec, 10)
			faulttest.Expect(t, err, reasonOperationFailed, c.want)
		})
	}
}

func TestHostileObjects(t *testing.T) {
	f := newFakeS3(t, map[string]string{"short": strings.Repeat("x", 1000)})
	c, spec := New(Options{}), f.source()
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/short") {
			return false
		}
		w.Header().Set("Last-Modified", time.Unix(1, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "only this")
		return true
	}
	body, err := c.Get(t.Context(), spec, "short")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short object: %v", err)
	}
	_ = body.Close()

	hung := make(chan struct{})
	defer close(hung)
	f.answer = func(http.ResponseWriter, *http.Request) bool { <-hung; return true }
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("no answer within 50ms"))
	defer cancel()
	_, err = c.List(ctx, spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "no answer within 50ms")
}

func TestS3ByTLSAndProxy(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a": "safe"})
	safe := httptest.NewTLSServer(f)
	defer safe.Close()
	spec := f.source()
	spec.Auth.Plain, spec.Endpoint = false, strings.TrimPrefix(safe.URL, "https://")
	c := New(Options{})
	_, err := c.List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "spec.certSecretRef")
	spec.Auth.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw})
	if got := content(t, c, spec, "a"); got != "safe" {
		t.Error(got)
	}

	proxied := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied++
		user, word, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		if user != "ada" || word != "the-secret-way" || r.URL.Host != "store.example:9000" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		f.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	spec = f.source()
	spec.Endpoint = "store.example:9000"
	spec.Auth.Proxy = &model.Proxy{Address: proxy.URL, Username: "ada", Password: model.NewSecret([]byte("the-secret-way"))}
	if got := content(t, c, spec, "a"); got != "safe" || proxied == 0 {
		t.Errorf("%q, %d times by the proxy", got, proxied)
	}
}

func TestPlacesAreKeptInBounds(t *testing.T) {
	f := newFakeS3(t, nil)
	c := New(Options{})
	for i := range maxPlaces + 10 {
		spec := f.source()
		spec.Name = fmt.Sprint("bucket-", i)
		if _, err := c.open(spec); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.places) != maxPlaces {
		t.Errorf("%d places", len(c.places))
	}
	last := f.source()
	last.Name = fmt.Sprint("bucket-", maxPlaces+9)
	if c.places[placeKey(last)] == nil {
		t.Error("the last one was dropped")
	}
}
