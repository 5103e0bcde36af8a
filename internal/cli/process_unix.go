//go:build unix

package cli

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// hold takes a lock that lasts as long as the process; held is true when
// another has it.
func hold(path string) (lock *os.File, held bool, err error) {
	lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return lock, false, nil
	}
	held = errors.Is(err, syscall.EWOULDBLOCK)
	if held {
		err = nil
	}
	return nil, held, errors.Join(err, lock.Close())
}

// isHeld reports whether a process holds the lock.
func isHeld(path string) (bool, error) {
	lock, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = lock.Close() }()
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// inBackground gives a child a session of its own, so that it outlives the
// terminal.
func inBackground(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// askToEnd lets a process end in good order.
func askToEnd(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }
