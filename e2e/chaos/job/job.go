// Package job is the work that chaos runs have done. All that comes of a job
// follows from its parameters, however often it is begun: that is what makes a
// verdict possible.
package job

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Actions of the server.
const (
	// Stored is always stored before it runs.
	Stored = "job"
	// Grown begins inline, and is stored when it emits its first chunk.
	Grown = "grow"
	// Echo answers inline.
	Echo = "echo"
)

// Params say what a job does.
type Params struct {
	// Chunks are emitted, one every PaceMicros, with Pad bytes of padding.
	Chunks     int `json:"chunks"`
	PaceMicros int `json:"paceMicros"`
	Pad        int `json:"pad"`
	// CheckpointEvery makes a checkpoint after so many chunks; 0: none.
	CheckpointEvery int `json:"checkpointEvery"`
	// FailAt fails the first attempt if it comes to that chunk; -1: no.
	FailAt int `json:"failAt"`
	// ContinueAt makes a checkpoint before that chunk and asks for another
	// attempt to go on from there; 0: no.
	ContinueAt int `json:"continueAt"`
	// Salt comes back in the result, Filler takes room in the store.
	Salt   int64  `json:"salt"`
	Filler string `json:"filler,omitempty"`
}

// Chunk is a piece of output.
type Chunk struct {
	I int `json:"i"`
	// Attempt is who emitted it, Run the number of the process.
	Attempt int    `json:"attempt"`
	Run     int    `json:"run"`
	Pad     string `json:"pad,omitempty"`
}

// Result is a job's result.
type Result struct {
	Chunks int   `json:"chunks"`
	Salt   int64 `json:"salt"`
}

// Result returns what the job comes to when nothing goes wrong, and also when
// something does.
func (p *Params) Result() Result { return Result{p.Chunks, p.Salt} }

// Sound tells whether a chunk is the nth of the job, from 0.
func (p *Params) Sound(c *Chunk, n int) error {
	switch {
	case c.I != n:
		return fmt.Errorf("chunk %d stands in place %d", c.I, n)
	case len(c.Pad) != p.Pad:
		return fmt.Errorf("chunk %d has %d bytes of padding, not %d", n, len(c.Pad), p.Pad)
	}
	return nil
}

// Worker does jobs in the process with number Run.
type Worker struct {
	Run int
	// Begun is called when an attempt begins, with the first chunk it will
	// emit, Returned when it is over. Without an error the call has ended, as
	// soon as that is stored; with one another attempt follows, unless the call
	// was cancelled or its time is over.
	Begun    func(info streamer.CallInfo, from int)
	Returned func(info streamer.CallInfo, err error)
}

// Do does a job.
func (w *Worker) Do(ctx context.Context, p Params, call *streamer.Call[Chunk]) (out Result, err error) {
	info := call.Info()
	from := 0
	resumed, err := call.Resume(&from)
	w.Begun(info, from)
	defer func() { w.Returned(info, err) }()
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
		call.Emit(Chunk{i, info.Attempt, w.Run, pad})
		call.Progress(100*float64(i+1)/float64(p.Chunks), "")
		if p.CheckpointEvery > 0 && (i+1)%p.CheckpointEvery == 0 {
			call.Checkpoint(i + 1)
		}
		select {
		case <-time.After(time.Duration(p.PaceMicros) * time.Microsecond):
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
	return p.Result(), nil
}
