// Package etcd runs a one-member etcd inside the process.
//
// It listens on a unix socket only, so that nobody else on the machine can
// reach it, and it does not flush its log to the disk: a killed process loses
// nothing, a machine that loses power may. That is the right trade for a local
// cluster, whose contents come from Git, and it is several times faster.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"plumb.dev/plumb/controlplane/internal/datadir"
)

const (
	// longestSocket stays below what every unix allows for a socket's path.
	longestSocket = 100

	// quota is far above what a local cluster holds; etcd's default of 2 GiB
	// would stop a large benchmark.
	quota = 8 << 30

	// A member alone in its cluster elects itself: nobody's heartbeat can be
	// late, so it need not wait for the usual second.
	tickMillis     = 10
	electionMillis = 100
)

// Etcd is a running member.
type Etcd struct {
	server    *embed.Etcd
	socket    string
	socketDir string
}

// Start runs etcd on the data directory and returns when it serves.
func Start(ctx context.Context, dir *datadir.Dir, logLevel string) (*Etcd, error) {
	e := &Etcd{}
	if err := e.placeSocket(dir); err != nil {
		return nil, err
	}
	server, err := embed.StartEtcd(e.config(dir.Path("etcd"), logLevel))
	if err != nil {
		e.removeSocketDir()
		return nil, fmt.Errorf("start etcd on %s: %w", dir.Path("etcd"), err)
	}
	e.server = server
	select {
	case <-server.Server.ReadyNotify():
		return e, nil
	case err := <-server.Err():
		e.Stop()
		return nil, fmt.Errorf("etcd stopped while starting: %w", err)
	case <-ctx.Done():
		e.Stop()
		return nil, fmt.Errorf("wait for etcd: %w", context.Cause(ctx))
	}
}

// Endpoint is what the API server connects to.
func (e *Etcd) Endpoint() string { return "unix://" + e.socket }

// Err reports an etcd that fails while running.
func (e *Etcd) Err() <-chan error { return e.server.Err() }

// Stop ends etcd. Clients must be gone by then: it does not wait for them.
func (e *Etcd) Stop() {
	e.server.Server.HardStop()
	e.server.Close()
	e.removeSocketDir()
}

// placeSocket puts the socket into the data directory unless its path would be
// too long for a socket.
func (e *Etcd) placeSocket(dir *datadir.Dir) error {
	const name = "etcd.sock"
	if path := dir.Path(name); len(path) <= longestSocket {
		e.socket = path
		return nil
	}
	socketDir, err := os.MkdirTemp("", "plumb-")
	if err != nil {
		return fmt.Errorf("create a directory for the etcd socket: %w", err)
	}
	e.socketDir, e.socket = socketDir, filepath.Join(socketDir, name)
	if len(e.socket) > longestSocket {
		e.removeSocketDir()
		return errors.New("the paths of both --data-dir and the directory for temporary files are too long for a socket: set TMPDIR to a shorter one")
	}
	return nil
}

func (e *Etcd) removeSocketDir() {
	if e.socketDir != "" {
		_ = os.RemoveAll(e.socketDir)
	}
}

func (e *Etcd) config(dataDir, logLevel string) *embed.Config {
	clients := url.URL{Scheme: "unix", Path: e.socket}
	// Never dialled: a member alone has no peers. It is part of the member's
	// identity, so it must not change when the data directory moves.
	peers := url.URL{Scheme: "http", Host: "localhost:2380"}

	config := embed.NewConfig()
	config.Name = "plumb"
	config.Dir = dataDir
	config.ListenClientUrls = []url.URL{clients}
	config.AdvertiseClientUrls = []url.URL{clients}
	config.ListenPeerUrls = nil
	config.AdvertisePeerUrls = []url.URL{peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs = tickMillis
	config.ElectionMs = electionMillis
	config.UnsafeNoFsync = true
	config.QuotaBackendBytes = quota
	config.LogLevel = logLevel
	config.LogOutputs = []string{"stderr"}
	// A busy laptop is no reason for a warning about a slow request.
	config.WarningApplyDuration = time.Second
	config.WarningUnaryRequestDuration = time.Second
	return config
}
