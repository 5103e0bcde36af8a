package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// declarationService hands out what is declared, as it stands.
type declarationService struct{ *Server }

// Bounds of a page of declarations.
const (
	declarationsPage     = 100
	maxDeclarationsPage  = 500
	declarationsBytes    = 8 << 20 // of manifests on one page; the first is always on it
	declarationSeparator = "/"     // of a page token; no namespace has one in its name
)

// choosing is a message that says which declared objects are meant.
type choosing interface {
	GetGroup() string
	GetKind() string
	GetNamespace() string
	GetName() string
	GetLabelSelector() string
}

// declarationsRule asks about the object, where one is named; a list shows to
// each only what they may see.
func declarationsRule(ctx context.Context, s *Server, caller *access.Caller, message any) error {
	m, ok := message.(choosing)
	if !ok || m.GetKind() == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("kind is missing: name the group and the kind of what is listed"))
	}
	kind := schema.GroupKind{Group: m.GetGroup(), Kind: m.GetKind()}
	switch {
	case m.GetName() != "" && m.GetNamespace() == "":
		return connect.NewError(connect.CodeInvalidArgument, errors.New("namespace is missing: a name goes with one"))
	case s.kinds[kind].Plural == "":
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s is not a kind that is declared to Plumb", kind))
	case m.GetName() != "":
		return s.may(ctx, caller, policy.Get, &plumbv1.ObjectRef{Group: m.GetGroup(), Kind: m.GetKind(), Namespace: m.GetNamespace(), Name: m.GetName()})
	}
	return nil
}

// ListDeclarations lists the objects of a kind that the caller may see, page by
// page.
func (s declarationService) ListDeclarations(ctx context.Context, m *plumbv1.ListDeclarationsRequest) (*plumbv1.ListDeclarationsResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	after, err := afterToken(m.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := int(m.GetPageSize())
	if limit <= 0 {
		limit = declarationsPage
	}
	limit = min(limit, maxDeclarationsPage)
	visible, err := s.visibleDeclarations(ctx, callerOf(ctx), w, m)
	if err != nil {
		return nil, err
	}
	out, size := &plumbv1.ListDeclarationsResponse{}, 0
	var last object.ID
	for _, o := range visible {
		id := object.Of(o)
		if byPlace(id, after) <= 0 {
			continue
		}
		if len(out.Manifests) == limit || size > declarationsBytes {
			out.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(last.Namespace + declarationSeparator + last.Name))
			break
		}
		text := declaration(w, o)
		out.Manifests, size, last = append(out.Manifests, text), size+len(text), id
	}
	return out, nil
}

// WatchDeclarations sends the objects of a kind that the caller may see, and then
// those that have become others.
func (s declarationService) WatchDeclarations(ctx context.Context, m *plumbv1.WatchDeclarationsRequest, out *connect.ServerStream[plumbv1.WatchDeclarationsResponse]) error {
	return s.watchDeclarations(ctx, m, out.Send)
}

// watchDeclarations sends until the caller has had enough.
func (s *Server) watchDeclarations(ctx context.Context, m *plumbv1.WatchDeclarationsRequest, send func(*plumbv1.WatchDeclarationsResponse) error) error {
	looker := s.onlookers.join()
	defer looker.leave()
	looker.look(everyOne(object.ID{Group: m.GetGroup(), Kind: m.GetKind()}))
	sent := map[object.ID]string{} // resourceVersions
	for first := true; ; first = false {
		projects := s.fleetNews() // taken before the look, so that nothing is missed
		w, err := s.leads()
		if err != nil {
			return err
		}
		visible, err := s.visibleDeclarations(ctx, s.guard.Caller(callerOf(ctx).Principal), w, m)
		if err != nil {
			return err
		}
		if err := tellDeclarations(w, visible, sent, first, send); err != nil {
			return err
		}
		audit := time.NewTimer(rechecked)
		select {
		case <-ctx.Done():
			audit.Stop()
			return nil
		case <-looker.woken:
		case <-projects:
		case <-audit.C:
		}
		audit.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gathered):
		}
	}
}

// tellDeclarations sends what differs from what was sent before, and keeps that.
// The first time it sends something in any case: that there is nothing, too, is
// news.
func tellDeclarations(w *World, visible []*unstructured.Unstructured, sent map[object.ID]string, first bool, send func(*plumbv1.WatchDeclarationsResponse) error) error {
	message, size := &plumbv1.WatchDeclarationsResponse{}, 0
	there := make(map[object.ID]bool, len(visible))
	for _, o := range visible {
		id := object.Of(o)
		there[id] = true
		if was, known := sent[id]; known && was == o.GetResourceVersion() {
			continue
		}
		if len(message.Manifests) == maxDeclarationsPage || size > declarationsBytes {
			if err := send(message); err != nil {
				return err
			}
			message, size = &plumbv1.WatchDeclarationsResponse{}, 0
		}
		text := declaration(w, o)
		message.Manifests, size = append(message.Manifests, text), size+len(text)
		sent[id] = o.GetResourceVersion()
	}
	for id := range sent {
		if !there[id] {
			message.Removed = append(message.Removed, rows.Ref(id, ""))
			delete(sent, id)
		}
	}
	if !first && len(message.GetManifests())+len(message.GetRemoved()) == 0 {
		return nil
	}
	message.Whole = true
	return send(message)
}

// visibleDeclarations are the objects that are asked for and the caller may see,
// by namespace and name.
func (s *Server) visibleDeclarations(ctx context.Context, caller *access.Caller, w *World, m choosing) ([]*unstructured.Unstructured, error) {
	if err := tooLong(&plumbv1.Query{LabelSelector: m.GetLabelSelector()}); err != nil {
		return nil, err
	}
	selector, err := labels.Parse(m.GetLabelSelector())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("label_selector: %w", err))
	}
	all, err := s.declarationsOf(w, schema.GroupKind{Group: m.GetGroup(), Kind: m.GetKind()})
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	var targets []access.Target
	for _, o := range all {
		id := object.Of(o)
		meant := m.GetNamespace() == "" || id.Namespace == m.GetNamespace() && (m.GetName() == "" || id.Name == m.GetName())
		if meant && selector.Matches(labels.Set(o.GetLabels())) {
			found, targets = append(found, o), append(targets, access.Target{ID: id, Project: rows.Project(o)})
		}
	}
	if m.GetName() == "" { // else the rule has asked already
		caller.Prepare(ctx, targets)
	}
	visible := found[:0]
	for i, o := range found {
		if m.GetName() != "" || caller.Sees(targets[i]) {
			visible = append(visible, o)
		}
	}
	slices.SortFunc(visible, func(a, b *unstructured.Unstructured) int { return byPlace(object.Of(a), object.Of(b)) })
	return visible, nil
}

// declarationsOf are all objects of a kind. A list that is not whole yet would read
// as if the rest were gone.
func (s *Server) declarationsOf(w *World, kind schema.GroupKind) ([]*unstructured.Unstructured, error) {
	if !notDeliveries[kind.Kind] {
		all, whole := w.Declared.Of(kind)
		if !whole {
			return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("not every %s has been read yet; try again in a moment", kind.Kind))
		}
		return all, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.settings.projects)), nil
}

// declaration prints an object without anything secret.
func declaration(w *World, o *unstructured.Unstructured) string {
	if notDeliveries[o.GetKind()] {
		return maskedProject(o)
	}
	return manifestOf(w, o)
}

func byPlace(a, b object.ID) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// afterToken is where the page before has ended; before everything where there
// was none.
func afterToken(token string) (object.ID, error) {
	if token == "" {
		return object.ID{}, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	namespace, name, ok := strings.Cut(string(text), declarationSeparator)
	if err != nil || !ok {
		return object.ID{}, connect.NewError(connect.CodeInvalidArgument, errors.New("page_token is not one of an earlier answer"))
	}
	return object.ID{Namespace: namespace, Name: name}, nil
}
