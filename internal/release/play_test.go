package release

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
)

// killed stops a play at a write.
type killed struct{}

// stage is a cluster and a controller in small: a storage, a status, and a loop
// that plays what Next says, as the engine does. It may be killed at any write.
type stage struct {
	t       testing.TB
	release model.Release
	gen     int64
	chart   string            // version that is wanted
	config  string            // digest that is wanted
	storage map[string]Stored // by storage namespace, name and revision
	drift   model.Drift
	drifted []string
	delete  bool

	// broken says why an action of this kind with this config fails.
	broken func(kind Kind, config string) string
	tests  string // phase that tests end in
	silent bool   // failing actions write no record
	late   bool   // the status is written between actions and at the end of a round only, and records name the generation

	now     time.Time
	killAt  int // writes until it is killed; 0: never
	writes  int
	actions []string
	events  []model.Event
	last    Action
	state   State
}

func newStage(t testing.TB) *stage {
	return &stage{
		t: t, gen: 1, chart: "1.0.0", config: digest("a"), storage: map[string]Stored{}, now: moment, tests: testSucceededPhase,
		release: model.Release{
			Name: "web", Namespace: "apps", StorageNamespace: "store", MaxHistory: 5,
			Upgrade: model.ReleaseAction{}, UpgradeRemedy: model.Remedy{Strategy: "rollback"},
		},
		broken: func(Kind, string) string { return "" },
	}
}

func digest(name string) string { return helm.SpecDigest(name) }

// wants changes the values that are declared.
func (p *stage) wants(config string) *stage {
	p.gen++
	p.config = digest(config)
	return p
}

// write counts, and dies where it should.
func (p *stage) write() {
	p.writes++
	if p.killAt > 0 && p.writes == p.killAt {
		panic(killed{})
	}
}

func (p *stage) facts(s *State) *Facts {
	storage, name := s.Target(&p.release)
	f := &Facts{
		Release: &p.release, Generation: p.gen, By: "ns/web", Chart: model.Chart{Name: "web", Version: p.chart}, ConfigDigest: p.config,
		Drift: p.drift, Drifted: p.drifted, Deleting: p.delete, Now: p.now,
	}
	for key, r := range p.storage {
		if strings.HasPrefix(key, storage+"/"+name+"/") {
			f.Stored = append(f.Stored, p.sum(r, s.Report.History))
		}
	}
	Newest(f.Stored)
	return f
}

// sum is a record as a Codec and Record.Sum tell it.
func (p *stage) sum(r Stored, known []model.ReleaseSnapshot) Stored {
	r.TestHooks = nil
	for i := range known {
		if same(&known[i], &r.ReleaseSnapshot) {
			r.TestHooks = known[i].TestHooks
		}
	}
	r.Digest = digest(fmt.Sprint(r.Version, r.Status, r.Description, r.ConfigDigest, r.ChartVersion))
	r.APIVersion = SnapshotVersion
	return r
}

func (p *stage) put(storage string, r Stored) Stored {
	p.write()
	p.storage[fmt.Sprintf("%s/%s/%d", storage, r.Name, r.Version)] = r
	return p.sum(r, p.state.Report.History)
}

// persist writes the status, which is all that a restart knows.
func (p *stage) persist(s *State) {
	p.events = append(p.events, s.Report.Events...)
	r := &s.Report
	next := p.release
	next.History = slices.Clone(r.History)
	next.Failures, next.InstallFailures, next.UpgradeFailures, next.Attempted = r.Failures, r.InstallFailures, r.UpgradeFailures, r.Attempted
	next.Released, next.Tested, next.Remedied = r.Released, r.Tested, r.Remedied
	next.ForceHandled, next.ResetHandled = r.ForceHandled, r.ResetHandled
	next.Observed.StorageNamespace, next.Observed.PostRenderersDigest, next.Observed.CommonMetadataDigest = r.StoredIn, r.PostRenderersDigest, r.CommonMetadataDigest
	p.write()
	p.release = next
}

// round plays until nothing is to be done, and reports whether it was killed.
func (p *stage) round() (dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			dead = true
		}
	}()
	for n := range 50 {
		f := p.facts(&p.state)
		a, s := Next(f, p.state)
		p.state, p.last = s, a
		if !p.late || n > 0 || a.Kind == None {
			p.persist(&p.state)
		}
		if a.Kind == None {
			return false
		}
		p.note(a)
		o := p.carryOut(f, a)
		p.state = After(f, p.state, a, o)
		if !p.late {
			p.persist(&p.state)
		}
	}
	p.t.Fatalf("a round does not end: %q", p.actions)
	return false
}

func (p *stage) note(a Action) {
	text := fmt.Sprintf("%s v%d", a.Kind, a.Version)
	if a.To > 0 {
		text += fmt.Sprintf(" to v%d", a.To)
	}
	if a.Resume {
		text += " resumed"
	}
	if a.Refused != "" {
		text += " refused"
	}
	p.actions = append(p.actions, text)
}

// carryOut does what the engine does, with nothing behind it.
func (p *stage) carryOut(f *Facts, a Action) Outcome {
	if a.Refused != "" {
		return Outcome{Failed: a.Refused}
	}
	key := func(version int) string { return fmt.Sprintf("%s/%s/%d", a.Storage, a.Name, version) }
	switch a.Kind {
	case Install, Upgrade, Rollback:
		return p.makes(a, key)
	case Unlock:
		r := p.storage[key(a.Version)]
		r.Description, r.Status = unlocked+r.Status+"' state", "failed"
		return Outcome{Wrote: []Stored{p.put(a.Storage, r)}}
	case Test:
		r := p.sum(p.storage[key(a.Version)], nil)
		r.TestHooks = map[string]model.TestHook{"check": {Phase: p.tests}}
		o := Outcome{Wrote: []Stored{r}}
		if p.tests != testSucceededPhase {
			o.Failed = "check failed"
		}
		return o
	case Uninstall:
		r := p.storage[key(a.Version)]
		r.Status, r.Made = "uninstalling", helm.Uninstall
		p.put(a.Storage, r)
		if why := p.broken(Uninstall, ""); why != "" {
			return Outcome{Failed: why}
		}
		for _, old := range f.Stored {
			if !p.release.Uninstall.KeepHistory {
				p.write()
				delete(p.storage, key(old.Version))
			}
		}
		r.Status = "uninstalled"
		if p.release.Uninstall.KeepHistory {
			p.put(a.Storage, r)
		}
		return Outcome{Wrote: []Stored{p.sum(r, p.state.Report.History)}}
	case Correct:
		p.drifted = nil
		return Outcome{Corrected: []string{"ConfigMap/apps/web configured"}}
	}
	return Outcome{}
}

func (p *stage) makes(a Action, key func(int) string) Outcome {
	r := p.storage[key(a.Version)]
	if !a.Resume {
		r = Stored{Made: a.Helm(), By: "ns/web", RollbackTo: a.To, ReleaseSnapshot: model.ReleaseSnapshot{
			Name: a.Name, Namespace: p.release.Namespace, Version: a.Version, ChartName: "web", ChartVersion: p.chart, ConfigDigest: p.config,
		}}
		if a.Kind == Rollback {
			to := p.storage[key(a.To)]
			r.ChartVersion, r.ConfigDigest = to.ChartVersion, to.ConfigDigest
		}
		if p.late {
			r.Generation = p.gen
		}
		if p.silent {
			return Outcome{Failed: "cannot render"}
		}
		r.Status = "pending-" + string(a.Kind)
		p.put(a.Storage, r)
	}
	for _, version := range a.Surplus {
		p.write()
		delete(p.storage, key(version))
	}
	p.write() // the objects
	if why := p.broken(a.Kind, r.ConfigDigest); why != "" {
		r.Status, r.Description = "failed", failing(a.Helm(), a.Name)+why
		return Outcome{Failed: why, Wrote: []Stored{p.put(a.Storage, r)}}
	}
	wrote := []Stored{}
	for _, version := range a.Supersedes {
		old := p.storage[key(version)]
		old.Status = "superseded"
		wrote = append(wrote, p.put(a.Storage, old))
	}
	r.Status = "deployed"
	wrote = append(wrote, p.put(a.Storage, r))
	return Outcome{Wrote: wrote}
}

// play goes on until nothing is to be done and nothing waits for a time; a kill
// is followed by a restart. most bounds the rounds.
func (p *stage) play(most int) *stage {
	p.t.Helper()
	for range most {
		if p.round() {
			p.killAt, p.state = 0, Begin(&p.release)
			continue
		}
		if p.state.RetryAt.IsZero() {
			p.release.Observed.Generation = p.gen
			return p
		}
		if !p.state.RetryAt.After(p.now) {
			p.t.Fatalf("it is to be tried again at %s, and it is %s", p.state.RetryAt, p.now)
		}
		p.now = p.state.RetryAt
	}
	p.t.Fatalf("it does not come to rest in %d rounds: %q", most, p.actions)
	return p
}

func (p *stage) start() *stage {
	p.state = Begin(&p.release)
	return p
}

// deployed is the config that is deployed; "" when none is.
func (p *stage) deployed() string {
	var all []Stored
	for _, r := range p.storage {
		all = append(all, r)
	}
	Newest(all)
	if at := Deployed(all); at != nil {
		return at.ConfigDigest
	}
	return ""
}

// end is what a play came to, as far as a kill in it must not change it.
func (p *stage) end() string {
	r := &p.state.Report
	text := "deployed " + p.deployed()
	switch { // what a stall was preceded by may be told as the failure or as its remedy
	case r.Stalled != nil:
		text += " stalled " + r.Stalled.Reason
	case r.Ready != nil:
		text += fmt.Sprintf(" ready %v %s", r.Ready.OK, r.Ready.Reason)
	}
	statuses := map[string]int{}
	for _, s := range p.storage {
		if s.Status != "failed" && s.Status != "superseded" {
			statuses[s.Status]++
		}
	}
	keys := slices.Sorted(maps.Keys(statuses))
	return text + fmt.Sprint(" in storage ", keys, len(r.History) > 0)
}

// fails breaks some values.
func fails(config string) func(Kind, string) string {
	return func(_ Kind, at string) string {
		if at == digest(config) {
			return "it is broken"
		}
		return ""
	}
}
