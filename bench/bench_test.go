package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
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
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o, err := parse(append([]string{"-quick", "-dir", dir}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
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
			if err := errors.Join(err, b.stopAll()); err != nil {
				t.Fatalf("%s: %v", m.name, err)
			}
			var out bytes.Buffer
			table.print(&out, m.name)
			missing := missing(table)
			if missing == "" && len(table.lines) > 0 {
				t.Log(out.String())
				break
			}
			if duration > 5*time.Second {
				t.Fatalf("%s lacks %s\n%s", m.name, missing, out.String())
			}
		}
	}
}

// missing names a figure that a table has to have and has not.
func missing(t *table) string {
	optional := map[string]bool{
		"streamer is ×": true, "ack p50": true, "server CPU/call": true, "CPU/call": true, "client CPU/call": true, "deleted/s": true,
		"file": true, "starts in": true, "RSS": true, "p50 × streamer": true,
	}
	zero := map[string]bool{"gaps": true, "duplicates": true, "lost": true}
	for _, l := range t.lines {
		for _, c := range t.columns {
			if text := c.formatCell(l); (text == "–" || (text == "0") != zero[c.title]) && !optional[c.title] && (l.base != nil || !strings.HasPrefix(c.title, "×")) {
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
		if err != nil && !errors.Is(err, context.Canceled) || err == nil && m.name != "resume" {
			t.Errorf("%s, interrupted, returns %v", m.name, err)
		}
		if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
			t.Errorf("%s left behind: %v, %v", m.name, left, err)
		}
	}
}

// writer is called with what is written.
type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, args := range []string{"-duration 1ms", "-rounds 0", "-only nothing", "more", "-connections 0", "-stored 0", "-idle 11m", "-what"} {
		var stderr bytes.Buffer
		if _, err := parse(strings.Fields(args), &stderr); err == nil || stderr.Len() == 0 {
			t.Errorf("%q: %v, and %q is written", args, err, stderr.String())
		}
	}
}

func TestRequestSize(t *testing.T) {
	template, err := load.NewTemplate(servers.Echo, "", order)
	if err != nil || template.Size() != 300 {
		t.Errorf("a request has %d bytes, not 300, %v", template.Size(), err)
	}
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
	if c.formatCell(l) != "2.00" || m.formatCell(l) != "50" {
		t.Errorf("the median of 2, 0.5 and 4 is %s, that of 100, 50 and 40 %s", c.formatCell(l), m.formatCell(l))
	}
	base.rounds = rounds(0, 0, 0)
	if c.formatCell(l) != "–" || c.formatCell(base) != "–" {
		t.Errorf("ratios to nothing are %s and %s", c.formatCell(l), c.formatCell(base))
	}
}

func TestCells(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": count(1234567), "999": count(999), "1.50": ratio(1.5), "–": timeSpan(0), "99.9 µs": timeSpan(99_900), "1.00 ms": timeSpan(1e6),
		"1.70 s": timeSpan(1.7e9), "9,999 B": byteSize(9999), "9.8 KB": byteSize(10_000), "1,024 KB": byteSize(1 << 20), "0": count(0),
	} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
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
		if gaps, duplicates := check(c.chunks, c.last); gaps != c.gaps || duplicates != c.duplicates {
			t.Errorf("%v of %d: %d gaps, %d duplicates", c.chunks, c.last, gaps, duplicates)
		}
	}
}
