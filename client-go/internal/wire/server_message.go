package wire

import "unicode/utf8"

// TypeUnreadable is the type that a message gets in the client that has a field
// of its own of the wrong type: clients ignore it as they ignore what they do
// not know.
const TypeUnreadable = "?"

// DecodeServerFrame reads a frame from a server: one message, or a batch.
// Unknown fields are ignored; a message without type has an empty Type (a
// gateway's own error). Raw fields point into data. Errors: a frame that is no
// JSON, or too deep.
func DecodeServerFrame(data []byte) ([]ServerMessage, *Error) {
	return AppendServerFrame(nil, data)
}

// AppendServerFrame is DecodeServerFrame into memory that is used again: the
// messages are appended to out.
func AppendServerFrame(out []ServerMessage, data []byte) ([]ServerMessage, *Error) {
	if !utf8.Valid(data) {
		return out, malformed("not UTF-8")
	}
	s := scanner{data: data}
	if s.peek() != '[' {
		out, err := appendOne(out, &s)
		if err == nil {
			err = s.end()
		}
		return out, err
	}
	if err := s.array(); err != nil {
		return out, err
	}
	for {
		more, err := s.more(']')
		if err != nil {
			return out, err
		}
		if !more {
			return out, s.end()
		}
		if out, err = appendOne(out, &s); err != nil {
			return out, err
		}
	}
}

// appendOne reads one message. An error is about the frame.
func appendOne(out []ServerMessage, s *scanner) ([]ServerMessage, *Error) {
	out = append(out, ServerMessage{})
	m := &out[len(out)-1]
	err := m.decode(s, false)
	if err != nil && err.Code != CodeMalformed {
		if m.Type != "" {
			m.Type = TypeUnreadable
		}
		err = nil
	}
	return out, err
}

// decode reads one message; inside tells that it stands inside another one.
// Errors: that the frame is malformed, or that the message is of no use because
// a field that its type has was of the wrong type. Then it was read to its end.
func (m *ServerMessage) decode(s *scanner, inside bool) *Error {
	if err := s.object(); err != nil {
		return err
	}
	var bad uint64
	var why *Error
	for {
		more, err := s.more('}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		bit, err := m.field(s, key, inside)
		if err != nil && err.Code == CodeMalformed {
			return err
		}
		if err != nil {
			bad, why = bad|bit, err
		}
	}
	if bad&serverForm(m.Type) != 0 {
		return why
	}
	return nil
}

// decodeEvents reads the messages inside a snapshot. One that is of no use makes
// all of them so: a page with a hole in it is no page.
func decodeEvents(s *scanner) (out []ServerMessage, why *Error) {
	if err := s.array(); err != nil {
		return nil, err
	}
	for {
		more, err := s.more(']')
		if err != nil {
			return out, err
		}
		if !more {
			return out, why
		}
		out = append(out, ServerMessage{})
		err = out[len(out)-1].decode(s, true)
		if err != nil && err.Code == CodeMalformed {
			return out, err
		}
		if err != nil {
			why = err
		}
	}
}
