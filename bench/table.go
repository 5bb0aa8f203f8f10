package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// table is what one scenario found.
type table struct {
	Name string `json:"name"`
	// Title says what was measured, Goal what is to be reached.
	Title string   `json:"title"`
	Goal  string   `json:"goal,omitempty"`
	Rows  []row    `json:"rows"`
	Notes []string `json:"notes,omitempty"`
	// columns are the keys of the cells.
	columns []column
}

// column is a heading, and the key of its cells in JSON. Keys name units.
type column struct{ title, key string }

// row has a cell for each column. Cells of the type string are text.
type row []cell

// cell is a number with the text that it is printed as, or text alone.
type cell struct {
	text  string
	value any
}

func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

func (t *table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// MarshalJSON writes rows as objects.
func (t *table) MarshalJSON() ([]byte, error) {
	type plain table
	rows := make([]map[string]any, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = map[string]any{}
		for j, c := range r {
			if c.value != nil {
				rows[i][t.columns[j].key] = c.value
			}
		}
	}
	return json.Marshal(struct {
		*plain
		Rows []map[string]any `json:"rows"`
	}{(*plain)(t), rows})
}

// print writes the table for people.
func (t *table) print(w io.Writer) {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s: %s\n", strings.ToUpper(t.Name), t.Title)
	if t.Goal != "" {
		fmt.Fprintf(&out, "goal: %s\n", t.Goal)
	}
	widths := make([]int, len(t.columns))
	for j, c := range t.columns {
		widths[j] = utf8.RuneCountInString(c.title)
		for _, r := range t.Rows {
			widths[j] = max(widths[j], utf8.RuneCountInString(r[j].text))
		}
	}
	line := func(text func(j int) string, left int) {
		for j := range t.columns {
			cell := text(j)
			pad := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			if j < left {
				cell += pad
			} else {
				cell = pad + cell
			}
			out.WriteString("  " + cell)
		}
		out.WriteByte('\n')
	}
	left := t.texts()
	line(func(j int) string { return t.columns[j].title }, left)
	for _, r := range t.Rows {
		line(func(j int) string { return r[j].text }, left)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&out, "  %s\n", n)
	}
	_, _ = io.WriteString(w, out.String())
}

// texts tells how many columns, from the left, hold text.
func (t *table) texts() int {
	n := 0
	for n < len(t.columns) && len(t.Rows) > 0 {
		if _, ok := t.Rows[0][n].value.(string); !ok {
			break
		}
		n++
	}
	return n
}

func text(s string) cell { return cell{s, s} }

// none is a cell without a value.
func none() cell { return cell{text: "–"} }

// count is a number without a fraction, with commas.
func count(f float64) cell {
	digits := fmt.Sprintf("%.0f", f)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return cell{digits, f}
}

func ratio(f float64) cell {
	if f == 0 {
		return none()
	}
	return cell{fmt.Sprintf("%.2f", f), f}
}

// span is a duration; its value is in microseconds.
func span(d time.Duration) cell {
	if d == 0 {
		return none()
	}
	us := float64(d) / float64(time.Microsecond)
	switch {
	case d < 100*time.Microsecond:
		return cell{fmt.Sprintf("%.1f µs", us), us}
	case d < 10*time.Millisecond:
		return cell{fmt.Sprintf("%.2f ms", us/1e3), us}
	case d < time.Second:
		return cell{fmt.Sprintf("%.1f ms", us/1e3), us}
	}
	return cell{fmt.Sprintf("%.2f s", us/1e6), us}
}

// size is a number of bytes, in KB of 1,024 from 10,000 on.
func size(n float64) cell {
	switch {
	case n <= 0:
		return none()
	case n < 10_000:
		return cell{count(n).text + " B", n}
	}
	return cell{fmt.Sprintf("%.1f KB", n/1024), n}
}

// kilobytes is a number of bytes, in KB of 1,024.
func kilobytes(bytes float64) cell {
	kb := bytes / 1024
	if kb >= 1000 {
		return cell{count(kb).text + " KB", kb}
	}
	return cell{fmt.Sprintf("%.1f KB", kb), kb}
}
