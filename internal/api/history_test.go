package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/signin"
)

// oneDeclared is a world in which one object is declared.
type oneDeclared struct {
	nothingDeclared
	o *unstructured.Unstructured
}

func (d oneDeclared) Declared(id object.ID) (*unstructured.Unstructured, string) {
	if object.Of(d.o) == id {
		return d.o, "argo"
	}
	return nil, ""
}

func revisionFor(digit string) string { return strings.Repeat(digit, 40) }

// TestHistoryTellsTheCommitOfEachEntry: each entry has the commit of its own
// revision, as it was told at that time, and of a sync that the journal knows
// nothing of, the one that another entry of its revision has.
func TestHistoryTellsTheCommitOfEachEntry(t *testing.T) {
	s := worldServer(t)
	web := ref("Application", "argocd", "web")
	declared := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": map[string]any{"namespace": "argocd", "name": "web"}, "spec": map[string]any{"project": "shop"},
		"status": map[string]any{"history": []any{
			map[string]any{"id": int64(0), "revision": revisionFor("0"), "deployedAt": "2026-01-01T00:00:00Z"},
			map[string]any{"id": int64(1), "revision": revisionFor("a"), "deployedAt": "2026-01-02T00:00:00Z"},
			map[string]any{"id": int64(2), "revision": revisionFor("a"), "deployedAt": "2026-01-03T00:00:00Z"},
		}},
	}}
	w := *s.world.Load()
	w.Declared = oneDeclared{o: declared}
	s.world.Store(&w)
	s.deliveries.Put(rows.ID(web), &plumbv1.Delivery{Ref: web, Project: "shop", Source: &plumbv1.SourceRef{Url: "https://github.com/org/app"}})
	for i, digit := range []string{"a", "b"} {
		w.Journal.Record(journal.History{
			Delivery: rows.ID(web), At: time.Unix(int64(1000+i), 0), Revision: revisionFor(digit), Result: "Succeeded",
			Commit: model.Commit{Hash: revisionFor(digit), Message: "change " + digit, Author: "Ann Lee <ann@example.org>"},
		})
	}
	w.Journal.Record(journal.History{Delivery: rows.ID(web), At: time.Unix(2000, 0), Revision: "6.5.1", Result: "Succeeded", Chart: "podinfo", ChartVersion: "6.5.1", AppVersion: "6.5"})
	answer, err := deliveryService{s}.GetHistory(asCaller(t, t.Context(), s, callers[0].who), &plumbv1.GetHistoryRequest{Ref: web})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range answer.GetEntries() {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %q %q %s %s %s", e.GetShortRevision(), e.GetCommit().GetSubject(), e.GetRevisionUrl(), e.GetChart(), e.GetChartVersion(), e.GetAppVersion())))
	}
	want := `6.5.1 "" "" podinfo 6.5.1 6.5
bbbbbbbb "change b" "https://github.com/org/app/commit/` + revisionFor("b") + `"
aaaaaaaa "change a" "https://github.com/org/app/commit/` + revisionFor("a") + `"
aaaaaaaa "change a" "https://github.com/org/app/commit/` + revisionFor("a") + `"
00000000 "" "https://github.com/org/app/commit/` + revisionFor("0") + `"`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestActivityAfter: whoever has a list is told of what came after it, of what
// they may see; who cannot be told so is sent back to the list.
func TestActivityAfter(t *testing.T) {
	s := worldServer(t)
	w := s.world.Load()
	record := func(namespace, name, action string) {
		w.Journal.Record(journal.History{Delivery: rows.ID(ref("Kustomization", namespace, name)), At: time.Now(), Result: "Succeeded", Actor: "ann", Action: action, Address: "192.0.2.1"})
	}
	record("team", "apps", "before")
	list := func(who signin.Principal) *plumbv1.ListActivityResponse {
		t.Helper()
		answer, err := fleetService{s}.ListActivity(asCaller(t, t.Context(), s, who), &plumbv1.ListActivityRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	revision := list(callers[0].who).GetRevision()
	record("team", "apps", "sync")
	record("flux-system", "root", "sync")
	record("team", "apps", "suspend")
	after := func(who signin.Principal, revision string, m *plumbv1.ListActivityRequest) string {
		t.Helper()
		wanted, err := activityFilter(m)
		if err != nil {
			t.Fatal(err)
		}
		at, known := placeOf(revision)
		message, err := s.activityAfter(asCaller(t, t.Context(), s, who), w, &at, known, wanted)
		if err != nil {
			t.Fatal(err)
		}
		if newest := list(callers[0].who).GetRevision(); message.GetRevision() != newest {
			t.Errorf("the revision is %q, that of a list is %q", message.GetRevision(), newest)
		}
		var told []string
		for _, a := range message.GetActivities() {
			told = append(told, a.GetAction()+" "+a.GetObject().GetName()+" "+a.GetAddress())
		}
		return fmt.Sprintf("%v %v", message.GetReset_(), told)
	}
	all := &plumbv1.ListActivityRequest{}
	for what, got := range map[string]string{
		"false [suspend apps 192.0.2.1 sync root 192.0.2.1 sync apps 192.0.2.1]": after(callers[0].who, revision, all),
		"false [suspend apps  sync apps ]":                                       after(callers[2].who, revision, all),
		"false [sync root 192.0.2.1 sync apps 192.0.2.1]": after(callers[0].who, revision, &plumbv1.ListActivityRequest{
			Query: &plumbv1.Query{Where: map[string]*plumbv1.Values{"action": {Values: []string{"sync"}}}},
		}),
		"true []":  after(callers[0].who, "7.7", all),
		"false []": after(callers[0].who, list(callers[0].who).GetRevision(), all),
	} {
		if got != what {
			t.Errorf("told is %s, want %s", got, what)
		}
	}
	if got := after(callers[0].who, "nonsense", all); got != "true []" {
		t.Errorf("with nonsense told is %s", got)
	}
	if _, err := activityFilter(&plumbv1.ListActivityRequest{Query: &plumbv1.Query{Where: map[string]*plumbv1.Values{"weight": {}}}}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a field that there is not: %v", err)
	}
}
