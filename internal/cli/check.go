package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/control"
)

// oldestKubernetes is the first version with CEL validation in CRDs, which
// upstream's schemas use.
const oldestKubernetes = ">=1.29.0-0"

var (
	crds   = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	leases = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
)

func (a *app) checkCommand() *cobra.Command {
	pre := false
	check := &cobra.Command{
		Use:   "check",
		Short: "Check that a cluster is fit for Plumb, and that Plumb is well in it",
		Example: `  # Before an installation
  plumb check --pre

  # After it
  plumb check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.check(ctx, pre)
		},
	}
	check.Flags().BoolVar(&pre, "pre", false, "check only what an installation needs")
	return check
}

// check runs every check, so that one failure does not hide the next.
func (a *app) check(ctx context.Context, pre bool) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	a.say.action("checking prerequisites")
	sound := a.checkKubernetes(c)
	if sound && pre {
		sound = a.checkRights(ctx, c)
	}
	if pre {
		return a.verdict(sound, "prerequisites checks passed")
	}
	a.say.action("checking controllers")
	sound = a.checkControllers(ctx, c) && sound
	a.say.action("checking crds")
	sound = a.checkCRDs(ctx, c) && sound
	return a.verdict(sound, "all checks passed")
}

func (a *app) verdict(sound bool, passed string) error {
	if sound {
		a.say.success("%s", passed)
		return nil
	}
	a.say.failure("check failed")
	return &exitError{code: exitFailed}
}

func (a *app) checkKubernetes(c *cluster) bool {
	info, err := c.discovery.ServerVersion()
	if err != nil {
		a.explainError(fmt.Errorf("the API server does not answer: %w", err))
		return false
	}
	found, err := semver.NewVersion(info.GitVersion)
	if err != nil {
		a.say.failure("Kubernetes version %q cannot be read", info.GitVersion)
		return false
	}
	wanted, err := semver.NewConstraint(oldestKubernetes)
	if err != nil {
		a.say.failure("%v", err)
		return false
	}
	if !wanted.Check(found) {
		a.say.failure("Kubernetes %s does not match %s", found, oldestKubernetes)
		return false
	}
	a.say.success("Kubernetes %s %s", found, oldestKubernetes)
	return true
}

// checkRights asks the API server whether the user may do what an installation
// does.
func (a *app) checkRights(ctx context.Context, c *cluster) bool {
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
	sound := true
	for _, right := range []struct{ verb, group, resource string }{
		{"create", "", "namespaces"},
		{"create", "apiextensions.k8s.io", "customresourcedefinitions"},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings"},
		{"create", "apps", "deployments"},
	} {
		answer, err := c.objects.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "authorization.k8s.io/v1",
			"kind":       "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": map[string]any{
				"verb": right.verb, "group": right.group, "resource": right.resource, "namespace": a.kube.namespace,
			}},
		}}, metav1.CreateOptions{})
		if err != nil {
			a.explainError(fmt.Errorf("rights cannot be checked: %w", err))
			return false
		}
		if allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed"); !allowed {
			a.say.failure("you may not %s %s, which an installation has to", right.verb, right.resource)
			sound = false
		}
	}
	if sound {
		a.say.success("your rights suffice to install")
	}
	return sound
}

// checkControllers looks at Plumb's own workload and at upstream controllers
// that would act on the same objects.
func (a *app) checkControllers(ctx context.Context, c *cluster) bool {
	var sound bool
	ours, err := c.objects.Resource(deployments).Namespace(a.kube.namespace).Get(ctx, deploymentName, getOptions)
	switch {
	case apierrors.IsNotFound(err):
		sound = a.checkOutside(ctx, c, nil)
	case err != nil:
		a.explainError(err)
		sound = false
	case runsOutside(ours):
		sound = a.checkOutside(ctx, c, ours)
	default:
		sound = a.checkDeployment(ours)
	}
	found, err := a.upstream(ctx, c)
	if err != nil {
		a.explainError(err)
		return false
	}
	for _, u := range found {
		if u.alive(a.now()) {
			a.say.warning("%s is running: while it is, Plumb only watches; take over with: plumb adopt", u.workload)
		}
	}
	return sound
}

// checkDeployment judges Plumb's own workload.
func (a *app) checkDeployment(d *unstructured.Unstructured) bool {
	wanted, set, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	if !set {
		wanted = 1
	}
	ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
	images := strings.Join(imagesOf(d), ", ")
	if wanted == 0 || ready < wanted {
		a.say.failure("deployment/%s: %d of %d replicas ready (%s)", d.GetName(), ready, wanted, images)
		a.say.plain("  see why with: plumb explain deployment/%s -n %s", d.GetName(), d.GetNamespace())
		return false
	}
	a.say.success("deployment/%s: %d of %d replicas ready (%s)", d.GetName(), ready, wanted, images)
	return true
}

// checkOutside looks for an engine that runs outside the cluster: by the health
// address that plumb up leaves on its Deployment, or by the Lease that a
// controller renews.
func (a *app) checkOutside(ctx context.Context, c *cluster, standIn *unstructured.Unstructured) bool {
	if standIn != nil {
		running, ready := answers(ctx, standIn.GetAnnotations()[healthAnnotation])
		if running {
			a.say.success("plumb runs outside the cluster, by plumb up (%s)", strings.Join(imagesOf(standIn), ", "))
		}
		if running && !ready {
			a.say.warning("it is not ready to act: it starts, or an upstream controller is running")
		}
		if running {
			return true
		}
	}
	holder, err := c.leaseHolder(ctx, a.ownNamespaces(), a.now())
	if err != nil {
		a.explainError(err)
		return false
	}
	if holder != "" {
		a.say.success("plumb runs outside the cluster, as %s", oneLine(holder))
		return true
	}
	if standIn != nil {
		a.say.failure("plumb up does not run")
		a.say.plain("  resume it with: plumb up")
		return false
	}
	a.say.failure("plumb runs neither in namespace %q nor, by its Lease, outside the cluster", a.kube.namespace)
	a.say.plain("  install it with: plumb install, or run it here with: plumb controller --leader-elect")
	return false
}

// The names of what Plumb keeps for itself, beside its Deployment or, for an
// engine outside the cluster, in control.DefaultNamespace.
const (
	leaseName     = "plumb-controller"
	keySecretName = "plumb-digest-key"
	// healthAnnotation is where an engine outside the cluster answers.
	healthAnnotation = "plumb.dev/health-addr"
)

func (a *app) ownNamespaces() []string {
	return []string{a.kube.namespace, control.DefaultNamespace}
}

// leaseHolder is who holds Plumb's Lease now; "" for nobody.
func (c *cluster) leaseHolder(ctx context.Context, namespaces []string, now time.Time) (string, error) {
	for _, namespace := range namespaces {
		lease, err := c.objects.Resource(leases).Namespace(namespace).Get(ctx, leaseName, getOptions)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		if leaseHeld(lease, now) {
			return text(lease, "spec", "holderIdentity"), nil
		}
	}
	return "", nil
}

// answers asks the readiness endpoint of an engine on this machine. The
// address comes from the cluster: nothing but loopback is asked.
func answers(ctx context.Context, addr string) (running, ready bool) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false, false
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return false, false
	}
	defer func() { _ = response.Body.Close() }()
	return true, response.StatusCode == http.StatusOK
}

// checkCRDs looks at the kinds that the dialects understand.
func (a *app) checkCRDs(ctx context.Context, c *cluster) bool {
	sound := true
	for _, kind := range handledKinds() {
		name := kind.Plural + "." + kind.GroupKind.Group
		crd, err := c.objects.Resource(crds).Get(ctx, name, getOptions)
		switch {
		case apierrors.IsNotFound(err):
			a.say.failure("%s is missing; plumb install brings it", name)
			sound = false
			continue
		case err != nil:
			a.explainError(err)
			return false
		}
		stored, _, _ := unstructured.NestedStringSlice(crd.Object, "status", "storedVersions")
		if served := servedVersions(crd); !contains(served, kind.Versions[0]) {
			a.say.failure("%s does not serve %s, only %s; plumb install brings it up to date", name, kind.Versions[0], strings.Join(served, ", "))
			sound = false
			continue
		}
		a.say.success("%s/%s", name, strings.Join(stored, ","))
	}
	return sound
}

func servedVersions(crd *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var served []string
	for _, item := range list {
		fields, _ := item.(map[string]any)
		if is, _ := fields["served"].(bool); is {
			name, _ := fields["name"].(string)
			served = append(served, name)
		}
	}
	return served
}
