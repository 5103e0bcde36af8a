package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// programVariable makes this test binary the program itself, so that the tests
// meet it as its users do: as a process, with a command line.
const programVariable = "PLUMB_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	code := m.Run()
	stopShared()
	os.Exit(code)
}

// process is a running control plane.
type process struct {
	Ready
	command *exec.Cmd
	stdin   io.Closer
	stderr  *bytes.Buffer
	ended   chan struct{}
	result  error
}

// start runs `serve` and returns when it is ready, or has ended without.
func start(arguments ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	p.command = exec.Command(self, append([]string{"serve", "--exit-with-parent"}, arguments...)...)
	p.command.Env = append(os.Environ(), programVariable+"=1")
	p.command.Stderr = p.stderr
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	line, reading := bufio.NewReader(stdout).ReadBytes('\n')
	go func() {
		p.result = p.command.Wait()
		close(p.ended)
	}()
	if reading != nil {
		<-p.ended
		return nil, fmt.Errorf("%w: %s", errors.Join(reading, p.result), p.stderr)
	}
	return p, json.Unmarshal(line, &p.Ready)
}

// begin starts a control plane that ends with the test.
func begin(t *testing.T, arguments ...string) *process {
	t.Helper()
	p, err := start(arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.signal(syscall.SIGKILL) })
	return p
}

// signal sends a signal and waits for the end.
func (p *process) signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return p.result
}

// clients are the ways to talk to a control plane.
type clients struct {
	config  *rest.Config
	typed   kubernetes.Interface
	dynamic dynamic.Interface
	crds    apiextensions.Interface
}

func (p *process) connect() (*clients, error) {
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return connect(config)
}

func connect(config *rest.Config) (*clients, error) {
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	crds, err := apiextensions.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &clients{config: config, typed: typed, dynamic: untyped, crds: crds}, nil
}

func (p *process) client(t *testing.T) *clients {
	t.Helper()
	c, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shared is one control plane for all tests that only use it: a start costs
// more than most of them.
var shared struct {
	once    sync.Once
	process *process
	clients *clients
	audit   string
	err     error
}

func sharedCluster(t testing.TB) *clients {
	t.Helper()
	shared.once.Do(func() {
		directory, err := os.MkdirTemp("", "plumb-test-*")
		if err != nil {
			shared.err = err
			return
		}
		shared.audit = filepath.Join(directory, "audit.log")
		shared.process, shared.err = start("--ephemeral", "--audit-log", shared.audit, "--nodes", "3")
		if shared.err == nil {
			shared.clients, shared.err = shared.process.connect()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.clients
}

func stopShared() {
	if shared.process != nil {
		_ = shared.process.signal(syscall.SIGTERM)
	}
	if shared.audit != "" {
		_ = os.RemoveAll(filepath.Dir(shared.audit))
	}
}

// dataDirOf is where a control plane without --kubeconfig keeps its data.
func dataDirOf(p *process) string { return strings.TrimSuffix(p.Kubeconfig, "/kubeconfig") }
