package storetest

import (
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var finishTests = []test{
	{"a result is the end", func(r *rig) {
		s := r.emit(r.accept(born), "a")
		r.Advance(time.Second)
		s = r.finish(s, succeeded(`{"ok":1}`))
		require.Equal(r, store.Succeeded, s.Status)
		require.Equal(r, uint64(3), s.LastSeq)
		require.Equal(r, store.Milli(r.Now()), s.Ended)
		require.Zero(r, s.Due)
		require.Empty(r, s.Code)
		same(r, s, r.state(s.Key))
		require.Equal(r, `1ack 2:a@1 3result={"ok":1}`, show(r.events(s.Key, 0)))
	}},
	{"an error is the end", func(r *rig) {
		o := failed("boom")
		o.End.Dead = true
		s := r.finish(r.accept(born), o)
		require.Equal(r, store.Failed, s.Status)
		require.Equal(r, "boom", s.Code)
		require.True(r, s.Dead)
		require.Equal(r, []store.Event{{
			Kind: store.Error, Seq: 2, Code: "boom", Message: "it went wrong", Retryable: true, Data: []byte(`{"why":1}`),
		}}, r.events(s.Key, 1))
	}},
	{"the last report comes with the end", func(r *rig) {
		s := r.accept(born)
		o := succeeded(`1`)
		o.Segment = segment(s, "a", "b")
		o.Progress = &store.Progress{Attempt: 1, Rev: 7, Percent: 100}
		s = r.finish(s, o)
		require.Equal(r, uint64(4), s.LastSeq)
		require.Equal(r, o.Progress, s.Progress)
		require.Equal(r, "1ack 2:a@1 3:b@1 4result=1", show(r.events(s.Key, 0)))
	}},
	{"back to the queue", func(r *rig) {
		s := r.accept(born)
		due := r.Now().Add(time.Minute)
		o := store.Outcome{Due: due, Code: "boom", Failure: true}
		o.Segment, o.Checkpoint, o.CheckpointKeep = segment(s, "a", "b"), []byte("cp"), 2
		s = r.finish(s, o)
		require.Equal(r, store.Queued, s.Status)
		require.Equal(r, store.Milli(due), s.Due)
		require.Equal(r, "boom", s.Code)
		require.Equal(r, 1, s.Failures)
		require.Equal(r, uint64(3), s.LastSeq, "it adds nothing of its own")
		same(r, s, r.state(s.Key))
		_, err := r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrNotDue)
		r.Advance(time.Minute)
		w := r.claim(s.Key)
		require.Equal(r, "cp", string(w.Checkpoint))
		require.Equal(r, "1ack 2:a@1 4mark2[3-4]k2(boom)", show(r.events(s.Key, 0)))
	}},
	{"only a failure is charged", func(r *rig) {
		s := r.accept(born)
		for i := range 3 {
			s = r.finish(s, store.Outcome{Code: "continued", Failure: i == 1})
			require.Equal(r, min(i, 1), s.Failures)
			s = r.claim(s.Key).State
		}
	}},
	{"a retry is never behind the deadline", func(r *rig) {
		s := r.accept(born)
		s = r.finish(s, store.Outcome{Due: s.Deadline.Add(time.Hour), Code: "x"})
		require.Equal(r, s.Deadline, s.Due)
	}},
	{"back to the queue with a cancel flag is the end", func(r *rig) {
		s := r.emit(r.accept(born), "a")
		_, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		o := store.Outcome{Due: r.Now().Add(time.Minute), Code: "boom", Failure: true}
		o.Segment = segment(s, "b")
		ended := r.finish(s, o)
		require.Equal(r, store.Cancelled, ended.Status)
		require.Equal(r, "cancelled", ended.Code)
		require.Zero(r, ended.Due)
		same(r, ended, r.finish(s, o), "and knows it again")
		require.Equal(r, "1ack 2:a@1 3:b@1 4error=cancelled", show(r.events(s.Key, 0)))
	}},
	{"a repeated finish is known again", testRepeatedFinish},
	{"the first end wins", func(r *rig) {
		s := r.accept(born)
		won := race(r, func(i int) bool {
			_, err := r.Queue.Finish(r.Context(), fence(s), succeeded(fmt.Sprint(i)))
			return err == nil
		})
		require.Equal(r, 1, won)
	}},
	{"only the newest fence finishes", func(r *rig) {
		old := r.emit(r.accept(born), "a")
		r.void()
		s := r.claim(old.Key).State
		for _, o := range []store.Outcome{succeeded(`1`), {Code: "x"}} {
			_, err := r.Queue.Finish(r.Context(), fence(old), o)
			require.ErrorIs(r, err, store.ErrFenced)
		}
		same(r, s, r.state(s.Key))
		_, err := r.Queue.Finish(r.Context(), store.Fence{Key: store.Key{Tenant: tenant, ID: newID(r.Now())}}, failed("x"))
		require.ErrorIs(r, err, store.ErrFenced)
	}},
	{"a queued request is ended under the fence that it holds", func(r *rig) {
		s := r.accept()
		_, err := r.Queue.Finish(r.Context(), store.Fence{Key: s.Key, Fence: 1}, failed("deadline_exceeded"))
		require.ErrorIs(r, err, store.ErrFenced)
		ended := r.finish(s, failed("deadline_exceeded"))
		require.Equal(r, store.Failed, ended.Status)
		require.Equal(r, "1ack 2error=deadline_exceeded", show(r.events(s.Key, 0)))

		s = r.finish(r.accept(born), store.Outcome{Code: "boom", Due: r.Now().Add(time.Hour)})
		r.finish(s, failed("deadline_exceeded"))
		require.Equal(r, "1ack 2error=deadline_exceeded", show(r.events(s.Key, 0)))
	}},
	{"a queued request takes no report and does not go back", func(r *rig) {
		s := r.accept()
		o := failed("x")
		o.Progress = &store.Progress{Attempt: 1, Rev: 1}
		_, err := r.Queue.Finish(r.Context(), fence(s), o)
		require.Error(r, err)
		require.NotErrorIs(r, err, store.ErrUnavailable)
		_, err = r.Queue.Finish(r.Context(), fence(s), store.Outcome{Due: r.Now().Add(time.Hour), Code: "again"})
		require.ErrorIs(r, err, store.ErrFenced)
		same(r, s, r.state(s.Key))
	}},
	{"a gap in the last report ends nothing", func(r *rig) {
		s := r.accept(born)
		later := s
		later.LastSeq++
		o := succeeded(`1`)
		o.Segment = segment(later, "a")
		_, err := r.Queue.Finish(r.Context(), fence(s), o)
		require.Error(r, err)
		require.NotErrorIs(r, err, store.ErrFenced)
		same(r, s, r.state(s.Key))
	}},
	{"deaths are forgiven by a last report that moved", func(r *rig) {
		s := r.accept(born)
		r.void()
		s = r.claim(s.Key).State
		o := store.Outcome{Code: "x"}
		o.Segment = segment(s, "a")
		require.Zero(r, r.finish(s, o).Deaths)

		s = r.accept(born)
		r.void()
		s = r.claim(s.Key).State
		o = failed("poisoned")
		o.End.Dead = true
		require.Equal(r, 1, r.finish(s, o).Deaths, "an end alone forgives nothing")
	}},
}

func testRepeatedFinish(r *rig) {
	s := r.accept(born)
	o := succeeded(`1`)
	o.Segment = segment(s, "a")
	once := r.finish(s, o)
	r.Advance(time.Second)
	same(r, once, r.finish(s, o))
	for name, other := range map[string]store.Outcome{
		"another payload": succeeded(`2`), "another status": failed("boom"), "back to the queue": {Code: "x"},
	} {
		_, err := r.Queue.Finish(r.Context(), fence(s), other)
		require.ErrorIs(r, err, store.ErrFenced, name)
	}
	require.Equal(r, "1ack 2:a@1 3result=1", show(r.events(s.Key, 0)))

	s = r.accept(born)
	report := store.Report{Segment: segment(s, "a"), Checkpoint: []byte("c"), CheckpointKeep: 2}
	r.record(s, report)
	o = store.Outcome{Report: report, Code: "boom", Failure: true, Due: r.Now().Add(time.Minute)}
	once = r.finish(s, o)
	require.Equal(r, uint64(2), once.LastSeq, "what was recorded is not recorded twice")
	same(r, once, r.finish(s, o))
	require.Equal(r, 1, once.Failures)
	_, err := r.Queue.Finish(r.Context(), fence(s), store.Outcome{Report: report, Code: "other", Due: o.Due})
	require.ErrorIs(r, err, store.ErrFenced)
	r.Advance(time.Minute)
	r.claim(s.Key)
	_, err = r.Queue.Finish(r.Context(), fence(s), o)
	require.ErrorIs(r, err, store.ErrFenced, "not after another claim")

	s = r.accept(born)
	once = r.finish(s, store.Outcome{Code: "now"})
	r.Advance(time.Second)
	same(r, once, r.finish(s, store.Outcome{Code: "now"}), "at once is at once")
}
