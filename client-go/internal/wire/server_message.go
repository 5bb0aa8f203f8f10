package wire

// TypeUnreadable is the type that the client gives to a message of which a field
// has the wrong type: clients ignore it, as they ignore unknown types.
const TypeUnreadable = "?"

// DecodeServerFrame reads a frame from a server: one message, or a batch.
// Unknown fields are ignored; a message without type has an empty Type (a
// gateway's own error). Raw fields point into data. The error is about the
// frame as a whole: it is not JSON, or nested too deeply.
func DecodeServerFrame(data []byte) ([]ServerMessage, *Error) {
	return AppendServerFrame(nil, data)
}

// AppendServerFrame is DecodeServerFrame with a reusable slice: it appends the
// messages to out.
func AppendServerFrame(out []ServerMessage, data []byte) ([]ServerMessage, *Error) {
	var s scanner
	s.Reset(data, MaxDepth)
	if s.Peek() != '[' {
		out = appendMessage(out, &s)
	} else {
		for more := s.Enter(']'); more; more = s.More(']') {
			out = appendMessage(out, &s)
		}
	}
	return out, s.expectEnd()
}

// appendMessage reads one message.
func appendMessage(out []ServerMessage, s *scanner) []ServerMessage {
	out = append(out, ServerMessage{})
	m := &out[len(out)-1]
	if err := m.decode(s, false); err != nil && m.Type != "" {
		m.Type = TypeUnreadable
	}
	return out
}

// decode reads one message to its end; inside reports that it is inside another
// one. It returns an error if a field of the message's type has a value of the
// wrong type; the message is then unusable.
func (m *ServerMessage) decode(s *scanner, inside bool) *Error {
	if s.Peek() != '{' {
		return s.wrongType("", "an object")
	}
	var bad uint64
	var why *Error
	for more := s.Enter('}'); more; more = s.More('}') {
		if bit, err := m.field(s, s.fieldName(), inside); err != nil {
			bad, why = bad|bit, err
		}
	}
	if bad&serverForm(m.Type) != 0 {
		return why
	}
	return nil
}

// decodeEvents reads the messages inside a snapshot. If one of them is unusable,
// the whole page is: a page with a gap must not count as complete.
func decodeEvents(s *scanner) (out []ServerMessage, why *Error) {
	if s.Peek() != '[' {
		return nil, s.wrongType("", "an array")
	}
	for more := s.Enter(']'); more; more = s.More(']') {
		out = append(out, ServerMessage{})
		if err := out[len(out)-1].decode(s, true); err != nil {
			why = err
		}
	}
	return out, why
}
