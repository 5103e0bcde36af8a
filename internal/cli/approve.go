package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plumb.dev/plumb/internal/dialect/flux"
)

// watchLabel selects what Plumb watches; approveAnnotation says which held
// plan a person has agreed to.
const (
	watchLabel        = "plumb.dev/managed"
	approveAnnotation = flux.AnnotationApprove
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
is added to it later.

Deletions of an Application that ask for a person themselves, by the options
Prune=confirm and Delete=confirm of Argo CD, are agreed to in the same way.`,
		Example: `  plumb approve kustomization apps
  plumb approve ks apps --yes
  plumb approve application guestbook`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := kindNamed(args[0])
			if kind == nil || !kind.delivery {
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
	p, err := a.place()
	if err != nil {
		return err
	}
	o, err := p.get(ctx, kind, a.namespaceOf(kind), name)
	if err != nil {
		return err
	}
	now := a.now()
	held, ok := kind.idiom.held(o)
	if !ok {
		a.say.success("%s %s/%s holds nothing back: there is nothing to approve", kind.group.Kind, o.GetNamespace(), name)
		return nil
	}
	if err := a.showHeld(ctx, p, o, held); err != nil {
		return err
	}
	if !yes {
		if err := a.confirm("Delete them?"); err != nil {
			return err
		}
	}
	if err := p.ask(ctx, kind, o.GetNamespace(), name, toApprove{held.token, now}); err != nil {
		return err
	}
	a.say.success("approved; follow it with: plumb events --for %s/%s -n %s --watch", kind.group.Kind, name, o.GetNamespace())
	return nil
}
