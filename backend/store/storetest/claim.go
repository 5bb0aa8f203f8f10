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
		s := r.accept(func(n *store.New) { n.Metadata = []byte(`{"m":1}`) })
		w := r.claim(s.Key)
		require.Equal(r, store.Running, w.State.Status)
		require.Equal(r, uint64(1), w.State.Fence)
		require.Equal(r, 1, w.State.Attempt)
		require.Equal(r, uint64(1), w.State.LastSeq)
		require.Nil(r, w.State.Mark)
		require.Equal(r, `{"a":1}`, string(w.Input))
		require.Equal(r, `{"m":1}`, string(w.Metadata))
		require.Nil(r, w.Checkpoint)
		r.requireState(w.State)
	}},
	{"a request that is not due is refused", func(r *rig) {
		s := r.accept(func(n *store.New) { n.NotBefore = r.Now().Add(time.Second) })
		r.refuseClaim(s.Key, store.ErrNotDue)
		r.Advance(time.Second)
		r.claim(s.Key)
	}},
	{"a leased request is refused", func(r *rig) {
		s := r.accept()
		w := r.claim(s.Key)
		r.refuseClaim(s.Key, store.ErrLeased)
		r.requireState(w.State)
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
		s := r.emit(r.accept(claimed), "a", "b")
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 50}})
		r.crash()
		w := r.claim(s.Key)
		require.Equal(r, uint64(2), w.State.Fence)
		require.Equal(r, 2, w.State.Attempt)
		require.Equal(r, 1, w.State.Deaths)
		require.Zero(r, w.State.Failures)
		require.Nil(r, w.State.Progress, "progress belongs to its attempt")
		require.Equal(r, &store.Mark{Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: store.WorkerLost}, w.State.Mark)
		r.requireEvents(s.Key, 0, "1ack 4mark2[2-4]k1(worker_lost)")
	}},
	{"of concurrent takeovers, one wins", func(r *rig) {
		s := r.accept(claimed)
		r.crash()
		r.requireOneWinner(func(int) bool {
			_, err := r.Queue.Claim(r.Context(), s.Key, quarantineWorker)
			return err == nil
		})
		require.Equal(r, 1, r.state(s.Key).Deaths)
	}},
	{"a retry's mark has the reason", func(r *rig) {
		s := r.finish(r.accept(claimed), store.Outcome{Code: "boom", Failure: true})
		w := r.claim(s.Key)
		require.Equal(r, &store.Mark{Seq: 2, Attempt: 2, Keep: 1, From: 2, Code: "boom"}, w.State.Mark)
		require.Equal(r, 1, w.State.Failures)
		require.Zero(r, w.State.Deaths)
	}},
	{"a quarantined request needs a quarantine claim", func(r *rig) {
		s := r.accept(claimed)
		r.crash()
		w, err := r.Queue.Claim(r.Context(), s.Key, worker)
		require.NoError(r, err, "after one crash it runs as usual")
		require.Equal(r, 1, w.State.Deaths)
		r.crash()
		before := r.state(s.Key)
		_, err = r.Queue.Claim(r.Context(), s.Key, worker)
		require.ErrorIs(r, err, store.ErrSuspect)
		r.requireState(before, "a refusal writes nothing")
		w = r.claim(s.Key)
		require.Equal(r, 2, w.State.Deaths)
		require.True(r, w.State.Suspect())

		queued := r.finish(w.State, store.Outcome{Code: "handover"})
		require.Equal(r, 2, queued.Deaths)
		_, err = r.Queue.Claim(r.Context(), s.Key, worker)
		require.ErrorIs(r, err, store.ErrSuspect, "queued or not")
		w = r.claim(s.Key)
		require.Zero(r, r.emit(w.State, "a").Deaths, "a record shows that the worker works")
	}},
	{"each attempt that crashes at once gets a mark", func(r *rig) {
		s := r.emit(r.accept(claimed), "a")
		for range 4 {
			r.crash()
			s = r.claim(s.Key).State
		}
		require.Equal(r, 4, s.Deaths)
		r.requireEvents(s.Key, 0, "1ack 6mark5[2-6]k1(worker_lost)")
		r.requireEvents(s.Key, 2, "6mark5[2-6]k1(worker_lost)")
		s = r.emit(s, "b")
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
