package storetest

import (
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var cancelCases = []Case{
	{"a queued request ends", func(r *rig) {
		s := r.accept()
		s.CancelRequested = true
		s = ended(s, store.Cancelled, "cancelled", r.Now())
		requireSame(r, s, r.cancel(s.Key))
		require.Equal(r, []store.Event{
			{Kind: store.Ack, Seq: 1}, {Kind: store.Error, Seq: 2, Code: "cancelled", Message: "the call was cancelled"},
		}, r.events(s.Key, 0))
		r.refuseClaim(s.Key, store.ErrEnded)
	}},
	{"a running request is flagged", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a")
		s.CancelRequested = true
		for range 2 {
			requireSame(r, s, r.cancel(s.Key))
		}
		r.crash()
		s = r.claim(s.Key).State
		require.True(r, s.CancelRequested, "the flag survives the worker")
		require.Equal(r, store.Succeeded, r.finish(s, succeeded(`1`)).Status, "a result takes precedence over the flag")
	}},
	{"an ended request stays as it is", func(r *rig) {
		s := r.finish(r.accept(claimed), succeeded(`1`))
		requireSame(r, s, r.refuseCancel(s.Key, subject, store.ErrEnded))
		r.requireState(s)
		r.Advance(r.Retention)
		r.refuseCancel(s.Key, subject, store.ErrNotFound)
	}},
	{"a request of another subject is not found", func(r *rig) {
		s := r.accept()
		require.Zero(r, r.refuseCancel(s.Key, "another", store.ErrNotFound))
		r.requireState(s)
	}},
	{"a cancel that comes before its request ends it", func(r *rig) {
		r.accept()
		for _, change := range queuedOrClaimed {
			n := r.newRequest(change)
			r.refuseCancel(n.Key, subject, store.ErrNotFound)
			r.requireNotFound(n.Key)
			r.Advance(store.CancelRetention - time.Millisecond)
			s := queued(&n, r.Now())
			s.CancelRequested = true
			s = ended(s, store.Cancelled, "cancelled", r.Now())
			requireSame(r, s, r.submitFresh(n))
			r.requireEvents(n.Key, 0, "1ack 2error=cancelled")
			r.submitKnown(s, n)
		}
	}},
	{"a remembered cancel expires", func(r *rig) {
		n := r.newRequest()
		r.refuseCancel(n.Key, subject, store.ErrNotFound)
		r.Advance(store.CancelRetention)
		require.Equal(r, store.Queued, r.submitFresh(n).Status)
	}},
	{"a remembered cancel belongs to its tenant and subject", func(r *rig) {
		n := r.newRequest()
		r.refuseCancel(n.Key, "another", store.ErrNotFound)
		r.refuseCancel(store.Key{Tenant: "another", ID: n.ID}, subject, store.ErrNotFound)
		require.Equal(r, store.Queued, r.submitFresh(n).Status)
	}},
	{"only cancels of ids that can still be accepted are remembered", func(r *rig) {
		for name, id := range map[string]string{
			"too old":     newID(r.Now().Add(-store.CancelRetention - time.Second)),
			"too far off": newID(r.Now().Add(store.CancelRetention + time.Second)),
			"no UUIDv7":   "not-an-id",
		} {
			n := r.newRequest(func(n *store.Request) { n.ID = id })
			r.refuseCancel(n.Key, subject, store.ErrNotFound, name)
			require.Equal(r, store.Queued, r.submitFresh(n, name).Status, name)
		}
	}},
	{"a known-only request does not use up a remembered cancel", func(r *rig) {
		n := r.newRequest()
		r.refuseCancel(n.Key, subject, store.ErrNotFound)
		n.KnownOnly = true
		r.refuseAccept(n, store.ErrExpired)
		n.KnownOnly = false
		require.Equal(r, store.Cancelled, r.submitFresh(n).Status)
	}},
}
