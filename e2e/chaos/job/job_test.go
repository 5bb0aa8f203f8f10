package job

import (
	"testing"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever its parameters, an undisturbed job emits each chunk once, in order,
// and comes to its result.
func TestUndisturbedJobsAreSound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := Params{
			Chunks: rapid.IntRange(0, 12).Draw(r, "chunks"), CheckpointEvery: rapid.IntRange(0, 4).Draw(r, "every"), FailAt: -1,
			Pad: rapid.IntRange(0, 9).Draw(r, "pad"), Salt: rapid.Int64().Draw(r, "salt"),
		}
		begun := 0
		w := Worker{Run: 7, Begun: func(streamer.CallInfo, int) { begun++ }, Returned: func(_ streamer.CallInfo, err error) {
			require.NoError(r, err)
			begun--
		}}
		got := streamertest.RunStream(t, w.Do, p)
		require.NoError(r, got.Err)
		require.Zero(r, begun)
		require.Equal(r, p.Result(), got.Result)
		require.Len(r, got.Chunks, p.Chunks)
		for i := range got.Chunks {
			require.NoError(r, p.Sound(&got.Chunks[i], i))
			require.Equal(r, 7, got.Chunks[i].Run)
		}
	})
}

func TestUnsoundChunksAreTold(t *testing.T) {
	p := Params{Chunks: 3, Pad: 2}
	require.NoError(t, p.Sound(&Chunk{I: 1, Pad: "xx"}, 1))
	require.ErrorContains(t, p.Sound(&Chunk{I: 2, Pad: "xx"}, 1), "place")
	require.ErrorContains(t, p.Sound(&Chunk{I: 1, Pad: "x"}, 1), "padding")
}
