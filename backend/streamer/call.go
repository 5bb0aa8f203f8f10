package streamer

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// Call is what a stream handler reports to. Its methods are safe for concurrent
// use. Emit, Progress and Checkpoint return nothing: what cannot be encoded, or
// is too large, ends the attempt for good (not_encodable, chunk_too_large,
// checkpoint_too_large), and when reports are in vain the handler's context has
// ended.
type Call[Chunk any] struct {
	call *core.Call
}

// Info says which call this is.
func (c *Call[Chunk]) Info() CallInfo { return newInfo(&c.call.Info) }

// Emit adds a chunk: ordered, durable, told to all who follow the call. Its JSON
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

// Progress reports how far the call is: percent from 0 to 100 (what lies beyond
// counts as the nearer end, and a NaN is ignored), and a text of at most 256
// bytes, cut at a character. The newest report wins; it may be called as often
// as is handy.
func (c *Call[Chunk]) Progress(percent float64, text string) {
	if percent, text, ok := core.CleanProgress(percent, text); ok {
		c.call.Sink.Progress(percent, text)
	}
}

// Checkpoint stores what the next attempt, should there be one, gets from
// Resume. It becomes true together with the chunks before it: these survive the
// attempt, later ones become void. Its JSON has at most 8 KiB.
func (c *Call[Chunk]) Checkpoint(position any) {
	data, err := encode(position, "checkpoint", core.MaxCheckpoint, core.CodeCheckpointTooLarge)
	if err != nil {
		c.call.Sink.Fail(err)
		return
	}
	c.call.Sink.Checkpoint(data)
}

// Resume decodes the newest checkpoint of the attempts before into what into
// points to, and tells whether there was one. Numbers that land in an interface
// are json.Number. It fails if the checkpoint does not fit, as it may when
// another version of the handler made it.
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
