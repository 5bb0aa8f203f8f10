package check

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// checkReads checks what the readers of a call got.
func (c *checker) checkReads(k *call) {
	for _, r := range k.Reads {
		before := len(c.Findings)
		chunks := c.checkEvents(k, r)
		if r.Ended && len(c.Findings) == before { // else more would say the same
			c.checkEnd(k, r, chunks)
		}
	}
}

// checkEvents checks the events that a reader got, and returns how many chunks
// it has.
func (c *checker) checkEvents(k *call, r *recorder.Read) (chunks int) {
	seq, attempt, percent := uint64(0), 1, 0.0
	for i := range r.Events {
		e := &r.Events[i]
		before := len(c.Findings)
		switch e.Type {
		case "chunk":
			c.Counts[Chunks]++
			rule := Rule("")
			switch {
			case e.Seq <= seq, e.Chunk < chunks:
				rule = Duplicate
			case e.Chunk > chunks:
				rule = Gap
			case e.Attempt != attempt:
				rule = Overlap
			}
			if rule != "" {
				c.addFinding(rule, k.ID, "its reader got %+v, in position %d of attempt %d after seq %d", *e, chunks, attempt, seq)
			}
			seq, chunks = e.Seq, chunks+1
		case "attempt":
			if e.Seq <= seq || e.Attempt <= attempt || e.Discarded > chunks {
				c.addFinding(Duplicate, k.ID, "its reader got %+v, in attempt %d with %d chunks after seq %d", *e, attempt, chunks, seq)
			}
			c.Counts[Discarded] += e.Discarded
			seq, attempt, percent, chunks = e.Seq, e.Attempt, 0, chunks-e.Discarded
		case "progress":
			if e.Attempt == attempt && e.Percent < percent {
				c.addFinding(Outcome, k.ID, "progress fell from %v to %v percent in attempt %d", percent, e.Percent, attempt)
			}
			if e.Attempt == attempt {
				percent = e.Percent
			}
		}
		if len(c.Findings) > before {
			return chunks
		}
	}
	c.Counts[Chunks] += len(r.List)
	for i, n := range r.List {
		if n != i {
			rule := Gap
			if slices.Contains(r.List[:i], n) {
				rule = Duplicate
			}
			c.addFinding(rule, k.ID, "its chunks were collected as %v", r.List)
			break
		}
	}
	return chunks + len(r.List)
}

// deleted reports whether an end only says that the call does not exist any more.
func deleted(r *recorder.Read) bool { return r.Code == "not_found" || r.Code == "expired_id" }

// checkEnd checks an end: the call may have it, and it is the same each time.
func (c *checker) checkEnd(k *call, r *recorder.Read, chunks int) {
	switch {
	case r.Code == "not_found":
		if !c.expired(k, r.At) {
			c.addFinding(Lost, k.ID, "it was known as %s, and then not found, though its retention was not over", k.target())
		}
	case r.Code == "expired_id" && k.ack == "":
		made, ok := idTime(k.ID)
		if !ok || c.Retention == 0 || r.At-made < c.Retention.Microseconds() {
			c.addFinding(Retention, k.ID, "its id was refused as expired %v after it was made", time.Duration(r.At-made)*time.Microsecond)
		}
	default:
		c.checkOutcome(k, "its reader got", r.Code, r.Result, chunks)
		if k.end != nil && !deleted(k.end) && (k.end.Code != r.Code || !sameJSON(k.end.Result, r.Result)) {
			c.addFinding(Duplicate, k.ID, "it ended twice: %q %s, then %q %s", k.end.Code, k.end.Result, r.Code, r.Result)
			return
		}
		k.end = r
	}
	if k.end == nil {
		k.end = r
	}
}

// checkOutcome checks whether a call may end so, with so many chunks before it.
func (c *checker) checkOutcome(k *call, how, code string, data []byte, chunks int) {
	if code != "" {
		if !slices.Contains(k.May, code) {
			c.addFinding(Outcome, k.ID, "%s %s; it may end with %v or its result", how, code, k.May)
		}
		return
	}
	result := any(serverproc.Result{Chunks: k.Params.Chunks, Salt: k.Params.Salt})
	if k.Action == serverproc.Echo {
		result, chunks = k.Params, k.Params.Chunks
	}
	if chunks < k.Params.Chunks {
		c.addFinding(Gap, k.ID, "%s %d chunks before its result, not %d", how, chunks, k.Params.Chunks)
	} else if chunks > k.Params.Chunks {
		c.addFinding(Duplicate, k.ID, "%s %d chunks before its result, not %d", how, chunks, k.Params.Chunks)
	}
	if want, err := json.Marshal(result); err != nil || !sameJSON(want, data) {
		c.addFinding(Outcome, k.ID, "%s the result %s, which is not %s", how, data, want)
	}
}

// sameJSON reports whether two values are the same but for white space.
func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return len(a) == len(b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}
