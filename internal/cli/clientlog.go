package cli

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// client-go logs through klog, which has one logger per process and writes to
// standard error. A command prints its errors itself, so that it is silenced,
// except where a controller has a log of its own to send it to.

var (
	clientLogs   atomic.Pointer[slog.Logger]
	clientLogSet sync.Once
)

// captureClientLogs takes over what client-go logs, once.
func captureClientLogs() {
	clientLogSet.Do(func() { klog.SetSlogLogger(slog.New(clientHandler{})) })
}

// sendClientLogs gives it to a logger from now on.
func sendClientLogs(to *slog.Logger) { clientLogs.Store(to.With("from", "client-go")) }

// clientHandler passes records on to the logger of the moment.
type clientHandler struct{}

func (clientHandler) Enabled(ctx context.Context, level slog.Level) bool {
	to := clientLogs.Load()
	return to != nil && to.Enabled(ctx, level)
}

func (clientHandler) Handle(ctx context.Context, record slog.Record) error {
	to := clientLogs.Load()
	if to == nil {
		return nil
	}
	return to.Handler().Handle(ctx, record)
}

func (h clientHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h clientHandler) WithGroup(string) slog.Handler { return h }
