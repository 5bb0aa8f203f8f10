package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// RunModel is the part of [Run] that applies the same random steps to a store
// and a simple model of it, and compares them after each. Each run has its own
// tenant.
func RunModel(t *testing.T, open func(t *testing.T) *Fixture) {
	f := withDefaults(open(t))
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &machine{rig: &rig{T: rt, Fixture: f}, model: model{cancels: map[string]time.Time{}}, tenant: fmt.Sprint("run", run)}
		rt.Repeat(map[string]func(*rapid.T){
			"accept":       m.accept,
			"resend":       m.resend,
			"claim":        m.claim,
			"claim 2":      m.claim,
			"record":       m.record,
			"record 2":     m.record,
			"repeat":       m.repeat,
			"finish":       m.finish,
			"old fence":    m.useOldFence,
			"cancel":       m.cancel,
			"cancel first": m.cancelFirst,
			"watch":        m.watch,
			"unsubscribed": m.cancelUnsubscribed,
			"advance":      m.advance,
			"crash":        m.crash,
			"":             m.check,
		})
	})
}

// machine applies steps to the store and the model.
type machine struct {
	*rig
	model
	tenant string
}

// anyRequest chooses a request of the model; it skips the step if there is none.
func (m *machine) anyRequest(t *rapid.T) *request {
	if len(m.requests) == 0 {
		t.Skip("no request")
	}
	return m.requests[rapid.IntRange(0, len(m.requests)-1).Draw(t, "request")]
}

func (m *machine) skipWhenFull(t *rapid.T) {
	if len(m.requests) >= 6 {
		t.Skip("enough requests")
	}
}

// drawFrom draws one of the given values.
func drawFrom[V any](t *rapid.T, name string, values ...V) V {
	return rapid.SampledFrom(values).Draw(t, name)
}

func (m *machine) accept(t *rapid.T) {
	m.skipWhenFull(t)
	m.submit(t, m.newRequest(func(n *store.Request) {
		n.Tenant, n.Subject, n.Action = m.tenant, drawFrom(t, "subject", "s1", "s2"), drawFrom(t, "action", "a1", "a2")
		n.Input, n.IdempotencyKey = []byte(drawFrom(t, "input", "1", "2")), drawFrom(t, "key", "", "", "k")
		n.Deadline = m.Now().Add(drawFrom(t, "deadline", time.Second, time.Hour, 1000*time.Hour))
		if d := drawFrom(t, "delay", 0, 0, 2*time.Second); d > 0 {
			n.NotBefore = m.Now().Add(d)
		}
		if rapid.Bool().Draw(t, "claim") {
			n.Claim = &worker
		}
		if _, ok := m.Queue.(store.Watcher); ok && rapid.Bool().Draw(t, "watched") {
			n.CancelAfter = new(drawFrom(t, "cancel after", 0, time.Second, time.Hour))
		}
		n.Connection = drawFrom(t, "connection", "", "conn")
	}))
}

// submit accepts a request in the store and the model.
func (m *machine) submit(t *rapid.T, n store.Request) {
	want, wantErr, fresh := m.model.submit(&n, m.Now())
	got, err := m.Queue.Accept(m.Context(), n)
	require.ErrorIs(t, err, wantErr)
	require.Equal(t, fresh, got.Fresh)
	if want != nil {
		requireSame(t, want.state, got.State)
	}
}

// resend sends a known id again, sometimes as another call.
func (m *machine) resend(t *rapid.T) {
	r := m.anyRequest(t)
	n := store.Request{
		Key: r.state.Key, Subject: r.state.Subject, Action: r.state.Action, Hash: r.state.Hash, Input: []byte(r.input),
		IdempotencyKey: drawFrom(t, "key", "", "k"), Claim: &worker, Deadline: m.Now().Add(time.Minute),
	}
	switch rapid.IntRange(0, 5).Draw(t, "change") {
	case 0:
		n.Subject = "else"
	case 1:
		n.Hash[0]++
	}
	m.submit(t, n)
}

func (m *machine) claim(t *rapid.T) {
	r, now := m.anyRequest(t), m.Now()
	by := worker
	by.Quarantine = rapid.Bool().Draw(t, "alone")
	w, err := m.Queue.Claim(m.Context(), r.state.Key, by)
	s := r.state
	if s.Status == store.Running {
		s.CrashCount++
		s.Code = "worker_lost"
	}
	var refusal error
	switch {
	case s.Status.Ended():
		refusal = store.ErrEnded
		requireSame(t, s, w.State)
	case s.Status == store.Queued && s.Due.After(now):
		refusal = store.ErrNotDue
	case s.Status == store.Running && r.leased:
		refusal = store.ErrLeased
	case s.CrashCount >= 2 && !by.Quarantine:
		refusal = store.ErrQuarantined
	}
	if refusal != nil {
		require.ErrorIs(t, err, refusal)
		return
	}
	require.NoError(t, err)
	s.Status, s.Due, s.Progress = store.Running, time.Time{}, nil
	s.Fence++
	s.Attempt++
	if s.Attempt > 1 {
		s.LastSeq++
		mark := store.AttemptMark{Seq: s.LastSeq, Attempt: s.Attempt, Keep: s.Keep, From: s.Keep + 1, Code: s.Code}
		s.AttemptMark = &mark
		r.marks = append(r.marks, mark)
	}
	r.state, r.leased, r.newest = s, true, nil
	requireSame(t, s, w.State)
	require.Equal(t, r.input, string(w.Input))
	require.Equal(t, r.checkpoint, w.Checkpoint)
}

// report draws a valid report of an attempt, and returns the state after it.
func (m *machine) report(t *rapid.T, r *request) (report store.Report, s store.State) {
	s = r.state
	if n := rapid.IntRange(0, 3).Draw(t, "chunks"); n > 0 {
		texts := make([]string, n)
		for i := range texts {
			texts[i] = rapid.StringN(0, 5, -1).Draw(t, "chunk")
		}
		report.Segment = segment(s, texts...)
		s.LastSeq, s.CrashCount = report.Segment.Last, 0
	}
	if rapid.IntRange(0, 2).Draw(t, "checkpoint") == 0 {
		keep, start := []uint64{s.Keep}, uint64(1)
		if s.AttemptMark != nil {
			start = s.AttemptMark.Seq
		}
		for seq := max(s.Keep, start) + 1; seq <= s.LastSeq; seq++ {
			keep = append(keep, seq) // a chunk of this attempt
		}
		report.CheckpointKeep = drawFrom(t, "keep", keep...)
		report.Checkpoint = append([]byte{}, rapid.StringN(0, 9, -1).Draw(t, "position")...)
		s.Keep, s.CrashCount = report.CheckpointKeep, 0
	}
	if rapid.Bool().Draw(t, "progress") {
		rev := uint64(1)
		if s.Progress != nil {
			rev = s.Progress.Rev + 1
		}
		report.Progress = &store.Progress{Attempt: s.Attempt, Rev: rev, Percent: float64(rev) / 3, Message: "at it"}
		s.Progress = report.Progress
	}
	if rapid.IntRange(0, 3).Draw(t, "left") == 0 {
		report.ClearConnection, s.Connection = true, ""
	}
	return report, s
}

func (m *machine) record(t *rapid.T) {
	r := m.anyRequest(t)
	if r.state.Status != store.Running {
		m.refuseRecord(fence(r.state), store.Report{Segment: segment(r.state, "x")})
		return
	}
	if !r.leased {
		// Record renews a lease that has expired by the clock; one that ended
		// with its owner stays ended. Both are correct.
		t.Skip("the lease has ended")
	}
	report, s := m.report(t, r)
	f := fence(r.state)
	requireSame(t, s, m.rig.record(r.state, report))
	r.apply(report, s)
	r.newest = func(q store.RequestQueue) (store.State, error) { return q.Record(m.Context(), f, report) }
}

// repeat repeats the newest step under a fence.
func (m *machine) repeat(t *rapid.T) {
	r := m.anyRequest(t)
	if r.newest == nil {
		t.Skip("nothing to repeat")
	}
	got, err := r.newest(m.Queue)
	require.NoError(t, err)
	requireSame(t, r.state, got)
}

func (m *machine) finish(t *rapid.T) {
	r, now := m.anyRequest(t), m.Now()
	var o store.Outcome
	s := r.state
	if s.Status == store.Running {
		o.Report, s = m.report(t, r)
	}
	o.Failure = rapid.Bool().Draw(t, "failure")
	switch rapid.IntRange(0, 2).Draw(t, "outcome") {
	case 0:
		o.End = &store.End{Status: store.Succeeded, Payload: []byte("1")}
	case 1:
		o.End = &store.End{
			Status: store.Failed, Code: "boom", Message: "m", Retryable: true, Payload: []byte("{}"), DeadLetter: rapid.Bool().Draw(t, "dead letter"),
		}
	default:
		o.Code, o.Due = "later", now.Add(drawFrom(t, "due", 0, 0, time.Second, 2000*time.Hour))
	}
	f := fence(r.state)
	got, err := m.Queue.Finish(m.Context(), f, o)
	if s.Status.Ended() || s.Status == store.Queued && o.End == nil {
		if err != nil { // without an error it was a repetition, by chance
			require.ErrorIs(t, err, store.ErrFenced)
		}
		return
	}
	require.NoError(t, err)
	r.apply(o.Report, s)
	if o.Failure {
		r.state.Failures++
	}
	switch {
	case o.End != nil:
		r.state.DeadLetter = o.End.DeadLetter
		r.finish(o.End.Status, o.End.Code, now, o.End.Event(0))
	case s.CancelRequested:
		r.finish(store.Cancelled, "cancelled", now, cancelledEvent)
	default:
		r.state.Status, r.state.Code, r.state.Due, r.leased = store.Queued, "later", earlier(store.TruncateMillis(o.Due), s.Deadline), false
	}
	requireSame(t, r.state, got)
	r.newest = func(q store.RequestQueue) (store.State, error) { return q.Finish(m.Context(), f, o) }
}

// useOldFence writes under a fence that is not the newest one.
func (m *machine) useOldFence(t *rapid.T) {
	r := m.anyRequest(t)
	f := fence(r.state)
	f.Fence += uint64(drawFrom(t, "off", -1, 1))
	report := store.Report{Segment: segment(r.state, "zombie"), Checkpoint: []byte("zombie"), CheckpointKeep: r.state.LastSeq + 1}
	m.refuseRecord(f, report)
	m.refuseFinish(f, succeeded("zombie"))
}

func (m *machine) cancel(t *rapid.T) {
	r, now := m.anyRequest(t), m.Now()
	subject := drawFrom(t, "subject", "s1", "s2")
	got, err := m.Queue.Cancel(m.Context(), r.state.Key, subject)
	switch {
	case subject != r.state.Subject:
		require.ErrorIs(t, err, store.ErrNotFound)
		return
	case r.state.Status.Ended():
		require.ErrorIs(t, err, store.ErrEnded)
	default:
		require.NoError(t, err)
		r.cancel(now)
		r.newest = nil
	}
	requireSame(t, r.state, got)
}

// cancelFirst cancels an id before it is accepted.
func (m *machine) cancelFirst(t *rapid.T) {
	m.skipWhenFull(t)
	now := m.Now()
	n := m.newRequest(claimed, func(n *store.Request) { n.Tenant, n.Subject, n.Action = m.tenant, "s1", "a1" })
	subject := drawFrom(t, "subject", "s1", "s2")
	m.refuseCancel(n.Key, subject, store.ErrNotFound)
	m.cancels[subject+n.ID] = now.Add(store.CancelRetention)
	if rapid.Bool().Draw(t, "late") {
		m.Advance(store.CancelRetention)
		m.crash(nil)
	}
	m.submit(t, n)
}

// watcher returns the store as a Watcher; it skips the step if it is none.
func (m *machine) watcher(t *rapid.T) store.Watcher {
	q, ok := m.Queue.(store.Watcher)
	if !ok {
		t.Skip("no Watcher")
	}
	return q
}

// watch calls Watch with a random value.
func (m *machine) watch(t *rapid.T) {
	q, r := m.watcher(t), m.anyRequest(t)
	subscribed := rapid.Bool().Draw(t, "subscribed")
	got, err := q.Watch(m.Context(), r.state.Key, subscribed)
	if r.state.Status.Ended() {
		require.ErrorIs(t, err, store.ErrEnded)
	} else {
		require.NoError(t, err)
		r.newest = nil
		r.setSubscribed(subscribed, m.Now())
		if at := r.state.CancelAt(); !subscribed && !at.IsZero() && !at.After(m.Now()) {
			r.cancel(m.Now())
		}
	}
	requireSame(t, r.state, got)
}

// cancelUnsubscribed cancels a request that no connection follows, sometimes
// with a wrong revision.
func (m *machine) cancelUnsubscribed(t *rapid.T) {
	q, r, now := m.watcher(t), m.anyRequest(t), m.Now()
	ahead := rapid.IntRange(0, 3).Draw(t, "ahead") == 0
	watch := r.state.Watch
	if ahead {
		watch++
	}
	at := r.state.CancelAt()
	got, err := q.CancelUnsubscribed(m.Context(), r.state.Key, watch)
	if r.state.Status.Ended() {
		require.ErrorIs(t, err, store.ErrEnded)
	} else {
		require.NoError(t, err)
		if !ahead && !at.IsZero() && !at.After(now) {
			r.cancel(now)
			r.newest = nil
		}
	}
	requireSame(t, r.state, got)
}

func (m *machine) advance(t *rapid.T) {
	m.Advance(drawFrom(t, "wait", time.Millisecond, time.Second, 3*time.Second, time.Hour, m.Retention))
	m.crash(nil)
}

// crash ends all leases in the store and the model. It follows each move of the
// clock, because leases may expire.
func (m *machine) crash(*rapid.T) {
	m.rig.crash()
	for _, r := range m.requests {
		r.leased, r.newest = false, nil
		if m.Reopens && r.state.CancelAfter != nil && r.state.UnsubscribedAt.IsZero() && !r.state.Status.Ended() {
			r.setSubscribed(false, m.Now())
		}
	}
	m.requests = slices.DeleteFunc(m.requests, func(r *request) bool {
		return r.state.Status.Ended() && !m.Now().Before(r.state.Ended.Add(m.Retention))
	})
}

// check compares a random request, the list, and the shard of the request.
func (m *machine) check(t *rapid.T) {
	var listed []string
	for _, r := range m.requests {
		listed = append(listed, r.state.ID)
	}
	page, _ := m.listPage(store.Query{Tenant: m.tenant, Limit: 100}, "")
	require.ElementsMatch(t, listed, requestIDs(page))
	if len(m.requests) == 0 {
		return
	}
	r := m.anyRequest(t)
	m.compare(t, r)
	m.compareDue(t, store.ShardOf(r.state.Key, m.Shards))
}

// compare reads the stream of a request from a random position, with a random
// page size.
func (m *machine) compare(t *rapid.T, r *request) {
	budget := rapid.IntRange(1, 12).Draw(t, "budget")
	after := uint64(rapid.IntRange(0, int(r.state.LastSeq)).Draw(t, "after"))
	got := slices.Concat(m.eventPages(r.state, after, budget)...)
	require.Equal(t, format(r.stream(after)), format(got))
}

// compareDue compares the requests that are due now. When the lease of a
// running request ends depends on the store, but it must not be due for that
// before.
func (m *machine) compareDue(t *rapid.T, shard int) {
	due := map[string]bool{}
	for _, r := range m.requests {
		at := r.state.CheckAt()
		if store.ShardOf(r.state.Key, m.Shards) == shard && !at.IsZero() && !at.After(m.Now()) {
			due[r.state.ID] = true
		}
	}
	for _, h := range m.dueIn(shard, m.Now(), 1000) {
		if h.Tenant != m.tenant {
			continue
		}
		r := m.find(func(s *store.State, _ string) bool { return s.ID == h.ID })
		if h.Status == store.Queued {
			require.True(t, due[h.ID], "%s is not due", h.ID)
			require.Equal(t, r.state.CheckAt(), h.Due)
		} else {
			require.True(t, due[h.ID] || !r.leased, "%s is due and leased", h.ID)
		}
		require.Equal(t, r.state.CancelAt(), h.CancelAt)
		require.Equal(t, r.state.Watch, h.Watch)
		require.Equal(t, r.state.Fence, h.Fence)
		require.False(t, h.Due.After(m.Now()))
		delete(due, h.ID)
	}
	require.Empty(t, due, "due, and not returned")
}
