package server

import (
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// performance is a message's effect on its way to be carried out.
type performance struct {
	c      *conn
	facts  *session.Facts
	effect session.Effect
	// message is what it answers; nil but for a token's.
	message *wire.ClientMessage
	// index is the message's place in its batch; -1: it came alone.
	index  int
	pace   *pace // nil: not of an inline call
	held   int64 // what it was admitted for, in bytes
	output atomic.Int32
}

// Who writes the answer.
const (
	byCrew  int32 = iota
	byHand        // the goroutine that performs, when it is done
	waiting       // the same, and there is something to write
)

// do carries the effect out.
func (p *performance) do() {
	s := p.c.s
	if a, ok := p.effect.(session.Authenticate); ok {
		p.authenticate(a)
		return
	}
	begun := time.Now()
	s.session.Perform(s.ctx, p.facts, p.effect, p.answer)
	if p.pace.timed() {
		p.pace.took(time.Since(begun))
	}
}

func (p *performance) authenticate(a session.Authenticate) { p.answer(p.c.authenticate(a, p.message)) }

// answer is called once, from any goroutine.
func (p *performance) answer(m wire.ServerMessage) {
	p.c.withdraw(p)
	p.pace.answered(len(m.Payload) + len(m.Details))
	if p.index >= 0 && m.Code == wire.CodeOverloaded && m.Type == wire.TypeError {
		m.Index = &p.index
	}
	if p.c.queue(m) && !p.output.CompareAndSwap(byHand, waiting) {
		p.c.s.crew.run(writing{p.c})
	}
}

// release leaves the writing of the answer to the crew, and tells whether it
// waits for the caller instead.
func (p *performance) release() bool { return p.output.Swap(byCrew) == waiting }

// writing writes what waits for a connection.
type writing struct{ c *conn }

func (w writing) do() { w.c.write() }

// patience is for how long the goroutine that reads may perform a call before
// another one reads on.
const patience = 5 * time.Millisecond

// turn is the right to read a connection, which a goroutine that performs a
// call loses when that takes too long.
type turn struct {
	// holder is the number of the call that the reading waits for; 0: none.
	// Whoever sets it to 0 reads on, and all below is theirs.
	holder atomic.Uint64
	last   uint64
	call   *performance
	timer  *time.Timer
}

// performHere carries out a call that should be quick on the goroutine that
// reads, and writes its answer, which saves two changes of goroutines. If the
// call is not quick, another goroutine reads on meanwhile, and false is
// returned.
func (c *conn) performHere(p *performance) bool {
	c.s.crew.busy.Add(1)
	defer c.s.crew.busy.Done()
	p.output.Store(byHand)
	t := &c.turn
	t.last++
	number := t.last
	t.call = p
	if t.timer == nil { // set before anybody else may look
		t.timer = time.AfterFunc(time.Hour, c.readOn)
	}
	t.holder.Store(number)
	t.timer.Reset(patience)
	p.do()
	if p.release() {
		c.write()
	}
	if !t.holder.CompareAndSwap(number, 0) {
		return false
	}
	t.timer.Stop()
	t.call = nil
	return true
}

// readOn reads when the goroutine that did performs a call that takes long. A
// timer that comes late may find the next call: then that one is relieved too
// early, which does no harm.
func (c *conn) readOn() {
	t := &c.turn
	number := t.holder.Load()
	if number == 0 || !t.holder.CompareAndSwap(number, 0) {
		return
	}
	if t.call.release() {
		c.s.crew.run(writing{c})
	}
	c.read()
}
