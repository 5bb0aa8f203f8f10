package server

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tasks never wait for each other, and the pool keeps at most maxIdle goroutines.
func TestWorkerPool(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newWorkerPool(ctx)
	for range 3 {
		var begun, done sync.WaitGroup
		all := make(chan struct{})
		for range 3 * maxIdle {
			begun.Add(1)
			done.Add(1)
			p.start(taskFunc(func() {
				defer done.Done()
				begun.Done()
				<-all
			}))
		}
		begun.Wait() // all at once
		close(all)
		done.Wait()
		require.LessOrEqual(t, len(p.idle), maxIdle)
	}
	cancel()
	p.busy.Wait()
}
