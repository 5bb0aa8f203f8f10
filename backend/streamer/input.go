package streamer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/core/schema"
)

// decoder returns how payloads become an In. Its errors are *Error with code
// invalid_payload, and hold nothing of the payload but names on the way to what
// was wrong.
func decoder[In any](s *schema.Type) func(payload []byte) (any, error) {
	if s.Raw() {
		return func(payload []byte) (any, error) {
			if len(payload) == 0 {
				payload = []byte("null")
			}
			return json.RawMessage(payload), nil
		}
	}
	return func(payload []byte) (any, error) {
		clean, violation := s.Check(payload)
		if violation != nil {
			return nil, &core.Error{Code: core.CodeInvalidPayload, Message: violation.Text, Field: violation.Pointer}
		}
		var in In
		if err := unmarshal(clean, &in, s.Numbers()); err != nil {
			return nil, refused(err)
		}
		return in, nil
	}
}

var errDecodePanic = errors.New("decoding panicked")

// unmarshal decodes; methods of the In's own may panic.
func unmarshal(data []byte, into any, numbers bool) (err error) {
	defer func() {
		if recover() != nil {
			err = errDecodePanic
		}
	}()
	if !numbers {
		return json.Unmarshal(data, into)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// refused is about what the schema lets pass and a type's own methods do not. A
// text for the caller they give by an *Error; another may hold the payload, and
// is left out.
func refused(err error) error {
	out := &core.Error{Code: core.CodeInvalidPayload, Message: "a value breaks the rules of its type"}
	var own *core.Error
	if errors.As(err, &own) {
		out.Message, out.Details = own.Message, own.Details
	}
	return out
}

// input gives a handler its type back. Middleware may have changed the value,
// but not the type.
func input[In any](in any) (In, error) {
	typed, ok := in.(In)
	if !ok && (in != nil || reflect.TypeFor[In]().Kind() != reflect.Interface) {
		return typed, Permanent(fmt.Errorf("a middleware handed on a %T where the handler takes %v", in, reflect.TypeFor[In]()))
	}
	return typed, nil
}
