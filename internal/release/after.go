package release

import (
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/release/common"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// Outcome is what an action came to.
type Outcome struct {
	Failed string // why it failed, free of secrets; "": it succeeded
	// Wrote are the records that the action wrote, as they are now, with the
	// results of tests where it was one; a record that it deleted is told as it
	// last was.
	Wrote []Stored
	// Corrected are the objects that a correction of drift has applied, in lines
	// such as "Deployment/apps/web configured".
	Corrected []string
	Duration  time.Duration
}

// After tells what an action came to: history, counters, conditions and events.
func After(f *Facts, s State, a Action, o Outcome) State {
	s.Report.Events = nil
	s.done = append(append([]Kind(nil), s.done...), a.Kind)
	o.Failed = strings.TrimSpace(o.Failed)
	switch a.Kind {
	case Install, Upgrade:
		s = released(f, s, a, o)
	case Test:
		s = testsRan(f, s, o)
	case Rollback:
		s = rolledBack(f, s, a, o)
	case Uninstall:
		s = uninstalled(f, s, a, o)
	case Unlock:
		s = unlockedRelease(f, s, a, o)
	case Correct:
		s = corrected(f, s, o)
	}
	return s
}

// released accounts for an install or an upgrade.
func released(f *Facts, s State, a Action, o Outcome) State {
	s.Report.Attempted.Action, s.Report.Attempted.Duration = string(a.Kind), o.Duration
	s.Report.ForceHandled = f.Release.ForceToken
	if f.Release.ForceToken == "" {
		s.Report.ForceHandled = f.Release.ForceHandled
	}
	if a.Kind == Install {
		s.Report.History = nil
	}
	s.Report.Tested, s.Report.Remedied = nil, nil
	s.record(o.Wrote, string(a.Kind))
	switch {
	case o.Failed != "":
		s.failed(f, a.Kind, o.Failed)
		if len(o.Wrote) == 0 {
			s.broken = true
			break
		}
		if a.Kind == Install {
			s.Report.InstallFailures++
		} else {
			s.Report.UpgradeFailures++
		}
	default:
		cur := snapshots(s.Report.History).latest()
		s.Report.Released = succeeded(a.Kind, cur)
		if f.Release.Test.Enabled && !tested(cur) {
			s.Report.Tested = &model.Verdict{
				Unknown: true, Reason: helm.AwaitingTests,
				Message: fmt.Sprintf("Helm release %s with chart %s is awaiting tests", helm.ReleaseText(cur), chartOf(cur)),
			}
		}
		if retries(f, &s) != nil {
			s.clear()
		}
		s.event(f, normal, s.Report.Released.Reason, s.Report.Released.Message, cur)
	}
	summarize(f, &s)
	return s
}

// record takes over what an action wrote; the newest record is its own.
func (s *State) record(wrote []Stored, action string) {
	own := 0
	for i := range wrote {
		if wrote[i].Version > wrote[own].Version {
			own = i
		}
	}
	told := append([]Stored(nil), wrote...)
	if len(told) > 0 && action != "" {
		told[own].Action = action
	}
	s.Report.History = snapshots(s.Report.History).record(told)
}

// failed accounts for a release that did not come to be.
func (s *State) failed(f *Facts, kind Kind, why string) {
	reason := helm.InstallFailed
	if kind == Upgrade {
		reason = helm.UpgradeFailed
	}
	name := f.Release.FullName
	if name == "" {
		name = f.Release.Name
	}
	message := fmt.Sprintf("Helm %s failed for release %s/%s with chart %s: %s", kind, f.Release.Namespace, name, helm.ChartText(f.Chart.Name, f.Chart.Version), why)
	s.Report.Failures++
	s.Report.Released = &model.Verdict{Reason: reason, Message: message}
	s.event(f, warning, reason, message, nil)
}

// succeeded is the condition of a release that came to be.
func succeeded(kind Kind, cur *model.ReleaseSnapshot) *model.Verdict {
	word, reason := "upgrade", helm.UpgradeSucceeded
	if kind == Install {
		word, reason = "install", helm.InstallSucceeded
	}
	return &model.Verdict{OK: true, Reason: reason, Message: fmt.Sprintf("Helm %s succeeded for release %s with chart %s", word, helm.ReleaseText(cur), chartOf(cur))}
}

func chartOf(s *model.ReleaseSnapshot) string { return helm.ChartText(s.ChartName, s.ChartVersion) }

// testsRan accounts for tests. Only those of the release that the status tells of
// count.
func testsRan(f *Facts, s State, o Outcome) State {
	history := snapshots(s.Report.History)
	cur := history.latest()
	for i := range o.Wrote {
		if same(cur, &o.Wrote[i].ReleaseSnapshot) {
			s.record(o.Wrote[i:i+1], "")
			cur = snapshots(s.Report.History).latest()
		}
	}
	if o.Failed == "" && !tested(cur) {
		o.Failed = fmt.Sprintf("release mismatch: no results of tests for current release %s", helm.ReleaseText(cur))
	}
	if o.Failed != "" {
		message := fmt.Sprintf("Helm test failed for release %s with chart %s: %s", helm.ReleaseText(cur), chartOf(cur), o.Failed)
		s.Report.Failures++
		s.Report.Tested = &model.Verdict{Reason: helm.TestFailed, Message: message}
		s.event(f, warning, helm.TestFailed, message, cur)
		s.broken = !tested(cur)
		if remedy := activeRemedy(f, &s); !s.broken && remedy != nil && !remedy.IgnoreTestFailures {
			if helm.Action(s.Report.Attempted.Action) == helm.Install {
				s.Report.InstallFailures++
			} else {
				s.Report.UpgradeFailures++
			}
		}
		summarize(f, &s)
		return s
	}
	done := "no test hooks"
	switch n := len(cur.TestHooks); {
	case n == 1:
		done = "1 test hook completed successfully"
	case n > 1:
		done = fmt.Sprintf("%d test hooks completed successfully", n)
	}
	message := fmt.Sprintf("Helm test succeeded for release %s with chart %s: %s", helm.ReleaseText(cur), chartOf(cur), done)
	s.Report.Tested = &model.Verdict{OK: true, Reason: helm.TestSucceeded, Message: message}
	s.event(f, normal, helm.TestSucceeded, message, cur)
	summarize(f, &s)
	return s
}

// rolledBack accounts for a remedy.
func rolledBack(f *Facts, s State, a Action, o Outcome) State {
	var good model.ReleaseSnapshot
	for i := range s.Report.History {
		if s.Report.History[i].Version == a.To {
			good = s.Report.History[i]
		}
	}
	if at := revision(f.Stored, a.To); good.Version == 0 && at != nil {
		good = at.ReleaseSnapshot
	}
	s.record(o.Wrote, string(helm.Rollback))
	if o.Failed != "" {
		message := fmt.Sprintf("Helm rollback to previous release %s with chart %s failed: %s", helm.ReleaseText(&good), chartOf(&good), o.Failed)
		s.remedied(f, false, helm.RollbackFailed, message, &good)
		s.broken = len(o.Wrote) == 0
	} else {
		message := fmt.Sprintf("Helm rollback to previous release %s with chart %s succeeded", helm.ReleaseText(&good), chartOf(&good))
		s.remedied(f, true, helm.RollbackSucceeded, message, &good)
	}
	summarize(f, &s)
	return s
}

// remedied tells what became of a remedy.
func (s *State) remedied(f *Facts, ok bool, reason, message string, of *model.ReleaseSnapshot) {
	kind := normal
	if !ok {
		s.Report.Failures++
		kind = warning
	}
	s.Report.Remedied = &model.Verdict{OK: ok, Reason: reason, Message: message}
	s.event(f, kind, reason, message, of)
}

// uninstalled accounts for the end of a release: as a remedy, or for good.
func uninstalled(f *Facts, s State, a Action, o Outcome) State {
	action := "uninstall"
	if a.Remedy {
		action = "uninstall-remediation"
	}
	s.record(o.Wrote, action)
	cur := snapshots(s.Report.History).latest()
	if cur == nil {
		cur = &model.ReleaseSnapshot{Namespace: a.Namespace, Name: a.Name, Version: a.Version}
		if at := revision(f.Stored, a.Version); at != nil {
			cur = &at.ReleaseSnapshot
		}
	}
	name, chart := helm.ReleaseText(cur), chartOf(cur)
	switch {
	case a.Remedy && o.Failed != "":
		s.remedied(f, false, helm.UninstallFailed, fmt.Sprintf("Helm uninstall remediation for release %s with chart %s failed: %s", name, chart, o.Failed), cur)
		s.broken = len(o.Wrote) == 0
	case a.Remedy:
		s.remedied(f, true, helm.UninstallSucceeded, fmt.Sprintf("Helm uninstall remediation for release %s with chart %s succeeded", name, chart), cur)
	case o.Failed != "":
		s.Report.Failures++
		s.Report.Released = &model.Verdict{Reason: helm.UninstallFailed, Message: fmt.Sprintf("Helm uninstall failed for release %s with chart %s: %s", name, chart, o.Failed)}
		s.event(f, warning, helm.UninstallFailed, s.Report.Released.Message, cur)
		s.broken = true
	default:
		s.Report.Released = &model.Verdict{Reason: helm.UninstallSucceeded, Message: fmt.Sprintf("Helm uninstall succeeded for release %s with chart %s", name, chart)}
		s.event(f, normal, helm.UninstallSucceeded, s.Report.Released.Message, cur)
		s.gone()
		s.Report.Tested, s.Report.Remedied, s.Report.StoredIn = nil, nil, ""
	}
	summarize(f, &s)
	return s
}

// unlockedRelease accounts for a pending record that nobody worked on.
func unlockedRelease(f *Facts, s State, a Action, o Outcome) State {
	var cur model.ReleaseSnapshot
	if at := revision(f.Stored, a.Version); at != nil {
		cur = at.ReleaseSnapshot
	}
	for i := range o.Wrote {
		if at := &o.Wrote[i]; f.ours(at) { // what others began is taken over by an upgrade instead
			s.record(o.Wrote[i:i+1], "")
		}
	}
	message, kind := fmt.Sprintf("Unlocked Helm release %s with chart %s in %s state", helm.ReleaseText(&cur), chartOf(&cur), a.status), normal
	if o.Failed != "" {
		message, kind = fmt.Sprintf("Unlock of Helm release %s with chart %s in %s state failed: %s", helm.ReleaseText(&cur), chartOf(&cur), a.status, o.Failed), warning
		s.Report.Failures++
		s.broken = true
	}
	s.Report.Released = &model.Verdict{Reason: helm.PendingRelease, Message: message}
	s.event(f, kind, helm.PendingRelease, message, &cur)
	summarize(f, &s)
	return s
}

// corrected accounts for objects that were put back.
func corrected(f *Facts, s State, o Outcome) State {
	cur := snapshots(s.Report.History).latest()
	done := strings.Join(o.Corrected, "\n")
	switch {
	case o.Failed != "":
		s.Report.Failures++
		how := "Failed to correct"
		if done != "" {
			how, done = "Failed to partially correct", "\n\nSuccessful corrections:\n"+done
		}
		s.event(f, warning, helm.DriftCorrectionFailed, fmt.Sprintf("%s cluster state of release %s:\n%s%s", how, helm.ReleaseText(cur), o.Failed, done), cur)
	case done != "":
		s.event(f, normal, helm.DriftCorrected, fmt.Sprintf("Cluster state of release %s has been corrected:\n%s", helm.ReleaseText(cur), done), cur)
	}
	summarize(f, &s)
	return s
}

func driftMessage(cur *model.ReleaseSnapshot, lines []string) string {
	return fmt.Sprintf("Cluster state of release %s has drifted from the desired state:\n%s", helm.ReleaseText(cur), strings.Join(lines, "\n"))
}

// summarize derives Ready from what was last done: a remedy before tests before
// the release itself. A remedied release is never ready (helm-controller
// internal/reconcile/release.go).
func summarize(f *Facts, s *State) {
	r := &s.Report
	if !f.Release.Test.Enabled {
		r.Tested = nil
	}
	var ready model.Verdict
	switch {
	case r.Remedied != nil:
		ready = *r.Remedied
		ready.OK, ready.Unknown = false, false
	case r.Tested != nil && !f.Release.Test.IgnoreFailures:
		ready = *r.Tested
	case r.Released != nil:
		ready = *r.Released
	default:
		return // nothing was done yet
	}
	if ready.OK {
		r.Stalled = nil
	}
	r.Ready = &ready
	r.PostRenderersDigest, r.CommonMetadataDigest = f.Release.PostRenderersDigest, f.Release.CommonMetadataDigest
}

const normal, warning = "Normal", "Warning"

const eventPrefix = "helm.toolkit.fluxcd.io/"

// event tells people what was done, of a release; nil: of the one that is wanted.
func (s *State) event(f *Facts, kind, reason, message string, of *model.ReleaseSnapshot) {
	if of == nil {
		of = &model.ReleaseSnapshot{ChartVersion: f.Chart.Version, ConfigDigest: f.ConfigDigest, AppVersion: f.Chart.AppVersion, OCIDigest: f.OCIDigest}
	}
	notes := map[string]string{}
	for name, value := range map[string]string{
		"revision": of.ChartVersion, "token": of.ConfigDigest, "app-version": of.AppVersion, "oci-digest": of.OCIDigest,
	} {
		if value != "" {
			notes[eventPrefix+name] = value
		}
	}
	s.Report.Events = append(s.Report.Events, model.Event{Type: kind, Reason: reason, Message: message, Annotations: notes})
}

// account catches up with actions of ours that ended, but of which the status
// does not tell: Plumb stopped in between. What they came to is in their records.
func account(f *Facts, s State) State {
	cur := snapshots(s.Report.History).latest()
	var missed []Stored
	for i := range f.Stored {
		r := &f.Stored[i]
		newer := cur == nil || r.Name == cur.Name && r.Namespace == cur.Namespace && (r.Version > cur.Version || anew(cur, r))
		if newer && f.ours(r) && r.ended() {
			missed = append(missed, *r)
		}
	}
	if len(missed) == 0 || !f.ours(&f.Stored[0]) {
		return s
	}
	var events []model.Event
	for i := len(missed) - 1; i >= 0; i-- {
		s = s.missed(f, &missed[i])
		events = append(events, s.Report.Events...)
	}
	s.Report.Events, s.done = events, nil
	return s
}

// anew reports whether a record is the first of a release that was installed
// again since a snapshot was made of the one before, which had the same revision.
func anew(cur *model.ReleaseSnapshot, r *Stored) bool {
	return r.Version == cur.Version && r.Made == helm.Install && status(cur) == common.StatusUninstalled
}

// ended reports whether the action of a record has ended.
func (r *Stored) ended() bool {
	switch status(&r.ReleaseSnapshot) {
	case common.StatusDeployed, common.StatusFailed, common.StatusSuperseded:
		return true
	}
	return false
}

// missed accounts for one action, by the record it left. What it did to older
// records is taken over as they are.
func (s State) missed(f *Facts, r *Stored) State {
	wrote := []Stored{*r}
	if r.Made == helm.Install {
		wrote[0].TestHooks = nil // those of an earlier release with the same revision
	}
	if strings.HasPrefix(r.Description, unlocked) { // it was given up, and does not count
		s.record(wrote, "")
		return s
	}
	for i := range f.Stored {
		if older := &f.Stored[i]; older.Version < r.Version && f.ours(older) {
			wrote = append(wrote, *older)
		}
	}
	o := Outcome{Wrote: wrote, Duration: s.Report.Attempted.Duration}
	if status(&r.ReleaseSnapshot) == common.StatusFailed {
		o.Failed = strings.TrimPrefix(r.Description, failing(r.Made, r.Name))
	}
	then := *f
	then.Chart = model.Chart{Name: r.ChartName, Version: r.ChartVersion, AppVersion: r.AppVersion}
	then.ConfigDigest, then.OCIDigest = r.ConfigDigest, r.OCIDigest
	if r.Generation != 0 {
		then.Generation = r.Generation
	}
	switch r.Made {
	case helm.Install, helm.Upgrade:
		// The status may not even tell that it was tried.
		release := *f.Release
		release.ResetToken = ""
		then.Release = &release
		attempt(&then, &s)
		return After(&then, s, Action{Kind: Kind(r.Made), Version: r.Version}, o)
	case helm.Rollback:
		return After(&then, s, Action{Kind: Rollback, Version: r.Version, To: r.RollbackTo}, o)
	}
	return s
}
