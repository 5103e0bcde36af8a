package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
)

// seenAs is an Application as a watch tells of it.
func seenAs(name string, version int) *unstructured.Unstructured {
	o := declaredFrom(KindApplication, map[string]any{
		"metadata": map[string]any{"namespace": "argocd", "name": name, "managedFields": []any{"much"}}, "spec": map[string]any{"project": "shop"},
	})
	o.SetResourceVersion(strconv.Itoa(version))
	o.SetUID(types.UID(name))
	return o
}

// told is what waits for a follower.
func told(t *testing.T, f *follower) []string {
	t.Helper()
	waiting, whole := f.take()
	if !whole {
		t.Fatal("too much waited")
	}
	out := []string{}
	for _, n := range waiting {
		if n.o == nil {
			out = append(out, "synced")
			continue
		}
		if n.o.GetManagedFields() != nil {
			t.Errorf("%s has managed fields", n.o.GetName())
		}
		out = append(out, fmt.Sprintf("%s %s@%s %s", n.typ, n.o.GetName(), n.o.GetResourceVersion(), projectOf(n.o)))
	}
	return out
}

func wantTold(t *testing.T, f *follower, want ...string) {
	t.Helper()
	if got := told(t, f); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One watch is behind all who follow a kind; who comes later gets what there is
// from memory, and everybody each change once.
func TestFeed(t *testing.T) {
	var all feeds
	begun, ended := 0, 0
	var source cluster.Handler
	begin := func(h cluster.Handler) func() {
		begun, source = begun+1, h
		return func() { ended++ }
	}
	of := feedOf{kind: KindApplication}
	first, leaveFirst := all.join(of, begin)
	source.Event(watch.Added, seenAs("a", 1))
	source.Event(watch.Added, seenAs("b", 2))
	wantTold(t, first) // nothing is told before it is known what there is
	source.Synced()
	if got := told(t, first); len(got) != 3 || got[2] != "synced" {
		t.Errorf("got %q", got)
	}
	source.Event(watch.Modified, seenAs("a", 3))
	second, leaveSecond := all.join(of, begin)
	if got := told(t, second); len(got) != 3 || !slices.Contains(got, "ADDED a@3 shop") || got[2] != "synced" {
		t.Errorf("got %q", got)
	}
	wantTold(t, first, "MODIFIED a@3 shop")
	if begun != 1 {
		t.Errorf("%d watches", begun)
	}

	// The watch had to begin anew: only what differs is told.
	source.Gone(errors.New("the kind is not served"))
	third, leaveThird := all.join(of, begin)
	source.Event(watch.Added, seenAs("a", 3))
	source.Event(watch.Added, seenAs("c", 9))
	wantTold(t, third)
	source.Synced()
	wantTold(t, first, "ADDED c@9 shop", "DELETED b@2 shop")
	if got := told(t, third); len(got) != 3 || got[2] != "synced" {
		t.Errorf("got %q", got)
	}

	// What vanished while nobody looked is told as it was: by its project it is
	// judged who may know.
	bare := declaredFrom(KindApplication, map[string]any{"metadata": map[string]any{"namespace": "argocd", "name": "c", "uid": "c"}})
	source.Event(watch.Deleted, bare)
	source.Event(watch.Deleted, bare)
	wantTold(t, third, "DELETED c@9 shop")

	leaveFirst()
	leaveSecond()
	all.endIdle(of, all.of[of])
	if ended != 0 {
		t.Error("it ended while somebody follows")
	}
	leaveThird()
	all.of[of].left = all.of[of].left.Add(-feedIdle)
	all.endIdle(of, all.of[of])
	if ended != 1 || len(all.of) != 0 {
		t.Errorf("ended %d times, %d left", ended, len(all.of))
	}
}

// What changes again before it is taken is told once, an end always; who takes
// nothing for too long begins anew.
func TestFollowerBehind(t *testing.T) {
	f := &follower{news: make(chan struct{}, 1), most: 2}
	for version := range 100 {
		f.put(notice{watch.Modified, seenAs("a", version)})
	}
	wantTold(t, f, "MODIFIED a@99 shop")
	f.put(notice{watch.Added, seenAs("b", 100)})
	f.put(notice{watch.Modified, seenAs("b", 101)})
	wantTold(t, f, "ADDED b@101 shop")
	for version := range 100 {
		f.put(notice{watch.Added, seenAs("c", version)})
		f.put(notice{watch.Deleted, seenAs("c", version)})
		if version == 0 {
			wantTold(t, f, "DELETED c@0 shop")
		}
	}
	if _, whole := f.take(); whole || len(f.queue) != 0 {
		t.Errorf("%d events wait", len(f.queue))
	}
	err := f.follow(context.Background(), func() bool { return true }, func(watch.EventType, *unstructured.Unstructured) {}, func() {})
	if !errors.Is(err, errBehind) {
		t.Errorf("got %v", err)
	}
}
