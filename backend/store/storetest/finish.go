package storetest

import (
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var finishCases = []Case{
	{"a result is the end", func(r *rig) {
		s := r.emit(r.accept(claimed), "a")
		r.Advance(time.Second)
		s = r.finish(s, succeeded(`{"ok":1}`))
		require.Equal(r, store.Succeeded, s.Status)
		require.Equal(r, uint64(3), s.LastSeq)
		require.Equal(r, store.Milli(r.Now()), s.Ended)
		require.Zero(r, s.Due)
		require.Empty(r, s.Code)
		r.requireState(s)
		r.requireEvents(s.Key, 0, `1ack 2:a@1 3result={"ok":1}`)
	}},
	{"an error is the end", func(r *rig) {
		o := failed("boom")
		o.End.Dead = true
		s := r.finish(r.accept(claimed), o)
		require.Equal(r, store.Failed, s.Status)
		require.Equal(r, "boom", s.Code)
		require.True(r, s.Dead)
		require.Equal(r, []store.Event{{
			Kind: store.Error, Seq: 2, Code: "boom", Message: "it went wrong", Retryable: true, Data: []byte(`{"why":1}`),
		}}, r.events(s.Key, 1))
	}},
	{"the last report is stored with the end", func(r *rig) {
		s := r.accept(claimed)
		o := succeeded(`1`)
		o.Segment = segment(s, "a", "b")
		o.Progress = &store.Progress{Attempt: 1, Rev: 7, Percent: 100}
		s = r.finish(s, o)
		require.Equal(r, uint64(4), s.LastSeq)
		require.Equal(r, o.Progress, s.Progress)
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4result=1")
	}},
	{"back to the queue", func(r *rig) {
		s := r.accept(claimed)
		due := r.Now().Add(time.Minute)
		o := store.Outcome{Due: due, Code: "boom", Failure: true}
		o.Segment, o.Checkpoint, o.CheckpointKeep = segment(s, "a", "b"), []byte("cp"), 2
		s = r.finish(s, o)
		require.Equal(r, store.Queued, s.Status)
		require.Equal(r, store.Milli(due), s.Due)
		require.Equal(r, "boom", s.Code)
		require.Equal(r, 1, s.Failures)
		require.Equal(r, uint64(3), s.LastSeq, "it adds nothing of its own")
		r.requireState(s)
		r.refuseClaim(s.Key, store.ErrNotDue)
		r.Advance(time.Minute)
		w := r.claim(s.Key)
		require.Equal(r, "cp", string(w.Checkpoint))
		r.requireEvents(s.Key, 0, "1ack 2:a@1 4mark2[3-4]k2(boom)")
	}},
	{"only a failure is counted", func(r *rig) {
		s := r.accept(claimed)
		for i := range 3 {
			s = r.finish(s, store.Outcome{Code: "continued", Failure: i == 1})
			require.Equal(r, min(i, 1), s.Failures)
			s = r.claim(s.Key).State
		}
	}},
	{"a retry is never due after the deadline", func(r *rig) {
		s := r.accept(claimed)
		s = r.finish(s, store.Outcome{Due: s.Deadline.Add(time.Hour), Code: "x"})
		require.Equal(r, s.Deadline, s.Due)
	}},
	{"a request with a cancel flag ends instead of going back to the queue", func(r *rig) {
		s := r.emit(r.accept(claimed), "a")
		r.cancel(s.Key)
		o := store.Outcome{Due: r.Now().Add(time.Minute), Code: "boom", Failure: true}
		o.Segment = segment(s, "b")
		ended := r.finish(s, o)
		require.Equal(r, store.Cancelled, ended.Status)
		require.Equal(r, "cancelled", ended.Code)
		require.Zero(r, ended.Due)
		requireSame(r, ended, r.finish(s, o), "and knows it again")
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4error=cancelled")
	}},
	{"a repeated finish is recognised", testRepeatedFinish},
	{"the first end wins", func(r *rig) {
		s := r.accept(claimed)
		r.requireOneWinner(func(i int) bool {
			_, err := r.Queue.Finish(r.Context(), fence(s), succeeded(fmt.Sprint(i)))
			return err == nil
		})
	}},
	{"only the newest fence finishes", func(r *rig) {
		old := r.emit(r.accept(claimed), "a")
		r.crash()
		s := r.claim(old.Key).State
		for _, o := range []store.Outcome{succeeded(`1`), {Code: "x"}} {
			r.refuseFinish(fence(old), o)
		}
		r.requireState(s)
		r.refuseFinish(store.Fence{Key: store.Key{Tenant: tenant, ID: newID(r.Now())}}, failed("x"))
	}},
	{"a queued request is ended under the fence that it holds", func(r *rig) {
		s := r.accept()
		r.refuseFinish(store.Fence{Key: s.Key, Fence: 1}, failed("deadline_exceeded"))
		ended := r.finish(s, failed("deadline_exceeded"))
		require.Equal(r, store.Failed, ended.Status)
		r.requireEvents(s.Key, 0, "1ack 2error=deadline_exceeded")

		s = r.finish(r.accept(claimed), store.Outcome{Code: "boom", Due: r.Now().Add(time.Hour)})
		r.finish(s, failed("deadline_exceeded"))
		r.requireEvents(s.Key, 0, "1ack 2error=deadline_exceeded")
	}},
	{"a queued request takes no report and does not go back", func(r *rig) {
		s := r.accept()
		o := failed("x")
		o.Progress = &store.Progress{Attempt: 1, Rev: 1}
		r.refuseOutcome(s, o)
		r.refuseFinish(fence(s), store.Outcome{Due: r.Now().Add(time.Hour), Code: "again"})
		r.requireState(s)
	}},
	{"a gap in the last report is refused", func(r *rig) {
		s := r.accept(claimed)
		later := s
		later.LastSeq++
		o := succeeded(`1`)
		o.Segment = segment(later, "a")
		r.refuseOutcome(s, o)
		r.requireState(s)
	}},
	{"the crash count is reset by a last report with chunks", func(r *rig) {
		s := r.takenOver()
		o := store.Outcome{Code: "x"}
		o.Segment = segment(s, "a")
		require.Zero(r, r.finish(s, o).Deaths)

		s = r.takenOver()
		o = failed("poisoned")
		o.End.Dead = true
		require.Equal(r, 1, r.finish(s, o).Deaths, "an end alone forgives nothing")
	}},
}

func testRepeatedFinish(r *rig) {
	s := r.accept(claimed)
	o := succeeded(`1`)
	o.Segment = segment(s, "a")
	once := r.finish(s, o)
	r.Advance(time.Second)
	requireSame(r, once, r.finish(s, o))
	for name, other := range map[string]store.Outcome{
		"another payload": succeeded(`2`), "another status": failed("boom"), "back to the queue": {Code: "x"},
	} {
		r.refuseFinish(fence(s), other, name)
	}
	r.requireEvents(s.Key, 0, "1ack 2:a@1 3result=1")

	s = r.accept(claimed)
	report := store.Report{Segment: segment(s, "a"), Checkpoint: []byte("c"), CheckpointKeep: 2}
	r.record(s, report)
	o = store.Outcome{Report: report, Code: "boom", Failure: true, Due: r.Now().Add(time.Minute)}
	once = r.finish(s, o)
	require.Equal(r, uint64(2), once.LastSeq, "what was recorded is not recorded twice")
	requireSame(r, once, r.finish(s, o))
	require.Equal(r, 1, once.Failures)
	r.refuseFinish(fence(s), store.Outcome{Report: report, Code: "other", Due: o.Due})
	r.Advance(time.Minute)
	r.claim(s.Key)
	r.refuseFinish(fence(s), o, "not after another claim")

	s = r.accept(claimed)
	once = r.finish(s, store.Outcome{Code: "now"})
	r.Advance(time.Second)
	requireSame(r, once, r.finish(s, store.Outcome{Code: "now"}), "at once is at once")
}
