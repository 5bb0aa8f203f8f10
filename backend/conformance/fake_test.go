package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeConn is a connection whose other end is the test's.
type fakeConn struct {
	frames chan []byte
	closed chan *CloseError
	// heard is called with every frame that the player sends.
	heard func(frame string)

	mu   sync.Mutex
	left string // how the player left
}

func newFakeConn(heard func(frame string)) *fakeConn {
	return &fakeConn{frames: make(chan []byte, 100), closed: make(chan *CloseError, 1), heard: heard}
}

// say lets frames come to the player.
func (c *fakeConn) say(frames ...string) {
	for _, f := range frames {
		c.frames <- []byte(f)
	}
}

func (c *fakeConn) Send(frame []byte) error {
	c.heard(string(frame))
	return nil
}

func (c *fakeConn) SendBinary(frame []byte) error {
	c.heard("binary " + string(frame))
	return nil
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == "" {
		c.left = how
	}
}

func (c *fakeConn) Close(code int) error {
	c.leave("closed")
	return nil
}

func (c *fakeConn) Stall()  { c.heard("stalled") }
func (c *fakeConn) Resume() { c.heard("resumed") }

func (c *fakeConn) Cut() { c.leave("cut") }

// fakeServer is a target that does what a test scripts. It can do everything,
// unless a test takes an ability away.
type fakeServer struct {
	abilities []Ability
	// serve answers a frame of a connection.
	serve func(c *fakeConn, frame string)
	// refusal refuses every connection.
	refusal error
	conns   []*fakeConn
	did     []string
	closed  bool
}

var everything = []Ability{
	AbilityClock, AbilityKill, AbilityTelling, AbilityRestart, AbilityShutdown, AbilityGates, AbilityHandshake, AbilityFrames,
	AbilitySettings, AbilityStall, AbilityHandover, AbilityBeside,
}

func newFakeServer(serve func(c *fakeConn, frame string)) *fakeServer {
	return &fakeServer{abilities: everything, serve: serve}
}

func (s *fakeServer) Abilities() []Ability { return s.abilities }

func (s *fakeServer) Connect(_ context.Context, who Identity) (Conn, error) {
	s.did = append(s.did, "connect "+who.Subject)
	if s.refusal != nil {
		return nil, s.refusal
	}
	var c *fakeConn
	c = newFakeConn(func(frame string) { s.serve(c, frame) })
	s.conns = append(s.conns, c)
	return c, nil
}

func (s *fakeServer) Token(who Identity) (string, error) {
	if who.Flaw == Missing {
		return "", errors.New("has none")
	}
	return "token of " + who.Subject, nil
}

func (s *fakeServer) Close() error {
	s.closed = true
	return nil
}

func (s *fakeServer) Now() time.Time { return time.Now() }

func (s *fakeServer) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	synctest.Wait()
	return nil
}

func (s *fakeServer) Kill(_ context.Context, when When) error {
	s.did = append(s.did, "kill "+string(when))
	return nil
}

func (s *fakeServer) Restart(context.Context) error {
	s.did = append(s.did, "restart")
	return nil
}

func (s *fakeServer) Shutdown(context.Context) error {
	s.did = append(s.did, "shutdown")
	return nil
}

func (s *fakeServer) HandOver(context.Context) error {
	s.did = append(s.did, "hand over")
	return nil
}

func (s *fakeServer) Await(ctx context.Context, gate string) error {
	s.did = append(s.did, "await "+gate)
	if gate == "never" {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *fakeServer) Release(gate string) { s.did = append(s.did, "release "+gate) }

// playFile plays steps for a server inside a bubble.
func playFile(t *testing.T, file string, server *fakeServer) (err error) {
	t.Helper()
	tr, err := Parse("story", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { err = Run(t.Context(), tr, server, nil) })
	if !server.closed {
		t.Error("the target was not closed")
	}
	return err
}

// fakeClient is a client that does what a test scripts.
type fakeClient struct {
	abilities []Ability
	dials     chan *fakeDial
	events    map[string]chan string
	did       []string
	closed    bool
}

func newFakeClient(dials ...*fakeDial) *fakeClient {
	c := &fakeClient{abilities: everything, dials: make(chan *fakeDial, 10), events: map[string]chan string{}}
	for _, d := range dials {
		c.dials <- d
	}
	return c
}

// hand lets events come to a reader.
func (c *fakeClient) hand(call string, events ...string) {
	if c.events[call] == nil {
		c.events[call] = make(chan string, 100)
	}
	for _, e := range events {
		c.events[call] <- e
	}
}

func (c *fakeClient) Abilities() []Ability { return c.abilities }

func (c *fakeClient) Accept(ctx context.Context) (Dial, error) {
	select {
	case d := <-c.dials:
		return d, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeClient) Start(_ context.Context, call string, request json.RawMessage) error {
	c.did = append(c.did, "start "+call+" "+string(request))
	return nil
}

func (c *fakeClient) Attach(_ context.Context, call, id string) error {
	c.did = append(c.did, "attach "+call+" "+id)
	return nil
}

func (c *fakeClient) Next(ctx context.Context, call string) (json.RawMessage, error) {
	c.hand(call)
	select {
	case e := <-c.events[call]:
		return json.RawMessage(e), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeClient) Cancel(_ context.Context, call string) error {
	c.did = append(c.did, "cancel "+call)
	return nil
}

func (c *fakeClient) Detach(_ context.Context, call string) error {
	c.did = append(c.did, "detach "+call)
	return nil
}

func (c *fakeClient) Close() error {
	c.closed = true
	return nil
}

func (c *fakeClient) Now() time.Time { return time.Now() }

func (c *fakeClient) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	return nil
}

// fakeDial is one attempt of a fakeClient's to connect.
type fakeDial struct {
	token   string
	offered []string
	conn    *fakeConn
	// picked and refused hold what became of it.
	picked  string
	refused string
}

func (d *fakeDial) Token() string     { return d.token }
func (d *fakeDial) Offered() []string { return slices.Clone(d.offered) }

func (d *fakeDial) Accept(subprotocol string) (Conn, error) {
	d.picked = subprotocol
	return d.conn, nil
}

func (d *fakeDial) Refuse(status int, body []byte) error {
	d.refused = string(appendNode(nil, number(status))) + " " + string(body)
	return nil
}

// playClientFile plays steps for a client inside a bubble, where its channels
// must be made.
func playClientFile(t *testing.T, file string, make func() *fakeClient) (client *fakeClient, err error) {
	t.Helper()
	tr, err := Parse("story", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		client = make()
		err = RunClient(t.Context(), tr, client, nil)
	})
	if !client.closed {
		t.Error("the target was not closed")
	}
	return client, err
}
