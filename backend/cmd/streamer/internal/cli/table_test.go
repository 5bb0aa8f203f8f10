package cli

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func sampleTable() *table {
	return &table{
		titles:   []string{"ID", "NAME", "STATUS", "N", "NOTE"},
		rows:     [][]string{{"a1", "a very long name", "failed", "7", "nothing"}, {"b2", "b", "running", "1234", ""}},
		flexible: 1,
		optional: []int{4, 3},
	}
}

func TestTable(t *testing.T) {
	for width, want := range map[int]string{
		0:  "ID  NAME              STATUS   N     NOTE\na1  a very long name  failed   7     nothing\nb2  b                 running  1234\n",
		43: "ID  NAME             STATUS   N     NOTE\na1  a very long na…  failed   7     nothing\nb2  b                running  1234\n",
		38: "ID  NAME              STATUS   N\na1  a very long name  failed   7\nb2  b                 running  1234\n",
		32: "ID  NAME           STATUS   N\na1  a very long …  failed   7\nb2  b              running  1234\n",
		29: "ID  NAME              STATUS\na1  a very long name  failed\nb2  b                 running\n",
		25: "ID  NAME          STATUS\na1  a very long…  failed\nb2  b             running\n",
		20: "ID  NAME          S…\na1  a very long…  f…\nb2  b             r…\n",
	} {
		var b strings.Builder
		require.NoError(t, sampleTable().print(&b, width, false))
		assert.Equal(t, want, b.String(), "in %d columns", width)
	}
}

// Colours do not move the columns.
func TestTableColors(t *testing.T) {
	var b strings.Builder
	require.NoError(t, sampleTable().print(&b, 0, true))
	want := "\x1b[2mID  NAME              STATUS   N     NOTE\x1b[0m\n" +
		"a1  a very long name  \x1b[31mfailed\x1b[0m   7     nothing\n" +
		"b2  b                 \x1b[36mrunning\x1b[0m  1234\n"
	assert.Equal(t, want, b.String())
}

// A table is never wider than the terminal, and its lines do not end with spaces.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`[a-z日本語é]{0,30}`)
		tab := &table{titles: []string{"A", "B", "C", "D"}, flexible: 2, optional: []int{3, 1}}
		for range rapid.IntRange(0, 4).Draw(r, "rows") {
			tab.rows = append(tab.rows, []string{text.Draw(r, "a"), text.Draw(r, "b"), text.Draw(r, "c"), text.Draw(r, "d")})
		}
		width := rapid.IntRange(1, 120).Draw(r, "width")
		var b strings.Builder
		require.NoError(r, tab.print(&b, width, false))
		require.Equal(r, len(tab.rows)+1, strings.Count(b.String(), "\n"), "lines")
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			require.LessOrEqual(r, runewidth.StringWidth(line), width, line)
			require.False(r, strings.HasSuffix(line, " "), "%q ends with a space", line)
		}
	})
}
