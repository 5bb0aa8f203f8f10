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
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// printAll returns what a client prints of a report.
func printAll(t *testing.T, in report.Params, color bool) string {
	t.Helper()
	got := streamertest.RunStream(t, report.Generate, in)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	var b bytes.Buffer
	b.WriteString(formatHead(in.GroupBy))
	for _, row := range got.Chunks {
		b.WriteString(formatGroup(row))
	}
	if err := printReport(&b, got.Result, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden compares a whole report with a file. UPDATE=1 writes the file.
func TestGolden(t *testing.T) {
	got := printAll(t, report.Params{GroupBy: "phase"}, false)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/phase.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/phase.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestColumnsAlign(t *testing.T) {
	text := printAll(t, report.Params{GroupBy: "operator"}, false)
	rows := strings.Split(text, "\n")[:47]
	for _, row := range rows {
		if utf8.RuneCountInString(row) != utf8.RuneCountInString(rows[0]) {
			t.Errorf("%q is not as wide as %q", row, rows[0])
		}
	}
	if !strings.Contains(text, "US AIRWAYS*") || !strings.Contains(text, "$40,545,276") {
		t.Error(text)
	}
}

func TestColor(t *testing.T) {
	in := report.Params{GroupBy: "size"}
	plain, colored := printAll(t, in, false), printAll(t, in, true)
	if strings.Contains(plain, "\x1b") || !strings.Contains(colored, "\x1b[1mTotal\x1b[0m") {
		t.Errorf("without colours:\n%q\nwith colours:\n%q", plain, colored)
	}
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if hasColors(f) {
		t.Error("a file is taken for a terminal")
	}
}

func TestEmpty(t *testing.T) {
	text := printAll(t, report.Params{GroupBy: "state", Years: []int{2001}, States: []string{"Colorado"}, MinCost: 100_000_000}, false)
	if !strings.HasSuffix(text, "\nTotal\nno strikes\n") {
		t.Error(text)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 12345678: "12,345,678"} {
		if got := formatNumber(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	if got := formatDollars(-1234); got != "-$1,234" {
		t.Error(got)
	}
}

// Names from the server do not control the terminal, and fit into their column.
func TestUnprintableNames(t *testing.T) {
	name := "a\x1b[2Jb\n\t" + strings.Repeat("é", 40)
	if text := formatGroup(report.Row{Group: name}); strings.ContainsAny(text, "\x1b\t") || strings.Count(text, "\n") != 1 || !strings.Contains(text, "…") {
		t.Errorf("%q", text)
	}
	var b bytes.Buffer
	writeTable(&b, speciesTable([]report.Named{{Name: name}}))
	if text := b.String(); strings.ContainsAny(text, "\x1b\t") || strings.Count(text, "\n") != 2 {
		t.Errorf("%q", text)
	}
}

type fullDisk struct{}

var errFull = errors.New("full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	for _, strikes := range []int{0, 1} {
		if err := printReport(fullDisk{}, report.Report{Total: report.Tally{Strikes: strikes}}, false); !errors.Is(err, errFull) {
			t.Errorf("%d strikes: %v", strikes, err)
		}
	}
}
