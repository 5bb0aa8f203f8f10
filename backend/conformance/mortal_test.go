package conformance_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/store"
)

// roles are all that both of the stores under test can do.
type roles interface {
	store.RequestQueue
	store.Operator
	store.Abandoner
	store.Checker
}

// mortal is a process's way to a store. Once it is dead nothing of that process
// reaches the store any more, and no answer of the store reaches the process:
// to the store, that is what being killed looks like.
type mortal struct {
	roles
	dead atomic.Bool

	mu   sync.Mutex
	when conformance.When
	// die is called, in a goroutine of its own, when the armed moment comes.
	die func()
	// told is armed by an end that became durable.
	told bool
	// held are the requests that this process has claimed. Its claims hold as
	// long as it lives, as those on a file with one owner do; by the clock of
	// the store in memory they would be void at once.
	held map[store.Key]bool
}

// hold notes that a request is claimed, or is no longer.
func (m *mortal) hold(key store.Key, claimed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		m.held = map[store.Key]bool{}
	}
	m.held[key] = claimed
}

func (m *mortal) holds(key store.Key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[key]
}

// arm sets the moment at which the process dies.
func (m *mortal) arm(when conformance.When, die func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.when, m.die = when, die
}

// stored notes that an end is durable.
func (m *mortal) stored() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.when {
	case conformance.BeforeTelling:
		m.when = ""
		m.dead.Store(true)
		go m.die()
	case conformance.AfterTelling:
		m.told = true
	}
}

// heard notes that a client has got a frame: with the end, if it holds one.
func (m *mortal) heard(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := bytes.Contains(frame, []byte(`"type":"result"`)) || bytes.Contains(frame, []byte(`"type":"error"`))
	if end && m.told && m.when == conformance.AfterTelling {
		m.when = ""
		m.dead.Store(true)
		go m.die()
	}
}

// alive guards an operation on both of its sides.
func alive[T any](m *mortal, do func() (T, error)) (T, error) {
	var zero T
	if m.dead.Load() {
		return zero, store.ErrClosed
	}
	v, err := do()
	if m.dead.Load() {
		return zero, store.ErrClosed
	}
	return v, err // some errors come with a value
}

func (m *mortal) Accept(ctx context.Context, n store.New) (store.Acceptance, error) {
	return alive(m, func() (store.Acceptance, error) {
		a, err := m.roles.Accept(ctx, n)
		if err == nil && n.Claim != nil && a.Fresh && a.State.Status == store.Running {
			m.hold(n.Key, true)
		}
		return a, err
	})
}

func (m *mortal) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.Work, error) {
	return alive(m, func() (store.Work, error) {
		if m.holds(key) {
			return store.Work{}, store.ErrLeased
		}
		w, err := m.roles.Claim(ctx, key, by)
		if err == nil {
			m.hold(key, true)
		}
		return w, err
	})
}

func (m *mortal) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	return alive(m, func() (store.State, error) { return m.roles.Record(ctx, f, r) })
}

func (m *mortal) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	return alive(m, func() (store.State, error) {
		s, err := m.roles.Finish(ctx, f, o)
		if err == nil {
			m.hold(f.Key, false)
		}
		if err == nil && s.Status.Ended() {
			m.stored()
		}
		return s, err
	})
}

func (m *mortal) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	return alive(m, func() (store.State, error) { return m.roles.Cancel(ctx, key, subject) })
}

func (m *mortal) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	var events []store.Event
	s, err := alive(m, func() (s store.State, err error) {
		s, events, err = m.roles.Read(ctx, key, after, limit)
		return s, err
	})
	if m.dead.Load() {
		events = nil
	}
	return s, events, err
}

func (m *mortal) List(ctx context.Context, q store.Query, cursor string) ([]store.Summary, string, error) {
	var next string
	list, err := alive(m, func() (list []store.Summary, err error) {
		list, next, err = m.roles.List(ctx, q, cursor)
		return list, err
	})
	return list, next, err
}

func (m *mortal) Due(ctx context.Context, shard int, until time.Time, limit int) ([]store.Hint, error) {
	return alive(m, func() ([]store.Hint, error) { return m.roles.Due(ctx, shard, until, limit) })
}

func (m *mortal) Abandonable(ctx context.Context, after store.Key, limit int) ([]store.Hint, error) {
	return alive(m, func() ([]store.Hint, error) { return m.roles.Abandonable(ctx, after, limit) })
}
