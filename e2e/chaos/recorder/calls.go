package recorder

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Call is a call that a client has made, and what came of it.
type Call struct {
	ID     string
	Action string
	Params serverproc.Params
	// Key is an idempotency key; another call may have the same.
	Key string `json:",omitempty"`
	// May are the codes that the call may end with instead of its result.
	May []string `json:",omitempty"`
	// Ack is the id that the server has acknowledged it under, if it has.
	Ack   string
	Reads []*Read

	request     client.Request[serverproc.Chunk, json.RawMessage]
	cancelAfter time.Duration // after the ack; 0: not
	collect     bool          // leave it to the client library to collect the chunks
	reread      bool          // read it again after its end
}

// Read is what a reader of a call got, from the call's first event on.
type Read struct {
	Events []ReadEvent `json:",omitempty"`
	// Ended reports that the call has ended: with Code, if that is not empty, else
	// with Result. At is when, by serverproc.Now.
	Ended  bool
	Code   string          `json:",omitempty"`
	Result json.RawMessage `json:",omitempty"`
	At     int64
}

// ReadEvent is an event that a reader got.
type ReadEvent struct {
	Type    string // chunk, attempt, progress, or collected for a chunk that came with the result
	Seq     uint64 `json:",omitempty"`
	Attempt int
	// Chunk is a chunk's place in the job, Discarded how many chunks an attempt
	// discards.
	Chunk     int     `json:",omitempty"`
	Discarded int     `json:",omitempty"`
	Percent   float64 `json:",omitempty"`
}

func (c *Call) action() client.Action[serverproc.Params, serverproc.Chunk, json.RawMessage] {
	return client.Action[serverproc.Params, serverproc.Chunk, json.RawMessage](c.Action)
}

// ends returns how often the call was read to its end.
func (c *Call) ends() (n int) {
	for _, r := range c.Reads {
		if r.Ended {
			n++
		}
	}
	return n
}

// done reports whether the call has ended, and has been read again if it is to be.
func (c *Call) done() bool {
	return c.ends() > 1 || c.ends() == 1 && (!c.reread || c.Ack == "")
}

// choose chooses a call for a world of a kind, or two with one idempotency key.
func choose(kind serverproc.Kind, random *rand.Rand) []*Call {
	c := &Call{ID: client.NewID(), Action: serverproc.Stored, Params: chooseParams(kind, random)}
	choice := random.IntN(20)
	switch {
	case choice < 2:
		c.Action = serverproc.Grown
	case choice < 4:
		c.Action = serverproc.Echo
		c.Params = serverproc.Params{Salt: random.Int64(), Filler: strings.Repeat("e", random.IntN(200))}
	}
	c.request = c.action().With(c.Params).ID(c.ID)
	if c.Action == serverproc.Echo {
		return []*Call{c}
	}
	c.collect, c.reread = random.IntN(4) == 0, random.IntN(8) == 0
	ms := func(n int) time.Duration { return time.Duration(1+random.IntN(n)) * time.Millisecond }
	switch {
	case choice < 2: // grown
	case choice < 6 && kind != serverproc.Clean: // there, a key expires while others still use it
		c.Key = fmt.Sprintf("key-%d", random.Uint64())
		c.request = c.request.IdempotencyKey(c.Key)
	case choice < 8:
		c.cancelAfter = ms(200)
		c.May = append(c.May, "cancelled")
	case choice < 9:
		c.request = c.request.Delay(ms(300))
	case choice < 10:
		c.request = c.request.CancelAfter(ms(400))
		c.May = append(c.May, "cancelled")
	}
	if kind == serverproc.Clock && random.IntN(6) == 0 {
		// The clock may jump past its deadline. A failure then ends the call at
		// once, because its retry would come too late.
		c.request = c.request.Timeout(time.Hour)
		if c.May = append(c.May, "deadline_exceeded"); c.Params.FailAt >= 0 {
			c.May = append(c.May, "internal")
		}
	}
	if c.Key == "" {
		return []*Call{c}
	}
	twin := *c
	twin.ID = client.NewID()
	twin.request = c.request.ID(twin.ID)
	return []*Call{c, &twin}
}

func chooseParams(kind serverproc.Kind, random *rand.Rand) serverproc.Params {
	p := serverproc.Params{Chunks: random.IntN(30), ChunkMicros: random.IntN(12_000), Pad: random.IntN(64), FailAt: -1, Salt: random.Int64()}
	switch {
	case kind == serverproc.Heavy:
		p.ChunkMicros, p.Pad = random.IntN(1000), 2000+random.IntN(8000)
	case kind == serverproc.FullDisk:
		p.ChunkMicros, p.Pad, p.Filler = random.IntN(3000), 500+random.IntN(1500), strings.Repeat("f", random.IntN(25_000))
	case kind == serverproc.Clean && random.IntN(12) == 0:
		p.Chunks, p.ChunkMicros = 60, 50_000 // longer than the retention
	case random.IntN(10) == 0:
		p.Chunks, p.ChunkMicros = 40, 15_000
	}
	if random.IntN(2) == 0 {
		p.CheckpointEvery = 1 + random.IntN(8)
	}
	if p.Chunks > 1 && random.IntN(3) == 0 {
		p.FailAt = random.IntN(p.Chunks)
	}
	if p.Chunks > 1 && random.IntN(6) == 0 {
		p.ContinueAt = 1 + random.IntN(p.Chunks-1)
	}
	return p
}
