package jobs

import (
	"context"
	"errors"
	"sync"
)

// Of batches: what waits when the one before is inserted goes in together, as
// many at most. Two are on their way at a time.
const (
	maxBatch  = 1000
	batchesAt = 2
)

// batcher inserts jobs together that wait at the same time.
type batcher struct {
	insert func(ctx context.Context, jobs []*Job) error
	queue  chan *waiting
	quit   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

type waiting struct {
	job      *Job
	inserted chan error
}

func newBatcher(insert func(context.Context, []*Job) error) *batcher {
	b := &batcher{insert: insert, queue: make(chan *waiting, maxBatch), quit: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for range batchesAt {
		b.done.Go(b.run)
	}
	return b
}

var errClosed = errors.New("the queue is closed")

// submit waits until the batch that holds the job is inserted.
func (b *batcher) submit(ctx context.Context, j *Job) error {
	w := &waiting{j, make(chan error, 1)}
	select {
	case b.queue <- w:
	case <-b.quit:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.inserted:
		return err
	case <-b.quit:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *batcher) run() {
	for {
		var batch []*waiting
		select {
		case w := <-b.queue:
			batch = b.collect([]*waiting{w})
		case <-b.quit:
			return
		}
		jobs := make([]*Job, len(batch))
		for i, w := range batch {
			jobs[i] = w.job
		}
		err := b.insert(b.ctx, jobs)
		for _, w := range batch {
			w.inserted <- err
		}
	}
}

// collect adds what waits, and waits for nothing.
func (b *batcher) collect(batch []*waiting) []*waiting {
	for len(batch) < maxBatch {
		select {
		case w := <-b.queue:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher) close() {
	close(b.quit)
	b.cancel()
	b.done.Wait()
}
