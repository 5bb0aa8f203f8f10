package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// id returns an id whose time is the beginning of these histories.
func id(n int) string { return fmt.Sprintf("01890a5d-ac96-7000-8000-%012x", n) }

func raw(v any) json.RawMessage {
	out, _ := json.Marshal(v) // it has only numbers and strings
	return out
}

// history is evidence that tests make, event by event. Its clock goes on by a
// millisecond an event.
type history struct {
	Evidence
	now int64
}

func (h *history) tick() int64 {
	h.now += 1000
	return h.now
}

func (h *history) ask(id string, p serverproc.Params, may ...string) *recorder.Call {
	c := &recorder.Call{ID: id, Action: serverproc.Stored, Params: p, May: may, Reads: []*recorder.Read{{}}}
	h.Calls = append(h.Calls, c)
	return c
}

// end has the last reader of a call get an end.
func (h *history) end(c *recorder.Call, code string, result any) {
	r := c.Reads[len(c.Reads)-1]
	if r.Ended, r.Code, r.At = true, code, h.tick(); code == "" {
		r.Result = raw(result)
	}
}

// endAgain has another reader get an end.
func (h *history) endAgain(c *recorder.Call, code string) {
	c.Reads = append(c.Reads, &recorder.Read{})
	h.end(c, code, nil)
}

func (h *history) ran(run int, id string, attempt int, returned bool) {
	h.Handlers = append(h.Handlers, serverproc.Entry{At: h.tick(), Run: run, ID: id, Action: serverproc.Stored, Attempt: attempt, Returned: returned})
}

// send has the server store events, and send them.
func (h *history) send(id string, events ...recorder.Event) {
	at := slices.IndexFunc(h.Stored, func(s recorder.StoredCall) bool { return s.ID == id })
	if at < 0 {
		h.Stored = append(h.Stored, recorder.StoredCall{ID: id, Action: serverproc.Stored})
		at = len(h.Stored) - 1
	}
	s := &h.Stored[at]
	for _, e := range events {
		sent := e
		sent.ID, sent.At, sent.Sum, sent.Data, sent.Payload = id, h.tick(), e.Hash(), nil, nil
		h.Sent = append(h.Sent, sent)
		if e.Type == "attempt" { // what it discards is not stored any more
			s.Events = slices.DeleteFunc(s.Events, func(old recorder.Event) bool { return old.Seq >= e.From })
		}
		s.Events = append(s.Events, e)
		if e.IsEnd() {
			s.EndedAt = h.now / 1000
		}
	}
}

func chunk(seq uint64, i, attempt, run int) recorder.Event {
	return recorder.Event{Type: "chunk", Seq: seq, Attempt: attempt, Data: raw(serverproc.Chunk{I: i, Attempt: attempt, Run: run})}
}

func chunkRead(seq uint64, i, attempt int) recorder.ReadEvent {
	return recorder.ReadEvent{Type: "chunk", Seq: seq, Chunk: i, Attempt: attempt}
}

// read has the last reader of a call get events.
func read(c *recorder.Call, events ...recorder.ReadEvent) {
	r := c.Reads[len(c.Reads)-1]
	r.Events = append(r.Events, events...)
}

// newHistory has one call of three chunks, whose first server is killed after the
// second chunk, and which is run again by another.
func newHistory() *history {
	now, _ := idTime(id(0))
	h := &history{now: now}
	c := h.ask(id(1), serverproc.Params{Chunks: 3, FailAt: -1, Salt: 7})
	c.Ack = id(1)
	h.send(id(1), recorder.Event{Type: "ack", Seq: 1})
	h.ran(1, id(1), 1, false)
	h.send(id(1), chunk(2, 0, 1, 1), chunk(3, 1, 1, 1))
	read(c, chunkRead(2, 0, 1), chunkRead(3, 1, 1))
	h.ran(2, id(1), 2, false)
	h.send(id(1), recorder.Event{Type: "attempt", Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: "worker_lost"})
	read(c, recorder.ReadEvent{Type: "attempt", Seq: 4, Attempt: 2, Discarded: 2})
	for i := range 3 {
		h.send(id(1), chunk(uint64(5+i), i, 2, 2))
		read(c, chunkRead(uint64(5+i), i, 2), recorder.ReadEvent{Type: "progress", Attempt: 2, Percent: float64(30 * i)})
	}
	h.ran(2, id(1), 2, true)
	result := serverproc.Result{Chunks: 3, Salt: 7}
	h.send(id(1), recorder.Event{Type: "result", Seq: 8, Payload: raw(result)})
	h.end(c, "", result)
	h.ReadAt = h.tick()
	return h
}

func TestCounts(t *testing.T) {
	found, counts := Check(&newHistory().Evidence)
	require.Empty(t, found)
	require.Equal(t, Counts{Calls: 1, Acknowledged: 1, Ended: 1, Attempts: 2, Chunks: 5, Discarded: 2}, counts)
}

// stored returns the only call that is stored.
func (h *history) stored() *recorder.StoredCall { return &h.Stored[0] }

// unstore removes the stored event in a place.
func (h *history) unstore(at int) { h.stored().Events = slices.Delete(h.stored().Events, at, at+1) }

// storeChunk has another chunk stored in a place.
func (h *history) storeChunk(at int, c serverproc.Chunk) { h.stored().Events[at].Data = raw(c) }

// reader returns the only reader.
func (h *history) reader() *recorder.Read { return h.Calls[0].Reads[0] }

// gets returns the reader's event with a seq.
func (h *history) gets(seq uint64) *recorder.ReadEvent { return &h.reader().Events[h.place(seq)] }

// misses has the reader not get the event with a seq.
func (h *history) misses(seq uint64) {
	h.reader().Events = slices.Delete(h.reader().Events, h.place(seq), h.place(seq)+1)
}

func (h *history) place(seq uint64) int {
	return slices.IndexFunc(h.reader().Events, func(e recorder.ReadEvent) bool { return e.Seq == seq })
}

// collects has another reader get chunks all at once.
func (h *history) collects(chunks ...int) {
	r := &recorder.Read{}
	for _, i := range chunks {
		r.Events = append(r.Events, recorder.ReadEvent{Type: "collected", Chunk: i})
	}
	h.Calls[0].Reads = append(h.Calls[0].Reads, r)
}

// otherResult is not the result of plain.
var otherResult = raw(serverproc.Result{Chunks: 3, Salt: 8})

// twin makes another call with the key of the first, which is acknowledged as that.
func (h *history) twin(may ...string) *recorder.Call {
	c := h.ask(id(2), h.Calls[0].Params, may...)
	c.Key, h.Calls[0].Key = "k", "k"
	c.Ack = id(1)
	return c
}

// cancelled makes another call, which is cancelled after its first chunk.
func (h *history) cancelled(may ...string) {
	c := h.ask(id(2), serverproc.Params{Chunks: 3}, may...)
	c.Ack = id(2)
	h.send(id(2), recorder.Event{Type: "ack", Seq: 1}, chunk(2, 0, 1, 1), recorder.Event{Type: "error", Seq: 3, Code: "cancelled"})
	read(c, chunkRead(2, 0, 1))
	h.end(c, "cancelled", nil)
}

// grown makes another call, which begins inline, and again; before its end more
// may happen.
func (h *history) grown(more func()) {
	h.ask(id(2), serverproc.Params{FailAt: -1}).Action = serverproc.Grown
	before := len(h.Handlers)
	h.ran(3, id(2), 1, false)
	h.ran(4, id(2), 1, false)
	h.send(id(2), recorder.Event{Type: "ack", Seq: 1})
	more()
	h.send(id(2), recorder.Event{Type: "result", Seq: 2, Payload: raw(serverproc.Result{})})
	h.Stored[1].Action = serverproc.Grown
	for i := range h.Handlers[before:] {
		h.Handlers[before+i].Action = serverproc.Grown
	}
}

// echo makes another call, which returns a salt.
func (h *history) echo(salt int64) {
	c := h.ask(id(2), serverproc.Params{Salt: 3, Filler: "e"})
	c.Action = serverproc.Echo
	h.end(c, "", serverproc.Params{Salt: salt, Filler: "e"})
}

// retention is for how long calls are kept in histories in which some are deleted.
const retention = 2 * time.Second

// deleted has the call deleted so long after its end, and not found after that.
func (h *history) deleted(after time.Duration) {
	h.Retention, h.Stored = retention, nil
	h.now += after.Microseconds()
	h.endAgain(h.Calls[0], "not_found")
	h.ReadAt = h.tick()
}

// histories are what a server might do, each with the rule that it breaks.
var histories = []struct {
	name   string
	change func(h *history)
	rule   Rule // empty: none
}{
	{"an acknowledged call is gone", func(h *history) { h.Stored = nil }, Lost},
	{"an ack that did not arrive counts, too", func(h *history) { h.Stored, h.Calls[0].Ack = nil, "" }, Lost},
	{"an event was sent and not stored", func(h *history) { h.unstore(3) }, Lost},
	{"an end was sent and not stored", func(h *history) { h.unstore(5) }, Lost},
	{"a call has no end", func(h *history) {
		h.unstore(5)
		h.Sent = h.Sent[:len(h.Sent)-1]
	}, Unended},
	{"a seq stands for two things", func(h *history) {
		again := h.Sent[1]
		again.Sum++
		h.Sent = append(h.Sent, again)
	}, Duplicate},
	{"what is stored is not what was sent", func(h *history) {
		h.storeChunk(2, serverproc.Chunk{I: 0, Attempt: 2, Run: 9})
	}, Duplicate},
	{"an end is stored twice", func(h *history) {
		h.stored().Events = append(h.stored().Events, recorder.Event{Type: "error", Seq: 9, Code: "timeout"})
	}, Duplicate},
	{"a seq is stored twice", func(h *history) { h.stored().Events[3].Seq = 5 }, Duplicate},
	{"a seq is missing", func(h *history) {
		h.unstore(3)
		h.Sent = slices.DeleteFunc(h.Sent, func(e recorder.Event) bool { return e.Seq == 6 })
	}, Gap},
	{"a call is listed twice", func(h *history) { h.Stored = append(h.Stored, h.Stored[0]) }, Duplicate},
	{"another result is stored than was sent", func(h *history) { h.stored().Events[5].Payload = otherResult }, Duplicate},
	{"another result is stored than its reader got", func(h *history) { h.reader().Result = otherResult }, Duplicate},
	{"a chunk of the failed attempt is stored after the next began", func(h *history) { h.stored().Events[2].Attempt = 1 }, Overlap},
	{"a chunk of another process is stored", func(h *history) { h.storeChunk(4, serverproc.Chunk{I: 2, Attempt: 2, Run: 1}) }, Overlap},
	{"a chunk is stored twice", func(h *history) { h.storeChunk(4, serverproc.Chunk{I: 1, Attempt: 2, Run: 2}) }, Duplicate},
	{"a chunk is missing", func(h *history) { h.storeChunk(4, serverproc.Chunk{I: 3, Attempt: 2, Run: 2}) }, Gap},
	{"a chunk is stored with other content", func(h *history) {
		h.storeChunk(4, serverproc.Chunk{I: 2, Attempt: 2, Run: 2, Pad: "x"})
	}, Outcome},
	{"a reader gets a chunk twice", func(h *history) { read(h.Calls[0], chunkRead(9, 2, 2)) }, Duplicate},
	{"a reader gets a seq twice", func(h *history) { read(h.Calls[0], chunkRead(7, 3, 2)) }, Duplicate},
	{"a reader misses a chunk", func(h *history) { h.misses(6) }, Gap},
	{"a reader misses the last chunk", func(h *history) { h.misses(7) }, Gap},
	{"a reader gets a chunk of another attempt", func(h *history) { h.gets(7).Attempt = 1 }, Overlap},
	{"an attempt discards more than there is", func(h *history) { h.gets(4).Discarded = 3 }, Duplicate},
	{"progress falls", func(h *history) { read(h.Calls[0], recorder.ReadEvent{Type: "progress", Attempt: 2, Percent: 1}) }, Outcome},
	{"a call fails that may not", func(h *history) { h.reader().Code = "poisoned" }, Outcome},
	{"a result is wrong", func(h *history) { h.reader().Result = otherResult }, Outcome},
	{"a call ends twice", func(h *history) { h.endAgain(h.Calls[0], "cancelled") }, Duplicate},
	{"an attempt begins twice", func(h *history) { h.ran(3, id(1), 2, false) }, Duplicate},
	{"a call is run after its end", func(h *history) { h.ran(3, id(1), 3, false) }, RunAgain},
	{"two attempts run at once", func(h *history) {
		h.Handlers = slices.Insert(h.Handlers, 2, serverproc.Entry{Run: 2, ID: id(1), Attempt: 3, Action: serverproc.Stored})
	}, Overlap},
	{"two processes run at once", func(h *history) { h.ran(1, id(1), 1, true) }, Overlap},
	{"a call is run that nobody asked for", func(h *history) { h.ran(2, id(2), 1, false) }, UnknownCall},
	{"a call is stored that nobody asked for", func(h *history) { h.Stored = append(h.Stored, recorder.StoredCall{ID: id(2)}) }, UnknownCall},
	{"a call is sent that nobody asked for", func(h *history) {
		h.Sent = append(h.Sent, recorder.Event{ID: id(2), Type: "ack", Seq: 1})
	}, UnknownCall},
	{"a call is run as another action", func(h *history) { h.Handlers[0].Action = serverproc.Grown }, UnknownCall},
	{"a call is stored as another action", func(h *history) { h.stored().Action = serverproc.Grown }, UnknownCall},
	{"a call is not found though it is kept for ever", func(h *history) { h.endAgain(h.Calls[0], "not_found") }, Lost},
	{"an id is refused as expired that is not", func(h *history) { h.end(h.ask(id(3), serverproc.Params{}), "expired_id", nil) }, Retention},
	{"collected chunks have a duplicate", func(h *history) { h.collects(0, 1, 1) }, Duplicate},
	{"collected chunks have a gap", func(h *history) { h.collects(0, 2) }, Gap},
	{"a message cannot be read", func(h *history) { h.Sent = append(h.Sent, recorder.Event{Type: recorder.Unreadable}) }, Crash},
	{"two calls with one key are one", func(h *history) { h.twin() }, ""},
	{"the second call with a key is another", func(h *history) { h.twin().Ack = id(2) }, Key},
	{"the second call with a key is run", func(h *history) {
		h.twin()
		h.ran(2, id(2), 1, false)
	}, Key},
	{"the second call with a key is stored", func(h *history) {
		h.twin()
		h.Stored = append(h.Stored, h.Stored[0])
		h.Stored[1].ID = id(2)
	}, Key},
	{"a reader that shares a call gets another end", func(h *history) { h.end(h.twin("cancelled"), "cancelled", nil) }, Duplicate},
	{"what may end otherwise does", func(h *history) { h.cancelled("cancelled") }, ""},
	{"what may not end otherwise does", func(h *history) { h.cancelled() }, Outcome},
	{"a call is deleted after its retention", func(h *history) { h.deleted(retention) }, ""},
	{"a call is deleted before its retention is over", func(h *history) { h.deleted(retention / 2) }, Lost},
	{"a call is deleted that has not ended", func(h *history) {
		h.Handlers = h.Handlers[:2]
		h.deleted(retention)
	}, Lost},
	{"a call is deleted that is to be run again", func(h *history) {
		h.Handlers[2].Failed = true
		h.deleted(retention)
	}, Lost},
	{"a call is kept during its retention", func(h *history) { h.Retention = retention }, ""},
	{"a call is kept after its retention", func(h *history) {
		h.Retention = retention
		h.ReadAt += 2 * retention.Microseconds()
	}, Retention},
	{"what began inline begins again before it is stored", func(h *history) { h.grown(func() {}) }, ""},
	{"what began inline begins again when it is stored", func(h *history) {
		h.grown(func() { h.ran(5, id(2), 1, false) })
	}, Duplicate},
	{"an echo", func(h *history) { h.echo(3) }, ""},
	{"an echo of something else", func(h *history) { h.echo(4) }, Outcome},
}

// Each rule that is broken is found, as what it is.
func TestHistories(t *testing.T) {
	for _, c := range histories {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			c.change(h)
			found, _ := Check(&h.Evidence)
			if c.rule == "" {
				require.Empty(t, found)
				return
			}
			require.True(t, slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == c.rule }), "%v", found)
		})
	}
}
