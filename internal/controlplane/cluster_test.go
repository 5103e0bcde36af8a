//go:build unix

package controlplane

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartReturnsWhatTheReadyLineSays(t *testing.T) {
	cluster, err := Start(t.Context(), fake(t, "well-behaved"))
	if err != nil {
		t.Fatal(err)
	}
	if cluster.Server != "https://127.0.0.1:6443" || cluster.Kubernetes != "v1.37.1" || cluster.ReadyAfter != 1234*time.Millisecond {
		t.Errorf("the ready line was misread: %+v", cluster)
	}
	for range 2 {
		if err := cluster.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if err := cluster.Err(); err != nil {
		t.Errorf("a control plane that was stopped is no failure: %v", err)
	}
}

func TestOptionsBecomeArguments(t *testing.T) {
	nodes := 5
	options := fake(t, "well-behaved")
	options.DataDir, options.Port, options.Kubeconfig, options.AuditLog = "/data", 6443, "/kubeconfig", "/audit"
	options.Nodes, options.TaskDuration, options.GOGC, options.Verbosity = &nodes, time.Second, 200, 2
	cluster, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cluster.Stop(t.Context()) }()
	want := "serve --data-dir /data --exit-with-parent --port 6443 --kubeconfig /kubeconfig --audit-log /audit --nodes 5 --task-duration 1s --gogc 200 --verbose=2"
	if cluster.Kubeconfig != want { // the fake answers with its command line
		t.Errorf("command line:\n got %s\nwant %s", cluster.Kubeconfig, want)
	}
}

func TestStartExplainsFailures(t *testing.T) {
	cases := map[string]struct {
		is   error
		says []string
	}{
		"other protocol": {is: ErrProtocol, says: []string{"protocol 9", BuildCommand}},
		"no version":     {is: ErrProtocol, says: []string{BuildCommand}},
		"broken version": {says: []string{"cannot execute", BuildCommand}},
		"nonsense":       {is: ErrProtocol, says: []string{"hello", BuildCommand}},
		"dies early":     {says: []string{"exit status 3", "the port is taken"}},
	}
	for part, want := range cases {
		t.Run(part, func(t *testing.T) {
			_, err := Start(t.Context(), fake(t, part))
			if err == nil {
				t.Fatal("started")
			}
			if want.is != nil && !errors.Is(err, want.is) {
				t.Errorf("%v is not %v", err, want.is)
			}
			for _, text := range want.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not say %q: %v", text, err)
				}
			}
			if len(err.Error()) > 2*tailLimit {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Start(ctx, fake(t, "never ready"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestErrTellsHowAControlPlaneEnded(t *testing.T) {
	cluster, err := Start(t.Context(), fake(t, "dies later"))
	if err != nil {
		t.Fatal(err)
	}
	<-cluster.Done()
	if err := cluster.Err(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	options := fake(t, "stubborn")
	cluster, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := cluster.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-cluster.Done()
}

func TestAttachedControlPlaneEndsWithItsParent(t *testing.T) {
	options := fake(t, "parent")
	parent := exec.Command(options.Program)
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, "the control plane is gone", func() bool { return !alive(pid) })
}

func TestDetachedControlPlane(t *testing.T) {
	options := fake(t, "well-behaved")
	options.Detached = true
	if _, err := Start(t.Context(), options); err == nil {
		t.Error("a detached control plane without a data directory could not be found again")
	}
	options.DataDir = t.TempDir()
	cluster, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if session, err := sessionOf(cluster.PID); err == nil && session != cluster.PID {
		t.Errorf("process %d is in session %d, not in one of its own", cluster.PID, session)
	}
	if _, err := os.Stat(filepath.Join(options.DataDir, detachedLog)); err != nil {
		t.Errorf("no log: %v", err)
	}
	if err := cluster.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDetachedControlPlaneLeavesItsWordsInTheLog(t *testing.T) {
	options := fake(t, "dies early")
	options.Detached, options.DataDir = true, t.TempDir()
	log := filepath.Join(options.DataDir, detachedLog)
	if err := os.WriteFile(log, []byte("words of an earlier one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "the port is taken") || strings.Contains(err.Error(), "earlier one") {
		t.Errorf("got %v", err)
	}
}

func TestRunningAsksTheLock(t *testing.T) {
	directory := t.TempDir()
	if pid, err := Running(directory); pid != 0 || err != nil {
		t.Fatalf("an empty directory: %d, %v", pid, err)
	}
	// A lock file alone is what a killed process leaves behind.
	lock := filepath.Join(directory, "lock")
	if err := os.WriteFile(lock, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := Running(directory); pid != 0 || err != nil {
		t.Fatalf("a lock that nobody holds: %d, %v", pid, err)
	}

	holder := exec.Command("sleep", "60")
	held, err := os.OpenFile(lock, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	// The child inherits the open file, and with it the lock.
	holder.ExtraFiles = []*os.File{held}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	_ = held.Close()
	if err := os.WriteFile(lock, []byte(strconv.Itoa(holder.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := Running(directory); pid != holder.Process.Pid || err != nil {
		t.Fatalf("a held lock: %d, %v", pid, err)
	}
	go func() { _ = holder.Wait() }()
	if err := StopRunning(t.Context(), directory); err != nil {
		t.Fatal(err)
	}
	if pid, err := Running(directory); pid != 0 || err != nil {
		t.Fatalf("after it was stopped: %d, %v", pid, err)
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil && !isZombie(pid) }

// isZombie knows a process that has ended and that nobody has reaped, as
// happens to orphans in a container without an init.
func isZombie(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, found := strings.Cut(string(text), ") ")
	return found && strings.HasPrefix(state, "Z")
}

// sessionOf is a process's session, where the system tells it.
func sessionOf(pid int) (int, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // state, parent, group, session
	if len(fields) < 4 {
		return 0, errors.New("no session")
	}
	return strconv.Atoi(fields[3])
}
