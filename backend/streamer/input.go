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

// decoder returns a function that decodes payloads into an In. Its errors are
// *Error with code invalid_payload; of the payload they contain only the names on
// the path to the wrong value.
func decoder[In any](s *schema.Type) func(payload []byte) (any, error) {
	if s.IsRaw() {
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
		if err := unmarshal(clean, &in, s.HoldsInterfaces()); err != nil {
			return nil, err
		}
		return in, nil
	}
}

// unmarshal decodes. Methods of the In, and of the errors that they return, may
// panic.
func unmarshal(data []byte, into any, numbers bool) (err error) {
	defer func() {
		if recover() != nil {
			err = refused(nil)
		}
	}()
	if !numbers {
		err = json.Unmarshal(data, into)
	} else {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err = d.Decode(into)
	}
	if err != nil {
		return refused(err)
	}
	return nil
}

// refused returns the error for a value that the schema accepts and a type's own
// method refuses. The text of an *Error is for the caller; any other text may
// contain the payload and is left out.
func refused(err error) error {
	out := &core.Error{Code: core.CodeInvalidPayload, Message: "a value breaks the rules of its type"}
	if own, ok := errors.AsType[*core.Error](err); ok && own != nil {
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
