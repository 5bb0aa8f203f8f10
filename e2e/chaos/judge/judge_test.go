package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/witness"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// id returns an id whose time is the epoch of these stories.
func id(n int) string { return fmt.Sprintf("01890a5d-ac96-7000-8000-%012x", n) }

func epoch() int64 {
	us, _ := idTime(id(0))
	return us
}

func raw(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

// story is evidence that tests tell, line by line. Its clock goes on by a
// millisecond a line.
type story struct {
	Evidence
	now int64
}

func newStory() *story { return &story{now: epoch()} }

func (s *story) tick() int64 {
	s.now += 1000
	return s.now
}

func (s *story) called(run int, e journal.Entry) {
	e.At, e.Run = s.tick(), run
	s.Called = append(s.Called, e)
}

func (s *story) worked(run int, what journal.What, id string, attempt int) {
	s.Worked = append(s.Worked, journal.Entry{At: s.tick(), Run: run, What: what, ID: id, Attempt: attempt, Action: job.Stored})
}

func (s *story) ask(id string, p job.Params, o journal.Options) {
	s.called(1, journal.Entry{What: journal.Ask, ID: id, Action: job.Stored, Data: raw(p), Options: &o})
	s.called(1, journal.Entry{What: journal.Read, ID: id})
}

// tell has the server tell of stored events, and store them.
func (s *story) tell(id string, events ...Event) {
	at := slices.IndexFunc(s.Stored, func(st Stored) bool { return st.ID == id })
	if at < 0 {
		s.Stored = append(s.Stored, Stored{ID: id, Action: job.Stored})
		at = len(s.Stored) - 1
	}
	st := &s.Stored[at]
	for _, e := range events {
		told := e.told()
		told.ID, told.At = id, s.tick()
		s.Told = append(s.Told, told)
		if e.Type == "attempt" { // what is void is not stored any more
			st.Events = slices.DeleteFunc(st.Events, func(old Event) bool { return old.Seq >= e.From })
		}
		st.Events = append(st.Events, e)
		if ends(&e) {
			st.EndedAt = s.now / 1000
		}
	}
}

func chunk(seq uint64, i, attempt, run int) Event {
	return Event{Type: "chunk", Seq: seq, Attempt: attempt, Data: raw(job.Chunk{I: i, Attempt: attempt, Run: run})}
}

func (s *story) hear(id string, seq uint64, i, attempt int) {
	s.called(1, journal.Entry{What: journal.Chunk, ID: id, Seq: seq, From: i, Attempt: attempt})
}

// plain is a job of three chunks, whose first server dies behind the second
// chunk, and which is run again by another.
func (s *story) plain(id string, o journal.Options) job.Params {
	p := job.Params{Chunks: 3, FailAt: -1, Salt: 7}
	s.ask(id, p, o)
	s.tell(id, Event{Type: "ack", Seq: 1})
	s.called(1, journal.Entry{What: journal.Ack, ID: id, To: id})
	s.worked(1, journal.Begin, id, 1)
	s.tell(id, chunk(2, 0, 1, 1), chunk(3, 1, 1, 1))
	s.hear(id, 2, 0, 1)
	s.hear(id, 3, 1, 1)
	s.worked(2, journal.Begin, id, 2)
	s.tell(id, Event{Type: "attempt", Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: "worker_lost"})
	s.called(1, journal.Entry{What: journal.Mark, ID: id, Seq: 4, Attempt: 2, Void: 2})
	for i := range 3 {
		s.tell(id, chunk(uint64(5+i), i, 2, 2))
		s.hear(id, uint64(5+i), i, 2)
		s.called(1, journal.Entry{What: journal.Progress, ID: id, Attempt: 2, Percent: float64(30 * i)})
	}
	s.worked(2, journal.Return, id, 2)
	s.tell(id, Event{Type: "result", Seq: 8, Payload: raw(p.Result())})
	s.called(1, journal.Entry{What: journal.End, ID: id, Data: raw(p.Result())})
	s.ReadAt = s.tick()
	return p
}

func judged(s *story) []Finding {
	r := Judge(&s.Evidence)
	return r.Findings
}

func TestInnocence(t *testing.T) {
	s := newStory()
	s.plain(id(1), journal.Options{})
	r := Judge(&s.Evidence)
	require.Empty(t, r.Findings)
	require.Equal(t, Counts{Asked: 1, Acknowledged: 1, Ended: 1, Attempts: 2, Chunks: 5, Void: 2}, r.Counts)
}

// stored returns the only call that is stored.
func (s *story) stored() *Stored { return &s.Stored[0] }

// drop leaves out the entries that fit.
func drop(list *[]journal.Entry, fits func(*journal.Entry) bool) {
	*list = slices.DeleteFunc(*list, func(e journal.Entry) bool { return fits(&e) })
}

// crimes are what a server might have done, each with the rule that it breaks.
var crimes = []struct {
	name   string
	commit func(s *story)
	rule   Rule
}{
	{"an acknowledged call is gone", func(s *story) { s.Stored = nil }, Lost},
	{"an ack that did not arrive counts, too", func(s *story) {
		s.Stored = nil
		drop(&s.Called, func(e *journal.Entry) bool { return e.What == journal.Ack })
	}, Lost},
	{"an event was told and not stored", func(s *story) { s.stored().Events = slices.Delete(s.stored().Events, 3, 4) }, Lost},
	{"an end was told and not stored", func(s *story) { s.stored().Events = s.stored().Events[:5] }, Lost},
	{"a call has no end", func(s *story) {
		s.stored().Events = s.stored().Events[:5]
		s.Told = s.Told[:len(s.Told)-1]
	}, Unended},
	{"a seq stands for two things", func(s *story) {
		again := s.Told[1]
		again.Sum++
		s.Told = append(s.Told, again)
	}, Doubled},
	{"what is stored is not what was told", func(s *story) { s.stored().Events[2].Data = raw(job.Chunk{I: 0, Attempt: 2, Run: 9}) }, Doubled},
	{"an end is stored twice", func(s *story) {
		s.stored().Events = append(s.stored().Events, Event{Type: "error", Seq: 9, Code: "timeout"})
	}, Doubled},
	{"a seq is stored twice", func(s *story) { s.stored().Events[3].Seq = 5 }, Doubled},
	{"a seq is missing", func(s *story) {
		s.stored().Events = slices.Delete(s.stored().Events, 3, 4)
		s.Told = slices.DeleteFunc(s.Told, func(x witness.Told) bool { return x.Seq == 6 })
	}, Gap},
	{"a call is listed twice", func(s *story) { s.Stored = append(s.Stored, s.Stored[0]) }, Doubled},
	{"another result is stored than was told", func(s *story) { s.stored().Events[5].Payload = raw(job.Result{Chunks: 3, Salt: 8}) }, Doubled},
	{"a chunk of the dead attempt is stored behind the mark", func(s *story) { s.stored().Events[2].Attempt = 1 }, Overlap},
	{"a reader gets a chunk twice", func(s *story) { s.hear(id(1), 9, 2, 2) }, Doubled},
	{"a reader gets a seq twice", func(s *story) { s.hear(id(1), 7, 3, 2) }, Doubled},
	{"a reader misses a chunk", func(s *story) {
		drop(&s.Called, func(e *journal.Entry) bool { return e.What == journal.Chunk && e.Seq == 6 })
	}, Gap},
	{"a reader misses the last chunk", func(s *story) {
		drop(&s.Called, func(e *journal.Entry) bool { return e.What == journal.Chunk && e.Seq == 7 })
	}, Gap},
	{"progress falls", func(s *story) {
		s.Called = slices.Insert(s.Called, len(s.Called)-1, journal.Entry{What: journal.Progress, ID: id(1), Attempt: 2, Percent: 1})
	}, Wrong},
	{"a call fails that may not", func(s *story) { s.Called[len(s.Called)-1].Code = "poisoned" }, Wrong},
	{"a result is wrong", func(s *story) { s.Called[len(s.Called)-1].Data = raw(job.Result{Chunks: 3}) }, Wrong},
	{"a call ends twice", func(s *story) {
		s.called(2, journal.Entry{What: journal.Read, ID: id(1)})
		s.called(2, journal.Entry{What: journal.End, ID: id(1), Code: "cancelled"})
	}, Doubled},
	{"an attempt begins twice", func(s *story) { s.worked(3, journal.Begin, id(1), 2) }, Doubled},
	{"a call is run after its end", func(s *story) { s.worked(3, journal.Begin, id(1), 3) }, Anew},
	{"two attempts run at once", func(s *story) {
		s.Worked = slices.Insert(s.Worked, 2, journal.Entry{Run: 2, What: journal.Begin, ID: id(1), Attempt: 3, Action: job.Stored})
	}, Overlap},
	{"two processes run at once", func(s *story) {
		s.Worked = append(s.Worked, journal.Entry{Run: 1, What: journal.Return, ID: id(1), Attempt: 1})
	}, Overlap},
	{"a call runs that nobody asked for", func(s *story) { s.worked(2, journal.Begin, id(2), 1) }, Stranger},
	{"a call is stored that nobody asked for", func(s *story) { s.Stored = append(s.Stored, Stored{ID: id(2)}) }, Stranger},
	{"a call is told of that nobody asked for", func(s *story) { s.Told = append(s.Told, witness.Told{ID: id(2), Type: "ack", Seq: 1}) }, Stranger},
	{"a call is run as another action", func(s *story) { s.Worked[0].Action = job.Grown }, Stranger},
	{"a call is not found though it is kept for ever", func(s *story) {
		s.called(2, journal.Entry{What: journal.Read, ID: id(1)})
		s.called(2, journal.Entry{What: journal.End, ID: id(1), Code: "not_found"})
	}, Lost},
	{"an id is refused as expired that is not", func(s *story) {
		s.ask(id(3), job.Params{}, journal.Options{})
		s.called(1, journal.Entry{What: journal.End, ID: id(3), Code: "expired_id"})
	}, Retention},
	{"collected chunks have a double", func(s *story) {
		s.called(1, journal.Entry{What: journal.List, ID: id(1), Data: raw([]int{0, 1, 1})})
	}, Doubled},
	{"collected chunks have a gap", func(s *story) {
		s.called(1, journal.Entry{What: journal.List, ID: id(1), Data: raw([]int{0, 2})})
	}, Gap},
	{"a call is acknowledged as two", func(s *story) {
		s.called(1, journal.Entry{What: journal.Ack, ID: id(1), To: id(2)})
	}, Doubled},
}

// Each crime is found, as what it is.
func TestCrimes(t *testing.T) {
	for _, c := range crimes {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			s.plain(id(1), journal.Options{})
			c.commit(s)
			found := judged(s)
			require.True(t, slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == c.rule }), "found %v", found)
		})
	}
}

// Two ids under one key are one call.
func TestKeys(t *testing.T) {
	twins := func(to string) *story {
		s := newStory()
		p := s.plain(id(1), journal.Options{Key: "k"})
		s.ask(id(2), p, journal.Options{Key: "k"})
		s.called(1, journal.Entry{What: journal.Ack, ID: id(2), To: to})
		return s
	}
	require.Empty(t, judged(twins(id(1))))
	s := twins(id(1))
	s.worked(2, journal.Begin, id(2), 1)
	require.Equal(t, Key, judged(s)[0].Rule)
	found := judged(twins(id(2)))
	require.True(t, slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == Key }), "%v", found)
}

// What may end otherwise may; its chunks are no more than those of the job.
func TestOtherEnds(t *testing.T) {
	s := newStory()
	s.ask(id(1), job.Params{Chunks: 3}, journal.Options{May: []string{"cancelled"}})
	s.tell(id(1), Event{Type: "ack", Seq: 1}, chunk(2, 0, 1, 1), Event{Type: "error", Seq: 3, Code: "cancelled"})
	s.called(1, journal.Entry{What: journal.Ack, ID: id(1), To: id(1)})
	s.hear(id(1), 2, 0, 1)
	s.called(1, journal.Entry{What: journal.End, ID: id(1), Code: "cancelled"})
	require.Empty(t, judged(s))
	s.Called[0].Options.May = nil
	require.Equal(t, Wrong, judged(s)[0].Rule)
}

// A call that has ended is forgotten when its retention is over, and not
// before; one that has not ended is never forgotten.
func TestRetention(t *testing.T) {
	const retention = 2 * time.Second
	forgotten := func(after time.Duration, how string) []Finding {
		s := newStory()
		s.Retention = retention
		s.plain(id(1), journal.Options{})
		s.Stored = nil
		switch how {
		case "running":
			s.Worked = s.Worked[:2]
		case "failed":
			s.Worked[2].Code = how
		}
		s.now += after.Microseconds()
		s.called(2, journal.Entry{What: journal.Read, ID: id(1)})
		s.called(2, journal.Entry{What: journal.End, ID: id(1), Code: "not_found"})
		s.ReadAt = s.tick()
		return judged(s)
	}
	require.Empty(t, forgotten(retention, "done"))
	require.Equal(t, Lost, forgotten(retention/2, "done")[0].Rule)
	require.Equal(t, Lost, forgotten(retention, "running")[0].Rule)
	require.Equal(t, Lost, forgotten(retention, "failed")[0].Rule)

	kept := newStory()
	kept.Retention = retention
	kept.plain(id(1), journal.Options{})
	require.Empty(t, judged(kept))
	kept.ReadAt += 2 * retention.Microseconds()
	require.Equal(t, Retention, judged(kept)[0].Rule)
}

// What began inline may begin again until it is acknowledged.
func TestGrown(t *testing.T) {
	story := func(late bool) *story {
		s := newStory()
		p := job.Params{FailAt: -1}
		s.called(1, journal.Entry{What: journal.Ask, ID: id(1), Action: job.Grown, Data: raw(p), Options: &journal.Options{}})
		begin := func(run int) {
			s.Worked = append(s.Worked, journal.Entry{At: s.tick(), Run: run, What: journal.Begin, ID: id(1), Attempt: 1, Action: job.Grown})
		}
		begin(1)
		begin(2)
		s.tell(id(1), Event{Type: "ack", Seq: 1})
		if late {
			begin(3)
		}
		s.tell(id(1), Event{Type: "result", Seq: 2, Payload: raw(p.Result())})
		s.Stored[0].Action = job.Grown
		return s
	}
	require.Empty(t, judged(story(false)))
	require.Equal(t, Doubled, judged(story(true))[0].Rule)
}
