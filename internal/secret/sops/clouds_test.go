package sops

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	masters "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"

	"plumb.dev/plumb/internal/model"
)

// internet answers by host, and remembers who was asked. A host that it does
// not know is not there.
type internet struct {
	hosts map[string]http.HandlerFunc
	asked []string
}

// RoundTrip implements http.RoundTripper.
func (i *internet) RoundTrip(request *http.Request) (*http.Response, error) {
	i.asked = append(i.asked, request.URL.Host)
	handler, ok := i.hosts[request.URL.Host]
	if !ok {
		return nil, errors.New("no such host; it was sent " + canary)
	}
	if request.Body == nil {
		request.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	handler(answer, request)
	response := answer.Result()
	response.Request = request
	return response, nil
}

// noClient reaches nobody.
var noClient = &http.Client{Transport: &internet{}}

// unmarked undoes what the sealer's services do.
func unmarked(sealed []byte) []byte {
	plain, ok := bytes.CutPrefix(sealed, []byte(mark))
	if !ok {
		return nil
	}
	return plain
}

func answerJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// refuse answers with what it was sent, as a hostile server may.
func refuse(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(status)
		_, _ = w.Write(body)
		for name, values := range r.Header {
			_, _ = w.Write([]byte(name + strings.Join(values, ",")))
		}
	}
}

const (
	arn  = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	role = "arn:aws:iam::123456789012:role/sops"
)

func kmsAnswers(t *testing.T, access string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			CiphertextBlob    []byte
			KeyID             string `json:"KeyId"`
			EncryptionContext map[string]string
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil || r.Header.Get("X-Amz-Target") != "TrentService.Decrypt" || question.KeyID != arn || question.EncryptionContext["team"] != "shop" {
			t.Errorf("AWS was asked %s %+v %v", r.Header.Get("X-Amz-Target"), question, err)
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+access+"/") {
			refuse(http.StatusBadRequest)(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{"KeyId": arn, "Plaintext": unmarked(question.CiphertextBlob)})
	}
}

func stsAnswers(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("RoleArn") != role {
			t.Errorf("role %q", r.FormValue("RoleArn"))
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>`))
	}
}

func azureAnswers(t *testing.T, token string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"login.microsoftonline.com": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.Contains(r.URL.Path, "discovery/instance"):
				answerJSON(w, map[string]any{"tenant_discovery_endpoint": "https://login.microsoftonline.com/tenant/v2.0/.well-known/openid-configuration", "metadata": []any{}})
			case strings.Contains(r.URL.Path, "openid-configuration"):
				answerJSON(w, map[string]any{"token_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/token", "authorization_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/authorize", "issuer": "https://login.microsoftonline.com/tenant/v2.0"})
			case r.FormValue("client_secret") != "azure-"+canary:
				refuse(http.StatusUnauthorized)(w, r)
			default:
				answerJSON(w, map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
			}
		},
		"shop.vault.azure.net": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			var question struct{ Alg, Value string }
			err := json.NewDecoder(r.Body).Decode(&question)
			sealed, decoded := base64.RawURLEncoding.DecodeString(question.Value)
			if err != nil || decoded != nil || question.Alg != "RSA-OAEP-256" || r.URL.Path != "/keys/sops/0123/decrypt" {
				t.Errorf("Azure was asked %s %+v", r.URL, question)
			}
			answerJSON(w, map[string]any{"kid": "k", "value": base64.RawURLEncoding.EncodeToString(unmarked(sealed))})
		},
	}
}

func gcpAnswers(t *testing.T, token string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"oauth2.googleapis.com": func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
		},
		gcpHost: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				refuse(http.StatusForbidden)(w, r)
				return
			}
			var question struct{ Ciphertext []byte }
			if err := json.NewDecoder(r.Body).Decode(&question); err != nil || r.URL.Path != "/v1/"+gcpResource+":decrypt" {
				t.Errorf("Google was asked %s %v", r.URL, err)
			}
			answerJSON(w, map[string]any{"plaintext": unmarked(question.Ciphertext)})
		},
	}
}

const gcpResource = "projects/shop/locations/global/keyRings/sops/cryptoKeys/sops"

func serviceAccount(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "sops@shop.example", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// workload is a cloud that gives the same token to everyone.
type workload struct{ err error }

func (w workload) AWS(_ context.Context, region string) (AWSCredentials, error) {
	return AWSCredentials{AccessKeyID: "WORKLOAD" + region, SecretKey: model.NewSecret([]byte("s"))}, w.err
}

func (w workload) Azure(context.Context, string, string) (model.Secret, error) {
	return model.NewSecret([]byte("token-" + canary)), w.err
}

func (w workload) GCP(context.Context, string) (model.Secret, error) {
	return model.NewSecret([]byte("token-" + canary)), w.err
}

func (w workload) Vault(context.Context, string) (model.Secret, error) {
	return model.NewSecret([]byte("token-" + canary)), w.err
}

func inTeam() map[string]*string {
	team := "shop"
	return map[string]*string{"team": &team}
}

func TestClouds(t *testing.T) {
	s := newSealer()
	token := "token-" + canary
	aws := entry("sops.aws-kms", "aws_access_key_id: STATIC\naws_secret_access_key: "+canary+"\n")
	toAWS := kms.NewMasterKey(arn, "", inTeam())
	toAzure := &azkv.MasterKey{VaultURL: "https://shop.vault.azure.net", Name: "sops", Version: "0123"}
	toGCP := &gcpkms.MasterKey{ResourceID: gcpResource}
	kmsHost, stsHost := "kms.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com"
	for name, c := range map[string]struct {
		to       masters.MasterKey
		key      model.DecryptionKey
		workload Workload
		hosts    map[string]http.HandlerFunc
	}{
		"AWS":             {to: toAWS, key: aws, hosts: map[string]http.HandlerFunc{kmsHost: kmsAnswers(t, "STATIC")}},
		"AWS with a role": {to: kms.NewMasterKey(arn, role, inTeam()), key: aws, hosts: map[string]http.HandlerFunc{kmsHost: kmsAnswers(t, "ROLEKEY"), stsHost: stsAnswers(t)}},
		"AWS workload":    {to: toAWS, workload: workload{}, hosts: map[string]http.HandlerFunc{kmsHost: kmsAnswers(t, "WORKLOADeu-west-1")}},
		"Azure":           {to: toAzure, key: entry("sops.azure-kv", "tenantId: tenant\nclientId: me\nclientSecret: azure-"+canary+"\n"), hosts: azureAnswers(t, token)},
		"Azure of az":     {to: toAzure, key: entry("sops.azure-kv", `{"tenant": "tenant", "appId": "me", "password": "azure-`+canary+`"}`), hosts: azureAnswers(t, token)},
		"Azure workload":  {to: toAzure, workload: workload{}, hosts: azureAnswers(t, token)},
		"managed":         {to: toAzure, key: entry("sops.azure-kv", "clientId: me"), workload: workload{}, hosts: azureAnswers(t, token)},
		"GCP":             {to: toGCP, key: entry("sops.gcp-kms", serviceAccount(t)), hosts: gcpAnswers(t, token)},
		"GCP of a user":   {to: toGCP, key: entry("sops.gcp-kms", `{"type": "authorized_user", "client_id": "me", "client_secret": "x", "refresh_token": "y"}`), hosts: gcpAnswers(t, token)},
		"GCP workload":    {to: toGCP, workload: workload{}, hosts: gcpAnswers(t, token)},
	} {
		t.Run(name, func(t *testing.T) {
			sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, c.to)
			net := &internet{hosts: c.hosts}
			open := func(w Workload, keys ...model.DecryptionKey) ([]byte, error) {
				return opener(t, Options{Client: &http.Client{Transport: net}, Workload: w}, keys...).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
			}
			got, err := open(c.workload, c.key)
			if err != nil || !bytes.Contains(got, []byte(canary)) {
				t.Fatalf("%v; asked %v", err, net.asked)
			}
			net.asked = nil
			_, err = open(nil)
			if retry := refused(t, err, nil, "given"); retry || len(net.asked) > 0 {
				t.Errorf("without credentials: retry %v, asked %v", retry, net.asked)
			}
			hosts := c.hosts
			net.hosts = map[string]http.HandlerFunc{}
			_, err = open(c.workload, c.key)
			if !refused(t, err, []string{token}) {
				t.Error("a service that is not there is not asked again")
			}
			for host := range hosts {
				net.hosts[host] = refuse(http.StatusForbidden)
			}
			_, err = open(c.workload, c.key)
			if refused(t, err, []string{token}, "answered 403") {
				t.Errorf("a refusal is tried again: %v", err)
			}
		})
	}
}

func TestWorkloadThatFails(t *testing.T) {
	s := newSealer()
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, kms.NewMasterKey(arn, "", inTeam()))
	for _, retry := range []bool{true, false} {
		w := workload{&model.Fault{Reason: "AuthenticationFailed", Message: "the cloud gave no credential", Retry: retry}}
		_, err := opener(t, Options{Workload: w}).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
		if again := refused(t, err, nil, "the cloud gave no credential", "the workload identity"); again != retry {
			t.Errorf("retry is %v", again)
		}
	}
}

func TestVault(t *testing.T) {
	s := newSealer()
	token := "vault-" + canary
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status != http.StatusOK || r.Header.Get("X-Vault-Token") != token {
			w.Header().Set("Location", "https://evil.example/")
			refuse(max(status, http.StatusTemporaryRedirect))(w, r)
			return
		}
		var question struct{ Ciphertext string }
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil || r.URL.Path != "/below/v1/team/transit/decrypt/sops" || r.Method != http.MethodPost {
			t.Errorf("Vault was asked %s %s %v", r.Method, r.URL, err)
		}
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(question.Ciphertext, "vault:v1:"))
		if err != nil {
			t.Error(err)
		}
		answerJSON(w, map[string]any{"data": map[string]any{"plaintext": unmarked(sealed)}})
	}))
	defer server.Close()
	to := hcvault.NewMasterKey(server.URL+"/below", "team/transit", "sops")
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to)
	open := func(keys ...model.DecryptionKey) error {
		_, err := opener(t, Options{}, keys...).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
		return err
	}
	if err := open(entry("sops.vault-token", token+"\n")); err != nil {
		t.Error(err)
	}
	refused(t, open(), nil, "no Vault token is given")
	if refused(t, open(entry("sops.vault-token", "other-"+canary)), nil, "answered 307") {
		t.Error("a redirect is tried again")
	}
	refused(t, open(entry("sops.vault-token", "a\nb"+canary)), nil, "more than one line")
	for _, status = range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
		if retry := refused(t, open(entry("sops.vault-token", token)), nil, "answered "); retry != (status == http.StatusServiceUnavailable) {
			t.Errorf("%d: retry is %v", status, retry)
		}
	}
}

// What a file says must not send credentials anywhere but to the services that
// they are for.
func TestNobodyElseIsAsked(t *testing.T) {
	s := newSealer()
	given := []model.DecryptionKey{
		entry("sops.vault-token", canary),
		entry("sops.aws-kms", "aws_access_key_id: STATIC\naws_secret_access_key: "+canary+"\n"),
		entry("sops.azure-kv", "tenantId: tenant\nclientId: me\nclientSecret: azure-"+canary+"\n"),
		entry("sops.gcp-kms", serviceAccount(t)),
	}
	region := func(name string) masters.MasterKey {
		return kms.NewMasterKey("arn:aws:kms:"+name+":123456789012:key/1", "", nil)
	}
	huawei, err := hckms.NewMasterKey("eu-west-1:1234abcd-12ab-34cd-56ef-1234567890ab")
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]masters.MasterKey{
		"region with a host":     region("evil.example/"),
		"region with a fragment": region("evil.example#1"),
		"region with a port":     region("a:80"),
		"role that is none":      kms.NewMasterKey(arn, "arn:aws:iam::123456789012:user/x", nil),
		"vault of Azure":         &azkv.MasterKey{VaultURL: "https://evil.example", Name: "a", Version: "b"},
		"vault with a suffix":    &azkv.MasterKey{VaultURL: "https://evil.example/.vault.azure.net", Name: "a", Version: "b"},
		"vault with a user":      &azkv.MasterKey{VaultURL: "https://shop.vault.azure.net@evil.example", Name: "a", Version: "b"},
		"vault without TLS":      &azkv.MasterKey{VaultURL: "http://shop.vault.azure.net", Name: "a", Version: "b"},
		"name with a path":       &azkv.MasterKey{VaultURL: "https://shop.vault.azure.net", Name: "../../secrets/a", Version: "b"},
		"resource of Google":     &gcpkms.MasterKey{ResourceID: "projects/a/locations/b/keyRings/c/cryptoKeys/d:decrypt?x=/../../.."},
		"Vault with a file":      hcvault.NewMasterKey("file:///etc/passwd", "transit", "a"),
		"Vault with a user":      hcvault.NewMasterKey("https://a:b@evil.example", "transit", "a"),
		"Vault's other doors":    hcvault.NewMasterKey("https://vault.example", "../sys", "a"),
		"Vault's own name":       hcvault.NewMasterKey("https://vault.example", "transit", "../../sys/raw"),
		"Huawei":                 huawei,
	} {
		net := &internet{}
		sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, to)
		_, err := opener(t, Options{Client: &http.Client{Transport: net}}, given...).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
		if err == nil || len(net.asked) > 0 {
			t.Errorf("%s: %v, asked %v", name, err, net.asked)
			continue
		}
		if refused(t, err, nil) {
			t.Errorf("%s is tried again", name)
		}
	}
}

// Neither the process's environment nor its files are looked at.
func TestEnvironmentIsNotRead(t *testing.T) {
	s := newSealer()
	to, own := ageKey(t)
	home := t.TempDir()
	for name, value := range map[string]string{
		"SOPS_AGE_KEY": string(own.Value.Reveal()), "SOPS_AGE_KEY_CMD": "touch " + home + "/ran", "HOME": home,
		"VAULT_TOKEN": canary, "VAULT_ADDR": "https://vault.example", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": canary,
		"AZURE_CLIENT_ID": "a", "AZURE_CLIENT_SECRET": canary, "AZURE_TENANT_ID": "b", "GOOGLE_CREDENTIALS": serviceAccount(t),
	} {
		t.Setenv(name, value)
	}
	net := &internet{}
	all := []masters.MasterKey{to, kms.NewMasterKey(arn, "", nil), hcvault.NewMasterKey("https://vault.example", "transit", "a"), &azkv.MasterKey{VaultURL: "https://shop.vault.azure.net", Name: "a"}, &gcpkms.MasterKey{ResourceID: gcpResource}}
	sealed := s.seal(t, formatYAML, secretYAML, sops.Metadata{}, all...)
	_, err := opener(t, Options{Client: &http.Client{Transport: net}}).DecryptFile(context.Background(), "a.yaml", sealed, "yaml", "yaml")
	refused(t, err, nil, "no age identity is given", "no Vault token is given", "no AWS credentials are given")
	if len(net.asked) > 0 {
		t.Errorf("asked %v", slices.Compact(net.asked))
	}
}
