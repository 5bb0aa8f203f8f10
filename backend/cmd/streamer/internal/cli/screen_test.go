package cli

import (
	"regexp"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		assert.Equal(t, want, s.format(width, now), "in %d columns", width)
	}
	s = status{name: "slow", since: since}
	assert.NotEqual(t, s.format(80, since), s.format(80, since.Add(time.Second)), "without progress the time changes")
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
		require.LessOrEqual(r, runewidth.StringWidth(line), width, line)
		require.NotRegexp(r, `[\r\n\x1b]`, line, "it is not one line")
	})
}
