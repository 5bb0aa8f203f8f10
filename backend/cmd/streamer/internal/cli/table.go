package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mattn/go-runewidth"
)

// table is text in columns. If it is wider than the terminal, the cells of one
// column are cut; then columns are left out; then whole lines are cut.
type table struct {
	titles []string
	rows   [][]string
	// flexible is the column whose cells may be cut, to minCell at least.
	flexible int
	// optional are the columns that may be left out, the first one first.
	optional []int
}

const minCell = 12

// statusTitle is the title of the column that is coloured by status.
const statusTitle = "STATUS"

// print writes the table. width is that of the terminal; 0: there is no limit.
func (t *table) print(w io.Writer, width int, st style) error {
	lines := t.fitTo(width)
	status := strings.Index(lines[0], statusTitle) // ASCII comes before it
	for i, line := range lines {
		switch runes := []rune(line); {
		case i == 0:
			lines[i] = st.dim(line)
		case status >= 0 && status < len(runes):
			word, rest, more := strings.Cut(string(runes[status:]), " ")
			lines[i] = string(runes[:status]) + st.status(word)
			if more {
				lines[i] += " " + rest
			}
		}
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// fitTo lays the table out in at most width columns; 0: there is no limit.
func (t *table) fitTo(width int) []string {
	var cells []string
	for _, row := range t.rows {
		cells = append(cells, row[t.flexible])
	}
	for omitted := 0; ; omitted++ {
		lines := t.layOut(0, omitted)
		over := widest(lines) - width
		if width <= 0 || over <= 0 {
			return lines
		}
		limit := widest(cells) - over
		if limit < minCell && omitted < len(t.optional) {
			continue
		}
		lines = t.layOut(max(limit, minCell), omitted)
		for i := range lines {
			lines[i] = truncate(lines[i], width)
		}
		return lines
	}
}

// layOut returns the lines of the table. limit bounds the width of the flexible
// cells; 0: there is no limit. omitted is how many optional columns are left out.
func (t *table) layOut(limit, omitted int) []string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.titles}, t.rows...) {
		var cells []string
		for i, cell := range row {
			if slices.Contains(t.optional[:omitted], i) {
				continue
			}
			if i == t.flexible && limit > 0 {
				cell = truncate(cell, limit)
			}
			cells = append(cells, cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // writing to a buffer does not fail
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func widest(texts []string) int {
	width := 0
	for _, text := range texts {
		width = max(width, runewidth.StringWidth(text))
	}
	return width
}
