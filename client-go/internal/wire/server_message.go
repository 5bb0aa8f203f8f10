package wire

import (
	"strconv"
	"unicode/utf8"
)

// Append appends the message as JSON. Raw fields are passed on byte for byte.
func (m *ServerMessage) Append(b []byte) []byte {
	w := writer{b: append(b, '{')}
	w.text("type", m.Type)
	w.text("ref", m.Ref)
	w.text("id", m.ID)
	w.text("for", m.For)
	if m.Index != nil {
		w.key("index")
		w.b = strconv.AppendInt(w.b, int64(*m.Index), 10)
	}
	w.integer("seq", int64(m.Seq))
	w.integer("epoch", m.Epoch)
	w.boolean("recovered", m.Recovered)
	w.text("action", m.Action)
	w.text("status", m.Status)
	w.integer("attempt", int64(m.Attempt))
	w.integer("keep", int64(m.Keep))
	w.integer("from", int64(m.From))
	w.integer("rev", int64(m.Rev))
	w.float("percent", m.Percent)
	w.text("code", m.Code)
	w.text("message", m.Message)
	w.boolean("final", m.Final)
	w.boolean("retryable", m.Retryable)
	w.text("field", m.Field)
	w.text("hint", m.Hint)
	w.integer("retryAfterMs", m.RetryAfterMs)
	w.raw("details", m.Details)
	w.raw("data", m.Data)
	w.raw("payload", m.Payload)
	w.integer("lastSeq", int64(m.LastSeq))
	if p := m.Progress; p != nil {
		w.key("progress")
		w.b = p.append(w.b)
	}
	w.integer("due", m.Due)
	if m.CancelRequested {
		w.key("cancelRequested")
		w.b = append(w.b, "true"...)
	}
	if m.Type == TypeSnapshot {
		w.key("events")
		w.b = append(w.b, '[')
		for i := range m.Events {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = m.Events[i].Append(w.b)
		}
		w.b = append(w.b, ']')
	}
	w.boolean("more", m.More)
	if m.Type == TypeCalls {
		w.key("calls")
		w.b = append(w.b, '[')
		for i := range m.Calls {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = m.Calls[i].append(w.b)
		}
		w.b = append(w.b, ']')
	}
	w.text("cursor", m.Cursor)
	w.text("reason", m.Reason)
	w.boolean("reconnect", m.Reconnect)
	w.integer("afterMs", m.AfterMs)
	return append(w.b, '}')
}

func (p *Progress) append(b []byte) []byte {
	w := writer{b: append(b, '{')}
	w.integer("attempt", int64(p.Attempt))
	w.integer("rev", int64(p.Rev))
	w.float("percent", p.Percent)
	w.text("message", p.Message)
	return append(w.b, '}')
}

func (c *Summary) append(b []byte) []byte {
	w := writer{b: append(b, '{')}
	w.text("id", c.ID)
	w.text("action", c.Action)
	w.text("status", c.Status)
	w.key("attempt")
	w.b = strconv.AppendInt(w.b, int64(c.Attempt), 10)
	w.integer("createdAt", c.CreatedAt)
	w.integer("lastSeq", int64(c.LastSeq))
	w.integer("endedAt", c.EndedAt)
	w.integer("due", c.Due)
	w.text("code", c.Code)
	w.float("percent", c.Percent)
	if c.CancelRequested {
		w.key("cancelRequested")
		w.b = append(w.b, "true"...)
	}
	return append(w.b, '}')
}

// TypeUnreadable is the type that a message gets in the client that has a field
// of the wrong type: clients ignore it as they ignore what they do not know.
const TypeUnreadable = "?"

// DecodeServerFrame reads a frame from a server: one message, or a batch.
// Unknown fields are ignored; a message without type has an empty Type (a
// gateway's own error). Raw fields point into data.
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
	one := func(depth int) *Error {
		out = append(out, ServerMessage{})
		m := &out[len(out)-1]
		s.bad = false
		err := s.lenient(decodeServer(&s, depth, m))
		if s.bad && m.Type != "" {
			m.Type = TypeUnreadable
		}
		return err
	}
	var err *Error
	if s.peek() == '[' {
		err = s.array(func(int) *Error { return one(1) })
	} else {
		err = one(0)
	}
	if err == nil {
		err = s.end()
	}
	return out, err
}

// lenient lets pass a value that was read but is not what it should be.
func (s *scanner) lenient(err *Error) *Error {
	if err != nil && err.Code != CodeMalformed {
		s.bad = true
		return nil
	}
	return err
}

func decodeServer(s *scanner, depth int, m *ServerMessage) *Error {
	return s.object(func(key string) (err *Error) {
		switch key {
		case "type":
			m.Type, err = s.word(key)
		case "ref":
			m.Ref, err = s.text(key)
		case "id":
			m.ID, err = s.text(key)
		case "for":
			m.For, err = s.text(key)
		case "index":
			var n int64
			n, err = s.integer(key, 0, MaxSafeInteger)
			i := int(n)
			m.Index = &i
		case "seq":
			m.Seq, err = s.natural(key)
		case "epoch":
			m.Epoch, err = s.integer(key, 0, MaxSafeInteger)
		case "attempt":
			m.Attempt, err = s.small(key)
		case "keep":
			m.Keep, err = s.natural(key)
		case "from":
			m.From, err = s.natural(key)
		case "rev":
			m.Rev, err = s.natural(key)
		case "percent":
			m.Percent, err = s.floatPtr(key)
		case "message":
			m.Message, err = s.text(key)
		case "data":
			m.Data, err = s.raw(depth + 1)
		case "payload":
			m.Payload, err = s.raw(depth + 1)
		case "details":
			m.Details, err = s.raw(depth + 1)
		case "code":
			m.Code, err = s.text(key)
		case "final":
			m.Final, err = s.booleanPtr(key)
		case "retryable":
			m.Retryable, err = s.booleanPtr(key)
		case "field":
			m.Field, err = s.text(key)
		case "hint":
			m.Hint, err = s.text(key)
		case "retryAfterMs":
			m.RetryAfterMs, err = s.integer(key, 0, MaxSafeInteger)
		case "recovered":
			m.Recovered, err = s.booleanPtr(key)
		case "action":
			m.Action, err = s.text(key)
		case "status":
			m.Status, err = s.word(key)
		case "lastSeq":
			m.LastSeq, err = s.natural(key)
		case "progress":
			m.Progress = new(Progress)
			err = decodeProgress(s, depth+1, m.Progress)
		case "due":
			m.Due, err = s.integer(key, 0, MaxSafeInteger)
		case "cancelRequested":
			m.CancelRequested, err = s.boolean(key)
		case "events":
			if depth > 1 {
				return s.skip(depth + 1)
			}
			err = s.array(func(int) *Error {
				m.Events = append(m.Events, ServerMessage{})
				return s.lenient(decodeServer(s, depth+2, &m.Events[len(m.Events)-1]))
			})
		case "more":
			m.More, err = s.booleanPtr(key)
		case "calls":
			err = s.array(func(int) *Error {
				m.Calls = append(m.Calls, Summary{})
				return s.lenient(decodeSummary(s, depth+2, &m.Calls[len(m.Calls)-1]))
			})
		case "cursor":
			m.Cursor, err = s.text(key)
		case "reason":
			m.Reason, err = s.text(key)
		case "reconnect":
			m.Reconnect, err = s.booleanPtr(key)
		case "afterMs":
			m.AfterMs, err = s.integer(key, 0, MaxSafeInteger)
		default:
			err = s.skip(depth + 1)
		}
		return s.lenient(err)
	})
}

func decodeProgress(s *scanner, depth int, p *Progress) *Error {
	return s.object(func(key string) (err *Error) {
		switch key {
		case "attempt":
			p.Attempt, err = s.small(key)
		case "rev":
			p.Rev, err = s.natural(key)
		case "percent":
			p.Percent, err = s.floatPtr(key)
		case "message":
			p.Message, err = s.text(key)
		default:
			err = s.skip(depth + 1)
		}
		return s.lenient(err)
	})
}

func decodeSummary(s *scanner, depth int, c *Summary) *Error {
	return s.object(func(key string) (err *Error) {
		switch key {
		case "id":
			c.ID, err = s.text(key)
		case "action":
			c.Action, err = s.text(key)
		case "status":
			c.Status, err = s.word(key)
		case "attempt":
			c.Attempt, err = s.small(key)
		case "createdAt":
			c.CreatedAt, err = s.integer(key, 0, MaxSafeInteger)
		case "lastSeq":
			c.LastSeq, err = s.natural(key)
		case "endedAt":
			c.EndedAt, err = s.integer(key, 0, MaxSafeInteger)
		case "due":
			c.Due, err = s.integer(key, 0, MaxSafeInteger)
		case "code":
			c.Code, err = s.text(key)
		case "percent":
			c.Percent, err = s.floatPtr(key)
		case "cancelRequested":
			c.CancelRequested, err = s.boolean(key)
		default:
			err = s.skip(depth + 1)
		}
		return s.lenient(err)
	})
}

func (s *scanner) natural(name string) (uint64, *Error) {
	n, err := s.integer(name, 0, MaxSafeInteger)
	return uint64(n), err
}

func (s *scanner) small(name string) (int, *Error) {
	n, err := s.integer(name, 0, 1<<31-1)
	return int(n), err
}

func (s *scanner) floatPtr(name string) (*float64, *Error) {
	f, err := s.float(name)
	return &f, err
}

func (s *scanner) booleanPtr(name string) (*bool, *Error) {
	v, err := s.boolean(name)
	return &v, err
}
