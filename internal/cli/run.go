package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/model"
)

// Streams is all that a command knows of the process it runs in, so that
// several can run side by side in one.
type Streams struct {
	In  io.Reader // nil: empty
	Out io.Writer // results
	Err io.Writer // progress and errors

	Getenv func(string) string // nil: os.Getenv
	Dir    string              // relative paths start here; "": the working directory
}

// The exit codes of every command; plumb diff adds its own.
const (
	exitOK     = 0
	exitFailed = 1
)

// Run runs one command line, without the program's name, until it is done or
// ctx is, and returns the exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	return newApp(streams).run(ctx, args)
}

// app is what every command shares.
type app struct {
	streams Streams
	say     *terminal
	now     func() time.Time
	browse  func(address string) error // shows an address to the user

	kube      kubeFlags
	server    string // of Plumb, to ask instead of the cluster; see chosen
	timeout   time.Duration
	redirects redirectFlags // of a command that fetches for itself
}

func newApp(streams Streams) *app {
	captureClientLogs()
	if streams.In == nil {
		streams.In = strings.NewReader("")
	}
	if streams.Getenv == nil {
		streams.Getenv = os.Getenv
	}
	return &app{
		streams: streams,
		say:     newTerminal(streams.Err, streams.Getenv),
		now:     time.Now,
		browse:  openInBrowser,
	}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var coded *exitError
	if errors.As(err, &coded) {
		if coded.err != nil {
			a.explainError(coded.err)
		}
		return coded.code
	}
	a.explainError(err)
	return exitFailed
}

// exitError ends a command with a code of its own; a nil err says that all has
// been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// adviceError is an error together with what to do next.
type adviceError struct {
	err    error
	advice string
}

func (e *adviceError) Error() string { return e.err.Error() }
func (e *adviceError) Unwrap() error { return e.err }

// advise adds what to do next to an error.
func advise(err error, format string, args ...any) error {
	return &adviceError{err: err, advice: fmt.Sprintf(format, args...)}
}

// explainError prints an error and what to do about it.
func (a *app) explainError(err error) {
	message, advice := err.Error(), adviceFor(err)
	var fault *model.Fault
	if errors.As(err, &fault) {
		plain := *fault
		plain.Advice = ""
		message = strings.Replace(message, fault.Error(), plain.Error(), 1)
	}
	a.say.failure("%s", message)
	if advice != "" {
		a.say.plain("  %s", advice)
	}
}

// adviceFor finds what a user can do about an error.
func adviceFor(err error) string {
	var advised *adviceError
	if errors.As(err, &advised) {
		return advised.advice
	}
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault.Advice
	}
	switch {
	case clientcmd.IsEmptyConfig(err):
		return "name a cluster with --kubeconfig or KUBECONFIG, or start one with: plumb up"
	case utilnet.IsConnectionRefused(err):
		return "is the cluster running? See which one is meant with: kubectl config current-context; a cluster started by plumb up is resumed by: plumb up"
	case meta.IsNoMatchError(err):
		return "the cluster does not serve this kind; see what is missing with: plumb check"
	case apierrors.IsNotFound(err) && declaredGroup(err):
		return "see what is declared, and where, with: plumb get all -A"
	case apierrors.IsUnauthorized(err):
		return "the credentials in the kubeconfig are not accepted; renew them and try again"
	case apierrors.IsForbidden(err):
		return "ask for the right, or act as somebody who has it with --as"
	case errors.Is(err, context.DeadlineExceeded):
		return "allow more time with --timeout, and see why it takes so long with: plumb events"
	}
	return ""
}

// declaredGroup reports whether an answer of the API server is about an object of
// a kind that is declared to Plumb.
func declaredGroup(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil &&
		slices.ContainsFunc(declaredKinds, func(kind *declaredKind) bool { return kind.group.Group == status.Status().Details.Group })
}

// path makes a path given by the user absolute.
func (a *app) path(p string) string {
	if filepath.IsAbs(p) || a.streams.Dir == "" {
		return p
	}
	return filepath.Join(a.streams.Dir, p)
}

// within bounds a command by --timeout.
func (a *app) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// out prints a result.
func (a *app) out(format string, args ...any) error {
	_, err := fmt.Fprintf(a.streams.Out, format, args...)
	return err
}

// The groups that help sorts commands into.
const (
	groupRun     = "run"
	groupObserve = "observe"
	groupAct     = "act"
	groupMove    = "move"
	groupReach   = "reach"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "plumb",
		Short: "Keeps Kubernetes clusters true to Git",
		Long: `Plumb keeps Kubernetes clusters true to Git. It takes the manifests you already
have, of Flux and of Argo CD, and drives them with one engine.`,
		Example: `  # A cluster on this machine, with a repository to commit to
  plumb up

  # What is declared, and how it is doing
  plumb get all -A

  # Why an object is as it is: owner, commit, file, line, health, drift
  plumb explain deployment/podinfo -n apps

  # Sync an Application of Argo CD, and see how it goes
  plumb sync application guestbook

  # What a local change would do to the live cluster
  plumb diff kustomization apps --path ./apps`,
		Version:           buildVersion(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.settleNamespace(cmd) },
	}
	root.SetIn(a.streams.In)
	root.SetOut(a.streams.Out)
	root.SetErr(a.streams.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return advise(err, "see: %s --help", cmd.CommandPath())
	})
	root.SetVersionTemplate("plumb {{.Version}}\n")
	a.kube.bind(root.PersistentFlags(), a.streams.Getenv)
	root.PersistentFlags().StringVar(&a.server, "plumb-server", "", "ask this server of Plumb instead of the cluster: the name of a login, or an `ADDRESS`; \"kubeconfig\" asks the cluster")
	root.PersistentFlags().DurationVar(&a.timeout, "timeout", 5*time.Minute, "how long to wait for the cluster before giving up")

	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run Plumb:"},
		&cobra.Group{ID: groupObserve, Title: "See:"},
		&cobra.Group{ID: groupAct, Title: "Act:"},
		&cobra.Group{ID: groupMove, Title: "Move in and out:"},
		&cobra.Group{ID: groupReach, Title: "Reach a server of Plumb:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupReach, a.loginCommand(), a.logoutCommand(), a.contextCommand(), a.whoamiCommand())
	add(groupRun, a.upCommand(), a.statusCommand(), a.downCommand(), a.serverCommand(), a.controllerCommand())
	add(groupObserve, a.getCommand(), a.treeCommand(), a.historyCommand(), a.eventsCommand(), a.logsCommand(), a.traceCommand(), a.explainCommand(), a.exportCommand(), a.buildCommand(), a.diffCommand())
	add(groupAct, a.reconcileCommand(), a.syncCommand(), a.terminateCommand(), a.rollbackCommand(), a.suspendCommand(), a.resumeCommand(), a.approveCommand())
	add(groupMove, a.checkCommand(), a.installCommand(), a.adoptCommand(), a.uninstallCommand())
	root.AddCommand(a.versionCommand(), a.docsCommand())
	root.InitDefaultCompletionCmd()
	sayHowToComplete(root)
	a.completeGlobalFlags(root)
	refuseWell(root)
	return root
}

// refuseWell makes a command and those below it say what to do about arguments
// that they do not take: cobra alone says how many there were, and takes a word
// that names no subcommand for a question about the others.
func refuseWell(command *cobra.Command) {
	check := command.Args
	if command.HasSubCommands() && command.RunE == nil && command.Run == nil {
		check, command.RunE = unknownSubcommand, showHelp
	}
	if check != nil {
		command.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil || adviceFor(err) != "" {
				return err
			}
			return advise(err, "see: %s --help", cmd.CommandPath())
		}
	}
	for _, below := range command.Commands() {
		refuseWell(below)
	}
}

// settleNamespace decides which namespace a command means, as flux does: the
// flag, else FLUX_SYSTEM_NAMESPACE, else flux-system; with
// --ns-follows-kube-context the kubeconfig's own. Objects of Argo CD are in
// its namespace instead when none was chosen.
func (a *app) settleNamespace(*cobra.Command) error {
	if a.kube.followContext && !a.kube.namespaceGiven() {
		if ns, _, err := a.kube.loader(a).Namespace(); err == nil && ns != "" {
			a.kube.namespace, a.kube.chosen = ns, true
		}
	}
	a.kube.chosen = a.kube.chosen || a.kube.namespaceGiven()
	for _, namespace := range []string{a.kube.namespace, a.kube.argoNamespace} {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return fmt.Errorf("namespace %q is not a valid name: %s", namespace, strings.Join(problems, "; "))
		}
	}
	return nil
}
