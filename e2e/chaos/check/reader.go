package check

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// reader is what one reader got, from the first event on.
type reader struct {
	seq     uint64
	chunks  int // that are not discarded
	attempt int
	percent float64
	broken  bool // there is a finding; more would say the same
}

// checkReaders checks what readers got.
func (c *checker) checkReaders() {
	readers := map[string]*reader{}
	for i := range c.Clients {
		e := &c.Clients[i]
		r := readers[e.ID]
		if r == nil || e.What == serverproc.Read {
			r = &reader{attempt: 1}
			readers[e.ID] = r
		}
		if r.broken {
			continue
		}
		before := len(c.Findings)
		switch e.What {
		case serverproc.ChunkRead:
			c.checkChunk(e, r)
		case serverproc.Attempt:
			if e.Seq <= r.seq || e.Attempt <= r.attempt || e.Discarded > r.chunks {
				c.find(Duplicate, e.ID, "its reader got attempt %d with seq %d and %d discarded chunks, in attempt %d with %d chunks after seq %d",
					e.Attempt, e.Seq, e.Discarded, r.attempt, r.chunks, r.seq)
			} else {
				c.Discarded += e.Discarded
				*r = reader{seq: e.Seq, attempt: e.Attempt, chunks: r.chunks - e.Discarded}
			}
		case serverproc.Progress:
			if e.Attempt == r.attempt && e.Percent < r.percent {
				c.find(Outcome, e.ID, "progress fell from %v to %v percent in attempt %d", r.percent, e.Percent, e.Attempt)
			} else if e.Attempt == r.attempt {
				r.percent = e.Percent
			}
		case serverproc.List:
			c.checkList(e, r)
		case serverproc.End:
			c.checkEnd(e, c.calls[e.ID], r)
			continue // the next end is compared with it
		default:
		}
		r.broken = len(c.Findings) > before
	}
}

func (c *checker) checkChunk(e *serverproc.Entry, r *reader) {
	c.Chunks++
	rule := Rule("")
	switch {
	case e.Seq <= r.seq, e.From < r.chunks:
		rule = Duplicate
	case e.From > r.chunks:
		rule = Gap
	case e.Attempt != r.attempt:
		rule = Overlap
	}
	if rule != "" {
		c.find(rule, e.ID, "its reader got chunk %d of attempt %d with seq %d, in position %d of attempt %d after seq %d",
			e.From, e.Attempt, e.Seq, r.chunks, r.attempt, r.seq)
	}
	r.seq = e.Seq
	r.chunks++
}

// checkList checks the chunks that the client library has collected.
func (c *checker) checkList(e *serverproc.Entry, r *reader) {
	var list []int
	if err := json.Unmarshal(e.Data, &list); err != nil {
		c.find(Crash, e.ID, "the journal holds no list of chunks: %v", err)
		return
	}
	c.Chunks += len(list)
	r.chunks = len(list)
	for i, n := range list {
		if n != i {
			rule := Gap
			if slices.Contains(list[:i], n) {
				rule = Duplicate
			}
			c.find(rule, e.ID, "its chunks were collected as %v", list)
			return
		}
	}
}

// deleted tells whether an end only says that the call does not exist any more.
func deleted(e *serverproc.Entry) bool { return e.Code == "not_found" || e.Code == "expired_id" }

// checkEnd checks an end: the call may have it, and it is the same each time.
func (c *checker) checkEnd(e *serverproc.Entry, k *call, r *reader) {
	switch {
	case e.Code == "not_found":
		if !c.expired(k, e.At) {
			c.find(Lost, k.id, "it was known as %s, and then not found, though its retention was not over", k.target())
		}
	case e.Code == "expired_id" && k.acked == 0:
		made, ok := idTime(k.id)
		if !ok || c.Retention == 0 || e.At-made < c.Retention.Microseconds() {
			c.find(Retention, k.id, "its id was refused as expired %v after it was made", time.Duration(e.At-made)*time.Microsecond)
		}
	default:
		c.checkOutcome(k, "its reader got", e.Code, e.Data, r.chunks)
		if k.end != nil && !deleted(k.end) && (k.end.Code != e.Code || !sameJSON(k.end.Data, e.Data)) {
			c.find(Duplicate, k.id, "it ended twice: %q %s, then %q %s", k.end.Code, k.end.Data, e.Code, e.Data)
		} else {
			k.end = e
		}
		return
	}
	if k.end == nil {
		k.end = e
	}
}

// idTime returns the time in an id, in microseconds.
func idTime(id string) (int64, bool) {
	if len(id) < 13 {
		return 0, false
	}
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	return ms * 1000, err == nil
}

// checkOutcome checks whether a call may end so, with so many chunks before it.
func (c *checker) checkOutcome(k *call, how, code string, data []byte, chunks int) {
	if code != "" {
		if !slices.Contains(k.options.May, code) {
			c.find(Outcome, k.id, "%s %s; it may end with %v or its result", how, code, k.options.May)
		}
		return
	}
	want := []byte(k.payload)
	if k.action != serverproc.Echo {
		want, _ = json.Marshal(k.params.Result())
		if chunks < k.params.Chunks {
			c.find(Gap, k.id, "%s %d chunks before its result, not %d", how, chunks, k.params.Chunks)
		} else if chunks > k.params.Chunks {
			c.find(Duplicate, k.id, "%s %d chunks before its result, not %d", how, chunks, k.params.Chunks)
		}
	}
	if !sameJSON(want, data) {
		c.find(Outcome, k.id, "%s the result %s, which is not %s", how, data, want)
	}
}

// sameJSON tells whether two values are the same but for white space.
func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return len(a) == len(b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}
