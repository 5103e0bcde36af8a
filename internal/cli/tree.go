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
		Args:  unknownSubcommand,
		RunE:  showHelp,
	}
	compact, output := false, ""
	ks := &cobra.Command{
		Use:     "kustomization NAME",
		Aliases: []string{"ks", "kustomizations"},
		Short:   "Show the inventory of a Kustomization as a tree",
		Example: `  # Everything below the root Kustomization
  plumb tree kustomization flux-system

  # Only what is itself declared to Plumb or Flux
  plumb tree ks flux-system --compact`,
		Args:              exactlyOneName(kustomizations),
		ValidArgsFunction: a.completeNames(kustomizations),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" && output != "yaml" {
				return fmt.Errorf("--output must be json or yaml, not %q", output)
			}
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			c, err := a.connect()
			if err != nil {
				return err
			}
			root, err := c.tree(ctx, a.kube.namespace, args[0], compact)
			if err != nil {
				return err
			}
			if output != "" {
				return a.printDocument(output, root)
			}
			return a.out("%s", root.print())
		},
	}
	ks.Flags().BoolVar(&compact, "compact", false, "show only objects that are themselves declared to Plumb or Flux")
	ks.Flags().StringVarP(&output, "output", "o", "", "json or yaml instead of a drawing")
	tree.AddCommand(ks)
	return tree
}

// tree follows inventories down from one Kustomization.
func (c *cluster) tree(ctx context.Context, namespace, name string, compact bool) (*node, error) {
	declared, err := c.get(ctx, kustomizations, namespace, name)
	if err != nil {
		return nil, err
	}
	root := newNode(object.Of(declared))
	grow := grower{cluster: c, compact: compact, above: map[object.ID]bool{}}
	return root, grow.below(ctx, root, declared)
}

// grower builds a tree. above are the objects between the root and where it
// works, so that Kustomizations that own each other end.
type grower struct {
	cluster *cluster
	compact bool
	above   map[object.ID]bool
}

func (g grower) below(ctx context.Context, at *node, declared *unstructured.Unstructured) error {
	id := at.id()
	g.above[id] = true
	defer delete(g.above, id)
	claims, err := inventoryOf(declared)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	remote := isRemote(declared)
	for _, claim := range claims {
		if claim == id || (g.compact && !strings.HasSuffix(claim.Group, fluxGroups)) {
			continue
		}
		child := newNode(claim)
		at.Resources = append(at.Resources, child)
		if claim.GroupKind() != kustomizations.group || remote {
			continue
		}
		if g.above[claim] {
			child.note = "owns what owns it"
			continue
		}
		inner, err := g.cluster.get(ctx, kustomizations, claim.Namespace, claim.Name)
		if apierrors.IsNotFound(err) {
			child.note = "not found"
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

// isRemote reports whether a delivery goes to another cluster, whose objects
// the one at hand knows nothing of.
func isRemote(declared *unstructured.Unstructured) bool {
	_, found, _ := unstructured.NestedMap(declared.Object, "spec", "kubeConfig")
	return found
}

// inventoryOf reads status.inventory of a delivery.
func inventoryOf(declared *unstructured.Unstructured) ([]object.ID, error) {
	entries, _, err := unstructured.NestedSlice(declared.Object, "status", "inventory", "entries")
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
