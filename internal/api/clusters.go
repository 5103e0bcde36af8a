package api

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// The own cluster in the words of a policy and of those who register it, and the
// label of the Secrets that register clusters.
const (
	inClusterServer = "https://kubernetes.default.svc"
	secretType      = "argocd.argoproj.io/secret-type"
)

// registeredCluster is what the Secret of a cluster tells of it, without its
// credentials.
type registeredCluster struct {
	secret, name, server, project string
	namespaces                    []string
	labels, annotations           map[string]string
}

// readRegistered reads the Secret of a cluster. Its key "config", which holds the
// credentials, is not looked at.
func readRegistered(o *unstructured.Unstructured) registeredCluster {
	data := secretData(o)
	c := registeredCluster{
		secret: o.GetNamespace() + "/" + o.GetName(), server: object.WithoutCredentials(strings.TrimRight(string(data["server"]), "/")), project: string(data["project"]),
		labels: maps.Clone(o.GetLabels()), annotations: maps.Clone(o.GetAnnotations()),
	}
	c.name = cmp.Or(string(data["name"]), c.server)
	for namespace := range strings.SplitSeq(string(data["namespaces"]), ",") {
		if namespace = strings.TrimSpace(namespace); namespace != "" {
			c.namespaces = append(c.namespaces, namespace)
		}
	}
	delete(c.labels, secretType)
	for key := range c.annotations {
		// What Argo CD and kubectl keep there for themselves; the latter is a copy of
		// the whole Secret.
		if key == "managed-by" || strings.HasPrefix(key, "kubectl.kubernetes.io/") {
			delete(c.annotations, key)
		}
	}
	return c
}

// registered are the clusters that somebody has registered.
func (s *Server) registered() []registeredCluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.settings.clusters))
}

// tally counts the deliveries that go to a cluster.
type tally struct {
	deliveries, unhealthy, objects int32
	one                            object.ID // of them
}

// tallies counts deliveries by the cluster that they go to.
type tallies map[string]*tally

// count counts a delivery, or with -1 counts it no more.
func (t tallies) count(d *plumbv1.Delivery, by int) {
	c := t[d.GetCluster()]
	if c == nil {
		c = &tally{}
		t[d.GetCluster()] = c
	}
	c.deliveries += int32(by)
	c.objects += int32(by) * d.GetObjects()
	switch d.GetHealth().GetState() {
	case rows.Degraded, rows.Missing:
		c.unhealthy += int32(by)
	}
	if by > 0 {
		c.one = rows.ID(d.GetRef())
	}
	if c.deliveries == 0 {
		delete(t, d.GetCluster())
	}
}

// ListClusters lists the clusters that deliveries which the caller may see go to,
// and the registered ones that they may see.
func (s fleetService) ListClusters(ctx context.Context, _ *plumbv1.ListClustersRequest) (*plumbv1.ListClustersResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	clusters := s.clustersFor(ctx, w, callerOf(ctx), s.tallied(ctx, callerOf(ctx)))
	return &plumbv1.ListClustersResponse{Clusters: clusters, Revision: revisionOf(clusters)}, nil
}

// GetCluster tells of one of them.
func (s fleetService) GetCluster(ctx context.Context, m *plumbv1.GetClusterRequest) (*plumbv1.GetClusterResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	for _, c := range s.clustersFor(ctx, w, callerOf(ctx), s.tallied(ctx, callerOf(ctx))) {
		if c.GetName() == m.GetName() {
			return &plumbv1.GetClusterResponse{Cluster: c}, nil
		}
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no cluster %q", m.GetName()))
}

// WatchClusters sends what changes of them, until the caller has had enough.
func (s fleetService) WatchClusters(ctx context.Context, m *plumbv1.WatchClustersRequest, out *connect.ServerStream[plumbv1.WatchClustersResponse]) error {
	w, err := s.leads()
	if err != nil {
		return err
	}
	counted := tallies{}
	f, err := s.deliveries.Follow(board.Query{}, "")
	if err != nil {
		return err
	}
	f.Tally = counted.follow
	sent := listed[*plumbv1.Cluster]{since: m.GetSince(), name: (*plumbv1.Cluster).GetName}
	stream := followed[*plumbv1.Delivery]{
		server: s.Server, rows: f, target: targetOf, each: true, besides: func() [2]<-chan struct{} { return [2]<-chan struct{}{w.Engine.Contacts(), s.fleetNews()} },
		send: func(_ board.Delta[*plumbv1.Delivery], caller *access.Caller) error {
			change, ok := sent.next(s.clustersFor(ctx, w, caller, counted))
			if !ok {
				return nil
			}
			return out.Send(&plumbv1.WatchClustersResponse{Reset_: change.reset, Changed: change.changed, Removed: change.removed, Revision: change.revision})
		},
	}
	return stream.run(ctx)
}

// follow counts what a follower tells of.
func (t tallies) follow(row **plumbv1.Delivery, by int) {
	if row == nil {
		clear(t)
		return
	}
	t.count(*row, by)
}

// tallied counts what a caller may see.
func (s *Server) tallied(ctx context.Context, caller *access.Caller) tallies {
	counted := tallies{}
	visible := s.visibleDeliveries(ctx, caller)
	s.deliveries.Each(func(d *plumbv1.Delivery) {
		if visible(d) {
			counted.count(d, 1)
		}
	})
	return counted
}

// clusterRule is for calls about one cluster: whoever sees a delivery that goes
// there sees that it is there.
func clusterRule(ctx context.Context, s *Server, caller *access.Caller, message any) error {
	m, ok := message.(*plumbv1.GetClusterRequest)
	if !ok || m.GetName() == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("name is missing"))
	}
	if s.tallied(ctx, caller)[m.GetName()] != nil {
		return nil
	}
	for _, c := range s.registered() {
		if c.name == m.GetName() && mayGetCluster(caller, c.project, c.server) {
			return nil
		}
	}
	if m.GetName() == rows.InCluster {
		return refusal(caller.MayUse(policy.Clusters, policy.Get, inClusterServer))
	}
	return refusal(access.Permission{Reason: "clusters, get, " + m.GetName()})
}

func mayGetCluster(caller *access.Caller, project, server string) bool {
	return caller.MayUse(policy.Clusters, policy.Get, policy.ScopedObject(project, server)).Allowed
}

// clustersFor are the clusters that a caller sees, by name.
func (s *Server) clustersFor(ctx context.Context, w *World, caller *access.Caller, counted tallies) []*plumbv1.Cluster {
	found := map[string]*plumbv1.Cluster{}
	add := func(name string) *plumbv1.Cluster {
		if found[name] == nil {
			found[name] = &plumbv1.Cluster{Name: name, Health: &plumbv1.Health{State: rows.Unknown}}
		}
		return found[name]
	}
	for name, t := range counted {
		c := add(name)
		c.Deliveries, c.Unhealthy, c.Objects = t.deliveries, t.unhealthy, t.objects
	}
	registered := map[string]registeredCluster{}
	for _, r := range s.registered() {
		if r.server == inClusterServer {
			r.name = rows.InCluster // as deliveries call it
		}
		registered[r.name] = r
		if mayGetCluster(caller, r.project, r.server) {
			add(r.name)
		}
	}
	if caller.MayUse(policy.Clusters, policy.Get, inClusterServer).Allowed {
		add(rows.InCluster)
	}
	var all sync.WaitGroup
	for name, c := range found {
		r := registered[name]
		at := s.clusterAt(w, name, counted[name])
		all.Go(func() { s.describeCluster(ctx, c, at, r, caller) })
	}
	all.Wait()
	return slices.SortedFunc(maps.Values(found), func(a, b *plumbv1.Cluster) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// clusterAt is what the engine knows of a cluster.
func (s *Server) clusterAt(w *World, name string, counted *tally) engine.KnownCluster {
	if name == rows.InCluster && w.Local != nil {
		at := engine.KnownCluster{Cluster: w.Local}
		if counted != nil {
			if known, ok := w.Engine.ClusterOf(counted.one); ok && known.Ref.Local() {
				at.Kinds = known.Kinds
			}
		}
		return at
	}
	if counted == nil {
		return engine.KnownCluster{}
	}
	at, ok := w.Engine.ClusterOf(counted.one)
	if !ok || at.Cluster == nil { // it is gone, or has not run: another one knows
		s.deliveries.Each(func(d *plumbv1.Delivery) {
			if at.Cluster != nil || d.GetCluster() != name {
				return
			}
			if known, found := w.Engine.ClusterOf(rows.ID(d.GetRef())); found && known.Cluster != nil {
				at, counted.one = known, rows.ID(d.GetRef())
			}
		})
	}
	return at
}

// describeCluster fills in what is known of a cluster; its address and what its
// registration says, for those who may get it.
func (s *Server) describeCluster(ctx context.Context, c *plumbv1.Cluster, at engine.KnownCluster, r registeredCluster, caller *access.Caller) {
	server := r.server
	if at.Cluster != nil {
		server = cmp.Or(server, "https://"+at.Cluster.Host())
	}
	if c.GetName() == rows.InCluster {
		server = inClusterServer
	}
	details := mayGetCluster(caller, r.project, server)
	if at.Cluster != nil {
		contact := at.Cluster.Contact()
		if !contact.Asked || contact.Reachable || at.Kinds == 0 { // else watches find out when it is back
			c.Version = s.versions.of(ctx, at.Cluster)
			contact = at.Cluster.Contact()
		}
		c.Health, c.Reachable, c.Since = contactHealth(contact, details), contact.Reachable, rows.At(contact.Since)
		c.WatchedBy, c.WatchedKinds = s.replica, int32(at.Kinds)
	} else if c.GetDeliveries() == 0 {
		c.Health.Reason, c.Health.Message = "NotWatched", "nothing is delivered to it"
	}
	if !details {
		return
	}
	c.Project, c.Server, c.Labels, c.Annotations, c.Namespaces, c.Secret = r.project, server, r.labels, r.annotations, r.namespaces, r.secret
	if at.Cluster != nil && c.GetName() == rows.InCluster {
		c.Server = at.Cluster.Host()
	}
	if need := at.Ref.Need; need.Name != "" && at.Ref.Kubeconfig == nil {
		c.Secret = need.Namespace + "/" + need.Name
	}
}

// contactHealth is how a connection is doing; why it is not well names addresses,
// which are told with the other details only.
func contactHealth(contact cluster.Contact, details bool) *plumbv1.Health {
	switch {
	case !contact.Asked:
		return &plumbv1.Health{State: rows.Unknown}
	case contact.Reachable:
		return &plumbv1.Health{State: rows.Healthy}
	}
	h := &plumbv1.Health{State: rows.Degraded, Reason: "Unreachable", Message: "the API server does not answer"}
	if details && contact.Err != nil {
		h.Message += ": " + object.WithoutCredentials(contact.Err.Error())
	}
	return h
}

// versions remembers the versions of clusters for a while, as long as somebody
// looks at them.
type versions struct {
	mu    sync.Mutex
	known map[string]knownVersion
}

type knownVersion struct {
	text  string
	until time.Time
}

const (
	versionLife  = 5 * time.Minute
	versionAgain = 30 * time.Second // after a cluster did not answer
	versionTime  = 3 * time.Second
)

// of is the version of a cluster; the last one that was known where it does not
// answer in time, or "".
func (v *versions) of(ctx context.Context, c *cluster.Cluster) string {
	v.mu.Lock()
	known := v.known[c.Key()]
	v.mu.Unlock()
	if time.Now().Before(known.until) {
		return known.text
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	text, err := c.Version(ctx)
	life := versionLife
	if err != nil {
		text, life = known.text, versionAgain
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) > maxPageSize {
		v.known = map[string]knownVersion{}
	}
	v.known[c.Key()] = knownVersion{text, time.Now().Add(life)}
	return text
}

// listed is what a viewer has of a list that is short enough to be worked out as
// a whole: what they are sent is how it differs.
type listed[T proto.Message] struct {
	since string // what the viewer said they have; "" after the first answer
	name  func(T) string
	known map[string]T // nil before the first answer
}

type listChange[T any] struct {
	reset    bool
	changed  []T
	removed  []string
	revision string
}

// next is what to send of a list as it is now; false: nothing.
func (l *listed[T]) next(now []T) (listChange[T], bool) {
	change := listChange[T]{revision: revisionOf(now)}
	first := l.known == nil
	if first && change.revision != l.since {
		change.reset, change.changed = true, now
	}
	before := l.known
	l.known = make(map[string]T, len(now))
	for _, item := range now {
		name := l.name(item)
		l.known[name] = item
		if was, ok := before[name]; !first && (!ok || !proto.Equal(was, item)) {
			change.changed = append(change.changed, item)
		}
	}
	for name := range before {
		if _, still := l.known[name]; !still {
			change.removed = append(change.removed, name)
		}
	}
	slices.Sort(change.removed)
	return change, first || len(change.changed) > 0 || len(change.removed) > 0
}

// revisionOf names a list by its content: the same list has the same revision,
// whoever answers.
func revisionOf[T proto.Message](list []T) string {
	h := fnv.New128a()
	for _, item := range list {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(item)
		if err != nil {
			return ""
		}
		_, _ = h.Write([]byte(strconv.Itoa(len(text)) + " ")) // a hash never fails
		_, _ = h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}
