package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd/api"

	"plumb.dev/plumb/internal/cli/logins"
)

// completeWithin bounds what a shell waits for.
const completeWithin = 3 * time.Second

// completeOutputs offers the formats of -o.
func completeOutputs(formats ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)
}

// only keeps what begins with the prefix, in order.
func only(prefix string, all []string) []string {
	slices.Sort(all)
	return slices.DeleteFunc(all, func(word string) bool { return !strings.HasPrefix(word, prefix) })
}

// offered is a completion of words that are looked up; what cannot be looked up
// is not offered.
func offered(look func(ctx context.Context, args []string, prefix string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		return only(prefix, look(ctx, args, prefix)), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeGlobalFlags completes the flags that every command has.
func (a *app) completeGlobalFlags(root *cobra.Command) {
	namespaces := offered(func(ctx context.Context, _ []string, _ string) []string { return a.namespaces(ctx) })
	for flag, complete := range map[string]cobra.CompletionFunc{
		"namespace":        namespaces,
		"argocd-namespace": namespaces,
		"plumb-server":     offered(func(context.Context, []string, string) []string { return a.loginNames() }),
		"context":          a.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.Contexts)) }),
		"cluster":          a.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.Clusters)) }),
		"user":             a.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.AuthInfos)) }),
	} {
		completeFlag(root, flag, complete)
	}
}

// sayHowToComplete adds to the commands that print completion scripts what to do
// with these.
func sayHowToComplete(root *cobra.Command) {
	for shell, example := range map[string]string{
		"bash":       "  source <(plumb completion bash)",
		"zsh":        "  source <(plumb completion zsh)",
		"fish":       "  plumb completion fish | source",
		"powershell": "  plumb completion powershell | Out-String | Invoke-Expression",
	} {
		if command, _, err := root.Find([]string{"completion", shell}); err == nil {
			command.Example = example
		}
	}
}

// completeFlag completes the value of a flag.
func completeFlag(command *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // no such flag, or twice: every command line finds it
	}
}

// namespaces are those of the cluster; a server does not list them.
func (a *app) namespaces(ctx context.Context) []string {
	p, err := a.place()
	if err != nil {
		return nil
	}
	at, ok := p.(onSite)
	if !ok {
		return nil
	}
	list, err := at.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}

// loginNames are the places that can be asked.
func (a *app) loginNames() []string {
	names := []string{logins.Kubeconfig}
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return names
	}
	book, err := shelf.Read()
	if err != nil {
		return names
	}
	for i := range book.Logins {
		names = append(names, book.Logins[i].Name)
	}
	return names
}

func (a *app) fromKubeconfig(names func(*api.Config) []string) cobra.CompletionFunc {
	return offered(func(context.Context, []string, string) []string {
		config, err := a.kube.rules(a).Load()
		if err != nil {
			return nil
		}
		return names(config)
	})
}

// completeObjects offers KIND and NAME, or KIND/NAME, for commands that take any
// object. most bounds the arguments, without a limit when 0.
func (a *app) completeObjects(most int) cobra.CompletionFunc {
	return offered(func(ctx context.Context, args []string, prefix string) []string {
		kind, _, joined := strings.Cut(prefix, "/")
		switch {
		case most > 0 && len(args) >= most, len(args) > 0 && strings.Contains(args[0], "/") && most > 0:
			return nil
		case joined:
			var names []string
			for _, name := range a.namesOf(ctx, kind) {
				names = append(names, kind+"/"+name)
			}
			return names
		case len(args) == 0:
			return a.kindNames(ctx)
		}
		return a.namesOf(ctx, args[0])
	})
}

// completeDeclared offers KIND/NAME of what is declared.
func (a *app) completeDeclared() cobra.CompletionFunc {
	return offered(func(ctx context.Context, _ []string, prefix string) []string {
		kind, _, joined := strings.Cut(prefix, "/")
		var words []string
		if !joined {
			for _, declared := range declaredKinds {
				words = append(words, declared.group.Kind)
			}
			return words
		}
		for _, name := range a.namesOf(ctx, kind) {
			words = append(words, kind+"/"+name)
		}
		return words
	})
}

// kindNames are the kinds that the cluster serves and that can be read, in the
// singular; at a server, those that are declared to it.
func (a *app) kindNames(ctx context.Context) []string {
	var names []string
	p, err := a.place()
	if err != nil {
		return nil
	}
	at, ok := p.(onSite)
	if !ok {
		for _, kind := range declaredKinds {
			names = append(names, kind.singular)
		}
		return names
	}
	_, lists, err := at.discovery.ServerGroupsAndResources()
	if lists == nil || err != nil && ctx.Err() != nil {
		return nil
	}
	for _, list := range lists {
		for i := range list.APIResources {
			r := &list.APIResources[i]
			if name := strings.ToLower(r.Kind); !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "get") && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// namesOf are the objects of a kind in the namespace that is meant.
func (a *app) namesOf(ctx context.Context, kind string) []string {
	p, err := a.place()
	if err != nil {
		return nil
	}
	var names []string
	if declared := kindNamed(kind); declared != nil {
		list, err := p.list(ctx, declared, a.namespaceOf(declared), metav1.ListOptions{})
		if err != nil {
			return nil
		}
		for i := range list.Items {
			names = append(names, list.Items[i].GetName())
		}
		return names
	}
	at, ok := p.(onSite)
	if !ok {
		return nil
	}
	t, err := at.target(kind, a.namespaceFor, "any")
	if err != nil {
		return nil
	}
	list, err := at.objects.Resource(t.mapping.Resource).Namespace(t.namespace).List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		return nil
	}
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}
