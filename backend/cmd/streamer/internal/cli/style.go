package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// style is whether there are colours.
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

// status paints a call's status.
func (s style) status(status, text string) string {
	switch status {
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

// clean makes one harmless line of a text from elsewhere: what could move a
// terminal's cursor, or turn its writing around, becomes a visible escape.
func clean(text string) string {
	if !strings.ContainsFunc(text, harmful) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case harmful(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func harmful(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// pretty lays JSON out for people, byte for byte the same values in the same
// order. With flat it stays on one line.
func (s style) pretty(data json.RawMessage, flat bool) string {
	data = bytes.TrimSpace(data) // json.Indent keeps what stands behind the value
	var b bytes.Buffer
	var err error
	if flat {
		err = json.Compact(&b, data)
	} else {
		err = json.Indent(&b, data, "", "  ")
	}
	if err != nil {
		return clean(string(data)) // not JSON: the server breaks the protocol
	}
	return s.json(b.String())
}

// json paints a JSON text. Control characters can stand only in its strings,
// where their escapes mean the same.
func (s style) json(text string) string {
	var b strings.Builder
	for text != "" {
		n := token(text)
		piece := text[:n]
		text = text[n:]
		switch c := piece[0]; {
		case c == '"' && strings.HasPrefix(text, ":"):
			b.WriteString(s.cyan(visible(piece)))
		case c == '"':
			b.WriteString(s.green(visible(piece)))
		case c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z':
			b.WriteString(s.yellow(piece))
		default:
			b.WriteString(piece)
		}
	}
	return b.String()
}

// visible escapes what is harmful in a JSON string.
func visible(text string) string {
	if strings.ContainsFunc(text, harmful) {
		return clean(text)
	}
	return text
}

// token returns how long the first token of a valid JSON text is: a string, a
// literal, or one byte of anything else.
func token(text string) int {
	if text[0] == '"' {
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(text)
	}
	if strings.IndexByte("{}[],: \n", text[0]) >= 0 {
		return 1
	}
	if n := strings.IndexAny(text, "{}[],: \n"); n > 0 {
		return n
	}
	return len(text)
}
