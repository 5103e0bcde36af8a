package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// repositoryReport is the summary. Its JSON form is what -o json prints.
type repositoryReport struct {
	Deliveries []deliveryReport `json:"deliveries"`
	Encrypted  []deliveryReport `json:"encrypted,omitempty"`
	Totals     totals           `json:"totals"`
}

type totals struct {
	OK        int `json:"ok"`
	Missing   int `json:"missing"`
	Failed    int `json:"failed"`
	Objects   int `json:"objects"`
	Encrypted int `json:"encrypted"`
}

type deliveryReport struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Status    string   `json:"status"`
	Objects   int      `json:"objects"`
	Notes     []string `json:"notes,omitempty"`
}

// report sums up what came of it.
func (r *repository) report() repositoryReport {
	var out repositoryReport
	for _, one := range r.done {
		if one.again {
			continue
		}
		line := deliveryReport{Kind: one.id.Kind, Namespace: one.id.Namespace, Name: one.id.Name, Status: one.status, Notes: one.notes}
		if one.derived != nil {
			line.Objects = len(one.derived.objects) + len(one.derived.hooks)
		}
		out.Totals.Objects += line.Objects
		switch one.status {
		case rendersWell:
			out.Totals.OK++
		case rendersMissing:
			out.Totals.Missing++
		default:
			out.Totals.Failed++
		}
		out.Deliveries = append(out.Deliveries, line)
	}
	for id, file := range r.skipped {
		out.Encrypted = append(out.Encrypted, deliveryReport{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Status: leftEncrypted, Notes: []string{"encrypted with SOPS: " + file}})
	}
	out.Totals.Encrypted = len(out.Encrypted)
	for _, list := range [][]deliveryReport{out.Deliveries, out.Encrypted} {
		slices.SortStableFunc(list, func(x, y deliveryReport) int {
			return cmp.Or(strings.Compare(x.Kind, y.Kind), strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name))
		})
	}
	return out
}

// printRepository prints what came of it; it fails when something did.
func (a *app) printRepository(flags *repositoryFlags, r *repository) error {
	report := r.report()
	if len(report.Deliveries) == 0 {
		return advise(fmt.Errorf("%s declares no delivery: no Kustomization, HelmRelease, Application or ApplicationSet", r.dir), "name the directory of a repository, as in: plumb build --all ./fleet")
	}
	var err error
	switch flags.output {
	case "json":
		err = a.printDocument("json", report)
	case "yaml":
		err = a.printRendered(flags, r)
	default:
		err = a.printSummary(report)
	}
	if err != nil {
		return err
	}
	t := report.Totals
	line := fmt.Sprintf("%d deliveries: %d ok, %d missing, %d failed; %d objects", len(report.Deliveries), t.OK, t.Missing, t.Failed, t.Objects)
	if t.Encrypted > 0 {
		line += fmt.Sprintf(", %d encrypted ones left out", t.Encrypted)
	}
	switch {
	case t.Failed > 0, flags.strict && t.Missing > 0:
		a.say.failure("%s", line)
		return &exitError{code: exitFailed}
	case t.Missing > 0:
		a.say.warning("%s", line)
	default:
		a.say.success("%s", line)
	}
	return nil
}

// printSummary prints a line for each delivery and each encrypted object.
func (a *app) printSummary(report repositoryReport) error {
	t := table{header: []string{"Kind", "Name", "Status", "Objects", "Message"}, color: colored(a.streams.Out, a.streams.Getenv)}
	for _, line := range slices.Concat(report.Deliveries, report.Encrypted) {
		count := fmt.Sprint(line.Objects)
		if line.Status == leftEncrypted {
			count = ""
		}
		name := strings.TrimPrefix(line.Namespace+"/"+line.Name, "/")
		t.rows = append(t.rows, []string{line.Kind, name, line.Status, count, oneLine(shortHashes(strings.Join(line.Notes, "; ")))})
	}
	return t.write(a.streams.Out)
}

// printRendered prints all objects, and what is not well on the side.
func (a *app) printRendered(flags *repositoryFlags, r *repository) error {
	for _, one := range r.done {
		switch {
		case one.again:
		case one.status == rendersFailed:
			a.say.failure("%s: %s", one.id, strings.Join(one.notes, "; "))
		case len(one.notes) > 0:
			a.say.warning("%s: %s", one.id, strings.Join(one.notes, "; "))
		}
		if one.derived == nil || one.again {
			continue
		}
		if err := a.out("# %s\n", oneLine(one.id.String())); err != nil {
			return err
		}
		if err := a.printDerived(one.derived, flags.reveal); err != nil {
			return err
		}
	}
	return nil
}
