// Package witness reads what a server says on the wire, beside the client: what
// was told was promised, whether or not it arrived.
package witness

import (
	"bytes"
	"encoding/binary"
)

// maxMessage is twice what the protocol allows a server.
const maxMessage = 256 << 10

// frames takes the bytes that a server sends on one connection, as they come,
// and finds the text messages in them. It understands what Streamer's servers
// send: frames without masks and extensions.
type frames struct {
	buffer  []byte
	message []byte // of the fragments so far
	open    bool   // the handshake's response is over
	text    bool   // the message is text
	deaf    bool   // it was no WebSocket, or nothing that we understand
}

// feed takes bytes and calls message with each text message that is whole. The
// message is valid during the call.
func (f *frames) feed(b []byte, message func([]byte)) {
	if f.deaf {
		return
	}
	f.buffer = append(f.buffer, b...)
	if !f.open {
		head, rest, ok := bytes.Cut(f.buffer, []byte("\r\n\r\n"))
		if !ok {
			f.deaf = len(f.buffer) > 64<<10
			return
		}
		f.open, f.buffer = true, rest
		f.deaf = !bytes.HasPrefix(head, []byte("HTTP/1.1 101 "))
	}
	for !f.deaf && f.next(message) {
	}
}

// next takes one frame out of the buffer; false: it holds none that is whole.
func (f *frames) next(message func([]byte)) bool {
	if len(f.buffer) < 2 {
		return false
	}
	final, opcode := f.buffer[0]&0x80 != 0, f.buffer[0]&0x0f
	size, head := int(f.buffer[1]&0x7f), 2
	switch size {
	case 126:
		if head = 4; len(f.buffer) < head {
			return false
		}
		size = int(binary.BigEndian.Uint16(f.buffer[2:]))
	case 127:
		if head = 10; len(f.buffer) < head {
			return false
		}
		size = int(min(binary.BigEndian.Uint64(f.buffer[2:]), maxMessage+1))
	}
	if f.deaf = f.buffer[1]&0x80 != 0 || size+len(f.message) > maxMessage; f.deaf || len(f.buffer) < head+size {
		return false
	}
	body := f.buffer[head : head+size]
	if opcode < 8 { // else it is a control frame, which may stand between fragments
		if opcode != 0 {
			f.text, f.message = opcode == 1, f.message[:0]
		}
		f.message = append(f.message, body...)
		if final {
			if f.text {
				message(f.message)
			}
			f.message = f.message[:0]
		}
	}
	f.buffer = f.buffer[head+size:]
	return true
}
