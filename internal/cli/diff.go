package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	clusters "plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/differ"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The exit codes of plumb diff, as of flux diff and diff(1).
const (
	exitDifferent  = 1
	exitDiffFailed = 2
)

// dryRuns bounds the predictions that are under way at a time.
const dryRuns = 8

func (a *app) diffCommand() *cobra.Command {
	diff := &cobra.Command{
		Use:   "diff",
		Short: "Show what would change on the live cluster",
		Example: `  # Has the cluster drifted from Git?
  plumb diff kustomization apps

  # What would this branch do?
  plumb diff ks apps --path ./apps

  # What would an upgrade change?
  plumb diff helmrelease podinfo -n apps

  # What would a sync do?
  plumb diff application guestbook

  plumb diff ks --all`,
	}
	addKindCommands(diff, false, deliveryKind, func(kind *declaredKind) *cobra.Command {
		flags := &previewFlags{kind: kind}
		command := &cobra.Command{
			Use:   "NAME",
			Short: "Show what " + article(kind.group.Kind) + " would change on the live cluster",
			Long: `Show what ` + article(kind.group.Kind) + ` would change on the live cluster, object by object, as
the API server itself predicts it (a dry run of server-side apply). Admission
and defaults are part of the answer. Secret values are masked.

` + diffNotes(kind) + `Exit codes: 0 no difference, 1 differences, 2 failed.`,
			Args: func(cmd *cobra.Command, args []string) error {
				if err := flags.args(cmd, args); err != nil {
					return &exitError{code: exitDiffFailed, err: err}
				}
				return nil
			},
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				return a.diff(ctx, *flags, args)
			},
		}
		flags.bind(command)
		a.redirects.bind(command.Flags())
		return command
	})
	return diff
}

// diffNotes says what is particular to a kind.
func diffNotes(kind *declaredKind) string {
	switch kind {
	case helmReleases:
		return `Hooks are named apart: they run in an action of Helm and are not compared.

`
	case applications:
	default:
		return ""
	}
	return `Differences that the Application or the settings of Argo CD ignore are left out.
Hooks are named apart: they run in a sync and are not compared.

`
}

// article puts the right one before a kind.
func article(kind string) string {
	if strings.ContainsRune("AEIOU", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// diff prints how the cluster differs, and says so by its exit code.
func (a *app) diff(ctx context.Context, flags previewFlags, args []string) error {
	differs := false
	p, err := a.place()
	if err == nil {
		err = p.compare(ctx, flags, args, func(c comparison) error {
			differs = differs || len(c.differences) > 0
			return a.printDifferences(c)
		})
	}
	switch {
	case err != nil:
		return &exitError{code: exitDiffFailed, err: err}
	case differs:
		return &exitError{code: exitDifferent}
	}
	return nil
}

// comparison is how the cluster differs from one delivery.
type comparison struct {
	id          object.ID
	differences []difference
	remark      func() // says what is not compared; nil: nothing
}

// difference is what would become of one object.
type difference struct {
	id     object.ID
	origin model.Origin
	verb   string // created, changed, recreated, deleted, blocked
	note   string
	diff   string // hunks, secrets masked
}

// compare predicts every object, and finds those that would be deleted.
func (d *derivation) compare(ctx context.Context) ([]difference, error) {
	found := make([]*difference, len(d.objects))
	group, predicting := errgroup.WithContext(ctx)
	group.SetLimit(dryRuns)
	for i := range d.objects {
		group.Go(func() error {
			var err error
			found[i], err = d.predict(predicting, &d.objects[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var differences []difference
	for _, f := range found {
		if f != nil {
			differences = append(differences, *f)
		}
	}
	deleted, err := d.deletions(ctx)
	return append(differences, deleted...), err
}

// predict asks the API server what applying an object would make of it; nil
// when nothing changes.
func (d *derivation) predict(ctx context.Context, w *wanted) (*difference, error) {
	out := &difference{id: w.id, origin: w.origin}
	version := w.object.GroupVersionKind().Version
	mapping, err := d.target.mapper.RESTMapping(w.id.GroupKind(), version)
	if meta.IsNoMatchError(err) {
		out.verb, out.note = "created", "its kind is not served yet"
		out.diff = d.show(nil, w.object, w)
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	objects := d.target.objects.Resource(mapping.Resource).Namespace(w.id.Namespace)
	live, err := objects.Get(ctx, w.id.Name, getOptions)
	switch {
	case apierrors.IsNotFound(err):
		live = nil
	case err != nil:
		return nil, clusters.Explain(err, "read", w.id, w.origin)
	}
	if d.leftAlone(w, live) {
		return nil, nil
	}
	want := w.object.DeepCopy()
	if live != nil {
		if err := d.leaveIgnored(want, live); err != nil {
			return nil, fmt.Errorf("%s: %w", w.id, err)
		}
	}
	after, err := objects.Apply(ctx, w.id.Name, want, metav1.ApplyOptions{
		FieldManager: d.delivery.Ownership.FieldManager, Force: true, DryRun: []string{metav1.DryRunAll},
	})
	switch {
	case err == nil && live == nil:
		out.verb = "created"
	case err == nil:
		out.verb = "changed"
	case live == nil && apierrors.IsNotFound(err):
		// The namespace does not exist before this very delivery creates it.
		out.verb, out.note, after = "created", "", want
	case live != nil && clusters.IsImmutable(err):
		out.verb, after = d.conflict(w), want
		if out.verb == "blocked" {
			out.note = explainedFault(w, err).Message
		}
	default:
		return nil, explainedFault(w, err)
	}
	if out.verb == "changed" && d.delivery.Sync.Staged {
		if same, _ := differ.Same(want, after, live, d.rules); same {
			return nil, nil
		}
		if live, after, err = d.stripped(live, after); err != nil {
			return nil, err
		}
	}
	out.diff = d.show(live, after, w)
	if out.diff == "" && out.verb == "changed" {
		return nil, nil
	}
	return out, nil
}

// stripped copies both sides without what the rules leave to others.
func (d *derivation) stripped(live, after *unstructured.Unstructured) (before, then *unstructured.Unstructured, err error) {
	before, then = live.DeepCopy(), after.DeepCopy()
	if _, err := d.rules.Strip(before); err != nil {
		return nil, nil, err
	}
	if _, err := d.rules.StripBeside(then, live); err != nil {
		return nil, nil, err
	}
	return before, then, nil
}

// explainedFault turns an answer of the API server into a fault without
// secrets.
func explainedFault(w *wanted, err error) *model.Fault {
	if w.secret {
		return clusters.ExplainSensitive(err, "dry-run", w.id, w.origin)
	}
	return clusters.Explain(err, "dry-run", w.id, w.origin)
}

// conflict says what an immutable field leads to.
func (d *derivation) conflict(w *wanted) string {
	if d.delivery.Policy.Force || w.handle.Force || w.handle.Replace {
		return "recreated"
	}
	return "blocked"
}

// leftAlone reports whether what the object or its delivery asks for keeps it
// from being applied.
func (d *derivation) leftAlone(w *wanted, live *unstructured.Unstructured) bool {
	if w.handle.Disabled {
		return true
	}
	if live == nil {
		return false
	}
	if w.crd && d.delivery.Release.UpgradeCRDs != "CreateReplace" {
		return true
	}
	has, _ := d.words.Handling(live)
	return has.Disabled || w.handle.IfNotPresent || d.delivery.Policy.CreateOnly
}

// compileRules prepares what counts as no difference.
func (d *derivation) compileRules() error {
	policy := &d.delivery.Policy
	rules := policy.Ignore
	if d.delivery.Sync.Staged {
		desired := make([]model.Desired, len(d.objects))
		for i, w := range d.objects {
			body, err := object.Canonical(w.object.Object)
			if err != nil {
				return fmt.Errorf("%s: %w", w.id, err)
			}
			desired[i] = model.Desired{ID: w.id, JSON: body, Origin: w.origin}
		}
		if implicit := differ.AutoscaledReplicas(desired); len(implicit) > 0 {
			var err error
			if d.implicit, err = differ.Compile(implicit, model.CompareRules{}); err != nil {
				return err
			}
			rules = slices.Concat(rules, implicit)
		}
	}
	labels, annotations := slices.Collect(maps.Keys(d.delivery.Ownership.Labels)), []string(nil)
	if t := d.delivery.Ownership.Tracking; t.Annotation != "" {
		annotations = []string{t.Annotation, t.InstallationAnnotation}
	}
	var err error
	d.rules, err = differ.Compile(rules, policy.Compare, differ.Marks(labels, annotations))
	return err
}

// leaveIgnored makes what would be sent leave alone what the delivery leaves to
// others, as far as it also applies around it.
func (d *derivation) leaveIgnored(want, live *unstructured.Unstructured) error {
	switch {
	case !d.delivery.Sync.Staged:
		paths, err := d.ignored(want)
		if err != nil {
			return err
		}
		return object.LeavePaths(want.Object, live, paths, d.delivery.Ownership.FieldManager)
	case d.delivery.Sync.Options.LeaveIgnored:
		return d.rules.Copy(want, live)
	}
	return d.implicit.Copy(want, live)
}

// ignored lists the JSON pointers that the delivery leaves to others.
func (d *derivation) ignored(o *unstructured.Unstructured) ([]string, error) {
	var paths []string
	for _, rule := range d.delivery.Policy.Ignore {
		if rule.CompareOnly {
			continue
		}
		target, err := differ.CompileSelector(rule.Target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Origin, err)
		}
		if target.Selects(o) {
			paths = append(paths, rule.Paths...)
		}
	}
	return paths, nil
}

// show is the difference in YAML, without what Plumb only watches by. Where
// nothing but a masked value changes, it says so.
func (d *derivation) show(before, after *unstructured.Unstructured, w *wanted) string {
	before, after = withoutWatchLabel(before), withoutWatchLabel(after)
	shown := object.Diff(d.secrets.Over(before, w.object), d.secrets.Over(after, w.object))
	if shown == "" && object.Diff(before, after) != "" {
		return "  a secret value changes\n"
	}
	return shown
}

func withoutWatchLabel(o *unstructured.Unstructured) *unstructured.Unstructured {
	if o == nil {
		return nil
	}
	clean := o.DeepCopy()
	set := clean.GetLabels()
	delete(set, watchLabel)
	if len(set) == 0 {
		set = nil
	}
	clean.SetLabels(set)
	return clean
}

// deletions are the objects that the delivery owns and does not want any more.
func (d *derivation) deletions(ctx context.Context) ([]difference, error) {
	note := ""
	switch {
	case d.delivery.Policy.Prune:
	case d.delivery.Sync.Staged:
		note = "only by a sync with --prune"
	default:
		return nil, nil
	}
	stays := map[object.ID]bool{}
	for _, w := range append(append([]wanted(nil), d.objects...), d.withheld...) {
		stays[w.id] = true
	}
	var deleted []difference
	for _, claim := range d.delivery.Claims {
		if stays[claim.ID] {
			continue
		}
		mapping, err := d.target.mapper.RESTMapping(claim.ID.GroupKind(), claim.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		live, err := d.target.objects.Resource(mapping.Resource).Namespace(claim.ID.Namespace).Get(ctx, claim.ID.Name, getOptions)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, clusters.Explain(err, "read", claim.ID, model.Origin{})
		}
		has, _ := d.words.Handling(live)
		if has.Keep || has.Disabled || has.IgnoreExtraneous || d.belongsElsewhere(live) {
			continue
		}
		deleted = append(deleted, difference{id: claim.ID, verb: "deleted", note: note})
	}
	return deleted, nil
}

// belongsElsewhere reports whether another delivery has taken an object over.
func (d *derivation) belongsElsewhere(live *unstructured.Unstructured) bool {
	for name, value := range d.delivery.Ownership.Labels {
		if has, ok := live.GetLabels()[name]; ok && has != value {
			return true
		}
	}
	tracking := d.delivery.Ownership.Tracking.Annotation
	owner, tracked := live.GetAnnotations()[tracking]
	if tracking == "" || !tracked {
		return false
	}
	ours := live.DeepCopy()
	engine.Mark(&d.delivery.Ownership, ours)
	return ours.GetAnnotations()[tracking] != owner
}

func (a *app) printDifferences(c comparison) error {
	color := colored(a.streams.Out, a.streams.Getenv)
	for _, f := range c.differences {
		line := fmt.Sprintf("► %s %s", f.id, f.verb)
		if f.origin.File != "" {
			line += " (" + f.origin.String() + ")"
		}
		if f.note != "" {
			line += ": " + f.note
		}
		if err := a.out("%s\n%s", paint(color, verbColor(f.verb), oneLine(line)), paintDiff(color, printable(f.diff))); err != nil {
			return err
		}
	}
	if c.remark != nil {
		c.remark()
	}
	if len(c.differences) == 0 {
		a.say.success("%s: no differences", c.id)
	}
	return nil
}

func verbColor(verb string) color {
	switch verb {
	case "created":
		return green
	case "deleted", "blocked", "recreated":
		return red
	}
	return yellow
}

// paintDiff colours added and removed lines.
func paintDiff(enabled bool, diff string) string {
	if !enabled || diff == "" {
		return diff
	}
	lines := strings.SplitAfter(diff, "\n")
	for i, line := range lines {
		text := strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(text, "+"):
			lines[i] = strings.Replace(line, text, paint(true, green, text), 1)
		case strings.HasPrefix(text, "-"):
			lines[i] = strings.Replace(line, text, paint(true, red, text), 1)
		case strings.HasPrefix(text, "@@"):
			lines[i] = strings.Replace(line, text, paint(true, faint, text), 1)
		}
	}
	return strings.Join(lines, "")
}
