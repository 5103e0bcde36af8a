package release

import (
	"encoding/json"
	"hash"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// SnapshotVersion is that of the digests that Observe makes
// (status.history[].apiVersion). Those of others cannot be compared with.
const SnapshotVersion = "v2"

// observation is what the digest of a record is made over, in helm-controller's
// spelling (internal/release/observation.go).
type observation struct {
	Name          string         `json:"name"`
	Version       int            `json:"version"`
	Info          *rspb.Info     `json:"info"`
	ChartMetadata chart.Metadata `json:"chartMetadata"`
	Config        map[string]any `json:"config"`
	Manifest      string         `json:"manifest"`
	Hooks         []*rspb.Hook   `json:"hooks"`
	Namespace     string         `json:"namespace"`
	OCIDigest     string         `json:"ociDigest,omitempty"`
}

// Observe is the digest of a record, by which a change behind our back is
// found: of all but the chart's files, and tests, which people run as they like.
// ociDigest is that of the chart's artifact, which the status tells; like is a
// digest whose algorithm is to be used, "" for SHA-256.
func Observe(r *Record, ociDigest, like string) string {
	seen := observation{
		Name: r.Name, Version: r.Version, Info: &r.Info, Manifest: r.Manifest, Namespace: r.Namespace, OCIDigest: ociDigest,
	}
	if r.Chart != nil {
		seen.ChartMetadata = r.Chart.metadata
	}
	if len(r.Config) > 0 {
		seen.Config = r.Config
	}
	for _, h := range r.Hooks {
		if !fires(h, rspb.HookTest) {
			seen.Hooks = append(seen.Hooks, h)
		}
	}
	return helm.Digest(like, func(h hash.Hash) error { return json.NewEncoder(h).Encode(&seen) })
}

// Stored is a record without its content: what decisions are made by.
type Stored struct {
	model.ReleaseSnapshot
	// Made is the action that Plumb wrote it last by, and By the declared object
	// ("namespace/name") that it did so for; "" when somebody else wrote it last.
	Made        helm.Action
	By          string
	Generation  int64 // of the declared object; 0: not known
	Description string
	RollbackTo  int // revision that a rollback brings back; 0: it is none
}

// Pending reports whether the action of the record, which may be an uninstall, has
// not ended.
func (r *Stored) Pending() bool {
	is := status(&r.ReleaseSnapshot)
	return is.IsPending() || is == common.StatusUninstalling
}

// Sum is the record as a snapshot. known are the snapshots of the status: one of
// the same revision says which algorithm digests are made with, and what of it is
// not in the storage. ociDigest is for a revision that is not among them.
func (r *Record) Sum(known []model.ReleaseSnapshot, ociDigest string) Stored {
	s := Stored{Made: r.Action, By: r.By, Generation: r.Generation, Description: r.Info.Description, RollbackTo: r.Info.RollbackRevision}
	s.ReleaseSnapshot = model.ReleaseSnapshot{
		APIVersion: SnapshotVersion, Name: r.Name, Namespace: r.Namespace, Version: r.Version, Status: string(r.Info.Status),
		ConfigDigest: helm.ValuesDigest(r.Config), OCIDigest: ociDigest, Action: string(r.Action),
		FirstDeployed: r.Info.FirstDeployed, LastDeployed: r.Info.LastDeployed, DeletedTime: r.Info.Deleted,
	}
	if r.Chart != nil {
		m := r.Chart.metadata
		s.ChartName, s.ChartVersion, s.AppVersion = m.Name, m.Version, m.AppVersion
	}
	like := ""
	for i := range known {
		if k := &known[i]; same(k, &s.ReleaseSnapshot) {
			s.OCIDigest, s.TestHooks = k.OCIDigest, k.TestHooks
			if s.Action == "" {
				s.Action = k.Action
			}
			if strings.Contains(k.Digest, ":") {
				like = k.Digest
			}
		}
	}
	s.Digest = Observe(r, s.OCIDigest, like)
	return s
}

// same reports whether two snapshots are of the same revision.
func same(a, b *model.ReleaseSnapshot) bool {
	return a.Name == b.Name && a.Namespace == b.Namespace && a.Version == b.Version
}
