package engine

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source"
)

// shelf is an object store with one file in each bucket.
type shelf struct{}

func (shelf) List(context.Context, *model.BucketSource, int) ([]model.BucketObject, error) {
	return []model.BucketObject{{Key: "file", ETag: "1", Size: 5}}, nil
}

func (shelf) Get(context.Context, *model.BucketSource, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("hello")), nil
}

// onlooker keeps what is told of sources.
type onlooker struct{ sources chan *model.SourceReport }

func (onlooker) Delivery(*model.Report)                            {}
func (t onlooker) Source(r *model.SourceReport)                    { t.sources <- r }
func (onlooker) Finalize(context.Context, object.ID, string) error { return nil }
func (onlooker) Persist(context.Context, *model.Report) error      { return nil }
func (onlooker) Ran(string, string, string, time.Duration, bool)   {}
func (onlooker) Rendered(bool)                                     {}
func (onlooker) Healed()                                           {}
func (onlooker) Heard(string, schema.GroupKind)                    {}
func (onlooker) Synced(object.ID, *model.OperationReport)          {}
func (onlooker) Looked(string, time.Duration, bool)                {}

// keeping is an engine that fetches buckets, and where it keeps their artifacts.
func keeping(t *testing.T) (e *Engine, w *world, fetch func(name string) string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	store, err := source.Open(source.Options{Dir: dir, Clients: source.Clients{Buckets: shelf{}}})
	if err != nil {
		t.Fatal(err)
	}
	reports := onlooker{make(chan *model.SourceReport)}
	w = &world{objects: map[object.ID]bool{}}
	e = New(ctx, Options{Sources: store, Reporter: reports, Meter: reports, Declared: w, Log: slog.New(slog.DiscardHandler), Linger: time.Hour})
	loop := make(chan struct{})
	go func() {
		defer close(loop)
		e.archiveLoop()
	}()
	t.Cleanup(func() {
		cancel()
		<-loop
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, w, func(name string) string {
		e.SetSource(model.Source{ID: bucketNamed(name), Interval: time.Hour, Timeout: time.Minute, Bucket: &model.BucketSource{Provider: "generic", Name: name, Endpoint: "nowhere.invalid"}}, nil)
		report := <-reports.sources
		if report.Artifact == nil {
			t.Fatalf("%s: %v", name, report.Fault)
		}
		return filepath.Join(dir, "archives", filepath.FromSlash(report.Artifact.Path))
	}
}

func bucketNamed(name string) object.ID {
	return object.ID{Group: "source.toolkit.fluxcd.io", Kind: "Bucket", Namespace: "shop", Name: name}
}

// goes ends a source, and the time for which it is remembered.
func (e *Engine) goes(id object.ID) {
	e.mu.Lock()
	ended := e.book.sources[id].ended
	e.mu.Unlock()
	e.DropSource(id)
	<-ended
	e.due(id)
}

func (e *Engine) due(id object.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.book.parting[id] = parting{due: time.Now(), ended: e.book.parting[id].ended}
}

func TestWhatWasFetchedGoesWithItsSource(t *testing.T) {
	e, w, fetch := keeping(t)
	file := fetch("things")
	id := bucketNamed("things")
	there := func(when string, want bool) {
		t.Helper()
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("%s: %v", when, err)
		}
	}
	e.forgetParted()
	there("while it is declared", true)

	reader := object.ID{Kind: "Kustomization", Namespace: "shop", Name: "reader"}
	link(e.book.readers, id, reader)
	e.goes(id)
	e.forgetParted()
	there("while somebody reads it", true)

	unlink(e.book.readers, id, reader)
	e.mu.Lock()
	e.book.unread = append(e.book.unread, id)
	e.endUnread()
	e.mu.Unlock()
	e.forgetParted()
	there("a moment later", true)
	e.due(id)
	w.unheard = "something"
	e.forgetParted()
	there("while something declared is not understood", true)
	w.unheard = ""
	e.forgetParted()
	there("later", false)

	file = fetch("things")
	there("declared again", true)
	e.goes(id)
	if again := fetch("things"); again != file {
		t.Errorf("%s and %s", file, again)
	}
	e.forgetParted()
	there("declared again in time", true)
}

func TestWhatAnEarlierProcessKeptGoesOnce(t *testing.T) {
	e, _, fetch := keeping(t)
	file := fetch("things")
	other := filepath.Join(filepath.Dir(filepath.Dir(file)), "gone", "old.tar.gz")
	leave := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	e.forgetParted()
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("what nobody declares is still there: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("what is declared is gone: %v", err)
	}
	leave()
	e.forgetParted()
	if _, err := os.Stat(other); err != nil {
		t.Errorf("what came since the start is taken for something old: %v", err)
	}
}

func TestNoMoreThanSoManyAreWaitedFor(t *testing.T) {
	e, _, _ := keeping(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range maxParting {
		e.part(object.ID{Kind: "Chart", Name: string(rune(i))}, nil)
	}
	last := bucketNamed("last")
	e.part(last, nil)
	if due := e.book.parting[last].due; time.Until(due) > 0 {
		t.Errorf("the last one waits until %s", due)
	}
}

// TestWhatAnotherSourceIsMadeOfGoesWithIt: it has gone before, and was kept for the
// other one.
func TestWhatAnotherSourceIsMadeOfGoesWithIt(t *testing.T) {
	e, _, fetch := keeping(t)
	file, id := fetch("things"), bucketNamed("things")
	chart := model.Source{ID: object.ID{Kind: "HelmChart", Namespace: "shop", Name: "web"}, Interval: time.Hour, Suspended: true, Chart: &model.ChartSource{From: id}}
	e.SetSource(chart, nil)
	e.goes(id)
	e.forgetParted()
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("another source is made of it: %v", err)
	}
	e.goes(chart.ID)
	e.mu.Lock()
	_, remembered := e.book.parting[id]
	e.mu.Unlock()
	if !remembered {
		t.Fatal("nobody knows of it any more")
	}
	e.due(id)
	e.forgetParted()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestALookIsWaitedForHoweverASourceGoes: its declared object goes, and then its
// last reader, while somebody still looks.
func TestALookIsWaitedForHoweverASourceGoes(t *testing.T) {
	e, _, _ := keeping(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	id, looks := bucketNamed("things"), make(chan struct{})
	e.part(id, looks)
	e.part(id, nil)
	if e.book.parting[id].over() {
		t.Error("nobody looks, it says")
	}
	close(looks)
	if !e.book.parting[id].over() {
		t.Error("somebody looks, it says")
	}
}
