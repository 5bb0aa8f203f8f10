package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// hangTimeout bounds every wait of a test outside bubbles.
const hangTimeout = time.Minute

// emission is the input of the action emit, and emitted its result.
type (
	emission struct {
		Chunks  int   `json:"chunks"`
		Size    int   `json:"size,omitempty"`
		PauseMs int64 `json:"pauseMs,omitempty"`
	}
	emitted struct {
		Chunks  int `json:"chunks"`
		Attempt int `json:"attempt"`
	}
)

// router has the actions that these tests call. Those of the transcripts are in
// another module, which requires this one.
func router() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "echo", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	streamer.Handle(r, "big", func(_ context.Context, size int) (string, error) { return strings.Repeat("x", size), nil })
	streamer.HandleStream(r, "emit", func(ctx context.Context, in emission, call *streamer.Call[string]) (emitted, error) {
		for range in.Chunks {
			select {
			case <-time.After(time.Duration(in.PauseMs) * time.Millisecond):
			case <-ctx.Done():
				return emitted{}, context.Cause(ctx)
			}
			call.Emit(strings.Repeat("x", in.Size))
		}
		return emitted{in.Chunks, call.Info().Attempt}, nil
	})
	streamer.HandleStream(r, "wait", func(ctx context.Context, _ json.RawMessage, call *streamer.Call[string]) (json.RawMessage, error) {
		call.Emit("waiting")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	return r
}

// rawClient is a WebSocket without the rules of the protocol, and the frames that it
// has received.
type rawClient struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan []byte // closed when the connection has ended
	err    error       // why; to be read when frames is closed
	// drained is how many frames end has dropped.
	drained int
}

// inBubble runs a test of a server in a bubble, where hours take no time.
func inBubble(t *testing.T, o *Options, test func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Pipes = true
		test(t, New(t, router(), o))
	})
}

func handshake(s *Server) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, NetDialContext: s.DialContext}
	return d.Dial(s.URL, http.Header{"Authorization": {"Bearer " + s.Token("acme", "ann")}})
}

func dial(t *testing.T, s *Server) *rawClient {
	t.Helper()
	ws, response, err := handshake(s)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, wire.Subprotocol, ws.Subprotocol())
	return newRawClient(t, ws)
}

// newRawClient reads from a connection until it ends.
func newRawClient(t *testing.T, ws *websocket.Conn) *rawClient {
	p := &rawClient{t: t, ws: ws, frames: make(chan []byte, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.frames)
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				p.err = err
				return
			}
			p.frames <- data
		}
	}()
	t.Cleanup(func() {
		_ = ws.Close()
		<-done
	})
	return p
}

func (p *rawClient) send(format string, args ...any) {
	p.t.Helper()
	require.NoError(p.t, p.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)))
}

// request sends a request with these fields, and returns its id. The call is stored
// before it runs.
func (p *rawClient) request(fields string) (id string) {
	p.t.Helper()
	id = wire.NewID()
	p.send(`{"type":"request","id":"%s","mode":"async",%s}`, id, fields)
	return id
}

// list sends a list, which is answered in one frame with the ref.
func (p *rawClient) list(ref string) { p.send(`{"type":"list","ref":"%s"}`, ref) }

// seal sends a message that is refused at once, so that answers come in order.
func (p *rawClient) seal(ref string) {
	p.send(`{"type":"seal","ref":"%s","id":"%s","size":1}`, ref, wire.NewID())
}

// receive waits for a value, or for the end of the channel: then ok is false.
func receive[T any](t *testing.T, c <-chan T) (v T, ok bool) {
	t.Helper()
	select {
	case v, ok = <-c:
	case <-time.After(hangTimeout):
		t.Fatal("nothing comes")
	}
	return v, ok
}

// requireAnswer sends a list, and checks that nothing but its answer comes.
func (p *rawClient) requireAnswer(ref string) {
	p.t.Helper()
	p.list(ref)
	require.Equal(p.t, ref, p.refs(1))
}

// frame returns the next frame.
func (p *rawClient) frame() string {
	p.t.Helper()
	data, ok := receive(p.t, p.frames)
	if !ok {
		p.t.Fatalf("the connection has ended: %v", p.err)
	}
	return string(data)
}

// messages returns the messages of the next frame.
func (p *rawClient) messages() []wire.ServerMessage {
	p.t.Helper()
	messages, err := wire.DecodeServerFrame([]byte(p.frame()))
	require.Nil(p.t, err)
	return messages
}

// refs returns the refs of the next answers.
func (p *rawClient) refs(n int) string {
	p.t.Helper()
	var refs []string
	for len(refs) < n {
		for _, m := range p.messages() {
			refs = append(refs, m.Ref)
		}
	}
	return strings.Join(refs, " ")
}

// next returns the next message of a type, and drops those before it.
func (p *rawClient) next(kind string) wire.ServerMessage {
	p.t.Helper()
	for {
		for _, m := range p.messages() {
			if m.Type == kind {
				return m
			}
		}
	}
}

// end waits for the end, and returns the close code; 1006: there was none.
func (p *rawClient) end() int {
	p.t.Helper()
	for {
		if _, ok := receive(p.t, p.frames); !ok {
			break
		}
		p.drained++
	}
	var closed *websocket.CloseError
	if errors.As(p.err, &closed) {
		return closed.Code
	}
	return websocket.CloseAbnormalClosure
}

// done waits until a scripted fault was done.
func done(t *testing.T, c <-chan struct{}) {
	t.Helper()
	receive(t, c)
}

// faults returns the faults in the log, with the frames that they were applied to.
func faults(s *Server) []string {
	var out []string
	for _, e := range s.Log() {
		if e.Fault != "" {
			out = append(out, fmt.Sprintf("%s: %s's %s", e.Fault, e.From, e.What))
		}
	}
	return out
}

func typeless(t *testing.T, frame string) map[string]string {
	t.Helper()
	var m map[string]string
	require.NoError(t, json.Unmarshal([]byte(frame), &m))
	return m
}
