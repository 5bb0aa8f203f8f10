package report_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/pay-theory/streamer/examples/report/report"
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
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Params json.RawMessage
		Rows   []report.Row
		Report report.Report
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 15 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(string(c.Params), func(t *testing.T) {
			var in report.Params
			if err := json.Unmarshal(c.Params, &in); err != nil {
				t.Fatal(err)
			}
			got := generate(t, in)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if len(got.Chunks) != len(c.Rows) {
				t.Fatalf("%d rows, want %d", len(got.Chunks), len(c.Rows))
			}
			for i, row := range got.Chunks {
				if !reflect.DeepEqual(row, c.Rows[i]) {
					t.Errorf("row %d is %s, want %s", i, asJSON(t, row), asJSON(t, c.Rows[i]))
				}
			}
			if !reflect.DeepEqual(got.Result, c.Report) {
				t.Errorf("report %s\nwant   %s", asJSON(t, got.Result), asJSON(t, c.Report))
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestKnownFigures compares a few figures that can be checked with
//
//	zcat birdstrikes.csv.gz | awk -F, 'NR>1 {n[$5]++; c+=$13; s+=$14==""} END {print n["AMERICAN AIRLINES"], c, s}'
func TestKnownFigures(t *testing.T) {
	got := generate(t, report.Params{GroupBy: "operator"})
	want := report.Tally{Strikes: 10_000, Damaging: 1061, Cost: 40_545_276, UnknownSpeed: 2836}
	if got.Result.Total != want {
		t.Errorf("total %+v", got.Result.Total)
	}
	if first := got.Chunks[0]; first.Group != "AMERICAN AIRLINES" || first.Strikes != 2171 {
		t.Errorf("first row %+v", first)
	}
	if second := got.Chunks[1]; second.Group != "US AIRWAYS*" || second.Strikes != 1084 {
		t.Errorf("second row %+v", second)
	}
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
		if len(whole.Checkpoints) != len(whole.Chunks) {
			r.Fatalf("%d checkpoints for %d rows", len(whole.Checkpoints), len(whole.Chunks))
		}
		for i, checkpoint := range whole.Checkpoints {
			got := generate(t, in, streamertest.Resume(checkpoint))
			if got.Err != nil {
				r.Fatal(got.Err)
			}
			if len(got.Chunks) != len(whole.Chunks)-i-1 {
				r.Fatalf("from checkpoint %d: %d rows of %d", i, len(got.Chunks), len(whole.Chunks))
			}
			chunks := append(whole.Chunks[:checkpoint.Chunks:checkpoint.Chunks], got.Chunks...)
			if !reflect.DeepEqual(chunks, whole.Chunks) || !reflect.DeepEqual(got.Result, whole.Result) {
				r.Fatalf("from checkpoint %d: the report differs", i)
			}
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
		if got.Err == nil || !got.Permanent || len(got.Chunks) > 0 {
			t.Errorf("%v: %+v", checkpoint, got.Err)
		}
	}
}

func TestProgressRises(t *testing.T) {
	got := generate(t, report.Params{GroupBy: "size"})
	last := -1.0
	for _, p := range got.Progress {
		if p.Percent < last || p.Text == "" {
			t.Fatalf("progress %v after %v", p, last)
		}
		last = p.Percent
	}
	if last != 100 || len(got.Progress) < 10_000/250 {
		t.Fatalf("%d progress reports, the last at %v", len(got.Progress), last)
	}
}

func TestCancel(t *testing.T) {
	for _, in := range []report.Params{{GroupBy: "state"}, {GroupBy: "state", PaceMs: 10_000}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			got := generate(t, in, streamertest.CancelAfter(4))
			if !errors.Is(got.Err, streamer.ErrCancelled) || len(got.Chunks) != 4 {
				t.Fatalf("%d rows, %v", len(got.Chunks), got.Err)
			}
			if took, most := time.Since(start), 4*time.Duration(in.PaceMs)*time.Millisecond; took > most {
				t.Fatalf("it continued for %v, expected at most %v", took, most)
			}
		})
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := generate(t, report.Params{GroupBy: "phase", PaceMs: 300})
		if got.Err != nil || time.Since(start) != 7*300*time.Millisecond {
			t.Fatalf("%v, %v", time.Since(start), got.Err)
		}
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
		err := submit(t, json.RawMessage(payload))
		var e *streamer.Error
		if !errors.As(err, &e) || e.Field+": "+e.Message != want {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

// submit runs the registered action with a payload, as a server does.
func submit(t *testing.T, payload json.RawMessage) error {
	t.Helper()
	r := streamer.NewRouter(nil)
	report.Register(r)
	registry, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
	action := registry.Actions[report.Name]
	in, err := action.Decode(payload)
	if err != nil {
		return err
	}
	params, ok := in.(report.Params)
	if !ok {
		t.Fatalf("a %T", in)
	}
	return generate(t, params).Err
}

func TestExpect(t *testing.T) {
	r := streamer.NewRouter(nil)
	report.Register(r)
	registry, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
	expect := registry.Actions[report.Name].Expect
	if d := expect(report.Params{GroupBy: "state"}); d != 0 {
		t.Errorf("without pauses: %v", d)
	}
	if d := expect(report.Params{GroupBy: "state", PaceMs: 500}); d != 29*500*time.Millisecond {
		t.Errorf("with pauses: %v", d)
	}
}

func TestSchema(t *testing.T) {
	r := streamer.NewRouter(nil)
	report.Register(r)
	info := r.Actions()[0]
	for _, want := range []string{`"title":"Params"`, `"minimum":1990`, `"enum":["state",`, `"description":"What the rows are about."`} {
		if !strings.Contains(string(info.Input), want) {
			t.Errorf("%s is not in the input's schema: %s", want, info.Input)
		}
	}
}
