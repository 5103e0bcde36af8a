package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"plumb.dev/plumb/internal/dialect/flux"
)

// The groups of the kinds that Flux declares.
const (
	sourceGroup    = "source.toolkit.fluxcd.io"
	kustomizeGroup = "kustomize.toolkit.fluxcd.io"
	fluxGroups     = ".toolkit.fluxcd.io" // ends every group of Flux
)

// declaredKind is a kind that people write, as commands name it.
type declaredKind struct {
	group schema.GroupKind
	// human is what progress lines call it, in flux's words.
	human string
	// singular, plural and aliases are the command's own words.
	singular, plural string
	aliases          []string
	source           bool // stands under "source" and "sources"
	// revision is what the object has arrived at, "" when it has not yet.
	revision func(*unstructured.Unstructured) string
	// done is what a finished reconciliation says.
	done string
}

var gitRepositories = &declaredKind{
	group:    schema.GroupKind{Group: sourceGroup, Kind: "GitRepository"},
	human:    "source git",
	singular: "git",
	plural:   "git",
	source:   true,
	revision: func(o *unstructured.Unstructured) string { return text(o, "status", "artifact", "revision") },
	done:     "fetched revision",
}

var kustomizations = &declaredKind{
	group:    schema.GroupKind{Group: kustomizeGroup, Kind: "Kustomization"},
	human:    "kustomization",
	singular: "kustomization",
	plural:   "kustomizations",
	aliases:  []string{"ks"},
	revision: func(o *unstructured.Unstructured) string { return text(o, "status", "lastAppliedRevision") },
	done:     "applied revision",
}

// declaredKinds are the kinds with commands of their own, in the order in
// which they are shown.
var declaredKinds = []*declaredKind{gitRepositories, kustomizations}

// listedKinds are the kinds that "get all" and "get sources all" show: those
// with commands of their own, then the others that upstream has.
func listedKinds(sourcesOnly bool) []*declaredKind {
	var kinds []*declaredKind
	own := map[schema.GroupKind]bool{}
	for _, kind := range declaredKinds {
		own[kind.group] = true
		if kind.source || !sourcesOnly {
			kinds = append(kinds, kind)
		}
	}
	for _, k := range flux.New().Kinds() {
		source := k.GroupKind.Group == sourceGroup
		if own[k.GroupKind] || (sourcesOnly && !source) {
			continue
		}
		kinds = append(kinds, &declaredKind{group: k.GroupKind, human: strings.ToLower(k.GroupKind.Kind), source: source, revision: anyRevision})
	}
	return kinds
}

// anyRevision finds the revision in the places where upstream's kinds have it.
func anyRevision(o *unstructured.Unstructured) string {
	for _, path := range [][]string{{"status", "artifact", "revision"}, {"status", "lastAppliedRevision"}, {"status", "lastAttemptedRevision"}} {
		if revision := text(o, path...); revision != "" {
			return revision
		}
	}
	return ""
}

// addKindCommands hangs one command per declared kind below parent; sources
// hang below "source" ("sources" in the plural), as in flux.
func addKindCommands(parent *cobra.Command, plural bool, build func(*declaredKind) *cobra.Command) *cobra.Command {
	sources := &cobra.Command{Use: "source", Short: parent.Short + ": sources", Args: unknownSubcommand, RunE: showHelp}
	if plural {
		sources.Use, sources.Aliases = "sources", []string{"source"}
	}
	for _, kind := range declaredKinds {
		command := build(kind)
		name := kind.singular
		command.Aliases = append([]string(nil), kind.aliases...)
		if plural {
			name = kind.plural
		}
		for _, other := range []string{kind.singular, kind.plural} {
			if other != name && !contains(command.Aliases, other) {
				command.Aliases = append(command.Aliases, other)
			}
		}
		command.Use = strings.TrimSpace(name + " " + command.Use)
		if kind.source {
			sources.AddCommand(command)
		} else {
			parent.AddCommand(command)
		}
	}
	parent.Args, parent.RunE = unknownSubcommand, showHelp
	parent.AddCommand(sources)
	return sources
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// unknownSubcommand refuses words that name no subcommand; cobra alone would
// print the help and succeed.
func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return advise(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()), "see: %s --help", cmd.CommandPath())
}

func showHelp(cmd *cobra.Command, _ []string) error {
	if err := cmd.Help(); err != nil {
		return err
	}
	return &exitError{code: exitFailed}
}

// resource finds the served version of a kind: the cluster's preferred one.
func (c *cluster) resource(kind schema.GroupKind) (dynamic.NamespaceableResourceInterface, *meta.RESTMapping, error) {
	mapping, err := c.mapper.RESTMapping(kind)
	if err != nil {
		return nil, nil, err
	}
	return c.objects.Resource(mapping.Resource), mapping, nil
}

// get reads one declared object.
func (c *cluster) get(ctx context.Context, kind *declaredKind, namespace, name string) (*unstructured.Unstructured, error) {
	resource, _, err := c.resource(kind.group)
	if err != nil {
		return nil, err
	}
	return resource.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
}

// The readings of a declared object that commands print. They hold for every
// kind that follows the conventions of fluxcd/pkg/apis/meta.

// text reads a string field, "" when it is absent or no string.
func text(o *unstructured.Unstructured, fields ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, fields...)
	return s
}

func suspended(o *unstructured.Unstructured) bool {
	b, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
	return b
}

func lastHandled(o *unstructured.Unstructured) string {
	return text(o, "status", "lastHandledReconcileAt")
}

// condition is one entry of status.conditions.
type condition struct {
	kind, status, reason, message, since string
	generation                           int64
}

func conditionsOf(o *unstructured.Unstructured) []condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	conditions := make([]condition, 0, len(list))
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			continue
		}
		c := condition{}
		for name, into := range map[string]*string{
			"type": &c.kind, "status": &c.status, "reason": &c.reason,
			"message": &c.message, "lastTransitionTime": &c.since,
		} {
			*into, _ = fields[name].(string)
		}
		c.generation, _ = fields["observedGeneration"].(int64)
		conditions = append(conditions, c)
	}
	return conditions
}

func conditionOf(o *unstructured.Unstructured, kind string) (condition, bool) {
	for _, c := range conditionsOf(o) {
		if strings.EqualFold(c.kind, kind) {
			return c, true
		}
	}
	return condition{}, false
}

// readiness is the Ready condition in two words, as flux get prints it.
func readiness(o *unstructured.Unstructured) (status, message string) {
	if c, ok := conditionOf(o, "Ready"); ok {
		return c.status, c.message
	}
	return "False", "waiting to be reconciled"
}

// settled reports whether the object has been dealt with as it stands: its
// Ready condition speaks of this generation and of no run in progress.
func settled(o *unstructured.Unstructured) (ready condition, ok bool) {
	ready, ok = conditionOf(o, "Ready")
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

// reference is an object that a field points at.
type reference struct{ kind, namespace, name string }

func (r reference) String() string { return r.kind + "/" + r.namespace + "/" + r.name }

// sourceOf is the source that a delivery reads.
func sourceOf(o *unstructured.Unstructured) reference {
	ref := reference{
		kind:      text(o, "spec", "sourceRef", "kind"),
		namespace: text(o, "spec", "sourceRef", "namespace"),
		name:      text(o, "spec", "sourceRef", "name"),
	}
	if ref.namespace == "" {
		ref.namespace = o.GetNamespace()
	}
	return ref
}

var longHash = regexp.MustCompile(`\b[a-f0-9]{40,128}\b`)

// shortHashes cuts every commit hash and digest in a text to eight digits.
func shortHashes(s string) string {
	return longHash.ReplaceAllStringFunc(s, func(hash string) string { return hash[:8] })
}

// yesNo prints a boolean the way flux does.
func yesNo(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
