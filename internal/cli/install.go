package cli

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	// deploymentName is Plumb's own workload, and the name of what belongs to it.
	deploymentName = "plumb"
	// runsOutsideAnnotation is on a Deployment without replicas that stands
	// for an engine outside the cluster.
	runsOutsideAnnotation = "plumb.dev/runs"
)

// image is set by release builds: -ldflags "-X plumb.dev/plumb/internal/cli.image=registry/plumb:v1.2.3".
var image = ""

//go:embed install.yaml
var installTemplate string

// installation is what an installation lets one choose.
type installation struct {
	Namespace             string
	Image                 string
	ImagePullSecret       string
	LogLevel              string
	ClusterDomain         string
	StorageSize           string
	StorageClass          string
	DefaultServiceAccount string
	NoCrossNamespaceRefs  bool
	ArgoNamespace         string
	ApplicationNamespaces []string
	Version               string
}

func (a *app) installCommand() *cobra.Command {
	in := installation{LogLevel: "info", ClusterDomain: "cluster.local", StorageSize: "1Gi", Image: image}
	export := false
	install := &cobra.Command{
		Use:   "install",
		Short: "Install Plumb into a cluster, or bring an installation up to date",
		Long: `Install Plumb into a cluster: its kinds, a namespace, a service account with the
rights of upstream's controllers, a volume, a Deployment with one replica and a
Service for artifacts and webhooks. Run again, it changes only what differs.

Where Flux or Argo CD runs, Plumb only watches until plumb adopt.`,
		Example: `  # Look at it first
  plumb install --image registry.example.com/plumb:v1.0.0 --export > plumb.yaml

  plumb install --image registry.example.com/plumb:v1.0.0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in.Namespace, in.ArgoNamespace, in.Version = a.kube.namespace, a.kube.argoNamespace, buildVersion()
			if err := in.validate(); err != nil {
				return err
			}
			if export {
				return a.exportInstallation(in)
			}
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.install(ctx, in)
		},
	}
	set := install.Flags()
	set.BoolVar(&export, "export", false, "print the manifests instead of applying them")
	set.StringVar(&in.Image, "image", in.Image, "container image that holds the plumb binary as its entry point")
	set.StringVar(&in.ImagePullSecret, "image-pull-secret", "", "Secret in the namespace with the registry's credentials")
	set.StringVar(&in.LogLevel, "log-level", in.LogLevel, "debug, info or error")
	set.StringVar(&in.ClusterDomain, "cluster-domain", in.ClusterDomain, "DNS domain of the cluster")
	set.StringVar(&in.StorageSize, "storage-size", in.StorageSize, "size of the volume for mirrors and the journal")
	set.StringVar(&in.StorageClass, "storage-class", "", "storage class of the volume; empty for the cluster's default")
	set.StringVar(&in.DefaultServiceAccount, "default-service-account", "", "act as this service account where a delivery names none")
	set.BoolVar(&in.NoCrossNamespaceRefs, "no-cross-namespace-refs", false, "refuse references to sources in other namespaces")
	set.StringSliceVar(&in.ApplicationNamespaces, "application-namespaces", nil, "`NAMESPACES` (globs) in which Applications may live besides Argo CD's own")
	return install
}

// validate keeps what is put into manifests to what it is meant for.
func (in installation) validate() error {
	if in.Image == "" {
		return advise(errors.New("this build names no container image"),
			"name one that holds the plumb binary as its entry point, with --image")
	}
	if strings.ContainsAny(in.Image, " \t\n\"'") {
		return fmt.Errorf("--image %q is no image reference", in.Image)
	}
	switch in.LogLevel {
	case "debug", "info", "error":
	default:
		return fmt.Errorf("--log-level must be debug, info or error, not %q", in.LogLevel)
	}
	for _, namespaces := range in.ApplicationNamespaces {
		if namespaces == "" || strings.Trim(namespaces, "abcdefghijklmnopqrstuvwxyz0123456789-*?[]{}") != "" {
			return fmt.Errorf("--application-namespaces %q is no glob of namespaces", namespaces)
		}
	}
	for flag, value := range map[string]string{
		"image-pull-secret": in.ImagePullSecret, "storage-class": in.StorageClass,
		"default-service-account": in.DefaultServiceAccount, "cluster-domain": in.ClusterDomain,
	} {
		if value == "" {
			continue
		}
		if problems := validation.IsDNS1123Subdomain(value); len(problems) > 0 {
			return fmt.Errorf("--%s %q: %s", flag, value, strings.Join(problems, "; "))
		}
	}
	return nil
}

// manifests are the objects of an installation without its kinds, in the
// order in which they are applied.
func (in installation) manifests() ([]*unstructured.Unstructured, error) {
	parsed, err := template.New("install.yaml").Option("missingkey=error").Parse(installTemplate)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, in); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(text.String(), "\n---\n") {
		data, err := kyaml.ToJSON([]byte(document))
		if err != nil {
			return nil, fmt.Errorf("install.yaml: %w", err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(data); err != nil {
			return nil, fmt.Errorf("install.yaml: %w", err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

func (a *app) install(ctx context.Context, in installation) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	a.say.action("installing Plumb %s into namespace %s", in.Version, in.Namespace)
	if err := a.installKinds(ctx, c); err != nil {
		return err
	}
	objects, err := in.manifests()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.apply(ctx, o); err != nil {
			return fmt.Errorf("%s/%s: %w", o.GetKind(), o.GetName(), err)
		}
		a.say.success("%s/%s", strings.ToLower(o.GetKind()), o.GetName())
	}
	a.say.waiting("waiting for deployment/%s", deploymentName)
	if _, err := await(ctx, c.objects.Resource(deployments).Namespace(in.Namespace), deploymentName, rolledOut); err != nil {
		return advise(fmt.Errorf("deployment/%s is not ready: %w", deploymentName, err),
			"see why with: plumb explain deployment/%s -n %s", deploymentName, in.Namespace)
	}
	a.say.success("Plumb is running")
	found, err := a.upstream(ctx, c)
	if err != nil {
		return err
	}
	for _, u := range found {
		if u.alive(a.now()) {
			a.say.warning("%s is running: Plumb only watches until you take over with: plumb adopt", u.workload)
		}
	}
	return nil
}

// rolledOut reports whether a Deployment runs what it asks for.
func rolledOut(d *unstructured.Unstructured) (bool, error) {
	observed, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
	wanted, set, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	if !set {
		wanted = 1
	}
	updated, _, _ := unstructured.NestedInt64(d.Object, "status", "updatedReplicas")
	available, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas")
	total, _, _ := unstructured.NestedInt64(d.Object, "status", "replicas")
	return observed >= d.GetGeneration() && updated == wanted && available == wanted && total == wanted, nil
}

// apply writes one object by server-side apply, as its owner.
func (c *cluster) apply(ctx context.Context, o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	_, err = c.objects.Resource(mapping.Resource).Namespace(o.GetNamespace()).
		Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	return err
}

// runsOutside reports whether Plumb's Deployment only stands for an engine
// outside the cluster.
func runsOutside(d *unstructured.Unstructured) bool {
	return d.GetAnnotations()[runsOutsideAnnotation] != ""
}

func (a *app) exportInstallation(in installation) error {
	kinds, err := kindManifests()
	if err != nil {
		return err
	}
	objects, err := in.manifests()
	if err != nil {
		return err
	}
	for _, o := range append(kinds, objects...) {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return err
		}
		if err := a.out("---\n%s", data); err != nil {
			return err
		}
	}
	return nil
}
