package release

import (
	"fmt"
	"hash"
	"slices"
	"time"

	"helm.sh/helm/v4/pkg/release/common"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// Facts are what a decision is made by.
type Facts struct {
	Release    *model.Release
	Generation int64  // of the declared object
	By         string // "namespace/name" of the declared object, as records of ours name it

	// The release that is wanted now. Version of the chart is as the record will
	// have it (helm.ChartVersion). ConfigDigest is of the values that the record
	// will have: with preserveValues those that [Reuse] makes.
	Chart        model.Chart
	OCIDigest    string
	ConfigDigest string
	// Configured reports whether a digest is that of the values, for digests that
	// were not made with SHA-256 (helm.SameValues); nil: only ConfigDigest is.
	Configured func(digest string) bool

	// Stored are the records of the release in the storage, newest first: of the
	// release that State.Report tells of, which is another one after a rename.
	Stored []Stored

	// Drift is the policy, and Drifted what differs between the cluster and the
	// deployed release, in lines such as "Deployment/apps/web removed".
	Drift   model.Drift
	Drifted []string

	Deleting bool // the declared object goes, and the release with it
	Now      time.Time
}

// State is where a release stands: what the status tells, and what this process
// remembers of a round of actions.
type State struct {
	Report model.ReleaseReport

	// RetryAt is when what failed is tried again, if nothing changes before; zero:
	// nothing waits for a time.
	RetryAt time.Time

	done   []Kind // of this round
	broken bool   // the last action left nothing in the storage
	fresh  bool   // what is wanted is not what was tried last
}

// Begin is the state that the status of a release tells.
func Begin(r *model.Release) State {
	history := append(snapshots(nil), r.History...)
	history.sort()
	return State{Report: model.ReleaseReport{
		History: history, Failures: r.Failures, InstallFailures: r.InstallFailures, UpgradeFailures: r.UpgradeFailures,
		Attempted: r.Attempted, ForceHandled: r.ForceHandled, ResetHandled: r.ResetHandled,
		Released: r.Released, Tested: r.Tested, Remedied: r.Remedied, Drift: r.Drifted, StoredIn: r.Observed.StorageNamespace,
		PostRenderersDigest: r.Observed.PostRenderersDigest, CommonMetadataDigest: r.Observed.CommonMetadataDigest,
	}}
}

// Target is the release that the records to decide by are of: the one that the
// state tells of, or else the one that is wanted.
func (s *State) Target(r *model.Release) (storage, name string) {
	if cur := snapshots(s.Report.History).latest(); cur != nil && s.Report.StoredIn != "" {
		return s.Report.StoredIn, cur.Name
	}
	return r.StorageNamespace, r.Name
}

// Condition is the state of a release, as its storage and its status tell it.
type Condition string

// The conditions, in helm-controller's words where it has one.
const (
	Absent       Condition = "Absent"
	Locked       Condition = "Locked"       // an action did not end
	Interrupted  Condition = "Interrupted"  // the same, and it is one of ours that is still wanted
	Uninstalling Condition = "Uninstalling" // an uninstall did not end
	Unmanaged    Condition = "Unmanaged"
	Failed       Condition = "Failed"
	OutOfSync    Condition = "OutOfSync"
	Untested     Condition = "Untested"
	Drifted      Condition = "Drifted"
	InSync       Condition = "InSync"
)

// finding is what a check has found.
type finding struct {
	is     Condition
	reason string
}

// check looks for one condition; ok is whether it was found. last is the newest
// record, cur the newest snapshot of the status; each may be nil, but not for the
// checks that follow absent and unmanaged.
type check func(f *Facts, s *State, last *Stored, cur *model.ReleaseSnapshot) (finding, bool)

// checks are asked in this order; what none has found is in sync. The order is
// that of helm-controller's DetermineReleaseState, which has no answer to the
// ends that an interrupted uninstall or a lost record leave.
var checks = []check{absent, pending, uninstalling, unmanaged, failed, changed, respecified, untested, testsFailed, drifted}

// Determine says how a release is, and why.
func Determine(f *Facts, s *State) (Condition, string) {
	var last *Stored
	if len(f.Stored) > 0 {
		last = &f.Stored[0]
	}
	cur := snapshots(s.Report.History).latest()
	for _, c := range checks {
		if found, ok := c(f, s, last, cur); ok {
			return found.is, found.reason
		}
	}
	return InSync, ""
}

func absent(_ *Facts, _ *State, last *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	switch {
	case last == nil:
		return finding{Absent, "no release in storage for object"}, true
	case status(&last.ReleaseSnapshot) == common.StatusUninstalled:
		return finding{Absent, "found uninstalled release in storage"}, true
	}
	return finding{}, false
}

func pending(f *Facts, s *State, last *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	if !status(&last.ReleaseSnapshot).IsPending() {
		return finding{}, false
	}
	reason := fmt.Sprintf("release with status '%s'", last.Status)
	wanted := last.Generation == f.Generation || last.Generation == 0 && !s.fresh
	if f.ours(last) && wanted && carriesOn(f, last) {
		return finding{Interrupted, reason}, true
	}
	return finding{Locked, reason}, true
}

// carriesOn reports whether an action of ours that did not end would end with
// what is wanted now.
func carriesOn(f *Facts, last *Stored) bool {
	if last.Made == helm.Rollback {
		return revision(f.Stored, last.RollbackTo) != nil
	}
	return last.ChartName == f.Chart.Name && last.ChartVersion == f.Chart.Version && f.configured(last.ConfigDigest)
}

func uninstalling(_ *Facts, _ *State, last *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	return finding{Uninstalling, "found release that is being uninstalled in storage"}, status(&last.ReleaseSnapshot) == common.StatusUninstalling
}

func unmanaged(_ *Facts, _ *State, last *Stored, cur *model.ReleaseSnapshot) (finding, bool) {
	if cur == nil {
		return finding{Unmanaged, "found existing release in storage"}, true
	}
	if why := mismatch(cur, last); why != "" {
		return finding{Unmanaged, why}, true
	}
	switch status(&last.ReleaseSnapshot) {
	case common.StatusDeployed, common.StatusFailed:
		return finding{}, false
	}
	return finding{Unmanaged, fmt.Sprintf("found release with status '%s' in storage", last.Status)}, true
}

// mismatch says why a record is not the one that a snapshot was made of; "" when
// it is. What an older controller made cannot be judged by its digest.
func mismatch(snapshot *model.ReleaseSnapshot, record *Stored) string {
	switch {
	case snapshot.APIVersion != SnapshotVersion:
		return ""
	case !validDigest(snapshot.Digest):
		return "release digest verification error"
	case snapshot.Digest != record.Digest:
		return "release not observed to be made for object"
	}
	return ""
}

func validDigest(digest string) bool {
	empty := helm.Digest(digest, func(hash.Hash) error { return nil })
	return digest != "" && len(digest) == len(empty)
}

func failed(_ *Facts, _ *State, last *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	return finding{is: Failed}, status(&last.ReleaseSnapshot) == common.StatusFailed
}

func changed(f *Facts, _ *State, last *Stored, cur *model.ReleaseSnapshot) (finding, bool) {
	switch {
	case last.ChartName != f.Chart.Name || last.ChartVersion != f.Chart.Version:
		return finding{OutOfSync, "release chart changed"}, true
	case !f.configured(cur.ConfigDigest):
		return finding{OutOfSync, "release config values changed"}, true
	}
	return finding{}, false
}

// respecified finds changes of what is done to the rendered objects. For a
// generation that was acted on the digests may be those of an older controller.
func respecified(f *Facts, s *State, _ *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	switch {
	case f.Release.Observed.Generation == f.Generation:
	case f.Release.PostRenderersDigest != s.Report.PostRenderersDigest:
		return finding{OutOfSync, "postrenderers digest has changed"}, true
	case f.Release.CommonMetadataDigest != s.Report.CommonMetadataDigest:
		return finding{OutOfSync, "common metadata digest has changed"}, true
	}
	return finding{}, false
}

func untested(f *Facts, _ *State, _ *Stored, cur *model.ReleaseSnapshot) (finding, bool) {
	return finding{is: Untested}, f.Release.Test.Enabled && !tested(cur)
}

func testsFailed(f *Facts, s *State, _ *Stored, cur *model.ReleaseSnapshot) (finding, bool) {
	remedy := activeRemedy(f, s)
	found := f.Release.Test.Enabled && remedy != nil && !remedy.IgnoreTestFailures && testFailed(cur)
	return finding{Failed, "release has test in failed phase"}, found
}

func drifted(f *Facts, _ *State, _ *Stored, _ *model.ReleaseSnapshot) (finding, bool) {
	return finding{is: Drifted}, detects(f) && len(f.Drifted) > 0
}

// detects reports whether drift is looked for at all.
func detects(f *Facts) bool { return f.Drift == model.Heal || f.Drift == model.Note }

// ours reports whether a record was written last by Plumb, for this release.
func (f *Facts) ours(r *Stored) bool { return r.Made != "" && r.By == f.By }

// configured reports whether a digest is that of the values that are wanted.
func (f *Facts) configured(digest string) bool {
	return digest == f.ConfigDigest || f.Configured != nil && f.Configured(digest)
}

// moved says what of the place of the release has changed, so that it is
// uninstalled where it was and installed where it is wanted; "" when nothing has.
func moved(f *Facts, s *State) string {
	cur := snapshots(s.Report.History).latest()
	switch {
	case s.Report.StoredIn == "" || cur == nil:
		return ""
	case f.Release.StorageNamespace != s.Report.StoredIn:
		return "storage namespace"
	case f.Release.Namespace != cur.Namespace:
		return "release namespace"
	case f.Release.Name != cur.Name:
		return "release name"
	case f.Release.Reinstall && f.Chart.Name != cur.ChartName:
		return "chart name"
	}
	return ""
}

// renewed says why failures do not count any more; "" when they do.
func renewed(f *Facts, s *State) string {
	was := &s.Report.Attempted
	switch {
	case was.Generation != f.Generation:
		return "generation differs from last attempt"
	case was.Revision != f.Chart.Version:
		return "chart version differs from last attempt"
	case was.ConfigDigest != "" && !f.configured(was.ConfigDigest):
		return "values differ from last attempt"
	case f.Release.ResetToken != "" && f.Release.ResetToken != s.Report.ResetHandled:
		return "reset requested through annotation"
	}
	return ""
}

// forced reports whether a release was asked for that needs no reason.
func forced(f *Facts, s *State) bool {
	return f.Release.ForceToken != "" && f.Release.ForceToken != s.Report.ForceHandled
}

// activeRemedy is that of the action that was tried last; nil when none was.
func activeRemedy(f *Facts, s *State) *model.Remedy {
	switch helm.Action(s.Report.Attempted.Action) {
	case helm.Install:
		return &f.Release.InstallRemedy
	case helm.Upgrade:
		return &f.Release.UpgradeRemedy
	}
	return nil
}

// retries is how the action that was tried last is tried again instead of
// remedied; nil when it is not.
func retries(f *Facts, s *State) *model.ReleaseAction {
	switch action := helm.Action(s.Report.Attempted.Action); {
	case action == helm.Install && f.Release.Install.RetryOnFailure:
		return &f.Release.Install
	case action == helm.Upgrade && f.Release.Upgrade.RetryOnFailure:
		return &f.Release.Upgrade
	}
	return nil
}

// failures are those of the action that was tried last.
func (s *State) failures() int64 {
	if helm.Action(s.Report.Attempted.Action) == helm.Install {
		return s.Report.InstallFailures
	}
	return s.Report.UpgradeFailures
}

// exhausted reports whether so many failures are more than a remedy allows.
func exhausted(remedy *model.Remedy, failures int64) bool {
	return remedy.Retries >= 0 && failures > int64(remedy.Retries)
}

// spent reports whether the action that was tried last may not be tried again.
func spent(f *Facts, s *State) bool {
	remedy := activeRemedy(f, s)
	return remedy != nil && exhausted(remedy, s.failures())
}

// strategy is what a failure is remedied by.
func strategy(f *Facts, s *State) string {
	if helm.Action(s.Report.Attempted.Action) == helm.Install {
		return string(helm.Uninstall)
	}
	if named := f.Release.UpgradeRemedy.Strategy; named != "" {
		return named
	}
	return string(helm.Rollback)
}

// did reports whether an action of this kind was carried out in this round.
func (s *State) did(kinds ...Kind) bool {
	return slices.ContainsFunc(kinds, func(k Kind) bool { return slices.Contains(s.done, k) })
}
