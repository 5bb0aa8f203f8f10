package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// Template is a request without its id.
type Template struct{ head, tail []byte }

// NewTemplate returns a template of a request, whose mode "" is left out. The
// payload must not look like a message itself.
func NewTemplate(action, mode string, payload any) (Template, error) {
	encoded, err := json.Marshal(payload)
	if mode != "" {
		mode = `,"mode":"` + mode + `"`
	}
	tail := `","action":"` + action + `"` + mode + `,"payload":` + string(encoded) + `}`
	return Template{head: []byte(`{"type":"request","id":"`), tail: []byte(tail)}, err
}

// Size is the size of a request, in bytes.
func (t *Template) Size() int { return len(t.head) + idSize + len(t.tail) }

const (
	idSize = 36
	// slotAt is where in an id its slot stands, in four hexadecimal digits.
	slotAt = 24
	// noSlot is the slot of a message without an id.
	noSlot = 1<<16 - 1
)

// append appends the request with an id that is unique as long as a connection
// sends fewer than 2^32: a UUIDv7 of this moment, as clients make them, with the
// number of the connection (24 bits), the slot and a count for random bits.
func (t *Template) append(b []byte, number uint32, slot uint16, count uint32) []byte {
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], uint64(time.Now().UnixMilli())<<16|0x7000|uint64(number>>12&0xfff))
	binary.BigEndian.PutUint16(u[8:], 0x8000|uint16(number&0xfff))
	binary.BigEndian.PutUint16(u[10:], slot)
	binary.BigEndian.PutUint32(u[12:], count)
	b = append(b, t.head...)
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return append(b, t.tail...)
}

// Request returns a request with an id of its own.
func (t *Template) Request() []byte { return t.append(nil, connections.Add(1), 0, 0) }

// Answer is a message from a server, as far as a load looks into it.
type Answer struct {
	// Type is the message's. A bare echo's is "request".
	Type []byte
	// Slot is the slot of the request that it is about.
	Slot uint16
	// Body is the message.
	Body []byte
}

var (
	typeKey = []byte(`{"type":"`)
	idKey   = []byte(`"id":"`)
)

// Answers finds the messages in a frame. It does not parse JSON: it looks for
// the beginnings of messages, which no payload of a benchmark holds.
func Answers(frame []byte) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		at := bytes.Index(frame, typeKey)
		for at >= 0 {
			body, next := frame[at:], bytes.Index(frame[at+1:], typeKey)
			if next >= 0 {
				next += at + 1
				body = frame[at:next]
			}
			kind, _, _ := bytes.Cut(body[len(typeKey):], []byte{'"'})
			if !yield(Answer{Type: kind, Slot: slotOf(body), Body: body}) {
				return
			}
			at = next
		}
	}
}

func requestID(body []byte) []byte {
	_, rest, _ := bytes.Cut(body, idKey)
	return rest[:min(idSize, len(rest))/idSize*idSize]
}

func slotOf(body []byte) uint16 {
	var slot [2]byte
	if id := requestID(body); len(id) == 0 {
		return noSlot
	} else if _, err := hex.Decode(slot[:], id[slotAt:slotAt+4]); err != nil {
		return noSlot
	}
	return binary.BigEndian.Uint16(slot[:])
}

// Number returns the number behind a key of a message, as in "payload":123 or
// "message":"123"; 0 if there is none.
func (a *Answer) Number(key string) int64 {
	_, rest, _ := bytes.Cut(a.Body, []byte(`"`+key+`":`))
	return leadingNumber(bytes.TrimPrefix(rest, []byte{'"'}))
}

func leadingNumber(text []byte) (n int64) {
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			break
		}
		n = 10*n + int64(digit-'0')
	}
	return n
}

// ID returns the id of the request that a message is about; empty: none.
func (a *Answer) ID() string { return string(requestID(a.Body)) }

// IsLast reports whether a message is the last about its request. It returns an
// error if the server answers with one, or with what no load asks for.
func (a *Answer) IsLast() (bool, error) {
	switch string(a.Type) {
	case "result", "request":
		return true, nil
	case "error", "closing", "lag":
		return false, fmt.Errorf("the server answered %.300s", a.Body)
	}
	return false, nil
}

// Requests is load by requests on WebSockets.
type Requests struct {
	Conns    []*Conn
	Template Template
	// Pickup measures until the handler began, whose time in Unix nanoseconds is
	// the payload of the result. Default: until the result came.
	Pickup bool
	// Each is called with the id of each request that ended. Nil: none is.
	Each func(id string)
}

// Run has a driver make the requests. Its slots are spread over the
// connections. After an error the connections are of no more use.
func (r *Requests) Run(ctx context.Context, d *Driver) (*Result, error) {
	d.Send = func(slot int) { r.Conns[slot%len(r.Conns)].queue(&r.Template, slot) }
	d.Flush = func() {
		for _, c := range r.Conns {
			if err := c.flush(); err != nil {
				d.Fail(err)
			}
		}
	}
	for _, c := range r.Conns {
		d.Receivers = append(d.Receivers, func() { r.readAnswers(c, d) })
	}
	d.Stop = func() { r.setDeadline(time.Now()) }
	result, err := d.Run(ctx)
	r.setDeadline(time.Time{})
	return result, err
}

func (r *Requests) setDeadline(t time.Time) {
	for _, c := range r.Conns {
		_ = c.tcp.SetDeadline(t)
	}
}

// readAnswers takes answers until the connection's deadline.
func (r *Requests) readAnswers(c *Conn, d *Driver) {
	for {
		// What has come is taken before anything is sent.
		if !c.waiting() {
			if err := c.flush(); err != nil {
				d.Fail(err)
				return
			}
		}
		frame, err := c.readFrame()
		if err != nil {
			d.Fail(err) // unless it has ended
			return
		}
		at := time.Now().UnixNano()
		for a := range Answers(frame) {
			ended, err := a.IsLast()
			switch {
			case err != nil:
				d.Fail(err)
				return
			case string(a.Type) == "ack":
				d.Acked(int(a.Slot), at)
			case ended:
				if r.Each != nil {
					r.Each(a.ID())
				}
				endedAt := at
				if r.Pickup {
					endedAt = a.Number("payload")
				}
				if !d.Ended(int(a.Slot), endedAt) {
					d.Fail(fmt.Errorf("the server answered what was not asked: %s", a.Type))
					return
				}
			}
		}
	}
}
