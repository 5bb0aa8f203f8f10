package schema

import (
	"strconv"
	"strings"
)

// maxPointer bounds a violation's pointer, in bytes.
const maxPointer = 256

// Violation is the first error in a payload, in the order of its text. It holds
// no values of the payload.
type Violation struct {
	// Pointer is the JSON Pointer (RFC 6901) of the wrong place, at most 256
	// bytes: deeper tokens are omitted.
	Pointer string
	// Text names the rule that was broken.
	Text string
}

func (v *Violation) Error() string {
	if v.Pointer == "" {
		return v.Text
	}
	return v.Pointer + ": " + v.Text
}

// pointer joins tokens that were collected from the inside out.
func pointer(tokens []string) string {
	var b strings.Builder
	for i := len(tokens) - 1; i >= 0; i-- {
		token := strings.ReplaceAll(strings.ReplaceAll(tokens[i], "~", "~0"), "/", "~1")
		if b.Len()+1+len(token) > maxPointer {
			break
		}
		b.WriteByte('/')
		b.WriteString(token)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if rest, ok := strings.CutSuffix(what, "y"); ok {
		return strconv.Itoa(n) + " " + rest + "ies"
	}
	return strconv.Itoa(n) + " " + what + "s"
}
