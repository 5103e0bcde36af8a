package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/request"
)

// wish is what somebody asks of a declared object.
type wish interface {
	// patch is what is written on the object as it is now; by says who asks, ""
	// where nobody knows.
	patch(o *unstructured.Unstructured, by func() string) (request.Patch, error)
	// action puts into a message what a server of Plumb is asked to write instead.
	action(o *unstructured.Unstructured, m *plumbv1.ActRequest) error
}

// refused says which object refuses a wish, and what to do.
func refused(kind *declaredKind, o *unstructured.Unstructured, err error) error {
	id := o.GetNamespace() + "/" + o.GetName()
	var automated *request.AutomatedError
	switch {
	case errors.Is(err, request.ErrDeleting):
		return fmt.Errorf("%s %s is being deleted", kind.human, id)
	case errors.Is(err, request.ErrBusy):
		return advise(fmt.Errorf("%s %s: %w", kind.human, id, err),
			"wait for its end, or stop it with: plumb terminate-op %s", called(kind, o))
	case errors.Is(err, request.ErrSuspended):
		return suspendedError(kind, o)
	case errors.As(err, &automated):
		return advise(err, "go back to an earlier sync with: plumb rollback %s, or change the target revision", called(kind, o))
	}
	return err
}

// toSuspend lets an object rest.
type toSuspend struct{}

func (toSuspend) patch(o *unstructured.Unstructured, _ func() string) (request.Patch, error) {
	return request.Suspend(o)
}

func (toSuspend) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Suspend{Suspend: &plumbv1.Suspend{}}
	return nil
}

// toResume lets it work again.
type toResume struct{}

func (toResume) patch(o *unstructured.Unstructured, _ func() string) (request.Patch, error) {
	return request.Resume(o)
}

func (toResume) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Resume{Resume: &plumbv1.Resume{}}
	return nil
}

// toLook is a look at once.
type toLook struct{ how request.Look }

func (w toLook) patch(o *unstructured.Unstructured, _ func() string) (request.Patch, error) {
	return w.how.Patch(o)
}

func (w toLook) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Refresh{Refresh: &plumbv1.Refresh{Hard: w.how.Hard, Force: w.how.Force, ResetFailures: w.how.Reset}}
	return nil
}

// toApprove agrees to the deletions of a token; "": to those that ask for a
// person one by one.
type toApprove struct {
	token string
	at    time.Time
}

func (w toApprove) patch(*unstructured.Unstructured, func() string) (request.Patch, error) {
	return request.Approve(w.token, w.at.UTC().Format(time.RFC3339)), nil
}

func (w toApprove) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Approve{Approve: &plumbv1.Approve{Token: w.token}}
	return nil
}

// toSync is a sync of an Application.
type toSync struct{ flags syncFlags }

func (w toSync) patch(o *unstructured.Unstructured, by func() string) (request.Patch, error) {
	sync, err := w.flags.asked(o, by())
	if err != nil {
		return nil, err
	}
	return sync.Operation(o)
}

func (w toSync) action(o *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	sync, err := w.flags.asked(o, "")
	if err != nil {
		return err
	}
	const argocd = "Argo CD's own command line speaks to the same server: argocd app sync"
	switch {
	case len(sync.Revisions) > 1:
		return notServed("--revisions for several sources", argocd)
	case len(sync.Revisions) == 1:
		sync.Revision = sync.Revisions[0]
	}
	switch {
	case sync.NoHooks:
		return notServed("--strategy apply", argocd)
	case sync.Retry != nil:
		return notServed("--retry-limit", argocd)
	case len(sync.Info) > 0:
		return notServed("--info", argocd)
	}
	asked := &plumbv1.Sync{Revision: sync.Revision, Prune: sync.Prune, DryRun: sync.DryRun, Force: sync.Force, Options: sync.Options}
	for _, r := range sync.Resources {
		asked.Resources = append(asked.Resources, &plumbv1.ObjectRef{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name})
	}
	m.Action = &plumbv1.ActRequest_Sync{Sync: asked}
	return nil
}

// toRollBack takes an Application back to an earlier sync. What it finds out
// about that is kept, for whoever asks.
type toRollBack struct {
	id            int64 // -1: the one before the last
	prune, dryRun bool

	entry      map[string]any // of the history
	quarantine string         // what is not synced automatically any more; "": nothing
}

func (w *toRollBack) patch(o *unstructured.Unstructured, by func() string) (request.Patch, error) {
	err := request.Free(o)
	if err != nil {
		return nil, err
	}
	if w.entry, err = earlierSync(o, w.id); err != nil {
		return nil, err
	}
	patch, left, err := request.Rollback(o, entryID(w.entry), w.prune, w.dryRun, by())
	w.quarantine = left
	return patch, err
}

func (w *toRollBack) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Rollback{Rollback: &plumbv1.Rollback{Id: strconv.FormatInt(entryID(w.entry), 10), Prune: w.prune, DryRun: w.dryRun}}
	return nil
}

// String says where the way back leads.
func (w *toRollBack) String() string {
	return fmt.Sprintf("sync %d (%s) of %s", entryID(w.entry), strings.Join(revisionsIn(w.entry), ", "), placesText(w.entry))
}

// toTerminate ends the operation of an Application.
type toTerminate struct{}

func (toTerminate) patch(o *unstructured.Unstructured, _ func() string) (request.Patch, error) {
	return request.Terminate(o)
}

func (toTerminate) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Terminate{Terminate: &plumbv1.Terminate{}}
	return nil
}

// toLift takes a quarantine off.
type toLift struct{}

func (toLift) patch(*unstructured.Unstructured, func() string) (request.Patch, error) {
	return request.Lift(), nil
}

func (toLift) action(_ *unstructured.Unstructured, m *plumbv1.ActRequest) error {
	m.Action = &plumbv1.ActRequest_Lift{Lift: &plumbv1.Lift{}}
	return nil
}
