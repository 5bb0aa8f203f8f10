package servertest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Side is the side that sent a frame, or ended a connection.
type Side string

// The sides of a gateway.
const (
	FromClient Side = "client"
	FromServer Side = "server"
)

// maxEntries bounds the log: the oldest entries go first.
const maxEntries = 10_000

// Entry is what a gateway did to a frame, a handshake or a close. Of a message it
// holds only the type.
type Entry struct {
	// At is the gateway's time since its start.
	At time.Duration
	// Conn is the number of the handshake, from 1, and of its connection.
	Conn int
	// From is the side that sent the frame or ended the connection.
	From Side
	// Frame is the number of the frame on its side of the connection, from 1; 0: no
	// frame.
	Frame int
	// What is "handshake", "close", or the types of the frame's messages, such
	// as "ack+chunk×3+result".
	What string
	// Bytes is the length of the frame.
	Bytes int
	// Fault is the fault that was applied; empty: none.
	Fault Fault
	// Note holds details.
	Note string
}

// String returns a readable line.
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

// addEntry appends to the log.
func (g *Gateway) addEntry(e *Entry) {
	e.At = g.clock.now().Sub(g.began)
	g.mu.Lock()
	if len(g.log) >= maxEntries {
		// Dropping a tenth at a time makes the copying rare.
		g.log = slices.Delete(g.log, 0, maxEntries/10)
	}
	g.log = append(g.log, *e)
	g.mu.Unlock()
	if g.options.OnEntry != nil {
		g.options.OnEntry(*e)
	}
}

// formatNewest returns the last n entries as text.
func formatNewest(entries []Entry, n int) string {
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

// contents are the type and the call of each message of a frame.
type contents struct {
	types, ids []string
}

// inspect reads a frame of either side. An unreadable frame has no types.
func inspect(data []byte) contents {
	var c contents
	// The decoder of servers' messages accepts any object that has a type.
	messages, err := wire.DecodeServerFrame(data)
	if err != nil {
		return c
	}
	for _, m := range messages {
		c.types = append(c.types, m.Type)
		c.ids = append(c.ids, m.ID)
	}
	return c
}

// String lists the types, and counts repeated ones.
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
		name := cmp.Or(c.types[i], "typeless")
		if n > 1 {
			name += fmt.Sprintf("×%d", n)
		}
		parts = append(parts, name)
		i += n
	}
	return strings.Join(parts, "+")
}
