package client

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/session"
)

// follower is one who follows a call, without the types.
type follower struct {
	c    *Client
	call *session.Call
	// reading tells that somebody ranges over the events. The client's lock
	// guards it.
	reading bool
	hurried bool
}

// submit sends a request.
func (c *Client) submit(r *session.Request) (*follower, error) {
	now := c.enter()
	defer c.leave()
	call, err := c.machine.Submit(now, r)
	if err != nil {
		return nil, errorOf(err, r.ID)
	}
	return &follower{c: c, call: call}, nil
}

// attach follows a call by its id.
func (c *Client) attach(id string, skip bool) (*follower, error) {
	now := c.enter()
	defer c.leave()
	call, err := c.machine.Attach(now, id, skip)
	if err != nil {
		return nil, errorOf(err, id)
	}
	return &follower{c: c, call: call}, nil
}

func (f *follower) id() string {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.call.ID()
}

var errReading = errors.New("the call's events are being read already: one reader at a time")

// begin claims the events for one reader.
func (f *follower) begin() error {
	now := f.c.enter()
	defer f.c.leave()
	if f.reading {
		return errReading
	}
	f.reading = true
	f.c.machine.SetReading(now, f.call, true)
	return nil
}

// finish gives the events free again.
func (f *follower) finish() {
	now := f.c.enter()
	defer f.c.leave()
	f.reading = false
	f.c.machine.SetReading(now, f.call, false)
}

// next returns the next event. After the end it returns the end again.
func (f *follower) next(ctx context.Context) (follow.Event, error) {
	for {
		now := f.c.enter()
		if f.call.Reader.EndTaken() {
			end := *f.call.Reader.End()
			f.c.leave()
			return end, nil
		}
		e, ok := f.c.machine.NextEvent(now, f.call)
		if ok {
			f.c.leave()
			return e, nil
		}
		changed := f.call.Signal.Changed()
		f.c.leave()
		select {
		case <-changed:
		case <-ctx.Done():
			return follow.Event{}, ctx.Err()
		}
	}
}

// until waits until a condition holds, which is asked under the lock.
func (f *follower) until(ctx context.Context, holds func() bool) error {
	for {
		f.c.mu.Lock()
		if holds() {
			f.c.mu.Unlock()
			return nil
		}
		changed := f.call.Signal.Changed()
		f.c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end waits for the end of the call, whether or not the events are read.
func (f *follower) end(ctx context.Context) (*follow.Event, error) {
	now := f.c.enter()
	if !f.hurried {
		f.hurried = true
		f.c.machine.WaitEnd(now, f.call)
	}
	f.c.leave()
	var end *follow.Event
	err := f.until(ctx, func() bool {
		end = f.call.Reader.End()
		return end != nil
	})
	return end, err
}

// detach stops following. sent tells whether the request had been sent.
func (f *follower) detach() (id string, sent bool) {
	now := f.c.enter()
	defer f.c.leave()
	id, sent = f.call.ID(), f.call.RequestSent()
	f.c.machine.Detach(now, f.call)
	return id, sent
}

// cancel asks for the call to be cancelled and waits for the answer.
func (f *follower) cancel(ctx context.Context) error {
	now := f.c.enter()
	reply := f.c.machine.Cancel(now, f.call)
	f.c.leave()
	return f.c.await(ctx, reply, f.id())
}

// await waits for a reply.
func (c *Client) await(ctx context.Context, reply *session.Reply, id string) error {
	for {
		c.mu.Lock()
		if reply.Done {
			err := reply.Err
			c.mu.Unlock()
			if err != nil {
				return errorOf(err, id)
			}
			return nil
		}
		changed := reply.Signal.Changed()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			c.enter()
			c.machine.DropReply(reply)
			c.leave()
			return ctx.Err()
		}
	}
}
