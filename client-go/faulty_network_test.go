package client

import (
	"sync"
	"testing"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	inline Action[int, None, int] = "inline"
	stream Action[int, int, int]  = "stream"
)

// TestManyCallsOverFaultyNetwork runs many concurrent calls while connections
// break and frames are duplicated, reordered and left out.
func TestManyCallsOverFaultyNetwork(t *testing.T) {
	h := newServer(t)
	server := &faultyServer{calls: map[string][]wire.ServerMessage{}}
	h.serve(server.serveConn)
	c := h.newClient(nil)
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			n, err := inline.With(i).Await(testContext(t), c)
			assert.NoError(t, err, "inline")
			assert.Equal(t, i, n, "inline")
		})
		wg.Go(func() {
			var want []int
			for k := range i % 40 {
				want = append(want, k)
			}
			n, chunks, err := stream.With(i%40).Collect(testContext(t), c)
			assert.NoError(t, err, "stream")
			assert.Equal(t, i%40, n, "stream")
			assert.Equal(t, want, chunks, "stream")
		})
	}
	wg.Wait()
	require.NotZero(t, server.broken.Load())
}
