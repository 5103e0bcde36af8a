package argocd

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/policy"
)

// What the label of a Secret calls its content (common.LabelKeySecretType).
const (
	typeRepository  = "repository"
	typeWriting     = "repository-write"
	typeCredentials = "repo-creds"
	typeWritingFor  = "repo-write-creds"
	typeCluster     = "cluster"
)

// managedByArgo marks Secrets that the API has made: those it deletes; others
// only lose their label (common.AnnotationKeyManagedBy).
const (
	managedByKey   = "managed-by"
	managedByValue = "argocd.argoproj.io"
)

// secretField is a field of a repository or of credentials, called alike in a
// message and in the Secret.
type secretField struct {
	name   string
	kind   byte // 't'ext, 'a'ddress, 'b'ool, 'n'umber
	hidden bool // never part of an answer
}

// secretFields are those of repositories (util/db/repository_secrets.go).
var secretFields = []secretField{
	{"name", 't', false}, {"project", 't', false}, {"type", 't', false},
	{"username", 't', false}, {"password", 't', true}, {"bearerToken", 't', true}, {"sshPrivateKey", 't', true},
	{"tlsClientCertData", 't', true}, {"tlsClientCertKey", 't', true},
	{"githubAppPrivateKey", 't', true}, {"githubAppID", 'n', false}, {"githubAppInstallationID", 'n', false}, {"githubAppEnterpriseBaseUrl", 't', false},
	{"gcpServiceAccountKey", 't', true},
	{"azureServicePrincipalClientId", 't', false}, {"azureServicePrincipalClientSecret", 't', true},
	{"azureServicePrincipalTenantId", 't', false}, {"azureActiveDirectoryEndpoint", 't', false},
	{"insecureIgnoreHostKey", 'b', false}, {"insecure", 'b', false}, {"enableLfs", 'b', false}, {"enableOCI", 'b', false},
	{"insecureOCIForceHttp", 'b', false}, {"forceHttpBasicAuth", 'b', false}, {"useAzureWorkloadIdentity", 'b', false},
	{"webhookManifestCacheWarmDisabled", 'b', false},
	{"proxy", 'a', false}, {"noProxy", 't', false}, {"depth", 'n', false},
}

// secrets are the Secrets of a type in the namespace of the installation.
func (s *server) secrets(ctx context.Context, kind string) ([]*unstructured.Unstructured, error) {
	all, _, err := s.Objects.List(ctx, KindSecret, s.Namespace, labels.SelectorFromSet(labels.Set{repository.LabelSecretType: kind}))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, nil
}

// content is what a Secret holds, decoded.
func content(o *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for k, v := range object(o.Object, "data") {
		if encoded, ok := v.(string); ok {
			if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				out[k] = string(raw)
			}
		}
	}
	for k, v := range object(o.Object, "stringData") {
		if raw, ok := v.(string); ok {
			out[k] = raw
		}
	}
	return out
}

// setContent writes what a Secret is to hold; "" takes a key off.
func setContent(o *unstructured.Unstructured, values map[string]string) {
	data := object(o.Object, "data")
	if data == nil {
		data = map[string]any{}
		o.Object["data"] = data
	}
	for k, v := range values {
		if v == "" {
			delete(data, k)
		} else {
			data[k] = base64.StdEncoding.EncodeToString([]byte(v))
		}
	}
}

// fieldsOf is what a Secret says, without what must not be said.
func fieldsOf(o *unstructured.Unstructured) map[string]any {
	values, out := content(o), map[string]any{}
	for _, f := range secretFields {
		value := values[f.name]
		if f.hidden || value == "" {
			continue
		}
		switch f.kind {
		case 't':
			out[f.name] = value
		case 'a':
			out[f.name] = repository.Printable(value)
		case 'b':
			if on, err := strconv.ParseBool(value); err == nil && on {
				out[f.name] = true
			}
		case 'n':
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				out[f.name] = n
			}
		}
	}
	return out
}

// valuesOf is what a message wants a Secret to hold.
func valuesOf(sent map[string]any) map[string]string {
	out := map[string]string{}
	for _, f := range secretFields {
		switch f.kind {
		case 't', 'a':
			out[f.name] = text(sent, f.name)
		case 'b':
			out[f.name] = ""
			if flag(sent, f.name) {
				out[f.name] = "true"
			}
		case 'n':
			out[f.name] = ""
			if n := number(sent, f.name); n != 0 {
				out[f.name] = strconv.FormatInt(n, 10)
			}
		}
	}
	return out
}

// newSecret is a Secret of a type.
func (s *server) newSecret(kind, name string) *unstructured.Unstructured {
	o := declaredFrom(KindSecret, map[string]any{"metadata": map[string]any{
		"namespace": s.Namespace, "name": name,
		"labels":      map[string]any{repository.LabelSecretType: kind},
		"annotations": map[string]any{managedByKey: managedByValue},
	}})
	return o
}

// secretName is how upstream calls the Secret of an address (RepoURLToSecretName).
func secretName(prefix string, parts ...string) string {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
	}
	return fmt.Sprintf("%s-%d", prefix, h.Sum32())
}

// forget deletes a Secret that the API has made, and takes the label off any
// other.
func (s *server) forget(ctx context.Context, o *unstructured.Unstructured) error {
	if o.GetAnnotations()[managedByKey] == managedByValue {
		return s.Objects.Delete(ctx, KindSecret, o.GetNamespace(), o.GetName())
	}
	patch := mergePatch(map[string]any{"metadata": map[string]any{"labels": map[string]any{repository.LabelSecretType: nil}}})
	_, err := s.Objects.Patch(ctx, KindSecret, o.GetNamespace(), o.GetName(), mergeType, patch)
	return err
}

// credentialsKind says which credentials a call is about, and what the policy
// calls them.
type credentialsKind struct{ secret, prefix, resource string }

var (
	readingCredentials = credentialsKind{typeCredentials, "creds", policy.Repositories}
	writingCredentials = credentialsKind{typeWritingFor, "creds-write", policy.WriteRepositories}
)

func credentialsOf(o *unstructured.Unstructured) map[string]any {
	out := fieldsOf(o)
	delete(out, "name")
	delete(out, "project")
	out["url"] = repository.Printable(content(o)["url"])
	return out
}

func (s *server) listCredentials(k credentialsKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		all, err := s.secrets(ctx, k.secret)
		if err != nil {
			return nil, err
		}
		out := []any{}
		for _, o := range all {
			if url := content(o)["url"]; s.can(ctx, c, k.resource, policy.Get, url) {
				// upstream tells the address and the user alone
				out = append(out, map[string]any{"url": repository.Printable(url), "username": content(o)["username"]})
			}
		}
		sortByText(out, "url")
		return map[string]any{"items": out}, nil
	}
}

func (s *server) findCredentials(ctx context.Context, k credentialsKind, url string) (*unstructured.Unstructured, error) {
	all, err := s.secrets(ctx, k.secret)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if sameRepository(content(o)["url"], url) {
			return o, nil
		}
	}
	return nil, nil
}

func (s *server) createCredentials(k credentialsKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		sent := object(c.value, "creds")
		url := text(sent, "url")
		if url == "" {
			return nil, failed(connect.CodeInvalidArgument, "missing payload in request")
		}
		if err := s.must(ctx, c, k.resource, policy.Create, url); err != nil {
			return nil, err
		}
		existing, err := s.findCredentials(ctx, k, url)
		if err != nil {
			return nil, err
		}
		if existing != nil {
			return s.reuse(ctx, c, existing, sent, k.resource, "repository credentials", url, credentialsOf)
		}
		o := s.newSecret(k.secret, secretName(k.prefix, url))
		values := valuesOf(sent)
		values["url"] = url
		setContent(o, values)
		created, err := s.Objects.Create(ctx, KindSecret, o)
		if err != nil {
			return nil, err
		}
		s.done(ctx, c, "create", KindSecret, created, "added repository credentials for "+repository.Printable(url))
		return credentialsOf(created), nil
	}
}

// reuse is for a Secret that is there already: it may say the same, or be
// overwritten.
func (s *server) reuse(ctx context.Context, c *call, existing *unstructured.Unstructured, sent map[string]any, resource, what, address string, told func(*unstructured.Unstructured) map[string]any) (map[string]any, error) {
	values, have := valuesOf(sent), content(existing)
	var different []string
	for k, v := range values {
		if k == "type" && have[k] == "" && v == "git" {
			continue
		}
		if have[k] != v {
			different = append(different, k)
		}
	}
	slices.Sort(different)
	if len(different) == 0 {
		return told(existing), nil
	}
	if !flag(c.value, "upsert") {
		return nil, failed(connect.CodeInvalidArgument, "existing %s spec is different; use upsert flag to force update; difference in keys %q", what, strings.Join(different, ","))
	}
	if err := s.must(ctx, c, resource, policy.Update, address); err != nil {
		return nil, err
	}
	setContent(existing, values)
	updated, err := s.Objects.Update(ctx, KindSecret, existing)
	if err != nil {
		return nil, err
	}
	s.done(ctx, c, "update", KindSecret, updated, "updated "+what)
	return told(updated), nil
}

func (s *server) updateCredentials(k credentialsKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		sent := object(c.value, "creds")
		url := text(sent, "url")
		if err := s.must(ctx, c, k.resource, policy.Update, url); err != nil {
			return nil, err
		}
		o, err := s.findCredentials(ctx, k, url)
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, failed(connect.CodeNotFound, "repository credentials %q not found", repository.Printable(url))
		}
		setContent(o, valuesOf(sent))
		updated, err := s.Objects.Update(ctx, KindSecret, o)
		if err != nil {
			return nil, err
		}
		s.done(ctx, c, "update", KindSecret, updated, "updated repository credentials")
		return credentialsOf(updated), nil
	}
}

func (s *server) deleteCredentials(k credentialsKind) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		url := text(c.value, "url")
		if err := s.must(ctx, c, k.resource, policy.Delete, url); err != nil {
			return nil, err
		}
		o, err := s.findCredentials(ctx, k, url)
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, failed(connect.CodeNotFound, "repository credentials %q not found", repository.Printable(url))
		}
		if err := s.forget(ctx, o); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		s.done(ctx, c, "delete", KindSecret, o, "deleted repository credentials")
		return nothing(), nil
	}
}
