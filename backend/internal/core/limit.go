package core

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of size, in bytes of encoded JSON. They are the protocol's.
const (
	MaxChunk        = 64 << 10
	MaxResult       = 96 << 10
	MaxCheckpoint   = 8 << 10
	MaxProgressText = 256
	MaxErrorText    = 4 << 10
	MaxErrorDetails = 16 << 10
	MaxName         = 128
	MaxCode         = 64
)

// MaxOutputDepth is how deep a result or a chunk may be nested: the protocol's 64
// minus at most four levels around it, in a batch of snapshots.
const MaxOutputDepth = 60

// CleanProgress limits a report of progress: percent is clamped to 0..100, the text
// becomes valid UTF-8 of at most MaxProgressText bytes, cut at a character. It
// returns false for a NaN: such a report is ignored.
func CleanProgress(percent float64, text string) (float64, string, bool) {
	if math.IsNaN(percent) {
		return 0, "", false
	}
	return min(max(percent, 0), 100), CutText(text, MaxProgressText), true
}

// CutText makes a text valid UTF-8 of at most limit bytes, cut at a character.
func CutText(text string, limit int) string {
	if len(text) > 4*limit {
		text = text[:4*limit] // bounds the cost of replacing invalid bytes
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	if len(text) > limit {
		end := limit
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return text
}

// ValidDetails reports whether an error's details can be sent: JSON in UTF-8, of
// at most MaxErrorDetails bytes, nested at most MaxOutputDepth deep.
func ValidDetails(b json.RawMessage) bool {
	if len(b) > MaxErrorDetails || !utf8.Valid(b) || !json.Valid(b) {
		return false
	}
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxOutputDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

var (
	codeForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	nameForm = regexp.MustCompile(`^[A-Za-z0-9._:/-]+$`)
)

// ValidCode reports whether s can be an error's code: snake_case, beginning with
// a letter, 1 to MaxCode characters.
func ValidCode(s string) bool { return len(s) <= MaxCode && codeForm.MatchString(s) }

// ValidName reports whether s can be an action's name: 1 to MaxName bytes of
// letters, digits and ._:/-.
func ValidName(s string) bool { return len(s) <= MaxName && nameForm.MatchString(s) }
