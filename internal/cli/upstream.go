package cli

import (
	"context"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/object"
)

// adoptedReplicas is set on an upstream workload that plumb adopt has scaled to
// zero: the number of replicas to give back.
const adoptedReplicas = "plumb.dev/adopted-replicas"

// upstreamController is what the cluster has of a controller that Plumb
// replaces.
type upstreamController struct {
	dialect.Controller
	workload object.ID                  // a Deployment or a StatefulSet
	replicas int64                      // wanted now
	adopted  int64                      // to give back; -1: not scaled by us
	lease    *unstructured.Unstructured // nil: none
}

// statefulSets and deployments are what upstream controllers run as.
var statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}

// workloads is the client of an upstream controller's workload.
func (c *cluster) workloads(id object.ID) dynamic.ResourceInterface {
	resource := deployments
	if id.Kind == "StatefulSet" {
		resource = statefulSets
	}
	return c.objects.Resource(resource).Namespace(id.Namespace)
}

// upstream finds the controllers that Plumb replaces: those that act on a kind
// that it handles, each in the namespace of its own upstream.
func (a *app) upstream(ctx context.Context, c *cluster) ([]upstreamController, error) {
	var found []upstreamController
	for _, d := range dialects() {
		namespace := a.kube.namespace
		if d.Name() == argo.Name {
			namespace = a.kube.argoNamespace
		}
		for _, k := range d.Controllers(dialect.Settings{ArgoNamespace: namespace}) {
			if !slices.ContainsFunc(k.Kinds, handled) {
				continue
			}
			k.Deployment.Namespace = namespace
			u, err := c.controller(ctx, k)
			if err != nil {
				return nil, err
			}
			if u != nil {
				found = append(found, *u)
			}
		}
	}
	return found, nil
}

// controller reads what the cluster has of one controller; nil when it has
// none.
func (c *cluster) controller(ctx context.Context, k dialect.Controller) (*upstreamController, error) {
	workload, err := c.workloads(k.Deployment).Get(ctx, k.Deployment.Name, getOptions)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &upstreamController{Controller: k, workload: k.Deployment, replicas: 1, adopted: -1}
	if n, set, _ := unstructured.NestedInt64(workload.Object, "spec", "replicas"); set {
		u.replicas = n
	}
	if kept, set := workload.GetAnnotations()[adoptedReplicas]; set {
		if n, err := strconv.ParseInt(kept, 10, 32); err == nil && n >= 0 {
			u.adopted = n
		}
	}
	u.lease, err = c.leaseOf(ctx, k)
	return u, err
}

// String is namespace/name, with the kind where it is no Deployment.
func (u upstreamController) String() string {
	name := u.workload.Namespace + "/" + u.workload.Name
	if u.workload.Kind == "StatefulSet" {
		name += " (StatefulSet)"
	}
	return name
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
