package release

import (
	"sort"

	"helm.sh/helm/v4/pkg/release/common"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// status of a snapshot in Helm's words.
func status(s *model.ReleaseSnapshot) common.Status { return common.Status(s.Status) }

// Newest sorts records, the newest first.
func Newest(stored []Stored) {
	sort.SliceStable(stored, func(i, j int) bool { return stored[i].Version > stored[j].Version })
}

// Deployed is the newest record that is deployed; nil when there is none. The
// records are newest first.
func Deployed(stored []Stored) *Stored {
	for i := range stored {
		if status(&stored[i].ReleaseSnapshot) == common.StatusDeployed {
			return &stored[i]
		}
	}
	return nil
}

// revision is the record of this revision; nil when it is not stored.
func revision(stored []Stored, version int) *Stored {
	for i := range stored {
		if stored[i].Version == version {
			return &stored[i]
		}
	}
	return nil
}

// Surplus are the older revisions that are too many beside a newer one, so that
// no more than most are kept with it; 0 keeps all. The last deployed one always
// stays (Helm's storage, removeLeastRecent).
func Surplus(stored []Stored, newer, most int) []int {
	if most <= 0 {
		return nil
	}
	old := older(stored, newer)
	deployed := Deployed(old)
	var out []int
	for i := len(old) - 1; i >= 0 && len(old)-len(out) > most-1; i-- {
		if deployed == nil || old[i].Version != deployed.Version {
			out = append(out, old[i].Version)
		}
	}
	return out
}

// older are the records before a revision, newest first.
func older(stored []Stored, newer int) []Stored {
	var out []Stored
	for _, s := range stored {
		if s.Version < newer {
			out = append(out, s)
		}
	}
	Newest(out)
	return out
}

// Superseded are the revisions that are not deployed any more once a newer one
// is: by an upgrade the one it began from, by a rollback or an uninstall every
// one that is deployed, by an install over a kept history the last.
func Superseded(action helm.Action, stored []Stored, newer int) []int {
	old := older(stored, newer)
	if len(old) == 0 {
		return nil
	}
	deployed := Deployed(old)
	switch {
	case action == helm.Rollback || action == helm.Uninstall:
		var all []int
		for _, s := range old {
			if status(&s.ReleaseSnapshot) == common.StatusDeployed {
				all = append(all, s.Version)
			}
		}
		return all
	case action == helm.Upgrade && deployed != nil:
		return []int{deployed.Version}
	case action == helm.Upgrade, status(&old[0].ReleaseSnapshot) != common.StatusFailed:
		return []int{old[0].Version}
	}
	return nil
}

// snapshots are those of a status, newest first.
type snapshots []model.ReleaseSnapshot

func (h snapshots) sort() {
	sort.SliceStable(h, func(i, j int) bool { return h[i].Version > h[j].Version })
}

// latest is the newest; nil when there is none.
func (h snapshots) latest() *model.ReleaseSnapshot {
	if len(h) == 0 {
		return nil
	}
	return &h[0]
}

// good reports whether a snapshot is one to go back to.
func good(s *model.ReleaseSnapshot, ignoreTests bool) bool {
	was := status(s) == common.StatusDeployed || status(s) == common.StatusSuperseded
	return was && (ignoreTests || !testFailed(s))
}

// previous is the newest before the latest that was a success; nil when there is
// none.
func (h snapshots) previous(ignoreTests bool) *model.ReleaseSnapshot {
	for i := 1; i < len(h); i++ {
		if good(&h[i], ignoreTests) {
			return &h[i]
		}
	}
	return nil
}

// truncated ends with the release before the latest that was a success, or has
// the newest only when there is none (helm-controller api/v2, Snapshots.Truncate).
func (h snapshots) truncated(ignoreTests bool) snapshots {
	for i := 1; i < len(h); i++ {
		if good(&h[i], ignoreTests) {
			return h[:i+1]
		}
	}
	return h.newest()
}

// newest has as many as a status tells at most.
func (h snapshots) newest() snapshots {
	return h[:min(len(h), helm.DefaultMaxHistory)]
}

// record takes over what the storage holds of revisions: those that are told
// already are told as they are now, and the newest is added.
func (h snapshots) record(stored []Stored) snapshots {
	out := append(snapshots(nil), h...)
	newest := -1
	for i := range stored {
		if newest < 0 || stored[i].Version > stored[newest].Version {
			newest = i
		}
		for j := range out {
			if same(&out[j], &stored[i].ReleaseSnapshot) {
				out[j] = stored[i].ReleaseSnapshot
			}
		}
	}
	if newest >= 0 && (len(out) == 0 || stored[newest].Version > out[0].Version) {
		out = append(out, stored[newest].ReleaseSnapshot)
	}
	out.sort()
	return out
}

const testFailedPhase, testSucceededPhase = "Failed", "Succeeded"

// tested reports whether the tests of a release are complete: one failed, or all
// succeeded, or there are none.
func tested(s *model.ReleaseSnapshot) bool {
	if s == nil || s.TestHooks == nil {
		return false
	}
	if testFailed(s) {
		return true
	}
	for _, hook := range s.TestHooks {
		if hook.Phase != testSucceededPhase {
			return false
		}
	}
	return true
}

func testFailed(s *model.ReleaseSnapshot) bool {
	for _, hook := range s.TestHooks {
		if hook.Phase == testFailedPhase {
			return true
		}
	}
	return false
}
