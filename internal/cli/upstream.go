package cli

import (
	"context"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/object"
)

// adoptedReplicas is set on an upstream Deployment that plumb adopt has scaled
// to zero: the number of replicas to give back.
const adoptedReplicas = "plumb.dev/adopted-replicas"

// upstreamController is what the cluster has of a controller that Plumb
// replaces.
type upstreamController struct {
	dialect.Controller
	deployment object.ID
	replicas   int64                      // wanted now
	adopted    int64                      // to give back; -1: not scaled by us
	lease      *unstructured.Unstructured // nil: none
}

// upstream finds the controllers in a namespace that Plumb replaces: those
// that act on a kind that it handles.
func (c *cluster) upstream(ctx context.Context, namespace string) ([]upstreamController, error) {
	var found []upstreamController
	for _, k := range flux.New().Controllers() {
		if !slices.ContainsFunc(k.Kinds, handled) {
			continue
		}
		k.Deployment.Namespace = namespace
		d, err := c.objects.Resource(deployments).Namespace(k.Deployment.Namespace).Get(ctx, k.Deployment.Name, getOptions)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		u := upstreamController{Controller: k, deployment: k.Deployment, replicas: 1, adopted: -1}
		if n, set, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); set {
			u.replicas = n
		}
		if kept, set := d.GetAnnotations()[adoptedReplicas]; set {
			if n, err := strconv.ParseInt(kept, 10, 32); err == nil && n >= 0 {
				u.adopted = n
			}
		}
		if u.lease, err = c.leaseOf(ctx, k); err != nil {
			return nil, err
		}
		found = append(found, u)
	}
	return found, nil
}

// leaseOf reads the leader-election Lease of a controller; nil when there is
// none.
func (c *cluster) leaseOf(ctx context.Context, k dialect.Controller) (*unstructured.Unstructured, error) {
	if k.Lease == "" {
		return nil, nil
	}
	lease, err := c.objects.Resource(leases).Namespace(k.Deployment.Namespace).Get(ctx, k.Lease, getOptions)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return lease, err
}

// alive reports whether the controller may still act.
func (u upstreamController) alive(now time.Time) bool {
	return u.replicas > 0 || (u.lease != nil && leaseHeld(u.lease, now))
}

// leaseHeld reports whether somebody holds the lease: it names a holder and
// its time has not run out (client-go leader election).
func leaseHeld(lease *unstructured.Unstructured, now time.Time) bool {
	return text(lease, "spec", "holderIdentity") != "" && now.Before(leaseExpiry(lease))
}

// leaseExpiry is when a lease runs out unless it is renewed.
func leaseExpiry(lease *unstructured.Unstructured) time.Time {
	renewed, err := time.Parse(time.RFC3339, text(lease, "spec", "renewTime"))
	if err != nil {
		return time.Time{}
	}
	seconds, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseDurationSeconds")
	return renewed.Add(time.Duration(seconds) * time.Second)
}

// handled reports whether Plumb acts on a kind.
func handled(kind schema.GroupKind) bool {
	return slices.ContainsFunc(handledKinds(), func(k dialect.Kind) bool { return k.GroupKind == kind })
}
