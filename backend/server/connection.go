package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Times of a connection.
const (
	closeTimeout = 5 * time.Second
	// expiredGrace is how long a connection stays open after its token expired.
	expiredGrace = 60 * time.Second
)

// shared is what all connections of a server use.
type shared struct {
	// ctx ends when the last connection has ended.
	ctx     context.Context
	options *Options
	session *session.Session
	pool    *workerPool
	latency map[*core.Action]*latencyStats
}

// connection is one client. One goroutine reads, and runs fast calls itself;
// another sends while there is something to send; one timer watches over its end.
type connection struct {
	*shared
	ws     *websocket.Conn
	info   session.ConnInfo
	log    *slog.Logger
	out    *deliver.Outbox
	limits limits
	lease  readerLease
	// onDisconnect is called when the reading has ended.
	onDisconnect func()
	// pages has a place for each page that is being made.
	pages chan struct{}

	// lastReceived is when the last message came, in Unix nanoseconds.
	lastReceived atomic.Int64
	connectedAt  time.Time

	timerMu sync.Mutex
	timer   *time.Timer
	// closeCode is what the connection is being closed with; 0: it is not.
	closeCode atomic.Int32
	closed    atomic.Bool
}

// read takes frames until the connection ends, or until another goroutine reads
// on.
func (c *connection) read() {
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			if errors.Is(err, websocket.ErrReadLimit) {
				c.log.Info("a client's message was too big")
			}
			c.closeNow()
			c.onDisconnect()
			return
		}
		c.lastReceived.Store(time.Now().UnixNano())
		switch {
		case c.closeCode.Load() != 0: // only the client's close is waited for
			continue
		case kind != websocket.TextMessage:
			c.closeWithReason("", false, wire.CloseUnsupportedData)
			continue
		case !c.handleFrame(data):
			return
		}
		if drained := c.out.Drained(); drained != nil {
			<-drained // a client that does not read its answers is not read
		}
	}
}

// maxPages is how many pages are made for one connection at a time.
const maxPages = 4

// acquirePageSlot waits for one of maxPages places, and for room in the outbox: a
// client that asks for many pages without reading them must not fill the memory.
func (c *connection) acquirePageSlot() (release func()) {
	c.pages <- struct{}{}
	if drained := c.out.Drained(); drained != nil {
		<-drained
	}
	return func() { <-c.pages }
}

// handleFrame has the messages of a frame carried out. It returns false if
// another goroutine reads on.
func (c *connection) handleFrame(data []byte) bool {
	now := time.Now()
	for _, cmd := range c.session.Decode(&c.info, data, now) {
		if wait := c.limits.debit(now, c.isClosing()); wait > 0 {
			c.send(cmd.Overloaded("this connection sends too many messages", wait))
			continue
		}
		if m := cmd.Answer(); m != nil {
			c.send(m)
			continue
		}
		p := &pendingMessage{c: c, cmd: cmd}
		if cmd.Placement == engine.Inline {
			p.latency = c.latency[cmd.Action]
		}
		var r refusal
		switch p.held, r = c.limits.admit(cmd, p.latency.answerSize(), now); {
		case r.wait > 0:
			c.send(cmd.Overloaded(r.text, r.wait))
		case cmd.Index < 0 && p.latency.isFast():
			return c.lease.runOnReader(p, &p.sender)
		default:
			c.pool.start(p)
			if !p.latency.isMeasured() {
				// The size of its answer, if that comes at once, is what the next ones
				// are admitted with.
				runtime.Gosched()
			}
		}
	}
	return true
}

// pendingMessage is a command that is being carried out.
type pendingMessage struct {
	c       *connection
	cmd     *session.Command
	latency *latencyStats // nil: it is not an inline call
	held    int64         // bytes that it was admitted for
	sender  answerSender
}

// run implements task.
func (p *pendingMessage) run() {
	c, begun := p.c, time.Now()
	c.session.Handle(c.ctx, &c.info, p.cmd, p)
	if p.latency.isTimed() {
		p.latency.observe(time.Since(begun))
	}
	if p.cmd.IsAuth() {
		c.checkEnd()
	}
}

// Reply implements session.Replier.
func (p *pendingMessage) Reply(_ *session.Command, m wire.ServerMessage) {
	p.c.limits.release(p.held)
	p.latency.observeAnswer(len(m.Payload) + len(m.Details))
	if p.c.queue(&m) && !p.sender.leaveToReader() {
		p.c.out.Start()
	}
}

// checkEnd ends the connection if it is idle, too old, or its token has expired,
// and otherwise sets the timer to when that may be.
func (c *connection) checkEnd() {
	now := time.Now()
	idle := time.Unix(0, c.lastReceived.Load()).Add(c.options.IdleTimeout)
	expired := c.info.Expires().Add(expiredGrace)
	tooOld := c.connectedAt.Add(c.options.MaxLife)
	next := idle
	for _, t := range []time.Time{expired, tooOld} {
		if t.Before(next) {
			next = t
		}
	}
	switch {
	case next.After(now):
		c.setTimer(next.Sub(now))
	case next.Equal(expired):
		c.closeWithReason("token_expired", true, wire.CloseTokenExpired)
	case next.Equal(tooOld):
		c.closeWithReason("expired", true, wire.CloseGoingAway)
	default:
		c.closeWithReason("idle", true, wire.CloseGoingAway)
	}
}

func (c *connection) setTimer(d time.Duration) {
	c.timerMu.Lock()
	defer c.timerMu.Unlock()
	switch {
	case c.closed.Load():
	case c.timer == nil:
		c.timer = time.AfterFunc(d, c.checkEnd)
	default:
		c.timer.Reset(d)
	}
}

// limitPings charges what the WebSocket layer answers by itself as messages:
// pings beyond the rate get no pong.
func (c *connection) limitPings() {
	ping, pong := c.ws.PingHandler(), c.ws.PongHandler()
	c.ws.SetPingHandler(func(data string) error {
		if c.limits.debit(time.Now(), c.isClosing()) > 0 {
			return nil
		}
		return ping(data)
	})
	c.ws.SetPongHandler(func(data string) error {
		c.limits.debit(time.Now(), c.isClosing())
		return pong(data)
	})
}
