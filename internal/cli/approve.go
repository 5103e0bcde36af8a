package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
)

// watchLabel selects what Plumb watches; approveAnnotation says which held
// plan a person has agreed to.
const (
	watchLabel        = "plumb.dev/managed"
	approveAnnotation = "plumb.dev/approve"
	plumbPrefix       = "plumb.dev/"
)

var getOptions = metav1.GetOptions{}

func labelled(selector string) metav1.ListOptions { return metav1.ListOptions{LabelSelector: selector} }

func (a *app) approveCommand() *cobra.Command {
	yes := false
	approve := &cobra.Command{
		Use:   "approve KIND NAME",
		Short: "Agree to a deletion that Plumb holds because it is large",
		Long: `Agree to a deletion that Plumb holds because it is large. The command shows what
would be deleted and asks; an approval covers exactly that set and nothing that
is added to it later.`,
		Example: `  plumb approve kustomization apps
  plumb approve ks apps --yes`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := kindNamed(args[0])
			if kind == nil || kind.source {
				return advise(fmt.Errorf("%q is no kind that deletes objects", args[0]), "as in: plumb approve kustomization apps")
			}
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.approve(ctx, kind, args[1], yes)
		},
	}
	approve.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return approve
}

func (a *app) approve(ctx context.Context, kind *declaredKind, name string, yes bool) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	resource, _, err := c.resource(kind.group)
	if err != nil {
		return err
	}
	objects := resource.Namespace(a.kube.namespace)
	o, err := objects.Get(ctx, name, getOptions)
	if err != nil {
		return err
	}
	held, ok := heldIn(o)
	if !ok {
		a.say.success("%s %s/%s holds nothing back: there is nothing to approve", kind.group.Kind, o.GetNamespace(), name)
		return nil
	}
	if err := a.showHeld(ctx, c, o, held); err != nil {
		return err
	}
	if !yes {
		if err := a.confirm("Delete them?"); err != nil {
			return err
		}
	}
	if err := annotate(ctx, objects, name, map[string]any{approveAnnotation: held.token}); err != nil {
		return err
	}
	a.say.success("approved; follow it with: plumb events --for %s/%s -n %s --watch", kind.group.Kind, name, o.GetNamespace())
	return nil
}

// held is a set of deletions that waits for a person.
type held struct {
	token   string
	message string // of the condition
}

// reasonHeld is the reason of the Ready condition while a deletion is held;
// its message names the annotation to set.
const reasonHeld = "PruneHeld"

var heldToken = regexp.MustCompile(regexp.QuoteMeta(approveAnnotation) + `=([0-9a-f]+)`)

// heldIn reads what a delivery holds back from its Ready condition.
func heldIn(o *unstructured.Unstructured) (held, bool) {
	ready, ok := conditionOf(o, "Ready")
	if !ok || ready.reason != reasonHeld {
		return held{}, false
	}
	token := heldToken.FindStringSubmatch(ready.message)
	if token == nil {
		return held{}, false
	}
	return held{token: token[1], message: ready.message}, true
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
