package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// push gives the schedule a hint, and has it worked off.
func (e *Engine) push(hints ...store.Hint) {
	now := time.Now()
	e.mu.Lock()
	for i := range hints {
		switch h := &hints[i]; {
		case e.running[h.Key] != nil:
		case h.At.After(now.Add(e.horizon())):
			// The sweeper will bring it in time. Else whoever delays enough
			// calls would fill the queue for everybody.
		case !e.schedule.push(*h, now):
			e.truncated = true
		}
	}
	e.mu.Unlock()
	e.dispatch()
}

// horizon is how far ahead hints are held in memory.
func (e *Engine) horizon() time.Duration { return 2 * e.Sweep }

// dispatch starts what is due as long as workers are free, and sets the timer
// for the schedule's next moment.
func (e *Engine) dispatch() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping.Load() {
		return
	}
	now := time.Now()
	for _, h := range e.schedule.advance(now) {
		e.settled.Add(1)
		go e.expire(h)
	}
	for e.slots > 0 {
		h, ok := e.schedule.pop(!e.alone)
		if !ok {
			break
		}
		e.slots--
		e.enter(h.Key)
		alone := suspect(&h)
		e.alone = e.alone || alone
		e.settled.Add(1)
		go e.work(h, alone)
	}
	e.arm(now)
	if e.truncated && !e.loading && e.schedule.len() <= e.MaxHints/2 {
		e.loading = true
		e.settled.Add(1)
		go e.reload()
	}
}

// arm sets the timer. It is called with the lock held.
func (e *Engine) arm(now time.Time) {
	at, ok := e.schedule.next()
	switch {
	case !ok:
		if e.waiting != nil {
			e.waiting.Stop()
			e.waitingAt = time.Time{}
		}
	case e.waiting == nil:
		e.waiting = time.AfterFunc(at.Sub(now), e.ring)
		e.waitingAt = at
	case !at.Equal(e.waitingAt) || !at.After(now):
		e.waiting.Reset(max(0, at.Sub(now)))
		e.waitingAt = at
	}
}

// ring is called by the timer. It may ring early by the clock on the wall, which
// was set back meanwhile: the timer is to be set again then.
func (e *Engine) ring() {
	e.mu.Lock()
	e.waitingAt = time.Time{}
	e.mu.Unlock()
	e.dispatch()
}

// work claims what a hint names and runs it. It holds a slot.
func (e *Engine) work(h store.Hint, alone bool) {
	if a := e.claim(h, alone); a != nil {
		a.run()
	}
}

// claim claims what a hint names, and returns its attempt if it is to be run.
func (e *Engine) claim(h store.Hint, alone bool) *attempt {
	// Stop waits for this, and then for the attempt to be settled: not for its
	// handler, which may be deaf.
	defer e.settled.Done()
	w, err := e.Store.Claim(e.ctx, h.Key, *e.claimant(alone))
	if err != nil {
		e.entered(h.Key, nil)
		e.free(alone)
		e.unclaimed(h, err)
		return nil
	}
	s := &w.State
	if s.Mark != nil {
		e.Teller.Events(e.ctx, s, s.Mark.Event())
	}
	a, o := e.prepare(&w)
	if a == nil {
		e.conclude(store.Fence{Key: s.Key, Fence: s.Fence}, o)
		e.entered(h.Key, nil)
		e.free(alone)
		return nil
	}
	a.suspect = alone
	e.entered(h.Key, a)
	return a
}

// prepare makes the attempt for claimed work, or the outcome of work that is
// not to be run.
func (e *Engine) prepare(w *store.Work) (*attempt, store.Outcome) {
	s := &w.State
	now := time.Now()
	action := e.Registry.Actions[s.Action]
	switch {
	case !s.Deadline.After(now):
		return nil, deadlinePassed()
	case s.CancelRequested:
		return nil, ended(store.CancelledEnd())
	case s.Deaths >= store.SuspectAfter+e.PoisonAfter:
		e.Logger.Error("a call is a dead letter: workers died running it", "id", s.ID, "action", s.Action, "tenant", s.Tenant, "deaths", s.Deaths)
		return nil, ended(&store.End{
			Status: store.Failed, Code: core.CodePoisoned, Message: "workers died each time they ran this call", Dead: true,
		})
	case action == nil:
		// Another version of the server may have it.
		e.Logger.Error("a stored call's action has no handler", "id", s.ID, "action", s.Action, "tenant", s.Tenant)
		return nil, store.Outcome{Due: now.Add(time.Minute), Code: core.CodeUnknownAction}
	}
	in, err := action.Decode(w.Input)
	if err != nil {
		e.Logger.Error("a stored call's payload does not fit its action any more", "id", s.ID, "action", s.Action, "error", err)
		return nil, ended(failed(err))
	}
	info := core.Info{
		ID: s.ID, Action: s.Action, Tenant: s.Tenant, Subject: s.Subject, Attempt: s.Attempt, Metadata: w.Metadata,
		Accepted: s.Accepted, Deadline: s.Deadline,
	}
	a := e.newAttempt(action, s.Key, in, info, action.Timeout)
	a.call.Checkpoint = w.Checkpoint
	a.claimed(s)
	return a, store.Outcome{}
}

// unclaimed deals with a hint whose request could not be claimed.
func (e *Engine) unclaimed(h store.Hint, err error) {
	switch {
	case errors.Is(err, store.ErrEnded):
		e.tellEnd(h.Key)
	case errors.Is(err, store.ErrSuspect):
		h.Deaths = max(h.Deaths, store.SuspectAfter)
		e.push(h)
	case errors.Is(err, store.ErrNotDue):
		if s, _, err := e.Store.Read(e.ctx, h.Key, 0, 0); err == nil && !s.Status.Ended() {
			e.push(hintOf(&s))
		}
	case errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrClosed):
		h.At = time.Now().Add(time.Second)
		if !e.unsure(h) {
			e.push(h)
		}
	case !errors.Is(err, store.ErrLeased) && !errors.Is(err, store.ErrNotFound):
		e.Logger.Error("a call could not be claimed", "id", h.ID, "error", err)
	}
}

// tellEnd tells the end of a call again: whoever told it first may have died.
func (e *Engine) tellEnd(k store.Key) {
	s, _, err := e.Store.Read(e.ctx, k, 0, 0)
	if err != nil || s.LastSeq == 0 {
		return
	}
	_, events, err := e.Store.Read(e.ctx, k, s.LastSeq-1, 1)
	if err == nil {
		e.Teller.Events(e.ctx, &s, events...)
	}
}

func deadlinePassed() store.Outcome {
	return ended(&store.End{Status: store.Failed, Code: core.CodeDeadlineExceeded, Message: "the call's time is over"})
}

// expire ends a call whose deadline has passed while it waited, without
// running it. What cannot be ended now is found again by the sweeper.
func (e *Engine) expire(h store.Hint) {
	defer e.settled.Done()
	s, _, err := e.Store.Read(e.ctx, h.Key, 0, 0)
	switch {
	case err != nil || s.Status.Ended():
	case s.Deadline.After(time.Now()):
		e.push(hintOf(&s))
	case s.Status == store.Queued:
		e.conclude(store.Fence{Key: s.Key, Fence: s.Fence}, deadlinePassed())
	default: // its worker died
		w, err := e.Store.Claim(e.ctx, h.Key, *e.claimant(true))
		if err == nil {
			e.conclude(store.Fence{Key: s.Key, Fence: w.State.Fence}, deadlinePassed())
		}
	}
}

// conclude writes and tells an outcome of a call that no handler runs.
func (e *Engine) conclude(f store.Fence, o store.Outcome) {
	var s store.State
	err := e.persist(func(ctx context.Context) (err error) {
		s, err = e.Store.Finish(ctx, f, o)
		return err
	})
	switch {
	case err != nil:
		if !errors.Is(err, store.ErrFenced) {
			e.Logger.Error("an outcome could not be written", "id", f.ID, "error", err)
		}
	case !s.Status.Ended():
		e.push(hintOf(&s))
	default:
		e.abandon.forget(f.Key)
		end := o.End
		if end == nil {
			end = store.CancelledEnd()
		}
		e.Teller.Events(e.ctx, &s, end.Event(s.LastSeq))
	}
}

// free gives back a slot, and the place of the one suspect.
func (e *Engine) free(alone bool) {
	e.mu.Lock()
	e.slots++
	if alone {
		e.alone = false
	}
	e.mu.Unlock()
	e.dispatch()
}

func (e *Engine) freeSlot() { e.free(false) }

// adopt moves an inline attempt to the running ones.
func (e *Engine) adopt(a *attempt) {
	e.mu.Lock()
	delete(e.inline, a.key)
	e.running[a.key] = a
	e.mu.Unlock()
}

// entry is a call on its way into the store, or out of it: nobody else knows
// of it yet.
type entry struct {
	n int
	// cancelled tells that its handler's context is to end, ended that the call
	// has ended, told to nobody who was not there yet.
	cancelled, ended bool
}

// enter notes that a call is about to be stored or claimed. It is called with
// the lock held.
func (e *Engine) enter(k store.Key) {
	in := e.entering[k]
	if in == nil {
		in = &entry{}
		e.entering[k] = in
	}
	in.n++
}

// entered registers the attempt that came of it, if any. A cancel that came
// meanwhile finds its attempt now.
func (e *Engine) entered(k store.Key, a *attempt) {
	e.mu.Lock()
	in := e.entering[k]
	if in.n--; in.n == 0 {
		delete(e.entering, k)
	}
	if a != nil {
		e.running[k] = a
	}
	givingUp, met := e.givingUp, *in
	e.notify()
	e.mu.Unlock()
	switch {
	case a != nil && met.cancelled:
		a.end(core.ErrCancelled)
	case a != nil && givingUp:
		a.end(core.ErrShutdown)
	case a == nil && met.ended:
		e.tellEnd(k)
	}
}

// runs tells whether a call runs in this process, and whether it is on its way
// into the store or out of it.
func (e *Engine) runs(k store.Key) (runs, enters bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running[k] != nil || e.inline[k] != nil, e.entering[k] != nil
}

// remove takes a settled attempt out. Its slot is free again, unless its
// handler is deaf and too many others are, or has not had the time yet to learn
// that its claim is lost.
func (e *Engine) remove(a *attempt) {
	a.mu.Lock()
	deaf, runs := a.deaf, a.record.lost && !a.returned
	a.mu.Unlock()
	e.mu.Lock()
	if e.inline[a.key] == a {
		delete(e.inline, a.key)
	}
	if e.running[a.key] == a {
		delete(e.running, a.key)
	}
	freed := a.slot
	switch {
	case a.slot && deaf:
		if freed = e.deaf < e.Workers; freed {
			e.deaf++
		}
	case runs:
		freed = false
	}
	if freed {
		a.slot = false
		e.slots++
		// A deaf suspect keeps the lane until it returns: beside it, another
		// would be charged for its deeds.
		if a.suspect && !deaf {
			a.suspect, e.alone = false, false
		}
	}
	e.notify()
	e.mu.Unlock()
	if freed {
		e.dispatch()
	}
}

// left is called when a handler has returned, after its attempt was settled.
func (e *Engine) left(a *attempt) {
	if a.request != nil {
		e.inlineCalls.Give(a.request.Share, 1)
	}
	a.mu.Lock()
	deaf := a.deaf
	a.mu.Unlock()
	e.mu.Lock()
	held := a.slot // deaf, and its slot was not freed
	if held {
		a.slot = false
		e.slots++
	} else if deaf && a.request == nil {
		e.deaf--
	}
	lane := a.suspect
	if lane {
		a.suspect, e.alone = false, false
	}
	e.mu.Unlock()
	if held || lane {
		e.dispatch()
	}
}

// notify wakes Stop. It is called with the lock held.
func (e *Engine) notify() {
	select {
	case e.drain <- struct{}{}:
	default:
	}
}
