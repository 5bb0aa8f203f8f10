package campaign

import (
	"slices"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The plan is a function of its options, and has as many kills as were asked
// for, at points that were asked for, with nothing that the machine lacks.
func TestPlanKeepsToItsOptions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &PlanOptions{
			Seed: rapid.Uint64().Draw(t, "seed"), Kills: rapid.IntRange(1, 1200).Draw(t, "kills"),
			Points:  rapid.SliceOfDistinct(rapid.SampledFrom(Points()), rapid.ID).Draw(t, "points"),
			NoTrace: rapid.Bool().Draw(t, "no trace"), NoMount: rapid.Bool().Draw(t, "no mount"),
		}
		p, err := NewPlan(o)
		if err != nil {
			require.NotEmpty(t, o.Points, "with all points there is always something left")
			return
		}
		again, err := NewPlan(o)
		require.NoError(t, err)
		require.Equal(t, p, again)
		kills := 0
		for i, w := range p {
			require.Equal(t, i+1, w.Number)
			require.NotEmpty(t, w.Rounds)
			require.False(t, w.Kind == serverproc.FullDisk && o.NoMount)
			require.False(t, (w.Kind == serverproc.SlowDisk || w.Kind == serverproc.BrokenDisk) && o.NoTrace)
			for j, r := range w.Rounds {
				kills++
				if len(o.Points) > 0 && !slices.Contains(o.Points, r.Point) {
					require.Equal(t, serverproc.Open, r.Point)
					require.Contains(t, o.Points, serverproc.Create, "a file is created once, then it is opened")
				}
				require.False(t, r.Point == serverproc.Sync && o.NoTrace)
				require.Positive(t, r.Life)
				require.True(t, slices.IsSortedFunc(r.Acts, func(a, b Act) int { return int(a.At - b.At) }))
				require.True(t, r.Point != serverproc.Create || j == 0)
			}
		}
		require.Equal(t, o.Kills, kills)

		o.World = len(p)
		last, err := NewPlan(o)
		require.NoError(t, err)
		require.Equal(t, p[len(p)-1:], last, "one world again is the same")
	})
}

// A short run of forty kills and a long one reach every point and every kind.
func TestAllPointsOccur(t *testing.T) {
	for _, kills := range []int{40, 1000} {
		for seed := range uint64(50) {
			p, err := NewPlan(&PlanOptions{Seed: seed, Kills: kills})
			require.NoError(t, err)
			points, worlds := map[serverproc.Point]bool{}, map[serverproc.Kind]bool{}
			for _, w := range p {
				worlds[w.Kind] = true
				for _, r := range w.Rounds {
					points[r.Point] = true
				}
			}
			require.Len(t, worlds, len(kinds), "seed %d, %d kills", seed, kills)
			require.Len(t, points, len(Points()), "seed %d, %d kills", seed, kills)
		}
	}
	require.Len(t, Points(), 29)
}

func TestNothingLeftIsAnError(t *testing.T) {
	_, err := NewPlan(&PlanOptions{Kills: 10, Points: []serverproc.Point{serverproc.Slow, serverproc.Broken}, NoTrace: true})
	require.ErrorContains(t, err, "strace")
	_, err = NewPlan(&PlanOptions{})
	require.ErrorContains(t, err, "0 kills")
	_, err = NewPlan(&PlanOptions{Kills: 40, World: 99})
	require.ErrorContains(t, err, "no world 99")
}
