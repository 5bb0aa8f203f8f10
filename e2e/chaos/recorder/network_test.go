package recorder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	serverproc.RunChild()
	goleak.VerifyTestMain(m)
}

const handshake = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// frame appends a frame as a server makes it.
func frame(b []byte, first byte, text string) []byte {
	b = append(b, first)
	switch n := len(text); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, text...)
}

// readAll reads all pieces of a stream, and returns its bytes and messages.
func readAll(from io.Reader) (all []byte, messages []string, err error) {
	c := &conn{reader: bufio.NewReaderSize(from, 1<<10)}
	for {
		raw, text, err := c.readPiece()
		if err != nil {
			return all, messages, err
		}
		all = append(all, raw...)
		if text != nil {
			messages = append(messages, string(text))
		}
	}
}

// Whatever the pieces in which bytes come, the messages are whole and in order, and
// no byte is lost.
func TestMessagesAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := []byte(handshake)
		var want []string
		for range rapid.IntRange(0, 6).Draw(t, "messages") {
			text := strings.Repeat("m", rapid.SampledFrom([]int{0, 1, 125, 126, 70_000}).Draw(t, "size"))
			want = append(want, text)
			stream = frame(stream, 0x81, text)
			if rapid.Bool().Draw(t, "ping") {
				stream = frame(stream, 0x89, "ping")
			}
		}
		var from io.Reader = bytes.NewReader(stream)
		if rapid.Bool().Draw(t, "byte by byte") {
			from = iotest.OneByteReader(from)
		}
		all, messages, err := readAll(from)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, messages)
		require.Equal(t, stream, all)
	})
}

// What no server of ours sends is an error.
func TestOtherProtocols(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 401 Unauthorized\r\n\r\n\x81\x02{}",
		handshake + "\x81\x82abcd{}",     // masked
		handshake + "\x01\x01{\x80\x01}", // in fragments
		handshake + "\x82\x02{}",         // binary
		handshake + "\xc1\x02{}",         // compressed
		handshake + "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		_, messages, err := readAll(strings.NewReader(text))
		require.ErrorIs(t, err, errProtocol, "%.20q", text)
		require.Empty(t, messages)
	}
	_, messages, err := readAll(strings.NewReader(strings.Repeat("x", 70<<10)))
	require.Error(t, err)
	require.Empty(t, messages)
}

func FuzzFrames(f *testing.F) {
	f.Add(frame([]byte(handshake), 0x81, `{"type":"ack"}`))
	f.Add([]byte(handshake + "\x81\x7e\x00\x03abc\x89\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, messages, err := readAll(bytes.NewReader(b))
		if err == nil || !bytes.HasPrefix(b, all) || len(messages) > 0 && !bytes.HasPrefix(b, []byte("HTTP")) {
			t.Errorf("%v, %d messages, read %q", err, len(messages), all)
		}
		for _, m := range messages {
			if len(m) > maxMessage {
				t.Errorf("a message of %d bytes", len(m))
			}
		}
	})
}

func TestEventsOfMessages(t *testing.T) {
	n := NewNetwork(1, 0)
	for _, text := range []string{
		`{"type":"ack","id":"a","seq":1,"epoch":5}`,
		`[{"type":"progress","id":"a","percent":3},{"type":"chunk","id":"a","seq":2,"attempt":1,"data":{"i":0}}]`,
		`{"type":"pong"}`,
		`{"type":"snapshot","id":"b","for":"c","events":[{"type":"attempt","seq":4,"attempt":2,"from":2,"keep":1,"code":"worker_lost"},` +
			`{"type":"result","seq":5,"payload":7}]}`,
		`{"type":"error","id":"d","code":"unavailable","final":false}`,
	} {
		require.False(t, n.record([]byte(text)))
	}
	got, _ := n.SentEvents()
	for i := range got {
		require.Positive(t, got[i].At)
		got[i].At = 0
	}
	sum := func(text string) uint64 { return (&Event{Data: []byte(text)}).Hash() }
	require.Equal(t, []Event{
		{Type: "ack", ID: "a", Seq: 1},
		{Type: "chunk", ID: "a", Seq: 2, Attempt: 1, Sum: sum(`{"i":0}`)},
		{Type: "snapshot", ID: "b"},
		{Type: "attempt", ID: "b", Seq: 4, Attempt: 2, From: 2, Keep: 1, Code: "worker_lost"},
		{Type: "result", ID: "b", Seq: 5, Sum: sum("7")},
		{Type: "error", ID: "d", Code: "unavailable"},
	}, got)
	require.Equal(t, 4, slices.IndexFunc(got, func(e Event) bool { return e.IsEnd() }))
	require.False(t, got[5].Durable(), "a refusal is not stored")
}

// What cannot be read is recorded as such, be it no message or no frame.
func TestUnreadable(t *testing.T) {
	n := NewNetwork(1, 0)
	n.record([]byte(`{"type":`))
	c := &conn{network: n, reader: bufio.NewReader(strings.NewReader("HTTP/1.1 401 Unauthorized\r\n\r\n"))}
	require.ErrorIs(t, c.receive(), errProtocol)
	n.record([]byte(`{"type":"ack","id":"a","seq":1}`))
	sent, _ := n.SentEvents()
	require.Len(t, sent, 3)
	for i, want := range []string{Unreadable, Unreadable, "ack"} {
		require.Equal(t, want, sent[i].Type)
	}
}

// acks is a server that sends so many acks on each connection and then waits for
// the client to go. It returns its address.
func acks(t *testing.T, n int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for i := range n {
			if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"ack","id":"call-%d","seq":1}`, i)) != nil {
				return
			}
		}
		_, _, _ = ws.ReadMessage()
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// received connects and reads until the connection is over or so many messages
// have come.
func received(t *testing.T, n *Network, most int) (got int) {
	t.Helper()
	d := websocket.Dialer{NetDialContext: n.Dial}
	ws, response, err := d.DialContext(t.Context(), "ws://server", nil)
	if err != nil {
		return 0 // cut in the handshake
	}
	_ = response.Body.Close()
	defer func() { _ = ws.Close() }()
	for got < most {
		if _, _, err := ws.ReadMessage(); err != nil {
			return got
		}
		got++
	}
	return got
}

func requireReadable(t *testing.T, sent []Event) {
	t.Helper()
	require.False(t, slices.ContainsFunc(sent, func(e Event) bool { return e.Type != "ack" }))
}

func TestNoCuts(t *testing.T) {
	n := NewNetwork(1, 100)
	n.SetTarget(acks(t, 2000), nil)
	n.StopCuts()
	require.Equal(t, 2000, received(t, n, 2000))
	sent, cuts := n.SentEvents()
	require.Len(t, sent, 2000)
	requireReadable(t, sent)
	require.Zero(t, cuts)
	require.Empty(t, n.open)
}

func TestConnectionsAreCut(t *testing.T) {
	n := NewNetwork(1, 5000)
	n.SetTarget(acks(t, 500), nil)
	for range 30 {
		received(t, n, 500)
	}
	sent, cuts := n.SentEvents()
	require.Positive(t, cuts)
	require.Less(t, cuts, 30, "some live longer")
	requireReadable(t, sent)
}

// What is lost is recorded, too.
func TestLostEvent(t *testing.T) {
	n := NewNetwork(1, 0)
	watched := 0
	n.SetTarget(acks(t, 9), func(e *Event) bool {
		require.Equal(t, "ack", e.Type)
		watched++
		return watched == 3
	})
	require.Equal(t, 2, received(t, n, 9))
	require.Equal(t, 3, watched)
	sent, _ := n.SentEvents()
	require.Len(t, sent, 3)
}

func TestNoTarget(t *testing.T) {
	_, err := NewNetwork(1, 0).Dial(t.Context(), "tcp", "server")
	require.Error(t, err)
}

func TestCutAll(t *testing.T) {
	n := NewNetwork(1, 0)
	n.SetTarget(acks(t, 1), nil)
	done := make(chan int)
	go func() { done <- received(t, n, 2) }()
	require.Eventually(t, func() bool {
		sent, _ := n.SentEvents()
		return len(sent) == 1
	}, 2*time.Minute, time.Millisecond)
	require.Equal(t, 1, n.CutAll())
	require.LessOrEqual(t, <-done, 1)
}

// A client that is killed leaves calls without an end; the next one continues
// them, under their ids.
func TestNextClientContinues(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	p, err := serverproc.Start([]string{self}, &serverproc.Settings{Run: 1, Data: filepath.Join(t.TempDir(), "streamer.db")}, os.Stderr)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	address := <-p.Address
	n := NewNetwork(1, 0)
	n.SetTarget(address, nil)
	r := New(n, serverproc.Plain, 1, 8)
	require.NoError(t, r.Start())
	require.Eventually(t, func() bool { return r.Acked.Load() > 8 }, 2*time.Minute, time.Millisecond)
	r.Kill()
	r.Pause.Store(true)
	unfinished := func() []*Call { return slices.DeleteFunc(slices.Clone(r.Calls()), (*Call).done) }
	left, before := unfinished(), len(r.Calls())
	require.NotEmpty(t, left)
	require.NoError(t, r.Start())
	<-r.Finish()
	r.Kill()
	require.Empty(t, unfinished())
	require.Len(t, r.Calls(), before, "no new calls during a pause, and none when it finishes")
	for _, c := range left {
		require.Greater(t, len(c.Reads), 1, "it was read again: %+v", c)
		require.True(t, c.Reads[len(c.Reads)-1].Ended)
	}

	stored, err := Stored(address)
	require.NoError(t, err)
	for _, s := range stored {
		require.True(t, s.Events[len(s.Events)-1].IsEnd())
	}
	require.NotEmpty(t, stored)
}
