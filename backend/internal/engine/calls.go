package engine

import (
	"context"
	"sync"

	"github.com/pay-theory/streamer/backend/store"
)

// calls holds the calls of this process: those that run, and those that are
// being stored or claimed. It is safe for concurrent use.
type calls struct {
	mu      sync.Mutex
	inline  map[store.Key]*Attempt
	running map[store.Key]*Attempt
	// inFlight are calls that a goroutine is storing or claiming, but for those that
	// are being promoted: they are inline.
	inFlight map[store.Key]*storeOp
	// Stop sets these one after the other. refusing: no call is begun. shuttingDown:
	// attempts that are added now are to end at once. stopped: no goroutine may be
	// added in the background.
	refusing, shuttingDown, stopped bool
	// changed wakes Stop when a call has left.
	changed chan struct{}
}

// storeOp is what happens to a call while it is being stored or claimed, before
// there is an attempt.
type storeOp struct {
	count int
	// exclusive says that nothing else may store or claim the call.
	exclusive bool
	// cancelled says that the attempt's context is to end.
	cancelled bool
	// ended is the state of a call that a cancel has ended, and whose end is not
	// published yet; nil: there is none.
	ended *store.State
}

func newCalls() calls {
	return calls{
		inline: map[store.Key]*Attempt{}, running: map[store.Key]*Attempt{}, inFlight: map[store.Key]*storeOp{},
		changed: make(chan struct{}, 1),
	}
}

// inlineEntry is what addInline found. If it is none of these, the call is stored, or
// is being stored.
type inlineEntry struct {
	added   bool
	refused bool     // Stop was called
	other   *Attempt // the same id runs inline
}

// addInline adds an attempt that is not stored, unless its id is known here.
func (c *calls) addInline(a *Attempt) inlineEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch other := c.inline[a.key]; {
	case c.refusing:
		return inlineEntry{refused: true}
	case other != nil:
		return inlineEntry{other: other}
	case c.running[a.key] != nil || c.inFlight[a.key] != nil:
		return inlineEntry{}
	}
	c.inline[a.key] = a
	return inlineEntry{added: true}
}

// beginStoreOp notes that a call is about to be stored, unless the same id runs
// inline. Its errors are countStoreOp's.
func (c *calls) beginStoreOp(k store.Key) (other *Attempt, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other = c.inline[k]; other == nil || c.refusing {
		return nil, c.countStoreOp(k)
	}
	return other, nil
}

// beginClaim notes that a call is about to be claimed. Its errors are
// countStoreOp's.
func (c *calls) beginClaim(k store.Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.countStoreOp(k)
}

// countStoreOp counts a storeOp. The lock is held. Errors: store.ErrClosed after
// Stop; store.ErrUnavailable while the call is reconciled.
func (c *calls) countStoreOp(k store.Key) error {
	op := c.inFlight[k]
	switch {
	case c.refusing:
		return store.ErrClosed
	case op == nil:
		op = &storeOp{}
		c.inFlight[k] = op
	case op.exclusive:
		return store.ErrUnavailable
	}
	op.count++
	return nil
}

// beginReconcile begins an exclusive storeOp of a call that does not run here, and
// is not being stored or claimed.
func (c *calls) beginReconcile(k store.Key) (runs, inFlight bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	runs, inFlight = c.running[k] != nil || c.inline[k] != nil, c.inFlight[k] != nil
	if !runs && !inFlight {
		c.inFlight[k] = &storeOp{count: 1, exclusive: true}
	}
	return runs, inFlight
}

// endStoreOp adds the attempt that came of it, if any, and returns what happened
// meanwhile. The attempt is to end at once if shuttingDown. If met.ended is not nil
// the caller is the last one, and publishes the end.
func (c *calls) endStoreOp(k store.Key, a *Attempt) (met storeOp, shuttingDown bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := c.inFlight[k]
	met = *op
	if op.count--; op.count == 0 {
		delete(c.inFlight, k)
	} else {
		met.ended = nil
	}
	if a != nil {
		c.running[k] = a
	}
	c.notify()
	return met, c.shuttingDown
}

// promote moves an inline attempt to the stored ones.
func (c *calls) promote(a *Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inline, a.key)
	c.running[a.key] = a
}

// removeAttempt takes an attempt out.
func (c *calls) removeAttempt(a *Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inline[a.key] == a {
		delete(c.inline, a.key)
	}
	if c.running[a.key] == a {
		delete(c.running, a.key)
	}
	c.notify()
}

func (c *calls) findInline(k store.Key) *Attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inline[k]
}

// noteCancel returns the attempt of a stored call that was cancelled, and has
// the one that is about to be added find out. If the call is inFlight, the goroutine
// that stores it publishes its end: not before it is acknowledged.
func (c *calls) noteCancel(s *store.State) (a *Attempt, inFlight bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := c.inFlight[s.Key]
	switch {
	case op == nil:
	case s.Status.Ended():
		op.ended = s
	default:
		op.cancelled = true
	}
	return c.running[s.Key], op != nil
}

// addBackground adds to the goroutines that Stop waits for, unless it waits for
// them already.
func (c *calls) addBackground(group *sync.WaitGroup) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	group.Add(1)
	return true
}

// stop refuses further goroutines in the background.
func (c *calls) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

// refuseNew refuses calls from now on.
func (c *calls) refuseNew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusing = true
}

// shutDown has attempts that are added from now on end at once, and returns the
// others.
func (c *calls) shutDown() []*Attempt {
	c.mu.Lock()
	c.shuttingDown = true
	c.mu.Unlock()
	return c.attempts()
}

func (c *calls) attempts() []*Attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*Attempt, 0, len(c.inline)+len(c.running))
	for _, a := range c.inline {
		out = append(out, a)
	}
	for _, a := range c.running {
		out = append(out, a)
	}
	return out
}

func (c *calls) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inline)+len(c.running)+len(c.inFlight) == 0
}

// awaitIdle reports whether nothing runs any more before ctx ends.
func (c *calls) awaitIdle(ctx context.Context) bool {
	for !c.idle() {
		if !c.awaitChange(ctx) {
			return false
		}
	}
	return true
}

func (c *calls) awaitChange(ctx context.Context) bool {
	select {
	case <-c.changed:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *calls) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
