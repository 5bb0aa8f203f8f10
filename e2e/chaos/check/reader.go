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

func (c *checker) checkReads(k *call) {
	for _, r := range k.Reads {
		before := len(c.findings)
		chunks := c.checkEvents(k, r)
		if r.Ended && len(c.findings) == before { // else more would say the same
			c.checkEnd(k, r, chunks)
		}
	}
}

// progress is how far a reader, or the check of what is stored, has come.
type progress struct {
	seq             uint64
	attempt, chunks int
	percent         float64
}

// placeRule returns the rule that a chunk breaks which comes in another place than
// its own; empty: none.
func placeRule(chunk, place int) Rule {
	switch {
	case chunk < place:
		return Duplicate
	case chunk > place:
		return Gap
	}
	return ""
}

// checkEvents checks the events that a reader got up to the first that breaks a
// rule, and returns how many chunks it has.
func (c *checker) checkEvents(k *call, r *recorder.Read) (chunks int) {
	at := progress{attempt: 1}
	for _, e := range r.Events {
		before, rule := at, Rule("")
		switch e.Type {
		case "chunk", "collected":
			c.counts[Chunks]++
			switch rule = placeRule(e.Chunk, at.chunks); {
			case e.Type == "collected": // without seq and attempt
			case e.Seq <= at.seq:
				rule = Duplicate
			case rule == "" && e.Attempt != at.attempt:
				rule = Overlap
			}
			at.seq, at.chunks = e.Seq, at.chunks+1
		case "attempt":
			if e.Seq <= at.seq || e.Attempt <= at.attempt || e.Discarded > at.chunks {
				rule = Duplicate
			}
			c.counts[Discarded] += e.Discarded
			at = progress{seq: e.Seq, attempt: e.Attempt, chunks: at.chunks - e.Discarded}
		case "progress":
			if e.Attempt != at.attempt {
				continue
			}
			if e.Percent < at.percent {
				rule = Outcome
			}
			at.percent = e.Percent
		}
		if rule != "" {
			c.addFinding(rule, k.ID, "its reader got %+v after %+v", e, before)
			return at.chunks
		}
	}
	return at.chunks
}

// deleted reports whether an end only says that the call does not exist any more.
func deleted(r *recorder.Read) bool { return r.Code == "not_found" || r.Code == "expired_id" }

// checkEnd checks an end: the call may have it, and it is the same each time.
func (c *checker) checkEnd(k *call, r *recorder.Read, chunks int) {
	switch {
	case r.Code == "not_found":
		if !c.expired(k, r.At) {
			c.addFinding(Lost, k.ID, "it was known as %s, and then not found, though its retention was not over", k.target.ID)
		}
	case r.Code == "expired_id" && k.Ack == "":
		made, ok := idTime(k.ID)
		if !ok || c.Retention == 0 || r.At-made < c.Retention.Microseconds() {
			age := time.Duration(r.At-made) * time.Microsecond
			c.addFinding(Retention, k.ID, "its id was refused as expired %v after it was made", age)
		}
	default:
		c.checkOutcome(k, "its reader got", r.Code, r.Result, chunks)
		if k.end == nil || deleted(k.end) {
			k.end = r
		} else if k.end.Code != r.Code || !bytes.Equal(k.end.Result, r.Result) {
			c.addFinding(Duplicate, k.ID, "it ended twice: %q %s, then %q %s", k.end.Code, k.end.Result, r.Code, r.Result)
		}
	}
	k.end = cmp.Or(k.end, r)
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
	if rule := placeRule(k.Params.Chunks, chunks); rule != "" {
		c.addFinding(rule, k.ID, "%s %d chunks before its result, not %d", how, chunks, k.Params.Chunks)
	}
	if want, err := json.Marshal(result); err != nil || !bytes.Equal(want, data) {
		c.addFinding(Outcome, k.ID, "%s the result %s, which is not %s", how, data, want)
	}
}
