package release

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// stories are plays with what they must come to: the actions, and the conditions
// in helm-controller's words.
var stories = []struct {
	name  string
	play  func(p *stage)
	acts  []string
	ready string // "True Reason: message", "" when there is none
	more  func(t *testing.T, p *stage)
}{
	{
		name: "an install", play: func(p *stage) { p.start().play(1) },
		acts:  []string{"install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
	},
	{
		name: "new values are an upgrade", play: func(p *stage) { p.start().play(1).wants("b").play(1) },
		acts:  []string{"install v1", "upgrade v2"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if h := p.state.Report.History; len(h) != 2 || h[0].Status != "deployed" || h[0].Action != "upgrade" || h[1].Status != "superseded" {
				t.Errorf("history %+v", h)
			}
		},
	},
	{
		name: "a new chart is an upgrade", play: func(p *stage) { p.start().play(1); p.chart = "1.1.0"; p.play(1) },
		acts:  []string{"install v1", "upgrade v2"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.1.0",
	},
	{
		name: "other post renderers are an upgrade, once", play: func(p *stage) {
			p.start().play(1)
			p.gen++
			p.release.PostRenderersDigest = digest("x")
			p.play(1)
			p.play(1)
		},
		acts: []string{"install v1", "upgrade v2"}, ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "nothing is done twice", play: func(p *stage) { p.start().play(1).play(1).start().play(1) },
		acts: []string{"install v1"}, ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
	},
	{
		name: "a failed install without retries stalls", play: func(p *stage) { p.broken = fails("a"); p.start().play(1) },
		acts:  []string{"install v1"},
		ready: "False InstallFailed: Helm install failed for release apps/web with chart web@1.0.0: it is broken",
		more: func(t *testing.T, p *stage) {
			if s := p.state.Report.Stalled; s == nil || s.Reason != "RetriesExceeded" || s.Message != "Failed to install after 1 attempt(s)" {
				t.Errorf("stalled %+v", s)
			}
		},
	},
	{
		name: "a failed install is uninstalled before it is tried again", play: func(p *stage) {
			p.release.InstallRemedy.Retries = 2
			p.broken = fails("a")
			p.start().play(5)
		},
		acts:  []string{"install v1", "uninstall v1", "install v1", "uninstall v1", "install v1"},
		ready: "False InstallFailed: Helm install failed for release apps/web with chart web@1.0.0: it is broken",
	},
	{
		name: "the last failed install is uninstalled too where that is asked for", play: func(p *stage) {
			p.release.InstallRemedy = model.Remedy{Retries: 1, Last: true}
			p.broken = fails("a")
			p.start().play(5)
		},
		acts:  []string{"install v1", "uninstall v1", "install v1", "uninstall v1"},
		ready: "False UninstallSucceeded: Helm uninstall remediation for release apps/web.v1 with chart web@1.0.0 succeeded",
	},
	{
		name: "new values end a stall", play: func(p *stage) { p.broken = fails("a"); p.start().play(1).wants("b").play(1) },
		acts:  []string{"install v1", "upgrade v2"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if p.state.Report.Stalled != nil || p.state.Report.InstallFailures != 0 {
				t.Errorf("stalled %+v after %d failures", p.state.Report.Stalled, p.state.Report.InstallFailures)
			}
		},
	},
	{
		name: "a failed upgrade without retries stays", play: func(p *stage) { p.broken = fails("b"); p.start().play(1).wants("b").play(2) },
		acts:  []string{"install v1", "upgrade v2"},
		ready: "False UpgradeFailed: Helm upgrade failed for release apps/web with chart web@1.0.0: it is broken",
	},
	{
		name: "a failed upgrade is rolled back before it is tried again, and at last", play: func(p *stage) {
			p.release.UpgradeRemedy = model.Remedy{Retries: 1, Last: true, Strategy: "rollback"}
			p.broken = fails("b")
			p.start().play(1).wants("b").play(5)
		},
		acts:  []string{"install v1", "upgrade v2", "rollback v3 to v1", "upgrade v4", "rollback v5 to v3"},
		ready: "False RollbackSucceeded: Helm rollback to previous release apps/web.v3 with chart web@1.0.0 succeeded",
		more: func(t *testing.T, p *stage) {
			if s := p.state.Report.Stalled; s == nil || s.Message != "Failed to upgrade after 2 attempt(s)" {
				t.Errorf("stalled %+v", s)
			}
			if p.deployed() != digest("a") {
				t.Error("the old values are not deployed")
			}
		},
	},
	{
		name: "going back to the values of a rollback is no release", play: func(p *stage) {
			p.release.UpgradeRemedy = model.Remedy{Last: true}
			p.broken = fails("b")
			p.start().play(1).wants("b").play(3).wants("a").play(1)
		},
		acts:  []string{"install v1", "upgrade v2", "rollback v3 to v1"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v3 with chart web@1.0.0",
	},
	{
		name: "a rollback without a target stalls", play: func(p *stage) {
			p.release.UpgradeRemedy = model.Remedy{Retries: 1}
			p.broken = func(k Kind, _ string) string { return "it is broken" }
			p.start().play(1).wants("b").play(5)
		},
		acts:  []string{"install v1", "upgrade v2"},
		ready: "False UpgradeFailed: Helm upgrade failed for release apps/web with chart web@1.0.0: it is broken",
		more: func(t *testing.T, p *stage) {
			if s := p.state.Report.Stalled; s == nil || s.Reason != "MissingRollbackTarget" ||
				s.Message != "Failed to perform remediation: missing target release for rollback: cannot remediate failed release" {
				t.Errorf("stalled %+v", s)
			}
		},
	},
	{
		name: "an upgrade that is remedied by an uninstall is installed anew", play: func(p *stage) {
			p.release.UpgradeRemedy = model.Remedy{Retries: 1, Strategy: "uninstall"}
			p.broken = func(k Kind, config string) string {
				if k == Upgrade {
					return "it is broken"
				}
				return ""
			}
			p.start().play(1).wants("b").play(3)
		},
		acts:  []string{"install v1", "upgrade v2", "uninstall v2", "install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
	},
	{
		name: "RetryOnFailure tries again after its interval", play: func(p *stage) {
			p.release.Install = model.ReleaseAction{RetryOnFailure: true, RetryInterval: time.Minute}
			p.release.Upgrade = p.release.Install
			left := 3
			p.broken = func(Kind, string) string {
				if left--; left >= 0 {
					return "it is broken"
				}
				return ""
			}
			p.start().play(5)
			if waited := p.now.Sub(moment); waited != 3*time.Minute {
				p.t.Errorf("it took %s", waited)
			}
		},
		acts:  []string{"install v1", "upgrade v2", "upgrade v3", "upgrade v4"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v4 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if r := p.state.Report; r.Failures != 0 || r.UpgradeFailures != 0 {
				t.Errorf("%d failures are told after a success", r.Failures)
			}
		},
	},
	{
		name: "nothing is tried before its time", play: func(p *stage) {
			p.release.InstallRemedy.Retries = -1
			p.broken = fails("a")
			p.start()
			p.round()
			before := p.state.RetryAt
			for range 5 {
				p.now = p.now.Add(time.Millisecond)
				p.round()
			}
			if p.state.RetryAt != before || p.state.Report.Reconciling.Reason != "ProgressingWithRetry" {
				p.t.Errorf("it is tried again at %s, which was to be %s", p.state.RetryAt, before)
			}
		},
		acts:  []string{"install v1", "uninstall v1"},
		ready: "False UninstallSucceeded: Helm uninstall remediation for release apps/web.v1 with chart web@1.0.0 succeeded",
	},
	{
		name: "an action that leaves nothing is tried again, and does not count", play: func(p *stage) {
			p.silent = true
			p.start()
			for range 4 {
				p.round()
				p.now = p.state.RetryAt
			}
			p.silent = false
			p.play(1)
		},
		acts:  []string{"install v1", "install v1", "install v1", "install v1", "install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if r := p.state.Report; r.InstallFailures != 0 || r.Failures != 4 {
				t.Errorf("%d and %d failures", r.InstallFailures, r.Failures)
			}
		},
	},
	{
		name: "tests", play: func(p *stage) { p.release.Test.Enabled = true; p.start().play(1) },
		acts:  []string{"install v1", "test v1"},
		ready: "True TestSucceeded: Helm test succeeded for release apps/web.v1 with chart web@1.0.0: 1 test hook completed successfully",
	},
	{
		name: "failed tests are remedied", play: func(p *stage) {
			p.start().play(1)
			p.release.Test.Enabled, p.tests = true, testFailedPhase
			p.release.UpgradeRemedy = model.Remedy{Last: true}
			p.wants("b").play(3)
		},
		acts: []string{"install v1", "upgrade v2", "test v2", "rollback v3 to v1"},
		// The rolled-back release is not tested: what is wanted is out of retries.
		ready: "False RollbackSucceeded: Helm rollback to previous release apps/web.v1 with chart web@1.0.0 succeeded",
	},
	{
		name: "failed tests that are ignored leave the release ready", play: func(p *stage) {
			p.release.Test, p.tests = model.ReleaseAction{Enabled: true, IgnoreFailures: true}, testFailedPhase
			p.release.InstallRemedy = model.Remedy{IgnoreTestFailures: true}
			p.start().play(1)
		},
		acts:  []string{"install v1", "test v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
	},
	{
		name: "a release of somebody else is upgraded", play: func(p *stage) {
			p.put("store", Stored{ReleaseSnapshot: model.ReleaseSnapshot{Name: "web", Namespace: "apps", Version: 7, Status: "deployed", ChartName: "web", ChartVersion: "1.0.0", ConfigDigest: p.config}})
			p.start().play(1)
		},
		acts:  []string{"upgrade v8"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v8 with chart web@1.0.0",
	},
	{
		name: "a rollback by hand is undone", play: func(p *stage) {
			p.start().play(1).wants("b").play(1)
			p.put("store", Stored{ReleaseSnapshot: model.ReleaseSnapshot{Name: "web", Namespace: "apps", Version: 3, Status: "deployed", ChartName: "web", ChartVersion: "1.0.0", ConfigDigest: digest("a")}})
			p.play(1)
		},
		acts:  []string{"install v1", "upgrade v2", "upgrade v4"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v4 with chart web@1.0.0",
	},
	{
		name: "a lost record is replaced", play: func(p *stage) {
			p.start().play(1).wants("b").play(1)
			delete(p.storage, "store/web/2")
			p.play(1)
		},
		acts:  []string{"install v1", "upgrade v2", "upgrade v2"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "an action of somebody else that did not end is unlocked", play: func(p *stage) {
			p.start().play(1)
			p.put("store", Stored{ReleaseSnapshot: model.ReleaseSnapshot{Name: "web", Namespace: "apps", Version: 2, Status: "pending-upgrade", ChartName: "web", ChartVersion: "1.0.0", ConfigDigest: p.config}})
			p.play(1)
		},
		acts:  []string{"install v1", "unlock v2", "upgrade v3"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v3 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			told := slices.ContainsFunc(p.events, func(e model.Event) bool {
				return e.Reason == "PendingRelease" && e.Type == "Normal" && e.Message == "Unlocked Helm release apps/web.v2 with chart web@1.0.0 in pending-upgrade state"
			})
			if !told {
				t.Errorf("events %+v", p.events)
			}
		},
	},
	{
		name: "a force request is one upgrade", play: func(p *stage) {
			p.start().play(1)
			p.release.ForceToken = "now"
			p.play(1).play(1)
			p.start().play(1)
		},
		acts: []string{"install v1", "upgrade v2"}, ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "a force request goes on after a stall", play: func(p *stage) {
			p.broken = fails("a")
			p.start().play(1)
			p.broken, p.release.ForceToken = func(Kind, string) string { return "" }, "now"
			p.play(1)
		},
		acts: []string{"install v1", "upgrade v2"}, ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "a reset request forgets failures", play: func(p *stage) {
			p.broken = fails("a")
			p.start().play(1)
			p.broken, p.release.ResetToken = func(Kind, string) string { return "" }, "now"
			p.play(1)
		},
		acts: []string{"install v1", "upgrade v2"}, ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "a release that moves is uninstalled first", play: func(p *stage) {
			p.start().play(1)
			p.release.Name, p.release.StorageNamespace = "other", "elsewhere"
			p.gen++
			p.play(1)
		},
		acts:  []string{"install v1", "uninstall v1", "install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/other.v1 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if _, ok := p.storage["elsewhere/other/1"]; !ok || len(p.storage) != 1 || p.state.Report.StoredIn != "elsewhere" {
				t.Errorf("storage %v", p.storage)
			}
		},
	},
	{
		name: "a release that is gone need not be uninstalled to move", play: func(p *stage) {
			p.start().play(1)
			clear(p.storage)
			p.release.Name = "other"
			p.gen++
			p.play(1)
		},
		acts:  []string{"install v1", "look v0", "install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/other.v1 with chart web@1.0.0",
	},
	{
		name: "a deleted object takes its release with it", play: func(p *stage) { p.start().play(1).wants("b").play(1); p.delete = true; p.play(1) },
		acts:  []string{"install v1", "upgrade v2", "uninstall v2"},
		ready: "False UninstallSucceeded: Helm uninstall succeeded for release apps/web.v2 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if len(p.storage) != 0 || p.state.Report.StoredIn != "" || p.state.Report.History != nil {
				t.Errorf("storage %v, stored in %q", p.storage, p.state.Report.StoredIn)
			}
		},
	},
	{
		name: "a deleted object whose release is gone", play: func(p *stage) { p.start().play(1); clear(p.storage); p.delete = true; p.play(1) },
		acts:  []string{"install v1"},
		ready: "False UninstallSucceeded: Release apps/web.v1 was not found, assuming it is uninstalled",
	},
	{
		name: "a deleted object leaves the release of somebody else", play: func(p *stage) {
			p.put("store", Stored{ReleaseSnapshot: model.ReleaseSnapshot{Name: "web", Namespace: "apps", Version: 7, Status: "deployed"}})
			p.delete = true
			p.start().play(1)
			if len(p.storage) != 1 || p.state.Report.StoredIn != "" {
				p.t.Errorf("storage %v", p.storage)
			}
		},
	},
	{
		name: "a name with a kept history is not taken", play: func(p *stage) {
			p.release.Uninstall.KeepHistory = true
			p.release.InstallRemedy.Retries = 1
			p.broken = fails("a")
			p.start()
			p.round()
			p.now = p.state.RetryAt
			p.round()
		},
		acts:  []string{"install v1", "uninstall v1", "install v2 refused"},
		ready: "False InstallFailed: Helm install failed for release apps/web with chart web@1.0.0: release name check failed: cannot reuse a name that is still in use",
	},
	{
		name: "a kept name is taken with replace", play: func(p *stage) {
			p.release.Uninstall.KeepHistory, p.release.Install.Replace = true, true
			p.release.InstallRemedy.Retries = 1
			p.broken = fails("a")
			p.start()
			p.round()
			p.broken = fails("none")
			p.now = p.state.RetryAt
			p.play(1)
		},
		acts:  []string{"install v1", "uninstall v1", "install v2"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v2 with chart web@1.0.0",
	},
	{
		name: "drift is corrected", play: func(p *stage) {
			p.drift = model.Heal
			p.start().play(1)
			p.drifted = []string{"ConfigMap/apps/web removed"}
			p.play(1)
		},
		acts:  []string{"install v1", "correct cluster drift v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if d := p.state.Report.Drift; d == nil || d.OK || d.Message != "No drift detected against the cluster state" {
				t.Errorf("drift %+v", d)
			}
			var reasons []string
			for _, e := range p.events {
				reasons = append(reasons, e.Reason)
			}
			if !reflect.DeepEqual(reasons, []string{"InstallSucceeded", "DriftDetected", "DriftCorrected"}) {
				t.Errorf("events %q", reasons)
			}
		},
	},
	{
		name: "drift is told once", play: func(p *stage) {
			p.drift = model.Note
			p.start().play(1)
			p.drifted = []string{"ConfigMap/apps/web removed"}
			p.play(1).play(1)
		},
		acts:  []string{"install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			want := "Cluster state of release apps/web.v1 has drifted from the desired state:\nConfigMap/apps/web removed"
			if d := p.state.Report.Drift; d == nil || !d.OK || d.Message != want || len(p.events) != 2 {
				t.Errorf("drift %+v, %d events", d, len(p.events))
			}
		},
	},
	{
		name: "drift is told once across a restart", play: func(p *stage) {
			p.drift = model.Note
			p.start().play(1)
			p.drifted = []string{"ConfigMap/apps/web removed"}
			p.play(1)
			long := *p.state.Report.Drift
			long.Message = long.Message[:40] + "..." // as a status may have it
			p.release.Drifted = &long
			p.start().play(1)
			p.drifted = []string{"ConfigMap/apps/web changed", "ConfigMap/apps/other removed"}
			p.release.Drifted = p.state.Report.Drift
			p.start().play(1)
		},
		acts:  []string{"install v1"},
		ready: "True InstallSucceeded: Helm install succeeded for release apps/web.v1 with chart web@1.0.0",
		more: func(t *testing.T, p *stage) {
			if len(p.events) != 3 || p.events[2].Reason != "DriftDetected" || !strings.Contains(p.events[2].Message, "other removed") {
				t.Errorf("%d events: %+v", len(p.events), p.events)
			}
		},
	},
	{
		name: "old records go", play: func(p *stage) {
			p.release.MaxHistory = 2
			p.start().play(1)
			for i := range 4 {
				p.wants(fmt.Sprint(i)).play(1)
			}
			if len(p.storage) != 2 {
				p.t.Errorf("%d records are kept", len(p.storage))
			}
		},
		acts:  []string{"install v1", "upgrade v2", "upgrade v3", "upgrade v4", "upgrade v5"},
		ready: "True UpgradeSucceeded: Helm upgrade succeeded for release apps/web.v5 with chart web@1.0.0",
	},
}

func TestStories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			p := newStage(t)
			story.play(p)
			if !reflect.DeepEqual(p.actions, story.acts) {
				t.Errorf("actions\n%s\nwant\n%s", strings.Join(p.actions, "\n"), strings.Join(story.acts, "\n"))
			}
			ready := ""
			if v := p.state.Report.Ready; v != nil {
				ready = map[bool]string{true: "True ", false: "False "}[v.OK] + v.Reason + ": " + v.Message
			}
			if ready != story.ready {
				t.Errorf("ready\n%s\nwant\n%s", ready, story.ready)
			}
			if story.more != nil {
				story.more(t, p)
			}
		})
	}
}

// random sets up a release whose policies and failures follow from a seed.
func random(t testing.TB, seed uint64) *stage {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a play must be the same again
	p := newStage(t)
	strategies := []string{"rollback", "uninstall", ""}
	p.release.InstallRemedy = model.Remedy{Retries: r.IntN(3), Last: r.IntN(2) == 0}
	p.release.UpgradeRemedy = model.Remedy{Retries: r.IntN(3), Last: r.IntN(2) == 0, Strategy: strategies[r.IntN(3)]}
	p.release.MaxHistory = 2 + r.IntN(5)
	p.release.Test.Enabled = r.IntN(3) == 0
	if r.IntN(3) == 0 {
		p.tests = testFailedPhase
	}
	bad := map[Kind]bool{Install: r.IntN(4) == 0, Upgrade: r.IntN(3) == 0, Rollback: r.IntN(5) == 0}
	p.broken = func(kind Kind, config string) string {
		if bad[kind] && (config == digest("b") || kind != Upgrade) {
			return "it is broken"
		}
		return ""
	}
	return p
}

// drama is an install, an upgrade and, for some, the end.
func (p *stage) drama(seed uint64) *stage {
	p.start().play(40)
	p.wants("b").play(40)
	if seed%4 == 0 {
		p.delete = true
		p.play(40)
	}
	return p
}

// TestRetriesAreBounded plays releases with every policy and failure: each comes
// to rest without new input, and stays there.
func TestRetriesAreBounded(t *testing.T) {
	for seed := range uint64(2000) {
		p := random(t, seed).drama(seed)
		const most = 2 * 3 * 4 // wanted twice, at most two retries of three attempts, each with test and remedy
		if len(p.actions) > most {
			t.Fatalf("seed %d: %d actions: %q", seed, len(p.actions), p.actions)
		}
		acts, end := len(p.actions), p.end()
		p.play(1)
		if len(p.actions) != acts || p.end() != end {
			t.Fatalf("seed %d: it does not stay at rest: %q", seed, p.actions[acts:])
		}
		p.start().play(2)
		if len(p.actions) != acts {
			t.Fatalf("seed %d: a restart does %q after %q", seed, p.actions[acts:], p.actions[:acts])
		}
	}
}

// TestKillsChangeNothing kills each play at each of its writes: it comes to the
// same end, whether the status is written after each action or after the last.
func TestKillsChangeNothing(t *testing.T) {
	for _, late := range []bool{false, true} {
		for seed := range uint64(300) {
			killEverywhere(t, seed, late)
		}
	}
}

func killEverywhere(t *testing.T, seed uint64, late bool) {
	t.Helper()
	begin := func() *stage {
		p := random(t, seed)
		p.late = late
		return p
	}
	whole := begin().drama(seed)
	for at := 1; at <= whole.writes; at++ {
		p := begin()
		p.killAt = at
		p.drama(seed)
		if p.end() != whole.end() {
			t.Fatalf("seed %d, late %v, killed at write %d of %d:\n%s\n%q\nwithout:\n%s\n%q", seed, late, at, whole.writes, p.end(), p.actions, whole.end(), whole.actions)
		}
	}
}

func TestEventsNameTheRelease(t *testing.T) {
	p := newStage(t)
	p.start()
	f := p.facts(&p.state)
	f.Chart.AppVersion, f.OCIDigest, f.Release.FullName = "7", "sha256:ab", "a-long-name"
	a, s := Next(f, p.state)
	s = After(f, s, a, Outcome{Failed: " boom\n"})
	want := []model.Event{{
		Type: "Warning", Reason: helm.InstallFailed, Message: "Helm install failed for release apps/a-long-name with chart web@1.0.0: boom",
		Annotations: map[string]string{
			"helm.toolkit.fluxcd.io/revision": "1.0.0", "helm.toolkit.fluxcd.io/token": digest("a"),
			"helm.toolkit.fluxcd.io/app-version": "7", "helm.toolkit.fluxcd.io/oci-digest": "sha256:ab",
		},
	}}
	if !reflect.DeepEqual(s.Report.Events, want) {
		t.Errorf("events %+v", s.Report.Events)
	}
	if got := s.Report.Attempted; got.Action != "install" || got.Revision != "1.0.0" || got.OCIDigest != "sha256:ab" || got.Generation != 1 {
		t.Errorf("attempted %+v", got)
	}
}

func TestRunningIsTold(t *testing.T) {
	p := newStage(t)
	p.release.Install.Timeout = 90 * time.Second
	p.start()
	_, s := Next(p.facts(&p.state), p.state)
	want := "Running 'install' action with timeout of 1m30s"
	if r := s.Report; r.Reconciling.Message != want || r.Ready.Message != want || !r.Ready.Unknown || r.Reconciling.Reason != "Progressing" {
		t.Errorf("reconciling %+v, ready %+v", r.Reconciling, r.Ready)
	}
}
