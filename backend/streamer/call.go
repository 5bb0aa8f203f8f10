package streamer

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// Call is what a stream handler reports to. Its methods are safe for concurrent
// use. Emit, Progress and Checkpoint return nothing: what cannot be encoded, or
// is too large, ends the call (not_encodable, chunk_too_large,
// checkpoint_too_large), and when reports are no longer accepted the handler's
// context has ended.
type Call[Chunk any] struct {
	call *core.Call
}

// Info returns which call this is.
func (c *Call[Chunk]) Info() CallInfo { return newInfo(&c.call.Info) }

// Emit adds a chunk: ordered, durable, sent to all subscribers of the call. Its JSON
// has at most 64 KiB. Emit blocks while the store is behind. The chunk may be
// changed once Emit has returned.
func (c *Call[Chunk]) Emit(chunk Chunk) {
	data, err := encode(chunk, "chunk", core.MaxChunk, core.CodeChunkTooLarge)
	if err != nil {
		c.call.Sink.Fail(err)
		return
	}
	c.call.Sink.Emit(data)
}

// Progress reports how far the call is: percent from 0 to 100 (values outside are
// clamped, NaN is ignored), and a text of at most 256 bytes, cut at a character.
// The newest report replaces earlier ones; it may be called at any rate.
func (c *Call[Chunk]) Progress(percent float64, text string) {
	if percent, text, ok := core.CleanProgress(percent, text); ok {
		c.call.Sink.Progress(percent, text)
	}
}

// Checkpoint stores what the next attempt, if there is one, gets from Resume. It is
// stored together with the chunks before it: these survive the attempt, later ones
// are discarded. Its JSON has at most 8 KiB.
func (c *Call[Chunk]) Checkpoint(position any) {
	data, err := encode(position, "checkpoint", core.MaxCheckpoint, core.CodeCheckpointTooLarge)
	if err != nil {
		c.call.Sink.Fail(err)
		return
	}
	c.call.Sink.Checkpoint(data)
}

// Resume decodes the newest checkpoint of earlier attempts into the value that into
// points to, and reports whether there was one. Numbers in interfaces become
// json.Number. It returns an error if the checkpoint does not fit, for example
// because another version of the handler made it.
func (c *Call[Chunk]) Resume(into any) (bool, error) {
	if c.call.Checkpoint == nil {
		return false, nil
	}
	d := json.NewDecoder(bytes.NewReader(c.call.Checkpoint))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return false, fmt.Errorf("the checkpoint does not fit a %T: %w", into, err)
	}
	return true, nil
}
