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

// EmitInput is the input of emit.
type EmitInput struct {
	Chunks int `json:"chunks" jsonschema:"minimum=0,maximum=1000"`
	// Size is how many bytes of padding each chunk has.
	Size     int   `json:"size,omitempty" jsonschema:"minimum=0,maximum=65000"`
	Progress bool  `json:"progress,omitempty"`
	PauseMs  int64 `json:"pauseMs,omitempty" jsonschema:"minimum=0,maximum=600000"`
}

func emit(ctx context.Context, in EmitInput, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	for i := range in.Chunks {
		if in.PauseMs > 0 {
			if err := sleep(ctx, SlowInput{in.PauseMs}.duration()); err != nil {
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

// FlakyInput is the input of flaky, which fails so many times.
type FlakyInput struct {
	Failures int `json:"failures" jsonschema:"minimum=0,maximum=100"`
	Chunks   int `json:"chunks,omitempty" jsonschema:"minimum=0,maximum=1000"`
	FailInput
}

func flaky(_ context.Context, in FlakyInput, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	for i := range in.Chunks {
		call.Emit(Chunk{I: i + 1, Attempt: attempt})
	}
	if attempt <= in.Failures {
		return Done{}, in.failure(attempt)
	}
	return Done{in.Chunks, attempt}, nil
}

// StagesInput is the input of stages and stages.once.
type StagesInput struct {
	// Chunks is how many there are in all, Stage how many an attempt emits
	// before it makes a checkpoint.
	Chunks int `json:"chunks" jsonschema:"minimum=1,maximum=1000"`
	Stage  int `json:"stage" jsonschema:"minimum=1,maximum=1000"`
	// Extra is how many are emitted behind a checkpoint, and discarded.
	Extra int `json:"extra,omitempty" jsonschema:"minimum=0,maximum=100"`
	// Then is what follows a checkpoint. Default: fail.
	Then    string `json:"then,omitempty" jsonschema:"enum=fail,enum=continue,enum=wait"`
	AfterMs int64  `json:"afterMs,omitempty" jsonschema:"minimum=0,maximum=600000"`
}

type stagesCheckpoint struct {
	Done int `json:"done"`
}

func stages(ctx context.Context, in StagesInput, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	var at stagesCheckpoint
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

// WaitInput is the input of wait.
type WaitInput struct {
	// Attempts is how many attempts wait. Default: all.
	Attempts int `json:"attempts,omitempty" jsonschema:"minimum=0,maximum=100"`
	// Succeed returns a result when the context has ended.
	Succeed bool `json:"succeed,omitempty"`
	// Silent reports progress instead of emitting a chunk, so that nothing
	// durable is left.
	Silent bool `json:"silent,omitempty"`
}

// wait shows that it runs, and waits for the end of its context.
func wait(ctx context.Context, in WaitInput, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	if in.Silent {
		call.Progress(1, "waiting")
	} else {
		call.Emit(Chunk{I: 1, Attempt: attempt})
	}
	if in.Attempts > 0 && attempt > in.Attempts {
		return Done{1, attempt}, nil
	}
	err := sleep(ctx, maxWait)
	switch {
	case err == nil:
		return Done{}, errors.New("the context has not ended")
	case in.Succeed:
		return Done{1, attempt}, nil
	}
	return Done{}, err
}

func ignoreContext(_ context.Context, in SlowInput, call *streamer.Call[Chunk]) (Done, error) {
	attempt := call.Info().Attempt
	call.Emit(Chunk{I: 1, Attempt: attempt})
	time.Sleep(in.duration()) //nolint:forbidigo // the purpose of this action
	return Done{1, attempt}, nil
}

type stormInput struct {
	Reports int `json:"reports" jsonschema:"minimum=1,maximum=100000"`
}

// storm reports progress without a pause, up to 100 percent.
func storm(_ context.Context, in stormInput, call *streamer.Call[Chunk]) (Done, error) {
	for i := range in.Reports {
		call.Progress(100*float64(i+1)/float64(in.Reports), "storming")
	}
	return Done{0, call.Info().Attempt}, nil
}

type bigInput struct {
	What string `json:"what" jsonschema:"enum=chunk,enum=checkpoint,enum=result"`
	Size int    `json:"size" jsonschema:"minimum=0,maximum=1000000"`
}

// big returns, emits or stores a text of so many bytes.
func big(_ context.Context, in bigInput, call *streamer.Call[string]) (string, error) {
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

type unencodableInput struct {
	What string `json:"what" jsonschema:"enum=chunk,enum=result"`
}

func unencodable(_ context.Context, in unencodableInput, call *streamer.Call[float64]) (float64, error) {
	if in.What == "chunk" {
		call.Emit(math.NaN())
		return 0, nil
	}
	return math.NaN(), nil
}
