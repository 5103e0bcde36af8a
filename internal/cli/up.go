package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"plumb.dev/plumb/internal/controlplane"
)

// upFlags are what plumb up lets one choose.
type upFlags struct {
	dataDir    string
	kubeconfig string
	port       int
	detach     bool
	ephemeral  bool
	path       string
	branch     string
	name       string
	bases      bool
	redirects  redirectFlags
	background bool // the process that --detach has started

	set *pflag.FlagSet // all of them, for the page of settings
}

func (a *app) upCommand() *cobra.Command {
	flags := upFlags{}
	up := &cobra.Command{
		Use:   "up [REPO]",
		Short: "Start a cluster on this machine and deliver a repository to it",
		Long: `Start a real Kubernetes API server with simulated nodes on this machine, run Plumb
against it, and deliver a repository: a directory with a Git work tree, a bare
repository, or a URL. Without one, a sample repository is written to play with.

A source that names an address of the checkout's remotes is read from the
directory too.

No container runtime and no administrator rights are needed. Everything listens
on loopback. The cluster is kept until plumb down --purge; the next plumb up
resumes it, and every plumb up REPO adds a repository to it.`,
		Example: `  # A cluster with a sample repository
  plumb up

  # Your own, from the directory you work in
  plumb up . --path ./clusters/staging

  # A whole repository, with its charts from a registry at hand
  plumb up ./home-ops --name flux-system --path ./cluster --source-mirror oci://ghcr.io=http://localhost:5000

  # In the background; gone when it stops
  plumb up --detach --ephemeral`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo := ""
			if len(args) > 0 {
				repo = args[0]
			}
			flags.set = cmd.LocalFlags()
			return a.up(cmd.Context(), flags, repo)
		},
	}
	set := up.Flags()
	set.StringVar(&flags.dataDir, "data-dir", "", "keep the cluster in this `DIR` (default $XDG_DATA_HOME/plumb)")
	set.StringVar(&flags.kubeconfig, "kubeconfig", "", "write the kubeconfig to this `FILE` (default in the data directory)")
	set.IntVar(&flags.port, "port", 0, "`PORT` of the API server; 0 for the last one, or a free one")
	set.BoolVar(&flags.detach, "detach", false, "return when everything is ready, and go on in the background")
	set.BoolVar(&flags.ephemeral, "ephemeral", false, "keep nothing: the cluster is gone when it stops")
	set.StringVar(&flags.path, "path", "", "`DIR` in the repository that is delivered (default: all of it)")
	set.StringVar(&flags.branch, "branch", "", "branch that is delivered (default: the one that is checked out)")
	set.StringVar(&flags.name, "name", "", "`NAME` of the GitRepository and the Kustomization that deliver it, such as flux-system where the repository calls itself so (default: that of the directory)")
	set.BoolVar(&flags.bases, "remote-bases", false, remoteBasesUsage)
	flags.redirects.bind(set)
	set.BoolVar(&flags.background, "background", false, "run as the process that --detach starts")
	if err := set.MarkHidden("background"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return up
}

func (a *app) up(ctx context.Context, flags upFlags, repo string) error {
	home, err := a.home(flags.dataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(home.logs(), 0o700); err != nil {
		return err
	}
	if state, held, err := home.running(); err != nil || held {
		return errors.Join(err, a.alreadyUp(state, held, repo))
	}
	if flags.detach {
		return a.detach(ctx, home, flags, repo)
	}
	lock, held, err := hold(home.lock())
	if err != nil {
		return err
	}
	if held { // another has been quicker
		return a.alreadyUp(upState{}, true, repo)
	}
	defer func() { _ = lock.Close() }()
	return newStage(a, home, flags).run(ctx, repo)
}

// alreadyUp says where the running one is. To ask for what runs anyway is no
// error; to ask for another repository is, since nothing is done about it.
func (a *app) alreadyUp(state upState, held bool, repo string) error {
	if !held {
		return nil
	}
	a.say.success("plumb is up already (process %d, since %s)", state.PID, state.Started.Local().Format(time.DateTime))
	if repo != "" && !state.delivers(a, repo) {
		return advise(fmt.Errorf("%s is not delivered by it", repo), "stop it first: plumb down; then: plumb up %s", repo)
	}
	if state.Ready {
		return a.printNextSteps(state)
	}
	return nil
}

// delivers reports whether a repository is among those that are delivered.
func (s upState) delivers(a *app, repo string) bool {
	abs, err := filepath.Abs(a.path(repo))
	for _, r := range s.Repositories {
		if r.URL == repo || (err == nil && r.Directory == abs) {
			return true
		}
	}
	return false
}

// detachPoll is how often the starter of a background process looks at it.
const detachPoll = 50 * time.Millisecond

// detach starts plumb up again, in a session of its own, and shows its progress
// until it is ready.
func (a *app) detach(ctx context.Context, home upHome, flags upFlags, repo string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(home.log("up"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	command := exec.Command(program, flags.arguments(a, home, repo)...)
	command.Dir, command.Stdout, command.Stderr = a.streams.Dir, log, log
	inBackground(command)
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	progress := &appended{file: home.log("up"), to: a.streams.Err}
	ticker := time.NewTicker(detachPoll)
	defer ticker.Stop()
	for {
		progress.copy()
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), askToEnd(command.Process.Pid))
		case err := <-ended:
			progress.copy()
			return advise(fmt.Errorf("it ended before it was ready: %w", err), "all that it said is in %s", home.log("up"))
		case <-ticker.C:
		}
		state, held, err := home.running()
		if err == nil && held && state.Ready && state.PID == command.Process.Pid {
			progress.copy()
			return a.printNextSteps(state)
		}
	}
}

// arguments are the command line of the background process.
func (f upFlags) arguments(a *app, home upHome, repo string) []string {
	args := []string{"up", "--background", "--data-dir", home.dir}
	if f.port != 0 {
		args = append(args, "--port", strconv.Itoa(f.port))
	}
	if f.kubeconfig != "" {
		args = append(args, "--kubeconfig", a.path(f.kubeconfig))
	}
	if f.ephemeral {
		args = append(args, "--ephemeral")
	}
	if f.path != "" {
		args = append(args, "--path", f.path)
	}
	if f.branch != "" {
		args = append(args, "--branch", f.branch)
	}
	if f.name != "" {
		args = append(args, "--name", f.name)
	}
	if f.bases {
		args = append(args, "--remote-bases")
	}
	args = append(args, f.redirects.arguments(a)...)
	if repo != "" {
		args = append(args, "--", repo)
	}
	return args
}

// appended copies what is appended to a file.
type appended struct {
	file   string
	offset int64
	to     io.Writer
}

func (f *appended) copy() {
	file, err := os.Open(f.file)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return
	}
	n, _ := io.Copy(f.to, file) // progress that cannot be shown has no other place
	f.offset += n
}

func (a *app) downCommand() *cobra.Command {
	dataDir, purge := "", false
	down := &cobra.Command{
		Use:   "down",
		Short: "Stop what plumb up has started",
		Example: `  plumb down

  # And forget the cluster; a sample repository goes too
  plumb down --purge`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			home, err := a.home(dataDir)
			if err != nil {
				return err
			}
			if err := a.down(ctx, home); err != nil || !purge {
				return err
			}
			return a.purge(home)
		},
	}
	down.Flags().StringVar(&dataDir, "data-dir", "", "the `DIR` that plumb up was given")
	down.Flags().BoolVar(&purge, "purge", false, "remove the cluster and the sample repository as well")
	return down
}

func (a *app) down(ctx context.Context, home upHome) error {
	state, held, err := home.running()
	if err != nil {
		return err
	}
	if held {
		a.say.action("stopping process %d", state.PID)
		if err := askToEnd(state.PID); err != nil {
			return err
		}
		if err := awaitRelease(ctx, home); err != nil {
			return advise(fmt.Errorf("process %d does not end: %w", state.PID, err), "look at %s, or kill it", home.log("up"))
		}
	}
	// A control plane ends with the process that started it; one that has not is
	// stopped here.
	if err := controlplane.StopRunning(ctx, home.cluster()); err != nil {
		return err
	}
	if !held {
		a.say.success("plumb is not up")
		return nil
	}
	if state.Ephemeral {
		a.say.success("plumb is down, and its cluster is gone")
	} else {
		a.say.success("plumb is down; the next plumb up resumes where it stopped")
	}
	return nil
}

func awaitRelease(ctx context.Context, home upHome) error {
	ticker := time.NewTicker(detachPoll)
	defer ticker.Stop()
	for {
		held, err := isHeld(home.lock())
		if err != nil || !held {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// purge removes what plumb up has written, and nothing else that may stand in
// the directory.
func (a *app) purge(home upHome) error {
	for _, path := range []string{home.cluster(), home.controller(), home.repository(), home.kubeconfig(), home.state(), home.logs(), home.lock()} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	a.say.success("%s is purged", home.dir)
	return nil
}

func (a *app) statusCommand() *cobra.Command {
	dataDir, output := "", ""
	status := &cobra.Command{
		Use:   "status",
		Short: "Show what plumb up runs, and how it is doing",
		Long:  "Show what plumb up runs, and how it is doing. Exit code 1 when nothing runs.",
		Example: `  plumb status
  export KUBECONFIG=$(plumb status -o json | jq -r .kubeconfig)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" && output != "yaml" {
				return fmt.Errorf("--output must be json or yaml, not %q", output)
			}
			home, err := a.home(dataDir)
			if err != nil {
				return err
			}
			return a.status(cmd.Context(), home, output)
		},
	}
	status.Flags().StringVar(&dataDir, "data-dir", "", "the `DIR` that plumb up was given")
	status.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	return status
}

// upReport is what plumb status -o json prints.
type upReport struct {
	Running bool `json:"running"`
	upState
	Objects []upObject `json:"objects"`
	Problem string     `json:"problem,omitempty"` // why the objects cannot be listed
}

// upObject is one declared object.
type upObject struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  string `json:"revision,omitempty"`
	Suspended bool   `json:"suspended"`
	Ready     string `json:"ready"`
	Message   string `json:"message"`
}

func (a *app) status(ctx context.Context, home upHome, output string) error {
	state, held, err := home.running()
	if err != nil {
		return err
	}
	if !held {
		if output != "" {
			return errors.Join(a.printDocument(output, upReport{Objects: []upObject{}}), &exitError{code: exitFailed})
		}
		a.say.plain("plumb is not up; start it with: plumb up")
		return &exitError{code: exitFailed}
	}
	report := upReport{Running: true, upState: state}
	if state.Ready {
		if report.Objects, err = a.upObjects(ctx, state); err != nil {
			report.Problem = err.Error()
		}
	} else {
		report.Problem = "it is starting"
	}
	if output != "" {
		return a.printDocument(output, report)
	}
	return a.printStatus(report)
}

func (a *app) printStatus(report upReport) error {
	s := report.upState
	about := sheet{{"Plumb", fmt.Sprintf("up since %s (process %d, version %s)", s.Started.Local().Format(time.DateTime), s.PID, s.Version)}}
	about.add("Kubernetes", strings.TrimSpace(s.Kubernetes+" "+s.Server))
	about.add("Kubeconfig", s.Kubeconfig)
	for i, r := range s.Repositories {
		about.add(first(i, "Delivers"), r.place())
	}
	about.add("Artifacts", s.Artifacts)
	about.add("Console", s.Console)
	about.add("Webhooks", s.Webhooks)
	about.add("Metrics", s.Metrics)
	about.add("Logs", s.Logs)
	about.add("Problem", report.Problem)
	if err := a.out("%s", about); err != nil || len(report.Objects) == 0 {
		return err
	}
	t := &table{
		header: []string{"Namespace", "Name", "Revision", "Suspended", "Ready", "Message"},
		color:  colored(a.streams.Out, a.streams.Getenv),
	}
	for _, o := range report.Objects {
		t.rows = append(t.rows, []string{o.Namespace, strings.ToLower(o.Kind) + "/" + o.Name, shortHashes(o.Revision), yesNo(o.Suspended), o.Ready, shortHashes(o.Message)})
	}
	if err := a.out("\n"); err != nil {
		return err
	}
	return t.write(a.streams.Out)
}

// place is where a person finds the repository.
func (r upRepository) place() string {
	where := withoutCredentials(r.URL)
	if r.Directory != "" {
		where = r.Directory
	}
	if r.Path != "" && r.Path != "./" {
		where += " (" + r.Path + ")"
	}
	return where
}
