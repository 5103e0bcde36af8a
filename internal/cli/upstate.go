package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// upState is what plumb up leaves in its data directory for plumb status, plumb
// down and the next plumb up. Its JSON form is what plumb status -o json prints.
type upState struct {
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Ready      bool      `json:"ready"` // everything below is set and works
	Ephemeral  bool      `json:"ephemeral,omitempty"`
	Version    string    `json:"version"`
	Kubernetes string    `json:"kubernetes,omitempty"`
	Server     string    `json:"server,omitempty"`
	Kubeconfig string    `json:"kubeconfig,omitempty"`
	Git        string    `json:"git,omitempty"` // address of the Git server
	Artifacts  string    `json:"artifacts,omitempty"`
	Console    string    `json:"console,omitempty"`
	Webhooks   string    `json:"webhooks,omitempty"`
	Metrics    string    `json:"metrics,omitempty"`
	Health     string    `json:"health,omitempty"`
	Logs       string    `json:"logs,omitempty"` // directory

	Repositories []upRepository `json:"repositories"`
}

// upRepository is one repository that plumb up delivers.
type upRepository struct {
	Name      string `json:"name"`                // of the GitRepository and the Kustomization
	Directory string `json:"directory,omitempty"` // "" for one that is fetched by its URL
	URL       string `json:"url"`
	Branch    string `json:"branch,omitempty"`
	Path      string `json:"path"` // the delivered directory in it
}

// upHome is the data directory of plumb up.
type upHome struct{ dir string }

func (h upHome) state() string { return filepath.Join(h.dir, "state.json") }
func (h upHome) lock() string  { return filepath.Join(h.dir, "lock") }
func (h upHome) logs() string  { return filepath.Join(h.dir, "logs") }
func (h upHome) log(of string) string {
	return filepath.Join(h.logs(), of+".log")
}
func (h upHome) kubeconfig() string { return filepath.Join(h.dir, "kubeconfig") }
func (h upHome) repository() string { return filepath.Join(h.dir, "repository") }
func (h upHome) cluster() string    { return filepath.Join(h.dir, "cluster") }
func (h upHome) controller() string { return filepath.Join(h.dir, "controller") }

// home is the data directory that is meant: --data-dir, else the user's own
// (XDG Base Directory Specification).
func (a *app) home(dataDir string) (upHome, error) {
	switch {
	case dataDir != "":
		abs, err := filepath.Abs(a.path(dataDir))
		return upHome{abs}, err
	case a.streams.Getenv("XDG_DATA_HOME") != "":
		return upHome{filepath.Join(a.streams.Getenv("XDG_DATA_HOME"), "plumb")}, nil
	case a.streams.Getenv("HOME") != "":
		return upHome{filepath.Join(a.streams.Getenv("HOME"), ".local", "share", "plumb")}, nil
	}
	return upHome{}, advise(errors.New("there is no home directory to keep the cluster in"), "name a directory with --data-dir")
}

// read returns the last state; the zero value when there is none.
func (h upHome) read() (upState, error) {
	data, err := os.ReadFile(h.state())
	if errors.Is(err, fs.ErrNotExist) {
		return upState{}, nil
	}
	if err != nil {
		return upState{}, err
	}
	var state upState
	if err := json.Unmarshal(data, &state); err != nil {
		return upState{}, advise(fmt.Errorf("%s cannot be read: %w", h.state(), err), "remove the file; the cluster is kept elsewhere")
	}
	return state, nil
}

// write replaces the state in one step, so that a reader never sees half of it.
func (h upHome) write(state upState) error {
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	draft := h.state() + ".new"
	if err := os.WriteFile(draft, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(draft, h.state())
}

// running returns the state of the plumb up that holds the directory now.
func (h upHome) running() (state upState, held bool, err error) {
	if held, err = isHeld(h.lock()); err != nil || !held {
		return upState{}, false, err
	}
	state, err = h.read()
	return state, true, err
}
