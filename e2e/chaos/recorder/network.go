package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Event is a message that a server has sent about a call, or an event that it
// has stored.
type Event struct {
	// At is when it was seen on the wire, by serverproc.Now.
	At      int64           `json:"at,omitempty"`
	Type    string          `json:"type"`
	ID      string          `json:"id,omitempty"`
	Seq     uint64          `json:"seq,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	From    uint64          `json:"from,omitempty"`
	Keep    uint64          `json:"keep,omitempty"`
	Code    string          `json:"code,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Sum is a hash of data and payload, which are not kept of what was seen on
	// the wire.
	Sum uint64 `json:"sum,omitempty"`
}

// Durable reports whether it is an event that is stored.
func (e *Event) Durable() bool { return e.Seq > 0 && e.Type != "snapshot" && e.Type != "lag" }

// IsEnd reports whether it is the end of a stored call.
func (e *Event) IsEnd() bool { return e.Seq > 0 && (e.Type == "result" || e.Type == "error") }

// Hash returns the hash of an event's data and payload; 0 for none.
func (e *Event) Hash() uint64 {
	if len(e.Data)+len(e.Payload) == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(e.Data)
	_, _ = h.Write(e.Payload)
	return h.Sum64()
}

// message is what is read of a server's message.
type message struct {
	Event
	Ref    string       `json:"ref"`
	More   bool         `json:"more"`
	Events []Event      `json:"events"`
	Cursor string       `json:"cursor"`
	Calls  []StoredCall `json:"calls"`
}

// decode decodes a frame: a message, or a batch of them.
func decode(frame []byte) (out []message, err error) {
	if !bytes.HasPrefix(frame, []byte("[")) {
		frame = slices.Concat([]byte("["), frame, []byte("]"))
	}
	err = json.Unmarshal(frame, &out)
	return out, err
}

// Network is between clients and a server that comes and goes. It records all
// that the server sends, whether or not it arrives, and cuts connections after a
// random number of bytes. It is safe for concurrent use.
type Network struct {
	mu sync.Mutex
	// target is where the server listens; empty: nowhere.
	target string
	// budget is after about how many bytes connections are cut, at most; 0: never.
	budget  int64
	random  *rand.Rand
	trigger *Trigger
	open    map[*conn]bool
	cuts    int

	sent       []Event
	unreadable int
}

// Trigger fires when the server sends an event of one of the types for the Nth
// time.
type Trigger struct {
	Types []string
	Nth   int
	// Arrives reports that the event reaches the client. Otherwise it never does.
	Arrives bool
	// Fire is called once, from any goroutine.
	Fire func()
}

// NewNetwork returns a network without a server.
func NewNetwork(seed uint64, budget int64) *Network {
	return &Network{random: rand.New(rand.NewPCG(seed, 2)), budget: budget, open: map[*conn]bool{}}
}

// SetTarget says where the server listens now (empty: nowhere), and what fires
// (nil: nothing).
func (n *Network) SetTarget(address string, t *Trigger) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.target, n.trigger = address, t
}

// StopCuts ends the cutting by numbers of bytes.
func (n *Network) StopCuts() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.budget = 0
}

// CutAll cuts all connections, and returns their number.
func (n *Network) CutAll() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.reset()
	}
	return len(n.open)
}

// SentEvents returns what was sent so far, how many messages could not be read, and
// how many connections were cut by numbers of bytes.
func (n *Network) SentEvents() (events []Event, unreadable, cuts int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent), n.unreadable, n.cuts
}

// Dial connects to the target. It is for client.Options.
func (n *Network) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	n.mu.Lock()
	target := n.target
	c := &conn{network: n, budgets: [2]int64{1 << 62, 1 << 62}}
	for i := range c.budgets {
		if n.budget > 0 && n.random.IntN(3) > 0 {
			c.budgets[i] = 200 + n.random.Int64N(n.budget)
		}
	}
	n.mu.Unlock()
	if target == "" {
		return nil, errors.New("there is no server")
	}
	var err error
	if c.Conn, err = (&net.Dialer{}).DialContext(ctx, network, target); err != nil {
		return nil, err
	}
	c.reader = bufio.NewReaderSize(c.Conn, 32<<10)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[c] = true
	return c, nil
}

// record records a message of the server, and returns the trigger if it fires
// that.
func (n *Network) record(frame []byte) (fired *Trigger) {
	messages, err := decode(frame)
	at := serverproc.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.unreadable++
	}
	add := func(e Event, id string) {
		e.At, e.ID, e.Sum = at, id, e.Hash()
		e.Data, e.Payload = nil, nil
		n.sent = append(n.sent, e)
		if t := n.trigger; t != nil && e.Durable() && slices.Contains(t.Types, e.Type) {
			if t.Nth--; t.Nth <= 0 {
				fired, n.trigger = t, nil
			}
		}
	}
	for _, m := range messages {
		if m.ID != "" && slices.Contains([]string{"ack", "chunk", "attempt", "result", "error", "snapshot"}, m.Type) {
			add(m.Event, m.ID)
		}
		for _, e := range m.Events {
			add(e, m.ID)
		}
	}
	return fired
}

// conn is a client's end of a connection.
type conn struct {
	net.Conn
	network *Network
	reader  *bufio.Reader
	upgrade bool   // the response to the handshake has been read
	isText  bool   // the message is text
	message []byte // of the fragments so far
	pending []byte // what was received and not read yet
	budgets [2]int64
}

// errCut is the error of a connection that was cut.
var errCut = errors.New("the connection was cut")

// reset closes the connection without a closing handshake.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}

// Close closes the connection.
func (c *conn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.open, c)
	return c.Conn.Close()
}

// spend returns as many of the bytes as the budget allows. If not all of them,
// the connection is cut.
func (c *conn) spend(piece []byte, budget *int64) ([]byte, error) {
	*budget -= int64(len(piece))
	if *budget >= 0 {
		return piece, nil
	}
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if delete(c.network.open, c); *budget+int64(len(piece)) >= 0 {
		c.network.cuts++
	}
	return piece[:max(0, *budget+int64(len(piece)))], errCut
}

// Write writes as many bytes as may be written before the connection is cut.
func (c *conn) Write(b []byte) (int, error) {
	piece, cut := c.spend(b, &c.budgets[0])
	n, err := c.Conn.Write(piece)
	if cut != nil {
		c.reset()
	}
	return n, errors.Join(err, cut)
}

// Read reads what the server has sent, once it is recorded.
func (c *conn) Read(b []byte) (int, error) {
	for len(c.pending) == 0 {
		raw, text, err := c.readPiece()
		if err != nil {
			if errors.Is(err, errProtocol) {
				c.network.mu.Lock()
				c.network.unreadable++
				c.network.mu.Unlock()
			}
			return 0, err
		}
		var fired *Trigger
		if text != nil {
			fired = c.network.record(text)
		}
		if fired != nil {
			fired.Fire()
			if !fired.Arrives {
				c.reset()
				return 0, errCut
			}
		}
		var cut error
		if c.pending, cut = c.spend(raw, &c.budgets[1]); cut != nil {
			c.reset()
			if len(c.pending) == 0 {
				return 0, cut
			}
		}
	}
	n := copy(b, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// maxMessage is twice what the protocol allows for a message of a server.
const maxMessage = 256 << 10

// errProtocol reports that the server has sent something that ours never send.
var errProtocol = errors.New("not what a server of ours sends")

// readPiece reads the response to the handshake, or a WebSocket frame without
// mask and extensions. Text is the message that the frame completes, if any.
func (c *conn) readPiece() (raw, text []byte, err error) {
	if !c.upgrade {
		return c.readResponse()
	}
	take := func(n int) []byte { // reads n bytes, and returns those
		at := len(raw)
		raw = append(raw, make([]byte, n)...)
		if err == nil {
			_, err = io.ReadFull(c.reader, raw[at:])
		}
		return raw[at:]
	}
	head := take(2)
	final, opcode, size := head[0]&0x80 != 0, head[0]&0x0f, uint64(head[1])
	switch size { // with the bit that says whether there is a mask
	case 126:
		size = uint64(binary.BigEndian.Uint16(take(2)))
	case 127:
		size = binary.BigEndian.Uint64(take(8))
	default:
		if size > 127 {
			return raw, nil, errors.Join(err, errProtocol)
		}
	}
	if size+uint64(len(c.message)) > maxMessage {
		return raw, nil, errors.Join(err, errProtocol)
	}
	body := take(int(size))
	if err != nil || opcode >= 8 { // a control frame may lie between fragments
		return raw, nil, err
	}
	if opcode != 0 {
		c.isText, c.message = opcode == 1, nil
	}
	c.message = append(c.message, body...)
	if final {
		if c.isText {
			text = append([]byte{}, c.message...)
		}
		c.message = nil
	}
	return raw, text, nil
}

func (c *conn) readResponse() (raw, text []byte, err error) {
	for !bytes.HasSuffix(raw, []byte("\r\n\r\n")) {
		line, err := c.reader.ReadSlice('\n')
		raw = append(raw, line...)
		if err != nil {
			return raw, nil, err
		}
	}
	if c.upgrade = bytes.HasPrefix(raw, []byte("HTTP/1.1 101 ")); !c.upgrade {
		return raw, nil, fmt.Errorf("%w: %.100q", errProtocol, raw)
	}
	return raw, nil, nil
}
