package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

	// Discovery follows a CRD's status after a moment, version by version. So a
	// change of a CRD makes its group be read until it shows, in growing steps;
	// then nothing happens until the next change.
	firstLook = 10 * time.Millisecond
	longLook  = time.Second
	maxLooks  = 14 // about 7 seconds in all

	// Where the watches of kinds are not permitted, a miss may ask the server
	// again after this time.
	blindLook = 15 * time.Second

	// automanaged marks APIServices that only mirror a CRD or a built-in group.
	automanaged = "kube-aggregator.kubernetes.io/automanaged"
)

var (
	crdKind = Kind{
		GVK:       schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
		GVR:       schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		Watchable: true,
	}
	apiServiceKind = Kind{
		GVK:       schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"},
		GVR:       schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
		Watchable: true,
	}
)

// Resolve says how a kind is served. *UnknownKindError means that it is not;
// any other error, that this could not be found out.
func (c *Cluster) Resolve(ctx context.Context, gvk schema.GroupVersionKind) (Kind, error) {
	return c.kinds.resolve(ctx, gvk)
}

// OnKind calls back once, as soon as the cluster serves the kind in any
// version, at once if it does already. The callback must not block. stop
// withdraws it.
func (c *Cluster) OnKind(gk schema.GroupKind, callback func()) (stop func()) {
	return c.kinds.onKind(schema.GroupVersionKind{Group: gk.Group, Kind: gk.Kind}, callback)
}

// OnServed is OnKind for one version of a kind.
func (c *Cluster) OnServed(gvk schema.GroupVersionKind, callback func()) (stop func()) {
	return c.kinds.onKind(gvk, callback)
}

// APISet is what a cluster serves.
type APISet struct {
	Digest string                    // changes when Kinds does
	Kinds  []schema.GroupVersionKind // sorted
}

// OnAPIs calls back after each time that the served kinds may have changed. The
// callback must not block. stop ends that.
func (c *Cluster) OnAPIs(callback func()) (stop func()) { return c.kinds.onAPIs(callback) }

// APIs lists the served kinds. It is kept until a watch says that they changed.
func (c *Cluster) APIs(ctx context.Context) (APISet, error) { return c.kinds.apis(ctx) }

// Version is the API server's version, such as v1.37.1. It is kept until the
// connection to the server was lost.
func (c *Cluster) Version(ctx context.Context) (string, error) { return c.kinds.version(ctx) }

// kinds knows what the cluster serves.
type kinds struct {
	c *Cluster

	loading chan struct{} // holds a token while somebody reads the whole catalog

	mu         sync.Mutex
	started    bool
	settled    chan struct{} // closed when both watches have synced or failed for good
	unsettled  int
	trouble    chan struct{} // closed while a watch fails before it has settled
	why        error
	blind      bool // a watch is not permitted: changes are not announced
	catalog    map[string]*group
	complete   bool // the catalog was read whole since it was last invalidated
	loadedAt   time.Time
	epoch      int // counts invalidations
	apiSet     *APISet
	gitVersion string
	waiters    map[*kindWaiter]struct{}
	listeners  map[*func()]struct{} // of changes of what is served
	crds       map[string]*crdState // by name, plural.group
	dirty      map[string]*look
	looking    bool
	blindTimer *time.Timer
}

type group struct {
	versions []*groupVersion // by the server's preference
}

type groupVersion struct {
	version string
	kinds   map[string]Kind
	loaded  bool // its kinds were read
	stale   bool // the server behind it did not answer
}

type kindWaiter struct {
	gvk      schema.GroupVersionKind // Version "": any
	callback func()
}

// crdState is what is known of a CustomResourceDefinition by its metadata.
type crdState struct {
	created  time.Time
	verified bool // discovery showed what it serves, since its last change
}

// look is a group that has to be read again.
type look struct {
	crds map[string]*expectation // by plural; what discovery has to show
	made int
}

// expectation is what a CRD makes discovery show in the end.
type expectation struct {
	known    bool // versions were read from the CRD, or it is gone
	versions []string
}

func newKinds(c *Cluster) *kinds {
	return &kinds{
		c: c, loading: make(chan struct{}, 1), settled: make(chan struct{}), unsettled: 2, trouble: make(chan struct{}),
		catalog: map[string]*group{}, waiters: map[*kindWaiter]struct{}{}, crds: map[string]*crdState{}, dirty: map[string]*look{},
	}
}

func (k *kinds) resolve(ctx context.Context, gvk schema.GroupVersionKind) (Kind, error) {
	if err := k.ensure(ctx); err != nil {
		return Kind{}, err
	}
	kind, err := k.find(ctx, gvk)
	if err == nil || !k.mayAskAgain() {
		return kind, err
	}
	k.invalidate()
	if err := k.ensure(ctx); err != nil {
		return Kind{}, err
	}
	return k.find(ctx, gvk)
}

// mayAskAgain is true where changes are not announced and the last look is old.
func (k *kinds) mayAskAgain() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.blind && time.Since(k.loadedAt) > blindLook
}

func (k *kinds) onAPIs(callback func()) (stop func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listeners == nil {
		k.listeners = map[*func()]struct{}{}
	}
	k.listeners[&callback] = struct{}{}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.listeners, &callback)
	}
}

// tell calls the listeners, who may ask at once. The caller holds the lock.
func (k *kinds) tell() {
	for callback := range k.listeners {
		go (*callback)()
	}
}

func (k *kinds) invalidate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.complete, k.apiSet, k.gitVersion = false, nil, ""
	k.epoch++
}

// find looks the kind up, reading its group's versions first where the server
// has no aggregated discovery.
func (k *kinds) find(ctx context.Context, gvk schema.GroupVersionKind) (Kind, error) {
	if err := k.loadGroup(ctx, gvk.Group); err != nil {
		return Kind{}, fmt.Errorf("discover %s: %w", gvk.GroupVersion(), err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, known := k.lookup(gvk)
	if known {
		return kind, nil
	}
	unknown := &UnknownKindError{GVK: gvk}
	if g := k.catalog[gvk.Group]; g != nil {
		for _, v := range g.versions {
			if v.stale && (gvk.Version == "" || v.version == gvk.Version) {
				return Kind{}, apierrors.NewServiceUnavailable(fmt.Sprintf("the server behind %s/%s does not answer, so its kinds are not known", gvk.Group, v.version))
			}
			if _, ok := v.kinds[gvk.Kind]; ok {
				unknown.Served = append(unknown.Served, schema.GroupVersion{Group: gvk.Group, Version: v.version}.String())
			}
		}
	}
	return Kind{}, unknown
}

// lookup needs the lock.
func (k *kinds) lookup(gvk schema.GroupVersionKind) (Kind, bool) {
	g := k.catalog[gvk.Group]
	if g == nil {
		return Kind{}, false
	}
	for _, v := range g.versions {
		if gvk.Version == "" || v.version == gvk.Version {
			if kind, ok := v.kinds[gvk.Kind]; ok {
				return kind, true
			}
		}
	}
	return Kind{}, false
}

// ensure starts the watches once, waits until they tell every later change,
// and reads the catalog.
func (k *kinds) ensure(ctx context.Context) error {
	k.mu.Lock()
	if !k.started {
		k.started = true
		k.c.watches.add(WatchSpec{GVK: crdKind.GVK, MetadataOnly: true}, &crdWatch{kinds: k})
		k.c.watches.add(WatchSpec{GVK: apiServiceKind.GVK, MetadataOnly: true}, &apiServiceWatch{kinds: k})
	}
	complete, trouble := k.complete, k.trouble
	k.mu.Unlock()
	if complete {
		return nil
	}
	select {
	case <-k.settled:
	case <-trouble:
		k.mu.Lock()
		defer k.mu.Unlock()
		return fmt.Errorf("discover the kinds that the cluster serves: %w", k.why)
	case <-ctx.Done():
		return fmt.Errorf("discover the kinds that the cluster serves: %w", ctx.Err())
	}
	return k.load(ctx)
}

// settle notes that one of the watches has synced or cannot.
func (k *kinds) settle(once *bool, blind bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if blind {
		k.blind = true
		k.armBlind()
	}
	if *once {
		return
	}
	*once = true
	if k.unsettled--; k.unsettled == 0 {
		close(k.settled)
	}
}

// stall lets those who wait for the watches know why they do in vain; nil
// ends that.
func (k *kinds) stall(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil && k.why == nil:
		k.why = err
		close(k.trouble)
	case err == nil && k.why != nil:
		k.why, k.trouble = nil, make(chan struct{})
	}
}

func (k *kinds) onKind(gvk schema.GroupVersionKind, callback func()) func() {
	w := &kindWaiter{gvk: gvk, callback: callback}
	k.mu.Lock()
	_, served := k.lookup(gvk)
	if !served {
		k.waiters[w] = struct{}{}
		k.armBlind()
		k.verify(gvk.Group)
	}
	k.mu.Unlock()
	if served {
		callback()
		return func() {}
	}
	return func() {
		k.mu.Lock()
		delete(k.waiters, w)
		k.mu.Unlock()
	}
}

// ready takes out the waiters whose kind is served now. The caller holds the
// lock, and calls them after giving it back.
func (k *kinds) ready() []func() {
	var calls []func()
	for w := range k.waiters {
		if _, ok := k.lookup(w.gvk); ok {
			delete(k.waiters, w)
			calls = append(calls, w.callback)
		}
	}
	return calls
}

// verify has those CRDs of a group looked at that discovery may not show yet:
// they were created just before we began to watch. The caller holds the lock.
func (k *kinds) verify(groupName string) {
	for name, crd := range k.crds {
		if plural, g, _ := strings.Cut(name, "."); g == groupName && !crd.verified {
			k.expect(groupName, plural, &expectation{})
		}
	}
}

// armBlind makes waiters be looked after by a timer where changes are not
// announced: with no permission to watch CRDs there is no other way. The
// caller holds the lock.
func (k *kinds) armBlind() {
	if !k.blind || len(k.waiters) == 0 || k.blindTimer != nil {
		return
	}
	k.blindTimer = time.AfterFunc(jitter(blindLook), func() {
		if k.c.ctx.Err() != nil {
			return
		}
		k.invalidate()
		if err := k.load(k.c.ctx); err != nil {
			k.c.opts.Log.Debug("discovery failed", "host", k.c.Host(), "error", err)
		}
		k.mu.Lock()
		k.blindTimer = nil
		k.armBlind()
		k.mu.Unlock()
	})
}

// expect has a group read until discovery shows what a CRD of it, or with no
// plural anything else, leads to. The caller holds the lock.
func (k *kinds) expect(groupName, plural string, what *expectation) {
	l := k.dirty[groupName]
	if l == nil {
		l = &look{crds: map[string]*expectation{}}
		k.dirty[groupName] = l
	}
	if plural != "" {
		l.crds[plural] = what
	}
	l.made = 0
	if !k.looking {
		k.looking = true
		go k.lookAround()
	}
}

// lookAround reads dirty groups until each shows what was announced. It ends
// when nothing is left.
func (k *kinds) lookAround() {
	for {
		names, pause := k.dueLooks()
		if len(names) == 0 {
			return
		}
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-k.c.ctx.Done():
				return
			}
		}
		for _, name := range names {
			k.readCRDs(name)
			g, err := k.readGroup(k.c.ctx, name)
			k.looked(name, g, err)
		}
	}
}

// readCRDs finds out which versions the CRDs that changed in a group serve. One
// that is not established yet, or cannot be read, is expected no more: its next
// change is announced.
func (k *kinds) readCRDs(groupName string) {
	k.mu.Lock()
	unread := map[string]*expectation{}
	if l := k.dirty[groupName]; l != nil {
		for plural, e := range l.crds {
			if !e.known {
				unread[plural] = e
			}
		}
	}
	k.mu.Unlock()
	for plural, e := range unread {
		versions, established := k.readCRD(plural + "." + groupName)
		k.mu.Lock()
		if l := k.dirty[groupName]; l != nil && l.crds[plural] == e { // else it changed meanwhile
			if established {
				l.crds[plural] = &expectation{known: true, versions: versions}
			} else {
				delete(l.crds, plural)
			}
		}
		k.mu.Unlock()
	}
}

// readCRD returns the versions that a CRD serves, once it is established; none
// when it is gone.
func (k *kinds) readCRD(name string) (versions []string, established bool) {
	var crd struct {
		Spec struct {
			Versions []struct {
				Name   string `json:"name"`
				Served bool   `json:"served"`
			} `json:"versions"`
		} `json:"spec"`
		Status struct {
			Conditions []struct {
				Type   string `json:"type"`
				Status string `json:"status"`
			} `json:"conditions"`
		} `json:"status"`
	}
	path, err := objectPath(crdKind, "", name, "")
	if err != nil {
		return nil, false
	}
	r := &request{method: http.MethodGet, path: path, retry: always}
	err = k.c.do(k.c.ctx, r, func(body []byte) error { return json.Unmarshal(body, &crd) })
	if apierrors.IsNotFound(err) {
		return nil, true
	}
	if err != nil {
		k.c.opts.Log.Debug("a CustomResourceDefinition cannot be read", "host", k.c.Host(), "name", name, "error", err)
		return nil, false
	}
	for _, v := range crd.Spec.Versions {
		if v.Served {
			versions = append(versions, v.Name)
		}
	}
	for _, c := range crd.Status.Conditions {
		if c.Type == "Established" && c.Status == "True" {
			return versions, true
		}
	}
	return nil, false
}

func (k *kinds) dueLooks() (names []string, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	pause = longLook
	for name, l := range k.dirty {
		names = append(names, name)
		if l.made == 0 {
			pause = 0
		} else {
			pause = min(pause, firstLook<<min(l.made-1, 10))
		}
	}
	if len(names) == 0 || k.c.ctx.Err() != nil {
		k.looking = false
		return nil, 0
	}
	sort.Strings(names)
	return names, pause
}

// looked takes over what a group serves and wakes those who waited for it.
func (k *kinds) looked(name string, g *group, err error) {
	k.mu.Lock()
	l := k.dirty[name]
	if l != nil {
		l.made++
	}
	if err != nil {
		k.c.opts.Log.Debug("discovery failed", "host", k.c.Host(), "group", name, "error", err)
		if l != nil && l.made >= maxLooks {
			delete(k.dirty, name)
			k.complete = false // the next question reads everything
			k.epoch++
		}
		k.mu.Unlock()
		return
	}
	if g == nil {
		delete(k.catalog, name)
	} else {
		k.catalog[name] = g
	}
	k.apiSet = nil
	k.tell()
	k.epoch++ // a reading of the whole catalog under way may be older than this
	calls := k.ready()
	if l != nil {
		done := true
		for plural, e := range l.crds {
			shown := e.known && g.shows(plural, e.versions)
			if crd := k.crds[plural+"."+name]; crd != nil && shown {
				crd.verified = true
			}
			done = done && shown
		}
		if done || l.made >= maxLooks {
			delete(k.dirty, name)
		}
	}
	k.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

// shows reports whether discovery has a resource in exactly these versions.
func (g *group) shows(plural string, versions []string) bool {
	serving := g.serving(plural)
	slices.Sort(serving)
	return slices.Equal(serving, slices.Sorted(slices.Values(versions)))
}

// serving lists the versions that serve a resource. A nil group serves none.
func (g *group) serving(plural string) []string {
	if g == nil {
		return nil
	}
	var versions []string
	for _, v := range g.versions {
		for _, kind := range v.kinds {
			if kind.GVR.Resource == plural {
				versions = append(versions, v.version)
				break
			}
		}
	}
	return versions
}

// doubt passes an error on, and has the kind's group read again when it says
// that there is no such kind, which is otherwise seen by the watch of CRDs only
// a moment later.
func (k *kinds) doubt(kind Kind, err error) error {
	if err == nil || kind.GVR.Group == "" || !apierrors.IsNotFound(err) {
		return err
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		if d := status.Status().Details; d == nil || d.Name == "" || d.Kind == "" || hasCause(d, metav1.CauseTypeUnexpectedServerResponse) {
			k.mu.Lock()
			k.expect(kind.GVR.Group, "", nil)
			k.mu.Unlock()
		}
	}
	return err
}

// suspect has a group read because a request for a kind that should be served
// was answered as if it were not.
func (k *kinds) suspect(ctx context.Context, gvk schema.GroupVersionKind) {
	if gvk.Group == "" {
		return
	}
	g, err := k.readGroup(ctx, gvk.Group)
	if err == nil {
		k.looked(gvk.Group, g, nil)
	}
}

func (k *kinds) apis(ctx context.Context) (APISet, error) {
	if err := k.ensure(ctx); err != nil {
		return APISet{}, err
	}
	k.mu.Lock()
	names := make([]string, 0, len(k.catalog))
	for name := range k.catalog {
		names = append(names, name)
	}
	k.mu.Unlock()
	for _, name := range names {
		if err := k.loadGroup(ctx, name); err != nil {
			return APISet{}, fmt.Errorf("discover %s: %w", name, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.apiSet == nil {
		set := APISet{}
		for _, g := range k.catalog {
			for _, v := range g.versions {
				for _, kind := range v.kinds {
					set.Kinds = append(set.Kinds, kind.GVK)
				}
			}
		}
		slices.SortFunc(set.Kinds, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
		h := sha256.New()
		for _, gvk := range set.Kinds {
			_, _ = fmt.Fprintln(h, gvk.String()) // a hash never fails
		}
		set.Digest = hex.EncodeToString(h.Sum(nil)[:16])
		k.apiSet = &set
	}
	return *k.apiSet, nil
}

func (k *kinds) version(ctx context.Context) (string, error) {
	k.mu.Lock()
	known, epoch := k.gitVersion, k.epoch
	k.mu.Unlock()
	if known != "" {
		return known, nil
	}
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	r := &request{method: http.MethodGet, path: "/version", retry: always}
	if err := k.c.do(ctx, r, func(body []byte) error { return json.Unmarshal(body, &info) }); err != nil {
		return "", fmt.Errorf("version of the API server: %w", err)
	}
	if _, err := version.ParseGeneric(info.GitVersion); err != nil {
		return "", fmt.Errorf("version of the API server: %q is not a version", info.GitVersion)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.started && k.epoch == epoch { // otherwise nobody would tell us when it changes
		k.gitVersion = info.GitVersion
	}
	return info.GitVersion, nil
}

// crdWatch sees CustomResourceDefinitions by their metadata. Their names are
// plural.group.
type crdWatch struct {
	*kinds
	synced      bool
	settledOnce bool
}

// Event is part of Handler.
func (w *crdWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	plural, groupName, ok := strings.Cut(o.GetName(), ".")
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if typ == watch.Deleted {
		delete(w.crds, o.GetName())
		w.expect(groupName, plural, &expectation{known: true})
		return
	}
	w.crds[o.GetName()] = &crdState{created: o.GetCreationTimestamp().Time}
	// Those of the first list are in the catalog that is read after it. One
	// that is being deleted is served until its last object is gone.
	if w.synced && o.GetDeletionTimestamp() == nil {
		w.expect(groupName, plural, &expectation{})
	}
}

// Synced is part of Handler.
func (w *crdWatch) Synced() {
	w.synced = true
	w.settle(&w.settledOnce, false)
}

// Gone is part of Handler.
func (w *crdWatch) Gone(error) { w.settle(&w.settledOnce, true) }

// Stalled is part of Staller: the server was away and may have come back with
// other kinds or another version.
func (w *crdWatch) Stalled(err error) {
	w.stall(err)
	if err == nil {
		w.invalidate()
	}
}

// apiServiceWatch sees aggregated APIs come and go. Their names are
// version.group.
type apiServiceWatch struct {
	*kinds
	synced      bool
	settledOnce bool
}

// Event is part of Handler.
func (w *apiServiceWatch) Event(_ watch.EventType, o *unstructured.Unstructured) {
	if !w.synced || o.GetLabels()[automanaged] != "" {
		return
	}
	if _, groupName, ok := strings.Cut(o.GetName(), "."); ok && groupName != "" {
		w.mu.Lock()
		w.expect(groupName, "", nil)
		w.mu.Unlock()
	}
}

// Synced is part of Handler.
func (w *apiServiceWatch) Synced() {
	w.synced = true
	w.settle(&w.settledOnce, false)
}

// Gone is part of Handler. A server without aggregation has nothing to watch.
func (w *apiServiceWatch) Gone(error) { w.settle(&w.settledOnce, false) }
