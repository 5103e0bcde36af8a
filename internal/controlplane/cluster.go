package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// detachedLog is where a detached control plane logs, in its data directory.
const detachedLog = "controlplane.log"

// outputDelay is how long the output of a dead child is still read, should a
// grandchild hold it open.
const outputDelay = time.Second

// Cluster is a control plane that is ready.
type Cluster struct {
	// Server is the URL of the API server.
	Server string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Kubernetes is the version of the API server.
	Kubernetes string
	// PID is the control plane's process.
	PID int
	// ReadyAfter is how long the control plane took to become ready.
	ReadyAfter time.Duration

	child *child
}

// Start finds the program, starts it and returns when it is ready. The context
// bounds the start, not the life of the cluster; when it ends too early,
// nothing stays behind.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	arguments, err := options.arguments()
	if err != nil {
		return nil, err
	}
	program := options.Program
	if program == "" {
		if program, err = Find(); err != nil {
			return nil, err
		}
	}
	if _, err := Handshake(ctx, program); err != nil {
		return nil, err
	}
	child, err := launch(program, arguments, options)
	if err != nil {
		return nil, err
	}
	cluster, err := child.awaitReady(ctx)
	if err != nil {
		child.kill()
		return nil, err
	}
	return cluster, nil
}

// Done is closed when the control plane has ended.
func (c *Cluster) Done() <-chan struct{} { return c.child.done }

// Err says why the control plane ended, once it has; nil if it was stopped.
func (c *Cluster) Err() error {
	select {
	case <-c.child.done:
		return c.child.failure()
	default:
		return nil
	}
}

// Stop ends the control plane, attached or detached, and waits for it. When
// the context ends first, the process is killed. To stop twice is harmless.
func (c *Cluster) Stop(ctx context.Context) error {
	c.child.askToStop()
	select {
	case <-c.child.done:
		return nil
	case <-ctx.Done():
		c.child.kill()
		return fmt.Errorf("control plane (process %d) did not stop in time and was killed: %w", c.PID, context.Cause(ctx))
	}
}

// arguments is the command line for the options.
func (o *Options) arguments() ([]string, error) {
	if o.Detached && o.DataDir == "" {
		return nil, errors.New("a detached control plane needs a data directory, by which it is found again")
	}
	arguments := []string{"serve"}
	if o.DataDir == "" {
		arguments = append(arguments, "--ephemeral")
	} else {
		arguments = append(arguments, "--data-dir", o.DataDir)
	}
	if !o.Detached {
		arguments = append(arguments, "--exit-with-parent")
	}
	if o.Port != 0 {
		arguments = append(arguments, "--port", strconv.Itoa(o.Port))
	}
	if o.Kubeconfig != "" {
		arguments = append(arguments, "--kubeconfig", o.Kubeconfig)
	}
	if o.AuditLog != "" {
		arguments = append(arguments, "--audit-log", o.AuditLog)
	}
	if o.Nodes != nil {
		arguments = append(arguments, "--nodes", strconv.Itoa(*o.Nodes))
	}
	if o.TaskDuration != 0 {
		arguments = append(arguments, "--task-duration", o.TaskDuration.String())
	}
	if o.GOGC != 0 {
		arguments = append(arguments, "--gogc", strconv.Itoa(o.GOGC))
	}
	if o.Verbosity != 0 {
		arguments = append(arguments, "--verbose="+strconv.Itoa(o.Verbosity))
	}
	return arguments, nil
}

// child is the process of a control plane.
type child struct {
	command *exec.Cmd
	stdin   io.Closer // nil when detached
	ready   <-chan []byte
	log     *os.File // nil without a log file
	tail    *tail

	done    chan struct{}
	waitErr error // set before done is closed

	stopOnce sync.Once
	mu       sync.Mutex
	asked    bool
}

// launch starts the process, and watches it.
func launch(program string, arguments []string, options Options) (*child, error) {
	c := &child{command: exec.Command(program, arguments...), tail: &tail{}, done: make(chan struct{})}
	c.command.WaitDelay = outputDelay
	if err := c.connectLog(options); err != nil {
		return nil, err
	}
	stdout, output, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), c.closeLog())
	}
	c.command.Stdout = output
	if err := c.start(options.Detached); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), stdout.Close(), output.Close(), c.closeLog())
	}
	_ = output.Close()
	c.ready = firstLine(stdout)
	go c.watch()
	return c, nil
}

func (c *child) start(detached bool) error {
	if detached {
		inOwnSession(c.command)
		return c.command.Start()
	}
	inOwnGroup(c.command)
	stdin, err := c.command.StdinPipe()
	if err != nil {
		return err
	}
	c.stdin = stdin
	return c.command.Start()
}

// connectLog sends standard error to the log file, to the tail that errors
// quote, or to both. A detached process must have the file alone: a pipe would
// break when this process ends.
func (c *child) connectLog(options Options) error {
	path := options.LogFile
	if path == "" && options.Detached {
		path = filepath.Join(options.DataDir, detachedLog)
	}
	if path == "" {
		c.command.Stderr = c.tail
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create the directory of the control plane's log: %w", err)
	}
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the control plane's log: %w", err)
	}
	c.log = log
	if options.Detached {
		c.command.Stderr = log
		return c.tail.readFrom(path)
	}
	c.command.Stderr = io.MultiWriter(log, c.tail)
	return nil
}

func (c *child) closeLog() error {
	if c.log == nil {
		return nil
	}
	return c.log.Close()
}

// watch reaps the process.
func (c *child) watch() {
	c.waitErr = c.command.Wait()
	_ = c.closeLog()
	close(c.done)
}

// readyLine is what the control plane writes when it can be used.
type readyLine struct {
	Protocol    int    `json:"protocol"`
	Server      string `json:"server"`
	Kubeconfig  string `json:"kubeconfig"`
	Kubernetes  string `json:"kubernetes"`
	ReadyMillis int64  `json:"readyMillis"`
	PID         int    `json:"pid"`
}

func (c *child) awaitReady(ctx context.Context) (*Cluster, error) {
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the control plane: %w%s", context.Cause(ctx), c.tail.quote())
	case line := <-c.ready:
		if line != nil {
			return c.parseReady(line)
		}
	}
	// The output ended without a line: the process is about to end.
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the control plane: %w%s", context.Cause(ctx), c.tail.quote())
	case <-c.done:
		return nil, fmt.Errorf("the control plane did not start: %w", c.failure())
	}
}

func (c *child) parseReady(line []byte) (*Cluster, error) {
	var ready readyLine
	if err := json.Unmarshal(line, &ready); err != nil || ready.Server == "" {
		return nil, fmt.Errorf("%w: it announces itself with %q; build it anew with\n  %s", ErrProtocol, line, BuildCommand)
	}
	if ready.Protocol != Protocol {
		return nil, fmt.Errorf("%w: it speaks protocol %d, and this plumb speaks %d; build it anew with\n  %s", ErrProtocol, ready.Protocol, Protocol, BuildCommand)
	}
	return &Cluster{
		Server:     ready.Server,
		Kubeconfig: ready.Kubeconfig,
		Kubernetes: ready.Kubernetes,
		PID:        ready.PID,
		ReadyAfter: time.Duration(ready.ReadyMillis) * time.Millisecond,
		child:      c,
	}, nil
}

// askToStop lets the process end in good order.
func (c *child) askToStop() {
	c.mu.Lock()
	c.asked = true
	c.mu.Unlock()
	c.stopOnce.Do(func() {
		if c.stdin != nil {
			_ = c.stdin.Close()
		}
		_ = terminate(c.command.Process)
	})
}

// kill ends the process at once, and waits for that.
func (c *child) kill() {
	c.mu.Lock()
	c.asked = true
	c.mu.Unlock()
	_ = c.command.Process.Kill()
	<-c.done
}

// failure says how the process ended; nil if it was asked to.
func (c *child) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		return nil
	}
	how := "it ended by itself"
	if c.waitErr != nil {
		how = c.waitErr.Error()
	}
	return fmt.Errorf("control plane (process %d): %s%s", c.command.Process.Pid, how, c.tail.quote())
}

// firstLine delivers the first line of the output, or nil when it ends without
// one. What follows is read and dropped, so that the writer never blocks.
func firstLine(output io.ReadCloser) <-chan []byte {
	lines := make(chan []byte, 1)
	go func() {
		defer func() { _ = output.Close() }()
		reader := bufio.NewReader(output)
		line, err := reader.ReadBytes('\n')
		if err != nil {
			line = nil
		}
		lines <- line
		_, _ = io.Copy(io.Discard, reader)
	}()
	return lines
}
