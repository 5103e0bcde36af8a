//go:build !unix

package controlplane

import (
	"errors"
	"os"
	"os/exec"
)

// plumb-controlplane itself is made for unix; the launcher compiles elsewhere
// for the sake of a plumb that is a client only.

func inOwnSession(*exec.Cmd) {}

func inOwnGroup(*exec.Cmd) {}

func terminate(process *os.Process) error { return process.Kill() }

func isLocked(*os.File) (bool, error) {
	return false, errors.New("control planes run on unix only")
}
