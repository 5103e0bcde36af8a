package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"plumb.dev/plumb/internal/cli"
	"plumb.dev/plumb/internal/kinds"
	"plumb.dev/plumb/scenario/stage"
)

// The limits of what one step of a story may take on a busy machine.
const (
	startLimit = 2 * time.Minute
	awaitLimit = time.Minute
	stopGrace  = 15 * time.Second
)

// A theatre is a cluster with Plumb's kinds, and the controllers that work on
// it.
type theatre struct {
	dir   string
	plane *stage.Plane
	kube  *stage.Kube

	mu          sync.Mutex
	controllers map[string]*controller
}

// A controller is one plumb controller process with what it takes to start it
// again.
type controller struct {
	flags   []string
	env     []string
	dir     string // its state; survives restarts
	log     *stage.Log
	addr    string // of health
	metrics string
	api     string // of webhooks
	proc    *stage.Process
	ended   bool // it was stopped or killed by the story
}

// openTheatre starts a cluster and installs Plumb's kinds.
func openTheatre(dir string, audit bool) (*theatre, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// A port of its own, to which it comes back after a restart.
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	plane, err := stage.StartPlane(ctx, dir, port, audit)
	if err != nil {
		return nil, err
	}
	th := &theatre{dir: dir, plane: plane, controllers: map[string]*controller{}}
	if err := th.furnish(ctx); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return th, nil
}

func (th *theatre) furnish(ctx context.Context) error {
	cfg, err := th.plane.Config()
	if err != nil {
		return err
	}
	if th.kube, err = stage.NewKube(cfg); err != nil {
		return err
	}
	definitions := kinds.CRDs()
	for _, crd := range definitions {
		if err := th.kube.Apply(ctx, crd, storyManager); err != nil {
			return fmt.Errorf("install %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range definitions {
		established, err := stage.ParseQuestion([]string{"Established=True"})
		if err != nil {
			return err
		}
		name := stage.Name{Kind: "customresourcedefinition", Name: crd.GetName()}
		if err := th.kube.Await(ctx, name, established); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything, and fails when a controller did not end well.
func (th *theatre) close() error {
	var all error
	th.mu.Lock()
	defer th.mu.Unlock()
	for name, c := range th.controllers {
		if err := c.stop(); err != nil {
			all = errors.Join(all, fmt.Errorf("controller %s: %w", name, err))
		}
	}
	return errors.Join(all, th.plane.Stop())
}

// start starts a controller, for the first time or again with the flags that
// it had.
func (th *theatre) start(name string, flags, env []string) error {
	th.mu.Lock()
	defer th.mu.Unlock()
	c := th.controllers[name]
	if c == nil {
		c = &controller{flags: flags, env: env, dir: filepath.Join(th.dir, "controller-"+name), log: stage.NewLog(nil)}
		th.controllers[name] = c
	}
	if c.proc != nil && c.proc.Running() {
		return fmt.Errorf("controller %s runs already", name)
	}
	return c.start(th.plane.Kubeconfig())
}

func (c *controller) start(kubeconfig string) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	c.addr = address
	if c.metrics, err = freeAddress(); err != nil {
		return err
	}
	if c.api, err = freeAddress(); err != nil {
		return err
	}
	plumb, err := program()
	if err != nil {
		return err
	}
	args := append([]string{
		plumb, "controller", "--kubeconfig", kubeconfig,
		"--data-dir", c.dir, "--health-addr", address, "--metrics-addr", c.metrics,
		"--api-addr", c.api, "--application-namespaces", "*",
	}, c.flags...)
	c.ended = false
	c.proc, err = stage.Start(stage.Command{
		Name: "plumb controller",
		Args: args,
		Env:  append([]string{programVariable + "=1", raceOptions}, c.env...),
		Log:  c.log,
	})
	return err
}

// fallen tells of a controller that has ended without being asked to.
func (th *theatre) fallen() error {
	th.mu.Lock()
	defer th.mu.Unlock()
	for name, c := range th.controllers {
		if c.proc != nil && !c.ended && !c.proc.Running() {
			return fmt.Errorf("controller %s has ended by itself; it said:\n%s", name, c.log.LastWords(400))
		}
	}
	return nil
}

// ready waits until the controller says that it is.
func (c *controller) ready(ctx context.Context) error {
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-c.proc.Done():
			return fmt.Errorf("plumb controller ended; it said:\n%s", c.log.Tail(40))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("plumb controller is not ready: %w; it said:\n%s", ctx.Err(), c.log.Tail(40))
}

// push tells the controllers of a commit, as a forge would.
func (th *theatre) push(ctx context.Context, url string) error {
	body, err := json.Marshal(map[string]string{"repoURL": url})
	if err != nil {
		return err
	}
	return th.post(ctx, nil, body)
}

// post sends the controllers a webhook. One that does not lead says so: it
// looks by itself when it does.
func (th *theatre) post(ctx context.Context, header http.Header, body []byte) error {
	th.mu.Lock()
	defer th.mu.Unlock()
	for name, c := range th.controllers {
		if c.proc == nil || !c.proc.Running() {
			continue
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.api+"/api/webhook", bytes.NewReader(body))
		if err != nil {
			return err
		}
		for field, values := range header {
			request.Header[http.CanonicalHeaderKey(field)] = values
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("webhook to controller %s: %w", name, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("webhook to controller %s: %s", name, response.Status)
		}
	}
	return nil
}

func (c *controller) kill() {
	c.ended = true
	c.proc.Kill()
}

func (c *controller) stop() error {
	if c.proc == nil {
		return nil
	}
	c.ended = true
	err := c.proc.Stop(stopGrace)
	if err != nil {
		err = fmt.Errorf("%w; it said:\n%s", err, c.log.LastWords(400))
	}
	return err
}

// The ports that clusters and controllers get: below those that the system gives to
// connections, so that one stays free while whoever had it is down.
const lowestPort, ports = 12_000, 18_000

// turn counts the ports that were given, from anywhere: nobody gets one that
// another has got, and has perhaps not begun to listen on.
var turn = func() *atomic.Int64 {
	from := &atomic.Int64{}
	from.Store(rand.Int64N(ports))
	return from
}()

// freePort is a port of loopback that nobody listens on, and that nobody else is
// given.
func freePort() (int, error) {
	const tries = 50
	var failed error
	for range tries {
		port := lowestPort + int(turn.Add(1)%ports)
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", loopback(port))
		if err != nil {
			failed = err
			continue
		}
		return port, listener.Close()
	}
	return 0, failed
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// freeAddress is the address of a free port.
func freeAddress() (string, error) {
	port, err := freePort()
	return loopback(port), err
}

// A process with the race detector ends at the first race.
const (
	raceExitCode = 66
	raceOptions  = "GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=0"
)

// programVariable makes the test binary play plumb itself, so that the
// controllers run the code under test, with the race detector if the tests do.
const programVariable = "PLUMB_SCENARIO_PLAYS_PLUMB"

// racingVariable names a plumb with the race detector, which "make scenario" has
// built of the same code. Then the tests around it need none, and take a third of
// the time that they take with one.
const racingVariable = "PLUMB_RACING"

// program is what the stories run as plumb: the one that is named, or the test
// binary.
func program() (string, error) {
	if racing := os.Getenv(racingVariable); racing != "" {
		return racing, nil
	}
	return os.Executable()
}

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := playPlumb(ctx)
		stop()
		os.Exit(code)
	}
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func playPlumb(ctx context.Context) int {
	file := os.Getenv(armVariable)
	if file == "" {
		return cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	}
	if err := playCharged(ctx, os.Args[1:], file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// commonTheatre is the one that most stories share: one cluster, one controller,
// a namespace for each story.
type commonTheatre struct {
	once sync.Once
	dir  string
	th   *theatre
	err  error
}

var shared commonTheatre

func (s *commonTheatre) open() (*theatre, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "plumb-scenarios-"); s.err != nil {
			return
		}
		if s.th, s.err = openTheatre(s.dir, false); s.err != nil {
			return
		}
		s.err = s.th.begin("main", nil, nil)
	})
	return s.th, s.err
}

// begin starts a controller and waits until it is ready.
func (th *theatre) begin(name string, flags, env []string) error {
	if err := th.start(name, flags, env); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return th.controller(name).ready(ctx)
}

func (th *theatre) controller(name string) *controller {
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.controllers[name]
}

func (s *commonTheatre) close() error {
	if s.th == nil {
		return nil
	}
	return errors.Join(s.th.close(), os.RemoveAll(s.dir))
}
