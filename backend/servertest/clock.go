package servertest

import (
	"sync"
	"time"
)

// clock is the gateway's clock: it runs as time.Now does, and can be advanced. It
// is safe for concurrent use.
type clock struct {
	// running counts the timers whose functions run.
	running sync.WaitGroup
	// advancing is held while the clock is advanced.
	advancing sync.Mutex

	mu     sync.Mutex
	ahead  time.Duration
	timers map[*timer]bool
	closed bool
}

// timer calls onTimer once, unless it is stopped before.
type timer struct {
	c       *clock
	at      time.Time
	onTimer func()
	timer   *time.Timer
}

func newClock() *clock { return &clock{timers: map[*timer]bool{}} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// after calls onTimer in a new goroutine when d has passed. A closed clock never
// calls it.
func (c *clock) after(d time.Duration, onTimer func()) *timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c: c, at: time.Now().Add(c.ahead + d), onTimer: onTimer}
	if !c.closed {
		c.timers[t] = true
		t.timer = time.AfterFunc(d, t.fire)
	}
	return t
}

// remove removes the timer, and reports whether it was still waiting. The caller
// holds the clock's lock.
func (t *timer) remove() bool {
	if !t.c.timers[t] {
		return false
	}
	delete(t.c.timers, t)
	t.timer.Stop()
	return true
}

// stop removes a timer whose function has not started.
func (t *timer) stop() {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.remove()
}

// fire calls onTimer, unless the timer was stopped or has fired.
func (t *timer) fire() {
	t.c.mu.Lock()
	waiting := t.remove()
	if waiting {
		t.c.running.Add(1)
	}
	t.c.mu.Unlock()
	if waiting {
		defer t.c.running.Done()
		t.onTimer()
	}
}

// advance moves the clock from timer to timer, and returns when the functions of
// those that were due have returned.
func (c *clock) advance(d time.Duration) {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	end := c.now().Add(d)
	for t := c.moveToNext(end); t != nil; t = c.moveToNext(end) {
		t.fire()
	}
}

// moveToNext moves the clock to the next timer that is due until end, and returns
// the timer; if there is none, it moves to end and returns nil.
func (c *clock) moveToNext(end time.Time) *timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next *timer
	to := end
	for t := range c.timers {
		if !t.at.After(to) && (next == nil || t.at.Before(next.at)) {
			next, to = t, t.at
		}
	}
	if by := to.Sub(time.Now().Add(c.ahead)); by > 0 {
		c.ahead += by
		for t := range c.timers {
			if left := t.at.Sub(to); left > 0 { // the caller fires the others
				t.timer.Reset(left)
			}
		}
	}
	return next
}

// close stops all timers, and waits for functions that run.
func (c *clock) close() {
	c.mu.Lock()
	c.closed = true
	for t := range c.timers {
		t.remove()
	}
	c.mu.Unlock()
	c.running.Wait()
}
