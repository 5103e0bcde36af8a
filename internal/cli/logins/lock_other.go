//go:build !unix

package logins

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// A lock that nobody has let go of is taken away after this time: whoever had
// it is gone.
const abandoned = time.Minute

// lock waits for its turn: the file is there as long as somebody has it.
func lock(path string) (unlock func(), err error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return func() { _ = errors.Join(file.Close(), os.Remove(path)) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if info, statErr := os.Stat(path); statErr == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(path)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// exposed: the profile's directory is the user's own.
func exposed(os.FileInfo) bool { return false }
