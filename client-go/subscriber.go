package client

import (
	"context"
	"errors"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/session"
)

// subscriber follows a call. It is the part of a Call that needs no types.
type subscriber struct {
	client *Client
	call   *session.Call
	// reading is true while somebody reads the events. The client's lock
	// guards it and endAwaited.
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
func (c *Client) attach(id string) (*subscriber, error) {
	now := c.lockMachine()
	defer c.unlockMachine()
	call, err := c.machine.Attach(now, id)
	if err != nil {
		return nil, errorOf(err, id)
	}
	return &subscriber{client: c, call: call}, nil
}

func (s *subscriber) callID() string {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.call.ID()
}

var errBeingRead = errors.New("the call's events are already being read: one reader at a time")

// startReading reserves the events for one reader.
func (s *subscriber) startReading() error {
	now := s.client.lockMachine()
	defer s.client.unlockMachine()
	if s.reading {
		return errBeingRead
	}
	s.reading = true
	s.client.machine.SetReading(now, s.call, true)
	return nil
}

// stopReading releases the events.
func (s *subscriber) stopReading() {
	now := s.client.lockMachine()
	defer s.client.unlockMachine()
	s.reading = false
	s.client.machine.SetReading(now, s.call, false)
}

// nextEvent returns the next event. After the end it returns the end again.
func (s *subscriber) nextEvent(ctx context.Context) (e follow.Event, err error) {
	err = s.client.waitUntil(ctx, &s.call.Signal, func(now time.Duration) (ok bool) {
		if s.call.Reader.EndTaken() {
			e = *s.call.Reader.End()
			return true
		}
		e, ok = s.client.machine.NextEvent(now, s.call)
		return ok
	})
	return e, err
}

// waitEnd waits for the end of the call, whether or not the events are read.
func (s *subscriber) waitEnd(ctx context.Context) (*follow.Event, error) {
	now := s.client.lockMachine()
	if !s.endAwaited {
		s.endAwaited = true
		s.client.machine.WaitEnd(now, s.call)
	}
	s.client.unlockMachine()
	var end *follow.Event
	err := s.client.waitUntil(ctx, &s.call.Signal, func(time.Duration) bool {
		end = s.call.Reader.End()
		return end != nil
	})
	return end, err
}

// detach stops following. sent says whether the request had been sent.
func (s *subscriber) detach() (id string, sent bool) {
	now := s.client.lockMachine()
	defer s.client.unlockMachine()
	id, sent = s.call.ID(), s.call.RequestSent()
	s.client.machine.Detach(now, s.call)
	return id, sent
}

// cancel asks the server to cancel the call and waits for the answer.
func (s *subscriber) cancel(ctx context.Context) error {
	now := s.client.lockMachine()
	reply := s.client.machine.Cancel(now, s.call)
	s.client.unlockMachine()
	return s.client.awaitReply(ctx, reply, s.callID())
}

// awaitReply waits for the server's answer.
func (c *Client) awaitReply(ctx context.Context, reply *session.Reply, id string) error {
	err := c.waitUntil(ctx, &reply.Signal, func(time.Duration) bool { return reply.Done })
	if err != nil {
		c.lockMachine()
		c.machine.DropReply(reply)
		c.unlockMachine()
		return err
	}
	if reply.Err != nil {
		return errorOf(reply.Err, id)
	}
	return nil
}

// waitUntil waits until a condition is true. The condition is checked with the
// lock held, at first and after each notification of the signal.
func (c *Client) waitUntil(ctx context.Context, signal *session.Signal, condition func(now time.Duration) bool) error {
	for {
		now := c.lockMachine()
		if condition(now) {
			c.unlockMachine()
			return nil
		}
		changed := signal.Changed()
		c.unlockMachine()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
