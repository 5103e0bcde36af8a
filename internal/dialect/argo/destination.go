package argo

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/argo/project"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// registered is a cluster that a Secret of type cluster describes.
type registered struct {
	id         object.ID
	server     string
	name       string
	project    string
	namespaces []string // that it is limited to; empty: all
	scoped     bool     // clusterResources: cluster-scoped kinds too, where namespaces are given
	config     []byte   // JSON with credentials
	bad        error
}

// connection is the JSON of a cluster Secret (v1alpha1.ClusterConfig).
type connection struct {
	Username        string `json:"username"`
	Password        string `json:"password"`
	BearerToken     string `json:"bearerToken"`
	TLSClientConfig struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName"`
		CertData   []byte `json:"certData"`
		KeyData    []byte `json:"keyData"`
		CAData     []byte `json:"caData"`
	} `json:"tlsClientConfig"`
	AWSAuthConfig      map[string]any `json:"awsAuthConfig"`
	ExecProviderConfig map[string]any `json:"execProviderConfig"`
	DisableCompression bool           `json:"disableCompression"`
	ProxyURL           string         `json:"proxyUrl"`
}

// clusters are the registered ones, by the names of their Secrets.
func (c *compilation) clusters() []registered {
	var out []registered
	for _, secret := range c.facts[repository.Secrets(c.namespace, "cluster")].Objects {
		if secret != nil {
			out = append(out, readCluster(secret))
		}
	}
	return out
}

func readCluster(secret *unstructured.Unstructured) registered {
	out := registered{id: object.Of(secret)}
	data, err := reader.SecretData(secret)
	if err != nil {
		out.bad = err
		return out
	}
	out.server = strings.TrimRight(string(data["server"]), "/")
	out.name = string(data["name"])
	out.project = string(data["project"])
	out.scoped = string(data["clusterResources"]) == "true"
	out.config = data["config"]
	for _, namespace := range strings.Split(string(data["namespaces"]), ",") {
		if namespace = strings.TrimSpace(namespace); namespace != "" {
			out.namespaces = append(out.namespaces, namespace)
		}
	}
	return out
}

// scoped are the repositories and clusters that are registered for a project.
func (c *compilation) scoped(name string) project.Scoped {
	var out project.Scoped
	for _, cluster := range c.clusters() {
		if cluster.project == name && cluster.bad == nil {
			out.Clusters = append(out.Clusters, project.Cluster{Server: cluster.server, Name: cluster.name, Namespaces: cluster.namespaces})
		}
	}
	for _, secret := range c.facts[repository.Secrets(c.namespace, "repository")].Objects {
		data, err := reader.SecretData(secret)
		if err == nil && string(data["project"]) == name && len(data["url"]) > 0 {
			out.Repositories = append(out.Repositories, string(data["url"]))
		}
	}
	return out
}

// destination finds the cluster that objects go to. Without a server or a name
// it is the own one, which upstream refuses.
func (c *compilation) destination(field node) {
	server, name := strings.TrimRight(field.At("server").Str(), "/"), field.At("name").Str()
	c.place.Namespace = field.At("namespace").Str()
	switch {
	case server != "" && name != "":
		field.Invalid("application destination can't have both name and server defined: %s %s", reader.Clip(name, 253), reader.Clip(server, 253))
		return
	case server == "" && name == "":
		server = inClusterServer
		c.r.Find(model.Info, reasonDefaulted, field.Path, "no destination server or name is given: the cluster of the Application is used")
	}
	if fact := c.facts[repository.Secrets(c.namespace, "cluster")]; fact.State != model.Present && fact.State != model.Absent {
		c.r.Fail(&model.Fault{Reason: reasonComparison, Message: "the Secrets of clusters cannot be read: " + reader.Clip(fact.Message, 300), Advice: "allow Plumb to read Secrets in namespace " + c.namespace, Retry: true}, field.Path)
		return
	}
	found, fault := c.lookup(server, name)
	if fault != nil {
		c.homeless = true
		c.r.Fail(fault, field.Path)
		return
	}
	c.place.Server, c.place.Name = found.server, found.name
	c.cluster = found
	c.target = model.Target{Namespace: c.place.Namespace, Cluster: model.ClusterRef{Server: found.server, Name: found.name}}
	kubeconfig, fault := found.kubeconfig()
	if fault != nil {
		c.r.Fail(fault, field.Path)
		return
	}
	c.target.Cluster.Kubeconfig = kubeconfig
	if len(found.namespaces) > 0 {
		c.r.Find(model.Info, reasonDiffers, field.Path, "Secret %s/%s limits the cluster to namespaces %s: other namespaces are left to the permissions of the credential", found.id.Namespace, found.id.Name, reader.Clip(strings.Join(found.namespaces, ", "), 200))
	}
}

// lookup finds a cluster by its address or its name (util/argo
// GetDestinationServer, util/db GetCluster). The own cluster need not be
// registered.
func (c *compilation) lookup(server, name string) (registered, *model.Fault) {
	refuse := func(format string, args ...any) (registered, *model.Fault) {
		return registered{}, &model.Fault{
			Reason:  reasonInvalidSpec,
			Message: fmt.Sprintf(format, args...),
			Advice:  "register the cluster with a Secret labelled " + repository.LabelSecretType + "=cluster in namespace " + c.namespace + ", or correct spec.destination",
			Retry:   true,
		}
	}
	var found []registered
	for _, cluster := range c.clusters() {
		if cluster.bad == nil && (server != "" && cluster.server == server || server == "" && cluster.name == name) {
			found = append(found, cluster)
		}
	}
	own := server == inClusterServer || server == "" && name == inClusterName && len(found) == 0
	switch {
	case own && !c.settings.InCluster:
		return refuse("cluster %q is disabled", inClusterServer)
	case own && len(found) == 0:
		return registered{server: inClusterServer, name: inClusterName}, nil
	case len(found) == 0 && server != "":
		return refuse("error getting cluster by server %q: cluster %q not found", reader.Clip(server, 253), reader.Clip(server, 253))
	case len(found) == 0:
		return refuse("there are no clusters with this name: %s", reader.Clip(name, 253))
	case len(found) > 1 && server == "":
		var servers []string
		for _, cluster := range found {
			servers = append(servers, cluster.server)
		}
		return refuse("there are %d clusters with the same name: %s", len(found), reader.Clip(strings.Join(servers, " "), 300))
	}
	return found[0], nil
}

// fault names the Secret, and nothing of what it holds.
func (r registered) fault(advice, format string, args ...any) *model.Fault {
	return &model.Fault{
		Reason:  reasonInvalidSpec,
		Message: fmt.Sprintf("cluster Secret %s/%s: %s", r.id.Namespace, r.id.Name, fmt.Sprintf(format, args...)),
		Advice:  advice,
		Object:  r.id,
		Retry:   true,
	}
}

// kubeconfig makes a kubeconfig of a Secret; nil for the own cluster, which is
// reached as Plumb itself unless its Secret brings credentials (Cluster
// RawRestConfig).
func (r registered) kubeconfig() (*model.Secret, *model.Fault) {
	var conn connection
	if len(r.config) > 0 {
		if err := json.Unmarshal(r.config, &conn); err != nil {
			return nil, r.fault("correct the value of 'config'", "failed to unmarshal cluster config")
		}
	}
	if r.server == inClusterServer && conn.Username == "" && conn.Password == "" && conn.BearerToken == "" {
		return nil, nil
	}
	address, err := url.Parse(r.server)
	tls := conn.TLSClientConfig
	switch {
	case err != nil || address.Host == "":
		return nil, r.fault("write it as https://host:port", "the value of 'server' is not an address")
	case len(conn.AWSAuthConfig) > 0:
		return nil, r.fault("give the cluster a service account's bearerToken", "awsAuthConfig is not yet handled by Plumb")
	case len(conn.ExecProviderConfig) > 0:
		return nil, r.fault("give the cluster a service account's bearerToken", "execProviderConfig runs a program, which Plumb does not")
	case tls.Insecure && len(tls.CAData) > 0:
		return nil, r.fault("remove one of them", "caData and insecure cannot be given together")
	case (len(tls.CertData) == 0) != (len(tls.KeyData) == 0):
		return nil, r.fault("add the missing one", "a client certificate takes both of certData and keyData")
	}
	text, err := json.Marshal(kubeconfigOf(r.server, conn))
	if err != nil {
		return nil, r.fault("correct the value of 'config'", "it cannot be written as a kubeconfig")
	}
	secret := model.NewSecret(text)
	return &secret, nil
}

func kubeconfigOf(server string, conn connection) map[string]any {
	cluster, user := map[string]any{"server": server}, map[string]any{}
	tls := conn.TLSClientConfig
	put(cluster, "insecure-skip-tls-verify", tls.Insecure)
	put(cluster, "tls-server-name", tls.ServerName)
	put(cluster, "proxy-url", conn.ProxyURL)
	put(cluster, "disable-compression", conn.DisableCompression)
	put(user, "username", conn.Username)
	put(user, "password", conn.Password)
	put(user, "token", conn.BearerToken)
	for name, bytes := range map[string][]byte{"client-certificate-data": tls.CertData, "client-key-data": tls.KeyData} {
		if len(bytes) > 0 {
			user[name] = bytes
		}
	}
	if len(tls.CAData) > 0 {
		cluster["certificate-authority-data"] = tls.CAData
	}
	const name = "cluster"
	return map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": name,
		"clusters":        []any{map[string]any{"name": name, "cluster": cluster}},
		"users":           []any{map[string]any{"name": name, "user": user}},
		"contexts":        []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
	}
}

// permit is what the project allows, narrowed to what the cluster is
// registered for.
func (c *compilation) permit() model.Permit {
	permit := c.project.Permit(c.place.Server, c.place.Name)
	if len(c.cluster.namespaces) > 0 && !c.cluster.scoped {
		permit.ClusterDeny = append(slices.Clone(permit.ClusterDeny), model.KindRule{Group: "*", Kind: "*"})
	}
	return permit
}

// kinds are the kinds that the settings leave out on the target.
func (c *compilation) kinds() model.KindFilter {
	var out model.KindFilter
	rules := func(filters []config.ResourceFilter) ([]model.KindRule, bool) {
		var kinds []model.KindRule
		concerned := false
		for _, filter := range filters {
			if !filter.Concerns(c.place.Server) {
				continue
			}
			concerned = true
			kinds = append(kinds, ruleOf(filter)...)
		}
		return kinds, concerned
	}
	out.Exclude, _ = rules(config.Exclusions(c.settings))
	out.Include, out.Restricted = rules(c.settings.Inclusions)
	return out
}

// ruleOf is every pair of a group and a kind.
func ruleOf(filter config.ResourceFilter) []model.KindRule {
	all := []string{"*"}
	groups, kinds := filter.APIGroups, filter.Kinds
	if len(groups) == 0 {
		groups = all
	}
	if len(kinds) == 0 {
		kinds = all
	}
	var out []model.KindRule
	for _, group := range groups {
		for _, kind := range kinds {
			out = append(out, model.KindRule{Group: group, Kind: kind})
		}
	}
	return out
}
