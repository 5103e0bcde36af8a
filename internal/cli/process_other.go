//go:build !unix

package cli

import (
	"errors"
	"os"
	"os/exec"
)

// The embedded cluster is made for unix; elsewhere plumb is a client of
// clusters that run already.
var errNoCluster = errors.New("plumb up runs on Linux and macOS; elsewhere use plumb with a cluster that runs already")

func hold(string) (*os.File, bool, error) { return nil, false, errNoCluster }

func isHeld(string) (bool, error) { return false, nil }

func inBackground(*exec.Cmd) {}

func askToEnd(int) error { return errNoCluster }
