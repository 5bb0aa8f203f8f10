package cli

import (
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// column is one of a table.
type column struct {
	title string
	// right aligns at the right.
	right bool
	// rank says in which order columns are left out when there is no room:
	// the highest first; 0: never.
	rank int
	// least is to how many columns of the terminal the cells may be cut; 0:
	// they are never cut.
	least int
	// paint colours a cell; nil: it stays as it is.
	paint func(cell, padded string) string
}

// table is text in columns.
type table struct {
	columns []column
	rows    [][]string
}

// gap is between two columns.
const gap = 2

// write writes the table in at most width columns, as far as that can be done
// by leaving out and cutting what may be; 0: however wide it is.
func (t *table) write(w io.Writer, width int, st style) error {
	widths := t.widths()
	shown := make([]bool, len(t.columns))
	for i := range shown {
		shown[i] = true
	}
	if width > 0 {
		t.leaveOut(widths, shown, width)
		t.cut(widths, shown, width)
	}
	var b strings.Builder
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	t.line(&b, titles, widths, shown, func(_ column, _, padded string) string { return st.dim(padded) })
	for _, row := range t.rows {
		t.line(&b, row, widths, shown, func(c column, cell, padded string) string {
			if c.paint == nil {
				return padded
			}
			return c.paint(cell, padded)
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = runewidth.StringWidth(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
		}
	}
	return widths
}

// total is how wide the shown columns are together.
func (t *table) total(widths []int, shown []bool) int {
	total := -gap
	for i := range widths {
		if shown[i] {
			total += widths[i] + gap
		}
	}
	return total
}

// leaveOut leaves out columns until the rest would fit if it were cut.
func (t *table) leaveOut(widths []int, shown []bool, width int) {
	narrow := make([]int, len(widths))
	for i, c := range t.columns {
		narrow[i] = widths[i]
		if c.least > 0 {
			narrow[i] = min(widths[i], c.least)
		}
	}
	for t.total(narrow, shown) > width {
		last := -1
		for i, c := range t.columns {
			if shown[i] && c.rank > 0 && (last < 0 || c.rank > t.columns[last].rank) {
				last = i
			}
		}
		if last < 0 {
			return
		}
		shown[last] = false
	}
}

// cut cuts columns from the left until all fits.
func (t *table) cut(widths []int, shown []bool, width int) {
	for i, c := range t.columns {
		if over := t.total(widths, shown) - width; over > 0 && shown[i] && c.least > 0 {
			widths[i] = max(min(widths[i], c.least), widths[i]-over)
		}
	}
}

func (t *table) line(b *strings.Builder, cells []string, widths []int, shown []bool, paint func(c column, cell, padded string) string) {
	pending := 0
	for i, c := range t.columns {
		if !shown[i] {
			continue
		}
		cell := fit(cells[i], widths[i])
		space := widths[i] - runewidth.StringWidth(cell)
		if c.right {
			pending += space
			space = 0
		}
		// Spaces wait until something follows: no line ends with them.
		if cell != "" {
			b.WriteString(strings.Repeat(" ", pending))
			b.WriteString(paint(c, cells[i], cell))
			pending = 0
		}
		pending += space + gap
	}
	b.WriteByte('\n')
}
