package storetest

import (
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// calledBy makes a call whose caller follows it from the start.
func calledBy(n *store.Request) { n.Connection = "conn" }

// watched makes a call whose caller follows it from the start, and which is
// cancelled when no connection has followed it for a minute.
func watched(n *store.Request) { n.CancelAfter, n.Connection = new(time.Minute), "conn" }

// watchCases test the optional interface Watcher.
var watchCases = []Case{
	{"a caller follows its call from the start", withRole(func(r *rig, _ store.Watcher) {
		for _, change := range queuedOrClaimed {
			s := r.accept(watched, change)
			r.requireWatch(s, 0, time.Time{})
			require.Equal(r, s.Due, s.CheckAt())
		}
		r.Advance(time.Hour)
		for _, h := range r.dueHints(r.Now()) {
			require.Zero(r, h.CancelAt)
		}
	})},
	{"without a caller the time starts at acceptance", withRole(func(r *rig, _ store.Watcher) {
		for _, change := range queuedOrClaimed {
			s := r.accept(change, func(n *store.Request) { n.CancelAfter = new(time.Minute) })
			r.requireWatch(s, 0, s.Accepted)
			r.requireWatch(r.accept(change), 0, time.Time{})
		}
	})},
	{"the time starts when the last connection leaves, once", withRole(func(r *rig, q store.Watcher) {
		for _, change := range queuedOrClaimed {
			s := r.accept(watched, change)
			r.Advance(time.Second)
			left := store.TruncateMillis(r.Now())
			for i := range uint64(3) {
				r.requireWatch(r.watch(q, s, false), i+1, left)
				r.Advance(time.Second)
			}
			r.requireWatch(r.watch(q, s, true), 4, time.Time{})
			r.requireWatch(r.watch(q, s, false), 5, store.TruncateMillis(r.Now()))
		}
	})},
	{"without time left the request is cancelled when the last connection leaves", withRole(func(r *rig, q store.Watcher) {
		atOnce := func(n *store.Request) { n.CancelAfter, n.Connection = new(time.Duration(0)), "conn" }
		s := r.watch(q, r.accept(atOnce), false)
		require.Equal(r, store.Cancelled, s.Status)
		require.Equal(r, "cancelled", s.Code)
		s = r.watch(q, r.accept(atOnce, claimed), true)
		require.False(r, s.CancelRequested)
		s = r.watch(q, s, false)
		require.Equal(r, store.Running, s.Status)
		require.True(r, s.CancelRequested)
		late := r.watch(q, r.accept(watched, claimed), false)
		r.Advance(time.Minute)
		require.True(r, r.watch(q, late, false).CancelRequested)
	})},
	{"a call without CancelAfter is never cancelled", withRole(func(r *rig, q store.Watcher) {
		for _, change := range queuedOrClaimed {
			s := r.accept(change)
			for i, subscribed := range []bool{true, false, false} {
				r.requireWatch(r.watch(q, s, subscribed), uint64(i+1), time.Time{})
			}
			require.False(r, r.cancelUnsubscribed(q, s.Key, 3).CancelRequested)
		}
	})},
	{"a queued request ends when its time is over", withRole(func(r *rig, q store.Watcher) {
		s := r.watch(q, r.accept(watched, func(n *store.Request) { n.NotBefore = r.Now().Add(time.Hour) }), false)
		r.Advance(time.Minute)
		s = r.cancelUnsubscribed(q, s.Key, s.Watch)
		require.Equal(r, store.Cancelled, s.Status)
		require.Equal(r, "cancelled", s.Code)
		require.Zero(r, s.CheckAt())
		r.requireEvents(s.Key, 0, "1ack 2error=cancelled")
		require.Empty(r, r.dueHints(r.Now().Add(1000*time.Hour)))
	})},
	{"a running request is flagged when its time is over", withRole(func(r *rig, q store.Watcher) {
		s := r.watch(q, r.recordChunks(r.accept(watched, claimed), "a"), false)
		r.Advance(time.Minute / 2)
		s = r.record(s, store.Report{}) // renews the lease
		r.Advance(time.Minute / 2)
		flagged := r.cancelUnsubscribed(q, s.Key, s.Watch)
		require.Equal(r, store.Running, flagged.Status)
		require.True(r, flagged.CancelRequested)
		require.Zero(r, flagged.CancelAt())
		require.Empty(r, r.dueHints(r.Now()), "it is not to be cancelled again")
		requireSame(r, flagged, r.cancelUnsubscribed(q, s.Key, s.Watch))
		require.Equal(r, store.Cancelled, r.finish(s, store.Outcome{Code: "boom"}).Status)
	})},
	{"a cancel with another revision changes nothing", withRole(func(r *rig, q store.Watcher) {
		for _, change := range queuedOrClaimed {
			s := r.watch(q, r.accept(watched, change), false)
			back := r.watch(q, s, true)
			gone := r.watch(q, s, false)
			r.Advance(time.Hour)
			for _, watch := range []uint64{0, s.Watch, back.Watch, gone.Watch + 1} {
				requireSame(r, gone, r.cancelUnsubscribed(q, s.Key, watch))
			}
			back = r.watch(q, s, true)
			requireSame(r, back, r.cancelUnsubscribed(q, s.Key, back.Watch), "a connection follows it")
		}
	})},
	{"a cancel that is too early changes nothing", withRole(func(r *rig, q store.Watcher) {
		s := r.watch(q, r.accept(watched), false)
		r.Advance(time.Minute - time.Millisecond)
		requireSame(r, s, r.cancelUnsubscribed(q, s.Key, s.Watch))
		r.Advance(time.Millisecond)
		require.Equal(r, store.Cancelled, r.cancelUnsubscribed(q, s.Key, s.Watch).Status)
	})},
	{"an ended request stays as it is", withRole(func(r *rig, q store.Watcher) {
		s := r.watch(q, r.accept(watched, claimed), false)
		s = r.finish(s, succeeded(`1`))
		r.Advance(time.Hour)
		for _, got := range r.refuseWatch(q, s.Key, s.Watch, store.ErrEnded) {
			requireSame(r, s, got)
		}
		r.requireState(s)
	})},
	{"an unknown request, or one of another tenant, is not found", withRole(func(r *rig, q store.Watcher) {
		s := r.accept(watched)
		expired := r.finish(r.accept(watched, claimed), succeeded(`1`))
		r.Advance(r.Retention)
		for _, key := range []store.Key{{Tenant: tenant, ID: newID(r.Now())}, {Tenant: "another", ID: s.ID}, expired.Key} {
			for _, got := range r.refuseWatch(q, key, 0, store.ErrNotFound) {
				require.Zero(r, got)
			}
		}
		r.requireState(s)
	})},
	{"the other transitions keep who follows", withRole(func(r *rig, q store.Watcher) {
		s := r.watch(q, r.accept(watched), false)
		left := s.UnsubscribedAt
		kept := func(s store.State) store.State {
			require.Equal(r, uint64(1), s.Watch)
			require.Equal(r, left, s.UnsubscribedAt)
			return s
		}
		r.Advance(time.Second)
		s = kept(r.claim(s.Key).State)
		s = kept(r.recordChunks(s, "a"))
		s = kept(r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1}}))
		s = kept(r.finish(s, store.Outcome{Code: "again"}))
		kept(r.claim(s.Key).State)
		s = kept(r.cancel(s.Key))
		kept(r.finish(s, store.Outcome{Code: "again"}))

		s = r.accept(watched, claimed)
		r.watch(q, s, false)
		r.watch(q, s, true)
		require.Equal(r, uint64(2), r.recordChunks(s, "a").Watch, "a record returns the revision")
		require.Equal(r, uint64(3), r.watch(q, s, true).Watch)
		require.Equal(r, uint64(3), r.finish(s, succeeded(`1`)).Watch, "and so does a finish")
	})},
	{"a request that is to be cancelled is due, in order", withRole(testCheckOrder)},
	{"the time starts when the store is opened", withRole(testWatchReopened)},
	{"a store that is opened late keeps the order", withRole(func(r *rig, q store.Watcher) {
		for i := range 60 {
			s := r.accept(watched, claimed, func(n *store.Request) { n.CancelAfter = new(time.Duration(1+(i*37)%60) * time.Second) })
			r.watch(q, s, false)
		}
		r.Advance(time.Hour)
		r.crash()
		require.Len(r, r.dueHints(r.Now()), 60)
	})},
}

// requireWatch requires that a state has this revision, and that no connection has
// followed the request since left, if that is not zero.
func (r *rig) requireWatch(s store.State, watch uint64, left time.Time) {
	require.Equal(r, watch, s.Watch)
	require.Equal(r, left, s.UnsubscribedAt)
	if !left.IsZero() {
		left = left.Add(time.Minute)
	}
	require.Equal(r, left, s.CancelAt())
}

// watch records whether connections follow a request.
func (r *rig) watch(q store.Watcher, s store.State, subscribed bool) store.State {
	return r.stored(q.Watch(r.Context(), s.Key, subscribed))
}

func (r *rig) cancelUnsubscribed(q store.Watcher, key store.Key, watch uint64) store.State {
	return r.stored(q.CancelUnsubscribed(r.Context(), key, watch))
}

// refuseWatch calls each method, requires the error, and returns the states.
func (r *rig) refuseWatch(q store.Watcher, key store.Key, watch uint64, want error) (all []store.State) {
	for _, subscribed := range []bool{true, false} {
		s, err := q.Watch(r.Context(), key, subscribed)
		require.ErrorIs(r, err, want)
		all = append(all, s)
	}
	s, err := q.CancelUnsubscribed(r.Context(), key, watch)
	require.ErrorIs(r, err, want)
	return append(all, s)
}

// testCheckOrder checks that requests are due when they may run or must be
// cancelled, whichever is first, in that order.
func testCheckOrder(r *rig, q store.Watcher) {
	until := r.Now().Add(30 * time.Second)
	var want []store.Hint
	for i := range 120 {
		after, due := time.Duration((i*37)%60)*time.Second, time.Duration((i*53)%60)*time.Second
		change := func(n *store.Request) { n.CancelAfter, n.NotBefore = &after, r.Now().Add(due) }
		if i%4 == 1 {
			change = func(n *store.Request) { n.CancelAfter, n.Claim = &after, &worker }
		}
		s := r.accept(watched, change)
		if i%4 < 3 {
			s = r.watch(q, s, false)
		}
		if i%4 == 2 {
			s = r.watch(q, s, true)
		}
		if at := s.CheckAt(); !at.IsZero() && !at.After(until) {
			want = append(want, s.Hint())
		}
	}
	require.ElementsMatch(r, want, r.dueHints(until))
}

// testWatchReopened checks that no connection follows anything in a store that
// was opened again. Requests that none followed before keep their time.
func testWatchReopened(r *rig, q store.Watcher) {
	if !r.Reopens {
		r.Logf("the store is never opened again")
		return
	}
	later := func(n *store.Request) { n.NotBefore = r.Now().Add(time.Hour) }
	before := r.watch(q, r.accept(watched, later), false)
	beforeRunning := r.watch(q, r.recordChunks(r.accept(watched, claimed), "a"), false)
	queued, running := r.accept(watched, later), r.accept(watched, claimed)
	recorded := r.recordChunks(r.accept(watched, claimed), "a")
	flagged := r.cancel(r.accept(watched, claimed).Key)
	plain := r.accept(claimed)
	ended := r.finish(r.accept(watched, claimed), succeeded(`1`))
	left := store.TruncateMillis(r.Now())
	r.Advance(40 * time.Second)
	r.crash()
	opened := store.TruncateMillis(r.Now())
	for since, states := range map[time.Time][]store.State{
		left: {before, beforeRunning}, opened: {queued, running, recorded}, {}: {plain},
	} {
		for _, s := range states {
			got := r.state(s.Key)
			require.Equal(r, since, got.UnsubscribedAt)
			require.Equal(r, since.Equal(opened), got.Watch > s.Watch)
		}
	}
	flagged = r.state(flagged.Key)
	require.Zero(r, flagged.CancelAt())
	r.requireState(ended)

	// Requests that ran are due at once, and again when they must be cancelled.
	for _, s := range []store.State{beforeRunning, running, recorded, flagged, plain} {
		r.claim(s.Key)
	}
	requireDue := func(d time.Duration, want ...string) {
		hints := r.dueHints(opened.Add(d))
		for _, h := range hints {
			require.Equal(r, h.CancelAt, h.Due)
		}
		require.ElementsMatch(r, want, hintIDs(hints))
	}
	requireDue(19 * time.Second)
	requireDue(20*time.Second, before.ID, beforeRunning.ID)
	requireDue(time.Minute, before.ID, beforeRunning.ID, queued.ID, running.ID, recorded.ID)

	// Requests that were due before are due, however late the store is opened.
	r.Advance(time.Hour)
	r.crash()
	for _, h := range r.dueHints(r.Now()) {
		if h.ID != plain.ID && h.ID != flagged.ID {
			require.Equal(r, h.CancelAt, h.Due)
			require.True(r, h.Due.Before(r.Now()))
			require.True(r, r.cancelUnsubscribed(r.Queue.(store.Watcher), h.Key, h.Watch).CancelRequested)
		}
	}
	require.Equal(r, store.Cancelled, r.state(queued.Key).Status)
	require.ElementsMatch(r, []string{beforeRunning.ID, running.ID, recorded.ID, flagged.ID, plain.ID}, hintIDs(r.dueHints(r.Now())))
}

func hintIDs(hints []store.Hint) (ids []string) {
	for _, h := range hints {
		ids = append(ids, h.ID)
	}
	return ids
}

// connectionCases are about the connection of the caller.
var connectionCases = []Case{
	{"a record clears the caller's connection", func(r *rig) {
		for _, change := range []func(*store.Request){func(*store.Request) {}, watched} {
			s := r.accept(change, claimed, calledBy)
			require.Equal(r, "conn", r.recordChunks(s, "a").Connection)
			s = r.state(s.Key)
			for range 2 { // the repetition is safe
				s = r.record(s, store.Report{ClearConnection: true})
				require.Empty(r, s.Connection)
			}
			s = r.recordChunks(s, "b")
			require.Empty(r, s.Connection, "it stays empty")
			s = r.finish(s, store.Outcome{Code: "again"})
			r.crash()
			s = r.claim(s.Key).State
			require.Empty(r, s.Connection)
		}
	}},
	{"a finish clears the caller's connection", func(r *rig) {
		for _, o := range []store.Outcome{succeeded(`1`), {Code: "again"}} {
			o.ClearConnection = true
			s := r.accept(claimed, calledBy)
			once := r.finish(s, o)
			require.Empty(r, once.Connection)
			requireSame(r, once, r.finish(s, o), "a repetition is recognised")
		}
	}},
	{"a queued request takes no report that clears the connection", func(r *rig) {
		s := r.accept(calledBy)
		o := failed("x")
		o.ClearConnection = true
		r.refuseOutcome(s, o)
		require.Equal(r, "conn", r.state(s.Key).Connection)
	}},
}
