package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"pgregory.net/rapid"
)

func measured(calls uint64, cpu time.Duration) *load.Measured {
	return &load.Measured{Calls: calls, During: time.Second, Used: load.Used{Server: cpu, Own: cpu, Written: 4096, Wire: 700}}
}

// Shares are of each round by itself: what slows a round down slows both.
func TestShares(t *testing.T) {
	ours, theirs := rounds{measured(100, 100), measured(50, 100), measured(40, 400)}, rounds{measured(50, 50), measured(100, 50), measured(10, 100)}
	if got := ours.share(theirs, (*load.Measured).Rate); got != 2 {
		t.Errorf("the median of 2, 0.5 and 4 is %v", got)
	}
	if ours.rate() != 50 || ours.cpu() != 2 || ours.all() != 4 || ours.of((*load.Measured).WirePerCall) != 14 {
		t.Errorf("%v a second, %v, %v", ours.rate(), ours.cpu(), ours.all())
	}
	if got := ours.share(rounds{measured(0, 0)}, (*load.Measured).Rate); got != 0 {
		t.Errorf("a share of nothing is %v", got)
	}
}

// The median lies between the least and the most, and does not depend on the
// order.
func TestMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e9), 1, 9).Draw(t, "values")
		same := func(f float64) float64 { return f }
		got := median(values, same)
		below, above := 0, 0
		for _, v := range values {
			if v <= got {
				below++
			}
			if v >= got {
				above++
			}
		}
		if 2*below < len(values) || 2*above < len(values) {
			t.Fatalf("%v is no median of %v", got, values)
		}
		if other := median(rapid.Permutation(values).Draw(t, "order"), same); other != got {
			t.Fatalf("%v in another order is %v", got, other)
		}
	})
}

func TestCells(t *testing.T) {
	for want, c := range map[string]cell{
		"1,234,567": count(1234567), "999": count(999), "1.50": ratio(1.5), "–": ratio(0), "99.9 µs": span(99900), "1.00 ms": span(time.Millisecond),
		"1.70 s": span(1700 * time.Millisecond), "9,999 B": size(9999), "9.8 KB": size(10_000), "1,024 KB": kilobytes(1 << 20), "0": count(0),
	} {
		if c.text != want {
			t.Errorf("%q, not %q", c.text, want)
		}
	}
}

// On no terminal a line is said for each table.
func TestStatus(t *testing.T) {
	var said bytes.Buffer
	s := &status{w: &said, plain: true, since: time.Now(), of: 2}
	s.begin("inline")
	s.say("round %d", 1)
	s.clear()
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "1/2 inline") {
		t.Errorf("%q", got)
	}
	said.Reset()
	s.plain = false
	s.say("round %d", 1)
	s.clear()
	if got := said.String(); strings.Contains(got, "\n") || !strings.Contains(got, "round 1") {
		t.Errorf("%q", got)
	}
}
