package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/model"
)

// Session makes calls as one identity. It is cheap and safe for concurrent use.
// Every method retries what can be sent again without a second effect, until
// the context ends or the attempts are used up.
type Session struct {
	c          *Cluster
	who        model.Identity
	background bool
}

// Background is the same session for writes that only report, such as statuses
// and events: they never delay writes that change the cluster.
func (s *Session) Background() *Session {
	b := *s
	b.background = true
	return &b
}

// Cluster is where the session calls.
func (s *Session) Cluster() *Cluster { return s.c }

// Identity is who the session acts as.
func (s *Session) Identity() model.Identity { return s.who }

// Get reads one object. The namespace is ignored for kinds that have none.
func (s *Session) Get(ctx context.Context, kind Kind, namespace, name string) (*unstructured.Unstructured, error) {
	p, err := objectPath(kind, namespace, name, "")
	if err != nil {
		return nil, err
	}
	return s.object(ctx, &request{
		method: http.MethodGet, path: p, retry: always,
		call: Call{Verb: "get", Kind: kind, Namespace: namespace, Name: name},
	})
}

// ListOptions narrow a list.
type ListOptions struct {
	Namespace     string // "": all
	LabelSelector string
	FieldSelector string
	MetadataOnly  bool // objects carry apiVersion, kind and metadata without managedFields
	PageSize      int  // objects per request; default 500
}

// List calls each for every object, page by page, so that no list is held in
// memory, and returns the resource version of the list. An object belongs to
// the callee. When a list has to start again because its continuation expired,
// objects are handed out again.
func (s *Session) List(ctx context.Context, kind Kind, opts ListOptions, each func(*unstructured.Unstructured) error) (string, error) {
	call := Call{Verb: "list", Kind: kind, Namespace: opts.Namespace, Identity: s.who, Background: s.background}
	if err := s.c.opts.Intercept.beforeRead(ctx, call); err != nil {
		return "", err
	}
	return s.c.list(ctx, s.who, kind, opts, each)
}

// ApplyOptions steer a server-side apply.
type ApplyOptions struct {
	Manager string // field manager, required
	Force   bool   // take fields from other managers
	DryRun  bool   // predict only: every check runs, nothing is stored
}

// Apply is a server-side apply of want, one object as JSON, which must agree
// with kind and carry its name. The answer is the object as it was stored.
func (s *Session) Apply(ctx context.Context, kind Kind, want []byte, opts ApplyOptions) (*unstructured.Unstructured, error) {
	namespace, name, err := nameOf(want)
	if err != nil {
		return nil, err
	}
	return s.patch(ctx, kind, namespace, name, want, PatchOptions{
		Type: types.ApplyPatchType, Manager: opts.Manager, DryRun: opts.DryRun, Force: opts.Force,
	})
}

// ApplyNamed is Apply for a caller that knows the name already, or applies to
// a subresource.
func (s *Session) ApplyNamed(ctx context.Context, kind Kind, namespace, name string, want []byte, opts PatchOptions) (*unstructured.Unstructured, error) {
	opts.Type = types.ApplyPatchType
	return s.patch(ctx, kind, namespace, name, want, opts)
}

// PatchOptions steer a patch.
type PatchOptions struct {
	Type        types.PatchType // default: JSON merge patch
	Subresource string          // such as "status"
	Manager     string          // field manager
	DryRun      bool
	Force       bool // only for apply patches
}

// Patch changes one object and returns it as stored.
func (s *Session) Patch(ctx context.Context, kind Kind, namespace, name string, opts PatchOptions, body []byte) (*unstructured.Unstructured, error) {
	if opts.Type == "" {
		opts.Type = types.MergePatchType
	}
	return s.patch(ctx, kind, namespace, name, body, opts)
}

func (s *Session) patch(ctx context.Context, kind Kind, namespace, name string, body []byte, opts PatchOptions) (*unstructured.Unstructured, error) {
	p, err := objectPath(kind, namespace, name, opts.Subresource)
	if err != nil {
		return nil, err
	}
	verb, again := "patch", always
	switch opts.Type {
	case types.ApplyPatchType:
		verb = "apply"
	case types.JSONPatchType:
		again = unsent // "add" to a list is not idempotent
	}
	q := writeQuery(opts.Manager, opts.DryRun)
	if opts.Type == types.ApplyPatchType && opts.Force {
		q.Set("force", "true")
	}
	return s.object(ctx, &request{
		method: http.MethodPatch, path: p, query: q.Encode(), body: body, contentType: string(opts.Type), retry: again, write: true,
		call: Call{Verb: verb, Kind: kind, Namespace: namespace, Name: name, Subresource: opts.Subresource, Manager: opts.Manager, DryRun: opts.DryRun},
	})
}

// WriteOptions steer a create or an update.
type WriteOptions struct {
	Subresource string
	Manager     string
	DryRun      bool
}

// Create stores a new object; metadata.generateName is honoured. An attempt
// that may have reached the server is not repeated.
func (s *Session) Create(ctx context.Context, kind Kind, o *unstructured.Unstructured, opts WriteOptions) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	p, err := collectionPath(kind, o.GetNamespace())
	if err != nil {
		return nil, err
	}
	if opts.Subresource != "" {
		if p, err = objectPath(kind, o.GetNamespace(), o.GetName(), opts.Subresource); err != nil {
			return nil, err
		}
	}
	return s.object(ctx, &request{
		method: http.MethodPost, path: p, query: writeQuery(opts.Manager, opts.DryRun).Encode(), body: body, contentType: jsonType, retry: unsent, write: true,
		call: Call{Verb: "create", Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Subresource: opts.Subresource, Manager: opts.Manager, DryRun: opts.DryRun},
	})
}

// Update replaces an object. With a resource version in it, the server refuses
// it when somebody else wrote in between.
func (s *Session) Update(ctx context.Context, kind Kind, o *unstructured.Unstructured, opts WriteOptions) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	p, err := objectPath(kind, o.GetNamespace(), o.GetName(), opts.Subresource)
	if err != nil {
		return nil, err
	}
	return s.object(ctx, &request{
		method: http.MethodPut, path: p, query: writeQuery(opts.Manager, opts.DryRun).Encode(), body: body, contentType: jsonType, retry: unsent, write: true,
		call: Call{Verb: "update", Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Subresource: opts.Subresource, Manager: opts.Manager, DryRun: opts.DryRun},
	})
}

// DeleteOptions guard and steer a deletion. UID and ResourceVersion are
// preconditions when set; a deletion that they forbid fails as a conflict.
type DeleteOptions struct {
	UID             string
	ResourceVersion string
	Propagation     metav1.DeletionPropagation // "": the server's default for the kind
	DryRun          bool
}

// Delete asks for the deletion of one object; finalizers may hold it for a
// while. An object that is gone already is a NotFound error.
func (s *Session) Delete(ctx context.Context, kind Kind, namespace, name string, opts DeleteOptions) error {
	p, err := objectPath(kind, namespace, name, "")
	if err != nil {
		return err
	}
	del := metav1.DeleteOptions{}
	if opts.UID != "" || opts.ResourceVersion != "" {
		del.Preconditions = &metav1.Preconditions{}
		if opts.UID != "" {
			uid := types.UID(opts.UID)
			del.Preconditions.UID = &uid
		}
		if opts.ResourceVersion != "" {
			del.Preconditions.ResourceVersion = &opts.ResourceVersion
		}
	}
	if opts.Propagation != "" {
		del.PropagationPolicy = &opts.Propagation
	}
	if opts.DryRun {
		del.DryRun = []string{metav1.DryRunAll}
	}
	del.Kind, del.APIVersion = "DeleteOptions", "v1"
	body, err := json.Marshal(&del)
	if err != nil {
		return fmt.Errorf("encode delete options: %w", err)
	}
	return s.send(ctx, &request{
		method: http.MethodDelete, path: p, body: body, contentType: jsonType, retry: always, write: true,
		call: Call{Verb: "delete", Kind: kind, Namespace: namespace, Name: name, DryRun: opts.DryRun},
	}, nil)
}

// object sends a request whose answer is one object.
func (s *Session) object(ctx context.Context, r *request) (*unstructured.Unstructured, error) {
	var o *unstructured.Unstructured
	err := s.send(ctx, r, func(body []byte) error {
		content, err := decodeObject(body)
		if err != nil {
			return err
		}
		o = &unstructured.Unstructured{Object: content}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// send runs the interceptors around a call and waits for a slot if it writes.
func (s *Session) send(ctx context.Context, r *request, decode func([]byte) error) error {
	r.who = s.who
	r.background = s.background
	r.call.Identity, r.call.Background = s.who, s.background
	hooks := &s.c.opts.Intercept
	if !r.write {
		if err := hooks.beforeRead(ctx, r.call); err != nil {
			return err
		}
		return s.c.kinds.doubt(r.call.Kind, s.c.do(ctx, r, decode))
	}
	if hooks.BeforeWrite != nil {
		if err := hooks.BeforeWrite(ctx, r.call); err != nil {
			return err
		}
	}
	err := s.c.kinds.doubt(r.call.Kind, s.c.do(ctx, r, decode))
	if hooks.AfterWrite != nil {
		err = hooks.AfterWrite(ctx, r.call, err)
	}
	return err
}

func (i *Intercept) beforeRead(ctx context.Context, call Call) error {
	if i.BeforeRead == nil {
		return nil
	}
	return i.BeforeRead(ctx, call)
}

func writeQuery(manager string, dryRun bool) url.Values {
	q := url.Values{}
	if manager != "" {
		q.Set("fieldManager", manager)
	}
	if dryRun {
		q.Set("dryRun", metav1.DryRunAll)
	}
	return q
}

// collectionPath is where the objects of a kind are listed and created.
func collectionPath(kind Kind, namespace string) (string, error) {
	p := groupVersionPath(kind.GVR.Group, kind.GVR.Version)
	if kind.Namespaced && namespace != "" {
		if err := segment("namespace", namespace); err != nil {
			return "", err
		}
		p += "/namespaces/" + namespace
	}
	return p + "/" + kind.GVR.Resource, nil
}

func groupVersionPath(group, version string) string {
	if group == "" {
		return "/api/" + version
	}
	return "/apis/" + group + "/" + version
}

// objectPath refuses names that would lead to another path of the API: they
// come from files that strangers wrote.
func objectPath(kind Kind, namespace, name, subresource string) (string, error) {
	if kind.Namespaced && namespace == "" {
		return "", fmt.Errorf("%s %s needs a namespace", kind.GVK.Kind, strconv.Quote(name))
	}
	p, err := collectionPath(kind, namespace)
	if err != nil {
		return "", err
	}
	if err := segment("name", name); err != nil {
		return "", err
	}
	p += "/" + name
	if subresource != "" {
		p += "/" + subresource
	}
	return p, nil
}

func segment(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s must not be empty", what)
	}
	if len(s) > 1024 {
		return fmt.Errorf("%s has %d characters", what, len(s))
	}
	if reasons := content.IsPathSegmentName(s); len(reasons) > 0 {
		return fmt.Errorf("%s %q is not usable: %s", what, s, reasons[0])
	}
	return nil
}
