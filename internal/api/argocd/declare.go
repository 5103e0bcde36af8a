package argocd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"connectrpc.com/connect"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	"plumb.dev/plumb/internal/api/argocd/wire"
	"plumb.dev/plumb/internal/policy"
)

const mergeType = types.MergePatchType

// conflicts is how often a change is tried again that somebody else's came
// between.
const conflicts = 10

func mergePatch(value map[string]any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		return []byte("{}") // texts, lists and maps of them can always be written
	}
	return body
}

// createApplication declares an Application. One that is there already with the
// same spec is fine; another needs upsert.
func (s *server) createApplication(ctx context.Context, c *call) (map[string]any, error) {
	sent := object(c.value, "application")
	if sent == nil {
		return nil, failed(connect.CodeInvalidArgument, "error creating application: application is nil in request")
	}
	app := declaredFrom(KindApplication, sent)
	if err := s.must(ctx, c, policy.Applications, policy.Create, s.objectOf(app)); err != nil {
		return nil, err
	}
	app.SetNamespace(s.orOwn(app.GetNamespace()))
	if !s.servesApplications(ctx, app.GetNamespace()) {
		return nil, notPermitted(app.GetNamespace())
	}
	if err := s.unmask(ctx, c, KindApplication, app); err != nil {
		return nil, err
	}
	bounds, err := s.projectFor(ctx, app)
	if err != nil {
		return nil, err
	}
	if err := s.validate(ctx, c, app, bounds, flagOr(true, c.value, "validate")); err != nil {
		return nil, fmt.Errorf("error while validating and normalizing app: %w", err)
	}
	created, err := s.Objects.Create(ctx, KindApplication, withoutServerFields(app))
	if err == nil {
		s.done(ctx, c, "create", KindApplication, created, "created application")
		return s.told(created).Object, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("error creating application: %w", err)
	}
	existing, err := s.Objects.Get(ctx, KindApplication, app.GetNamespace(), app.GetName())
	if err != nil {
		return nil, failed(connect.CodeInternal, "unable to check existing application details (%s): %v", app.GetNamespace(), err)
	}
	if sameDeclaration("v1alpha1.ApplicationSpec", existing, app) {
		return s.told(existing).Object, nil
	}
	if !flag(c.value, "upsert") {
		return nil, failed(connect.CodeInvalidArgument, "existing application spec is different, use upsert flag to force update")
	}
	for _, in := range []*unstructured.Unstructured{app, existing} { // somebody may have created it just now, elsewhere
		if err := s.must(ctx, c, policy.Applications, policy.Update, s.objectOf(in)); err != nil {
			return nil, err
		}
	}
	updated, err := s.replace(ctx, KindApplication, existing, app, true)
	if err != nil {
		return nil, fmt.Errorf("error updating application: %w", err)
	}
	s.done(ctx, c, "update", KindApplication, updated, "updated application spec")
	return s.told(updated).Object, nil
}

// unmask is restored for an object that may be there already, and that the
// caller may change: nobody gets at what another object holds by calling theirs
// the same.
func (s *server) unmask(ctx context.Context, c *call, kind Kind, sent *unstructured.Unstructured) error {
	existing, err := s.Objects.Get(ctx, kind, sent.GetNamespace(), sent.GetName())
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err != nil || !s.mayChange(ctx, c, existing) {
		existing = nil
	}
	return s.restored(sent, existing)
}

func (s *server) mayChange(ctx context.Context, c *call, o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case KindApplication.Kind:
		return s.can(ctx, c, policy.Applications, policy.Update, s.objectOf(o))
	case KindApplicationSet.Kind:
		return s.can(ctx, c, policy.ApplicationSets, policy.Update, s.objectOf(o))
	}
	return s.can(ctx, c, policy.Projects, policy.Update, o.GetName())
}

// withoutServerFields is an object as somebody declares it: what only a server
// or a controller writes is taken off. An operation is begun by a sync alone,
// which asks more of the policy.
func withoutServerFields(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := o.DeepCopy()
	delete(out.Object, "status")
	delete(out.Object, "operation")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	return out
}

// sameDeclaration compares what people declare of two objects, as typed values:
// an empty list is none.
func sameDeclaration(specType string, a, b *unstructured.Unstructured) bool {
	return sameAs(specType, object(a.Object, "spec"), object(b.Object, "spec")) &&
		maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations()) &&
		slices.Equal(a.GetFinalizers(), b.GetFinalizers())
}

// sameAs compares two values of a type of messages.
func sameAs(name string, a, b map[string]any) bool {
	return reflect.DeepEqual(typed(name, a), typed(name, b))
}

// typed is a value as a typed server has it.
func typed(name string, value map[string]any) map[string]any {
	schema, err := wire.Known()
	if err != nil {
		return value
	}
	t, ok := schema.Type(name)
	if !ok {
		return value
	}
	return shown(t, value)
}

// replace puts the declaration of wanted into an object that is there: the spec
// whole; labels and annotations whole, or on top of what is there.
func (s *server) replace(ctx context.Context, kind Kind, existing, wanted *unstructured.Unstructured, merge bool) (*unstructured.Unstructured, error) {
	for range conflicts {
		next := existing.DeepCopy()
		next.Object["spec"] = wanted.Object["spec"]
		labels, annotations := wanted.GetLabels(), wanted.GetAnnotations()
		if merge {
			labels, annotations = over(existing.GetLabels(), labels), over(existing.GetAnnotations(), annotations)
		}
		next.SetLabels(labels)
		next.SetAnnotations(annotations)
		next.SetFinalizers(wanted.GetFinalizers())
		updated, err := s.Objects.Update(ctx, kind, next)
		if err == nil {
			return updated, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
		if existing, err = s.Objects.Get(ctx, kind, existing.GetNamespace(), existing.GetName()); err != nil {
			return nil, err
		}
	}
	return nil, failed(connect.CodeInternal, "Failed to update %s. Too many conflicts", kindWord(kind))
}

func kindWord(kind Kind) string {
	if kind == KindApplication {
		return "application"
	}
	return kind.Kind
}

func over(below, above map[string]string) map[string]string {
	out := maps.Clone(below)
	if out == nil {
		return above
	}
	maps.Copy(out, above)
	return out
}

// updateApplication changes a declared Application. Upstream's callers send it
// whole.
func (s *server) updateApplication(ctx context.Context, c *call) (map[string]any, error) {
	sent := object(c.value, "application")
	if sent == nil {
		return nil, failed(connect.CodeInvalidArgument, "error updating application: application is nil in request")
	}
	app := declaredFrom(KindApplication, sent)
	app.SetNamespace(s.orOwn(app.GetNamespace()))
	if err := s.must(ctx, c, policy.Applications, policy.Update, s.objectOf(app)); err != nil {
		return nil, err
	}
	updated, err := s.change(ctx, c, app, flagOr(true, c.value, "validate"), text(c.value, "project"))
	if err != nil {
		return nil, err
	}
	return s.told(updated).Object, nil
}

// change validates and writes an Application that is declared already. wanted is
// the project it is in now, if the caller says so.
func (s *server) change(ctx context.Context, c *call, app *unstructured.Unstructured, validate bool, wanted string) (*unstructured.Unstructured, error) {
	existing, bounds, err := s.applicationNamed(ctx, c, policy.Update, "", wanted, app.GetNamespace(), app.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.restored(app, existing); err != nil {
		return nil, err
	}
	if err := s.validate(ctx, c, app, bounds, validate); err != nil {
		return nil, fmt.Errorf("error validating and normalizing app: %w", err)
	}
	updated, err := s.replace(ctx, KindApplication, existing, app, false)
	if err != nil {
		return nil, fmt.Errorf("error updating application: %w", err)
	}
	s.done(ctx, c, "update", KindApplication, updated, "updated application spec")
	return updated, nil
}

func (s *server) updateSpec(ctx context.Context, c *call) (map[string]any, error) {
	spec := object(c.value, "spec")
	if spec == nil {
		return nil, failed(connect.CodeInvalidArgument, "error updating application spec: spec is nil in request")
	}
	app, _, err := s.application(ctx, c, policy.Update, "")
	if err != nil {
		return nil, err
	}
	app.Object["spec"] = runtime.DeepCopyJSON(spec)
	updated, err := s.change(ctx, c, app, flagOr(true, c.value, "validate"), text(c.value, "project"))
	if err != nil {
		return nil, fmt.Errorf("error validating and updating app: %w", err)
	}
	return object(s.told(updated).Object, "spec"), nil
}

func (s *server) patchApplication(ctx context.Context, c *call) (map[string]any, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	if err := s.must(ctx, c, policy.Applications, policy.Update, s.objectOf(app)); err != nil {
		return nil, err
	}
	patched, err := patched(s.told(app), text(c.value, "patchType"), []byte(text(c.value, "patch")))
	if err != nil {
		return nil, err
	}
	patched.SetNamespace(app.GetNamespace())
	patched.SetName(app.GetName())
	updated, err := s.change(ctx, c, patched, true, text(c.value, "project"))
	if err != nil {
		return nil, err
	}
	return s.told(updated).Object, nil
}

// patched is an object with a patch of a caller.
func patched(o *unstructured.Unstructured, kind string, patch []byte) (*unstructured.Unstructured, error) {
	before, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("error marshaling application: %w", err)
	}
	var after []byte
	switch kind {
	case "json", "":
		var decoded jsonpatch.Patch
		if decoded, err = jsonpatch.DecodePatch(patch); err != nil {
			return nil, failed(connect.CodeInvalidArgument, "error decoding json patch: %v", err)
		}
		if after, err = decoded.Apply(before); err != nil {
			return nil, failed(connect.CodeInvalidArgument, "error applying patch: %v", err)
		}
	case "merge":
		if after, err = jsonpatch.MergePatch(before, patch); err != nil {
			return nil, failed(connect.CodeInvalidArgument, "error calculating merge patch: %v", err)
		}
	default:
		return nil, failed(connect.CodeInvalidArgument, "Patch type '%s' is not supported", kind)
	}
	var value map[string]any
	if err := kubejson.Unmarshal(after, &value); err != nil || value == nil {
		return nil, failed(connect.CodeInvalidArgument, "error unmarshaling patched app: %v", errors.Join(err, errors.New("it is no object")))
	}
	return &unstructured.Unstructured{Object: value}, nil
}
