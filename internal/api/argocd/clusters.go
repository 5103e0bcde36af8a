package argocd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/policy"
)

// The cluster that everything runs in, as Argo CD calls it.
const (
	inClusterServer = "https://kubernetes.default.svc"
	inClusterName   = "in-cluster"
)

// clusterOf is a registered cluster without its credentials (Cluster.Sanitized).
func clusterOf(o *unstructured.Unstructured) map[string]any {
	values := content(o)
	out := map[string]any{"server": values["server"], "name": values["name"], "project": values["project"], "config": publicConfig(values["config"])}
	if text(out, "name") == "" {
		out["name"] = values["server"]
	}
	if namespaces := namespacesOf(values["namespaces"]); len(namespaces) > 0 {
		out["namespaces"] = anys(namespaces)
	}
	if on, err := strconv.ParseBool(values["clusterResources"]); err == nil && on {
		out["clusterResources"] = true
	}
	if n, err := strconv.ParseInt(values["shard"], 10, 64); err == nil {
		out["shard"] = n
	}
	labels := maps.Clone(o.GetLabels())
	delete(labels, repository.LabelSecretType)
	annotations := maps.Clone(o.GetAnnotations())
	delete(annotations, managedByKey)
	delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
	out["labels"], out["annotations"] = anyMap(labels), anyMap(annotations)
	return out
}

func anyMap(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		out[k] = v
	}
	return out
}

func namespacesOf(list string) []string {
	var out []string
	for _, ns := range strings.Split(list, ",") {
		if ns = strings.TrimSpace(ns); ns != "" {
			out = append(out, ns)
		}
	}
	return out
}

// publicConfig is what a connection may be told of.
func publicConfig(config string) map[string]any {
	var all map[string]any
	if err := kubejson.Unmarshal([]byte(config), &all); err != nil {
		return map[string]any{}
	}
	out := map[string]any{}
	for _, field := range []string{"awsAuthConfig", "disableCompression"} {
		if value, ok := all[field]; ok {
			out[field] = value
		}
	}
	if proxy := text(all, "proxyUrl"); proxy != "" {
		out["proxyUrl"] = repository.Printable(proxy)
	}
	tls := map[string]any{"insecure": flag(all, "tlsClientConfig", "insecure")}
	if name := text(all, "tlsClientConfig", "serverName"); name != "" {
		tls["serverName"] = name
	}
	out["tlsClientConfig"] = tls
	return out
}

// registered is a cluster together with its Secret; the own cluster has none
// unless somebody registers it.
type registered struct {
	secret *unstructured.Unstructured
	told   map[string]any
}

func (s *server) clusters(ctx context.Context) ([]registered, error) {
	all, err := s.secrets(ctx, typeCluster)
	if err != nil {
		return nil, err
	}
	var out []registered
	own := false
	for _, o := range all {
		told := clusterOf(o)
		own = own || text(told, "server") == inClusterServer
		out = append(out, registered{o, told})
	}
	if !own && s.settings(ctx).InCluster {
		out = append(out, registered{told: map[string]any{
			"server": inClusterServer, "name": inClusterName, "config": map[string]any{"tlsClientConfig": map[string]any{"insecure": false}},
		}})
	}
	return out, nil
}

// wantedCluster is the server and name that a request asks for.
func wantedCluster(c *call) (server, name string, err error) {
	server, name = text(c.value, "server"), text(c.value, "name")
	id := object(c.value, "id")
	value := text(id, "value")
	switch {
	case value == "":
		return server, name, nil
	case text(id, "type") == "name":
		return "", value, nil
	case text(id, "type") == "name_escaped":
		name, err = url.QueryUnescape(value)
		return "", name, err
	}
	if unescaped, err := url.QueryUnescape(value); err == nil && !strings.Contains(value, "://") {
		value = unescaped
	}
	return value, "", nil
}

func (r registered) is(server, name string) bool {
	return (server == "" || strings.TrimRight(text(r.told, "server"), "/") == strings.TrimRight(server, "/")) && (name == "" || text(r.told, "name") == name)
}

func (s *server) listClusters(ctx context.Context, c *call) (map[string]any, error) {
	all, err := s.clusters(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to list clusters: %w", err)
	}
	server, name, err := wantedCluster(c)
	if err != nil {
		return nil, failed(connect.CodeInvalidArgument, "failed to unescape cluster name: %v", err)
	}
	all = slices.DeleteFunc(all, func(r registered) bool {
		return !r.is(server, name) || !s.can(ctx, c, policy.Clusters, policy.Get, scoped(r.told, "server"))
	})
	out := make([]any, len(all))
	secrets := make([]*unstructured.Unstructured, len(all))
	each(secrets, func(i int, _ *unstructured.Unstructured) { out[i] = s.withState(ctx, all[i].told) })
	sortByText(out, "server")
	return map[string]any{"items": out}, nil
}

// withState adds whether a cluster can be reached, and its version.
func (s *server) withState(ctx context.Context, told map[string]any) map[string]any {
	server := text(told, "server")
	found, known := s.reached.get("cluster "+server, s.Now())
	if !known {
		version, err := s.Deliveries.Cluster(ctx, server)
		found = state{at: s.Now(), extra: version}
		found.unknown = errors.Is(err, ErrNotLooked)
		if err != nil && !found.unknown {
			found.err = err.Error()
		}
		if ctx.Err() == nil {
			s.reached.put("cluster "+server, found)
		}
	}
	connection := found.told()
	told["connectionState"], told["serverVersion"] = connection, found.extra
	told["info"] = map[string]any{"connectionState": connection, "serverVersion": found.extra, "cacheInfo": map[string]any{}, "applicationsCount": s.delivering(ctx, told)}
	return told
}

// delivering counts the Applications that go to a cluster.
func (s *server) delivering(ctx context.Context, told map[string]any) int64 {
	apps, _, err := s.list(ctx, KindApplication, "", nil)
	if err != nil {
		return 0
	}
	var n int64
	for _, app := range apps {
		to := place(app)
		if to.Server != "" && to.Server == text(told, "server") || to.Server == "" && to.Name == text(told, "name") {
			n++
		}
	}
	return n
}

// clusterFor is a cluster that the caller may do something with; one that is not
// there is refused in the same words.
func (s *server) clusterFor(ctx context.Context, c *call, action string) (registered, error) {
	server, name, err := wantedCluster(c)
	if err != nil {
		return registered{}, failed(connect.CodeInvalidArgument, "failed to unescape cluster name: %v", err)
	}
	all, err := s.clusters(ctx)
	if err != nil {
		return registered{}, err
	}
	for _, r := range all {
		if (server != "" || name != "") && r.is(server, name) {
			if !s.can(ctx, c, policy.Clusters, action, scoped(r.told, "server")) {
				return registered{}, errDenied
			}
			return r, nil
		}
	}
	return registered{}, errDenied
}

func (s *server) getCluster(ctx context.Context, c *call) (map[string]any, error) {
	r, err := s.clusterFor(ctx, c, policy.Get)
	if err != nil {
		return nil, fmt.Errorf("error verifying access to update cluster: %w", err)
	}
	return s.withState(ctx, r.told), nil
}

// clusterValues is what the Secret of a cluster is to hold. fields picks some of
// them; none is all.
func clusterValues(sent map[string]any, fields []string) (map[string]string, error) {
	picked := func(name string) bool { return len(fields) == 0 || slices.Contains(fields, name) }
	out := map[string]string{}
	for _, name := range []string{"name", "project"} {
		if picked(name) {
			out[name] = text(sent, name)
		}
	}
	if picked("namespaces") {
		out["namespaces"] = strings.Join(texts(sent, "namespaces"), ",")
	}
	if picked("clusterResources") {
		out["clusterResources"] = ""
		if flag(sent, "clusterResources") {
			out["clusterResources"] = "true"
		}
	}
	if n, ok := sent["shard"].(int64); ok && picked("shard") {
		out["shard"] = strconv.FormatInt(n, 10)
	}
	if picked("config") {
		config, err := json.Marshal(object(sent, "config"))
		if err != nil {
			return nil, err
		}
		out["config"] = string(config)
	}
	return out, nil
}

// mark puts the labels and annotations of a cluster on its Secret.
func mark(o *unstructured.Unstructured, sent map[string]any, fields []string) {
	words := func(name string) map[string]string {
		out := map[string]string{}
		for k, v := range object(sent, name) {
			if word, ok := v.(string); ok {
				out[k] = word
			}
		}
		return out
	}
	if len(fields) == 0 || slices.Contains(fields, "labels") {
		labels := words("labels")
		labels[repository.LabelSecretType] = typeCluster
		o.SetLabels(labels)
	}
	if len(fields) == 0 || slices.Contains(fields, "annotations") {
		annotations := words("annotations")
		if by, ok := o.GetAnnotations()[managedByKey]; ok {
			annotations[managedByKey] = by
		}
		o.SetAnnotations(annotations)
	}
}

func (s *server) createCluster(ctx context.Context, c *call) (map[string]any, error) {
	sent := object(c.value, "cluster")
	server := text(sent, "server")
	if server == "" {
		return nil, failed(connect.CodeInvalidArgument, "missing payload in request")
	}
	if err := s.must(ctx, c, policy.Clusters, policy.Create, scoped(sent, "server")); err != nil {
		return nil, fmt.Errorf("permission denied while creating cluster: %w", err)
	}
	values, err := clusterValues(sent, nil)
	if err != nil {
		return nil, err
	}
	all, err := s.secrets(ctx, typeCluster)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if strings.TrimRight(content(o)["server"], "/") != strings.TrimRight(server, "/") {
			continue
		}
		switch same := sameCluster(content(o), values); {
		case !same && !flag(c.value, "upsert"):
			return nil, failed(connect.CodeInvalidArgument, "existing cluster spec is different; use upsert flag to force update")
		case same && !flag(c.value, "upsert"):
			return s.withState(ctx, clusterOf(o)), nil
		}
		if err := s.must(ctx, c, policy.Clusters, policy.Update, scoped(clusterOf(o), "server")); err != nil {
			return nil, err
		}
		return s.writeCluster(ctx, c, o, sent, values, nil)
	}
	o := s.newSecret(typeCluster, clusterSecretName(server))
	mark(o, sent, nil)
	values["server"] = server
	setContent(o, values)
	created, err := s.Objects.Create(ctx, KindSecret, o)
	if err != nil {
		return nil, fmt.Errorf("error creating cluster: %w", err)
	}
	s.done(ctx, c, "create", KindSecret, created, "added cluster "+server)
	return s.withState(ctx, clusterOf(created)), nil
}

// clusterSecretName is how upstream calls the Secret of a cluster
// (URIToSecretName).
func clusterSecretName(server string) string {
	host := "cluster"
	if u, err := url.Parse(server); err == nil && u.Hostname() != "" {
		host = strings.ToLower(strings.NewReplacer(":", "", "[", "", "]", "").Replace(u.Hostname()))
	}
	return secretName("cluster-"+host, server)
}

func sameCluster(have, want map[string]string) bool {
	for k, v := range want {
		if k == "config" {
			var a, b any
			if kubejson.Unmarshal([]byte(have[k]), &a) != nil || kubejson.Unmarshal([]byte(v), &b) != nil || !equal(a, b) {
				return false
			}
		} else if have[k] != v {
			return false
		}
	}
	return true
}

func (s *server) writeCluster(ctx context.Context, c *call, o *unstructured.Unstructured, sent map[string]any, values map[string]string, fields []string) (map[string]any, error) {
	mark(o, sent, fields)
	setContent(o, values)
	updated, err := s.Objects.Update(ctx, KindSecret, o)
	if err != nil {
		return nil, fmt.Errorf("failed to update cluster in database: %w", err)
	}
	s.done(ctx, c, "update", KindSecret, updated, "updated cluster "+content(updated)["server"])
	return s.withState(ctx, clusterOf(updated)), nil
}

func (s *server) updateCluster(ctx context.Context, c *call) (map[string]any, error) {
	sent := object(c.value, "cluster")
	asked := &call{message: message{value: map[string]any{"id": c.value["id"], "server": text(sent, "server"), "name": text(sent, "name")}}, who: c.who, signedIn: c.signedIn}
	if object(c.value, "id") == nil && text(sent, "server") != "" {
		asked.value["name"] = "" // it may be what changes
	}
	r, err := s.clusterFor(ctx, asked, policy.Update)
	if err != nil {
		return nil, fmt.Errorf("failed to verify access for updating cluster: %w", err)
	}
	fields := texts(c.value, "updatedFields")
	if len(fields) == 0 || slices.Contains(fields, "project") {
		if !s.can(ctx, c, policy.Clusters, policy.Update, policy.ScopedObject(text(sent, "project"), text(r.told, "server"))) {
			return nil, errDenied
		}
	}
	values, err := clusterValues(sent, fields)
	if err != nil {
		return nil, err
	}
	if r.secret == nil { // the own cluster gets a Secret when something is to be said of it
		r.secret = s.newSecret(typeCluster, clusterSecretName(inClusterServer))
		values["server"] = inClusterServer
		if values["name"] == "" {
			values["name"] = inClusterName
		}
		mark(r.secret, sent, fields)
		setContent(r.secret, values)
		created, err := s.Objects.Create(ctx, KindSecret, r.secret)
		if err != nil {
			return nil, fmt.Errorf("failed to update cluster in database: %w", err)
		}
		s.done(ctx, c, "update", KindSecret, created, "updated cluster "+inClusterServer)
		return s.withState(ctx, clusterOf(created)), nil
	}
	return s.writeCluster(ctx, c, r.secret, sent, values, fields)
}

func (s *server) deleteCluster(ctx context.Context, c *call) (map[string]any, error) {
	r, err := s.clusterFor(ctx, c, policy.Delete)
	if err != nil {
		return nil, fmt.Errorf("failed to get cluster with permissions check: %w", err)
	}
	if r.secret == nil {
		return nil, failed(connect.CodeInvalidArgument, "the cluster that Plumb runs in is not registered; set cluster.inClusterEnabled to \"false\" in argocd-cm to do without it")
	}
	if err := s.forget(ctx, r.secret); err != nil {
		return nil, err
	}
	s.done(ctx, c, "delete", KindSecret, r.secret, "removed cluster "+text(r.told, "server"))
	return nothing(), nil
}

// rotateAuth is refused: Plumb makes no tokens of service accounts in other
// clusters.
func (s *server) rotateAuth(ctx context.Context, c *call) (map[string]any, error) {
	if _, err := s.clusterFor(ctx, c, policy.Update); err != nil {
		return nil, fmt.Errorf("failed to get cluster with permissions check: %w", err)
	}
	return nil, failed(connect.CodeUnimplemented, "Plumb does not rotate the tokens of clusters: register the cluster again with argocd cluster add --upsert")
}

// forgetCluster looks at a cluster anew. Nothing else is remembered of it here:
// watches keep themselves up to date.
func (s *server) forgetCluster(ctx context.Context, c *call) (map[string]any, error) {
	r, err := s.clusterFor(ctx, c, policy.Update)
	if err != nil {
		return nil, fmt.Errorf("failed to verify access for cluster: %w", err)
	}
	s.reached.forget("cluster " + text(r.told, "server"))
	return s.withState(ctx, r.told), nil
}

func (k *states) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, key)
}

// destination is where an Application goes, with both address and name
// (util/argo GetDestinationCluster).
func (s *server) destination(ctx context.Context, app *unstructured.Unstructured) (project.Place, error) {
	to := place(app)
	switch {
	case to.Server != "" && to.Name != "":
		return to, failed(connect.CodeInvalidArgument, "application destination can't have both name and server defined: %s %s", to.Name, to.Server)
	case to.Server == "" && to.Name == "":
		return to, failed(connect.CodeInvalidArgument, "Destination server missing from app spec")
	}
	all, err := s.clusters(ctx)
	if err != nil {
		return to, err
	}
	var found []registered
	for _, r := range all {
		if r.is(to.Server, to.Name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) > 1 && to.Name != "":
		return to, failed(connect.CodeInvalidArgument, "unable to find destination server: there are %d clusters with the same name: %s", len(found), to.Name)
	case len(found) == 0 && to.Name != "":
		return to, failed(connect.CodeInvalidArgument, "unable to find destination server: there are no clusters with this name: %s", to.Name)
	case len(found) == 0:
		return to, failed(connect.CodeInvalidArgument, "cluster '%s' has not been configured", to.Server)
	}
	to.Server, to.Name = text(found[0].told, "server"), text(found[0].told, "name")
	return to, nil
}

// scopedTo is what is registered for a project alone.
func (s *server) scopedTo(ctx context.Context, name string) (project.Scoped, error) {
	out := project.Scoped{}
	repositories, err := s.secrets(ctx, typeRepository)
	if err != nil {
		return out, err
	}
	for _, o := range repositories {
		if values := content(o); values["project"] == name {
			out.Repositories = append(out.Repositories, values["url"])
		}
	}
	clusters, err := s.secrets(ctx, typeCluster)
	if err != nil {
		return out, err
	}
	for _, o := range clusters {
		if values := content(o); values["project"] == name {
			out.Clusters = append(out.Clusters, project.Cluster{Server: values["server"], Name: values["name"], Namespaces: namespacesOf(values["namespaces"])})
		}
	}
	return out, nil
}
