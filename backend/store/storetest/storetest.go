// Package storetest is the test suite that every implementation of package
// store must pass. The tests of a store call [Run], [RunConnections] and
// [RunSubscriptions] with a function that opens an empty one.
package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// Lease is the lease of the claims of the suite.
const Lease = time.Minute

// Fixture is an empty store under test, with a clock that only Advance moves.
type Fixture struct {
	Queue store.RequestQueue
	// Now is the store's clock.
	Now func() time.Time
	// Advance moves the clock.
	Advance func(time.Duration)
	// VoidLeases ends all leases, as a crash does: for a store whose leases
	// expire it moves the clock by Lease, a store with one owner is opened
	// again. It returns the queue to use from then on.
	VoidLeases func() store.RequestQueue
	// Reopens reports that VoidLeases opens the store again, after which no
	// connection follows anything.
	Reopens bool
	// Shards is the number of shards of Due. Default store.DefaultShards.
	Shards int
	// Retention is the retention of the store. Default store.DefaultRetention.
	Retention time.Duration
}

// Orphaner is implemented by stores that can have a segment that no state
// covers.
type Orphaner interface {
	PlantOrphan(key store.Key, fence uint64, g store.Segment)
}

// Clock is a clock that only Advance moves. It is safe for concurrent use.
type Clock struct{ moved atomic.Int64 }

// NewClock returns a clock that starts at a fixed time in the past.
func NewClock() *Clock { return &Clock{} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	return time.Date(2026, 2, 3, 4, 5, 6, 789_654_321, time.UTC).Add(time.Duration(c.moved.Load()))
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.moved.Add(int64(d)) }

// T is the part of *testing.T that a case needs.
type T interface {
	require.TestingT
	Context() context.Context
	Logf(format string, args ...any)
}

// Case is one case of the suite.
type Case struct {
	// Name is the part of the suite and what the case shows, with a slash
	// between them.
	Name string
	run  func(r *rig)
}

// Run runs the case against an empty store.
func (c Case) Run(t T, f *Fixture) {
	c.run(&rig{T: t, Fixture: withDefaults(f)})
}

func withDefaults(f *Fixture) *Fixture {
	f.Retention = cmp.Or(f.Retention, store.DefaultRetention)
	f.Shards = cmp.Or(f.Shards, store.DefaultShards)
	return f
}

// Cases returns the cases of the suite, without [RunModel].
func Cases() []Case {
	var all []Case
	for _, part := range []struct {
		name  string
		cases []Case
	}{
		{"Accept", acceptCases}, {"Claim", claimCases}, {"Record", recordCases}, {"Finish", finishCases},
		{"Cancel", cancelCases}, {"Read", readCases}, {"List", listCases}, {"Due", dueCases},
		{"Watch", watchCases}, {"Connection", connectionCases}, {"Isolation", isolationCases}, {"Roles", roleCases},
	} {
		for _, c := range part.cases {
			all = append(all, Case{part.name + "/" + c.Name, c.run})
		}
	}
	return all
}

// Run runs the suite against a store of requests. Open is called for each case.
func Run(t *testing.T, open func(t *testing.T) *Fixture) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) { RunModel(t, open) })
}

// rig is a fixture with helpers for the cases. They require that the store holds
// each state that it returns. A helper whose name begins with refuse requires that
// the store returns an error.
type rig struct {
	T
	*Fixture
}

const (
	tenant  = "tenant"
	subject = "subject"
	action  = "report.generate"
)

// newID returns a UUIDv7 for a time.
func newID(t time.Time) string {
	var u [16]byte
	_, _ = rand.Read(u[6:])
	ms := t.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// newRequest returns a new request with an id of its own.
func (r *rig) newRequest(change ...func(*store.Request)) store.Request {
	n := store.Request{
		Key: store.Key{Tenant: tenant, ID: newID(r.Now())}, Subject: subject, Action: action,
		Input: []byte(`{"a":1}`), Deadline: r.Now().Add(24 * time.Hour),
	}
	for _, f := range change {
		f(&n)
	}
	n.Hash = store.Hash(n.Action, n.Input)
	return n
}

// claimed makes Accept claim the request.
func claimed(n *store.Request) { n.Claim = &worker }

// queuedOrClaimed are the two ways to accept a request.
var queuedOrClaimed = []func(*store.Request){func(*store.Request) {}, claimed}

var (
	worker           = store.Claimant{Lease: Lease}
	quarantineWorker = store.Claimant{Lease: Lease, Quarantine: true}
)

// submitFresh accepts a request that the store does not have yet.
func (r *rig) submitFresh(n store.Request, hint ...any) store.State {
	a, err := r.Queue.Accept(r.Context(), n)
	require.NoError(r, err, hint...)
	require.True(r, a.Fresh, hint...)
	r.requireState(a.State, hint...)
	return a.State
}

// submitKnown accepts a request for which the store must return an older one.
func (r *rig) submitKnown(want store.State, n store.Request, hint ...any) {
	a, err := r.Queue.Accept(r.Context(), n)
	require.NoError(r, err, hint...)
	require.False(r, a.Fresh, hint...)
	requireSame(r, want, a.State, hint...)
}

func (r *rig) refuseAccept(n store.Request, want error, hint ...any) {
	a, err := r.Queue.Accept(r.Context(), n)
	require.ErrorIs(r, err, want, hint...)
	require.Zero(r, a, hint...)
}

// accept stores a new request.
func (r *rig) accept(change ...func(*store.Request)) store.State {
	return r.submitFresh(r.newRequest(change...))
}

func (r *rig) claim(key store.Key) store.ClaimedRequest {
	w, err := r.Queue.Claim(r.Context(), key, quarantineWorker)
	r.stored(w.State, err)
	return w
}

func (r *rig) refuseClaim(key store.Key, want error) store.ClaimedRequest {
	w, err := r.Queue.Claim(r.Context(), key, quarantineWorker)
	require.ErrorIs(r, err, want)
	return w
}

func (r *rig) cancel(key store.Key) store.State {
	return r.stored(r.Queue.Cancel(r.Context(), key, subject))
}

func (r *rig) refuseCancel(key store.Key, subject string, want error, hint ...any) store.State {
	s, err := r.Queue.Cancel(r.Context(), key, subject)
	require.ErrorIs(r, err, want, hint...)
	return s
}

func fence(s store.State) store.Fence {
	return store.Fence{Key: s.Key, Fence: s.Fence, Lease: Lease}
}

// segment returns the next segment of an attempt in this state: its mark if no
// segment holds it yet, then one chunk for each text.
func segment(s store.State, chunks ...string) *store.Segment {
	g := &store.Segment{First: s.LastSeq + 1}
	if s.AttemptMark != nil && s.AttemptMark.Seq == s.LastSeq {
		g.First = s.AttemptMark.From
		g.Events = append(g.Events, s.AttemptMark.Event())
	}
	for i, text := range chunks {
		g.Events = append(g.Events, store.Event{
			Kind: store.Chunk, Seq: s.LastSeq + 1 + uint64(i), Attempt: s.Attempt, Data: []byte(text),
		})
	}
	g.Last = s.LastSeq + uint64(len(chunks))
	return g
}

// recordChunks records chunks.
func (r *rig) recordChunks(s store.State, chunks ...string) store.State {
	return r.record(s, store.Report{Segment: segment(s, chunks...)})
}

func (r *rig) record(s store.State, report store.Report) store.State {
	return r.stored(r.Queue.Record(r.Context(), fence(s), report))
}

func (r *rig) refuseRecord(f store.Fence, report store.Report, hint ...any) {
	_, err := r.Queue.Record(r.Context(), f, report)
	require.ErrorIs(r, err, store.ErrFenced, hint...)
}

// refuseReport records and finishes with an invalid report.
func (r *rig) refuseReport(s store.State, report store.Report, hint ...any) {
	_, err := r.Queue.Record(r.Context(), fence(s), report)
	r.requireInvalid(s, err, hint...)
	r.refuseOutcome(s, store.Outcome{Report: report, End: succeeded(`1`).End}, hint...)
}

func (r *rig) finish(s store.State, o store.Outcome) store.State {
	return r.stored(r.Queue.Finish(r.Context(), fence(s), o))
}

func (r *rig) refuseFinish(f store.Fence, o store.Outcome, hint ...any) {
	_, err := r.Queue.Finish(r.Context(), f, o)
	require.ErrorIs(r, err, store.ErrFenced, hint...)
}

// refuseOutcome finishes with an invalid outcome.
func (r *rig) refuseOutcome(s store.State, o store.Outcome, hint ...any) {
	_, err := r.Queue.Finish(r.Context(), fence(s), o)
	r.requireInvalid(s, err, hint...)
}

// requireInvalid requires an error that is caused neither by the fence nor by
// the availability of the store, and that the state is unchanged.
func (r *rig) requireInvalid(s store.State, err error, hint ...any) {
	require.Error(r, err, hint...)
	require.NotErrorIs(r, err, store.ErrFenced, hint...)
	require.NotErrorIs(r, err, store.ErrUnavailable, hint...)
	r.requireState(s, hint...)
}

func succeeded(payload string, last ...*store.Segment) store.Outcome {
	o := store.Outcome{End: &store.End{Status: store.Succeeded, Payload: []byte(payload)}}
	for _, g := range last {
		o.Segment = g
	}
	return o
}

func failed(code string) store.Outcome {
	return store.Outcome{End: &store.End{
		Status: store.Failed, Code: code, Message: "it went wrong", Retryable: true, Payload: []byte(`{"why":1}`),
	}}
}

func deadLetter() store.Outcome {
	o := failed("poisoned")
	o.End.DeadLetter = true
	return o
}

// crash ends all leases.
func (r *rig) crash() { r.Queue = r.VoidLeases() }

// takenOver returns a request whose first worker was lost and whose second one
// has claimed it.
func (r *rig) takenOver() store.State {
	s := r.accept(claimed)
	r.crash()
	return r.claim(s.Key).State
}

// state reads a request's state.
func (r *rig) state(key store.Key) store.State {
	s, events, err := r.Queue.Read(r.Context(), key, 0, 0)
	require.NoError(r, err)
	require.Empty(r, events, "max 0 returns no events")
	return s
}

// stored requires that an operation succeeded, and that the store holds the state
// that it returned.
func (r *rig) stored(s store.State, err error) store.State {
	require.NoError(r, err)
	r.requireState(s)
	return s
}

// requireState requires that the store holds this state.
func (r *rig) requireState(want store.State, hint ...any) {
	requireSame(r, want, r.state(want.Key), hint...)
}

func (r *rig) requireNotFound(key store.Key) {
	_, _, err := r.Queue.Read(r.Context(), key, 0, 1)
	require.ErrorIs(r, err, store.ErrNotFound)
}

// events reads all events after a position in one page.
func (r *rig) events(key store.Key, after uint64) []store.Event {
	_, events, err := r.Queue.Read(r.Context(), key, after, 1<<20)
	require.NoError(r, err)
	return events
}

// requireEvents requires events after a position, as written by [format].
func (r *rig) requireEvents(key store.Key, after uint64, want string, hint ...any) {
	require.Equal(r, want, format(r.events(key, after)), hint...)
}

// eventPages reads the events after a position in pages of at most max bytes.
// The store must hold this state.
func (r *rig) eventPages(want store.State, after uint64, max int) (all [][]store.Event) {
	for at := after; ; {
		s, page, err := r.Queue.Read(r.Context(), want.Key, at, max)
		require.NoError(r, err)
		requireSame(r, want, s)
		if at >= s.LastSeq {
			require.Empty(r, page)
			return all
		}
		require.NotEmpty(r, page, "at least one")
		require.Greater(r, page[len(page)-1].Seq, at, "the page does not move on")
		all, at = append(all, page), page[len(page)-1].Seq
	}
}

// pages reads all pages of a list. Pages may be short, because a store may
// filter after reading.
func pages[E any](t require.TestingT, read func(cursor string) (page []E, next string, err error)) (all []E) {
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, next, err := read(cursor)
		require.NoError(t, err)
		require.False(t, next != "" && next == cursor, "the cursor does not move on")
		all, cursor = append(all, page...), next
	}
	return all
}

// format formats events: "1ack 2:a@1 4mark[3-4]k2 5result=x".
func format(events []store.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, map[store.Kind]string{
			store.Ack:     fmt.Sprintf("%dack", e.Seq),
			store.Chunk:   fmt.Sprintf("%d:%s@%d", e.Seq, e.Data, e.Attempt),
			store.Attempt: fmt.Sprintf("%dmark%d[%d-%d]k%d(%s)", e.Seq, e.Attempt, e.From, e.Seq, e.Keep, e.Code),
			store.Result:  fmt.Sprintf("%dresult=%s", e.Seq, e.Data),
			store.Error:   fmt.Sprintf("%derror=%s", e.Seq, e.Code),
		}[e.Kind])
	}
	return strings.Join(out, " ")
}

// requireSame compares states, without the Due of running requests, which
// depends on the store.
func requireSame(t require.TestingT, want, got store.State, hint ...any) {
	if want.Status == store.Running && got.Status == store.Running {
		want.Due, got.Due = time.Time{}, time.Time{}
	}
	require.Equal(t, want, got, hint...)
}
