package storetest

import (
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var cancelTests = []test{
	{"a queued request ends", func(r *rig) {
		s := r.accept()
		ended, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		require.Equal(r, store.Cancelled, ended.Status)
		require.Equal(r, "cancelled", ended.Code)
		require.Equal(r, store.Milli(r.Now()), ended.Ended)
		require.Zero(r, ended.Due)
		same(r, ended, r.state(s.Key))
		require.Equal(r, []store.Event{
			{Kind: store.Ack, Seq: 1}, {Kind: store.Error, Seq: 2, Code: "cancelled", Message: "the call was cancelled"},
		}, r.events(s.Key, 0))
		_, err = r.Queue.Claim(r.Context(), s.Key, alone)
		require.ErrorIs(r, err, store.ErrEnded)
	}},
	{"a running request is flagged", func(r *rig) {
		s := r.emit(r.accept(born), "a")
		flagged, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		require.True(r, flagged.CancelRequested)
		require.Equal(r, store.Running, flagged.Status)
		require.Equal(r, s.LastSeq, flagged.LastSeq)
		same(r, flagged, r.state(s.Key))
		again, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		same(r, flagged, again)
		r.void()
		w := r.claim(s.Key)
		require.True(r, w.State.CancelRequested, "the flag outlives the worker")
		require.Equal(r, store.Succeeded, r.finish(w.State, succeeded(`1`)).Status, "a result beats the flag")
	}},
	{"what has ended is left alone", func(r *rig) {
		s := r.finish(r.accept(born), succeeded(`1`))
		got, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.ErrorIs(r, err, store.ErrEnded)
		same(r, s, got)
		same(r, s, r.state(s.Key))
		r.Advance(r.Retention)
		_, err = r.Queue.Cancel(r.Context(), s.Key, subject)
		require.ErrorIs(r, err, store.ErrNotFound)
	}},
	{"another subject finds nothing", func(r *rig) {
		s := r.accept()
		got, err := r.Queue.Cancel(r.Context(), s.Key, "another")
		require.ErrorIs(r, err, store.ErrNotFound)
		require.Zero(r, got)
		same(r, s, r.state(s.Key))
	}},
	{"a cancel that overtakes is met", func(r *rig) {
		r.accept()
		for _, change := range []func(*store.New){func(*store.New) {}, born} {
			n := r.ask(change)
			_, err := r.Queue.Cancel(r.Context(), n.Key, subject)
			require.ErrorIs(r, err, store.ErrNotFound)
			_, _, err = r.Queue.Read(r.Context(), n.Key, 0, 0)
			require.ErrorIs(r, err, store.ErrNotFound)
			r.Advance(store.CancelMemory - time.Millisecond)
			a, err := r.Queue.Accept(r.Context(), n)
			require.NoError(r, err)
			require.True(r, a.Fresh)
			require.Equal(r, store.Cancelled, a.State.Status)
			require.Equal(r, uint64(2), a.State.LastSeq)
			require.Zero(r, a.State.Fence)
			require.Zero(r, a.State.Due)
			same(r, a.State, r.state(n.Key))
			require.Equal(r, "1ack 2error=cancelled", show(r.events(n.Key, 0)))
			again, err := r.Queue.Accept(r.Context(), n)
			require.NoError(r, err)
			require.False(r, again.Fresh)
			same(r, a.State, again.State)
		}
	}},
	{"a remembered cancel is forgotten in time", func(r *rig) {
		n := r.ask()
		_, err := r.Queue.Cancel(r.Context(), n.Key, subject)
		require.ErrorIs(r, err, store.ErrNotFound)
		r.Advance(store.CancelMemory)
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.Equal(r, store.Queued, a.State.Status)
	}},
	{"a remembered cancel belongs to its tenant and subject", func(r *rig) {
		n := r.ask()
		_, err := r.Queue.Cancel(r.Context(), n.Key, "another")
		require.ErrorIs(r, err, store.ErrNotFound)
		_, err = r.Queue.Cancel(r.Context(), store.Key{Tenant: "another", ID: n.ID}, subject)
		require.ErrorIs(r, err, store.ErrNotFound)
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.Equal(r, store.Queued, a.State.Status)
	}},
	{"only what may still come is remembered", func(r *rig) {
		for name, id := range map[string]string{
			"too old":     newID(r.Now().Add(-store.CancelMemory - time.Second)),
			"too far off": newID(r.Now().Add(store.CancelMemory + time.Second)),
			"no UUIDv7":   "not-an-id",
		} {
			n := r.ask(func(n *store.New) { n.ID = id })
			_, err := r.Queue.Cancel(r.Context(), n.Key, subject)
			require.ErrorIs(r, err, store.ErrNotFound, name)
			a, err := r.Queue.Accept(r.Context(), n)
			require.NoError(r, err, name)
			require.Equal(r, store.Queued, a.State.Status, name)
		}
	}},
	{"a known-only request does not use a remembered cancel up", func(r *rig) {
		n := r.ask()
		_, err := r.Queue.Cancel(r.Context(), n.Key, subject)
		require.ErrorIs(r, err, store.ErrNotFound)
		known := n
		known.KnownOnly = true
		_, err = r.Queue.Accept(r.Context(), known)
		require.ErrorIs(r, err, store.ErrExpired)
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.Equal(r, store.Cancelled, a.State.Status)
	}},
}
