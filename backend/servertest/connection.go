package servertest

import (
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// maxLate bounds the delayed frames of a connection; further ones arrive at once.
const maxLate = 1024

// connection is a client's connection, and the one to the server behind it.
type connection struct {
	g              *Gateway
	n              int
	client, server *endpoint
	since          time.Time
	// early is until when messages to the client are lost.
	early time.Time

	mu           sync.Mutex
	lastReceived time.Time // when the client's last message arrived
	// silent means that the connection is half-open: neither side receives
	// anything, and neither is notified.
	silent    bool
	clientEnd bool // the client's connection is being closed
	limit     *timer
	late      int // frames and closes that are delayed
}

func newConnection(g *Gateway, n int, client, server *websocket.Conn, since time.Time, v verdict) *connection {
	c := &connection{
		g: g, n: n, client: newEndpoint(FromClient, client), server: newEndpoint(FromServer, server),
		since: since, lastReceived: since,
	}
	c.client.peer, c.server.peer = c.server, c.client
	if v.fault == NotYet {
		c.early = since.Add(g.options.NotYet)
	}
	client.SetReadLimit(wire.MaxClientMessage)
	ping, bye := client.PingHandler(), client.CloseHandler()
	client.SetPingHandler(func(text string) error {
		if c.quiet() {
			return nil
		}
		return ping(text)
	})
	client.SetCloseHandler(func(code int, text string) error {
		if c.quiet() {
			return nil
		}
		return bye(code, text)
	})
	return c
}

// start starts forwarding frames until both sides have ended.
func (c *connection) start() {
	c.watch()
	for _, e := range []*endpoint{c.client, c.server} {
		c.g.busy.Go(e.write)
		c.g.busy.Go(func() { c.readFrames(e) })
	}
}

func (c *connection) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

// readFrames reads what one side sends.
func (c *connection) readFrames(from *endpoint) {
	for {
		kind, data, err := from.ws.ReadMessage()
		if err != nil {
			from.closeAfterRead(err)
			c.ended(from, codeOf(err))
			return
		}
		c.handleFrame(from, parcel{kind: kind, data: data})
		from.peer.awaitCapacity()
	}
}

// alreadyLost reports whether a frame is lost because of an earlier fault of the
// connection. It records when a client was last active.
func (c *connection) alreadyLost(from *endpoint) (fault Fault, note string, lost bool) {
	now := c.g.clock.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.silent:
		return HalfOpen, "", true
	case from == c.client:
		c.lastReceived = now
		return "", "the server is gone", c.server.over
	case c.client.over || c.clientEnd:
		return "", "the client is gone; the server learns of it", true
	case now.Before(c.early):
		return NotYet, "", true
	}
	return "", "", false
}

// handleFrame chooses a fault for a frame and applies it.
func (c *connection) handleFrame(from *endpoint, p parcel) {
	from.frames++
	holds := inspect(p.data)
	entry := Entry{Conn: c.n, From: from.side, Frame: from.frames, What: holds.String(), Bytes: len(p.data)}
	if fault, note, lost := c.alreadyLost(from); lost {
		entry.Fault, entry.Note = fault, note
		c.g.addEntry(&entry)
		if from == c.server && fault == "" {
			from.enqueueClose(0) // like a post that is answered with 410
		}
		return
	}
	v := c.g.chooseFault(&occasion{at: atFrame, conn: c.n, from: from.side, n: from.frames, holds: holds})
	entry.Fault = v.fault
	if v.fault == Delay {
		entry.Note = fmt.Sprintf("by %v", v.partOf(c.g.options.Delay))
	}
	c.g.addEntry(&entry)
	c.apply(v, from, p)
	v.done()
}

// apply applies a fault, or none.
func (c *connection) apply(v verdict, from *endpoint, p parcel) {
	to := from.peer
	switch v.fault {
	case Lose:
	case Double:
		to.deliver(p)
		to.deliver(p)
	case Overtake:
		if to.hold(&p) {
			c.g.clock.after(c.g.options.Hold, func() { to.release(&p) })
			return
		}
		to.deliver(p) // it is the one that overtakes
	case Delay:
		c.later(v.partOf(c.g.options.Delay), func() { to.enqueue(p) })
	case Foreign:
		c.client.deliver(parcel{kind: websocket.TextMessage, data: c.g.foreign(c.n, from.frames)})
	case Cut:
		c.cutClient()
	case GoAway:
		to.deliver(p)
		c.goAway()
	case HalfOpen:
		c.fallSilent()
	default:
		to.deliver(p)
	}
}

// later calls do, which must not block, after d, unless the connection is half-open
// by then.
func (c *connection) later(d time.Duration, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late >= maxLate {
		do()
		return
	}
	c.late++
	c.g.clock.after(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.late--
		if !c.silent {
			do()
		}
	})
}

// cutClient ends the client's connection without a close frame.
func (c *connection) cutClient() {
	c.endClient()
	c.client.disconnect()
}

// goAway closes the client's connection with 1001.
func (c *connection) goAway() {
	c.endClient()
	c.client.enqueueClose(wire.CloseGoingAway)
}

// endClient records that the client's connection is being closed.
func (c *connection) endClient() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clientEnd = true
}

func (c *connection) fallSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = true
	c.client.dropHeld()
	c.server.dropHeld()
}

// ended handles the end of one side, and notifies the other.
func (c *connection) ended(e *endpoint, code int) {
	c.mu.Lock()
	e.over = true
	bothEnded, silent := e.peer.over, c.silent
	c.mu.Unlock()
	entry := Entry{Conn: c.n, From: e.side, What: "close", Note: "without a close frame"}
	if code != 0 {
		entry.Note = fmt.Sprintf("code %d", code)
	}
	switch {
	case bothEnded:
		entry.Note += "; both sides have ended"
		c.g.addEntry(&entry)
		c.finish()
	case silent:
		entry.Fault = HalfOpen
		c.g.addEntry(&entry)
	default:
		c.notifyOther(e, code, &entry)
	}
}

// notifyOther notifies the other side that one has ended: at once, late, or never.
func (c *connection) notifyOther(e *endpoint, code int, entry *Entry) {
	v := c.g.chooseFault(&occasion{at: atClose, conn: c.n, from: e.side, n: 1})
	if v.fault != "" && c.g.count(false) > maxUnnoticed {
		v.fault = ""
	}
	entry.Fault = v.fault
	lag := v.partOf(c.g.options.CloseLag)
	if v.fault == LateClose {
		entry.Note += fmt.Sprintf("; notified %v later", lag)
	}
	c.g.addEntry(entry)
	switch {
	case v.fault == LateClose:
		c.later(lag, func() { e.peer.enqueueClose(code) })
	case v.fault == LoseClose && e == c.server:
		c.cutClient()
	case v.fault == LoseClose:
	default:
		e.peer.enqueueClose(code)
	}
	v.done()
}

// finish releases the connection when both sides have ended.
func (c *connection) finish() {
	c.mu.Lock()
	if c.limit != nil {
		c.limit.stop()
	}
	c.mu.Unlock()
	c.g.remove(c)
}

// watch closes the connection if it has reached a time limit, and otherwise sets a
// timer for the next limit.
func (c *connection) watch() {
	o := &c.g.options
	now := c.g.clock.now()
	c.mu.Lock()
	at, why := c.lastReceived.Add(o.Idle), "idle"
	if life := c.since.Add(o.Life); life.Before(at) {
		at, why = life, "at the end of its life"
	}
	if at.After(now) {
		if !c.client.over || !c.server.over {
			c.limit = c.g.clock.after(at.Sub(now), c.watch)
		}
		c.mu.Unlock()
		return
	}
	unseen := c.silent || c.client.over
	c.mu.Unlock()
	c.g.addEntry(&Entry{Conn: c.n, From: FromClient, What: "close", Note: "by the gateway: " + why})
	if unseen { // the client receives nothing any more
		c.server.enqueueClose(wire.CloseGoingAway)
		return
	}
	c.goAway()
}

// abort ends both sides at once.
func (c *connection) abort() {
	c.client.disconnect()
	c.server.disconnect()
}

// connected reports whether the client's side is open.
func (c *connection) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.client.over
}
