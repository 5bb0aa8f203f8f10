package storetest

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var claimTests = []test{
	{"the first claim begins attempt 1 without a mark", func(r *rig) {
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
		same(r, w.State, r.state(s.Key))
	}},
	{"what is not due is refused", func(r *rig) {
		s := r.accept(func(n *store.New) { n.NotBefore = r.Now().Add(time.Second) })
		_, err := r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrNotDue)
		r.Advance(time.Second)
		r.claim(s.Key)
	}},
	{"what is leased is refused", func(r *rig) {
		s := r.accept()
		w := r.claim(s.Key)
		_, err := r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrLeased)
		same(r, w.State, r.state(s.Key))
	}},
	{"what is unknown is not found", func(r *rig) {
		_, err := r.Queue.Claim(r.Context(), store.Key{Tenant: tenant, ID: newID(r.Now())}, alone)
		require.ErrorIs(r, err, store.ErrNotFound)
	}},
	{"what has ended is refused with its state", func(r *rig) {
		s := r.finish(r.accept(born), succeeded(`1`))
		w, err := r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrEnded)
		same(r, s, w.State)
		r.Advance(r.Retention)
		_, err = r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrNotFound)
	}},
	{"of many who claim, one wins", func(r *rig) {
		for range 5 {
			s := r.accept()
			won := race(r, func(int) bool {
				_, err := r.Queue.Claim(r.Context(), s.Key, alone)
				if err != nil {
					assert.ErrorIs(r, err, store.ErrLeased)
				}
				return err == nil
			})
			require.Equal(r, 1, won)
			require.Equal(r, uint64(1), r.state(s.Key).Fence)
		}
	}},
	{"a void lease is taken over, and a death counted", func(r *rig) {
		s := r.emit(r.accept(born), "a", "b")
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 50}})
		r.void()
		w := r.claim(s.Key)
		require.Equal(r, uint64(2), w.State.Fence)
		require.Equal(r, 2, w.State.Attempt)
		require.Equal(r, 1, w.State.Deaths)
		require.Zero(r, w.State.Failures)
		require.Nil(r, w.State.Progress, "progress belongs to its attempt")
		require.Equal(r, &store.Mark{Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: store.WorkerLost}, w.State.Mark)
		require.Equal(r, "1ack 4mark2[2-4]k1(worker_lost)", show(r.events(s.Key, 0)))
	}},
	{"of many who take over, one wins", func(r *rig) {
		s := r.accept(born)
		r.void()
		won := race(r, func(int) bool {
			_, err := r.Queue.Claim(r.Context(), s.Key, alone)
			return err == nil
		})
		require.Equal(r, 1, won)
		require.Equal(r, 1, r.state(s.Key).Deaths)
	}},
	{"a retry's mark says why", func(r *rig) {
		s := r.finish(r.accept(born), store.Outcome{Code: "boom", Failure: true})
		w := r.claim(s.Key)
		require.Equal(r, &store.Mark{Seq: 2, Attempt: 2, Keep: 1, From: 2, Code: "boom"}, w.State.Mark)
		require.Equal(r, 1, w.State.Failures)
		require.Zero(r, w.State.Deaths)
	}},
	{"suspects are claimed alone", func(r *rig) {
		s := r.accept(born)
		r.void()
		w, err := r.Queue.Claim(r.Context(), s.Key, worker)
		require.NoError(r, err, "after one death it runs as usual")
		require.Equal(r, 1, w.State.Deaths)
		r.void()
		before := r.state(s.Key)
		_, err = r.Queue.Claim(r.Context(), s.Key, worker)
		require.ErrorIs(r, err, store.ErrSuspect)
		same(r, before, r.state(s.Key), "a refusal writes nothing")
		w = r.claim(s.Key)
		require.Equal(r, 2, w.State.Deaths)
		require.True(r, w.State.Suspect())

		queued := r.finish(w.State, store.Outcome{Code: "handover"})
		require.Equal(r, 2, queued.Deaths)
		_, err = r.Queue.Claim(r.Context(), s.Key, worker)
		require.ErrorIs(r, err, store.ErrSuspect, "queued or not")
		w = r.claim(s.Key)
		require.Zero(r, r.emit(w.State, "a").Deaths, "whoever records lives")
	}},
	{"a worker that dies at once is marked each time", func(r *rig) {
		s := r.emit(r.accept(born), "a")
		for range 4 {
			r.void()
			s = r.claim(s.Key).State
		}
		require.Equal(r, 4, s.Deaths)
		require.Equal(r, "1ack 6mark5[2-6]k1(worker_lost)", show(r.events(s.Key, 0)))
		require.Equal(r, "6mark5[2-6]k1(worker_lost)", show(r.events(s.Key, 2)))
		s = r.emit(s, "b")
		require.Equal(r, "1ack 6mark5[2-6]k1(worker_lost) 7:b@5", show(r.events(s.Key, 0)))
		require.Equal(r, "7:b@5", show(r.events(s.Key, 6)))
	}},
	{"a claim whose context has ended claims nothing", func(r *rig) {
		s := r.accept()
		ctx, cancel := newCancelled(r)
		defer cancel()
		_, err := r.Queue.Claim(ctx, s.Key, alone)
		require.Error(r, err)
		require.False(r, errors.Is(err, store.ErrLeased))
		require.Equal(r, store.Queued, r.state(s.Key).Status)
	}},
}
