package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"plumb.dev/plumb/internal/dialect/flux"
	"plumb.dev/plumb/internal/request"
)

const (
	// requestedAt asks for a reconciliation at once; the controller repeats
	// its value in status.lastHandledReconcileAt (fluxcd/pkg/apis/meta).
	requestedAt = flux.AnnotationRequestedAt
	// fieldManager owns what these commands write on declared objects.
	fieldManager = "plumb"
)

func (a *app) reconcileCommand() *cobra.Command {
	reconcile := &cobra.Command{
		Use:   "reconcile",
		Short: "Look again now, and wait for the outcome",
		Long: `Look again now, and wait for the outcome. For an Application of Argo CD that is a
refresh: its sources are fetched and compared with the cluster, and what its sync
policy automates is done. To sync by hand, use plumb sync.`,
		Example: `  # Fetch a repository now
  plumb reconcile source git flux-system

  # Fetch the source, then apply
  plumb reconcile kustomization apps --with-source

  # Install or upgrade a release though nothing has changed
  plumb reconcile helmrelease podinfo --force

  # Try a release again that has used up its retries
  plumb reconcile hr podinfo --reset

  # Compare an Application with its sources, trusting nothing that is remembered
  plumb reconcile application guestbook --hard`,
	}
	addKindCommands(reconcile, false, reconciledKind, func(kind *declaredKind) *cobra.Command {
		how, withSource := request.Look{}, false
		command := &cobra.Command{
			Use:               "NAME",
			Short:             "Reconcile " + article(kind.group.Kind) + " now",
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
			RunE: a.atPlace(func(ctx context.Context, p place, args []string) error {
				if withSource && kind.reads {
					if err := a.reconcileSourceOf(ctx, p, kind, a.namespaceOf(kind), args[0]); err != nil {
						return err
					}
				}
				return a.reconcile(ctx, p, kind, a.namespaceOf(kind), args[0], how)
			}),
		}
		switch {
		case kind.reads:
			command.Flags().BoolVar(&withSource, "with-source", false, "fetch the source first")
		case kind == applications:
			command.Flags().BoolVar(&withSource, "with-source", true, "the sources are always fetched")
			command.Flags().BoolVar(&how.Hard, "hard", false, "use nothing that is remembered of earlier renders")
		}
		if kind == helmReleases {
			command.Flags().BoolVar(&how.Force, "force", false, "install or upgrade once, though nothing has changed")
			command.Flags().BoolVar(&how.Reset, "reset", false, "count failures from zero")
		}
		return command
	})
	return reconcile
}

// atPlace is a command that works at the place that is meant, within --timeout.
func (a *app) atPlace(work func(ctx context.Context, p place, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.within(cmd.Context())
		defer cancel()
		p, err := a.place()
		if err != nil {
			return err
		}
		return work(ctx, p, args)
	}
}

// documented makes a command work at the place that is meant, and lets the user
// have its result as a document instead; output is then json or yaml.
func (a *app) documented(command *cobra.Command, usage string, work func(ctx context.Context, p place, args []string, output string) error) {
	output := ""
	command.Flags().StringVarP(&output, "output", "o", "", usage)
	completeFlag(command, "output", completeOutputs("json", "yaml"))
	run := a.atPlace(func(ctx context.Context, p place, args []string) error { return work(ctx, p, args, output) })
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if output != "" && output != "json" && output != "yaml" {
			return fmt.Errorf("--output must be json or yaml, not %q", output)
		}
		return run(cmd, args)
	}
}

// reconcileSourceOf fetches the source that an object is made of, and what that
// is made of in turn.
func (a *app) reconcileSourceOf(ctx context.Context, p place, kind *declaredKind, namespace, name string) error {
	reader, err := p.get(ctx, kind, namespace, name)
	if err != nil {
		return err
	}
	if suspended(reader) {
		return suspendedError(kind, reader)
	}
	ref := sourceOf(reader)
	source := declaredKindOf(schema.GroupKind{Group: sourceGroup, Kind: ref.kind})
	if source == nil || !source.reconciles {
		return advise(fmt.Errorf("cannot reconcile a source of kind %q", ref.kind), "reconcile without --with-source")
	}
	if source.reads {
		if err := a.reconcileSourceOf(ctx, p, source, ref.namespace, ref.name); err != nil {
			return err
		}
	}
	return a.reconcile(ctx, p, source, ref.namespace, ref.name, request.Look{})
}

func suspendedError(kind *declaredKind, o *unstructured.Unstructured) error {
	return advise(fmt.Errorf("%s %s/%s is suspended", kind.group.Kind, o.GetNamespace(), o.GetName()),
		"resume it first: plumb resume %s %s -n %s", kind.human, o.GetName(), o.GetNamespace())
}

// reconcile asks for a run and waits until it has ended.
func (a *app) reconcile(ctx context.Context, p place, kind *declaredKind, namespace, name string, how request.Look) error {
	declared, err := p.get(ctx, kind, namespace, name)
	if err != nil {
		return err
	}
	if suspended(declared) {
		return suspendedError(kind, declared)
	}
	if kind.static != nil {
		if why := kind.static(declared); why != "" {
			a.say.success("%s %s/%s: %s", kind.group.Kind, namespace, name, why)
			return nil
		}
	}
	a.say.action("annotating %s %s in %s namespace", kind.group.Kind, name, namespace)
	how.Token = a.now().Format(time.RFC3339Nano)
	if err := p.ask(ctx, kind, namespace, name, toLook{how}); err != nil {
		return err
	}
	a.say.success("%s annotated", kind.group.Kind)
	a.say.waiting("waiting for %s reconciliation", kind.group.Kind)
	done, err := awaitDeclared(ctx, p, kind, namespace, name, func(o *unstructured.Unstructured) (bool, error) {
		if !kind.idiom.woken(o) {
			return false, nil
		}
		return finished(kind, o)
	})
	if err != nil {
		return a.waitedInVain(kind, namespace, name, err)
	}
	a.sayDone(kind, done)
	return nil
}

// sayDone tells what a run has come to.
func (a *app) sayDone(kind *declaredKind, done *unstructured.Unstructured) {
	switch kind {
	case applications:
		a.say.success("%s %s: %s, %s", kind.done, kind.revision(done), text(done, "status", "sync", "status"), text(done, "status", "health", "status"))
	case applicationSets:
		ids, _ := kind.idiom.inventory(done)
		a.say.success("%s %d Applications", kind.done, len(ids))
	default:
		a.say.success("%s %s", kind.done, kind.revision(done))
	}
}

// finished reports whether the run of an object has ended well; it fails when
// the run has ended badly, and goes on waiting where only a dependency is
// missing, or what the caller names besides.
func finished(kind *declaredKind, o *unstructured.Unstructured, pending ...string) (bool, error) {
	if kind.idiom == (argoIdiom{}) {
		return compared(kind, o)
	}
	ready, ok := kind.idiom.settled(o)
	switch {
	case !ok || ready.reason == "DependencyNotReady" || contains(pending, ready.reason):
		return false, nil
	case ready.status == "True":
		return true, nil
	}
	return false, advise(fmt.Errorf("%s reconciliation failed: %s", kind.group.Kind, ready.message),
		"see why with: plumb events --for %s/%s -n %s", kind.group.Kind, o.GetName(), o.GetNamespace())
}

// compared is finished for what Argo CD declares: that it differs from Git, or
// is not healthy, is an answer; only an error is a failure.
func compared(kind *declaredKind, o *unstructured.Unstructured) (bool, error) {
	told, failed := worst(o)
	if kind == applicationSets {
		told, failed = standingOfSet(o)
		failed = failed && told.status == "False"
	} else if !strings.HasSuffix(told.kind, "Error") {
		return true, nil
	}
	if !failed {
		return true, nil
	}
	return false, advise(fmt.Errorf("%s %s/%s: %s: %s", kind.group.Kind, o.GetNamespace(), o.GetName(), cmp.Or(told.reason, told.kind), told.message),
		"see more with: plumb explain %s", called(kind, o))
}

// waitedInVain says what to look at when nothing has answered in time.
func (a *app) waitedInVain(kind *declaredKind, namespace, name string, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	err = fmt.Errorf("%s %s/%s: no outcome within %s: %w", kind.group.Kind, namespace, name, a.timeout, err)
	var seen *lastLook
	if errors.As(err, &seen) && seen.status == "Unknown" { // somebody works on it
		return advise(err, "it goes on without you: see how with: plumb explain %s %s -n %s; or allow more time with --timeout", kind.human, name, namespace)
	}
	return advise(err, "is Plumb running? See: plumb check")
}

func annotate(ctx context.Context, objects dynamic.ResourceInterface, name string, annotations map[string]any) error {
	return mergePatch(ctx, objects, name, map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

// mergePatch changes fields of an object; nil removes one.
func mergePatch(ctx context.Context, objects dynamic.ResourceInterface, name string, patch map[string]any) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { return patchOnce(ctx, objects, name, patch) })
}

// patchOnce is mergePatch for one that names the version it was made for.
func patchOnce(ctx context.Context, objects dynamic.ResourceInterface, name string, patch map[string]any) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

func exactlyOneName(kind *declaredKind) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return advise(fmt.Errorf("name exactly one %s", kind.group.Kind), "as in: %s", usage(cmd))
	}
}

// usage is a command's line without the mention of flags.
func usage(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }

func namesOrAll(kind *declaredKind, all *bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && !*all:
			return advise(fmt.Errorf("name at least one %s, or use --all", kind.group.Kind), "as in: %s", usage(cmd))
		case len(args) > 0 && *all:
			return errors.New("name objects or use --all, not both")
		}
		return nil
	}
}

func (a *app) suspendCommand() *cobra.Command {
	suspend := &cobra.Command{
		Use:   "suspend",
		Short: "Stop reconciling until resumed",
		Example: `  # Leave what a Kustomization delivered alone, for an intervention by hand
  plumb suspend kustomization apps

  # Fetch no new commits in this namespace
  plumb suspend source git --all

  # Neither upgrade a release nor correct what drifts
  plumb suspend helmrelease podinfo

  # Leave an Application of Argo CD as it is, in Git and on the cluster
  plumb suspend application guestbook`,
	}
	all := false
	suspend.PersistentFlags().BoolVar(&all, "all", false, "every object of the kind in the namespace")
	addKindCommands(suspend, false, suspendedKind, func(kind *declaredKind) *cobra.Command {
		return &cobra.Command{
			Use:               "NAME...",
			Short:             "Suspend " + kind.group.Kind + " objects",
			Args:              namesOrAll(kind, &all),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				return a.eachNamed(ctx, kind, args, func(p place, o *unstructured.Unstructured) error {
					a.say.action("suspending %s %s in %s namespace", kind.human, o.GetName(), o.GetNamespace())
					if err := p.ask(ctx, kind, o.GetNamespace(), o.GetName(), toSuspend{}); err != nil {
						return err
					}
					a.say.success("%s suspended", kind.human)
					return nil
				})
			},
		}
	})
	return suspend
}

func (a *app) resumeCommand() *cobra.Command {
	resume := &cobra.Command{
		Use:   "resume",
		Short: "Reconcile again what was suspended",
		Long: `Resume reconciling. For a single object the command waits for the outcome; for
several, only with --wait.`,
		Example: `  plumb resume kustomization apps
  plumb resume source git --all --wait
  plumb resume helmrelease podinfo
  plumb resume application guestbook`,
	}
	all, wait := false, false
	resume.PersistentFlags().BoolVar(&all, "all", false, "every object of the kind in the namespace")
	resume.PersistentFlags().BoolVar(&wait, "wait", false, "wait for the outcome of each")
	addKindCommands(resume, false, suspendedKind, func(kind *declaredKind) *cobra.Command {
		return &cobra.Command{
			Use:               "NAME...",
			Short:             "Resume " + kind.group.Kind + " objects",
			Args:              namesOrAll(kind, &all),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				waiting := wait || (len(args) == 1 && !cmd.Flags().Changed("wait"))
				return a.resume(ctx, kind, args, waiting)
			},
		}
	})
	return resume
}

// resume resumes all first and then waits for each, so that they run side by
// side.
func (a *app) resume(ctx context.Context, kind *declaredKind, names []string, wait bool) error {
	var at place
	var pending []string
	err := a.eachNamed(ctx, kind, names, func(p place, o *unstructured.Unstructured) error {
		a.say.action("resuming %s %s in %s namespace", kind.human, o.GetName(), o.GetNamespace())
		if err := p.ask(ctx, kind, o.GetNamespace(), o.GetName(), toResume{}); err != nil {
			return err
		}
		a.say.success("%s resumed", kind.human)
		at, pending = p, append(pending, o.GetName())
		return nil
	})
	if !wait {
		return err
	}
	failures := []error{err}
	for _, name := range pending {
		a.say.waiting("waiting for %s reconciliation", kind.group.Kind)
		done, err := awaitDeclared(ctx, at, kind, a.namespaceOf(kind), name, func(o *unstructured.Unstructured) (bool, error) {
			if !kind.idiom.resumed(o) {
				return false, nil
			}
			return finished(kind, o)
		})
		if err != nil {
			failures = append(failures, a.waitedInVain(kind, a.namespaceOf(kind), name, err))
			continue
		}
		a.say.success("%s %s reconciliation completed", kind.group.Kind, name)
		a.sayDone(kind, done)
	}
	return errors.Join(failures...)
}

// eachNamed does something to the named objects, or to all of the namespace
// when no name is given. It goes on after a failure and reports all of them.
func (a *app) eachNamed(ctx context.Context, kind *declaredKind, names []string, do func(place, *unstructured.Unstructured) error) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	namespace := a.namespaceOf(kind)
	var chosen []unstructured.Unstructured
	var failures []error
	if len(names) == 0 {
		list, err := p.list(ctx, kind, namespace, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return fmt.Errorf("no %s found in namespace %q", kind.group.Kind, namespace)
		}
		chosen = list.Items
	}
	done := map[string]bool{}
	for _, name := range names {
		if done[name] {
			continue
		}
		done[name] = true
		o, err := p.get(ctx, kind, namespace, name)
		switch {
		case apierrors.IsNotFound(err):
			failures = append(failures, fmt.Errorf("%s %q not found in namespace %q", kind.group.Kind, name, namespace))
		case err != nil:
			failures = append(failures, err)
		default:
			chosen = append(chosen, *o)
		}
	}
	for i := range chosen {
		if err := do(p, &chosen[i]); err != nil {
			failures = append(failures, fmt.Errorf("%s %s/%s: %w", kind.group.Kind, chosen[i].GetNamespace(), chosen[i].GetName(), err))
		}
	}
	return errors.Join(failures...)
}

// completeNames offers the names of a kind to the shell. It stays silent when
// the cluster cannot be asked.
func (a *app) completeNames(kind *declaredKind) cobra.CompletionFunc {
	return offered(func(ctx context.Context, _ []string, _ string) []string { return a.namesOf(ctx, kind.group.Kind) })
}
