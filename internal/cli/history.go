package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo"
)

// keepsHistory are the kinds whose objects tell what was delivered before.
func keepsHistory(kind *declaredKind) bool {
	return kind == applications || kind == kustomizations || kind == helmReleases
}

func (a *app) historyCommand() *cobra.Command {
	history := &cobra.Command{
		Use:   "history",
		Short: "Show what a delivery has delivered before",
		Example: `  plumb history application guestbook
  plumb history kustomization apps
  plumb history helmrelease podinfo`,
	}
	addKindCommands(history, false, keepsHistory, func(kind *declaredKind) *cobra.Command {
		command := &cobra.Command{
			Use:               "NAME",
			Short:             "Show the history of " + article(kind.group.Kind),
			Long:              historyNotes[kind],
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
		}
		a.documented(command, "json or yaml: the entries as the object has them", func(ctx context.Context, p place, args []string, output string) error {
			o, err := p.get(ctx, kind, a.namespaceOf(kind), args[0])
			if err != nil {
				return err
			}
			if kind == helmReleases {
				return a.releaseHistory(ctx, p, o, output)
			}
			return a.history(kind, o, output)
		})
		return command
	})
	return history
}

// historyNotes say what an entry of each kind is.
var historyNotes = map[*declaredKind]string{
	applications: `Show the syncs of an Application that succeeded as a whole, oldest first. The ID is
what plumb rollback takes; spec.revisionHistoryLimit says how many are kept.`,
	kustomizations: `Show the outcomes of a Kustomization, the latest first: one line for each set of
objects and outcome, with how often it came to that.`,
	helmReleases: `Show the revisions of a release, oldest first, as helm history does: what Helm's
own records tell, which helm list, helm get and helm rollback read too. Where
these may not be read, what the status of the HelmRelease tells.`,
}

func (a *app) history(kind *declaredKind, o *unstructured.Unstructured, output string) error {
	entries := historyOf(o)
	if output != "" {
		list := make([]any, len(entries))
		for i := range entries {
			list[i] = entries[i]
		}
		return a.printDocument(output, list)
	}
	if len(entries) == 0 {
		a.say.plain("%s %s/%s has no history yet", kind.group.Kind, o.GetNamespace(), o.GetName())
		return nil
	}
	t := table{color: colored(a.streams.Out, a.streams.Getenv)}
	if kind == applications {
		t.header = []string{"ID", "Date", "Revision", "Source", "Initiated by"}
		for _, entry := range entries {
			t.rows = append(t.rows, syncRows(entry)...)
		}
	} else {
		t.header = []string{"Last", "Revision", "Outcome", "Times", "First", "Took"}
		for _, entry := range entries {
			t.rows = append(t.rows, outcomeRow(entry))
		}
	}
	return t.write(a.streams.Out)
}

func historyOf(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	var out []map[string]any
	for _, item := range list {
		if entry, ok := item.(map[string]any); ok {
			out = append(out, entry)
		}
	}
	return out
}

// syncRows are the lines of one sync: one for each source, of which the first
// says what they have in common.
func syncRows(entry map[string]any) [][]string {
	part := func(path ...string) string { s, _, _ := unstructured.NestedString(entry, path...); return s }
	by := part("initiatedBy", "username")
	if auto, _, _ := unstructured.NestedBool(entry, "initiatedBy", "automated"); auto {
		by = "automated"
	}
	revisions := revisionsIn(entry)
	var rows [][]string
	for i, source := range sourcesIn(entry) {
		row := []string{"", "", "", placeOf(source), ""}
		if i == 0 {
			row[0], row[1], row[4] = strconv.FormatInt(entryID(entry), 10), part("deployedAt"), by
		}
		if i < len(revisions) {
			row[2] = shortHashes(revisions[i])
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		rows = [][]string{{strconv.FormatInt(entryID(entry), 10), part("deployedAt"), shortHashes(strings.Join(revisions, ",")), "", by}}
	}
	return rows
}

func entryID(entry map[string]any) int64 {
	id, _, _ := unstructured.NestedInt64(entry, "id")
	return id
}

// outcomeRow is one entry of a Kustomization (fluxcd/pkg apis/meta, Snapshot).
func outcomeRow(entry map[string]any) []string {
	part := func(path ...string) string { s, _, _ := unstructured.NestedString(entry, path...); return s }
	times, _, _ := unstructured.NestedInt64(entry, "totalReconciliations")
	return []string{
		part("lastReconciled"), shortHashes(part("metadata", "revision")), part("lastReconciledStatus"),
		strconv.FormatInt(times, 10), part("firstReconciled"), part("lastReconciledDuration"),
	}
}

func (a *app) rollbackCommand() *cobra.Command {
	rollback := &cobra.Command{
		Use:   "rollback",
		Short: "Take an Application back to an earlier sync",
		Example: `  # To the sync before the last
  plumb rollback application guestbook

  # To one of plumb history application guestbook
  plumb rollback app guestbook 3

  # Let automated sync deliver the revision that was rolled back from again
  plumb rollback app guestbook --lift`,
	}
	addKindCommands(rollback, false, keepsHistory, func(kind *declaredKind) *cobra.Command {
		if kind == applications {
			return a.applicationRollback()
		}
		return a.advisedRollback(kind)
	})
	return rollback
}

// rollbackAdvice is for the kinds that deliver what Git says, at any time.
var rollbackAdvice = map[*declaredKind]string{
	kustomizations: "revert the commit (git revert) and push; see which with: plumb history kustomization %[1]s. To stop meanwhile: plumb suspend kustomization %[1]s",
	helmReleases:   "revert the change of the chart's version or the values (git revert) and push; see the revisions with: plumb history helmrelease %[1]s. In an emergency: plumb suspend helmrelease %[1]s, then helm rollback, until Git is right; a failed upgrade is rolled back by itself with spec.upgrade.remediation",
}

// advisedRollback only says what to do.
func (a *app) advisedRollback(kind *declaredKind) *cobra.Command {
	return &cobra.Command{
		Use:               "NAME",
		Short:             "Say how to take " + article(kind.group.Kind) + " back",
		Long:              "A " + kind.group.Kind + " delivers what Git says: it is taken back in Git. The command says how, and fails.",
		Args:              exactlyOneName(kind),
		ValidArgsFunction: a.completeNames(kind),
		RunE: func(_ *cobra.Command, args []string) error {
			return advise(fmt.Errorf("%s %s delivers what Git says: it is taken back in Git", kind.human, args[0]), rollbackAdvice[kind], args[0])
		},
	}
}

// rollbackFlags say where to and how.
type rollbackFlags struct {
	syncFlags
	lift bool
}

func (a *app) applicationRollback() *cobra.Command {
	flags := &rollbackFlags{}
	command := &cobra.Command{
		Use:   "NAME [ID]",
		Short: "Take an Application back to an earlier sync",
		Long: `Take an Application back to the sync with this ID, or to the one before the last:
the sources and revisions that it had are synced again, without hooks, as Argo CD
does it.

Where the Application syncs by itself, the revision that it is taken back from is
put in quarantine (annotation plumb.dev/quarantine): automated sync leaves it
alone until a newer one arrives, or --lift takes the quarantine off.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeNames(applications),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			if flags.lift {
				if len(args) > 1 || flags.prune || flags.dryRun {
					return errors.New("--lift takes a name and nothing else")
				}
				return a.liftQuarantine(ctx, args[0])
			}
			id := int64(-1)
			if len(args) > 1 {
				var err error
				if id, err = strconv.ParseInt(args[1], 10, 64); err != nil || id < 0 {
					return advise(fmt.Errorf("%q is no ID of a sync", args[1]), "see them with: plumb history application %s", args[0])
				}
			}
			return a.rollback(ctx, args[0], id, *flags)
		},
	}
	set := command.Flags()
	set.BoolVar(&flags.prune, "prune", false, "delete what the earlier sync did not have")
	set.BoolVar(&flags.dryRun, "dry-run", false, "predict everything and change nothing")
	set.BoolVar(&flags.lift, "lift", false, "lift the quarantine that a rollback has set")
	flags.bindWaiting(set)
	return command
}

// rollback writes the operation, and the quarantine with it in one write, so
// that automated sync cannot come between.
func (a *app) rollback(ctx context.Context, name string, id int64, flags rollbackFlags) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	back := &toRollBack{id: id, prune: flags.prune, dryRun: flags.dryRun}
	if err := p.ask(ctx, applications, a.namespaceOf(applications), name, back); err != nil {
		return err
	}
	a.say.action("rolling back to %s", back)
	a.say.action("%s %s: operation written", applications.group.Kind, name)
	if back.quarantine != "" {
		a.say.warning("%s is not synced automatically any more, until a newer revision arrives", back.quarantine)
		a.say.plain("  lift that with: plumb rollback application %s -n %s --lift", name, a.namespaceOf(applications))
	}
	if flags.async {
		return nil
	}
	return a.followOperation(ctx, p, name)
}

func placesText(entry map[string]any) string {
	var places []string
	for _, source := range sourcesIn(entry) {
		places = append(places, placeOf(source))
	}
	return strings.Join(places, ", ")
}

// earlierSync is the entry with an ID, or with -1 the one before the last.
func earlierSync(o *unstructured.Unstructured, id int64) (map[string]any, error) {
	history := historyOf(o)
	see := "see what there is with: plumb history " + called(applications, o)
	at := len(history) - 2
	if id >= 0 {
		at = slices.IndexFunc(history, func(entry map[string]any) bool { return entryID(entry) == id })
	}
	switch {
	case id >= 0 && at < 0:
		return nil, advise(fmt.Errorf("application %s does not have sync %d in its history", o.GetName(), id), "%s", see)
	case at < 0:
		return nil, advise(fmt.Errorf("application %s has no sync before the last one", o.GetName()), "%s", see)
	case len(sourcesIn(history[at])) == 0:
		return nil, advise(fmt.Errorf("sync %d of application %s does not say where it read from", entryID(history[at]), o.GetName()), "sync to its revision instead: plumb sync %s --revision ...", called(applications, o))
	}
	return history[at], nil
}

// liftQuarantine lets automated sync have its way again.
func (a *app) liftQuarantine(ctx context.Context, name string) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	o, err := p.get(ctx, applications, a.namespaceOf(applications), name)
	if err != nil {
		return err
	}
	revision, set := o.GetAnnotations()[argo.AnnotationQuarantine]
	if !set {
		a.say.success("no revision of application %s is in quarantine", name)
		return nil
	}
	if err := p.ask(ctx, applications, o.GetNamespace(), name, toLift{}); err != nil {
		return err
	}
	a.say.success("%s may be synced again", oneLine(revision))
	return nil
}
