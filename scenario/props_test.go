package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"sync"

	"plumb.dev/plumb/scenario/stage"
)

// storeroom keeps what a cluster with Plumb's kinds has on disk. To start from a
// copy of it takes three quarters of the processor that a new cluster takes which
// then learns the kinds, and there are dozens. Copies differ in nothing but their
// address: not in their certificates, nor in the uids of what was there.
type storeroom struct {
	mu     sync.Mutex
	opened int // theatres
	dir    string
	err    error
}

var props storeroom

// copyTo lays the copy below a theatre's directory. The first theatre gets none:
// for one alone it is not worth it.
func (s *storeroom) copyTo(dir string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened++; s.opened == 1 {
		return false, nil
	}
	if s.dir == "" && s.err == nil {
		s.err = s.fill()
	}
	if s.err != nil {
		return false, s.err
	}
	if said, err := exec.Command("cp", "-Rp", stage.PlaneData(s.dir), stage.PlaneData(dir)).CombinedOutput(); err != nil {
		return false, fmt.Errorf("copy the data of a cluster: %w: %s", err, said)
	}
	return true, nil
}

// fill runs a cluster until it has the kinds.
func (s *storeroom) fill() error {
	dir, err := os.MkdirTemp("", "plumb-props-")
	if err != nil {
		return err
	}
	s.dir = dir
	th, err := raise(dir, false, false)
	if err != nil {
		return err
	}
	return th.close()
}

func (s *storeroom) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
