package judge

import (
	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
)

// attempt is one run of a handler.
type attempt struct {
	id     string
	number int
}

// work looks at what handlers did: one process at a time, one attempt of a call
// at a time, each attempt once, none behind the end.
func (j *judge) work() {
	begun := map[attempt]bool{}
	running := map[string]int{}
	run := 0
	for i := range j.Worked {
		e := &j.Worked[i]
		c := j.calls[e.ID]
		if c == nil {
			j.find(Stranger, e.ID, "a handler ran it, and nobody has asked for it")
			continue
		}
		switch {
		case e.Run < run:
			j.find(Overlap, e.ID, "process %d still wrote when process %d had begun", e.Run, run)
		case e.Run > run:
			run = e.Run
			clear(running) // they died with their process
		}
		switch e.What {
		case journal.Begin:
			j.Attempts++
			j.begins(e, c, begun, running)
		case journal.Return:
			if running[e.ID] != e.Attempt {
				j.find(Overlap, e.ID, "attempt %d returned while attempt %d ran", e.Attempt, running[e.ID])
			}
			delete(running, e.ID)
		default:
			j.find(Crash, e.ID, "the handlers' journal holds a %s", e.What)
		}
		c.worked = e
	}
}

func (j *judge) begins(e *journal.Entry, c *call, begun map[attempt]bool, running map[string]int) {
	j.begun[e.ID]++
	this := attempt{e.ID, e.Attempt}
	// What began inline begins anew until it is stored.
	inline := c.action == job.Grown && e.Attempt == 1 && (j.ackTold[e.ID] == 0 || e.At < j.ackTold[e.ID])
	if begun[this] && !inline {
		j.find(Doubled, e.ID, "attempt %d began twice", e.Attempt)
	}
	begun[this] = true
	if n := running[e.ID]; n != 0 {
		j.find(Overlap, e.ID, "attempt %d began while attempt %d ran", e.Attempt, n)
	}
	running[e.ID] = e.Attempt
	if at := j.endTold[e.ID]; at != 0 && e.At > at {
		j.find(Anew, e.ID, "attempt %d began %d ms after its end was told", e.Attempt, (e.At-at)/1000)
	}
	if e.Action != c.action {
		j.find(Stranger, e.ID, "it was asked for as %s, and run as %s", c.action, e.Action)
	}
}
