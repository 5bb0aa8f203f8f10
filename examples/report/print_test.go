package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/pay-theory/streamer/examples/report/report"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// printAll returns what a client prints of a report.
func printAll(t *testing.T, in report.Params, color bool) string {
	t.Helper()
	got := streamertest.RunStream(t, report.Generate, in)
	require.NoError(t, got.Err)
	var b bytes.Buffer
	b.WriteString(formatHead(in.GroupBy))
	for _, row := range got.Chunks {
		b.WriteString(formatGroup(row))
	}
	require.NoError(t, printReport(&b, got.Result, color))
	return b.String()
}

// TestGolden compares a whole report with a file. UPDATE=1 writes the file.
func TestGolden(t *testing.T) {
	got := printAll(t, report.Params{GroupBy: "phase"}, false)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile("testdata/phase.txt", []byte(got), 0o600))
	}
	want, err := os.ReadFile("testdata/phase.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestColumnsAlign(t *testing.T) {
	text := printAll(t, report.Params{GroupBy: "operator"}, false)
	rows := strings.Split(text, "\n")[:47]
	for _, row := range rows {
		assert.Equal(t, utf8.RuneCountInString(rows[0]), utf8.RuneCountInString(row), "%q is not as wide as %q", row, rows[0])
	}
	assert.Contains(t, text, "US AIRWAYS*")
	assert.Contains(t, text, "$40,545,276")
}

func TestColor(t *testing.T) {
	in := report.Params{GroupBy: "size"}
	plain, colored := printAll(t, in, false), printAll(t, in, true)
	assert.NotContains(t, plain, "\x1b")
	assert.Contains(t, colored, "\x1b[1mTotal\x1b[0m")
	f, err := os.Create(t.TempDir() + "/file")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	assert.False(t, hasColors(f), "a file is taken for a terminal")
}

func TestEmpty(t *testing.T) {
	text := printAll(t, report.Params{GroupBy: "state", Years: []int{2001}, States: []string{"Colorado"}, MinCost: 100_000_000}, false)
	assert.True(t, strings.HasSuffix(text, "\nTotal\nno strikes\n"), text)
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 12345678: "12,345,678"} {
		assert.Equal(t, want, formatNumber(n))
	}
	assert.Equal(t, "-$1,234", formatDollars(-1234))
}

// Names from the server do not control the terminal, and fit into their column.
func TestUnprintableNames(t *testing.T) {
	name := "a\x1b[2Jb\n\t" + strings.Repeat("é", 40)
	group := formatGroup(report.Row{Group: name})
	assert.Contains(t, group, "…")
	var b bytes.Buffer
	writeTable(&b, speciesTable([]report.Named{{Name: name}}))
	for text, lines := range map[string]int{group: 1, b.String(): 2} {
		assert.NotRegexp(t, `[\x1b\t]`, text)
		assert.Equal(t, lines, strings.Count(text, "\n"), text)
	}
}

type fullDisk struct{}

var errFull = errors.New("full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	for _, strikes := range []int{0, 1} {
		err := printReport(fullDisk{}, report.Report{Total: report.Tally{Strikes: strikes}}, false)
		assert.ErrorIs(t, err, errFull, "%d strikes", strikes)
	}
}
