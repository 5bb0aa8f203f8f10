package recorder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"slices"
	"sync"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Event is a message that a server has sent about a call, or an event that it
// has stored.
type Event struct {
	// At is when it was seen on the wire, by serverproc.Now.
	At      int64           `json:"at,omitempty"`
	Type    string          `json:"type"`
	ID      string          `json:"id,omitempty"`
	Seq     uint64          `json:"seq,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	From    uint64          `json:"from,omitempty"`
	Keep    uint64          `json:"keep,omitempty"`
	Code    string          `json:"code,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Sum is a hash of data and payload, which are not kept of what was seen on
	// the wire.
	Sum uint64 `json:"sum,omitempty"`
}

// Durable tells whether it is an event that is stored.
func (e *Event) Durable() bool { return e.Seq > 0 && e.Type != "snapshot" && e.Type != "lag" }

// Ends tells whether it is the end of a stored call.
func (e *Event) Ends() bool { return e.Seq > 0 && (e.Type == "result" || e.Type == "error") }

// Hash returns the hash of an event's data and payload; 0 for none.
func (e *Event) Hash() uint64 {
	if len(e.Data)+len(e.Payload) == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(e.Data)
	_, _ = h.Write(e.Payload)
	return h.Sum64()
}

// message is what is read of a server's message.
type message struct {
	Event
	Ref    string  `json:"ref"`
	More   bool    `json:"more"`
	Events []Event `json:"events"`
	Cursor string  `json:"cursor"`
	Calls  []struct {
		ID      string `json:"id"`
		Action  string `json:"action"`
		EndedAt int64  `json:"endedAt"`
	} `json:"calls"`
}

// decode decodes a frame: a message, or a batch of them.
func decode(frame []byte) (out []message, err error) {
	if !bytes.HasPrefix(frame, []byte("[")) {
		frame = slices.Concat([]byte("["), frame, []byte("]"))
	}
	err = json.Unmarshal(frame, &out)
	return out, err
}

// recorded are the types of messages that Wire records.
var recorded = []string{"ack", "chunk", "attempt", "result", "error", "snapshot"}

// Wire records what a server sends on all connections, whether or not it
// arrives. It is safe for concurrent use.
type Wire struct {
	mu         sync.Mutex
	events     []Event
	unreadable int
}

// Events returns what was recorded so far, and how many messages could not be
// read.
func (w *Wire) Events() (events []Event, unreadable int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events), w.unreadable
}

// Add records a frame, and returns the events in it.
func (w *Wire) Add(frame []byte) (out []Event) {
	messages, err := decode(frame)
	at := serverproc.Now()
	add := func(e *Event, id string) {
		e.At, e.ID, e.Sum = at, id, e.Hash()
		e.Data, e.Payload = nil, nil
		out = append(out, *e)
	}
	for i := range messages {
		m := &messages[i]
		if m.ID != "" && slices.Contains(recorded, m.Type) {
			add(&m.Event, m.ID)
		}
		for j := range m.Events {
			add(&m.Events[j], m.ID)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, out...)
	if err != nil {
		w.unreadable++
	}
	return out
}

// Listen reads what a server sends on one connection, records it, and calls pass
// with all bytes and the events that are complete with them. It returns when the
// connection has ended or pass fails.
func (w *Wire) Listen(from io.Reader, pass func(raw []byte, events []Event) error) error {
	err := readFrames(from, func(raw, text []byte) error {
		if text == nil {
			return pass(raw, nil)
		}
		return pass(raw, w.Add(text))
	})
	if errors.Is(err, errFrame) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.unreadable++
	}
	return err
}

// Bounds of what a server may send: a handshake's response, and twice what the
// protocol allows for a message.
const (
	maxResponse = 64 << 10
	maxMessage  = 256 << 10
)

var errFrame = errors.New("not what a server of ours sends")

// readFrames reads the response to a handshake and then WebSocket frames without
// masks and extensions. It calls pass with all bytes, piece by piece, and with
// the text message that a piece completes.
func readFrames(from io.Reader, pass func(raw, text []byte) error) error {
	r := bufio.NewReaderSize(from, 32<<10)
	var raw, message []byte
	read := func(n int) error { // appends n bytes to raw
		at := len(raw)
		raw = append(raw, make([]byte, n)...)
		got, err := io.ReadFull(r, raw[at:])
		raw = raw[:at+got]
		return err
	}
	for !bytes.HasSuffix(raw, []byte("\r\n\r\n")) && len(raw) < maxResponse {
		if err := read(1); err != nil {
			return errors.Join(err, pass(raw, nil))
		}
	}
	if err := pass(raw, nil); err != nil {
		return err
	}
	if !bytes.HasPrefix(raw, []byte("HTTP/1.1 101 ")) {
		return errFrame
	}
	isText := false
	for {
		raw = raw[:0]
		body, err := readFrame(read, &raw, len(message))
		if err != nil {
			return errors.Join(err, pass(raw, nil))
		}
		final, opcode := raw[0]&0x80 != 0, raw[0]&0x0f
		var whole []byte
		if opcode < 8 { // others are control frames, which may lie between fragments
			if opcode != 0 {
				isText, message = opcode == 1, message[:0]
			}
			message = append(message, body...)
			if final && isText {
				whole = append([]byte{}, message...)
			}
			if final {
				message = message[:0]
			}
		}
		if err := pass(raw, whole); err != nil {
			return err
		}
	}
}

// readFrame reads a frame into raw, and returns its body. The message that it
// continues has so many bytes already.
func readFrame(read func(int) error, raw *[]byte, already int) ([]byte, error) {
	if err := read(2); err != nil {
		return nil, err
	}
	size := int((*raw)[1] & 0x7f)
	switch size {
	case 126:
		if err := read(2); err != nil {
			return nil, err
		}
		size = int(binary.BigEndian.Uint16((*raw)[2:]))
	case 127:
		if err := read(8); err != nil {
			return nil, err
		}
		size = int(min(binary.BigEndian.Uint64((*raw)[2:]), maxMessage+1))
	}
	head := len(*raw)
	if (*raw)[1]&0x80 != 0 || size+already > maxMessage {
		return nil, errFrame
	}
	err := read(size)
	return (*raw)[head:], err
}
