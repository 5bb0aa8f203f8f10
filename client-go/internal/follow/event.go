// Package follow is the protocol logic of following one call: positions, holes,
// pages, void chunks, the end. It is a state machine without sockets, clocks
// or goroutines: every input carries the time, and what is to be sent is asked
// for with [Stream.Want]. Nothing in it is safe for concurrent use.
package follow

import (
	"bytes"
	"encoding/json"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Kind is what an event is.
type Kind uint8

// Kinds of events that a reader is handed.
const (
	Chunk Kind = iota + 1
	AttemptMark
	Progress
	End
	ack
)

// Event is what a reader is handed.
type Event struct {
	Kind Kind
	// Seq is 0 for progress and for the end of an inline call.
	Seq uint64
	// Attempt is whose chunk or progress, or which attempt begins.
	Attempt int
	// Data is a chunk's data, or the payload of a result.
	Data json.RawMessage
	// Code says why the attempt before a mark ended.
	Code string
	// Void is how many of the chunks that this reader was handed, counted from
	// the last, a mark makes void.
	Discarded int
	// Restart tells that a mark stands for a new history: all before is void.
	Restart bool
	// Err is why the call failed; nil at the end of one that succeeded.
	Err *wire.ServerMessage
	// Progress is set when Kind is Progress.
	Progress wire.Progress

	from, keep uint64
}

// first is the first seq that the event stands for.
func (e *Event) firstSeq() uint64 {
	if e.Kind == AttemptMark && e.from != 0 && e.from < e.Seq {
		return e.from
	}
	return e.Seq
}

// overhead is what an event is taken to hold beside its data, in bytes.
const overhead = 160

func (e *Event) memorySize() int { return overhead + len(e.Data) }

// own makes the event independent of the frame that it was read from.
func (e *Event) cloneData() {
	e.Data = bytes.Clone(e.Data)
	if e.Err != nil {
		m := *e.Err
		m.Details = bytes.Clone(m.Details)
		e.Err = &m
	}
}

// eventOf reads a durable event, or an inline end; ok is false for anything
// else. The event's data still belong to the frame.
func eventOf(m *wire.ServerMessage) (e Event, ok bool) {
	e = Event{Seq: m.Seq, Attempt: m.Attempt}
	switch m.Type {
	case wire.TypeAck:
		e.Kind = ack
	case wire.TypeChunk:
		e.Kind, e.Data = Chunk, m.Data
	case wire.TypeAttempt:
		e.Kind, e.Code, e.keep, e.from = AttemptMark, m.Code, m.Keep, m.From
	case wire.TypeResult:
		e.Kind, e.Data = End, m.Payload
	case wire.TypeError:
		e.Kind, e.Err = End, m
	default:
		return e, false
	}
	return e, e.Seq > 0 || e.Kind == End
}
