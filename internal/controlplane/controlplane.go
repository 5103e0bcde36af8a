// Package controlplane launches the embedded Kubernetes control plane: the
// program plumb-controlplane, built from the nested module controlplane/ and
// kept beside plumb.
//
// The launcher finds the program, checks that the two speak the same protocol,
// starts it and waits until it says that it is ready. An attached control
// plane ends with this process, even when this process is killed; a detached
// one lives on, and is found again by its data directory.
//
// It is a program of its own because Kubernetes as a library would multiply
// the size of plumb and the number of modules behind it.
package controlplane

import (
	"errors"
	"time"
)

// Protocol is the version of the agreement with plumb-controlplane: flags,
// ready line and version output. The program holds the same number.
const Protocol = 1

// ProgramName is the file name of the control plane.
const ProgramName = "plumb-controlplane"

// ProgramVariable names the environment variable that points at the program.
const ProgramVariable = "PLUMB_CONTROLPLANE"

// BuildCommand builds the program, from the root of a checkout of Plumb.
const BuildCommand = `(cd controlplane && go build -trimpath -ldflags "$(cat ldflags.txt)" -o ../bin/plumb-controlplane .)`

// The reasons for which no control plane can be started, apart from its own.
var (
	// ErrMissing: the program is nowhere to be found.
	ErrMissing = errors.New(ProgramName + " is missing")
	// ErrProtocol: the program belongs to another version of Plumb.
	ErrProtocol = errors.New(ProgramName + " belongs to another version of Plumb")
)

// Options say what to start.
type Options struct {
	// Program is the path of plumb-controlplane; found if empty.
	Program string

	// DataDir is where the cluster is kept. Without one the cluster is
	// ephemeral: it is gone when it stops.
	DataDir string
	// Port on loopback; 0 for the last one if it is free, or any free one.
	Port int
	// Kubeconfig is the file to write; empty for one in the data directory.
	Kubeconfig string
	// AuditLog is a file for audit events at Metadata level; none if empty.
	AuditLog string
	// Nodes is the number of simulated nodes; nil for the default.
	Nodes *int
	// TaskDuration is how long simulated containers run that are to end, as
	// those of Jobs; 0 for the default.
	TaskDuration time.Duration
	// GOGC is the control plane's garbage collection target; 0 for its default.
	GOGC int

	// Detached lets the control plane outlive this process, in a session of
	// its own. It needs a DataDir, by which it is found again.
	Detached bool
	// LogFile receives what the control plane writes to standard error. A
	// detached one gets a file in its data directory if this is empty.
	LogFile string
	// Verbosity of that log; 0 for quiet.
	Verbosity int
}

// Version is what the program says about itself.
type Version struct {
	Version    string `json:"version"`
	Protocol   int    `json:"protocol"`
	Kubernetes string `json:"kubernetes"`
}
