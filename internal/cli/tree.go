package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/object"
)

// node is one object of a tree. Its JSON form is flux's.
type node struct {
	Resource  nodeResource `json:"resource"`
	Resources []*node      `json:"resources,omitempty"`
	note      string       // why there is nothing below, where there should be
}

type nodeResource struct {
	Namespace string        `json:"Namespace"`
	Name      string        `json:"Name"`
	GroupKind nodeGroupKind `json:"GroupKind"`
}

type nodeGroupKind struct {
	Group string `json:"Group"`
	Kind  string `json:"Kind"`
}

func newNode(id object.ID) *node {
	return &node{Resource: nodeResource{
		Namespace: id.Namespace,
		Name:      id.Name,
		GroupKind: nodeGroupKind{Group: id.Group, Kind: id.Kind},
	}}
}

func (n *node) id() object.ID {
	r := n.Resource
	return object.ID{Group: r.GroupKind.Group, Kind: r.GroupKind.Kind, Namespace: r.Namespace, Name: r.Name}
}

func (a *app) treeCommand() *cobra.Command {
	tree := &cobra.Command{
		Use:   "tree",
		Short: "Show what a delivery owns, and what that owns in turn",
		Long: `Show what a delivery owns as a tree. Deliveries that it owns are followed,
whichever dialect they are of: Kustomizations that deliver Applications, and
Applications of Applications.`,
		Example: `  # Everything below the root Kustomization
  plumb tree kustomization flux-system

  # Only what is itself declared to Plumb, Flux or Argo CD
  plumb tree ks flux-system --compact

  # What a release has installed
  plumb tree helmrelease podinfo

  # An app of apps
  plumb tree application apps`,
	}
	addKindCommands(tree, false, deliveryKind, func(kind *declaredKind) *cobra.Command {
		compact := false
		command := &cobra.Command{
			Use:               "NAME",
			Short:             "Show the inventory of " + article(kind.group.Kind) + " as a tree",
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
		}
		command.Flags().BoolVar(&compact, "compact", false, "show only objects that are themselves declared to Plumb, Flux or Argo CD")
		a.documented(command, "json or yaml instead of a drawing", func(ctx context.Context, p place, args []string, output string) error {
			root, err := treeOf(ctx, p, kind, a.namespaceOf(kind), args[0], compact)
			if err != nil {
				return err
			}
			if output != "" {
				return a.printDocument(output, root)
			}
			return a.out("%s", root.print())
		})
		return command
	})
	return tree
}

// treeOf follows inventories down from one delivery.
func treeOf(ctx context.Context, p place, kind *declaredKind, namespace, name string, compact bool) (*node, error) {
	declared, err := p.get(ctx, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	root := newNode(object.Of(declared))
	grow := grower{place: p, compact: compact, above: map[object.ID]bool{}}
	return root, grow.below(ctx, root, declared)
}

// grower builds a tree. above are the objects between the root and where it
// works, so that deliveries that own each other end.
type grower struct {
	place   place
	compact bool
	above   map[object.ID]bool
}

func (g grower) below(ctx context.Context, at *node, declared *unstructured.Unstructured) error {
	id := at.id()
	g.above[id] = true
	defer delete(g.above, id)
	claims, err := idiomOf(declared).inventory(declared)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	remote := idiomOf(declared).remote(declared)
	for _, claim := range claims {
		if claim == id || (g.compact && !isDeclared(claim.GroupKind())) {
			continue
		}
		child := newNode(claim)
		at.Resources = append(at.Resources, child)
		kind := deliveryKindOf(claim.GroupKind())
		if kind == nil || remote {
			continue
		}
		if g.above[claim] {
			child.note = "owns what owns it"
			continue
		}
		inner, err := g.place.get(ctx, kind, claim.Namespace, claim.Name)
		if apierrors.IsNotFound(err) {
			child.note = "not found"
			continue
		}
		if forbidden(err) {
			child.note = "not yours to see"
			continue
		}
		if err != nil {
			return err
		}
		if err := g.below(ctx, child, inner); err != nil {
			return err
		}
	}
	return nil
}

// print draws the tree.
func (n *node) print() string {
	var b strings.Builder
	b.WriteString(n.label() + "\n")
	n.printBelow(&b, "")
	return b.String()
}

func (n *node) printBelow(b *strings.Builder, indent string) {
	for i, child := range n.Resources {
		branch, further := "├── ", "│   "
		if i == len(n.Resources)-1 {
			branch, further = "└── ", "    "
		}
		b.WriteString(indent + branch + child.label() + "\n")
		child.printBelow(b, indent+further)
	}
}

func (n *node) label() string {
	label := oneLine(n.id().String())
	if n.note != "" {
		label += " (" + n.note + ")"
	}
	return label
}
