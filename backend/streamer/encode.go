package streamer

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"

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
// feed. The bytes of a json.RawMessage are copied unchanged. What cannot be written is an error
// with code not_encodable; what is larger than limit bytes one with tooLarge.
func encode(v any, what string, limit int, tooLarge string) (json.RawMessage, error) {
	var out json.RawMessage
	if raw, ok := v.(json.RawMessage); ok {
		switch {
		case raw == nil:
			raw = json.RawMessage("null")
		case !json.Valid(raw):
			return nil, notEncodable(what, errors.New("the json.RawMessage holds no JSON"))
		}
		out = bytes.Clone(raw) // its author may use the array again
	} else {
		e, _ := encoders.Get().(*encoder)
		e.buf.Reset()
		if err := e.enc.Encode(v); err != nil {
			// The encoder remembers its error: it does not go back to the pool.
			return nil, notEncodable(what, err)
		}
		if text := e.buf.Bytes(); len(text)-1 <= limit {
			out = bytes.Clone(text[:len(text)-1])
		}
		size := e.buf.Len() - 1
		if e.buf.Cap() <= maxPooled {
			encoders.Put(e)
		}
		if out == nil {
			return nil, oversized(what, size, limit, tooLarge)
		}
	}
	if len(out) > limit {
		return nil, oversized(what, len(out), limit, tooLarge)
	}
	return out, nil
}

func notEncodable(what string, err error) error {
	return &core.Error{Code: core.CodeNotEncodable, Message: "the " + what + " cannot be written as JSON", Cause: err}
}

func oversized(what string, size, limit int, code string) error {
	return Errorf(code, "the %s has %d bytes, at most %d are allowed", what, size, limit)
}
