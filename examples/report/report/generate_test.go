package report_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/pay-theory/streamer/examples/report/report"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type outcome = streamertest.StreamOutcome[report.Row, report.Report]

func generate(t testing.TB, in report.Params, opts ...streamertest.Option) outcome {
	t.Helper()
	return streamertest.RunStream(t, report.Generate, in, opts...)
}

// TestFigures compares every grouping and filter with figures that were computed
// by a Python program, testdata/figures.py.
func TestFigures(t *testing.T) {
	text, err := os.ReadFile("testdata/figures.json")
	require.NoError(t, err)
	var cases []struct {
		Params json.RawMessage
		Rows   []report.Row
		Report report.Report
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.GreaterOrEqual(t, len(cases), 15)
	for _, c := range cases {
		t.Run(string(c.Params), func(t *testing.T) {
			var in report.Params
			require.NoError(t, json.Unmarshal(c.Params, &in))
			got := generate(t, in)
			require.NoError(t, got.Err)
			require.Equal(t, c.Rows, append([]report.Row{}, got.Chunks...))
			require.Equal(t, c.Report, got.Result)
		})
	}
}

// TestKnownFigures compares a few figures that can be checked with
//
//	zcat birdstrikes.csv.gz | awk -F, 'NR>1 {n[$5]++; c+=$13; s+=$14==""} END {print n["AMERICAN AIRLINES"], c, s}'
func TestKnownFigures(t *testing.T) {
	got := generate(t, report.Params{GroupBy: "operator"})
	want := report.Tally{Strikes: 10_000, Damaging: 1061, Cost: 40_545_276, UnknownSpeed: 2836}
	assert.Equal(t, want, got.Result.Total)
	first, second := got.Chunks[0], got.Chunks[1]
	assert.Equal(t, "AMERICAN AIRLINES", first.Group)
	assert.Equal(t, 2171, first.Strikes)
	assert.Equal(t, "US AIRWAYS*", second.Group)
	assert.Equal(t, 1084, second.Strikes)
}

func drawParams(t *rapid.T) report.Params {
	in := report.Params{GroupBy: rapid.SampledFrom([]string{
		"state", "operator", "species", "phase", "damage", "size", "daytime", "year",
	}).Draw(t, "by")}
	if rapid.Bool().Draw(t, "some years") {
		in.Years = rapid.SliceOfNDistinct(rapid.IntRange(1990, 2002), 1, 4, rapid.ID).Draw(t, "years")
	}
	if rapid.Bool().Draw(t, "some states") {
		in.States = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Texas", "DC", "Ohio", "Michigan", "Alaska"}), 1, 3, rapid.ID).Draw(t, "states")
	}
	in.MinCost = rapid.SampledFrom([]int64{0, 0, 1, 5000}).Draw(t, "cost")
	return in
}

// TestResume: for every checkpoint, the chunks before it and the chunks of the
// attempt that resumes from it are those of one uninterrupted attempt, and the
// result is the same.
func TestResume(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawParams(r)
		whole := generate(t, in)
		if whole.Err != nil {
			r.Skip(whole.Err)
		}
		require.Len(r, whole.Checkpoints, len(whole.Chunks))
		for i, checkpoint := range whole.Checkpoints {
			got := generate(t, in, streamertest.Resume(checkpoint))
			require.NoError(r, got.Err)
			require.Len(r, got.Chunks, len(whole.Chunks)-i-1, "from checkpoint %d", i)
			require.Equal(r, whole.Chunks, slices.Concat(whole.Chunks[:checkpoint.Chunks], got.Chunks))
			require.Equal(r, whole.Result, got.Result)
		}
	})
}

func TestResumeOfOtherDataIsRefused(t *testing.T) {
	for _, checkpoint := range []any{
		map[string]any{"groups": 3, "last": "Atlantis"},
		map[string]any{"groups": 1000, "last": "Texas"},
		"not a position",
	} {
		got := generate(t, report.Params{GroupBy: "state"}, streamertest.Resume(checkpoint))
		require.Error(t, got.Err, checkpoint)
		assert.True(t, got.Permanent, checkpoint)
		assert.Empty(t, got.Chunks, checkpoint)
	}
}

func TestProgressRises(t *testing.T) {
	got := generate(t, report.Params{GroupBy: "size"})
	last := -1.0
	for _, p := range got.Progress {
		require.GreaterOrEqual(t, p.Percent, last)
		require.NotEmpty(t, p.Text)
		last = p.Percent
	}
	require.EqualValues(t, 100, last)
	require.GreaterOrEqual(t, len(got.Progress), 10_000/250)
}

func TestCancel(t *testing.T) {
	for _, in := range []report.Params{{GroupBy: "state"}, {GroupBy: "state", PaceMs: 10_000}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			got := generate(t, in, streamertest.CancelAfter(4))
			require.ErrorIs(t, got.Err, streamer.ErrCancelled)
			require.Len(t, got.Chunks, 4)
			require.LessOrEqual(t, time.Since(start), 4*time.Duration(in.PaceMs)*time.Millisecond)
		})
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := generate(t, report.Params{GroupBy: "phase", PaceMs: 300})
		require.NoError(t, got.Err)
		require.Equal(t, 7*300*time.Millisecond, time.Since(start))
	})
}

func TestParamsAreRefused(t *testing.T) {
	for payload, want := range map[string]string{
		`{}`:                        "/groupBy: is required",
		`{"groupBy":"moon"}`:        "/groupBy: must be one of state, operator, species, phase, damage, size, daytime, month, year",
		`{"groupBy":"state","x":1}`: "/x: unknown field",
		`{"groupBy":"state","years":[1990,1989]}`:           "/years/1: must be at least 1990 and at most 2002",
		`{"groupBy":"state","years":[1990,1.99e3]}`:         "/years/1: stands twice",
		`{"groupBy":"state","states":["Texas",""]}`:         "/states/1: must have at least 1 character",
		`{"groupBy":"state","minCost":-1}`:                  "/minCost: must be at least 0 and at most 100000000",
		`{"groupBy":"state","paceMs":10001}`:                "/paceMs: must be at least 0 and at most 10000",
		`{"groupBy":"state","states":["Texas","Atlantis"]}`: "/states/1: no strikes are recorded for this state",
	} {
		var e *streamer.Error
		require.ErrorAs(t, submit(t, json.RawMessage(payload)), &e, payload)
		assert.Equal(t, want, e.Field+": "+e.Message, payload)
	}
}

// submit runs the registered action with a payload, as a server does.
func submit(t *testing.T, payload json.RawMessage) error {
	t.Helper()
	r := streamer.NewRouter(nil)
	report.Register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	in, err := registry.Actions[report.Name].Decode(payload)
	if err != nil {
		return err
	}
	return generate(t, in.(report.Params)).Err
}

func TestExpect(t *testing.T) {
	r := streamer.NewRouter(nil)
	report.Register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	expect := registry.Actions[report.Name].Expect
	assert.Zero(t, expect(report.Params{GroupBy: "state"}))
	assert.Equal(t, 29*500*time.Millisecond, expect(report.Params{GroupBy: "state", PaceMs: 500}))
}

func TestSchema(t *testing.T) {
	r := streamer.NewRouter(nil)
	report.Register(r)
	info := r.Actions()[0]
	for _, want := range []string{`"title":"Params"`, `"minimum":1990`, `"enum":["state",`, `"description":"What the rows are about."`} {
		assert.Contains(t, string(info.Input), want)
	}
}
