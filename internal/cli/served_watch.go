package cli

import (
	"context"
	"errors"
	"io"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/object"
)

// Bounds of following: how often a stream is begun anew before anything has come,
// and the pause between two looks for an object that is not there yet.
const (
	beginnings = 5
	lookPause  = 500 * time.Millisecond
)

// follow tells what there is and then what changes, from a stream of the server.
// One that ends is begun again, and what has changed meanwhile is told: a server
// that restarts is only a pause.
func (s *atServer) follow(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions, f follower) error {
	name, err := nameIn(options)
	if err != nil {
		return err
	}
	if _, err := labels.Parse(options.LabelSelector); err != nil {
		return err
	}
	request := &plumbv1.WatchDeclarationsRequest{Group: kind.group.Group, Kind: kind.group.Kind, Namespace: namespace, LabelSelector: options.LabelSelector}
	if namespace != "" {
		request.Name = name
	}
	view := &servedView{follower: f, name: name, seen: map[types.UID]*unstructured.Unstructured{}}
	for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, min(2*pause, lastPause) {
		done, err := s.stream(ctx, request, view)
		switch code := client.CodeOf(err); {
		case done:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case code == client.Invalid:
			return &meta.NoKindMatchError{GroupKind: kind.group}
		case code == client.NotFound && name != "":
			if done, err := view.tell(); done || err != nil {
				return err
			}
			pause = lookPause
		case !view.begun && (!client.Passing(err) || attempt == beginnings):
			return s.told(err)
		case view.begun && !broken(err):
			return s.told(err)
		case view.fresh:
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// broken reports whether a stream has ended because the server, or the way to it,
// went away, or because the server has had enough of it.
func broken(err error) bool {
	return client.Passing(err) || client.CodeOf(err) == client.Unavailable || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// stream follows one stream to its end, of which the error tells. done: the
// follower has had enough, or has failed with the error.
func (s *atServer) stream(ctx context.Context, request *plumbv1.WatchDeclarationsRequest, view *servedView) (done bool, err error) {
	view.there, view.fresh = map[object.ID]*unstructured.Unstructured{}, false
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := s.client.Declarations.WatchDeclarations(ctx, request)
	if err != nil {
		return false, client.Explain(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		if done, err := view.take(stream.Msg()); done || err != nil {
			return true, err
		}
	}
	if err := stream.Err(); err != nil {
		return false, client.Explain(err)
	}
	return false, &client.Error{Code: client.Unavailable, Message: "the server has ended the stream"}
}

// servedView is what a follower is shown.
type servedView struct {
	follower
	name  string                                   // the only one that counts; "": every one
	there map[object.ID]*unstructured.Unstructured // as the stream has told
	seen  map[types.UID]*unstructured.Unstructured // as the follower knows
	begun bool                                     // the follower has been told something
	fresh bool                                     // this stream has told all that there is
}

// take takes a message, and shows what it says once all there is has come.
func (v *servedView) take(m *plumbv1.WatchDeclarationsResponse) (done bool, err error) {
	for _, manifest := range m.GetManifests() {
		o, err := readManifest(manifest)
		if err != nil {
			return true, err
		}
		if v.name == "" || o.GetName() == v.name {
			v.there[object.Of(o)] = o
		}
	}
	for _, ref := range m.GetRemoved() {
		delete(v.there, idOf(ref))
	}
	if !m.GetWhole() {
		return false, nil
	}
	v.fresh = true
	return v.tell()
}

// tell shows the follower what there is now: the first time as a whole, then as
// differences.
func (v *servedView) tell() (done bool, err error) {
	list := &unstructured.UnstructuredList{}
	for _, o := range v.there {
		list.Items = append(list.Items, *o)
	}
	sort.Slice(list.Items, func(i, j int) bool { return before(&list.Items[i], &list.Items[j]) })
	first := !v.begun
	v.begun = true
	return v.deliver(list, v.seen, first)
}
