package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/signin"
)

func (a *app) contextCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "context",
		Short: "Choose among the servers that you have signed in to",
		Long: `Choose among the servers of Plumb that you have signed in to. "kubeconfig" means
none of them: commands then ask the cluster that the kubeconfig names.

For a single command, --plumb-server does the same, as PLUMB_SERVER does for a
shell. A flag that says which cluster is meant, such as --kubeconfig or --context,
asks that cluster.`,
		Example: `  plumb context list
  plumb context use prod
  plumb context use kubeconfig
  plumb context delete old`,
	}
	output := ""
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the servers that you have signed in to", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listLogins(output) },
	}
	list.Flags().StringVarP(&output, "output", "o", "", "json, yaml or name")
	use := &cobra.Command{
		Use: "use NAME", Short: "Ask this server from now on, or the cluster of the kubeconfig", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeLogins,
		RunE:              func(_ *cobra.Command, args []string) error { return a.useLogin(args[0]) },
	}
	remove := &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Forget a login without telling its server; plumb logout tells it", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeLogins,
		RunE:              func(_ *cobra.Command, args []string) error { return a.forgetLogin(args[0]) },
	}
	command.Args, command.RunE = unknownSubcommand, showHelp
	command.AddCommand(list, use, remove)
	return command
}

// loginLine is a login as plumb context list shows it: nothing of its tokens.
type loginLine struct {
	Name    string `json:"name"`
	Server  string `json:"server,omitempty"`
	User    string `json:"user,omitempty"`
	How     string `json:"how,omitempty"` // "password", "sso", "token" or "kubernetes"
	Expires string `json:"expires,omitempty"`
	Current bool   `json:"current,omitempty"`
}

func (a *app) listLogins(output string) error {
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	book, err := shelf.Read()
	if err != nil {
		return err
	}
	var lines []loginLine
	for i := range book.Logins {
		l := &book.Logins[i]
		lines = append(lines, loginLine{l.Name, l.Server, l.User, wayOf(l), a.endOf(l), l.Name == book.Current})
	}
	slices.SortFunc(lines, func(x, y loginLine) int { return strings.Compare(x.Name, y.Name) })
	lines = append(lines, loginLine{Name: logins.Kubeconfig, Current: book.Current == ""})
	switch output {
	case "json", "yaml":
		return a.printDocument(output, lines)
	case "name":
		for _, l := range lines {
			if err := a.out("%s\n", l.Name); err != nil {
				return err
			}
		}
		return nil
	case "":
	default:
		return fmt.Errorf("--output must be json, yaml or name, not %q", output)
	}
	t := table{header: []string{"Current", "Name", "Server", "User", "Signed in by", "Ends"}, color: colored(a.streams.Out, a.streams.Getenv)}
	for _, l := range lines {
		mark := ""
		if l.Current {
			mark = "*"
		}
		t.rows = append(t.rows, []string{mark, l.Name, l.Server, l.User, l.How, l.Expires})
	}
	return t.write(a.streams.Out)
}

// wayOf is how somebody has signed in.
func wayOf(l *logins.Login) string {
	switch {
	case l.Kubernetes != "":
		return "kubernetes"
	case l.Provider != nil:
		return "sso"
	case l.Session:
		return "password"
	}
	return "token"
}

// endOf is when a session ends.
func (a *app) endOf(l *logins.Login) string {
	switch {
	case l.Refresh != "":
		return "renewed"
	case l.Expires.IsZero():
		return ""
	case a.now().After(l.Expires):
		return "ended"
	}
	return l.Expires.UTC().Format(time.RFC3339)
}

func (a *app) useLogin(name string) error {
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	err = shelf.Change(func(book *logins.Book) error {
		if name == logins.Kubeconfig {
			book.Current = ""
			return nil
		}
		login, ok := book.Find(name)
		if !ok {
			return noLogin(name)
		}
		book.Current, name = login.Name, login.String()
		return nil
	})
	if err != nil {
		return err
	}
	if name == logins.Kubeconfig {
		name = "the cluster of the kubeconfig"
	}
	a.say.success("commands ask %s now", name)
	return nil
}

func noLogin(name string) error {
	return advise(fmt.Errorf("nobody has signed in to %s", name), "see the logins there are with: plumb context list")
}

func (a *app) forgetLogin(name string) error {
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	err = shelf.Change(func(book *logins.Book) error {
		if !book.Delete(name) {
			return noLogin(name)
		}
		return nil
	})
	if err == nil {
		a.say.success("%s is forgotten", name)
	}
	return err
}

// completeLogins offers the names of logins to the shell.
func (a *app) completeLogins(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{logins.Kubeconfig}
	if shelf, err := logins.ShelfIn(a.streams.Getenv); err == nil {
		if book, err := shelf.Read(); err == nil {
			for i := range book.Logins {
				names = append(names, book.Logins[i].Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) logoutCommand() *cobra.Command {
	all := false
	command := &cobra.Command{
		Use:   "logout [NAME]",
		Short: "Sign out of a server of Plumb",
		Long: `Sign out: the session ends at the server, and its token is forgotten. Without a
name, that is the login in use.`,
		Example: `  plumb logout
  plumb logout prod
  plumb logout --all`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeLogins,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			if all && len(args) > 0 {
				return errors.New("name a login or use --all, not both")
			}
			return a.logouts(ctx, args, all)
		},
	}
	command.Flags().BoolVar(&all, "all", false, "of every one")
	return command
}

// logouts signs out of the logins that are meant.
func (a *app) logouts(ctx context.Context, names []string, all bool) error {
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	book, err := shelf.Read()
	if err != nil {
		return err
	}
	var meant []logins.Login
	switch {
	case all:
		meant = book.Logins
	default:
		name := cmp.Or(strings.Join(names, ""), a.server, a.streams.Getenv(serverVariable), book.Current)
		if name == "" || name == logins.Kubeconfig {
			return advise(errors.New("no login is in use"), "name one of: plumb context list")
		}
		login, ok := book.Find(name)
		if !ok {
			return noLogin(name)
		}
		meant = append(meant, *login)
	}
	var failures []error
	for i := range meant {
		failures = append(failures, a.logout(ctx, shelf, &meant[i]))
	}
	if len(failures) == 1 {
		return failures[0]
	}
	return errors.Join(failures...)
}

// leave ends a session of an identity provider at the server, as a browser does.
func (s *atServer) leave(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.login.Server+signin.LogoutPath, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.login.Token)
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	return nil
}

// identity is who somebody is at a place. Its JSON form is what plumb whoami -o
// json prints.
type identity struct {
	Server  string   `json:"server"`
	Login   string   `json:"login,omitempty"`
	Name    string   `json:"name"`
	Groups  []string `json:"groups,omitempty"`
	By      string   `json:"by"` // "account", "oidc", "project", "kubernetes", "anonymous" or "kubeconfig"
	Issuer  string   `json:"issuer,omitempty"`
	Expires string   `json:"expires,omitempty"` // of the token
	Renews  bool     `json:"renews,omitempty"`  // it is renewed by itself
}

func (a *app) whoamiCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are to the server or the cluster that is asked",
		Example: `  plumb whoami
  plumb whoami --plumb-server prod -o json`,
		Args: cobra.NoArgs,
	}
	a.documented(command, "json or yaml", func(ctx context.Context, p place, _ []string, output string) error {
		who, err := p.whoami(ctx)
		if err != nil {
			return err
		}
		if output != "" {
			return a.printDocument(output, who)
		}
		about := sheet{{"Server", who.Server}}
		about.add("Login", who.Login)
		about.add("Name", who.Name)
		for i, group := range who.Groups {
			about.add(first(i, "Groups"), group)
		}
		about.add("Signed in by", who.By)
		about.add("Issuer", who.Issuer)
		expires := who.Expires
		if who.Renews && expires != "" {
			expires += ", and is renewed before"
		}
		about.add("Ends", expires)
		return a.out("%s", about)
	})
	return command
}
