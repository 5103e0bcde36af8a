package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/argo/appset"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/object"
)

func (a *app) exportCommand() *cobra.Command {
	all := false
	export := &cobra.Command{
		Use:   "export",
		Short: "Print declared objects as they would stand in Git",
		Example: `  plumb export source git --all > sources.yaml
  plumb export kustomization apps
  plumb export application --all > applications.yaml`,
	}
	export.PersistentFlags().BoolVar(&all, "all", false, "every object of the kind in the namespace")
	addKindCommands(export, false, everyKind, func(kind *declaredKind) *cobra.Command {
		return &cobra.Command{
			Use:               "NAME...",
			Short:             "Export " + kind.group.Kind + " objects",
			Args:              namesOrAll(kind, &all),
			ValidArgsFunction: a.completeNames(kind),
			RunE:              a.atPlace(func(ctx context.Context, p place, args []string) error { return a.export(ctx, p, kind, args) }),
		}
	})
	return export
}

func (a *app) export(ctx context.Context, p place, kind *declaredKind, names []string) error {
	namespace := a.namespaceOf(kind)
	var items []unstructured.Unstructured
	if len(names) == 0 {
		list, err := p.list(ctx, kind, namespace, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if items = list.Items; len(items) == 0 {
			return fmt.Errorf("no %s found in namespace %q", kind.group.Kind, namespace)
		}
	}
	for _, name := range names {
		o, err := p.get(ctx, kind, namespace, name)
		if err != nil {
			return err
		}
		items = append(items, *o)
	}
	for i := range items {
		data, err := yaml.Marshal(asDeclared(&items[i]).Object)
		if err != nil {
			return err
		}
		if err := a.out("---\n%s", data); err != nil {
			return err
		}
		if masked := p.masks(); masked != "" && strings.Contains(string(data), masked) {
			a.say.warning("%s: a server hands out no secrets: put in yourself what stands as %s", object.Of(&items[i]), masked)
		}
	}
	return nil
}

// machineAnnotations are written by tools on the cluster; they mean nothing in
// a repository.
var machineAnnotations = []string{
	requestedAt,
	approveAnnotation,
	argo.AnnotationQuarantine,
	deletionApproved,
	status.AnnotationRefresh,
	appset.RefreshAnnotation,
	"kubectl.kubernetes.io/last-applied-configuration",
}

// asDeclared cuts an object down to what its author wrote.
func asDeclared(o *unstructured.Unstructured) *unstructured.Unstructured {
	clean := &unstructured.Unstructured{Object: map[string]any{}}
	clean.SetAPIVersion(o.GetAPIVersion())
	clean.SetKind(o.GetKind())
	clean.SetName(o.GetName())
	clean.SetNamespace(o.GetNamespace())
	labels := o.GetLabels()
	delete(labels, watchLabel)
	if len(labels) > 0 {
		clean.SetLabels(labels)
	}
	annotations := o.GetAnnotations()
	for _, name := range machineAnnotations {
		delete(annotations, name)
	}
	if len(annotations) > 0 {
		clean.SetAnnotations(annotations)
	}
	for field, value := range o.Object {
		switch field {
		case "apiVersion", "kind", "metadata", "status", "operation":
		default:
			clean.Object[field] = value
		}
	}
	return clean
}
