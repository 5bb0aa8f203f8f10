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

func TestStatus(t *testing.T) {
	since := time.Unix(1000, 0)
	s := status{name: "report", since: since, percent: 50, message: "aggregating", chunks: 1}
	now := since.Add(61 * time.Second)
	for width, want := range map[int]string{
		80: "report  ━━━━━━━━━━──────────  50%  1m01s  1 chunk  aggregating",
		60: "report  ━━━━━━━━━━──────────  50%  1m01s  1 chunk  aggrega…",
		40: "report   50%  1m01s  1 chunk  aggregat…",
		20: "report   50%  1m01…",
	} {
		if got := s.format(width, now); got != want {
			t.Errorf("in %d columns it is\n%q, expected\n%q", width, got, want)
		}
	}
	s = status{name: "slow", since: since}
	if a, b := s.format(80, since), s.format(80, since.Add(time.Second)); a == b {
		t.Errorf("without progress nothing changes: %q", a)
	}
	s.lost = true
	mustContain(t, s.format(80, since), "reconnecting")
}

// A terminal would wrap a line that is wider than itself, and the next one would
// be drawn in the wrong place.
func TestStatusFits(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := status{
			name: rapid.StringMatching(`[a-z.]{1,128}`).Draw(r, "name"), percent: rapid.Float64Range(-1, 101).Draw(r, "percent"),
			message: clean(rapid.StringN(0, 100, 256).Draw(r, "message")), chunks: rapid.IntRange(0, 1e6).Draw(r, "chunks"),
		}
		took := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(r, "took"))
		width := rapid.IntRange(0, 200).Draw(r, "width")
		line := s.format(width, s.since.Add(took))
		if got := runewidth.StringWidth(line); got > width {
			r.Fatalf("%d columns of %d: %q", got, width, line)
		}
		if strings.ContainsAny(line, "\r\n\x1b") {
			r.Fatalf("%q is not one line", line)
		}
	})
}
