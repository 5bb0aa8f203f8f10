package recorder

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var allKinds = []serverproc.Kind{
	serverproc.Plain, serverproc.Clean, serverproc.Clock, serverproc.SlowDisk, serverproc.BrokenDisk, serverproc.FullDisk, serverproc.Heavy,
}

// What is chosen fits into a message, and can be done.
func TestChoicesCanBeDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(allKinds).Draw(t, "kind")
		calls := choose(kind, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		c := calls[0]
		data, err := json.Marshal(c.Params)
		require.NoError(t, err)
		require.Less(t, len(data), 30<<10)
		require.Less(t, c.Params.FailAt, max(c.Params.Chunks, 1))
		require.True(t, c.Params.ContinueAt == 0 || c.Params.ContinueAt < c.Params.Chunks)
		require.True(t, c.cancelAfter == 0 || slices.Contains(c.May, "cancelled"))
		if kind == serverproc.Clean {
			require.Empty(t, c.Key)
		}
		if c.Action == serverproc.Echo {
			require.False(t, c.collect || c.reread || c.Key != "" || len(c.May) > 0)
		}
		require.Equal(t, c.Key != "", len(calls) == 2)
		if len(calls) == 2 {
			require.NotEqual(t, c.ID, calls[1].ID)
			require.Equal(t, []any{c.Action, c.Params, c.Key, c.May}, []any{calls[1].Action, calls[1].Params, calls[1].Key, calls[1].May})
		}
	})
}

// All kinds of calls are made.
func TestChoicesAreMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for range 2000 {
		c := choose(serverproc.Clock, random)[0]
		for what, yes := range map[string]bool{
			c.Action: true, "key": c.Key != "", "cancel": c.cancelAfter > 0, "collect": c.collect, "reread": c.reread,
			"cancel or cancelAfter": slices.Contains(c.May, "cancelled") && c.cancelAfter == 0,
			"timeout":               slices.Contains(c.May, "deadline_exceeded"), "checkpoint": c.Params.CheckpointEvery > 0,
			"fail": c.Params.FailAt >= 0, "continue": c.Params.ContinueAt > 0,
		} {
			seen[what] = seen[what] || yes
		}
	}
	for what, yes := range seen {
		require.True(t, yes, what)
	}
	require.Len(t, seen, 12)
}
