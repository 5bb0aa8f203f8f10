package cli

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"
)

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

func TestBarLine(t *testing.T) {
	since := time.Unix(1000, 0)
	s := barState{action: "report", since: since, percent: 50, message: "aggregating", chunks: 1}
	now := since.Add(61 * time.Second)
	for width, want := range map[int]string{
		80: "report  ━━━━━━━━━━━━━━━━━━━──────────────────  50%  1m01s  1 chunk  aggregating",
		60: "report  ━━━━━━━━━────────  50%  1m01s  1 chunk  aggregating",
		40: "report  ━━━━────  50%  1m01s  1 chunk",
		20: "report  50%  1m01s…",
	} {
		got := s.line(width, now, false)
		if strings.TrimRight(got, " ") != want {
			t.Errorf("at %d columns came\n%q, expected\n%q", width, got, want)
		}
	}
	s = barState{action: "slow", since: since}
	if a, b := s.line(80, since, false), s.line(80, since.Add(time.Second), false); a == b {
		t.Errorf("where nothing is known nothing moves: %q", a)
	}
	s.lost = true
	mustContain(t, s.line(80, since, false), "connecting anew")
}

// A line that is wider than the terminal would break, and the next one be
// drawn in the wrong place.
func TestBarLineFits(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := barState{
			action: rapid.StringMatching(`[a-z.]{1,128}`).Draw(r, "action"), percent: rapid.Float64Range(-1, 101).Draw(r, "percent"),
			message: clean(rapid.StringN(0, 100, 256).Draw(r, "message")), chunks: rapid.IntRange(0, 1e6).Draw(r, "chunks"),
		}
		took := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(r, "took"))
		width := rapid.IntRange(0, 200).Draw(r, "width")
		line := s.line(width, s.since.Add(took), true)
		if got := runewidth.StringWidth(escapes.ReplaceAllString(line, "")); got > width {
			r.Fatalf("%d columns of %d: %q", got, width, line)
		}
		if strings.ContainsAny(line, "\r\n") {
			r.Fatalf("%q is not one line", line)
		}
	})
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", time.Second: "1s", 1999 * time.Millisecond: "1.9s", 59900 * time.Millisecond: "59s",
		61 * time.Second: "1m01s", 3661 * time.Second: "1h01m", 49 * time.Hour: "2d",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d is %q, expected %q", d, got, want)
		}
	}
}
