package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/request"
)

// applicationKinds are those that operations are written on.
func applicationKinds(kind *declaredKind) bool { return kind == applications }

// syncFlags are those of argocd app sync.
type syncFlags struct {
	revision  string
	revisions []string
	positions []int
	prune     bool
	dryRun    bool
	force     bool
	strategy  string
	resources []string
	options   []string
	replace   bool
	serverApp bool
	changed   bool // --apply-out-of-sync-only
	info      []string

	retryLimit    int64
	retryRefresh  bool
	retryDuration time.Duration
	retryMax      time.Duration
	retryFactor   int64

	async bool
}

func (f *syncFlags) bind(set *pflag.FlagSet) {
	set.StringVar(&f.revision, "revision", "", "sync to this branch, tag or commit instead of the target revision")
	set.StringSliceVar(&f.revisions, "revisions", nil, "the same for several sources, with --source-positions")
	set.IntSliceVar(&f.positions, "source-positions", nil, "which sources the --revisions are for, counted from 1")
	set.BoolVar(&f.prune, "prune", false, "delete what is not wanted any more")
	set.BoolVar(&f.dryRun, "dry-run", false, "predict everything and change nothing")
	set.BoolVar(&f.force, "force", false, "delete and create what cannot be changed")
	set.StringVar(&f.strategy, "strategy", "", "apply: without hooks; hook: with them, which is the default")
	set.StringArrayVar(&f.resources, "resource", nil, "only this object, as `GROUP:KIND:NAME` or GROUP:KIND:NAMESPACE/NAME; \"*\" is any, \"!\" in front leaves it out; may be repeated")
	set.StringArrayVar(&f.options, "sync-option", nil, "sync option such as Validate=false, besides those of the Application; may be repeated")
	set.BoolVar(&f.replace, "replace", false, "sync option Replace=true")
	set.BoolVar(&f.serverApp, "server-side", false, "sync option ServerSideApply=true; Plumb always applies so")
	set.BoolVar(&f.changed, "apply-out-of-sync-only", false, "sync option ApplyOutOfSyncOnly=true; Plumb always does so")
	set.StringArrayVar(&f.info, "info", nil, "`NAME=VALUE` to keep with the operation; may be repeated")
	set.Int64Var(&f.retryLimit, "retry-limit", 0, "how often a failed sync is tried again; negative: without end; 0: as the Application says")
	set.BoolVar(&f.retryRefresh, "retry-refresh", false, "try again with the newest revision")
	set.DurationVar(&f.retryDuration, "retry-backoff-duration", 5*time.Second, "first pause before it is tried again")
	set.DurationVar(&f.retryMax, "retry-backoff-max-duration", 3*time.Minute, "longest pause")
	set.Int64Var(&f.retryFactor, "retry-backoff-factor", 2, "by which each pause is longer than the last")
	f.bindWaiting(set)
}

// bindWaiting binds what every command that begins an operation has.
func (f *syncFlags) bindWaiting(set *pflag.FlagSet) {
	wait := true
	set.BoolVar(&f.async, "async", false, "do not wait for the end")
	set.BoolVar(&wait, "wait", true, "wait for the end; --wait=false is --async")
	set.Lookup("wait").Value = notValue{&f.async, set.Lookup("wait").Value}
}

// notValue is a boolean flag that sets another one to its opposite.
type notValue struct {
	other *bool
	pflag.Value
}

func (v notValue) Set(s string) error {
	if err := v.Value.Set(s); err != nil {
		return err
	}
	*v.other = v.String() == "false"
	return nil
}

func (a *app) syncCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "sync",
		Short: "Sync an Application, and follow how it goes",
		Long: `Sync an Application of Argo CD: write the operation that its own command line
writes, and print what becomes of every object until the operation has ended. The
exit code is 1 when it fails.

Given options go before those of the Application that have the same name; the
rest of these holds too.`,
		Example: `  plumb sync application guestbook

  # To a revision, deleting what it does not have
  plumb sync app guestbook --revision v1.2.0 --prune

  # Only one object
  plumb sync app guestbook --resource apps:Deployment:guestbook-ui`,
	}
	addKindCommands(command, false, applicationKinds, func(kind *declaredKind) *cobra.Command {
		flags := &syncFlags{}
		sync := &cobra.Command{
			Use:               "NAME",
			Short:             "Sync " + article(kind.group.Kind),
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				return a.sync(ctx, args[0], *flags)
			},
		}
		flags.bind(sync.Flags())
		return sync
	})
	return command
}

func (a *app) sync(ctx context.Context, name string, flags syncFlags) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	// The operation and what goes with it are one write (argo-cd util/argo,
	// SetAppOperation).
	if err := p.ask(ctx, applications, a.namespaceOf(applications), name, toSync{flags}); err != nil {
		return err
	}
	a.say.action("%s %s: operation written", applications.group.Kind, name)
	if flags.async {
		return nil
	}
	return a.followOperation(ctx, p, name)
}

// username is what the API server calls the user, "" when it does not say.
func (c *cluster) username(ctx context.Context) string {
	answer, err := c.user(ctx)
	if err != nil {
		return ""
	}
	return text(answer, "status", "userInfo", "username")
}

// user is a SelfSubjectReview.
func (c *cluster) user(ctx context.Context) (*unstructured.Unstructured, error) {
	reviews := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	return c.objects.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
	}}, metav1.CreateOptions{})
}

// asked is the sync that the flags ask for.
func (f syncFlags) asked(o *unstructured.Unstructured, by string) (request.Sync, error) {
	sync := request.Sync{Prune: f.prune, DryRun: f.dryRun, Force: f.force, Options: f.syncOptions(), Retry: f.retry(), By: by, Fresh: true}
	var err error
	if sync.Revision, sync.Revisions, err = f.askedRevisions(o); err != nil {
		return sync, err
	}
	switch f.strategy {
	case "apply":
		sync.NoHooks = true
	case "", "hook":
	default:
		return sync, fmt.Errorf("--strategy must be apply or hook, not %q", f.strategy)
	}
	if sync.Resources, err = chosenResources(f.resources, o); err != nil {
		return sync, err
	}
	for _, pair := range f.info {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return sync, fmt.Errorf("--info must be NAME=VALUE, not %q", pair)
		}
		sync.Info = append(sync.Info, [2]string{name, value})
	}
	return sync, nil
}

// askedRevisions are what --revision or --revisions say: one, or one for each
// source.
func (f syncFlags) askedRevisions(o *unstructured.Unstructured) (one string, each []string, err error) {
	many, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	switch {
	case f.revision == "" && len(f.revisions) == 0 && len(f.positions) > 0:
		return "", nil, errors.New("--source-positions goes with --revisions")
	case f.revision == "" && len(f.revisions) == 0:
		return "", nil, nil
	case f.revision != "" && len(f.revisions) > 0:
		return "", nil, errors.New("--revision or --revisions, not both")
	case f.revision != "" && len(many) > 0:
		return "", nil, advise(fmt.Errorf("application %s has %d sources", o.GetName(), len(many)), "say which by --revisions and --source-positions")
	case f.revision != "":
		return f.revision, nil, nil
	case len(f.revisions) != len(f.positions):
		return "", nil, errors.New("--revisions and --source-positions must be as many")
	}
	each = make([]string, max(len(many), 1))
	for i, position := range f.positions {
		if position < 1 || position > len(each) {
			return "", nil, fmt.Errorf("--source-positions: there is no source %d, only %d", position, len(each))
		}
		each[position-1] = f.revisions[i]
	}
	return "", each, nil
}

// syncOptions are those that the flags say.
func (f syncFlags) syncOptions() []string {
	given := slices.Clone(f.options)
	for option, set := range map[string]bool{"Replace=true": f.replace, "ServerSideApply=true": f.serverApp, "ApplyOutOfSyncOnly=true": f.changed} {
		if set {
			given = append(given, option)
		}
	}
	slices.Sort(given)
	return slices.Compact(given)
}

// retry is what the flags say; nil: nothing.
func (f syncFlags) retry() map[string]any {
	if f.retryLimit == 0 {
		return nil
	}
	out := map[string]any{"limit": f.retryLimit, "backoff": map[string]any{
		"duration": f.retryDuration.String(), "maxDuration": f.retryMax.String(), "factor": f.retryFactor,
	}}
	if f.retryRefresh {
		out["refresh"] = true
	}
	return out
}

// resourceFilter is one --resource.
type resourceFilter struct {
	group, kind, namespace, name string
	exclude                      bool
}

func parseResource(s string) (resourceFilter, error) {
	rest, exclude := strings.CutPrefix(s, "!")
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return resourceFilter{}, fmt.Errorf("--resource must be GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME, not %q", s)
	}
	out := resourceFilter{group: parts[0], kind: parts[1], name: parts[2], exclude: exclude}
	if namespace, name, ok := strings.Cut(parts[2], "/"); ok {
		out.namespace, out.name = namespace, name
	}
	if out.kind == "" || out.name == "" || strings.Contains(out.name, "/") {
		return resourceFilter{}, fmt.Errorf("--resource %q names no object", s)
	}
	return out, nil
}

// matches is upstream's SyncOperationResource.Compare: "*" is any, an empty
// namespace too.
func (r resourceFilter) matches(group, kind, namespace, name string) bool {
	is := func(pattern, text string) bool { return pattern == "*" || pattern == text }
	return is(r.group, group) && is(r.kind, kind) && is(r.name, name) && (r.namespace == "" || is(r.namespace, namespace))
}

// chosenResources says which objects are synced. An operation can only name
// what is in: where something is left out, it names everything else that the
// Application has.
func chosenResources(given []string, o *unstructured.Unstructured) ([]model.ObjectFilter, error) {
	var filters []resourceFilter
	for _, s := range given {
		filter, err := parseResource(s)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter)
	}
	var out []model.ObjectFilter
	if !slices.ContainsFunc(filters, func(f resourceFilter) bool { return f.exclude }) {
		for _, f := range filters {
			out = append(out, model.ObjectFilter{Group: f.group, Kind: f.kind, Namespace: f.namespace, Name: f.name})
		}
		return out, nil
	}
	only := slices.ContainsFunc(filters, func(f resourceFilter) bool { return !f.exclude })
	for _, fields := range resourcesIn(o) {
		id := resourceID(o, fields)
		if hook, _, _ := unstructured.NestedBool(fields, "hook"); hook {
			continue // hooks do not run in a sync of some objects
		}
		in, excluded := !only, false
		for _, f := range filters {
			if f.matches(id.Group, id.Kind, id.Namespace, id.Name) {
				in, excluded = true, excluded || f.exclude
			}
		}
		if in && !excluded {
			out = append(out, model.ObjectFilter{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name})
		}
	}
	if len(out) == 0 {
		return nil, advise(fmt.Errorf("--resource leaves nothing of what application %s has", o.GetName()), "see what it has with: plumb tree %s", called(applications, o))
	}
	return out, nil
}

// followOperation prints what becomes of the objects until the operation has
// ended, and fails when it has.
func (a *app) followOperation(ctx context.Context, p place, name string) error {
	results := &resultPrinter{app: a, seen: map[string]string{}, table: table{
		header: []string{"Phase", "Object", "Status", "Message"}, color: colored(a.streams.Out, a.streams.Getenv),
	}}
	a.say.waiting("waiting for the operation to end")
	done, err := awaitDeclared(ctx, p, applications, a.namespaceOf(applications), name, func(o *unstructured.Unstructured) (bool, error) {
		if err := results.show(o); err != nil {
			return false, err
		}
		phase := model.OperationPhase(text(o, "status", "operationState", "phase"))
		return o.Object["operation"] == nil && phase.Completed(), nil
	})
	if err != nil {
		return a.waitedInVain(applications, a.namespaceOf(applications), name, err)
	}
	phase, message := text(done, "status", "operationState", "phase"), text(done, "status", "operationState", "message")
	if model.OperationPhase(phase) != model.OperationSucceeded {
		return advise(fmt.Errorf("operation %s: %s", strings.ToLower(phase), message), "see more with: plumb explain %s", called(applications, done))
	}
	synced, _, _ := unstructured.NestedMap(done.Object, "status", "operationState", "syncResult")
	a.say.success("%s: %s", strings.Join(revisionsIn(synced), ", "), oneLine(message))
	a.say.success("%s, %s", text(done, "status", "sync", "status"), text(done, "status", "health", "status"))
	return nil
}

// resultPrinter prints the results of an operation as they come.
type resultPrinter struct {
	app     *app
	table   table
	seen    map[string]string // object and phase → what was printed of it
	message string
}

func (p *resultPrinter) show(o *unstructured.Unstructured) error {
	state, _, _ := unstructured.NestedMap(o.Object, "status", "operationState")
	lines, _, _ := unstructured.NestedSlice(state, "syncResult", "resources")
	p.table.rows = nil
	for _, item := range lines {
		fields, _ := item.(map[string]any)
		row := resultRow(o, fields)
		key, said := row[0]+" "+row[1], row[2]+" "+row[3]
		if p.seen[key] != said {
			p.seen[key] = said
			p.table.rows = append(p.table.rows, row)
		}
	}
	if len(p.table.rows) > 0 {
		if err := p.table.write(p.app.streams.Out); err != nil {
			return err
		}
		p.table.headless = true
	}
	message, _, _ := unstructured.NestedString(state, "message")
	phase, _, _ := unstructured.NestedString(state, "phase")
	if message != "" && message != p.message && !model.OperationPhase(phase).Completed() {
		p.app.say.waiting("%s", oneLine(message))
	}
	p.message = message
	return nil
}

// resultRow is one line: a hook shows how far it is, anything else what became
// of it.
func resultRow(o *unstructured.Unstructured, fields map[string]any) []string {
	part := func(name string) string { s, _ := fields[name].(string); return s }
	phase, status := part("syncPhase"), part("status")
	if hook := part("hookType"); hook != "" {
		phase, status = hook+" hook", part("hookPhase")
	}
	if phase == "" {
		phase = string(model.Sync)
	}
	return []string{phase, resourceID(o, fields).String(), status, part("message")}
}

func (a *app) terminateCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "terminate-op",
		Short:   "Stop the operation of an Application",
		Example: `  plumb terminate-op application guestbook`,
	}
	addKindCommands(command, false, applicationKinds, func(kind *declaredKind) *cobra.Command {
		flags := &syncFlags{}
		terminate := &cobra.Command{
			Use:               "NAME",
			Short:             "Stop the operation of " + article(kind.group.Kind),
			Long:              "Stop the operation of an Application, and wait until it has ended. What was applied stays; running hooks are deleted.",
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				return a.terminate(ctx, args[0], flags.async)
			},
		}
		flags.bindWaiting(terminate.Flags())
		return terminate
	})
	return command
}

// terminate asks the operation to end, and waits for it.
func (a *app) terminate(ctx context.Context, name string, async bool) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	if err := p.ask(ctx, applications, a.namespaceOf(applications), name, toTerminate{}); err != nil {
		return err
	}
	a.say.action("%s %s: asked to stop", applications.group.Kind, name)
	if async {
		return nil
	}
	a.say.waiting("waiting for the operation to end")
	_, err = awaitDeclared(ctx, p, applications, a.namespaceOf(applications), name, func(o *unstructured.Unstructured) (bool, error) {
		return o.Object["operation"] == nil && !request.Running(o), nil
	})
	if err != nil {
		return a.waitedInVain(applications, a.namespaceOf(applications), name, err)
	}
	a.say.success("the operation has ended")
	return nil
}
