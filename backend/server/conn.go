package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Times of a connection.
const (
	writeTimeout = 30 * time.Second
	closeTimeout = 5 * time.Second
	// expiredGrace is for how long an expired token's connection lives on.
	expiredGrace = 60 * time.Second
)

// conn is one client. One goroutine reads, and performs quick calls by itself;
// another writes while there is something to write; one timer watches.
type conn struct {
	s       *Server
	ws      *websocket.Conn
	address deliver.Address
	subject string
	tenant  *tenant
	log     *slog.Logger
	out     outbox

	facts    atomic.Pointer[session.Facts]
	identity atomic.Pointer[auth.Identity]
	// heard is when the last message came, in Unix nanoseconds.
	heard   atomic.Int64
	since   time.Time
	pending atomic.Int64 // messages that are being performed
	held    atomic.Int64 // bytes that they hold, see admission.go
	allowed allowance    // for them
	// messages is how often the client may send one.
	messages quota.Rate
	// roomy is how many messages may come yet before the streams are counted
	// that the connection follows. It belongs to whoever reads.
	roomy int
	// pages holds those that are being made for this connection.
	pages chan struct{}
	turn  turn

	timerMu sync.Mutex
	timer   *time.Timer
	// last is the close code to say goodbye with; 0: not yet.
	last   atomic.Int32
	closed atomic.Bool
}

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// read takes frames until the connection ends, and then cleans up behind it;
// or until another goroutine reads on.
func (c *conn) read() {
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			c.readFailed(err)
			c.s.left(c)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if c.last.Load() != 0 {
			continue // goodbye was said; only the peer's close is waited for
		}
		if kind != websocket.TextMessage {
			c.goodbye("", false, wire.CloseUnsupportedData)
			continue
		}
		if !c.frame(data) {
			return
		}
		if room := c.out.wait(); room != nil {
			// Whoever does not read its answers is not read either.
			<-room
		}
	}
}

// maxPages is how many pages are made for one connection at a time.
const maxPages = 4

// hold waits for one of maxPages places, and for room in the outbox: pages are
// large, and who asks for many without reading them must not fill the memory.
func (c *conn) hold() (release func()) {
	c.pages <- struct{}{}
	if room := c.out.wait(); room != nil {
		<-room
	}
	return func() { <-c.pages }
}

func (c *conn) readFailed(err error) {
	if errors.Is(err, websocket.ErrReadLimit) {
		c.log.Info("a client's message was too big")
	}
	c.shut()
}

// frame decides what each message of a frame does, and has it done. It returns
// false when another goroutine reads on.
func (c *conn) frame(data []byte) bool {
	items, batch, refusal := wire.DecodeClientFrame(data)
	if refusal != nil {
		items, batch = []wire.ClientItem{{Err: refusal}}, false
	}
	f := c.facts.Load()
	now := time.Now()
	for i := range items {
		item := &items[i]
		index := -1
		if batch {
			index = i
			// What is kept of one message is not to keep the whole batch.
			item.Message.Payload, item.Message.Metadata = bytes.Clone(item.Message.Payload), bytes.Clone(item.Message.Metadata)
		}
		if !c.heeds(&item.Message, index, now) {
			continue
		}
		if item.Err != nil {
			c.refuse(&item.Message, item.Err, index)
			continue
		}
		effect := c.s.session.Decide(f, &item.Message, now)
		if c.direct(effect, index) {
			continue
		}
		p := &performance{c: c, facts: f, effect: effect, index: index, pace: c.s.paceOf(effect)}
		if _, ok := effect.(session.Authenticate); ok {
			p.message = &item.Message
		}
		switch refusal := c.admit(p, len(data), now); {
		case refusal.wait > 0:
			c.overloaded(&item.Message, index, refusal)
		case !batch && p.pace.quick():
			return c.performHere(p)
		default:
			c.s.crew.run(p)
		}
	}
	return true
}

// refuse answers a message that does nothing. It was the index-th of a batch;
// -1: of none.
func (c *conn) refuse(m *wire.ClientMessage, e *wire.Error, index int) {
	c.direct(session.Say{Message: session.Refuse(m, e)}, index)
}

// direct sends the answer if the effect is just that, and tells whether it is.
func (c *conn) direct(e session.Effect, index int) bool {
	say, ok := e.(session.Say)
	if !ok {
		return false
	}
	if index >= 0 && say.Message.Type == wire.TypeError {
		say.Message.Index = &index
	}
	c.say(say.Message)
	return true
}

// authenticate extends the connection's time by a fresh token.
func (c *conn) authenticate(a session.Authenticate, m *wire.ClientMessage) wire.ServerMessage {
	ctx, cancel := context.WithTimeout(c.s.ctx, 10*time.Second)
	defer cancel()
	id, err := c.s.authenticate(ctx, a.Token)
	switch {
	case err != nil:
		code, text, _ := authRefusal(err)
		if code == wire.CodeTokenExpired {
			code = wire.CodeUnauthorized
		}
		return session.Refuse(m, &wire.Error{Code: code, Message: text})
	case !c.identity.Load().Same(id):
		return session.Refuse(m, &wire.Error{
			Code: wire.CodeReconnectRequired, Message: "the token has another tenant, subject or set of scopes",
		})
	}
	c.identity.Store(&id)
	f := *c.facts.Load()
	f.Expires = expiry(id)
	c.facts.Store(&f)
	c.watch()
	return session.OK(a.Ref)
}

// expiry is an identity's, with a far day for never.
func expiry(id auth.Identity) time.Time {
	if id.Expires.IsZero() {
		return time.Now().Add(100 * 365 * 24 * time.Hour)
	}
	return id.Expires
}

// watch sets the timer to the next moment at which the connection may have to
// end, and ends it if that moment is now.
func (c *conn) watch() {
	o := &c.s.options
	now := time.Now()
	idle := time.Unix(0, c.heard.Load()).Add(o.IdleTimeout)
	expired := c.facts.Load().Expires.Add(expiredGrace)
	life := c.since.Add(o.MaxLife)
	next := idle
	for _, t := range []time.Time{expired, life} {
		if t.Before(next) {
			next = t
		}
	}
	if next.After(now) {
		c.timerMu.Lock()
		defer c.timerMu.Unlock()
		switch {
		case c.closed.Load():
		case c.timer == nil:
			c.timer = time.AfterFunc(next.Sub(now), c.watch)
		default:
			c.timer.Reset(next.Sub(now))
		}
		return
	}
	switch next {
	case expired:
		c.goodbye("token_expired", true, wire.CloseTokenExpired)
	case life:
		c.goodbye("expired", true, wire.CloseGoingAway)
	default:
		c.goodbye("idle", true, wire.CloseGoingAway)
	}
}

// say sends a direct answer.
func (c *conn) say(m wire.ServerMessage) {
	if c.queue(m) {
		c.s.crew.run(writing{c})
	}
}

// queue adds a direct answer to what is to be sent, and tells whether the
// caller must see to the writing. Answers are never dropped, unless so much of
// them waits that the connection ends of it.
func (c *conn) queue(m wire.ServerMessage) (start bool) {
	data := m.Append(make([]byte, 0, 128+len(m.Payload)+len(m.Data)))
	start, err := c.out.add(true, data)
	if errors.Is(err, deliver.ErrFull) {
		c.cutOff()
	}
	return start && err == nil
}

// cutOff ends a connection whose peer takes too little: what waits is dropped,
// but for a word of goodbye.
func (c *conn) cutOff() {
	if c.last.Swap(wire.CloseTryLater) != 0 {
		return
	}
	c.log.Warn("a client that does not read its answers is cut off")
	_ = c.ws.SetReadDeadline(time.Now().Add(closeTimeout)) // it may not read the goodbye either
	m := c.closing("overloaded", true)
	if c.out.end(m.Append(nil)) {
		c.s.crew.run(writing{c})
	}
}

// closing says that the connection is about to be closed.
func (c *conn) closing(reason string, reconnect bool) wire.ServerMessage {
	return wire.ServerMessage{
		Type: wire.TypeClosing, Reason: reason, Reconnect: &reconnect, AfterMs: c.s.options.ReconnectWithin.Milliseconds(),
	}
}

// write empties the outbox, and says goodbye after that if it is time to.
func (c *conn) write() {
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	for {
		frame, ok := c.out.take(*buf)
		if !ok {
			break
		}
		if cap(frame) <= wire.MaxServerMessage {
			*buf = frame
		}
		_ = c.ws.SetWriteDeadline(time.Now().Add(c.s.options.WriteTimeout))
		if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
			c.shut()
			return
		}
	}
	if code := int(c.last.Load()); code != 0 {
		c.closeFrame(code)
	}
}

// goodbye says why, if there is a reason, and closes with the code when all
// that waits was sent.
func (c *conn) goodbye(reason string, reconnect bool, code int) {
	if c.last.Swap(int32(code)) != 0 {
		return
	}
	if reason != "" {
		c.say(c.closing(reason, reconnect))
	}
	c.out.mu.Lock()
	start := c.out.start()
	c.out.mu.Unlock()
	if start {
		c.s.crew.run(writing{c})
	}
}

// closeFrame sends the close frame, and gives the peer a moment to answer it.
func (c *conn) closeFrame(code int) {
	message := websocket.FormatCloseMessage(code, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeTimeout))
	_ = c.ws.SetReadDeadline(time.Now().Add(closeTimeout))
	c.out.close()
}

// shut ends the connection without a word.
func (c *conn) shut() {
	if c.closed.Swap(true) {
		return
	}
	c.timerMu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timerMu.Unlock()
	c.out.close()
	_ = c.ws.Close()
}
