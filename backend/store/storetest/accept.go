package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var acceptCases = []Case{
	{"a fresh request is queued and due", func(r *rig) {
		n := r.newRequest(func(n *store.Request) {
			n.Metadata, n.Connection, n.RetryOf = []byte(`{"m":1}`), "conn", "other"
			n.CancelAfter = new(time.Minute)
		})
		requireSame(r, queued(&n, r.Now()), r.submitFresh(n))
		r.requireEvents(n.Key, 0, "1ack")
	}},
	{"a request can be claimed when it is accepted", func(r *rig) {
		n := r.newRequest(claimed, func(n *store.Request) {
			n.Progress = &store.Progress{Attempt: 1, Rev: 3, Percent: 12.5, Message: "half"}
		})
		s := queued(&n, r.Now())
		s.Status, s.Fence, s.Attempt = store.Running, 1, 1
		requireSame(r, s, r.submitFresh(n))
		r.refuseClaim(s.Key, store.ErrLeased)
		require.Equal(r, uint64(2), r.recordChunks(s, "a").LastSeq)
	}},
	{"a delayed request is not claimed when it is accepted", func(r *rig) {
		n := r.newRequest(claimed, func(n *store.Request) { n.NotBefore = r.Now().Add(time.Second) })
		requireSame(r, queued(&n, r.Now()), r.submitFresh(n))
	}},
	{"due is never after the deadline", func(r *rig) {
		s := r.accept(func(n *store.Request) {
			n.NotBefore, n.Deadline = r.Now().Add(time.Hour), r.Now().Add(time.Minute)
		})
		require.Equal(r, s.Deadline, s.Due)
	}},
	{"the same id again is the same call", func(r *rig) {
		n := r.newRequest()
		first := r.submitFresh(n)
		r.Advance(time.Minute)
		n.Metadata, n.Connection, n.Deadline = []byte(`{}`), "else", r.Now().Add(time.Second)
		r.submitKnown(first, n)
		n.Claim = &worker
		r.submitKnown(first, n, "a duplicate claims nothing")
		n.KnownOnly = true
		r.submitKnown(first, n)
	}},
	{"the same id for another call is a conflict", func(r *rig) {
		n := r.newRequest()
		r.submitFresh(n)
		for name, change := range map[string]func(*store.Request){
			"subject":         func(n *store.Request) { n.Subject = "another" },
			"action":          func(n *store.Request) { n.Action = "another" },
			"hash":            func(n *store.Request) { n.Hash[31]++ },
			"all, with a key": func(n *store.Request) { n.Subject, n.IdempotencyKey = "another", "k" },
		} {
			m := n
			change(&m)
			r.refuseAccept(m, store.ErrConflict, name)
		}
	}},
	{"an unknown id is refused when only known ones are asked for", func(r *rig) {
		n := r.newRequest(func(n *store.Request) { n.KnownOnly = true })
		r.refuseAccept(n, store.ErrExpired)
		r.requireNotFound(n.Key)
	}},
	{"an idempotency key stands for its first request", func(r *rig) {
		keyed := func(n *store.Request) { n.IdempotencyKey = "k" }
		first := r.accept(keyed)
		r.submitKnown(first, r.newRequest(keyed))
		r.refuseAccept(r.newRequest(keyed, func(n *store.Request) { n.Input = []byte(`2`) }), store.ErrIdempotencyConflict)
		for name, change := range map[string]func(*store.Request){
			"tenant":  func(n *store.Request) { n.Tenant = "another" },
			"subject": func(n *store.Request) { n.Subject = "another" },
			"action":  func(n *store.Request) { n.Action = "another" },
			"key":     func(n *store.Request) { n.IdempotencyKey = "another" },
		} {
			r.submitFresh(r.newRequest(keyed, change), name)
		}
		other := r.newRequest()
		otherState := r.submitFresh(other)
		other.IdempotencyKey = "k"
		r.submitKnown(otherState, other, "the id is looked up before the key")
		r.submitKnown(first, r.newRequest(keyed, func(n *store.Request) { n.KnownOnly = true }), "a known key is known")
	}},
	{"an idempotency key is forgotten with its request", func(r *rig) {
		keyed := func(n *store.Request) { n.IdempotencyKey = "k" }
		first := r.accept(claimed, keyed)
		r.finish(first, succeeded(`1`))
		r.Advance(r.Retention - time.Millisecond)
		r.submitKnown(r.state(first.Key), r.newRequest(keyed))
		r.Advance(time.Millisecond)
		second := r.accept(keyed)
		require.NotEqual(r, first.ID, second.ID)
		r.submitKnown(second, r.newRequest(keyed))
	}},
	{"an id is free again when its request has expired", func(r *rig) {
		n := r.newRequest(claimed, func(n *store.Request) { n.IdempotencyKey = "k" })
		s := r.recordChunks(r.submitFresh(n), "a", "b")
		r.record(s, store.Report{Checkpoint: []byte(`1`), CheckpointKeep: 3})
		r.finish(s, succeeded(`"old"`))
		r.Advance(r.Retention)
		n.Subject, n.Claim, n.Deadline = "another", nil, r.Now().Add(time.Hour)
		r.submitFresh(n)
		r.requireEvents(n.Key, 0, "1ack")
		w := r.claim(n.Key)
		require.Nil(r, w.Checkpoint)
		require.Equal(r, 1, w.State.Attempt)
		r.recordChunks(w.State, "new")
		r.requireEvents(n.Key, 0, "1ack 2:new@1")
	}},
	{"of concurrent accepts of one id, one is fresh", func(r *rig) {
		n := r.newRequest(claimed)
		r.requireOneFresh(func() store.Request { return n })
	}},
	{"of concurrent accepts with one idempotency key, one is fresh", func(r *rig) {
		r.requireOneFresh(func() store.Request { return r.newRequest(func(n *store.Request) { n.IdempotencyKey = "k" }) })
	}},
	{"bodies are kept byte for byte", func(r *rig) {
		for _, input := range [][]byte{nil, []byte("null"), []byte(" {\"n\":9007199254740993,\"s\":\"\\u0000ü\\ud83d\\ude00\"}\n")} {
			for _, metadata := range [][]byte{nil, []byte(`{"x": 1.0}`)} {
				n := r.newRequest(func(n *store.Request) { n.Input, n.Metadata = input, metadata })
				r.submitFresh(n)
				w := r.claim(n.Key)
				require.Equal(r, string(input), string(w.Input))
				require.Equal(r, metadata, w.Metadata)
			}
		}
	}},
}

// requireOneFresh accepts sixteen requests at once and requires that one is
// fresh.
func (r *rig) requireOneFresh(request func() store.Request) {
	r.requireOneWinner(func(int) bool {
		a, err := r.Queue.Accept(r.Context(), request())
		assert.NoError(r, err)
		return a.Fresh
	})
}

// requireOneWinner runs f sixteen times at once and requires that it returns
// true once.
func (r *rig) requireOneWinner(f func(i int) bool) {
	var winners atomic.Int32
	atOnce(func(i int) {
		if f(i) {
			winners.Add(1)
		}
	})
	require.EqualValues(r, 1, winners.Load())
}

// atOnce runs f sixteen times at once.
func atOnce(f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 16 {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
