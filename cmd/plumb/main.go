// The plumb command keeps Kubernetes clusters true to Git. Everything it does
// is in package cli.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"plumb.dev/plumb/internal/cli"
)

func main() {
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	silenceLibraries()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], streams)
	stop()
	os.Exit(code)
}

// silenceLibraries keeps libraries from writing between our own lines:
// kustomize prints a warning for every deprecated field at every build, straight
// to os.Stderr, and has no way to be told otherwise. Panics are not affected.
func silenceLibraries() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	log.SetOutput(io.Discard)
}
