package servertest

import "time"

// Clock is the gateway's clock, for its own tests.
type Clock struct{ c *clock }

func NewClock() *Clock                           { return &Clock{newClock()} }
func (c *Clock) Now() time.Time                  { return c.c.now() }
func (c *Clock) Advance(d time.Duration)         { c.c.advance(d) }
func (c *Clock) After(d time.Duration, f func()) { c.c.after(d, f) }
func (c *Clock) Stop(d time.Duration, f func())  { c.c.after(d, f).stop() }
func (c *Clock) Close()                          { c.c.close() }

// Inspect returns the types of a frame's messages.
func Inspect(data string) string { return inspect([]byte(data)).String() }

// FillLog makes n entries.
func (g *Gateway) FillLog(n int) {
	for i := range n {
		g.addEntry(&Entry{Frame: i + 1})
	}
}

// RandomFault returns the fault of the n-th frame.
func RandomFault(seed uint64, rates Faults, conn int, from Side, n int) Fault {
	return randomFault(seed, rates, &occasion{at: atFrame, conn: conn, from: from, n: n}).fault
}
