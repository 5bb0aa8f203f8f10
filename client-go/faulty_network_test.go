package client

import (
	"sync"
	"testing"
	"time"
)

const (
	inline Action[int, None, int] = "inline"
	stream Action[int, int, int]  = "stream"
)

// TestManyCallsOverFaultyNetwork runs many concurrent calls while connections
// break and frames are duplicated, reordered and left out.
func TestManyCallsOverFaultyNetwork(t *testing.T) {
	h := newServer(t)
	auto := newAutoServer(h, true)
	timing := fastTiming
	timing.Foreign = time.Millisecond
	c := h.newClient(&Options{timing: timing})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			n, err := inline.With(i).Await(testContext(t), c)
			if err != nil || n != i {
				t.Errorf("inline %d: %d, %v", i, n, err)
			}
		})
		wg.Go(func() {
			n, chunks, err := stream.With(i%40).Collect(testContext(t), c)
			if err != nil || n != i%40 || len(chunks) != n {
				t.Errorf("stream of %d: %d with %v, %v", i%40, n, chunks, err)
				return
			}
			for k, v := range chunks {
				if k != v {
					t.Errorf("stream of %d: %v", n, chunks)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d broken connections", auto.broken.Load())
}
