package deliver

import (
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Message returns an event of a stream as it is sent live; with an empty id,
// as it stands in a snapshot.
func Message(id string, epoch time.Time, e *store.Event) wire.ServerMessage {
	m := wire.ServerMessage{ID: id, Seq: e.Seq}
	switch e.Kind {
	case store.Ack:
		m.Type, m.Epoch = wire.TypeAck, epoch.UnixMilli()
	case store.Chunk:
		m.Type, m.Attempt, m.Data = wire.TypeChunk, e.Attempt, orNull(e.Data)
	case store.Attempt:
		m.Type, m.Attempt, m.Keep, m.From, m.Code = wire.TypeAttempt, e.Attempt, e.Keep, e.From, e.Code
	case store.Result:
		m.Type, m.Payload = wire.TypeResult, orNull(e.Data)
	case store.Error:
		m = wire.ErrorMessage(e.Code, e.Message, true)
		m.ID, m.Seq, m.Details = id, e.Seq, e.Data
		retryable := e.Retryable || wire.Codes[e.Code].Retryable
		m.Retryable = &retryable
	}
	return m
}

func orNull(b []byte) []byte {
	if len(b) == 0 {
		return []byte("null")
	}
	return b
}

// ProgressMessage returns progress as it is sent live.
func ProgressMessage(id string, p *store.Progress) wire.ServerMessage {
	percent := p.Percent
	return wire.ServerMessage{
		Type: wire.TypeProgress, ID: id, Attempt: p.Attempt, Rev: p.Rev, Percent: &percent, Message: p.Message,
	}
}

// SnapshotMessage returns a page of a stream.
func SnapshotMessage(s *store.State, events []store.Event) wire.ServerMessage {
	m := wire.ServerMessage{
		Type: wire.TypeSnapshot, ID: s.ID, Epoch: s.Accepted.UnixMilli(), Action: s.Action, Status: string(s.Status),
		Attempt: s.Attempt, Keep: s.Keep, LastSeq: s.LastSeq, CancelRequested: s.CancelRequested && !s.Status.Ended(),
		Events: make([]wire.ServerMessage, 0, len(events)),
	}
	if s.Status == store.Queued {
		m.Due = s.Due.UnixMilli()
	}
	if p := s.Progress; p != nil {
		percent := p.Percent
		m.Progress = &wire.Progress{Attempt: p.Attempt, Rev: p.Rev, Percent: &percent, Message: p.Message}
	}
	for i := range events {
		m.Events = append(m.Events, Message("", s.Accepted, &events[i]))
	}
	return m
}

// SummaryMessage returns a call as it stands in a list.
func SummaryMessage(s *store.Summary) wire.Summary {
	out := wire.Summary{
		ID: s.ID, Action: s.Action, Status: string(s.Status), Attempt: s.Attempt, CreatedAt: s.Accepted.UnixMilli(),
		LastSeq: s.LastSeq, Code: s.Code, Percent: s.Percent, CancelRequested: s.CancelRequested && !s.Status.Ended(),
	}
	if !s.Ended.IsZero() {
		out.EndedAt = s.Ended.UnixMilli()
	}
	if s.Status == store.Queued && !s.Due.IsZero() {
		out.Due = s.Due.UnixMilli()
	}
	if !s.Status.Ended() {
		out.Code = ""
	}
	return out
}
