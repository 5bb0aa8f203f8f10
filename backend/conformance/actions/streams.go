package actions

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Chunk is what the streaming actions emit: the I-th chunk of the call as the
// reader should see it, and the attempt that emitted it.
type Chunk struct {
	I       int    `json:"i"`
	Attempt int    `json:"attempt"`
	Pad     string `json:"pad,omitempty"`
}

// Done is what the streaming actions return.
type Done struct {
	Chunks  int `json:"chunks"`
	Attempt int `json:"attempt"`
}

// Emission says what emit emits.
type Emission struct {
	Chunks int `json:"chunks" jsonschema:"minimum=0,maximum=1000"`
	// Size is how many bytes of padding each chunk has.
	Size int `json:"size,omitempty" jsonschema:"minimum=0,maximum=65000"`
	// Progress reports the percentage after each chunk.
	Progress bool `json:"progress,omitempty"`
	// PauseMs is the time before each chunk.
	PauseMs int64 `json:"pauseMs,omitempty" jsonschema:"minimum=0,maximum=600000"`
}

func emit(ctx context.Context, in Emission, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	for i := range in.Chunks {
		if in.PauseMs > 0 {
			if err := rest(ctx, Pause{in.PauseMs}.duration()); err != nil {
				return Done{}, err
			}
		}
		call.Emit(Chunk{I: i + 1, Attempt: attempt, Pad: strings.Repeat("x", in.Size)})
		if in.Progress {
			call.Progress(100*float64(i+1)/float64(in.Chunks), "emitting")
		}
	}
	return Done{in.Chunks, attempt}, nil
}

// Flake says how often flaky fails before it works.
type Flake struct {
	Failures int `json:"failures" jsonschema:"minimum=0,maximum=100"`
	// Chunks is how many each attempt emits before it fails or returns.
	Chunks int `json:"chunks,omitempty" jsonschema:"minimum=0,maximum=1000"`
	Fault
}

func flaky(ctx context.Context, in Flake, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	for i := range in.Chunks {
		call.Emit(Chunk{I: i + 1, Attempt: attempt})
	}
	if attempt <= in.Failures {
		return Done{}, in.err(attempt)
	}
	return Done{in.Chunks, attempt}, nil
}

// Plan says how stages goes about its chunks.
type Plan struct {
	// Chunks is how many there are in all, Stage after how many of them a
	// checkpoint is made.
	Chunks int `json:"chunks" jsonschema:"minimum=1,maximum=1000"`
	Stage  int `json:"stage" jsonschema:"minimum=1,maximum=1000"`
	// Extra is how many chunks are emitted behind each checkpoint but the
	// last, and die with the attempt.
	Extra int `json:"extra,omitempty" jsonschema:"minimum=0,maximum=100"`
	// Then is what follows each checkpoint but the last: fail (the default),
	// continue, or wait until the context ends.
	Then string `json:"then,omitempty" jsonschema:"enum=fail,enum=continue,enum=wait"`
	// AfterMs is when to continue.
	AfterMs int64 `json:"afterMs,omitempty" jsonschema:"minimum=0,maximum=600000"`
}

// Place is the checkpoint of stages: how many chunks are done.
type Place struct {
	Done int `json:"done"`
}

// stages does one stage an attempt.
func stages(ctx context.Context, in Plan, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	var at Place
	if _, err := call.Resume(&at); err != nil {
		return Done{}, streamer.Permanent(err)
	}
	for n := 0; n < in.Stage && at.Done < in.Chunks; n++ {
		at.Done++
		call.Emit(Chunk{I: at.Done, Attempt: attempt})
	}
	if at.Done == in.Chunks {
		return Done{at.Done, attempt}, nil
	}
	call.Checkpoint(at)
	for n := range in.Extra {
		call.Emit(Chunk{I: at.Done + n + 1, Attempt: attempt})
	}
	switch in.Then {
	case "continue":
		return Done{}, streamer.Continue(time.Duration(in.AfterMs) * time.Millisecond)
	case "wait":
		<-ctx.Done()
		return Done{}, context.Cause(ctx)
	}
	return Done{}, streamer.Errorf("stage_failed", "the stage before chunk %d failed as it was told to", at.Done+1)
}

// Vigil says what wait waits for.
type Vigil struct {
	// Attempts is how many attempts wait; later ones return at once. Default:
	// all of them.
	Attempts int `json:"attempts,omitempty" jsonschema:"minimum=0,maximum=100"`
	// Succeed returns a result when the context has ended, in place of its
	// error.
	Succeed bool `json:"succeed,omitempty"`
	// Silent reports progress in place of the chunk, so that the attempt
	// leaves nothing durable behind.
	Silent bool `json:"silent,omitempty"`
}

// wait emits one chunk, or reports 1 percent, so that it can be seen to run,
// and waits for the end of its context.
func wait(ctx context.Context, in Vigil, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	if in.Silent {
		call.Progress(1, "waiting")
	} else {
		call.Emit(Chunk{I: 1, Attempt: attempt})
	}
	if in.Attempts > 0 && attempt > in.Attempts {
		return Done{1, attempt}, nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(longest):
		return Done{}, errors.New("nobody ended the context")
	}
	if in.Succeed {
		return Done{1, attempt}, nil
	}
	return Done{}, context.Cause(ctx)
}

// deaf emits one chunk and takes its time whatever its context says.
func deaf(_ context.Context, in Pause, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	call.Emit(Chunk{I: 1, Attempt: attempt})
	time.Sleep(in.duration()) //nolint:forbidigo // not to be ended by a context is what this one is for
	return Done{1, attempt}, nil
}

// Gale says how storm reports progress.
type Gale struct {
	Reports int `json:"reports" jsonschema:"minimum=1,maximum=100000"`
}

// storm reports progress as fast as it can, from above 0 to 100 percent.
func storm(_ context.Context, in Gale, call *streamer.Call[Chunk]) (Done, error) {
	for i := range in.Reports {
		call.Progress(100*float64(i+1)/float64(in.Reports), "storming")
	}
	return Done{0, call.Info().Attempt}, nil
}

// Bulk says what big makes too big: a chunk, the checkpoint, the result.
type Bulk struct {
	What string `json:"what" jsonschema:"enum=chunk,enum=checkpoint,enum=result"`
	Size int    `json:"size" jsonschema:"minimum=0,maximum=1000000"`
}

// big returns, or emits, a text of so many bytes.
func big(_ context.Context, in Bulk, call *streamer.Call[string]) (string, error) {
	text := strings.Repeat("x", in.Size)
	switch in.What {
	case "chunk":
		call.Emit(text)
	case "checkpoint":
		call.Checkpoint(text)
	default:
		return text, nil
	}
	return "done", nil
}

// Riddle says what unencodable gives that JSON cannot hold.
type Riddle struct {
	What string `json:"what" jsonschema:"enum=chunk,enum=result"`
}

func unencodable(_ context.Context, in Riddle, call *streamer.Call[float64]) (float64, error) {
	if in.What == "chunk" {
		call.Emit(math.NaN())
		return 0, nil
	}
	return math.NaN(), nil
}
