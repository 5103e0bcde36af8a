package argocd_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// memory is a cluster in memory.
type memory struct {
	mu       sync.Mutex
	version  int
	objects  map[string]*unstructured.Unstructured
	watchers map[int]func(watch.EventType, *unstructured.Unstructured)
	next     int
	lists    int // that were asked for
	gets     int
	late     bool // watches begin before they know what there is
}

func newMemory() *memory {
	return &memory{objects: map[string]*unstructured.Unstructured{}, watchers: map[int]func(watch.EventType, *unstructured.Unstructured){}}
}

func keyOf(kind argocd.Kind, namespace, name string) string {
	return kind.Kind + "/" + namespace + "/" + name
}

func absent(kind argocd.Kind, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind) + "s"}, name)
}

func (m *memory) Get(_ context.Context, kind argocd.Kind, namespace, name string) (*unstructured.Unstructured, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	o, ok := m.objects[keyOf(kind, namespace, name)]
	if !ok {
		return nil, absent(kind, name)
	}
	return o.DeepCopy(), nil
}

func (m *memory) List(_ context.Context, kind argocd.Kind, namespace string, selector labels.Selector) ([]*unstructured.Unstructured, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*unstructured.Unstructured
	m.lists++
	for key, o := range m.objects {
		if strings.HasPrefix(key, kind.Kind+"/") && (namespace == "" || o.GetNamespace() == namespace) && (selector == nil || selector.Matches(labels.Set(o.GetLabels()))) {
			out = append(out, o.DeepCopy())
		}
	}
	return out, strconv.Itoa(m.version), nil
}

// put stores an object and tells the watchers.
func (m *memory) put(typ watch.EventType, key string, o *unstructured.Unstructured) *unstructured.Unstructured {
	m.version++
	o = o.DeepCopy()
	o.SetResourceVersion(strconv.Itoa(m.version))
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", m.version)))
	}
	m.objects[key] = o
	for _, tell := range m.watchers {
		tell(typ, o.DeepCopy())
	}
	return o.DeepCopy()
}

func (m *memory) Create(_ context.Context, kind argocd.Kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := keyOf(kind, o.GetNamespace(), o.GetName())
	if _, there := m.objects[key]; there {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind) + "s"}, o.GetName())
	}
	return m.put(watch.Added, key, o), nil
}

func (m *memory) Update(_ context.Context, kind argocd.Kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := keyOf(kind, o.GetNamespace(), o.GetName())
	was, there := m.objects[key]
	if !there {
		return nil, absent(kind, o.GetName())
	}
	if v := o.GetResourceVersion(); v != "" && v != was.GetResourceVersion() {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: kind.Group, Resource: kind.Kind}, o.GetName(), fmt.Errorf("it was changed"))
	}
	return m.put(watch.Modified, key, o), nil
}

func (m *memory) Patch(_ context.Context, kind argocd.Kind, namespace, name string, _ types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := keyOf(kind, namespace, name)
	was, there := m.objects[key]
	if !there {
		return nil, absent(kind, name)
	}
	before, err := was.MarshalJSON()
	if err != nil {
		return nil, err
	}
	after, err := jsonpatch.MergePatch(before, body)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(after); err != nil {
		return nil, err
	}
	return m.put(watch.Modified, key, o), nil
}

func (m *memory) Delete(_ context.Context, kind argocd.Kind, namespace, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := keyOf(kind, namespace, name)
	o, there := m.objects[key]
	if !there {
		return absent(kind, name)
	}
	delete(m.objects, key)
	for _, tell := range m.watchers {
		tell(watch.Deleted, o.DeepCopy())
	}
	return nil
}

func (m *memory) Watch(ctx context.Context, kind argocd.Kind, namespace string, each func(watch.EventType, *unstructured.Unstructured), synced func()) error {
	type news struct {
		typ watch.EventType
		o   *unstructured.Unstructured
	}
	events := make(chan news, 100)
	m.mu.Lock()
	id := m.next
	m.next++
	for key, o := range m.objects {
		if strings.HasPrefix(key, kind.Kind+"/") && (namespace == "" || o.GetNamespace() == namespace) && !m.late {
			events <- news{watch.Added, o.DeepCopy()}
		}
	}
	events <- news{}
	m.watchers[id] = func(typ watch.EventType, o *unstructured.Unstructured) {
		if o.GetKind() == kind.Kind && (namespace == "" || o.GetNamespace() == namespace) {
			events <- news{typ, o}
		}
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, id)
		m.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-events:
			if n.o == nil {
				synced()
			} else {
				each(n.typ, n.o)
			}
		}
	}
}

// asked is how often one object was asked for.
func (m *memory) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets
}

// onChange calls back for every change, as a controller would be.
func (m *memory) onChange(tell func(watch.EventType, *unstructured.Unstructured)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[m.next] = tell
	m.next++
}

// deliveries is what becomes of Applications, as a test says.
type deliveries struct {
	tree      map[string]any
	managed   []argocd.Managed
	manifests []*unstructured.Unstructured
	live      map[argocd.Ref]*unstructured.Unstructured
	logs      []argocd.LogLine
	invalid   error
	acted     []string
	deleted   []argocd.Deletion
	generated []*unstructured.Unstructured
	// follow keeps logs open until the caller has gone.
	gone chan struct{}
}

func (d *deliveries) Tree(context.Context, *unstructured.Unstructured) (map[string]any, error) {
	return d.tree, nil
}

func (d *deliveries) WatchTree(ctx context.Context, _ *unstructured.Unstructured, each func(map[string]any) error) error {
	if err := each(d.tree); err != nil {
		return err
	}
	<-ctx.Done()
	if d.gone != nil {
		close(d.gone)
	}
	return nil
}

func (d *deliveries) Managed(context.Context, *unstructured.Unstructured) ([]argocd.Managed, error) {
	return d.managed, nil
}

func (d *deliveries) Manifests(context.Context, *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	return d.manifests, nil
}

func (d *deliveries) Predict(_ context.Context, _, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return desired, nil
}

func (d *deliveries) Live(_ context.Context, _ *unstructured.Unstructured, ref argocd.Ref) (*unstructured.Unstructured, error) {
	for at, o := range d.live {
		if at.Kind == ref.Kind && at.Name == ref.Name {
			return o, nil
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: ref.Kind}, ref.Name)
}

func (d *deliveries) Patch(ctx context.Context, app *unstructured.Unstructured, ref argocd.Ref, _ types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	if strings.Contains(string(body), "refused") {
		return nil, apierrors.NewBadRequest("refused: " + string(body))
	}
	return d.Live(ctx, app, ref)
}

func (d *deliveries) Delete(_ context.Context, _ *unstructured.Unstructured, _ argocd.Ref, how argocd.Deletion) error {
	d.deleted = append(d.deleted, how)
	return nil
}

func (d *deliveries) Events(context.Context, *unstructured.Unstructured, argocd.Ref, string) ([]*unstructured.Unstructured, error) {
	return nil, nil
}

func (d *deliveries) Actions(context.Context, *unstructured.Unstructured, argocd.Ref) ([]argocd.Action, error) {
	return []argocd.Action{{Name: "restart"}, {Name: "resume", Disabled: true}}, nil
}

func (d *deliveries) Act(_ context.Context, _ *unstructured.Unstructured, ref argocd.Ref, action string, parameters map[string]string) error {
	d.acted = append(d.acted, fmt.Sprint(ref.Kind, "/", ref.Name, " ", action, " ", parameters))
	return nil
}

func (d *deliveries) Logs(_ context.Context, _ *unstructured.Unstructured, _, _ string, _ argocd.LogOptions, each func(argocd.LogLine) error) error {
	for _, line := range d.logs {
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}

func (d *deliveries) Revision(context.Context, *unstructured.Unstructured, map[string]any, string) (argocd.Revision, error) {
	return argocd.Revision{Author: "Ada <ada@example.org>", Message: "Open the shop", Date: moment}, nil
}

func (d *deliveries) Chart(context.Context, *unstructured.Unstructured, map[string]any, string) (argocd.Chart, error) {
	return argocd.Chart{Description: "A shop"}, nil
}

func (d *deliveries) Validate(context.Context, *unstructured.Unstructured) error { return d.invalid }

func (d *deliveries) Generate(context.Context, *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	return d.generated, nil
}

func (d *deliveries) Reach(_ context.Context, secret *unstructured.Unstructured) error {
	data, _ := secret.Object["data"].(map[string]any)
	encoded, _ := data["url"].(string)
	if url, err := base64.StdEncoding.DecodeString(encoded); err != nil || strings.Contains(string(url), "unreachable") {
		return fmt.Errorf("dial tcp: no such host")
	}
	return nil
}

func (d *deliveries) Cluster(context.Context, string) (string, error) { return "v1.37.1", nil }

// door lets in whoever has a token "token-NAME".
type door struct {
	mu       sync.Mutex
	accounts map[string]signin.Account
	out      []string
}

func (d *door) Authenticate(_ context.Context, r *http.Request) (signin.Principal, error) {
	return caller(context.WithValue(r.Context(), callerKey{}, tokenOf(r)))
}

func (d *door) Login(_ context.Context, name, password string) (model.Secret, error) {
	if password != name+"-password" {
		return model.Secret{}, signin.ErrLogin
	}
	return model.NewSecret([]byte("token-" + name)), nil
}

func (d *door) Logout(_ context.Context, r *http.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = append(d.out, tokenOf(r))
	return nil
}

func (d *door) SetSession(w http.ResponseWriter, _ *http.Request, token model.Secret) error {
	http.SetCookie(w, &http.Cookie{Name: signin.CookieName, Value: string(token.Reveal())})
	return nil
}

func (d *door) Ways(context.Context) (signin.Ways, error) {
	return signin.Ways{URL: "https://plumb.example.org", Passwords: true, PasswordPattern: "^.{8,32}$", Provider: &signin.ProviderWay{
		Name: "Dex", Issuer: "https://dex.example.org", ClientID: "plumb", CLIClientID: "plumb-cli", Scopes: []string{"openid", "groups"}, PKCE: true,
	}}, nil
}

func (d *door) Accounts(context.Context) ([]signin.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []signin.Account
	for _, a := range d.accounts {
		out = append(out, a)
	}
	return out, nil
}

func (d *door) CreateToken(_ context.Context, account, id string, _ time.Duration) (model.Secret, signin.IssuedToken, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[account]
	issued := signin.IssuedToken{ID: id, IssuedAt: 1700000000}
	a.Tokens = append(a.Tokens, issued)
	d.accounts[account] = a
	return model.NewSecret([]byte("api-" + account)), issued, nil
}

func (d *door) DeleteToken(_ context.Context, account, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[account]
	a.Tokens = slices.DeleteFunc(slices.Clone(a.Tokens), func(t signin.IssuedToken) bool { return t.ID == id })
	d.accounts[account] = a
	return nil
}

func (d *door) UpdatePassword(_ context.Context, _ signin.Principal, _, current, _ string) error {
	if current != "admin-password" {
		return &model.Fault{Reason: "Refused", Message: "current password does not match"}
	}
	return nil
}

func (d *door) ProjectToken(_ context.Context, project, role, id string, _ time.Duration) (model.Secret, signin.IssuedToken, error) {
	return model.NewSecret([]byte("proj-" + project + "-" + role)), signin.IssuedToken{ID: id, IssuedAt: 1700000001}, nil
}

func tokenOf(r *http.Request) string {
	if t := r.Header.Get("token"); t != "" {
		return t
	}
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// stage is a server with everything around it.
type stage struct {
	t       *testing.T
	objects *memory
	world   *deliveries
	door    *door
	url     string
	client  *http.Client
	deeds   []argocd.Deed // that were done
	denied  []argocd.Deed // that were refused
	// shown hides what a test wants hidden; nil: nothing.
	shown func(*unstructured.Unstructured) (*unstructured.Unstructured, bool)
	// seen are the objects that are watched; nil: every list is asked for.
	seen argocd.Declarations
}

// Of are the objects that somebody watches, where somebody does.
func (s *stage) Of(kind argocd.Kind) ([]*unstructured.Unstructured, bool) {
	if s.seen == nil {
		return nil, false
	}
	return s.seen.Of(kind)
}

var moment = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// rules are who may do what: admin everything, reader look, shopkeeper what is in
// project shop.
const rules = `
p, role:reader, *, get, *, allow
g, reader, role:reader
p, shopkeeper, applications, *, shop/*, allow
p, shopkeeper, logs, get, shop/*, allow
p, shopkeeper, projects, get, shop, allow
p, shopkeeper, repositories, get, shop/*, allow
p, shopkeeper, applicationsets, *, shop/*, allow
`

type guard struct{ policy *policy.Policy }

func (g guard) Policy() *policy.Policy { return g.policy }

func (g guard) Can(_ context.Context, who signin.Principal, r policy.Request) bool {
	return g.policy.Can(policy.Subject{Name: who.Subject, Groups: who.Groups}, r).Allowed()
}

func setup(t *testing.T, manifests ...string) *stage {
	t.Helper()
	config, findings := policy.FromConfigMap(map[string]string{"policy.csv": rules})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	s := &stage{
		t: t, objects: newMemory(), world: &deliveries{},
		door: &door{accounts: map[string]signin.Account{"admin": {Name: "admin", Enabled: true, Capabilities: []string{"login"}}, "ci": {Name: "ci", Enabled: true, Capabilities: []string{"apiKey"}}}},
	}
	handler, err := argocd.New(argocd.Options{
		Door: s.door, Guard: guard{policy.Compile(config, nil)}, Objects: s.objects, Deliveries: s.world, Namespace: "argocd", Version: "test", Caller: caller,
		Audit: func(_ context.Context, d argocd.Deed) {
			if d.Refused {
				s.denied = append(s.denied, d)
			} else {
				s.deeds = append(s.deeds, d)
			}
		},
		Now: func() time.Time { return moment }, Declared: s, ApplicationNamespaces: []string{"by-flag-*"},
		Shown: func(o *unstructured.Unstructured) (*unstructured.Unstructured, bool) {
			if s.shown == nil {
				return o, false
			}
			return s.shown(o)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(identified(handler))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url, s.client = server.URL, server.Client()
	for _, text := range manifests {
		s.declare(text)
	}
	return s
}

// identified stands for internal/signin, which has tests of its own.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, tokenOf(r))))
	})
}

type callerKey struct{}

// caller is whoever has a token "token-NAME".
func caller(ctx context.Context) (signin.Principal, error) {
	token, _ := ctx.Value(callerKey{}).(string)
	name, ok := strings.CutPrefix(token, "token-")
	if !ok {
		return signin.Principal{}, signin.ErrNoSession
	}
	return signin.Principal{Kind: signin.KindAccount, Name: name, Subject: name, Issuer: signin.Issuer}, nil
}

func (s *stage) declare(text string) {
	s.t.Helper()
	for _, one := range strings.Split(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		text, err := yaml.YAMLToJSON([]byte(one))
		if err != nil {
			s.t.Fatal(err)
		}
		if err := o.UnmarshalJSON(text); err != nil {
			s.t.Fatal(err)
		}
		s.objects.mu.Lock()
		s.objects.put(watch.Added, keyOf(argocd.Kind{Kind: o.GetKind()}, o.GetNamespace(), o.GetName()), o)
		s.objects.mu.Unlock()
	}
}
