package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/roots"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/health"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// explanation is all that can be said of one object: who owns it, what asked
// for it, and how it is doing. Its JSON form is what -o json prints.
type explanation struct {
	Object   string `json:"object"`
	MadeBy   string `json:"madeBy,omitempty"` // the delivered object that made it
	Owner    string `json:"owner,omitempty"`
	Source   string `json:"source,omitempty"`
	URL      string `json:"url,omitempty"`
	Revision string `json:"revision,omitempty"` // that commit, file and line are of
	Applied  string `json:"applied,omitempty"`  // what was applied last, where that is another one
	Commit   string `json:"commit,omitempty"`   // first line of its message
	Author   string `json:"author,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`

	State    string   `json:"state"`
	Release  []string `json:"release,omitempty"`  // of a Helm release: what became of it
	Delivers string   `json:"delivers,omitempty"` // of a delivery: how much, and how the cluster differs
	Drift    string   `json:"drift,omitempty"`    // hunks, secrets masked
	Writers  []string `json:"writers,omitempty"`

	Health  string   `json:"health"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Because []string `json:"because,omitempty"` // what it made and what happened to that, down to the root
	Unwell  []string `json:"unwell,omitempty"`  // delivered objects that are not healthy
	Advice  []string `json:"advice,omitempty"`
}

func (a *app) explainCommand() *cobra.Command {
	local := ""
	explain := &cobra.Command{
		Use:   "explain OBJECT",
		Short: "Say why an object is as it is",
		Long: `Say why an object is as it is: which delivery owns it, which commit, author, file
and line asked for it, whether the cluster agrees, how it is doing, what holds it
up, and what to do next.

All of it is worked out with your own rights: the source is fetched and rendered,
and compared with the cluster by a dry run.`,
		Example: `  plumb explain deployment/podinfo -n apps
  plumb explain Deployment/apps/podinfo
  plumb explain pod podinfo-7d9f-x -n apps
  plumb explain kustomization apps
  plumb explain helmrelease podinfo -n apps
  plumb explain application guestbook`,
		Args:              oneObject,
		ValidArgsFunction: a.completeObjects(2),
	}
	a.redirects.bind(explain.Flags())
	explain.Flags().StringVar(&local, "path", "", "compare with this local `DIR` instead of the source")
	a.documented(explain, "json or yaml", func(ctx context.Context, p place, args []string, output string) error {
		if local != "" {
			local = a.path(local)
		}
		e, err := p.explain(ctx, args, local)
		if err != nil {
			return err
		}
		if output != "" {
			return a.printDocument(output, e)
		}
		return a.printExplanation(e)
	})
	return explain
}

// oneObject takes KIND/NAME, or KIND and NAME.
func oneObject(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return advise(errors.New("no object is named"), "name one as KIND/NAME, KIND/NAMESPACE/NAME or KIND NAME")
	case len(args) > 2, len(args) == 2 && strings.Contains(args[0], "/"):
		return advise(fmt.Errorf("%s names more than one object", strings.Join(args, " ")), "name one as KIND/NAME, KIND/NAMESPACE/NAME or KIND NAME")
	}
	return nil
}

// explain gathers what is known, from the object up to the commit and down to
// the root of an illness. What cannot be found out is said, and the rest goes on.
func (a *app) explain(ctx context.Context, c *cluster, t target, local string) (*explanation, error) {
	e := &explanation{Object: t.String()}
	live, err := c.live(ctx, t)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	id := t.id()
	if err != nil {
		live = nil
	}
	delivered, owner, err := c.ownerOf(ctx, live, id, a.kube.argoNamespace)
	if err != nil {
		return nil, err
	}
	if delivered != nil && live != nil && object.Of(delivered) != object.Of(live) {
		e.MadeBy = object.Of(delivered).String()
		id = object.Of(delivered)
	}
	if err := a.judge(ctx, c, e, live); err != nil {
		return nil, err
	}
	if id == t.id() && live != nil && live.GetKind() == helmReleaseKind && live.GroupVersionKind().Group == helmGroup {
		if err := c.explainRelease(ctx, e, live); err != nil {
			return nil, err
		}
	}
	switch {
	case owner != nil:
		err = a.traceOrigin(ctx, c, e, owner, delivered, id, local)
	case live == nil:
		e.State = "does not exist, and no delivery lists it"
	case isDeclared(id.GroupKind()):
		e.State = "declared on the cluster itself, not by a delivery"
	default:
		e.State = "not delivered by Plumb"
	}
	if kind := deliveryKindOf(id.GroupKind()); err == nil && live != nil && id == t.id() && kind != nil {
		err = a.explainDelivery(ctx, c, e, kind, live, local)
	}
	return e, err
}

// explainDelivery says what a delivery delivers, and how the cluster differs
// from that.
func (a *app) explainDelivery(ctx context.Context, c *cluster, e *explanation, kind *declaredKind, live *unstructured.Unstructured, local string) error {
	deriver, closeDeriver, err := a.newDeriver(c)
	if err != nil {
		return err
	}
	defer closeDeriver()
	if e.Owner == "" {
		e.Source, _ = kind.idiom.origin(ctx, c, live)
		e.Revision = kind.idiom.applied(live)
	}
	if suspended(live) {
		e.State += "; suspended"
		e.Advice = append(e.Advice, "resume it with: plumb resume "+called(kind, live))
	}
	d, failure := deriver.derive(ctx, live, local)
	var differences []difference
	if failure == nil {
		differences, failure = d.compare(ctx)
	}
	if failure != nil {
		e.Delivers = "unknown: what it wants cannot be worked out: " + failure.Error()
		if advice := adviceFor(failure); advice != "" {
			e.Advice = append(e.Advice, advice)
		}
		return nil // the explanation says it
	}
	if e.Owner == "" && len(d.reads) > 0 {
		if commit := d.commit(); commit.Hash != "" {
			e.at(d.revision())
			e.Commit, e.Author = commit.Message, authored(commit)
		}
		if kind.reads {
			e.URL = d.reads[0].url
		}
	}
	e.Delivers = countText(len(d.objects), "object", "objects")
	if d.behind() {
		e.Delivers += " at revision " + shortHashes(d.revision()) + ", which no run has taken up yet"
	}
	if len(differences) > 0 {
		e.Delivers += "; " + countText(len(differences), "differs", "differ") + " from the cluster"
		e.Advice = append(e.Advice, "see how with: plumb diff "+called(kind, live))
	}
	return nil
}

// at says which revision is told of, beside the one that was applied last.
func (e *explanation) at(revision string) {
	if revision != "" && revision != e.Revision {
		e.Revision, e.Applied = revision, e.Revision
	}
}

// authored is who wrote a commit, and when.
func authored(c model.Commit) string {
	if c.When.IsZero() {
		return c.Author
	}
	return c.Author + ", " + c.When.UTC().Format(time.RFC3339)
}

// ownerOf finds the delivery of an object, and the delivered object itself,
// which for a Pod is the workload that made it. Labels say so; the inventories
// do where the labels are gone, and for an object that does not exist.
func (c *cluster) ownerOf(ctx context.Context, live *unstructured.Unstructured, id object.ID, argoNamespace string) (delivered, owner *unstructured.Unstructured, err error) {
	delivered = live
	if live != nil {
		by, chain, err := c.deliveredBy(ctx, live, argoNamespace)
		if err != nil {
			return nil, nil, err
		}
		// The last owner that was climbed carries the marks, unless the one that
		// made it all is a delivery itself.
		if len(chain) > 0 && by != nil {
			delivered = chain[len(chain)-1]
		}
		if by != nil {
			owner, err = c.get(ctx, by.kind, by.namespace, by.name)
			if err == nil || !apierrors.IsNotFound(err) {
				return delivered, owner, err
			}
		}
	}
	for _, kind := range deliveryKinds() {
		owner, err := c.claimant(ctx, kind, id)
		if owner != nil || err != nil {
			return delivered, owner, err
		}
	}
	return delivered, nil, nil
}

// claimant is the delivery of a kind that lists an object as its own; nil when
// none does, or when they may not be read.
func (c *cluster) claimant(ctx context.Context, kind *declaredKind, id object.ID) (*unstructured.Unstructured, error) {
	list, err := c.list(ctx, kind, metav1.NamespaceAll, metav1.ListOptions{})
	if meta.IsNoMatchError(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		claims, err := kind.idiom.inventory(&list.Items[i])
		if err == nil && !kind.idiom.remote(&list.Items[i]) && slices.Contains(claims, id) {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// traceOrigin fills in what the delivery and its source say.
func (a *app) traceOrigin(ctx context.Context, c *cluster, e *explanation, owner, delivered *unstructured.Unstructured, id object.ID, local string) error {
	e.Owner = object.Of(owner).String()
	idiom := idiomOf(owner)
	e.Source, e.URL = idiom.origin(ctx, c, owner)
	e.Revision = idiom.applied(owner)
	deriver, closeDeriver, err := a.newDeriver(c)
	if err != nil {
		return err
	}
	defer closeDeriver()
	d, failure := deriver.derive(ctx, owner, local)
	if failure != nil {
		e.State = "unknown: what Git says of it cannot be worked out: " + failure.Error()
		a.addStanding(e, owner)
		if advice := adviceFor(failure); advice != "" {
			e.Advice = append(e.Advice, advice)
		}
		return nil // the explanation says it
	}
	if commit := d.commit(); commit.Hash != "" {
		e.at(d.revision())
		e.Author, e.Commit = authored(commit), commit.Message
	}
	w := d.find(id)
	if w == nil {
		e.State = d.unwantedState(id, delivered)
		a.addStanding(e, owner)
		return nil
	}
	e.File, e.Line = w.origin.File, w.origin.Line
	if err := d.compareOne(ctx, e, w, delivered); err != nil {
		e.State = "unknown: the API server does not say what applying it would do: " + err.Error()
	}
	a.addStanding(e, owner)
	return nil
}

func (d *derivation) find(id object.ID) *wanted {
	for _, list := range [][]wanted{d.objects, d.hooks} {
		for i := range list {
			if list[i].id == id {
				return &list[i]
			}
		}
	}
	return nil
}

// unwantedState says what becomes of an object that Git does not ask for.
func (d *derivation) unwantedState(id object.ID, live *unstructured.Unstructured) string {
	for _, w := range d.withheld {
		if w.id == id {
			return "left out: it installs a controller that Plumb replaces"
		}
	}
	if live == nil {
		return "does not exist, and is not in Git"
	}
	has, _ := d.words.Handling(live)
	switch {
	case !d.delivery.Policy.Prune && d.delivery.Sync.Staged:
		return "not in Git any more; it stays until a sync prunes"
	case !d.delivery.Policy.Prune:
		return "not in Git any more; it stays, since its delivery does not prune"
	case has.Keep:
		return "not in Git any more; it stays, since its annotation forbids pruning"
	}
	return "not in Git any more; it is going to be deleted"
}

// compareOne says how the cluster differs from what is wanted.
func (d *derivation) compareOne(ctx context.Context, e *explanation, w *wanted, live *unstructured.Unstructured) error {
	if w.runs != "" {
		e.State = "a hook: it runs in " + w.runs + " of a " + d.action() + ", and is not kept as it is in Git"
		return nil
	}
	if live != nil && d.leftAlone(w, live) {
		e.State = "left alone, as its annotations ask"
		return nil
	}
	difference, err := d.predict(ctx, w)
	if err != nil {
		return err
	}
	behind := d.behind()
	switch {
	case difference == nil && behind:
		e.State = fmt.Sprintf("as in Git; revision %s does not change it", shortHashes(d.revision()))
	case difference == nil:
		e.State = "as in Git"
	case live == nil:
		e.State = "in Git, not on the cluster"
	case difference.verb == "blocked":
		e.State = "cannot be changed: " + difference.note
		e.Advice = append(e.Advice, "an immutable field differs: let it be recreated with "+
			d.forceOption()+" of "+d.delivery.ID.String())
	case behind:
		e.State = fmt.Sprintf("revision %s is not applied yet", shortHashes(d.revision()))
	case d.delivery.Sync.Manual:
		e.State = "not as in Git; it waits for a sync"
		e.Advice = append(e.Advice, "sync it with: plumb sync "+called(applications, d.declared))
		e.Writers = otherWriters(live, d.delivery.Ownership.FieldManager)
	default:
		e.State = "drifted from Git"
		e.Writers = otherWriters(live, d.delivery.Ownership.FieldManager)
	}
	if difference != nil && live != nil {
		e.Drift = difference.diff
	}
	return nil
}

// action is what hooks run in.
func (d *derivation) action() string {
	if d.delivery.Release != nil {
		return "release"
	}
	return "sync"
}

// forceOption is how an object is allowed to be recreated.
func (d *derivation) forceOption() string {
	if d.delivery.Release != nil {
		return "spec.upgrade.force"
	}
	if d.delivery.Sync.Staged {
		return "its annotation argocd.argoproj.io/sync-options: Force=true,Replace=true, or the sync option Force=true"
	}
	return "the annotation " + d.delivery.Ownership.Control.Force + ": enabled, or spec.force"
}

// behind reports whether the source has a revision that no run has taken up
// yet.
func (d *derivation) behind() bool {
	revision := d.revision()
	return revision != "" && !idiomOf(d.declared).looked(d.declared, revision)
}

// otherWriters lists who else has written an object, last first.
func otherWriters(live *unstructured.Unstructured, own string) []string {
	var writers []string
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == own || entry.Subresource == "status" {
			continue
		}
		when := ""
		if entry.Time != nil {
			when = " at " + entry.Time.UTC().Format(time.RFC3339)
		}
		writers = append([]string{entry.Manager + when}, writers...)
	}
	return writers
}

// addStanding adds what the delivery as a whole says: whether it is suspended
// or failing.
func (a *app) addStanding(e *explanation, owner *unstructured.Unstructured) {
	kind := deliveryKindOf(object.Of(owner).GroupKind())
	if suspended(owner) {
		e.State += "; its delivery is suspended"
		e.Advice = append(e.Advice, "resume it with: plumb resume "+called(kind, owner))
	}
	if _, waits := kind.idiom.held(owner); waits {
		e.Advice = append(e.Advice, "look at what would be deleted, and agree: plumb approve "+called(kind, owner))
	}
	ready, ok := kind.idiom.standing(owner)
	if !ok || ready.status == "True" {
		return
	}
	e.State += "; its delivery is not ready: " + strings.TrimSuffix(fmt.Sprintf("%s: %s", ready.reason, shortHashes(ready.message)), ": ")
	if ready.reason != reasonHeld {
		e.Advice = append(e.Advice, fmt.Sprintf("see its events with: plumb events --for %s/%s -n %s", kind.group.Kind, owner.GetName(), owner.GetNamespace()))
	}
}

// judge says how an object is doing and what holds it up.
func (a *app) judge(ctx context.Context, c *cluster, e *explanation, live *unstructured.Unstructured) error {
	if live == nil {
		e.Health = string(model.NotFound)
		return nil
	}
	judged, root, err := c.deeply(ctx, live)
	if err != nil {
		return err
	}
	if live.GroupVersionKind().Group == argo.Group {
		if assessed, known := health.Assess(live); known {
			judged = assessed
		}
	}
	e.Health, e.Reason, e.Message = string(judged.State), judged.Reason, judged.Message
	if len(root.Steps) > 0 {
		e.Message = health.Of(live).Message // the steps say the rest
	}
	e.tellRoot(root)
	if deliveryKindOf(object.Of(live).GroupKind()) != nil {
		if err := c.unwell(ctx, e, live); err != nil {
			return err
		}
	}
	if judged.State != model.Current || len(root.Steps) > 0 {
		e.advise(remedy(judged.Reason, root.Steps))
	}
	return nil
}

// deeply judges an object and, where it is not well, follows it down to the root
// of that, with the rights of the caller. The events of what is declared have a
// command of their own.
func (c *cluster) deeply(ctx context.Context, live *unstructured.Unstructured) (model.Health, *roots.Root, error) {
	judged := health.Of(live)
	kind := object.Of(live).GroupKind()
	if isDeclared(kind) || judged.State == model.Current && kind != (schema.GroupKind{Group: "batch", Kind: "CronJob"}) {
		return judged, &roots.Root{}, nil
	}
	root, err := roots.Follow(ctx, c.found, live)
	if err != nil {
		return judged, nil, err
	}
	return health.Deeper(live, root.Children), root, nil
}

// found hands over what a query finds.
func (c *cluster) found(ctx context.Context, q roots.Query, each func(*unstructured.Unstructured) error) error {
	mapping, err := c.mapper.RESTMapping(q.Kind.GroupKind(), q.Kind.Version)
	if err != nil {
		return err
	}
	options := metav1.ListOptions{LabelSelector: q.LabelSelector, FieldSelector: q.FieldSelector, Limit: pageSize}
	for {
		page, err := c.objects.Resource(mapping.Resource).Namespace(q.Namespace).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := each(&page.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// tellRoot says what an object made, and what happened to that.
func (e *explanation) tellRoot(root *roots.Root) {
	for _, step := range root.Steps {
		e.Because = append(e.Because, step.Text)
	}
	if len(root.Unread) > 0 {
		e.Because = append(e.Because, "more is not known: you may not list "+strings.Join(root.Unread, ", ")+" there")
	}
}

// advise adds what to do next, once.
func (e *explanation) advise(advice string) {
	if advice != "" && !slices.Contains(e.Advice, advice) {
		e.Advice = append(e.Advice, advice)
	}
}

// unwell lists the objects of a delivery that are not healthy.
func (c *cluster) unwell(ctx context.Context, e *explanation, delivery *unstructured.Unstructured) error {
	claims, err := idiomOf(delivery).inventory(delivery)
	if err != nil || idiomOf(delivery).remote(delivery) {
		return err
	}
	lines, advice := make([]string, len(claims)), make([]string, len(claims))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dryRuns)
	for i, claim := range claims {
		group.Go(func() error {
			mapping, err := c.mapper.RESTMapping(claim.GroupKind())
			if meta.IsNoMatchError(err) {
				lines[i] = claim.String() + ": its kind is not served"
				return nil
			}
			if err != nil {
				return err
			}
			live, err := c.objects.Resource(mapping.Resource).Namespace(claim.Namespace).Get(ctx, claim.Name, getOptions)
			switch {
			case apierrors.IsNotFound(err):
				live = nil
			case apierrors.IsForbidden(err):
				return nil
			case err != nil:
				return err
			}
			judged := health.Of(live)
			if judged.State == model.Current {
				return nil
			}
			advice[i] = remedy(judged.Reason, nil)
			if live != nil {
				var root *roots.Root
				if judged, root, err = c.deeply(ctx, live); err != nil {
					return err
				}
				advice[i] = remedy(judged.Reason, root.Steps)
			}
			lines[i] = strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", claim, judged.State, judged.Message), ": ")
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, line := range lines {
		if line != "" {
			e.Unwell = append(e.Unwell, line)
			e.advise(advice[i])
		}
	}
	return nil
}

// remedies are what to do about the reasons of deliveries and sources; those of
// what they deliver are in health.Remedy.
var remedies = map[string]string{
	"BuildFailed":           "correct the file that the message names; try it before you commit with: plumb build",
	"ArtifactFailed":        "see the source: plumb get sources all -A",
	"DependencyNotReady":    "see what it depends on: plumb get kustomizations -A",
	"HealthCheckFailed":     "explain the object that the message names with: plumb explain",
	"AuthenticationFailed":  "check the Secret that spec.secretRef names",
	"GitOperationFailed":    "check the URL, the reference, and that the server can be reached",
	"InstallFailed":         "explain the object that the message names with: plumb explain; then correct the chart or its values in Git",
	"UpgradeFailed":         "explain the object that the message names with: plumb explain; then correct the chart or its values in Git",
	"TestFailed":            "read what the test said: kubectl logs, with the pod that the message names",
	"RollbackFailed":        "explain the object that the message names with: plumb explain",
	"UninstallFailed":       "explain the object that the message names with: plumb explain",
	"SourceNotReady":        "see the source: plumb get sources all -A",
	"ChartPullError":        "check the address and the credentials of the repository: plumb get sources helm -A",
	"InvalidChartReference": "check the chart's name and version, and that the repository has it",
	"OCIArtifactPullFailed": "check the URL, the tag and the credentials: plumb get sources oci -A",
	"BucketOperationFailed": "check the endpoint, the bucket's name and the credentials: plumb get sources bucket -A",
}

// remedy is what to do about the root of an illness, with the command that shows
// the log of a container that ended.
func remedy(reason string, steps []health.Step) string {
	advice, root := health.RemedyOf(steps)
	if before, found := strings.CutSuffix(advice, "the log of the previous instance"); found && root.Container != "" {
		return fmt.Sprintf("%skubectl logs --previous -n %s pod/%s -c %s", before, root.Object.Namespace, root.Object.Name, root.Container)
	}
	return cmp.Or(advice, remedies[reason], health.Remedy(reason))
}

func (a *app) printExplanation(e *explanation) error {
	about := sheet{{"Object", e.Object}}
	about.add("Made by", e.MadeBy)
	about.add("Owner", e.Owner)
	about.add("Source", strings.TrimSpace(e.Source+" "+e.URL))
	about.add("Revision", e.Revision)
	about.add("Applied", e.Applied)
	about.add("Commit", e.Commit)
	about.add("Author", e.Author)
	about.add("File", model.Origin{File: e.File, Line: e.Line}.String())
	about.add("State", e.State)
	for i, line := range e.Release {
		about.add(first(i, "Release"), line)
	}
	about.add("Delivers", e.Delivers)
	for i, writer := range e.Writers {
		about.add(first(i, "Written by"), writer)
	}
	about.add("Health", e.Health)
	if e.Health != string(model.Current) {
		about.add("Reason", e.Reason)
	}
	about.add("Message", e.Message)
	for i, line := range e.Because {
		about.add(first(i, "Because"), line)
	}
	for i, line := range e.Unwell {
		about.add(first(i, "Unwell"), line)
	}
	for i, line := range e.Advice {
		about.add(first(i, "Advice"), line)
	}
	if err := a.out("%s", about); err != nil || e.Drift == "" {
		return err
	}
	return a.out("\nApplying it would change:\n%s", paintDiff(colored(a.streams.Out, a.streams.Getenv), printable(e.Drift)))
}

// first names the first of several lines only.
func first(i int, name string) string {
	if i > 0 {
		return ""
	}
	return name
}

// showHeld shows what waits for approval: the list that the controller gave in
// its event, or, when the API server has forgotten that, what a derivation
// says now.
func (a *app) showHeld(ctx context.Context, p place, o *unstructured.Unstructured, h held) error {
	if err := a.out("%s\n", printable(h.message)); err != nil {
		return err
	}
	if len(h.objects) > 0 {
		return a.out("%s\n", printable(strings.Join(h.objects, "\n")))
	}
	if h.token == "" {
		return nil // the message names what waits
	}
	listed, err := p.withheld(ctx, o, h)
	if err != nil || listed == "" {
		return err
	}
	return a.out("%s\n", strings.TrimRight(printable(listed), "\n"))
}

// withheld is what the controller's event says or, when the API server has
// forgotten that, what a derivation says now.
func (p onSite) withheld(ctx context.Context, o *unstructured.Unstructured, h held) (string, error) {
	listed, err := p.heldObjects(ctx, o, h)
	if err != nil && !apierrors.IsForbidden(err) || listed != "" {
		return listed, err
	}
	deriver, closeDeriver, err := p.app.newDeriver(p.cluster)
	if err != nil {
		return "", err
	}
	defer closeDeriver()
	deleted, failure := deriver.leaving(ctx, o)
	if failure != nil {
		p.app.say.warning("what would be deleted cannot be listed now: %v", failure)
	}
	lines := make([]string, len(deleted))
	for i := range deleted {
		lines[i] = oneLine(deleted[i].id.String())
	}
	return strings.Join(lines, "\n"), nil
}

// leaving works out what a delivery owns and does not want any more.
func (d *deriver) leaving(ctx context.Context, declared *unstructured.Unstructured) ([]difference, error) {
	derived, err := d.derive(ctx, declared, "")
	if err != nil {
		return nil, err
	}
	return derived.deletions(ctx)
}
