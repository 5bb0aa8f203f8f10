package plan

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drawOptions(t *rapid.T) Options {
	all := Describe()
	o := Options{
		Seed: rapid.Uint64().Draw(t, "seed"), Kills: rapid.IntRange(1, 1200).Draw(t, "kills"),
		Without: rapid.SliceOfDistinct(rapid.SampledFrom([]Part{Trace, Mount}), rapid.ID).Draw(t, "without"),
	}
	for _, i := range rapid.SliceOfDistinct(rapid.IntRange(0, len(all)-1), rapid.ID).Draw(t, "points") {
		o.Points = append(o.Points, all[i].Point)
	}
	return o
}

// The plan is a function of its options, and has as many kills as were asked
// for, at points that were asked for, with nothing that the machine lacks.
func TestPlanKeepsToItsOptions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOptions(t)
		p, err := New(o)
		if err != nil {
			require.NotEmpty(t, o.Points, "with all points there is always something left")
			return
		}
		again, err := New(o)
		require.NoError(t, err)
		require.Equal(t, p, again)
		kills := 0
		for i, w := range p.Worlds {
			require.Equal(t, i+1, w.Number)
			require.NotEmpty(t, w.Rounds)
			require.False(t, w.Kind == FullDisk && slices.Contains(o.Without, Mount))
			for j, r := range w.Rounds {
				kills++
				if len(o.Points) > 0 && !slices.Contains(o.Points, r.Point) {
					require.Equal(t, Open, r.Point)
					require.Contains(t, o.Points, Create, "a file is created once, then it is opened")
				}
				require.False(t, r.Point == Sync && slices.Contains(o.Without, Trace))
				require.Positive(t, r.Life)
				require.True(t, slices.IsSortedFunc(r.Acts, func(a, b Act) int { return int(a.At - b.At) }))
				require.True(t, r.Point != Create || j == 0 || len(o.Points) > 0 || o.Kills <= shortKills)
			}
		}
		require.Equal(t, o.Kills, kills)
	})
}

// A short run of forty kills and a long one reach every point and every kind.
func TestAllPointsOccur(t *testing.T) {
	for _, kills := range []int{40, 1000} {
		for seed := range uint64(50) {
			p, err := New(Options{Seed: seed, Kills: kills})
			require.NoError(t, err)
			points, worlds := map[Point]bool{}, map[Kind]bool{}
			for _, w := range p.Worlds {
				worlds[w.Kind] = true
				for _, r := range w.Rounds {
					points[r.Point] = true
				}
			}
			require.Len(t, worlds, len(kinds), "seed %d, %d kills", seed, kills)
			require.Len(t, points, len(Describe()), "seed %d, %d kills", seed, kills)
		}
	}
}

func TestNothingLeftIsAnError(t *testing.T) {
	_, err := New(Options{Kills: 10, Points: []Point{Slow, Broken}, Without: []Part{Trace}})
	require.ErrorContains(t, err, "strace")
	_, err = New(Options{})
	require.ErrorContains(t, err, "at least one kill")
}

func TestPointsAreKnownByName(t *testing.T) {
	for _, d := range Describe() {
		p, err := Parse(string(d.Point))
		require.NoError(t, err)
		require.Equal(t, d.Point, p)
		require.NotEmpty(t, d.Text)
	}
	_, err := Parse("nowhere")
	require.Error(t, err)
}
