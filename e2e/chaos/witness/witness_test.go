package witness

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const handshake = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// frame makes a frame as a server does.
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

// Whatever the pieces in which bytes come, and the fragments in which messages
// were sent, the messages come out whole and in order.
func TestMessagesComeOutWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := []byte(handshake)
		var want []string
		for range rapid.IntRange(0, 6).Draw(t, "messages") {
			text := strings.Repeat("m", rapid.SampledFrom([]int{0, 1, 125, 126, 70_000}).Draw(t, "size"))
			want = append(want, text)
			if rapid.Bool().Draw(t, "whole") {
				stream = frame(stream, 0x81, text)
				continue
			}
			cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
			stream = frame(stream, 0x01, text[:cut])
			stream = frame(stream, 0x89, "ping") // control frames may stand in between
			stream = frame(stream, 0x80, text[cut:])
		}
		f := &frames{}
		var got []string
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "piece")
			f.feed(stream[:n], func(m []byte) { got = append(got, string(m)) })
			stream = stream[n:]
		}
		require.Equal(t, want, got)
		require.False(t, f.deaf)
	})
}

// What is no server of ours is not listened to, whatever it sends.
func TestForeignersAreNotHeard(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 401 Unauthorized\r\n\r\n\x81\x02{}",
		handshake + "\x81\x82abcd{}", // masked
		handshake + "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
		strings.Repeat("x", 70<<10),
	} {
		f := &frames{}
		f.feed([]byte(text), func(m []byte) { t.Errorf("%.20q: %q was heard", text, m) })
		require.True(t, f.deaf, "%.20q", text)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frame([]byte(handshake), 0x81, `{"type":"ack"}`))
	f.Add([]byte(handshake + "\x01\x03abc\x80\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := &frames{}
		fr.feed(b, func(m []byte) {
			if len(m) > maxMessage || !bytes.Contains(b, []byte("HTTP")) {
				t.Errorf("a message of %d bytes", len(m))
			}
		})
	})
}

func listen(t *testing.T, texts ...string) []Told {
	t.Helper()
	var w Witness
	hear := w.Listen()
	require.Empty(t, hear([]byte(handshake)))
	var all []Told
	for _, text := range texts {
		all = append(all, hear(frame(nil, 0x81, text))...)
	}
	told, unread := w.Told()
	require.Equal(t, told, all)
	require.Zero(t, unread)
	for i := range all {
		require.Positive(t, all[i].At)
		all[i].At = 0
	}
	return all
}

func TestWhatWasTold(t *testing.T) {
	got := listen(t,
		`{"type":"ack","id":"a","seq":1,"epoch":5}`,
		`[{"type":"progress","id":"a","percent":3},{"type":"chunk","id":"a","seq":2,"attempt":1,"data":{"i":0}}]`,
		`{"type":"pong"}`,
		`{"type":"snapshot","id":"b","for":"c","events":[{"type":"attempt","seq":4,"attempt":2,"from":2,"keep":1,"code":"worker_lost"},`+
			`{"type":"result","seq":5,"payload":7}]}`,
		`{"type":"error","id":"d","code":"unavailable","final":false}`)
	require.Equal(t, []Told{
		{Type: "ack", ID: "a", Seq: 1},
		{Type: "chunk", ID: "a", Seq: 2, Attempt: 1, Sum: Sum([]byte(`{"i":0}`))},
		{Type: "snapshot", ID: "b", For: "c"},
		{Type: "attempt", ID: "b", Seq: 4, Attempt: 2, From: 2, Keep: 1, Code: "worker_lost", Replayed: true},
		{Type: "result", ID: "b", Seq: 5, Sum: Sum([]byte("7")), Replayed: true},
		{Type: "error", ID: "d", Code: "unavailable"},
	}, got)
	ends := slices.IndexFunc(got, func(t Told) bool { return t.Ends() })
	require.Equal(t, 4, ends)
	require.False(t, got[5].Event(), "a refusal is no event")
}

func TestUnreadMessagesAreCounted(t *testing.T) {
	var w Witness
	hear := w.Listen()
	hear([]byte(handshake))
	hear(frame(nil, 0x81, `{"type":`))
	hear(frame(nil, 0x81, `{"type":"ack","id":"a","seq":1}`))
	told, unread := w.Told()
	require.Len(t, told, 1)
	require.Equal(t, 1, unread)
	_, err := json.Marshal(told)
	require.NoError(t, err, fmt.Sprint(told))
}
