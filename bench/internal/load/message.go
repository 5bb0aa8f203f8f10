package load

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"time"
)

// Template is a request without its id.
type Template struct{ head, tail []byte }

// NewTemplate returns a template. An empty mode is left out. The payload must
// not look like a message itself.
func NewTemplate(action, mode string, payload []byte) Template {
	tail := `","action":"` + action + `"`
	if mode != "" {
		tail += `,"mode":"` + mode + `"`
	}
	tail += `,"payload":` + string(payload) + `}`
	return Template{head: []byte(`{"type":"request","id":"`), tail: []byte(tail)}
}

// Size is the size of a request, in bytes.
func (t *Template) Size() int { return len(t.head) + idSize + len(t.tail) }

const idSize = 36

// slotAt is where in an id its slot stands, in four digits.
const slotAt = 24

// append appends the request with an id that is unique as long as a
// connection sends fewer than 2^32: a UUIDv7 of this moment, as clients make
// them, with the number of the connection (24 bits), the slot and a count for
// random bits.
func (t *Template) append(b []byte, number uint32, slot uint16, count uint32) []byte {
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], uint64(time.Now().UnixMilli())<<16|0x7000|uint64(number>>12&0xfff))
	binary.BigEndian.PutUint16(u[8:], 0x8000|uint16(number&0xfff))
	binary.BigEndian.PutUint16(u[10:], slot)
	binary.BigEndian.PutUint32(u[12:], count)
	return append(AppendID(append(b, t.head...), u), t.tail...)
}

// AppendID appends a UUID's text.
func AppendID(b []byte, u [16]byte) []byte {
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// Request returns a request with an id of its own.
func (t *Template) Request() []byte { return t.append(nil, connections.Add(1), 0, 0) }

// Answer is a message from a server, as far as a load generator looks into it.
type Answer struct {
	// Type is the message's. A bare echo's is "request".
	Type []byte
	// Slot is the request's that it is about.
	Slot uint16
	// Body is the message.
	Body []byte
}

var (
	typeKey = []byte(`{"type":"`)
	idKey   = []byte(`"id":"`)
)

// Answers finds the messages in a frame. It does not read JSON: it looks for
// the beginnings of messages, which no payload of a benchmark holds.
func Answers(frame []byte) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		at := bytes.Index(frame, typeKey)
		for at >= 0 {
			rest := frame[at+len(typeKey):]
			body, next := frame[at:], bytes.Index(rest, typeKey)
			if next >= 0 {
				body = frame[at : at+len(typeKey)+next]
			}
			a := Answer{Body: body}
			a.Type, _, _ = bytes.Cut(rest, []byte{'"'})
			a.Slot = slotOf(body)
			if !yield(a) {
				return
			}
			if next < 0 {
				return
			}
			frame, at = rest[next:], 0
		}
	}
}

// noSlot is the slot of a message without an id.
const noSlot = 1<<16 - 1

func slotOf(body []byte) uint16 {
	at := bytes.Index(body, idKey)
	if at < 0 || len(body) < at+len(idKey)+idSize {
		return noSlot
	}
	var slot [2]byte
	digits := body[at+len(idKey)+slotAt:][:4]
	if _, err := hex.Decode(slot[:], digits); err != nil {
		return noSlot
	}
	return binary.BigEndian.Uint16(slot[:])
}

// Field returns the digits behind a key of a message, as in "payload":123 or
// "message":"123".
func (a *Answer) Field(key string) []byte {
	_, rest, _ := bytes.Cut(a.Body, []byte(`"`+key+`":`))
	rest = bytes.TrimPrefix(rest, []byte{'"'})
	n := 0
	for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
		n++
	}
	return rest[:n]
}

// ID returns the id of the request that a message is about; empty: none.
func (a *Answer) ID() string {
	_, rest, _ := bytes.Cut(a.Body, idKey)
	if len(rest) < idSize {
		return ""
	}
	return string(rest[:idSize])
}

// end tells whether a message is the last about its request.
func (a *Answer) end() (bool, error) {
	switch string(a.Type) {
	case "result", "request":
		return true, nil
	case "error", "closing", "snapshot", "lag":
		return false, errors.New("the server answered " + string(a.Body[:min(len(a.Body), 300)]))
	}
	return false, nil
}
