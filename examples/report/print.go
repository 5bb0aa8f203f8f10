package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/pay-theory/streamer/examples/report/report"
)

// hasColors tells whether colours may be written: f is a terminal that is not
// dumb, and NO_COLOR is not set.
func hasColors(f *os.File) bool {
	return isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// maxGroup is how many characters of a group's name fit into the first column.
const maxGroup = 28

// formatRow returns a row of the stream. Its columns have fixed widths: it is
// printed before the next one is known.
func formatRow(cells ...string) string {
	if runes := []rune(cells[0]); len(runes) > maxGroup {
		cells[0] = string(runes[:maxGroup-1]) + "…"
	}
	return fmt.Sprintf("%-28s  %8s  %9s  %13s  %11s\n", cells[0], cells[1], cells[2], cells[3], cells[4])
}

func formatHead(groupBy string) string {
	return formatRow(groupBy, "strikes", "damaging", "cost", "mean speed")
}

func formatGroup(row report.Row) string {
	speed := "–"
	if row.MeanSpeed != nil {
		speed = strconv.FormatFloat(*row.MeanSpeed, 'f', 1, 64) + " kn"
	}
	return formatRow(printable(row.Group), formatNumber(row.Strikes), formatNumber(row.Damaging), formatDollars(row.Cost), speed)
}

// printReport writes the result. Its titles are bold if color is set.
func printReport(w io.Writer, r report.Report, color bool) error {
	var b strings.Builder
	title := func(text string) {
		if color {
			text = "\x1b[1m" + text + "\x1b[0m"
		}
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	title("Total")
	if r.Total.Strikes == 0 {
		_, err := io.WriteString(w, b.String()+"no strikes\n")
		return err
	}
	fmt.Fprintf(&b, "%s strikes from %s to %s in %s groups.\n%s did damage; they cost %s; the speed of %s is unknown.\n",
		formatNumber(r.Total.Strikes), printable(r.From), printable(r.To), formatNumber(r.Groups), formatNumber(r.Total.Damaging),
		formatDollars(r.Total.Cost), formatNumber(r.Total.UnknownSpeed))
	title("Top species")
	writeTable(&b, speciesTable(r.TopSpecies))
	title("Damage by phase of flight")
	writeTable(&b, phaseTable(r.Phases))
	title("Cost by operator and quarter, in thousands of $")
	writeTable(&b, operatorTable(r.Operators))
	title("Cost by month")
	b.WriteString("month         cost\n")
	for i, cost := range r.Months {
		bar := strings.Repeat("█", int(cost*40/max(1, slices.Max(r.Months[:]))))
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-5s  %11s  %s", months[i], formatDollars(cost), bar), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func speciesTable(species []report.Named) [][]string {
	rows := [][]string{{"species", "strikes", "damaging", "cost"}}
	for _, s := range species {
		rows = append(rows, []string{s.Name, formatNumber(s.Strikes), formatNumber(s.Damaging), formatDollars(s.Cost)})
	}
	return rows
}

// damages are the degrees of damage; other values in the data count as other.
var damages = []string{"None", "Minor", "Medium", "Substantial"}

func phaseTable(phases []report.Phase) [][]string {
	rows := [][]string{{"phase", "strikes", "none", "minor", "medium", "substantial", "other", "cost"}}
	for _, p := range phases {
		row := []string{p.Name, formatNumber(p.Strikes)}
		other := p.Strikes
		for _, damage := range damages {
			row = append(row, formatNumber(p.Damage[damage]))
			other -= p.Damage[damage]
		}
		rows = append(rows, append(row, formatNumber(other), formatDollars(p.Cost)))
	}
	return rows
}

var months = []string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

func operatorTable(operators []report.Operator) [][]string {
	rows := [][]string{{"operator", "Jan–Mar", "Apr–Jun", "Jul–Sep", "Oct–Dec", "total"}}
	for _, o := range operators {
		row := []string{o.Name}
		for quarter := range slices.Chunk(o.Months[:], 3) {
			row = append(row, formatThousands(quarter[0]+quarter[1]+quarter[2]))
		}
		rows = append(rows, append(row, formatThousands(o.Cost)))
	}
	return rows
}

// formatThousands rounds to thousands. 0 is a dot, so that other costs stand out.
func formatThousands(cost int64) string {
	if cost == 0 {
		return "·"
	}
	return formatNumber((cost + 500) / 1000)
}

// writeTable writes rows in columns, the first one aligned left and the others
// right.
func writeTable(w io.Writer, rows [][]string) {
	width := 0
	for _, row := range rows {
		row[0] = printable(row[0])
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	tab := tabwriter.NewWriter(w, 0, 0, 0, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		_, _ = fmt.Fprintf(tab, "%-*s\t  %s\t\n", width, row[0], strings.Join(row[1:], "\t  "))
	}
	_ = tab.Flush() // w is a strings.Builder, which does not fail
}

// formatNumber returns a number with thousands separators.
func formatNumber[N int | int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func formatDollars(n int64) string {
	if n < 0 {
		return "-" + formatDollars(-n)
	}
	return "$" + formatNumber(n)
}

// printable replaces control characters: the text comes from a server, and
// would control the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
