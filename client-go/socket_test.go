package client

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestPackFrame(t *testing.T) {
	small := []byte(`{"type":"ping"}`)
	frame, n := packFrame(nil, [][]byte{small})
	require.Equal(t, 1, n)
	require.Equal(t, small, frame)

	queue := make([][]byte, 100)
	for i := range queue {
		queue[i] = small
	}
	frame, n = packFrame(nil, queue)
	require.Equal(t, wire.MaxBatch, n)
	var batch []json.RawMessage
	require.NoError(t, json.Unmarshal(frame, &batch))
	require.Len(t, batch, n)

	for size := 16<<10 - 4; size < 16<<10+4; size++ { // two that fit, and two that do not
		big := bytes.Repeat([]byte{'1'}, size)
		frame, n = packFrame(nil, [][]byte{big, big, big})
		require.LessOrEqual(t, len(frame), wire.MaxClientMessage)
		require.Equal(t, 2*size+3 <= wire.MaxClientMessage, n == 2)
	}
	whole := bytes.Repeat([]byte{'1'}, wire.MaxClientMessage)
	frame, n = packFrame(nil, [][]byte{whole, small})
	require.Equal(t, 1, n)
	require.Len(t, frame, wire.MaxClientMessage)
}
