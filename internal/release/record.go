package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// Record is one revision of a release as Helm's storage holds it. Values,
// manifests and notes may hold secrets: it prints its name only, and only a
// [Codec] serialises it.
type Record struct {
	Name, Namespace string
	Version         int
	Chart           *Chart
	Config          map[string]any // composed values, as JSON decodes them
	Manifest        string         // YAML of all objects but hooks and CRDs of the directory crds
	Hooks           []*rspb.Hook
	Info            rspb.Info
	ApplyMethod     string            // "ssa" or "csa"; "" stands for "csa"
	Labels          map[string]string // that people gave it (helm install --labels)

	// Action is what Plumb made the record by, and By for which declared object
	// ("namespace/name"); "" for a record of somebody else.
	Action helm.Action
	By     string
	// Generation of the declared object that it was made for; 0: not known.
	Generation int64
	Created    time.Time // of the Secret, in whole seconds; zero before it is written
}

// String names the revision.
func (r *Record) String() string { return fmt.Sprintf("%s/%s.v%d", r.Namespace, r.Name, r.Version) }

// GoString names the revision.
func (r *Record) GoString() string { return r.String() }

// Format names the revision, for every verb.
func (r *Record) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// MarshalJSON always fails: see [Codec.Encode].
func (r *Record) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a record of a release must not be serialised")
}

// Content is what a release is made of.
type Content struct {
	Chart      *Chart
	Config     map[string]any   // composed values; they may hold secrets
	Objects    []model.Rendered // without hooks, in the order they are installed
	Hooks      []model.Rendered // tests too
	Notes      string
	Dir        string // of the chart in the tree that Origin.File is a path of; "": the root
	ServerSide bool   // objects are applied by the server
	By         string // "namespace/name" of the declared object
}

// New begins the record of an install or an upgrade, which is pending. last is
// the newest record of the release, deployed the one that is deployed; nil: there
// is none.
func New(action helm.Action, r *model.Release, c *Content, last, deployed *Record, now time.Time) (*Record, error) {
	rec := &Record{Name: r.Name, Namespace: r.Namespace, Version: 1, Chart: c.Chart, Action: action, By: c.By, ApplyMethod: applyMethod(c.ServerSide)}
	rec.Info = rspb.Info{FirstDeployed: now, LastDeployed: now, Status: common.StatusPendingInstall, Description: "Initial install underway", Notes: c.Notes}
	if last != nil {
		rec.Version = last.Version + 1
	}
	if action == helm.Upgrade && last != nil {
		rec.Info.Status, rec.Info.Description = common.StatusPendingUpgrade, "Preparing upgrade"
		rec.Labels = maps.Clone(last.Labels)
		if deployed == nil {
			deployed = last
		}
		rec.Info.FirstDeployed = deployed.Info.FirstDeployed
	}
	if err := rec.fill(c); err != nil {
		return nil, err
	}
	return rec, nil
}

func (r *Record) fill(c *Content) error {
	var err error
	if r.Config, err = plain(c.Config); err != nil {
		return err
	}
	name := c.Chart.metadata.Name
	if r.Manifest, err = manifest(c.Objects, name, c.Dir); err != nil {
		return err
	}
	r.Hooks, err = hooks(c.Hooks, name, c.Dir)
	return err
}

// plain are the values as JSON decodes them, so that the digest of a record is
// the same before it is stored and after. None are nil.
func plain(values map[string]any) (map[string]any, error) {
	if len(values) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, errors.New("the values of the release cannot be encoded") // the cause may tell a value
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, errors.New("the values of the release cannot be encoded")
	}
	return out, nil
}

// manifest is the text that helm get manifest shows.
func manifest(objects []model.Rendered, chart, dir string) (string, error) {
	var b strings.Builder
	for i := range objects {
		if objects[i].CRD {
			continue
		}
		text, err := yaml.JSONToYAML(objects[i].JSON)
		if err != nil {
			return "", fmt.Errorf("cannot write %s into the record of the release", objects[i].ID)
		}
		b.WriteString("---\n# Source: " + template(&objects[i], chart, dir) + "\n")
		b.Write(text)
	}
	return b.String(), nil
}

// template is the path of an object's template in Helm's words, below the name
// of the chart.
func template(r *model.Rendered, chart, dir string) string {
	file := r.Origin.File
	if dir != "" && dir != "." {
		file = strings.TrimPrefix(file, strings.TrimSuffix(dir, "/")+"/")
	}
	return path.Join(chart, strings.ReplaceAll(file, "\n", ""))
}

func hooks(rendered []model.Rendered, chart, dir string) ([]*rspb.Hook, error) {
	out := make([]*rspb.Hook, 0, len(rendered))
	for i := range rendered {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(rendered[i].JSON); err != nil {
			return nil, fmt.Errorf("cannot read the hook %s", rendered[i].ID)
		}
		read, role := helm.ReadHook(o.GetKind(), o.GetName(), o.GetAnnotations())
		if role != helm.Hooked {
			continue
		}
		text, err := yaml.JSONToYAML(rendered[i].JSON)
		if err != nil {
			return nil, fmt.Errorf("cannot write the hook %s into the record of the release", rendered[i].ID)
		}
		h := &rspb.Hook{Name: read.Name, Kind: read.Kind, Path: template(&rendered[i], chart, dir), Manifest: string(text), Weight: read.Weight}
		for _, event := range read.Events {
			h.Events = append(h.Events, rspb.HookEvent(event))
		}
		policies := read.Delete
		if len(policies) == 0 {
			policies = []string{string(rspb.HookBeforeHookCreation)}
		}
		for _, policy := range policies {
			h.DeletePolicies = append(h.DeletePolicies, rspb.HookDeletePolicy(policy))
		}
		for _, policy := range read.Output {
			h.OutputLogPolicies = append(h.OutputLogPolicies, rspb.HookOutputLogPolicy(policy))
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// Back begins the record of a rollback from the newest record to an older one,
// with the content of that, for a declared object ("namespace/name").
func Back(last, to *Record, by string, serverSide bool, now time.Time) *Record {
	rec := &Record{
		Name: last.Name, Namespace: last.Namespace, Version: last.Version + 1,
		Chart: to.Chart, Config: to.Config, Manifest: to.Manifest, Hooks: make([]*rspb.Hook, len(to.Hooks)),
		ApplyMethod: applyMethod(serverSide), Labels: maps.Clone(to.Labels), Action: helm.Rollback, By: by,
	}
	for i, h := range to.Hooks {
		again := *h
		rec.Hooks[i] = &again
	}
	if len(rec.Hooks) == 0 {
		rec.Hooks = nil
	}
	rec.Info = rspb.Info{
		FirstDeployed: last.Info.FirstDeployed, LastDeployed: now, Status: common.StatusPendingRollback,
		Notes: to.Info.Notes, RollbackRevision: to.Version, Description: fmt.Sprintf("Rollback to %d", to.Version),
	}
	return rec
}

// ServerSide reports whether the objects of the next record are applied by the
// server: mode is that of the action ("enabled", "disabled", "auto" or "" for the
// action's default), base the record that "auto" follows, the newest for an
// upgrade and the target for a rollback; nil for an install.
func ServerSide(mode string, base *Record) bool {
	switch mode {
	case "enabled":
		return true
	case "disabled":
		return false
	}
	return base == nil || base.ApplyMethod == string(rspb.ApplyMethodServerSideApply)
}

func applyMethod(serverSide bool) string {
	if serverSide {
		return string(rspb.ApplyMethodServerSideApply)
	}
	return string(rspb.ApplyMethodClientSideApply)
}

// Reuse are the values of an upgrade that keeps those of the last release
// (preserveValues): the new ones over the last ones. defaults are what the chart's
// own values are to be replaced by: those that the last release was rendered with.
// The arguments are left as they are.
func Reuse(values map[string]any, last *Record) (config, defaults map[string]any, err error) {
	text, err := helm.EncodeValues(values)
	if err != nil {
		return nil, nil, err
	}
	if config, err = helm.DecodeValues(text); err != nil {
		return nil, nil, err
	}
	before, err := plain(last.Config)
	if err != nil {
		return nil, nil, err
	}
	var old chart.Chart
	if err := json.Unmarshal(last.Chart.json, &old); err != nil {
		return nil, nil, fmt.Errorf("the chart of release %s cannot be read", last)
	}
	whole, err := util.CoalesceValues(&old, before)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to rebuild old values of release %s", last)
	}
	if config == nil {
		config = map[string]any{}
	}
	if before, err = plain(last.Config); err != nil {
		return nil, nil, err
	}
	return util.CoalesceTables(config, before), whole, nil
}

// Succeed ends the action that the record belongs to.
func (r *Record) Succeed() {
	r.Info.Status = common.StatusDeployed
	switch r.Action {
	case helm.Install:
		r.Info.Description = "Install complete"
	case helm.Upgrade:
		r.Info.Description = "Upgrade complete"
	}
}

// Fail ends the action that the record belongs to. The reason must be free of
// secrets.
func (r *Record) Fail(reason string) {
	r.Info.Status = common.StatusFailed
	r.Info.Description = failing(r.Action, r.Name) + reason
}

// failing begins the description of a failed record.
func failing(action helm.Action, name string) string {
	if action == helm.Upgrade || action == helm.Rollback {
		return fmt.Sprintf("%s%s %q failed: ", strings.ToUpper(string(action[:1])), action[1:], name)
	}
	return fmt.Sprintf("Release %q failed: ", name)
}

// Failing notes why the action that the record belongs to is about to fail.
func (r *Record) Failing(reason string) { r.Info.Description = failing(r.Action, r.Name) + reason }

// FailedWith is what Failing noted in a record that is still pending; "": nothing.
func (r *Record) FailedWith() string {
	if reason, ok := strings.CutPrefix(r.Info.Description, failing(r.Action, r.Name)); ok && r.Info.Status.IsPending() {
		return reason
	}
	return ""
}

// Supersede notes that a newer record is deployed.
func (r *Record) Supersede() { r.Info.Status = common.StatusSuperseded }

const unlocked = "Release unlocked from stale '"

// Unlock fails a pending record that nobody works on.
func (r *Record) Unlock() {
	r.Info.Description = unlocked + string(r.Info.Status) + "' state"
	r.Info.Status = common.StatusFailed
}

// Uninstall begins the end of a release. One that has begun keeps its time.
func (r *Record) Uninstall(now time.Time) {
	if r.Info.Status != common.StatusUninstalling {
		r.Info.Deleted = now
	}
	r.Info.Status, r.Info.Description = common.StatusUninstalling, "Deletion in progress (or silently failed)"
	r.Action = helm.Uninstall
}

// Uninstalled ends a release whose records are kept.
func (r *Record) Uninstalled() {
	r.Info.Status, r.Info.Description = common.StatusUninstalled, "Uninstallation complete"
}

// Ran notes how a hook did, by its kind and name. finished is zero while it runs.
func (r *Record) Ran(kind, name string, started, finished time.Time, failed bool) {
	for _, h := range r.Hooks {
		if h.Kind != kind || h.Name != name {
			continue
		}
		h.LastRun = rspb.HookExecution{StartedAt: started, CompletedAt: finished, Phase: rspb.HookPhaseRunning}
		switch {
		case finished.IsZero():
		case failed:
			h.LastRun.Phase = rspb.HookPhaseFailed
		default:
			h.LastRun.Phase = rspb.HookPhaseSucceeded
		}
	}
}

// Ended tells how a hook ended that has run since a moment, by its kind and name.
func (r *Record) Ended(kind, name string, since time.Time) (succeeded, failed bool) {
	for _, h := range r.Hooks {
		if h.Kind == kind && h.Name == name && !h.LastRun.StartedAt.Before(since) {
			return h.LastRun.Phase == rspb.HookPhaseSucceeded, h.LastRun.Phase == rspb.HookPhaseFailed
		}
	}
	return false, false
}

// Tests tells of the tests of the release that the filters leave, by name: those
// that are included, or all where none is, but not those that are excluded. It is
// empty, not nil, when there are none.
func (r *Record) Tests(filters []model.TestFilter) map[string]model.TestHook {
	out := map[string]model.TestHook{}
	for _, h := range r.Hooks {
		if fires(h, rspb.HookTest) && Selected(h.Name, filters) {
			out[h.Name] = model.TestHook{Started: h.LastRun.StartedAt, Finished: h.LastRun.CompletedAt, Phase: string(h.LastRun.Phase)}
		}
	}
	return out
}

// Selected reports whether filters leave the test of this name.
func Selected(name string, filters []model.TestFilter) bool {
	some, included := false, false
	for _, f := range filters {
		if f.Exclude {
			if f.Name == name {
				return false
			}
			continue
		}
		some, included = true, included || f.Name == name
	}
	return !some || included
}

func fires(h *rspb.Hook, event rspb.HookEvent) bool {
	for _, e := range h.Events {
		if e == event {
			return true
		}
	}
	return false
}

// Object is one object of a record, to be applied or deleted again.
type Object struct {
	Template string // path below the name of the chart
	JSON     []byte
	Hook     *rspb.Hook // nil: it is no hook
}

// Objects are those of the record's manifest, in its order, and then its hooks:
// what a rollback applies, and an uninstall deletes. It is an error when one
// cannot be read; the message does not tell its content.
func (r *Record) Objects() ([]Object, error) {
	var out []Object
	for at, doc := range documents(r.Manifest) {
		text, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			return nil, fmt.Errorf("document %d in the manifest of release %s cannot be read", at+1, r)
		}
		if bytes.Equal(text, []byte("null")) {
			continue
		}
		source, _, _ := strings.Cut(strings.TrimPrefix(doc, "# Source: "), "\n")
		if !strings.HasPrefix(doc, "# Source: ") {
			source = ""
		}
		out = append(out, Object{Template: source, JSON: text})
	}
	for _, h := range r.Hooks {
		text, err := yaml.YAMLToJSON([]byte(h.Manifest))
		if err != nil {
			return nil, fmt.Errorf("hook %s of release %s cannot be read", h.Name, r)
		}
		out = append(out, Object{Template: h.Path, JSON: text, Hook: h})
	}
	return out, nil
}

// documents splits a manifest at lines that begin with "---".
func documents(manifest string) []string {
	var docs []string
	var doc strings.Builder
	end := func() {
		if text := strings.TrimSpace(doc.String()); text != "" {
			docs = append(docs, text+"\n")
		}
		doc.Reset()
	}
	for line := range strings.Lines(manifest) {
		if rest, ok := strings.CutPrefix(line, "---"); ok {
			end()
			line = strings.TrimLeft(rest, " \t")
		}
		doc.WriteString(line)
	}
	end()
	return docs
}
