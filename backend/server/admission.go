package server

import (
	"time"

	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Waits that refusals name where nobody knows when there will be room.
const (
	soon  = 100 * time.Millisecond // messages are being answered
	later = time.Second            // calls have to end
)

// excess is why a message is not let in, and after what time it may be. The
// zero value lets it in.
type excess struct {
	text string
	wait time.Duration
}

// heeds counts a message against the client's rate, and refuses it if it comes
// too early.
func (c *conn) heeds(m *wire.ClientMessage, index int, now time.Time) bool {
	wait := c.owe(now)
	if wait > 0 {
		c.overloaded(m, index, excess{"this connection sends too many messages", wait})
	}
	return wait == 0
}

// owe pays for something that the client has sent. It returns what is owed for
// it. Whoever does not care for that waits here, and is read no faster than it
// may send.
func (c *conn) owe(now time.Time) time.Duration {
	wait, deep := c.messages.Owe(now)
	if deep && c.last.Load() == 0 && !c.closed.Load() {
		select {
		case <-time.After(min(wait-c.messages.Burst(), time.Second)):
		case <-c.s.ctx.Done():
		}
		c.messages.Owe(time.Now())
	}
	return wait
}

// limitPings counts what the WebSocket layer answers by itself as messages:
// pings that come too early get no pong.
func (c *conn) limitPings() {
	ping, pong := c.ws.PingHandler(), c.ws.PongHandler()
	c.ws.SetPingHandler(func(data string) error {
		if c.owe(time.Now()) > 0 {
			return nil
		}
		return ping(data)
	})
	c.ws.SetPongHandler(func(data string) error {
		c.owe(time.Now())
		return pong(data)
	})
}

// admit counts a message as unanswered, for the sake of which size bytes are
// held, or says why not.
func (c *conn) admit(p *performance, size int, now time.Time) excess {
	submit, isCall := p.effect.(session.Submit)
	_, subscribes := p.effect.(session.Subscribe)
	if (isCall || subscribes) && !c.hasRoomForAStream() {
		return excess{"this connection follows too many streams; unsubscribe from some", later}
	}
	if p.index >= 0 { // its own copy, see frame
		size = 0
	}
	p.held = int64(size) + leastAnswer
	if isCall {
		r := submit.Request
		if p.index >= 0 {
			p.held += int64(len(r.Payload) + len(r.Metadata))
		}
		if p.pace != nil {
			p.held += p.pace.answer() - leastAnswer
		}
		r.Share = &c.tenant.inline
	}
	if c.pending.Add(1) > int64(c.s.options.MaxPending) {
		c.pending.Add(-1)
		return excess{"too many messages of this connection are unanswered", soon}
	}
	// One alone is let in however large it is.
	if held := c.held.Add(p.held); held > int64(c.s.options.PendingBytes) && held > p.held {
		c.withdraw(p)
		return excess{"the unanswered messages of this connection hold too much memory", soon}
	}
	if !c.allowed.cover(c.held.Load()) {
		c.withdraw(p)
		return excess{"unanswered messages hold too much of the server's memory", soon}
	}
	if isCall {
		if wait := c.tenant.calls.Take(now); wait > 0 {
			c.withdraw(p)
			return excess{"this tenant asks for too many calls", wait}
		}
	}
	return excess{}
}

// withdraw takes back what admit has counted: the message is answered, or will
// not be let in.
func (c *conn) withdraw(p *performance) {
	c.pending.Add(-1)
	c.allowed.settle(c.held.Add(-p.held))
}

// countEvery is after how many messages at the latest the streams are counted
// that a connection follows.
const countEvery = 64

// hasRoomForAStream tells whether the connection may follow another one. They
// are counted seldom: each message adds one at most.
func (c *conn) hasRoomForAStream() bool {
	if c.roomy <= 0 {
		followed := c.s.people.Following(c.address.Tenant, c.address.Connection)
		c.roomy = min(c.s.options.MaxStreams-followed, countEvery)
	}
	if c.roomy <= 0 {
		return false
	}
	c.roomy--
	return true
}

// overloaded refuses a message that was not let in.
func (c *conn) overloaded(m *wire.ClientMessage, index int, e excess) {
	refusal := session.Refuse(m, &wire.Error{Code: wire.CodeOverloaded, Message: e.text})
	refusal.RetryAfterMs = (e.wait + time.Millisecond - 1).Milliseconds()
	c.direct(session.Say{Message: refusal}, index)
}
