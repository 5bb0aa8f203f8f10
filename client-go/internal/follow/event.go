// Package follow is the protocol logic of following one call: positions, gaps,
// pages, discarded chunks, the end. It is a state machine without sockets,
// clocks or goroutines: every input carries the time, and [Stream.NextCommand]
// returns what to send. Nothing in it is safe for concurrent use.
package follow

import (
	"bytes"
	"encoding/json"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Kind is the type of an [Event].
type Kind uint8

// Kinds of events, in the order of those of package client.
const (
	Chunk Kind = iota + 1
	Progress
	AttemptMark
	End
	ack
)

// Event is one event of a call, as a reader gets it.
type Event struct {
	Kind Kind
	// Seq is 0 for progress and for the end of an inline call.
	Seq uint64
	// Attempt is the attempt that sent a chunk or progress, or that begins.
	Attempt int
	// Data is a chunk's data, or the payload of a result.
	Data json.RawMessage
	// Code says why the attempt before an AttemptMark ended.
	Code string
	// Discarded is set for an AttemptMark: how many of the chunks that this
	// reader has returned, counted from the last, are discarded.
	Discarded int
	// Restart is true if an AttemptMark begins a new history: everything
	// before it is discarded.
	Restart bool
	// Err says why the call failed; nil if it succeeded.
	Err *wire.ServerMessage
	// Progress is set when Kind is Progress.
	Progress wire.Progress

	from, keep uint64
}

// firstSeq returns the first seq that the event covers.
func (e *Event) firstSeq() uint64 {
	if e.Kind == AttemptMark && e.from != 0 && e.from < e.Seq {
		return e.from
	}
	return e.Seq
}

// overhead is an estimate of the memory of an event without its data, in
// bytes.
const overhead = 160

func (e *Event) memorySize() int { return overhead + len(e.Data) }

// clone returns a copy whose data does not belong to the received frame.
func (e *Event) clone() Event {
	out := *e
	out.Data = bytes.Clone(e.Data)
	if e.Err != nil {
		m := *e.Err
		m.Details = bytes.Clone(m.Details)
		out.Err = &m
	}
	return out
}

// eventOf converts a durable event, or the end of an inline call; ok is false
// for anything else. The data still belongs to the frame.
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
