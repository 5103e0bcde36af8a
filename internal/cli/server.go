package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"plumb.dev/plumb/internal/api"
	"plumb.dev/plumb/internal/control"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin"
	"plumb.dev/plumb/internal/web"
)

// serverFlags say how the console and the API are served.
type serverFlags struct {
	url, certFile, keyFile string
	insecure               bool
}

func (f *serverFlags) bind(set *pflag.FlagSet) {
	set.StringVar(&f.url, "url", "", "the `URL` by which people reach the console, where argocd-cm does not say")
	set.StringVar(&f.certFile, "tls-cert-file", "", "serve with the certificate in this `FILE`; one that is signed by itself is made without it")
	set.StringVar(&f.keyFile, "tls-private-key-file", "", "`FILE` with the key of --tls-cert-file")
	set.BoolVar(&f.insecure, "insecure", false, "serve the console and the API without TLS, as behind an ingress that does it")
}

// serverCommand is controllerCommand with the console.
func (a *app) serverCommand() *cobra.Command {
	command := a.engineCommand(":8080")
	command.Use = "server"
	command.Short = "Run the engine with the console and its API against any cluster"
	command.Long = `Run the engine as "plumb controller" does, and serve the console, the API behind
it, the protocol of Argo CD's command line, and webhooks, all at --api-addr. TLS
is on outside of loopback, unless --insecure says otherwise.

The first time, a password for the user admin is made and printed once; it lies in
the Secret argocd-initial-admin-secret too. Who may do what is said by
argocd-rbac-cm, by AppProjects and by the cluster's own RBAC.`
	command.Example = `  plumb server --kubeconfig ~/.kube/config --install-kinds --api-addr 127.0.0.1:8480
  plumb server --data-dir /data --tls-cert-file /tls/tls.crt --tls-private-key-file /tls/tls.key`
	return command
}

// withConsole adds the console and the API to what a controller serves. first is
// told the password that a first start makes; nil: it goes to the log's output,
// once, in words.
func (a *app) withConsole(opts *control.Options, flags serverFlags, shown []api.Flag, first func(model.Secret)) error {
	host, _, err := net.SplitHostPort(opts.APIAddr)
	if err != nil {
		return advise(fmt.Errorf("--api-addr: %w", err), "as in --api-addr :8080")
	}
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	if !flags.insecure && (!loopback || flags.certFile != "") {
		if opts.APITLS, err = api.Certificate(flags.certFile, flags.keyFile, []string{host, "localhost", "127.0.0.1"}); err != nil {
			return err
		}
	}
	if first == nil {
		first = a.sayFirstPassword
	}
	namespace := opts.Namespace
	if namespace == "" {
		namespace = control.DefaultNamespace
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	server := api.New(api.Options{
		Dialects: opts.Dialects, Settings: opts.Settings, Namespace: namespace, URL: flags.url, Version: buildVersion(),
		Flags: shown, Console: web.Handler(), Log: log, First: first,
		Limits: signin.LimitsFrom(a.streams.Getenv), Extend: argocdProtocol(opts.Settings, log),
	})
	opts.APIHandler, opts.Noticed = server, server.Noticed
	opts.Console = func(ctx context.Context, w *control.World) {
		server.Lead(ctx, &api.World{Declared: w, Engine: w.Engine, Journal: w.Journal, Local: w.Local})
	}
	return nil
}

// sayFirstPassword prints the password of a first start, this once.
func (a *app) sayFirstPassword(password model.Secret) {
	a.say.success("first start: sign in as admin with the password %s", password.Reveal())
	a.say.plain("  change it with: argocd account update-password; it is shown this once, and lies in the Secret argocd-initial-admin-secret")
}

// environmentOf names the variable of the environment that a flag's default comes
// from, among a flag's annotations.
const environmentOf = "plumb.dev/environment"

// shownFlags are the flags with the values that are in force, for the page of
// settings. effective are those that flags leave open and something else has
// decided.
func (a *app) shownFlags(set *pflag.FlagSet, effective map[string]string) []api.Flag {
	if set == nil {
		return nil
	}
	var out []api.Flag
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		shown := api.Flag{Name: f.Name, Value: f.Value.String(), Help: strings.ReplaceAll(f.Usage, "`", "")}
		if variable := f.Annotations[environmentOf]; len(variable) > 0 && a.streams.Getenv(variable[0]) != "" {
			shown.Origin = variable[0]
		}
		if f.Changed {
			shown.Origin = api.FromFlag
		}
		if value, decided := effective[f.Name]; decided {
			shown.Value = value
		}
		out = append(out, shown)
	})
	return out
}
