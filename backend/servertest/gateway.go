package servertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// maxUnnoticed bounds the connections of which the server has not learned that
// the client has left; of those beyond it is told at once.
const maxUnnoticed = 1024

// handshakeWait bounds the answer to a handshake.
const handshakeWait = 10 * time.Second

// Gateway stands in front of a handler that serves the protocol, and does to
// its clients what [Options] say. It is an http.Handler, and safe for
// concurrent use.
type Gateway struct {
	options Options
	handler http.Handler
	clock   *clock
	began   time.Time
	// inner is the network between the gateway and the handler.
	inner *Listener
	web   *http.Server
	ctx   context.Context
	quit  context.CancelFunc
	busy  sync.WaitGroup // handshakes, and the connections' goroutines
	once  sync.Once

	mu     sync.Mutex
	closed bool
	conns  int // handshakes so far
	links  map[*link]bool
	// opening counts handshakes that are being answered.
	opening int
	changed chan struct{} // closed when links or opening change; nil: nobody waits
	script  script
	journal journal
}

var _ http.Handler = (*Gateway)(nil)

// NewGateway returns a gateway in front of a handler. Close it before the
// server that the handler belongs to.
func NewGateway(handler http.Handler, o *Options) (*Gateway, error) {
	options, err := o.fill()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		options: options, handler: handler, clock: newClock(), inner: NewListener(), links: map[*link]bool{},
		web: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)},
	}
	g.began = g.clock.now()
	g.ctx, g.quit = context.WithCancel(context.Background())
	g.busy.Go(func() { _ = g.web.Serve(g.inner) })
	return g, nil
}

// Close cuts all connections, and waits until nothing of the gateway is left.
// The handler's own server is not closed.
func (g *Gateway) Close() {
	g.once.Do(func() {
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.quit()
		for _, l := range g.all() {
			l.abort()
		}
		_ = g.web.Close()
		g.busy.Wait()
		g.clock.close()
	})
}

// Shutdown waits until all connections have ended, so that the goodbyes of a
// server that was shut down reach the clients, but no longer than ctx: those
// that are half-open do not end. Then it closes the gateway.
func (g *Gateway) Shutdown(ctx context.Context) {
	g.await(ctx, func() bool { return g.opening == 0 && len(g.links) == 0 })
	g.Close()
}

// Next has a fault done to the next frame, handshake or close that matches, or
// to several. The channel is closed when it has been done as often as it was
// asked for. Scripted faults go before those by chance; of several, the one
// that was asked for first. Next panics when the fault could never be done.
func (g *Gateway) Next(fault Fault, matches ...Match) <-chan struct{} {
	r := newRule(fault, matches)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.script.rules = append(g.script.rules, r)
	return r.done
}

// SetFaults replaces the faults by chance: nil ends them, so that a test can
// wait for all that goes on to come to its end. Connections that are half-open
// stay so. It returns an error that names the rate that is wrong.
func (g *Gateway) SetFaults(f Faults) error {
	filled, err := (&Options{Faults: f}).fill()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.options.Faults = filled.Faults
	return nil
}

// CutAll cuts all connections: they die without a close frame.
func (g *Gateway) CutAll() { g.each(Cut, (*link).cut) }

// GoAwayAll closes all connections with 1001.
func (g *Gateway) GoAwayAll() { g.each(GoAway, (*link).goAway) }

// HalfOpenAll has all connections fall silent, and stay open.
func (g *Gateway) HalfOpenAll() { g.each(HalfOpen, (*link).fallSilent) }

func (g *Gateway) each(fault Fault, do func(*link)) {
	g.settle()
	for _, l := range g.all() {
		g.log(&Entry{Conn: l.n, From: FromServer, What: "connection", Fault: fault, Note: "by hand"})
		do(l)
	}
}

// Advance moves the gateway's clock ahead, and returns when it has begun all
// that fell due: limits, late frames, late closes. The clock of the server, and
// those of clients, stay as they are. In a bubble of testing/synctest time.Sleep
// moves all of them.
func (g *Gateway) Advance(d time.Duration) {
	g.settle()
	g.clock.advance(d)
}

// Log returns what was done, the newest last: to each frame, handshake and
// close, whether or not a fault befell it. It holds the last 9,000 entries or
// more, and nothing of payloads and tokens.
func (g *Gateway) Log() []Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.journal.entries)
}

// Connections returns how many clients are connected, half-open ones included.
func (g *Gateway) Connections() int {
	g.settle()
	n := 0
	for _, l := range g.all() {
		if l.connected() {
			n++
		}
	}
	return n
}

// ServeHTTP does a handshake. What is no handshake goes to the handler as it
// is.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		g.handler.ServeHTTP(w, r)
		return
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	g.busy.Add(1)
	g.conns++
	n := g.conns
	g.mu.Unlock()
	defer g.busy.Done()
	v, done := g.judge(&occasion{at: atHandshake, conn: n, from: FromClient, n: 1})
	defer done()
	entry := &Entry{Conn: n, From: FromClient, What: "handshake", Fault: v.fault}
	if v.fault != Throttle {
		g.connect(w, r, v, entry)
		return
	}
	status := http.StatusTooManyRequests
	if v.part >= 0.5 {
		status = http.StatusServiceUnavailable
	}
	entry.Note = fmt.Sprintf("answered %d", status)
	g.log(entry)
	refuse(w, status)
}

// refuse answers as API Gateway does: not in the words of the protocol.
func refuse(w http.ResponseWriter, status int) {
	text := "Too Many Requests"
	if status == http.StatusServiceUnavailable {
		text = "Service Unavailable"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
}

// connect connects with the server, and then the client with that.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request, v verdict, entry *Entry) {
	since := g.clock.now()
	server, response, err := g.dial(r)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err != nil {
		entry.Note = "refused by the server"
		g.log(entry)
		if response == nil {
			refuse(w, http.StatusServiceUnavailable)
			return
		}
		relay(w, response)
		return
	}
	upgrader := websocket.Upgrader{
		HandshakeTimeout: handshakeWait, WriteBufferSize: frameBytes,
		CheckOrigin: func(*http.Request) bool { return true }, // the server has judged it
	}
	if chosen := server.Subprotocol(); chosen != "" {
		upgrader.Subprotocols = []string{chosen}
	}
	g.open(1)
	defer g.open(-1)
	client, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		entry.Note = "the client did not finish it"
		g.log(entry)
		_ = server.Close()
		return
	}
	g.log(entry)
	l := newLink(g, entry.Conn, client, server, since, v)
	if v.fault == Stillborn {
		l.cut()
	}
	g.mu.Lock()
	g.links[l] = true
	if g.closed {
		l.abort()
	}
	g.mu.Unlock()
	l.run()
}

func (g *Gateway) open(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening += n
	g.change()
}

// dial connects with the server in a client's name.
func (g *Gateway) dial(r *http.Request) (*websocket.Conn, *http.Response, error) {
	header := r.Header.Clone()
	for name := range header {
		if name == "Connection" || name == "Upgrade" || strings.HasPrefix(name, "Sec-Websocket-") {
			delete(header, name)
		}
	}
	header.Set("Host", r.Host)
	d := websocket.Dialer{
		NetDialContext: g.inner.DialContext, HandshakeTimeout: 30 * time.Second, Subprotocols: websocket.Subprotocols(r),
	}
	return d.DialContext(g.ctx, "ws://streamer.test"+r.URL.RequestURI(), header)
}

// relay hands on the server's refusal.
func relay(w http.ResponseWriter, response *http.Response) {
	for name, values := range response.Header {
		if name != "Connection" && name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

// judge decides what befalls: by script, or by chance. done is to be called
// when it has been done.
func (g *Gateway) judge(o *occasion) (v verdict, done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v = roll(g.options.Seed, g.options.Faults, o.at, o.conn, o.from, o.n)
	if o.at == atFrame && g.options.Only != "" && g.options.Only != o.from {
		v.fault = ""
	}
	fault, done, scripted := g.script.take(o)
	if scripted {
		v.fault = fault
	}
	return v, done
}

// foreign is an error of the gateway's own: it has no type.
func (g *Gateway) foreign(conn, frame int) []byte {
	a, b := scatter(g.options.Seed^uint64(conn)), scatter(g.options.Seed^uint64(conn)<<32^uint64(frame))
	return fmt.Appendf(nil, `{"message": "Internal server error", "connectionId":"%011x=", "requestId":"%016x"}`, a>>20, b)
}

func (g *Gateway) log(e *Entry) {
	e.At = g.clock.now().Sub(g.began)
	g.mu.Lock()
	g.journal.add(e)
	g.mu.Unlock()
	if g.options.OnEntry != nil {
		g.options.OnEntry(*e)
	}
}

func (g *Gateway) all() []*link {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*link, 0, len(g.links))
	for l := range g.links {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *link) int { return a.n - b.n })
	return out
}

func (g *Gateway) remove(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.links, l)
	g.change()
}

// change wakes those who wait. The lock is held.
func (g *Gateway) change() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// await waits until a condition holds that is about links and opening, or ctx
// ends.
func (g *Gateway) await(ctx context.Context, holds func() bool) {
	for {
		g.mu.Lock()
		if holds() {
			g.mu.Unlock()
			return
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// settle waits for the handshakes that are being answered: a client may know of
// its connection a moment before the gateway does.
func (g *Gateway) settle() {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeWait)
	defer cancel()
	g.await(ctx, func() bool { return g.opening == 0 })
}

// crowded tells that so many clients have left unnoticed that no more may.
func (g *Gateway) crowded() bool {
	n := 0
	for _, l := range g.all() {
		if !l.connected() {
			n++
		}
	}
	return n > maxUnnoticed
}
