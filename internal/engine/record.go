package engine

import (
	"encoding/base64"
	"sort"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/model"
)

// record appends to the history what changed something or went wrong.
func (r *run) record(rep *model.Report) {
	var changes []journal.Change
	for _, o := range rep.Objects {
		if o.Verb != "" {
			changes = append(changes, journal.Change{Verb: o.Verb, Object: o.Object, Why: o.Why})
		}
	}
	if len(changes) == 0 && (rep.Fault == nil || rep.Fault.Waiting) && !r.mended(rep) {
		return
	}
	entry := journal.History{
		Delivery: rep.Delivery, At: rep.At, Revision: rep.Revision, Digest: rep.Digest,
		Result: "Succeeded", Changes: changes, Commit: rep.Commit,
	}
	if rep.Release != nil {
		entry.Chart, entry.ChartVersion, entry.AppVersion = rep.Release.Chart.Name, rep.Release.Chart.Version, rep.Release.Chart.AppVersion
	}
	switch {
	case rep.Fault != nil:
		entry.Result, entry.Message = rep.Fault.Reason, rep.Fault.Error()
	case rep.Running:
		entry.Result, entry.Message = "Progressing", rep.Message
	}
	r.e.mu.Lock()
	r.d.recorded = entry.Result
	r.e.mu.Unlock()
	r.e.opts.Journal.Record(entry)
}

// mended reports whether a run that changed nothing ends what the last entry of
// the history told of: work under way, or a failure.
func (r *run) mended(rep *model.Report) bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return rep.Phase == model.PhaseDone && rep.Fault == nil && r.d.recorded != "" && r.d.recorded != "Succeeded"
}

// awaitKind remembers how to stop waiting for a kind that is not served yet. A
// delivery waits for each once. The caller does not hold e.mu.
func (e *Engine) awaitKind(d *delivery, stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d.kindWaits = append(d.kindWaits, stop)
}

// endKindWaits stops waiting for kinds; the next run waits anew for what is
// still missing. The caller holds e.mu.
func (d *delivery) endKindWaits() {
	for _, stop := range d.kindWaits {
		stop()
	}
	d.kindWaits = nil
}

func sortClaims(claims []model.Claim) {
	sort.Slice(claims, func(i, j int) bool { return claims[i].ID.Less(claims[j].ID) })
}

// sortFaults puts what is wrong before what merely waits.
func sortFaults(faults []model.Fault) {
	sort.SliceStable(faults, func(i, j int) bool {
		if faults[i].Waiting != faults[j].Waiting {
			return !faults[i].Waiting
		}
		return faults[i].Object.Less(faults[j].Object)
	})
}

// secretValue reads one key of a Secret or ConfigMap.
func secretValue(o *unstructured.Unstructured, k string) (model.Secret, bool) {
	text, ok, err := unstructured.NestedString(o.Object, "data", k)
	if err != nil || !ok {
		return model.Secret{}, false
	}
	if o.GetKind() != "Secret" {
		return model.NewSecret([]byte(text)), true
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return model.Secret{}, false
	}
	return model.NewSecret(plain), true
}
