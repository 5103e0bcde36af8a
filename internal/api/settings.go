package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// The objects that say who may sign in and do what.
const policyMap = "argocd-rbac-cm"

var (
	configGVK = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	secretGVK = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
)

// projectKind is that of Argo CD's projects.
var projectKind = schema.GroupKind{Group: "argoproj.io", Kind: "AppProject"}

// settings is what is read of the cluster besides declared objects.
type settings struct {
	home     string                       // namespace of the Secrets below, and of configs
	configs  map[string]map[string]string // ConfigMaps, by name
	argo     map[string]map[string]string // the same of Argo CD's namespace, where that is another one: they go before
	secrets  map[string]map[string][]byte
	labelled map[string]bool // Secrets that settings may refer to
	initial  bool            // admin's first password lies in its Secret
	projects map[object.ID]*unstructured.Unstructured
	clusters map[object.ID]registeredCluster
	unread   map[string]bool            // watches that have not told everything yet
	again    map[string]map[string]bool // of watches that tell everything anew: what they have told, by name
	findings []model.Finding            // of the policy
}

// config is what a ConfigMap says, and the namespace of it. Those of Argo CD's
// namespace count from when they are there, also where sign-in keeps its Secrets
// with Plumb's own since nothing was there at first.
func (st *settings) config(name, control string) (namespace string, data map[string]string) {
	if data, there := st.argo[name]; there {
		return control, data
	}
	return st.home, st.configs[name]
}

// configsOf is where what a watch tells of ConfigMaps is kept; nil for other
// watches.
func (st *settings) configsOf(what string) map[string]map[string]string {
	return map[string]map[string]map[string]string{"configs": st.configs, "argo": st.argo}[what]
}

// followSettings keeps sign-in and policy as the cluster has them, until ctx
// ends.
func (s *Server) followSettings(ctx context.Context, w *World) {
	home := ""
	if !s.insist(ctx, "the settings of sign-in cannot be read: nobody can sign in", func(ctx context.Context) (err error) {
		home, err = s.findHome(ctx, w)
		return err
	}) {
		return
	}
	projects := projectKind
	s.mu.Lock()
	s.settings = settings{
		home: home, configs: map[string]map[string]string{}, argo: map[string]map[string]string{}, secrets: map[string]map[string][]byte{}, labelled: map[string]bool{},
		projects: map[object.ID]*unstructured.Unstructured{}, clusters: map[object.ID]registeredCluster{}, unread: map[string]bool{"configs": true, "secret": true, "labelled": true, "signedOut": true},
	}
	if s.kinds[projects].Versions != nil {
		s.settings.unread["projects"] = true // what they deny is in force from the beginning
	}
	if home != s.control() {
		s.settings.unread["argo"] = true
	}
	s.mu.Unlock()
	named := func(name string) string { return "metadata.name=" + name }
	for _, spec := range []struct {
		what string
		cluster.WatchSpec
	}{
		{"configs", cluster.WatchSpec{GVK: configGVK, Namespace: home}},
		{"secret", cluster.WatchSpec{GVK: secretGVK, Namespace: home, FieldSelector: named(signin.SecretName)}},
		{"signedOut", cluster.WatchSpec{GVK: secretGVK, Namespace: home, FieldSelector: named(signin.SignedOutSecretName)}},
		{"initial", cluster.WatchSpec{GVK: secretGVK, Namespace: home, FieldSelector: named(signin.InitialSecretName), MetadataOnly: true}},
		{"labelled", cluster.WatchSpec{GVK: secretGVK, Namespace: home, LabelSelector: signin.ReferenceLabel + "=" + signin.ReferenceValue}},
	} {
		w.Local.Watch(ctx, spec.WatchSpec, settingsWatch{s, spec.what})
	}
	if home != s.control() {
		w.Local.Watch(ctx, cluster.WatchSpec{GVK: configGVK, Namespace: s.control()}, settingsWatch{s, "argo"})
	}
	if s.kinds[projects].Versions != nil {
		w.Local.Watch(ctx, cluster.WatchSpec{GVK: projects.WithVersion(s.kinds[projects].Versions[0]), Namespace: s.control()}, settingsWatch{s, "projects"})
		w.Local.Watch(ctx, cluster.WatchSpec{GVK: secretGVK, Namespace: s.control(), LabelSelector: secretType + "=cluster"}, settingsWatch{s, "clusters"})
	}
	select {
	case <-ctx.Done():
	case <-s.known:
		s.start(ctx)
		<-ctx.Done()
	}
}

// insist does something until it works, less and less often; false when ctx
// ended before.
func (s *Server) insist(ctx context.Context, complaint string, do func(context.Context) error) bool {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		within, cancel := within(ctx)
		err := do(within)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.log.Error(complaint, "error", err, "again in", pause)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// findHome is Argo CD's namespace where its settings lie there, and Plumb's own
// otherwise: an installation that began without Argo CD keeps its settings.
func (s *Server) findHome(ctx context.Context, w *World) (string, error) {
	for gvk, name := range map[schema.GroupVersionKind]string{configGVK: signin.ConfigMapName, secretGVK: signin.SecretName} {
		kind, err := w.Local.Resolve(ctx, gvk)
		if err != nil {
			return "", err
		}
		_, err = w.Local.As(model.Identity{}).Get(ctx, kind, s.control(), name)
		switch {
		case err == nil:
			return s.control(), nil
		case !apierrors.IsNotFound(err):
			return "", err
		}
	}
	return s.opts.Namespace, nil
}

// settingsWatch follows one part of the settings.
type settingsWatch struct {
	s    *Server
	what string
}

// Event keeps what was told. ConfigMaps that are none of the settings are not
// kept.
func (w settingsWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	gone := typ == watch.Deleted
	w.s.mu.Lock()
	st := &w.s.settings
	name := o.GetName()
	if told := st.again[w.what]; told != nil && !gone {
		told[name] = true
	}
	configs := st.configsOf(w.what)
	switch {
	case w.what == "projects" && gone:
		delete(st.projects, object.Of(o))
	case w.what == "projects":
		st.projects[object.Of(o)] = o
	case w.what == "clusters":
		if delete(st.clusters, object.Of(o)); !gone {
			st.clusters[object.Of(o)] = readRegistered(o)
		}
		w.s.mu.Unlock()
		w.s.fleetChanged()
		return
	case w.what == "initial":
		st.initial = !gone
	case configs != nil && name != signin.ConfigMapName && name != policyMap:
		w.s.mu.Unlock()
		return
	case configs != nil && gone:
		delete(configs, name)
	case configs != nil:
		data, _, _ := unstructured.NestedStringMap(o.Object, "data")
		configs[name] = data
	case gone && w.what == "labelled" && (name == signin.SecretName || name == signin.SignedOutSecretName):
		st.labelled[name] = false // it may have lost its label only; its own watch knows
	case gone:
		delete(st.secrets, name)
		delete(st.labelled, name)
	default:
		st.secrets[name] = secretData(o)
		st.labelled[name] = o.GetLabels()[signin.ReferenceLabel] == signin.ReferenceValue
	}
	w.s.mu.Unlock()
	w.s.settle()
	if w.what == "projects" {
		w.s.fleetChanged()
	}
}

// Synced tells that a part is known. What was there before the watch had to begin
// anew, and is not any more, goes only now.
func (w settingsWatch) Synced() {
	w.s.mu.Lock()
	st := &w.s.settings
	delete(st.unread, w.what)
	if told := st.again[w.what]; told != nil {
		delete(st.again, w.what)
		w.drop(st, func(name string) bool { return !told[name] })
	}
	w.s.mu.Unlock()
	w.s.settle()
}

// drop forgets what a watch has told of objects that are gone.
func (w settingsWatch) drop(st *settings, gone func(name string) bool) {
	switch w.what {
	case "projects":
		maps.DeleteFunc(st.projects, func(id object.ID, _ *unstructured.Unstructured) bool { return gone(id.Name) })
	case "configs", "argo":
		maps.DeleteFunc(st.configsOf(w.what), func(name string, _ map[string]string) bool { return gone(name) })
	case "clusters":
		maps.DeleteFunc(st.clusters, func(id object.ID, _ registeredCluster) bool { return gone(id.Name) })
	case "initial":
		st.initial = st.initial && !gone(signin.InitialSecretName)
	case "secret", "signedOut":
		name := map[string]string{"secret": signin.SecretName, "signedOut": signin.SignedOutSecretName}[w.what]
		if gone(name) {
			delete(st.secrets, name)
			delete(st.labelled, name)
		}
	case "labelled":
		for name, labelled := range st.labelled {
			switch {
			case !labelled || !gone(name):
			case name == signin.SecretName || name == signin.SignedOutSecretName: // which have watches of their own
				st.labelled[name] = false
			default:
				delete(st.secrets, name)
				delete(st.labelled, name)
			}
		}
	}
}

// Gone keeps what is known, and what was never known stays so: nobody may do more
// because something cannot be read. Only a kind that is not served has no objects.
func (w settingsWatch) Gone(err error) {
	var unknown *cluster.UnknownKindError
	none := w.what == "projects" && errors.As(err, &unknown)
	w.s.mu.Lock()
	st := &w.s.settings
	if st.again == nil {
		st.again = map[string]map[string]bool{}
	}
	st.again[w.what] = map[string]bool{}
	if none {
		delete(st.unread, w.what)
	}
	w.s.mu.Unlock()
	if none {
		w.s.settle()
	}
	w.s.log.Warn("settings cannot be watched now; what is known of them stays in force", "what", w.what, "error", err)
}

// settle puts the settings in force, once all of them are known.
func (s *Server) settle() {
	s.settling.Lock()
	defer s.settling.Unlock()
	s.mu.Lock()
	st := &s.settings
	if len(st.unread) > 0 {
		s.mu.Unlock()
		return
	}
	_, rules := st.config(policyMap, s.control())
	_, server := st.config(signin.ConfigMapName, s.control())
	config, findings := policy.FromConfigMap(rules)
	findings = append(findings, config.Server(server)...)
	var projects []policy.Project
	for id, o := range st.projects {
		p, err := policy.ReadProject(o)
		if err != nil {
			findings = append(findings, model.Finding{Severity: model.Warning, Reason: "InvalidProject", Message: err.Error(), Origin: model.Origin{Declared: id}})
			continue
		}
		projects = append(projects, p)
	}
	slices.SortFunc(projects, compareProjects)
	compiled := policy.Compile(config, projects)
	st.findings = append(findings, compiled.Findings()...)
	data := signin.Data{
		Config: maps.Clone(server), Secret: st.secrets[signin.SecretName],
		SignedOut: st.secrets[signin.SignedOutSecretName], Others: map[string]map[string][]byte{},
	}
	for name := range st.labelled {
		if st.labelled[name] {
			data.Others[name] = st.secrets[name]
		}
	}
	s.mu.Unlock()
	s.guard.SetPolicy(compiled)
	s.feed.Put(data)
	s.open.Do(func() { close(s.known) })
}

func compareProjects(a, b policy.Project) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// start makes what the first start needs, once. It goes on until it works, since
// nobody can sign in before.
func (s *Server) start(ctx context.Context) {
	select {
	case <-s.started:
		return // while this process led before
	default:
	}
	var first signin.First
	if !s.insist(ctx, "sign-in cannot be set up", func(ctx context.Context) (err error) {
		first, err = s.door.Start(ctx)
		return err
	}) {
		return
	}
	if !first.AdminPassword.IsZero() && s.opts.First != nil {
		s.opts.First(first.AdminPassword)
	}
	close(s.started)
}

// promptly gives up on settings that nobody has told yet, so that callers of a
// replica that does not lead are not kept waiting.
type promptly struct{ *signin.Feed }

// settingsTime bounds the wait for settings.
const settingsTime = 5 * time.Second

// Settings are the newest ones.
func (p promptly) Settings(ctx context.Context) (signin.Data, error) {
	ctx, cancel := context.WithTimeout(ctx, settingsTime)
	defer cancel()
	return p.Feed.Settings(ctx)
}

// secretData decodes the data of a Secret.
func secretData(o *unstructured.Unstructured) map[string][]byte {
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	out := make(map[string][]byte, len(data))
	for k, v := range data {
		if plain, err := base64.StdEncoding.DecodeString(v); err == nil {
			out[k] = plain
		}
	}
	return out
}

// secretWriter keeps the Secrets of sign-in in the cluster.
type secretWriter struct{ s *Server }

// errNoHome ends a write before it is known where settings lie.
var errNoHome = errors.New("it is not known yet where the settings are")

func (w secretWriter) session(ctx context.Context) (*cluster.Session, cluster.Kind, string, error) {
	world := w.s.world.Load()
	w.s.mu.Lock()
	home := w.s.settings.home
	w.s.mu.Unlock()
	if world == nil || home == "" {
		return nil, cluster.Kind{}, "", errNoHome
	}
	kind, err := world.Local.Resolve(ctx, secretGVK)
	return world.Local.As(model.Identity{}), kind, home, err
}

// Read is the newest Secret of a name.
func (w secretWriter) Read(ctx context.Context, name string) (signin.Stored, error) {
	session, kind, home, err := w.session(ctx)
	if err != nil {
		return signin.Stored{}, err
	}
	o, err := session.Get(ctx, kind, home, name)
	if apierrors.IsNotFound(err) {
		return signin.Stored{Name: name}, nil
	}
	if err != nil {
		return signin.Stored{}, fmt.Errorf("read Secret %s/%s: %w", home, name, err)
	}
	return signin.Stored{Name: name, Version: o.GetResourceVersion(), Labels: o.GetLabels(), Annotations: o.GetAnnotations(), Data: secretData(o)}, nil
}

// Write creates a Secret, or replaces the version that was read.
func (w secretWriter) Write(ctx context.Context, stored signin.Stored) error {
	session, kind, home, err := w.session(ctx)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}}
	if stored.Version != "" {
		if o, err = session.Get(ctx, kind, home, stored.Name); err != nil || o.GetResourceVersion() != stored.Version {
			return errors.Join(signin.ErrConflict, err)
		}
	}
	data := make(map[string]any, len(stored.Data))
	for k, v := range stored.Data {
		data[k] = base64.StdEncoding.EncodeToString(v)
	}
	o.Object["data"] = data
	o.SetNamespace(home)
	o.SetName(stored.Name)
	o.SetLabels(stored.Labels)
	o.SetAnnotations(stored.Annotations)
	if stored.Version == "" {
		_, err = session.Create(ctx, kind, o, cluster.WriteOptions{Manager: writer})
	} else {
		_, err = session.Update(ctx, kind, o, cluster.WriteOptions{Manager: writer})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return signin.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("write Secret %s/%s: %w", home, stored.Name, err)
	}
	return nil
}

// writer is the field manager of what people ask for.
const writer = "plumb-server"

// reviewer asks the cluster's own authentication and authorisation.
type reviewer struct{ s *Server }

// Review tells whose service-account token it is.
func (r reviewer) Review(ctx context.Context, token model.Secret, audiences []string) (signin.Review, error) {
	world, err := r.s.leads()
	if err != nil {
		return signin.Review{}, err
	}
	owner, err := world.Local.TokenReview(ctx, token, audiences)
	if err != nil {
		return signin.Review{}, err
	}
	return signin.Review{Authenticated: owner.Authenticated, User: owner.User, Groups: owner.Groups, Audiences: owner.Audiences}, nil
}

// AccessReview tells what the cluster's RBAC says.
func (r reviewer) AccessReview(ctx context.Context, a cluster.Access) (bool, string, error) {
	world, err := r.s.leads()
	if err != nil {
		return false, "", err
	}
	return world.Local.AccessReview(ctx, a)
}

// projectTokens knows the tokens of projects' roles.
type projectTokens struct{ s *Server }

// Tokens are those that an AppProject lists of a role.
func (p projectTokens) Tokens(_ context.Context, project, role string) ([]signin.IssuedToken, error) {
	p.s.mu.Lock()
	o := p.s.settings.projects[object.ID{Group: "argoproj.io", Kind: "AppProject", Namespace: p.s.control(), Name: project}]
	p.s.mu.Unlock()
	if o == nil {
		return nil, nil
	}
	read, err := policy.ReadProject(o)
	if err != nil {
		return nil, nil //nolint:nilerr // none of them is valid, and the findings tell why
	}
	var tokens []signin.IssuedToken
	for _, r := range read.Roles {
		if r.Name != role {
			continue
		}
		for _, token := range r.Tokens {
			tokens = append(tokens, signin.IssuedToken(token))
		}
	}
	return tokens, nil
}
