package cli

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/request"
)

// The groups of the kinds that Flux declares.
const (
	sourceGroup    = "source.toolkit.fluxcd.io"
	kustomizeGroup = "kustomize.toolkit.fluxcd.io"
	fluxGroups     = ".fluxcd.io" // ends every group of Flux
)

// declaredKind is a kind that people write, as commands name it.
type declaredKind struct {
	group schema.GroupKind
	// human is what progress lines call it, in flux's words.
	human string
	// singular, plural and aliases are the command's own words.
	singular, plural string
	aliases          []string
	family           family // whose commands it stands below
	delivery         bool   // has objects of its own on a cluster
	reads            bool   // names the source that it is made of, see sourceOf
	suspends         bool   // can be told to rest
	reconciles       bool   // can be told to look again
	// static says why an object is never looked at; nil, or "": it is.
	static func(*unstructured.Unstructured) string
	// file is the flag that names a file with the declaration; "": none.
	file string
	// revision is what the object has arrived at, "" when it has not yet.
	revision func(*unstructured.Unstructured) string
	// done is what a finished reconciliation says.
	done string
	// columns are what "get" shows between the name and the message.
	columns []column
	idiom   idiom
}

// family is a word that flux puts before the names of some kinds.
type family struct{ singular, plural string }

var (
	noFamily  = family{}
	sources   = family{"source", "sources"}
	artifacts = family{"artifact", "artifacts"}
)

var kustomizations = &declaredKind{
	group:      schema.GroupKind{Group: kustomizeGroup, Kind: "Kustomization"},
	human:      "kustomization",
	singular:   "kustomization",
	plural:     "kustomizations",
	aliases:    []string{"ks"},
	delivery:   true,
	reads:      true,
	suspends:   true,
	reconciles: true,
	file:       "kustomization-file",
	revision:   appliedRevision,
	done:       "applied revision",
	idiom:      fluxIdiom{},
	columns: fluxColumns(
		appliedRevision,
		sourceColumn(withSource),
		column{name: "Path", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string { return text(o, "spec", "path") }},
	),
}

// declaredKinds are the kinds with commands of their own, in the order in
// which they are shown.
var declaredKinds = []*declaredKind{
	gitRepositories, ociRepositories, buckets, helmRepositories, helmCharts, externalArtifacts,
	kustomizations, helmReleases, artifactGenerators,
	applications, applicationSets, appProjects,
}

// deliveryKinds are those that have objects of their own on a cluster.
func deliveryKinds() []*declaredKind {
	var kinds []*declaredKind
	for _, kind := range declaredKinds {
		if kind.delivery {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// declaredKindOf is the kind with commands of its own that a group and kind
// stand for; nil when it has none.
func declaredKindOf(kind schema.GroupKind) *declaredKind {
	for _, declared := range declaredKinds {
		if declared.group == kind {
			return declared
		}
	}
	return nil
}

// deliveryKindOf is declaredKindOf for deliveries alone.
func deliveryKindOf(kind schema.GroupKind) *declaredKind {
	if declared := declaredKindOf(kind); declared != nil && declared.delivery {
		return declared
	}
	return nil
}

// isDeclared reports whether objects of a kind are declared to Plumb or to an
// upstream that it replaces.
func isDeclared(kind schema.GroupKind) bool {
	return strings.HasSuffix(kind.Group, fluxGroups) || declaredKindOf(kind) != nil
}

// listedKinds are the kinds that "get all" and "get sources all" show: those
// with commands of their own, then the others that upstream has.
func listedKinds(sourcesOnly bool) []*declaredKind {
	var kinds []*declaredKind
	own := map[schema.GroupKind]bool{}
	for _, kind := range declaredKinds {
		own[kind.group] = true
		if kind.family == sources || !sourcesOnly {
			kinds = append(kinds, kind)
		}
	}
	for _, k := range dialectKinds() {
		of := noFamily
		if k.GroupKind.Group == sourceGroup {
			of = sources
		}
		if own[k.GroupKind] || (sourcesOnly && of != sources) {
			continue
		}
		kinds = append(kinds, &declaredKind{
			group: k.GroupKind, human: strings.ToLower(k.GroupKind.Kind), family: of,
			revision: anyRevision, columns: fluxColumns(anyRevision), idiom: fluxIdiom{},
		})
	}
	return kinds
}

func artifactRevision(o *unstructured.Unstructured) string {
	return text(o, "status", "artifact", "revision")
}

func appliedRevision(o *unstructured.Unstructured) string {
	return text(o, "status", "lastAppliedRevision")
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

// The kinds that a command takes.
func everyKind(*declaredKind) bool           { return true }
func suspendedKind(kind *declaredKind) bool  { return kind.suspends }
func reconciledKind(kind *declaredKind) bool { return kind.reconciles }
func deliveryKind(kind *declaredKind) bool   { return kind.delivery }

// addKindCommands hangs one command per declared kind that is taken below
// parent; sources hang below "source" ("sources" in the plural) and artifacts
// below "artifact", as in flux. It returns the command of the sources.
func addKindCommands(parent *cobra.Command, plural bool, takes func(*declaredKind) bool, build func(*declaredKind) *cobra.Command) *cobra.Command {
	groups := map[family]*cobra.Command{noFamily: parent}
	for _, of := range []family{sources, artifacts} {
		group := &cobra.Command{Use: of.singular, Short: parent.Short + ": " + of.plural, Args: unknownSubcommand, RunE: showHelp}
		if plural {
			group.Use, group.Aliases = of.plural, []string{of.singular}
		}
		groups[of] = group
	}
	for _, kind := range declaredKinds {
		if !takes(kind) {
			continue
		}
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
		groups[kind.family].AddCommand(command)
	}
	parent.Args, parent.RunE = unknownSubcommand, showHelp
	for _, of := range []family{sources, artifacts} {
		if groups[of].HasSubCommands() {
			parent.AddCommand(groups[of])
		}
	}
	return groups[sources]
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// unknownSubcommand refuses words that name no subcommand; cobra alone would
// print the help and succeed.
func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // letters that may be wrong
	if alike := cmd.SuggestionsFor(args[0]); len(alike) > 0 {
		return advise(err, "is %s %s meant? See all of them with: %s --help", cmd.CommandPath(), alike[0], cmd.CommandPath())
	}
	return advise(err, "see: %s --help", cmd.CommandPath())
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

// suspended reports whether an object rests, in the words of its dialect.
func suspended(o *unstructured.Unstructured) bool { return request.Suspended(o) }

// condition is one entry of status.conditions.
type condition struct {
	kind, status, reason, message, since string
	generation                           int64
}

// failed reports whether a condition that is not True tells of a run that has
// failed: an Application that differs from Git, or is not healthy, was looked at
// all the same.
func (c condition) failed() bool {
	switch model.SyncState(c.reason) {
	case model.Synced, model.OutOfSync:
		return false
	}
	return !strings.HasSuffix(c.reason, "Warning")
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

// readiness is how an object is doing in two words: True, False or Unknown,
// and why.
func readiness(o *unstructured.Unstructured) (status, message string) {
	if ociRepository(o) {
		return "True", "Helm repository is Ready" // upstream writes no status on it
	}
	c, ok := idiomOf(o).standing(o)
	if !ok {
		return "False", "waiting to be reconciled"
	}
	return c.status, c.message
}

// reference is an object that a field points at.
type reference struct{ kind, namespace, name string }

func (r reference) String() string { return r.kind + "/" + r.namespace + "/" + r.name }

// sourceOf is the source that an object is made of: of a HelmRelease the one
// that its chart comes from, unless it names the chart itself.
func sourceOf(o *unstructured.Unstructured) reference {
	at := []string{"spec", "sourceRef"}
	if o.GetKind() == helmReleaseKind {
		at = []string{"spec", "chart", "spec", "sourceRef"}
		if _, named, _ := unstructured.NestedMap(o.Object, "spec", "chartRef"); named {
			at = []string{"spec", "chartRef"}
		}
	}
	part := func(name string) string { return text(o, append(slices.Clone(at), name)...) }
	return reference{kind: part("kind"), namespace: cmp.Or(part("namespace"), o.GetNamespace()), name: part("name")}
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
