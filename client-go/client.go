package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Client keeps a connection to a Streamer server, and connects again when it
// is lost. It is safe for concurrent use, and one is enough for a program.
//
// A state machine (package session) decides what the protocol requires. The
// client passes it every input, one at a time under one lock, and does what it
// asks for. Nothing that can block is done with the lock held.
type Client struct {
	opts          Options
	url           string
	dialer        websocket.Dialer
	startedAt     time.Time
	ctx           context.Context // ends when the client is closed
	cancelContext context.CancelFunc
	wg            sync.WaitGroup // the sockets' goroutines
	everConnected atomic.Bool

	mu        sync.Mutex
	machine   *session.Machine
	sockets   map[int]*socket
	timer     *time.Timer
	timerAt   time.Duration // when timer fires; noDeadline if it is not set
	wallAhead time.Duration // how far the wall clock was ahead of the monotonic clock
	closed    bool
	token     string // the token of the connection in use

	state        State
	stateCause   *wire.ServerMessage
	stateVersion uint64
	stateSignal  session.Signal
}

// New returns a client that connects to a server in the background. It keeps
// trying until it is closed, or the server says that trying again cannot help.
// The URL's scheme is ws, wss, http or https. Calls may be started at once.
func New(rawURL string, opts *Options) (*Client, error) {
	target, err := checkURL(rawURL)
	if err != nil {
		return nil, err
	}
	o := opts.withDefaults()
	if err := errors.Join(checkHeader(o.Header), offerHTTP1(o.TLS)); err != nil {
		return nil, err
	}
	c := &Client{
		opts: o, url: target, startedAt: time.Now(), sockets: make(map[int]*socket), timerAt: noDeadline,
		dialer: websocket.Dialer{
			NetDialContext: o.DialContext, Proxy: o.Proxy, TLSClientConfig: o.TLS,
			Subprotocols: []string{wire.Subprotocol}, ReadBufferSize: 4 << 10, WriteBufferSize: wire.MaxClientMessage + 16,
		},
		machine: session.New(session.Config{
			Timing: o.timing, Buffer: o.Buffer, MaxCalls: o.MaxCalls, CanRefresh: o.Token != nil,
		}),
	}
	c.ctx, c.cancelContext = context.WithCancel(context.Background())
	c.timer = time.AfterFunc(time.Hour, c.onTimer)
	c.timer.Stop()
	now := c.lockMachine()
	c.machine.Start(now)
	c.unlockMachine()
	if o.OnState != nil {
		go func() {
			for s := range c.States(context.Background()) {
				c.callOnState(s)
			}
		}()
	}
	return c, nil
}

// callOnState calls the function OnState, which may panic.
func (c *Client) callOnState(s State) {
	defer func() {
		if v := recover(); v != nil {
			c.opts.Logger.Error("streamer: OnState panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	c.opts.OnState(s)
}

// Dial is like New, and waits until the client is connected. If the first
// attempt fails, or ctx ends before, it returns the reason and no client.
func Dial(ctx context.Context, rawURL string, opts *Options) (*Client, error) {
	c, err := New(rawURL, opts)
	if err != nil {
		return nil, err
	}
	for s := range c.States(ctx) {
		switch {
		case s.Phase == Open:
			return c, nil
		case s.Err != nil:
			_ = c.Close(ctx)
			return nil, s.Err
		}
	}
	_ = c.Close(ctx) // it does not wait: ctx has ended
	return nil, fmt.Errorf("connecting: %w", ctx.Err())
}

// Close closes the client's connections and waits until they are closed, or
// until ctx ends: then they are cut off. The calls continue on the server; who
// waits for them here gets ErrClosed. It is safe to close a client twice, and
// from within a callback.
func (c *Client) Close(ctx context.Context) error {
	now := c.lockMachine()
	c.closed = true
	c.machine.Close(now)
	c.timer.Stop()
	c.unlockMachine()
	c.cancelContext()
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	open := slices.Collect(maps.Values(c.sockets))
	c.mu.Unlock()
	for _, s := range open {
		_ = s.ws.Close()
	}
	<-done
	return ctx.Err()
}

// checkURL returns the address to dial.
func checkURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error would contain the URL, which may contain a secret.
		return "", errors.New("the server's URL cannot be parsed")
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("the server's URL must begin with wss:// or ws://, not %q", u.Scheme+":")
	}
	switch {
	case u.Host == "":
		return "", errors.New("the server's URL names no host")
	case u.User != nil:
		return "", errors.New("the server's URL must not hold a user or password")
	}
	u.Fragment = ""
	return u.String(), nil
}

// checkHeader rejects headers that belong to the WebSocket handshake.
func checkHeader(h http.Header) error {
	for _, name := range []string{
		"Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol",
	} {
		if _, ok := h[name]; ok {
			return fmt.Errorf("the header %s belongs to the handshake and cannot be set", name)
		}
	}
	return nil
}

const noDeadline = follow.NoDeadline

// lockMachine takes the lock and returns the time.
func (c *Client) lockMachine() time.Duration {
	c.mu.Lock()
	return time.Since(c.startedAt)
}

// unlockMachine does what the machine asks for, and releases the lock.
func (c *Client) unlockMachine() {
	var warnings []string // logged without the lock: a logger may block, or use the client
	for _, o := range c.machine.Outputs() {
		if o.Verb == session.LogWarning {
			warnings = append(warnings, o.Text)
			continue
		}
		c.applyOutput(&o)
	}
	if at := c.machine.NextDeadline(); at < c.timerAt {
		c.timerAt = at
		c.timer.Reset(at - time.Since(c.startedAt))
	}
	c.updateState()
	c.mu.Unlock()
	for _, text := range warnings {
		c.opts.Logger.Warn("streamer: the server does not follow the protocol", "what", text)
	}
}

// onTimer does what is due. The timer may have been set for something that is
// no longer due: that is cheaper than setting it again each time.
func (c *Client) onTimer() {
	now := c.lockMachine()
	c.timerAt = noDeadline
	// The monotonic clock stops while the computer sleeps, the wall clock does not.
	if ahead := time.Now().Round(0).Sub(c.startedAt.Round(0)) - now; ahead-c.wallAhead > 10*time.Second {
		c.machine.OnWake(now)
		c.wallAhead = ahead
	} else {
		c.wallAhead = min(c.wallAhead, ahead)
	}
	c.machine.RunTimers(now)
	c.unlockMachine()
}

// applyOutput does one thing that the machine asks for. The lock is held.
func (c *Client) applyOutput(o *session.Output) {
	switch o.Verb {
	case session.Send:
		if s := c.sockets[o.Conn]; s != nil {
			s.enqueue(o.Body)
		}
	case session.CloseConn:
		if s := c.sockets[o.Conn]; s != nil {
			s.closeWith(o.Code)
		}
	case session.Dial:
		go c.connect(o.Conn)
	case session.FetchToken:
		go c.refreshToken()
	case session.LogWarning: // unlockMachine does it
	}
}
