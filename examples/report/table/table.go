// Package table writes a bird strike report as text that people can read: rows
// as they come, then the report, in aligned columns, with thousands separators
// and, on a terminal, a little colour.
package table

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pay-theory/streamer/examples/report/report"
)

// Printer writes to one place. The first error of writing is kept and ends
// writing; see [Printer.Err]. It is for one goroutine.
type Printer struct {
	w     io.Writer
	color bool
	err   error
}

// New returns a printer. With color it writes ANSI colours; see [Colors].
func New(w io.Writer, color bool) *Printer { return &Printer{w: w, color: color} }

// Colors tells whether colours are welcome: the file is a terminal that is not
// dumb, and NO_COLOR is not set.
func Colors(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Err returns the first error of writing.
func (p *Printer) Err() error { return p.err }

// The columns of rows, as they must be known before the first row comes.
var rowColumns = []column{
	{title: "", width: 28},
	{title: "strikes", width: 8, right: true},
	{title: "damaging", width: 9, right: true},
	{title: "cost", width: 13, right: true},
	{title: "mean speed", width: 11, right: true},
}

// Head writes the head of the rows, which are about what groupBy says.
func (p *Printer) Head(groupBy string) {
	columns := slices.Clone(rowColumns)
	columns[0].title = groupBy
	p.head(columns)
}

// Row writes a row as it comes from the stream.
func (p *Printer) Row(row report.Row) {
	speed := "–"
	if row.MeanSpeed != nil {
		speed = strconv.FormatFloat(*row.MeanSpeed, 'f', 1, 64) + " kn"
	}
	p.line(rowColumns, row.Group, Count(row.Strikes), Count(row.Damaging), Dollars(row.Cost), speed)
}

// Report writes the result.
func (p *Printer) Report(r report.Report) {
	p.title("Total")
	if r.Total.Strikes == 0 {
		p.print("no strikes\n")
		return
	}
	p.print(fmt.Sprintf("%s strikes from %s to %s in %s groups; %s did damage; they cost %s; %s have no speed.\n",
		Count(r.Total.Strikes), r.From, r.To, Count(r.Groups), Count(r.Total.Damaging), Dollars(r.Total.Cost), Count(r.Total.UnknownSpeed)))
	p.species(r.TopSpecies)
	p.phases(r.Phases)
	p.operators(r.Operators)
	p.months(r.Months)
}

func (p *Printer) species(all []report.Named) {
	p.title("Top species")
	columns := []column{{title: "species"}, {title: "strikes", right: true}, {title: "damaging", right: true}, {title: "cost", right: true}}
	var lines [][]string
	for _, s := range all {
		lines = append(lines, []string{s.Name, Count(s.Strikes), Count(s.Damaging), Dollars(s.Cost)})
	}
	p.table(columns, lines)
}

// damages are the degrees of damage, least first; what else the data holds
// counts as other.
var damages = []string{"None", "Minor", "Medium", "Substantial"}

func (p *Printer) phases(all []report.Phase) {
	p.title("Damage by phase of flight")
	columns := []column{{title: "phase"}, {title: "strikes", right: true}}
	for _, d := range damages {
		columns = append(columns, column{title: strings.ToLower(d), right: true})
	}
	columns = append(columns, column{title: "other", right: true}, column{title: "cost", right: true})
	var lines [][]string
	for _, ph := range all {
		line := []string{ph.Name, Count(ph.Strikes)}
		other := ph.Strikes
		for _, d := range damages {
			line = append(line, Count(ph.Damage[d]))
			other -= ph.Damage[d]
		}
		lines = append(lines, append(line, Count(other), Dollars(ph.Cost)))
	}
	p.table(columns, lines)
}

var monthNames = []string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// operators writes costs in thousands of dollars, to fit the twelve months.
func (p *Printer) operators(all []report.Operator) {
	p.title("Cost by operator and month, in thousands of $")
	columns := []column{{title: "operator"}}
	for _, m := range monthNames {
		columns = append(columns, column{title: m, right: true})
	}
	columns = append(columns, column{title: "total", right: true})
	var lines [][]string
	for _, o := range all {
		line := []string{o.Name}
		for _, cost := range o.Months {
			line = append(line, thousands(cost))
		}
		lines = append(lines, append(line, thousands(o.Cost)))
	}
	p.table(columns, lines)
}

func (p *Printer) months(all [12]int64) {
	p.title("Cost by month")
	var lines [][]string
	for i, cost := range all {
		lines = append(lines, []string{monthNames[i], Dollars(cost), bar(cost, slices.Max(all[:]))})
	}
	p.table([]column{{title: "month"}, {title: "cost", right: true}, {title: ""}}, lines)
}

// barWidth is the longest bar's, in characters.
const barWidth = 40

func bar(n, most int64) string {
	if most <= 0 {
		return ""
	}
	return strings.Repeat("█", int(n*barWidth/most))
}

// thousands rounds dollars to thousands; nothing is a dot, so that what is
// there stands out.
func thousands(cost int64) string {
	if cost == 0 {
		return "·"
	}
	return group((cost + 500) / 1000)
}

// Count writes a number with thousands separators.
func Count(n int) string { return group(int64(n)) }

// Dollars writes an amount with thousands separators.
func Dollars(n int64) string {
	if n < 0 {
		return "-$" + strings.TrimPrefix(group(n), "-")
	}
	return "$" + group(n)
}

func group(n int64) string {
	digits, negative := strings.CutPrefix(strconv.FormatInt(n, 10), "-")
	var b strings.Builder
	if negative {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// column is how a column stands.
type column struct {
	title string
	width int // in characters; 0: as wide as its widest cell
	right bool
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

func (p *Printer) title(text string) { p.print("\n" + p.painted(bold, text) + "\n") }

func (p *Printer) painted(style, text string) string {
	if !p.color {
		return text
	}
	return style + text + reset
}

// table writes lines in columns that are as wide as they need to be.
func (p *Printer) table(columns []column, lines [][]string) {
	for i := range columns {
		columns[i].width = utf8.RuneCountInString(columns[i].title)
		for _, line := range lines {
			columns[i].width = max(columns[i].width, utf8.RuneCountInString(line[i]))
		}
	}
	p.head(columns)
	for _, line := range lines {
		p.line(columns, line...)
	}
}

func (p *Printer) head(columns []column) {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	p.print(p.painted(dim, layout(columns, titles)) + "\n")
}

func (p *Printer) line(columns []column, cells ...string) { p.print(layout(columns, cells) + "\n") }

// layout puts cells into columns, two spaces apart. What is wider than its
// column is cut.
func layout(columns []column, cells []string) string {
	var b strings.Builder
	for i, c := range columns {
		cell := printable(cells[i])
		if n := utf8.RuneCountInString(cell); n > c.width {
			cell = string([]rune(cell)[:max(c.width-1, 0)]) + "…"
		}
		pad := strings.Repeat(" ", c.width-utf8.RuneCountInString(cell))
		if c.right {
			cell = pad + cell
		} else {
			cell += pad
		}
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(cell)
	}
	return strings.TrimRight(b.String(), " ")
}

// printable replaces control characters: the text comes from a server, and a
// terminal obeys them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}

func (p *Printer) print(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}
