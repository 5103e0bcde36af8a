package cli

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

var coreEvents = schema.GroupVersionResource{Version: "v1", Resource: "events"}

type eventFlags struct {
	allNamespaces bool
	watch         bool
	about         string
	types         []string
	noHeader      bool
}

func (a *app) eventsCommand() *cobra.Command {
	flags := &eventFlags{}
	events := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to declared objects",
		Long: `Show the Kubernetes events about declared objects, oldest first. With --for
KIND/NAME the events of the source that it reads are shown too. Without
--namespace, the namespaces of Flux and of Argo CD are looked at.`,
		Example: `  plumb events -A
  plumb events --for Kustomization/apps --watch
  plumb events --for Application/guestbook
  plumb events --types Warning`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), *flags) },
	}
	events.Flags().BoolVarP(&flags.allNamespaces, "all-namespaces", "A", false, "show the events of every namespace")
	events.Flags().BoolVarP(&flags.watch, "watch", "w", false, "go on printing events until interrupted")
	events.Flags().StringVar(&flags.about, "for", "", "only events about this `KIND[/NAME]`")
	completeFlag(events, "for", a.completeDeclared())
	events.Flags().StringSliceVar(&flags.types, "types", nil, "only events of these types: Normal, Warning")
	completeFlag(events, "types", completeOutputs("Normal", "Warning"))
	events.Flags().BoolVar(&flags.noHeader, "no-header", false, "print no header")
	return events
}

func (a *app) events(ctx context.Context, flags eventFlags) error {
	for _, t := range flags.types {
		if !strings.EqualFold(t, "Normal") && !strings.EqualFold(t, "Warning") {
			return fmt.Errorf("--types knows Normal and Warning, not %q", t)
		}
	}
	p, err := a.place()
	if err != nil {
		return err
	}
	wanted, err := a.eventFilter(ctx, p, flags)
	if err != nil {
		return err
	}
	printer := &eventPrinter{app: a, wanted: wanted, table: table{
		header:   []string{"Last seen", "Type", "Reason", "Object", "Message"},
		headless: flags.noHeader,
		color:    colored(a.streams.Out, a.streams.Getenv),
	}}
	if wanted.everywhere() {
		printer.table.header = append([]string{"Namespace"}, printer.table.header...)
	}
	if flags.watch {
		return interrupted(ctx, p.events(ctx, wanted, true, printer.show))
	}
	ctx, cancel := a.within(ctx)
	defer cancel()
	if err := p.events(ctx, wanted, false, printer.show); err != nil {
		return err
	}
	if len(printer.table.rows) == 0 {
		a.say.plain("no events found; the API server forgets them after an hour")
	}
	return nil
}

// eventPrinter prints events as they come, under one header.
type eventPrinter struct {
	app    *app
	wanted wantedEvents

	mu    sync.Mutex
	table table
}

func (p *eventPrinter) show(items []unstructured.Unstructured) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.rows = nil
	sort.SliceStable(items, func(i, j int) bool { return lastSeen(&items[i]).Before(lastSeen(&items[j])) })
	for i := range items {
		if p.wanted.matches(&items[i]) {
			p.table.rows = append(p.table.rows, p.app.eventRow(&items[i], p.wanted.everywhere()))
		}
	}
	if len(p.table.rows) == 0 {
		return nil
	}
	err := p.table.write(p.app.streams.Out)
	p.table.headless = true
	return err
}

// events reads those of every wanted namespace and, with watch, goes on until ctx
// ends.
func (p onSite) events(ctx context.Context, wanted wantedEvents, goOn bool, show func([]unstructured.Unstructured) error) error {
	options := metav1.ListOptions{FieldSelector: wanted.selector()}
	if !goOn {
		var items []unstructured.Unstructured
		for _, namespace := range wanted.namespaces {
			list, err := listPages(ctx, p.objects.Resource(coreEvents).Namespace(namespace), options)
			if err != nil {
				return err
			}
			items = append(items, list.Items...)
		}
		return show(items)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, namespace := range wanted.namespaces {
		group.Go(func() error {
			return follow(ctx, p.objects.Resource(coreEvents).Namespace(namespace), options, follower{
				initial: func(items []unstructured.Unstructured) (bool, error) { return false, show(items) },
				change: func(change watch.EventType, o *unstructured.Unstructured) (bool, error) {
					if change == watch.Deleted {
						return false, nil
					}
					return false, show([]unstructured.Unstructured{*o})
				},
			})
		})
	}
	return group.Wait()
}

// wantedEvents says which events are shown.
type wantedEvents struct {
	declared   *declaredKind // of kind; nil: any
	kind, name string        // "": any
	sources    []reference   // shown as well
	types      []string
	namespaces []string // that are looked at
	namespace  string   // of what kind and name say; metav1.NamespaceAll: any
}

// everywhere reports whether the events of every namespace are looked at.
func (w wantedEvents) everywhere() bool {
	return len(w.namespaces) == 1 && w.namespaces[0] == metav1.NamespaceAll
}

func (a *app) eventFilter(ctx context.Context, p place, flags eventFlags) (wantedEvents, error) {
	w := wantedEvents{types: flags.types, namespaces: []string{metav1.NamespaceAll}}
	switch {
	case flags.allNamespaces:
	case a.kube.chosen || a.kube.namespace == a.kube.argoNamespace:
		w.namespaces = []string{a.kube.namespace}
	default:
		w.namespaces = []string{a.kube.namespace, a.kube.argoNamespace}
	}
	if flags.about == "" {
		return w, nil
	}
	kind, name, _ := strings.Cut(flags.about, "/")
	declared := kindNamed(kind)
	if declared == nil {
		return w, advise(fmt.Errorf("--for knows no kind %q", kind), "give it as KIND or KIND/NAME, such as Kustomization/apps")
	}
	w.declared, w.kind, w.name, w.namespace = declared, declared.group.Kind, name, a.scopeOf(declared, flags.allNamespaces)
	w.namespaces = []string{w.namespace}
	if name == "" || !declared.reads || flags.allNamespaces {
		return w, nil
	}
	o, err := p.get(ctx, declared, w.namespace, name)
	if err != nil {
		return w, err
	}
	source := sourceOf(o)
	w.sources = append(w.sources, source)
	if source.namespace != w.namespace {
		w.namespaces = []string{metav1.NamespaceAll}
	}
	return w, nil
}

// selector narrows the list where the server can do it.
func (w wantedEvents) selector() string {
	if w.kind == "" || len(w.sources) > 0 {
		return ""
	}
	terms := fields.Set{"involvedObject.kind": w.kind}
	if w.name != "" {
		terms["involvedObject.name"] = w.name
	}
	return fields.SelectorFromSet(terms).String()
}

func (w wantedEvents) matches(event *unstructured.Unstructured) bool {
	if len(w.types) > 0 && !containsFold(w.types, text(event, "type")) {
		return false
	}
	about := reference{
		kind:      text(event, "involvedObject", "kind"),
		namespace: text(event, "involvedObject", "namespace"),
		name:      text(event, "involvedObject", "name"),
	}
	for _, source := range w.sources {
		if about == source {
			return true
		}
	}
	if w.kind == "" {
		group, _, _ := strings.Cut(text(event, "involvedObject", "apiVersion"), "/")
		return isDeclared(schema.GroupKind{Group: group, Kind: about.kind})
	}
	return about.kind == w.kind && (w.name == "" || about.name == w.name) &&
		(w.namespace == metav1.NamespaceAll || about.namespace == w.namespace)
}

func containsFold(list []string, s string) bool {
	for _, item := range list {
		if strings.EqualFold(item, s) {
			return true
		}
	}
	return false
}

func (a *app) eventRow(event *unstructured.Unstructured, withNamespace bool) []string {
	var row []string
	if withNamespace {
		row = append(row, event.GetNamespace())
	}
	return append(row,
		a.seen(event),
		text(event, "type"),
		text(event, "reason"),
		text(event, "involvedObject", "kind")+"/"+text(event, "involvedObject", "name"),
		text(event, "message"))
}

// seen is how long ago an event happened, and how often.
func (a *app) seen(event *unstructured.Unstructured) string {
	age := a.age(lastSeen(event))
	count, _, _ := unstructured.NestedInt64(event.Object, "count")
	if series, found, _ := unstructured.NestedInt64(event.Object, "series", "count"); found {
		count = series
	}
	if count < 2 {
		return age
	}
	first, err := time.Parse(time.RFC3339, text(event, "firstTimestamp"))
	if err != nil {
		return fmt.Sprintf("%s (x%d)", age, count)
	}
	return fmt.Sprintf("%s (x%d over %s)", age, count, a.age(first))
}

// lastSeen is when an event happened last, in whichever of the fields its
// writer has set it.
func lastSeen(event *unstructured.Unstructured) time.Time {
	for _, path := range [][]string{{"series", "lastObservedTime"}, {"lastTimestamp"}, {"eventTime"}, {"firstTimestamp"}} {
		if t, err := time.Parse(time.RFC3339, text(event, path...)); err == nil {
			return t
		}
	}
	return event.GetCreationTimestamp().Time
}

// kindNamed finds a declared kind by any of its names, in any case.
func kindNamed(name string) *declaredKind {
	for _, kind := range declaredKinds {
		names := append([]string{kind.group.Kind, kind.plural, kind.singular, kind.human, kind.group.Kind + "s"}, kind.aliases...)
		if containsFold(names, name) {
			return kind
		}
	}
	return nil
}
