package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	clusters "plumb.dev/plumb/internal/cluster"
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
	diff := &cobra.Command{Use: "diff", Short: "Show what would change on the live cluster", Args: unknownSubcommand, RunE: showHelp}
	flags := &previewFlags{}
	ks := &cobra.Command{
		Use:     "kustomization NAME",
		Aliases: []string{"ks"},
		Short:   "Show what a Kustomization would change on the live cluster",
		Long: `Show what a Kustomization would change on the live cluster, object by object, as
the API server itself predicts it (a dry run of server-side apply). Admission
and defaults are part of the answer. Secret values are masked.

Exit codes: 0 no difference, 1 differences, 2 failed.`,
		Example: `  # Has the cluster drifted from Git?
  plumb diff kustomization apps

  # What would this branch do?
  plumb diff ks apps --path ./apps

  plumb diff ks --all`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := flags.args(cmd, args); err != nil {
				return &exitError{code: exitDiffFailed, err: err}
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(kustomizations),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			differs := false
			err := a.eachDerived(ctx, *flags, args, func(d *derivation) error {
				differences, err := d.compare(ctx)
				if err != nil {
					return err
				}
				differs = differs || len(differences) > 0
				return a.printDifferences(d, differences)
			})
			switch {
			case err != nil:
				return &exitError{code: exitDiffFailed, err: err}
			case differs:
				return &exitError{code: exitDifferent}
			}
			return nil
		},
	}
	flags.bind(ks)
	diff.AddCommand(ks)
	return diff
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
	if d.leftAlone(w.object, live) {
		return nil, nil
	}
	want := w.object.DeepCopy()
	if live != nil {
		if err := object.LeavePaths(want.Object, live, d.ignored(want), d.delivery.Ownership.FieldManager); err != nil {
			return nil, fmt.Errorf("%s: spec.ignore: %w", w.id, err)
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
		out.verb, after = d.conflict(want), want
		if out.verb == "blocked" {
			out.note = explainedFault(w, err).Message
		}
	default:
		return nil, explainedFault(w, err)
	}
	out.diff = d.show(live, after, w)
	if out.diff == "" && out.verb == "changed" {
		return nil, nil
	}
	return out, nil
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
func (d *derivation) conflict(want *unstructured.Unstructured) string {
	if d.delivery.Policy.Force || d.asks(want, d.delivery.Ownership.Control.Force, "enabled") {
		return "recreated"
	}
	return "blocked"
}

// asks reports whether an object's annotation or label has a value.
func (d *derivation) asks(o *unstructured.Unstructured, name, value string) bool {
	return o != nil && name != "" &&
		(strings.EqualFold(o.GetAnnotations()[name], value) || strings.EqualFold(o.GetLabels()[name], value))
}

// leftAlone reports whether the object's own annotations keep it from being
// applied.
func (d *derivation) leftAlone(want, live *unstructured.Unstructured) bool {
	control := d.delivery.Ownership.Control
	for _, o := range []*unstructured.Unstructured{want, live} {
		if d.asks(o, control.Reconcile, "disabled") || d.asks(o, control.SSA, "Ignore") {
			return true
		}
	}
	return live != nil && d.asks(want, control.SSA, "IfNotPresent")
}

// ignored lists the JSON pointers that the delivery leaves to others.
func (d *derivation) ignored(o *unstructured.Unstructured) []string {
	var paths []string
	for _, rule := range d.delivery.Policy.Ignore {
		if rule.Target == nil || selects(rule.Target, o) {
			paths = append(paths, rule.Paths...)
		}
	}
	return paths
}

// selects matches as kustomize does: anchored regular expressions, label and
// annotation selectors.
func selects(s *model.Selector, o *unstructured.Unstructured) bool {
	gvk := o.GroupVersionKind()
	for _, pair := range [][2]string{
		{s.Group, gvk.Group}, {s.Version, gvk.Version}, {s.Kind, gvk.Kind},
		{s.Namespace, o.GetNamespace()}, {s.Name, o.GetName()},
	} {
		if pair[0] == "" {
			continue
		}
		pattern, err := regexp.Compile("^(?:" + pair[0] + ")$")
		if err != nil || !pattern.MatchString(pair[1]) {
			return false
		}
	}
	return chosen(s.LabelSelector, o.GetLabels()) && chosen(s.AnnotationSelector, o.GetAnnotations())
}

func chosen(selector string, set map[string]string) bool {
	if selector == "" {
		return true
	}
	parsed, err := labels.Parse(selector)
	return err == nil && parsed.Matches(labels.Set(set))
}

// show is the difference in YAML, without what Plumb only watches by. Where
// nothing but a masked value changes, it says so.
func (d *derivation) show(before, after *unstructured.Unstructured, w *wanted) string {
	before, after = withoutWatchLabel(before), withoutWatchLabel(after)
	shown := object.Diff(d.secrets.veiled(before, w.object), d.secrets.veiled(after, w.object))
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
	if !d.delivery.Policy.Prune {
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
		control := d.delivery.Ownership.Control
		if d.asks(live, control.Prune, "disabled") || d.asks(live, control.Reconcile, "disabled") || d.belongsElsewhere(live) {
			continue
		}
		deleted = append(deleted, difference{id: claim.ID, verb: "deleted"})
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
	return false
}

func (a *app) printDifferences(d *derivation, differences []difference) error {
	color := colored(a.streams.Out, a.streams.Getenv)
	for _, f := range differences {
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
	a.sayWithheld(d)
	if len(differences) == 0 {
		a.say.success("%s: no differences", d.delivery.ID)
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
