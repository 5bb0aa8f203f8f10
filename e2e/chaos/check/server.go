package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// checkSent checks what was sent: each event has the same content each time, and
// is stored, or was replaced by an attempt event.
func (c *checker) checkSent(k *call) {
	first := map[uint64]*recorder.Event{}
	for _, e := range k.sent {
		if first[e.Seq] = cmp.Or(first[e.Seq], e); !sameEvent(first[e.Seq], e) {
			c.addFinding(Duplicate, k.ID, "seq %d was sent as %s %s, and later as %s %s",
				e.Seq, first[e.Seq].Type, first[e.Seq].Code, e.Type, e.Code)
		}
		switch {
		case e.Type == "ack":
			k.ackSent = cmp.Or(k.ackSent, e.At)
		case e.IsEnd():
			k.endSent = cmp.Or(k.endSent, e.At)
		}
	}
	if k.stored == nil || k.stored.Gone {
		return
	}
	for seq, sent := range first {
		var stored recorder.Event // the first that is not before it
		if at := slices.IndexFunc(k.stored.Events, func(e recorder.Event) bool { return e.Seq >= seq }); at >= 0 {
			stored = k.stored.Events[at]
		}
		switch {
		case stored.Seq != seq && (stored.Type != "attempt" || stored.From > seq):
			c.addFinding(Lost, k.ID, "seq %d was sent (%s %s), and is not stored", seq, sent.Type, sent.Code)
		case stored.Seq == seq && !sameEvent(sent, &stored):
			c.addFinding(Duplicate, k.ID, "seq %d was sent as %s %s, and is stored as %s %s",
				seq, sent.Type, sent.Code, stored.Type, stored.Code)
		}
	}
}

// sameEvent compares two events that were sent or stored.
func sameEvent(a, b *recorder.Event) bool {
	return a.Type == b.Type && a.Seq == b.Seq && a.Attempt == b.Attempt && a.From == b.From && a.Keep == b.Keep &&
		a.Code == b.Code && cmp.Or(a.Sum, a.Hash()) == cmp.Or(b.Sum, b.Hash())
}

// checkRuns checks what the handlers of a call did: one attempt at a time, each
// once, and none after the end.
func (c *checker) checkRuns(k *call) {
	begun := map[int]bool{}
	run, running := 0, 0
	for _, e := range k.runs {
		if e.Run != run {
			run, running = e.Run, 0 // it ended with its process
		}
		if e.Returned {
			if running != e.Attempt {
				c.addFinding(Overlap, k.ID, "attempt %d returned while attempt %d ran", e.Attempt, running)
			}
			running = 0
			continue
		}
		c.counts[Attempts]++
		// An inline call is run again by each request, until it is stored.
		inline := k.Action == serverproc.Grown && e.Attempt == 1 && (k.ackSent == 0 || e.At < k.ackSent)
		if begun[e.Attempt] && !inline {
			c.addFinding(Duplicate, k.ID, "attempt %d began twice", e.Attempt)
		}
		if running != 0 {
			c.addFinding(Overlap, k.ID, "attempt %d began while attempt %d ran", e.Attempt, running)
		}
		if k.endSent != 0 && e.At > k.endSent {
			c.addFinding(RunAgain, k.ID, "attempt %d began %d ms after its end was sent", e.Attempt, (e.At-k.endSent)/1000)
		}
		if e.Action != k.Action {
			c.addFinding(UnknownCall, k.ID, "it was asked for as %s, and run as %s", k.Action, e.Action)
		}
		begun[e.Attempt], running = true, e.Attempt
	}
}

// checkStored checks a call as it is stored: numbers without gap and duplicate,
// one end, and without what is discarded the chunks of an undisturbed run.
func (c *checker) checkStored(k *call) {
	s := k.stored
	if s == nil {
		return
	}
	if s.Action != k.Action {
		c.addFinding(UnknownCall, s.ID, "it was asked for as %s, and is stored as %s", k.Action, s.Action)
	}
	if c.Retention > 0 && s.EndedAt > 0 && s.EndedAt*1000+c.Retention.Microseconds() < c.ReadAt {
		c.addFinding(Retention, s.ID, "it is listed %v after its end", time.Duration(c.ReadAt-s.EndedAt*1000)*time.Microsecond)
	}
	at := progress{attempt: 1}
	var chunks []uint64 // the numbers of those that are not discarded
	run, ended := 0, false
	for _, e := range s.Events {
		before, rule, first := at, Rule(""), e.Seq
		if e.Type == "attempt" {
			first = e.From
		}
		switch {
		case e.Seq <= at.seq, ended:
			rule = Duplicate
		case first > at.seq+1:
			rule = Gap
		case (e.Type == "ack") != (e.Seq == 1):
			rule = Outcome
		case e.Type == "attempt":
			if e.Attempt <= at.attempt {
				rule = Overlap
			}
			at.attempt = e.Attempt
			chunks = slices.DeleteFunc(chunks, func(seq uint64) bool { return seq > e.Keep })
		case e.Type == "chunk":
			var chunk serverproc.Chunk
			err := json.Unmarshal(e.Data, &chunk)
			switch rule = placeRule(chunk.I, len(chunks)); {
			case e.Attempt != at.attempt, chunk.Attempt != at.attempt, chunk.Run < run:
				rule = Overlap
			case rule == "" && (err != nil || len(chunk.Pad) != k.Params.Pad):
				rule = Outcome
			}
			run, chunks = chunk.Run, append(chunks, e.Seq)
		case e.IsEnd():
			ended = true
			c.checkStoredEnd(k, &e, len(chunks))
		}
		at.seq, at.chunks = e.Seq, len(chunks)
		if rule != "" {
			c.addFinding(rule, s.ID, "%s %d of attempt %d (from %d, keep %d) %.100s is stored after %+v",
				e.Type, e.Seq, e.Attempt, e.From, e.Keep, e.Data, before)
			return // more would say the same
		}
	}
}

// checkStoredEnd checks the stored end, and that readers received the same.
func (c *checker) checkStoredEnd(k *call, e *recorder.Event, chunks int) {
	c.checkOutcome(k, "it is stored with", e.Code, e.Payload, chunks)
	for _, r := range k.readers {
		if r.end != nil && !deleted(r.end) && (r.end.Code != e.Code || e.Code == "" && !bytes.Equal(r.end.Result, e.Payload)) {
			c.addFinding(Duplicate, r.ID, "its reader got the end %q %s, and %q %s is stored", r.end.Code, r.end.Result, e.Code, e.Payload)
		}
	}
}
