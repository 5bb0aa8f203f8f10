package streamertest

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// recorder is a sink that records what it gets. Like the engine's, it ignores
// reports once the attempt has failed or the handler has returned.
type recorder struct {
	cancel      context.CancelCauseFunc
	cancelAfter int // 0: never

	mu          sync.Mutex
	closed      bool
	err         error
	chunks      []json.RawMessage
	progress    []Progress
	checkpoints []Checkpoint
}

var _ core.Sink = (*recorder)(nil)

// record adds a report unless it comes too late.
func (r *recorder) record(add func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.err == nil {
		add()
	}
}

func (r *recorder) Emit(data json.RawMessage) {
	r.record(func() {
		r.chunks = append(r.chunks, data)
		if len(r.chunks) == r.cancelAfter {
			r.cancel(core.ErrCancelled)
		}
	})
}

func (r *recorder) Progress(percent float64, text string) {
	r.record(func() { r.progress = append(r.progress, Progress{percent, text}) })
}

func (r *recorder) Checkpoint(data json.RawMessage) {
	r.record(func() { r.checkpoints = append(r.checkpoints, Checkpoint{data, len(r.chunks)}) })
}

func (r *recorder) Fail(err error) {
	r.record(func() {
		r.err = err
		r.cancel(err)
	})
}

// close ends recording: later reports of the handler's goroutines are ignored, as
// on a server.
func (r *recorder) close() ([]Progress, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.progress, r.err
}
