package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Kind is the kind of an event.
type Kind uint8

// Kinds of events. Ack, result and error are derived from the state and the
// end; chunks and attempt marks are stored in segments.
const (
	Ack Kind = iota + 1
	Chunk
	Attempt
	Result
	Error
)

// Event is one durable event of a request.
type Event struct {
	Kind Kind
	Seq  uint64
	// Attempt is the attempt of a chunk, or the one that a mark begins.
	Attempt int
	// Data is the payload of a chunk or a result, or the details of an error.
	Data []byte
	// Keep, From and Code are of a mark; Code, Message and Retryable of an error.
	Keep, From uint64
	Code       string
	Message    string
	Retryable  bool
}

// First is the first seq that the event covers: a mark's From, else Seq.
func (e *Event) First() uint64 {
	if e.Kind == Attempt && e.From != 0 {
		return e.From
	}
	return e.Seq
}

// Event returns the mark as an event.
func (m *AttemptMark) Event() Event {
	return Event{Kind: Attempt, Seq: m.Seq, Attempt: m.Attempt, Keep: m.Keep, From: m.From, Code: m.Code}
}

// Event returns the end as the event with the given seq.
func (e *End) Event(seq uint64) Event {
	if e.Status == Succeeded {
		return Event{Kind: Result, Seq: seq, Data: e.Payload}
	}
	return Event{Kind: Error, Seq: seq, Code: e.Code, Message: e.Message, Retryable: e.Retryable, Data: e.Payload}
}

// Segment is a run of events, written once. First is its first event's First:
// an attempt's first segment begins with the attempt's mark, and so covers
// what the mark discarded. At a position p, the segment that counts is the one
// of the highest fence with First ≤ p+1 ≤ Last ≤ State.LastSeq.
type Segment struct {
	First, Last uint64
	Events      []Event
}

// Hash returns the hash by which a repeated request is recognised: SHA-256 of
// the action, a zero byte and the payload.
func Hash(action string, payload []byte) (sum [32]byte) {
	h := sha256.New()
	_, _ = h.Write([]byte(action))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

// AppendEvents appends events in the encoding of stored segments: for each its
// kind, then its fields as varints and length-prefixed bytes.
func AppendEvents(b []byte, events []Event) []byte {
	for i := range events {
		e := &events[i]
		b = append(b, byte(e.Kind))
		b = binary.AppendUvarint(b, e.Seq)
		b = binary.AppendUvarint(b, uint64(e.Attempt))
		if e.Kind == Attempt {
			b = binary.AppendUvarint(b, e.Keep)
			b = binary.AppendUvarint(b, e.From)
			b = binary.AppendUvarint(b, uint64(len(e.Code)))
			b = append(b, e.Code...)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
	}
	return b
}

var errSegment = errors.New("a stored segment is damaged")

// DecodeEvents decodes what AppendEvents wrote. The data of the events are
// slices of b.
func DecodeEvents(b []byte) ([]Event, error) {
	var out []Event
	bad := false
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[size:]
		return n
	}
	bytes := func() []byte {
		n := number()
		if n > uint64(len(b)) {
			bad, b = true, nil
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		return v
	}
	for len(b) > 0 {
		e := Event{Kind: Kind(b[0])}
		b = b[1:]
		e.Seq, e.Attempt = number(), int(number())
		switch e.Kind {
		case Attempt:
			e.Keep, e.From, e.Code = number(), number(), string(bytes())
		case Chunk:
			e.Data = bytes()
		default:
			bad = true
		}
		if bad {
			return nil, errSegment
		}
		out = append(out, e)
	}
	return out, nil
}
