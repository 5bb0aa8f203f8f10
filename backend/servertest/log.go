package servertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Side is who has sent a frame, or ended a connection.
type Side string

// The sides of a gateway.
const (
	FromClient Side = "client"
	FromServer Side = "server"
)

// maxEntries bounds the log: the oldest entries go first.
const maxEntries = 10_000

// Entry is what a gateway did to a frame, a handshake or a close. It holds
// nothing of what a message says but its type.
type Entry struct {
	// At is the gateway's time, since it began.
	At time.Duration
	// Conn numbers the handshakes, from 1, and so the connections.
	Conn int
	// From is who sent the frame or ended the connection.
	From Side
	// Frame numbers the frames of a side of a connection, from 1; 0: no frame.
	Frame int
	// What is "handshake", "close", or the types of the frame's messages, such
	// as "ack+chunk×3+result".
	What string
	// Bytes is how long the frame was.
	Bytes int
	// Fault is what befell it; empty: nothing.
	Fault Fault
	// Note says more.
	Note string
}

// String is a line for people.
func (e Entry) String() string {
	arrow := "→"
	if e.From == FromServer {
		arrow = "←"
	}
	text := fmt.Sprintf("%10.3fs  #%d %s %s", e.At.Seconds(), e.Conn, arrow, e.What)
	if e.Frame > 0 {
		text += fmt.Sprintf(" (frame %d, %d B)", e.Frame, e.Bytes)
	}
	if e.Fault != "" {
		text += "  " + strings.ToUpper(string(e.Fault))
	}
	if e.Note != "" {
		text += "  " + e.Note
	}
	return text
}

// journal holds the newest entries. Its user sees to the locking.
type journal struct {
	entries []Entry
	dropped int
}

func (j *journal) add(e *Entry) {
	if len(j.entries) >= maxEntries {
		// A tenth at a time, so that it costs little.
		n := maxEntries / 10
		j.dropped += n
		j.entries = append(j.entries[:0], j.entries[n:]...)
	}
	j.entries = append(j.entries, *e)
}

// tail is the end of the log, as text.
func tail(entries []Entry, n int) string {
	var b strings.Builder
	if skipped := len(entries) - n; skipped > 0 {
		fmt.Fprintf(&b, "  … %d entries before these\n", skipped)
		entries = entries[skipped:]
	}
	for _, e := range entries {
		b.WriteString("  " + e.String() + "\n")
	}
	return b.String()
}

// contents are what a frame holds, as far as a gateway looks: of each message
// its type and the call that it is about.
type contents struct {
	types, ids []string
}

// look reads a frame of either side. What cannot be read has no type.
func look(data []byte) contents {
	var c contents
	// The decoder of server's messages takes any object that has a type.
	messages, err := wire.DecodeServerFrame(data)
	if err != nil {
		return c
	}
	for i := range messages {
		c.types = append(c.types, messages[i].Type)
		c.ids = append(c.ids, messages[i].ID)
	}
	return c
}

// String names the types, and counts those that repeat.
func (c contents) String() string {
	if len(c.types) == 0 {
		return "unreadable"
	}
	var parts []string
	for i := 0; i < len(c.types); {
		n := 1
		for i+n < len(c.types) && c.types[i+n] == c.types[i] {
			n++
		}
		name := c.types[i]
		if name == "" {
			name = "typeless"
		}
		if n > 1 {
			name += fmt.Sprintf("×%d", n)
		}
		parts = append(parts, name)
		i += n
	}
	return strings.Join(parts, "+")
}
