package judge

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/job"
)

// kept is a stored chunk that is not void.
type kept struct {
	seq   uint64
	chunk job.Chunk
}

// history looks at a call as it is stored: numbers without gap and double, one
// end, chunks as of an undisturbed run once what is void is left out.
func (j *judge) history(s *Stored) {
	c := j.calls[s.ID]
	if c == nil || c.action == "" {
		j.find(Stranger, s.ID, "it is stored, and nobody has asked for it")
		return
	}
	if s.Action != c.action {
		j.find(Stranger, s.ID, "it was asked for as %s, and is stored as %s", c.action, s.Action)
	}
	if j.Retention > 0 && s.EndedAt > 0 && s.EndedAt*1000+j.Retention.Microseconds() < j.ReadAt {
		j.find(Retention, s.ID, "it is listed, though its retention was over %v before", time.Duration(j.ReadAt-s.EndedAt*1000)*time.Microsecond-j.Retention)
	}
	if s.Gone {
		return
	}
	var chunks []kept
	position, attempt, endings := uint64(0), 1, 0
	for i := range s.Events {
		e := &s.Events[i]
		first := e.Seq
		if e.Type == "attempt" {
			first = e.From
			chunks = slices.DeleteFunc(chunks, func(k kept) bool { return k.seq > e.Keep })
			if e.Attempt <= attempt {
				j.find(Overlap, s.ID, "the mark of attempt %d is stored behind attempt %d", e.Attempt, attempt)
			}
			attempt = e.Attempt
		}
		switch {
		case e.Seq <= position:
			j.find(Doubled, s.ID, "seq %d is stored behind seq %d", e.Seq, position)
		case first > position+1:
			j.find(Gap, s.ID, "seq %d is stored behind seq %d", first, position)
		case endings > 0:
			j.find(Doubled, s.ID, "seq %d (%s) is stored behind the end", e.Seq, e.Type)
		case (e.Type == "ack") != (e.Seq == 1):
			j.find(Wrong, s.ID, "seq %d is stored as %s", e.Seq, e.Type)
		}
		position = e.Seq
		if e.Type == "chunk" {
			chunks = append(chunks, kept{e.Seq, j.storedChunk(s, e, attempt)})
		}
		if ends(e) {
			endings++
			j.storedEnd(c, e, len(chunks))
		}
	}
	j.sound(c, chunks)
}

func (j *judge) storedChunk(s *Stored, e *Event, attempt int) (chunk job.Chunk) {
	if err := json.Unmarshal(e.Data, &chunk); err != nil {
		j.find(Wrong, s.ID, "seq %d is stored as a chunk that is none: %v", e.Seq, err)
	}
	if e.Attempt != attempt || chunk.Attempt != attempt {
		j.find(Overlap, s.ID, "seq %d in attempt %d is a chunk of attempt %d, made by attempt %d", e.Seq, attempt, e.Attempt, chunk.Attempt)
	}
	return chunk
}

// storedEnd looks at the stored end, and whether it is the one that was told.
func (j *judge) storedEnd(c *call, e *Event, chunks int) {
	j.outcome(c, "it is stored with", e.Code, e.Payload, chunks)
	readers := j.under[c.id]
	if c.acked == 0 {
		readers = append(readers[:len(readers):len(readers)], c)
	}
	for _, o := range readers {
		if o.end == nil || o.end.Code == "not_found" || o.end.Code == "expired_id" {
			continue
		}
		if o.end.Code != e.Code || e.Code == "" && !equal(o.end.Data, e.Payload) {
			j.find(Doubled, o.id, "its reader was told the end %q %s, and %q %s is stored", o.end.Code, o.end.Data, e.Code, e.Payload)
		}
	}
}

func (j *judge) sound(c *call, chunks []kept) {
	run := 0
	for n := range chunks {
		if err := c.params.Sound(&chunks[n].chunk, n); err != nil {
			rule := Wrong
			switch i := chunks[n].chunk.I; {
			case i > n:
				rule = Gap
			case i < n:
				rule = Doubled
			}
			j.find(rule, c.id, "of what is stored, %v", err)
			return
		}
		if chunks[n].chunk.Run < run {
			j.find(Overlap, c.id, "chunk %d was made by process %d, the one before by process %d", n, chunks[n].chunk.Run, run)
			return
		}
		run = chunks[n].chunk.Run
	}
}
