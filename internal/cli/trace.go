package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/object"
)

func (a *app) traceCommand() *cobra.Command {
	kind, apiVersion := "", ""
	trace := &cobra.Command{
		Use:   "trace KIND/NAME...",
		Short: "Follow objects back to the delivery and the source they come from",
		Long: `Follow objects back to the delivery and the source they come from, by what the
cluster alone knows. For commit, author, file, line and health, use plumb explain.`,
		Example: `  plumb trace deployment/podinfo -n apps
  plumb trace -n redis pod/redis-0 cm/redis
  plumb trace namespace redis
  plumb trace redis --kind helmrelease --api-version helm.toolkit.fluxcd.io/v2 -n redis`,
		RunE: a.atPlace(func(ctx context.Context, p place, args []string) error {
			if kind != "" {
				gv, err := schema.ParseGroupVersion(apiVersion)
				if err != nil {
					return err
				}
				args = append([]string{strings.Join([]string{kind, gv.Version, gv.Group}, ".")}, args...)
			}
			objects, err := p.traced(args)
			if err != nil {
				return err
			}
			failed := 0
			for i, t := range objects {
				if i > 0 {
					if err := a.out("---\n"); err != nil {
						return err
					}
				}
				if err := a.trace(ctx, p, t); err != nil {
					failed++
					a.explainError(fmt.Errorf("%s: %w", t.name, err))
				}
			}
			if failed > 0 {
				return &exitError{code: exitFailed}
			}
			return nil
		}),
	}
	trace.ValidArgsFunction = a.completeObjects(0)
	trace.Flags().StringVar(&kind, "kind", "", "kind of the object, together with --api-version")
	trace.Flags().StringVar(&apiVersion, "api-version", "", "API version of the object, such as apps/v1")
	trace.MarkFlagsRequiredTogether("kind", "api-version")
	return trace
}

// traced is an object that is to be traced, and how that is done.
type traced struct {
	name  string // as errors call it
	trace func(context.Context) (*provenance, error)
}

// provenance says where an object comes from.
type provenance struct {
	object   object.ID
	manager  string // who looks after it now
	by       *declaredKind
	delivery *unstructured.Unstructured // of that kind
}

// traced reads which objects are meant.
func (p onSite) traced(args []string) ([]traced, error) {
	targets, err := p.targets(args, p.app.namespaceFor)
	if err != nil {
		return nil, err
	}
	var all []traced
	for _, t := range targets {
		all = append(all, traced{t.String(), func(ctx context.Context) (*provenance, error) { return p.provenanceOf(ctx, t) }})
	}
	return all, nil
}

// provenanceOf goes by the marks that an object and its owners carry.
func (p onSite) provenanceOf(ctx context.Context, t target) (*provenance, error) {
	o, err := p.live(ctx, t)
	if err != nil {
		return nil, err
	}
	by, chain, err := p.deliveredBy(ctx, o, p.app.kube.argoNamespace)
	if err != nil {
		return nil, err
	}
	if by == nil {
		return nil, advise(fmt.Errorf("not delivered by Plumb, Flux or Argo CD"), "neither it nor an owner of it carries the label %s or %s, or the annotation %s", kustomizationName, helmReleaseName, trackingID)
	}
	if len(chain) > 0 {
		o = chain[len(chain)-1]
	}
	delivery, err := p.get(ctx, by.kind, by.namespace, by.name)
	if err != nil {
		return nil, err
	}
	return &provenance{object: t.id(), manager: manager(o, by), by: by.kind, delivery: delivery}, nil
}

// trace prints blocks of "name: value" lines, one for the object, the delivery
// and the source, as flux does.
func (a *app) trace(ctx context.Context, p place, t traced) error {
	from, err := t.trace(ctx)
	if err != nil {
		return err
	}
	about := sheet{{"Object", from.object.Kind + "/" + from.object.Name}}
	about.add("Namespace", from.object.Namespace)
	about.add("Status", "Managed by "+from.manager)
	blocks := []sheet{about}
	if from.by.reads {
		block, err := traceSource(ctx, p, sourceOf(from.delivery))
		if err != nil {
			return err
		}
		blocks = append(append(blocks, traceFlux(from.by, from.delivery)...), block)
	} else {
		blocks = append(blocks, traceArgo(from.by, from.delivery)...) // an ArtifactGenerator too has no source of its own
	}
	for i, b := range blocks {
		if i > 0 {
			if err := a.out("---\n"); err != nil {
				return err
			}
		}
		if err := a.out("%s", b); err != nil {
			return err
		}
	}
	return nil
}

// traceFlux is a block for the delivery, and for the chart that a HelmRelease
// describes.
func traceFlux(kind *declaredKind, delivery *unstructured.Unstructured) []sheet {
	block := sheet{{kind.group.Kind, delivery.GetName()}}
	block.add("Namespace", delivery.GetNamespace())
	block.add("Target", text(delivery, "spec", "targetNamespace"))
	block.add("Path", text(delivery, "spec", "path"))
	block.add("Revision", kind.revision(delivery))
	blocks := []sheet{append(block, statusFields(delivery)...)}
	if chart := text(delivery, "spec", "chart", "spec", "chart"); chart != "" {
		block := sheet{{"Chart", chart}}
		block.add("Version", cmp.Or(text(delivery, "spec", "chart", "spec", "version"), "*"))
		blocks = append(blocks, block)
	}
	return blocks
}

func traceSource(ctx context.Context, p place, source reference) (sheet, error) {
	block := sheet{{source.kind, source.name}}
	block.add("Namespace", source.namespace)
	kind := declaredKindOf(schema.GroupKind{Group: sourceGroup, Kind: source.kind})
	if kind == nil {
		block.add("Status", "Not found")
		return block, nil
	}
	origin, err := p.get(ctx, kind, source.namespace, source.name)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		block.add("Status", "Not found")
		return block, nil
	case forbidden(err): // a right to a delivery is none to its source
		block.add("Status", "You may not see it")
		return block, nil
	case err != nil:
		return nil, err
	}
	block.add("URL", addressOf(origin))
	block.add("Chart", text(origin, "spec", "chart"))
	block.add("Version", text(origin, "spec", "version"))
	for _, part := range []string{"tag", "semver", "branch", "name", "commit", "digest"} {
		block.add(strings.ToUpper(part[:1])+part[1:], text(origin, "spec", "ref", part))
	}
	block.add("Revision", text(origin, "status", "artifact", "revision"))
	return append(block, statusFields(origin)...), nil
}

// traceArgo is a block for the delivery, and one for each of its sources, with
// the revision that it was compared with.
func traceArgo(kind *declaredKind, delivery *unstructured.Unstructured) []sheet {
	block := sheet{{kind.group.Kind, delivery.GetName()}}
	block.add("Namespace", delivery.GetNamespace())
	if kind != applications {
		return []sheet{append(block, statusFields(delivery)...)}
	}
	block.add("Project", text(delivery, "spec", "project"))
	block.add("Target", destinationOf(delivery))
	block.add("Sync", text(delivery, "status", "sync", "status"))
	block.add("Health", text(delivery, "status", "health", "status"))
	blocks := []sheet{append(block, statusFields(delivery)...)}
	spec, _, _ := unstructured.NestedMap(delivery.Object, "spec")
	sync, _, _ := unstructured.NestedMap(delivery.Object, "status", "sync")
	revisions := revisionsIn(sync)
	for i, source := range sourcesIn(spec) {
		part := func(name string) string { s, _ := source[name].(string); return s }
		block := sheet{{"Source", withoutCredentials(part("repoURL"))}}
		block.add("Path", part("path"))
		block.add("Chart", part("chart"))
		block.add("Ref", part("ref"))
		block.add("Target", part("targetRevision"))
		if i < len(revisions) {
			block.add("Revision", revisions[i])
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// source reads a source of any kind of the source group.
func (c *cluster) source(ctx context.Context, ref reference) (*unstructured.Unstructured, error) {
	resource, _, err := c.resource(schema.GroupKind{Group: sourceGroup, Kind: ref.kind})
	if err != nil {
		return nil, err
	}
	return resource.Namespace(ref.namespace).Get(ctx, ref.name, getOptions)
}

// manager is who looks after an object now.
func manager(o *unstructured.Unstructured, by *deliverer) string {
	switch {
	case o.GetLabels()[watchLabel] != "":
		return "Plumb"
	case strings.HasSuffix(by.kind.group.Group, fluxGroups):
		return "Flux"
	}
	return "Argo CD"
}

// statusFields tell how a declared object is doing.
func statusFields(o *unstructured.Unstructured) sheet {
	ready, ok := idiomOf(o).standing(o)
	var f sheet
	switch {
	case suspended(o):
		f.add("Status", "Suspended")
	case !ok:
		f.add("Status", "Unknown")
	case ready.status == "False" && ready.failed():
		f.add("Status", strings.TrimSuffix("Last reconciliation failed at "+ready.since, " at "))
	default:
		f.add("Status", strings.TrimSuffix("Last reconciled at "+ready.since, " at "))
	}
	f.add("Message", ready.message)
	return f
}

// sheet is aligned lines of "name: value".
type sheet [][2]string

// add appends a line, unless there is nothing to say.
func (f *sheet) add(name, value string) {
	if value != "" {
		*f = append(*f, [2]string{name, value})
	}
}

func (f sheet) String() string {
	width := 0
	for _, line := range f {
		width = max(width, len(line[0])+1)
	}
	var b strings.Builder
	for _, line := range f {
		name := line[0]
		if name != "" {
			name += ":"
		}
		fmt.Fprintf(&b, "%-*s %s\n", max(width, 16), name, oneLine(line[1]))
	}
	return b.String()
}

// withoutCredentials drops what a URL says about who asks.
func withoutCredentials(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return address
	}
	if _, hasPassword := parsed.User.Password(); !hasPassword && parsed.Scheme == "ssh" {
		return address // git@ is a place, not a secret
	}
	parsed.User = nil
	return parsed.String()
}
