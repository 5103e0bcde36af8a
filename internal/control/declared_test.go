package control

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// listener is an engine that only listens.
// atRest is an engine's that has nothing to do.
var atRest = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

type listener struct {
	deliveries map[object.ID]bool
	heard      int
}

func (l *listener) SetSource(model.Source, []model.Finding) {}
func (l *listener) DropSource(object.ID)                    {}
func (l *listener) AtRest() <-chan struct{}                 { return atRest }
func (l *listener) Refuse(object.ID, *model.Fault)          {}
func (l *listener) SetDelivery(d model.Delivery, _ []model.Source, _ model.Facts, _ []model.Finding) {
	l.deliveries[d.ID] = true
}
func (l *listener) DropDelivery(id object.ID) { delete(l.deliveries, id) }
func (l *listener) Heard()                    { l.heard++ }
func (l *listener) Touched(object.ID)         {}

func kustomization(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"namespace": "apps", "name": name, "uid": name, "resourceVersion": "1"},
		"spec":     map[string]any{"interval": "1h", "prune": true, "sourceRef": map[string]any{"kind": "GitRepository", "name": "repo"}},
	}}
}

// watched are declarations that follow one kind, by hand.
func watched() (*declarations, *declaredWatch, *listener) {
	rooms := []dialect.Dialect{flux.New()}
	l := &listener{deliveries: map[object.ID]bool{}}
	ds := newDeclarations(context.Background(), nil, rooms, dialect.Settings{}, slog.New(slog.DiscardHandler))
	ds.engine = l
	ds.writer = newWriter(ds, ds.log)
	id := object.Of(kustomization("a"))
	for _, k := range rooms[0].Kinds() {
		if k.GroupKind == id.GroupKind() {
			return ds, &declaredWatch{ds: ds, dialect: rooms[0], kind: k, gvk: k.GroupKind.WithVersion(k.Versions[0])}, l
		}
	}
	return nil, nil, nil
}

func TestUnheardUntilEveryKindIsRead(t *testing.T) {
	ds, w, l := watched()
	w.Event(watch.Added, kustomization("a"))
	if len(l.deliveries) != 1 || ds.unheard[object.Of(kustomization("a"))] {
		t.Fatalf("not compiled: %v", l.deliveries)
	}
	for ds.Unheard() != "" {
		before := len(ds.unread)
		for gk := range ds.unread {
			if gk == w.kind.GroupKind {
				w.Synced()
			} else {
				ds.read(gk, true)
			}
			break
		}
		if len(ds.unread) >= before {
			t.Fatalf("still unheard: %s", ds.Unheard())
		}
	}
	before := l.heard
	w.Gone(errors.New("forbidden"))
	if ds.Unheard() != "every Kustomization" {
		t.Errorf("what may not be read is not known: %q", ds.Unheard())
	}
	w.Gone(&cluster.UnknownKindError{GVK: w.gvk})
	if ds.Unheard() != "" || l.heard == before {
		t.Errorf("what is not served has no objects: %q", ds.Unheard())
	}
}

func TestWhatVanishedWhileNothingWasHeardIsDropped(t *testing.T) {
	ds, w, l := watched()
	w.Event(watch.Added, kustomization("a"))
	w.Event(watch.Added, kustomization("b"))
	w.Synced()
	w.Gone(errors.New("forbidden"))
	w.Event(watch.Added, kustomization("b"))
	w.Synced()
	a, b := object.Of(kustomization("a")), object.Of(kustomization("b"))
	if l.deliveries[a] || !l.deliveries[b] || ds.Object(a) != nil {
		t.Errorf("left: %v", l.deliveries)
	}
}

func TestAnOldReportIsNotWrittenOverANewerOne(t *testing.T) {
	ds, w, _ := watched()
	w.Event(watch.Added, kustomization("a"))
	id := object.Of(kustomization("a"))
	d := ds.get(id)
	for len(ds.writer.order) > 0 {
		_, _ = ds.writer.next()
	}
	ds.writer.running = map[object.ID]bool{}

	ds.writer.put(d, job{delivery: &model.Report{Revision: "old"}})
	old, _ := ds.writer.next()
	ds.writer.done(context.Background(), old, nil)
	ds.writer.put(d, job{delivery: &model.Report{Revision: "new"}})
	latest, _ := ds.writer.next()
	ds.writer.done(context.Background(), latest, nil)

	ds.writer.again(old)
	if len(ds.writer.pending) != 0 {
		t.Error("the old report is written again")
	}
	ds.writer.again(latest)
	if got := ds.writer.pending[id].delivery; got == nil || got.Revision != "new" {
		t.Errorf("the newest is not: %v", got)
	}
}

func TestAReportIsWrittenOnTheObjectThatItIsAbout(t *testing.T) {
	ds, w, _ := watched()
	w.Event(watch.Added, kustomization("a"))
	d := ds.get(object.Of(kustomization("a")))
	w.Event(watch.Deleted, kustomization("a"))
	w.Event(watch.Added, kustomization("a"))
	// Without a cluster, anything but leaving it alone would fail.
	if err := ds.writer.write(context.Background(), job{about: d, delivery: &model.Report{Deleted: true}}); err != nil {
		t.Fatal(err)
	}
}
