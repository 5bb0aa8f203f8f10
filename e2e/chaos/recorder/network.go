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
	"math"
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

// Unreadable is the type of an event that stands for what could not be read.
const Unreadable = "unreadable"

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
	budget int
	random *rand.Rand
	watch  func(e *Event) (lost bool)
	open   map[*conn]bool
	cuts   int
	sent   []Event
}

// NewNetwork returns a network without a server.
func NewNetwork(seed uint64, budget int) *Network {
	return &Network{random: rand.New(rand.NewPCG(seed, 2)), budget: budget, open: map[*conn]bool{}}
}

// SetTarget says where the server listens now (empty: nowhere). Each durable event
// that it sends is given to watch, if that is not nil, one at a time, before it
// arrives; it never does if watch reports that it is lost.
func (n *Network) SetTarget(address string, watch func(e *Event) (lost bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.target, n.watch = address, watch
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

// SentEvents returns what was sent so far, and how many connections were cut by
// numbers of bytes.
func (n *Network) SentEvents() (events []Event, cuts int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent), n.cuts
}

// Dial connects to the target, on this machine. It is for client.Options.
func (n *Network) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.target == "" {
		return nil, errors.New("there is no server")
	}
	tcp, err := (&net.Dialer{}).DialContext(ctx, network, n.target)
	if err != nil {
		return nil, err
	}
	c := &conn{
		Conn: tcp, network: n, reader: bufio.NewReaderSize(tcp, 32<<10),
		readable: n.chooseBudget(), writable: n.chooseBudget(),
	}
	n.open[c] = true
	return c, nil
}

// chooseBudget returns how many bytes may pass a new connection in one direction.
// The mutex is held.
func (n *Network) chooseBudget() int {
	if n.budget == 0 || n.random.IntN(3) == 0 {
		return math.MaxInt
	}
	return 200 + n.random.IntN(n.budget)
}

// record records a message of the server, and reports whether it is lost.
func (n *Network) record(text []byte) (lost bool) {
	messages, err := decode(text)
	if err != nil {
		messages = []message{{Events: []Event{{Type: Unreadable}}}}
	}
	at := serverproc.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range messages {
		events := m.Events
		if m.ID != "" && slices.Contains([]string{"ack", "chunk", "attempt", "result", "error", "snapshot"}, m.Type) {
			events = slices.Insert(events, 0, m.Event)
		}
		for _, e := range events {
			e.At, e.ID, e.Sum = at, m.ID, e.Hash()
			e.Data, e.Payload = nil, nil
			n.sent = append(n.sent, e)
			if n.watch != nil && e.Durable() && n.watch(&e) {
				lost = true
			}
		}
	}
	return lost
}

// conn is a client's end of a connection.
type conn struct {
	net.Conn
	network  *Network
	reader   *bufio.Reader
	upgraded bool   // the response to the handshake has been read
	pending  []byte // what was received and not read yet
	// readable and writable are how many bytes may pass before it is cut.
	readable, writable int
}

// errCut is the error of a connection that was cut.
var errCut = errors.New("the connection was cut")

// reset closes the connection without a closing handshake.
func (c *conn) reset() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Conn.Close()
}

// cut resets a connection whose budget is used up.
func (c *conn) cut() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.cuts++
	delete(c.network.open, c)
	c.reset()
	return errCut
}

func (c *conn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.open, c)
	return c.Conn.Close()
}

// Write writes as many bytes as may be written before the connection is cut.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b[:min(len(b), c.writable)])
	if c.writable -= n; err == nil && n < len(b) {
		err = c.cut()
	}
	return n, err
}

// Read reads what the server has sent, once it is recorded.
func (c *conn) Read(b []byte) (int, error) {
	if c.readable == 0 {
		return 0, c.cut()
	}
	if len(c.pending) == 0 {
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(b[:min(len(b), c.readable)], c.pending)
	c.pending, c.readable = c.pending[n:], c.readable-n
	return n, nil
}

// receive reads and records the next piece that the server has sent.
func (c *conn) receive() error {
	piece, text, err := c.readPiece()
	if errors.Is(err, errProtocol) {
		text = []byte(err.Error())
	}
	if text != nil && c.network.record(text) {
		return errCut
	}
	c.pending = piece
	return err
}

// maxMessage is twice what the protocol allows for a message of a server.
const maxMessage = 256 << 10

// errProtocol reports that the server has sent something that ours never send.
var errProtocol = errors.New("not what a server of ours sends")

// readPiece reads the response to the handshake, or a frame. Text is the message in
// the frame, if it has one.
func (c *conn) readPiece() (piece, text []byte, err error) {
	if c.upgraded {
		return c.readFrame()
	}
	for !bytes.HasSuffix(piece, []byte("\r\n\r\n")) {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		piece = append(piece, line...)
	}
	if c.upgraded = bytes.HasPrefix(piece, []byte("HTTP/1.1 101 ")); !c.upgraded {
		return nil, nil, fmt.Errorf("%w: %.100q", errProtocol, piece)
	}
	return piece, nil, nil
}

// The first byte of a text message in one frame, and that of a control frame but for
// its last three bits.
const textFrame, controlFrame = 0x81, 0x88

// readFrame reads a frame: a whole message or a control frame, without a mask and
// extensions.
func (c *conn) readFrame() (frame, text []byte, err error) {
	var raw bytes.Buffer
	r := io.TeeReader(c.reader, &raw)
	var head struct{ First, Size uint8 }
	err = binary.Read(r, binary.BigEndian, &head)
	size := uint64(head.Size) // with the bit that says whether there is a mask
	switch {
	case err != nil:
	case size > 127, head.First != textFrame && head.First&^7 != controlFrame:
		err = errProtocol
	case size == 126:
		var long uint16
		err = binary.Read(r, binary.BigEndian, &long)
		size = uint64(long)
	case size == 127:
		err = binary.Read(r, binary.BigEndian, &size)
	}
	if err == nil && size > maxMessage {
		err = errProtocol
	}
	if err != nil {
		return nil, nil, err
	}
	start := raw.Len()
	_, err = io.CopyN(&raw, c.reader, int64(size))
	if head.First == textFrame && err == nil {
		text = raw.Bytes()[start:]
	}
	return raw.Bytes(), text, err
}
