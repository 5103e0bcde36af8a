package engine

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
)

// targetOf is the cluster that a delivery goes to. Nothing is sent there yet.
func (e *Engine) targetOf(spec *model.Delivery, facts model.Facts) (*cluster.Cluster, error) {
	switch ref := spec.Target.Cluster; {
	case ref.Local():
		return e.opts.Clusters.Local(), nil
	case ref.Kubeconfig != nil:
		return e.opts.Clusters.Remote(ref.Kubeconfig.Reveal())
	case ref.Need.Kind == "ConfigMap":
		trust, err := trustIn(ref, facts)
		if err != nil {
			return nil, err
		}
		return e.opts.Clusters.Trusting(trust)
	default:
		content, err := kubeconfig(ref, facts)
		if err != nil {
			return nil, err
		}
		return e.opts.Clusters.Remote(content.Reveal())
	}
}

// trustIn reads a ConfigMap that describes a cluster which trusts this one.
func trustIn(ref model.ClusterRef, facts model.Facts) (cluster.Trust, error) {
	fact := facts[ref.Need]
	if fact.State != model.Present {
		return cluster.Trust{}, unreadable("the description of a cluster", ref, fact)
	}
	data, _, _ := unstructured.NestedStringMap(fact.Object.Object, "data")
	trust, err := cluster.TrustIn(data, ref.Need.Namespace)
	if err != nil {
		fault := asFault(err, "ReconciliationFailed")
		fault.Message = fmt.Sprintf("%s: %s", ref.Need, fault.Message)
		return trust, fault
	}
	return trust, nil
}

// kubeconfig takes the content of a kubeconfig from the fact that holds it.
func kubeconfig(ref model.ClusterRef, facts model.Facts) (model.Secret, error) {
	fact := facts[ref.Need]
	if fact.State != model.Present {
		return model.Secret{}, unreadable("the kubeconfig", ref, fact)
	}
	keys := []string{ref.Key}
	if ref.Key == "" {
		keys = []string{"value", "value.yaml"}
	}
	for _, k := range keys {
		if v, ok := secretValue(fact.Object, k); ok {
			return v, nil
		}
	}
	return model.Secret{}, &model.Fault{
		Reason:  "ReconciliationFailed",
		Message: fmt.Sprintf("%s has no key %q with a kubeconfig", ref.Need, keys[0]),
	}
}

// unreadable is the fault of what a target is described by and that is not there.
func unreadable(what string, ref model.ClusterRef, fact model.Fact) *model.Fault {
	return &model.Fault{
		Reason:  "ReconciliationFailed",
		Message: fmt.Sprintf("cannot read %s in %s: it is %s", what, ref.Need, fact.State),
		Advice:  "create it in the namespace of the declaring object",
		Retry:   true,
	}
}
