package client

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/session"
)

// follower is one who follows a call, without the types.
type subscriber struct {
	client *Client
	call   *session.Call
	// reading tells that somebody ranges over the events. The client's lock
	// guards it.
	reading    bool
	endAwaited bool
}

// submit sends a request.
func (c *Client) submit(r *session.Request) (*subscriber, error) {
	now := c.lockMachine()
	defer c.unlockMachine()
	call, err := c.machine.Submit(now, r)
	if err != nil {
		return nil, errorOf(err, r.ID)
	}
	return &subscriber{client: c, call: call}, nil
}

// attach follows a call by its id.
func (c *Client) attach(id string, endOnly bool) (*subscriber, error) {
	now := c.lockMachine()
	defer c.unlockMachine()
	call, err := c.machine.Attach(now, id, endOnly)
	if err != nil {
		return nil, errorOf(err, id)
	}
	return &subscriber{client: c, call: call}, nil
}

func (f *subscriber) callID() string {
	f.client.mu.Lock()
	defer f.client.mu.Unlock()
	return f.call.ID()
}

var errReading = errors.New("the call's events are being read already: one reader at a time")

// begin claims the events for one reader.
func (f *subscriber) startReading() error {
	now := f.client.lockMachine()
	defer f.client.unlockMachine()
	if f.reading {
		return errReading
	}
	f.reading = true
	f.client.machine.SetReading(now, f.call, true)
	return nil
}

// finish gives the events free again.
func (f *subscriber) stopReading() {
	now := f.client.lockMachine()
	defer f.client.unlockMachine()
	f.reading = false
	f.client.machine.SetReading(now, f.call, false)
}

// next returns the next event. After the end it returns the end again.
func (f *subscriber) nextEvent(ctx context.Context) (follow.Event, error) {
	for {
		now := f.client.lockMachine()
		if f.call.Reader.EndTaken() {
			end := *f.call.Reader.End()
			f.client.unlockMachine()
			return end, nil
		}
		e, ok := f.client.machine.NextEvent(now, f.call)
		if ok {
			f.client.unlockMachine()
			return e, nil
		}
		changed := f.call.Signal.Changed()
		f.client.unlockMachine()
		select {
		case <-changed:
		case <-ctx.Done():
			return follow.Event{}, ctx.Err()
		}
	}
}

// until waits until a condition holds, which is asked under the lock.
func (f *subscriber) waitUntil(ctx context.Context, holds func() bool) error {
	for {
		f.client.mu.Lock()
		if holds() {
			f.client.mu.Unlock()
			return nil
		}
		changed := f.call.Signal.Changed()
		f.client.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end waits for the end of the call, whether or not the events are read.
func (f *subscriber) waitEnd(ctx context.Context) (*follow.Event, error) {
	now := f.client.lockMachine()
	if !f.endAwaited {
		f.endAwaited = true
		f.client.machine.WaitEnd(now, f.call)
	}
	f.client.unlockMachine()
	var end *follow.Event
	err := f.waitUntil(ctx, func() bool {
		end = f.call.Reader.End()
		return end != nil
	})
	return end, err
}

// detach stops following. sent tells whether the request had been sent.
func (f *subscriber) detach() (id string, sent bool) {
	now := f.client.lockMachine()
	defer f.client.unlockMachine()
	id, sent = f.call.ID(), f.call.RequestSent()
	f.client.machine.Detach(now, f.call)
	return id, sent
}

// cancel asks for the call to be cancelled and waits for the answer.
func (f *subscriber) cancel(ctx context.Context) error {
	now := f.client.lockMachine()
	reply := f.client.machine.Cancel(now, f.call)
	f.client.unlockMachine()
	return f.client.awaitReply(ctx, reply, f.callID())
}

// await waits for a reply.
func (c *Client) awaitReply(ctx context.Context, reply *session.Reply, id string) error {
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
			c.lockMachine()
			c.machine.DropReply(reply)
			c.unlockMachine()
			return ctx.Err()
		}
	}
}
