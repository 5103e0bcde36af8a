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
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"plumb.dev/plumb/internal/model"
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
	c, objects, err := a.applicationsHere()
	if err != nil {
		return err
	}
	by := c.username(ctx)
	err = a.operate(ctx, objects, name, func(o *unstructured.Unstructured) (map[string]any, error) {
		operation, err := flags.operation(o, by)
		return map[string]any{"operation": operation}, err
	})
	if err != nil || flags.async {
		return err
	}
	return a.followOperation(ctx, objects, name)
}

// applicationsHere is the client of the Applications in the namespace that is
// meant.
func (a *app) applicationsHere() (*cluster, dynamic.ResourceInterface, error) {
	return a.objectsHere(applications)
}

// objectsHere is the client of a kind in the namespace that is meant.
func (a *app) objectsHere(kind *declaredKind) (*cluster, dynamic.ResourceInterface, error) {
	c, err := a.connect()
	if err != nil {
		return nil, nil, err
	}
	resource, _, err := c.resource(kind.group)
	if err != nil {
		return nil, nil, err
	}
	return c, resource.Namespace(a.namespaceOf(kind)), nil
}

// username is what the API server calls the user, "" when it does not say.
func (c *cluster) username(ctx context.Context) string {
	reviews := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	answer, err := c.objects.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
	}}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return text(answer, "status", "userInfo", "username")
}

// operate writes an operation on an Application that has none, together with
// what else the patch holds, as one write (argo-cd util/argo, SetAppOperation).
func (a *app) operate(ctx context.Context, objects dynamic.ResourceInterface, name string, patch func(*unstructured.Unstructured) (map[string]any, error)) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o, err := objects.Get(ctx, name, getOptions)
		if err != nil {
			return err
		}
		if err := free(o); err != nil {
			return err
		}
		fields, err := patch(o)
		if err != nil {
			return err
		}
		metadata, _ := fields["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
		}
		metadata["resourceVersion"] = o.GetResourceVersion()
		fields["metadata"] = metadata
		if _, found, _ := unstructured.NestedMap(o.Object, "status", "operationState"); found {
			fields["status"] = map[string]any{"operationState": nil}
		}
		return patchOnce(ctx, objects, name, fields)
	})
	if err == nil {
		a.say.action("%s %s: operation written", applications.group.Kind, name)
	}
	return err
}

// free reports whether an Application can take an operation.
func free(o *unstructured.Unstructured) error {
	id := o.GetNamespace() + "/" + o.GetName()
	switch {
	case o.GetDeletionTimestamp() != nil:
		return fmt.Errorf("application %s is being deleted", id)
	case o.Object["operation"] != nil || running(o):
		return advise(fmt.Errorf("application %s: another operation is already in progress", id),
			"wait for its end, or stop it with: plumb terminate-op %s", called(applications, o))
	case suspended(o):
		return suspendedError(applications, o)
	}
	return nil
}

func running(o *unstructured.Unstructured) bool {
	phase := model.OperationPhase(text(o, "status", "operationState", "phase"))
	return phase == model.OperationRunning || phase == model.OperationTerminating
}

// operation is the field of that name, as argocd app sync has it written.
func (f syncFlags) operation(o *unstructured.Unstructured, by string) (map[string]any, error) {
	sync := map[string]any{}
	if err := f.putRevisions(sync, o); err != nil {
		return nil, err
	}
	if f.prune {
		sync["prune"] = true
	}
	if f.dryRun {
		sync["dryRun"] = true
	}
	strategy, err := f.syncStrategy()
	if err != nil {
		return nil, err
	}
	sync["syncStrategy"] = strategy
	chosen, err := chosenResources(f.resources, o)
	if err != nil {
		return nil, err
	}
	if len(chosen) > 0 {
		sync["resources"] = chosen
	}
	if options := f.syncOptions(o); len(options) > 0 {
		sync["syncOptions"] = options
	}
	out := map[string]any{"sync": sync, "initiatedBy": map[string]any{}}
	if by != "" {
		out["initiatedBy"] = map[string]any{"username": by}
	}
	if retry := f.retry(o); retry != nil {
		out["retry"] = retry
	}
	for _, pair := range f.info {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--info must be NAME=VALUE, not %q", pair)
		}
		list, _ := out["info"].([]any)
		out["info"] = append(list, map[string]any{"name": name, "value": value})
	}
	return out, nil
}

// putRevisions writes which revisions to sync to. An Application that syncs by
// itself would leave them again at once.
func (f syncFlags) putRevisions(sync map[string]any, o *unstructured.Unstructured) error {
	if f.revision == "" && len(f.revisions) == 0 {
		if len(f.positions) > 0 {
			return errors.New("--source-positions goes with --revisions")
		}
		return nil
	}
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	sources := sourcesIn(spec)
	many, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	asked := make([]any, len(sources))
	for i := range asked {
		asked[i] = ""
	}
	switch {
	case f.revision != "" && len(f.revisions) > 0:
		return errors.New("--revision or --revisions, not both")
	case f.revision != "" && len(many) > 0:
		return advise(fmt.Errorf("application %s has %d sources", o.GetName(), len(many)), "say which by --revisions and --source-positions")
	case f.revision != "":
		asked = []any{f.revision}
	case len(f.revisions) != len(f.positions):
		return errors.New("--revisions and --source-positions must be as many")
	}
	for i, position := range f.positions {
		if position < 1 || position > len(sources) {
			return fmt.Errorf("--source-positions: there is no source %d, only %d", position, len(sources))
		}
		asked[position-1] = f.revisions[i]
	}
	if automated(o) && !f.dryRun {
		for i, revision := range asked {
			target, _ := sources[min(i, len(sources)-1)]["targetRevision"].(string)
			if revision != "" && revision != target {
				return advise(fmt.Errorf("cannot sync to %s: auto-sync currently set to %s", revision, target),
					"go back to an earlier sync with: plumb rollback %s, or change the target revision", called(applications, o))
			}
		}
	}
	if len(many) > 0 {
		sync["revisions"] = asked
	} else {
		sync["revision"] = asked[0]
	}
	return nil
}

func (f syncFlags) syncStrategy() (map[string]any, error) {
	how := map[string]any{}
	if f.force {
		how["force"] = true
	}
	switch f.strategy {
	case "apply":
		return map[string]any{"apply": how}, nil
	case "", "hook":
		return map[string]any{"hook": how}, nil
	}
	return nil, fmt.Errorf("--strategy must be apply or hook, not %q", f.strategy)
}

// syncOptions are those of the Application, with what the flags say in place of
// options of the same name.
func (f syncFlags) syncOptions(o *unstructured.Unstructured) []any {
	given := slices.Clone(f.options)
	for option, set := range map[string]bool{"Replace=true": f.replace, "ServerSideApply=true": f.serverApp, "ApplyOutOfSyncOnly=true": f.changed} {
		if set {
			given = append(given, option)
		}
	}
	slices.Sort(given)
	name := func(option string) string { name, _, _ := strings.Cut(option, "="); return name }
	own, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "syncPolicy", "syncOptions")
	var out []any
	for _, option := range own {
		if !slices.ContainsFunc(given, func(g string) bool { return name(g) == name(option) }) {
			out = append(out, option)
		}
	}
	for _, option := range slices.Compact(given) {
		out = append(out, option)
	}
	return out
}

// retry is what the flags say, else what the Application says.
func (f syncFlags) retry(o *unstructured.Unstructured) map[string]any {
	if f.retryLimit == 0 {
		own, found, _ := unstructured.NestedMap(o.Object, "spec", "syncPolicy", "retry")
		if !found {
			return nil
		}
		return own
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

// chosenResources writes which objects are synced. An operation can only name
// what is in: where something is left out, it names everything else that the
// Application has.
func chosenResources(given []string, o *unstructured.Unstructured) ([]any, error) {
	var filters []resourceFilter
	for _, s := range given {
		filter, err := parseResource(s)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter)
	}
	entry := func(group, kind, namespace, name string) map[string]any {
		out := map[string]any{"kind": kind, "name": name}
		if group != "" {
			out["group"] = group
		}
		if namespace != "" {
			out["namespace"] = namespace
		}
		return out
	}
	var out []any
	if !slices.ContainsFunc(filters, func(f resourceFilter) bool { return f.exclude }) {
		for _, f := range filters {
			out = append(out, entry(f.group, f.kind, f.namespace, f.name))
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
			out = append(out, entry(id.Group, id.Kind, id.Namespace, id.Name))
		}
	}
	if len(out) == 0 {
		return nil, advise(fmt.Errorf("--resource leaves nothing of what application %s has", o.GetName()), "see what it has with: plumb tree %s", called(applications, o))
	}
	return out, nil
}

// followOperation prints what becomes of the objects until the operation has
// ended, and fails when it has.
func (a *app) followOperation(ctx context.Context, objects dynamic.ResourceInterface, name string) error {
	results := &resultPrinter{app: a, seen: map[string]string{}, table: table{
		header: []string{"Phase", "Object", "Status", "Message"}, color: colored(a.streams.Out, a.streams.Getenv),
	}}
	a.say.waiting("waiting for the operation to end")
	done, err := await(ctx, objects, name, func(o *unstructured.Unstructured) (bool, error) {
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

// terminate sets the phase of the operation that runs, as upstream's server
// does.
func (a *app) terminate(ctx context.Context, name string, async bool) error {
	_, objects, err := a.applicationsHere()
	if err != nil {
		return err
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o, err := objects.Get(ctx, name, getOptions)
		if err != nil {
			return err
		}
		switch {
		case running(o):
			return patchOnce(ctx, objects, name, map[string]any{
				"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()},
				"status":   map[string]any{"operationState": map[string]any{"phase": string(model.OperationTerminating)}},
			})
		case o.Object["operation"] != nil: // nobody has begun it
			return patchOnce(ctx, objects, name, map[string]any{
				"metadata":  map[string]any{"resourceVersion": o.GetResourceVersion()},
				"operation": nil,
			})
		}
		return errors.New("unable to terminate operation: no operation is in progress")
	})
	if err != nil {
		return err
	}
	a.say.action("%s %s: asked to stop", applications.group.Kind, name)
	if async {
		return nil
	}
	a.say.waiting("waiting for the operation to end")
	_, err = await(ctx, objects, name, func(o *unstructured.Unstructured) (bool, error) {
		return o.Object["operation"] == nil && !running(o), nil
	})
	if err != nil {
		return a.waitedInVain(applications, a.namespaceOf(applications), name, err)
	}
	a.say.success("the operation has ended")
	return nil
}
