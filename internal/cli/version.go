package cli

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
)

// version is set by the build: -ldflags "-X plumb.dev/plumb/internal/cli.version=v1.2.3".
var version = ""

// buildVersion is the version of this binary: what the build said, else what
// the Go toolchain knows of the checkout it was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, changed := "", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision" && len(setting.Value) >= 12:
			revision = "-" + setting.Value[:12]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changed = "-changed"
		}
	}
	return "devel" + revision + changed
}

func (a *app) versionCommand() *cobra.Command {
	clientOnly, output := false, "yaml"
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this binary, of the cluster and of what runs in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "yaml" && output != "json" {
				return fmt.Errorf("--output must be json or yaml, not %q", output)
			}
			info := map[string]string{"plumb": buildVersion()}
			if !clientOnly {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				if err := a.versionsAt(ctx, info); err != nil {
					return err
				}
			}
			return a.printDocument(output, info)
		},
	}
	command.Flags().BoolVar(&clientOnly, "client", false, "print only the version of this binary")
	command.Flags().StringVarP(&output, "output", "o", output, "json or yaml")
	return command
}

// versionsAt adds the versions of what runs at the place that is meant: a server
// of Plumb tells its own.
func (a *app) versionsAt(ctx context.Context, info map[string]string) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	at, served := p.(*atServer)
	if !served {
		return a.clusterVersions(ctx, info)
	}
	told, err := at.client.Session.GetSignIn(ctx, &plumbv1.GetSignInRequest{})
	if err != nil {
		return at.told(err)
	}
	info["plumb-server"] = told.GetVersion()
	return nil
}

// clusterVersions adds the versions of the API server and of the controllers.
func (a *app) clusterVersions(ctx context.Context, info map[string]string) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	server, err := c.discovery.ServerVersion()
	if err != nil {
		return err
	}
	info["kubernetes"] = server.GitVersion
	for _, installed := range []struct {
		resource        schema.GroupVersionResource
		namespace, part string
	}{
		{deployments, a.kube.namespace, partOfFlux},
		{deployments, a.kube.argoNamespace, partOfArgo},
		{statefulSets, a.kube.argoNamespace, partOfArgo},
	} {
		running, err := c.partOf(ctx, installed.resource, installed.namespace, installed.part)
		if err != nil {
			return err
		}
		for i := range running {
			for _, image := range imagesOf(&running[i]) {
				name, tag := splitImage(image)
				info[name] = tag
			}
		}
	}
	return nil
}

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// partOfLabel marks the workloads and CRDs of an installation; upstream's
// value is kept, so that flux check finds them.
const (
	partOfLabel = "app.kubernetes.io/part-of"
	partOfFlux  = "flux"
	partOfArgo  = "argocd"
)

// partOf lists the workloads of an installation in a namespace; ours are part of
// Flux's. A user who may not look sees none.
func (c *cluster) partOf(ctx context.Context, resource schema.GroupVersionResource, namespace, part string) ([]unstructured.Unstructured, error) {
	list, err := listPages(ctx, c.objects.Resource(resource).Namespace(namespace), labelled(partOfLabel+"="+part))
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// imagesOf are the images of a workload's containers.
func imagesOf(workload *unstructured.Unstructured) []string {
	containers, _, _ := unstructured.NestedSlice(workload.Object, "spec", "template", "spec", "containers")
	var images []string
	for _, container := range containers {
		fields, _ := container.(map[string]any)
		if image, ok := fields["image"].(string); ok {
			images = append(images, image)
		}
	}
	return images
}

// splitImage cuts an image reference into the last part of its name and its
// tag or digest.
func splitImage(image string) (name, tag string) {
	name, digest, _ := strings.Cut(image, "@")
	name = name[strings.LastIndex(name, "/")+1:]
	name, tag, _ = strings.Cut(name, ":")
	if tag == "" {
		tag = digest
	}
	return name, tag
}
