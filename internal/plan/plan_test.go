package plan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/plan"
)

// TestPlans reads testdata/*.txtar: what is wanted, owned, seen and said by
// others, one object a line, and the plan that follows from it.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			got := show(solve(t, parts))
			if os.Getenv("UPDATE") != "" {
				for i := range archive.Files {
					if archive.Files[i].Name == "plan" {
						archive.Files[i].Data = []byte(got)
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != parts["plan"] {
				t.Errorf("plan of %s\n--- got\n%s--- want\n%s", file, got, parts["plan"])
			}
		})
	}
}

// solve makes the plan of a case.
func solve(t *testing.T, parts map[string]string) *model.Plan {
	t.Helper()
	d := &model.Delivery{
		ID:     object.ID{Group: "example.org", Kind: "Delivery", Namespace: "flux-system", Name: "mine"},
		Policy: model.Policy{Prune: true, Drift: model.Heal, OnDelete: model.DeleteObjects},
	}
	in := plan.Input{
		Delivery: d,
		Consent:  plan.Everything,
		Guard:    plan.Guard{Count: 3, Fraction: 0.5},
		Weight:   func(object.ID) int { return 1 },
	}
	seen, said, weight := map[object.ID]plan.Seen{}, map[object.ID]plan.Standing{}, map[object.ID]int{}
	for _, words := range lines(parts["delivery"]) {
		switch words[0] {
		case "no-prune":
			d.Policy.Prune = false
		case "orphan":
			d.Policy.OnDelete = model.OrphanObjects
		case "suspended":
			d.Suspended = true
		case "deleting":
			d.Deleting = true
		case "no-heal":
			in.Consent.Correct = false
		case "staged":
			d.Sync.Staged = true
		case "allow-empty":
			d.Sync.AllowEmpty = true
		case "release":
			d.Release = &model.Release{}
		case "manual":
			in.Consent = plan.Consent{}
		case "no-self-heal":
			in.Consent.Correct, in.Consent.CorrectAlong = false, true
		case "no-prune-consent":
			in.Consent.Prune = false
		case "by-a-person":
			in.Consent.Unguarded = true
		case "create-only":
			d.Policy.CreateOnly = true
		case "delete-step":
			if d.Policy.DeleteSteps == nil {
				d.Policy.DeleteSteps = map[object.ID]int{}
			}
			step := 0
			_, _ = fmt.Sscanf(words[2], "%d", &step)
			d.Policy.DeleteSteps[parse(t, words[1])] = step
		case "only":
			in.Consent.Selected = func(id object.ID) bool { return id == parse(t, words[1]) }
		case "confirmed":
			d.Confirmed = true
		case "prune-last":
			d.Sync.Options.PruneLast = true
		case "approve":
			d.Approve = words[1]
		default:
			t.Fatalf("unknown word %q", words[0])
		}
	}
	for _, words := range lines(parts["wants"]) {
		want := model.Desired{ID: parse(t, words[0]), Version: "v1", Digest: "new", Origin: model.Origin{File: "app.yaml", Line: 3}}
		for _, w := range words[1:] {
			if _, err := fmt.Sscanf(w, "wave=%d", &want.Stage.Wave); err != nil {
				handle(t, &want.Handle, w)
			}
		}
		in.Desired = append(in.Desired, want)
	}
	for _, words := range lines(parts["owns"]) {
		in.Claims = append(in.Claims, model.Claim{ID: parse(t, words[0]), Version: "v1"})
		for _, w := range words[1:] {
			if _, err := fmt.Sscanf(w, "weight=%d", new(int)); err == nil {
				n := 0
				_, _ = fmt.Sscanf(w, "weight=%d", &n)
				weight[parse(t, words[0])] = n
			}
		}
	}
	for _, words := range lines(parts["cluster"]) {
		s := plan.Seen{Presence: plan.Trusted, Inputs: "new", UID: "u1"}
		for _, w := range words[1:] {
			switch w {
			case "old":
				s.Inputs = "old"
			case "missing":
				s.Presence, s.UID = plan.Missing, ""
			case "never-applied":
				s.Inputs = ""
			case "unknown":
				s = plan.Seen{Presence: plan.Present, UID: "u1"}
			case "drifted":
				s.Drift = "it was changed by kubectl-edit"
			case "deleting":
				s.Deleting = true
			case "foreign":
				s.Foreign = true
			case "unseen":
				s = plan.Seen{}
			case "resting":
				s.Resting = true
			case "same":
				s.Same = true
			default:
				if _, err := fmt.Sscanf(w, "wave=%d", &s.Wave); err != nil {
					handle(t, &s.Handle, w)
				}
			}
		}
		seen[parse(t, words[0])] = s
	}
	other := object.ID{Group: "example.org", Kind: "Delivery", Namespace: "flux-system", Name: "other"}
	for _, words := range lines(parts["others"]) {
		var s plan.Standing
		for _, w := range words[1:] {
			switch w {
			case "own":
				s.Owner = other
			case "want":
				s.Owner, s.Wanted = other, true
			case "pending":
				s.Pending = other.String()
			case "inherit":
				s.Heir = other
			case "idle":
				s.Idle = true
			default:
				t.Fatalf("unknown word %q", w)
			}
		}
		said[parse(t, words[0])] = s
	}
	in.Seen = func(id object.ID) plan.Seen { return seen[id] }
	in.Standing = func(id object.ID) plan.Standing { return said[id] }
	in.Weight = func(id object.ID) int {
		if n := weight[id]; n > 0 {
			return n
		}
		return 1
	}
	if d.Deleting {
		return plan.Unmake(in)
	}
	return plan.Make(in)
}

func lines(text string) [][]string {
	var out [][]string
	for _, l := range strings.Split(text, "\n") {
		if words := strings.Fields(l); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

func handle(t *testing.T, h *model.Handling, word string) {
	t.Helper()
	switch word {
	case "disabled":
		h.Disabled = true
	case "keep":
		h.Keep = true
	case "if-not-present":
		h.IfNotPresent = true
	case "confirm":
		h.Confirm = true
	case "confirm-delete":
		h.ConfirmDelete = true
	case "prune-last":
		h.PruneLast = true
	case "orphan":
		h.Orphan = true
	default:
		t.Fatalf("unknown word %q", word)
	}
}

// parse reads Kind/namespace/name or Kind/name.
func parse(t *testing.T, s string) object.ID {
	t.Helper()
	groups := map[string]string{
		"Deployment": "apps", "CustomResourceDefinition": "apiextensions.k8s.io",
		"ClusterRole": "rbac.authorization.k8s.io", "StorageClass": "storage.k8s.io",
	}
	parts := strings.Split(s, "/")
	id := object.ID{Kind: parts[0], Group: groups[parts[0]], Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		id.Namespace = parts[1]
	}
	return id
}

// show prints a plan as an indented tree.
func show(p *model.Plan) string {
	var b strings.Builder
	for i, w := range p.Waves {
		fmt.Fprintf(&b, "wave %d", i+1)
		if w.Established {
			b.WriteString(", to be established")
		}
		if w.Step != 0 {
			fmt.Fprintf(&b, ", step %d", w.Step)
		}
		b.WriteString("\n")
		for _, c := range w.Changes {
			quiet := ""
			if c.Quiet {
				quiet = ", quietly"
			}
			fmt.Fprintf(&b, "  %s %s: %s%s\n", c.Verb, c.Object, c.Why, quiet)
		}
	}
	for _, c := range p.Pending {
		fmt.Fprintf(&b, "pending: %s %s: %s\n", c.Verb, c.Object, c.Why)
	}
	for i := range p.Blocked {
		word := "blocked"
		if p.Blocked[i].Waiting {
			word = "waits"
		}
		fmt.Fprintf(&b, "%s: %s\n", word, p.Blocked[i].Error())
	}
	for _, id := range p.HandsOver {
		fmt.Fprintf(&b, "hands over: %s\n", id)
	}
	if p.Held != nil {
		fmt.Fprintf(&b, "held %s: %s\n", p.Held.Token, p.Held.Why)
		for _, id := range p.Held.Deletes {
			fmt.Fprintf(&b, "  %s\n", id)
		}
	}
	if len(p.Keeps) > 0 {
		b.WriteString("owns afterwards\n")
		for _, c := range p.Keeps {
			fmt.Fprintf(&b, "  %s\n", c.ID)
		}
	}
	return b.String()
}
