package storetest

import (
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var finishCases = []Case{
	{"a result is the end", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a")
		r.Advance(time.Second)
		want := ended(s, store.Succeeded, "", r.Now())
		requireSame(r, want, r.finish(s, succeeded(`{"ok":1}`)))
		r.requireEvents(s.Key, 0, `1ack 2:a@1 3result={"ok":1}`)
	}},
	{"an error is the end", func(r *rig) {
		s := r.accept(claimed)
		want := ended(s, store.Failed, "poisoned", r.Now())
		want.DeadLetter = true
		requireSame(r, want, r.finish(s, deadLetter()))
		require.Equal(r, []store.Event{{
			Kind: store.Error, Seq: 2, Code: "poisoned", Message: "it went wrong", Retryable: true, Data: []byte(`{"why":1}`),
		}}, r.events(s.Key, 1))
	}},
	{"the last report is stored with the end", func(r *rig) {
		s := r.accept(claimed)
		o := succeeded(`1`, segment(s, "a", "b"))
		o.Progress = &store.Progress{Attempt: 1, Rev: 7, Percent: 100}
		s = r.finish(s, o)
		require.Equal(r, o.Progress, s.Progress)
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4result=1")
	}},
	{"back to the queue", func(r *rig) {
		s := r.accept(claimed)
		due := r.Now().Add(time.Minute)
		o := store.Outcome{Due: due, Code: "boom", Failure: true}
		o.Segment, o.Checkpoint, o.CheckpointKeep = segment(s, "a", "b"), []byte("cp"), 2
		want := s
		want.Status, want.Due, want.Code, want.Failures, want.LastSeq, want.Keep = store.Queued, store.TruncateMillis(due), "boom", 1, 3, 2
		requireSame(r, want, r.finish(s, o))
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
		s := r.recordChunks(r.accept(claimed), "a")
		r.cancel(s.Key)
		o := store.Outcome{Due: r.Now().Add(time.Minute), Code: "boom", Failure: true, Report: store.Report{Segment: segment(s, "b")}}
		want := s
		want.LastSeq, want.Failures, want.CancelRequested = 3, 1, true
		want = ended(want, store.Cancelled, "cancelled", r.Now())
		for range 2 {
			requireSame(r, want, r.finish(s, o))
		}
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4error=cancelled")
	}},
	{"a repeated finish is recognised", func(r *rig) {
		s := r.accept(claimed)
		o := succeeded(`1`, segment(s, "a"))
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
	}},
	{"the first end wins", func(r *rig) {
		s := r.accept(claimed)
		r.requireOneWinner(func(i int) bool {
			_, err := r.Queue.Finish(r.Context(), fence(s), succeeded(fmt.Sprint(i)))
			return err == nil
		})
	}},
	{"only the newest fence finishes", func(r *rig) {
		old := r.recordChunks(r.accept(claimed), "a")
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
		require.Equal(r, store.Failed, r.finish(s, failed("deadline_exceeded")).Status)
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
		r.refuseOutcome(s, succeeded(`1`, segment(later, "a")))
	}},
	{"the crash count is reset by a last report with chunks", func(r *rig) {
		s := r.takenOver()
		o := store.Outcome{Report: store.Report{Segment: segment(s, "a")}, Code: "x"}
		require.Zero(r, r.finish(s, o).CrashCount)
		require.Equal(r, 1, r.finish(r.takenOver(), deadLetter()).CrashCount, "an end alone does not reset it")
	}},
}
