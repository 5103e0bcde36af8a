package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/request"
)

// Act does what was asked for, or says what it would do. What is written is a
// patch of the declared object; the engine does the rest.
func (s deliveryService) Act(ctx context.Context, m *plumbv1.ActRequest) (*plumbv1.ActResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	id := rows.ID(m.GetRef())
	declared, _ := w.Declared.Declared(id)
	row, ok := s.deliveries.Get(id)
	if declared == nil || !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	name := actionName(m)
	if why := senseless(name, row); why != "" {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New(why))
	}
	a := &acting{server: s.Server, world: w, id: id, request: m, by: callerOf(ctx).Principal.Name}
	if m.GetPreview() {
		return a.preview(ctx, declared)
	}
	out, err := a.do(ctx)
	s.audit(ctx, entry{Action: name, Object: id, Failed: err != nil, Message: a.note(out, err)})
	return out, err
}

// actionName is the field of the action that is asked for.
func actionName(m *plumbv1.ActRequest) string {
	r := m.ProtoReflect()
	if f := r.WhichOneof(r.Descriptor().Oneofs().ByName("action")); f != nil {
		return string(f.Name())
	}
	return ""
}

// acting is one action on its way.
type acting struct {
	server  *Server
	world   *World
	id      object.ID
	request *plumbv1.ActRequest
	by      string
}

func (a *acting) note(out *plumbv1.ActResponse, err error) string {
	if err != nil {
		return err.Error()
	}
	note := out.GetMessage()
	if reason := a.request.GetSuspend().GetReason(); reason != "" {
		note += ": " + reason
	}
	return note
}

// do writes what was asked for. A declared object that changes in between is
// read anew.
func (a *acting) do(ctx context.Context) (*plumbv1.ActResponse, error) {
	switch action := a.request.GetAction().(type) {
	case *plumbv1.ActRequest_Delete:
		return a.delete(ctx, action.Delete)
	case *plumbv1.ActRequest_ObjectAction:
		return a.onObject(ctx, action.ObjectAction)
	}
	if err := a.mayLookAtSources(ctx); err != nil {
		return nil, err
	}
	const attempts = 5
	for attempt := 1; ; attempt++ {
		live, err := a.read(ctx)
		if err != nil {
			return nil, err
		}
		patch, message, err := a.patch(live)
		if err != nil {
			return nil, refused(err)
		}
		version, err := a.write(ctx, patch)
		switch {
		case err == nil:
			return &plumbv1.ActResponse{Message: message, Version: version}, a.besides(ctx)
		case apierrors.IsConflict(err) && attempt < attempts:
		default:
			return nil, answered(err)
		}
	}
}

// sources are the declared sources that are to be looked at first; one that
// nobody declared is looked at by the refresh of the delivery.
func (a *acting) sources() []*unstructured.Unstructured {
	if !a.request.GetRefresh().GetSource() {
		return nil
	}
	k, _ := a.world.Engine.Known(a.id)
	var out []*unstructured.Unstructured
	for i := range k.Delivery.Inputs {
		if o, _ := a.world.Declared.Declared(k.Delivery.Inputs[i].Source); o != nil {
			out = append(out, o)
		}
	}
	return out
}

// mayLookAtSources refuses a look at sources that the caller has no right to:
// a right to the delivery is none to what it reads.
func (a *acting) mayLookAtSources(ctx context.Context) error {
	for _, o := range a.sources() {
		id := object.Of(o)
		if p := callerOf(ctx).May(ctx, policy.Refresh, access.Target{ID: id}); !p.Allowed {
			return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("permission denied: its source %s may not be looked at: %s", id, p.Reason))
		}
	}
	return nil
}

// besides looks at the sources, where that was asked for.
func (a *acting) besides(ctx context.Context) error {
	for _, o := range a.sources() {
		if err := a.server.wake(ctx, a.world, o); err != nil {
			return err
		}
	}
	return nil
}

// wake asks a declared source for a look at once.
func (s *Server) wake(ctx context.Context, w *World, o *unstructured.Unstructured) error {
	patch, err := request.Refresh(o, time.Now().Format(time.RFC3339Nano), false)
	if errors.Is(err, request.ErrSuspended) {
		return nil
	}
	if err != nil {
		return refused(err)
	}
	_, err = s.patchDeclared(ctx, w, object.Of(o), patch)
	return answered(err)
}

// refused is an action that makes no sense for the object as it is.
func refused(err error) error { return connect.NewError(connect.CodeFailedPrecondition, err) }

// answered turns an answer of the API server into an error for a caller.
func answered(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return connect.NewError(connect.CodeNotFound, err)
	case apierrors.IsForbidden(err):
		return connect.NewError(connect.CodePermissionDenied, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return connect.NewError(connect.CodeInvalidArgument, err)
	case apierrors.IsConflict(err):
		return connect.NewError(connect.CodeAborted, err)
	}
	return connect.NewError(connect.CodeUnavailable, err)
}

// patch is what the action writes on the declared object, and what that means.
func (a *acting) patch(o *unstructured.Unstructured) (request.Patch, string, error) {
	now := time.Now()
	token := now.Format(time.RFC3339Nano)
	switch action := a.request.GetAction().(type) {
	case *plumbv1.ActRequest_Sync:
		if o.GetKind() != "Application" {
			p, err := request.Refresh(o, token, false)
			return p, "asked to reconcile", err
		}
		p, err := a.sync(action.Sync).Operation(o)
		return p, "asked to sync", err
	case *plumbv1.ActRequest_Refresh:
		look := request.Look{Token: token, Hard: action.Refresh.GetHard(), Force: action.Refresh.GetForce(), Reset: action.Refresh.GetResetFailures()}
		p, err := look.Patch(o)
		return p, lookedFor(look), err
	case *plumbv1.ActRequest_Suspend:
		p, err := request.Suspend(o)
		return p, "suspended", err
	case *plumbv1.ActRequest_Resume:
		p, err := request.Resume(o)
		return p, "resumed", err
	case *plumbv1.ActRequest_Approve:
		seen := action.Approve.GetToken()
		k, _ := a.world.Engine.Known(a.id)
		if k.Report != nil && k.Report.Hold != nil && k.Report.Hold.Token != seen {
			return nil, "", errors.New("what waits is not what was approved any more: look at it again")
		}
		return request.Approve(seen, now.UTC().Format(time.RFC3339)), "approved", nil
	case *plumbv1.ActRequest_Rollback:
		id, err := strconv.ParseInt(action.Rollback.GetId(), 10, 64)
		if err != nil {
			return nil, "", fmt.Errorf("%q is no ID of a sync", action.Rollback.GetId())
		}
		p, left, err := request.Rollback(o, id, action.Rollback.GetPrune(), action.Rollback.GetDryRun(), a.by)
		message := fmt.Sprintf("asked to roll back to sync %d", id)
		if action.Rollback.GetDryRun() {
			message = fmt.Sprintf("asked to predict a rollback to sync %d", id)
		}
		if left != "" {
			message += "; " + left + " is not synced automatically any more, until a newer revision arrives"
		}
		return p, message, err
	case *plumbv1.ActRequest_Terminate:
		p, err := request.Terminate(o)
		return p, "asked to stop", err
	case *plumbv1.ActRequest_Lift:
		return request.Lift(), "the quarantine is lifted", nil
	}
	return nil, "", errors.New("no action is given")
}

// lookedFor says what a look was asked for.
func lookedFor(look request.Look) string {
	message := "asked to look again"
	if look.Force {
		message = "asked to install or upgrade once more"
	}
	if look.Reset {
		message += ", with its failures counted from zero"
	}
	return message
}

// sync is the operation that a message asks for.
func (a *acting) sync(m *plumbv1.Sync) request.Sync {
	out := request.Sync{Revision: m.GetRevision(), Prune: m.GetPrune(), DryRun: m.GetDryRun(), Force: m.GetForce(), Options: m.GetOptions(), By: a.by, Fresh: true}
	for _, r := range m.GetResources() {
		out.Resources = append(out.Resources, model.ObjectFilter{Group: r.GetGroup(), Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName()})
	}
	return out
}

// read is the declared object as it is now.
func (a *acting) read(ctx context.Context) (*unstructured.Unstructured, error) {
	kind, err := a.server.resolved(ctx, a.world, a.id)
	if err != nil {
		return nil, err
	}
	o, err := a.world.Local.As(model.Identity{}).Get(ctx, kind, a.id.Namespace, a.id.Name)
	return o, answered(err)
}

// resolved is the kind of a declared object as it is served.
func (s *Server) resolved(ctx context.Context, w *World, id object.ID) (cluster.Kind, error) {
	kind, err := w.Local.Resolve(ctx, id.GroupKind().WithVersion(s.kinds[id.GroupKind()].Versions[0]))
	if err != nil {
		return kind, connect.NewError(connect.CodeUnavailable, err)
	}
	return kind, nil
}

func (a *acting) write(ctx context.Context, patch request.Patch) (version string, err error) {
	return a.server.patchDeclared(ctx, a.world, a.id, patch)
}

// patchDeclared writes a patch on a declared object, and returns the
// resourceVersion that it has then.
func (s *Server) patchDeclared(ctx context.Context, w *World, id object.ID, patch request.Patch) (version string, err error) {
	kind, err := s.resolved(ctx, w, id)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return "", err
	}
	written, err := w.Local.As(model.Identity{}).Patch(ctx, kind, id.Namespace, id.Name, cluster.PatchOptions{Manager: writer}, body)
	if err != nil {
		return "", err
	}
	return written.GetResourceVersion(), nil
}

// delete deletes the declared object: with what it delivered, or so that this
// stays.
func (a *acting) delete(ctx context.Context, m *plumbv1.Delete) (*plumbv1.ActResponse, error) {
	live, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if patch := deletion(live, m.GetKeepObjects()); patch != nil {
		if _, err := a.write(ctx, patch); err != nil {
			return nil, answered(err)
		}
	}
	kind, err := a.server.resolved(ctx, a.world, a.id)
	if err != nil {
		return nil, err
	}
	err = a.world.Local.As(model.Identity{}).Delete(ctx, kind, a.id.Namespace, a.id.Name, cluster.DeleteOptions{UID: string(live.GetUID())})
	if err != nil {
		return nil, answered(err)
	}
	if m.GetKeepObjects() {
		return &plumbv1.ActResponse{Message: "deleted; what it delivered stays"}, nil
	}
	return &plumbv1.ActResponse{Message: "deleted, together with what it delivered"}, nil
}

// resourcesFinalizer makes an Application take its objects along (argo-cd,
// docs/user-guide/app_deletion.md).
const resourcesFinalizer = "resources-finalizer.argocd.argoproj.io"

// deletion is what is written on an object before it is deleted, so that its
// objects go with it or stay; nil where nothing has to be.
func deletion(o *unstructured.Unstructured, keep bool) request.Patch {
	switch o.GetKind() {
	case "Application":
		finalizers := slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return strings.HasPrefix(f, resourcesFinalizer) })
		if !keep {
			if len(finalizers) < len(o.GetFinalizers()) {
				return nil
			}
			finalizers = append(finalizers, resourcesFinalizer)
		}
		list := make([]any, len(finalizers))
		for i := range finalizers {
			list[i] = finalizers[i]
		}
		return request.Patch{"metadata": map[string]any{"finalizers": list, "resourceVersion": o.GetResourceVersion()}}
	case "Kustomization":
		if keep {
			return request.Patch{"spec": map[string]any{"deletionPolicy": "Orphan"}}
		}
	case "HelmRelease":
		if keep {
			return request.Patch{"spec": map[string]any{"suspend": true}} // a suspended one is not uninstalled
		}
	case "ApplicationSet":
		if keep {
			return request.Patch{"spec": map[string]any{"syncPolicy": map[string]any{"preserveResourcesOnDeletion": true}}}
		}
	}
	return nil
}

// preview says what an action would do.
func (a *acting) preview(ctx context.Context, declared *unstructured.Unstructured) (*plumbv1.ActResponse, error) {
	switch action := a.request.GetAction().(type) {
	case *plumbv1.ActRequest_Sync:
		return a.previewSync(ctx, action.Sync)
	case *plumbv1.ActRequest_Approve:
		k, _ := a.world.Engine.Known(a.id)
		out := &plumbv1.ActResponse{Message: "nothing waits for an approval"}
		if k.Report != nil && k.Report.Hold != nil {
			out.Message = k.Report.Hold.Why
			for _, id := range k.Report.Hold.Deletes {
				out.Changes = append(out.Changes, &plumbv1.Change{Object: rows.Ref(id, ""), Verb: "delete", Why: "it is not wanted any more"})
			}
		}
		return out, nil
	case *plumbv1.ActRequest_Delete:
		return a.previewDelete(action.Delete)
	case *plumbv1.ActRequest_ObjectAction:
		return &plumbv1.ActResponse{Message: "its Pods are replaced one after another"}, nil
	}
	_, message, err := a.patch(declared)
	if err != nil {
		return nil, refused(err)
	}
	return &plumbv1.ActResponse{Message: message}, nil
}

// previewSync predicts what a sync to the revision that is known would change.
func (a *acting) previewSync(ctx context.Context, m *plumbv1.Sync) (*plumbv1.ActResponse, error) {
	var only []object.ID
	for _, r := range m.GetResources() {
		only = append(only, rows.ID(r))
	}
	compared, err := a.server.compare(ctx, a.world, a.id, only)
	if err != nil {
		return nil, err
	}
	out := &plumbv1.ActResponse{}
	if k, ok := a.world.Engine.Known(a.id); ok {
		if why := blockedNow(k.Delivery.Sync.Windows, time.Now()); why != "" {
			out.Warnings = append(out.Warnings, why)
		}
	}
	if m.GetRevision() != "" {
		out.Warnings = append(out.Warnings, "the changes are those of the revision that is known now, not of "+m.GetRevision())
	}
	for i := range compared {
		c := &compared[i]
		switch {
		case c.Fault != nil:
			out.Warnings = append(out.Warnings, c.Fault.Error())
		case c.Verb == model.Delete && !m.GetPrune() && a.id.Kind == "Application":
			out.Warnings = append(out.Warnings, c.Object.String()+" stays: it is deleted by a sync with prune only")
		case c.Verb != "":
			out.Changes = append(out.Changes, changeOf(c))
		}
	}
	out.Message = "nothing would change"
	if n := int32(len(out.Changes)); n > 0 {
		out.Message = counted(n, "object") + " would change"
	}
	return out, nil
}

func (a *acting) previewDelete(m *plumbv1.Delete) (*plumbv1.ActResponse, error) {
	out := &plumbv1.ActResponse{Message: "the declared object is deleted; what it delivered stays"}
	if m.GetKeepObjects() {
		return out, nil
	}
	k, _ := a.world.Engine.Known(a.id)
	for i := range k.Objects {
		if o := &k.Objects[i]; o.Owned {
			out.Changes = append(out.Changes, &plumbv1.Change{Object: rows.Ref(o.ID, o.Version), Verb: "delete", Why: "it goes with its delivery"})
		}
	}
	out.Message = fmt.Sprintf("the declared object and %d objects that it delivered are deleted", len(out.Changes))
	return out, nil
}

// onObject acts on one object of a delivery, as the delivery.
func (a *acting) onObject(ctx context.Context, m *plumbv1.ObjectAction) (*plumbv1.ActResponse, error) {
	ref := m.GetObject()
	found, err := a.server.find(ctx, a.world, a.id, ref)
	if err != nil {
		return nil, err
	}
	if m.GetName() != restart || !slices.Contains(actionsOf(found.live), restart) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s has no action %q", ref.GetKind(), m.GetName()))
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339),
	}}}}})
	if err != nil {
		return nil, err
	}
	session, err := a.world.Engine.Session(a.id)
	if err != nil {
		return nil, engineError(err)
	}
	kind, err := session.Cluster().Resolve(ctx, found.live.GroupVersionKind())
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	if _, err := session.Patch(ctx, kind, ref.GetNamespace(), ref.GetName(), cluster.PatchOptions{Manager: writer}, body); err != nil {
		return nil, answered(err)
	}
	return &plumbv1.ActResponse{Message: "restarted " + found.id.String()}, nil
}

// ActOnSource looks again at a source, suspends or resumes it.
func (s fleetService) ActOnSource(ctx context.Context, m *plumbv1.ActOnSourceRequest) (*plumbv1.ActResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	id := rows.ID(m.GetRef())
	o, _ := w.Declared.Declared(id)
	if o == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not declared", id))
	}
	var patch request.Patch
	switch m.GetAction() {
	case "suspend":
		patch, err = request.Suspend(o)
	case "resume":
		patch, err = request.Resume(o)
	default:
		patch, err = request.Refresh(o, time.Now().Format(time.RFC3339Nano), false)
	}
	if err != nil {
		return nil, refused(err)
	}
	version, err := s.patchDeclared(ctx, w, id, patch)
	err = answered(err)
	s.audit(ctx, entry{Action: m.GetAction(), Object: id, Failed: err != nil})
	message := map[string]string{"refresh": "asked to look again", "suspend": "suspended", "resume": "resumed"}[m.GetAction()]
	return &plumbv1.ActResponse{Message: message, Version: version}, err
}
