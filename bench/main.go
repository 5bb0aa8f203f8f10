// Command bench measures Streamer's embedded server beside yardsticks that it
// measures in the same run, on the machine that it runs on. All load goes to
// 127.0.0.1.
//
//	cd bench && GOWORK=off go run .
//
// Only the ratios carry over to other machines. RESULTS.md says what the
// figures mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pay-theory/streamer/bench/internal/peer"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == peer.Subcommand {
		if err := peer.Serve(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o, os.Stdout, newStatus(os.Stderr))
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
