package session

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Verb is the type of an [Output].
type Verb uint8

// Outputs of a machine.
const (
	// Send sends Body, one message, on a connection.
	Send Verb = iota + 1
	// Dial opens a connection with a fresh token, and reports Opened or
	// DialFailed.
	Dial
	// CloseConn closes a connection with close code Code. Nothing is reported.
	CloseConn
	// FetchToken fetches a token, and reports TokenFetched.
	FetchToken
	// LogWarning logs Text: the server does not keep to the protocol.
	LogWarning
)

// Output is something to do. Outputs are done in order.
type Output struct {
	Verb Verb
	Conn int
	Body []byte
	Code int
	Text string
}

// Phase is the state of a client's connection.
type Phase uint8

// Phases, in the order of those of package client.
const (
	Connecting Phase = iota
	Open
	Reconnecting
	Closed
)

// Machine is a client without its sockets and clocks.
type Machine struct {
	timing Timing
	cfg    Config

	streams map[string]*stream
	refs    map[string]*message
	lastRef int
	timers  timers
	order   uint64
	calls   int

	gen          int
	conns        map[int]*conn // all open ones, by generation
	conn         *conn         // in use
	dialing      int
	redial       timer
	dialFailures int
	// everConnected is true once there was a connection.
	everConnected bool
	fetchingToken bool
	tokenRetries  int

	lastError *wire.ServerMessage // why it is not connected
	fatal     *wire.ServerMessage
	outputs   []Output
}

// New returns a machine that has not started to connect.
func New(cfg Config) *Machine {
	cfg.Timing.setDefaults()
	if cfg.Jitter == nil {
		cfg.Jitter = randomBelow
	}
	m := &Machine{
		timing: cfg.Timing, cfg: cfg,
		streams: make(map[string]*stream), refs: make(map[string]*message), conns: make(map[int]*conn),
	}
	m.redial.owner = timerFunc((*Machine).dial)
	return m
}

// Start starts to connect.
func (m *Machine) Start(now time.Duration) { m.connect(now, 0) }

// Outputs returns what to do since the last call. The slice is reused: it is
// valid until the next input.
func (m *Machine) Outputs() []Output {
	out := m.outputs
	m.outputs = m.outputs[:0]
	return out
}

// NextDeadline returns when to call [Machine.RunTimers] if there is no input
// before.
func (m *Machine) NextDeadline() time.Duration { return m.timers.earliest() }

// RunTimers does what is due.
func (m *Machine) RunTimers(now time.Duration) {
	for len(m.timers) > 0 && m.timers[0].at <= now {
		t := m.timers[0]
		m.timers.stop(t)
		t.owner.onTimer(m, now)
	}
}

// Phase returns the state of the connection, and why there is none.
func (m *Machine) Phase() (Phase, *wire.ServerMessage) {
	switch {
	case m.fatal != nil:
		return Closed, m.fatal
	case m.conn != nil:
		return Open, nil
	case m.dialing != 0 || !m.everConnected && m.lastError == nil:
		return Connecting, m.lastError
	}
	return Reconnecting, m.lastError
}

// Close ends all calls and closes all connections.
func (m *Machine) Close(now time.Duration) {
	m.shutDown(now, localError(CodeClosed, "the client was closed", false))
}

// CodeClosed is the code of calls that were followed when the client was
// closed. It is never sent.
const CodeClosed = "closed"

// shutDown ends all calls and closes all connections, and the machine does not
// connect again.
func (m *Machine) shutDown(now time.Duration, why *wire.ServerMessage) {
	if m.fatal != nil {
		return
	}
	m.fatal = why
	for _, s := range m.sortedStreams() {
		m.failStream(s, why)
	}
	for _, msg := range m.refs {
		m.forget(msg)
		msg.reply.complete(nil, why)
	}
	for gen, c := range m.conns {
		m.stopTimers(c)
		m.addOutput(Output{Verb: CloseConn, Conn: gen, Code: wire.CloseNormal})
	}
	clear(m.conns)
	m.conn, m.dialing = nil, 0
	m.timers.stop(&m.redial)
}

func (m *Machine) addOutput(o Output) { m.outputs = append(m.outputs, o) }

// sortedStreams returns the streams, the oldest first.
func (m *Machine) sortedStreams() []*stream {
	return slices.SortedFunc(maps.Values(m.streams), func(a, b *stream) int { return cmp.Compare(a.order, b.order) })
}

// unansweredMessages returns all messages without an answer, the oldest first.
func (m *Machine) unansweredMessages() []*message {
	all := slices.Collect(maps.Values(m.refs))
	for _, s := range m.streams {
		if s.pending != nil && s.pending.kind == request {
			all = append(all, s.pending)
		}
	}
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(a.order, b.order) })
	return all
}

func (m *Machine) nextOrder() uint64 {
	m.order++
	return m.order
}

// Signal tells waiting goroutines about a change. Its zero value is ready.
type Signal struct{ ch chan struct{} }

// Changed returns a channel that is closed at the next change.
func (s *Signal) Changed() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Notify reports a change.
func (s *Signal) Notify() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Reply is the answer to a cancel or a list.
type Reply struct {
	Done bool
	// Calls and Cursor answer a list.
	Calls  []wire.Summary
	Cursor string
	// Err says why it was refused.
	Err    *wire.ServerMessage
	Signal Signal

	msg *message
}

func (r *Reply) complete(answer, err *wire.ServerMessage) {
	if r == nil || r.Done {
		return
	}
	r.Done, r.Err = true, err
	if answer != nil {
		r.Calls, r.Cursor = answer.Calls, answer.Cursor
	}
	r.Signal.Notify()
}

// stream is a followed stream, with its messages and readers.
type stream struct {
	follow.Stream
	id    string
	order uint64
	calls []*Call
	// pending is the request, subscribe or unsubscribe without an answer.
	// Until it is answered, only a cancel may be sent for the stream.
	pending *message
	// queued is a request that is sent after pending is answered.
	queued *message
	// requested is true if this client has requested the call; hash is that of
	// the request.
	requested bool
	hash      uint64
	// conn is the connection with a subscription to the stream.
	conn *conn
	// cancelSent is true if a cancel was sent before the request was answered.
	cancelSent bool
	refusals   int
	removed    bool
	timer      timer
}

func (s *stream) onTimer(m *Machine, now time.Duration) { m.update(now, s) }
