package stage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is a child process. Everything that it prints goes to its log.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}
	err  error // once done is closed
}

// Command says what to start.
type Command struct {
	Name string   // for messages
	Args []string // program and arguments
	Env  []string // added to the environment of this process
	Log  io.Writer
}

// Start starts a process. It ends when this process ends, however that
// happens, if it minds its standard input.
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stderr = c.Log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	cmd.Stdout = c.Log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, cmd: cmd, in: in, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Killed reports whether the process has ended by SIGKILL.
func (p *Process) Killed() bool {
	if p.Running() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Signal sends a signal, such as SIGSTOP to a process that shall hang.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// ExitCode is what a process that has ended by itself ended with; -1 otherwise.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// lastGrace is how long a process may take to say what it is doing instead of
// ending.
const lastGrace = 2 * time.Second

// Stop asks the process to end and waits. After the grace it is asked what it is
// doing, as Go's programs say at SIGQUIT, and killed.
func (p *Process) Stop(grace time.Duration) error {
	if !p.Running() {
		return p.ended()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.ended()
	case <-time.After(grace):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-p.done:
		case <-time.After(lastGrace):
			p.Kill()
		}
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, grace)
	}
}

// ended is nil for a process that ended well or by a signal that was sent to it.
func (p *Process) ended() error {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && (status.Signal() == syscall.SIGTERM || status.Signal() == syscall.SIGKILL) {
			return nil
		}
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// A Log keeps what a process prints, and can be watched for a text. It is safe
// for concurrent use.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
	also io.Writer
}

// NewLog makes a log that also goes to a writer, which may be nil.
func NewLog(also io.Writer) *Log { return &Log{also: also} }

// Write appends.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.also != nil {
		_, _ = l.also.Write(b)
	}
	return l.text.Write(b)
}

// String is everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// LastWords is why a Go program has ended: the panic, the race or the goroutines
// that it printed, or else its last lines.
func (l *Log) LastWords(lines int) string {
	text := l.String()
	for _, beginning := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "SIGQUIT: "} {
		if at := strings.Index(text, beginning); at >= 0 {
			words := strings.SplitN(text[at:], "\n", lines+1)
			return strings.Join(words[:min(lines, len(words))], "\n")
		}
	}
	return l.Tail(lines)
}

// Tail is the last lines.
func (l *Log) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
