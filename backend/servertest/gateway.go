package servertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// maxUnnoticed bounds the connections whose server does not know that the client
// has left; for further ones it is notified at once.
const maxUnnoticed = 1024

// handshakeWait bounds the answer to a handshake.
const handshakeWait = 10 * time.Second

// Gateway is a proxy in front of a handler that serves the protocol; it applies the
// faults of its [Options]. It is an http.Handler, and safe for concurrent use.
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

	mu          sync.Mutex
	closed      bool
	conns       int // handshakes so far
	connections map[*connection]bool
	opening     int        // handshakes in progress
	changed     *sync.Cond // signals changes of connections and opening
	rules       []*rule    // scripted faults, in the order in which they were requested
	log         []Entry    // the newest entries
}

var _ http.Handler = (*Gateway)(nil)

// NewGateway returns a gateway in front of a handler. Close it before the
// server that the handler belongs to.
func NewGateway(handler http.Handler, o *Options) (*Gateway, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return newGateway(handler, options), nil
}

func newGateway(handler http.Handler, options Options) *Gateway {
	g := &Gateway{
		options: options, handler: handler, clock: newClock(), inner: NewListener(), web: newWebServer(handler),
		connections: map[*connection]bool{},
	}
	g.changed = sync.NewCond(&g.mu)
	g.began = g.clock.now()
	g.ctx, g.quit = context.WithCancel(context.Background())
	g.busy.Go(func() { _ = g.web.Serve(g.inner) })
	return g
}

// newWebServer returns a server that logs nothing.
func newWebServer(handler http.Handler) *http.Server {
	silent := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: silent}
}

// Close cuts all connections, and waits until the gateway's goroutines have ended.
// It does not close the handler's own server.
func (g *Gateway) Close() {
	g.once.Do(func() {
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.quit()
		for _, c := range g.sortedConnections() {
			c.abort()
		}
		_ = g.web.Close()
		g.busy.Wait()
		g.clock.close()
	})
}

// Shutdown waits until all connections have ended, so that the close frames of a
// server that was shut down reach the clients, or until ctx ends: half-open
// connections do not end. Then it closes the gateway.
func (g *Gateway) Shutdown(ctx context.Context) {
	g.await(ctx, func() bool { return g.opening == 0 && len(g.connections) == 0 })
	g.Close()
}

// Next applies a fault to the next matching frame, handshake or close, or to
// several. The channel is closed when the fault has been applied as often as
// requested. Scripted faults take precedence over random ones; of several, the one
// that was requested first. Next panics if the fault could never be applied.
func (g *Gateway) Next(fault Fault, matches ...Match) <-chan struct{} {
	r := newRule(fault, matches)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = append(g.rules, r)
	return r.done
}

// SetFaults replaces the random faults: nil ends them, so that a test can wait for
// all calls to end. Half-open connections stay half-open. It returns an error that
// names the wrong rate.
func (g *Gateway) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.options.Faults = maps.Clone(f)
	return nil
}

// CutAll cuts all connections: they end without a close frame.
func (g *Gateway) CutAll() { g.applyToAll(Cut, (*connection).cutClient) }

// GoAwayAll closes all connections with 1001.
func (g *Gateway) GoAwayAll() { g.applyToAll(GoAway, (*connection).goAway) }

// HalfOpenAll makes all connections half-open.
func (g *Gateway) HalfOpenAll() { g.applyToAll(HalfOpen, (*connection).fallSilent) }

func (g *Gateway) applyToAll(fault Fault, do func(*connection)) {
	g.awaitHandshakes()
	for _, c := range g.sortedConnections() {
		g.addEntry(&Entry{Conn: c.n, From: FromServer, What: "connection", Fault: fault, Note: "by hand"})
		do(c)
	}
}

// Advance moves the gateway's clock ahead, and returns when everything that was due
// has started: limits, late frames, late closes. The clocks of the server and of
// clients do not change. In a bubble of testing/synctest time.Sleep moves all of
// them.
func (g *Gateway) Advance(d time.Duration) {
	g.awaitHandshakes()
	g.clock.advance(d)
}

// Log returns an entry for each frame, handshake and close, with or without a
// fault, the newest last. It holds at least the last 9,000 entries, and no payloads
// or tokens.
func (g *Gateway) Log() []Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.log)
}

// Connections returns how many clients are connected, half-open ones included.
func (g *Gateway) Connections() int {
	g.awaitHandshakes()
	return g.count(true)
}

// count returns how many connections have a client, or have none any more.
func (g *Gateway) count(connected bool) int {
	n := 0
	for _, c := range g.sortedConnections() {
		if c.connected() == connected {
			n++
		}
	}
	return n
}

// ServeHTTP answers a handshake. It passes other requests to the handler.
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
	v := g.chooseFault(&occasion{at: atHandshake, conn: n, from: FromClient, n: 1})
	defer v.done()
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
	g.addEntry(entry)
	refuse(w, status)
}

// refuse answers as API Gateway does, not as the protocol specifies.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": http.StatusText(status)})
}

// connect connects to the server, and then the client to it.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request, v verdict, entry *Entry) {
	since := g.clock.now()
	server, response, err := g.dialServer(r)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err != nil {
		entry.Note = "refused by the server"
		g.addEntry(entry)
		if response == nil {
			refuse(w, http.StatusServiceUnavailable)
			return
		}
		relay(w, response)
		return
	}
	upgrader := websocket.Upgrader{
		HandshakeTimeout: handshakeWait, WriteBufferSize: frameBytes,
		CheckOrigin: func(*http.Request) bool { return true }, // the server has checked it
	}
	if chosen := server.Subprotocol(); chosen != "" {
		upgrader.Subprotocols = []string{chosen}
	}
	g.countOpening(1)
	defer g.countOpening(-1)
	client, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		entry.Note = "the client did not finish it"
		g.addEntry(entry)
		_ = server.Close()
		return
	}
	g.addEntry(entry)
	c := newConnection(g, entry.Conn, client, server, since, v)
	if v.fault == Stillborn {
		c.cutClient()
	}
	g.mu.Lock()
	g.connections[c] = true
	if g.closed {
		c.abort()
	}
	g.mu.Unlock()
	c.start()
}

func (g *Gateway) countOpening(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening += n
	g.changed.Broadcast()
}

// dialServer connects to the server with a client's headers.
func (g *Gateway) dialServer(r *http.Request) (*websocket.Conn, *http.Response, error) {
	header := r.Header.Clone()
	maps.DeleteFunc(header, func(name string, _ []string) bool {
		return name == "Connection" || name == "Upgrade" || strings.HasPrefix(name, "Sec-Websocket-")
	})
	header.Set("Host", r.Host)
	d := websocket.Dialer{
		NetDialContext: g.inner.DialContext, HandshakeTimeout: 30 * time.Second, Subprotocols: websocket.Subprotocols(r),
	}
	return d.DialContext(g.ctx, "ws://streamer.test"+r.URL.RequestURI(), header)
}

// relay forwards the server's refusal.
func relay(w http.ResponseWriter, response *http.Response) {
	for name, values := range response.Header {
		if name != "Connection" && name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

// chooseFault chooses the fault of an occasion, scripted or random. The caller calls
// the verdict's done when it has been applied.
func (g *Gateway) chooseFault(o *occasion) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := randomFault(g.options.Seed, g.options.Faults, o)
	if o.at == atFrame && g.options.Only != "" && g.options.Only != o.from {
		v.fault = ""
	}
	if r, last := g.nextRule(o); r != nil {
		v.fault = r.fault
		if last {
			v.last = r
		}
	}
	return v
}

// foreign returns an error message of the gateway itself: it has no type.
func (g *Gateway) foreign(conn, frame int) []byte {
	a, b := scatter(g.options.Seed^uint64(conn)), scatter(g.options.Seed^uint64(conn)<<32^uint64(frame))
	return fmt.Appendf(nil, `{"message": "Internal server error", "connectionId":"%011x=", "requestId":"%016x"}`, a>>20, b)
}

func (g *Gateway) sortedConnections() []*connection {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Keys(g.connections), func(a, b *connection) int { return a.n - b.n })
}

func (g *Gateway) remove(c *connection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.connections, c)
	g.changed.Broadcast()
}

// await waits until a condition on connections and opening holds, or ctx ends.
func (g *Gateway) await(ctx context.Context, holds func() bool) {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !holds() && ctx.Err() == nil {
		g.changed.Wait()
	}
}

// awaitHandshakes waits for the handshakes in progress: a client may know of its
// connection a moment before the gateway does.
func (g *Gateway) awaitHandshakes() {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeWait)
	defer cancel()
	g.await(ctx, func() bool { return g.opening == 0 })
}
