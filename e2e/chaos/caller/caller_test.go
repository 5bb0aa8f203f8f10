package caller

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var allKinds = []plan.Kind{plan.Plain, plan.Clean, plan.Clock, plan.SlowDisk, plan.BrokenDisk, plan.FullDisk, plan.Heavy}

// What is asked for fits into a message, and can be done.
func TestChoicesCanBeDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(allKinds).Draw(t, "kind")
		a := choose(kind, 1, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		p := a.params
		data, err := json.Marshal(p)
		require.NoError(t, err)
		require.Less(t, len(data), 30<<10)
		require.Less(t, p.FailAt, max(p.Chunks, 1))
		require.True(t, p.ContinueAt == 0 || p.ContinueAt < p.Chunks)
		require.True(t, a.options.CancelMs == 0 && a.options.LeashMs == 0 || slices.Contains(a.options.May, "cancelled"))
		if kind == plan.Clean {
			require.Empty(t, a.options.Key)
		}
		if a.action == job.Echo {
			require.Equal(t, journal.Options{}, a.options)
		}
	})
}

// All kinds of calls are made.
func TestChoicesAreMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for range 2000 {
		a := choose(plan.Clock, 1, random)
		o := a.options
		for what, yes := range map[string]bool{
			a.action: true, "key": o.Key != "", "delay": o.DelayMs > 0, "timeout": o.TimeoutMs > 0, "leash": o.LeashMs > 0,
			"cancel": o.CancelMs > 0, "collect": o.Collect, "look": o.Look, "checkpoint": a.params.CheckpointEvery > 0,
			"fail": a.params.FailAt >= 0, "continue": a.params.ContinueAt > 0,
		} {
			seen[what] = seen[what] || yes
		}
	}
	for what, yes := range seen {
		require.True(t, yes, what)
	}
	require.Len(t, seen, 13)
}

// Who takes over goes on with what has no end, under the id that it has.
func TestUnfinished(t *testing.T) {
	ask := func(id string, o journal.Options) journal.Entry {
		return journal.Entry{What: journal.Ask, ID: id, Action: job.Stored, Options: &o, Data: []byte(`{"chunks":3}`)}
	}
	got := unfinished([]journal.Entry{
		ask("ended", journal.Options{}), ask("acked", journal.Options{Key: "k"}), ask("new", journal.Options{}),
		ask("to look at", journal.Options{Look: true}), ask("looked at", journal.Options{Look: true}),
		{What: journal.Ack, ID: "acked", To: "twin"},
		{What: journal.Ack, ID: "to look at", To: "to look at"},
		{What: journal.Ack, ID: "looked at", To: "looked at"},
		{What: journal.End, ID: "ended"},
		{What: journal.End, ID: "to look at"},
		{What: journal.End, ID: "looked at"},
		{What: journal.End, ID: "looked at"},
		{What: journal.Refused, ID: "new", Code: "unavailable"},
	})
	p := job.Params{Chunks: 3}
	require.Equal(t, []brief{
		{"acked", "twin", false}, {"new", "", false}, {"to look at", "to look at", true},
	}, briefs(got))
	require.Equal(t, p, got[0].params)
	require.Equal(t, "k", got[0].options.Key)
}

// brief is what of an ask matters here.
type brief struct {
	id, to string
	looks  bool
}

func briefs(asks []ask) (out []brief) {
	for _, a := range asks {
		out = append(out, brief{a.id, a.to, a.looks})
	}
	return out
}
