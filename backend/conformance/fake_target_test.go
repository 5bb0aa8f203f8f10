package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeConn is a connection whose other end is the test's.
type fakeConn struct {
	frames chan []byte
	closed chan *CloseError
	// onFrame is called with every frame that the player sends.
	onFrame func(frame string)
	left    string // how the player ended it first
}

func newFakeConn(onFrame func(frame string)) *fakeConn {
	return &fakeConn{frames: make(chan []byte, 100), closed: make(chan *CloseError, 1), onFrame: onFrame}
}

// deliver sends frames to the player.
func (c *fakeConn) deliver(frames ...string) {
	for _, f := range frames {
		c.frames <- []byte(f)
	}
}

func (c *fakeConn) Recv(ctx context.Context) ([]byte, error) {
	select {
	case f := <-c.frames:
		return f, nil
	default:
	}
	select {
	case f := <-c.frames:
		return f, nil
	case e := <-c.closed:
		return nil, e
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeConn) leave(how string) {
	if c.left == "" {
		c.left = how
	}
}

func (c *fakeConn) Send(frame []byte) error       { c.onFrame(string(frame)); return nil }
func (c *fakeConn) SendBinary(frame []byte) error { c.onFrame("binary " + string(frame)); return nil }
func (c *fakeConn) Close(int) error               { c.leave("closed"); return nil }
func (c *fakeConn) Cut()                          { c.leave("cut") }
func (c *fakeConn) Stall()                        { c.onFrame("stalled") }
func (c *fakeConn) Resume()                       { c.onFrame("resumed") }

// fakeTarget is what the fakes of servers and clients have in common: they can
// do everything, unless a test takes an ability away, and note what they did.
type fakeTarget struct {
	abilities []Ability
	did       []string
	closed    bool
}

var everything = []Ability{
	AbilityClock, AbilityKill, AbilityNotify, AbilityRestart, AbilityShutdown, AbilityGates, AbilityHandshake, AbilityFrames,
	AbilitySettings, AbilityStall, AbilityHandover, AbilityBeside,
}

func (f *fakeTarget) do(what ...any) error {
	f.did = append(f.did, strings.TrimSuffix(fmt.Sprintln(what...), "\n"))
	return nil
}

func (f *fakeTarget) Abilities() []Ability { return f.abilities }
func (f *fakeTarget) Close() error         { f.closed = true; return nil }
func (f *fakeTarget) Now() time.Time       { return time.Now() }

func (f *fakeTarget) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	synctest.Wait()
	return nil
}

// fakeServer is a server that does what a test scripts.
type fakeServer struct {
	fakeTarget
	// serve answers a frame of a connection.
	serve func(c *fakeConn, frame string)
	// refusal refuses every connection.
	refusal error
}

func newFakeServer(serve func(c *fakeConn, frame string)) *fakeServer {
	return &fakeServer{fakeTarget: fakeTarget{abilities: everything}, serve: serve}
}

func (s *fakeServer) Connect(_ context.Context, who Identity) (Conn, error) {
	_ = s.do("connect", who.Subject)
	var c *fakeConn
	c = newFakeConn(func(frame string) { s.serve(c, frame) })
	return c, s.refusal
}

func (s *fakeServer) Token(who Identity) (string, error) {
	if who.Defect == Missing {
		return "", errors.New("has none")
	}
	return "token of " + who.Subject, nil
}

func (s *fakeServer) Kill(_ context.Context, when When) error { return s.do("kill", when) }
func (s *fakeServer) Restart(context.Context) error           { return s.do("restart") }
func (s *fakeServer) Shutdown(context.Context) error          { return s.do("shutdown") }
func (s *fakeServer) HandOver(context.Context) error          { return s.do("hand over") }
func (s *fakeServer) Release(gate string)                     { _ = s.do("release", gate) }

func (s *fakeServer) Await(ctx context.Context, gate string) error {
	if gate == "never" {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.do("await", gate)
}

// parseFile reads a transcript.
func parseFile(t testing.TB, file string) *Transcript {
	t.Helper()
	tr, err := Parse("example", []byte(file))
	require.NoError(t, err)
	return tr
}

// playFile plays steps for a server inside a bubble.
func playFile(t *testing.T, file string, server *fakeServer) (err error) {
	t.Helper()
	tr := parseFile(t, file)
	synctest.Test(t, func(t *testing.T) { err = Run(t.Context(), tr, server, nil) })
	require.True(t, server.closed)
	return err
}

// fakeClient is a client that does what a test scripts.
type fakeClient struct {
	fakeTarget
	dials  chan Dial
	events map[string]chan string
}

func newFakeClient(dials ...*fakeDial) *fakeClient {
	c := &fakeClient{fakeTarget: fakeTarget{abilities: everything}, dials: make(chan Dial, 10), events: map[string]chan string{}}
	for _, d := range dials {
		c.dials <- d
	}
	return c
}

// hand gives events to a reader.
func (c *fakeClient) hand(call string, events ...string) {
	if c.events[call] == nil {
		c.events[call] = make(chan string, 100)
	}
	for _, e := range events {
		c.events[call] <- e
	}
}

func (c *fakeClient) Accept(ctx context.Context) (Dial, error) { return receive(ctx, c.dials) }

func (c *fakeClient) Next(ctx context.Context, call string) (json.RawMessage, error) {
	c.hand(call)
	e, err := receive(ctx, c.events[call])
	return json.RawMessage(e), err
}

func (c *fakeClient) Start(_ context.Context, call string, request json.RawMessage) error {
	return c.do("start", call, string(request))
}
func (c *fakeClient) Attach(_ context.Context, call, id string) error {
	return c.do("attach", call, id)
}
func (c *fakeClient) Cancel(_ context.Context, call string) error { return c.do("cancel", call) }
func (c *fakeClient) Detach(_ context.Context, call string) error { return c.do("detach", call) }

// fakeDial is one attempt of a fakeClient's to connect.
type fakeDial struct {
	token   string
	offered []string
	conn    *fakeConn
	// picked and refused tell the decision.
	picked, refused string
}

func (d *fakeDial) Token() string     { return d.token }
func (d *fakeDial) Offered() []string { return d.offered }

func (d *fakeDial) Accept(subprotocol string) (Conn, error) {
	d.picked = subprotocol
	return d.conn, nil
}

func (d *fakeDial) Refuse(status int, body []byte) error {
	d.refused = fmt.Sprintf("%d %s", status, body)
	return nil
}

// playClientFile plays steps for a client inside a bubble, where its channels
// must be made.
func playClientFile(t *testing.T, file string, make func() *fakeClient) (client *fakeClient, err error) {
	t.Helper()
	tr := parseFile(t, file)
	synctest.Test(t, func(t *testing.T) {
		client = make()
		err = RunClient(t.Context(), tr, client, nil)
	})
	require.True(t, client.closed)
	return client, err
}
