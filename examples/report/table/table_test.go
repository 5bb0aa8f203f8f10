package table_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/pay-theory/streamer/examples/report/report"
	"github.com/pay-theory/streamer/examples/report/table"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, in report.Params, color bool) string {
	t.Helper()
	got := streamertest.RunStream(t, report.Generate, in)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	var b bytes.Buffer
	p := table.New(&b, color)
	p.Head(in.GroupBy)
	for _, row := range got.Chunks {
		p.Row(row)
	}
	p.Report(got.Result)
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return b.String()
}

// TestGolden: what people see of a whole report. To renew the file after a
// change that is meant, run the test with UPDATE=1.
func TestGolden(t *testing.T) {
	got := write(t, report.Params{GroupBy: "phase"}, false)
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
	text := write(t, report.Params{GroupBy: "operator"}, false)
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
	plain, colored := write(t, in, false), write(t, in, true)
	if strings.Contains(plain, "\x1b") || !strings.Contains(colored, "\x1b[1mTotal\x1b[0m") {
		t.Error("colours stand where they should not, or not where they should")
	}
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if table.Colors(f) {
		t.Error("a file is no terminal")
	}
}

func TestEmpty(t *testing.T) {
	text := write(t, report.Params{GroupBy: "state", Years: []int{2001}, States: []string{"Colorado"}, MinCost: 100_000_000}, false)
	if !strings.HasSuffix(text, "\nTotal\nno strikes\n") {
		t.Error(text)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 12345678: "12,345,678"} {
		if got := table.Count(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	if got := table.Dollars(-1234); got != "-$1,234" {
		t.Error(got)
	}
}

func TestHostileNames(t *testing.T) {
	var b bytes.Buffer
	p := table.New(&b, false)
	p.Row(report.Row{Group: "a\x1b[2Jb\n" + strings.Repeat("é", 40)})
	if text := b.String(); strings.ContainsAny(text, "\x1b") || strings.Count(text, "\n") != 1 || !strings.Contains(text, "…") {
		t.Errorf("%q", text)
	}
}

type full struct{ writes int }

var errFull = errors.New("full")

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errFull
}

func TestErrorsAreKept(t *testing.T) {
	f := &full{}
	p := table.New(f, false)
	p.Head("state")
	p.Report(report.Report{})
	if !errors.Is(p.Err(), errFull) || f.writes != 1 {
		t.Errorf("%v after %d writes", p.Err(), f.writes)
	}
}
