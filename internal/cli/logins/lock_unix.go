//go:build unix

package logins

import (
	"os"
	"syscall"
)

// lock waits for its turn.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != syscall.EINTR { //nolint:errorlint // a plain number
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil // which lets go of it
}

// exposed reports whether others than the owner may read a file.
func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
