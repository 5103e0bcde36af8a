package bucket

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/faulttest"
)

// fakeGoogle is Cloud Storage with a bucket "things", and the server of its
// tokens.
func fakeGoogle(t *testing.T, token string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	refuse := func(w http.ResponseWriter, code int, text string) {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q}}`, code, text)
	}
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("assertion") == "" && r.FormValue("refresh_token") != "the-secret-refresh" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"gone","sent":%q}`, r.FormValue("refresh_token"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
	})
	mux.HandleFunc("GET /storage/v1/b/{bucket}/o", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch {
		case token != "" && r.Header.Get("Authorization") != "Bearer "+token:
			refuse(w, http.StatusUnauthorized, "Invalid Credentials")
		case r.PathValue("bucket") != "things":
			refuse(w, http.StatusNotFound, "The specified bucket does not exist.")
		case query.Get("prefix") != "app/" || query.Get("fields") != "nextPageToken,items(name,etag,size)":
			refuse(w, http.StatusBadRequest, r.URL.RawQuery)
		case query.Get("pageToken") == "":
			_, _ = fmt.Fprint(w, `{"items":[{"name":"app/b &+ä/c.yaml","etag":"CKih16GjycICEAE=","size":"3"}],"nextPageToken":"two=2"}`)
		case query.Get("pageToken") == "two=2":
			_, _ = fmt.Fprint(w, `{"items":[{"name":"app/a.yaml","etag":"CJ==","size":"?"}]}`)
		}
	})
	mux.HandleFunc("GET /storage/v1/b/things/o/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("alt") != "media" || r.PathValue("name") != "app/b &+ä/c.yaml" {
			refuse(w, http.StatusNotFound, "No such object")
			return
		}
		_, _ = fmt.Fprint(w, "a: b")
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	return server
}

func googleSource(server *httptest.Server) *model.BucketSource {
	return &model.BucketSource{
		Provider: providerGoogle, Name: "things", Endpoint: "does.not.count", Prefix: "app/",
		Auth: model.HTTPAuth{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
	}
}

func serviceAccount(t *testing.T, tokens string, change map[string]string) model.Secret {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]string{
		"type": "service_account", "client_email": "reader@example.com", "private_key_id": "1", "token_uri": tokens + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
	for name, value := range change {
		file[name] = value
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return model.NewSecret(text)
}

const googleListing = "app/a.yaml CJ== -1\napp/b &+ä/c.yaml CKih16GjycICEAE= 3\n"

func TestGoogleWithAServiceAccount(t *testing.T) {
	server := fakeGoogle(t, "good")
	c, spec := New(Options{Google: server.URL}), googleSource(server)
	spec.ServiceAccount = serviceAccount(t, server.URL, nil)
	if got := listing(t, c, spec); got != googleListing {
		t.Error(got)
	}
	if got := content(t, c, spec, "app/b &+ä/c.yaml"); got != "a: b" {
		t.Error(got)
	}
	if _, err := c.Get(t.Context(), spec, "app/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	spec.Name = "others"
	_, err := c.List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "bucket 'others' not found")
}

func TestGoogleWithOtherCredentials(t *testing.T) {
	server := fakeGoogle(t, "google-1")
	spec := googleSource(server)
	spec.Auth.Workload = &model.WorkloadIdentity{Provider: "gcp"}
	if got := listing(t, New(Options{Google: server.URL, Cloud: oneToken{}}), spec); got != googleListing {
		t.Error(got)
	}

	spec = googleSource(server)
	spec.ServiceAccount = serviceAccount(t, server.URL, map[string]string{"type": "authorized_user", "refresh_token": "the-secret-refresh"})
	if got := listing(t, New(Options{Google: server.URL}), spec); got != googleListing {
		t.Error(got)
	}

	public := fakeGoogle(t, "")
	if got := listing(t, New(Options{Google: public.URL}), googleSource(public)); got != googleListing {
		t.Error(got)
	}
}

func TestGoogleRefusals(t *testing.T) {
	server := fakeGoogle(t, "good")
	for name, c := range map[string]struct {
		key    model.Secret
		name   string
		reason string
		part   string
	}{
		"nobody":        {model.Secret{}, "things", reasonOperationFailed, "spec.secretRef"},
		"no JSON":       {model.NewSecret([]byte("the-secret-key")), "things", reasonAuthentication, "no JSON"},
		"a file's path": {serviceAccount(t, server.URL, map[string]string{"type": "external_account"}), "things", reasonAuthentication, "external_account"},
		"plain HTTP":    {serviceAccount(t, "http://example.com", nil), "things", reasonAuthentication, "https"},
		"a broken key":  {serviceAccount(t, server.URL, map[string]string{"private_key": "the-secret-pem"}), "things", reasonAuthentication, "private key"},
		"no consent":    {serviceAccount(t, server.URL, map[string]string{"type": "authorized_user", "refresh_token": "the-secret-old"}), "things", reasonAuthentication, "invalid_grant gone"},
		"another path":  {model.Secret{}, "../../x", reasonOperationFailed, "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := googleSource(server)
			spec.ServiceAccount, spec.Name = c.key, c.name
			_, err := New(Options{Google: server.URL}).List(t.Context(), spec, 10)
			if faulttest.Expect(t, err, c.reason, c.part); strings.Contains(err.Error(), "PRIVATE") {
				t.Error("the key is told")
			}
		})
	}
}
