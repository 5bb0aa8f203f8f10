package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Kind is the type of an [Event].
type Kind uint8

// Kinds of events.
const (
	// KindChunk is a piece of output, in Event.Chunk.
	KindChunk Kind = iota + 1
	// KindProgress is how far the call is, in Event.Progress.
	KindProgress
	// KindAttempt is the start of another attempt, in Event.Attempt.
	KindAttempt
	// KindEnd is the last event; Call.Result returns at once.
	KindEnd
)

var kindNames = map[Kind]string{
	KindChunk: "chunk", KindProgress: "progress", KindAttempt: "attempt", KindEnd: "end",
}

// String returns the kind in lower case.
func (k Kind) String() string { return cmp.Or(kindNames[k], "unknown") }

// Event is an event of a call; C is the type of its chunks.
type Event[C any] struct {
	Kind Kind
	// Seq numbers the durable events of a call, from 1, across all attempts.
	// It is 0 for progress and for the end of a call that was answered inline.
	Seq uint64
	// Chunk is set when Kind is KindChunk.
	Chunk C
	// Progress is set when Kind is KindProgress.
	Progress Progress
	// Attempt is set when Kind is KindAttempt.
	Attempt Attempt
}

// Progress is how far a call is. A reader gets the newest.
type Progress struct {
	// Attempt is the number of the attempt, from 1.
	Attempt int
	// Percent is 0 to 100 and never decreases within an attempt; 0 if the
	// handler has reported none.
	Percent float64
	// Message is the handler's, at most 256 bytes.
	Message string
}

// Attempt says that another attempt of the call has started.
type Attempt struct {
	// Number is the number of the attempt, from 1.
	Number int
	// Discarded is how many of the chunks that this reader got, counted from
	// the last, are discarded: the new attempt sends them again.
	Discarded int
	// Code says why the previous attempt ended, such as [CodeWorkerLost].
	Code string
	// Restarted is true if the server has another history of the call than the
	// one that this reader has read. The call is read again from its start.
	Restarted bool
}

// Status is the state of a call.
type Status string

// States of a call.
const (
	// StatusUnknown means that nothing is known of the call yet.
	StatusUnknown   Status = ""
	StatusQueued    Status = "queued"
	StatusRunning   Status = "running"
	StatusSucceeded Status = "succeeded"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
)

// Ended says whether the call has ended.
func (s Status) Ended() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusCancelled
}

// None is the type of the chunks of actions that send none, and of results
// without information. It accepts any JSON and ignores it.
type None struct{}

// UnmarshalJSON ignores its input.
func (*None) UnmarshalJSON([]byte) error { return nil }

// eventOf converts an event to its typed form.
func eventOf[C any](e *follow.Event) (out Event[C], err error) {
	out.Kind, out.Seq = Kind(e.Kind), e.Seq // both types have the same values
	switch e.Kind {
	case follow.Chunk:
		if err := decodeJSON(e.Data, &out.Chunk); err != nil {
			return out, fmt.Errorf("chunk %d is not of the expected type: %w", e.Seq, err)
		}
	case follow.Progress:
		out.Progress = progressOf(&e.Progress)
	case follow.AttemptMark:
		out.Attempt = attemptOf(e)
	case follow.End:
	}
	return out, nil
}

func attemptOf(e *follow.Event) Attempt {
	return Attempt{Number: e.Attempt, Discarded: e.Discarded, Code: e.Code, Restarted: e.Restart}
}

func progressOf(p *wire.Progress) Progress {
	out := Progress{Attempt: p.Attempt, Message: p.Message}
	if p.Percent != nil {
		out.Percent = *p.Percent
	}
	return out
}

// decodeJSON decodes JSON; a json.RawMessage gets it as it is.
func decodeJSON(data json.RawMessage, into any) error {
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = data
		return nil
	}
	if len(data) == 0 {
		data = json.RawMessage("null")
	}
	return json.Unmarshal(data, into)
}

// timeOf converts a time of the protocol; 0 is the zero time.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
