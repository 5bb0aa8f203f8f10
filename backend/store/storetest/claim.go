package storetest

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var claimCases = []Case{
	{"the first claim starts attempt 1 without a mark", func(r *rig) {
		s := r.accept(func(n *store.Request) { n.Metadata = []byte(`{"m":1}`) })
		w := r.claim(s.Key)
		s.Status, s.Fence, s.Attempt = store.Running, 1, 1
		requireSame(r, s, w.State)
		require.Equal(r, `{"a":1}`, string(w.Input))
		require.Equal(r, `{"m":1}`, string(w.Metadata))
		require.Nil(r, w.Checkpoint)
	}},
	{"a request that is not due is refused", func(r *rig) {
		s := r.accept(func(n *store.Request) { n.NotBefore = r.Now().Add(time.Second) })
		r.refuseClaim(s.Key, store.ErrNotDue)
		r.Advance(time.Second)
		r.claim(s.Key)
	}},
	{"a leased request is refused", func(r *rig) {
		s := r.claim(r.accept().Key).State
		r.refuseClaim(s.Key, store.ErrLeased)
		r.requireState(s)
	}},
	{"an unknown request is not found", func(r *rig) {
		r.refuseClaim(store.Key{Tenant: tenant, ID: newID(r.Now())}, store.ErrNotFound)
	}},
	{"an ended request is refused with its state", func(r *rig) {
		s := r.finish(r.accept(claimed), succeeded(`1`))
		requireSame(r, s, r.refuseClaim(s.Key, store.ErrEnded).State)
		r.Advance(r.Retention)
		r.refuseClaim(s.Key, store.ErrNotFound)
	}},
	{"of concurrent claims, one wins", func(r *rig) {
		for range 5 {
			s := r.accept()
			r.requireOneWinner(func(int) bool {
				_, err := r.Queue.Claim(r.Context(), s.Key, quarantineWorker)
				if err != nil {
					assert.ErrorIs(r, err, store.ErrLeased)
				}
				return err == nil
			})
			require.Equal(r, uint64(1), r.state(s.Key).Fence)
		}
	}},
	{"an expired lease is taken over, and a crash is counted", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a", "b")
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 50}})
		r.crash()
		s.Fence, s.Attempt, s.CrashCount, s.Code, s.LastSeq = 2, 2, 1, store.WorkerLost, 4
		s.Progress = nil // progress belongs to its attempt
		s.AttemptMark = &store.AttemptMark{Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: store.WorkerLost}
		requireSame(r, s, r.claim(s.Key).State)
		r.requireEvents(s.Key, 0, "1ack 4mark2[2-4]k1(worker_lost)")
	}},
	{"of concurrent takeovers, one wins", func(r *rig) {
		s := r.accept(claimed)
		r.crash()
		r.requireOneWinner(func(int) bool {
			_, err := r.Queue.Claim(r.Context(), s.Key, quarantineWorker)
			return err == nil
		})
		require.Equal(r, 1, r.state(s.Key).CrashCount)
	}},
	{"a retry's mark has the reason", func(r *rig) {
		s := r.finish(r.accept(claimed), store.Outcome{Code: "boom", Failure: true})
		s = r.claim(s.Key).State
		require.Equal(r, &store.AttemptMark{Seq: 2, Attempt: 2, Keep: 1, From: 2, Code: "boom"}, s.AttemptMark)
		require.Equal(r, 1, s.Failures)
		require.Zero(r, s.CrashCount)
	}},
	{"a quarantined request needs a quarantine claim", func(r *rig) {
		s := r.accept(claimed)
		r.crash()
		w, err := r.Queue.Claim(r.Context(), s.Key, worker)
		require.NoError(r, err, "after one crash it runs as usual")
		require.Equal(r, 1, w.State.CrashCount)
		r.crash()
		refuse := func(hint string) {
			before := r.state(s.Key)
			_, err = r.Queue.Claim(r.Context(), s.Key, worker)
			require.ErrorIs(r, err, store.ErrQuarantined, hint)
			r.requireState(before, "a refusal writes nothing")
		}
		refuse("running")
		s = r.claim(s.Key).State
		require.Equal(r, 2, s.CrashCount)
		require.True(r, s.Quarantined())
		require.Equal(r, 2, r.finish(s, store.Outcome{Code: "handover"}).CrashCount)
		refuse("queued")
		s = r.claim(s.Key).State
		require.Zero(r, r.recordChunks(s, "a").CrashCount, "a record shows that the worker works")
	}},
	{"each attempt that crashes at once gets a mark", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a")
		for range 4 {
			r.crash()
			s = r.claim(s.Key).State
		}
		require.Equal(r, 4, s.CrashCount)
		r.requireEvents(s.Key, 0, "1ack 6mark5[2-6]k1(worker_lost)")
		r.requireEvents(s.Key, 2, "6mark5[2-6]k1(worker_lost)")
		s = r.recordChunks(s, "b")
		r.requireEvents(s.Key, 0, "1ack 6mark5[2-6]k1(worker_lost) 7:b@5")
		r.requireEvents(s.Key, 6, "7:b@5")
	}},
	{"a claim whose context has ended has no effect", func(r *rig) {
		s := r.accept()
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		_, err := r.Queue.Claim(ctx, s.Key, quarantineWorker)
		require.Error(r, err)
		require.NotErrorIs(r, err, store.ErrLeased)
		require.Equal(r, store.Queued, r.state(s.Key).Status)
	}},
}
