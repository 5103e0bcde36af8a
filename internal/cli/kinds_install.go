package cli

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/kinds"
)

// kindManifests are the definitions as a cluster without any would get them.
func kindManifests() ([]*unstructured.Unstructured, error) { return kinds.CRDs(), nil }

// installKinds brings the definitions of a cluster up to date, each as far as
// it does not take anything away, and waits until they can be used.
func (a *app) installKinds(ctx context.Context, c *cluster) error {
	definitions := c.objects.Resource(crds)
	for _, ours := range kinds.CRDs() {
		existing, err := definitions.Get(ctx, ours.GetName(), getOptions)
		if apierrors.IsNotFound(err) {
			existing = nil
		} else if err != nil {
			return err
		}
		merged, why := kinds.Merge(existing, ours)
		if merged == nil {
			a.say.success("customresourcedefinition/%s: %s", ours.GetName(), why)
			continue
		}
		if err := c.apply(ctx, merged); err != nil {
			return fmt.Errorf("customresourcedefinition/%s: %w", ours.GetName(), err)
		}
		if _, err := await(ctx, definitions, ours.GetName(), established); err != nil {
			return fmt.Errorf("customresourcedefinition/%s is not established: %w", ours.GetName(), err)
		}
		a.say.success("customresourcedefinition/%s: %s", ours.GetName(), why)
	}
	c.mapper.Reset()
	return nil
}

func established(definition *unstructured.Unstructured) (bool, error) {
	c, ok := conditionOf(definition, "Established")
	return ok && c.status == "True", nil
}
