package streamer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// encoder is a reusable encoder with its buffer.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

// maxPooled is the largest buffer, in bytes, that is kept for the next use.
const maxPooled = 64 << 10

// encode writes v as JSON, without escapes for HTML and without a final line
// feed. The bytes of a json.RawMessage are copied unchanged. What cannot be
// written, or could not be read by clients, is an error with code
// not_encodable; JSON longer than limit bytes is an error with code tooLarge.
func encode(v any, what string, limit int, tooLarge string) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		switch {
		case raw == nil:
			raw = json.RawMessage("null")
		case len(raw) > limit:
			return nil, oversized(what, len(raw), limit, tooLarge)
		case !json.Valid(raw):
			return nil, notEncodable(what, errors.New("the json.RawMessage holds no JSON"))
		}
		return accepted(raw, what)
	}
	e, _ := encoders.Get().(*encoder)
	e.buf.Reset()
	if err := e.enc.Encode(v); err != nil {
		return nil, notEncodable(what, err) // the encoder does not go back to the pool: it keeps its first error
	}
	text := bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))
	if len(text) > limit {
		return nil, oversized(what, len(text), limit, tooLarge)
	}
	out, err := accepted(text, what)
	if e.buf.Cap() <= maxPooled {
		encoders.Put(e)
	}
	return out, err
}

// accepted returns a copy of JSON that clients can read. encoding/json does not
// check that a nested json.RawMessage or MarshalJSON returns UTF-8, and a client
// closes the connection on a frame that is not UTF-8.
func accepted(text []byte, what string) (json.RawMessage, error) {
	switch {
	case !utf8.Valid(text):
		return nil, notEncodable(what, errors.New("it is not UTF-8"))
	case tooDeep(text):
		return nil, notEncodable(what, fmt.Errorf("it is nested deeper than %d", core.MaxOutputDepth))
	}
	return bytes.Clone(text), nil // the array is its author's, or the pool's
}

// tooDeep reports whether JSON is nested deeper than core.MaxOutputDepth.
func tooDeep(text []byte) bool {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= core.MaxOutputDepth {
		return false // nearly always
	}
	depth, inside := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{' || c == '[':
			if depth++; depth > core.MaxOutputDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func notEncodable(what string, err error) error {
	return &core.Error{Code: core.CodeNotEncodable, Message: "the " + what + " cannot be written as JSON", Cause: err}
}

func oversized(what string, size, limit int, code string) error {
	return Errorf(code, "the %s has %d bytes, at most %d are allowed", what, size, limit)
}
