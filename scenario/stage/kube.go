package stage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"
)

// Kube reads and writes objects by kind and name, as a person with kubectl does.
type Kube struct {
	objects dynamic.Interface
	server  discovery.CachedDiscoveryInterface

	mu     sync.Mutex
	mapper meta.RESTMapper
}

// NewKube connects.
func NewKube(cfg *rest.Config) (*Kube, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = rest.NoWarnings{} // of deprecated kinds that Dump lists
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	server, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Kube{objects: objects, server: memory.NewMemCacheClient(server), mapper: unknowing}, nil
}

// A Name is one object as a story names it.
type Name struct {
	Kind      string // as kubectl takes it: "configmap", "ks", "deployment.apps"
	Namespace string // ignored for kinds without one
	Name      string
}

// ParseName reads KIND/NAME or KIND/NAMESPACE/NAME; the namespace defaults.
func ParseName(s, namespace string) (Name, error) {
	switch parts := strings.Split(s, "/"); len(parts) {
	case 2:
		return Name{Kind: parts[0], Namespace: namespace, Name: parts[1]}, nil
	case 3:
		return Name{Kind: parts[0], Namespace: parts[1], Name: parts[2]}, nil
	}
	return Name{}, fmt.Errorf("%q names no object: KIND/NAME or KIND/NAMESPACE/NAME is wanted", s)
}

// String is KIND/NAMESPACE/NAME.
func (n Name) String() string { return n.Kind + "/" + n.Namespace + "/" + n.Name }

// resource finds what a kind is served as. Kinds come with stories, so that an
// unknown one is looked up anew.
func (k *Kube) resource(kind string) (schema.GroupVersionResource, bool, error) {
	partial := schema.ParseGroupResource(strings.ToLower(kind)).WithVersion("")
	mapping, err := k.lookUp(func(known meta.RESTMapper) (*meta.RESTMapping, error) {
		gvk, err := known.KindFor(partial)
		if err != nil {
			return nil, err
		}
		return known.RESTMapping(gvk.GroupKind(), gvk.Version)
	})
	if err != nil {
		return schema.GroupVersionResource{}, false, err
	}
	return mapping.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// lookUp asks what is known of the kinds, and if that is no answer, the server.
func (k *Kube) lookUp(ask func(meta.RESTMapper) (*meta.RESTMapping, error)) (*meta.RESTMapping, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	mapping, err := ask(k.mapper)
	if meta.IsNoMatchError(err) {
		if err := k.learn(); err != nil {
			return nil, err
		}
		mapping, err = ask(k.mapper)
	}
	return mapping, err
}

// learn asks the server for its kinds. The caller holds the lock.
func (k *Kube) learn() error {
	k.server.Invalidate()
	groups, err := restmapper.GetAPIGroupResources(k.server)
	if err != nil {
		return err
	}
	k.mapper = restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), k.server, nil)
	return nil
}

// forget drops what is known of the kinds.
func (k *Kube) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mapper = unknowing
}

// unknowing knows no kind, so that the first question asks the server.
var unknowing = meta.NewDefaultRESTMapper(nil)

// handle is where an object is read and written.
func (k *Kube) handle(n Name) (dynamic.ResourceInterface, error) {
	resource, namespaced, err := k.resource(n.Kind)
	if err != nil {
		return nil, err
	}
	if !namespaced {
		return k.objects.Resource(resource), nil
	}
	return k.objects.Resource(resource).Namespace(n.Namespace), nil
}

// Get returns the object, or nil if it, or its kind, does not exist.
func (k *Kube) Get(ctx context.Context, n Name) (*unstructured.Unstructured, error) {
	at, err := k.handle(n)
	if err != nil {
		return nil, absent(err)
	}
	object, err := at.Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return nil, absent(err)
	}
	return object, nil
}

func absent(err error) error {
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// List returns all objects of a kind in a namespace ("": in all).
func (k *Kube) List(ctx context.Context, kind, namespace string) ([]unstructured.Unstructured, error) {
	at, err := k.handle(Name{Kind: kind, Namespace: namespace})
	if err != nil {
		return nil, err
	}
	list, err := at.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// version is where the version that an object names is served.
func (k *Kube) version(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	mapping, err := k.lookUp(func(known meta.RESTMapper) (*meta.RESTMapping, error) {
		return known.RESTMapping(gvk.GroupKind(), gvk.Version)
	})
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return k.objects.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
	}
	o.SetNamespace("")
	return k.objects.Resource(mapping.Resource), nil
}

// Apply writes the object by server-side apply as a field manager.
func (k *Kube) Apply(ctx context.Context, o *unstructured.Unstructured, manager string) error {
	at, err := k.version(o)
	if err != nil {
		return err
	}
	// An apply may be sent again: a connection that breaks is none of a story's
	// business.
	return retry.OnError(retry.DefaultBackoff, broken, func() error {
		_, err := at.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		return err
	})
}

// broken reports whether a connection ended in the middle of an answer.
func broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err)
}

// clientSideManager and lastApplied are the marks of "kubectl apply" without
// --server-side.
const (
	clientSideManager = "kubectl-client-side-apply"
	lastApplied       = corev1.LastAppliedConfigAnnotation
)

// ApplyClientSide creates the object as "kubectl apply" does.
func (k *Kube) ApplyClientSide(ctx context.Context, o *unstructured.Unstructured) error {
	at, err := k.version(o)
	if err != nil {
		return err
	}
	text, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[lastApplied] = string(text)
	o.SetAnnotations(annotations)
	_, err = at.Create(ctx, o, metav1.CreateOptions{FieldManager: clientSideManager})
	return err
}

// Create creates the object and fails if it exists.
func (k *Kube) Create(ctx context.Context, o *unstructured.Unstructured) error {
	at, err := k.version(o)
	if err != nil {
		return err
	}
	_, err = at.Create(ctx, o, metav1.CreateOptions{FieldManager: "story"})
	return err
}

// Patch sends a merge patch, as "kubectl edit" does.
func (k *Kube) Patch(ctx context.Context, n Name, patch []byte, subresource ...string) error {
	at, err := k.handle(n)
	if err != nil {
		return err
	}
	_, err = at.Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}, subresource...)
	return err
}

// Delete deletes the object; one that is gone already is an error. What it is
// the owner of goes with it.
func (k *Kube) Delete(ctx context.Context, n Name) error {
	return k.delete(ctx, n, metav1.DeletePropagationBackground)
}

// Orphan is Delete, but what the object is the owner of stays.
func (k *Kube) Orphan(ctx context.Context, n Name) error {
	return k.delete(ctx, n, metav1.DeletePropagationOrphan)
}

func (k *Kube) delete(ctx context.Context, n Name, policy metav1.DeletionPropagation) error {
	at, err := k.handle(n)
	if err != nil {
		return err
	}
	return at.Delete(ctx, n.Name, metav1.DeleteOptions{PropagationPolicy: &policy})
}

// errNoObject is what a question about an absent object runs into.
var errNoObject = errors.New("the object does not exist")

// Decode reads the objects of a YAML file.
func Decode(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var content map[string]any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return nil, err
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
}

// ServiceAccountToken asks the API server for a token of a service account.
func (k *Kube) ServiceAccountToken(ctx context.Context, namespace, name string) (string, error) {
	accounts := k.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	answer, err := accounts.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{},
	}}, metav1.CreateOptions{}, "token")
	if err != nil {
		return "", err
	}
	token, _, err := unstructured.NestedString(answer.Object, "status", "token")
	return token, err
}
