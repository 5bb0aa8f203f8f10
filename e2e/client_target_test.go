package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/require"
)

type raw = json.RawMessage

// clientKnownFailures are transcripts that the Go client does not pass, and
// why. They are played all the same, and must be taken off when they pass.
var clientKnownFailures = map[string]string{}

// The clients' transcripts, played against the Go client in a bubble: sockets
// over pipes, and a clock that a story can move.
func TestClientTranscripts(t *testing.T) {
	all, err := conformance.Load(os.DirFS(filepath.Join(root, "contract", "sessions", "client")))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 20)
	for _, tr := range all {
		t.Run(tr.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := newClientTarget(t, tr.Tokens)
				why, known := clientKnownFailures[tr.Name]
				if !known {
					conformance.PlayClient(t, tr, target)
					return
				}
				var failure *conformance.Failure
				if err := conformance.RunClient(t.Context(), tr, target, nil); !errors.As(err, &failure) {
					t.Fatalf("%s is listed as a known failure (%s), and came to %v", tr.Name, why, err)
				}
			})
		})
	}
}

// clientTarget is the Go client, with a server that the player plays.
type clientTarget struct {
	client *client.Client
	web    *http.Server
	dials  chan *clientDial
	calls  map[string]*client.Call[raw, raw]
	ended  map[string]bool // the reader was handed the end

	mu    sync.Mutex
	conns []*serverConn
}

func newClientTarget(t *testing.T, tokens []string) *clientTarget {
	t.Helper()
	x := &clientTarget{dials: make(chan *clientDial), calls: map[string]*client.Call[raw, raw]{}, ended: map[string]bool{}}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	x.web = &http.Server{Handler: x}
	go func() { _ = x.web.Serve(l) }()
	var options client.Options
	options.DialContext = l.dial
	if len(tokens) > 0 {
		var mu sync.Mutex
		options.Token = func(context.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			token := tokens[0]
			if len(tokens) > 1 {
				tokens = tokens[1:]
			}
			return token, nil
		}
	}
	c, err := client.New("ws://streamer.test", &options)
	require.NoError(t, err)
	x.client = c
	return x
}

// ServeHTTP hands an attempt to connect to the player, and does what it says.
func (x *clientTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := &clientDial{w: w, r: r, decided: make(chan struct{}), target: x}
	select {
	case x.dials <- d:
	case <-r.Context().Done():
		return
	}
	select {
	case <-d.decided:
	case <-r.Context().Done():
	}
}

func (x *clientTarget) Abilities() []conformance.Ability {
	return []conformance.Ability{conformance.AbilityClock, conformance.AbilityHandshake}
}

func (x *clientTarget) Now() time.Time { return time.Now() }

func (x *clientTarget) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d) // fake
	synctest.Wait()
	return nil
}

func (x *clientTarget) Accept(ctx context.Context) (conformance.Dial, error) {
	select {
	case d := <-x.dials:
		return d, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// requestFields are the fields of a request message that an application sets.
type requestFields struct {
	Action         string `json:"action"`
	Payload        raw    `json:"payload"`
	Mode           string `json:"mode"`
	TimeoutMs      int64  `json:"timeoutMs"`
	IdempotencyKey string `json:"idempotencyKey"`
	DelayMs        int64  `json:"delayMs"`
	CancelAfterMs  *int64 `json:"cancelAfterMs"`
	Metadata       raw    `json:"metadata"`
}

func (x *clientTarget) Start(ctx context.Context, name string, request raw) error {
	var f requestFields
	if err := json.Unmarshal(request, &f); err != nil {
		return err
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	r := client.Action[raw, raw, raw](f.Action).With(f.Payload)
	switch f.Mode {
	case "sync":
		r = r.Sync()
	case "async":
		r = r.Async()
	}
	if f.TimeoutMs > 0 {
		r = r.Timeout(ms(f.TimeoutMs))
	}
	if f.IdempotencyKey != "" {
		r = r.IdempotencyKey(f.IdempotencyKey)
	}
	if f.DelayMs > 0 {
		r = r.Delay(ms(f.DelayMs))
	}
	if f.CancelAfterMs != nil {
		r = r.CancelAfter(ms(*f.CancelAfterMs))
	}
	if f.Metadata != nil {
		r = r.Metadata(f.Metadata)
	}
	call, err := r.Start(ctx, x.client)
	x.calls[name] = call
	return err
}

func (x *clientTarget) Attach(_ context.Context, name, id string) error {
	call, err := client.Action[raw, raw, raw]("attached").Attach(x.client, id)
	x.calls[name] = call
	return err
}

// Next takes one event of the call.
func (x *clientTarget) Next(ctx context.Context, name string) (raw, error) {
	if x.ended[name] {
		<-ctx.Done() // whoever reads on after the end is handed it again
		return nil, ctx.Err()
	}
	call := x.calls[name]
	for event, err := range call.Events(ctx) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out := map[string]any{"event": event.Kind.String()}
		switch event.Kind {
		case client.KindChunk:
			out["data"] = event.Chunk
		case client.KindProgress:
			out["percent"], out["message"] = event.Progress.Percent, event.Progress.Message
		case client.KindAttempt:
			out["attempt"], out["void"], out["code"] = event.Attempt.Number, event.Attempt.Void, event.Attempt.Code
		case client.KindEnd:
			x.ended[name] = true
			failed := (*client.Error)(nil)
			if errors.As(err, &failed) {
				out["event"], out["code"], out["message"] = "error", failed.Code, failed.Message
				break
			}
			result, err := call.Result(ctx)
			if err != nil {
				return nil, err
			}
			out["event"], out["payload"] = "result", result
		default:
			return nil, fmt.Errorf("an event of kind %v: %w", event.Kind, err)
		}
		return json.Marshal(out)
	}
	return nil, errors.New("the events have ended without an end")
}

func (x *clientTarget) Cancel(ctx context.Context, name string) error {
	go func() { _ = x.calls[name].Cancel(context.WithoutCancel(ctx)) }()
	synctest.Wait()
	return nil
}

func (x *clientTarget) Detach(_ context.Context, name string) error {
	x.calls[name].Detach()
	return nil
}

func (x *clientTarget) Close() error {
	x.mu.Lock()
	for _, c := range x.conns {
		c.Cut()
	}
	x.mu.Unlock()
	err := x.client.Close(context.Background())
	return errors.Join(err, x.web.Close())
}

// clientDial is one attempt of the client to connect.
type clientDial struct {
	w       http.ResponseWriter
	r       *http.Request
	decided chan struct{}
	target  *clientTarget
}

func (d *clientDial) Token() string {
	return strings.TrimPrefix(d.r.Header.Get("Authorization"), "Bearer ")
}

func (d *clientDial) Offered() []string {
	return slices.DeleteFunc(websocket.Subprotocols(d.r), func(s string) bool { return strings.HasPrefix(s, "streamer.bearer.") })
}

func (d *clientDial) Accept(subprotocol string) (conformance.Conn, error) {
	defer close(d.decided)
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	if subprotocol != "" {
		upgrader.Subprotocols = []string{subprotocol}
	}
	ws, err := upgrader.Upgrade(d.w, d.r, nil)
	if err != nil {
		return nil, err
	}
	c := &serverConn{ws: ws, frames: make(chan []byte, 4096)}
	go c.pump()
	d.target.mu.Lock()
	defer d.target.mu.Unlock()
	d.target.conns = append(d.target.conns, c)
	return c, nil
}

func (d *clientDial) Refuse(status int, body []byte) error {
	defer close(d.decided)
	d.w.Header().Set("Content-Type", "application/json")
	d.w.WriteHeader(status)
	_, err := d.w.Write(body)
	return err
}

// serverConn is the player's end of a connection.
type serverConn struct {
	ws     *websocket.Conn
	frames chan []byte // closed when the connection has ended
	why    *conformance.CloseError
}

func (c *serverConn) pump() {
	defer close(c.frames)
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			c.why = &conformance.CloseError{Code: websocket.CloseAbnormalClosure, Reason: err.Error()}
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				c.why = &conformance.CloseError{Code: closed.Code, Reason: closed.Text}
			}
			_ = c.ws.Close()
			return
		}
		c.frames <- data
	}
}

func (c *serverConn) Send(frame []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_ = c.ws.WriteMessage(websocket.TextMessage, frame)
	return nil
}

func (c *serverConn) Recv(ctx context.Context) ([]byte, error) {
	select {
	case data, ok := <-c.frames:
		if !ok {
			return nil, c.why
		}
		return data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *serverConn) Close(code int) error {
	return c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(5*time.Second))
}

func (c *serverConn) Cut() { _ = c.ws.NetConn().Close() }

// pipeListener is a network in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
