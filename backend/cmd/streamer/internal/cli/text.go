package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// style adds colours to text if it is true.
type style bool

func (s style) paint(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.paint("1", text) }
func (s style) dim(text string) string    { return s.paint("2", text) }
func (s style) red(text string) string    { return s.paint("31", text) }
func (s style) green(text string) string  { return s.paint("32", text) }
func (s style) yellow(text string) string { return s.paint("33", text) }
func (s style) cyan(text string) string   { return s.paint("36", text) }

// status colours the status of a call.
func (s style) status(text string) string {
	switch text {
	case "succeeded":
		return s.green(text)
	case "failed":
		return s.red(text)
	case "cancelled":
		return s.yellow(text)
	case "running":
		return s.cyan(text)
	}
	return text
}

// clean makes text from elsewhere safe to print in one line: characters that
// control a terminal or change the direction of writing are escaped.
func clean(text string) string {
	if !strings.ContainsFunc(text, isUnsafe) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case isUnsafe(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// formatJSON indents JSON, or compacts it to one line, and keeps its values and
// their order.
func formatJSON(data json.RawMessage, oneLine bool) string {
	data = bytes.TrimSpace(data) // json.Indent keeps trailing space
	var b bytes.Buffer
	var err error
	if oneLine {
		err = json.Compact(&b, data)
	} else {
		err = json.Indent(&b, data, "", "  ")
	}
	if err != nil {
		return clean(string(data)) // not JSON: the server violates the protocol
	}
	// Unsafe characters can only be in strings, where an escape means the same.
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// truncate cuts a text to at most width columns, and marks the cut.
func truncate(text string, width int) string {
	if width <= 0 {
		return ""
	}
	return runewidth.Truncate(text, width, "…")
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// formatDuration returns a duration in at most about seven columns.
func formatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', -1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// formatAge returns how long ago something was, in its largest unit.
func formatAge(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	text := formatDuration(d.Truncate(time.Second))
	return text[:strings.IndexFunc(text, unicode.IsLetter)+1]
}
