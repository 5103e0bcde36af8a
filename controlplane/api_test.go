package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

func TestNamespaceDeletion(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	createDeployment(t, c, namespace, "web", 2, template("web", "", podSpec("nginx")))
	awaitAvailable(t, c, namespace, "web")
	if err := c.typed.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, "the namespace", func(ctx context.Context) error {
		_, err := c.typed.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return err
	})
}

func TestImpersonationIsBoundByRBAC(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":default",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	tenant, err := connect(config)
	if err != nil {
		t.Fatal(err)
	}
	list := func(ctx context.Context) error {
		_, err := tenant.typed.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(t.Context()); !apierrors.IsForbidden(err) {
		t.Fatalf("a service account without rights lists ConfigMaps: %v", err)
	}
	grantView(t, c, namespace)
	await(t, "the right to list ConfigMaps", func(ctx context.Context) (string, bool, error) {
		return "", true, list(ctx)
	})
	if _, err := tenant.typed.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the right holds in another namespace: %v", err)
	}
}

func TestServiceAccountTokens(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	token, err := c.typed.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token.Status.Token
	holder, err := connect(config)
	if err != nil {
		t.Fatal(err)
	}
	review, err := holder.typed.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:" + namespace + ":default"; review.Status.UserInfo.Username != want {
		t.Errorf("the token belongs to %s", review.Status.UserInfo.Username)
	}
}

// A Secret of the old kind is filled in by a controller, and says which
// authority to trust.
func TestServiceAccountTokenSecrets(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	_, err := c.typed.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "token and authority in the Secret", func(ctx context.Context) (string, bool, error) {
		secret, err := c.typed.CoreV1().Secrets(namespace).Get(ctx, "token", metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		complete := len(secret.Data[corev1.ServiceAccountTokenKey]) > 0 &&
			bytes.Equal(secret.Data[corev1.ServiceAccountRootCAKey], c.config.CAData)
		return fmt.Sprint(len(secret.Data), " entries"), complete, nil
	})
}

var widgets = schema.GroupVersionResource{Group: "test.plumb.dev", Version: "v1", Resource: "widgets"}

func TestCustomResources(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	createWidgets(t, c)

	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.plumb.dev/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "one"},
		"spec":     map[string]any{"size": int64(1)},
	}}
	options := metav1.ApplyOptions{FieldManager: "test"}
	await(t, "a widget to be applied", func(ctx context.Context) (string, bool, error) {
		_, err := c.dynamic.Resource(widgets).Namespace(namespace).Apply(ctx, "one", widget, options)
		return "", true, err
	})
	invalid := widget.DeepCopy()
	if err := unstructured.SetNestedField(invalid.Object, "large", "spec", "size"); err != nil {
		t.Fatal(err)
	}
	invalid.SetName("two")
	if _, err := c.dynamic.Resource(widgets).Namespace(namespace).Create(t.Context(), invalid, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a widget against its schema: %v", err)
	}
	if first := initialEvents(t, c, namespace); first != "one" {
		t.Errorf("the watch began with %q", first)
	}
}

func TestAggregation(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	extension := startExtension(t, namespace)
	apiServices := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	_, err := c.dynamic.Resource(apiServices).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": "v1.aggregated.plumb.dev"},
		"spec": map[string]any{
			"group": "aggregated.plumb.dev", "version": "v1",
			"groupPriorityMinimum": int64(1000), "versionPriority": int64(10),
			"insecureSkipTLSVerify": true,
			"service":               map[string]any{"name": "extension", "namespace": namespace, "port": extension},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Left behind, an API service without a server would fail discovery.
	t.Cleanup(func() {
		_ = c.dynamic.Resource(apiServices).Delete(context.WithoutCancel(t.Context()), "v1.aggregated.plumb.dev", metav1.DeleteOptions{})
	})
	await(t, "the extension to be asked as the front proxy", func(ctx context.Context) (string, bool, error) {
		answer, err := c.typed.Discovery().RESTClient().Get().AbsPath("/apis/aggregated.plumb.dev/v1/whoami").DoRaw(ctx)
		return string(answer), strings.TrimSpace(string(answer)) == `"front-proxy-client for plumb:admin"`, err
	})
}

func TestAuditLogSaysWhoDidWhat(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	if err := c.typed.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the deletion in the audit log", func(context.Context) (string, bool, error) {
		text, err := os.ReadFile(shared.audit)
		if err != nil {
			return "", false, err
		}
		for line := range bytes.Lines(text) {
			var event struct {
				Level, Stage, Verb, UserAgent string
				User                          struct{ Username string }
				ObjectRef                     struct{ Resource, Name string }
			}
			if err := json.Unmarshal(line, &event); err != nil {
				continue // being written
			}
			if event.Verb == "delete" && event.ObjectRef.Resource == "namespaces" && event.ObjectRef.Name == namespace {
				return "", event.User.Username == "plumb:admin" && event.Level == "Metadata" && event.Stage == "ResponseComplete", nil
			}
		}
		return "no such event", false, nil
	})
}

func grantView(t *testing.T, c *clients, namespace string) {
	t.Helper()
	_, err := c.typed.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "default", Namespace: namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func createWidgets(t *testing.T, c *clients) {
	t.Helper()
	_, err := c.crds.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: widgets.Resource + "." + widgets.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: widgets.Group,
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: widgets.Resource, Singular: "widget", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: widgets.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object",
					Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": {
						Type:       "object",
						Properties: map[string]apiextensionsv1.JSONSchemaProps{"size": {Type: "integer"}},
					}},
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// initialEvents streams a list by a watch, and returns the name of the first
// object once the stream says that the list is complete.
func initialEvents(t *testing.T, c *clients, namespace string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	complete := true
	stream, err := c.dynamic.Resource(widgets).Namespace(namespace).Watch(ctx, metav1.ListOptions{
		SendInitialEvents:    &complete,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		AllowWatchBookmarks:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	var name string
	for event := range stream.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			t.Fatalf("%+v", event)
		}
		if event.Type == watch.Bookmark && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			return name
		}
		name = object.GetName()
	}
	t.Fatal("the initial events never ended")
	return ""
}

// startExtension runs an API server of one resource, which says who asks it,
// and a Service that leads to it: a name on this machine is the only one that
// can be reached from a control plane without a pod network.
func startExtension(t *testing.T, namespace string) int64 {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/aggregated.plumb.dev/v1/whoami", func(w http.ResponseWriter, r *http.Request) {
		asker := "nobody"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			asker = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_ = json.NewEncoder(w).Encode(asker + " for " + r.Header.Get("X-Remote-User"))
	})
	mux.HandleFunc("/apis/aggregated.plumb.dev/v1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{
			TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: "aggregated.plumb.dev/v1",
		})
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)

	_, text, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sharedCluster(t).typed.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "extension"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
			Ports: []corev1.ServicePort{{Port: int32(port), TargetPort: intstr.FromInt32(int32(port))}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return port
}
