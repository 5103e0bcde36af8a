package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"plumb.dev/plumb/internal/control"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/flux"
)

// logFlags say how a controller logs.
type logFlags struct{ level, encoding string }

// logger writes structured logs.
func (f logFlags) logger(w io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "error": slog.LevelError}
	level, ok := levels[f.level]
	if !ok {
		return nil, fmt.Errorf("--log-level must be debug, info or error, not %q", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.encoding {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "console":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-encoding must be json or console, not %q", f.encoding)
}

const remoteBasesUsage = "let kustomizations refer to directories of other Git repositories, and to files at addresses, which are fetched as sources"

func (a *app) controllerCommand() *cobra.Command { return a.engineCommand("") }

// engineCommand runs the engine; with an address for the API by default, it is
// the server.
func (a *app) engineCommand(apiAddr string) *cobra.Command {
	opts := control.Options{}
	server := serverFlags{}
	redirects := redirectFlags{}
	logs := logFlags{level: "info", encoding: "json"}
	var gates []string
	command := &cobra.Command{
		Use:   "controller",
		Short: "Run the engine alone against any cluster",
		Long: `Run the engine against the cluster of the kubeconfig, or of the pod that it runs
in. The flags are upstream's where upstream has one.

Plumb keeps its own Secret and Lease in the namespace of RUNTIME_NAMESPACE, or in
plumb-system.`,
		Example: `  plumb controller --kubeconfig ~/.kube/config --install-kinds
  plumb controller --data-dir /data --leader-elect --metrics-addr :8080 --health-addr :9440`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(a.streams.Err)
			if err != nil {
				return err
			}
			config, err := a.kube.loader(a).ClientConfig()
			if err != nil {
				return err
			}
			if opts.Redirects, err = redirects.read(a); err != nil {
				return err
			}
			if opts.Settings.Flux, err = readGates(gates, log); err != nil {
				return err
			}
			opts.Config, opts.Log, opts.Dialects = config, log, dialects()
			opts.Settings.ArgoNamespace = a.kube.argoNamespace
			if opts.DataDir != "" {
				opts.DataDir = a.path(opts.DataDir)
			}
			if opts.APIAddr != "" {
				if err := a.withConsole(&opts, server, a.shownFlags(cmd.LocalFlags(), nil), nil); err != nil {
					return err
				}
			}
			return a.controller(cmd.Context(), opts)
		},
	}
	set := command.Flags()
	set.StringVar(&opts.DataDir, "data-dir", "", "keep mirrors, archives and the journal in this `DIR`; a temporary one without it")
	set.StringVar(&opts.Namespace, "runtime-namespace", a.streams.Getenv("RUNTIME_NAMESPACE"), "namespace of Plumb's own Secret and Lease (default plumb-system)")
	if err := set.SetAnnotation("runtime-namespace", environmentOf, []string{"RUNTIME_NAMESPACE"}); err != nil {
		panic(err) // the flag is the one above
	}
	set.BoolVar(&opts.InstallKinds, "install-kinds", false, "install or bring up to date the kinds first")
	set.BoolVar(&opts.LeaderElect, "leader-elect", false, "act only while holding the Lease, so that several replicas can run")
	set.StringVar(&opts.StorageAddr, "storage-addr", "", "serve artifacts at this `ADDR`; a free port on loopback without it")
	set.StringVar(&opts.StorageAdvertised, "storage-adv-addr", "", "the `ADDR` by which consumers reach artifacts, where it differs")
	set.StringVar(&opts.APIAddr, "api-addr", apiAddr, "serve the console, its API and webhooks (/api/webhook) at this `ADDR`, such as :8080")
	server.bind(set)
	set.StringVar(&opts.MetricsAddr, "metrics-addr", "", "serve metrics at this `ADDR`, such as :8080")
	set.StringVar(&opts.HealthAddr, "health-addr", "", "serve health and readiness at this `ADDR`, such as :9440")
	set.BoolVar(&opts.Pprof, "pprof", false, "serve profiles beside the metrics")
	set.BoolVar(&opts.Settings.NoCrossNamespaceRefs, "no-cross-namespace-refs", false, "refuse references to sources in other namespaces")
	set.BoolVar(&opts.Settings.RemoteBases, "remote-bases", false, remoteBasesUsage)
	set.Bool("no-remote-bases", true, "refuse bases in kustomizations that are fetched from elsewhere, which is what happens without --remote-bases")
	set.StringVar(&opts.Settings.DefaultServiceAccount, "default-service-account", "", "act as this service account where a delivery names none")
	set.StringVar(&opts.Settings.SOPSAgeSecret, "sops-age-secret", "", "`NAMESPACE/NAME` of the Secret whose age keys decrypt for Kustomizations that name none")
	set.StringVar(&opts.Settings.DefaultDecryptionServiceAccount, "default-decryption-service-account", "", "ask the key services of clouds as this service account where spec.decryption names none")
	set.StringSliceVar(&opts.Settings.ApplicationNamespaces, "application-namespaces", nil, "`NAMESPACES` (globs) in which Applications may live besides")
	set.StringSliceVar(&gates, "feature-gates", nil, "feature gates of Flux's controllers, such as DisableChartDigestTracking=true; those without a meaning here are named in the log")
	redirects.bind(set)
	set.IntVar(&opts.Workers, "concurrent", 0, "deliveries worked on at a time; 0 chooses")
	set.StringVar(&logs.level, "log-level", logs.level, "debug, info or error")
	set.StringVar(&logs.encoding, "log-encoding", logs.encoding, "json or console")
	return command
}

// readGates reads Flux's feature gates, and says which of them mean nothing.
func readGates(written []string, log *slog.Logger) (dialect.Gates, error) {
	gates, idle, err := flux.ReadGates(written)
	if err != nil {
		return gates, fmt.Errorf("--feature-gates: %w", err)
	}
	for _, why := range idle {
		log.Info(why)
	}
	return gates, nil
}

// garbagePercent is how much garbage, in percent of what is in use, waits for
// collection: a controller is there to be small, and mostly rests. GOGC says
// otherwise.
const garbagePercent = 60

// controller runs the engine until ctx ends.
func (a *app) controller(ctx context.Context, opts control.Options) error {
	sendClientLogs(opts.Log)
	if a.streams.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	remember := func(string) {}
	if opts.StorageAddr == "" && opts.DataDir != "" {
		opts.StorageAddr, remember = rememberedAddr(filepath.Join(opts.DataDir, "storage-addr"))
	}
	told := opts.Ready
	opts.Ready = func(running *control.Running) {
		remember(running.ArtifactAddr)
		opts.Log.Info("delivering", "artifacts", running.ArtifactAddr, "metrics", running.MetricsAddr, "health", running.HealthAddr)
		if told != nil {
			told(running)
		}
	}
	err := control.Run(ctx, opts)
	if errors.Is(err, control.ErrLeaseLost) {
		return advise(err, "this replica ends so that it starts anew; whatever runs it restarts it")
	}
	return interrupted(ctx, err)
}

// rememberedAddr is the loopback address used last time, while it is free, so
// that what statuses say of it stays true; remember keeps the one in use.
func rememberedAddr(file string) (addr string, remember func(string)) {
	remember = func(addr string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			// Without it the next start only takes another port.
			_ = os.WriteFile(file, []byte(addr+"\n"), 0o600)
		}
	}
	data, err := os.ReadFile(file)
	last := strings.TrimSpace(string(data))
	if host, _, splitErr := net.SplitHostPort(last); err != nil || splitErr != nil || host != "127.0.0.1" {
		return "127.0.0.1:0", remember
	}
	listener, err := net.Listen("tcp", last)
	if err != nil {
		return "127.0.0.1:0", remember
	}
	if listener.Close() != nil {
		return "127.0.0.1:0", remember
	}
	return last, remember
}
