package engine

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// TestTheEndIsWhenNobodyLooksAtASourceAnyMore: what comes next opens the store of
// sources anew.
func TestTheEndIsWhenNobodyLooksAtASourceAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		reports := onlooker{make(chan *model.SourceReport)}
		e := New(ctx, Options{Reporter: reports, Meter: reports, Declared: &world{}, Log: slog.New(slog.DiscardHandler)})
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.Run()
		}()
		e.SetSource(model.Source{ID: bucketNamed("one"), Interval: time.Hour, Deleting: true}, nil)
		synctest.Wait() // the look goes on until somebody takes its report
		cancel()
		synctest.Wait()
		select {
		case <-done:
			t.Error("it has ended, and somebody still looks")
		default:
		}
		<-reports.sources
		<-done
		e.SetSource(model.Source{ID: bucketNamed("late"), Interval: time.Hour, Deleting: true}, nil)
		synctest.Wait()
		select {
		case <-reports.sources:
			t.Error("somebody has begun to look afterwards")
		case <-e.book.sources[bucketNamed("late")].ended:
		}
	})
}

// ordered is a reporter that knows whether it is told under the lock.
type ordered struct {
	onlooker
	e     *Engine
	freed bool
}

func (o *ordered) Delivery(*model.Report) {
	if o.e.mu.TryLock() {
		o.freed = true
		o.e.mu.Unlock()
	}
}

// TestReportsComeInOrder: a commit that changes nothing is told of under the lock,
// and must not come before the end of the run that it came in.
func TestReportsComeInOrder(t *testing.T) {
	e, _ := bookOf(t)
	o := &ordered{e: e}
	e.opts.Reporter, e.opts.Meter = o, onlooker{}
	d := declare(e, "web")
	r := e.begin(d.spec.ID)
	r.finish(nil)
	if d.report == nil || o.freed {
		t.Errorf("it was told when others could tell already: %v", d.report)
	}
}

func TestWhatFailedGoesBeforeWhatIsLeft(t *testing.T) {
	waits := []model.Fault{{Reason: "PruneWaits", Message: "it stays", Waiting: true}}
	for name, c := range map[string]struct {
		ready   *model.Verdict
		running bool
	}{
		"ready":       {&model.Verdict{OK: true, Reason: "UpgradeSucceeded"}, true},
		"rolled back": {&model.Verdict{Reason: "RollbackSucceeded"}, false},
	} {
		r := &run{d: &delivery{}, plan: &model.Plan{Blocked: waits}, report: &model.Report{Release: &model.ReleaseReport{Ready: c.ready}}}
		r.spec.Policy.RetryInterval = time.Minute
		r.tellUnpruned()
		told := r.report.Release
		if r.report.Running != c.running || (told.Ready == c.ready) == c.running || (told.Reconciling != nil) != c.running {
			t.Errorf("%s: %+v, Ready %+v, Reconciling %+v", name, r.report, told.Ready, told.Reconciling)
		}
	}
}

// TestTheDefinitionsOfAChartAreNobodys: Flux tells of them in the inventory, and
// marks them as the objects of the manifest.
func TestTheDefinitionsOfAChartAreNobodys(t *testing.T) {
	crd := object.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "gadgets.example.com"}
	claims := []model.Claim{{ID: thing, Version: "v1"}, {ID: crd, Version: "v1"}}
	e, _ := bookOf(t)
	spec := model.Delivery{ID: named("web"), Claims: claims, Release: &model.Release{}, Policy: model.Policy{Prune: true}}
	e.SetDelivery(spec, nil, nil, nil)
	r := e.begin(spec.ID)
	if e.book.entries[key{"", thing}] == nil || e.book.entries[key{"", crd}] != nil {
		t.Errorf("owned: %v", e.book.owned[spec.ID])
	}
	if told := r.inventory(); len(told) != 2 { // before its first run has come to that
		t.Errorf("at first the inventory tells of %v", told)
	}
	r.beginRelease()
	if told := r.inventory(); len(told) != 2 || told[0].ID != crd {
		t.Errorf("the inventory tells of %v", told)
	}
	r.noteDefinitions(&acting{}, nil)
	if told := r.inventory(); len(told) != 1 || told[0].ID != thing {
		t.Errorf("the inventory of another chart tells of %v", told)
	}
	plain := model.Delivery{ID: named("plain"), Claims: claims[1:]}
	e.SetDelivery(plain, nil, nil, nil)
	if e.book.entries[key{"", crd}] == nil {
		t.Error("what a Kustomization has applied is its own")
	}
}
