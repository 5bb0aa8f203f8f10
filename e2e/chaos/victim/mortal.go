package victim

import (
	"context"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// mortal is the store, with the moments at which the process may die. A method
// of the store that has returned is durable, and nobody was told yet: so after
// it is after the fsync and before the telling.
type mortal struct {
	*embedded.Store
	trigger *trigger
}

var (
	_ store.RequestQueue = (*mortal)(nil)
	_ store.Retainer     = (*mortal)(nil)
	_ store.Operator     = (*mortal)(nil)
	_ store.Watcher      = (*mortal)(nil)
	_ store.Absenter     = (*mortal)(nil)
	_ store.Checker      = (*mortal)(nil)
)

func (m *mortal) Accept(ctx context.Context, n store.New) (store.Acceptance, error) {
	m.trigger.at(plan.AcceptBefore)
	a, err := m.Store.Accept(ctx, n)
	m.trigger.at(plan.AcceptAfter)
	return a, err
}

func (m *mortal) Claim(ctx context.Context, k store.Key, by store.Claimant) (store.Work, error) {
	m.trigger.at(plan.ClaimBefore)
	w, err := m.Store.Claim(ctx, k, by)
	m.trigger.at(plan.ClaimAfter)
	return w, err
}

func (m *mortal) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	m.trigger.at(plan.RecordBefore)
	s, err := m.Store.Record(ctx, f, r)
	m.trigger.at(plan.RecordAfter)
	return s, err
}

func (m *mortal) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	m.trigger.at(plan.FinishBefore)
	s, err := m.Store.Finish(ctx, f, o)
	m.trigger.at(plan.FinishAfter)
	return s, err
}

func (m *mortal) Cancel(ctx context.Context, k store.Key, subject string) (store.State, error) {
	m.trigger.at(plan.CancelBefore)
	s, err := m.Store.Cancel(ctx, k, subject)
	m.trigger.at(plan.CancelAfter)
	return s, err
}

func (m *mortal) Expire(ctx context.Context, most int) (int, error) {
	m.trigger.at(plan.ExpireBefore)
	m.trigger.at(plan.ExpireDuring)
	n, err := m.Store.Expire(ctx, most)
	m.trigger.at(plan.ExpireAfter)
	return n, err
}
