package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"plumb.dev/plumb/internal/control"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/argo/status"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/release"
	"plumb.dev/plumb/internal/request"
)

func (a *app) uninstallCommand() *cobra.Command {
	silent, removeKinds := false, false
	uninstall := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Plumb and leave everything it delivered running",
		Long: `Remove Plumb from a cluster. What it delivered stays, and so do the declared
objects and their kinds: the label that Plumb watches by, its own annotations,
conditions and finalizers are taken off, and controllers that plumb adopt has
scaled down get their replicas back.

With --crds the kinds go too, and with them the declared objects. What those
delivered stays all the same: they are released first. Of Argo CD these are
Application, AppProject and ApplicationSet; other kinds of its group, such as
Rollout and Workflow, are never touched.`,
		Example: `  plumb uninstall
  plumb uninstall --crds --silent`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.uninstall(ctx, silent, removeKinds)
		},
	}
	uninstall.Flags().BoolVarP(&silent, "silent", "s", false, "do not ask")
	uninstall.Flags().BoolVar(&removeKinds, "crds", false, "remove the kinds and the declared objects as well; what they delivered stays")
	return uninstall
}

// uninstall goes step by step; every step can be repeated, so that an
// interrupted removal is finished by running it again.
func (a *app) uninstall(ctx context.Context, silent, removeKinds bool) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	adopted, err := a.upstream(ctx, c)
	if err != nil {
		return err
	}
	if removeKinds && len(adopted) > 0 {
		return advise(fmt.Errorf("%s needs the kinds that --crds removes", adopted[0]),
			"uninstall without --crds: it goes on with them")
	}
	if !silent {
		question := "Remove Plumb from this cluster? What it delivered stays."
		if removeKinds {
			question = "Remove Plumb, its kinds and every declared object from this cluster? What they delivered stays."
		}
		if err := a.confirm(question); err != nil {
			return err
		}
	}
	if err := a.stopEngine(ctx, c); err != nil {
		return err
	}
	if err := a.stripDelivered(ctx, c); err != nil {
		return err
	}
	if err := a.stripRecords(ctx, c); err != nil {
		return err
	}
	if err := a.releaseDeclared(ctx, c, removeKinds); err != nil {
		return err
	}
	if removeKinds {
		if err := a.removeKinds(ctx, c); err != nil {
			return err
		}
	}
	if err := a.removeInstallation(ctx, c); err != nil {
		return err
	}
	if err := a.giveBack(ctx, c, adopted); err != nil {
		return err
	}
	a.say.success("Plumb is removed; namespace %s and what was delivered are still there", a.kube.namespace)
	return nil
}

// stopEngine makes sure that nothing puts back what the next steps take off.
func (a *app) stopEngine(ctx context.Context, c *cluster) error {
	objects := c.objects.Resource(deployments).Namespace(a.kube.namespace)
	d, err := objects.Get(ctx, deploymentName, getOptions)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err == nil && !runsOutside(d) {
		a.say.action("stopping deployment/%s", deploymentName)
		if err := mergePatch(ctx, objects, deploymentName, map[string]any{"spec": map[string]any{"replicas": 0}}); err != nil {
			return err
		}
		if _, err := await(ctx, objects, deploymentName, func(d *unstructured.Unstructured) (bool, error) {
			observed, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
			running, _, _ := unstructured.NestedInt64(d.Object, "status", "replicas")
			return observed >= d.GetGeneration() && running == 0, nil
		}); err != nil {
			return err
		}
		return nil
	}
	holder, err := c.leaseHolder(ctx, a.ownNamespaces(), a.now())
	if err != nil {
		return err
	}
	if holder == "" && d != nil {
		if running, _ := answers(ctx, d.GetAnnotations()[healthAnnotation]); running {
			holder = "plumb up"
		}
	}
	if holder != "" {
		return advise(fmt.Errorf("plumb runs outside the cluster, as %s", oneLine(holder)),
			"stop it first, and run uninstall again")
	}
	return nil
}

// stripDelivered takes the watch label off everything that carries it.
func (a *app) stripDelivered(ctx context.Context, c *cluster) error {
	a.say.action("taking the label %s off what was delivered", watchLabel)
	resources, err := a.patchable(c)
	if err != nil {
		return err
	}
	partial, err := c.partial()
	if err != nil {
		return err
	}
	label := map[string]any{"labels": map[string]any{watchLabel: nil}}
	stripped := 0
	var failures []error
	for _, resource := range resources {
		n, failed := strip(ctx, partial, resource, watchLabel, func(*metav1.PartialObjectMetadata) map[string]any { return label })
		stripped += n
		failures = append(failures, failed...)
	}
	if len(failures) > 0 {
		return unstripped(failures)
	}
	a.say.success("%d objects stay as they are", stripped)
	return nil
}

// stripRecords takes off Helm's records what Plumb has noted on them. Helm does the
// same when it writes one.
func (a *app) stripRecords(ctx context.Context, c *cluster) error {
	partial, err := c.partial()
	if err != nil {
		return err
	}
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	n, failures := strip(ctx, partial, secrets, release.Selector(""), func(o *metav1.PartialObjectMetadata) map[string]any {
		own := ownAnnotations(o.GetAnnotations())
		if len(own) == 0 {
			return nil
		}
		return map[string]any{"annotations": own}
	})
	if len(failures) > 0 {
		return unstripped(failures)
	}
	if n > 0 {
		a.say.success("%d records of Helm releases stay as they are", n)
	}
	return nil
}

func unstripped(failures []error) error {
	return advise(errors.Join(failures...), "run uninstall again: it goes on where it stopped")
}

// strip patches the metadata of all objects of a kind that a selector picks, and
// tells how many it has. Nothing is done to those for which the patch is nil, or to
// a kind that cannot be listed.
func strip(ctx context.Context, partial metadata.Interface, resource schema.GroupVersionResource, selector string, patchOf func(*metav1.PartialObjectMetadata) map[string]any) (stripped int, failures []error) {
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := partial.Resource(resource).List(ctx, options)
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			return stripped, failures
		}
		if err != nil {
			return stripped, append(failures, fmt.Errorf("%s: %w", resource.GroupResource(), err))
		}
		for i := range page.Items {
			o := &page.Items[i]
			change := patchOf(o)
			if change == nil {
				continue
			}
			patch, err := json.Marshal(map[string]any{"metadata": change})
			if err == nil {
				_, err = partial.Resource(resource).Namespace(o.Namespace).
					Patch(ctx, o.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				failures = append(failures, fmt.Errorf("%s %s/%s: %w", resource.GroupResource(), o.Namespace, o.Name, err))
				continue
			}
			stripped++
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return stripped, failures
		}
	}
}

// ownAnnotations takes away those that are Plumb's own, in a merge patch.
func ownAnnotations(all map[string]string) map[string]any {
	own := map[string]any{}
	for name := range all {
		if strings.HasPrefix(name, plumbPrefix) {
			own[name] = nil
		}
	}
	return own
}

// patchable lists the kinds whose objects can be listed and patched. A group
// whose API is down cannot be looked at, which is said.
func (a *app) patchable(c *cluster) ([]schema.GroupVersionResource, error) {
	lists, err := c.discovery.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	if err != nil {
		a.say.warning("objects of some kinds may keep the label: %v", err)
	}
	var resources []schema.GroupVersionResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") || !contains(r.Verbs, "list") || !contains(r.Verbs, "patch") {
				continue
			}
			resources = append(resources, gv.WithResource(r.Name))
		}
	}
	return resources, nil
}

// releaseDeclared takes what is Plumb's own off the declared objects: its
// annotations, finalizers and conditions. With release, upstream's finalizer
// goes too, so that the objects can be deleted without pruning anything.
func (a *app) releaseDeclared(ctx context.Context, c *cluster, release bool) error {
	for _, kind := range dialectKinds() {
		resource, mapping, err := c.resource(kind.GroupKind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return err
		}
		list, err := listPages(ctx, resource, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			o := &list.Items[i]
			objects := c.objects.Resource(mapping.Resource).Namespace(o.GetNamespace())
			if bad, set := o.GetAnnotations()[argo.AnnotationQuarantine]; set && request.Automated(o) {
				a.say.warning("%s, which %s %s/%s was rolled back from, may be synced automatically again", oneLine(bad), o.GetKind(), o.GetNamespace(), o.GetName())
			}
			if patch := ownMarks(o, release); patch != nil {
				if err := mergePatch(ctx, objects, o.GetName(), patch); err != nil && !apierrors.IsNotFound(err) {
					return fmt.Errorf("%s: %w", kind.GroupKind.Kind, err)
				}
			}
			if err := dropOwnConditions(ctx, objects, kind, o); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s: %w", kind.GroupKind.Kind, err)
			}
		}
	}
	return nil
}

// ownMarks is the patch that takes Plumb's annotations and finalizers off an
// object; nil when it carries none.
func ownMarks(o *unstructured.Unstructured, release bool) map[string]any {
	metadata := map[string]any{}
	if annotations := ownAnnotations(o.GetAnnotations()); len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	before := o.GetFinalizers()
	kept := []string{}
	for _, finalizer := range before {
		if strings.HasPrefix(finalizer, plumbPrefix) || (release && prunes(finalizer)) {
			continue
		}
		kept = append(kept, finalizer)
	}
	if len(kept) != len(before) {
		metadata["finalizers"] = kept
		metadata["resourceVersion"] = o.GetResourceVersion()
	}
	if len(metadata) == 0 {
		return nil
	}
	return map[string]any{"metadata": metadata}
}

// prunes reports whether a finalizer is one of upstream's that deletes what an
// object has delivered, or runs hooks, before it lets it go.
func prunes(finalizer string) bool {
	return finalizer == flux.Finalizer || slices.ContainsFunc(
		[]string{status.FinalizerResources, status.FinalizerPreDelete, status.FinalizerPostDelete},
		func(own string) bool { return finalizer == own || strings.HasPrefix(finalizer, own+"/") })
}

// ownConditions are the types that only Plumb writes, besides those that begin
// with its name.
var ownConditions = []string{status.ConditionWarning, status.ConditionHeld, status.ConditionInfo, status.ConditionWaiting}

// dropOwnConditions removes conditions that only Plumb writes; upstream would
// carry them along for ever.
func dropOwnConditions(ctx context.Context, objects patcher, kind dialect.Kind, o *unstructured.Unstructured) error {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	kept := []any{}
	for _, item := range list {
		fields, _ := item.(map[string]any)
		if name, _ := fields["type"].(string); strings.HasPrefix(name, plumbPrefix) || slices.Contains(ownConditions, name) {
			continue
		}
		kept = append(kept, item)
	}
	if len(kept) == len(list) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": kept}})
	if err != nil {
		return err
	}
	var subresource []string
	if !kind.Whole {
		subresource = []string{"status"}
	}
	_, err = objects.Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, subresource...)
	return err
}

// patcher is the part of a dynamic client that writes a patch.
type patcher interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, options metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// removeKinds deletes the CRDs that the dialects understand and waits until
// they are gone.
func (a *app) removeKinds(ctx context.Context, c *cluster) error {
	for _, kind := range dialectKinds() {
		name := kind.Plural + "." + kind.GroupKind.Group
		err := c.objects.Resource(crds).Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := awaitGone(ctx, c.objects.Resource(crds), name); err != nil {
			return fmt.Errorf("customresourcedefinition/%s: %w", name, err)
		}
		a.say.success("customresourcedefinition/%s deleted", name)
	}
	return nil
}

// removeInstallation deletes what install has created, apart from the
// namespace, which holds more than Plumb.
func (a *app) removeInstallation(ctx context.Context, c *cluster) error {
	core := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: resource}
	}
	bindings := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
	type part struct {
		resource        schema.GroupVersionResource
		namespace, name string
	}
	parts := []part{
		{deployments, a.kube.namespace, deploymentName},
		{core("services"), a.kube.namespace, deploymentName},
		{core("persistentvolumeclaims"), a.kube.namespace, deploymentName},
		{core("serviceaccounts"), a.kube.namespace, deploymentName},
		{bindings, "", deploymentName + "-" + a.kube.namespace},
	}
	for _, namespace := range a.ownNamespaces() {
		parts = append(parts, part{core("secrets"), namespace, keySecretName}, part{leases, namespace, leaseName})
	}
	parts = append(parts, part{core("namespaces"), "", control.DefaultNamespace})
	for _, p := range parts {
		background := metav1.DeletePropagationBackground
		err := c.objects.Resource(p.resource).Namespace(p.namespace).
			Delete(ctx, p.name, metav1.DeleteOptions{PropagationPolicy: &background})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		a.say.success("%s/%s deleted", strings.TrimSuffix(p.resource.Resource, "s"), p.name)
	}
	return nil
}

// giveBack restores the controllers that adopt has scaled to zero.
func (a *app) giveBack(ctx context.Context, c *cluster, adopted []upstreamController) error {
	for _, u := range adopted {
		if u.adopted < 0 {
			continue
		}
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{adoptedReplicas: nil}}}
		if u.replicas == 0 {
			patch["spec"] = map[string]any{"replicas": u.adopted}
		}
		if err := mergePatch(ctx, c.workloads(u.workload), u.workload.Name, patch); err != nil {
			return fmt.Errorf("%s: %w", u.workload, err)
		}
		a.say.success("%s has its %d replicas back", u.workload, u.adopted)
	}
	return nil
}
