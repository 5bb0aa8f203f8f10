package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/session"
)

// Waits that refusals name when it is not known when there will be room.
const (
	soon  = 100 * time.Millisecond // messages are being answered
	later = time.Second            // calls have to end
)

// refusal is why a command is not carried out, and when it may be sent again. The
// zero value is none.
type refusal struct {
	text string
	wait time.Duration
}

// limits are one connection's. The methods are called by the goroutine that
// reads, except release, which is safe for concurrent use.
type limits struct {
	options *Options
	// ctx ends the waits of debit.
	ctx    context.Context
	tenant *tenant
	// countStreams returns how many streams the connection follows.
	countStreams func() int
	// messages is how often the client may send one.
	messages quota.Rate
	// streamCredit is how many commands may come before the streams are counted
	// again.
	streamCredit int
	pending      atomic.Int64 // unanswered commands
	held         atomic.Int64 // bytes that they hold
	budget       memoryBudget // for held
}

// debit charges something that the client has sent, and returns after what time
// it would have been allowed. A client that keeps exceeding its rate is read no
// faster: debit blocks, unless the connection is closing.
func (l *limits) debit(now time.Time, closing bool) time.Duration {
	wait, deep := l.messages.Debit(now)
	if deep && !closing {
		select {
		case <-time.After(min(wait-l.messages.Burst(), time.Second)):
		case <-l.ctx.Done():
		}
		l.messages.Debit(time.Now())
	}
	return wait
}

// admit counts a command as unanswered, or says why it is refused. AnswerSize is
// how large its answer is assumed to be. Release must be called with held when it
// is answered.
func (l *limits) admit(cmd *session.Command, answerSize int64, now time.Time) (held int64, r refusal) {
	if cmd.Subscribes() && !l.allowStream() {
		return 0, refusal{"this connection follows too many streams; unsubscribe from some", later}
	}
	held = int64(cmd.Bytes) + answerSize
	if l.pending.Add(1) > int64(l.options.MaxPending) {
		l.pending.Add(-1)
		return 0, refusal{"too many messages of this connection are unanswered", soon}
	}
	// A single command is admitted however large it is.
	switch all := l.held.Add(held); {
	case all > int64(l.options.PendingBytes) && all > held:
		l.release(held)
		return 0, refusal{"the unanswered messages of this connection hold too much memory", soon}
	case !l.budget.Reserve(l.held.Load()):
		l.release(held)
		return 0, refusal{"unanswered messages hold too much of the server's memory", soon}
	}
	if request := cmd.Request(); request != nil {
		if wait := l.tenant.calls.Take(now); wait > 0 {
			l.release(held)
			return 0, refusal{"this tenant asks for too many calls", wait}
		}
		request.Share = &l.tenant.inline
	}
	return held, refusal{}
}

// release takes back what admit has counted.
func (l *limits) release(held int64) {
	l.pending.Add(-1)
	l.budget.ReleaseTo(l.held.Add(-held))
}

// countEvery is after how many commands, at the latest, the connection's streams
// are counted: each command adds at most one.
const countEvery = 64

// allowStream reports whether the connection may follow one stream more.
func (l *limits) allowStream() bool {
	if l.streamCredit <= 0 {
		l.streamCredit = min(l.options.MaxStreams-l.countStreams(), countEvery)
	}
	if l.streamCredit <= 0 {
		return false
	}
	l.streamCredit--
	return true
}
