package storetest

import (
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var acceptTests = []test{
	{"a fresh request is queued and due", func(r *rig) {
		n := r.ask(func(n *store.New) {
			n.Metadata, n.Connection, n.RetryOf = []byte(`{"m":1}`), "conn", "other"
			n.CancelAfter = new(time.Minute)
		})
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.True(r, a.Fresh)
		want := store.State{
			Key: n.Key, Subject: subject, Action: action, Hash: n.Hash, Status: store.Queued,
			Accepted: store.Milli(r.Now()), Deadline: store.Milli(n.Deadline), Due: store.Milli(r.Now()),
			RetryOf: "other", CancelAfter: n.CancelAfter, LastSeq: 1, Keep: 1, Connection: "conn",
		}
		same(r, want, a.State)
		same(r, want, r.state(n.Key))
		require.Equal(r, "1ack", show(r.events(n.Key, 0)))
	}},
	{"a request can be born claimed", func(r *rig) {
		s := r.accept(born, func(n *store.New) { n.Progress = &store.Progress{Attempt: 1, Rev: 3, Percent: 12.5, Message: "half"} })
		require.Equal(r, store.Running, s.Status)
		require.Equal(r, uint64(1), s.Fence)
		require.Equal(r, 1, s.Attempt)
		require.Equal(r, uint64(1), s.LastSeq)
		require.Equal(r, &store.Progress{Attempt: 1, Rev: 3, Percent: 12.5, Message: "half"}, s.Progress)
		same(r, s, r.state(s.Key))
		_, err := r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrLeased)
		require.Equal(r, uint64(2), r.emit(s, "a").LastSeq)
	}},
	{"a delayed request is not born claimed", func(r *rig) {
		s := r.accept(born, func(n *store.New) { n.NotBefore = r.Now().Add(time.Second) })
		require.Equal(r, store.Queued, s.Status)
		require.Equal(r, store.Milli(r.Now().Add(time.Second)), s.Due)
		require.Zero(r, s.Fence)
	}},
	{"due is never behind the deadline", func(r *rig) {
		s := r.accept(func(n *store.New) {
			n.NotBefore, n.Deadline = r.Now().Add(time.Hour), r.Now().Add(time.Minute)
		})
		require.Equal(r, s.Deadline, s.Due)
	}},
	{"the same id again is the same call", func(r *rig) {
		n := r.ask()
		first, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		r.Advance(time.Minute)
		n.Metadata, n.Connection, n.Deadline = []byte(`{}`), "else", r.Now().Add(time.Second)
		again, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.False(r, again.Fresh)
		same(r, first.State, again.State)
		n.Claim = &worker
		again, err = r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.Equal(r, store.Queued, again.State.Status, "a duplicate claims nothing")
		n.KnownOnly = true
		again, err = r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.False(r, again.Fresh)
	}},
	{"the same id for another call is a conflict", func(r *rig) {
		n := r.ask()
		_, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		for name, change := range map[string]func(*store.New){
			"subject": func(n *store.New) { n.Subject = "another" },
			"action":  func(n *store.New) { n.Action = "another" },
			"hash":    func(n *store.New) { n.Hash[31]++ },
			"all, with a key": func(n *store.New) {
				n.Subject, n.IdempotencyKey = "another", "k"
			},
		} {
			m := n
			change(&m)
			a, err := r.Queue.Accept(r.Context(), m)
			require.ErrorIs(r, err, store.ErrConflict, name)
			require.Zero(r, a, name)
		}
	}},
	{"an unknown id is refused when only known ones are asked for", func(r *rig) {
		n := r.ask(func(n *store.New) { n.KnownOnly = true })
		_, err := r.Queue.Accept(r.Context(), n)
		require.ErrorIs(r, err, store.ErrExpired)
		_, _, err = r.Queue.Read(r.Context(), n.Key, 0, 0)
		require.ErrorIs(r, err, store.ErrNotFound)
	}},
	{"an idempotency key stands for its first request", testIdempotency},
	{"an idempotency key is forgotten with its request", func(r *rig) {
		keyed := func(n *store.New) { n.IdempotencyKey = "k" }
		first := r.accept(born, keyed)
		r.finish(first, succeeded(`1`))
		r.Advance(r.Retention - time.Millisecond)
		a, err := r.Queue.Accept(r.Context(), r.ask(keyed))
		require.NoError(r, err)
		require.Equal(r, first.ID, a.State.ID)
		r.Advance(time.Millisecond)
		second := r.accept(keyed)
		require.NotEqual(r, first.ID, second.ID)
		a, err = r.Queue.Accept(r.Context(), r.ask(keyed))
		require.NoError(r, err)
		require.Equal(r, second.ID, a.State.ID)
	}},
	{"an id is free again when its request has expired", func(r *rig) {
		n := r.ask(born, func(n *store.New) { n.IdempotencyKey = "k" })
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		s := r.emit(a.State, "a", "b")
		r.record(s, store.Report{Checkpoint: []byte(`1`), CheckpointKeep: 3})
		r.finish(s, succeeded(`"old"`))
		r.Advance(r.Retention)
		n.Subject, n.Claim, n.Deadline = "another", nil, r.Now().Add(time.Hour)
		a, err = r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.True(r, a.Fresh)
		require.Equal(r, "1ack", show(r.events(n.Key, 0)))
		w := r.claim(n.Key)
		require.Nil(r, w.Checkpoint)
		require.Equal(r, 1, w.State.Attempt)
		r.emit(w.State, "new")
		require.Equal(r, "1ack 2:new@1", show(r.events(n.Key, 0)))
	}},
	{"of many who accept one id, one is first", func(r *rig) {
		n := r.ask(born)
		fresh := race(r, func(int) bool {
			a, err := r.Queue.Accept(r.Context(), n)
			assert.NoError(r, err)
			return a.Fresh
		})
		require.Equal(r, 1, fresh)
	}},
	{"of many who bring one idempotency key, one is first", func(r *rig) {
		fresh := race(r, func(int) bool {
			a, err := r.Queue.Accept(r.Context(), r.ask(func(n *store.New) { n.IdempotencyKey = "k" }))
			assert.NoError(r, err)
			return a.Fresh
		})
		require.Equal(r, 1, fresh)
	}},
	{"bodies are kept byte for byte", func(r *rig) {
		for _, input := range [][]byte{nil, []byte("null"), []byte(" {\"n\":9007199254740993,\"s\":\"\\u0000ü\\ud83d\\ude00\"}\n")} {
			for _, metadata := range [][]byte{nil, []byte(`{"x": 1.0}`)} {
				n := r.ask(func(n *store.New) { n.Input, n.Metadata = input, metadata })
				_, err := r.Queue.Accept(r.Context(), n)
				require.NoError(r, err)
				w := r.claim(n.Key)
				require.Equal(r, string(input), string(w.Input))
				require.Equal(r, metadata, w.Metadata)
			}
		}
	}},
}

func testIdempotency(r *rig) {
	keyed := func(n *store.New) { n.IdempotencyKey = "k" }
	first := r.accept(keyed)
	a, err := r.Queue.Accept(r.Context(), r.ask(keyed))
	require.NoError(r, err)
	require.False(r, a.Fresh)
	same(r, first, a.State)
	_, err = r.Queue.Accept(r.Context(), r.ask(keyed, func(n *store.New) { n.Input = []byte(`2`) }))
	require.ErrorIs(r, err, store.ErrIdempotencyConflict)
	for name, change := range map[string]func(*store.New){
		"tenant":  func(n *store.New) { n.Tenant = "another" },
		"subject": func(n *store.New) { n.Subject = "another" },
		"action":  func(n *store.New) { n.Action = "another" },
		"key":     func(n *store.New) { n.IdempotencyKey = "another" },
	} {
		a, err := r.Queue.Accept(r.Context(), r.ask(keyed, change))
		require.NoError(r, err, name)
		require.True(r, a.Fresh, name)
	}
	other := r.ask()
	_, err = r.Queue.Accept(r.Context(), other)
	require.NoError(r, err)
	other.IdempotencyKey = "k"
	a, err = r.Queue.Accept(r.Context(), other)
	require.NoError(r, err)
	require.Equal(r, other.ID, a.State.ID, "the id is looked at before the key")
	a, err = r.Queue.Accept(r.Context(), r.ask(keyed, func(n *store.New) { n.KnownOnly = true }))
	require.NoError(r, err)
	require.Equal(r, first.ID, a.State.ID, "a known key is known")
}

// race runs f sixteen times at once and counts how often it says yes.
func race(r *rig, f func(i int) bool) int {
	r.Helper()
	var wg sync.WaitGroup
	yes := make(chan struct{}, 16)
	start := make(chan struct{})
	for i := range cap(yes) {
		wg.Go(func() {
			<-start
			if f(i) {
				yes <- struct{}{}
			}
		})
	}
	close(start)
	wg.Wait()
	return len(yes)
}
