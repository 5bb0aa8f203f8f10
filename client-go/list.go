package client

import (
	"context"
	"iter"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// ListFilter says which calls are listed. Its zero value lists all.
type ListFilter struct {
	// Status lists only calls in this state.
	Status Status
	// Action lists only calls of this action.
	Action string
	// PageSize is how many calls are fetched at a time, 1 to 100. Default 50.
	PageSize int
}

// CallInfo is a call in a list.
type CallInfo struct {
	ID        string
	Action    string
	Status    Status
	Attempt   int
	CreatedAt time.Time
	// EndedAt is zero while the call goes on.
	EndedAt time.Time
	// Due is when a queued call may start, if that is later.
	Due     time.Time
	LastSeq uint64
	// Code is the error code of a call that failed.
	Code string
	// Percent is the newest progress; 0 if there was none.
	Percent         float64
	CancelRequested bool
}

// List returns the caller's own stored calls, newest first. Pages are fetched
// as they are needed. An error ends the list.
func List(ctx context.Context, c *Client, filter ListFilter) iter.Seq2[CallInfo, error] {
	return func(yield func(CallInfo, error) bool) {
		m := wire.ClientMessage{Status: string(filter.Status), Action: filter.Action, Limit: filter.PageSize}
		if err := checkFilter(&m); err != nil {
			yield(CallInfo{}, err)
			return
		}
		for {
			now := c.lockMachine()
			reply := c.machine.List(now, m)
			c.unlockMachine()
			if err := c.awaitReply(ctx, reply, ""); err != nil {
				yield(CallInfo{}, err)
				return
			}
			for i := range reply.Calls {
				if !yield(infoOf(&reply.Calls[i]), nil) {
					return
				}
			}
			if m.Cursor = reply.Cursor; m.Cursor == "" {
				return
			}
		}
	}
}

func checkFilter(m *wire.ClientMessage) error {
	switch Status(m.Status) {
	case StatusUnknown, StatusQueued, StatusRunning, StatusSucceeded, StatusFailed, StatusCancelled:
	default:
		return invalidRequest("status", "the status is none that a call can have")
	}
	switch {
	case m.Action != "" && !wire.ValidAction(m.Action):
		return invalidRequest("action", "the action's name is none that an action can have")
	case m.Limit < 0 || m.Limit > wire.MaxList:
		return invalidRequest("limit", "a page holds 1 to 100 calls")
	}
	return nil
}

func infoOf(s *wire.Summary) CallInfo {
	info := CallInfo{
		ID: s.ID, Action: s.Action, Status: Status(s.Status), Attempt: s.Attempt, LastSeq: s.LastSeq, Code: s.Code,
		CreatedAt: timeOf(s.CreatedAt), EndedAt: timeOf(s.EndedAt), Due: timeOf(s.Due), CancelRequested: s.CancelRequested,
	}
	if s.Percent != nil {
		info.Percent = *s.Percent
	}
	return info
}
