package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// The namespaces where upstreams keep their objects, and so do we.
const (
	defaultNamespace     = "flux-system"
	defaultArgoNamespace = "argocd"
)

// kubeFlags are the flags that say which cluster is meant and as whom, with
// the names that kubectl and flux give them.
type kubeFlags struct {
	kubeconfig    string
	overrides     clientcmd.ConfigOverrides
	namespace     string
	argoNamespace string // of Argo CD's own objects
	followContext bool
	chosen        bool // the namespace was given, and is meant for every kind

	flags *pflag.FlagSet
	which *pflag.FlagSet // those that say which cluster is meant, and as whom
}

func (k *kubeFlags) bind(flags *pflag.FlagSet, getenv func(string) string) {
	k.flags = flags
	k.namespace = defaultNamespace
	if env := getenv("FLUX_SYSTEM_NAMESPACE"); len(validation.IsDNS1123Label(env)) == 0 {
		k.namespace = env
	}
	k.which = pflag.NewFlagSet("cluster", pflag.ContinueOnError)
	k.which.StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig `FILE` to use instead of KUBECONFIG or ~/.kube/config")
	flags.StringVarP(&k.namespace, "namespace", "n", k.namespace, "namespace that is meant, by default that of the kind's upstream; FLUX_SYSTEM_NAMESPACE changes Flux's")
	flags.StringVar(&k.argoNamespace, "argocd-namespace", defaultArgoNamespace, "`NAMESPACE` of Argo CD's objects and settings")
	flags.BoolVar(&k.followContext, "ns-follows-kube-context", getenv("FLUX_NS_FOLLOWS_KUBE_CONTEXT") != "",
		"default to the namespace of the kubeconfig's context")

	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.Timeout.LongName = "" // --timeout bounds the whole command
	names.ContextOverrideFlags.Namespace.LongName = ""
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	clientcmd.BindOverrideFlags(&k.overrides, k.which, names)
	flags.AddFlagSet(k.which)
}

// given is a flag that says which cluster is meant, or as whom; "" when none
// was given.
func (k *kubeFlags) given() string {
	found := ""
	k.which.VisitAll(func(f *pflag.Flag) {
		if f.Changed && found == "" {
			found = f.Name
		}
	})
	return found
}

func (k *kubeFlags) namespaceGiven() bool { return k.flags.Changed("namespace") }

// loader reads the kubeconfig, with what the flags say instead.
func (k *kubeFlags) loader(a *app) clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(k.rules(a), &k.overrides)
}

// rules find kubeconfig files as kubectl does: --kubeconfig, else the files of
// KUBECONFIG merged, else ~/.kube/config.
func (k *kubeFlags) rules(a *app) *clientcmd.ClientConfigLoadingRules {
	rules := &clientcmd.ClientConfigLoadingRules{}
	switch {
	case k.kubeconfig != "":
		rules.ExplicitPath = a.path(k.kubeconfig)
	case a.streams.Getenv("KUBECONFIG") != "":
		for _, file := range filepath.SplitList(a.streams.Getenv("KUBECONFIG")) {
			rules.Precedence = append(rules.Precedence, a.path(file))
		}
	default:
		if home := a.streams.Getenv("HOME"); home != "" {
			rules.Precedence = []string{filepath.Join(home, ".kube", "config")}
		}
	}
	return rules
}

// cluster holds the clients of one API server. They are made when first used.
type cluster struct {
	config    *rest.Config
	objects   dynamic.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper

	metadataOnce sync.Once
	metadata     metadata.Interface
	metadataErr  error
}

// connect is dial for commands that nothing but a cluster can answer. Where a
// server of Plumb is meant, they refuse: it may not be the kubeconfig's.
func (a *app) connect() (*cluster, error) {
	login, err := a.chosen()
	if err != nil {
		return nil, err
	}
	if login != nil {
		return nil, advise(fmt.Errorf("this needs a kubeconfig, and %s is what is asked", login), "say that the kubeconfig's cluster is meant with: --plumb-server kubeconfig")
	}
	return a.dial()
}

// dial makes the clients for the cluster that the flags name. Inside a pod, and
// without a kubeconfig, that is the pod's own cluster.
func (a *app) dial() (*cluster, error) {
	config, err := a.kube.loader(a).ClientConfig()
	var absent *fs.PathError
	if errors.As(err, &absent) && a.kube.kubeconfig != "" && absent.Path == a.path(a.kube.kubeconfig) {
		return nil, advise(fmt.Errorf("there is no kubeconfig: %w", err), "name one that is there with --kubeconfig or KUBECONFIG; plumb status shows that of plumb up")
	}
	if err != nil && a.kube.overrides.CurrentContext != "" {
		return nil, advise(err, "see which contexts there are with: kubectl config get-contexts")
	}
	if err != nil {
		return nil, err
	}
	return newCluster(a.tuned(config))
}

// tuned makes a config fit for a command: no client-side rate limit, since the
// server has its own, and server warnings on the command's own stream.
func (a *app) tuned(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.UserAgent = "plumb/" + buildVersion()
	config.QPS = -1
	config.WarningHandler = rest.NewWarningWriter(a.streams.Err, rest.WarningWriterOptions{Deduplicate: true})
	return config
}

func newCluster(config *rest.Config) (*cluster, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	plain, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(plain)
	return &cluster{
		config:    config,
		objects:   objects,
		discovery: cached,
		mapper:    restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}, nil
}

// partial is the client that reads and patches metadata only.
func (c *cluster) partial() (metadata.Interface, error) {
	c.metadataOnce.Do(func() {
		quiet := rest.CopyConfig(c.config)
		quiet.WarningHandler = rest.NoWarnings{} // it is asked for every kind, deprecated ones too
		c.metadata, c.metadataErr = metadata.NewForConfig(quiet)
	})
	return c.metadata, c.metadataErr
}
