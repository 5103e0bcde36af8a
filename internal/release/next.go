package release

import (
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/release/common"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// Kind is what an action does.
type Kind string

// The kinds of actions.
const (
	None      Kind = ""          // nothing is to be done: the release is as it is wanted, or waits
	Install   Kind = "install"   // a new release
	Upgrade   Kind = "upgrade"   // a new revision
	Rollback  Kind = "rollback"  // a new revision with the content of an older one
	Uninstall Kind = "uninstall" // objects and, if they are not kept, records are deleted
	Test      Kind = "test"      // hooks of the event "test" run
	Unlock    Kind = "unlock"    // a pending record becomes a failed one
	Correct   Kind = "correct cluster drift"
	// Look: there is nothing to carry out, but the facts are to be gathered anew,
	// since the release is another one than the state told of.
	Look Kind = "look"
)

// Action is what is to be done next.
type Action struct {
	Kind Kind
	// Condition and Why say what it is a consequence of, for logs.
	Condition Condition
	Why       string

	// The release, and the record: the one that is written by an install, upgrade
	// or rollback, and else the newest.
	Storage, Namespace, Name string
	Version                  int
	// Resume: the record is there, and the action is carried on where it stopped.
	// Hooks that its LastRun tells to have succeeded need not run again.
	Resume bool
	To     int  // Rollback: the revision whose content is brought back
	Remedy bool // Uninstall: because of a failure
	Moved  bool // Uninstall: the release goes somewhere else

	Timeout time.Duration
	// Surplus are revisions to delete once the record is written. Helm deletes them
	// before, but a crash in between would lose the one that the status tells of.
	Surplus []int
	// Supersedes are the revisions that become superseded when the action has
	// succeeded, before its own record does.
	Supersedes []int
	// Refused: the action cannot be carried out, for this reason. It is not tried,
	// and After is told that it failed with it.
	Refused string

	status string // of the record that is unlocked
}

// Helm is the action in Helm's words, for the hooks that run in it; "" for those
// that have none.
func (a *Action) Helm() helm.Action {
	switch a.Kind {
	case Install, Upgrade, Rollback, Uninstall, Test:
		return helm.Action(a.Kind)
	}
	return ""
}

// releases reports whether the action makes a new revision of what is wanted.
func (k Kind) releases() bool { return k == Install || k == Upgrade }

// Next says what is to be done, and tells in the report what has been found. The
// action is None when nothing is: the release is as it is wanted, or it cannot be
// helped until something changes, or it is tried again at State.RetryAt.
func Next(f *Facts, s State) (Action, State) {
	s.Report.Events, s.Report.Chart = nil, f.Chart
	s = account(f, s)
	if f.Deleting {
		return leave(f, s)
	}
	if what := moved(f, &s); what != "" {
		return move(f, s, what)
	}
	news := attempt(f, &s)
	if s.Waits(f.Now) && !news && !forced(f, &s) {
		return Action{Condition: Failed, Why: "waits until it is tried again"}, s
	}
	s.RetryAt = time.Time{}
	if s.broken || s.did(Rollback, Uninstall) {
		return rest(f, s)
	}
	is, why := Determine(f, &s)
	action, s := decide(f, s, is)
	action.Condition = is
	if action.Why == "" {
		action.Why = why
	}
	if action.Kind == None {
		s.done = nil
		return action, s
	}
	if again := s.did(action.Kind) || action.Kind.releases() && s.did(Install, Upgrade); again {
		return rest(f, s)
	}
	return begin(f, s, action)
}

// Waits reports whether what failed is not tried again yet.
func (s *State) Waits(now time.Time) bool { return now.Before(s.RetryAt) }

// attempt notes what is tried from now on, and forgets failures that do not
// count for it. It reports whether anything is new.
func attempt(f *Facts, s *State) bool {
	s.Report.StoredIn = f.Release.StorageNamespace
	why := renewed(f, s)
	if s.fresh = why != ""; s.fresh {
		s.clear()
		s.broken, s.done = false, nil
	}
	if f.Release.ResetToken != "" {
		s.Report.ResetHandled = f.Release.ResetToken
	}
	tried := &s.Report.Attempted
	tried.Generation, tried.Revision, tried.OCIDigest, tried.ConfigDigest = f.Generation, f.Chart.Version, f.OCIDigest, f.ConfigDigest
	return s.fresh
}

func (s *State) clear() {
	s.Report.Failures, s.Report.InstallFailures, s.Report.UpgradeFailures = 0, 0, 0
}

// decide says which action a condition asks for. It may be None.
func decide(f *Facts, s State, is Condition) (Action, State) {
	switch is {
	case Absent:
		if exhausted(&f.Release.InstallRemedy, s.Report.InstallFailures) && !forced(f, &s) && !f.Release.Install.RetryOnFailure {
			return s.stall(f)
		}
		return installs(f), s
	case Locked:
		return Action{Kind: Unlock}, s
	case Interrupted:
		return resumes(&f.Stored[0]), s
	case Uninstalling:
		if s.gaveUp() && spent(f, &s) && !forced(f, &s) {
			return s.stall(f)
		}
		return Action{Kind: Uninstall, Remedy: true, Resume: true}, s
	case Unmanaged: // what the status tells cannot be relied on
		s.Report.History = nil
		return Action{Kind: Upgrade}, s
	case OutOfSync:
		if exhausted(&f.Release.UpgradeRemedy, s.Report.UpgradeFailures) && !forced(f, &s) && !f.Release.Upgrade.RetryOnFailure {
			return s.stall(f)
		}
		return Action{Kind: Upgrade}, s
	case Untested:
		s.unremedied()
		return Action{Kind: Test}, s
	case Drifted:
		return s.drifted(f)
	case Failed:
		return remedies(f, s)
	}
	return s.settled(f)
}

// installs makes a release. A name that is in use by records that were kept is
// not taken, unless that is asked for.
func installs(f *Facts) Action {
	a := Action{Kind: Install}
	if len(f.Stored) > 0 && !f.Release.Install.Replace {
		a.Refused = "release name check failed: cannot reuse a name that is still in use"
	}
	return a
}

// resumes carries on an action of ours.
func resumes(last *Stored) Action {
	a := Action{Kind: Upgrade, Resume: true}
	switch last.Made {
	case helm.Install:
		a.Kind = Install
	case helm.Rollback:
		a.Kind, a.To = Rollback, last.RollbackTo
	}
	return a
}

// remedies answers a failure: by another try, by a rollback or by an uninstall.
func remedies(f *Facts, s State) (Action, State) {
	again := Action{Kind: Upgrade}
	if retries(f, &s) != nil {
		s.Report.History = snapshots(s.Report.History).newest()
		return again, s
	}
	remedy := activeRemedy(f, &s)
	if remedy == nil || s.failures() <= 0 || forced(f, &s) {
		return again, s
	}
	over := spent(f, &s)
	switch {
	case over && (!remedy.Last || s.gaveUp()):
		return s.stall(f)
	case s.gaveUp(): // a remedy that failed is not repeated: another try counts, a remedy does not
		return again, s
	}
	history := snapshots(s.Report.History).truncated(remedy.IgnoreTestFailures)
	s.Report.History = history
	if strategy(f, &s) == string(helm.Uninstall) {
		return Action{Kind: Uninstall, Remedy: true}, s
	}
	good := history.previous(remedy.IgnoreTestFailures)
	if good == nil {
		s.Report.Stalled = &model.Verdict{
			OK: true, Reason: helm.MissingRollbackTarget,
			Message: "Failed to perform remediation: missing target release for rollback: cannot remediate failed release",
		}
		s.Report.Reconciling = nil
		return Action{Why: "missing target release for rollback"}, s
	}
	if at := revision(f.Stored, good.Version); at == nil || mismatch(good, at) != "" {
		if over {
			return s.stall(f)
		}
		again.Why = "unable to verify previous release in storage to roll back to"
		return again, s
	}
	return Action{Kind: Rollback, To: good.Version}, s
}

// gaveUp reports whether the last failure could not be remedied.
func (s *State) gaveUp() bool { return s.Report.Remedied != nil && !s.Report.Remedied.OK }

// stall ends what was tried too often.
func (s State) stall(f *Facts) (Action, State) {
	s.Report.Stalled = &model.Verdict{OK: true, Reason: helm.RetriesExceeded, Message: s.givenUp()}
	s.Report.Reconciling = nil
	summarize(f, &s)
	return Action{Why: "exceeded maximum retries"}, s
}

func (s *State) givenUp() string {
	return fmt.Sprintf("Failed to %s after %d attempt(s)", s.Report.Attempted.Action, s.failures())
}

// The pauses before another try, where a release does not set one: they double
// with each failure (Flux, --min-retry-delay and --max-retry-delay).
const (
	shortestPause = 750 * time.Millisecond
	longestPause  = 15 * time.Minute
)

// rest ends a round: what was done once in it is done again after a pause, or
// not any more.
func rest(f *Facts, s State) (Action, State) {
	again := retries(f, &s)
	reinstalls := s.did(Uninstall) && helm.Action(s.Report.Attempted.Action) == helm.Upgrade && strategy(f, &s) == string(helm.Uninstall)
	broken := s.broken
	s.done, s.broken = nil, false
	pause := shortestPause << min(s.Report.Failures, 20)
	message := ""
	switch {
	case again != nil:
		pause = again.RetryInterval
		if pause <= 0 {
			pause = helm.DefaultRetryInterval * time.Second
		}
		message = "retrying after " + pause.String()
	case !broken && spent(f, &s) && !reinstalls:
		return s.stall(f)
	}
	pause = max(min(pause, longestPause), shortestPause)
	if again != nil && again.RetryInterval > longestPause {
		pause = again.RetryInterval
	}
	summarize(f, &s)
	if message == "" && s.Report.Ready != nil {
		message = s.Report.Ready.Message
	}
	s.Report.Reconciling = &model.Verdict{OK: true, Reason: helm.ProgressingWithRetry, Message: message}
	s.RetryAt = f.Now.Add(pause)
	return Action{Condition: Failed, Why: "waits until it is tried again"}, s
}

// settled is the end: the release is as it is wanted, unless another one is asked
// for all the same.
func (s State) settled(f *Facts) (Action, State) {
	history := snapshots(s.Report.History)
	if retries(f, &s) != nil {
		s.Report.History = history.newest()
	} else {
		ignore := f.Release.Test.IgnoreFailures
		if remedy := activeRemedy(f, &s); remedy != nil {
			ignore = remedy.IgnoreTestFailures
		}
		s.Report.History = history.truncated(ignore)
	}
	if forced(f, &s) {
		return Action{Kind: Upgrade, Why: "force requested through annotation"}, s
	}
	s.unremedied()
	cur := snapshots(s.Report.History).latest()
	switch released := s.Report.Released; {
	case released == nil: // the status was lost
		s.Report.Released = succeeded(Kind(cur.Action), cur)
	case released.Reason == helm.InstallFailed:
		s.Report.Released = succeeded(Install, cur)
	case released.Reason == helm.UpgradeFailed:
		s.Report.Released = succeeded(Upgrade, cur)
	}
	if detects(f) {
		s.Report.Drift = &model.Verdict{Reason: helm.NoDriftDetected, Message: "No drift detected against the cluster state"}
	} else {
		s.Report.Drift = nil
	}
	s.Report.Reconciling = nil
	summarize(f, &s)
	return Action{}, s
}

// unremedied notes that a release which a rollback brought back is the one that
// is wanted now.
func (s *State) unremedied() {
	if r := s.Report.Remedied; r == nil || !r.OK {
		return
	}
	s.Report.Remedied = nil
	s.Report.Released = succeeded(Upgrade, snapshots(s.Report.History).latest())
}

// drifted tells of differences, and corrects them where that is the policy.
func (s State) drifted(f *Facts) (Action, State) {
	told := s.Report.Drift
	s.Report.Drift = &model.Verdict{OK: true, Reason: helm.DriftDetected, Message: driftMessage(snapshots(s.Report.History).latest(), f.Drifted)}
	if !retold(told, s.Report.Drift) {
		s.event(f, warning, helm.DriftDetected, s.Report.Drift.Message, nil)
	}
	if f.Drift == model.Heal {
		return Action{Kind: Correct}, s
	}
	s.Report.Reconciling = nil
	summarize(f, &s)
	return Action{}, s
}

// retold reports whether a verdict says what was told before, maybe clipped by
// whoever wrote it into a status.
func retold(told, now *model.Verdict) bool {
	if told == nil || told.OK != now.OK || told.Reason != now.Reason {
		return false
	}
	const clipped = "..." // what a text ends with that was cut off
	before, cut := strings.CutSuffix(told.Message, clipped)
	return told.Message == now.Message || cut && strings.HasPrefix(now.Message, before)
}

// begin completes an action, and tells that it runs.
func begin(f *Facts, s State, a Action) (Action, State) {
	r := f.Release
	a.Storage, a.Namespace, a.Name = r.StorageNamespace, r.Namespace, r.Name
	if len(f.Stored) > 0 {
		a.Version = f.Stored[0].Version
		a.Namespace = f.Stored[0].Namespace
		a.status = f.Stored[0].Status
	}
	a.Timeout = timeout(r, a.Kind)
	if a.Kind == Install { // nothing is rolled back to what was before it
		s.Report.History = nil
	}
	switch a.Kind {
	case Install, Upgrade, Rollback:
		if !a.Resume {
			a.Version++
		}
		if a.Kind != Install {
			a.Surplus = Surplus(f.Stored, a.Version, r.MaxHistory)
		}
		a.Supersedes = Superseded(a.Helm(), f.Stored, a.Version)
	case Uninstall:
		a.Supersedes = Superseded(helm.Uninstall, f.Stored, a.Version)
	}
	running := fmt.Sprintf("Running '%s' action with timeout of %s", a.Kind, a.Timeout)
	s.Report.Reconciling = &model.Verdict{OK: true, Reason: helm.Progressing, Message: running}
	s.Report.Stalled = nil
	switch {
	case a.Kind.releases():
		s.Report.Attempted.Action = string(a.Kind)
		s.Report.Ready = &model.Verdict{Unknown: true, Reason: helm.Progressing, Message: running}
	case a.Kind == Correct:
		s.Report.Ready = &model.Verdict{Unknown: true, Reason: helm.Progressing, Message: "correcting cluster drift"}
	}
	return a, s
}

func timeout(r *model.Release, kind Kind) time.Duration {
	of := map[Kind]time.Duration{
		Install: r.Install.Timeout, Upgrade: r.Upgrade.Timeout, Rollback: r.Rollback.Timeout, Uninstall: r.Uninstall.Timeout, Test: r.Test.Timeout,
	}[kind]
	if of <= 0 {
		of = helm.DefaultTimeout * time.Second
	}
	return of
}

// move uninstalls a release where it is, since it is wanted somewhere else.
func move(f *Facts, s State, what string) (Action, State) {
	a, s := uninstalls(f, s)
	if a.Kind == None && a.Why == "" {
		s.gone()
		s.Report.StoredIn = ""
		a.Kind = Look
	}
	if a.Kind != Uninstall {
		return a, s
	}
	a.Moved, a.Why = true, "release target configuration changed ("+what+")"
	return a, s
}

// leave uninstalls a release whose declared object goes. The release is gone
// when State.Report.StoredIn is "".
func leave(f *Facts, s State) (Action, State) {
	a, s := uninstalls(f, s)
	if a.Kind == None && a.Why == "" {
		s.gone()
		s.Report.StoredIn = ""
		summarize(f, &s)
	}
	return a, s
}

// uninstalls ends the release that the state tells of. The action is None, and
// gives no reason, when there is nothing left of it.
func uninstalls(f *Facts, s State) (Action, State) {
	cur := snapshots(s.Report.History).latest()
	ours := cur != nil || len(f.Stored) > 0 && f.ours(&f.Stored[0])
	if s.Report.StoredIn == "" && len(f.Stored) == 0 || !ours {
		return Action{}, s
	}
	if len(f.Stored) == 0 {
		return s.uninstalledBefore(f, "Release %s was not found, assuming it is uninstalled", cur)
	}
	last := &f.Stored[0]
	if status(&last.ReleaseSnapshot) == common.StatusUninstalled && f.Release.Uninstall.KeepHistory {
		return s.uninstalledBefore(f, "Release %s was already uninstalled", &last.ReleaseSnapshot)
	}
	if s.Waits(f.Now) {
		return Action{Why: "waits until it is tried again"}, s
	}
	if s.broken {
		s.broken, s.done = false, nil
		s.RetryAt = f.Now.Add(min(shortestPause<<min(s.Report.Failures, 20), longestPause))
		return Action{Why: "waits until it is tried again"}, s
	}
	s.RetryAt = time.Time{}
	a, s := begin(f, s, Action{Kind: Uninstall, Resume: status(&last.ReleaseSnapshot) == common.StatusUninstalling})
	a.Storage, a.Name = s.Report.StoredIn, last.Name
	if a.Storage == "" {
		a.Storage = f.Release.StorageNamespace
	}
	return a, s
}

// uninstalledBefore tells that there was nothing to do.
func (s State) uninstalledBefore(f *Facts, message string, cur *model.ReleaseSnapshot) (Action, State) {
	s.Report.Tested, s.Report.Remedied = nil, nil
	s.Report.Released = &model.Verdict{Reason: helm.UninstallSucceeded, Message: fmt.Sprintf(message, helm.ReleaseText(cur))}
	summarize(f, &s)
	return Action{}, s
}

// gone forgets a release that is not there any more.
func (s *State) gone() {
	s.Report.History = nil
	s.clear()
	s.Report.Stalled, s.Report.Reconciling = nil, nil
	s.done, s.broken, s.RetryAt = nil, false, time.Time{}
}
