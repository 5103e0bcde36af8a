package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/object"
)

// atServer is a server of Plumb that somebody has signed in to. Declared objects
// come as they stand in the cluster, so that the same is printed of them; what
// is asked of them the server writes, as its policy allows.
type atServer struct {
	app    *app
	login  *logins.Login
	http   *http.Client
	client *client.Client
	// wrote has the versions that objects have got by what was asked here: what the
	// server has seen before is not news.
	wrote map[object.ID]uint64
}

// servedBy speaks to the server of a login.
func (a *app) servedBy(login *logins.Login) (*atServer, error) {
	reach, err := login.Trust.Client()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", login, err)
	}
	return &atServer{
		app: a, login: login, http: reach, wrote: map[object.ID]uint64{},
		client: client.New(client.Options{Address: login.Server, HTTP: reach, Credential: a.credential(login), Agent: "plumb/" + buildVersion()}),
	}, nil
}

// told puts what a server answers, or does not, into words that say what to do.
func (s *atServer) told(err error) error {
	err = client.Explain(err)
	again := "plumb login " + s.login.Server
	if s.login.Name != "" && s.login.Name != s.login.Server {
		again += " --name " + s.login.Name
	}
	switch code := client.CodeOf(err); {
	case err == nil || code == "":
		return err
	case errors.Is(err, logins.ErrAnother):
		return advise(fmt.Errorf("%s: %w", s.login, logins.ErrAnother), "if that is meant to be, look at the new one and sign in again: %s", again)
	case logins.Untrusted(err):
		return advise(fmt.Errorf("%s: %w", s.login, err), "look at its certificate and say whether you trust it: %s", again)
	case code == client.Unauthenticated && s.login.Kubernetes != "":
		return advise(fmt.Errorf("%s does not know you: %w", s.login, err), "the token of context %q has to be that of a service account; make one with kubectl create token NAME, and sign in with --token", s.login.Kubernetes)
	case code == client.Unauthenticated:
		return advise(fmt.Errorf("%s does not know you: %w", s.login, err), "sign in again: %s", again)
	case code == client.PermissionDenied:
		return advise(err, "see who the server takes you for with: plumb whoami; whoever runs it says who may do what")
	case code == client.Unimplemented:
		return advise(fmt.Errorf("%s does not answer as a server of Plumb does, or is an older one: %w", s.login, err), "check the address, and the version with: plumb version")
	case utilnet.IsConnectionRefused(err):
		return advise(fmt.Errorf("%s cannot be reached: %w", s.login, err), "is it running, and is that its address?")
	case code == client.Unavailable:
		return advise(fmt.Errorf("%s cannot answer now: %w", s.login, err), "try again in a moment")
	}
	return err
}

// forbidden reports whether an object was refused to this caller, at either
// place.
func forbidden(err error) bool {
	return apierrors.IsForbidden(err) || client.CodeOf(err) == client.PermissionDenied
}

// refTo names a declared object to the server.
func refTo(kind *declaredKind, namespace, name string) *plumbv1.ObjectRef {
	return &plumbv1.ObjectRef{Group: kind.group.Group, Kind: kind.group.Kind, Namespace: namespace, Name: name}
}

// idOf is the identity that the server names.
func idOf(ref *plumbv1.ObjectRef) object.ID {
	return object.ID{Group: ref.GetGroup(), Kind: ref.GetKind(), Namespace: ref.GetNamespace(), Name: ref.GetName()}
}

// missing is what the API server of a cluster says of an object that is not
// there.
func missing(kind *declaredKind, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: kind.group.Group, Resource: kind.plural}, name)
}

func (s *atServer) get(ctx context.Context, kind *declaredKind, namespace, name string) (*unstructured.Unstructured, error) {
	list, err := s.list(ctx, kind, namespace, named(name))
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, missing(kind, name)
	}
	return &list.Items[0], nil
}

// staleFor bounds how long the server is asked again until it has seen what it
// has written itself; stalePause lies between two looks.
const (
	staleFor   = 10 * time.Second
	stalePause = 100 * time.Millisecond
)

func (s *atServer) list(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	deadline := time.Now().Add(staleFor)
	for {
		list, err := s.listed(ctx, kind, namespace, options)
		if err != nil || s.fresh(list) || time.Now().After(deadline) {
			return list, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(stalePause):
		}
	}
}

// fresh reports whether objects are as they were written here, or newer.
func (s *atServer) fresh(list *unstructured.UnstructuredList) bool {
	for i := range list.Items {
		o := &list.Items[i]
		if wrote := s.wrote[object.Of(o)]; wrote > versionOf(o.GetResourceVersion()) {
			return false
		}
	}
	return true
}

// versionOf is a resourceVersion as the number that it is; 0 where it is none.
func versionOf(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// Bounds of what a server can have a command hold: it may never come to an end.
const (
	maxPages = 1000
	maxBytes = 256 << 20 // of manifests
)

// listed reads what there is, page by page.
func (s *atServer) listed(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	name, err := nameIn(options)
	if err != nil {
		return nil, err
	}
	if _, err := labels.Parse(options.LabelSelector); err != nil {
		return nil, err
	}
	request := &plumbv1.ListDeclarationsRequest{
		Group: kind.group.Group, Kind: kind.group.Kind, Namespace: namespace, LabelSelector: options.LabelSelector, PageSize: pageSize,
	}
	if namespace != "" {
		request.Name = name
	}
	all, pages, size := &unstructured.UnstructuredList{}, 0, 0
	for {
		page, err := s.client.Declarations.ListDeclarations(ctx, request)
		switch {
		case client.CodeOf(err) == client.NotFound:
			return all, nil
		case client.CodeOf(err) == client.Invalid:
			return nil, &meta.NoKindMatchError{GroupKind: kind.group}
		case err != nil:
			return nil, s.told(err)
		}
		for _, manifest := range page.GetManifests() {
			o, err := readManifest(manifest)
			if err != nil {
				return nil, err
			}
			if size += len(manifest); name == "" || o.GetName() == name {
				all.Items = append(all.Items, *o)
			}
		}
		if pages++; pages == maxPages || size > maxBytes {
			return nil, advise(fmt.Errorf("%s sends more %s than a command can hold: %d MiB on %d pages", s.login, kind.plural, size>>20, pages), "ask for one namespace with -n")
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	sort.SliceStable(all.Items, func(i, j int) bool { return before(&all.Items[i], &all.Items[j]) })
	return all, nil
}

// nameIn is the name that list options select; "": any.
func nameIn(options metav1.ListOptions) (string, error) {
	selector, err := fields.ParseSelector(options.FieldSelector)
	if err != nil {
		return "", err
	}
	name, _ := selector.RequiresExactMatch("metadata.name")
	return name, nil
}

func readManifest(text string) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSON([]byte(text))
	o := &unstructured.Unstructured{}
	if err == nil {
		err = o.UnmarshalJSON(data)
	}
	if err != nil {
		return nil, fmt.Errorf("the server sends an object that cannot be read: %w", err)
	}
	return o, nil
}

// acted are the kinds that the server acts on as deliveries; others it takes for
// sources.
var acted = map[schema.GroupKind]bool{
	kustomizations.group: true, helmReleases.group: true, applications.group: true, applicationSets.group: true,
}

// ask refuses by itself what the object as it is would not take, in the same
// words as with a kubeconfig, and then lets the server write.
func (s *atServer) ask(ctx context.Context, kind *declaredKind, namespace, name string, w wish) error {
	o, err := s.get(ctx, kind, namespace, name)
	if err != nil {
		return err
	}
	if _, err := w.patch(o, func() string { return s.login.User }); err != nil {
		return refused(kind, o, err)
	}
	if granted(w, o) {
		return nil
	}
	message := &plumbv1.ActRequest{Ref: refTo(kind, namespace, name)}
	if err := w.action(o, message); err != nil {
		return err
	}
	var answer *plumbv1.ActResponse
	if acted[kind.group] {
		answer, err = s.client.Deliveries.Act(ctx, message)
	} else {
		answer, err = s.client.Fleet.ActOnSource(ctx, &plumbv1.ActOnSourceRequest{Ref: message.Ref, Action: sourceAction(message)})
	}
	if err != nil {
		return s.told(err)
	}
	for _, warning := range answer.GetWarnings() {
		s.app.say.warning("%s", oneLine(warning))
	}
	// Whoever looks next, here or by another command, finds it done.
	s.wrote[object.Of(o)] = versionOf(answer.GetVersion())
	if _, err := s.get(ctx, kind, namespace, name); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// granted reports whether an object is already as a wish wants it; the server
// takes such a wish for a mistake.
func granted(w wish, o *unstructured.Unstructured) bool {
	switch w.(type) {
	case toSuspend:
		return suspended(o)
	case toResume:
		return !suspended(o)
	}
	return false
}

// sourceAction is what a message asks of a delivery, in the words of a source.
func sourceAction(m *plumbv1.ActRequest) string {
	switch m.GetAction().(type) {
	case *plumbv1.ActRequest_Suspend:
		return "suspend"
	case *plumbv1.ActRequest_Resume:
		return "resume"
	}
	return "refresh"
}
