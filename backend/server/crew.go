package server

import (
	"context"
	"sync"
)

// maxSpare bounds the goroutines of a crew that wait for a job.
const maxSpare = 64

// job is what a crew does.
type job interface{ do() }

// crew does each job at once, in a goroutine of its own. Some goroutines stay
// for the jobs that come next: their stacks have grown to what jobs need, and
// growing one costs more than most jobs. It is safe for concurrent use.
type crew struct {
	// ctx ends the waiting for jobs.
	ctx   context.Context
	jobs  chan job
	spare chan struct{}
	// busy counts the goroutines, and those that perform without the crew.
	busy sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	return &crew{ctx: ctx, jobs: make(chan job), spare: make(chan struct{}, maxSpare)}
}

// run has a job done. It does not block.
func (c *crew) run(j job) {
	select {
	case c.jobs <- j: // somebody is free
	default:
		c.busy.Add(1)
		go c.work(j)
	}
}

func (c *crew) work(j job) {
	defer c.busy.Done()
	for {
		j.do()
		select {
		case c.spare <- struct{}{}:
		default:
			return
		}
		select {
		case j = <-c.jobs:
			<-c.spare
		case <-c.ctx.Done():
			return
		}
	}
}
