package check

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// checkSent checks what was sent: each event has the same content each time, and
// is stored, or was replaced by an attempt event.
func (c *checker) checkSent() {
	for i := range c.Sent {
		e := &c.Sent[i]
		k := c.callByID(e.ID, "sent ("+e.Type+")")
		if !e.Durable() {
			continue
		}
		if k.sent == nil {
			k.sent = map[uint64]*recorder.Event{}
		}
		if first := k.sent[e.Seq]; first == nil {
			k.sent[e.Seq] = e
		} else if !sameEvent(first, e) {
			c.addFinding(Duplicate, e.ID, "seq %d was sent as %s %s, and later as %s %s", e.Seq, first.Type, first.Code, e.Type, e.Code)
		}
		if e.Type == "ack" && k.ackSent == 0 {
			k.ackSent = e.At
		}
		if e.IsEnd() && k.endSent == 0 {
			k.endSent = e.At
		}
	}
	for _, k := range c.calls {
		if k.stored == nil || k.stored.Gone {
			continue
		}
		for seq, sent := range k.sent {
			at := slices.IndexFunc(k.stored.Events, func(e recorder.Event) bool { return e.Seq >= seq })
			if at < 0 || k.stored.Events[at].Seq != seq && (k.stored.Events[at].Type != "attempt" || k.stored.Events[at].From > seq) {
				c.addFinding(Lost, k.ID, "seq %d was sent (%s %s), and is not stored", seq, sent.Type, sent.Code)
			} else if e := &k.stored.Events[at]; e.Seq == seq && !sameEvent(sent, e) {
				c.addFinding(Duplicate, k.ID, "seq %d was sent as %s %s, and is stored as %s %s", seq, sent.Type, sent.Code, e.Type, e.Code)
			}
		}
	}
}

// sameEvent compares an event that was sent with another that was sent or
// stored.
func sameEvent(sent, other *recorder.Event) bool {
	sum := other.Sum
	if sum == 0 {
		sum = other.Hash()
	}
	return sent.Type == other.Type && sent.Seq == other.Seq && sent.Attempt == other.Attempt && sent.From == other.From &&
		sent.Keep == other.Keep && sent.Code == other.Code && sent.Sum == sum
}

// checkRuns checks what handlers did: one process at a time, one attempt of a
// call at a time, each attempt once, and none after the end.
func (c *checker) checkRuns() {
	type attempt struct {
		id     string
		number int
	}
	begun := map[attempt]bool{}
	running := map[string]int{}
	run := 0
	for i := range c.Handlers {
		e := &c.Handlers[i]
		k := c.callByID(e.ID, "run")
		if !k.known {
			continue
		}
		switch {
		case e.Run < run:
			c.addFinding(Overlap, e.ID, "process %d still wrote when process %d had begun", e.Run, run)
		case e.Run > run:
			run = e.Run
			clear(running) // they ended with their process
		}
		k.lastRun = e
		if e.Returned {
			if running[e.ID] != e.Attempt {
				c.addFinding(Overlap, e.ID, "attempt %d returned while attempt %d ran", e.Attempt, running[e.ID])
			}
			delete(running, e.ID)
			continue
		}
		c.Counts[Attempts]++
		k.attempts++
		// An inline call is run again by each request, until it is stored.
		inline := k.Action == serverproc.Grown && e.Attempt == 1 && (k.ackSent == 0 || e.At < k.ackSent)
		if begun[attempt{e.ID, e.Attempt}] && !inline {
			c.addFinding(Duplicate, e.ID, "attempt %d began twice", e.Attempt)
		}
		if n := running[e.ID]; n != 0 {
			c.addFinding(Overlap, e.ID, "attempt %d began while attempt %d ran", e.Attempt, n)
		}
		if k.endSent != 0 && e.At > k.endSent {
			c.addFinding(RunAgain, e.ID, "attempt %d began %d ms after its end was sent", e.Attempt, (e.At-k.endSent)/1000)
		}
		if e.Action != k.Action {
			c.addFinding(UnknownCall, e.ID, "it was asked for as %s, and run as %s", k.Action, e.Action)
		}
		begun[attempt{e.ID, e.Attempt}], running[e.ID] = true, e.Attempt
	}
}

// storedChunk is a stored chunk that is not discarded.
type storedChunk struct {
	seq   uint64
	chunk serverproc.Chunk
}

// checkStored checks a call as it is stored: numbers without gap and duplicate,
// one end, and without what is discarded the chunks of an undisturbed run.
func (c *checker) checkStored(s *recorder.StoredCall) {
	k := c.callByID(s.ID, "stored")
	if !k.known {
		return
	}
	if s.Action != k.Action {
		c.addFinding(UnknownCall, s.ID, "it was asked for as %s, and is stored as %s", k.Action, s.Action)
	}
	if c.Retention > 0 && s.EndedAt > 0 && s.EndedAt*1000+c.Retention.Microseconds() < c.ReadAt {
		c.addFinding(Retention, s.ID, "it is listed %v after its end", time.Duration(c.ReadAt-s.EndedAt*1000)*time.Microsecond)
	}
	if s.Gone {
		return
	}
	var chunks []storedChunk
	seq, attempt, ended := uint64(0), 1, false
	for i := range s.Events {
		e := &s.Events[i]
		first := e.Seq
		if e.Type == "attempt" {
			first = e.From
			chunks = slices.DeleteFunc(chunks, func(k storedChunk) bool { return k.seq > e.Keep })
			if e.Attempt <= attempt {
				c.addFinding(Overlap, s.ID, "attempt %d is stored after attempt %d", e.Attempt, attempt)
			}
			attempt = e.Attempt
		}
		switch {
		case e.Seq <= seq:
			c.addFinding(Duplicate, s.ID, "seq %d is stored after seq %d", e.Seq, seq)
		case first > seq+1:
			c.addFinding(Gap, s.ID, "seq %d is stored after seq %d", first, seq)
		case ended:
			c.addFinding(Duplicate, s.ID, "seq %d (%s) is stored after the end", e.Seq, e.Type)
		case (e.Type == "ack") != (e.Seq == 1):
			c.addFinding(Outcome, s.ID, "seq %d is stored as %s", e.Seq, e.Type)
		}
		seq = e.Seq
		if e.Type == "chunk" {
			chunk := storedChunk{seq: e.Seq}
			if err := json.Unmarshal(e.Data, &chunk.chunk); err != nil {
				c.addFinding(Outcome, s.ID, "seq %d is stored as an invalid chunk: %v", e.Seq, err)
			}
			if e.Attempt != attempt || chunk.chunk.Attempt != attempt {
				c.addFinding(Overlap, s.ID, "seq %d in attempt %d is a chunk of attempt %d, emitted by attempt %d", e.Seq, attempt, e.Attempt, chunk.chunk.Attempt)
			}
			chunks = append(chunks, chunk)
		}
		if e.IsEnd() {
			ended = true
			c.checkStoredEnd(k, e, len(chunks))
		}
	}
	c.checkStoredChunks(k, chunks)
}

// checkStoredEnd checks the stored end, and that readers received the same.
func (c *checker) checkStoredEnd(k *call, e *recorder.Event, chunks int) {
	c.checkOutcome(k, "it is stored with", e.Code, e.Payload, chunks)
	readers := k.readers
	if k.ack == "" {
		readers = append(slices.Clip(readers), k)
	}
	for _, r := range readers {
		if r.end != nil && !deleted(r.end) && (r.end.Code != e.Code || e.Code == "" && !sameJSON(r.end.Result, e.Payload)) {
			c.addFinding(Duplicate, r.ID, "its reader got the end %q %s, and %q %s is stored", r.end.Code, r.end.Result, e.Code, e.Payload)
		}
	}
}

// checkStoredChunks checks that the chunks are those of the job.
func (c *checker) checkStoredChunks(k *call, chunks []storedChunk) {
	run := 0
	for n := range chunks {
		switch chunk := &chunks[n].chunk; {
		case chunk.I > n:
			c.addFinding(Gap, k.ID, "chunk %d is stored in position %d", chunk.I, n)
		case chunk.I < n:
			c.addFinding(Duplicate, k.ID, "chunk %d is stored in position %d", chunk.I, n)
		case len(chunk.Pad) != k.Params.Pad:
			c.addFinding(Outcome, k.ID, "chunk %d is stored with %d bytes of padding, not %d", n, len(chunk.Pad), k.Params.Pad)
		case chunk.Run < run:
			c.addFinding(Overlap, k.ID, "chunk %d was emitted by process %d, the one before by process %d", n, chunk.Run, run)
		default:
			run = chunk.Run
			continue
		}
		return // more would say the same
	}
}
