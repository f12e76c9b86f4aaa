// Pando gathers telemetry from the leaves of a tree of machines to its root,
// and says what broke, in what order, and who says so. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"pando/cli"
)

func main() { os.Exit(run()) }

// run is main with deferred calls that are made before the process exits. The
// first signal asks for a graceful stop; the second one kills, because the
// handler is gone by then.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
