package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// previewFlags say what build and diff look at.
type previewFlags struct {
	path string
	file string
	all  bool
}

func (f *previewFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "path", "", "local `DIR` that stands for the Kustomization's spec.path; without it the source is fetched")
	cmd.Flags().StringVar(&f.file, "kustomization-file", "", "take the Kustomization from this `FILE` instead of from the cluster")
	cmd.Flags().BoolVar(&f.all, "all", false, "every Kustomization of the namespace")
}

// args takes one name, or none where --all or a file says what is meant.
func (f *previewFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.all && (len(args) > 0 || f.path != "" || f.file != ""):
		return errors.New("--all takes no name, no --path and no --kustomization-file")
	case f.all, len(args) == 1, f.file != "" && len(args) == 0:
		return nil
	}
	return exactlyOneName(kustomizations)(cmd, args)
}

func (a *app) buildCommand() *cobra.Command {
	build := &cobra.Command{Use: "build", Short: "Print what a delivery wants, as it would be applied", Args: unknownSubcommand, RunE: showHelp}
	flags := &previewFlags{}
	reveal := false
	ks := &cobra.Command{
		Use:     "kustomization NAME",
		Aliases: []string{"ks"},
		Short:   "Print the objects of a Kustomization",
		Long: `Print the objects of a Kustomization as they would be applied: rendered, with
variables substituted and labels set. The content comes from the source, read
with your own rights, or from a local directory. Nothing is written anywhere.

What Secrets hold, and where variables from Secrets have gone, is masked.`,
		Example: `  # What is in Git now
  plumb build kustomization apps

  # What a local change would make of it
  plumb build ks apps --path ./apps

  # Before the Kustomization exists
  plumb build ks --kustomization-file ./clusters/staging/apps.yaml --path ./apps

  plumb build ks --all`,
		Args:              flags.args,
		ValidArgsFunction: a.completeNames(kustomizations),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.eachDerived(ctx, *flags, args, func(d *derivation) error { return a.printDerived(d, reveal) })
		},
	}
	flags.bind(ks)
	ks.Flags().BoolVar(&reveal, "show-secrets", false, "print secret values")
	build.AddCommand(ks)
	return build
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

// declarations reads the Kustomizations that are meant.
func (a *app) declarations(ctx context.Context, home *cluster, flags previewFlags, args []string) ([]unstructured.Unstructured, error) {
	if flags.all {
		list, err := home.list(ctx, kustomizations, a.kube.namespace, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		if len(list.Items) == 0 {
			return nil, fmt.Errorf("no Kustomization found in namespace %q", a.kube.namespace)
		}
		return list.Items, nil
	}
	if flags.file != "" {
		o, err := a.declarationIn(flags.file, args)
		if err != nil {
			return nil, err
		}
		return []unstructured.Unstructured{*o}, nil
	}
	o, err := home.get(ctx, kustomizations, a.kube.namespace, args[0])
	if err != nil {
		return nil, err
	}
	return []unstructured.Unstructured{*o}, nil
}

// declarationIn finds a Kustomization in a file: the named one, or the only one.
func (a *app) declarationIn(file string, args []string) (*unstructured.Unstructured, error) {
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
		if d.Object.GroupVersionKind().GroupKind() == kustomizations.group && (len(args) == 0 || d.Object.GetName() == args[0]) {
			found = append(found, d.Object)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%s declares no such Kustomization", file)
	case len(found) > 1:
		return nil, advise(fmt.Errorf("%s declares %d Kustomizations", file, len(found)), "say which by its name")
	}
	if found[0].GetNamespace() == "" {
		found[0].SetNamespace(a.kube.namespace)
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

func (a *app) printDerived(d *derivation, reveal bool) error {
	for _, w := range d.objects {
		o := w.object
		if !reveal {
			o = d.secrets.masked(o, o)
		}
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return err
		}
		if err := a.out("---\n%s", data); err != nil {
			return err
		}
	}
	a.sayWithheld(d)
	return nil
}

// sayWithheld tells of objects that are never applied.
func (a *app) sayWithheld(d *derivation) {
	if len(d.withheld) > 0 {
		a.say.warning("%d objects are left out: they install a controller that Plumb replaces (%s and others)", len(d.withheld), d.withheld[0].id)
	}
}
