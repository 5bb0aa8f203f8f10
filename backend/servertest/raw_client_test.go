package servertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/servertest"
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

func handshake(s *servertest.Server) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, NetDialContext: s.DialContext}
	return d.Dial(s.URL, http.Header{"Authorization": {"Bearer " + s.Token("acme", "ann")}})
}

func dial(t *testing.T, s *servertest.Server) *rawClient {
	t.Helper()
	ws, response, err := handshake(s)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, wire.Subprotocol, ws.Subprotocol())
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

// list sends a list, which is answered in one frame with the ref.
func (p *rawClient) list(ref string) { p.send(`{"type":"list","ref":"%s"}`, ref) }

// seal sends a message that is refused at once, so that answers come in order.
func (p *rawClient) seal(ref string) {
	p.send(`{"type":"seal","ref":"%s","id":"%s","size":1}`, ref, wire.NewID())
}

// frame returns the next frame.
func (p *rawClient) frame() string {
	p.t.Helper()
	select {
	case data, ok := <-p.frames:
		if !ok {
			p.t.Fatalf("the connection has ended: %v", p.err)
		}
		return string(data)
	case <-time.After(hangTimeout):
		p.t.Fatal("nothing comes")
	}
	return ""
}

// refs returns the refs of the next answers.
func (p *rawClient) refs(n int) string {
	p.t.Helper()
	var refs []string
	for len(refs) < n {
		messages, err := wire.DecodeServerFrame([]byte(p.frame()))
		require.Nil(p.t, err)
		for _, m := range messages {
			refs = append(refs, m.Ref)
		}
	}
	return strings.Join(refs, " ")
}

// next returns the next messages up to the first of a type.
func (p *rawClient) next(kind string) wire.ServerMessage {
	p.t.Helper()
	for {
		messages, err := wire.DecodeServerFrame([]byte(p.frame()))
		require.Nil(p.t, err)
		for _, m := range messages {
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
		select {
		case _, ok := <-p.frames:
			if ok {
				p.drained++
				continue
			}
		case <-time.After(hangTimeout):
			p.t.Fatal("the connection does not end")
		}
		var closed *websocket.CloseError
		if !asClose(p.err, &closed) {
			return websocket.CloseAbnormalClosure
		}
		return closed.Code
	}
}

func asClose(err error, closed **websocket.CloseError) bool {
	c, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla returns it bare
	*closed = c
	return ok
}

// done waits until a scripted fault was done.
func done(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(hangTimeout):
		t.Fatal("the fault was not done")
	}
}

// faults returns the faults in the log, with the frames that they were applied to.
func faults(s *servertest.Server) []string {
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
