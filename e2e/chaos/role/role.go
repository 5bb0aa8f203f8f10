// Package role lets one program be all processes of a chaos run.
package role

import (
	"fmt"
	"os"

	"github.com/pay-theory/streamer/e2e/chaos/caller"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
)

// Play plays the role that the environment gives this process, and ends it. It
// returns if there is none: then the process is the one that starts the others.
func Play() {
	var name string
	var err error
	if text, ok := os.LookupEnv(victim.Variable); ok {
		name, err = "victim", victim.Serve(text)
	} else if text, ok := os.LookupEnv(caller.Variable); ok {
		name, err = "caller", caller.Serve(text, os.Stdin)
	} else {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
