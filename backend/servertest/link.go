package servertest

import (
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// maxLate bounds the frames of a connection that are under way late; those
// beyond arrive at once.
const maxLate = 1024

// link is one connection of a client, and the one to the server behind it.
type link struct {
	g              *Gateway
	n              int
	client, server *end
	since          time.Time
	// early is until when the connection is not yet there for posts.
	early time.Time

	mu    sync.Mutex
	heard time.Time // when the client's last message came
	// silent tells that the connection is half-open: neither side hears
	// anything, and neither is told.
	silent                bool
	clientOver, clientEnd bool // its reading has ended; it is being closed
	serverOver            bool
	limit                 *alarm
	late                  map[*alarm]bool
	held                  map[*end]*holding
}

// holding is a frame that waits to be overtaken.
type holding struct {
	parcel parcel
	alarm  *alarm
}

func newLink(g *Gateway, n int, client, server *websocket.Conn, since time.Time, v verdict) *link {
	l := &link{
		g: g, n: n, client: newEnd(FromClient, client), server: newEnd(FromServer, server), since: since, heard: since,
		late: map[*alarm]bool{}, held: map[*end]*holding{},
	}
	if v.fault == NotYet {
		l.early = since.Add(g.options.NotYet)
	}
	client.SetReadLimit(wire.MaxClientMessage)
	ping, bye := client.PingHandler(), client.CloseHandler()
	client.SetPingHandler(func(text string) error {
		if l.quiet() {
			return nil
		}
		return ping(text)
	})
	client.SetCloseHandler(func(code int, text string) error {
		if l.quiet() {
			return nil
		}
		return bye(code, text)
	})
	return l
}

// run moves frames until both sides have ended.
func (l *link) run() {
	l.watch()
	for _, e := range []*end{l.client, l.server} {
		l.g.busy.Go(e.write)
		l.g.busy.Go(func() { l.read(e) })
	}
}

func (l *link) quiet() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

func (l *link) other(e *end) *end {
	if e == l.client {
		return l.server
	}
	return l.client
}

// read takes what one side sends.
func (l *link) read(from *end) {
	to := l.other(from)
	for {
		kind, data, err := from.ws.ReadMessage()
		if err != nil {
			from.leave(err)
			l.ended(from, codeOf(err))
			return
		}
		l.pass(from, to, parcel{kind: kind, data: data})
		to.await()
	}
}

// lost tells whether a frame arrives nowhere, because of what befell the
// connection before. It notes that a client was heard.
func (l *link) lost(from *end) (fault Fault, note string, lost bool) {
	now := l.g.clock.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.silent:
		return HalfOpen, "", true
	case from == l.client:
		l.heard = now
		return "", "the server is gone", l.serverOver
	case l.clientOver || l.clientEnd:
		return "", "the client is gone; the server learns of it", true
	case now.Before(l.early):
		return NotYet, "", true
	}
	return "", "", false
}

// pass does to a frame what is to be done to it.
func (l *link) pass(from, to *end, p parcel) {
	from.frames++
	holds := look(p.data)
	entry := Entry{Conn: l.n, From: from.side, Frame: from.frames, What: holds.String(), Bytes: len(p.data)}
	if fault, note, lost := l.lost(from); lost {
		entry.Fault, entry.Note = fault, note
		l.g.log(&entry)
		if from == l.server && fault == "" {
			from.last(0) // as a post is answered with 410
		}
		return
	}
	v, done := l.g.judge(&occasion{at: atFrame, conn: l.n, from: from.side, n: from.frames, holds: holds})
	entry.Fault = v.fault
	if v.fault == Delay {
		entry.Note = fmt.Sprintf("by %v", part(l.g.options.Delay, v))
	}
	l.g.log(&entry)
	l.do(v, from, to, p)
	done()
}

// do does one fault, or none.
func (l *link) do(v verdict, from, to *end, p parcel) {
	switch v.fault {
	case Lose:
	case Double:
		l.deliver(to, p)
		l.deliver(to, p)
	case Overtake:
		l.hold(to, p)
	case Delay:
		l.later(part(l.g.options.Delay, v), func() { to.push(p) })
	case Foreign:
		l.deliver(l.client, parcel{kind: websocket.TextMessage, data: l.g.foreign(l.n, from.frames)})
	case Cut:
		l.cut()
	case GoAway:
		l.deliver(to, p)
		l.goAway()
	case HalfOpen:
		l.fallSilent()
	default:
		l.deliver(to, p)
	}
}

// part is the share of a time that chance has chosen.
func part(of time.Duration, v verdict) time.Duration {
	return time.Duration(float64(of) * v.part).Round(time.Millisecond)
}

// deliver sends a frame on, and behind it the one that it has overtaken.
func (l *link) deliver(to *end, p parcel) {
	to.push(p)
	l.release(to, nil)
}

// hold has a frame overtaken by the next one. If one waits already, this is
// its next one.
func (l *link) hold(to *end, p parcel) {
	l.mu.Lock()
	if l.held[to] != nil {
		l.mu.Unlock()
		l.deliver(to, p)
		return
	}
	h := &holding{parcel: p}
	l.held[to] = h
	h.alarm = l.g.clock.after(l.g.options.Hold, func() { l.release(to, h) })
	l.mu.Unlock()
}

// release sends what waits to be overtaken: h, or whatever it is.
func (l *link) release(to *end, h *holding) {
	l.mu.Lock()
	waits := l.held[to]
	if waits == nil || h != nil && waits != h {
		l.mu.Unlock()
		return
	}
	delete(l.held, to)
	l.mu.Unlock()
	waits.alarm.stop()
	to.push(waits.parcel)
}

// later does something in a while, unless the connection has ended by then.
func (l *link) later(d time.Duration, do func()) {
	l.mu.Lock()
	if len(l.late) >= maxLate {
		l.mu.Unlock()
		do()
		return
	}
	defer l.mu.Unlock()
	var a *alarm
	a = l.g.clock.after(d, func() {
		l.mu.Lock()
		delete(l.late, a)
		silent := l.silent
		l.mu.Unlock()
		if !silent {
			do()
		}
	})
	l.late[a] = true
}

// cut ends the client's connection without a word.
func (l *link) cut() {
	l.endClient()
	l.client.cut()
}

// goAway ends the client's connection in good order.
func (l *link) goAway() {
	l.endClient()
	l.client.last(wire.CloseGoingAway)
}

// endClient notes that the client's connection is being ended.
func (l *link) endClient() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clientEnd = true
}

func (l *link) fallSilent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
	for to, h := range l.held {
		h.alarm.stop()
		delete(l.held, to)
	}
}

// ended takes the end of one side, and tells the other.
func (l *link) ended(e *end, code int) {
	l.mu.Lock()
	told := l.serverOver
	if e == l.client {
		l.clientOver = true
	} else {
		told = l.clientOver
		l.serverOver = true
	}
	over, silent := l.clientOver && l.serverOver, l.silent
	l.mu.Unlock()
	entry := Entry{Conn: l.n, From: e.side, What: "close", Note: "without a close frame"}
	if code != 0 {
		entry.Note = fmt.Sprintf("code %d", code)
	}
	switch {
	case told:
		entry.Note += "; both sides have ended"
		l.g.log(&entry)
	case silent:
		entry.Fault = HalfOpen
		l.g.log(&entry)
	default:
		l.tell(e, code, &entry)
	}
	if over {
		l.finish()
	}
}

// tell has the other side know that one has ended: at once, late, or never.
func (l *link) tell(e *end, code int, entry *Entry) {
	other := l.other(e)
	v, done := l.g.judge(&occasion{at: atClose, conn: l.n, from: e.side, n: 1})
	if v.fault != "" && l.g.crowded() {
		v.fault = ""
	}
	entry.Fault = v.fault
	lag := part(l.g.options.CloseLag, v)
	if v.fault == LateClose {
		entry.Note += fmt.Sprintf("; told %v later", lag)
	}
	l.g.log(entry)
	switch {
	case v.fault == LateClose:
		l.later(lag, func() { other.last(code) })
	case v.fault == LoseClose && e == l.server:
		l.cut()
	case v.fault == LoseClose:
	default:
		other.last(code)
	}
	done()
}

// finish lets go of a connection when both sides have ended.
func (l *link) finish() {
	l.mu.Lock()
	l.limit.stop()
	for a := range l.late {
		a.stop()
	}
	for _, h := range l.held {
		h.alarm.stop()
	}
	l.mu.Unlock()
	l.g.remove(l)
}

// watch sets the alarm to the next moment at which the connection may have to
// end, and ends it if that moment is now.
func (l *link) watch() {
	o := &l.g.options
	now := l.g.clock.now()
	l.mu.Lock()
	at, why := l.heard.Add(o.Idle), "idle"
	if life := l.since.Add(o.Life); life.Before(at) {
		at, why = life, "at the end of its life"
	}
	if at.After(now) {
		if !l.clientOver || !l.serverOver {
			l.limit = l.g.clock.after(at.Sub(now), l.watch)
		}
		l.mu.Unlock()
		return
	}
	unseen := l.silent || l.clientOver
	l.mu.Unlock()
	l.g.log(&Entry{Conn: l.n, From: FromClient, What: "close", Note: "by the gateway: " + why})
	if unseen { // the client hears nothing any more
		l.server.last(wire.CloseGoingAway)
		return
	}
	l.goAway()
}

// abort ends both sides at once.
func (l *link) abort() {
	l.client.cut()
	l.server.cut()
}

// connected tells whether the client's side goes on.
func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.clientOver
}
