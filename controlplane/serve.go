package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"plumb.dev/plumb/controlplane/internal/cluster"
	"plumb.dev/plumb/controlplane/internal/datadir"
)

// mostNodes bounds --nodes; more than that is a mistake.
const mostNodes = 1000

// Ready is the line of JSON that serve writes when the cluster can be used.
type Ready struct {
	Protocol    int    `json:"protocol"`
	Server      string `json:"server"`
	Kubeconfig  string `json:"kubeconfig"`
	Kubernetes  string `json:"kubernetes"`
	ReadyMillis int64  `json:"readyMillis"`
	PID         int    `json:"pid"`
}

// serveFlags are the flags of serve.
type serveFlags struct {
	dataDir        string
	ephemeral      bool
	port           int
	kubeconfig     string
	auditLog       string
	nodes          int
	runFor         time.Duration
	exitWithParent bool
	gogc           int
	verbosity      int
}

func newServeCommand() *cobra.Command {
	var flags serveFlags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a control plane until it is told to stop",
		Long: `Run a control plane until SIGTERM or SIGINT.

When it is ready, one line of JSON is written to standard output:
  {"protocol":1,"server":"https://127.0.0.1:PORT","kubeconfig":"FILE","kubernetes":"v1.x.y","readyMillis":N,"pid":N}`,
		Example: `  plumb-controlplane serve --data-dir ~/.local/share/plumb/controlplane
  plumb-controlplane serve --ephemeral --kubeconfig ./kubeconfig --audit-log ./audit.log`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return serve(command.Context(), flags, command.InOrStdin(), command.OutOrStdout())
		},
	}
	set := command.Flags()
	set.StringVar(&flags.dataDir, "data-dir", "", "directory of the cluster; a second start resumes it")
	set.BoolVar(&flags.ephemeral, "ephemeral", false, "keep the cluster in a temporary directory, removed at exit")
	set.IntVar(&flags.port, "port", 0, "port on loopback; 0 for the last one if it is free, or any free one")
	set.StringVar(&flags.kubeconfig, "kubeconfig", "", "kubeconfig to write (default: kubeconfig in the data directory)")
	set.StringVar(&flags.auditLog, "audit-log", "", "file for audit events at Metadata level (default: none)")
	set.IntVar(&flags.nodes, "nodes", 2, "number of simulated nodes")
	set.DurationVar(&flags.runFor, "task-duration", 200*time.Millisecond, "how long simulated containers run that are to end, as those of Jobs")
	set.BoolVar(&flags.exitWithParent, "exit-with-parent", false, "stop when standard input ends, as it does when the parent is killed")
	set.IntVar(&flags.gogc, "gogc", 400, "garbage collection target: higher is faster and takes more memory; Go's own default, 100, serves about a quarter less")
	set.IntVarP(&flags.verbosity, "verbose", "v", 0, "log to standard error: 0 only what ends the process, 1 errors, warnings and information, higher for detail")
	set.Lookup("verbose").NoOptDefVal = "1"
	return command
}

func serve(ctx context.Context, flags serveFlags, stdin io.Reader, stdout io.Writer) error {
	began := time.Now()
	if err := flags.validate(); err != nil {
		return err
	}
	debug.SetGCPercent(flags.gogc)
	configureLogs(flags.verbosity)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if flags.exitWithParent {
		ctx = untilEOF(ctx, stdin)
	}

	dir, err := openDataDir(flags)
	if err != nil {
		return err
	}
	if flags.kubeconfig == "" {
		flags.kubeconfig = dir.Path("kubeconfig")
	}
	running, err := cluster.Start(ctx, cluster.Options{
		Dir:          dir,
		Port:         flags.port,
		Kubeconfig:   flags.kubeconfig,
		AuditLog:     flags.auditLog,
		Nodes:        flags.nodes,
		RunFor:       flags.runFor,
		EtcdLogLevel: etcdLogLevel(flags.verbosity),
	})
	if err != nil {
		return err
	}
	if err := announce(stdout, running.Server(), flags.kubeconfig, time.Since(began)); err != nil {
		return errors.Join(err, running.Stop())
	}
	// A start leaves more garbage than a resting cluster needs memory.
	debug.FreeOSMemory()
	select {
	case <-ctx.Done():
		return running.Stop()
	case failure := <-running.Failures():
		return errors.Join(failure, running.Stop())
	}
}

func (f *serveFlags) validate() error {
	switch {
	case f.ephemeral == (f.dataDir != ""):
		return errors.New("give either --data-dir DIR, for a cluster that can be resumed, or --ephemeral")
	case f.nodes < 0 || f.nodes > mostNodes:
		return fmt.Errorf("--nodes %d: use a number from 0 to %d", f.nodes, mostNodes)
	case f.port < 0 || f.port > 65535:
		return fmt.Errorf("--port %d: use a number from 0 to 65535", f.port)
	case f.runFor < 0:
		return fmt.Errorf("--task-duration %s: use a positive duration, for example 200ms", f.runFor)
	}
	if f.kubeconfig == "" {
		return nil
	}
	absolute, err := filepath.Abs(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig %q: %w", f.kubeconfig, err)
	}
	f.kubeconfig = absolute
	return nil
}

func openDataDir(flags serveFlags) (*datadir.Dir, error) {
	if flags.ephemeral {
		return datadir.OpenEphemeral()
	}
	return datadir.Open(flags.dataDir)
}

func announce(stdout io.Writer, server, kubeconfig string, took time.Duration) error {
	err := json.NewEncoder(stdout).Encode(Ready{
		Protocol:    Protocol,
		Server:      server,
		Kubeconfig:  kubeconfig,
		Kubernetes:  versions().Kubernetes,
		ReadyMillis: took.Milliseconds(),
		PID:         os.Getpid(),
	})
	if err != nil {
		return fmt.Errorf("write the ready line: %w", err)
	}
	return nil
}

// untilEOF ends the context with the input, which a parent holds open for as
// long as it lives.
func untilEOF(ctx context.Context, input io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, input)
	}()
	return ctx
}
