// Package storetest holds the suite that every store of package store passes.
// A store's own tests call [Run], [RunConnections] and [RunSubscriptions] with
// a function that opens an empty one.
package storetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// Lease is for how long the suite claims.
const Lease = time.Minute

// Fixture is an empty store under test, with a clock that stands still.
type Fixture struct {
	Queue store.RequestQueue
	// Now is the store's clock.
	Now func() time.Time
	// Advance moves it on.
	Advance func(time.Duration)
	// VoidLeases voids all leases, as a crash does: a store whose leases end
	// by the clock moves it past Lease, a store with one owner is opened again.
	// It returns the queue to go on with.
	VoidLeases func() store.RequestQueue
	// Retention is the store's. Default store.DefaultRetention.
	Retention time.Duration
}

// Orphaner is the optional role of a store that can be left with a segment
// that no state makes true.
type Orphaner interface {
	PlantOrphan(key store.Key, fence uint64, g store.Segment)
}

// Clock is a clock that stands still until it is moved. It is safe for
// concurrent use.
type Clock struct {
	set chan time.Time
}

// NewClock returns a clock that shows a time in the past.
func NewClock() *Clock {
	c := &Clock{set: make(chan time.Time, 1)}
	c.set <- time.Date(2026, 2, 3, 4, 5, 6, 789_654_321, time.UTC)
	return c
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	t := <-c.set
	c.set <- t
	return t
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) { c.set <- (<-c.set).Add(d) }

// Run runs the suite against a store of requests. Open is called for each test.
func Run(t *testing.T, open func(t *testing.T) *Fixture) {
	for _, part := range []struct {
		name  string
		tests []test
	}{
		{"Accept", acceptTests},
		{"Claim", claimTests},
		{"Record", recordTests},
		{"Finish", finishTests},
		{"Cancel", cancelTests},
		{"Read", readTests},
		{"List", listTests},
		{"Due", dueTests},
		{"Walls", wallTests},
		{"Roles", roleTests},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, test := range part.tests {
				t.Run(test.name, func(t *testing.T) { test.run(newRig(t, open(t))) })
			}
		})
	}
	t.Run("Model", func(t *testing.T) { RunModel(t, open) })
}

type test struct {
	name string
	run  func(r *rig)
}

// rig is a fixture with what tests often say.
type rig struct {
	*testing.T
	*Fixture
}

func newRig(t *testing.T, f *Fixture) *rig {
	if f.Retention == 0 {
		f.Retention = store.DefaultRetention
	}
	return &rig{T: t, Fixture: f}
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

// ask returns a new request with an id of its own.
func (r *rig) ask(change ...func(*store.New)) store.New {
	n := store.New{
		Key: store.Key{Tenant: tenant, ID: newID(r.Now())}, Subject: subject, Action: action,
		Input: []byte(`{"a":1}`), Deadline: r.Now().Add(24 * time.Hour),
	}
	for _, f := range change {
		f(&n)
	}
	n.Hash = store.Hash(n.Action, n.Input)
	return n
}

func born(n *store.New) { n.Claim = &worker }

var (
	worker = store.Claimant{Worker: "w1", Lease: Lease}
	alone  = store.Claimant{Worker: "w1", Lease: Lease, Alone: true}
)

// accept stores a request that must be fresh.
func (r *rig) accept(change ...func(*store.New)) store.State {
	r.Helper()
	a, err := r.Queue.Accept(r.Context(), r.ask(change...))
	require.NoError(r, err)
	require.True(r, a.Fresh)
	return a.State
}

func (r *rig) claim(key store.Key) store.Work {
	r.Helper()
	w, err := r.Queue.Claim(r.Context(), key, alone)
	require.NoError(r, err)
	return w
}

func fence(s store.State) store.Fence {
	return store.Fence{Key: s.Key, Fence: s.Fence, Lease: Lease}
}

// segment returns what an attempt in this state would record next: its mark
// if that is in no segment yet, then one chunk for each text.
func segment(s store.State, chunks ...string) *store.Segment {
	g := &store.Segment{First: s.LastSeq + 1}
	if s.Mark != nil && s.Mark.Seq == s.LastSeq {
		g.First = s.Mark.From
		g.Events = append(g.Events, s.Mark.Event())
	}
	for i, text := range chunks {
		g.Events = append(g.Events, store.Event{
			Kind: store.Chunk, Seq: s.LastSeq + 1 + uint64(i), Attempt: s.Attempt, Data: []byte(text),
		})
	}
	g.Last = s.LastSeq + uint64(len(chunks))
	return g
}

// emit records chunks.
func (r *rig) emit(s store.State, chunks ...string) store.State {
	r.Helper()
	return r.record(s, store.Report{Segment: segment(s, chunks...)})
}

func (r *rig) record(s store.State, report store.Report) store.State {
	r.Helper()
	next, err := r.Queue.Record(r.Context(), fence(s), report)
	require.NoError(r, err)
	return next
}

func (r *rig) finish(s store.State, o store.Outcome) store.State {
	r.Helper()
	next, err := r.Queue.Finish(r.Context(), fence(s), o)
	require.NoError(r, err)
	return next
}

func succeeded(payload string) store.Outcome {
	return store.Outcome{End: &store.End{Status: store.Succeeded, Payload: []byte(payload)}}
}

func failed(code string) store.Outcome {
	return store.Outcome{End: &store.End{
		Status: store.Failed, Code: code, Message: "it went wrong", Retryable: true, Payload: []byte(`{"why":1}`),
	}}
}

// void voids all leases.
func (r *rig) void() { r.Queue = r.VoidLeases() }

// state reads a request's state.
func (r *rig) state(key store.Key) store.State {
	r.Helper()
	s, events, err := r.Queue.Read(r.Context(), key, 0, 0)
	require.NoError(r, err)
	require.Empty(r, events, "max 0 returns no events")
	return s
}

// events reads all events behind a position in one page.
func (r *rig) events(key store.Key, after uint64) []store.Event {
	r.Helper()
	_, events, err := r.Queue.Read(r.Context(), key, after, 1<<20)
	require.NoError(r, err)
	return events
}

// show writes events in short: "1ack 2:a@1 4mark[3-4]k2 5result=x".
func show(events []store.Event) string {
	var b bytes.Buffer
	for i, e := range events {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch e.Kind {
		case store.Ack:
			fmt.Fprintf(&b, "%dack", e.Seq)
		case store.Chunk:
			fmt.Fprintf(&b, "%d:%s@%d", e.Seq, e.Data, e.Attempt)
		case store.Attempt:
			fmt.Fprintf(&b, "%dmark%d[%d-%d]k%d(%s)", e.Seq, e.Attempt, e.From, e.Seq, e.Keep, e.Code)
		case store.Result:
			fmt.Fprintf(&b, "%dresult=%s", e.Seq, e.Data)
		case store.Error:
			fmt.Fprintf(&b, "%derror=%s", e.Seq, e.Code)
		}
	}
	return b.String()
}

// same compares states; when a running request is due is the store's matter.
func same(t require.TestingT, want, got store.State, hint ...any) {
	if want.Status == store.Running && got.Status == store.Running {
		want.Due, got.Due = time.Time{}, time.Time{}
	}
	require.Equal(t, want, got, hint...)
}
