package conformance_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
)

// row is one of COVERAGE.md: a law or a rule, and who shows it.
type row struct {
	name, text string
	shown      []string // as side/name
	reason     string   // why nobody does
}

// rows reads the tables of COVERAGE.md.
func rows(t *testing.T) []row {
	t.Helper()
	page, err := os.ReadFile(folder + "/COVERAGE.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	for line := range strings.Lines(string(page)) {
		line = strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00")
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(line, "| L") && !strings.HasPrefix(line, "| §") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		r := row{name: cells[1], text: cells[2]}
		for name := range strings.SplitSeq(cells[3], ", ") {
			bare := strings.Trim(name, "`")
			if !strings.HasPrefix(bare, "server/") && !strings.HasPrefix(bare, "client/") || strings.Contains(bare, " ") {
				r.shown, r.reason = nil, cells[3]
				break
			}
			r.shown = append(r.shown, bare)
		}
		out = append(out, r)
	}
	return out
}

// all returns every transcript by side and name.
func all(t *testing.T) map[string]*conformance.Transcript {
	t.Helper()
	out := map[string]*conformance.Transcript{}
	for _, side := range []conformance.Side{conformance.Server, conformance.Client} {
		for _, tr := range load(t, side) {
			out[string(side)+"/"+tr.Name] = tr
		}
	}
	return out
}

// Every law of the engine has its transcripts in COVERAGE.md, all of them, or a
// reason why it cannot be seen from outside.
func TestEveryLawIsShown(t *testing.T) {
	transcripts := all(t)
	table := map[string]row{}
	for _, r := range rows(t) {
		table[r.name] = r
	}
	for n := 1; n <= 14; n++ {
		law := fmt.Sprintf("L%d", n)
		r, ok := table[law]
		if !ok || len(r.shown) == 0 && len(r.reason) < 20 {
			t.Errorf("COVERAGE.md has neither a transcript for %s nor a reason", law)
		}
		var showing []string
		for name, tr := range transcripts {
			if slices.Contains(tr.Laws, law) {
				showing = append(showing, name)
			}
		}
		slices.Sort(showing)
		listed := slices.Sorted(slices.Values(r.shown))
		if !slices.Equal(showing, listed) {
			t.Errorf("%s is shown by %q, and COVERAGE.md lists %q", law, showing, listed)
		}
	}
}

// Every rule of COVERAGE.md stands in PROTOCOL.md word for word, and is shown by
// transcripts which name its section, or not, for a reason. No section and no
// transcript is forgotten.
func TestEveryRuleIsShown(t *testing.T) {
	transcripts, sections := all(t), protocol(t)
	named, ruled := map[string]bool{}, map[string]bool{}
	for _, r := range rows(t) {
		number, ok := strings.CutPrefix(r.name, "§")
		if !ok {
			continue
		}
		ruled[number] = true
		if !strings.Contains(oneLine(sections[number]), oneLine(r.text)) {
			t.Errorf("section %s of PROTOCOL.md does not say %q", number, r.text)
		}
		if len(r.shown) == 0 && !strings.HasPrefix(r.reason, "elsewhere: ") {
			t.Errorf("%q is shown by no transcript, and %q is no reason", r.text, r.reason)
		}
		for _, name := range r.shown {
			named[name] = true
			tr, ok := transcripts[name]
			if !ok {
				t.Errorf("%q is said to be shown by %s, which does not exist", r.text, name)
				continue
			}
			if !slices.ContainsFunc(tr.Laws, func(l string) bool {
				return l == r.name || strings.HasPrefix(l, r.name+" ") || strings.HasPrefix(l, r.name+".")
			}) {
				t.Errorf("%s is said to show a rule of section %s, and names %q", name, number, tr.Laws)
			}
		}
	}
	for n := 2; n <= 13; n++ {
		if !ruled[fmt.Sprint(n)] {
			t.Errorf("COVERAGE.md has no rule of section %d", n)
		}
	}
	for name := range transcripts {
		if !named[name] {
			t.Errorf("COVERAGE.md names no rule that %s shows", name)
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
