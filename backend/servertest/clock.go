package servertest

import (
	"sync"
	"time"
)

// clock is the gateway's: it runs as time.Now does, and can be moved ahead. It
// is safe for concurrent use.
type clock struct {
	mu     sync.Mutex
	ahead  time.Duration
	alarms map[*alarm]bool
	closed bool
	// ringing counts the alarms that ring.
	ringing sync.WaitGroup
	// advancing is held by whoever moves the clock.
	advancing sync.Mutex
}

// alarm rings once, unless it is stopped before.
type alarm struct {
	c     *clock
	at    time.Time
	ring  func()
	timer *time.Timer
}

func newClock() *clock { return &clock{alarms: map[*alarm]bool{}} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// after has ring called in d, in a goroutine of its own. On a closed clock it
// never is.
func (c *clock) after(d time.Duration, ring func()) *alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{c: c, at: time.Now().Add(c.ahead + d), ring: ring}
	if c.closed {
		return a
	}
	c.alarms[a] = true
	a.timer = time.AfterFunc(d, func() {
		if c.take(a) {
			defer c.ringing.Done()
			ring()
		}
	})
	return a
}

// take tells whether the alarm is the caller's to ring. If so, the caller says
// ringing.Done after that.
func (c *clock) take(a *alarm) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.alarms[a] {
		return false
	}
	delete(c.alarms, a)
	a.timer.Stop()
	c.ringing.Add(1)
	return true
}

// stop keeps an alarm from ringing, if it has not begun to.
func (a *alarm) stop() {
	if a == nil {
		return
	}
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.c.alarms[a] {
		delete(a.c.alarms, a)
		a.timer.Stop()
	}
}

// advance moves the clock, from alarm to alarm, and returns when those that
// fell due have rung.
func (c *clock) advance(d time.Duration) {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	end := c.now().Add(d)
	for {
		a := c.leap(end)
		if a == nil {
			return
		}
		a.ring()
		c.ringing.Done()
	}
}

// leap moves the clock to the next alarm that rings until end, and returns it
// as take does; or to the end, and returns nil.
func (c *clock) leap(end time.Time) *alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next *alarm
	to := end
	for a := range c.alarms {
		if !a.at.After(to) && (next == nil || a.at.Before(next.at)) {
			next, to = a, a.at
		}
	}
	if next != nil {
		delete(c.alarms, next)
		next.timer.Stop()
		c.ringing.Add(1)
	}
	if by := to.Sub(time.Now().Add(c.ahead)); by > 0 {
		c.ahead += by
		for a := range c.alarms {
			if left := a.at.Sub(to); left > 0 { // the others are leapt to
				a.timer.Reset(left)
			}
		}
	}
	return next
}

// close stops all alarms, and waits for those that ring.
func (c *clock) close() {
	c.mu.Lock()
	c.closed = true
	for a := range c.alarms {
		a.timer.Stop()
	}
	clear(c.alarms)
	c.mu.Unlock()
	c.ringing.Wait()
}
