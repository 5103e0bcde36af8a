package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stopPoll is how often a detached control plane is looked at while it stops.
const stopPoll = 20 * time.Millisecond

// Running tells which process runs the cluster of a data directory; 0 if none
// does. The lock that the process holds decides, so a process id that was
// given away again misleads nobody.
func Running(dataDir string) (int, error) {
	lock, err := os.Open(filepath.Join(dataDir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for a control plane in %s: %w", dataDir, err)
	}
	defer func() { _ = lock.Close() }()
	held, err := isLocked(lock)
	if err != nil {
		return 0, fmt.Errorf("look for a control plane in %s: %w", dataDir, err)
	}
	if !held {
		return 0, nil
	}
	text, err := os.ReadFile(lock.Name())
	if err != nil {
		return 0, fmt.Errorf("look for a control plane in %s: %w", dataDir, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s is locked, but names no process: %q", lock.Name(), text)
	}
	return pid, nil
}

// StopRunning ends the control plane of a data directory, whoever started it,
// and waits until the directory is free. That there is none is no error. When
// the context ends first, the process is killed.
func StopRunning(ctx context.Context, dataDir string) error {
	pid, err := Running(dataDir)
	if err != nil || pid == 0 {
		return err
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("stop the control plane (process %d): %w", pid, err)
	}
	if err := terminate(process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the control plane (process %d): %w", pid, err)
	}
	ticker := time.NewTicker(stopPoll)
	defer ticker.Stop()
	for {
		now, err := Running(dataDir)
		if err != nil || now != pid {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(
				fmt.Errorf("control plane (process %d) did not stop in time and was killed: %w", pid, context.Cause(ctx)),
				process.Kill())
		case <-ticker.C:
		}
	}
}
