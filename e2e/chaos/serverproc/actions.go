package serverproc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Actions of the server.
const (
	// Stored is always stored before it runs.
	Stored = "job"
	// Grown starts inline, and is stored when it emits its first chunk.
	Grown = "grow"
	// Echo answers inline.
	Echo = "echo"
)

// Params are the payload of Stored and Grown. All that a handler emits and returns
// follows from them, however often it is run, so a checker can tell what is right.
type Params struct {
	// Chunks are emitted, one every ChunkMicros, with Pad bytes of padding.
	Chunks      int `json:"chunks"`
	ChunkMicros int `json:"chunkMicros"`
	Pad         int `json:"pad"`
	// CheckpointEvery stores a checkpoint after so many chunks; 0: none.
	CheckpointEvery int `json:"checkpointEvery"`
	// FailAt fails the first attempt if it reaches that chunk; -1: no.
	FailAt int `json:"failAt"`
	// ContinueAt stores a checkpoint before that chunk and asks for another
	// attempt that continues there; 0: no.
	ContinueAt int `json:"continueAt"`
	// Salt is returned in the result, Filler takes space in the store.
	Salt   int64  `json:"salt"`
	Filler string `json:"filler,omitempty"`
}

// Chunk is one chunk of a handler's output.
type Chunk struct {
	I int `json:"i"`
	// Attempt emitted it, in the process with number Run.
	Attempt int    `json:"attempt"`
	Run     int    `json:"run"`
	Pad     string `json:"pad,omitempty"`
}

// Result is a handler's result.
type Result struct {
	Chunks int   `json:"chunks"`
	Salt   int64 `json:"salt"`
}

// worker runs handlers in the process with number run, and records what they do.
type worker struct {
	run    int
	record func(Entry)
}

func (w *worker) handle(ctx context.Context, p Params, call *streamer.Call[Chunk]) (out Result, err error) {
	info := call.Info()
	from := 0
	resumed, err := call.Resume(&from)
	e := Entry{Run: w.run, ID: info.ID, Action: info.Action, Attempt: info.Attempt}
	w.record(e)
	defer func() {
		e.Returned, e.Failed = true, err != nil
		w.record(e)
	}()
	if err != nil {
		return Result{}, err
	}
	pad := strings.Repeat("x", p.Pad)
	for i := from; i < p.Chunks; i++ {
		if i == p.FailAt && info.Attempt == 1 {
			return Result{}, fmt.Errorf("the first attempt fails at chunk %d", i)
		}
		if i > 0 && i == p.ContinueAt && (!resumed || from < i) {
			call.Checkpoint(i)
			return Result{}, streamer.Continue(time.Millisecond)
		}
		call.Emit(Chunk{i, info.Attempt, w.run, pad})
		call.Progress(100*float64(i+1)/float64(p.Chunks), "")
		if p.CheckpointEvery > 0 && (i+1)%p.CheckpointEvery == 0 {
			call.Checkpoint(i + 1)
		}
		select {
		case <-time.After(time.Duration(p.ChunkMicros) * time.Microsecond):
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
	return Result{p.Chunks, p.Salt}, nil
}

func router(w *worker) *streamer.Router {
	r := streamer.NewRouter(nil)
	retry := streamer.Retry(3, streamer.Backoff{Base: 5 * time.Millisecond, Max: 20 * time.Millisecond})
	streamer.HandleStream(r, Stored, w.handle, streamer.Async(), retry)
	streamer.HandleStream(r, Grown, w.handle, retry)
	streamer.Handle(r, Echo, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	return r
}
