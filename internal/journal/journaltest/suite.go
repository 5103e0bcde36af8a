// Package journaltest is the conformance suite of journals: every store that
// the engine may be given, embedded or shared, passes it.
package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Journal is what the engine expects of a journal.
type Journal interface {
	Put(cluster string, owner, id object.ID, version string, b model.Baseline)
	Remove(cluster string, owner, id object.ID)
	LoadBaselines(ctx context.Context, each func(cluster string, owner, id object.ID, version string, b model.Baseline) error) error
	PutState(delivery object.ID, state []byte)
	LoadStates(ctx context.Context, each func(delivery object.ID, state []byte) error) error
	Forget(delivery object.ID)
	Record(entry journal.History)
	History(ctx context.Context, delivery object.ID, limit int) ([]journal.History, error)
	Flush(ctx context.Context) error
	Close() error
}

// Run tests journals. open gives a journal over the store called name, which
// is new at the first call, and holds what was closed at later ones; the suite
// closes what it opens.
func Run(t *testing.T, open func(t *testing.T, name string) Journal) {
	tests := []struct {
		name string
		run  func(*testing.T, *store)
	}{
		{"what was put is loaded", testPut},
		{"the last baseline of an object counts", testReplace},
		{"a removal is the owner's alone", testRemove},
		{"adoption survives the removal by the owner before", testAdoption},
		{"states are kept, replaced and removed", testStates},
		{"a forgotten delivery leaves its history", testForget},
		{"history is newest first and bounded", testHistory},
		{"long texts are cut", testLongTexts},
		{"an error of the reader stops the loading", testReaderError},
		{"a context that is done stops the loading", testContext},
		{"many write at once", testConcurrent},
		{"a closed journal refuses", testClosed},
		{"values are data", testHostileValues},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &store{t: t, open: open, name: strings.ReplaceAll(test.name, " ", "-")}
			s.reopen()
			test.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

// store is a journal that can be closed and opened again.
type store struct {
	Journal
	t    *testing.T
	open func(*testing.T, string) Journal
	name string
}

func (s *store) reopen() {
	s.t.Helper()
	if s.Journal != nil {
		if err := s.Close(); err != nil {
			s.t.Fatalf("closing: %v", err)
		}
	}
	s.Journal = s.open(s.t, s.name)
}

func (s *store) baselines() []string {
	s.t.Helper()
	var out []string
	err := s.LoadBaselines(s.t.Context(), func(cluster string, owner, id object.ID, version string, b model.Baseline) error {
		out = append(out, describe(cluster, owner, id, version, b))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func (s *store) expect(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if got := s.baselines(); !slices.Equal(got, want) {
		s.t.Errorf("baselines are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func describe(cluster string, owner, id object.ID, version string, b model.Baseline) string {
	return fmt.Sprintf("%q %v %v %q %+v", cluster, owner, id, version, b)
}

func delivery(name string) object.ID {
	return object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "flux-system", Name: name}
}

func configMap(name string) object.ID {
	return object.ID{Kind: "ConfigMap", Namespace: "default", Name: name}
}

func baseline(n int) model.Baseline {
	return model.Baseline{
		UID: fmt.Sprint("uid", n), ResourceVersion: fmt.Sprint("rv", n), Inputs: fmt.Sprint("inputs", n),
		Paths: fmt.Sprint("paths", n), Cut: fmt.Sprint("cut", n), Sealed: n%2 == 1,
	}
}

func testPut(_ *testing.T, s *store) {
	role := object.ID{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:x/y"}
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(1))
	s.Put("", delivery("a"), role, "v1", baseline(2))
	s.Put("remote", delivery("b"), configMap("one"), "v1", model.Baseline{})
	want := []string{
		describe("", delivery("a"), configMap("one"), "v1", baseline(1)),
		describe("", delivery("a"), role, "v1", baseline(2)),
		describe("remote", delivery("b"), configMap("one"), "v1", model.Baseline{}),
	}
	s.expect(want...)
	s.reopen()
	s.expect(want...)
}

func testReplace(t *testing.T, s *store) {
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(1))
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(2))
	s.expect(describe("", delivery("a"), configMap("one"), "v1", baseline(2)))
	s.Put("", delivery("b"), configMap("one"), "v2", baseline(3))
	s.expect(describe("", delivery("b"), configMap("one"), "v2", baseline(3)))
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func testRemove(_ *testing.T, s *store) {
	kept := describe("", delivery("a"), configMap("two"), "v1", baseline(2))
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(1))
	s.Put("", delivery("a"), configMap("two"), "v1", baseline(2))
	s.baselines()
	s.Remove("", delivery("b"), configMap("two"))      // not the owner
	s.Remove("other", delivery("a"), configMap("two")) // not the cluster
	s.Remove("", delivery("a"), configMap("one"))
	s.Remove("", delivery("a"), configMap("never"))
	s.expect(kept)
	s.Put("", delivery("a"), configMap("three"), "v1", baseline(3))
	s.Remove("", delivery("a"), configMap("three"))
	s.expect(kept)
	s.reopen()
	s.expect(kept)
}

// testAdoption tries every order of put and removal, within a batch and over
// two.
func testAdoption(_ *testing.T, s *store) {
	for i, flush := range []bool{false, true} {
		step := func() {
			if flush {
				s.baselines()
			}
		}
		id := configMap(fmt.Sprint("adopted", i))
		s.Put("", delivery("old"), id, "v1", baseline(1))
		step()
		s.Put("", delivery("new"), id, "v1", baseline(2))
		step()
		s.Remove("", delivery("old"), id)
		s.expect(describe("", delivery("new"), id, "v1", baseline(2)))

		s.Remove("", delivery("old"), id)
		step()
		s.Put("", delivery("newest"), id, "v1", baseline(3))
		s.expect(describe("", delivery("newest"), id, "v1", baseline(3)))

		// What is taken over and dropped at once leaves nothing of anyone.
		s.Put("", delivery("last"), id, "v1", baseline(4))
		step()
		s.Remove("", delivery("last"), id)
		s.expect()
	}
}

func testStates(t *testing.T, s *store) {
	states := func() map[object.ID]string {
		t.Helper()
		out := map[object.ID]string{}
		if err := s.LoadStates(t.Context(), func(d object.ID, state []byte) error {
			out[d] = string(state)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	buffer := []byte("first\x00\xff")
	s.PutState(delivery("a"), buffer)
	buffer[0] = 'X' // the journal has its own copy
	s.PutState(delivery("b"), []byte{})
	s.PutState(delivery("c"), []byte("x"))
	s.PutState(delivery("c"), nil)
	s.PutState(delivery("never"), nil)
	want := map[object.ID]string{delivery("a"): "first\x00\xff", delivery("b"): ""}
	if got := states(); !reflect.DeepEqual(got, want) {
		t.Errorf("states are %q", got)
	}
	s.reopen()
	if got := states(); !reflect.DeepEqual(got, want) {
		t.Errorf("after opening again states are %q", got)
	}
	s.PutState(delivery("a"), []byte("second"))
	s.PutState(delivery("b"), nil)
	if got := states(); !reflect.DeepEqual(got, map[object.ID]string{delivery("a"): "second"}) {
		t.Errorf("states are %q", got)
	}
}

func testForget(t *testing.T, s *store) {
	for _, flush := range []bool{false, true} {
		s.Put("", delivery("a"), configMap("one"), "v1", baseline(1))
		s.Put("remote", delivery("a"), configMap("one"), "v1", baseline(1))
		s.Put("", delivery("b"), configMap("two"), "v1", baseline(2))
		s.PutState(delivery("a"), []byte("x"))
		s.Record(journal.History{Delivery: delivery("a"), At: time.Unix(1, 0), Result: "Succeeded"})
		if flush {
			s.baselines()
		}
		s.Forget(delivery("a"))
		s.expect(describe("", delivery("b"), configMap("two"), "v1", baseline(2)))
		if err := s.LoadStates(t.Context(), func(d object.ID, _ []byte) error {
			return fmt.Errorf("%v still has a state", d)
		}); err != nil {
			t.Error(err)
		}
	}
	entries, err := s.History(t.Context(), delivery("a"), 0)
	if err != nil || len(entries) != 2 {
		t.Errorf("history: %v, %v", entries, err)
	}
	s.Forget(delivery("a"))
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(3)) // it came back
	s.PutState(delivery("a"), []byte("y"))
	s.expect(describe("", delivery("a"), configMap("one"), "v1", baseline(3)), describe("", delivery("b"), configMap("two"), "v1", baseline(2)))
}

func testHistory(t *testing.T, s *store) {
	full := journal.History{
		Delivery: delivery("a"), At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Revision: "main@sha1:0", Digest: "sha256:1",
		Result: "ReconciliationFailed", Message: "it \"failed\"\n", Actor: "jane",
		Changes: []journal.Change{{Verb: model.Create, Object: configMap("x"), Why: "it is new"}, {Verb: model.Delete, Object: configMap("y")}},
		Commit:  model.Commit{Hash: "0", Author: "Jane <jane@example.org>", Message: "say \"hello\"", When: time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC), Signature: "jane"},
		Chart:   "podinfo", ChartVersion: "6.5.1", AppVersion: "6.5",
	}
	s.Record(full)
	s.reopen()
	s.Record(journal.History{Delivery: delivery("other"), At: time.Unix(9, 0), Result: "Other"})
	entries, err := s.History(t.Context(), delivery("a"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || !reflect.DeepEqual(entries[0], full) {
		t.Errorf("got  %+v\nwant %+v", entries, full)
	}
	for i := range journal.KeptRuns + 50 {
		s.Record(journal.History{Delivery: delivery("a"), At: time.Unix(int64(i), 0).UTC(), Revision: fmt.Sprint(i)})
		if i == 80 {
			s.reopen()
		}
	}
	entries, err = s.History(t.Context(), delivery("a"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != journal.KeptRuns {
		t.Fatalf("%d entries are kept", len(entries))
	}
	for i, entry := range entries {
		if want := fmt.Sprint(journal.KeptRuns + 49 - i); entry.Revision != want {
			t.Fatalf("entry %d is %s, want %s", i, entry.Revision, want)
		}
	}
	if entries, err = s.History(t.Context(), delivery("a"), 3); err != nil || len(entries) != 3 || entries[0].Revision != fmt.Sprint(journal.KeptRuns+49) {
		t.Errorf("the last three: %v, %v", entries, err)
	}
	if entries, err = s.History(t.Context(), delivery("other"), 0); err != nil || len(entries) != 1 {
		t.Errorf("of another delivery: %v, %v", entries, err)
	}
	if entries, err = s.History(t.Context(), delivery("nobody"), 0); err != nil || len(entries) != 0 {
		t.Errorf("of nobody: %v, %v", entries, err)
	}
}

func testLongTexts(t *testing.T, s *store) {
	entry := journal.History{Delivery: delivery("a"), At: time.Unix(1, 0), Message: strings.Repeat("ü", journal.KeptText), Omitted: 1}
	for i := range journal.KeptChanges + 7 {
		entry.Changes = append(entry.Changes, journal.Change{Verb: model.Update, Object: configMap(fmt.Sprint(i)), Why: strings.Repeat("w", journal.KeptText+1)})
	}
	s.Record(entry)
	entries, err := s.History(t.Context(), delivery("a"), 0)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	got := entries[0]
	if len(got.Message) > journal.KeptText || !utf8.ValidString(got.Message) || !strings.HasPrefix(got.Message, "üü") {
		t.Errorf("the message has %d bytes", len(got.Message))
	}
	if len(got.Changes) != journal.KeptChanges || got.Omitted != 8 {
		t.Errorf("%d changes, %d omitted", len(got.Changes), got.Omitted)
	}
	if len(got.Changes[0].Why) > journal.KeptText {
		t.Errorf("a reason has %d bytes", len(got.Changes[0].Why))
	}
	if len(entry.Changes[0].Why) != journal.KeptText+1 {
		t.Error("the caller's entry was changed")
	}
}

func testReaderError(t *testing.T, s *store) {
	for i := range 5 {
		s.Put("", delivery("a"), configMap(fmt.Sprint(i)), "v1", baseline(i))
		s.PutState(delivery(fmt.Sprint(i)), []byte("x"))
	}
	stop := errors.New("stop")
	calls := 0
	err := s.LoadBaselines(t.Context(), func(string, object.ID, object.ID, string, model.Baseline) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("baselines: %v after %d calls", err, calls)
	}
	calls = 0
	err = s.LoadStates(t.Context(), func(object.ID, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("states: %v after %d calls", err, calls)
	}
	if got := len(s.baselines()); got != 5 {
		t.Errorf("%d baselines afterwards", got)
	}
}

func testContext(t *testing.T, s *store) {
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.LoadBaselines(ctx, func(string, object.ID, object.ID, string, model.Baseline) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.expect(describe("", delivery("a"), configMap("one"), "v1", baseline(1)))
}

func testConcurrent(t *testing.T, s *store) {
	const writers, each = 8, 100
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				s.Put("", delivery(fmt.Sprint(w)), configMap(fmt.Sprintf("%d-%d", w, i)), "v1", baseline(i))
				s.PutState(delivery(fmt.Sprint(w)), []byte(fmt.Sprint(i)))
				s.Record(journal.History{Delivery: delivery(fmt.Sprint(w)), At: time.Unix(int64(i), 0), Revision: fmt.Sprint(i)})
				if i%25 == 0 {
					if err := s.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	s.reopen()
	if got := len(s.baselines()); got != writers*each {
		t.Errorf("%d baselines, want %d", got, writers*each)
	}
	if err := s.LoadStates(t.Context(), func(d object.ID, state []byte) error {
		if !bytes.Equal(state, []byte(fmt.Sprint(each-1))) {
			return fmt.Errorf("%v is at %s", d, state)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	entries, err := s.History(t.Context(), delivery("0"), 0)
	if err != nil || len(entries) != each || entries[0].Revision != fmt.Sprint(each-1) {
		t.Errorf("history has %d entries, %v", len(entries), err)
	}
}

func testClosed(t *testing.T, s *store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	s.Put("", delivery("a"), configMap("one"), "v1", baseline(1)) // is dropped
	if err := s.Flush(t.Context()); err == nil {
		t.Error("Flush does not say that the journal is closed")
	}
	if err := s.LoadBaselines(t.Context(), func(string, object.ID, object.ID, string, model.Baseline) error { return nil }); err == nil {
		t.Error("LoadBaselines does not say that the journal is closed")
	}
	if _, err := s.History(t.Context(), delivery("a"), 0); err == nil {
		t.Error("History does not say that the journal is closed")
	}
}

func testHostileValues(t *testing.T, s *store) {
	odd := object.ID{Group: "g'; DROP TABLE baselines; --", Kind: "K\"", Namespace: "n%_", Name: "a/b/c'?"}
	b := model.Baseline{UID: "'", ResourceVersion: "\"", Inputs: "?", Paths: "\n", Cut: "ü"}
	s.Put("c'\"?", odd, odd, "v'", b)
	s.Record(journal.History{Delivery: odd, At: time.Unix(0, 0).UTC(), Message: "'); DELETE FROM history; --", Changes: []journal.Change{{Object: odd}}})
	s.expect(describe("c'\"?", odd, odd, "v'", b))
	entries, err := s.History(t.Context(), odd, 0)
	if err != nil || len(entries) != 1 || entries[0].Changes[0].Object != odd {
		t.Errorf("history: %+v, %v", entries, err)
	}
	s.Remove("c'\"?", odd, odd)
	s.expect()
}
