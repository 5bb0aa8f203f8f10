package client

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// ListFilter selects the calls to list. Its zero value selects all.
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
	// EndedAt is zero if the call has not ended.
	EndedAt time.Time
	// Due is when a queued call may start, if that is later.
	Due     time.Time
	LastSeq uint64
	// Code is the error code of a call that failed.
	Code string
	// Percent is the newest progress; 0 if there is none.
	Percent         float64
	CancelRequested bool
}

// List returns the caller's own stored calls, newest first. Pages are fetched
// when they are needed. An error ends the list.
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
		return invalidRequest("status", "the status must be empty or a status of a call")
	}
	switch {
	case m.Action != "" && !wire.ValidAction(m.Action):
		return invalidRequest("action", fmt.Sprintf("an action's name must have 1 to %d letters, digits and . _ : / -", wire.MaxName))
	case m.Limit < 0 || m.Limit > wire.MaxList:
		return invalidRequest("limit", "PageSize must be between 1 and 100, or 0")
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
