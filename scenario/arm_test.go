package scenario

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/control"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/dialect/flux"
)

// armVariable names the file that tells a controller when to die: a namespace
// and "before:N" or "after:N", the number of a write in it, counted since the
// file was written.
const armVariable = "PLUMB_SCENARIO_ARM"

func arm(file, namespace, at string) error {
	next := file + ".next"
	if err := os.WriteFile(next, []byte(namespace+" "+at), 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

func disarm(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A charge is the fault injector of a controller that may be told to die.
type charge struct {
	file string

	mu       sync.Mutex
	orders   string // as they were read last
	sent     int
	answered int
}

// orders are what the file says: "" for none.
func (c *charge) read() (orders, namespace, when string, number int, err error) {
	text, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", "", 0, nil
	}
	if err != nil {
		return "", "", "", 0, err
	}
	orders = string(text)
	namespace, at, _ := strings.Cut(orders, " ")
	when, digits, _ := strings.Cut(at, ":")
	number, err = strconv.Atoi(digits)
	return orders, namespace, when, number, err
}

// write counts a write, and dies if it is the one.
func (c *charge) write(call cluster.Call, when string, count *int) error {
	if call.DryRun {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	orders, namespace, wanted, number, err := c.read()
	if err != nil {
		return err
	}
	if orders != c.orders {
		c.orders, c.sent, c.answered = orders, 0, 0
	}
	if orders == "" || !strings.HasPrefix(call.Namespace, namespace) && !strings.Contains(call.Name, namespace) {
		return nil
	}
	*count++
	if wanted == when && *count == number {
		return syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	}
	return nil
}

func (c *charge) intercept() cluster.Intercept {
	return cluster.Intercept{
		BeforeWrite: func(_ context.Context, call cluster.Call) error { return c.write(call, "before", &c.sent) },
		AfterWrite: func(_ context.Context, call cluster.Call, result error) error {
			return errors.Join(result, c.write(call, "after", &c.answered))
		},
	}
}

// playCharged is plumb controller with a charge in it; it takes those of its
// flags that the theatre uses.
func playCharged(ctx context.Context, args []string, file string) error {
	flags := flag.NewFlagSet("plumb controller", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "")
	dir := flags.String("data-dir", "", "")
	health := flags.String("health-addr", "", "")
	metrics := flags.String("metrics-addr", "", "")
	api := flags.String("api-addr", "", "")
	namespaces := flags.String("application-namespaces", "", "")
	storage := flags.String("storage-addr", "127.0.0.1:0", "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	charged := &charge{file: file}
	// The theatre has installed the kinds. One controller of a cluster looks
	// whether they are current; to read them takes a tenth of a start.
	_, unheard := os.Stat(filepath.Join(*dir, "journal.db"))
	err = control.Run(ctx, control.Options{
		Config: cfg, Dialects: []dialect.Dialect{flux.New(), argo.New()}, DataDir: *dir, InstallKinds: unheard != nil,
		APIAddr: *api, Settings: dialect.Settings{ApplicationNamespaces: []string{*namespaces}},
		HealthAddr: *health, MetricsAddr: *metrics, StorageAddr: *storage,
		Log:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Intercept: charged.intercept(),
	})
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}
