package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

func (a *app) adoptCommand() *cobra.Command {
	yes := false
	adopt := &cobra.Command{
		Use:   "adopt",
		Short: "Take over from Flux and Argo CD: scale their controllers to zero and let Plumb act",
		Long: `Take over a cluster from Flux, Argo CD or both. The controllers that act on what
Plumb handles are scaled to zero, the number of their replicas is kept in an
annotation, and the command waits until their leases are no longer renewed.
Nothing that they delivered is touched: Plumb reads the same objects and owns what
they list. Argo CD's server, its command line and its web interface go on working.

Without --yes the command shows what it would do. plumb uninstall gives back.`,
		Example: `  # What would happen
  plumb adopt

  # Do it
  plumb adopt --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.adopt(ctx, yes)
		},
	}
	adopt.Flags().BoolVarP(&yes, "yes", "y", false, "do it, instead of showing what would be done")
	return adopt
}

func (a *app) adopt(ctx context.Context, yes bool) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	found, err := a.upstream(ctx, c)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		a.say.success("no controllers of Flux or Argo CD found: nothing to take over")
		return nil
	}
	if err := a.previewAdoption(ctx, c, found); err != nil {
		return err
	}
	if !yes {
		a.say.plain("\nNothing has been changed. Take over with: plumb adopt --yes")
		return nil
	}
	for _, u := range found {
		if err := a.scaleToZero(ctx, c, u); err != nil {
			return err
		}
	}
	for _, u := range found {
		if err := a.awaitSilence(ctx, c, u); err != nil {
			return err
		}
	}
	a.say.success("Plumb may act now; follow it with: plumb get all -A --watch")
	return nil
}

// previewAdoption lists the controllers and what they look after.
func (a *app) previewAdoption(ctx context.Context, c *cluster, found []upstreamController) error {
	t := &table{header: []string{"Controller", "Replicas", "Lease", "Looks after"}}
	for _, u := range found {
		held := "none"
		if u.lease != nil {
			held = "expired"
			if leaseHeld(u.lease, a.now()) {
				held = "held by " + text(u.lease, "spec", "holderIdentity")
			}
		}
		replicas := strconv.FormatInt(u.replicas, 10) + " → 0"
		if u.replicas == 0 {
			replicas = "0"
		}
		after, err := c.looksAfter(ctx, u)
		if err != nil {
			return err
		}
		t.rows = append(t.rows, []string{u.String(), replicas, held, after})
	}
	if err := t.write(a.streams.Out); err != nil {
		return err
	}
	return a.warnUnhandled(ctx, c, found)
}

// warnUnhandled says which declared objects nobody will look after.
func (a *app) warnUnhandled(ctx context.Context, c *cluster, found []upstreamController) error {
	for _, u := range found {
		for _, kind := range u.Kinds {
			if handled(kind) {
				continue
			}
			n, err := c.count(ctx, kind)
			if err != nil {
				return err
			}
			if n > 0 {
				a.say.warning("%d %s: %s looks after them, and Plumb does not yet; nobody will until that is back", n, kind.Kind, u.workload.Name)
			}
		}
	}
	return nil
}

// looksAfter counts the declared objects of the controller's kinds.
func (c *cluster) looksAfter(ctx context.Context, u upstreamController) (string, error) {
	var parts []string
	for _, kind := range u.Kinds {
		n, err := c.count(ctx, kind)
		if err != nil {
			return "", err
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind.Kind))
		}
	}
	if len(parts) == 0 {
		return "nothing", nil
	}
	return strings.Join(parts, ", "), nil
}

// count is how many objects of a kind there are in all namespaces.
func (c *cluster) count(ctx context.Context, kind schema.GroupKind) (int, error) {
	resource, _, err := c.resource(kind)
	if meta.IsNoMatchError(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	list, err := listPages(ctx, resource, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	return len(list.Items), nil
}

// scaleToZero stops a controller and remembers its size. Run twice, it keeps
// what it remembered first.
func (a *app) scaleToZero(ctx context.Context, c *cluster, u upstreamController) error {
	if u.replicas == 0 {
		return nil
	}
	name := u.String()
	a.say.action("scaling %s from %d to 0", name, u.replicas)
	if err := mergePatch(ctx, c.workloads(u.workload), u.workload.Name, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{adoptedReplicas: strconv.FormatInt(u.replicas, 10)}},
		"spec":     map[string]any{"replicas": 0},
	}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// awaitSilence waits until the pods of a controller are gone and its lease is
// given up or has run out.
func (a *app) awaitSilence(ctx context.Context, c *cluster, u upstreamController) error {
	name := u.String()
	a.say.waiting("waiting for %s to end", name)
	if _, err := await(ctx, c.workloads(u.workload), u.workload.Name, func(d *unstructured.Unstructured) (bool, error) {
		running, _, _ := unstructured.NestedInt64(d.Object, "status", "replicas")
		observed, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
		return running == 0 && observed >= d.GetGeneration(), nil
	}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := a.awaitExpiry(ctx, c, u); err != nil {
		return fmt.Errorf("lease of %s: %w", name, err)
	}
	a.say.success("%s has ended", name)
	return nil
}

// awaitExpiry watches a lease until nobody holds it: it was given up, it has
// run out, or it is gone.
func (a *app) awaitExpiry(ctx context.Context, c *cluster, u upstreamController) error {
	lease, err := c.leaseOf(ctx, u.Controller)
	if err != nil || lease == nil {
		return err
	}
	for leaseHeld(lease, a.now()) {
		renewed, err := a.awaitLeaseChange(ctx, c, u, lease)
		if err != nil || renewed == nil {
			return err
		}
		lease = renewed
	}
	return nil
}

// awaitLeaseChange returns the lease when it is written again, as it is when
// its time has run out, or nil when it is gone.
func (a *app) awaitLeaseChange(ctx context.Context, c *cluster, u upstreamController, from *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	out, cancel := context.WithTimeout(ctx, leaseExpiry(from).Sub(a.now())+time.Millisecond)
	defer cancel()
	current := from
	changed := func(o *unstructured.Unstructured) (bool, error) {
		current = o
		return o.GetResourceVersion() != from.GetResourceVersion(), nil
	}
	err := follow(out, c.objects.Resource(leases).Namespace(u.workload.Namespace),
		metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", u.Lease).String()},
		follower{
			initial: func(items []unstructured.Unstructured) (bool, error) {
				if len(items) == 0 {
					current = nil
					return true, nil
				}
				return changed(&items[0])
			},
			change: func(kind watch.EventType, o *unstructured.Unstructured) (bool, error) {
				if kind == watch.Deleted {
					current = nil
					return true, nil
				}
				return changed(o)
			},
		})
	if err != nil && out.Err() != nil && ctx.Err() == nil {
		return current, nil // it has run out
	}
	return current, err
}

// errDeclined ends a command whose question was answered with no.
var errDeclined = errors.New("nothing has been changed")

// confirm asks a question that only "y" and "yes" agree to.
func (a *app) confirm(question string) error {
	a.say.plain("%s [y/N]", question)
	answer, err := bufio.NewReader(io.LimitReader(a.streams.In, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}
