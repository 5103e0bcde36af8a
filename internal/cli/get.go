package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// getFlags say which objects are listed and how.
type getFlags struct {
	allNamespaces  bool
	noHeader       bool
	watch          bool
	output         string
	labelSelector  string
	statusSelector string
	showSource     bool
}

func (a *app) getCommand() *cobra.Command {
	flags := &getFlags{}
	get := &cobra.Command{
		Use:   "get",
		Short: "List sources and deliveries and how they are doing",
		Long: `List what is declared, in the columns that users of its dialect know. Without
--namespace, Flux's kinds are looked up in flux-system and those of Argo CD in
argocd.

--status-selector takes the type of a condition; for Applications also sync and
health, as in sync=OutOfSync or health!=Healthy.`,
		Example: `  # Everything that is declared, in every namespace
  plumb get all -A

  # Kustomizations, with where they come from
  plumb get kustomizations -o wide

  # Helm releases, and where their charts come from
  plumb get helmreleases -A --show-source
  plumb get sources chart -A

  # Follow one
  plumb get ks apps --watch

  # What is not ready
  plumb get ks -A --status-selector ready=false

  # Applications that differ from Git
  plumb get applications --status-selector sync=OutOfSync`,
	}
	set := get.PersistentFlags()
	set.BoolVarP(&flags.allNamespaces, "all-namespaces", "A", false, "list the objects of every namespace")
	set.BoolVar(&flags.noHeader, "no-header", false, "print no header")
	set.BoolVarP(&flags.watch, "watch", "w", false, "go on printing changes until interrupted")
	set.StringVarP(&flags.output, "output", "o", "", "wide, yaml, json or name; the default is a table")
	completeFlag(get, "output", completeOutputs("json", "name", "wide", "yaml"))
	set.StringVarP(&flags.labelSelector, "label-selector", "l", "", "only objects whose labels match, such as team=a,env!=test")
	set.StringVar(&flags.statusSelector, "status-selector", "", "only objects with this condition, such as ready=false or ready!=true")

	sources := addKindCommands(get, true, everyKind, func(kind *declaredKind) *cobra.Command {
		command := &cobra.Command{
			Use:               "[NAME]",
			Short:             "List objects of kind " + kind.group.Kind,
			Args:              cobra.MaximumNArgs(1),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.get(cmd.Context(), *flags, []*declaredKind{kind}, args)
			},
		}
		if kind == kustomizations || kind == helmReleases || kind == applications {
			command.Flags().BoolVar(&flags.showSource, "show-source", false, "show the source that each reads")
		}
		return command
	})
	sources.AddCommand(&cobra.Command{
		Use:   "all",
		Short: "List every source",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.get(cmd.Context(), *flags, listedKinds(true), nil)
		},
	})
	get.AddCommand(a.getClustersCommand(flags))
	get.AddCommand(&cobra.Command{
		Use:   "deliveries",
		Short: "List what delivers: Kustomizations, HelmReleases, Applications and the like",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.get(cmd.Context(), *flags, deliveryKinds(), nil)
		},
	})
	get.AddCommand(&cobra.Command{
		Use:   "all",
		Short: "List everything that is declared",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.get(cmd.Context(), *flags, listedKinds(false), nil)
		},
	})
	return get
}

func (f getFlags) validate(several bool) error {
	switch f.output {
	case "", "wide", "yaml", "json", "name":
	default:
		return fmt.Errorf("--output must be wide, yaml, json or name, not %q", f.output)
	}
	if f.watch && several {
		return errors.New("--watch follows one kind at a time: name it, as in plumb get kustomizations --watch")
	}
	if f.watch && (f.output == "json" || f.output == "yaml") {
		return fmt.Errorf("--watch prints tables or names, not %s", f.output)
	}
	return nil
}

// get prints the objects of some kinds. Several kinds are several tables, and
// kinds that the cluster does not serve are passed over.
func (a *app) get(ctx context.Context, flags getFlags, kinds []*declaredKind, args []string) error {
	several := len(kinds) > 1
	if err := flags.validate(several); err != nil {
		return err
	}
	matches, err := parseStatusSelector(flags.statusSelector)
	if err != nil {
		return err
	}
	p, err := a.place()
	if err != nil {
		return err
	}
	view := &listing{app: a, flags: flags, matches: matches, prefixKind: several}
	if flags.watch {
		return view.follow(ctx, p, kinds[0], args)
	}
	ctx, cancel := a.within(ctx)
	defer cancel()
	found := false
	for _, kind := range kinds {
		list, err := p.list(ctx, kind, a.scopeOf(kind, flags.allNamespaces), listOptions(flags, args))
		if several && meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return err
		}
		shown, err := view.add(kind, list)
		if err != nil {
			return err
		}
		found = found || shown
	}
	if err := view.finish(); err != nil {
		return err
	}
	if !found && (flags.output == "" || flags.output == "wide") {
		return a.nothingFound(kinds, flags, args)
	}
	return nil
}

// namespaceOf is the namespace that is meant for objects of a kind: the one that
// was given, else where the kind's upstream keeps its own.
func (a *app) namespaceOf(kind *declaredKind) string {
	if a.kube.chosen || a.kube.namespaceGiven() {
		return a.kube.namespace
	}
	return kind.idiom.namespace(&a.kube)
}

func (a *app) scopeOf(kind *declaredKind, allNamespaces bool) string {
	if allNamespaces {
		return metav1.NamespaceAll
	}
	return a.namespaceOf(kind)
}

// nothingFound fails for a name that is not there; an empty list is no failure.
func (a *app) nothingFound(kinds []*declaredKind, flags getFlags, args []string) error {
	where := fmt.Sprintf("in namespace %q", a.namespaceOf(kinds[0]))
	if len(kinds) > 1 && !a.kube.chosen {
		where = fmt.Sprintf("in namespaces %q and %q", a.kube.namespace, a.kube.argoNamespace)
	}
	if flags.allNamespaces {
		where = "in any namespace"
	}
	if len(args) > 0 {
		return advise(fmt.Errorf("%s %q not found %s", kinds[0].group.Kind, args[0], where),
			"see what there is with: plumb get all -A")
	}
	what := "objects"
	if len(kinds) == 1 {
		what = kinds[0].group.Kind + " objects"
	}
	a.say.plain("no %s found %s", what, where)
	return nil
}

func listOptions(flags getFlags, args []string) metav1.ListOptions {
	options := metav1.ListOptions{LabelSelector: flags.labelSelector}
	if len(args) > 0 {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", args[0]).String()
	}
	return options
}

// pageSize bounds the objects that one answer of the API server holds.
const pageSize = 500

// list reads all objects of a kind, page by page, in order of namespace and
// name.
func (c *cluster) list(ctx context.Context, kind *declaredKind, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	resource, _, err := c.resource(kind.group)
	if err != nil {
		return nil, err
	}
	all, err := listPages(ctx, resource.Namespace(namespace), options)
	if err != nil {
		return nil, err
	}
	sort.SliceStable(all.Items, func(i, j int) bool { return before(&all.Items[i], &all.Items[j]) })
	return all, nil
}

// before orders objects by namespace and name.
func before(x, y *unstructured.Unstructured) bool {
	if x.GetNamespace() != y.GetNamespace() {
		return x.GetNamespace() < y.GetNamespace()
	}
	return x.GetName() < y.GetName()
}

func listPages(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	options.Limit = pageSize
	all := &unstructured.UnstructuredList{}
	for {
		page, err := resource.List(ctx, options)
		if err != nil {
			return nil, err
		}
		all.Object = page.Object
		all.SetResourceVersion(page.GetResourceVersion())
		all.Items = append(all.Items, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

// parseStatusSelector reads type=status and type!=status.
func parseStatusSelector(s string) (func(*unstructured.Unstructured) bool, error) {
	if s == "" {
		return func(*unstructured.Unstructured) bool { return true }, nil
	}
	kind, status, ok := strings.Cut(s, "=")
	if !ok || kind == "" || status == "" {
		return nil, fmt.Errorf("--status-selector must be type=status or type!=status, not %q", s)
	}
	kind, negated := strings.CutSuffix(kind, "!")
	return func(o *unstructured.Unstructured) bool {
		has, found := idiomOf(o).status(o, kind)
		return (found && strings.EqualFold(has, status)) != negated
	}, nil
}

// listing prints objects in the form the user asked for, kind after kind.
type listing struct {
	app        *app
	flags      getFlags
	matches    func(*unstructured.Unstructured) bool
	prefixKind bool
	tables     int
	collected  []unstructured.Unstructured // for yaml and json, which are one document
}

// add prints the objects of one kind and reports whether there were any.
func (v *listing) add(kind *declaredKind, list *unstructured.UnstructuredList) (bool, error) {
	var items []unstructured.Unstructured
	for _, item := range list.Items {
		if v.matches(&item) {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return false, nil
	}
	switch v.flags.output {
	case "yaml", "json":
		v.collected = append(v.collected, items...)
		return true, nil
	case "name":
		for i := range items {
			if err := v.app.out("%s/%s\n", resourceName(kind), items[i].GetName()); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	if v.tables > 0 {
		if err := v.app.out("\n"); err != nil {
			return true, err
		}
	}
	v.tables++
	return true, v.table(kind, items, v.flags.noHeader)
}

func (v *listing) table(kind *declaredKind, items []unstructured.Unstructured, headless bool) error {
	t := table{header: v.header(kind), headless: headless, color: colored(v.app.streams.Out, v.app.streams.Getenv)}
	for i := range items {
		t.rows = append(t.rows, v.row(kind, &items[i]))
	}
	return t.write(v.app.streams.Out)
}

// finish prints what had to wait for the last kind.
func (v *listing) finish() error {
	switch v.flags.output {
	case "yaml", "json":
		return v.app.printObjects(v.flags.output, v.collected)
	}
	return nil
}

// printObjects prints objects as one document: a single one as it is, several
// as a List, as kubectl does. Server bookkeeping that nobody reads is left out.
func (a *app) printObjects(format string, items []unstructured.Unstructured) error {
	documents := make([]any, len(items))
	for i := range items {
		unstructured.RemoveNestedField(items[i].Object, "metadata", "managedFields")
		documents[i] = items[i].Object
	}
	var document any = map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": documents}
	if len(documents) == 1 {
		document = documents[0]
	}
	return a.printDocument(format, document)
}

// printDocument prints any value as yaml or json.
func (a *app) printDocument(format string, document any) error {
	if format == "json" {
		data, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			return err
		}
		return a.out("%s\n", data)
	}
	data, err := yaml.Marshal(document)
	if err != nil {
		return err
	}
	return a.out("%s", data)
}

// resourceName is how -o name calls a kind, as kubectl does.
func resourceName(kind *declaredKind) string {
	return strings.ToLower(kind.group.Kind) + "." + kind.group.Group
}

// column is one column of a table of declared objects.
type column struct {
	name string
	when func(getFlags) bool // nil: always
	cell func(*app, *unstructured.Unstructured) string
}

func wide(f getFlags) bool       { return f.output == "wide" }
func withSource(f getFlags) bool { return f.showSource || wide(f) }

// fluxColumns are those of flux get, with some in front that a kind adds.
func fluxColumns(revision func(*unstructured.Unstructured) string, first ...column) []column {
	return append(first, revisionColumn(revision), suspendedColumn, readyColumn, ageColumn, messageColumn)
}

func revisionColumn(revision func(*unstructured.Unstructured) string) column {
	return column{name: "Revision", cell: func(_ *app, o *unstructured.Unstructured) string { return shortHashes(revision(o)) }}
}

var suspendedColumn = column{name: "Suspended", cell: func(_ *app, o *unstructured.Unstructured) string { return yesNo(suspended(o)) }}

var readyColumn = column{name: "Ready", cell: func(_ *app, o *unstructured.Unstructured) string {
	status, _ := readiness(o)
	return status
}}

// sourceColumn is the source that an object is made of.
func sourceColumn(when func(getFlags) bool) column {
	return column{name: "Source", when: when, cell: func(_ *app, o *unstructured.Unstructured) string {
		if ref := sourceOf(o); ref.name != "" {
			return ref.String()
		}
		return ""
	}}
}

var ageColumn = column{name: "Age", when: wide, cell: func(a *app, o *unstructured.Unstructured) string {
	return a.age(o.GetCreationTimestamp().Time)
}}

var messageColumn = column{name: "Message", cell: func(_ *app, o *unstructured.Unstructured) string {
	_, message := readiness(o)
	return shortHashes(message)
}}

// shown are the columns of a kind that the flags ask for.
func (v *listing) shown(kind *declaredKind) []column {
	var out []column
	for _, c := range kind.columns {
		if c.when == nil || c.when(v.flags) {
			out = append(out, c)
		}
	}
	return out
}

func (v *listing) header(kind *declaredKind) []string {
	var h []string
	if v.flags.allNamespaces {
		h = append(h, "Namespace")
	}
	h = append(h, "Name")
	for _, c := range v.shown(kind) {
		h = append(h, c.name)
	}
	return h
}

func (v *listing) row(kind *declaredKind, o *unstructured.Unstructured) []string {
	var r []string
	if v.flags.allNamespaces {
		r = append(r, o.GetNamespace())
	}
	name := o.GetName()
	if v.prefixKind {
		name = strings.ToLower(kind.group.Kind) + "/" + name
	}
	r = append(r, name)
	for _, c := range v.shown(kind) {
		r = append(r, c.cell(v.app, o))
	}
	return r
}

func (a *app) age(since time.Time) string {
	if since.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(a.now().Sub(since))
}

// follow prints a table and then a line for every change, until the command is
// interrupted.
func (v *listing) follow(ctx context.Context, p place, kind *declaredKind, args []string) error {
	lines := table{header: v.header(kind), headless: v.flags.noHeader, color: colored(v.app.streams.Out, v.app.streams.Getenv)}
	show := func(items ...unstructured.Unstructured) error {
		lines.rows = nil
		for i := range items {
			if !v.matches(&items[i]) {
				continue
			}
			if v.flags.output == "name" {
				if err := v.app.out("%s/%s\n", resourceName(kind), items[i].GetName()); err != nil {
					return err
				}
				continue
			}
			lines.rows = append(lines.rows, v.row(kind, &items[i]))
		}
		if v.flags.output == "name" {
			return nil
		}
		err := lines.write(v.app.streams.Out)
		lines.headless = true
		return err
	}
	err := p.follow(ctx, kind, v.app.scopeOf(kind, v.flags.allNamespaces), listOptions(v.flags, args), follower{
		initial: func(items []unstructured.Unstructured) (bool, error) { return false, show(items...) },
		change: func(change watch.EventType, o *unstructured.Unstructured) (bool, error) {
			if change == watch.Deleted {
				return false, nil
			}
			return false, show(*o)
		},
	})
	return interrupted(ctx, err)
}

// interrupted turns the end of a command that runs until it is interrupted
// into success.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // what the interruption broke off is no failure
	}
	return err
}
