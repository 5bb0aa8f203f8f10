package server

import (
	"context"
	"sync"
)

// maxIdle bounds the goroutines of a worker pool that wait for a task.
const maxIdle = 64

// task is what a worker pool runs.
type task interface{ run() }

type taskFunc func()

func (f taskFunc) run() { f() }

// workerPool runs each task at once, on a goroutine of its own. Some goroutines
// stay for the next tasks: their stacks have grown to what tasks need, and growing
// one costs more than most tasks (decision 0009). It is safe for concurrent use.
type workerPool struct {
	// ctx ends the waiting for tasks.
	ctx   context.Context
	tasks chan task
	idle  chan struct{}
	// busy counts the goroutines, and the readers that run a task themselves.
	busy sync.WaitGroup
}

func newWorkerPool(ctx context.Context) *workerPool {
	return &workerPool{ctx: ctx, tasks: make(chan task), idle: make(chan struct{}, maxIdle)}
}

// start runs a task. It does not block.
func (p *workerPool) start(t task) {
	select {
	case p.tasks <- t: // a goroutine waits
	default:
		p.busy.Add(1)
		go p.work(t)
	}
}

func (p *workerPool) work(t task) {
	defer p.busy.Done()
	for {
		t.run()
		select {
		case p.idle <- struct{}{}:
		default:
			return
		}
		select {
		case t = <-p.tasks:
			<-p.idle
		case <-p.ctx.Done():
			return
		}
	}
}
