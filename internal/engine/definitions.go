package engine

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/release"
)

// The CRDs in a chart's directory crds are no part of its manifest: Helm installs
// them before all else, and neither updates nor deletes them unless it is told to.
// Flux tells of them in the inventory of a release all the same, marked as the
// objects of the manifest are. So what a status claims of them is told on, and
// never owned: what is owned and not in the manifest would be deleted.

// definitionsApart takes the claims of CustomResourceDefinitions from others. Those
// that the manifest has are owned by what the record of the release says.
func definitionsApart(claims []model.Claim) (others, definitions []model.Claim) {
	for _, c := range claims {
		if c.ID.Group == "apiextensions.k8s.io" && c.ID.Kind == "CustomResourceDefinition" {
			definitions = append(definitions, c)
		} else {
			others = append(others, c)
		}
	}
	return others, definitions
}

// ownable are the objects that a delivery owns because its status claims them.
func ownable(spec *model.Delivery) []model.Claim {
	if spec.Release == nil {
		return spec.Claims
	}
	others, _ := definitionsApart(spec.Claims)
	return others
}

// definitions are those of the directory crds that the inventory of a release tells
// of: as its chart has them, or else as its status does. The caller holds e.mu.
func (r *run) definitions() []model.Claim {
	switch {
	case r.d.release != nil:
		return r.d.release.definitions
	case r.spec.Release != nil:
		_, told := definitionsApart(r.spec.Claims)
		return told
	}
	return nil
}

// noteDefinitions keeps what the inventory tells of the directory crds, once a
// chart has been rendered. A rollback goes by a record, which does not have it.
func (r *run) noteDefinitions(a *acting, crds []model.Rendered) {
	if a.action.Kind == release.Rollback {
		return
	}
	claims := make([]model.Claim, 0, len(crds))
	for i := range crds {
		if !r.withhold(&wanted{}, &crds[i]) {
			claims = append(claims, model.Claim{ID: crds[i].ID, Version: crds[i].Version})
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.release.definitions = claims
}

// applyDefinitions installs the CRDs of a chart's directory crds, as the policy of
// the action says. They are nobody's afterwards.
func (r *run) applyDefinitions(ctx context.Context, a *acting, crds []model.Rendered) error {
	policy := r.spec.Release.UpgradeCRDs
	if a.action.Kind == release.Install {
		policy = r.spec.Release.InstallCRDs
	}
	if policy == "Skip" || a.action.Kind == release.Rollback {
		return nil
	}
	for i := range crds {
		crd := &crds[i]
		if r.withhold(&wanted{}, crd) {
			continue // it defines a kind of a controller that Plumb replaces
		}
		kind, err := r.cluster.Resolve(ctx, schema.GroupVersionKind{Group: crd.ID.Group, Version: crd.Version, Kind: crd.ID.Kind})
		if err != nil {
			return cluster.Explain(err, "discover", crd.ID, crd.Origin)
		}
		if policy == "Create" {
			_, err := r.session.Get(ctx, kind, "", crd.ID.Name)
			if err == nil {
				continue
			}
			if !apierrors.IsNotFound(err) {
				return cluster.Explain(err, "get", crd.ID, crd.Origin)
			}
		}
		if _, err := r.session.Apply(ctx, kind, crd.JSON, cluster.ApplyOptions{Manager: r.spec.Ownership.FieldManager, Force: true}); err != nil {
			return cluster.Explain(err, "apply", crd.ID, crd.Origin)
		}
		if err := r.established(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

// established waits until the kind that a CRD defines is served.
func (r *run) established(ctx context.Context, crd *model.Rendered) error {
	defined, ok := definition(&model.Desired{ID: crd.ID, JSON: crd.JSON})
	if !ok {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	served := make(chan struct{}, 1)
	stop := r.cluster.OnKind(defined, func() { served <- struct{}{} })
	defer stop()
	select {
	case <-served:
		return nil
	case <-within.Done():
		return &model.Fault{Reason: "InstallFailed", Object: crd.ID, Origin: crd.Origin, Message: crd.ID.String() + " is not established"}
	}
}
