package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Opcodes of RFC 6455.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

// Bits of a frame's first byte.
const (
	finBit  = 0x80
	rsv1Bit = 0x40
)

// rawSocket is a WebSocket client that breaks rules on demand: no library
// stands between the attacker and the wire.
type rawSocket struct {
	net.Conn
	in       *bufio.Reader
	response *http.Response
	more     []reply
}

// reply is a message of the server's, as far as attackers look at it.
type reply struct {
	Type         string            `json:"type"`
	Ref          string            `json:"ref"`
	Code         string            `json:"code"`
	Index        *int              `json:"index"`
	RetryAfterMs int64             `json:"retryAfterMs"`
	Status       string            `json:"status"`
	Payload      json.RawMessage   `json:"payload"`
	Calls        []json.RawMessage `json:"calls"`
	Cursor       string            `json:"cursor"`
	Reason       string            `json:"reason"`
	raw          string
}

// kind is what a reply is: its type and, of an error, its code.
func (r *reply) kind() string { return strings.TrimSpace(r.Type + " " + r.Code) }

// refusal is a handshake that came to no connection.
type refusal struct {
	Status  int
	Code    string
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Code) }

// waitFor is for how long attackers wait for an answer. It only catches what
// never comes.
const waitFor = time.Minute

// handshake opens a socket with some lines of header beside the usual ones.
// It returns a *refusal if the server says no.
func handshake(address string, lines ...string) (*rawSocket, error) {
	c, err := net.DialTimeout("tcp", address, waitFor)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(waitFor))
	s := &rawSocket{Conn: c, in: bufio.NewReaderSize(c, 4096)}
	lines = append([]string{
		"GET / HTTP/1.1", "Host: " + address, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, lines...)
	// The server may answer, and close, before it has read all.
	_, wrote := c.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	s.response, err = http.ReadResponse(s.in, nil)
	if err != nil {
		_ = c.Close()
		return nil, errors.Join(err, wrote)
	}
	if s.response.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = c.Close() }()
		r := &refusal{Status: s.response.StatusCode}
		_ = json.NewDecoder(s.response.Body).Decode(r)
		return nil, r
	}
	_ = c.SetDeadline(time.Time{})
	return s, nil
}

// openSocket opens a socket for a token, with some more lines of header.
func openSocket(address, token string, lines ...string) (*rawSocket, error) {
	lines = append(lines, "Sec-WebSocket-Protocol: streamer.v1", "Authorization: Bearer "+token)
	return handshake(address, lines...)
}

// frame is one frame, masked as a client's must be.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func (s *rawSocket) writeText(format string, args ...any) error {
	_, err := s.Write(frame(finBit|opText, fmt.Appendf(nil, format, args...)))
	return err
}

// closed is the end of a connection: the code that the server closed it with,
// 0 if it said none.
type closed struct{ code int }

func (c closed) Error() string { return fmt.Sprintf("closed %d", c.code) }

// readFrame reads one frame of the server's.
func (s *rawSocket) readFrame() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if lengthSize := map[uint64]int{126: 2, 127: 8}[n]; lengthSize > 0 {
		var length [8]byte
		_, err = io.ReadFull(s.in, length[8-lengthSize:])
		n = binary.BigEndian.Uint64(length[:])
	}
	if err != nil || n > 1<<20 {
		return 0, nil, errors.Join(err, fmt.Errorf("a frame of %d bytes", n))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.in, payload)
	return head[0] & 0x0f, payload, err
}

// next returns the next message, or closed when the connection ends.
func (s *rawSocket) next() (reply, error) {
	for len(s.more) == 0 {
		_ = s.SetReadDeadline(time.Now().Add(waitFor))
		opcode, payload, err := s.readFrame()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return reply{}, err
		case err != nil:
			return reply{}, closed{}
		case opcode == opClose && len(payload) >= 2:
			return reply{}, closed{int(binary.BigEndian.Uint16(payload))}
		case opcode == opClose:
			return reply{}, closed{}
		case opcode != opText:
			continue
		}
		if err := s.take(payload); err != nil {
			return reply{}, err
		}
	}
	m := s.more[0]
	s.more = s.more[1:]
	return m, nil
}

// take decodes a frame's message or messages.
func (s *rawSocket) take(payload []byte) error {
	if len(payload) > 32<<10 && bytes.HasPrefix(payload, []byte(`{"type":"result"`)) {
		s.more = append(s.more, reply{Type: "result"}) // hundreds of these are looked at no further
		return nil
	}
	if payload[0] != '[' {
		payload = slices.Concat([]byte{'['}, payload, []byte{']'})
	}
	var all []json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil {
		return err
	}
	for _, one := range all {
		var m reply
		if err := json.Unmarshal(one, &m); err != nil {
			return err
		}
		m.raw = string(one)
		s.more = append(s.more, m)
	}
	return nil
}

// end reads until the connection ends, and returns what with.
func (s *rawSocket) end() error {
	for {
		if _, err := s.next(); err != nil {
			return err
		}
	}
}
