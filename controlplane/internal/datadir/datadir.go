// Package datadir owns the directory in which a control plane keeps everything
// that outlives its process: the etcd database, keys, tokens and the port it
// served on last. A directory belongs to one process at a time.
package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	lockName         = "lock"
	portName         = "port"
	ephemeralPattern = "plumb-ephemeral-*"

	// sweepAge keeps the sweep away from a directory that another process has
	// created but not locked yet.
	sweepAge = time.Minute

	// A launcher that asks whether the directory is in use holds the lock for
	// an instant; that is no reason to refuse a start.
	lockPatience = 300 * time.Millisecond
	lockPoll     = 20 * time.Millisecond
)

// Dir is a data directory that this process holds locked.
type Dir struct {
	path      string
	lock      *os.File
	ephemeral bool
}

// Open creates the directory if need be and locks it. It fails when another
// process holds it.
func Open(path string) (*Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory %q: %w", path, err)
	}
	if err := os.MkdirAll(absolute, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	lock, err := acquire(absolute)
	if err != nil {
		return nil, err
	}
	return &Dir{path: absolute, lock: lock}, nil
}

// OpenEphemeral creates a directory that Close removes. It also removes what
// killed processes left behind.
func OpenEphemeral() (*Dir, error) {
	sweepAbandoned(os.TempDir())
	path, err := os.MkdirTemp("", ephemeralPattern)
	if err != nil {
		return nil, fmt.Errorf("create an ephemeral data directory: %w", err)
	}
	dir, err := Open(path)
	if err != nil {
		return nil, err
	}
	dir.ephemeral = true
	return dir, nil
}

// Path names a file inside the directory.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Port is the port served last, or 0.
func (d *Dir) Port() int {
	text, err := os.ReadFile(d.Path(portName))
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

// SavePort remembers the port for the next start.
func (d *Dir) SavePort(port int) error {
	if err := os.WriteFile(d.Path(portName), []byte(strconv.Itoa(port)+"\n"), 0o600); err != nil {
		return fmt.Errorf("remember the port: %w", err)
	}
	return nil
}

// Close gives the directory up, and removes it when it is ephemeral.
func (d *Dir) Close() error {
	var removal error
	if d.ephemeral {
		removal = os.RemoveAll(d.path)
	}
	return errors.Join(removal, d.lock.Close())
}

// acquire takes the lock, which the kernel drops with the process, and notes
// the holder's process id for the error message of the next one.
func acquire(path string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	if err := flock(lock); err != nil {
		defer func() { _ = lock.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, heldError(path)
		}
		return nil, fmt.Errorf("lock the data directory %s: %w", path, err)
	}
	if err := writeHolder(lock); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

func flock(lock *os.File) error {
	deadline := time.Now().Add(lockPatience)
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(lockPoll)
	}
}

func writeHolder(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("write the lock of the data directory: %w", err)
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write the lock of the data directory: %w", err)
	}
	return nil
}

func heldError(path string) error {
	holder := "another process"
	if text, err := os.ReadFile(filepath.Join(path, lockName)); err == nil {
		if pid := strings.TrimSpace(string(text)); pid != "" {
			holder = "process " + pid
		}
	}
	return fmt.Errorf("data directory %s is in use by %s: stop that control plane first, or choose another --data-dir", path, holder)
}

// sweepAbandoned removes ephemeral directories whose process is gone. It is
// best effort: what cannot be removed now is removed by a later start.
func sweepAbandoned(parent string) {
	candidates, err := filepath.Glob(filepath.Join(parent, ephemeralPattern))
	if err != nil {
		return
	}
	for _, path := range candidates {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		lock, err := acquire(path)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
