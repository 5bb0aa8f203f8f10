package judge

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
)

// reading is what one reader was handed, from the first event on.
type reading struct {
	seq     uint64
	chunks  int // that are not void
	attempt int
	percent float64
	broken  bool // a finding was made; more would say the same
}

// readings looks at what callers were handed.
func (j *judge) readings() {
	open := map[string]*reading{}
	for i := range j.Called {
		e := &j.Called[i]
		c := j.calls[e.ID]
		r := open[e.ID]
		if r == nil || e.What == journal.Read {
			r = &reading{attempt: 1}
			open[e.ID] = r
		}
		if r.broken {
			continue
		}
		switch e.What {
		case journal.Chunk:
			j.Chunks++
			j.readChunk(e, r)
		case journal.Mark:
			j.readMark(e, r)
		case journal.Progress:
			if e.Attempt == r.attempt && e.Percent < r.percent {
				j.find(Wrong, e.ID, "progress fell from %v to %v percent in attempt %d", r.percent, e.Percent, e.Attempt)
				r.broken = true
			}
			if e.Attempt == r.attempt {
				r.percent = e.Percent
			}
		case journal.List:
			j.readList(e, r)
		case journal.Refused:
			j.Refused++
		case journal.End:
			j.readEnd(e, c, r)
		case journal.Ask, journal.Read, journal.Ack, journal.Begin, journal.Return:
		}
	}
}

func (j *judge) readChunk(e *journal.Entry, r *reading) {
	rule := Rule("")
	switch {
	case e.Seq <= r.seq, e.From < r.chunks:
		rule = Doubled
	case e.From > r.chunks:
		rule = Gap
	case e.Attempt != r.attempt:
		rule = Overlap
	}
	if rule != "" {
		j.find(rule, e.ID, "its reader was handed chunk %d of attempt %d with seq %d, in place %d of attempt %d behind seq %d",
			e.From, e.Attempt, e.Seq, r.chunks, r.attempt, r.seq)
		r.broken = true
	}
	r.seq = e.Seq
	r.chunks++
}

func (j *judge) readMark(e *journal.Entry, r *reading) {
	if e.Seq <= r.seq || e.Attempt <= r.attempt || e.Void > r.chunks {
		j.find(Doubled, e.ID, "its reader was handed the mark of attempt %d with seq %d and %d void chunks, in attempt %d with %d chunks behind seq %d",
			e.Attempt, e.Seq, e.Void, r.attempt, r.chunks, r.seq)
		r.broken = true
		return
	}
	j.Void += e.Void
	r.seq, r.attempt, r.percent = e.Seq, e.Attempt, 0
	r.chunks -= e.Void
}

// readList takes the chunks that the client library has collected.
func (j *judge) readList(e *journal.Entry, r *reading) {
	var places []int
	if err := json.Unmarshal(e.Data, &places); err != nil {
		j.find(Crash, e.ID, "the journal holds no list of chunks: %v", err)
		return
	}
	j.Chunks += len(places)
	r.chunks = len(places)
	for i, p := range places {
		if p != i {
			rule := Gap
			if slices.Contains(places[:i], p) {
				rule = Doubled
			}
			j.find(rule, e.ID, "its chunks were collected as %v", places)
			r.broken = true
			return
		}
	}
}

// readEnd looks at an end: it is one that the call may come to, and the same
// each time.
func (j *judge) readEnd(e *journal.Entry, c *call, r *reading) {
	if j.forgotten(e, c) {
		if c.end == nil {
			c.end = e
		}
		return
	}
	j.outcome(c, "its reader was told", e.Code, e.Data, r.chunks)
	switch {
	case c.end == nil || c.end.Code == "not_found" || c.end.Code == "expired_id":
		c.end = e
	case c.end.Code != e.Code || !equal(c.end.Data, e.Data):
		j.find(Doubled, c.id, "it ended twice: %q %s, then %q %s", c.end.Code, c.end.Data, e.Code, e.Data)
	}
}

// forgotten tells whether an end only says that the call is over and gone. It
// is a finding if that is too early.
func (j *judge) forgotten(e *journal.Entry, c *call) bool {
	target := c.id
	if c.to != "" {
		target = c.to
	}
	switch {
	case e.Code == "not_found":
	case e.Code == "expired_id" && c.acked == 0:
		made, ok := idTime(c.id)
		if ok && j.Retention > 0 && e.At-made >= j.Retention.Microseconds() {
			return true
		}
		j.find(Retention, c.id, "its id was refused as expired %v after it was made", time.Duration(e.At-made)*time.Microsecond)
		return true
	default:
		return false
	}
	if !j.expired(c, target, e.At) {
		j.find(Lost, c.id, "it was known as %s, and then not found, though its retention was not over", target)
	}
	return true
}

// idTime reads the time in an id, in microseconds.
func idTime(id string) (int64, bool) {
	if len(id) < 13 {
		return 0, false
	}
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	return ms * 1000, err == nil
}

// outcome looks whether a call may come to an end, with so many chunks before
// it.
func (j *judge) outcome(c *call, how, code string, data []byte, chunks int) {
	if code != "" {
		if !slices.Contains(c.options.May, code) {
			j.find(Wrong, c.id, "%s %s; it may end with %v or its result", how, code, c.options.May)
		}
		return
	}
	want := []byte(c.payload)
	if c.action != job.Echo {
		want, _ = json.Marshal(c.params.Result())
		if chunks < c.params.Chunks {
			j.find(Gap, c.id, "%s %d chunks before its result, not %d", how, chunks, c.params.Chunks)
		} else if chunks > c.params.Chunks {
			j.find(Doubled, c.id, "%s %d chunks before its result, not %d", how, chunks, c.params.Chunks)
		}
	}
	if !equal(want, data) {
		j.find(Wrong, c.id, "%s the result %s, which is not %s", how, data, want)
	}
}

// equal tells whether two values are the same JSON.
func equal(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return len(a) == len(b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}
