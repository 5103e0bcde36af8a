package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// previewFlags say what build and diff look at.
type previewFlags struct {
	kind *declaredKind
	path string
	file string
	all  bool
	told chartTarget
}

func (f *previewFlags) bind(cmd *cobra.Command) {
	what := "the " + f.kind.group.Kind
	stands := what + "'s path"
	switch f.kind {
	case kustomizations:
		stands = what + "'s spec.path"
	case helmReleases:
		stands = what + "'s chart"
	case artifactGenerators:
		stands = "the source of its path pattern"
	case applicationSets:
		stands = "the repository of its git generators"
	}
	cmd.Flags().StringVar(&f.path, "path", "", "local `DIR` that stands for "+stands+"; without it the source is fetched")
	cmd.Flags().StringVar(&f.file, f.kind.file, "", "take "+what+" from this `FILE` instead of from the cluster")
	cmd.Flags().BoolVar(&f.all, "all", false, "every "+f.kind.group.Kind+" of the namespace")
	if f.kind == helmReleases || f.kind == applications {
		f.told.bind(cmd.Flags())
	}
}

// bind offers the flags that helm template has for the same.
func (t *chartTarget) bind(flags *pflag.FlagSet) {
	flags.StringVar(&t.kubeVersion, "kube-version", "", "`VERSION` of Kubernetes that charts are told, instead of the target's")
	flags.StringSliceVar(&t.apiVersions, "api-versions", nil, "`APIS` that charts are told are served, such as monitoring.coreos.com/v1")
}

// args takes one name, or none where --all or a file says what is meant.
func (f *previewFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.all && (len(args) > 0 || f.path != "" || f.file != ""):
		return fmt.Errorf("--all takes no name, no --path and no --%s", f.kind.file)
	case f.all, len(args) == 1, f.file != "" && len(args) == 0:
		return nil
	}
	return exactlyOneName(f.kind)(cmd, args)
}

func (a *app) buildCommand() *cobra.Command {
	build := &cobra.Command{
		Use:   "build --all [PATH]",
		Short: "Print what a delivery wants, as it would be applied",
		Long:  "Print what a delivery wants, as it would be applied.\n\n" + repositoryNotes,
		Example: `  # What is in Git now
  plumb build kustomization apps

  # What a local change would make of it
  plumb build ks apps --path ./apps

  # Before the Kustomization exists
  plumb build ks --kustomization-file ./clusters/staging/apps.yaml --path ./apps

  # What a release would install, and what a local change of its chart would
  plumb build helmrelease podinfo -n apps
  plumb build hr podinfo -n apps --path ./charts/podinfo

  # The objects of an Application, and the Applications of an ApplicationSet
  plumb build application guestbook
  plumb build applicationset --applicationset-file ./previews.yaml

  plumb build ks --all

  # A whole repository, without a cluster
  plumb build --all
  plumb build --all ./fleet --charts ~/src/helm-charts --sops-age-key ~/age.key
  plumb build --all --fetch --cache ~/.cache/plumb-charts -o yaml`,
	}
	addKindCommands(build, false, deliveryKind, func(kind *declaredKind) *cobra.Command {
		flags := &previewFlags{kind: kind}
		reveal := false
		command := &cobra.Command{
			Use:               "NAME",
			Short:             "Print the objects of " + article(kind.group.Kind),
			Long:              buildNotes[kind],
			Args:              flags.args,
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.within(cmd.Context())
				defer cancel()
				return a.eachDerived(ctx, *flags, args, func(d *derivation) error { return a.printDerived(d, reveal) })
			},
		}
		flags.bind(command)
		a.redirects.bind(command.Flags())
		command.Flags().BoolVar(&reveal, "show-secrets", false, "print secret values")
		return command
	})
	a.bindRepository(build)
	return build
}

// buildNotes say what build prints of each kind.
var buildNotes = map[*declaredKind]string{
	kustomizations: `Print the objects of a Kustomization as they would be applied: rendered, with
variables substituted and labels set. The content comes from the source, read
with your own rights, or from a local directory. Nothing is written anywhere.

What Secrets hold, and where variables from Secrets have gone, is masked.`,
	helmReleases: `Print the objects of a HelmRelease as an install or an upgrade would apply them:
the chart with the composed values, what spec.postRenderers change, and the
labels of Helm and of its controller. CRDs of the chart's directory crds are among
them; hooks come last, each under a comment that says when it runs.

The chart is fetched with your own rights, or comes from a local directory. It is
told what the cluster serves, unless --kube-version says otherwise, and its
function lookup sees what you may see. Nothing is written anywhere.

What Secrets hold, and where values from Secrets have gone, is masked.`,
	artifactGenerators: `Print the ExternalArtifacts that an ArtifactGenerator makes. Nothing is written
anywhere.`,
	applications: `Print the objects of an Application as they would be applied: rendered from all
of its sources, with the marks by which Argo CD tracks them. Hooks come last. The
content is read with your own rights and with the credentials that Argo CD's
Secrets hold, or comes from a local directory. Nothing is written anywhere.

What Secrets hold is masked.`,
	applicationSets: `Print the Applications that an ApplicationSet generates. Its generators are
answered here: repositories are read, forges and plugins are asked, with the
credentials that its Secrets hold. Nothing is written anywhere.`,
}

// eachDerived works out the deliveries that are meant, one after another. With
// several, one that fails does not stop the others.
func (a *app) eachDerived(ctx context.Context, flags previewFlags, args []string, do func(*derivation) error) error {
	home, err := a.connect()
	if err != nil {
		return err
	}
	declared, err := a.declarations(ctx, home, flags, args)
	if err != nil {
		return err
	}
	deriver, closeDeriver, err := a.newDeriver(home)
	if err != nil {
		return err
	}
	defer closeDeriver()
	deriver.target = flags.told
	var failures []error
	for i := range declared {
		local := ""
		if flags.path != "" {
			local = a.path(flags.path)
		}
		d, err := deriver.derive(ctx, &declared[i], local)
		if err == nil {
			a.sayFindings(d.findings)
			err = do(d)
		}
		if err != nil {
			if len(declared) == 1 {
				return err
			}
			failures = append(failures, fmt.Errorf("%s: %w", object.Of(&declared[i]), err))
		}
	}
	return errors.Join(failures...)
}

// declarations reads the objects that are meant.
func (a *app) declarations(ctx context.Context, home *cluster, flags previewFlags, args []string) ([]unstructured.Unstructured, error) {
	namespace := a.namespaceOf(flags.kind)
	if flags.all {
		list, err := home.list(ctx, flags.kind, namespace, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		if len(list.Items) == 0 {
			return nil, fmt.Errorf("no %s found in namespace %q", flags.kind.group.Kind, namespace)
		}
		return list.Items, nil
	}
	if flags.file != "" {
		o, err := a.declarationIn(flags, args)
		if err != nil {
			return nil, err
		}
		return []unstructured.Unstructured{*o}, nil
	}
	o, err := home.get(ctx, flags.kind, namespace, args[0])
	if err != nil {
		return nil, err
	}
	return []unstructured.Unstructured{*o}, nil
}

// declarationIn finds an object in a file: the named one, or the only one.
func (a *app) declarationIn(flags previewFlags, args []string) (*unstructured.Unstructured, error) {
	file, kind := flags.file, flags.kind.group
	data, err := os.ReadFile(a.path(file))
	if err != nil {
		return nil, err
	}
	decoded, err := object.Decode(data, file, object.Limits{})
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for _, d := range decoded {
		if d.Object.GroupVersionKind().GroupKind() == kind && (len(args) == 0 || d.Object.GetName() == args[0]) {
			found = append(found, d.Object)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%s declares no such %s", file, kind.Kind)
	case len(found) > 1:
		return nil, advise(fmt.Errorf("%s declares %d %ss", file, len(found), kind.Kind), "say which by its name")
	}
	if found[0].GetNamespace() == "" {
		found[0].SetNamespace(a.namespaceOf(flags.kind))
	}
	return found[0], nil
}

// sayFindings tells of fields that do nothing or something else than upstream.
func (a *app) sayFindings(findings []model.Finding) {
	for _, finding := range findings {
		if finding.Severity != model.Info {
			a.say.warning("%s: %s", finding.Origin, finding.Message)
		}
	}
}

// printDerived prints what is wanted, and then the hooks, each under a comment
// that says when it runs.
func (a *app) printDerived(d *derivation, reveal bool) error {
	for i, list := range [][]wanted{d.objects, d.hooks} {
		for _, w := range list {
			o := w.object
			if !reveal {
				o = d.secrets.Mask(o, o)
			}
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				return err
			}
			note := ""
			if i > 0 {
				note = "# hook: " + w.runs + "\n"
			}
			if err := a.out("---\n%s%s", note, data); err != nil {
				return err
			}
		}
	}
	a.sayWithheld(d)
	return nil
}

// phasesOf are the phases that a hook runs in; "" for what is none.
func phasesOf(stage model.Stage) string {
	names := make([]string, len(stage.Hooks))
	for i, phase := range stage.Hooks {
		names[i] = string(phase)
	}
	return strings.Join(names, ", ")
}

// sayHooks names the hooks that a sync runs.
func (a *app) sayHooks(d *derivation) {
	for _, w := range d.hooks {
		a.say.plain("  %s is a hook: it runs in %s", oneLine(w.id.String()), w.runs)
	}
}

// sayWithheld tells of objects that are never applied.
func (a *app) sayWithheld(d *derivation) {
	if len(d.withheld) > 0 {
		a.say.warning("%d objects are left out: they install a controller that Plumb replaces (%s and others)", len(d.withheld), d.withheld[0].id)
	}
}
