package e2e

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Little, slowly.
var slowAttacks = []attack{
	{"sockets that say nothing", slowSockets},
	{"handshakes, a byte at a time", slowHandshakes},
	{"handshakes of 30 KB to 1 MB", hugeHandshakes},
	{"frames, a byte at a time", slowFrames},
}

// Frames that a library would not send.
var frameAttacks = []attack{
	{"messages in fragments of one byte", oneByteFragments},
	{"continuations without end", endlessContinuations},
	{"control frames without end", floodControl},
	{"frames that break RFC 6455", brokenFrames},
	{"compression", compression},
}

// Sockets in thrice the number that may wait for their handshake: others get
// in all the same, and all of them are closed.
func slowSockets(a *assault) string {
	sockets := make([]net.Conn, 3*attackedHandshakes)
	for i := range sockets {
		c, err := net.Dial("tcp", a.address)
		require.NoError(a, err)
		defer func() { _ = c.Close() }()
		sockets[i] = c
	}
	begun := time.Now()
	a.dial(a.token, "others are kept out")
	waited := time.Since(begun).Round(10 * time.Millisecond)
	for _, c := range sockets {
		_ = c.SetReadDeadline(time.Now().Add(waitFor))
		_, err := io.Copy(io.Discard, c)
		require.NotErrorIs(a, err, os.ErrDeadlineExceeded, "the server does not close it")
	}
	return fmt.Sprintf("%d closed; another got in after %s", len(sockets), waited)
}

func slowHandshakes(a *assault) string {
	var got outcomeCounts
	text := "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 10_000) // for longer than any test takes
	everybody(attackedHandshakes/2, attackedHandshakes/2, func() {
		c, err := net.Dial("tcp", a.address)
		if !assert.NoError(a, err) {
			return
		}
		defer func() { _ = c.Close() }()
		for _, letter := range []byte(text) {
			if _, err := c.Write([]byte{letter}); err != nil {
				got.add("cut off in time")
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	})
	require.Equal(a, attackedHandshakes/2, got.count("cut off in time"))
	return got.String()
}

func hugeHandshakes(a *assault) string {
	var got outcomeCounts
	fill := func(n int) string { return strings.Repeat("x,", n/2) }
	bearer := "Authorization: Bearer " + a.token
	for _, lines := range [][]string{
		{bearer, "Sec-WebSocket-Protocol: streamer.v1, " + fill(30<<10)},
		{bearer, "Sec-WebSocket-Protocol: " + fill(100<<10) + "streamer.v1"},
		{"Sec-WebSocket-Protocol: streamer.v1", "Cookie: " + fill(1<<20)},
		{"Sec-WebSocket-Protocol: streamer.v1, streamer.bearer." + strings.Repeat("x", 20<<10)},
		{"Sec-WebSocket-Protocol: streamer.v1", "Authorization: Bearer " + strings.Repeat("x", 20<<10)},
	} {
		_, err := handshake(a.address, lines...)
		got.note(err)
	}
	require.Zero(a, got.count("ok"))
	// As long as it is allowed to be.
	p, err := handshake(a.address, "Sec-WebSocket-Protocol: "+fill(8<<10)+"streamer.v1", bearer)
	require.NoError(a, err)
	_ = p.Close()
	return got.String()
}

// A frame that comes a byte at a time costs what an idle connection does, and
// its frame; it is answered when it is whole.
func slowFrames(a *assault) string {
	whole := frame(finBit|opText, fmt.Appendf(nil,
		`{"type":"request","id":"%s","action":"echo","payload":"%s"}`, client.NewID(), strings.Repeat("x", 31<<10)))
	var sockets []*rawSocket
	for range 60 {
		sockets = append(sockets, a.dial(a.token))
	}
	at := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); at++ {
		for _, p := range sockets {
			a.write(p, whole[at:at+1])
		}
		<-time.After(10 * time.Millisecond)
	}
	for _, p := range sockets {
		a.write(p, whole[at:])
		require.Equal(a, "result", a.next(p).Type)
		_ = p.Close()
	}
	return "60 answered when whole"
}

func oneByteFragments(a *assault) string {
	p := a.dial(a.token)
	text := fmt.Appendf(nil, `{"type":"request","id":"%s","action":"echo","payload":"%s"}`, client.NewID(), strings.Repeat("x", 30_000))
	frames := frame(opText, text[:1])
	for i := 1; i < len(text)-1; i++ {
		frames = append(frames, frame(opContinue, text[i:i+1])...)
		if i%10_000 == 0 { // control frames may stand between
			frames = append(frames, frame(finBit|opPing, []byte("p"))...)
		}
	}
	frames = append(frames, frame(finBit|opContinue, text[len(text)-1:])...)
	for range 20 {
		a.write(p, frames)
		require.Equal(a, "result", a.next(p).Type)
	}
	return "20 answered"
}

func endlessContinuations(a *assault) string {
	p := a.dial(a.token)
	a.write(p, frame(opText, []byte(`{"type":`)))
	empty := bytes.Repeat(frame(opContinue, nil), 1000)
	for range 200 {
		a.write(p, empty)
	}
	a.write(p, frame(finBit|opContinue, []byte(`"ping"}`)))
	require.Equal(a, "pong", a.next(p).Type, "200,000 empty frames mean nothing")
	a.write(p, frame(opText, []byte(`{"type":`)))
	for err, sent := error(nil), 0; err == nil && sent < 40; sent++ {
		_, err = p.Write(frame(opContinue, bytes.Repeat([]byte(" "), 1000)))
	}
	require.Equal(a, closed{1009}, p.end())
	return "empty ones: answered; 32 KiB in all: closed 1009"
}

// Pings are answered as long as somebody reads the pongs.
func floodControl(a *assault) string {
	pair := append(frame(finBit|opPing, bytes.Repeat([]byte("p"), 125)), frame(finBit|opPong, nil)...)
	return fmt.Sprintf("%d taken, then cut off", 400*a.writeUnread(bytes.Repeat(pair, 200)))
}

// brokenFrames are closed with the code that RFC 6455 names, each in its own
// connection, and cost no other one anything.
func brokenFrames(a *assault) string {
	text := []byte(`{"type":"ping"}`)
	unmasked := append([]byte{finBit | opText, byte(len(text))}, text...)
	var got outcomeCounts
	for _, b := range []struct {
		name string
		send []byte
		want []int
	}{
		{"no mask", unmasked, []int{1002}},
		{"RSV1", frame(finBit|rsv1Bit|opText, text), []int{1002}},
		{"RSV2", frame(finBit|0x20|opText, text), []int{1002}},
		{"RSV3", frame(finBit|0x10|opText, text), []int{1002}},
		{"opcode 3", frame(finBit|0x3, text), []int{1002}},
		{"opcode 11", frame(finBit|0xB, nil), []int{1002}},
		{"a continuation of nothing", frame(finBit|opContinue, text), []int{1002}},
		{"a text inside a text", append(frame(opText, text), frame(finBit|opText, text)...), []int{1002}},
		{"a ping in fragments", frame(opPing, nil), []int{1002}},
		{"a ping of 126 bytes", frame(finBit|opPing, make([]byte, 126)), []int{1002}},
		{"a close of one byte", frame(finBit|opClose, []byte{3}), []int{0, 1002}},
		{"a close with 1005", frame(finBit|opClose, []byte{3, 0xed}), []int{1002}},
		{"a close that is not UTF-8", frame(finBit|opClose, []byte{3, 0xe8, 0xff}), []int{1002, 1007}},
		{"binary", frame(finBit|opBinary, text), []int{1003}},
		{"33 KiB", frame(finBit|opText, make([]byte, 33<<10)), []int{1009}},
		{"2^62 bytes announced", []byte{finBit | opText, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, []int{1009}},
		{"2^64 bytes announced", []byte{finBit | opText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, []int{0, 1002, 1009}},
		{"a polite close", frame(finBit|opClose, []byte{3, 0xe8}), []int{1000}},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []int{1002}},
	} {
		p := a.dial(a.token)
		a.write(p, b.send)
		var end closed
		require.ErrorAs(a, p.end(), &end, b.name)
		require.Contains(a, b.want, end.code, b.name)
		got.add(end.Error())
		_ = p.Close()
	}
	p := a.dial(a.token) // what is wrong inside a right frame is no reason to close
	a.write(p, frame(finBit|opText, []byte{'"', 0xff, '"'}))
	require.Equal(a, "malformed", a.next(p).Code)
	a.write(p, frame(finBit|opText, nil))
	require.Equal(a, "malformed", a.next(p).Code)
	return got.String()
}

// Compression is not negotiated, whatever is offered; so a bomb is a frame
// with a reserved bit.
func compression(a *assault) string {
	p, err := a.open(a.token,
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover, permessage-deflate, x-webkit-deflate-frame")
	require.NoError(a, err)
	defer func() { _ = p.Close() }()
	require.Empty(a, p.response.Header.Values("Sec-Websocket-Extensions"))
	require.Equal(a, "streamer.v1", p.response.Header.Get("Sec-Websocket-Protocol"))
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	require.NoError(a, err)
	_, err = w.Write(make([]byte, 16<<20))
	require.NoError(a, err)
	require.NoError(a, w.Flush())
	require.Less(a, bomb.Len(), 32<<10)
	a.write(p, frame(finBit|rsv1Bit|opText, bomb.Bytes()))
	require.Equal(a, closed{1002}, p.end())
	return "not negotiated; a bomb: closed 1002"
}
