package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	servers.Main()
	goleak.VerifyTestMain(m)
}

// quick returns the options of a quick run, in a directory that other users may
// go through: PostgreSQL does not run as root.
func quick(t *testing.T, args ...string) *options {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench-test-") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711))
	o, err := parse(append([]string{"-quick", "-dir", dir}, args...), io.Discard)
	require.NoError(t, err)
	o.stored = 2000
	return o
}

// Every table is made, with a figure in each cell that has to have one, and
// nothing is left behind. On a busy machine a short round may see no call end.
func TestQuickRun(t *testing.T) {
	for _, m := range measurements {
		for duration := 100 * time.Millisecond; ; duration *= 10 {
			o := quick(t)
			o.duration = duration
			b := &bench{options: o, dir: o.dir, stderr: io.Discard, table: m.name}
			table, err := m.run(b, t.Context())
			require.NoError(t, errors.Join(err, b.stopAll()), m.name)
			var out bytes.Buffer
			table.print(&out, m.name)
			missing := missing(table)
			if missing == "" && len(table.lines) > 0 {
				t.Log(out.String())
				break
			}
			require.LessOrEqual(t, duration, 5*time.Second, "%s lacks %s\n%s", m.name, missing, out.String())
		}
	}
}

// missing names a figure that a table has to have and has not.
func missing(t *table) string {
	optional := []string{
		"streamer is ×", "ack p50", "server CPU/call", "CPU/call", "client CPU/call", "deleted/s", "file", "starts in", "RSS", "p50 × streamer",
	}
	zero := []string{"gaps", "duplicates", "lost"}
	for _, l := range t.lines {
		for _, c := range t.columns {
			if slices.Contains(optional, c.title) || l.base == nil && strings.HasPrefix(c.title, "×") {
				continue
			}
			if text := c.formatCell(l); text == "–" || (text == "0") != slices.Contains(zero, c.title) {
				return l.group + ", " + l.name + ", " + c.title
			}
		}
	}
	return ""
}

// A Ctrl-C ends a run in the middle of a load, and leaves nothing behind.
func TestInterrupt(t *testing.T) {
	for _, m := range measurements {
		o := quick(t, "-only", m.name)
		o.duration, o.idle = time.Minute, time.Minute
		ctx, interrupt := context.WithCancel(t.Context())
		// The line is written just before something is measured.
		err := run(ctx, o, io.Discard, writer(func(text string) {
			if strings.Contains(text, "round") || strings.Contains(text, "storing") {
				time.AfterFunc(50*time.Millisecond, interrupt)
			}
		}))
		interrupt()
		// One that lasts no longer ends by itself.
		if err != nil || m.name != "resume" {
			assert.ErrorIs(t, err, context.Canceled, m.name)
		}
		left, err := os.ReadDir(o.dir)
		require.NoError(t, err)
		assert.Empty(t, left, m.name)
	}
}

type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, args := range []string{"-duration 1ms", "-rounds 0", "-only nothing", "more", "-connections 0", "-stored 0", "-idle 11m", "-what"} {
		var stderr bytes.Buffer
		_, err := parse(strings.Fields(args), &stderr)
		assert.Error(t, err, args)
		assert.NotEmpty(t, stderr.String(), args)
	}
}

func TestRequestSize(t *testing.T) {
	template, err := load.NewTemplate(servers.Echo, "", order)
	require.NoError(t, err)
	assert.Equal(t, 300, template.Size())
}

// Ratios are of each round by itself: what slows a round down slows both.
func TestRatios(t *testing.T) {
	rounds := func(values ...float64) (rounds []*load.Result) {
		for _, v := range values {
			rounds = append(rounds, &load.Result{Values: map[string]float64{"x": v}})
		}
		return rounds
	}
	base := &line{rounds: rounds(50, 100, 10)}
	l := &line{rounds: rounds(100, 50, 40), base: base}
	c, m := ratios("×", value("x")), medians("x", value("x"), count)
	assert.Equal(t, "2.00", c.formatCell(l), "the median of 2, 0.5 and 4")
	assert.Equal(t, "50", m.formatCell(l), "the median of 100, 50 and 40")
	base.rounds = rounds(0, 0, 0)
	assert.Equal(t, "–", c.formatCell(l), "a ratio to nothing")
	assert.Equal(t, "–", c.formatCell(base), "without a yardstick")
}

func TestCells(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": count(1234567), "999": count(999), "1.50": ratio(1.5), "–": timeSpan(0), "99.9 µs": timeSpan(99_900), "1.00 ms": timeSpan(1e6),
		"1.70 s": timeSpan(1.7e9), "9,999 B": byteSize(9999), "9.8 KB": byteSize(10_000), "1,024 KB": byteSize(1 << 20), "0": count(0),
	} {
		assert.Equal(t, want, got)
	}
}

// Chunks that are missing and chunks that came twice are counted.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		chunks                 []int
		last, gaps, duplicates int
	}{
		{[]int{1, 2, 3}, 3, 0, 0}, {[]int{1, 3}, 3, 1, 0}, {[]int{1, 2, 2, 3}, 3, 0, 1}, {[]int{1, 2}, 3, 1, 0}, {[]int{1, 2, 1, 2, 3}, 3, 0, 2}, {nil, 1, 1, 0},
	} {
		gaps, duplicates := check(c.chunks, c.last)
		assert.Equal(t, c.gaps, gaps, "gaps in %v of %d", c.chunks, c.last)
		assert.Equal(t, c.duplicates, duplicates, "duplicates in %v of %d", c.chunks, c.last)
	}
}
