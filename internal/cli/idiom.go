package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/object"
)

// idiom is how the declared objects of one dialect say what commands ask of
// them.
type idiom interface {
	// namespace is where objects are looked up when none is chosen.
	namespace(k *kubeFlags) string
	// standing is how an object is doing: Ready or its counterpart; false when
	// nothing has been said yet.
	standing(o *unstructured.Unstructured) (condition, bool)
	// settled is standing, once it speaks of the object as it is now and of no
	// run in progress.
	settled(o *unstructured.Unstructured) (condition, bool)
	// status is what --status-selector compares.
	status(o *unstructured.Unstructured, kind string) (string, bool)

	// resumed reports whether an object has been looked at since it was resumed.
	resumed(o *unstructured.Unstructured) bool

	// woken reports whether the last look that was asked for has happened.
	woken(o *unstructured.Unstructured) bool

	// inventory lists the objects that a delivery owns.
	inventory(o *unstructured.Unstructured) ([]object.ID, error)
	// remote reports whether a delivery goes to another cluster, whose objects
	// the one at hand knows nothing of.
	remote(o *unstructured.Unstructured) bool
	// held is what waits for a person; false when nothing does.
	held(o *unstructured.Unstructured) (held, bool)

	// origin says where a delivery comes from: in short, and its repository.
	origin(ctx context.Context, c *cluster, o *unstructured.Unstructured) (source, repository string)
	// applied is the revision that a delivery was brought to last; looked
	// reports whether a run has taken up a revision.
	applied(o *unstructured.Unstructured) string
	looked(o *unstructured.Unstructured, revision string) bool
}

// idiomOf is the idiom of an object's kind.
func idiomOf(o *unstructured.Unstructured) idiom {
	kind := o.GroupVersionKind().GroupKind()
	switch {
	case kind.Group == argo.Group:
		return argoIdiom{}
	case kind.Group == helmGroup && kind.Kind == helmReleaseKind:
		return releaseIdiom{}
	case kind.Group == generatorGroup && kind.Kind == generatorKind:
		return generatorIdiom{}
	}
	return fluxIdiom{}
}

// held is what waits for a person.
type held struct {
	token   string   // to approve; "": the deletions that ask for a person one by one
	message string   // of the condition that says so
	objects []string // that would be deleted, where the object itself lists them
}

// fluxIdiom is that of every kind that follows the conventions of
// fluxcd/pkg/apis/meta.
type fluxIdiom struct{}

func (fluxIdiom) namespace(k *kubeFlags) string { return k.namespace }

func (fluxIdiom) standing(o *unstructured.Unstructured) (condition, bool) {
	return conditionOf(o, "Ready")
}

func (fluxIdiom) settled(o *unstructured.Unstructured) (condition, bool) {
	ready, ok := conditionOf(o, "Ready")
	if !ok || ready.status == "Unknown" {
		return ready, false
	}
	if ready.generation != 0 && ready.generation != o.GetGeneration() {
		return ready, false
	}
	if observed, found, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); ready.status == "True" && found && observed != o.GetGeneration() {
		return ready, false
	}
	if c, running := conditionOf(o, "Reconciling"); running && c.status == "True" && c.reason == "Progressing" {
		return ready, false
	}
	return ready, true
}

func (fluxIdiom) status(o *unstructured.Unstructured, kind string) (string, bool) {
	c, found := conditionOf(o, kind)
	return c.status, found
}

func (fluxIdiom) resumed(o *unstructured.Unstructured) bool {
	observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return observed == o.GetGeneration()
}

func (fluxIdiom) woken(o *unstructured.Unstructured) bool {
	return text(o, "status", "lastHandledReconcileAt") == o.GetAnnotations()[requestedAt]
}

// inventory reads status.inventory of a Kustomization or a HelmRelease.
func (fluxIdiom) inventory(o *unstructured.Unstructured) ([]object.ID, error) {
	entries, _, err := unstructured.NestedSlice(o.Object, "status", "inventory", "entries")
	if err != nil {
		return nil, err
	}
	ids := make([]object.ID, 0, len(entries))
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		written, _ := fields["id"].(string)
		id, err := object.ParseInventory(written)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (fluxIdiom) remote(o *unstructured.Unstructured) bool {
	_, found, _ := unstructured.NestedMap(o.Object, "spec", "kubeConfig")
	return found
}

// reasonHeld is the reason of the Ready condition while a deletion is held;
// its message names the annotation to set.
const reasonHeld = "PruneHeld"

// heldToken finds the token in the words of either dialect.
var heldToken = regexp.MustCompile(regexp.QuoteMeta(approveAnnotation) + `(?:=| to )([0-9a-f]+)`)

func (fluxIdiom) held(o *unstructured.Unstructured) (held, bool) {
	ready, ok := conditionOf(o, "Ready")
	if !ok || ready.reason != reasonHeld {
		return held{}, false
	}
	return heldBy(ready.message)
}

// heldBy reads the token out of a message that says that something is held.
func heldBy(message string) (held, bool) {
	token := heldToken.FindStringSubmatch(message)
	if token == nil {
		return held{}, false
	}
	return held{token: token[1], message: message}, true
}

func (fluxIdiom) origin(ctx context.Context, c *cluster, o *unstructured.Unstructured) (source, repository string) {
	ref := sourceOf(o)
	if declared, err := c.source(ctx, ref); err == nil {
		repository = addressOf(declared)
	}
	return ref.String(), repository
}

func (fluxIdiom) applied(o *unstructured.Unstructured) string {
	return text(o, "status", "lastAppliedRevision")
}

func (fluxIdiom) looked(o *unstructured.Unstructured, revision string) bool {
	return text(o, "status", "lastAppliedRevision") == revision || text(o, "status", "lastAttemptedRevision") == revision
}

// heldObjects finds the event that lists what this very token stands for; ""
// when the API server has forgotten it.
func (c *cluster) heldObjects(ctx context.Context, o *unstructured.Unstructured, h held) (string, error) {
	list, err := listPages(ctx, c.objects.Resource(coreEvents).Namespace(o.GetNamespace()), metav1.ListOptions{
		FieldSelector: fields.SelectorFromSet(fields.Set{
			"involvedObject.kind": o.GetKind(),
			"involvedObject.name": o.GetName(),
			"reason":              reasonHeld,
		}).String(),
	})
	if err != nil {
		return "", err
	}
	for i := range list.Items {
		message := text(&list.Items[i], "message")
		if token := heldToken.FindStringSubmatch(message); token != nil && token[1] == h.token {
			_, objects, _ := strings.Cut(message, "\n")
			return objects, nil
		}
	}
	return "", nil
}

// called is how a command names an object in the advice to run another: its
// kind, its name, and its namespace.
func called(kind *declaredKind, o *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s -n %s", kind.singular, o.GetName(), o.GetNamespace())
}
