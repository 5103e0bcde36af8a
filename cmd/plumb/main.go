// The plumb command keeps Kubernetes clusters true to Git. Everything it does
// is in package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"plumb.dev/plumb/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
