package cli

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"
)

func sample() *table {
	return &table{
		columns: []column{{title: "ID"}, {title: "NAME", least: 4}, {title: "N", right: true, rank: 1}, {title: "NOTE", rank: 2}},
		rows:    [][]string{{"a1", "a long name", "7", "nothing"}, {"b2", "b", "1234", ""}},
	}
}

func write(t *testing.T, tab *table, width int) string {
	t.Helper()
	var b strings.Builder
	if err := tab.write(&b, width, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	for width, want := range map[int]string{
		0:  "ID  NAME            N  NOTE\na1  a long name     7  nothing\nb2  b            1234\n",
		29: "ID  NAME           N  NOTE\na1  a long na…     7  nothing\nb2  b           1234\n",
		20: "ID  NAME           N\na1  a long na…     7\nb2  b           1234\n",
		14: "ID  NAME     N\na1  a l…     7\nb2  b     1234\n",
		12: "ID  NAME\na1  a long …\nb2  b\n",
		1:  "ID  NAME\na1  a l…\nb2  b\n",
	} {
		if got := write(t, sample(), width); got != want {
			t.Errorf("at %d columns came\n%s, expected\n%s", width, got, want)
		}
	}
}

// Whatever is in it, a table that can be as narrow as the terminal is, and no
// line of it ends with a space.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`[a-z日本語é]{0,30}`)
		tab := &table{columns: []column{{title: "A", least: 1}, {title: "B", rank: 1, right: true}, {title: "C", least: 3}, {title: "D", rank: 2}}}
		for range rapid.IntRange(0, 4).Draw(r, "rows") {
			tab.rows = append(tab.rows, []string{text.Draw(r, "a"), text.Draw(r, "b"), text.Draw(r, "c"), text.Draw(r, "d")})
		}
		width := rapid.IntRange(6, 120).Draw(r, "width")
		var b strings.Builder
		if err := tab.write(&b, width, false); err != nil {
			r.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n != len(tab.rows)+1 {
			r.Fatalf("%d lines for %d rows", n, len(tab.rows))
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if runewidth.StringWidth(line) > width {
				r.Fatalf("%q is wider than %d", line, width)
			}
			if strings.HasSuffix(line, " ") {
				r.Fatalf("%q ends with a space", line)
			}
		}
	})
}
