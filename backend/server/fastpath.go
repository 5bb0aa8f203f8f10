package server

import (
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/deliver"
)

// A call of a fast action runs on the goroutine that read it, which then sends
// the answer: that saves two changes of goroutines (decision 0009). If the call
// takes longer than handOffAfter, another goroutine reads on meanwhile.
const handOffAfter = 5 * time.Millisecond

// readerLease is the right to read a connection. The goroutine that runs a call
// loses it when the call takes too long.
type readerLease struct {
	out  *deliver.Outbox
	pool *workerPool
	// read reads the connection, on the goroutine that the lease passed to.
	read func()

	// holder is the number of the call that the reading waits for; 0: none. The
	// goroutine that sets it to 0 reads on, and has the fields below.
	holder atomic.Uint64
	last   uint64
	sender *answerSender
	timer  *time.Timer
}

// runOnReader runs a call on the goroutine that reads, and sends its answer. It
// returns false if another goroutine reads on.
func (l *readerLease) runOnReader(t task, sender *answerSender) bool {
	l.pool.busy.Add(1)
	defer l.pool.busy.Done()
	sender.holdForReader()
	l.last++
	number := l.last
	l.sender = sender
	if l.timer == nil { // set before the timer's goroutine may read it
		l.timer = time.AfterFunc(time.Hour, l.handOffReader)
	}
	l.holder.Store(number)
	l.timer.Reset(handOffAfter)
	t.run()
	if sender.release() {
		_ = l.out.Drain(l.pool.ctx)
	}
	if !l.holder.CompareAndSwap(number, 0) {
		return false
	}
	l.timer.Stop()
	l.sender = nil
	return true
}

// handOffReader reads on because a call takes long. A timer that is late may meet
// the next call: that one loses the lease too early, which does no harm.
func (l *readerLease) handOffReader() {
	number := l.holder.Load()
	if number == 0 || !l.holder.CompareAndSwap(number, 0) {
		return
	}
	if l.sender.release() {
		l.out.Start()
	}
	l.read()
}

// answerSender decides which goroutine sends an answer that was added to an
// outbox: the reader when it is done with the call, or one of the pool.
type answerSender struct{ state atomic.Int32 }

const (
	sentByPool   int32 = iota
	sentByReader       // when the call is done
	answerWaits        // for the reader
)

func (s *answerSender) holdForReader() { s.state.Store(sentByReader) }

// leaveToReader reports whether the reader sends what waits.
func (s *answerSender) leaveToReader() bool {
	return s.state.CompareAndSwap(sentByReader, answerWaits)
}

// release leaves later answers to the pool, and reports whether one waits.
func (s *answerSender) release() bool { return s.state.Swap(sentByPool) == answerWaits }
