package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/pay-theory/streamer/bench/internal/load"
)

type table struct {
	// title describes what was measured, goal what is to be reached.
	title, goal string
	notes       []string
	// group and name are the headings of what names a line.
	group, name string
	columns     []column
	lines       []*line
	// rounds is how often each line is measured. Default: options.rounds.
	rounds int
}

// line is a load that is measured round by round.
type line struct {
	group, name string
	run         func(ctx context.Context) (*load.Result, error)
	// base is the yardstick, which is measured in the same rounds.
	base   *line
	rounds []*load.Result
}

// figure is a figure of one round; NaN: there is none.
type figure func(*load.Result) float64

// column is a heading and what its cells hold.
type column struct {
	title  string
	value  func(*line) float64
	format func(float64) string
}

// formatCell returns the text for a line: a dash if there is no figure.
func (c *column) formatCell(l *line) string {
	if v := c.value(l); !math.IsNaN(v) {
		return c.format(v)
	}
	return "–"
}

// medians is a column of medians over the rounds.
func medians(title string, f figure, format func(float64) string) column {
	return column{title, func(l *line) float64 { return median(l.values(f)) }, format}
}

// ratios is a column of ratios to the yardstick: medians over the rounds of the
// ratio within each, since what slows a round down slows both.
func ratios(title string, f figure) column {
	return column{title, func(l *line) float64 {
		if l.base == nil {
			return math.NaN()
		}
		shares, theirs := l.values(f), l.base.values(f)
		for i := range shares {
			if shares[i] /= theirs[i]; math.IsInf(shares[i], 0) {
				shares[i] = math.NaN()
			}
		}
		return median(shares)
	}, ratio}
}

// value is the figure of that name.
func value(name string) figure {
	return func(r *load.Result) float64 {
		if v, known := r.Values[name]; known {
			return v
		}
		return math.NaN()
	}
}

// quantile is a quantile of the latency.
func quantile(q float64) figure {
	return func(r *load.Result) float64 { return float64(r.Latency.Quantile(q)) }
}

// Columns that several tables have.
var (
	calls     = medians("calls", (*load.Result).Calls, count)
	rate      = medians("calls/s", (*load.Result).Rate, count)
	p50       = medians("p50", quantile(0.5), timeSpan)
	p99       = medians("p99", quantile(0.99), timeSpan)
	longest   = medians("longest", quantile(1), timeSpan)
	serverCPU = medians("server CPU/call", (*load.Result).ServerCPU, timeSpan)
)

func (l *line) values(f figure) []float64 {
	values := make([]float64, len(l.rounds))
	for i, r := range l.rounds {
		values[i] = f(r)
	}
	return values
}

// median returns the median of the values that are numbers, NaN if none is.
func median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// measure adds lines, and measures them in turns, so that other work of the
// machine affects all of them.
func (b *bench) measure(ctx context.Context, t *table, lines ...*line) error {
	rounds := cmp.Or(t.rounds, b.rounds)
	for round := range rounds {
		b.announce("  %s, round %d of %d", lines[0].group, round+1, rounds)
		for _, l := range lines {
			r, err := l.run(ctx)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.group, l.name, err)
			}
			l.rounds = append(l.rounds, r)
		}
	}
	t.lines = append(t.lines, lines...)
	return nil
}

func (t *table) addNote(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) print(out io.Writer, name string) {
	_, _ = fmt.Fprintf(out, "\n%s: %s\n", strings.ToUpper(name), t.title)
	if t.goal != "" {
		_, _ = fmt.Fprintf(out, "goal: %s\n", t.goal)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	cells, group := []string{t.group, t.name}, ""
	for _, c := range t.columns {
		cells = append(cells, c.title)
	}
	_, _ = fmt.Fprintln(w, "  "+strings.Join(cells, "\t"))
	for _, l := range t.lines {
		cells = append(cells[:0], l.group, l.name)
		if l.group == group {
			cells[0] = ""
		}
		group = l.group
		for _, c := range t.columns {
			cells = append(cells, c.formatCell(l))
		}
		_, _ = fmt.Fprintln(w, "  "+strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	for _, n := range t.notes {
		_, _ = fmt.Fprintf(out, "  %s\n", n)
	}
}

// count is a number without a fraction, with commas.
func count(f float64) string { return humanize.Comma(int64(math.RoundToEven(f))) }

func ratio(f float64) string { return fmt.Sprintf("%.2f", f) }

// timeSpan is a duration in nanoseconds, to about three digits; 0 is not known.
func timeSpan(ns float64) string {
	switch d := time.Duration(ns); {
	case d == 0:
		return "–"
	case d < 100*time.Microsecond:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
	return fmt.Sprintf("%.2f s", ns/1e9)
}

// byteSize is a number of bytes, from 10,000 on in KB of 1,024; 0 is not known.
func byteSize(n float64) string {
	switch {
	case n == 0:
		return "–"
	case n < 10_000:
		return count(n) + " B"
	case n < 1000<<10:
		return fmt.Sprintf("%.1f KB", n/1024)
	}
	return count(n/1024) + " KB"
}
