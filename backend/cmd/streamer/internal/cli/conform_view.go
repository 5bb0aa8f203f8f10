package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
)

// conformView shows the outcomes of transcripts. The suite makes one call at a
// time.
type conformView struct {
	app  *App
	json bool

	screen  *screen
	since   time.Time
	total   int
	done    int
	playing []string
	lacks   map[conformance.Ability]int
	err     error // the first error of writing to standard output
}

// printList prints what there is to play.
func (v *conformView) printList(all []*conformance.Transcript) error {
	st := v.app.outStyle()
	for _, t := range all {
		var line string
		if v.json {
			line = toJSONLine(struct {
				Transcript string                `json:"transcript"`
				Tests      conformance.Side      `json:"tests"`
				Shows      string                `json:"shows"`
				Covers     []string              `json:"covers"`
				Needs      []conformance.Ability `json:"needs"`
				WaitMs     int64                 `json:"waitMs"`
			}{t.Name, t.Tests, t.Summary, t.Covers, append([]conformance.Ability{}, t.Needs...), t.Waits().Milliseconds()})
		} else {
			line = st.bold(t.Name)
			if len(t.Needs) > 0 {
				line += st.yellow("  needs " + joinAbilities(t.Needs))
			}
			line += "\n    " + clean(t.Summary) + "\n"
		}
		if _, err := v.app.Stdout.Write([]byte(line)); err != nil {
			return outputFailure(err)
		}
	}
	return nil
}

func toJSONLine(v any) string {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // the structs here can always be encoded
	}
	return string(line) + "\n"
}

// start shows the status line, on a terminal.
func (v *conformView) start(total int) {
	v.total, v.since, v.lacks = total, v.app.Now(), map[conformance.Ability]int{}
	v.screen = newScreen(v.app, false)
	v.screen.start("conform", v.since)
}

func (v *conformView) started(t *conformance.Transcript) {
	v.playing = append(v.playing, t.Name)
	v.progress()
}

func (v *conformView) progress() {
	percent, message := 100*float64(v.done)/float64(max(1, v.total)), strings.Join(v.playing, ", ")
	v.screen.update(func(s *status) { s.percent, s.message = percent, message })
}

// ended prints one line, and the events that led to a failure.
func (v *conformView) ended(e *conformance.Entry) {
	v.done++
	v.playing = slices.DeleteFunc(v.playing, func(name string) bool { return name == e.Transcript.Name })
	v.progress()
	for _, a := range e.Lacks() {
		v.lacks[a]++
	}
	line := v.entryText(e)
	if v.json {
		line = toJSONLine(entryJSON(e))
	}
	v.err = cmp.Or(v.err, v.screen.output(line))
}

func (v *conformView) entryText(e *conformance.Entry) string {
	st := v.app.outStyle()
	name, took := e.Transcript.Name, "  "+st.dim(formatDuration(e.Took))
	switch e.Outcome {
	case conformance.Passed:
		return st.green("✓") + " " + name + took + "\n"
	case conformance.Known:
		return st.yellow("✗") + " " + name + took + "  " + st.yellow("a known failure: ") + clean(reason(e)) + "\n"
	case conformance.NotPlayed:
		return st.yellow("-") + " " + name + "  " + st.yellow("not played: "+reason(e)) + "\n"
	case conformance.Failed:
	}
	text := st.red("✗ "+name) + took + "\n"
	for line := range strings.Lines(strings.TrimRight(e.Err.Error(), "\n")) {
		text += "    " + clean(strings.TrimRight(line, "\n")) + "\n"
	}
	return text
}

// reason returns in a line why a transcript did not pass.
func reason(e *conformance.Entry) string {
	if lacks := e.Lacks(); len(lacks) > 0 {
		return "the " + string(e.Transcript.Tests) + " lacks " + joinAbilities(lacks)
	}
	if known, ok := e.Err.(*conformance.KnownFailure); ok { //nolint:errorlint // the suite does not wrap it
		return known.Reason
	}
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func joinAbilities(list []conformance.Ability) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = string(a)
	}
	return strings.Join(texts, ", ")
}

// conformEntry is a transcript as --json prints it.
type conformEntry struct {
	Transcript string                `json:"transcript"`
	Outcome    conformance.Outcome   `json:"outcome"`
	Ms         int64                 `json:"ms"`
	Lacks      []conformance.Ability `json:"lacks,omitempty"`
	Reason     string                `json:"reason,omitempty"`
}

func entryJSON(e *conformance.Entry) conformEntry {
	return conformEntry{e.Transcript.Name, e.Outcome, e.Took.Milliseconds(), e.Lacks(), reason(e)}
}

// verdict prints the counts, in one line.
func (v *conformView) verdict(c *conformance.Verdict) error {
	v.screen.close()
	if v.err != nil {
		return v.err
	}
	if v.json {
		_, err := fmt.Fprint(v.app.Stdout, toJSONLine(struct {
			Verdict *conformance.Verdict        `json:"verdict"`
			OK      bool                        `json:"ok"`
			Lacks   map[conformance.Ability]int `json:"lacks,omitempty"`
			Ms      int64                       `json:"ms"`
		}{c, c.OK(), v.lacks, v.app.Now().Sub(v.since).Milliseconds()}))
		return err
	}
	st := v.app.outStyle()
	word := st.green("conforms")
	if !c.OK() {
		word = st.red("does not conform")
	}
	text := fmt.Sprintf("%s: %d passed, %d failed, %d known failures, %d not played", word, c.Passed, c.Failed, c.Known, c.NotPlayed)
	if len(v.lacks) > 0 {
		var why []string
		for _, a := range slices.Sorted(maps.Keys(v.lacks)) {
			why = append(why, fmt.Sprintf("%s %d", a, v.lacks[a]))
		}
		text += " (lacking " + strings.Join(why, ", ") + ")"
	}
	_, err := fmt.Fprintf(v.app.Stdout, "%s  %s\n", text, st.dim(formatDuration(v.app.Now().Sub(v.since))))
	return err
}
